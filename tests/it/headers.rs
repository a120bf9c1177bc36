//! Headers of every answer: what each has, and what none tells.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::harness::{Answer, TestApp};

const DEFAULTS: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// An answer of every kind, with what it is the answer to.
async fn answers(app: &TestApp) -> Vec<(String, Answer)> {
    let json = [("content-type", "application/json")];
    let mut answers = vec![
        (
            "a result".to_owned(),
            app.gql("{ __typename }", Value::Null).await,
        ),
        (
            "a field that fails".to_owned(),
            app.gql("{ users { totalCount } }", Value::Null).await,
        ),
        (
            "a document that does not fit".to_owned(),
            app.gql("{ nothing }", Value::Null).await,
        ),
        (
            "a document that is none".to_owned(),
            app.gql("{", Value::Null).await,
        ),
        (
            "a bad token".to_owned(),
            app.gql_as(Some("x"), "{ __typename }", Value::Null).await,
        ),
        (
            "a body that is not JSON".to_owned(),
            app.post_json("{").await,
        ),
        (
            "a body too large".to_owned(),
            app.post_json("x".repeat(70_000)).await,
        ),
        (
            "no content type".to_owned(),
            app.raw(Method::POST, "/graphql", &[], "{}").await,
        ),
        (
            "not acceptable".to_owned(),
            app.raw(
                Method::POST,
                "/graphql",
                &[json[0], ("accept", "text/html")],
                "{}",
            )
            .await,
        ),
        (
            "another method".to_owned(),
            app.raw(Method::DELETE, "/graphql", &[], Body::empty())
                .await,
        ),
        (
            "a preflight".to_owned(),
            app.raw(
                Method::OPTIONS,
                "/graphql",
                &[("origin", "https://evil.example")],
                Body::empty(),
            )
            .await,
        ),
    ];
    for path in [
        "/graphql",
        "/graphql?query=mutation%7Blogout%7BendedSessions%7D%7D",
        "/nowhere",
        "/graphql/",
        "/health/live",
        "/health/ready",
        "/.well-known/jwks.json",
        "/confirm-email-change",
        "/forgot-password",
        "/reactivate-account",
        "/reset-password",
        "/verify-email",
        "/pages/forgot-password.js",
        "/pages/link.js",
        "/pages/page.css",
        "/pages/page.js",
        "/pages/reset-password.js",
        "/pages/texts.js",
        "/pages/nothing.js",
        "/",
        "/playground/nothing.js",
        "/inbox",
        "/inbox/messages.json",
        "/inbox/unknown",
        "/inbox/unknown/html",
    ] {
        answers.push((path.to_owned(), app.get(path).await));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_default_headers() {
    let app = TestApp::new().await;
    let mut statuses = std::collections::BTreeSet::new();
    for (what, answer) in answers(&app).await {
        statuses.insert(answer.status.as_u16());
        for (name, default) in DEFAULTS {
            let expected = match (name, &*what) {
                // Public and the same for everybody.
                ("cache-control", "/.well-known/jwks.json") => "public, max-age=300",
                ("cache-control", path)
                    if path.starts_with("/pages/") && path != "/pages/nothing.js" =>
                {
                    "no-cache"
                }
                _ => default,
            };
            assert_eq!(answer.header(name), Some(expected), "{name} of {what}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(part), "{part} of {what}: {policy}");
        }
        assert!(!policy.contains("unsafe-eval"), "{what}: {policy}");
        assert_eq!(
            answer.header("x-request-id").map(str::len),
            Some(32),
            "{what}"
        );
        assert_eq!(
            answer.headers.get_all("x-request-id").iter().count(),
            1,
            "{what}"
        );
        assert_eq!(answer.header("strict-transport-security"), None, "{what}");
    }
    assert_eq!(
        Vec::from_iter(statuses),
        [200, 400, 401, 404, 405, 406, 413, 415]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_tells_what_serves_it() {
    let app = TestApp::new().await;
    for (what, answer) in answers(&app).await {
        for name in ["server", "x-powered-by", "via"] {
            assert_eq!(answer.header(name), None, "{name} of {what}");
        }
        let told = format!("{:?} {}", answer.headers, answer.text).to_lowercase();
        for telling in [
            env!("CARGO_PKG_VERSION"),
            "hyper",
            "axum",
            "async-graphql",
            "postgres",
            "/src/",
        ] {
            assert!(!told.contains(telling), "{telling} in {what}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_origin_is_allowed_to_read_the_answers_but_the_public_keys() {
    let app = TestApp::new().await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1:8000"] {
        for (method, path) in [
            (Method::OPTIONS, "/graphql"),
            (Method::POST, "/graphql"),
            (Method::GET, "/inbox/messages.json"),
        ] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
            ];
            let answer = app.raw(method, path, &headers, Body::empty()).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin} {path}"
            );
        }
    }
    let keys = app.get("/.well-known/jwks.json").await;
    assert_eq!(keys.header("access-control-allow-origin"), Some("*"));
    assert_eq!(keys.header("access-control-allow-credentials"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_may_be_framed_by_the_inbox_and_runs_nothing() {
    let app = TestApp::new().await;
    app.register("ada").await;
    app.run_jobs().await;
    let mail = app.mails().remove(0);
    let framed = app.get(&format!("/inbox/{}/html", mail.id)).await;
    assert_eq!(framed.header("x-frame-options"), Some("SAMEORIGIN"));
    let policy = framed.header("content-security-policy").unwrap_or_default();
    for part in ["default-src 'none'", "frame-ancestors 'self'", "sandbox "] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    for part in [
        "script-src",
        "allow-scripts",
        "allow-same-origin",
        "allow-forms",
        "http",
    ] {
        assert!(!policy.contains(part), "{part}: {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_https_browsers_are_told_to_stay_there_for_a_year() {
    let app = TestApp::with(&["--public-url=https://accounts.example.org"]).await;
    for path in [
        "/graphql?query=%7B__typename%7D",
        "/nowhere",
        "/verify-email",
    ] {
        let answer = app.get(path).await;
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=31536000; includeSubDomains"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_not_there() {
    let app = TestApp::with(&["--playground=false"]).await;
    assert_eq!(app.get("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.get("/playground/index.html").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(app.get("/inbox").await.status, StatusCode::OK);
    let app = TestApp::with(&["--inbox=false"]).await;
    assert_eq!(app.get("/").await.status, StatusCode::OK);
    for path in [
        "/inbox",
        "/inbox/messages.json",
        "/inbox/1",
        "/inbox/1/html",
    ] {
        assert_eq!(app.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_database_lives_but_is_not_ready_and_says_no_more() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/health/ready").await.text, "ready\n");
    app.app.db.close();
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.text, "the database does not answer\n");
    assert_eq!(app.get("/health/live").await.text, "alive\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_pending_migrations_is_not_ready() {
    let app = TestApp::new().await;
    app.db.sql("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)").await;
    let ready = app.get("/health/ready").await;
    assert_eq!(
        (ready.status, &*ready.text),
        (StatusCode::SERVICE_UNAVAILABLE, "migrations are pending\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_id_that_the_server_gave_it() {
    let app = TestApp::new().await;
    let forged = Request::get("/health/live")
        .header("x-request-id", "forged")
        .body(Body::empty());
    let answer = app.send(forged.expect("a request")).await;
    assert_ne!(answer.header("x-request-id"), Some("forged"));
}
