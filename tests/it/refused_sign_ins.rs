//! Refused tries to sign in: each is counted once, whatever was tried, and says nothing of who was meant.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::authenticator::{Authenticator, How};
use crate::harness::oauth::Setup;
use crate::harness::provider::Mood;

const WRONG: &str = "Wrong-Horse-7";

/// How many tries were refused so far.
async fn refused(app: &TestApp) -> String {
    let count = "SELECT count(*)::text FROM login_events WHERE NOT succeeded";
    app.db.text(count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_passwords_and_codes_are_counted() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    assert_eq!(app.login("ada", WRONG).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(refused(&app).await, "1");
    assert_eq!(
        app.login("nobody", WRONG).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(refused(&app).await, "2", "an unknown name");
    let device = ada.with_two_factor(&app).await;
    let challenge = app.challenge("ada").await;
    assert_eq!(refused(&app).await, "2", "a first step that is right");
    let answer = app.verify_code(&challenge, &device.wrong_code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    assert_eq!(refused(&app).await, "3", "a wrong code");
    let answer = app.verify_code("ctf_unknown", &device.code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    assert_eq!(refused(&app).await, "4", "an unknown step");
    app.verify_code(&challenge, &device.code()).await;
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    assert_eq!(refused(&app).await, "5", "a code that was used before");
    let eve = app.user("eve").await;
    eve.deactivate(PASSWORD).await;
    assert_eq!(
        app.login("eve", PASSWORD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
    assert_eq!(refused(&app).await, "6", "a closed account");
    app.register("bob").await;
    assert_eq!(app.login("bob@example.org", PASSWORD).await.code(), "");
    assert_eq!(
        refused(&app).await,
        "6",
        "an address that waits to be proved"
    );
    let named =
        "SELECT count(*)::text FROM login_events WHERE NOT succeeded AND user_id IS NOT NULL";
    assert_eq!(app.db.text(named).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_refuses_is_not_counted() {
    let app = TestApp::with(&["--login-tries=2", "--logins-per-network=5"]).await;
    app.user("ada").await;
    for _ in 0..5 {
        app.login("ada", WRONG).await;
    }
    assert_eq!(app.login("ada", PASSWORD).await.code(), "TOO_MANY_ATTEMPTS");
    assert_eq!(refused(&app).await, "2");
    // Nor what is refused for its form, before any limit: anybody could write without end.
    app.advance(TimeDelta::hours(1));
    for name in ["\u{e4}da", &"a".repeat(255)] {
        assert_eq!(app.login(name, WRONG).await.code(), "INVALID_CREDENTIALS");
    }
    let long = "x".repeat(10_000);
    assert_eq!(app.login("ada", &long).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(refused(&app).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_passkeys_are_counted() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    app.sign_in_by(&mut key).await;
    assert_eq!(refused(&app).await, "0");
    let answer = app
        .passkey_sign_in(&mut Authenticator::new(), &How::default())
        .await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    assert_eq!(refused(&app).await, "1");
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &How::default());
    assert_eq!(
        app.finish_passkey_sign_in("unknown", &credential)
            .await
            .code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(refused(&app).await, "2", "an unknown ceremony");
    assert_eq!(
        app.finish_passkey_sign_in(&begun.token, &json!({}))
            .await
            .code(),
        "INVALID_VALUE"
    );
    assert_eq!(refused(&app).await, "2", "a malformed answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_answers_of_providers_are_counted_and_providers_that_fail_are_not() {
    let setup = Setup::new().await;
    let app = &setup.app;
    setup.signed_in("ada", "ada@example.org").await;
    assert_eq!(refused(app).await, "0");
    setup.acme.behaviour().mood = Mood::Html;
    assert_eq!(
        setup.sign_in("ada", "ada@example.org").await.code(),
        "REJECTED"
    );
    assert_eq!(refused(app).await, "0", "the provider failed");
    setup.acme.behaviour().mood = Mood::Good;
    let begun = app.begin("acme").await;
    assert_eq!(
        app.finish(&begun.with("no-such-code")).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(
        refused(app).await,
        "1",
        "a code that the provider does not know"
    );
    assert_eq!(
        app.finish(&begun.with("no-such-code")).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(refused(app).await, "2", "a sign-in that is used up");
    setup
        .acme
        .claims(|claims| claims["email_verified"] = Value::Bool(false));
    assert_eq!(
        setup.sign_in("joe", "joe@example.org").await.code(),
        "REJECTED"
    );
    assert_eq!(
        refused(app).await,
        "3",
        "the provider does not vouch for the address"
    );
}
