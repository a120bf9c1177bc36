//! The whole router, with a database that nobody answers for: every request is answered, in form, and no route panics.
//!
//! The first line is method and path; headers follow up to an empty line, then the body.
#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use cardea::app::{App, Secrets};
use cardea::auth::access_token::{KeySet, generate_private_key};
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::crypto::seal::MasterKeys;
use cardea::db::Db;
use cardea::http;
use cardea::models::signing_key::SigningKey;
use cardea::scalar::DateTime;
use chrono::TimeDelta;
use clap::Parser;
use libfuzzer_sys::{Corpus, fuzz_target};
use secrecy::SecretString;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use uuid::Uuid;

const MASTER_KEY: &str = "Q2FyZGVhIGZ1enplcyBpdHMgcm91dGVyIDEyMzQ1NiE=";
/// Nobody listens there.
const DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

/// What every answer has.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-security-policy",
    "cross-origin-opener-policy",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
];

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

static SERVER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let router = runtime.block_on(async { http::router(app()).expect("the schema is sound") });
    (runtime, router)
});

fn app() -> App {
    let settings = [
        "cardea",
        "--database-wait-secs=1",
        "--trusted-proxies=127.0.0.0/8",
        "--cors-origins=https://front.example.org",
    ];
    let Settings { config } = Settings::parse_from(settings);
    let clock = Clock::system();
    let key = SigningKey {
        id: Uuid::from_u128(7),
        private_key: generate_private_key().expect("a key"),
        signs_from: DateTime(clock.now()),
    };
    let (issuer, audience) = (config.token_issuer(), config.session.token_audience.clone());
    let master = MasterKeys::parse(MASTER_KEY).expect("a key");
    let (audit, ..) = master.new_data_key(Uuid::nil()).expect("a key");
    let secrets = Secrets {
        access_tokens: KeySet::new(&[key], issuer, audience, TimeDelta::hours(1)).expect("keys"),
        master,
        audit,
    };
    let db = Db::new(&SecretString::from(DATABASE), &config.database).expect("settings");
    App::assemble(config, db, clock, secrets).expect("settings")
}

/// The request, if there can be such a one.
fn request(input: &[u8]) -> Option<Request<Body>> {
    let (head, body) = match input.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, path) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..at], line[at + 1..].trim_ascii());
    }
    request.body(Body::from(body.to_vec())).ok()
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(request) = request(data) else {
        return Corpus::Reject;
    };
    let is_head = request.method() == Method::HEAD;
    let (runtime, router) = &*SERVER;
    let (status, headers, body) = runtime.block_on(async {
        let answer = router.clone().oneshot(request).await;
        let (parts, body) = answer.expect("the router always answers").into_parts();
        let streams = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        // A stream ends when the client goes.
        let body = if streams {
            Vec::new()
        } else {
            to_bytes(body, usize::MAX).await.expect("a body").to_vec()
        };
        (parts.status, parts.headers, body)
    });
    // Without a database it is busy; nothing makes it fail.
    assert_ne!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "{}",
        String::from_utf8_lossy(&body)
    );
    for name in HEADERS {
        assert!(headers.contains_key(name), "{status} without {name}");
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.as_bytes());
    if kind.is_some_and(|kind| kind.windows(4).any(|part| part == b"json")) && !is_head {
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let codes = answer["errors"].as_array().into_iter().flatten();
        for error in codes.map(|error| &error["extensions"]["code"]) {
            assert_ne!(error, "INTERNAL_SERVER_ERROR", "{answer}");
        }
    }
    Corpus::Keep
});
