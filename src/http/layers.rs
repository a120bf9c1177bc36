//! What every request passes: its id, its span, the client's address, and the headers of every answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::graphql::context::RequestId;
use crate::http::client_ip::client_ip;
use crate::http::trace;
use crate::traces;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that an answer has unless its route says otherwise.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Names the request, logs it, and puts the headers on its answer.
pub async fn request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().simple().to_string();
    let traced = trace::begin(&app, &request, &id);
    // Neither the query string, where a GET carries its variables, nor a path that is none of ours: anything may stand there.
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        parent: None,
        "request",
        id,
        method = %request.method(),
        path = route.map_or("", MatchedPath::as_str),
        trace_id = Empty,
    );
    if let Some(trace_id) = traces::trace_id(&traced) {
        span.record("trace_id", trace_id);
    }
    let client = client(&app, &request).in_request(&id);
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(client);
    let start = Instant::now();
    let mut response = async {
        // A panic in a route costs this answer, not the connection.
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = answered.unwrap_or_else(|_| {
            tracing::error!("A route panicked");
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.\n").into_response()
        });
        tracing::debug!(status = response.status().as_u16(), elapsed = ?start.elapsed(), "Answered");
        response
    }
    .instrument(span)
    .instrument(traced.clone())
    .await;
    trace::answered(&traced, response.status());
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if app
        .config
        .public_url
        .as_ref()
        .is_some_and(|url| url.scheme() == "https")
    {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(year);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// From where the request comes.
fn client(app: &App, request: &Request) -> ClientInfo {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let ip = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| {
        peer.ip()
    });
    let ip = match &app.config.http.trusted_proxies {
        Some(trusted) => client_ip(ip, request.headers(), trusted),
        None => ip,
    };
    // Any bytes may stand there (RFC 9110, 5.5).
    let user_agent = request
        .headers()
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    ClientInfo::new(ip, user_agent.as_deref())
}
