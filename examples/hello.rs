//! The least that axum answers: what `bench` measures servers against.
//!
//! Takes the address to listen on; answers every GET of `/` with a line of JSON.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let hello = || async {
        (
            [(CONTENT_TYPE, "application/json")],
            r#"{"data":{"hello":"world"}}"#,
        )
    };
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, Router::new().route("/", get(hello))).await
}
