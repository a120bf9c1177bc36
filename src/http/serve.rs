//! Takes connections in and lets them go. It keeps slow and silent clients from holding on for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use crate::app::App;
use crate::graphql::live::stream::Cut;
use crate::http::cores::{Core, Cores};
use crate::http::patience::Patient;

/// How often the log says that there is no place for more connections.
const FULL_AGAIN: Duration = Duration::from_mins(1);
/// Most bytes of a request's headers, and of what is read ahead of a body.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long after the end of listening a connection may still begin a request, which was sent before its sender could know.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// A connection, whose it is, and its place among all of them.
type TakenIn = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Serves `router` until the application is shut down; then requests in flight get the configured
/// time to end. Past the most connections nobody is taken in until one closes: the system holds those who come, and
/// they are served then.
///
/// # Errors
/// If there are no threads to serve on.
pub async fn serve(listener: TcpListener, router: Router, app: &App) -> io::Result<()> {
    let mut cores = Cores::start()?;
    let most = app.config.http.max_connections;
    let places = Arc::new(Semaphore::new(most));
    let mut said_full: Option<Instant> = None;
    loop {
        if places.available_permits() == 0
            && said_full.is_none_or(|said| said.elapsed() >= FULL_AGAIN)
        {
            said_full = Some(Instant::now());
            tracing::warn!(
                "All {most} connections are in use (CARDEA_MAX_CONNECTIONS); others wait"
            );
        }
        let taken_in = tokio::select! {
            taken_in = take_in(&listener, &places) => taken_in,
            () = app.shutdown.cancelled() => break,
        };
        match taken_in {
            Ok(taken_in) => {
                connection(cores.least_busy(), taken_in, router.clone(), app);
            }
            Err(error) => {
                // Out of file descriptors, most likely: those in use must be given back first.
                tracing::warn!(error = %error, "A connection could not be taken in: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    take_in_the_rest(listener, &places, |taken_in| {
        connection(cores.least_busy(), taken_in, router.clone(), app);
    });
    let patience = Duration::from_secs(app.config.http.shutdown_secs);
    app.tasks.close();
    if tokio::time::timeout(patience, app.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("Some requests did not end in {patience:?} and are cut");
    }
    Ok(())
}

/// The next connection, once there is a place for it.
async fn take_in(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<TakenIn> {
    // Held only by who is there: with the last one taken, silent connections are closed.
    drop(places.acquire().await);
    let (stream, peer) = listener.accept().await?;
    // Nobody else takes any.
    let place = Arc::clone(places).try_acquire_owned();
    let place = place.map_err(io::Error::other)?;
    // Answers are written whole; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    // This runtime has to let go of it, so that another one can serve it.
    let stream = stream.into_std()?;
    Ok((stream, peer, place))
}

/// Those whom the system has let in already, and would cut with the end of listening. The system is asked itself: what
/// the runtime knows of it may be old.
fn take_in_the_rest(
    listener: TcpListener,
    places: &Arc<Semaphore>,
    mut serve: impl FnMut(TakenIn),
) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok(place) = Arc::clone(places).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
    {
        let _ = stream.set_nodelay(true);
        if stream.set_nonblocking(true).is_ok() {
            serve((stream, peer, place));
        }
    }
}

fn connection(core: &Core, (stream, peer, place): TakenIn, router: Router, app: &App) {
    let place = (place, core.connection());
    let (leaving, shutdown) = (app.leaving.clone(), app.shutdown.clone());
    let patience = Duration::from_secs(app.config.http.shutdown_secs);
    let served = async move {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "A connection could not be served: {error}");
                return;
            }
        };
        let (stream, phase) = Patient::new(stream, place);
        let cut = Cut::default();
        let handed = cut.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(handed.clone());
            let answered = router.clone().oneshot(request.map(Body::new));
            let (phase, leaving) = (phase.clone(), leaving.clone());
            phase.begins();
            async move {
                let mut answered = answered.await.map_err(|error: Infallible| error)?;
                let is_socket = answered.status() == StatusCode::SWITCHING_PROTOCOLS;
                if !is_socket && leaving.is_cancelled() {
                    // A proxy that kept it would send the next request into its end (RFC 9112, section 9.6).
                    let close = HeaderValue::from_static("close");
                    answered.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(answered.map(|body| phase.answered(body, is_socket)))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            // Its one time limit would be that for the silence between requests, too.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let in_order = async {
            tokio::select! {
                ended = &mut connection => return ended,
                () = shutdown.cancelled() => {}
            }
            if let Ok(ended) = tokio::time::timeout(LAST_REQUEST, &mut connection).await {
                return ended;
            }
            connection.as_mut().graceful_shutdown();
            // The request in flight may end; a socket is nothing of this connection any more.
            match tokio::time::timeout(patience, &mut connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        };
        tokio::select! {
            ended = in_order => if let Err(error) = ended {
                tracing::debug!(error = %error, "A connection ended badly: {error}");
            },
            () = cut.0.cancelled() => {}
        }
    };
    app.tasks.spawn_on(served, core.runtime());
}
