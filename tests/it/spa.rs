//! The front end in `examples/spa`, built as its README says and with trusted documents, in a real browser against the
//! real server.

use std::fs;
use std::path::{Component, Path, PathBuf};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use cardea::clock::Clock;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::app::start_of_time;
use crate::harness::chromium::Chromium;
use crate::harness::node::Scripts;
use crate::harness::served::Served;

/// What its pages may do: nothing inline, nothing from elsewhere, and one server to ask.
fn policy(server: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {server}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

/// A file of the built pages, or for any other path the page itself, which is told where the server is.
fn file(built: &Path, server: &str, path: &str) -> Response {
    let path = Path::new(path.trim_start_matches('/'));
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let kind = match path.extension().and_then(|kind| kind.to_str()) {
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        _ => {
            let page = fs::read_to_string(built.join("index.html")).expect("a page");
            let default = "content=\"http://localhost:8000\"";
            assert!(page.contains(default), "{page}");
            let page = page.replace(default, &format!("content=\"{server}\""));
            let headers = [
                (header::CONTENT_TYPE, "text/html".to_owned()),
                (header::CONTENT_SECURITY_POLICY, policy(server)),
            ];
            return (headers, page).into_response();
        }
    };
    match fs::read(built.join(path)) {
        Ok(content) if inside => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn front_end(built: PathBuf, server: String, clock: Clock) -> Router {
    let pages = get(async move |uri: Uri| file(&built, &server, uri.path()));
    // For the script alone: lets time go by at the server.
    let later = post(async move || {
        clock.advance(TimeDelta::minutes(20));
        StatusCode::NO_CONTENT
    });
    Router::new()
        .route("/test/later", later)
        .fallback_service(pages)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_front_end_takes_people_through_an_account_in_light_and_in_dark() {
    let Some(chromium) = Chromium::found(&[]).await else {
        return;
    };
    let build = || Scripts::built_by("build:trusted", "examples/spa", &["schema.graphql"]);
    let Some(example) = tokio::task::spawn_blocking(build).await.expect("built") else {
        return;
    };
    let documents = example.folder().join("src/gql/persisted-documents.json");
    let assets = fs::read_dir(example.folder().join("dist/assets")).expect("built");
    for asset in assets {
        let content = fs::read(asset.expect("a file").path()).expect("read");
        let content = String::from_utf8_lossy(&content);
        assert!(!content.contains("mutation "), "the page has ids alone");
    }
    // A name of this machine, the same for both: `127.0.0.1` would be another site.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let pages = format!("http://localhost:{port}");
    let flags = [
        "--resend-secs=0".to_owned(),
        "--two-factor-required=roles".to_owned(),
        format!("--cors-origins={pages}"),
        format!("--verify-email-url={pages}/verify-email#token={{token}}"),
        format!("--trusted-documents={}", documents.display()),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let served = Served::at("localhost", &flags, Clock::fixed(start_of_time())).await;
    let clock = served.app.app.clock.clone();
    let router = front_end(example.folder().join("dist"), served.url.clone(), clock);
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });

    let password = served.administrator().await;
    let now = start_of_time().timestamp_millis().to_string();
    let variables = [
        ("BASE_URL", &*pages),
        ("SERVER", &*served.url),
        ("NOW", &*now),
        ("ADMIN_PASSWORD", password),
    ];
    chromium.run("spa.mjs", &variables).await;
}
