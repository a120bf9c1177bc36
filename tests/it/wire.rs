//! Requests that are malformed before any router sees them, over a real connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::served::Served;

const REGISTER: &str = r#"{"query":"mutation { register(input: { email: \"ada@example.org\", fullName: \"Ada\", password: \"Correct-Horse-7\" }) { errors { code } } }"}"#;

/// Sends bytes and reads until the server closes the connection.
async fn exchange(served: &Served, bytes: &str) -> String {
    let address = served.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    read.expect("the server closes the connection").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_length_is_in_doubt_is_refused_and_the_connection_closed() {
    let served = Served::with(&[]).await;
    let length = REGISTER.len();
    let chunked = format!("{length:x}\r\n{REGISTER}\r\n0\r\n\r\n");
    for (what, request) in [
        (
            "two lengths",
            post(
                &format!("content-length: {length}\r\ncontent-length: 5"),
                REGISTER,
            ),
        ),
        (
            "two lengths in one",
            post(&format!("content-length: {length}, 5"), REGISTER),
        ),
        (
            "a length that is none",
            post("content-length: -1", REGISTER),
        ),
        (
            "a length with a sign",
            post(&format!("content-length: +{length}"), REGISTER),
        ),
        (
            "another encoding last",
            post("transfer-encoding: chunked, gzip", &chunked),
        ),
        (
            "a chunk too large to count",
            post(
                "transfer-encoding: chunked",
                &format!("fffffffffffffffff\r\n{REGISTER}\r\n0\r\n\r\n"),
            ),
        ),
        (
            "a chunk of no size",
            post(
                "transfer-encoding: chunked",
                &format!("x\r\n{REGISTER}\r\n0\r\n\r\n"),
            ),
        ),
        (
            "a header without a name",
            post(": x\r\ncontent-length: 0", ""),
        ),
        (
            "a space before the colon",
            post(&format!("content-length : {length}"), REGISTER),
        ),
        (
            "a folded header",
            post(&format!("x: a\r\n b\r\ncontent-length: {length}"), REGISTER),
        ),
        (
            "17 KiB of headers",
            post(
                &format!("x: {}\r\ncontent-length: {length}", "x".repeat(17 * 1024)),
                REGISTER,
            ),
        ),
        ("not HTTP", "hello\r\n\r\n".to_owned()),
    ] {
        let answer = exchange(&served, &request).await;
        let status = answer.split(' ').nth(1).unwrap_or("none");
        assert!(["400", "431"].contains(&status), "{what}: {answer}");
        assert_eq!(served.app.count("users").await, "0", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_counts_for_nothing_and_no_second_request_hides_behind_it() {
    // RFC 9112, section 6.3: by its chunks alone, and the connection ends with the answer.
    let served = Served::with(&[]).await;
    let query = r#"{"query":"{ __typename }"}"#;
    let chunked = format!("{:x}\r\n{query}\r\n0\r\n\r\n", query.len());
    let hidden = post(&format!("content-length: {}", REGISTER.len()), REGISTER);
    let body = format!("{chunked}{hidden}");
    for lengths in [
        format!(
            "content-length: {}\r\ntransfer-encoding: chunked",
            body.len()
        ),
        "content-length: 5\r\ntransfer-encoding: chunked".to_owned(),
        "transfer-encoding: chunked\r\ncontent-length: 5".to_owned(),
    ] {
        let answer = exchange(&served, &post(&lengths, &body)).await;
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{lengths}: {answer}"
        );
        assert!(answer.contains("connection: close"), "{lengths}: {answer}");
        assert!(
            answer.ends_with(r#"{"data":{"__typename":"Query"}}"#),
            "{lengths}: {answer}"
        );
    }
    assert_eq!(served.app.count("users").await, "0");
}
