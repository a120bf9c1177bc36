//! Asking for accounts to be erased, calling it off, and who may.

use cardea::live::Times;
use cardea::services::erasure;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::{PASSWORD, email};
use crate::harness::oauth::Setup;
use crate::harness::socket::Listening;

const ADA: &str = "ada@example.org";
const ENTRIES: &str = "SELECT string_agg(action || ' ' || outcome, ', ' ORDER BY occurred_at, id) FROM audit_events \
    WHERE action LIKE '%eras%' OR details ? 'erasureCancelled'";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_has_the_account_erased_after_thirty_days() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let elsewhere = app.sign_in("ada").await;
    let before = app.state().await;
    for wrong in ["", "Wrong-Horse-7"] {
        let answer = ada.erase_account(Some(wrong)).await;
        assert_eq!(
            answer.data("eraseAccount"),
            &json!({ "errors": [{ "code": "INVALID_CREDENTIALS", "path": ["input", "password"] }], "erasesAt": null })
        );
    }
    let nothing = ada.erase_account(None).await;
    assert_eq!(
        nothing.data("eraseAccount/errors"),
        &json!([{ "code": "REJECTED", "path": ["input"] }])
    );
    assert_eq!(app.state().await, before);
    let asked = ada.erase_account(Some(PASSWORD)).await;
    let at = "2026-12-30T08:00:00Z";
    assert_eq!(
        asked.data("eraseAccount"),
        &json!({ "errors": [], "erasesAt": at })
    );
    assert!(ada.is_signed_in().await && !elsewhere.is_signed_in().await);
    app.run_jobs().await;
    let mail = app.mails_to(ADA).remove(0);
    assert_eq!(mail.subject, "Your account at Cardea will be erased");
    assert!(
        mail.text.contains("When: 30 December 2026 at 08:00 (UTC)"),
        "{}",
        mail.text
    );
    // The first moment holds, and nothing is told twice; who came in meanwhile goes.
    app.advance(TimeDelta::minutes(1));
    let between = app.sign_in("ada").await;
    let twice = ada.erase_account(Some(PASSWORD)).await;
    assert_eq!(twice.data("eraseAccount/erasesAt"), at);
    assert!(ada.is_signed_in().await && !between.is_signed_in().await);
    assert_eq!(app.run_jobs().await, 0);

    app.advance(TimeDelta::days(29));
    let login = "mutation { login(input: { identifier: \"ada\", password: \"Correct-Horse-7\" }) { \
        result { ... on SignedIn { accessToken user { erasesAt } } } } }";
    let answer = app.gql(login, Value::Null).await;
    assert_eq!(
        answer.data("login/result/user/erasesAt"),
        at,
        "signing in says so, and calls nothing off"
    );
    app.advance(TimeDelta::days(1) - TimeDelta::minutes(2));
    assert_eq!(app.erase_due().await, 0);
    let late = app.sign_in("ada").await;
    app.advance(TimeDelta::minutes(1));
    // The moment has come, whether anything was done about it or not.
    let refused = late.cancel_erasure().await;
    assert_eq!(
        refused.data("cancelErasure"),
        &json!({ "errors": [{ "code": "ACCOUNT_UNAVAILABLE", "path": [] }], "user": null })
    );
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
    assert_eq!(app.erase_due().await, 1);
    assert_eq!(app.erase_due().await, 0);
    app.app.access.catch_up().await;
    assert!(!late.is_signed_in().await);
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(app.count("users").await, "0");
    assert_eq!(
        app.db.text(ENTRIES).await,
        "erasure_requested success, erasure_requested success, account_erased success"
    );
    let again = app.register("ada").await;
    assert_eq!(again.data("register/errors"), &json!([]));
    assert_eq!(app.count("users").await, "1", "address and name are free");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_called_off_until_its_moment() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.run_jobs().await;
    let untouched = app.state().await;
    let nothing = ada.cancel_erasure().await;
    assert_eq!(nothing.code(), "", "there is none to call off");
    assert_eq!(app.state().await, untouched);
    assert_eq!(ada.erase_account(Some(PASSWORD)).await.code(), "");
    let called_off = ada.cancel_erasure().await;
    assert_eq!(
        called_off.data("cancelErasure"),
        &json!({ "errors": [], "user": { "id": ada.id, "erasesAt": null } })
    );
    assert_eq!(app.subjects(ADA).await[0], "Your account at Cardea stays");
    app.advance(TimeDelta::days(31));
    assert_eq!(app.erase_due().await, 0);
    assert_eq!(
        app.db.text(ENTRIES).await,
        "erasure_requested success, erasure_cancelled success"
    );
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_wants_a_recent_sign_in() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    app.advance(TimeDelta::minutes(6));
    let before = app.state().await;
    let answer = ada.erase_account(Some(PASSWORD)).await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    let answer = admin.erase_user(&ada.id, json!({})).await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_nothing_but_a_provider_closes_the_account_and_has_it_erased_too() {
    const CLOSE: &str = "mutation { deactivateAccount { errors { code path } user { status } } }";
    let setup = Setup::new().await;
    let ada = setup.signed_in("a-1", ADA).await;
    let asked = ada.erase_account(None).await;
    assert_eq!(asked.code(), "");
    assert_eq!(asked.data("eraseAccount/erasesAt"), "2026-12-30T08:00:00Z");
    assert_eq!(ada.cancel_erasure().await.code(), "");
    // With a passkey there is something to prove.
    ada.add_passkey().await;
    let before = setup.app.state().await;
    assert_eq!(ada.erase_account(None).await.code(), "REJECTED");
    let refused = ada.ask(CLOSE).await;
    assert_eq!(
        refused.data("deactivateAccount"),
        &json!({ "errors": [{ "code": "REJECTED", "path": ["input"] }], "user": null })
    );
    assert_eq!(setup.app.state().await, before);
    let bob = setup.signed_in("b-1", "bob@example.org").await;
    let closed = bob.ask(CLOSE).await;
    assert_eq!(
        closed.data("deactivateAccount"),
        &json!({ "errors": [], "user": { "status": "DEACTIVATED" } })
    );
    assert!(!bob.is_signed_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grace_period_the_account_goes_at_once() {
    let app = TestApp::with(&["--erasure-grace-days=0"]).await;
    let ada = app.user("ada").await;
    app.run_jobs().await;
    let mails = app.mails().len();
    let asked = ada.erase_account(Some(PASSWORD)).await;
    assert_eq!(
        asked.data("eraseAccount"),
        &json!({ "errors": [], "erasesAt": null })
    );
    app.app.access.catch_up().await;
    assert!(!ada.is_signed_in().await);
    assert_eq!(app.count("users").await, "0");
    assert_eq!(app.count("sessions").await, "0");
    app.run_jobs().await;
    assert_eq!(app.mails().len(), mails, "there is no address to write to");
    assert_eq!(
        app.db.text(ENTRIES).await,
        "erasure_requested success, account_erased success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_has_an_account_erased() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let reason = json!({ "reason": "asked for by letter" });
    let ordered = admin.erase_user(&ada.id, reason.clone()).await;
    let at = "2026-12-30T08:00:00Z";
    assert_eq!(
        ordered.data("eraseUser"),
        &json!({ "errors": [], "erasesAt": at })
    );
    assert!(!ada.is_signed_in().await);
    let ada = app.sign_in("ada").await;
    let own = ada.ask("{ me { erasesAt } }").await;
    assert_eq!(own.data("me/erasesAt"), at);
    let shown = "query($id: ID!) { auditEvents(filter: { subjectId: $id, actions: [ERASURE_REQUESTED] }) { \
        nodes { details actor { id } } } }";
    let entries = admin.gql(shown, json!({ "id": ada.id })).await;
    assert_eq!(
        entries.data("auditEvents/nodes"),
        &json!([{ "details": { "immediately": false, "reason": "asked for by letter" }, "actor": { "id": admin.id } }])
    );
    app.run_jobs().await;
    assert_eq!(
        app.mails_to(ADA)[0].subject,
        "Your account at Cardea will be erased"
    );
    app.advance(TimeDelta::minutes(1));
    // Asked once more, it stays at that moment; who came in meanwhile has to sign in again.
    let again = json!({ "reason": "and by telephone" });
    let twice = admin.erase_user(&ada.id, again).await;
    assert_eq!(twice.data("eraseUser/erasesAt"), at);
    assert!(!ada.is_signed_in().await);
    let entries = admin.gql(shown, json!({ "id": ada.id })).await;
    assert_eq!(
        entries.data("auditEvents/nodes/0/details/reason"),
        "and by telephone"
    );
    app.run_jobs().await;
    let told = app.subjects(ADA).await;
    let told = told.iter().filter(|subject| subject.contains("erased"));
    assert_eq!(told.count(), 1);
    let at_once = json!({ "immediately": true, "reason": "asked for by letter" });
    let gone = admin.erase_user(&ada.id, at_once.clone()).await;
    assert_eq!(
        gone.data("eraseUser"),
        &json!({ "errors": [], "erasesAt": null })
    );
    assert_eq!(app.count("users").await, "1");
    let twice = admin.erase_user(&ada.id, at_once).await;
    assert_eq!(
        twice.data("eraseUser/errors"),
        &json!([{ "code": "NOT_FOUND", "path": ["input", "userId"] }])
    );
    // The reason went with the account.
    let entries = admin.gql(shown, json!({ "id": ada.id })).await;
    let nodes = entries.data("auditEvents/nodes");
    assert_eq!(nodes[0]["details"], json!({ "immediately": true }));
    assert_eq!(nodes[1]["details"], json!({ "immediately": false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_an_administrator_may_not_erase_stays() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let boss = app.user("boss").await;
    app.db
        .sql(
            "INSERT INTO permissions (id, name, created_at) VALUES (gen_random_uuid(), 'launch:rockets', now());
             INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'pilot', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions \
             WHERE roles.name = 'pilot' AND permissions.name = 'launch:rockets'",
        )
        .await;
    app.grant(&boss, "pilot").await;
    let before = app.state().await;
    for immediately in [true, false] {
        let how = json!({ "immediately": immediately });
        let own = admin.erase_user(&admin.id, how.clone()).await;
        assert_eq!(
            own.data("eraseUser/errors"),
            &json!([{ "code": "PROTECTED", "path": ["input", "userId"] }])
        );
        let above = admin.erase_user(&boss.id, how.clone()).await;
        assert_eq!(above.codes(), ["FORBIDDEN"]);
        for unknown in [&*admin.session, "nonsense", ""] {
            let answer = admin.erase_user(unknown, how.clone()).await;
            assert_eq!(answer.code(), "NOT_FOUND", "{unknown}");
        }
        let long = json!({ "immediately": immediately, "reason": "r".repeat(501) });
        let answer = admin.erase_user(&ada.id, long).await;
        assert_eq!(
            answer.data("eraseUser/errors"),
            &json!([{ "code": "INVALID_VALUE", "path": ["input", "reason"], "rule": "LENGTH" }])
        );
        let by_ada = ada.erase_user(&boss.id, how).await;
        assert_eq!(by_ada.codes(), ["FORBIDDEN"]);
    }
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_remains_whoever_goes() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let before = app.state().await;
    assert_eq!(
        admin.erase_account(Some(PASSWORD)).await.code(),
        "PROTECTED"
    );
    assert_eq!(app.state().await, before);
    let second = app.user_with_role("second", "admin").await;
    assert_eq!(admin.erase_account(Some(PASSWORD)).await.code(), "");
    // The other one is to go: who stays is the last.
    let before = app.state().await;
    assert_eq!(
        second.erase_account(Some(PASSWORD)).await.code(),
        "PROTECTED"
    );
    assert_eq!(second.deactivate(PASSWORD).await.code(), "PROTECTED");
    let by_admin = admin.erase_user(&second.id, json!({})).await;
    assert_eq!(by_admin.code(), "PROTECTED");
    assert_eq!(app.state().await, before);
    // Past the server, so that nobody but the one who goes is left.
    app.db
        .sql("UPDATE users SET status = 'deactivated', closed_at = now(), closed_by = 'admin' WHERE username = 'second'")
        .await;
    app.advance(TimeDelta::days(30));
    assert_eq!(app.erase_due().await, 0);
    let kept =
        "SELECT username || coalesce(erases_at::text, '') FROM users WHERE status = 'active'";
    assert_eq!(app.db.text(kept).await, "admin");
    assert_eq!(
        app.subjects(&email("admin")).await[0],
        "Your account at Cardea was not erased"
    );
    assert_eq!(
        app.db.text(ENTRIES).await,
        "erasure_requested success, account_erased failure"
    );
    assert_eq!(app.erase_due().await, 0);
    assert_eq!(app.run_jobs().await, 0, "told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_who_erase_each_other_one_stays() {
    let app = TestApp::new().await;
    for round in 0..4 {
        let one = app.user_with_role(&format!("one{round}"), "admin").await;
        let other = app.user_with_role(&format!("other{round}"), "admin").await;
        let others = format!(
            "UPDATE users SET status = 'deactivated', closed_at = now(), closed_by = 'admin' \
             WHERE username NOT IN ('one{round}', 'other{round}')"
        );
        app.db.sql(&others).await;
        let how = json!({ "immediately": round % 2 == 0 });
        let (first, second) = tokio::join!(
            one.erase_user(&other.id, how.clone()),
            other.erase_user(&one.id, how)
        );
        let left = "SELECT count(*)::text FROM users WHERE status = 'active' AND erases_at IS NULL";
        assert_eq!(app.db.text(left).await, "1", "round {round}");
        let first_won = first.json["errors"].is_null() && first.code().is_empty();
        let loser = if first_won { &second } else { &first };
        assert!(
            loser.codes() == ["UNAUTHENTICATED"] || loser.code() == "PROTECTED",
            "{}",
            loser.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_wait_or_are_closed_are_erased_too() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.register("pat").await;
    let pat = app
        .db
        .text("SELECT id::text FROM users WHERE username = 'pat'")
        .await;
    let pat = cardea::graphql::node::Kind::User.id(pat.parse().expect("a UUID"));
    app.run_jobs().await;
    // Whoever comes to prove the address later is not to find an account that goes.
    let gone = admin.erase_user(&pat, json!({})).await;
    assert_eq!(
        gone.data("eraseUser"),
        &json!({ "errors": [], "erasesAt": null })
    );
    assert_eq!(app.count("users").await, "1");
    let mails = app.mails_to(&email("pat")).len();
    app.run_jobs().await;
    assert_eq!(
        app.mails_to(&email("pat")).len(),
        mails,
        "a stranger gets no mail"
    );
    let ada = app.user("ada").await;
    assert_eq!(admin.set_status(&ada.id, false, None).await.code(), "");
    assert_eq!(admin.erase_user(&ada.id, json!({})).await.code(), "");
    app.run_jobs().await;
    let mail = app.mails_to(ADA).remove(0);
    assert_eq!(mail.subject, "Your account at Cardea will be erased");
    assert!(mail.links.is_empty(), "what an administrator closed");
    app.advance(TimeDelta::days(30));
    assert_eq!(app.erase_due().await, 1);
    assert_eq!(app.count("users").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_a_closed_account_calls_its_erasure_off_unless_its_moment_has_come() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let bob = app.user("bob").await;
    assert_eq!(ada.erase_account(Some(PASSWORD)).await.code(), "");
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.reactivate(&token).await.code(), "");
    assert_eq!(admin.erase_user(&bob.id, json!({})).await.code(), "");
    // Open already: what the owner may have asked for stands.
    assert_eq!(admin.set_status(&bob.id, true, None).await.code(), "");
    let scheduled = "SELECT count(*)::text FROM users WHERE erases_at IS NOT NULL";
    assert_eq!(app.db.text(scheduled).await, "1");
    assert_eq!(admin.set_status(&bob.id, false, None).await.code(), "");
    assert_eq!(admin.set_status(&bob.id, true, None).await.code(), "");
    assert_eq!(app.db.text(scheduled).await, "0");
    let said = "SELECT count(*)::text FROM audit_events WHERE action = 'account_reactivated' AND details ? 'erasureCancelled'";
    assert_eq!(app.db.text(said).await, "2");

    let ada = app.sign_in("ada").await;
    assert_eq!(ada.erase_account(Some(PASSWORD)).await.code(), "");
    app.advance(TimeDelta::days(29) + TimeDelta::hours(23));
    let ada = app.sign_in("ada").await;
    assert_eq!(ada.deactivate(PASSWORD).await.code(), "");
    let token = app.mailed_token(ADA).await;
    app.advance(TimeDelta::hours(1));
    assert_eq!(app.reactivate(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.erase_due().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_everywhere_and_followers_hear_of_it() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let (other, _) = app.second(&[]).await;
    let server = Listening::at(other, Times::default(), 0).await;
    let sessions = "subscription { sessionRevoked { sessionId } }";
    let mut own = server.following(&ada, sessions).await;
    let status = "subscription { userStatusChanged { isActive userId user { id } } }";
    let mut follower = server.following(&admin, status).await;
    let erased = admin
        .erase_user(&ada.id, json!({ "immediately": true }))
        .await;
    assert_eq!(erased.code(), "");
    assert_eq!(own.closed().await, 4401);
    let said = follower.message().await;
    assert_eq!(
        said["payload"]["data"]["userStatusChanged"],
        json!({ "isActive": false, "userId": ada.id, "user": null })
    );
    // Its access token is as good as it was, and lets nobody in.
    app.app.access.catch_up().await;
    assert!(!ada.is_signed_in().await);
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } } }";
    let refreshed = app
        .gql(refresh, json!({ "token": ada.refresh_token }))
        .await;
    assert_eq!(refreshed.code(), "TOKEN_REJECTED");
    server.app.shutdown.cancel();
    server.app.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_share_the_work_and_one_account_holds_up_no_other() {
    let app = TestApp::new().await;
    for n in 0..6 {
        app.user(&format!("user{n}")).await;
    }
    let (second, _) = app.second(&[]).await;
    app.db
        .sql("UPDATE users SET erases_at = '2026-11-30T07:00:00Z'")
        .await;
    // One whose row cannot go.
    app.db
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
             CREATE TRIGGER stuck BEFORE DELETE ON users FOR EACH ROW WHEN (OLD.username = 'user0') EXECUTE FUNCTION refuse()",
        )
        .await;
    let (one, other) = tokio::join!(erasure::erase_due(&app.app), erasure::erase_due(&second));
    assert!(one.is_err() || other.is_err(), "somebody met the stuck one");
    let left = "SELECT string_agg(username, ' ') FROM users";
    assert_eq!(app.db.text(left).await, "user0");
    let told = "SELECT count(*)::text || ' ' || count(DISTINCT subject_id) FROM audit_events WHERE action = 'account_erased'";
    assert_eq!(app.db.text(told).await, "5 5");
    app.db.sql("DROP TRIGGER stuck ON users").await;
    assert_eq!(app.erase_due().await, 1);
    second.shutdown.cancel();
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_in_the_midst_of_everything_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } \
        result { ... on SignedIn { accessToken } } } }";
    for round in 0..6 {
        let name = format!("ada{round}");
        let ada = app.user(&name).await;
        let other = app.sign_in(&name).await;
        let refreshing = app.gql(refresh, json!({ "token": other.refresh_token }));
        let profile = "mutation { updateProfile(input: { bio: \"x\" }) { errors { code } } }";
        let prove = "mutation { reauthenticate(input: { password: \"Wrong-Horse-7\" }) { errors { code } } }";
        let address = format!("new{round}@example.org");
        let at_once = json!({ "immediately": true });
        let (login, refreshed, changed, wrong, moved, asked, one, two, read, exported) = tokio::join!(
            app.login(&name, PASSWORD),
            refreshing,
            ada.ask(profile),
            ada.ask(prove),
            ada.request_email_change(&address),
            ada.erase_account(Some(PASSWORD)),
            admin.erase_user(&ada.id, at_once.clone()),
            admin.erase_user(&ada.id, at_once.clone()),
            ada.ask("{ me { email sessions { nodes { id } } activity { nodes { ipAddress } } } }"),
            ada.ask("mutation { exportMyData { data errors { code } } }"),
        );
        // All of it or none.
        let document = exported
            .json
            .pointer("/data/exportMyData/data/account/email");
        assert!(document.is_none_or(|email| *email == format!("{name}@example.org")));
        let mut codes: Vec<&str> = [one.code(), two.code()].to_vec();
        codes.sort_unstable();
        assert_eq!(codes, ["", "NOT_FOUND"], "round {round}");
        for answer in [
            &login, &refreshed, &changed, &wrong, &moved, &asked, &read, &exported,
        ] {
            assert!(
                answer.codes().iter().all(|code| *code == "UNAUTHENTICATED"),
                "round {round}: {}",
                answer.text
            );
        }
        app.run_jobs().await;
        app.app.access.catch_up().await;
        let tokens = [
            "login/result/accessToken",
            "refreshToken/result/accessToken",
        ];
        let opened = [&login, &refreshed].into_iter().zip(tokens);
        for (answer, path) in opened {
            let token = answer.json.pointer(&format!("/data/{path}"));
            if let Some(token) = token.and_then(Value::as_str) {
                let me = app.gql_as(Some(token), "{ me { id } }", Value::Null).await;
                assert_eq!(me.status, axum::http::StatusCode::UNAUTHORIZED);
            }
        }
        let id = ada.user_id().to_string();
        let rows = app.rows().await;
        let left: Vec<_> = rows.lines().filter(|row| row.contains(&id)).collect();
        assert!(
            left.iter().all(|row| ["month_", "others ", "audit_events "]
                .iter()
                .any(|table| row.starts_with(table))),
            "{left:#?}"
        );
        assert!(!rows.contains(&address), "round {round}");
    }
    assert_eq!(app.count("users").await, "1");
    assert_eq!(app.count("data_keys").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_an_account_twice_at_once_is_one_erasure() {
    let app = TestApp::with(&["--erasure-grace-days=0"]).await;
    let ada = app.user("ada").await;
    let asked = (0..4).map(|_| ada.erase_account(Some(PASSWORD)));
    let answers = join_all(asked).await;
    let done = answers
        .iter()
        .filter(|answer| answer.json["errors"].is_null() && answer.code().is_empty());
    assert_eq!(done.count(), 1);
    for answer in &answers {
        let refused = answer.codes().iter().all(|code| *code == "UNAUTHENTICATED");
        assert!(refused, "{}", answer.text);
    }
    assert_eq!(
        app.db.text(ENTRIES).await,
        "erasure_requested success, account_erased success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_as_many_statements_whatever_there_is_to_erase() {
    // One that listens reads its keys at some moment, too.
    let app = TestApp::deaf().await;
    app.user("ada").await;
    app.user("bob").await;
    for _ in 0..5 {
        app.sign_in("bob").await;
        app.request_reset(&email("bob")).await;
        app.advance(TimeDelta::minutes(2));
    }
    app.db
        .sql("UPDATE users SET erases_at = '2026-11-30T07:00:00Z'")
        .await;
    let (statements, erased) = app.statements(app.erase_due()).await;
    assert_eq!(erased, 2);
    // Fourteen for each, and three that find no more.
    assert_eq!(statements, 31);
}
