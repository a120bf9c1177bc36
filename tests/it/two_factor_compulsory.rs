//! A second factor that is compulsory, and proving it again: who lacks it is nobody.

use axum::http::StatusCode;
use cardea::graphql::Api;
use cardea::graphql::sdl::Access;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::access::FIELDS;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Answer, Client, TestApp};

fn methods(answer: &Answer) -> &Value {
    &answer.json["errors"][0]["extensions"]["methods"]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_compulsory_second_factor_is_nobody_but_can_set_one_up() {
    // M04, Z01: every field, asked by such a session.
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let api = Api::new().expect("the schema is sound");
    let ada = app.user("ada").await;
    let rest = app.user("rest").await;
    app.grant(&ada, "admin").await;
    let mut allowed = Vec::new();
    for (field, document, _) in FIELDS {
        let (parent, name) = field.split_once('.').expect("a field of a root type");
        if name == "logout" || name.starts_with("__") {
            continue;
        }
        let document = document.replace("ID\"", &format!("{}\"", rest.id));
        let before = app.db.dump().await;
        let answer = ada.ask(&document).await;
        let rule = api.rules().field(parent, name).and_then(|rule| rule.access);
        match rule {
            Some(Access::Public) => assert!(answer.codes().is_empty(), "{field}: {}", answer.text),
            Some(Access::Session {
                before_second_factor: true,
                ..
            }) => {
                assert!(answer.codes().is_empty(), "{field}: {}", answer.text);
                allowed.push(name);
            }
            _ => {
                assert_eq!(answer.codes(), ["TWO_FACTOR_REQUIRED"], "{field}");
                assert_eq!(methods(&answer), &json!([]), "there is none to prove");
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(before, app.db.dump().await, "{field} changed something");
            }
        }
    }
    allowed.sort_unstable();
    assert_eq!(
        allowed,
        [
            "confirmTwoFactor",
            "enableTwoFactor",
            "finishPasskeyRegistration",
            "reauthenticate",
            "startPasskeyRegistration"
        ]
    );
    let answer = ada.ask("{ me { id } viewer { isAuthenticated permissions twoFactorOwed user { id } session { id } } authOptions { twoFactorRequired } }").await;
    assert_eq!(
        answer.json["data"],
        json!({
            "me": null,
            "viewer": { "isAuthenticated": false, "permissions": [], "twoFactorOwed": true, "user": null, "session": null },
            "authOptions": { "twoFactorRequired": true },
        })
    );
    let answer = ada.ask("mutation { logout { endedSessions } }").await;
    assert_eq!(
        answer.data("logout/endedSessions"),
        1,
        "whoever wants to go may"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_one_up_opens_the_door() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    app.user("ada").await;
    let answer = app.first_step("ada").await;
    let result = answer.data("login/result");
    assert_eq!(
        (&result["__typename"], &result["twoFactorOwed"]),
        (&json!("SignedIn"), &json!(true))
    );
    let ada = Client::new(&app, result);
    let refresh = "mutation($token: String) { refreshToken(input: { refreshToken: $token }) { errors { code } result { ... on SignedIn { twoFactorOwed user { email } } } } }";
    let answer = app
        .gql(refresh, json!({ "token": ada.refresh_token }))
        .await;
    assert_eq!(
        answer.codes(),
        ["UNAUTHENTICATED"],
        "what the answer holds is not the owner's, either"
    );
    assert_eq!(answer.at("refreshToken/result/twoFactorOwed"), true);

    app.advance(TimeDelta::minutes(6));
    let answer = ada
        .ask("mutation { enableTwoFactor { errors { code } } }")
        .await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(methods(&answer), &json!(["PASSWORD"]));
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "");
    let device = ada.with_two_factor(&app).await;
    assert!(ada.is_signed_in().await);
    assert_eq!(ada.two_factor().await, (true, 10));
    let off = ada
        .prove("disableTwoFactor", "twoFactorCode", &device.code())
        .await;
    assert_eq!(off.code(), "PROTECTED");
    assert_eq!(ada.two_factor().await, (true, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_makes_it_compulsory_at_once_on_every_server() {
    let app = TestApp::with(&["--two-factor-required=roles"]).await;
    let (second, router) = app.second(&["--two-factor-required=roles"]).await;
    let ada = app.user("ada").await;
    let there = async || {
        let body = json!({ "query": "{ me { id } }" }).to_string();
        let request = axum::http::Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", ada.access_token))
            .body(axum::body::Body::from(body))
            .expect("a request");
        let response = tower::ServiceExt::oneshot(router.clone(), request).await;
        Answer::read(response.expect("an answer"))
            .await
            .at("me")
            .clone()
    };
    let owes = async || ada.ask("{ me { id } }").await.data("me").is_null();
    assert!(!owes().await && !there().await.is_null());
    app.grant(&ada, "admin").await;
    second.access.catch_up().await;
    assert!(
        owes().await && there().await.is_null(),
        "administrators first"
    );
    let set = async |required: bool| {
        app.db
            .sql(&format!(
                "UPDATE roles SET requires_two_factor = {required} WHERE name = 'admin'"
            ))
            .await;
        app.app.access.catch_up().await;
        second.access.catch_up().await;
    };
    set(false).await;
    assert!(!owes().await && !there().await.is_null());
    set(true).await;
    assert!(owes().await && there().await.is_null());
    ada.with_two_factor(&app).await;
    second.access.catch_up().await;
    assert!(!owes().await && !there().await.is_null());
    let mine = "{ me { twoFactor { compulsory } } }";
    assert_eq!(ada.ask(mine).await.data("me/twoFactor/compulsory"), true);
    let bob = app.user("bob").await;
    assert_eq!(bob.ask(mine).await.data("me/twoFactor/compulsory"), false);
    let answer = ada.ask("{ roles { name requiresTwoFactor } }").await;
    assert_eq!(
        answer.data("roles"),
        &json!([
            { "name": "admin", "requiresTwoFactor": true },
            { "name": "moderator", "requiresTwoFactor": false },
            { "name": "user", "requiresTwoFactor": false },
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_before_proves_it_without_signing_in_anew() {
    // M05: the policy was raised; a session that showed the password alone steps up.
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    app.db
        .sql("UPDATE sessions SET second_factor = false")
        .await;
    app.app.access.catch_up().await;
    let answer = ada.ask("{ sessions { nodes { id } } }").await;
    assert_eq!(answer.codes(), ["TWO_FACTOR_REQUIRED"]);
    assert_eq!(methods(&answer), &json!(["TWO_FACTOR_CODE"]));
    let password = ada.prove("reauthenticate", "password", PASSWORD).await;
    assert_eq!(password.code(), "REJECTED");
    assert_eq!(
        ada.ask("{ sessions { nodes { id } } }").await.codes(),
        ["TWO_FACTOR_REQUIRED"]
    );
    let code = ada
        .prove("reauthenticate", "twoFactorCode", &device.code())
        .await;
    assert_eq!(code.code(), "");
    assert!(
        ada.ask("{ sessions { nodes { id } } }")
            .await
            .codes()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_too_old_is_renewed_by_what_the_account_has() {
    // M08: the strongest that is set up.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let change = "mutation { requestEmailChange(input: { newEmail: \"b@example.org\" }) { errors { code } } }";
    app.advance(TimeDelta::minutes(6));
    let answer = ada.ask(change).await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(methods(&answer), &json!(["PASSWORD"]));
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "");
    let device = ada.with_two_factor(&app).await;
    app.advance(TimeDelta::minutes(6));
    let answer = ada.ask(change).await;
    assert_eq!(methods(&answer), &json!(["TWO_FACTOR_CODE"]));
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "REJECTED");
    assert_eq!(ada.ask(change).await.codes(), ["REAUTHENTICATION_REQUIRED"]);
    let code = ada
        .prove("reauthenticate", "twoFactorCode", &device.code())
        .await;
    assert_eq!(code.code(), "");
    assert!(ada.ask(change).await.codes().is_empty());
    app.run_jobs().await;

    let bob = app.user("bob").await;
    app.db
        .sql("UPDATE users SET hashed_password = NULL WHERE username = 'bob'")
        .await;
    app.advance(TimeDelta::minutes(6));
    app.app.access.catch_up().await;
    let answer = bob.ask(change).await;
    assert_eq!(
        methods(&answer),
        &json!(["SIGN_IN"]),
        "nothing else to prove"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_renews_no_sign_in_by_being_changed_where_the_second_factor_is_on() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.with_two_factor(&app).await;
    let enrol = "mutation { enableTwoFactor { errors { code } } }";
    app.advance(TimeDelta::minutes(6));
    assert_eq!(ada.ask(enrol).await.codes(), ["REAUTHENTICATION_REQUIRED"]);
    let changed = ada.change_password(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(changed.code(), "");
    app.app.access.catch_up().await;
    let answer = ada.ask(enrol).await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(methods(&answer), &json!(["TWO_FACTOR_CODE"]));

    // Without one the password is all there is to prove.
    let bob = app.user("bob").await;
    app.advance(TimeDelta::minutes(6));
    assert_eq!(bob.change_password(PASSWORD, NEW_PASSWORD).await.code(), "");
    app.app.access.catch_up().await;
    assert_eq!(bob.ask(enrol).await.codes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_renews_no_sign_in_where_a_passkey_is_the_compulsory_second_factor() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    ada.add_passkey().await;
    app.advance(TimeDelta::minutes(6));
    app.app.access.catch_up().await;
    let denied = ada.try_passkey_registration().await;
    assert_eq!(denied.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(methods(&denied), &json!(["PASSKEY"]));
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "REJECTED");
    let changed = ada.change_password(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(changed.code(), "");
    app.app.access.catch_up().await;
    let denied = ada.try_passkey_registration().await;
    assert_eq!(denied.codes(), ["REAUTHENTICATION_REQUIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proved_a_second_factor_and_took_it_off_sets_one_up_once_it_is_compulsory() {
    let app = TestApp::with(&["--two-factor-required=roles"]).await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let off = ada
        .prove("disableTwoFactor", "twoFactorCode", &device.code())
        .await;
    assert_eq!(off.code(), "");
    let sessions = "{ sessions { nodes { id } } }";
    assert!(ada.ask(sessions).await.codes().is_empty());
    app.grant(&ada, "admin").await;
    app.app.access.catch_up().await;
    let answer = ada.ask(sessions).await;
    assert_eq!(answer.codes(), ["TWO_FACTOR_REQUIRED"]);
    assert_eq!(methods(&answer), &json!([]), "one has to be set up");
    ada.with_two_factor(&app).await;
    app.app.access.catch_up().await;
    assert!(ada.ask(sessions).await.codes().is_empty());
}
