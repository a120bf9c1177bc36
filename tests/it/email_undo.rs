//! Taking back a move to another address: what a former address is for.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

const ADA: &str = "ada@example.org";
const EVE: &str = "eve@example.net";
const MALLORY: &str = "mallory@example.net";

/// Moves the account of `client` from `former` to `email`; gives the token that undoes it.
async fn moved(app: &TestApp, client: &Client<'_>, former: &str, email: &str) -> String {
    let token = client.email_change_token(app, email).await;
    assert_eq!(client.confirm_email(&token).await.code(), "");
    app.advance(TimeDelta::seconds(61));
    app.mailed_token(former).await
}

async fn address(app: &TestApp) -> String {
    app.db.text("SELECT email FROM users").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_before_undoes_the_move_and_every_session_ends() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    let reset = app.reset_token(EVE).await;
    app.advance(TimeDelta::hours(167));
    let elsewhere = app.sign_in("ada").await;
    let answer = app.confirm_email(&undo).await;
    assert_eq!(answer.data("confirmEmailChange/errors"), &json!([]));
    assert_eq!(address(&app).await, ADA);
    assert!(!elsewhere.is_signed_in().await);
    assert_eq!(app.live_sessions().await, "0");
    assert_eq!(
        app.reset(&reset, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(
        app.subjects(ADA).await[0],
        "Your address at Cardea was restored"
    );
    assert_eq!(
        app.confirm_email(&undo).await.code(),
        "TOKEN_REJECTED",
        "once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moved_the_account_and_had_it_erased_does_not_get_that() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    let erase = "mutation($password: String) { eraseAccount(input: { password: $password }) { errors { code } erasesAt } }";
    let asked = ada.gql(erase, json!({ "password": PASSWORD })).await;
    assert_eq!(asked.data("eraseAccount/errors"), &json!([]));
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    let erased = "SELECT coalesce(erases_at::text, 'never') FROM users";
    assert_eq!(app.db.text(erased).await, "never");
    let told = "SELECT count(*)::text FROM audit_events WHERE action = 'erasure_cancelled'";
    assert_eq!(app.db.text(told).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_cannot_undo_a_move() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    let before = app.state().await;
    assert_eq!(bob.confirm_email(&undo).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.state().await, before);
    assert_eq!(ada.confirm_email(&undo).await.code(), "");
    assert!(
        !ada.is_signed_in().await,
        "whoever is signed in may be who moved it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_address_undoes_a_chain_and_the_second_cannot_take_that_away() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let first = moved(&app, &ada, ADA, EVE).await;
    let second = moved(&app, &ada, EVE, MALLORY).await;
    assert_eq!(app.confirm_email(&second).await.code(), "");
    assert_eq!(address(&app).await, EVE);
    assert_eq!(app.confirm_email(&first).await.code(), "");
    assert_eq!(address(&app).await, ADA);
    assert_eq!(app.confirm_email(&second).await.code(), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_move_cannot_be_made_again_from_the_other_side() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let first = moved(&app, &ada, ADA, EVE).await;
    let second = moved(&app, &ada, EVE, MALLORY).await;
    assert_eq!(app.confirm_email(&first).await.code(), "");
    let before = app.state().await;
    assert_eq!(app.confirm_email(&second).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.state().await, before);
    assert_eq!(address(&app).await, ADA);
}

/// Lets the mail of the newest job wait, as a mailbox does that takes none for now.
async fn held_back(app: &TestApp) -> String {
    let job = app
        .db
        .text("SELECT id::text FROM jobs ORDER BY created_at DESC, id DESC LIMIT 1")
        .await;
    let later = "run_at + INTERVAL '1 hour'";
    app.db
        .sql(&format!(
            "UPDATE jobs SET run_at = {later} WHERE id = '{job}'"
        ))
        .await;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_takes_mails_late_gets_no_link_for_a_move_that_was_undone() {
    // Whoever took the account over moves it twice, and refuses the notice to the address in between
    // until the owner has undone both.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let first = moved(&app, &ada, ADA, EVE).await;
    let token = ada.email_change_token(&app, MALLORY).await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    held_back(&app).await;
    assert_eq!(app.confirm_email(&first).await.code(), "");
    let mails = app.mails_to(EVE).len();
    app.advance(TimeDelta::hours(2));
    app.run_jobs().await;
    assert_eq!(app.mails_to(EVE).len(), mails);
    let live = "SELECT count(*)::text FROM verification_tokens WHERE kind = 'email_change_undo' AND used_at IS NULL AND expires_at > '2026-11-30T11:00:00Z'";
    assert_eq!(app.db.text(live).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_address_can_undo_even_when_its_mail_came_last() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = ada.email_change_token(&app, EVE).await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    held_back(&app).await;
    app.advance(TimeDelta::seconds(61));
    let second = moved(&app, &ada, EVE, MALLORY).await;
    app.advance(TimeDelta::hours(1));
    let first = app.mailed_token(ADA).await;
    assert_eq!(app.confirm_email(&second).await.code(), "");
    assert_eq!(address(&app).await, EVE);
    assert_eq!(app.confirm_email(&first).await.code(), "");
    assert_eq!(address(&app).await, ADA);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_done_with_the_account_takes_the_link_away() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    let reset = app.reset_token(EVE).await;
    assert_eq!(app.reset(&reset, "Third-Horse-7").await.code(), "");
    // An account at the former address that was never proved does not stand in its way.
    app.register("ada2").await;
    app.db
        .sql("UPDATE users SET email = 'ADA@example.org' WHERE username = 'ada2'")
        .await;
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    assert_eq!(address(&app).await, ADA);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_moved_and_closed_comes_back() {
    // Whoever took it over would otherwise wait until the link has ended, and open it again.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "");
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let reopen = app.mailed_token(EVE).await;
    let answer = app.confirm_email(&undo).await;
    assert_eq!(answer.data("confirmEmailChange/user/status"), "DEACTIVATED");
    assert_eq!(address(&app).await, ADA);
    assert_eq!(app.reactivate(&reopen).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.request_reset(EVE).await.code(), "");
    let reopen = app.reset_token(ADA).await;
    assert_eq!(app.reactivate(&reopen).await.code(), "");
    app.advance(TimeDelta::seconds(61));
    let reset = app.reset_token(ADA).await;
    assert_eq!(app.reset(&reset, NEW_PASSWORD).await.code(), "");
    assert_eq!(app.login(ADA, NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_address_that_somebody_proved_meanwhile_is_not_taken_from_them() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    let input = json!({ "email": ADA, "fullName": "Ada Again", "password": PASSWORD });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    assert_eq!(
        app.gql(register, json!({ "input": input })).await.code(),
        ""
    );
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.verify(&token).await.code(), "");
    let before = app.state().await;
    let refused = app.confirm_email(&undo).await;
    assert_eq!(refused.code(), "TOKEN_REJECTED");
    assert_eq!(refused.data("confirmEmailChange/user"), &Value::Null);
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moved_the_account_and_gave_it_a_password_is_out_when_it_is_undone() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let undo = moved(&app, &ada, ADA, EVE).await;
    let thief = app.reset_token(EVE).await;
    assert_eq!(app.reset(&thief, NEW_PASSWORD).await.code(), "");
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    for password in [NEW_PASSWORD, PASSWORD] {
        let refused = app.login("ada", password).await;
        assert_eq!(refused.code(), "INVALID_CREDENTIALS");
    }
    // The mail that tells of it carries the link to set one.
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.reset(&token, "Owners-Choice-9").await.code(), "");
    assert_eq!(app.login("ada", "Owners-Choice-9").await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_waits_ends_with_the_session_that_asked_for_it() {
    for end in [
        "mutation { logoutAll(input: { keepCurrent: true }) { endedSessions } }".to_owned(),
        "mutation { revokeSession(input: { sessionId: \"SESSION\" }) { errors { code } } }"
            .to_owned(),
    ] {
        let app = TestApp::new().await;
        let ada = app.user("ada").await;
        let stolen = app.sign_in("ada").await;
        let token = stolen.email_change_token(&app, EVE).await;
        let ended = ada.ask(&end.replace("SESSION", &stolen.session)).await;
        assert!(ended.codes().is_empty(), "{}", ended.text);
        assert_eq!(app.confirm_email(&token).await.code(), "TOKEN_REJECTED");
        assert_eq!(address(&app).await, ADA);
    }
}
