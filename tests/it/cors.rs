//! Which pages of other origins may use the API: those of the listed origins, to the letter.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::harness::app::MASTER_KEY;
use crate::harness::app::config;
use crate::harness::{Answer, Program, TestApp};

const APP: &str = "https://app.example.org";
const LOCAL: &str = "http://localhost:5173";
const LIST: &str = "--cors-origins=https://app.example.org, http://localhost:5173";

/// Origins that are listed nowhere, some of which look as if they were.
const STRANGERS: [&str; 16] = [
    "null",
    "*",
    "",
    "https://evil.example",
    "https://app.example.org.evil.example",
    "https://evilapp.example.org",
    "https://a.app.example.org",
    "https://example.org",
    "http://app.example.org",
    "https://app.example.org:8443",
    "https://app.example.org:443",
    "https://app.example.org/",
    "https://APP.example.org",
    "https://app.example.org, http://localhost:5173",
    "http://localhost:5174",
    "http://127.0.0.1:8000",
];

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ];
    app.raw(Method::OPTIONS, path, &headers, Body::empty())
        .await
}

async fn post(app: &TestApp, origins: &[&str]) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(origins.iter().map(|origin| ("origin", *origin)));
    let body = json!({ "query": "{ __typename }" }).to_string();
    app.raw(Method::POST, "/graphql", &headers, body).await
}

/// The headers of an answer that concern other origins, by name.
fn cors(answer: &Answer) -> Vec<(&str, &str)> {
    let mut found: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-"))
        .map(|(name, value)| (&name.as_str()[15..], value.to_str().expect("text")))
        .collect();
    found.sort_unstable();
    found
}

const READABLE: (&str, &str) = (
    "expose-headers",
    "x-request-id, retry-after, www-authenticate",
);

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_origin_is_told_what_its_pages_may_send_and_read() {
    let app = TestApp::with(&[LIST]).await;
    for origin in [APP, LOCAL] {
        let answer = preflight(&app, "/graphql", origin).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""));
        assert_eq!(
            cors(&answer),
            [
                ("allow-credentials", "true"),
                (
                    "allow-headers",
                    "authorization, content-type, accept, graphql-require-preflight, \
                     apollo-require-preflight, x-apollo-operation-name"
                ),
                ("allow-methods", "GET, POST"),
                ("allow-origin", origin),
                READABLE,
                ("max-age", "600"),
            ]
        );
        assert_eq!(answer.header("vary"), Some("Origin"));

        let answer = post(&app, &[origin]).await;
        assert_eq!(answer.data("__typename"), "Query");
        let allowed = [
            ("allow-credentials", "true"),
            ("allow-origin", origin),
            READABLE,
        ];
        assert_eq!(cors(&answer), allowed);
        // A page must be able to read why it was refused.
        for headers in [
            vec![("origin", origin)],
            vec![
                ("origin", origin),
                ("content-type", "application/json"),
                ("authorization", "Bearer x"),
            ],
        ] {
            let answer = app
                .raw(
                    Method::POST,
                    "/graphql",
                    &headers,
                    "{\"query\":\"{me{id}}\"}",
                )
                .await;
            assert!(answer.status.is_client_error(), "{headers:?}");
            assert_eq!(cors(&answer), allowed, "{headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_origin_is_let_in_however_much_it_looks_like_one() {
    for app in [TestApp::with(&[LIST]).await, TestApp::new().await] {
        for origin in STRANGERS {
            for answer in [
                preflight(&app, "/graphql", origin).await,
                post(&app, &[origin]).await,
                post(&app, &[origin, APP]).await,
                post(&app, &[APP, origin]).await,
            ] {
                assert_eq!(cors(&answer), [], "{origin}");
            }
            let refused = preflight(&app, "/graphql", origin).await;
            assert_eq!(refused.status.as_u16(), 405, "{origin}");
            assert!(refused.header("allow").is_some(), "{origin}");
        }
    }
    let app = TestApp::new().await;
    assert_eq!(cors(&post(&app, &[APP]).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_endpoint_hangs_on_the_origin() {
    for app in [TestApp::with(&[LIST]).await, TestApp::new().await] {
        for origins in [&[APP][..], &["null"], &[]] {
            let answer = post(&app, origins).await;
            let all = "Accept, Authorization, Cookie, Origin";
            assert_eq!(answer.header("vary"), Some(all), "{origins:?}");
            let count = answer.headers.get_all("vary").iter().count();
            assert_eq!(count, 1, "{origins:?}");
            for method in [Method::OPTIONS, Method::DELETE, Method::GET] {
                let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
                let answer = app
                    .raw(method.clone(), "/graphql", &headers, Body::empty())
                    .await;
                let vary = answer.header("vary").unwrap_or_default();
                assert!(vary.ends_with("Origin"), "{method} {origins:?}: {vary}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_origin_reads_the_endpoint_and_nothing_beside_it() {
    let app = TestApp::with(&[LIST]).await;
    for path in [
        "/",
        "/inbox",
        "/inbox/messages.json",
        "/verify-email",
        "/reset-password",
        "/health/live",
        "/nowhere",
    ] {
        let answer = app
            .raw(Method::GET, path, &[("origin", APP)], Body::empty())
            .await;
        assert_eq!(cors(&answer), [], "{path}");
        let answer = preflight(&app, path, APP).await;
        assert_eq!(cors(&answer), [], "{path}");
        let refused = if path == "/nowhere" { 404 } else { 405 };
        assert_eq!(answer.status.as_u16(), refused, "{path}");
    }
    // Public, so without anybody's credentials.
    let keys = app
        .raw(
            Method::GET,
            "/.well-known/jwks.json",
            &[("origin", APP)],
            Body::empty(),
        )
        .await;
    assert_eq!(cors(&keys), [("allow-origin", "*")]);
    // Without the question of a browser, OPTIONS is a method like any other.
    let plain = app
        .raw(
            Method::OPTIONS,
            "/graphql",
            &[("origin", APP)],
            Body::empty(),
        )
        .await;
    assert_eq!(plain.status.as_u16(), 405);
}

#[test]
fn the_servers_own_origin_is_allowed_beside_the_listed_ones() {
    let own = config(&[LIST, "--public-url=https://Accounts.example.org:443/base/"]);
    for (origin, allowed) in [
        ("https://accounts.example.org", true),
        (APP, true),
        (LOCAL, true),
        ("https://accounts.example.org:443", false),
        ("https://accounts.example.org/", false),
        ("https://accounts.example.org/base", false),
        ("http://accounts.example.org", false),
        ("https://evil.example", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(own.origin_allowed(origin), allowed, "{origin}");
    }
    let bare = config(&[]);
    assert!(bare.origin_allowed("http://127.0.0.1:8000"));
    for origin in [APP, "http://127.0.0.1", "null"] {
        assert!(!bare.origin_allowed(origin), "{origin}");
    }
    assert!(!config(&["--public-url=data:text/plain,x"]).origin_allowed("null"));
}

#[test]
fn an_origin_that_no_browser_sends_is_refused_at_start() {
    for wrong in [
        "*",
        "null",
        "https://*.example.org",
        "https://app.example.org/",
        "https://a@app.example.org",
    ] {
        let list = format!("{APP}, {wrong}");
        let checked = Program::new().with("CARDEA_CORS_ORIGINS", &list).run(&[]);
        assert_eq!(
            checked.error(),
            format!(
                "CARDEA_CORS_ORIGINS: `{wrong}` is no origin such as https://app.example.org or http://localhost:5173"
            )
        );
    }
    for none in ["", " , "] {
        let program = Program::new().with("CARDEA_CORS_ORIGINS", none);
        program.run(&["config", "check"]).success();
    }
}

#[test]
fn production_refuses_origins_that_anybody_between_could_speak_for() {
    let program = |list: &str| {
        Program::new()
            .with("CARDEA_MODE", "production")
            .with("CARDEA_MASTER_KEY", MASTER_KEY)
            .with("CARDEA_PUBLIC_URL", "https://accounts.example.org")
            .with("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c")
            .with("CARDEA_CORS_ORIGINS", list)
    };
    let sound = format!("{APP},{LOCAL},http://127.0.0.1:3000,http://[::1]:3000,http://a.localhost");
    program(&sound).run(&["config", "check"]).success();
    let checked =
        program("http://app.example.org,http://localhost.example.org").run(&["config", "check"]);
    assert_eq!(
        checked.stdout,
        "production: CARDEA_CORS_ORIGINS: `http://app.example.org` must be an https origin\n\
         production: CARDEA_CORS_ORIGINS: `http://localhost.example.org` must be an https origin\n"
    );
}
