//! The inbox page: mails that a development server would have sent. Never mounted in production.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use crate::app::App;
use crate::error::Result;
use crate::mail::{Inbox, Message};

const PAGE: &str = include_str!("pages/inbox.html");

/// The page may show mails in a frame; a mail itself may do nothing but look like one.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation";

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/inbox", get(list))
        .route("/inbox/messages.json", get(messages))
        .route("/inbox/{id}", get(message))
        .route("/inbox/{id}/html", get(html))
}

fn inbox(app: &App) -> Inbox {
    app.mailer.inbox().cloned().unwrap_or_default()
}

async fn list(State(app): State<App>) -> Response {
    page(&app, None)
}

/// All mails, the newest first, for tests of front ends.
async fn messages(State(app): State<App>) -> Response {
    let body = serde_json::to_vec(&inbox(&app).messages()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn message(State(app): State<App>, Path(id): Path<String>) -> Response {
    match inbox(&app).message(&id) {
        Some(message) => page(&app, Some(message)),
        None => missing(),
    }
}

async fn html(State(app): State<App>, Path(id): Path<String>) -> Response {
    match inbox(&app).message(&id) {
        Some(message) => {
            // Links open outside the frame.
            let html = message
                .html
                .replacen("<head>", "<head><base target=\"_top\">", 1);
            let headers = [
                (header::CONTENT_SECURITY_POLICY, MAIL_POLICY),
                (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
            ];
            (headers, Html(html)).into_response()
        }
        None => missing(),
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "There is no such mail.\n").into_response()
}

fn page(app: &App, open: Option<Message>) -> Response {
    match render(app, open) {
        Ok(page) => ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(page)).into_response(),
        Err(error) => {
            tracing::error!(error = ?error, "The inbox page cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn render(app: &App, open: Option<Message>) -> Result<String> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    let values = context! {
        product => &*app.config.product_name,
        messages => Serde(inbox(app).messages()),
        open => Serde(open),
    };
    templates
        .render_str(PAGE, values)
        .map_err(crate::error::Error::internal)
}
