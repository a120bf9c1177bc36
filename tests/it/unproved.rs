//! Accounts whose address was not proved yet: which password is believed, and who is let in.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::registration::{REGISTER, VERIFY, input};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_registrations_with_one_address_no_password_is_believed() {
    // Somebody registers with another person's address, before them or after, and waits for them to
    // confirm it.
    for passwords in [
        ["Attackers-Pass-1", PASSWORD],
        [PASSWORD, "Attackers-Pass-1"],
    ] {
        let app = TestApp::new().await;
        app.gql(REGISTER, input(&json!({ "password": passwords[0] })))
            .await;
        let first = app.mailed_token("ada@example.org").await;
        app.advance(TimeDelta::seconds(60));
        app.gql(REGISTER, input(&json!({ "password": passwords[1] })))
            .await;
        let verify = async |token: &str| app.gql(VERIFY, json!({ "token": token })).await;
        assert_eq!(
            verify(&first).await.data("verifyEmail/errors/0/code"),
            "TOKEN_REJECTED"
        );
        let second = app.mailed_token("ada@example.org").await;
        assert_eq!(verify(&second).await.data("verifyEmail/errors"), &json!([]));
        for password in passwords {
            let refused = app.login("ada@example.org", password).await;
            assert_eq!(refused.code(), "INVALID_CREDENTIALS", "{password}");
        }
        // The owner of the mailbox sets one.
        let token = app.mailed_token("ada@example.org").await;
        assert_eq!(app.reset(&token, "Owners-Choice-9").await.code(), "");
        assert_eq!(
            app.login("ada@example.org", "Owners-Choice-9").await.code(),
            ""
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_again_with_the_same_password_keeps_it() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    app.advance(TimeDelta::seconds(60));
    app.gql(REGISTER, input(&json!({}))).await;
    let token = app.mailed_token("ada@example.org").await;
    let verified = app.gql(VERIFY, json!({ "token": token })).await;
    assert_eq!(verified.data("verifyEmail/errors"), &json!([]));
    assert_eq!(app.login("ada@example.org", PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_account_is_signed_in_to_by_its_address_alone() {
    let app = TestApp::new().await;
    app.user("bob").await;
    // With an unknown address, and with that of an account, each with a username of its own.
    for (email, username) in [("new@example.org", "one"), ("bob@example.org", "two")] {
        let form = json!({ "email": email, "username": username, "password": "Strangers-Pass-1" });
        app.gql(REGISTER, input(&form)).await;
        let by_name = app.login(username, "Strangers-Pass-1").await;
        assert_eq!(by_name.code(), "INVALID_CREDENTIALS", "{username}");
        let by_address = app.login(email, "Strangers-Pass-1").await;
        assert_eq!(
            by_address.data("login/result/__typename"),
            "EmailVerificationRequired"
        );
    }
    let owned = app.login("bob", "Strangers-Pass-1").await;
    assert_eq!(owned.code(), "INVALID_CREDENTIALS", "whose address it is");
}
