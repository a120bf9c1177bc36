//! A forgotten password: asking for a token, using it, and what makes it void.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::{NEW_PASSWORD, Visitor};

const ADA: &str = "ada@example.org";

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_and_every_session_ends() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let elsewhere = app.sign_in("ada").await;
    let bob = app.user("bob").await;
    let token = app.reset_token(ADA).await;
    assert!(ada.is_signed_in().await, "asking changes nothing");

    let answer = app.reset(&token, NEW_PASSWORD).await;
    assert_eq!(
        answer.data("resetPassword"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "ACTIVE" } }),
        "nobody is signed in by it"
    );
    assert_eq!(
        (ada.is_signed_in().await, elsewhere.is_signed_in().await),
        (false, false)
    );
    assert!(bob.is_signed_in().await, "others stay");
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(app.login("ada", NEW_PASSWORD).await.code(), "");
    assert_eq!(
        app.subjects(ADA).await[..2],
        [
            "Your password at Cardea was changed",
            "Set a new password for Cardea"
        ]
    );
    assert!(!app.mails_to(ADA)[0].text.contains(NEW_PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_statement_tells_whether_an_address_is_known() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (closed, banned) = (app.user("closed").await, app.user("banned").await);
    app.user("ada").await;
    app.register("waiting").await;
    assert_eq!(closed.deactivate(PASSWORD).await.code(), "");
    assert_eq!(admin.set_status(&banned.id, false, None).await.code(), "");
    app.run_jobs().await;
    app.advance(TimeDelta::minutes(2));
    let names = ["nobody", "ada", "waiting", "closed", "banned", "ADA"];
    let mut seen = Vec::new();
    for name in names {
        let email = format!("{name}@example.org");
        let (reset, answer) = app.statements(app.request_reset(&email)).await;
        let (resend, again) = app.statements(app.resend(&email)).await;
        let expected = json!({ "accepted": name != "ADA", "errors": [] });
        if name != "ADA" {
            assert_eq!(answer.data("requestPasswordReset"), &expected, "{name}");
            seen.push((reset, answer.text, resend, again.text));
        }
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let second = app.request_reset("ADA@example.org").await;
    assert_eq!(second.wait(), 60, "the case makes no other address");
    let before = app.mails().len();
    app.run_jobs().await;
    let mails = app.mails();
    let mut new: Vec<_> = mails[..mails.len() - before]
        .iter()
        .map(|mail| (mail.to.as_str(), mail.subject.as_str()))
        .collect();
    new.sort_unstable();
    assert_eq!(
        new,
        [
            (ADA, "Set a new password for Cardea"),
            ("closed@example.org", "Open your account at Cardea again"),
            ("waiting@example.org", "Confirm your address for Cardea"),
            ("waiting@example.org", "Set a new password for Cardea"),
        ],
        "nothing to whom an administrator shut out"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_address_is_told_and_asks_for_nothing() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let before = app.state().await;
    for email in [
        "",
        "ada",
        "ada@example.org\r\nBcc: eve@example.org",
        "a@b@c",
    ] {
        let answer = app.request_reset(email).await;
        assert_eq!(answer.code(), "INVALID_VALUE", "{email}");
        assert_eq!(answer.data("requestPasswordReset/accepted"), false);
    }
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_256_bits_and_the_database_does_not_know_it() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.register("bob").await;
    let mut tokens = vec![app.mailed_token("bob@example.org").await];
    tokens.push(app.reset_token(ADA).await);
    tokens.push(ada.email_change_token(&app, "new@example.org").await);
    assert_eq!(app.confirm_email(&tokens[2]).await.code(), "");
    tokens.push(app.mailed_token(ADA).await);
    let closed = app.user("closed").await;
    assert_eq!(closed.deactivate(PASSWORD).await.code(), "");
    tokens.push(app.mailed_token("closed@example.org").await);
    let dump = app.db.dump().await;
    for token in tokens {
        let random = token.strip_prefix("crv_").expect("a prefix");
        let bytes = URL_SAFE_NO_PAD.decode(random).expect("base64url");
        assert_eq!(bytes.len(), 32);
        assert!(!dump.contains(random), "in clear");
        let raw = STANDARD.encode(&bytes);
        assert!(!dump.contains(&raw), "in clear, as bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_forty_uses_at_once_on_two_servers_one_succeeds() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let (_second, other) = app.second(&[]).await;
    let token = app.reset_token(ADA).await;
    let uses = (0..40).map(async |n| {
        let router = if n % 2 == 0 { &app.router } else { &other };
        let answer = Visitor::of(router, "127.0.0.1")
            .reset(&token, &format!("{NEW_PASSWORD}{n}"))
            .await;
        (n, answer.code().to_owned())
    });
    let answers = join_all(uses).await;
    let won: Vec<_> = answers.iter().filter(|(_, code)| code.is_empty()).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|(_, code)| ["", "TOKEN_REJECTED"].contains(&&**code))
    );
    let winner = format!("{NEW_PASSWORD}{}", won[0].0);
    assert_eq!(app.login("ada", &winner).await.code(), "");
    assert_eq!(app.reset(&token, PASSWORD).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.login("ada", &winner).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_one_thing() {
    let app = TestApp::new().await;
    let (ada, moved, closed) = (
        app.user("ada").await,
        app.user("moved").await,
        app.user("closed").await,
    );
    app.register("waiting").await;
    let waiting = app.mailed_token("waiting@example.org").await;
    let reset = app.reset_token(ADA).await;
    let change = ada.email_change_token(&app, "ada2@example.org").await;
    let token = moved.email_change_token(&app, "moved2@example.org").await;
    assert_eq!(app.confirm_email(&token).await.code(), "");
    let undo = app.mailed_token("moved@example.org").await;
    assert_eq!(closed.deactivate(PASSWORD).await.code(), "");
    let reopen = app.mailed_token("closed@example.org").await;
    let before = app.state().await;
    let fresh = format!("crv_{}", URL_SAFE_NO_PAD.encode([7; 32]));
    let wrong = ["", "crv_", &*fresh, &*ada.access_token, &*ada.refresh_token];
    for token in wrong.into_iter().chain([&*reset, &change, &undo, &reopen]) {
        assert_eq!(app.verify(token).await.code(), "TOKEN_REJECTED");
    }
    for token in wrong
        .into_iter()
        .chain([&*waiting, &change, &undo, &reopen])
    {
        assert_eq!(
            app.reset(token, NEW_PASSWORD).await.code(),
            "TOKEN_REJECTED"
        );
    }
    for token in wrong.into_iter().chain([&*waiting, &reset, &reopen]) {
        assert_eq!(app.confirm_email(token).await.code(), "TOKEN_REJECTED");
    }
    for token in wrong.into_iter().chain([&*waiting, &reset, &change, &undo]) {
        assert_eq!(app.reactivate(token).await.code(), "TOKEN_REJECTED");
    }
    assert_eq!(app.state().await, before, "and each stays good");
    assert_eq!(app.verify(&waiting).await.code(), "");
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    assert_eq!(app.reactivate(&reopen).await.code(), "");
    assert_eq!(app.reset(&reset, NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_somebody_else_is_refused_and_stays_good() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let token = app.reset_token(ADA).await;
    let before = app.state().await;
    assert_eq!(
        bob.reset(&token, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(app.state().await, before);
    assert_eq!(ada.reset(&token, NEW_PASSWORD).await.code(), "");
    assert!(!ada.is_signed_in().await, "the session that asks ends, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_by_the_clock_and_by_a_newer_one() {
    let app = TestApp::with(&["--recovery-hours=2"]).await;
    app.user("ada").await;
    let first = app.reset_token(ADA).await;
    app.advance(TimeDelta::minutes(1));
    let second = app.reset_token(ADA).await;
    assert_eq!(
        app.reset(&first, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    app.advance(TimeDelta::hours(2));
    let before = app.state().await;
    assert_eq!(
        app.reset(&second, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(app.state().await, before);
    let third = app.reset_token(ADA).await;
    app.advance(TimeDelta::minutes(119));
    assert_eq!(app.reset(&third, NEW_PASSWORD).await.code(), "");

    let default = TestApp::new().await;
    default.user("ada").await;
    default.reset_token(ADA).await;
    let ends = "SELECT expires_at::text FROM verification_tokens WHERE kind = 'password_reset'";
    assert_eq!(default.db.text(ends).await, "2026-12-01 08:00:00+00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_password_address_or_state_voids_a_token() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (ada, bob, eve) = (
        app.user("ada").await,
        app.user("bob").await,
        app.user("eve").await,
    );
    let mut tokens = Vec::new();
    for name in ["ada", "bob", "eve"] {
        tokens.push(app.reset_token(&format!("{name}@example.org")).await);
    }
    assert_eq!(ada.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    let token = bob.email_change_token(&app, "bob2@example.org").await;
    assert_eq!(bob.confirm_email(&token).await.code(), "");
    assert_eq!(admin.set_status(&eve.id, false, None).await.code(), "");
    assert_eq!(admin.set_status(&eve.id, true, None).await.code(), "");
    let before = app.state().await;
    for token in &tokens {
        assert_eq!(
            app.reset(token, "Purple-Monkey-9").await.code(),
            "TOKEN_REJECTED"
        );
    }
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_leaves_the_token_good() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let token = app.reset_token(ADA).await;
    let before = app.state().await;
    let answer = app.reset(&token, "abc").await;
    assert_eq!(
        answer.rules(),
        [
            "LENGTH",
            "PASSWORD_UPPERCASE",
            "PASSWORD_DIGIT",
            "PASSWORD_SPECIAL",
            "PASSWORD_BREACHED"
        ]
    );
    assert_eq!(
        answer.data("resetPassword/errors/0/path"),
        &json!(["input", "newPassword"])
    );
    assert_eq!(app.state().await, before);
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_opens_an_account_that_waits_and_shuts_out_who_registered_it() {
    let app = TestApp::new().await;
    app.register("ada").await;
    let verification = app.mailed_token(ADA).await;
    let token = app.reset_token(ADA).await;
    let answer = app.reset(&token, NEW_PASSWORD).await;
    let user = answer.data("resetPassword/user");
    assert_eq!(
        (&user["status"], &user["emailVerified"]),
        (&json!("ACTIVE"), &json!(true))
    );
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(app.login("ada", NEW_PASSWORD).await.code(), "");
    assert_eq!(app.verify(&verification).await.code(), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_link_uses_nothing_up() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let token = app.reset_token(ADA).await;
    let before = app.state().await;
    let link = app.mails_to(ADA)[0].links[0].clone();
    let query = format!(
        "/graphql?query=mutation%7BresetPassword(input:%7Btoken:%22{token}%22,newPassword:%22{NEW_PASSWORD}%22%7D)%7Berrors%7Bcode%7D%7D%7D"
    );
    for uri in [link.replace('#', "?"), query] {
        let path = uri.trim_start_matches("http://127.0.0.1:8000").to_owned();
        let get = Request::get(&path).body(Body::empty()).expect("a request");
        let answer = app.send(get).await;
        assert!(!path.starts_with("/graphql") || answer.status == StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(app.state().await, before);
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_half_written_when_the_mail_cannot_be_queued() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let token = app.reset_token(ADA).await;
    let before = app.state().await;
    app.db
        .sql("ALTER TABLE jobs ADD CONSTRAINT no_more CHECK (false) NOT VALID")
        .await;
    let answer = app.reset(&token, NEW_PASSWORD).await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    let answer = ada.change_password(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    assert_eq!(app.state().await, before);
    app.db.sql("ALTER TABLE jobs DROP CONSTRAINT no_more").await;
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_beside_a_change_is_decided_without_a_fault() {
    let app = TestApp::new().await;
    let mut password = PASSWORD.to_owned();
    app.user("ada").await;
    for round in 0..10 {
        app.advance(TimeDelta::minutes(2));
        let login = app.login("ada", &password).await;
        let ada = crate::harness::Client::new(&app, login.data("login/result"));
        let token = app.reset_token(ADA).await;
        let (changed, reset) = (
            format!("Changed-Horse-{round}"),
            format!("Reset-Horse-{round}"),
        );
        let (one, other) = tokio::join!(
            ada.change_password(&password, &changed),
            app.reset(&token, &reset)
        );
        let changed_code = if one.status == StatusCode::UNAUTHORIZED {
            "UNAUTHENTICATED"
        } else {
            one.code()
        };
        let codes = (changed_code, other.code());
        password = match codes {
            ("", "TOKEN_REJECTED") => changed,
            // Changed by the reset while the old one was verified, or signed out by it before.
            ("INVALID_CREDENTIALS" | "UNAUTHENTICATED", "") => reset,
            _ => panic!("{codes:?} in round {round}"),
        };
        assert_eq!(
            app.login("ada", &password).await.code(),
            "",
            "round {round}"
        );
    }
}
