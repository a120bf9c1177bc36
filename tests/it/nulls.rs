//! What a failed field does to its surroundings: null in its place, and nothing more (GraphQL,
//! section 6.4.4).

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_fails_does_not_stop_the_next_one() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let document = "mutation($password: String!) { \
        first: updateProfile(input: { bio: \"x\" }) { errors { code } } \
        second: login(input: { identifier: \"ada\", password: $password }) { errors { code } result { __typename } } \
        third: updateBackground(input: { primaryDomain: \"x\" }) { errors { code } } }";
    let answer = app.gql(document, json!({ "password": PASSWORD })).await;
    assert_eq!(
        answer.json["data"],
        json!({
            "first": null,
            "second": { "errors": [], "result": { "__typename": "SignedIn" } },
            "third": null,
        })
    );
    assert_eq!(answer.codes(), ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
    assert_eq!(answer.json["errors"][0]["path"], json!(["first"]));
    assert_eq!(answer.json["errors"][1]["path"], json!(["third"]));
    assert_eq!(
        answer.json["errors"][0]["locations"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        app.count("sessions").await,
        "2",
        "the second one really ran"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_run_in_their_order_and_see_what_the_one_before_did() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let document = "mutation { \
        a: updateProfile(input: { bio: \"1\" }) { profile { bio } user { profile { bio } } } \
        b: updateProfile(input: { bio: \"2\" }) { profile { bio } user { profile { bio } } } \
        c: updateProfile(input: { theme: DARK }) { profile { bio theme } user { profile { bio theme } } } }";
    let answer = ada.ask(document).await;
    assert_eq!(
        answer.data("a"),
        &json!({ "profile": { "bio": "1" }, "user": { "profile": { "bio": "1" } } })
    );
    assert_eq!(
        answer.data("b"),
        &json!({ "profile": { "bio": "2" }, "user": { "profile": { "bio": "2" } } })
    );
    let last = json!({ "bio": "2", "theme": "DARK" });
    assert_eq!(
        answer.data("c"),
        &json!({ "profile": last, "user": { "profile": last } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_field_is_null_in_its_place_and_its_neighbours_stay() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let moderator = app.user_with_role("mo", "moderator").await;
    // May read every account, but not what administrators see of it.
    let query = "query($id: ID!) { user(by: { id: $id }) { fullName email roles { name } permissions \
        verifications { kind } renamed: roles { name } profile { theme } } }";
    let answer = moderator.gql(query, json!({ "id": ada.id })).await;
    assert_eq!(
        answer.json["data"]["user"],
        json!({
            "fullName": "ada Example", "email": "ada@example.org", "roles": null, "permissions": null,
            "verifications": null, "renamed": null, "profile": { "theme": "LIGHT" },
        })
    );
    assert_eq!(answer.codes(), ["FORBIDDEN"; 4]);
    let errors = answer.json["errors"].as_array().expect("errors");
    let mut paths: Vec<_> = errors
        .iter()
        .map(|error| error["path"][1].clone())
        .collect();
    paths.sort_by_key(Value::to_string);
    assert_eq!(paths, ["permissions", "renamed", "roles", "verifications"]);
    assert!(
        errors
            .iter()
            .all(|error| error["locations"][0]["line"] == 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_field_fails_in_each_element_of_a_list_by_itself() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.advance(chrono::TimeDelta::seconds(1));
    let moderator = app.user_with_role("mo", "moderator").await;
    let answer = moderator
        .ask("{ users { nodes { username roles { name } } totalCount } }")
        .await;
    assert_eq!(
        answer.json["data"]["users"],
        json!({
            "nodes": [
                { "username": "mo", "roles": [{ "name": "moderator" }, { "name": "user" }] },
                { "username": "ada", "roles": null },
            ],
            "totalCount": 2,
        })
    );
    assert_eq!(answer.codes(), ["FORBIDDEN"]);
    assert_eq!(
        answer.json["errors"][0]["path"],
        json!(["users", "nodes", 1, "roles"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_field_that_fails_leaves_the_others_alone() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let answer = ada
        .ask(
            "{ a: roles { name } me { fullName } users { totalCount } viewer { isAuthenticated } }",
        )
        .await;
    assert_eq!(
        answer.json["data"],
        json!({ "a": null, "me": { "fullName": "ada Example" }, "users": null, "viewer": { "isAuthenticated": true } })
    );
    assert_eq!(answer.codes(), ["FORBIDDEN", "FORBIDDEN"]);
    // In the order of the document, every key is there.
    let data = answer.text.split_once("\"data\"").expect("data").1;
    let order = ["\"a\"", "\"me\"", "\"users\"", "\"viewer\""].map(|key| data.find(key));
    assert!(
        order.is_sorted() && order.iter().all(Option::is_some),
        "{data}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_below_a_compulsory_field_takes_the_next_field_that_can_be_null() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    // `Role.permissions` cannot be null: the list of roles is the next that can.
    app.db
        .sql("ALTER TABLE permissions RENAME COLUMN description TO told")
        .await;
    let answer = admin
        .ask("{ roles { name permissions { name } } viewer { isAuthenticated } }")
        .await;
    assert_eq!(
        answer.json["data"],
        json!({ "roles": null, "viewer": { "isAuthenticated": true } })
    );
    assert!(
        answer
            .codes()
            .iter()
            .all(|code| *code == "INTERNAL_SERVER_ERROR"),
        "{}",
        answer.text
    );
    let path = &answer.json["errors"][0]["path"];
    assert_eq!(path, &json!(["roles", path[1], "permissions"]));
    assert_eq!(answer.json["errors"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_skipped_are_absent_and_ask_nobody() {
    let app = TestApp::new().await;
    let document = "query($no: Boolean!) { users @include(if: $no) { totalCount } me { email @include(if: $no) } }";
    let answer = app.gql(document, json!({ "no": false })).await;
    assert_eq!(answer.json, json!({ "data": { "me": null } }));
}
