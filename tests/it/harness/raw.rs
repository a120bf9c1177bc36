//! Requests as no well-behaved client would send them.

use axum::body::Body;
use axum::http::{Method, Request};

use crate::harness::{Answer, TestApp};

impl TestApp {
    /// Sends a request of any kind to any path, with these headers.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("a request"))
            .await
    }

    /// Posts a body as JSON, whatever it is.
    pub async fn post_json(&self, body: impl Into<Body>) -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/graphql-response+json"),
        ];
        self.raw(Method::POST, "/graphql", &headers, body).await
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Answer {
        let accept = [("accept", "application/graphql-response+json, */*;q=0.1")];
        self.raw(Method::GET, path, &accept, Body::empty()).await
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> String {
        let count = format!("SELECT count(*)::text FROM {table}");
        self.db.text(&count).await
    }
}

/// The address of a GraphQL request by GET.
pub fn graphql_url(parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("/graphql?{}", query.finish())
}
