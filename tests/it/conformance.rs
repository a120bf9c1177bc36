//! The audits of graphql-http for the GraphQL over HTTP specification, by a client in Node.

use serde_json::{Value, json};

use crate::harness::node::{Scripts, say};
use crate::harness::served::Served;

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_of_graphql_over_http_passes() {
    let install = || Scripts::installed("conformance", &[]);
    let Some(scripts) = tokio::task::spawn_blocking(install)
        .await
        .expect("installed")
    else {
        return;
    };
    let served = Served::with(&[]).await;
    let url = served.url.clone();
    let audit = move || scripts.run("audit.mjs", &[("BASE_URL", &url)]);
    let printed = tokio::task::spawn_blocking(audit).await.expect("an audit");
    let report: Value = serde_json::from_str(&printed).expect("a report");
    let count = |status: &str| &report[status];
    say(&format!(
        "conformance: {} audits, {} ok, {} notices, {} warnings, {} errors",
        count("total"),
        count("ok"),
        count("notice"),
        count("warn"),
        count("error")
    ));
    assert_eq!(
        report,
        json!({ "total": 61, "ok": 61, "notice": 0, "warn": 0, "error": 0, "findings": [] })
    );
}
