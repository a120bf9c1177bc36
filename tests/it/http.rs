//! Which requests the endpoint takes in, by method, media type and parameters.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::raw::graphql_url;

const REGISTER: &str =
    "mutation Register($input: RegisterInput!) { register(input: $input) { errors { code } } }";

fn registration() -> Value {
    let input =
        json!({ "email": "ada@example.org", "fullName": "Ada Lovelace", "password": PASSWORD });
    json!({ "query": REGISTER, "variables": { "input": input } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_cannot_send_a_mutation() {
    // What a browser sends across origins without asking first; the body would do as JSON.
    let app = TestApp::new().await;
    let json = registration().to_string();
    let form = form_urlencoded(&json);
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{json}\r\n--b--\r\n"
    );
    for (content_type, body) in [
        (Some("text/plain"), &json),
        (Some("text/plain; charset=utf-8"), &json),
        (Some("text/plain; application/json"), &json),
        (Some("application/x-www-form-urlencoded"), &json),
        (Some("application/x-www-form-urlencoded"), &form),
        (Some("multipart/form-data; boundary=b"), &json),
        (Some("multipart/form-data; boundary=b"), &multipart),
        (Some("application/graphql"), &json),
        (Some("text/json"), &json),
        (Some("application/json; charset=utf-16"), &json),
        (Some("application/jsonp"), &json),
        (Some(""), &json),
        (None, &json),
    ] {
        let headers: Vec<_> = content_type
            .map(|value| ("content-type", value))
            .into_iter()
            .collect();
        let answer = app
            .raw(Method::POST, "/graphql", &headers, body.clone())
            .await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type:?}"
        );
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{content_type:?}");
    }
    for table in ["users", "jobs", "rate_limits"] {
        assert_eq!(app.count(table).await, "0", "{table}");
    }
    assert_eq!(
        app.post_json(json).await.data("register/errors"),
        &json!([])
    );
    assert_eq!(app.count("users").await, "1", "the body itself was good");
}

fn form_urlencoded(json: &str) -> String {
    let body: Value = serde_json::from_str(json).expect("JSON");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", REGISTER);
    form.append_pair("variables", &body["variables"].to_string());
    form.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_taken_in_whatever_its_case_and_charset() {
    let app = TestApp::new().await;
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=\"UTF-8\"",
    ] {
        let headers = [("content-type", content_type)];
        let body = json!({ "query": "{ __typename }" }).to_string();
        let answer = app.raw(Method::POST, "/graphql", &headers, body).await;
        assert_eq!(answer.data("__typename"), "Query", "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_post_runs_mutations() {
    let app = TestApp::new().await;
    let variables = registration()["variables"].to_string();
    let both = format!("query Harmless {{ __typename }} {REGISTER}");
    for (query, operation) in [(REGISTER, ""), (REGISTER, "Register"), (&both, "Register")] {
        let url = graphql_url(&[
            ("query", query),
            ("operationName", operation),
            ("variables", &variables),
        ]);
        let answer = app.get(&url).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{query}");
        assert_eq!(answer.codes(), ["METHOD_NOT_ALLOWED"], "{query}");
        assert_eq!(answer.header("allow"), Some("POST"), "{query}");

        // HEAD is routed as GET is, and must not read what a body asks for either.
        let headers = [("content-type", "application/json")];
        let body = registration().to_string();
        let head = app.raw(Method::HEAD, &url, &headers, body.clone()).await;
        assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED, "{query}");
        let head = app.raw(Method::HEAD, "/graphql", &headers, body).await;
        assert_eq!(head.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(app.count("users").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_runs_queries_with_operation_name_and_variables() {
    let app = TestApp::new().await;
    let query = "query A { __typename } query B($names: [String!]!) { viewer { hasPermissions(names: $names) } }";
    let variables = r#"{"names":["read:own"]}"#;
    let b = graphql_url(&[
        ("query", query),
        ("operationName", "B"),
        ("variables", variables),
        ("extensions", r#"{"clientLibrary":{"name":"x"}}"#),
    ]);
    let answer = app.get(&b).await;
    assert_eq!(answer.data("viewer/hasPermissions"), &json!([false]));
    let a = graphql_url(&[
        ("query", query),
        ("operationName", "A"),
        ("variables", ""),
        ("extensions", ""),
        ("utm", "x"),
    ]);
    assert_eq!(app.get(&a).await.data("__typename"), "Query");
    let neither = app.get(&graphql_url(&[("query", query)])).await;
    assert_eq!(neither.codes(), ["OPERATION_RESOLUTION_FAILURE"]);
    for (name, value) in [("variables", "[]"), ("variables", "{"), ("extensions", "5")] {
        let url = graphql_url(&[("query", "{ __typename }"), (name, value)]);
        let answer = app.get(&url).await;
        assert_eq!(
            (answer.status, answer.codes()),
            (StatusCode::BAD_REQUEST, vec!["BAD_USER_INPUT"])
        );
    }
    let empty = app.get("/graphql").await;
    assert_eq!(
        (empty.status, empty.codes()),
        (StatusCode::BAD_REQUEST, vec!["BAD_USER_INPUT"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_refused_on_every_route() {
    let app = TestApp::new().await;
    for path in [
        "/",
        "/graphql",
        "/health/live",
        "/health/ready",
        "/.well-known/jwks.json",
        "/confirm-email-change",
        "/forgot-password",
        "/reactivate-account",
        "/reset-password",
        "/verify-email",
        "/pages/page.css",
        "/inbox",
        "/inbox/messages.json",
        "/playground/index.html",
    ] {
        for method in [Method::TRACE, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = app.raw(method.clone(), path, &[], Body::empty()).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert!(answer.header("allow").is_some(), "{method} {path}");
            assert_eq!(answer.text, "", "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_at_most_the_bytes_of_the_setting() {
    let app = TestApp::new().await;
    let padded = |length: usize| {
        let body =
            |padding: &str| json!({ "query": "{ __typename }", "padding": padding }).to_string();
        body(&"x".repeat(length - body("").len()))
    };
    assert_eq!(
        app.post_json(padded(65_536)).await.data("__typename"),
        "Query"
    );
    let answer = app.post_json(padded(65_537)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
    assert_eq!(
        answer.json["errors"][0]["message"],
        "A body has at most 65536 bytes."
    );
    let small = TestApp::with(&["--max-body-bytes=1024"]).await;
    assert_eq!(
        small.post_json(padded(1025)).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_one_well_formed_request_is_refused() {
    let app = TestApp::new().await;
    let one = r#"{"query":"{ __typename }"}"#;
    for body in [
        format!("[{one},{one}]"),
        format!("[{one}]"),
        "[]".to_owned(),
        format!("{one}{one}"),
        r#"{"query":"{ __typename }","query":"{ me { id } }"}"#.to_owned(),
        r#"{"query":"{ __typename }","variables":{},"variables":{}}"#.to_owned(),
        r#"{"query":"{ __typename }","operationName":null,"operationName":null}"#.to_owned(),
        r#"{"query":5}"#.to_owned(),
        r#"{"query":["{ __typename }"]}"#.to_owned(),
        r#"{"query":null}"#.to_owned(),
        r#"{"query":"{ __typename }","operationName":5}"#.to_owned(),
        r#"{"query":"{ __typename }","variables":"{}"}"#.to_owned(),
        r#"{"query":"{ __typename }","variables":[]}"#.to_owned(),
        r#"{"query":"{ __typename }","variables":5}"#.to_owned(),
        r#"{"query":"{ __typename }","extensions":"x"}"#.to_owned(),
        r#"{"Query":"{ __typename }"}"#.to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        "\"{ __typename }\"".to_owned(),
        "{ __typename }".to_owned(),
        String::new(),
        format!(
            "{{\"query\":\"{{ __typename }}\",\"variables\":{{\"a\":{}{}}}}}",
            "[".repeat(5000),
            "]".repeat(5000)
        ),
    ] {
        let answer = app.post_json(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:.80}");
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{body:.80}");
        assert!(answer.json.get("data").is_none(), "{body:.80}");
    }
    let not_unicode = app
        .post_json(b"{\"query\":\"{ __typename }\xff\"}".to_vec())
        .await;
    assert_eq!(not_unicode.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_defined_is_ignored_and_null_is_as_left_out() {
    let app = TestApp::new().await;
    for body in [
        r#"{"query":"{ __typename }","extensions":{"clientLibrary":{"name":"@apollo/client"}}}"#,
        r#"{"query":"{ __typename }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
        r#"{"query":"{ __typename }","id":7,"batch":[1,2]}"#,
        r#"{"query":"{ __typename }","operationName":null,"variables":null,"extensions":null}"#,
        r#"{"query":"{ __typename }","variables":{"notInTheDocument":1}}"#,
    ] {
        assert_eq!(
            app.post_json(body).await.data("__typename"),
            "Query",
            "{body}"
        );
    }
}
