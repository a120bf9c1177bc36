//! The flows of `examples/spa` once more with the clients Apollo and Relay, as tests of the schema.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use cardea::clock::Clock;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::app::start_of_time;
use crate::harness::node::{Scripts, say};
use crate::harness::served::Served;

/// Runs a script of `tests/clients` against a server of its own.
async fn through_the_flows(script: &'static str) {
    // Types and documents of the example are those of Apollo's script.
    let build = || {
        Scripts::built("examples/spa", &["schema.graphql"])?;
        let others = [
            "schema.graphql",
            "examples/spa/src/operations.graphql",
            "tests/browser/factors.mjs",
        ];
        Scripts::built("tests/clients", &others)
    };
    let Some(scripts) = tokio::task::spawn_blocking(build).await.expect("built") else {
        return;
    };
    let flags = ["--resend-secs=0"];
    let served = Served::at("localhost", &flags, Clock::fixed(start_of_time())).await;
    let clock = served.app.app.clock.clone();
    let later = post(async move || {
        clock.advance(TimeDelta::minutes(20));
        StatusCode::NO_CONTENT
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let later_url = format!("http://{}/", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    let router = Router::new().route("/", later);
    serving.spawn(async move { axum::serve(listener, router).await });
    let url = served.url.clone();
    let password = served.administrator().await;
    let run = move || {
        let variables = [
            ("BASE_URL", &*url),
            ("ADMIN_PASSWORD", password),
            ("LATER", &later_url),
        ];
        scripts.run(script, &variables)
    };
    let printed = tokio::task::spawn_blocking(run).await.expect("run");
    say(printed.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn apollo_client_takes_people_through_an_account() {
    through_the_flows("dist/tests/clients/src/apollo.js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_compiles_against_the_schema_and_takes_people_through_an_account() {
    through_the_flows("dist/tests/clients/src/relay.js").await;
}
