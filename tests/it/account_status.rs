//! Closing accounts and opening them again, by their owners and by administrators.

use cardea::db::single_connection;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::{join_all, join3};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::Visitor;

const ADA: &str = "ada@example.org";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_closes_the_account_and_opens_it_by_the_mailed_link() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let elsewhere = app.sign_in("ada").await;
    let closed = ada.deactivate(PASSWORD).await;
    assert_eq!(
        closed.data("deactivateAccount"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "DEACTIVATED" } })
    );
    assert!(!ada.is_signed_in().await && !elsewhere.is_signed_in().await);
    assert_eq!(app.live_sessions().await, "0");
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } } }";
    let refreshed = app
        .gql(refresh, json!({ "token": ada.refresh_token }))
        .await;
    assert_eq!(refreshed.code(), "TOKEN_REJECTED");
    let token = app.mailed_token(ADA).await;
    assert_eq!(
        app.mails_to(ADA)[0].subject,
        "Your account at Cardea was closed"
    );

    let opened = app.reactivate(&token).await;
    assert_eq!(opened.data("reactivateAccount/user/status"), "ACTIVE");
    assert_eq!(app.live_sessions().await, "0", "nobody is signed in by it");
    assert_eq!(app.reactivate(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
    assert_eq!(
        app.subjects(ADA).await[0],
        "Your account at Cardea is open again"
    );
    let kept = "SELECT concat(closed_at, closed_by, closed_reason) FROM users";
    assert_eq!(app.db.text(kept).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_needs_the_password() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let before = app.state().await;
    for wrong in ["", "Wrong-Horse-7"] {
        let answer = ada.deactivate(wrong).await;
        assert_eq!(
            answer.data("deactivateAccount"),
            &json!({ "errors": [{ "code": "INVALID_CREDENTIALS", "path": ["input", "password"] }], "user": null })
        );
    }
    assert_eq!(app.state().await, before);
    assert!(ada.is_signed_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_cannot_leave() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let before = app.state().await;
    assert_eq!(admin.deactivate(PASSWORD).await.code(), "PROTECTED");
    assert_eq!(app.state().await, before);
    let second = app.user_with_role("second", "admin").await;
    assert_eq!(admin.deactivate(PASSWORD).await.code(), "");
    let before = app.state().await;
    assert_eq!(second.deactivate(PASSWORD).await.code(), "PROTECTED");
    assert_eq!(
        app.state().await,
        before,
        "one who is closed does not count"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_password_of_a_closed_account_is_told_and_mailed_a_link() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let first = app.mailed_token(ADA).await;
    assert_eq!(
        app.login("ada", "Wrong-Horse-7").await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(app.run_jobs().await, 0);
    for _ in 0..3 {
        let answer = app.login("ada", PASSWORD).await;
        assert_eq!(
            answer.data("login"),
            &json!({ "errors": [{ "code": "ACCOUNT_UNAVAILABLE", "path": [] }], "result": null })
        );
    }
    assert_eq!(app.run_jobs().await, 1, "one a minute");
    assert_eq!(
        app.mails_to(ADA)[0].subject,
        "Open your account at Cardea again"
    );
    let second = app.mailed_token(ADA).await;
    assert_eq!(
        app.reactivate(&first).await.code(),
        "TOKEN_REJECTED",
        "replaced"
    );
    assert_eq!(app.reactivate(&second).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_opens_an_account_is_good_once_for_a_day_and_for_its_owner() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let token = app.mailed_token(ADA).await;
    let before = app.state().await;
    assert_eq!(bob.reactivate(&token).await.code(), "TOKEN_REJECTED");
    app.advance(TimeDelta::hours(24));
    assert_eq!(app.reactivate(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.state().await, before);
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
    let token = app.mailed_token(ADA).await;
    let (_second, other) = app.second(&[]).await;
    let uses = (0..40).map(async |n| {
        let router = if n % 2 == 0 { &app.router } else { &other };
        let visitor = Visitor::of(router, "127.0.0.1");
        let answer = visitor.use_token("reactivateAccount", &token).await;
        answer.code().to_owned()
    });
    let answers = join_all(uses).await;
    assert_eq!(answers.iter().filter(|code| code.is_empty()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_closes_an_account_and_opens_it_again() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let reason = "r".repeat(500);
    let closed = admin.set_status(&ada.id, false, Some(&reason)).await;
    assert_eq!(
        closed.data("updateUserStatus"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "DEACTIVATED" } })
    );
    assert!(!ada.is_signed_in().await && admin.is_signed_in().await);
    let kept = "SELECT closed_by || closed_reason FROM users WHERE username = 'ada'";
    assert_eq!(app.db.text(kept).await, format!("admin{reason}"));
    app.run_jobs().await;
    let mail = app.mails_to(ADA).remove(0);
    assert_eq!(mail.subject, "Your account at Cardea was closed");
    assert!(mail.links.is_empty(), "{:?}", mail.links);
    assert!(
        !mail.text.contains(&reason),
        "the reason is for administrators"
    );

    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
    app.request_reset(ADA).await;
    app.run_jobs().await;
    assert_eq!(
        app.mails_to(ADA)[0].id,
        mail.id,
        "no link for what an administrator closed"
    );

    assert_eq!(admin.set_status(&ada.id, true, None).await.code(), "");
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
    assert_eq!(
        app.subjects(ADA).await[0],
        "Your account at Cardea is open again"
    );
    let before = app.state().await;
    assert_eq!(admin.set_status(&ada.id, true, None).await.code(), "");
    assert_eq!(app.state().await, before, "open already");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_may_not_close_stays_as_it_is() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let boss = app.user("boss").await;
    app.db
        .sql("INSERT INTO permissions (id, name, created_at) SELECT gen_random_uuid(), 'launch:rockets', now()")
        .await;
    app.db
        .sql("INSERT INTO roles (id, name, is_default, created_at, updated_at) SELECT gen_random_uuid(), 'pilot', false, now(), now(); \
              INSERT INTO role_permissions (role_id, permission_id) SELECT roles.id, permissions.id FROM roles, permissions WHERE roles.name = 'pilot' AND permissions.name = 'launch:rockets'")
        .await;
    app.grant(&boss, "pilot").await;
    let before = app.state().await;
    for is_active in [true, false] {
        let own = admin.set_status(&admin.id, is_active, None).await;
        assert_eq!(
            own.data("updateUserStatus/errors"),
            &json!([{ "code": "PROTECTED", "path": ["input", "userId"] }])
        );
        let above = admin.set_status(&boss.id, is_active, None).await;
        assert_eq!(above.codes(), ["FORBIDDEN"]);
        for unknown in [&*admin.session, "nonsense", ""] {
            let answer = admin.set_status(unknown, is_active, None).await;
            assert_eq!(answer.code(), "NOT_FOUND", "{unknown}");
        }
        let long = admin
            .set_status(&ada.id, is_active, Some(&"r".repeat(501)))
            .await;
        assert_eq!(
            long.data("updateUserStatus/errors"),
            &json!([{ "code": "INVALID_VALUE", "path": ["input", "reason"], "rule": "LENGTH" }])
        );
        assert_eq!(
            ada.set_status(&boss.id, is_active, None).await.codes(),
            ["FORBIDDEN"]
        );
    }
    assert_eq!(admin.unlock(&boss.id).await.codes(), ["FORBIDDEN"]);
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_who_close_each_other_one_stays() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut other = app.user_with_role("other", "admin").await;
    let mut one = admin;
    for round in 0..5 {
        let (first, second) = tokio::join!(
            one.set_status(&other.id, false, None),
            other.set_status(&one.id, false, None)
        );
        let open = "SELECT count(*)::text FROM users WHERE status = 'active'";
        assert_eq!(app.db.text(open).await, "1", "round {round}");
        let first_won = first.json["errors"].is_null() && first.code().is_empty();
        let loser = if first_won { &second } else { &first };
        assert!(
            loser.codes() == ["UNAUTHENTICATED"] || loser.code() == "PROTECTED",
            "{}",
            loser.text
        );
        let (left, gone) = if first_won {
            ("admin", "other")
        } else {
            ("other", "admin")
        };
        let (winner, closed) = if first_won {
            (&one, &other)
        } else {
            (&other, &one)
        };
        assert_eq!(
            winner.set_status(&closed.id, true, None).await.code(),
            "",
            "{left}, {gone}"
        );
        (one, other) = (app.sign_in("admin").await, app.sign_in("other").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_closes_no_link_of_its_owner_opens() {
    let app = TestApp::new().await;
    let (admin, ada, bob) = (
        app.admin().await,
        app.user("ada").await,
        app.user("bob").await,
    );
    // Bob knows what is coming, closes the account himself and keeps the link.
    assert_eq!(bob.deactivate(PASSWORD).await.code(), "");
    let kept = app.mailed_token("bob@example.org").await;
    assert_eq!(
        admin.set_status(&bob.id, false, Some("spam")).await.code(),
        ""
    );
    // Ada's link is from a time before.
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let older = app.mailed_token(ADA).await;
    assert_eq!(admin.set_status(&ada.id, true, None).await.code(), "");
    assert_eq!(admin.set_status(&ada.id, false, None).await.code(), "");
    app.run_jobs().await;
    let before = app.state().await;
    for token in [&kept, &older] {
        assert_eq!(app.reactivate(token).await.code(), "TOKEN_REJECTED");
    }
    assert_eq!(app.state().await, before);
    for name in ["ada", "bob"] {
        assert_eq!(
            app.login(name, PASSWORD).await.code(),
            "ACCOUNT_UNAVAILABLE"
        );
        assert_eq!(app.run_jobs().await, 0, "{name}");
    }
    let reason = "SELECT closed_by || ' ' || closed_reason FROM users WHERE username = 'bob'";
    assert_eq!(app.db.text(reason).await, "admin spam");
    let again = admin.set_status(&bob.id, false, Some("other")).await;
    assert_eq!(again.code(), "");
    assert_eq!(app.db.text(reason).await, "admin spam", "closed already");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_opens_an_account_that_waits_for_its_address() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.register("ada").await;
    let token = app.mailed_token(ADA).await;
    let id = {
        let found = admin
            .ask("{ users(first: 5) { nodes { id username } } }")
            .await;
        let nodes = found.data("users/nodes").as_array().expect("nodes").clone();
        let ada = nodes.iter().find(|node| node["username"] == "ada");
        ada.expect("an account")["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let opened = admin.set_status(&id, true, None).await;
    assert_eq!(
        opened.data("updateUserStatus/user"),
        &json!({ "id": id, "emailVerified": false, "status": "ACTIVE" })
    );
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
    assert_eq!(app.verify(&token).await.code(), "");
    let verified = "SELECT (email_verified_at IS NOT NULL)::text FROM users WHERE username = 'ada'";
    assert_eq!(app.db.text(verified).await, "true");
    assert_eq!(admin.set_status(&id, false, None).await.code(), "");
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_half_written_when_the_mail_cannot_be_queued() {
    let app = TestApp::new().await;
    let (admin, ada, bob) = (
        app.admin().await,
        app.user("ada").await,
        app.user("bob").await,
    );
    assert_eq!(bob.deactivate(PASSWORD).await.code(), "");
    let token = app.mailed_token("bob@example.org").await;
    let before = app.state().await;
    app.db
        .sql("ALTER TABLE jobs ADD CONSTRAINT no_more CHECK (false) NOT VALID")
        .await;
    for answer in [
        ada.deactivate(PASSWORD).await,
        app.reactivate(&token).await,
        admin.set_status(&ada.id, false, None).await,
        admin.set_status(&bob.id, true, None).await,
    ] {
        assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
        let data = answer.json["data"].as_object().expect("data");
        assert_eq!(data.values().next(), Some(&Value::Null));
    }
    assert_eq!(app.state().await, before);
    assert!(ada.is_signed_in().await);
    app.db.sql("ALTER TABLE jobs DROP CONSTRAINT no_more").await;
    assert_eq!(app.reactivate(&token).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_and_an_administrator_who_close_an_account_at_once_take_turns() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    let lock = "BEGIN; SELECT FROM roles WHERE name = 'admin' FOR UPDATE";
    held.batch_execute(lock).await.expect("the role");
    let (closed, own, ()) = join3(
        admin.set_status(&ada.id, false, None),
        async {
            app.db.until_waiting(1).await;
            ada.deactivate(PASSWORD).await
        },
        async {
            app.db.until_waiting(2).await;
            held.batch_execute("COMMIT").await.expect("released");
        },
    )
    .await;
    assert_eq!(closed.code(), "", "{}", closed.text);
    assert_eq!(own.codes(), ["UNAUTHENTICATED"]);
}
