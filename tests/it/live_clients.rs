//! The clients graphql-ws and graphql-sse of npm, as they are, against the real server, through a restart.

use cardea::live::Times;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::node::Scripts;
use crate::harness::socket::{Listening, sessions_of, until};

/// A session of the only account that ends for this reason.
async fn end_a_session(app: &TestApp, reason: &str) {
    let columns = "id, user_id, refresh_token_hash, created_at, last_accessed_at, authenticated_at, expires_at, \
        methods, remember_me";
    app.db
        .sql(&format!(
            "INSERT INTO sessions ({columns}) SELECT gen_random_uuid(), id, sha256('{reason}'), now(), now(), now(), \
             now() + interval '1 hour', '{{}}', false FROM users; \
             UPDATE sessions SET revoked_at = now(), revoked_reason = '{reason}' WHERE refresh_token_hash = sha256('{reason}')"
        ))
        .await;
}

async fn through_a_restart(script: &'static str) -> Option<Value> {
    let install = || Scripts::installed("live", &[]);
    let scripts = tokio::task::spawn_blocking(install)
        .await
        .expect("installed")?;
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let login = "mutation { login(input: { identifier: \"ada\", password: \"Correct-Horse-7\" }) { result { ... on SignedIn { accessToken } } } }";
    let other = app.gql(login, Value::Null).await;
    let other = other
        .data("login/result/accessToken")
        .as_str()
        .expect("a token")
        .to_owned();
    let (second, _) = app.second(&[]).await;
    let first = Listening::of(&app, Times::default()).await;
    let (port, topic) = (first.port, sessions_of(ada.user_id()));
    let url = format!("http://127.0.0.1:{port}");
    let token = ada.access_token.clone();
    let run = move || {
        scripts.run(
            script,
            &[("BASE_URL", &url), ("TOKEN", &token), ("OTHER", &other)],
        )
    };
    let running = tokio::task::spawn_blocking(run);
    first.until_followed(topic, 1).await;
    end_a_session(&app, "admin").await;
    // The client has had the event once it ends the other session.
    while app
        .db
        .text("SELECT count(*)::text FROM sessions WHERE revoked_reason = 'logout'")
        .await
        != "1"
    {
        assert!(!running.is_finished(), "the script ended early");
    }
    first.stop().await;
    let again = Listening::at(second, Times::default(), port).await;
    until("the client", || {
        again.app.live.events.followers(topic) == 1 || running.is_finished()
    })
    .await;
    end_a_session(&app, "user").await;
    let printed = running.await.expect("it ran");
    again.app.shutdown.cancel();
    again.app.db.close();
    Some(serde_json::from_str(&printed).expect("a report"))
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_ws_follows_and_comes_back() {
    let Some(report) = Box::pin(through_a_restart("socket.mjs")).await else {
        return;
    };
    let expected = json!({ "events": ["ADMIN", "USER"], "restart": true, "refused": "METHOD_NOT_ALLOWED", "kept": 4403 });
    assert_eq!(report, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_sse_follows_and_comes_back() {
    let Some(report) = Box::pin(through_a_restart("stream.mjs")).await else {
        return;
    };
    assert_eq!(
        report,
        json!({ "events": ["ADMIN", "USER"], "restart": true, "refused": 401 })
    );
}
