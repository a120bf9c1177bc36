//! Whether the server lives and can serve, and the public keys of its tokens.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::app::App;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/.well-known/jwks.json", get(jwks))
}

/// The process answers; says nothing of the database.
async fn live() -> &'static str {
    "alive\n"
}

/// The database answers and its schema is the one that this build needs.
async fn ready(State(app): State<App>) -> Response {
    let checked =
        tokio::time::timeout(std::time::Duration::from_secs(2), app.db.is_current()).await;
    match checked {
        Ok(Ok(true)) => "ready\n".into_response(),
        Ok(Ok(false)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "migrations are pending\n").into_response()
        }
        Ok(Err(_)) | Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        )
            .into_response(),
    }
}

/// The key set (RFC 7517).
async fn jwks(State(app): State<App>) -> Response {
    let mut response = Json(app.keys.published()).into_response();
    let cache = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    // Public by nature; other services' front ends may verify with it too.
    response.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response
}
