//! Changing a password, former passwords, and passwords that become too old.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::{NEW_PASSWORD, Visitor};

const ADA: &str = "ada@example.org";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ends_the_other_sessions_and_spares_the_one_that_asks() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let elsewhere = app.sign_in("ada").await;
    let bob = app.user("bob").await;
    let answer = ada.change_password(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(
        answer.data("changePassword"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "ACTIVE" } })
    );
    assert!(ada.is_signed_in().await && bob.is_signed_in().await);
    assert!(!elsewhere.is_signed_in().await);
    let reasons = "SELECT string_agg(revoked_reason, ',') FROM sessions";
    assert_eq!(app.db.text(reasons).await, "password_changed");
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(app.login("ada", NEW_PASSWORD).await.code(), "");
    assert_eq!(
        app.subjects(ADA).await[0],
        "Your password at Cardea was changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_changes_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.sign_in("ada").await;
    let before = app.state().await;
    let long = "x".repeat(5000);
    for wrong in ["", "Wrong-Horse-7", &long] {
        let answer = ada.change_password(wrong, NEW_PASSWORD).await;
        assert_eq!(answer.code(), "INVALID_CREDENTIALS");
        let path = answer.data("changePassword/errors/0/path");
        assert_eq!(path, &json!(["input", "currentPassword"]));
    }
    let weak = ada.change_password(PASSWORD, "password").await;
    assert!(weak.rules().contains(&"PASSWORD_BREACHED"), "{}", weak.text);
    let path = weak.data("changePassword/errors/0/path");
    assert_eq!(path, &json!(["input", "newPassword"]));
    let personal = ada.change_password(PASSWORD, "Example-Horse-7").await;
    assert_eq!(personal.rules(), ["PASSWORD_PERSONAL"]);
    let nobody = app
        .gql(
            "mutation { changePassword(input: { currentPassword: \"Correct-Horse-7\", newPassword: \"Battery-Staple-8\" }) { errors { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(nobody.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_present_passwords_have_to_wait_longer_each_time() {
    let app = TestApp::with(&["--login-tries=2"]).await;
    let ada = app.user("ada").await;
    for wait in [5, 10, 20] {
        if wait == 5 {
            ada.change_password("x", NEW_PASSWORD).await;
        }
        let wrong = ada.change_password("x", NEW_PASSWORD).await;
        assert_eq!(wrong.code(), "INVALID_CREDENTIALS", "{wait}");
        assert_eq!(
            ada.change_password(PASSWORD, NEW_PASSWORD).await.wait(),
            wait
        );
        assert_eq!(ada.reauthenticate(PASSWORD).await.wait(), wait);
        assert_eq!(ada.deactivate(PASSWORD).await.wait(), wait);
        app.advance(TimeDelta::seconds(wait.try_into().expect("small")));
    }
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    assert_eq!(
        ada.change_password(PASSWORD, NEW_PASSWORD).await.code(),
        "INVALID_CREDENTIALS",
        "a right one forgives the wrong ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn former_passwords_are_refused_in_a_change_and_in_a_reset() {
    let app = TestApp::with(&["--password-history=2"]).await;
    let ada = app.user("ada").await;
    let passwords = [
        PASSWORD,
        "Second-Horse-7",
        "Third-Horse-7",
        "Fourth-Horse-7",
    ];
    for pair in passwords[..3].windows(2) {
        assert_eq!(ada.change_password(pair[0], pair[1]).await.code(), "");
    }
    let token = app.reset_token(ADA).await;
    let before = app.state().await;
    for used in &passwords[..3] {
        let changed = ada.change_password(passwords[2], used).await;
        assert_eq!(changed.rules(), ["PASSWORD_REUSED"], "{used}");
        let reset = app.reset(&token, used).await;
        assert_eq!(reset.rules(), ["PASSWORD_REUSED"], "{used}");
    }
    assert_eq!(app.state().await, before);
    assert_eq!(app.reset(&token, passwords[3]).await.code(), "");
    app.advance(TimeDelta::minutes(1));
    let token = app.reset_token(ADA).await;
    assert_eq!(
        app.reset(&token, passwords[1]).await.rules(),
        ["PASSWORD_REUSED"]
    );
    assert_eq!(app.reset(&token, PASSWORD).await.code(), "", "old enough");
    let kept = "SELECT count(*)::text FROM password_history";
    assert_eq!(app.db.text(kept).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_history_passwords_come_back_and_none_is_kept() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    assert_eq!(ada.change_password(NEW_PASSWORD, PASSWORD).await.code(), "");
    let kept = "SELECT count(*)::text FROM password_history";
    assert_eq!(app.db.text(kept).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_too_old_leads_to_a_token_for_a_new_one() {
    let app = TestApp::with(&["--password-max-age-days=90"]).await;
    app.user("ada").await;
    app.advance(TimeDelta::days(90) - TimeDelta::seconds(1));
    assert_eq!(
        app.login("ada", PASSWORD)
            .await
            .data("login/result/__typename"),
        "SignedIn"
    );
    app.advance(TimeDelta::seconds(1));
    let sessions = app.live_sessions().await;
    let wrong = app.login("ada", "Wrong-Horse-7").await;
    assert_eq!(
        wrong.code(),
        "INVALID_CREDENTIALS",
        "told only to who knows it"
    );
    let first = app.login("ada", PASSWORD).await;
    let first = first
        .data("login/result/resetToken")
        .as_str()
        .expect("a token")
        .to_owned();
    let answer = app.login("ada", PASSWORD).await;
    let result = answer.data("login/result");
    assert_eq!(
        (&result["__typename"], &result["expiresAt"]),
        (&json!("PasswordExpired"), &json!("2027-02-28T08:15:00Z"))
    );
    assert_eq!(app.live_sessions().await, sessions, "nobody is signed in");
    let token = result["resetToken"].as_str().expect("a token");
    assert!(!app.db.dump().await.contains(token));
    assert_eq!(
        app.reset(&first, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(
        app.reset(token, PASSWORD).await.rules(),
        ["PASSWORD_REUSED"]
    );
    assert_eq!(app.reset(token, NEW_PASSWORD).await.code(), "");
    assert_eq!(
        app.reset(token, "Third-Horse-7").await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(
        app.login("ada", NEW_PASSWORD)
            .await
            .data("login/result/__typename"),
        "SignedIn"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_old_password_ends_after_a_quarter_of_an_hour() {
    let app = TestApp::with(&["--password-max-age-days=1"]).await;
    app.user("ada").await;
    app.advance(TimeDelta::days(1));
    let answer = app.login("ada", PASSWORD).await;
    let token = answer
        .data("login/result/resetToken")
        .as_str()
        .expect("a token");
    app.advance(TimeDelta::minutes(15));
    let before = app.state().await;
    assert_eq!(
        app.reset(token, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_replaced_while_it_is_verified_opens_nothing() {
    // Whoever knows the old one must not get a token for the next one, just when its owner got rid
    // of it. The try is counted after the password was looked up.
    let app = TestApp::with(&["--password-max-age-days=1"]).await;
    app.user("ada").await;
    app.db
        .sql(
            "CREATE FUNCTION replace_password() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN UPDATE users SET hashed_password = ''other''; RETURN NEW; END'; \
             CREATE TRIGGER meanwhile BEFORE INSERT ON rate_limits FOR EACH ROW EXECUTE FUNCTION replace_password()",
        )
        .await;
    let hash = app.db.text("SELECT hashed_password FROM users").await;
    for days in [0, 1] {
        app.advance(TimeDelta::days(days));
        let restore = format!("UPDATE users SET hashed_password = '{hash}'");
        app.db.sql(&restore).await;
        let sessions = app.live_sessions().await;
        let answer = app.login("ada", PASSWORD).await;
        assert_eq!(answer.code(), "INVALID_CREDENTIALS", "after {days} days");
        assert_eq!(app.live_sessions().await, sessions);
    }
    let live = "SELECT count(*)::text FROM verification_tokens WHERE kind = 'password_reset'";
    assert_eq!(app.db.text(live).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_sign_in_is_renewed_by_the_password() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::minutes(5));
    assert_eq!(
        ada.request_email_change("new@example.org").await.code(),
        "",
        "five minutes are recent"
    );
    app.advance(TimeDelta::seconds(1));
    let before = app.state().await;
    for answer in [
        ada.request_email_change("other@example.org").await,
        ada.deactivate(PASSWORD).await,
    ] {
        assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    }
    let wrong = ada.reauthenticate("x").await;
    assert_eq!(wrong.code(), "INVALID_CREDENTIALS");
    assert_eq!(
        wrong.data("reauthenticate"),
        &json!({ "errors": [{ "code": "INVALID_CREDENTIALS", "path": ["input", "password"] }], "session": null })
    );
    assert_eq!(app.state().await, before);
    let right = ada.reauthenticate(PASSWORD).await;
    assert_eq!(
        right.data("reauthenticate"),
        &json!({ "errors": [], "session": { "id": ada.session } })
    );
    assert_eq!(
        ada.request_email_change("other@example.org").await.code(),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_too_old_and_hashed_the_old_way_is_still_told_so() {
    // The hash is made anew at the sign-in that finds the password too old, and must not seem another.
    let app = TestApp::new().await;
    app.user("ada").await;
    app.advance(TimeDelta::days(1));
    let before = app.db.text("SELECT hashed_password FROM users").await;
    let (_second, router) = app
        .second(&["--argon2-passes=2", "--password-max-age-days=1"])
        .await;
    let answer = Visitor::of(&router, "192.0.2.1")
        .login("ada", PASSWORD)
        .await;
    assert_eq!(
        answer.data("login/result/__typename"),
        "PasswordExpired",
        "{}",
        answer.text
    );
    let after = app.db.text("SELECT hashed_password FROM users").await;
    assert_ne!(after, before);
}
