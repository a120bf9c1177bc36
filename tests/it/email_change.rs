//! Moving an account to another address, and taking the move back.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::app::PASSWORD;
use crate::harness::verbs::{NEW_PASSWORD, Visitor};
use crate::harness::{Client, TestApp};

const ADA: &str = "ada@example.org";
const NEW: &str = "new@example.org";

async fn address(client: &Client<'_>) -> String {
    let answer = client.ask("{ me { email } }").await;
    answer
        .data("me/email")
        .as_str()
        .expect("an address")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moves_once_the_new_address_is_proved() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let elsewhere = app.sign_in("ada").await;
    let answer = ada.request_email_change("New@Example.org").await;
    assert_eq!(
        answer.data("requestEmailChange"),
        &json!({ "accepted": true, "errors": [] })
    );
    let token = app.mailed_token("New@Example.org").await;
    assert_eq!(
        app.mails()[0].subject,
        "Confirm your new address for Cardea"
    );
    assert_eq!(app.mails().len(), 2, "nothing to the address before");
    assert_eq!(address(&ada).await, ADA, "until it is proved");
    assert_eq!(app.login(ADA, PASSWORD).await.code(), "");
    assert_eq!(app.login(NEW, PASSWORD).await.code(), "INVALID_CREDENTIALS");

    let answer = ada.confirm_email(&token).await;
    assert_eq!(
        answer.data("confirmEmailChange"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "ACTIVE" } })
    );
    assert_eq!(
        address(&ada).await,
        "New@Example.org",
        "the session that asks stays"
    );
    assert!(!elsewhere.is_signed_in().await);
    assert_eq!(app.login(ADA, PASSWORD).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(app.login(NEW, PASSWORD).await.code(), "");
    assert_eq!(
        app.subjects(ADA).await[0],
        "Your address at Cardea was changed"
    );
    let notice = &app.mails_to(ADA)[0].text;
    assert!(notice.contains("N***@Example.org"), "{notice}");
    assert!(!notice.contains("New@Example.org"), "{notice}");
    assert_eq!(
        ada.confirm_email(&token).await.code(),
        "TOKEN_REJECTED",
        "once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_opened_elsewhere_ends_every_session() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = ada.email_change_token(&app, NEW).await;
    assert_eq!(app.confirm_email(&token).await.code(), "");
    assert!(!ada.is_signed_in().await);
    assert_eq!(app.live_sessions().await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_present_addresses_are_refused() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let before = app.state().await;
    for (email, rule) in [
        (ADA, "UNCHANGED"),
        ("ADA@Example.ORG", "UNCHANGED"),
        (" ada@example.org ", "UNCHANGED"),
        ("nonsense", "FORMAT"),
        ("new@example.org\nBcc: eve@example.org", "FORMAT"),
    ] {
        let answer = ada.request_email_change(email).await;
        let error = answer.data("requestEmailChange/errors/0");
        let code = if error["code"] == "TOO_MANY_ATTEMPTS" {
            "UNCHANGED"
        } else {
            ""
        };
        // Other ways to write the address share its minute.
        if code.is_empty() {
            assert_eq!(error["rule"], rule, "{email}");
            assert_eq!(error["path"], json!(["input", "newEmail"]));
        } else {
            assert_eq!(rule, code, "{email}");
        }
        assert_eq!(answer.data("requestEmailChange/accepted"), false);
    }
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_does_not_tell_whose_an_address_is_and_its_owner_is_told() {
    let app = TestApp::new().await;
    let (ada, closed) = (app.user("ada").await, app.user("closed").await);
    app.user("bob").await;
    app.register("waiting").await;
    assert_eq!(closed.deactivate(PASSWORD).await.code(), "");
    app.run_jobs().await;
    let mails = app.mails().len();
    ada.request_email_change("warm@example.org").await;
    let mut seen = Vec::new();
    for name in ["nobody", "BOB", "closed", "waiting"] {
        let email = format!("{name}@example.org");
        let (statements, answer) = app.statements(ada.request_email_change(&email)).await;
        assert_eq!(
            answer.data("requestEmailChange"),
            &json!({ "accepted": true, "errors": [] })
        );
        seen.push((statements, answer.text));
        app.run_jobs().await;
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let told: Vec<_> = app.mails()[..app.mails().len() - mails]
        .iter()
        .rev()
        .map(|mail| (mail.to.clone(), mail.subject.clone()))
        .collect();
    let confirm = "Confirm your new address for Cardea";
    let taken = "Somebody wanted to use your address at Cardea";
    let expected = [
        ("nobody@example.org", confirm),
        ("bob@example.org", taken),
        ("closed@example.org", taken),
        ("waiting@example.org", confirm),
    ];
    assert_eq!(
        told,
        expected.map(|(to, subject)| (to.to_owned(), subject.to_owned()))
    );
    let texts: Vec<_> = app.mails_to("bob@example.org");
    assert!(
        !texts[0].text.contains("ada") && texts[0].links.is_empty(),
        "{:?}",
        texts[0]
    );
    let live = "SELECT count(*)::text FROM verification_tokens WHERE kind = 'email_change' AND email ILIKE 'bob%'";
    assert_eq!(
        app.db.text(live).await,
        "0",
        "nothing that could be confirmed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_proved_meanwhile_stays_with_its_owner() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = ada.email_change_token(&app, NEW).await;
    app.advance(TimeDelta::seconds(61));
    let new = app.user("new").await;
    let before = app.state().await;
    let refused = ada.confirm_email(&token).await;
    assert_eq!(refused.code(), "TOKEN_REJECTED");
    let path = refused.data("confirmEmailChange/errors/0/path");
    assert_eq!(path, &json!(["input", "token"]));
    assert_eq!(app.state().await, before, "and the token stays good");
    assert!(new.is_signed_in().await && ada.is_signed_in().await);

    let away = new.email_change_token(&app, "newer@example.org").await;
    assert_eq!(new.confirm_email(&away).await.code(), "");
    assert_eq!(ada.confirm_email(&token).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_that_ask_for_one_address_the_first_to_prove_it_gets_it() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let first = ada.email_change_token(&app, NEW).await;
    app.advance(TimeDelta::seconds(61));
    let second = bob.email_change_token(&app, NEW).await;
    let (one, other) = tokio::join!(ada.confirm_email(&first), bob.confirm_email(&second));
    let mut codes = [one.code(), other.code()];
    codes.sort_unstable();
    assert_eq!(codes, ["", "TOKEN_REJECTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registered_with_the_address_and_never_proved_it_gives_way() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.register("new").await;
    let squatter = app.mailed_token(NEW).await;
    app.advance(TimeDelta::seconds(61));
    let token = ada.email_change_token(&app, NEW).await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    assert_eq!(address(&ada).await, NEW);
    assert_eq!(app.db.text("SELECT count(*)::text FROM users").await, "1");
    assert_eq!(app.verify(&squatter).await.code(), "TOKEN_REJECTED");
    let erased = "SELECT count(*)::text FROM audit_events WHERE action = 'account_erased'";
    assert_eq!(app.db.text(erased).await, "1", "and it was told");
    assert_eq!(
        app.login("new", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_takes_the_place_of_the_first() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let first = ada.email_change_token(&app, NEW).await;
    assert_eq!(
        ada.request_email_change("newer@example.org").await.code(),
        ""
    );
    let before = app.state().await;
    assert_eq!(
        ada.confirm_email(&first).await.code(),
        "TOKEN_REJECTED",
        "even before the second mail is out"
    );
    assert_eq!(app.state().await, before);
    let second = app.mailed_token("newer@example.org").await;
    assert_eq!(ada.confirm_email(&second).await.code(), "");
    assert_eq!(address(&ada).await, "newer@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_for_its_account_within_its_time() {
    let app = TestApp::with(&["--recovery-hours=1", "--email-undo-hours=2"]).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let token = ada.email_change_token(&app, NEW).await;
    let before = app.state().await;
    assert_eq!(bob.confirm_email(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.state().await, before, "not somebody else's");
    app.advance(TimeDelta::hours(1));
    assert_eq!(app.confirm_email(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.state().await, before, "too late");

    let ada = app.sign_in("ada").await;
    let (_second, other) = app.second(&[]).await;
    let token = ada.email_change_token(&app, NEW).await;
    let uses = (0..40).map(async |n| {
        let router = if n % 2 == 0 { &app.router } else { &other };
        let visitor = Visitor::of(router, "127.0.0.1");
        let answer = visitor.use_token("confirmEmailChange", &token).await;
        answer.code().to_owned()
    });
    let answers = join_all(uses).await;
    assert_eq!(answers.iter().filter(|code| code.is_empty()).count(), 1);
    let undo = app.mailed_token(ADA).await;
    app.advance(TimeDelta::hours(2));
    assert_eq!(app.confirm_email(&undo).await.code(), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_and_a_closed_account_call_the_move_off() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = ada.email_change_token(&app, NEW).await;
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    assert_eq!(ada.confirm_email(&token).await.code(), "TOKEN_REJECTED");
    app.advance(TimeDelta::seconds(61));
    assert_eq!(ada.request_email_change(NEW).await.code(), "");
    assert_eq!(ada.deactivate(NEW_PASSWORD).await.code(), "");
    app.run_jobs().await;
    let mails = app.mails_to(NEW);
    assert_eq!(mails.len(), 1, "a mail that waited is not sent any more");
    assert_eq!(
        app.db
            .text("SELECT count(*)::text FROM email_changes")
            .await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_half_written_when_the_mail_cannot_be_queued() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = ada.email_change_token(&app, NEW).await;
    let before = app.state().await;
    app.db
        .sql("ALTER TABLE jobs ADD CONSTRAINT no_more CHECK (false) NOT VALID")
        .await;
    let answer = ada.confirm_email(&token).await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    let answer = ada.request_email_change("other@example.org").await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    assert_eq!(app.state().await, before);
    app.db.sql("ALTER TABLE jobs DROP CONSTRAINT no_more").await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
}
