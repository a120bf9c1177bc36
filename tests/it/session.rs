//! The life of sessions: listing them, refreshing them, ending them.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, Client, TestApp};

pub const REFRESH: &str = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { \
    errors { code } result { ... on SignedIn { accessToken refreshToken session { id } user { id uuid email } } } } }";
const LOGIN: &str = "mutation { login(input: { identifier: \"ada\", password: \"Correct-Horse-7\" }) { \
    result { ... on SignedIn { accessToken refreshToken session { id } user { id uuid } } } } }";
const SESSIONS: &str =
    "{ sessions { nodes { id current ipAddress userAgent createdAt lastAccessedAt expiresAt } } }";

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.gql(REFRESH, json!({ "token": token })).await
}

async fn login(app: &TestApp) -> Client<'_> {
    let answer = app.gql(LOGIN, Value::Null).await;
    Client::new(app, answer.data("login/result"))
}

fn token(answer: &Answer) -> String {
    let token = answer.data("refreshToken/result/refreshToken").as_str();
    token.expect("a refresh token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_session() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let first = refresh(&app, &ada.refresh_token).await;
    let second = first.data("refreshToken/result").clone();
    assert_eq!(second["session"]["id"], ada.session);
    assert_eq!(second["user"]["email"], "ada@example.org");
    let access = second["accessToken"].as_str().expect("a token").to_owned();
    let me = app.gql_as(Some(&access), "{ me { id } }", Value::Null);
    assert_eq!(me.await.data("me/id"), &json!(ada.id));

    app.advance(TimeDelta::seconds(10));
    let reused = refresh(&app, &ada.refresh_token).await;
    assert_eq!(reused.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    let after = app
        .gql_as(Some(&access), "{ me { id } }", Value::Null)
        .await;
    assert_eq!(
        (after.status, after.codes()),
        (StatusCode::UNAUTHORIZED, vec!["UNAUTHENTICATED"])
    );
    let live = refresh(&app, second["refreshToken"].as_str().expect("a token")).await;
    assert_eq!(live.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    app.run_jobs().await;
    let mail = &app.mails_to("ada@example.org")[0];
    assert!(mail.subject.contains("ended"), "{}", mail.subject);
    refresh(&app, &ada.refresh_token).await;
    assert_eq!(app.waiting_jobs().await, 0, "told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_refreshes_at_once_nobody_is_signed_out_and_one_token_lives() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let answers =
        futures_util::future::join_all((0..20).map(|_| refresh(&app, &ada.refresh_token))).await;
    let tokens: std::collections::BTreeSet<_> = answers.iter().map(token).collect();
    assert_eq!(tokens.len(), 1, "all hold the one live token");
    for answer in &answers {
        let access = answer.data("refreshToken/result/accessToken").as_str();
        let me = app.gql_as(access, "{ me { id } }", Value::Null).await;
        assert_eq!(me.data("me/id"), &json!(ada.id));
    }
    app.advance(TimeDelta::minutes(10));
    let next = refresh(&app, tokens.first().expect("a token")).await;
    assert_eq!(next.data("refreshToken/errors"), &json!([]));
    assert_eq!(
        next.data("refreshToken/result/session/id"),
        &json!(ada.session)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_can_be_had_again_until_it_is_used() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let lost = token(&refresh(&app, &ada.refresh_token).await);
    app.advance(TimeDelta::seconds(9));
    assert_eq!(token(&refresh(&app, &ada.refresh_token).await), lost);
    let next = refresh(&app, &lost).await;
    assert_eq!(next.data("refreshToken/errors"), &json!([]));
    // Still within ten seconds, but the answer has been used: two hold the old token.
    let reused = refresh(&app, &ada.refresh_token).await;
    assert_eq!(reused.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    let dead = refresh(&app, &token(&next)).await;
    assert_eq!(dead.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_older_refresh_token_ends_the_session() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut newest = ada.refresh_token.clone();
    for _ in 0..4 {
        app.advance(TimeDelta::minutes(1));
        newest = token(&refresh(&app, &newest).await);
    }
    let reused = refresh(&app, &ada.refresh_token).await;
    assert_eq!(reused.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    let dead = refresh(&app, &newest).await;
    assert_eq!(dead.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    let reasons = "SELECT string_agg(revoked_reason, ' ') FROM sessions";
    assert_eq!(app.db.text(reasons).await, "reuse_detected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_nothing_that_makes_a_refresh_token() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let next = token(&refresh(&app, &ada.refresh_token).await);
    let dump = app.db.dump().await;
    for token in [&ada.refresh_token, &next] {
        assert!(!dump.contains(token.as_str()));
        assert!(!dump.contains(&token[4..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_sessions_are_listed_the_most_recently_used_first() {
    let app = TestApp::new().await;
    let first = app.user("ada").await;
    app.advance(TimeDelta::seconds(30));
    let second = login(&app).await;
    let listed = second.ask(SESSIONS).await;
    let nodes = listed.data("sessions/nodes").as_array().expect("a list");
    assert_eq!(nodes.len(), 2);
    assert_eq!(
        nodes[0],
        json!({
            "id": second.session, "current": true, "ipAddress": "127.0.0.1", "userAgent": null,
            "createdAt": "2026-11-30T08:00:30Z", "lastAccessedAt": "2026-11-30T08:00:30Z",
            "expiresAt": "2026-12-01T08:00:30Z",
        })
    );
    assert_eq!(
        (&nodes[1]["id"], &nodes[1]["current"]),
        (&json!(first.session), &json!(false))
    );

    app.advance(TimeDelta::minutes(2));
    first.ask("{ me { id } }").await;
    cardea::services::session::write_uses(&app.app)
        .await
        .expect("written");
    let listed = second.ask(SESSIONS).await;
    assert_eq!(listed.data("sessions/nodes/0/id"), &json!(first.session));
    assert_eq!(
        listed.data("sessions/nodes/0/lastAccessedAt"),
        "2026-11-30T08:02:30Z"
    );
    let me = "{ me { sessions(first: 1) { nodes { id } } } }";
    let own = second.ask(me).await;
    assert_eq!(own.data("me/sessions/nodes/0/id"), &json!(first.session));
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_written_at_most_once_a_minute_and_never_by_the_request() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.ask("{ me { id } }").await;
    let used = "SELECT last_accessed_at::text FROM sessions";
    let written = async || {
        cardea::services::session::write_uses(&app.app)
            .await
            .expect("written");
        app.db.text(used).await
    };
    app.advance(TimeDelta::seconds(59));
    ada.ask("{ me { id } }").await;
    assert_eq!(written().await, "2026-11-30 08:00:00+00");
    app.advance(TimeDelta::seconds(1));
    let (statements, _) = app
        .statements(ada.ask("{ viewer { isAuthenticated } }"))
        .await;
    assert_eq!(statements, 0);
    assert_eq!(written().await, "2026-11-30 08:01:00+00");
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(15));
        ada.ask("{ me { id } }").await;
    }
    assert_eq!(written().await, "2026-11-30 08:01:00+00");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_sessions_hold_each_of_them_once_in_both_directions() {
    let app = TestApp::new().await;
    app.user("ada").await;
    for _ in 0..4 {
        app.advance(TimeDelta::seconds(1));
        login(&app).await;
    }
    let ada = login(&app).await;
    let all = ada.ask(SESSIONS).await;
    let ids = |nodes: &Value| -> Vec<Value> {
        let nodes = nodes.as_array().expect("a list");
        nodes.iter().map(|node| node["id"].clone()).collect()
    };
    let all = ids(all.data("sessions/nodes"));
    assert_eq!(all.len(), 6);
    let document = "query($first: Int, $last: Int, $after: String, $before: String) { \
        sessions(first: $first, last: $last, after: $after, before: $before) { \
        nodes { id } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let mut forward = Vec::new();
    let mut after = Value::Null;
    for (page, size) in [(0, 4), (1, 2)] {
        let answer = ada
            .gql(document, json!({ "first": 4, "after": after }))
            .await;
        let connection = answer.data("sessions");
        assert_eq!(connection["edges"].as_array().map(Vec::len), Some(size));
        assert_eq!(connection["pageInfo"]["hasNextPage"], page == 0);
        assert_eq!(connection["pageInfo"]["hasPreviousPage"], page == 1);
        forward.extend(ids(&connection["nodes"]));
        after = connection["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(forward, all);
    let last = ada.gql(document, json!({ "last": 2 })).await;
    assert_eq!(ids(last.data("sessions/nodes")), all[4..]);
    let before = last.data("sessions/pageInfo/startCursor");
    let earlier = ada
        .gql(document, json!({ "last": 3, "before": before }))
        .await;
    assert_eq!(ids(earlier.data("sessions/nodes")), all[1..4]);
    assert_eq!(earlier.data("sessions/pageInfo/hasPreviousPage"), true);
    for bad in [
        json!({ "first": 0 }),
        json!({ "first": 101 }),
        json!({ "first": 1, "last": 1 }),
        json!({ "after": "x" }),
    ] {
        assert_eq!(
            ada.gql(document, bad.clone()).await.codes(),
            ["BAD_USER_INPUT"],
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_many_accounts_come_in_one_statement() {
    let app = TestApp::new().await;
    for name in ["ada", "bob", "eve"] {
        app.user(name).await;
    }
    let admin = app.admin().await;
    let document = "{ users { nodes { id sessions { nodes { id } } } } }";
    admin.ask("{ viewer { isAuthenticated } }").await;
    let (statements, answer) = app.statements(admin.ask(document)).await;
    assert_eq!(
        answer
            .data("users/nodes/3/sessions/nodes")
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // The accounts, their sessions; the reader's key and an entry for each account in the audit trail.
    assert_eq!(statements, 4);
}

const REVOKE: &str = "mutation($id: ID!) { revokeSession(input: { sessionId: $id }) { errors { code path } revokedSessionId } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_by_its_owner_and_by_administrators_and_by_nobody_else() {
    let app = TestApp::new().await;
    let (ada, other) = (app.user("ada").await, login(&app).await);
    let (bob, moderator) = (
        app.user("bob").await,
        app.user_with_role("mo", "moderator").await,
    );
    let admin = app.admin().await;
    let missing = json!({ "errors": [{ "code": "NOT_FOUND", "path": ["input", "sessionId"] }], "revokedSessionId": null });
    for caller in [&bob, &moderator] {
        for id in [&ada.session, &ada.id, &"x".to_owned()] {
            let refused = caller.gql(REVOKE, json!({ "id": id })).await;
            assert_eq!(refused.data("revokeSession"), &missing);
        }
    }
    assert_eq!(ada.ask("{ me { id } }").await.status, StatusCode::OK);
    let ended = ada.gql(REVOKE, json!({ "id": other.session })).await;
    assert_eq!(
        ended.data("revokeSession"),
        &json!({ "errors": [], "revokedSessionId": other.session })
    );
    assert_eq!(
        other.ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    let again = ada.gql(REVOKE, json!({ "id": other.session })).await;
    assert_eq!(again.data("revokeSession"), &missing);
    admin.gql(REVOKE, json!({ "id": ada.session })).await;
    assert_eq!(
        ada.ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    let reasons = "SELECT string_agg(revoked_reason, ' ' ORDER BY revoked_reason) FROM sessions";
    assert_eq!(app.db.text(reasons).await, "admin user");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_ends_all_or_all_other_sessions() {
    let app = TestApp::new().await;
    let (first, second, third) = (app.user("ada").await, login(&app).await, login(&app).await);
    let bob = app.user("bob").await;
    let all = "mutation($keep: Boolean!) { logoutAll(input: { keepCurrent: $keep }) { endedSessions errors { code } } }";
    let kept = first.gql(all, json!({ "keep": true })).await;
    assert_eq!(
        kept.data("logoutAll"),
        &json!({ "endedSessions": 2, "errors": [] })
    );
    assert_eq!(first.ask("{ me { id } }").await.status, StatusCode::OK);
    for gone in [&second, &third] {
        assert_eq!(
            gone.ask("{ me { id } }").await.status,
            StatusCode::UNAUTHORIZED
        );
        let refreshed = refresh(&app, &gone.refresh_token).await;
        assert_eq!(
            refreshed.data("refreshToken/errors/0/code"),
            "TOKEN_REJECTED"
        );
    }
    let whole = first.ask("mutation { logoutAll { endedSessions } }").await;
    assert_eq!(whole.data("logoutAll/endedSessions"), 1);
    assert_eq!(
        first.ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(bob.ask("{ me { id } }").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_with_an_access_token_that_ran_out_ends_its_session() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::hours(1));
    let logout = "mutation { logout { endedSessions } }";
    assert_eq!(ada.ask(logout).await.data("logout/endedSessions"), 1);
    let refreshed = refresh(&app, &ada.refresh_token).await;
    assert_eq!(
        refreshed.data("refreshToken/errors/0/code"),
        "TOKEN_REJECTED"
    );
    let forged = format!("{}x", ada.access_token);
    let nothing = app.gql_as(Some(&forged), logout, Value::Null).await;
    assert_eq!(nothing.data("logout/endedSessions"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_the_session_that_was_not_used_for_longest_ends() {
    let app = TestApp::with(&["--sessions-per-account=3"]).await;
    let mut clients = vec![app.user("ada").await];
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(1));
        clients.push(login(&app).await);
    }
    assert_eq!(
        clients[0].ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    for client in &clients[1..] {
        assert_eq!(client.ask("{ me { id } }").await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_account_itself_needs_a_recent_sign_in() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let change =
        "mutation { requestEmailChange(input: { newEmail: \"new@example.org\" }) { accepted } }";
    app.advance(TimeDelta::minutes(6));
    let refused = ada.ask(change).await;
    assert_eq!(refused.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(app.waiting_jobs().await, 0);
    let again = "mutation($password: String!) { reauthenticate(input: { password: $password }) { errors { code path } session { id current } } }";
    let wrong = ada.gql(again, json!({ "password": "Wrong-Horse-7" })).await;
    assert_eq!(
        wrong.data("reauthenticate/errors"),
        &json!([{ "code": "INVALID_CREDENTIALS", "path": ["input", "password"] }])
    );
    assert_eq!(ada.ask(change).await.codes(), ["REAUTHENTICATION_REQUIRED"]);
    let proved = ada.gql(again, json!({ "password": PASSWORD })).await;
    assert_eq!(
        proved.data("reauthenticate/session"),
        &json!({ "id": ada.session, "current": true })
    );
    assert_eq!(
        ada.ask(change).await.data("requestEmailChange/accepted"),
        true
    );
}
