//! What a front end asks before anything else.

use serde_json::{Value, json};

use crate::harness::TestApp;

const VIEWER: &str = "{ viewer { isAuthenticated permissions hasPermissions(names: [\"write:own\", \"admin:users\", \"no such\"]) \
    session { current } user { email } } me { email } }";

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_is_there_signed_in_or_not() {
    let app = TestApp::new().await;
    let nobody = app.gql(VIEWER, Value::Null).await;
    assert_eq!(
        nobody.json["data"],
        json!({ "viewer": { "isAuthenticated": false, "permissions": [], "hasPermissions": [false, false, false], "session": null, "user": null }, "me": null })
    );
    let ada = app.user("ada").await;
    assert_eq!(
        ada.ask(VIEWER).await.json["data"],
        json!({
            "viewer": { "isAuthenticated": true, "permissions": ["read:own", "write:own"], "hasPermissions": [true, false, false],
                "session": { "current": true }, "user": { "email": "ada@example.org" } },
            "me": { "email": "ada@example.org" },
        })
    );
    let many = json!({ "names": vec!["x"; 101] });
    let answer = ada
        .gql(
            "query($names: [String!]!) { viewer { hasPermissions(names: $names) } }",
            many,
        )
        .await;
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_options_are_those_of_the_settings() {
    let query = "{ authOptions { registrationOpen passwordPolicy { minimumLength maximumLength requiresDigit requiresLowercase requiresSpecial requiresUppercase } } }";
    let app = TestApp::new().await;
    assert_eq!(
        app.gql(query, Value::Null).await.data("authOptions"),
        &json!({ "registrationOpen": true, "passwordPolicy": { "minimumLength": 8, "maximumLength": 128, "requiresDigit": true,
            "requiresLowercase": true, "requiresSpecial": true, "requiresUppercase": true } })
    );
    let flags = [
        "--registration-open=false",
        "--password-min-length=15",
        "--password-max-length=64",
        "--password-require-digit=false",
        "--password-require-lowercase=false",
        "--password-require-special=false",
        "--password-require-uppercase=false",
    ];
    let strict = TestApp::with(&flags).await;
    assert_eq!(
        strict.gql(query, Value::Null).await.data("authOptions"),
        &json!({ "registrationOpen": false, "passwordPolicy": { "minimumLength": 15, "maximumLength": 64, "requiresDigit": false,
            "requiresLowercase": false, "requiresSpecial": false, "requiresUppercase": false } })
    );
    assert_eq!(
        strict.register("ada").await.data("register/errors/0/code"),
        "REJECTED"
    );
}
