//! The pages in a real browser: GraphiQL, the inbox, the pages behind mailed links, and pages of others.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use cardea::clock::Clock;
use cardea::http::playground::EMBEDDED;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::app::start_of_time;
use crate::harness::chromium::Chromium;
use crate::harness::node::skip;
use crate::harness::served::Served;

/// Runs a script of `tests/browser` with these variables against a server of its own with these
/// flags, where there is a browser.
async fn in_chromium(script: &'static str, flags: &[&str], variables: &[(&'static str, &String)]) {
    let clock = Clock::fixed(start_of_time());
    in_chromium_at("127.0.0.1", clock, script, flags, variables).await;
}

/// The same with a server under this name, on this clock.
async fn in_chromium_at(
    host: &str,
    clock: Clock,
    script: &'static str,
    flags: &[&str],
    variables: &[(&'static str, &String)],
) {
    const EXAMPLES: &[&str] = &[
        "playground/package.json",
        "playground/src/examples.js",
        "docs/PASSKEYS.md",
    ];
    let Some(chromium) = Chromium::found(EXAMPLES).await else {
        return;
    };
    // Mails follow one another faster here than people ask for them.
    let flags: Vec<_> = flags.iter().copied().chain(["--resend-secs=0"]).collect();
    let served = Served::at(host, &flags, clock).await;
    let mut all = vec![("BASE_URL", &*served.url)];
    all.extend(
        variables
            .iter()
            .map(|(name, value)| (*name, value.as_str())),
    );
    chromium.run(script, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graphiql_works_without_any_other_origin() {
    if !EMBEDDED {
        return skip("this build has no GraphiQL in it");
    }
    in_chromium("playground.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_confirms_an_address_through_the_inbox_and_the_built_in_page() {
    in_chromium("pages.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_pages_lead_back_into_an_account_in_the_language_of_the_browser() {
    in_chromium("recovery.mjs", &["--mails-per-hour=5"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_sign_in_at_sets_up_and_takes_every_proof() {
    let clock = Clock::fixed(start_of_time());
    in_chromium_at("localhost", clock, "sign-in.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_sign_in_at_leads_to_a_compulsory_second_factor() {
    let clock = Clock::fixed(start_of_time());
    let flags = ["--two-factor-required=everybody"];
    in_chromium_at("localhost", clock, "compulsory.mjs", &flags, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_passkeys_as_the_documentation_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let page = Html("<!doctype html><link rel=\"icon\" href=\"data:,\">");
    let other = Router::new().route("/", get(async move || page));
    let mut serving = JoinSet::new();
    serving.spawn(async { axum::serve(listener, other).await });
    let other = format!("http://localhost:{port}");
    // Browsers make no passkeys for numbers.
    let clock = Clock::fixed(start_of_time());
    in_chromium_at("localhost", clock, "passkey.mjs", &[], &[("OTHER", &other)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_lets_pages_of_listed_origins_use_the_api_and_no_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let page = Html("<!doctype html><link rel=\"icon\" href=\"data:,\">");
    let front_end = Router::new().route("/", get(async move || page));
    let mut serving = JoinSet::new();
    serving.spawn(async { axum::serve(listener, front_end).await });
    let (listed, other) = (
        format!("http://app.localhost:{port}"),
        format!("http://other.localhost:{port}"),
    );
    let flag = format!("--cors-origins={listed}");
    let variables = [("LISTED", &listed), ("OTHER", &other)];
    in_chromium("cors.mjs", &[&flag], &variables).await;
}

/// Runs a script that starts a real OpenID provider, with its own pages and every redirect.
async fn at_a_provider(script: &'static str) {
    // The script starts the provider there.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let providers = json!([{
        "slug": "acme", "name": "Acme", "issuer": issuer, "clientId": "cardea",
        "clientSecret": "a-secret-of-32-characters-or-more",
    }]);
    let flag = format!("--oidc-providers={providers}");
    // Its ID tokens are of this day.
    let clock = Clock::system();
    let variables = [("ISSUER", &issuer)];
    in_chromium_at("127.0.0.1", clock, script, &[&flag], &variables).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_signs_people_in_and_links_accounts() {
    at_a_provider("oauth.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_sign_in_at_leads_to_a_provider_and_back() {
    at_a_provider("sign-in-provider.mjs").await;
}
