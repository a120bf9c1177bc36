//! The span of a request, for traces. What a caller may choose freely is not in it: no path, no query, no header, no address.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{Method, StatusCode};
use tracing::Span;
use tracing::field::Empty;

use crate::app::App;
use crate::traces::{self, TARGET};

/// What asks again and again, and tells nothing by its traces.
const UNTRACED: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];
/// The word for a method that is not one of these (OpenTelemetry, "Semantic conventions for HTTP spans").
const OTHER: &str = "_OTHER";
const METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// The span of a request with this id; none where there are no traces.
///
/// A trusted proxy may say which trace the request belongs to and whether that one is kept, where the sampler is one that
/// follows. Of anybody else it counts for nothing: they could have every request of theirs traced, or put theirs into the
/// traces of others.
pub(super) fn begin(app: &App, request: &Request, id: &str) -> Span {
    if !traces::on() {
        return Span::none();
    }
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    if route.is_some_and(|route| UNTRACED.contains(&route)) {
        return Span::none();
    }
    let method = if METHODS.contains(request.method()) {
        request.method().as_str()
    } else {
        OTHER
    };
    let named = if method == OTHER { "HTTP" } else { method };
    let name = match route {
        Some(route) => format!("{named} {route}"),
        None => named.to_owned(),
    };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "error.type" = Empty,
        "cardea.request.id" = id,
    );
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let trusted = app.config.http.trusted_proxies.as_ref();
    let by_proxy = |ip: IpAddr| trusted.is_some_and(|trusted| trusted.contains(ip));
    let follows = app.config.traces.otel_traces_sampler.follows();
    if follows && peer.is_some_and(|ConnectInfo(peer)| by_proxy(peer.ip())) {
        traces::follow(&span, request.headers());
    }
    span
}

/// The request is answered. A stream or a socket that it began goes on without its span.
pub(super) fn answered(span: &Span, status: StatusCode) {
    if span.is_none() {
        return;
    }
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    traces::end(span);
}
