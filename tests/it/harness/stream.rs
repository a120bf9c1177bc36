//! A client for server-sent events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::harness::{Answer, TestApp};

/// The media type of streams.
pub const EVENTS: &str = "text/event-stream";

/// An answer that goes on.
pub struct Stream {
    pub headers: HeaderMap,
    body: BodyDataStream,
}

impl Stream {
    /// The next piece; `None` at the end in good order.
    pub async fn next(&mut self) -> Option<Result<String, ()>> {
        let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await;
        let piece = piece.expect("something comes in time")?;
        Some(
            piece
                .map_err(|_| ())
                .map(|bytes| String::from_utf8(bytes.to_vec()).expect("text")),
        )
    }

    /// The next piece, which is no end.
    pub async fn text(&mut self) -> String {
        self.next().await.expect("no end").expect("not cut")
    }
}

/// Asks for a stream; gives the answer where it is another one.
pub async fn ask(
    app: &TestApp,
    accept: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<Stream, Box<Answer>> {
    let mut request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("accept", accept);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({ "query": query }).to_string();
    let request = request.body(Body::from(body)).expect("a request");
    let response = app
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    let events = response.headers()["content-type"] == "text/event-stream; charset=utf-8";
    if !events {
        return Err(Box::new(Answer::read(response).await));
    }
    assert_eq!(response.status(), StatusCode::OK);
    let (parts, body) = response.into_parts();
    let mut stream = Stream {
        headers: parts.headers,
        body: body.into_data_stream(),
    };
    assert_eq!(stream.text().await, ":\n\n", "the answer begins at once");
    Ok(stream)
}
