//! Small pages of the server itself, for installations without a front end of their own.
//!
//! Files without anything of the request in them: a page reads its token from behind the `#` of its
//! address. The page uses the token up only when a person presses the button: mail scanners that open
//! every link change nothing.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;

use crate::app::App;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const LINK: &str = include_str!("link.html");
const PASSWORD: &str = include_str!("reset-password.html");
const PAGES: [(&str, &str); 8] = [
    ("/accept-invitation", PASSWORD),
    ("/confirm-email-change", LINK),
    ("/oauth/callback", include_str!("callback.html")),
    ("/forgot-password", include_str!("forgot-password.html")),
    ("/reactivate-account", LINK),
    ("/reset-password", PASSWORD),
    ("/sign-in", include_str!("sign-in.html")),
    ("/verify-email", LINK),
];

/// What the pages ask and do, by id: trusted documents, so that they work where nothing else is run.
pub const DOCUMENTS: &str = include_str!("documents.json");

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const ASSETS: [(&str, &str, &str); 15] = [
    ("/pages/account.js", SCRIPT, include_str!("account.js")),
    ("/pages/callback.js", SCRIPT, include_str!("callback.js")),
    (
        "/pages/forgot-password.js",
        SCRIPT,
        include_str!("forgot-password.js"),
    ),
    ("/pages/forms.js", SCRIPT, include_str!("forms.js")),
    ("/pages/link.js", SCRIPT, include_str!("link.js")),
    ("/pages/page.css", STYLE, include_str!("page.css")),
    ("/pages/page.js", SCRIPT, include_str!("page.js")),
    ("/pages/passkey.js", SCRIPT, include_str!("passkey.js")),
    ("/pages/proof.js", SCRIPT, include_str!("proof.js")),
    ("/pages/provider.js", SCRIPT, include_str!("provider.js")),
    ("/pages/qr.js", SCRIPT, include_str!("qr.js")),
    (
        "/pages/reset-password.js",
        SCRIPT,
        include_str!("reset-password.js"),
    ),
    ("/pages/session.js", SCRIPT, include_str!("session.js")),
    ("/pages/sign-in.js", SCRIPT, include_str!("sign-in.js")),
    ("/pages/texts.js", SCRIPT, include_str!("texts.js")),
];

/// The routes.
pub fn routes() -> Router<App> {
    let pages = PAGES
        .into_iter()
        .fold(Router::new(), |routes, (path, html)| {
            routes.route(path, get(async move || page(html)))
        });
    ASSETS
        .into_iter()
        .fold(pages, |routes, (path, content_type, content)| {
            routes.route(path, get(async move || asset(content_type, content)))
        })
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
