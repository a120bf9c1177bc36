//! The media type of answers, which the client chooses, and the statuses that go with it.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_chooses_the_media_type_and_with_it_the_status_of_request_errors() {
    const NEW: &str = "application/graphql-response+json";
    const OLD: &str = "application/json";
    let app = TestApp::new().await;
    for (accept, chosen) in [
        (None, Some(OLD)),
        (Some("*/*"), Some(OLD)),
        (Some(OLD), Some(OLD)),
        (Some("application/json; charset=utf-8"), Some(OLD)),
        (Some(NEW), Some(NEW)),
        (
            Some("application/graphql-response+json, application/json;q=0.9"),
            Some(NEW),
        ),
        (
            Some("application/json, application/graphql-response+json"),
            Some(NEW),
        ),
        (
            Some("application/graphql-response+json;q=0.1, application/json;q=0.2"),
            Some(OLD),
        ),
        (
            Some("text/event-stream, multipart/mixed, application/json"),
            Some(OLD),
        ),
        (Some("text/html"), None),
        (Some("text/html, application/json;q=0"), None),
        (Some("application/xml, application/graphql"), None),
        (Some(""), None),
    ] {
        for (query, executes) in [
            ("{ __typename }", true),
            ("{ nothing }", false),
            ("{", false),
            ("query A { __typename }", true),
        ] {
            let mut headers = vec![("content-type", OLD)];
            headers.extend(accept.map(|accept| ("accept", accept)));
            let body = json!({ "query": query }).to_string();
            let answer = app.raw(Method::POST, "/graphql", &headers, body).await;
            let told = format!("{accept:?} {query}");
            let status = match (chosen, executes) {
                (None, _) => StatusCode::NOT_ACCEPTABLE,
                (Some(NEW), false) => StatusCode::BAD_REQUEST,
                (Some(_), _) => StatusCode::OK,
            };
            assert_eq!(answer.status, status, "{told}");
            let content_type = format!("{}; charset=utf-8", chosen.unwrap_or(OLD));
            assert_eq!(
                answer.header("content-type"),
                Some(&*content_type),
                "{told}"
            );
            assert_eq!(
                answer.header("vary"),
                Some("Accept, Authorization, Cookie, Origin"),
                "{told}"
            );
            let members: Vec<_> = answer.json.as_object().expect("an object").keys().collect();
            let expected = if executes && chosen.is_some() {
                "data"
            } else {
                "errors"
            };
            assert_eq!(members, [expected], "{told}");
        }
    }
}
