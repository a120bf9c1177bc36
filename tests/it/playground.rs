//! The pages in a real browser: GraphiQL, the inbox, and the page behind a mailed link.

use std::path::Path;

use cardea::http::playground::EMBEDDED;

use crate::harness::node::{Scripts, say, skip, variable};
use crate::harness::served::Served;

/// Runs a script of `tests/browser` against a server of its own, where there is a browser.
async fn in_chromium(script: &'static str) {
    let chromium = variable("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() {
        return skip(&format!("there is no Chromium at {chromium}"));
    }
    let examples = ["playground/package.json", "playground/src/examples.js"];
    let install = move || Scripts::installed("browser", &examples);
    let Some(scripts) = tokio::task::spawn_blocking(install)
        .await
        .expect("installed")
    else {
        return;
    };
    // Mails follow one another faster here than people ask for them.
    let served = Served::with(&["--resend-secs=0"]).await;
    let url = served.url.clone();
    let run = move || scripts.run(script, &[("BASE_URL", &url), ("CHROMIUM", &chromium)]);
    let printed = tokio::task::spawn_blocking(run).await.expect("run");
    say(printed.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn graphiql_works_without_any_other_origin() {
    if !EMBEDDED {
        return skip("this build has no GraphiQL in it");
    }
    in_chromium("playground.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_confirms_an_address_through_the_inbox_and_the_built_in_page() {
    in_chromium("pages.mjs").await;
}
