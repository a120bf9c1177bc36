//! A client for the real server: one request, one connection, one answer read to its end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::harness::client::Answer;
use crate::harness::told;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection on which nothing was sent yet.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out that is not zero");
    stream
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Runs a document, with an access token if there is one.
pub fn gql(address: SocketAddr, token: Option<&str>, query: &str, variables: &Value) -> Answer {
    exchange(address, &post(address, token, query, variables))
}

/// The request of [`gql`], as it goes over the wire.
pub fn post(address: SocketAddr, token: Option<&str>, query: &str, variables: &Value) -> String {
    told::addresses(query);
    told::json(variables);
    let bearer = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let body = json!({ "query": query, "variables": variables }).to_string();
    format!(
        "POST /graphql HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{bearer}\
         Content-Type: application/json\r\nAccept: application/graphql-response+json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address);
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    read(stream)
}

/// Reads one answer to the end of the connection.
pub fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a whole answer");
    let whole = String::from_utf8_lossy(&bytes);
    let (head, text) = whole
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no whole head: {whole:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|code| code.parse::<StatusCode>().ok());
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| {
            let name = name.parse::<HeaderName>().ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        })
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok());
    assert_eq!(
        length,
        Some(text.len().to_string().as_str()),
        "the answer was cut: {whole}"
    );
    let json = serde_json::from_str(text).unwrap_or_default();
    told::json(&json);
    told::cookies(&headers);
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {whole:?}")),
        headers,
        text: text.to_owned(),
        json,
    }
}
