//! What clients are told when the server or its database fails: that it did, and which request to name.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_tells_no_more_than_the_id_of_its_request() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.db
        .sql("ALTER TABLE backgrounds RENAME TO backgrounds_away")
        .await;
    let mut ids = Vec::new();
    let field = ada
        .ask("{ me { fullName background { primaryDomain } roles { name } } }")
        .await;
    assert_eq!(field.status, StatusCode::OK);
    assert_eq!(field.at("me/fullName"), "ada Example");
    assert_eq!(field.at("me/roles/0/name"), "user");
    assert_eq!(field.at("me/background"), &Value::Null);
    assert_eq!(field.json["errors"][0]["path"], json!(["me", "background"]));
    ids.push(assert_internal(&field));

    app.db
        .sql("ALTER TABLE sessions RENAME TO sessions_away")
        .await;
    // What is remembered of the caller would answer for the table.
    app.app.access.clear();
    let whole = ada.ask("{ me { fullName } }").await;
    assert_eq!(whole.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(whole.json.get("data").is_none());
    ids.push(assert_internal(&whole));
    assert_ne!(ids[0], ids[1]);
}

fn assert_internal(answer: &Answer) -> String {
    let error = &answer.json["errors"][0];
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    assert_eq!(error["message"], "Internal server error.");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    assert_eq!(error["extensions"]["requestId"], id);
    for telling in [
        "backgrounds",
        "sessions",
        "relation",
        "SELECT",
        "src/",
        "away",
    ] {
        assert!(!answer.text.contains(telling), "{}", answer.text);
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_database_says_so_without_details() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.app.db.close();
    app.app.access.clear();
    let login = "mutation($input: LoginInput!) { login(input: $input) { errors { code } } }";
    let input = json!({ "input": { "identifier": "ada", "password": PASSWORD } });
    let field = app.gql(login, input).await;
    assert_eq!(field.codes(), ["SERVICE_UNAVAILABLE"]);
    assert_eq!(field.at("login"), &Value::Null);
    let whole = ada.ask("{ me { id } }").await;
    assert_eq!(
        (whole.status, whole.codes()),
        (StatusCode::SERVICE_UNAVAILABLE, vec!["SERVICE_UNAVAILABLE"])
    );
    assert_eq!(whole.header("retry-after"), Some("1"));
    for answer in [field, whole] {
        let message = &answer.json["errors"][0]["message"];
        assert_eq!(message, "Not available now. Try again later.");
    }
}
