//! Which pages of other origins may use the API from a browser: those of the origins that are listed, to
//! the letter. It does not decide who is signed in.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;

/// What a page may send; the last two are Apollo's.
const REQUEST_HEADERS: &str = "authorization, content-type, accept, graphql-require-preflight, \
    apollo-require-preflight, x-apollo-operation-name";
/// What a page may read beyond what every page may.
const RESPONSE_HEADERS: &str = "x-request-id, retry-after, www-authenticate";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "600";

/// Answers the questions that browsers ask before a request of another origin, and says on every
/// answer whether the page may read it.
pub async fn cors(State(app): State<App>, request: Request, next: Next) -> Response {
    let origin = allowed(&app, request.headers());
    let asks = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks && origin.is_some() {
        preflight()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    vary(headers);
    if let Some(origin) = origin {
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        let readable = HeaderValue::from_static(RESPONSE_HEADERS);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }
    response
}

/// The origin of the page that asks, if it is listed.
fn allowed(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    // Browsers send one; of two nobody knows which counts.
    let (Some(origin), None) = (sent.next(), sent.next()) else {
        return None;
    };
    let listed = app.config.http.cors_origins.as_ref()?;
    listed
        .contains(origin.to_str().ok()?)
        .then(|| origin.clone())
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Keeps caches from giving the answer for one origin to another.
fn vary(headers: &mut HeaderMap) {
    let named = headers.get_all(header::VARY).iter().any(|value| {
        let names = value.to_str().unwrap_or_default().split(',');
        names
            .map(str::trim)
            .any(|name| name.eq_ignore_ascii_case("origin"))
    });
    if !named {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
