//! Signing in, keeping a session alive, signing out, and the tokens of it.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, TestApp};

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { \
    errors { __typename code path ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken accessTokenExpiresAt refreshToken \
    session { id current expiresAt ipAddress } user { id uuid loginCount lastLoginAt } } } } }";
const REFRESH: &str = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { \
    errors { code } result { ... on SignedIn { accessToken refreshToken session { id } user { email } } } } }";

async fn login(app: &TestApp, identifier: &str, password: &str) -> Answer {
    app.gql(
        LOGIN,
        json!({ "input": { "identifier": identifier, "password": password } }),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn address_and_username_open_the_door_in_any_case() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::minutes(1));
    for (count, identifier) in ["ada@example.org", "ADA@EXAMPLE.org", "ada", "Ada", " ada "]
        .into_iter()
        .enumerate()
    {
        let answer = login(&app, identifier, PASSWORD).await;
        let signed_in = answer.data("login/result");
        assert_eq!(signed_in["user"]["id"], ada.id, "{identifier}");
        assert_eq!(signed_in["user"]["loginCount"], count + 2);
        assert_eq!(signed_in["user"]["lastLoginAt"], "2026-11-30T08:01:00Z");
        assert_eq!(signed_in["session"]["current"], true);
        assert_eq!(signed_in["session"]["expiresAt"], "2026-12-01T08:01:00Z");
        assert_eq!(signed_in["session"]["ipAddress"], "127.0.0.1");
        assert_eq!(signed_in["accessTokenExpiresAt"], "2026-11-30T08:16:00Z");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_session_lives_for_thirty_days() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let input =
        json!({ "input": { "identifier": "ada", "password": PASSWORD, "rememberMe": true } });
    let answer = app.gql(LOGIN, input).await;
    assert_eq!(
        answer.data("login/result/session/expiresAt"),
        "2026-12-30T08:00:00Z"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_unknown_are_answered_alike_whatever_is_sent() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.user("ada_i").await;
    let refused = json!({ "errors": [{ "__typename": "GeneralError", "code": "INVALID_CREDENTIALS", "path": [] }], "result": null });
    let long = "x".repeat(5000);
    for (identifier, password) in [
        ("ada", "Wrong-Horse-7"),
        ("bob", PASSWORD),
        ("ada@example.org", ""),
        ("", ""),
        ("' OR 1=1 --", "' OR 1=1 --"),
        ("ada", long.as_str()),
        (long.as_str(), PASSWORD),
        ("%", PASSWORD),
        // Lower case in the database is `i`, so that this would be another way to write `ada_i`.
        ("ada_\u{130}", PASSWORD),
    ] {
        let answer = login(&app, identifier, password).await;
        assert_eq!(
            answer.data("login"),
            &refused,
            "{identifier:.20} {password:.20}"
        );
    }
    let (known, _) = app.statements(login(&app, "ada", "Wrong-Horse-7")).await;
    let (unknown, _) = app.statements(login(&app, "bob", "Wrong-Horse-7")).await;
    assert_eq!(
        known, unknown,
        "the same statements for a known and an unknown name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_told_only_to_who_knows_its_password() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.db.sql("UPDATE users SET status = 'deactivated'").await;
    assert_eq!(
        login(&app, "ada", PASSWORD)
            .await
            .data("login/errors/0/code"),
        "ACCOUNT_UNAVAILABLE"
    );
    assert_eq!(
        login(&app, "ada", "Wrong-Horse-7")
            .await
            .data("login/errors/0/code"),
        "INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_tries_for_one_name_have_to_wait_counted_by_field() {
    let app = TestApp::with(&["--login-tries=3"]).await;
    app.user("ada").await;
    let twice = "mutation { a: login(input: { identifier: \"ada\", password: \"x\" }) { errors { code } } \
        b: login(input: { identifier: \"ADA\", password: \"x\" }) { errors { code } } }";
    assert_eq!(
        app.gql(twice, Value::Null).await.data("b/errors/0/code"),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        login(&app, "ada", "x").await.data("login/errors/0/code"),
        "INVALID_CREDENTIALS"
    );
    let refused = login(&app, "ada", PASSWORD).await;
    assert_eq!(
        refused.data("login/errors/0"),
        &json!({ "__typename": "TooManyAttemptsError", "code": "TOO_MANY_ATTEMPTS", "path": [], "retryAfterSeconds": 5 })
    );
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(
        login(&app, "bob", "x").await.data("login/errors/0/code"),
        "INVALID_CREDENTIALS",
        "names count apart"
    );
    app.advance(TimeDelta::seconds(5));
    assert_eq!(
        login(&app, "ada", PASSWORD).await.data("login/errors"),
        &json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_hash_queue_is_told_at_once() {
    // One slow hash at a time and one waiting. The names differ, because tries of one name take turns
    // at the database first.
    let app = TestApp::with(&[
        "--argon2-memory-kib=200000",
        "--argon2-passes=4",
        "--password-threads=1",
        "--password-queue=1",
    ])
    .await;
    let names: Vec<String> = (0..8).map(|i| format!("nobody{i}")).collect();
    let answers =
        futures_util::future::join_all(names.iter().map(|name| login(&app, name, "x"))).await;
    let busy: Vec<_> = answers
        .iter()
        .filter(|answer| answer.codes() == ["RATE_LIMITED"])
        .collect();
    assert!(
        !busy.is_empty() && busy.len() < 8,
        "{:?}",
        answers
            .iter()
            .map(|answer| &answer.text)
            .collect::<Vec<_>>()
    );
    for answer in busy {
        assert!(
            answer
                .json
                .pointer("/errors/0/extensions/retryAfter")
                .and_then(Value::as_u64)
                >= Some(1),
            "{}",
            answer.text
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.at("login"), &Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_parameters_renew_the_hash_at_sign_in_and_keep_sessions() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let (_, router) = app.second(&["--argon2-memory-kib=16"]).await;
    let hash = async || app.db.text("SELECT hashed_password FROM users").await;
    assert!(hash().await.starts_with("$argon2id$v=19$m=8,"));
    let strong = TestAppView { router };
    assert_eq!(strong.login().await.data("login/errors"), &json!([]));
    let renewed = hash().await;
    assert!(renewed.starts_with("$argon2id$v=19$m=16,"), "{renewed}");
    assert_eq!(strong.login().await.data("login/errors"), &json!([]));
    assert_eq!(hash().await, renewed, "renewed once");
    assert_eq!(
        ada.ask("{ me { email } }").await.data("me/email"),
        "ada@example.org"
    );
}

/// A second server, for requests without a session.
struct TestAppView {
    router: axum::Router,
}

impl TestAppView {
    async fn login(&self) -> Answer {
        let variables = json!({ "input": { "identifier": "ada", "password": PASSWORD } });
        let body = json!({ "query": LOGIN, "variables": variables }).to_string();
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        Answer::read(
            self.router
                .clone()
                .oneshot(request.expect("a request"))
                .await
                .expect("an answer"),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_refresh_tokens_are_refused_and_harm_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let good = &ada.refresh_token;
    let flipped = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('A') { "B" } else { "A" }
    );
    for token in [
        "",
        "crr_",
        &good[..20],
        &format!("{good}x"),
        &flipped,
        &ada.access_token,
    ] {
        let answer = app.gql(REFRESH, json!({ "token": token })).await;
        assert_eq!(
            answer.data("refreshToken/errors/0/code"),
            "TOKEN_REJECTED",
            "{token}"
        );
    }
    assert_eq!(ada.ask("{ me { id } }").await.data("me/id"), &json!(ada.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_access_tokens_end_by_the_clock() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::minutes(15));
    assert_eq!(
        ada.ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    let fresh = app
        .gql(REFRESH, json!({ "token": ada.refresh_token }))
        .await;
    let fresh = fresh.data("refreshToken/result").clone();
    app.advance(TimeDelta::hours(24));
    let ended = app
        .gql(REFRESH, json!({ "token": fresh["refreshToken"] }))
        .await;
    assert_eq!(ended.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_and_can_be_repeated() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let logout = "mutation { logout { endedSessions errors { code } } }";
    assert_eq!(
        ada.ask(logout).await.data("logout"),
        &json!({ "endedSessions": 1, "errors": [] })
    );
    assert_eq!(
        ada.ask(logout).await.data("logout"),
        &json!({ "endedSessions": 0, "errors": [] })
    );
    assert_eq!(
        app.gql(logout, Value::Null)
            .await
            .data("logout/endedSessions"),
        0
    );
    assert_eq!(
        ada.ask("{ viewer { isAuthenticated } }").await.status,
        StatusCode::UNAUTHORIZED
    );
    let refresh = app
        .gql(REFRESH, json!({ "token": ada.refresh_token }))
        .await;
    assert_eq!(refresh.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_beside_a_sign_in_does_not_stand_in_its_way() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::hours(2));
    let input = json!({ "input": { "identifier": "ada", "password": PASSWORD } });
    assert_eq!(ada.gql(LOGIN, input).await.data("login/errors"), &json!([]));
    let refused = ada
        .ask("mutation { updateProfile(input: { bio: \"x\" }) { errors { code } } }")
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );
}
