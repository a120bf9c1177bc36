//! The state of a sign-in with a provider: bound to the tab that began, to one provider and one page,
//! good once and for ten minutes.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::start_of_time;
use crate::harness::oauth::{PAGE, Setup, provider};
use crate::harness::provider::FakeProvider;

/// Begins and agrees; gives what the front end would send.
async fn ready(setup: &Setup) -> Value {
    let begun = setup.app.begin("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    begun.with(&code)
}

async fn refused(setup: &Setup, input: &Value, why: &str) {
    let answer = setup.app.finish(input).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED", "{why}: {}", answer.text);
    assert_eq!(setup.app.count("users").await, "0", "{why}");
}

/// Authorizer #751: a state that is not bound to the browser lets anybody sign others in as themselves.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_address_of_the_provider_shows_finishes_nothing() {
    let setup = Setup::new().await;
    let begun = setup.app.begin("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    let mut input = begun.with(&code);
    for state in [
        begun.parameter("state"),
        String::new(),
        "cos_".repeat(3),
        "x".repeat(20_000),
    ] {
        input["state"] = state.as_str().into();
        input["returnedState"] = Value::Null;
        refused(&setup, &input, &state).await;
    }
    // All of that left the sign-in as it was.
    let answer = setup.app.finish(&begun.with(&code)).await;
    assert_eq!(answer.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_finish_one_sign_in_one_does() {
    let setup = Setup::new().await;
    let input = ready(&setup).await;
    let all = (0..40).map(|_| setup.app.finish(&input));
    let answers = futures_util::future::join_all(all).await;
    let codes: Vec<_> = answers.iter().map(|answer| answer.code()).collect();
    let good = codes.iter().filter(|code| code.is_empty()).count();
    let rejected = codes
        .iter()
        .filter(|code| **code == "TOKEN_REJECTED")
        .count();
    assert_eq!((good, rejected), (1, 39), "{codes:?}");
    assert_eq!(setup.app.live_sessions().await, "1");
    assert_eq!(setup.acme.times("/token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_good_for_ten_minutes_and_for_one_try() {
    let setup = Setup::new().await;
    let input = ready(&setup).await;
    setup.app.advance(TimeDelta::minutes(10));
    refused(&setup, &input, "too late").await;
    assert_eq!(setup.acme.times("/token"), 0, "nothing is asked then");

    let input = ready(&setup).await;
    setup.app.advance(TimeDelta::seconds(599));
    let mut wrong = input.clone();
    wrong["code"] = "wrong".into();
    refused(&setup, &wrong, "a wrong code").await;
    refused(&setup, &input, "used up by the wrong code").await;
    let forgotten = ready(&setup).await;
    assert_ne!(forgotten, input);
    setup.app.advance(TimeDelta::minutes(11));
    cardea::services::cleaning::clean(&setup.app.app)
        .await
        .expect("cleaned");
    assert_eq!(setup.app.count("oauth_states").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_and_for_the_sign_in_that_it_was_given_for() {
    let setup = Setup::new().await;
    let (mine, yours) = (setup.app.begin("acme").await, setup.app.begin("acme").await);
    // The code of an attacker's own sign-in, slipped into somebody else's.
    let code = setup.acme.agree(&yours.url, "eve", "eve@example.org", None);
    refused(&setup, &mine.with(&code), "PKCE").await;
    let input = ready(&setup).await;
    assert_eq!(setup.app.finish(&input).await.code(), "");
    let begun = setup.app.begin("acme").await;
    let again = begun.with(input["code"].as_str().expect("a code"));
    assert_eq!(setup.app.finish(&again).await.code(), "TOKEN_REJECTED");
    for code in [String::new(), "x".repeat(2049)] {
        let begun = setup.app.begin("acme").await;
        let asked = setup.acme.times("/token");
        assert_eq!(
            setup.app.finish(&begun.with(&code)).await.code(),
            "TOKEN_REJECTED"
        );
        assert_eq!(setup.acme.times("/token"), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_that_comes_back_is_the_one_that_went() {
    let setup = Setup::new().await;
    let mut input = ready(&setup).await;
    input["returnedState"] = setup.app.begin("acme").await.parameter("state").into();
    refused(&setup, &input, "of another sign-in").await;
    let mut input = ready(&setup).await;
    input["returnedState"] = Value::Null;
    assert_eq!(setup.app.finish(&input).await.code(), "");
}

/// RFC 9700, section 4.4: the answer of one provider shown to another one.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_one_provider_is_not_taken_for_that_of_another() {
    let clock = cardea::clock::Clock::fixed(start_of_time());
    let acme = FakeProvider::new(&clock).await;
    let evil = FakeProvider::new(&clock).await;
    let settings = json!([provider("acme", &acme.url), provider("evil", &evil.url)]);
    let setup = Setup::of(clock, acme, &settings, &[]).await;
    let mut input = ready(&setup).await;
    input["provider"] = "evil".into();
    refused(&setup, &input, "another provider").await;
    assert_eq!(evil.times("/token"), 0, "the code is not shown to it");
    input["provider"] = "acme".into();
    refused(&setup, &input, "used up").await;

    // `iss` beside the code, RFC 9207.
    let mut input = ready(&setup).await;
    input["iss"] = evil.url.as_str().into();
    refused(&setup, &input, "another issuer").await;
    assert_eq!(setup.acme.times("/token"), 0);
    let mut input = ready(&setup).await;
    input["iss"] = setup.acme.url.as_str().into();
    assert_eq!(setup.app.finish(&input).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_it_names_itself_has_to() {
    let setup = Setup::new().await;
    setup.acme.behaviour().metadata =
        Box::new(|told| told["authorization_response_iss_parameter_supported"] = true.into());
    let input = ready(&setup).await;
    refused(&setup, &input, "no issuer").await;
    assert_eq!(setup.acme.times("/token"), 0);
    let mut input = ready(&setup).await;
    input["iss"] = setup.acme.url.as_str().into();
    assert_eq!(setup.app.finish(&input).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_on_the_list_are_come_back_to() {
    let setup = Setup::new().await;
    for page in [
        "",
        "https://app.example.org",
        "https://app.example.org/",
        "https://app.example.org/welcome/",
        "https://app.example.org/welcome?next=//evil.example",
        "https://app.example.org/welcome#x",
        "https://app.example.org:8443/welcome",
        "https://app.example.org:443/welcome",
        "https://APP.example.org/welcome",
        "https://app-example.org/welcome",
        "https://appXexample.org/welcome",
        "https://app.example.org.evil.example/welcome",
        "https://app.example.org@evil.example/welcome",
        "https://evil.example\\@app.example.org/welcome",
        "http://app.example.org/welcome",
        "//app.example.org/welcome",
        "javascript:alert(1)//https://app.example.org/welcome",
        " https://app.example.org/welcome",
        "https://app.example.org/./welcome",
        "https://app.example.org/welcome%00",
        "http://127.0.0.1:8001/oauth/callback",
    ] {
        let answer = setup.app.start("acme", page).await;
        assert_eq!(answer.code(), "INVALID_VALUE", "{page}");
        assert_eq!(
            answer.data("startOAuthSignIn/authorizationUrl"),
            &Value::Null
        );
        assert_eq!(
            answer.data("startOAuthSignIn/errors/0/path"),
            &json!(["input", "redirectUri"])
        );
    }
    assert_eq!(setup.app.count("oauth_states").await, "0");
    assert_eq!(setup.app.start("acme", PAGE).await.code(), "");
    assert_eq!(setup.app.start("nobody", PAGE).await.code(), "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_only_the_servers_own_page_is_come_back_to() {
    let clock = cardea::clock::Clock::fixed(start_of_time());
    let acme = FakeProvider::new(&clock).await;
    let settings = format!("--oidc-providers={}", json!([provider("acme", &acme.url)]));
    let app =
        crate::harness::TestApp::with(&[&settings, "--public-url=https://id.example.org/x"]).await;
    let own = "https://id.example.org/x/oauth/callback";
    assert_eq!(app.start("acme", own).await.code(), "");
    assert_eq!(app.start("acme", PAGE).await.code(), "INVALID_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_too_often_waits_and_the_provider_is_left_alone() {
    let setup = Setup::with(&["--oauth-per-network=2"]).await;
    let input = ready(&setup).await;
    assert_eq!(setup.app.finish(&input).await.code(), "");
    let asked = setup.acme.behaviour().asked.len();
    assert!(setup.app.start("acme", PAGE).await.wait() > 0);
    assert!(setup.app.finish(&input).await.wait() > 0);
    assert_eq!(setup.acme.behaviour().asked.len(), asked);
}
