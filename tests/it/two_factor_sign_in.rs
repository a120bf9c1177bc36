//! Signing in with a second factor, and the ways around it that do not exist.

use axum::http::StatusCode;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::device::challenge_of;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_leads_to_a_code_and_that_to_a_session() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let sessions = app.live_sessions().await;
    let answer = app.first_step("ada").await;
    let result = answer.data("login/result");
    assert_eq!(result["methods"], json!(["TOTP", "RECOVERY_CODE"]));
    assert_eq!(result["expiresAt"], "2026-11-30T08:05:30Z");
    assert_eq!(app.live_sessions().await, sessions);
    let wrong = app.login("ada", "x").await;
    assert_eq!(
        wrong.code(),
        "INVALID_CREDENTIALS",
        "the second factor is not told before"
    );

    let challenge = challenge_of(&answer);
    let answer = app.verify_code(&challenge, &device.code()).await;
    let result = answer.data("verifyTwoFactor/result");
    assert_eq!(
        (
            &result["__typename"],
            &result["deviceToken"],
            &result["twoFactorOwed"]
        ),
        (&json!("SignedIn"), &Value::Null, &json!(false))
    );
    let client = Client::new(&app, result);
    assert!(client.is_signed_in().await);
    let claims = crate::access_token::claims(&client.access_token);
    assert_eq!(claims["amr"], json!(["pwd", "otp", "mfa"]));
    let methods = "SELECT string_agg(array_to_string(methods, '+'), ' ' ORDER BY id) FROM login_events WHERE succeeded";
    assert_eq!(app.db.text(methods).await, "email_link password+totp");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_between_the_steps_opens_nothing_else() {
    // M04: half a sign-in is none.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.with_two_factor(&app).await;
    let challenge = app.challenge("ada").await;
    let me = app
        .gql_as(Some(&challenge), "{ me { id } }", Value::Null)
        .await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    let refresh = "mutation($token: String) { refreshToken(input: { refreshToken: $token }) { errors { code } } }";
    let refreshed = app.gql(refresh, json!({ "token": challenge })).await;
    assert_eq!(refreshed.code(), "TOKEN_REJECTED");
    for field in ["verifyEmail", "confirmEmailChange", "reactivateAccount"] {
        let document = format!(
            "mutation($token: String!) {{ {field}(input: {{ token: $token }}) {{ errors {{ code }} }} }}"
        );
        let answer = app.gql(&document, json!({ "token": challenge })).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED", "{field}");
    }
    assert_eq!(
        app.reset(&challenge, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    let device = app.login_on_device("ada", &challenge).await;
    assert_eq!(device.data("login/result/__typename"), "TwoFactorRequired");
    // And no other token is one of these.
    for token in [&ada.access_token, &ada.refresh_token, "", "ctf_x"] {
        let answer = app.verify_code(token, "000000").await;
        assert_eq!(
            answer.data("verifyTwoFactor/errors"),
            &json!([{ "code": "TOKEN_REJECTED", "path": ["input", "challengeToken"] }])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_for_whatever_purpose() {
    // M02, RFC 6238, section 5.2.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.begin_two_factor(&app).await;
    let enrolment = device.code();
    assert_eq!(ada.confirm_two_factor(&enrolment).await.code(), "");
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &enrolment).await;
    assert_eq!(
        answer.code(),
        "TOKEN_REJECTED",
        "the code that confirmed the device"
    );
    app.advance(TimeDelta::seconds(30));
    let code = device.code();
    assert_eq!(
        ada.prove("reauthenticate", "twoFactorCode", &code)
            .await
            .code(),
        ""
    );
    let answer = app.verify_code(&challenge, &code).await;
    assert_eq!(
        answer.code(),
        "TOKEN_REJECTED",
        "the code that proved who is there"
    );
    assert_eq!(
        app.verify_code(&challenge, &device.code_at(-1))
            .await
            .code(),
        "TOKEN_REJECTED",
        "an earlier one after a later one"
    );
    app.advance(TimeDelta::seconds(30));
    assert_eq!(app.verify_code(&challenge, &device.code()).await.code(), "");
    let challenge = app.challenge("ada").await;
    let again = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(again.code(), "TOKEN_REJECTED");
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_with_one_code_or_one_challenge_one_gets_in() {
    // F16, M07, on two servers.
    let app = TestApp::new().await;
    let (_second, router) = app.second(&[]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let there = crate::harness::verbs::Visitor::of(&router, "192.0.2.1");
    let here = app.at("192.0.2.1");
    for code in [device.code(), device.recovery_codes[0].clone()] {
        let mut challenges = Vec::new();
        for _ in 0..16 {
            challenges.push(challenge_of(&here.first_step("ada").await));
        }
        let (at, to): (Vec<_>, Vec<_>) = challenges
            .chunks(2)
            .map(|pair| (&pair[0], &pair[1]))
            .unzip();
        let answers = join_all(
            at.iter()
                .map(|challenge| here.verify_code(challenge, &code))
                .map(futures_util::future::Either::Left)
                .chain(
                    to.iter()
                        .map(|challenge| there.verify_code(challenge, &code))
                        .map(futures_util::future::Either::Right),
                ),
        )
        .await;
        let won = answers
            .iter()
            .filter(|answer| answer.code().is_empty())
            .count();
        assert_eq!(won, 1, "one code, {code}");
    }
    app.advance(TimeDelta::seconds(30));
    let challenge = challenge_of(&here.first_step("ada").await);
    let codes = [
        device.code(),
        device.recovery_codes[1].clone(),
        device.recovery_codes[2].clone(),
    ];
    let answers = join_all(codes.iter().map(|code| here.verify_code(&challenge, code))).await;
    let won = answers
        .iter()
        .filter(|answer| answer.code().is_empty())
        .count();
    assert_eq!(won, 1, "one challenge");
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_the_step_before_and_after_are_taken_and_no_others() {
    // M03: ±1 step, or none.
    for (skew, taken) in [("1", &[-1, 0, 1][..]), ("0", &[0][..])] {
        let app = TestApp::with(&["--totp-skew-steps", skew]).await;
        let ada = app.user("ada").await;
        let device = ada.with_two_factor(&app).await;
        for steps in -2..=2 {
            app.advance(TimeDelta::minutes(3));
            let challenge = app.challenge("ada").await;
            let answer = app.verify_code(&challenge, &device.code_at(steps)).await;
            let expected = if taken.contains(&steps) {
                ""
            } else {
                "TOKEN_REJECTED"
            };
            assert_eq!(answer.code(), expected, "{steps} steps with skew {skew}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_takes_five_codes_and_ends_after_five_minutes() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let challenge = app.challenge("ada").await;
    for n in 0..5 {
        let answer = app.verify_code(&challenge, &device.wrong_code()).await;
        assert_eq!(answer.at("verifyTwoFactor/errors/0/path/1"), "code", "{n}");
    }
    let answer = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(
        answer.at("verifyTwoFactor/errors/0/path/1"),
        "challengeToken",
        "it is void"
    );
    let challenge = app.challenge("ada").await;
    app.advance(TimeDelta::minutes(5));
    let answer = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(
        answer.at("verifyTwoFactor/errors/0/path/1"),
        "challengeToken",
        "too late"
    );
    let challenge = app.challenge("ada").await;
    app.advance(TimeDelta::minutes(5) - TimeDelta::seconds(1));
    assert_eq!(app.verify_code(&challenge, &device.code()).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_does_not_refill_the_tries_of_codes() {
    // M06: ten in a quarter of an hour, however often the password is shown.
    let app = TestApp::with(&["--code-tries=10"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    for n in 0..10 {
        let challenge = app.challenge("ada").await;
        let answer = app.verify_code(&challenge, &device.wrong_code()).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED", "{n}");
    }
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(answer.wait(), 90, "a right one waits, too");
    let answer = ada
        .prove("reauthenticate", "twoFactorCode", &device.code())
        .await;
    assert_eq!(answer.code(), "TOO_MANY_ATTEMPTS", "at every door");
    let answer = app.verify_code(&challenge, &device.recovery_codes[0]).await;
    assert_eq!(answer.code(), "TOO_MANY_ATTEMPTS", "recovery codes, too");
    assert_eq!(
        app.subjects(&email("ada")).await[0],
        "Somebody knows your password at Cardea"
    );
    app.advance(TimeDelta::seconds(90));
    let challenge = app.challenge("ada").await;
    assert_eq!(app.verify_code(&challenge, &device.code()).await.code(), "");
    // A right one forgives.
    for _ in 0..10 {
        let challenge = app.challenge("ada").await;
        let answer = app.verify_code(&challenge, &device.wrong_code()).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
    }
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hundred_wrong_codes_no_code_is_taken() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    // Tries wrong codes until none is looked at any more; gives how many were.
    let wear_out = async |password: &str| {
        let mut tried = 0;
        loop {
            let challenge = challenge_of(&app.login("ada", password).await);
            for _ in 0..5 {
                let answer = app.verify_code(&challenge, &device.wrong_code()).await;
                match answer.code() {
                    "TOKEN_REJECTED" => tried += 1,
                    "REJECTED" => return tried,
                    other => panic!("{other}"),
                }
            }
        }
    };
    let right = async |code: &str, password: &str| {
        app.advance(TimeDelta::seconds(30));
        let challenge = challenge_of(&app.login("ada", password).await);
        let code = if code.is_empty() {
            &device.code()
        } else {
            code
        };
        app.verify_code(&challenge, code).await.code().to_owned()
    };
    assert_eq!(wear_out(PASSWORD).await, 100);
    assert_eq!(right("", PASSWORD).await, "REJECTED", "a right one, too");
    app.advance(TimeDelta::days(1));
    assert_eq!(right("", PASSWORD).await, "REJECTED", "time heals nothing");
    let code = &device.recovery_codes[0];
    assert_eq!(right(code, PASSWORD).await, "", "the owner is not shut out");
    // Whoever guesses between the owner's sign-ins gains five tries by each, not a hundred.
    assert_eq!(right("", PASSWORD).await, "");
    assert_eq!(wear_out(PASSWORD).await, 10);

    assert_eq!(
        admin.reauthenticate(PASSWORD).await.status,
        axum::http::StatusCode::UNAUTHORIZED
    );
    let admin = app.sign_in("admin").await;
    assert_eq!(admin.unlock(&ada.id).await.code(), "");
    assert_eq!(right("", PASSWORD).await, "");
    assert_eq!(wear_out(PASSWORD).await, 100);

    let token = app.reset_token(&email("ada")).await;
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    // Whoever reads the owner's mails would guess on after each link.
    assert_eq!(right("", NEW_PASSWORD).await, "REJECTED");
    let code = &device.recovery_codes[1];
    assert_eq!(right(code, NEW_PASSWORD).await, "");
    assert_eq!(right("", NEW_PASSWORD).await, "");
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_goes_on_where_it_began() {
    // M04: bound to the client that started.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let home = app.at("192.0.2.1");
    let challenge = challenge_of(&home.first_step("ada").await);
    for thief in [
        app.at("198.51.100.7"),
        app.at("192.0.2.1").with("curl/8.5.0"),
    ] {
        let answer = thief.verify_code(&challenge, &device.code()).await;
        assert_eq!(
            answer.at("verifyTwoFactor/errors/0/path/1"),
            "challengeToken"
        );
    }
    assert_eq!(
        app.at("192.0.2.200")
            .verify_code(&challenge, &device.code())
            .await
            .code(),
        ""
    );
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_meanwhile_voids_the_challenge() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let refused = async |challenge: &str, why: &str| {
        let answer = app.verify_code(challenge, &device.code()).await;
        assert_eq!(
            answer.at("verifyTwoFactor/errors/0/path/1"),
            "challengeToken",
            "{why}"
        );
    };
    let challenge = app.challenge("ada").await;
    assert_eq!(admin.set_status(&ada.id, false, None).await.code(), "");
    refused(&challenge, "closed").await;
    assert_eq!(admin.set_status(&ada.id, true, None).await.code(), "");
    let challenge = app.challenge("ada").await;
    let token = app.reset_token(&email("ada")).await;
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    refused(&challenge, "another password").await;
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_is_told_of_after_the_second_factor() {
    // Whoever has found an old password must not replace it without the second factor.
    let app = TestApp::with(&["--password-max-age-days=1"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    app.advance(TimeDelta::days(1));
    let sessions = app.live_sessions().await;
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &device.code()).await;
    let result = answer.data("verifyTwoFactor/result");
    assert_eq!(result["__typename"], "PasswordExpired");
    assert_eq!(app.live_sessions().await, sessions);
    let token = result["resetToken"].as_str().expect("a token");
    assert_eq!(app.reset(token, NEW_PASSWORD).await.code(), "");
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_forgiven_by_the_whole_sign_in() {
    // L02: whoever knows the password alone does not get the budget of guesses back by it.
    let app = TestApp::with(&["--login-tries=3"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    for _ in 0..2 {
        assert_eq!(app.login("ada", "x").await.code(), "INVALID_CREDENTIALS");
    }
    let challenge = app.challenge("ada").await;
    assert_eq!(app.login("ada", "x").await.code(), "TOO_MANY_ATTEMPTS");
    assert_eq!(app.verify_code(&challenge, &device.code()).await.code(), "");
    assert_eq!(app.login("ada", "x").await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_statements_is_known() {
    let app = TestApp::deaf().await;
    app.user("ada").await;
    let (statements, _) = app.statements(app.login("ada", PASSWORD)).await;
    assert_eq!(statements, 16, "a sign-in without a second factor");
    let device = app.sign_in("ada").await.with_two_factor(&app).await;
    let (statements, answer) = app.statements(app.first_step("ada")).await;
    assert_eq!(statements, 11, "the first step");
    let challenge = challenge_of(&answer);
    let (statements, _) = app
        .statements(app.verify_code(&challenge, &device.code()))
        .await;
    assert_eq!(statements, 20, "the second step");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_session_and_the_password_guesses_no_more_codes_than_anybody() {
    let app = TestApp::with(&["--code-tries=10"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let wrong = device.wrong_code();
    for _ in 0..10 {
        let answer = ada.prove("reauthenticate", "twoFactorCode", &wrong).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
    }
    let changed = ada.change_password(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(changed.code(), "");
    let answer = ada.prove("reauthenticate", "twoFactorCode", &wrong).await;
    assert_eq!(answer.code(), "TOO_MANY_ATTEMPTS");
    let count = "SELECT wrong_codes::text FROM two_factor_secrets";
    assert_eq!(app.db.text(count).await, "10");
}
