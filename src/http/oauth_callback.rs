//! Where a provider sends the browser with a form (`response_mode=form_post`). It leads on to the page of
//! the front end, signs nobody in and uses nothing up.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use url::form_urlencoded;

use crate::app::App;
use crate::services::oauth;

/// Most bytes of a form.
const MOST_BYTES: usize = 16 * 1024;
/// Most bytes of a value that is led on.
const MOST_VALUE: usize = 4096;

/// The route.
pub fn routes() -> Router<App> {
    Router::new().route("/oauth/callback/{provider}", post(callback))
}

async fn callback(
    State(app): State<App>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    if !content_type.is_some_and(|kind| {
        kind.trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let limit = app.config.request_timeout();
    let Ok(form) = tokio::time::timeout(limit, to_bytes(body, MOST_BYTES)).await else {
        return refused(StatusCode::REQUEST_TIMEOUT);
    };
    let Ok(form) = form else {
        return refused(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(&form);
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned()).filter(|value| value.len() <= MOST_VALUE)
    };
    let state = value("state").unwrap_or_default();
    let user = value("user").map(Into::into);
    let page = match oauth::came_back(&app, &provider, &state, user).await {
        Ok(Some(page)) => page,
        Ok(None) => return refused(StatusCode::BAD_REQUEST),
        Err(error) => {
            tracing::warn!("An answer of {provider:?} could not be taken in: {error:?}");
            return refused(StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    // Behind `#`, which no browser sends to a server, so that the code is in no log on the way.
    let mut fragment = form_urlencoded::Serializer::new(String::new());
    for name in ["code", "state", "iss", "error"] {
        if let Some(value) = value(name) {
            fragment.append_pair(name, &value);
        }
    }
    let location = format!("{page}#{}", fragment.finish());
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn refused(status: StatusCode) -> Response {
    let text = "This sign-in is unknown or past its end. Go back and begin again.\n";
    (status, text).into_response()
}
