//! The listener for Prometheus: its own address, where no client comes, and nothing but `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use crate::app::App;
use crate::graphql::metrics::Operations;
use crate::http::{exposition, layers};
use crate::metrics::text;
use crate::services::backlog::{self, Backlog};

/// Most connections at once; further ones wait to be taken in.
const MOST_CONNECTIONS: usize = 8;
/// How long a connection may take to send the headers of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection lasts, which carries one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long the database may take; a scrape tells what else there is to tell.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what the database said is good, so that nobody can have it asked without end.
const FRESH: Duration = Duration::from_secs(1);

/// What a scrape tells of.
#[derive(Clone)]
struct Told {
    app: App,
    operations: Arc<Operations>,
    read: Arc<Mutex<Option<Read>>>,
}

/// What the database said last, and when.
#[derive(Clone, Copy)]
struct Read {
    at: Instant,
    backlog: Option<Backlog>,
}

/// Answers scrapes until the application is shut down.
pub fn start(listener: TcpListener, app: &App, operations: &Arc<Operations>) {
    let router = router(app, operations);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (app, tasks) = (app.clone(), app.tasks.clone());
    tasks.spawn(async move {
        let next = async || {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        loop {
            let (accepted, place) = tokio::select! {
                next = next() => next,
                () = app.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => connection(stream, router.clone(), &app, place),
                Err(error) => {
                    tracing::warn!(error = %error, "A connection for metrics could not be taken in: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}

/// What the listener answers.
pub fn router(app: &App, operations: &Arc<Operations>) -> Router {
    let told = Told {
        app: app.clone(),
        operations: Arc::clone(operations),
        read: Arc::default(),
    };
    Router::new()
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(app.clone(), layers::request))
        .with_state(told)
}

fn connection(stream: TcpStream, router: Router, app: &App, place: Option<OwnedSemaphorePermit>) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answered = router.clone().oneshot(request.map(Body::new));
        async move { answered.await.map_err(|error: Infallible| error) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            // However slowly the answer is read.
            _ = tokio::time::timeout(PATIENCE, connection) => {}
            () = shutdown.cancelled() => {}
        }
        drop(place);
    });
}

async fn metrics(State(told): State<Told>) -> impl IntoResponse {
    let backlog = told.backlog().await;
    let text = exposition::write(&told.app, &told.operations, backlog.as_ref());
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], text)
}

impl Told {
    /// What waits in the database, if it says so in time.
    async fn backlog(&self) -> Option<Backlog> {
        let (app, read) = (self.app.clone(), Arc::clone(&self.read));
        // A task of its own: no connection is given back with a statement under way.
        let asked = self.app.tasks.spawn(async move {
            let mut read = read.lock().await;
            if let Some(last) = *read
                && last.at.elapsed() < FRESH
            {
                return last.backlog;
            }
            let backlog = match backlog::read(&app).await {
                Ok(backlog) => Some(backlog),
                Err(error) => {
                    tracing::warn!(error = ?error, "What waits could not be counted");
                    None
                }
            };
            let at = Instant::now();
            *read = Some(Read { at, backlog });
            backlog
        });
        let told = tokio::time::timeout(DATABASE_TIMEOUT, asked).await;
        told.ok()?.ok()?
    }
}
