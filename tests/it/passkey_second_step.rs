//! Passkeys as a second factor, and as a proof of being at the keyboard.

use axum::body::Body;
use axum::http::{Request, header};
use cardea::db::single_connection;
use cardea::services::two_factor;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::PASSWORD;
use crate::harness::authenticator::{Authenticator, Begun, How, encode};
use crate::harness::{Answer, Client, TestApp};

/// Switches the second factor of everybody on, whose code nobody knows.
const DEVICES: &str = "INSERT INTO two_factor_secrets (id, user_id, sealed_secret, last_step, created_at, confirmed_at) \
    SELECT gen_random_uuid(), id, '\\x00', 1, created_at, created_at FROM users";

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { errors { code } \
    result { __typename ... on TwoFactorRequired { challengeToken methods } } } }";

impl TestApp {
    /// Begins a sign-in with the password; gives the token that waits for the second factor, and what proves
    /// it.
    async fn wait_for_second_step(&self, name: &str, more: &Value) -> (String, Value) {
        let mut input = json!({ "identifier": name, "password": PASSWORD });
        for (key, value) in more.as_object().expect("an object") {
            input[key] = value.clone();
        }
        let answer = self.gql(LOGIN, json!({ "input": input })).await;
        assert_eq!(answer.data("login/result/__typename"), "TwoFactorRequired");
        let token = answer.data("login/result/challengeToken");
        let methods = answer.data("login/result/methods").clone();
        (token.as_str().expect("a token").to_owned(), methods)
    }

    async fn try_second_step(&self, token: &str) -> Answer {
        let document = "mutation($token: String) { startPasskeySignIn(input: { challengeToken: $token }) { \
            challengeToken options errors { code path } } }";
        self.gql(document, json!({ "token": token })).await
    }

    async fn start_second_step(&self, token: &str) -> Begun {
        Begun::of(&self.try_second_step(token).await, "startPasskeySignIn")
    }

    /// A second step with this passkey.
    async fn second_step(&self, token: &str, key: &mut Authenticator, how: &How) -> Answer {
        let begun = self.start_second_step(token).await;
        let credential = key.get(&begun.options, how);
        self.finish_passkey_sign_in(&begun.token, &credential).await
    }
}

impl Client<'_> {
    async fn reauthenticate_with(&self, token: &str, credential: &Value) -> Answer {
        let document = "mutation($input: ConfirmIdentityInput!) { reauthenticate(input: $input) { \
            errors { code path ... on InvalidValueError { rule } } session { id } } }";
        let passkey = json!({ "challengeToken": token, "credential": credential });
        self.gql(document, json!({ "input": { "passkey": passkey } }))
            .await
    }
}

#[track_caller]
fn rejected(answer: &Answer, path: &[&str]) {
    assert_eq!(answer.code(), "TOKEN_REJECTED", "{}", answer.text);
    let data = answer.json["data"].as_object().expect("data");
    let (_, payload) = data.iter().next().expect("a field");
    assert_eq!(payload["errors"][0]["path"], json!(path));
}

const CREDENTIAL: [&str; 2] = ["input", "credential"];
const CHALLENGE_TOKEN: [&str; 2] = ["input", "challengeToken"];

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_proves_the_second_factor_of_a_sign_in() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let (mut key, stick) = (ada.add_passkey().await, ada.add_passkey().await);
    let mut bobs = app.user("bob").await.add_passkey().await;
    app.db.sql(DEVICES).await;

    let (token, methods) = app.wait_for_second_step("ada", &json!({})).await;
    assert_eq!(methods, json!(["PASSKEY", "TOTP"]));
    let begun = app.start_second_step(&token).await;
    let listed =
        [&key, &stick].map(|key| json!({ "type": "public-key", "id": encode(&key.credential_id) }));
    assert_eq!(begun.options["allowCredentials"], json!(listed));
    assert_eq!(begun.options["userVerification"], "required");
    // Where the passkey was named, the authenticator may leave the handle out.
    let how = How {
        user_handle: Some(None),
        ..How::default()
    };
    let credential = key.get(&begun.options, &how);
    let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
    let signed_in = Client::new(&app, answer.data("finishPasskeySignIn/result"));
    assert_eq!(signed_in.id, ada.id);
    let proved =
        "SELECT methods::text || second_factor::text FROM sessions ORDER BY id DESC LIMIT 1";
    assert_eq!(app.db.text(proved).await, "{password,passkey}true");
    rejected(&app.try_second_step(&token).await, &CHALLENGE_TOKEN);

    // What the first step said counts.
    let (token, _) = app
        .wait_for_second_step(
            "ada",
            &json!({ "tokenDelivery": "COOKIE", "rememberMe": true }),
        )
        .await;
    let answer = app.second_step(&token, &mut key, &How::default()).await;
    assert_eq!(
        answer.data("finishPasskeySignIn/result/accessToken"),
        &Value::Null
    );
    assert!(answer.header("set-cookie").is_some());
    let remembered = "SELECT remember_me::text FROM sessions ORDER BY id DESC LIMIT 1";
    assert_eq!(app.db.text(remembered).await, "true");

    // By itself it is two factors.
    let answer = app.passkey_sign_in(&mut key, &How::default()).await;
    assert_eq!(
        answer.data("finishPasskeySignIn/result/__typename"),
        "SignedIn"
    );

    // Another's does not do, nor does a wrong answer; five tries end the sign-in.
    let (token, _) = app.wait_for_second_step("ada", &json!({})).await;
    let wrong = How {
        spoilt: true,
        ..How::default()
    };
    for _ in 0..4 {
        rejected(
            &app.second_step(&token, &mut key, &wrong).await,
            &CREDENTIAL,
        );
    }
    let waiting = app.start_second_step(&token).await;
    rejected(
        &app.second_step(&token, &mut bobs, &How::default()).await,
        &CREDENTIAL,
    );
    let credential = key.get(&waiting.options, &How::default());
    rejected(
        &app.finish_passkey_sign_in(&waiting.token, &credential)
            .await,
        &CHALLENGE_TOKEN,
    );
    rejected(&app.try_second_step("ctf_x").await, &CHALLENGE_TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_step_is_of_the_device_that_began_and_of_an_account_with_a_passkey() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    app.user("bob").await;
    app.db.sql(DEVICES).await;
    let (token, _) = app.wait_for_second_step("ada", &json!({})).await;
    let start = "mutation($token: String) { startPasskeySignIn(input: { challengeToken: $token }) { errors { code path } } }";
    let elsewhere = app
        .at("198.51.100.7")
        .gql(start, json!({ "token": token }))
        .await;
    rejected(&elsewhere, &CHALLENGE_TOKEN);
    let (bobs, methods) = app.wait_for_second_step("bob", &json!({})).await;
    assert_eq!(methods, json!(["TOTP"]));
    assert_eq!(app.try_second_step(&bobs).await.code(), "REJECTED");
    // Bob's own sign-in is not completed with Ada's passkey, whoever holds it.
    app.db
        .sql("UPDATE passkeys SET user_id = (SELECT id FROM users WHERE username = 'bob')")
        .await;
    let begun = app.start_second_step(&bobs).await;
    app.db
        .sql("UPDATE passkeys SET user_id = (SELECT id FROM users WHERE username = 'ada')")
        .await;
    for handle in [None, Some(key.user_handle.clone())] {
        let how = How {
            user_handle: Some(handle),
            ..How::default()
        };
        let credential = key.get(&begun.options, &how);
        let begun = Begun {
            token: begun.token.clone(),
            options: Value::Null,
        };
        let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
    }
    let before = app.live_sessions().await;
    app.advance(TimeDelta::minutes(5));
    rejected(&app.try_second_step(&token).await, &CHALLENGE_TOKEN);
    assert_eq!(app.live_sessions().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compulsory_second_factor_can_be_a_passkey() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    let sessions = "{ sessions { nodes { id } } }";
    assert_eq!(ada.ask(sessions).await.codes(), ["TWO_FACTOR_REQUIRED"]);
    let key = ada.add_passkey().await;
    app.app.access.catch_up().await;
    let answer = ada.ask(sessions).await;
    assert!(answer.codes().is_empty(), "adding it has proved it");

    let (_, methods) = app.wait_for_second_step("ada", &json!({})).await;
    assert_eq!(
        methods,
        json!(["PASSKEY"]),
        "the password alone opens nothing"
    );
    assert_eq!(ada.remove_passkey(&key.passkey).await.code(), "PROTECTED");
    let other = ada.add_passkey().await;
    assert_eq!(ada.remove_passkey(&key.passkey).await.code(), "");
    assert_eq!(ada.remove_passkey(&other.passkey).await.code(), "PROTECTED");
    app.db.sql(DEVICES).await;
    assert_eq!(ada.remove_passkey(&other.passkey).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_proved_the_passkey_adds_no_other_second_factor() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    // From now on a second factor is compulsory, and Ada's session has proved none.
    let (_, router) = app.second(&["--two-factor-required=everybody"]).await;
    let ask = async |query: &str, variables: Value| {
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", ada.access_token),
            )
            .body(Body::from(
                json!({ "query": query, "variables": variables }).to_string(),
            ));
        let response = router.clone().oneshot(request.expect("a request")).await;
        Answer::read(response.expect("the router always answers")).await
    };
    let enrolments = [
        "mutation { startPasskeyRegistration { errors { code } } }",
        "mutation { enableTwoFactor { errors { code } } }",
        "mutation { confirmTwoFactor(input: { code: \"000000\" }) { errors { code } } }",
        "mutation { finishPasskeyRegistration(input: { challengeToken: \"x\", credential: {}, name: \"x\" }) { errors { code } } }",
    ];
    for enrolment in enrolments {
        let answer = ask(enrolment, Value::Null).await;
        assert_eq!(answer.codes(), ["TWO_FACTOR_REQUIRED"], "{enrolment}");
        assert_eq!(
            answer.json["errors"][0]["extensions"]["methods"],
            json!(["PASSKEY"])
        );
    }
    let begun = app.start_passkey_sign_in().await;
    let passkey = json!({ "challengeToken": begun.token, "credential": key.get(&begun.options, &How::default()) });
    let prove = "mutation($passkey: PasskeyProofInput!) { reauthenticate(input: { passkey: $passkey }) { errors { code } } }";
    assert_eq!(ask(prove, json!({ "passkey": passkey })).await.code(), "");
    app.app.access.catch_up().await;
    for enrolment in &enrolments[..2] {
        assert_eq!(ask(enrolment, Value::Null).await.code(), "", "{enrolment}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_proves_who_is_at_the_keyboard() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    let mut bobs = app.user("bob").await.add_passkey().await;
    app.advance(TimeDelta::minutes(6));
    let denied = ada.try_passkey_registration().await;
    assert_eq!(denied.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(
        denied.json["errors"][0]["extensions"]["methods"],
        json!(["PASSWORD", "PASSKEY"])
    );

    let (credential_path, token_path) = (
        ["input", "passkey", "credential"],
        ["input", "passkey", "challengeToken"],
    );
    let how = How::default();
    let begun = app.start_passkey_sign_in().await;
    let credential = bobs.get(&begun.options, &how);
    rejected(
        &ada.reauthenticate_with(&begun.token, &credential).await,
        &credential_path,
    );
    let begun = app.start_passkey_sign_in().await;
    let spoilt = key.get(
        &begun.options,
        &How {
            spoilt: true,
            ..how.clone()
        },
    );
    rejected(
        &ada.reauthenticate_with(&begun.token, &spoilt).await,
        &credential_path,
    );
    let sound = key.get(&begun.options, &how);
    rejected(
        &ada.reauthenticate_with(&begun.token, &sound).await,
        &token_path,
    );
    assert_eq!(
        ada.reauthenticate_with("x", &json!({})).await.rules(),
        ["FORMAT"]
    );
    assert_eq!(
        ada.try_passkey_registration().await.codes(),
        ["REAUTHENTICATION_REQUIRED"]
    );

    // The session knows who it is of: the authenticator need not say it.
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(
        &begun.options,
        &How {
            user_handle: Some(None),
            ..how.clone()
        },
    );
    assert_eq!(
        ada.reauthenticate_with(&begun.token, &credential)
            .await
            .code(),
        ""
    );
    app.app.access.catch_up().await;
    assert_eq!(ada.try_passkey_registration().await.code(), "");
    // What was shown here signs nobody in.
    let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
    rejected(&answer, &CHALLENGE_TOKEN);

    // A ceremony for somebody's second step proves nothing else, and where the second factor is on the passkey
    // does where the password does not.
    app.db.sql(DEVICES).await;
    app.app.access.catch_up().await;
    let (token, _) = app.wait_for_second_step("ada", &json!({})).await;
    let begun = app.start_second_step(&token).await;
    let credential = key.get(&begun.options, &how);
    rejected(
        &ada.reauthenticate_with(&begun.token, &credential).await,
        &token_path,
    );
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "REJECTED");
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &how);
    assert_eq!(
        ada.reauthenticate_with(&begun.token, &credential)
            .await
            .code(),
        ""
    );
    let proved = "SELECT count(*)::text FROM sessions WHERE second_factor";
    assert_eq!(app.db.text(proved).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_takes_lost_passkeys_off_an_account() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let admin = app.admin().await;
    for by_operator in [false, true] {
        let ada = app.sign_in("ada").await;
        let mut key = ada.add_passkey().await;
        if by_operator {
            let taken = two_factor::reset_by_operator(&app.app, "ada@example.org").await;
            assert_eq!(taken.expect("an answer"), Some(true));
        } else {
            let reset =
                "mutation($id: ID!) { resetTwoFactor(input: { userId: $id }) { errors { code } } }";
            let answer = admin.gql(reset, json!({ "id": ada.id })).await;
            assert_eq!(answer.code(), "");
        }
        let answer = app.passkey_sign_in(&mut key, &How::default()).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
        app.app.access.catch_up().await;
        assert!(!ada.is_signed_in().await);
    }
    assert!(!ada.is_signed_in().await);
    let answer = app.login("ada", PASSWORD).await;
    assert_eq!(answer.data("login/result/__typename"), "SignedIn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_step_that_is_over_before_its_ceremony_is_kept_is_told_of() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.add_passkey().await;
    app.db.sql(DEVICES).await;
    let (token, _) = app.wait_for_second_step("ada", &json!({})).await;
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    let over = "BEGIN; DELETE FROM two_factor_challenges";
    held.batch_execute(over).await.expect("deleted");
    let (answer, ()) = futures_util::future::join(app.try_second_step(&token), async {
        app.db.until_waiting(1).await;
        held.batch_execute("COMMIT").await.expect("over");
    })
    .await;
    rejected(&answer, &CHALLENGE_TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_set_up_the_first_second_factor_at_once_one_does() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    let device = ada.begin_two_factor(&app).await;
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    // Another session, whose passkey is added while this one's code is looked at.
    let passkey = "BEGIN; SELECT FROM users FOR NO KEY UPDATE; \
        INSERT INTO passkeys (id, user_id, credential_id, credential, name, created_at) \
        SELECT gen_random_uuid(), id, '\\x00112233445566778899aabbccddeeff', '{}', 'x', now() FROM users";
    held.batch_execute(passkey).await.expect("a passkey");
    let code = device.code();
    let (answer, ()) = futures_util::future::join(ada.confirm_two_factor(&code), async {
        app.db.until_waiting(1).await;
        held.batch_execute("COMMIT").await.expect("kept");
    })
    .await;
    assert_eq!(answer.codes(), ["TWO_FACTOR_REQUIRED"]);
    assert_eq!(
        answer.json["errors"][0]["extensions"]["methods"],
        json!(["PASSKEY"])
    );
}
