//! Small pages of the server itself, for installations without a front end of their own.
//!
//! The page behind a mailed link uses the token up only when a person presses the button: mail
//! scanners that open every link change nothing.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;

use crate::app::App;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route(
            "/verify-email",
            get(async || page(include_str!("verify-email.html"))),
        )
        .route(
            "/pages/verify-email.js",
            get(async || asset("text/javascript", include_str!("verify-email.js"))),
        )
        .route(
            "/pages/page.css",
            get(async || asset("text/css", include_str!("page.css"))),
        )
}

fn page(html: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (HeaderName::from_static("x-robots-tag"), "noindex"),
        ],
        Html(html),
    )
}

fn asset(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        content,
    )
}
