//! Devices that need no second factor for a while.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::device::VERIFY;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_device_skips_the_second_step_for_a_while() {
    let app = TestApp::with(&["--trusted-device-days=2"]).await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let device = ada.with_two_factor(&app).await;
    bob.with_two_factor(&app).await;
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code_and_trust(&challenge, &device.code()).await;
    let token = answer
        .data("verifyTwoFactor/result/deviceToken")
        .as_str()
        .expect("a token")
        .to_owned();
    assert!(!app.db.dump().await.contains(&token));

    let answer = app.login_on_device("ada", &token).await;
    let result = answer.data("login/result");
    assert_eq!(
        (&result["__typename"], &result["deviceToken"]),
        (&json!("SignedIn"), &Value::Null)
    );
    let client = Client::new(&app, result);
    let claims = crate::access_token::claims(&client.access_token);
    assert_eq!(claims["amr"], json!(["pwd", "mfa"]));
    // What needs a recent proof wants one: this sign-in has shown nothing but the password.
    app.advance(TimeDelta::minutes(6));
    let client = Client::new(
        &app,
        app.login_on_device("ada", &token)
            .await
            .data("login/result"),
    );
    let answer = client.request_email_change("other@example.org").await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);

    let others = app.login_on_device("bob", &token).await;
    assert_eq!(
        others.data("login/result/__typename"),
        "TwoFactorRequired",
        "another account"
    );
    app.advance(TimeDelta::days(2) - TimeDelta::minutes(7));
    let answer = app.login_on_device("ada", &token).await;
    assert_eq!(answer.data("login/result/__typename"), "SignedIn");
    app.advance(TimeDelta::minutes(1));
    let answer = app.login_on_device("ada", &token).await;
    assert_eq!(
        answer.data("login/result/__typename"),
        "TwoFactorRequired",
        "too late"
    );
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_and_another_second_factor_end_the_trust() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let trusted = async |code: &str| {
        let challenge = app.challenge("ada").await;
        let answer = app.verify_code_and_trust(&challenge, code).await;
        answer
            .data("verifyTwoFactor/result/deviceToken")
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let asked = async |token: &str| {
        let answer = app.login_on_device("ada", token).await;
        answer.data("login/result/__typename").clone()
    };
    let token = trusted(&device.code()).await;
    assert_eq!(asked(&token).await, "SignedIn");
    let reset = app.reset_token(&email("ada")).await;
    assert_eq!(app.reset(&reset, NEW_PASSWORD).await.code(), "");
    app.advance(TimeDelta::minutes(1));
    let reset = app.reset_token(&email("ada")).await;
    assert_eq!(app.reset(&reset, PASSWORD).await.code(), "");
    assert_eq!(asked(&token).await, "TwoFactorRequired", "after a reset");

    app.advance(TimeDelta::seconds(30));
    let token = trusted(&device.code()).await;
    app.advance(TimeDelta::seconds(30));
    let ada = app.sign_in_with("ada", &device.code()).await;
    let next = ada.begin_two_factor(&app).await;
    assert_eq!(ada.confirm_two_factor(&next.code()).await.code(), "");
    assert_eq!(
        asked(&token).await,
        "TwoFactorRequired",
        "after another device"
    );

    app.advance(TimeDelta::seconds(30));
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code_and_trust(&challenge, &next.code()).await;
    let token = answer.data("verifyTwoFactor/result/deviceToken");
    let token = token.as_str().expect("a token").to_owned();
    let out = ada.ask("mutation { logoutAll { endedSessions } }").await;
    assert!(out.codes().is_empty(), "{}", out.text);
    assert_eq!(
        asked(&token).await,
        "TwoFactorRequired",
        "after signing out everywhere"
    );
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_trust_in_the_settings_there_is_no_token() {
    let app = TestApp::with(&["--trusted-device-days=0"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code_and_trust(&challenge, &device.code()).await;
    assert_eq!(
        answer.data("verifyTwoFactor/result/deviceToken"),
        &Value::Null
    );
    assert_eq!(app.count("trusted_devices").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_step_keeps_what_the_first_one_asked_for() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let login = "mutation($password: String!) { login(input: { identifier: \"ada\", password: $password, \
        rememberMe: true, tokenDelivery: COOKIE }) { errors { code } result { ... on TwoFactorRequired { challengeToken } } } }";
    let answer = app.gql(login, json!({ "password": PASSWORD })).await;
    assert_eq!(answer.header("set-cookie"), None);
    let challenge = answer
        .data("login/result/challengeToken")
        .as_str()
        .expect("a token");
    let input = json!({ "input": { "challengeToken": challenge, "code": device.code(), "trustDevice": true } });
    let answer = app.gql(VERIFY, input).await;
    let result = answer.data("verifyTwoFactor/result");
    for field in ["accessToken", "refreshToken", "deviceToken"] {
        assert_eq!(result[field], Value::Null, "{field}");
    }
    let cookies: Vec<_> = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|c| c.to_str().expect("text"))
        .collect();
    let device_cookie = cookies
        .iter()
        .find(|cookie| cookie.starts_with("cardea-device=ctd_"));
    let device_cookie = device_cookie.unwrap_or_else(|| panic!("{cookies:?}"));
    assert!(
        device_cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"),
        "{device_cookie}"
    );
    assert!(
        cookies
            .iter()
            .any(|cookie| cookie.starts_with("cardea-refresh=")
                && cookie.contains("Max-Age=2592000"))
    );

    // The cookie alone, as a browser sends it that has signed out.
    let token = device_cookie.split(['=', ';']).nth(1).expect("a value");
    for (site, expected) in [
        ("same-origin", "SignedIn"),
        ("cross-site", "TwoFactorRequired"),
    ] {
        let body = json!({ "query": "mutation($password: String!) { login(input: { identifier: \"ada\", password: $password }) { result { __typename } } }",
            "variables": { "password": PASSWORD } });
        let request = axum::http::Request::post("/graphql")
            .header("content-type", "application/json")
            .header("cookie", format!("cardea-device={token}"))
            .header("sec-fetch-site", site)
            .body(axum::body::Body::from(body.to_string()))
            .expect("a request");
        let answer = app.send(request).await;
        assert_eq!(answer.data("login/result/__typename"), expected, "{site}");
    }
    app.run_jobs().await;
}
