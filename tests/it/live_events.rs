//! Live events: what is told to whom, by whichever server it happened, and what ends a connection.

use cardea::live::Times;
use cardea::live::events::Topic;
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::app::PASSWORD;
use crate::harness::socket::{Heard, Listening, PROTOCOL, Socket, sessions_of};
use crate::harness::{Client, TestApp};

const SESSIONS: &str = "subscription { sessionRevoked { current reason revokedAt sessionId } }";
const STATUS: &str = "subscription { userStatusChanged { isActive userId user { id email } } }";
const LOGIN: &str = "mutation($name: String!) { login(input: { identifier: $name, password: \"Correct-Horse-7\" }) { \
    result { ... on SignedIn { accessToken refreshToken user { id uuid } session { id } } } } }";

async fn again<'a>(app: &'a TestApp, name: &str) -> Client<'a> {
    let answer = app.gql(LOGIN, json!({ "name": name })).await;
    Client::new(app, answer.data("login/result"))
}

async fn next(socket: &mut Socket, field: &str) -> Value {
    let said = socket.message().await;
    assert_eq!(said["type"], "next", "{said}");
    assert_eq!(said["payload"]["errors"], Value::Null, "{said}");
    said["payload"]["data"][field].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ended_on_one_server_is_told_on_the_other_and_closed() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let other = again(&app, "ada").await;
    let (second, _) = app.second(&[]).await;
    let server = Listening::at(second, Times::default(), 0).await;
    let mut stays = server.following(&ada, SESSIONS).await;
    let mut goes = server.following(&other, SESSIONS).await;
    let mut bobs = server.following(&bob, SESSIONS).await;
    let before = server.app.db.statements();
    let ended = ada
        .gql(
            "mutation($id: ID!) { revokeSession(input: { sessionId: $id }) { errors { code } } }",
            json!({ "id": other.session }),
        )
        .await;
    assert_eq!(ended.data("revokeSession/errors"), &json!([]));
    let mut event = json!({ "current": false, "reason": "USER", "revokedAt": "2026-11-30T08:00:00Z", "sessionId": other.session });
    assert_eq!(next(&mut stays, "sessionRevoked").await, event);
    // The last word on its own connection.
    event["current"] = json!(true);
    assert_eq!(next(&mut goes, "sessionRevoked").await, event);
    let reason = "The session has ended".to_owned();
    assert_eq!(goes.hear().await, Heard::Closed(4401, reason));
    bobs.in_order().await;
    stays.in_order().await;
    // The two connections of the session that ended ask whether it lives; telling takes no statement.
    let asked = server.app.db.statements() - before;
    assert!(asked <= 2, "{asked} statements");
    server.app.shutdown.cancel();
    server.app.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_session_ends_its_connections() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let server = Listening::of(
        &app,
        Times {
            ping: Duration::from_millis(50),
            ..Times::default()
        },
    )
    .await;
    let ada = app.user("ada").await;
    let opened = async || again(&app, "ada").await;

    let client = opened().await;
    let mut socket = server.socket(&client.access_token).await;
    client.ask("mutation { logout { endedSessions } }").await;
    assert_eq!(socket.closed().await, 4401, "signing out");

    let client = opened().await;
    let mut socket = server.following(&client, SESSIONS).await;
    let change =
        json!({ "input": { "currentPassword": PASSWORD, "newPassword": "Other-Horse-8" } });
    let change = ada
        .gql("mutation($input: ChangePasswordInput!) { changePassword(input: $input) { errors { code } } }", change)
        .await;
    assert_eq!(change.data("changePassword/errors"), &json!([]));
    assert_eq!(
        next(&mut socket, "sessionRevoked").await["reason"],
        "PASSWORD_CHANGED"
    );
    assert_eq!(socket.closed().await, 4401, "a new password");

    let bob = app.user("bob").await;
    let mut socket = server.following(&bob, SESSIONS).await;
    let close = "mutation($id: ID!) { updateUserStatus(input: { userId: $id, isActive: false }) { errors { code } } }";
    let closed = admin.gql(close, json!({ "id": bob.id })).await;
    assert_eq!(closed.data("updateUserStatus/errors"), &json!([]));
    assert_eq!(next(&mut socket, "sessionRevoked").await["reason"], "ADMIN");
    assert_eq!(socket.closed().await, 4401, "a closed account");

    let eve = app.user("eve").await;
    let phone = again(&app, "eve").await;
    let mut socket = server.following(&phone, SESSIONS).await;
    assert_eq!(eve.deactivate(PASSWORD).await.code(), "");
    let event = next(&mut socket, "sessionRevoked").await;
    assert_eq!(
        (&event["reason"], &event["current"]),
        (&json!("USER"), &json!(true))
    );
    assert_eq!(
        socket.closed().await,
        4401,
        "an account that its owner closed"
    );

    let fay = app.user("fay").await;
    let phone = again(&app, "fay").await;
    let mut socket = server.following(&phone, SESSIONS).await;
    fay.with_two_factor(&app).await;
    assert_eq!(
        next(&mut socket, "sessionRevoked").await["reason"],
        "TWO_FACTOR_CHANGED"
    );
    assert_eq!(socket.closed().await, 4401, "a second factor");

    let gil = app.user("gil").await;
    let mut socket = server.following(&gil, SESSIONS).await;
    let ended =
        "mutation($id: ID!) { revokeUserSessions(input: { userId: $id }) { errors { code } } }";
    let ended = admin.gql(ended, json!({ "id": gil.id })).await;
    assert_eq!(ended.data("revokeUserSessions/errors"), &json!([]));
    assert_eq!(next(&mut socket, "sessionRevoked").await["reason"], "ADMIN");
    assert_eq!(socket.closed().await, 4401, "an administrator");

    let cat = app.user("cat").await;
    let mut socket = server.following(&cat, SESSIONS).await;
    app.db.sql("DELETE FROM users WHERE username = 'cat'").await;
    assert_eq!(socket.closed().await, 4401, "an erased account");

    let dan = app.user("dan").await;
    let mut socket = server.following(&dan, SESSIONS).await;
    app.advance(TimeDelta::hours(23));
    socket.in_order().await;
    app.advance(TimeDelta::hours(2));
    assert_eq!(socket.closed().await, 4401, "the end by the clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_its_access_token() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(
        &app,
        Times {
            ping: Duration::from_millis(20),
            ..Times::default()
        },
    )
    .await;
    let mut socket = server.following(&ada, SESSIONS).await;
    app.advance(TimeDelta::hours(1));
    assert_eq!(
        ada.ask("{ me { id } }").await.status,
        401,
        "the token is over"
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    socket.in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_open_close_and_go_are_told_to_who_may_know() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let admin = app.admin().await;
    let server = Listening::of(&app, Times::default()).await;
    let mut all = server.following(&admin, STATUS).await;
    let one = STATUS.replace(
        "userStatusChanged",
        &format!("userStatusChanged(userId: \"{}\")", bob.id),
    );
    let mut bobs = server.following(&admin, &one).await;
    let set = "mutation($id: ID!, $to: Boolean!) { updateUserStatus(input: { userId: $id, isActive: $to }) { errors { code } } }";
    for (client, active) in [(&ada, false), (&ada, true), (&bob, false)] {
        admin
            .gql(set, json!({ "id": client.id, "to": active }))
            .await;
        let name = if client.id == ada.id { "ada" } else { "bob" };
        let event = next(&mut all, "userStatusChanged").await;
        let user = json!({ "id": client.id, "email": format!("{name}@example.org") });
        assert_eq!(
            event,
            json!({ "isActive": active, "userId": client.id, "user": user })
        );
    }
    assert_eq!(next(&mut bobs, "userStatusChanged").await["userId"], bob.id);
    app.db.sql("DELETE FROM users WHERE username = 'bob'").await;
    let erased = json!({ "isActive": false, "userId": bob.id, "user": null });
    assert_eq!(next(&mut all, "userStatusChanged").await, erased);
    assert_eq!(next(&mut bobs, "userStatusChanged").await, erased);
    // Of accounts that were never opened nothing is told, nor of changes that are none of the state.
    app.register("eve").await;
    app.db
        .sql("UPDATE users SET full_name = 'Other'; DELETE FROM users WHERE status = 'pending'")
        .await;
    all.in_order().await;
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_right_loses_what_it_opened_at_once() {
    let app = TestApp::new().await;
    let second = app.user_with_role("ann", "admin").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.following(&second, STATUS).await;
    socket.subscribe("2", SESSIONS).await;
    app.db
        .sql(
            "DELETE FROM user_roles USING roles, users WHERE roles.id = role_id AND users.id = user_id
             AND roles.name = 'admin' AND users.username = 'ann'",
        )
        .await;
    let said = socket.message().await;
    assert_eq!((&said["type"], &said["id"]), (&json!("error"), &json!("1")));
    assert_eq!(said["payload"][0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(said["payload"][0]["path"], json!(["userStatusChanged"]));
    // What is still open to it goes on.
    socket.in_order().await;
    assert_eq!(server.app.live.events.followers(Topic::Status), 0);
    server
        .until_followed(sessions_of(second.user_id()), 1)
        .await;

    // The same by way of what the role grants.
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'clerk', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
             WHERE roles.name = 'clerk' AND permissions.name = 'admin:users'",
        )
        .await;
    let clerk = app.user_with_role("cleo", "clerk").await;
    let mut socket = server.following(&clerk, STATUS).await;
    app.db
        .sql("DELETE FROM role_permissions USING roles WHERE roles.id = role_id AND roles.name = 'clerk'")
        .await;
    assert_eq!(
        socket.message().await["payload"][0]["extensions"]["code"],
        "FORBIDDEN"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_inside_of_an_event_obey_the_rights_of_then() {
    let app = TestApp::new().await;
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'clerk', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
             WHERE roles.name = 'clerk' AND permissions.name = 'admin:users'",
        )
        .await;
    let ada = app.user("ada").await;
    let clerk = app.user_with_role("clerk", "clerk").await;
    let server = Listening::of(&app, Times::default()).await;
    let query = "subscription { userStatusChanged { user { id birthDate roles { name } } } }";
    let mut socket = server.following(&clerk, query).await;
    app.db
        .sql("UPDATE users SET status = 'deactivated' WHERE username = 'ada'")
        .await;
    let said = socket.message().await;
    let payload = &said["payload"];
    assert_eq!(payload["data"]["userStatusChanged"]["user"]["id"], ada.id);
    assert_eq!(
        payload["data"]["userStatusChanged"]["user"]["birthDate"],
        Value::Null
    );
    assert_eq!(
        payload["errors"][0]["extensions"]["code"], "FORBIDDEN",
        "birthDate takes read:all"
    );
    assert_eq!(
        payload["errors"].as_array().map(Vec::len),
        Some(1),
        "{said}"
    );
    // With more rights the same subscription shows more, from the next event on.
    app.grant(&clerk, "admin").await;
    app.db
        .sql("UPDATE users SET status = 'active' WHERE username = 'ada'")
        .await;
    next(&mut socket, "userStatusChanged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_missed_something_is_told_to_come_again() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.following(&ada, SESSIONS).await;
    app.db.shut().await;
    assert_eq!(socket.closed().await, 1012);
    // Without the line there are no events, and nobody is left to wait for them in vain.
    assert_eq!(server.open(&[PROTOCOL]).await.err(), Some(503));
    app.db.open().await;
    crate::harness::socket::until("the line", || server.app.access.is_believed()).await;
    server.following(&ada, SESSIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_tables_tells_nobody_anything() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.following(&admin, STATUS).await;
    app.db
        .sql(
            "INSERT INTO users (id, auth_token, email, full_name, status, created_at, updated_at)
             SELECT gen_random_uuid(), gen_random_uuid(), 'n' || n || '@example.org', 'New Person', 'active', now(), now()
             FROM generate_series(1, 100) AS n",
        )
        .await;
    app.app.access.catch_up().await;
    socket.in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_is_answered() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut following = server.following(&ada, SESSIONS).await;
    let mut idle = server.socket(&ada.access_token).await;
    for socket in [&mut following, &mut idle] {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "Done".into(),
        };
        socket.send(Message::Close(Some(frame))).await;
        // A connection that is cut instead is 1006 to a browser (RFC 6455, section 5.5.1).
        assert_eq!(socket.closed().await, 1000);
    }
    server.stop().await;
}
