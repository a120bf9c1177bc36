//! What administrators do to accounts of others: changing them, and ending their sessions.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::roles::clerk;
use crate::harness::{Answer, Client, TestApp};

impl Client<'_> {
    async fn update_user(&self, input: Value) -> Answer {
        let document = "mutation($input: UpdateUserInput!) { updateUser(input: $input) { \
            errors { code path ... on InvalidValueError { rule } } \
            user { id fullName username coachingStartDate lastCoachingSession profile { bio theme } } } }";
        self.gql(document, json!({ "input": input })).await
    }

    async fn end_sessions_of(&self, user: &str) -> Answer {
        let document = "mutation($input: UserIdInput!) { revokeUserSessions(input: $input) { errors { code path } endedSessions } }";
        self.gql(document, json!({ "input": { "userId": user } }))
            .await
    }
}

async fn last_entry(app: &TestApp) -> String {
    app.db
        .text("SELECT action || details::text FROM audit_events WHERE action <> 'personal_data_read' ORDER BY occurred_at DESC, id DESC LIMIT 1")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_changes_an_account() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    app.advance(TimeDelta::minutes(1));
    let input = json!({
        "userId": ada.id, "coachingStartDate": "2026-01-01T00:00:00Z", "lastCoachingSession": "2026-11-30T08:01:00Z",
        "profile": { "bio": "Hello", "fullName": "Ada Lovelace", "username": "lovelace" },
    });
    let changed = admin.update_user(input).await;
    assert_eq!(
        changed.data("updateUser"),
        &json!({ "errors": [], "user": { "id": ada.id, "fullName": "Ada Lovelace", "username": "lovelace",
            "coachingStartDate": "2026-01-01T00:00:00Z", "lastCoachingSession": "2026-11-30T08:01:00Z", "profile": { "bio": "Hello", "theme": "LIGHT" } } })
    );
    assert_eq!(
        last_entry(&app).await,
        "profile_updated{\"fields\": [\"bio\", \"fullName\", \"username\", \"coachingStartDate\", \"lastCoachingSession\"]}"
    );
    let changed = admin
        .update_user(
            json!({ "userId": ada.id, "lastCoachingSession": null, "profile": { "bio": null } }),
        )
        .await;
    assert_eq!(
        changed.data("updateUser/user"),
        &json!({ "id": ada.id, "fullName": "Ada Lovelace", "username": "lovelace",
            "coachingStartDate": "2026-01-01T00:00:00Z", "lastCoachingSession": null, "profile": { "bio": null, "theme": "LIGHT" } }),
        "left out stays, null clears"
    );
    let own = admin
        .update_user(json!({ "userId": admin.id, "profile": { "theme": "DARK" } }))
        .await;
    assert_eq!(own.data("updateUser/user/profile/theme"), "DARK");
    let same = admin.update_user(json!({ "userId": ada.id })).await;
    assert_eq!(same.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_changed_stays() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let writer = clerk(&app, "writer", &["write:all", "read:own", "write:own"]).await;
    assert_eq!(
        admin
            .update_user(json!({ "userId": ada.id, "coachingStartDate": "2026-06-01T00:00:00Z" }))
            .await
            .code(),
        ""
    );
    let before = app.state().await;
    for (input, path, rule) in [
        (
            json!({ "coachingStartDate": "1969-12-31T23:59:59Z" }),
            json!(["input", "coachingStartDate"]),
            "RANGE",
        ),
        (
            json!({ "coachingStartDate": "2037-01-01T00:00:00Z" }),
            json!(["input", "coachingStartDate"]),
            "RANGE",
        ),
        (
            json!({ "lastCoachingSession": "2026-11-30T08:00:01Z" }),
            json!(["input", "lastCoachingSession"]),
            "RANGE",
        ),
        (
            json!({ "lastCoachingSession": "2026-05-31T00:00:00Z" }),
            json!(["input", "lastCoachingSession"]),
            "RANGE",
        ),
        (
            json!({ "profile": { "fullName": null } }),
            json!(["input", "profile", "fullName"]),
            "REQUIRED",
        ),
        (
            json!({ "profile": { "username": "a b" } }),
            json!(["input", "profile", "username"]),
            "FORMAT",
        ),
        (
            json!({ "profile": { "preferences": { "k": "x".repeat(17_000) } } }),
            json!(["input", "profile", "preferences"]),
            "JSON_SIZE",
        ),
    ] {
        let mut input = input;
        input["userId"] = json!(ada.id);
        let refused = admin.update_user(input).await;
        assert_eq!(
            refused.data("updateUser/errors/0/path"),
            &path,
            "{}",
            refused.text
        );
        assert_eq!(refused.rules(), [rule]);
    }
    let taken = admin
        .update_user(json!({ "userId": ada.id, "profile": { "username": "ADMIN" } }))
        .await;
    assert_eq!(
        taken.data("updateUser/errors"),
        &json!([{ "code": "TAKEN", "path": ["input", "profile", "username"] }])
    );
    for id in ["nonsense", &admin.session] {
        let unknown = admin.update_user(json!({ "userId": id })).await;
        assert_eq!(
            unknown.data("updateUser/errors"),
            &json!([{ "code": "NOT_FOUND", "path": ["input", "userId"] }])
        );
    }
    let above = writer
        .update_user(json!({ "userId": admin.id, "profile": { "bio": "x" } }))
        .await;
    assert_eq!(above.codes(), ["FORBIDDEN"]);
    assert_eq!(app.state().await, before);
    let below = writer
        .update_user(json!({ "userId": ada.id, "profile": { "bio": "x" } }))
        .await;
    assert_eq!(below.at("updateUser/errors"), &json!([]), "{}", below.text);
    app.advance(TimeDelta::minutes(6));
    let late = admin.update_user(json!({ "userId": ada.id })).await;
    assert_eq!(late.codes(), ["REAUTHENTICATION_REQUIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_ends_the_sessions_of_others() {
    let app = TestApp::new().await;
    let (admin, ada, bob) = (
        app.admin().await,
        app.user("ada").await,
        app.user("bob").await,
    );
    let second = app.sign_in("ada").await;
    let gone = app.sign_in("ada").await;
    gone.ask("mutation { logout { endedSessions } }").await;
    let list = "{ users(first: 10, orderBy: { field: USERNAME, direction: ASC }) { nodes { username sessions { nodes { id current ipAddress } } } } }";
    admin.ask("{ me { id } }").await;
    let (statements, seen) = app.statements(admin.ask(list)).await;
    assert_eq!(
        statements, 5,
        "the accounts, the sessions of all of them, their data keys, and what is written down of it"
    );
    let ids: Vec<_> = seen
        .data("users/nodes/0/sessions/nodes")
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| node["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2, "the one that ended is not shown");
    assert!(ids.contains(&json!(ada.session)) && ids.contains(&json!(second.session)));
    for token in [&ada.access_token, &ada.refresh_token, &second.refresh_token] {
        assert!(!seen.text.contains(token.as_str()));
    }
    assert_eq!(
        ada.request_email_change("new@example.org")
            .await
            .data("requestEmailChange/accepted"),
        true
    );
    let link = app.mailed_token("new@example.org").await;

    let clerk = clerk(&app, "clerk", &["admin:users"]).await;
    assert_eq!(
        clerk.end_sessions_of(&admin.id).await.codes(),
        ["FORBIDDEN"],
        "the administrator may do what the clerk may not"
    );
    let own = admin.end_sessions_of(&admin.id).await;
    assert_eq!(
        own.data("revokeUserSessions"),
        &json!({ "errors": [{ "code": "PROTECTED", "path": ["input", "userId"] }], "endedSessions": 0 })
    );
    for id in ["nonsense", &ada.session] {
        assert_eq!(admin.end_sessions_of(id).await.code(), "NOT_FOUND");
    }
    assert!(ada.is_signed_in().await);
    let ended = admin.end_sessions_of(&ada.id).await;
    assert_eq!(
        ended.data("revokeUserSessions"),
        &json!({ "errors": [], "endedSessions": 2 })
    );
    assert_eq!(last_entry(&app).await, "session_revoked{\"sessions\": 2}");
    assert!(!ada.is_signed_in().await && !second.is_signed_in().await);
    assert!(bob.is_signed_in().await && admin.is_signed_in().await);
    let reason = app
        .db
        .text("SELECT DISTINCT revoked_reason FROM sessions WHERE revoked_reason <> 'logout'")
        .await;
    assert_eq!(reason, "admin");
    assert_eq!(
        app.confirm_email(&link).await.code(),
        "TOKEN_REJECTED",
        "whoever held a session may have asked for it"
    );
    let again = admin.end_sessions_of(&ada.id).await;
    assert_eq!(again.data("revokeUserSessions/endedSessions"), 0);
    assert_eq!(app.login("ada", PASSWORD).await.status, StatusCode::OK);
}
