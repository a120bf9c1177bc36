//! Takes connections in and lets them go. It keeps slow and silent clients from holding on for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::app::App;
use crate::graphql::live::stream::Cut;
use crate::http::cores::{Core, Cores};

/// How long a connection may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers, and of what is read ahead of a body.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Serves `router` until the application is shut down; then requests in flight get the configured
/// time to end.
///
/// # Errors
/// If there are no threads to serve on.
pub async fn serve(listener: TcpListener, router: Router, app: &App) -> io::Result<()> {
    let mut cores = Cores::start()?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.shutdown.cancelled() => break,
        };
        match stream {
            Ok((stream, peer)) => {
                // The runtime that took it in must let go of it first.
                match stream.into_std() {
                    Ok(stream) => connection(cores.least_busy(), stream, peer, router.clone(), app),
                    Err(error) => tracing::debug!(error = %error, "A connection broke: {error}"),
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: those in use must be given back first.
                tracing::warn!(error = %error, "A connection could not be taken in: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
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

fn connection(
    core: &Core,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    router: Router,
    app: &App,
) {
    // Answers are written whole; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let cut = Cut::default();
    let handed = cut.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(handed.clone());
        let answered = router.clone().oneshot(request.map(Body::new));
        async move { answered.await.map_err(|error: Infallible| error) }
    });
    let shutdown = app.shutdown.clone();
    let patience = Duration::from_secs(app.config.http.shutdown_secs);
    let counted = core.connection();
    let served = async move {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "A connection could not be served: {error}");
                return;
            }
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let in_order = async {
            tokio::select! {
                ended = &mut connection => return ended,
                () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
            }
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
        drop(counted);
    };
    app.tasks.spawn_on(served, core.runtime());
}
