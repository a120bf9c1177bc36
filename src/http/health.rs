//! Whether the server lives and can serve, and the public keys of its tokens.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::auth::keys::MAX_AGE_SECS;

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

/// The database answers, its schema is the one that this build needs, and the server was not told to stop.
async fn ready(State(app): State<App>) -> Response {
    if app.leaving.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server stops\n").into_response();
    }
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

/// The key set (RFC 7517). Others keep it for a while and then ask whether it has changed.
async fn jwks(State(app): State<App>, headers: HeaderMap) -> Response {
    let Ok(body) = serde_json::to_string(&app.keys.published(app.now())) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&body)));
    let about = [
        (
            header::CACHE_CONTROL,
            format!("public, max-age={MAX_AGE_SECS}"),
        ),
        // Public by nature; other services' front ends may verify with it too.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    if matches(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    (about, json, body).into_response()
}

/// Whether the client has what `tag` stands for (RFC 9110, 13.1.2).
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag)
}
