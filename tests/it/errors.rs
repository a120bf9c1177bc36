//! What errors look like: a known code, no `data` where nothing ran, and nothing that helps to guess
//! or that repeats a secret.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, TestApp};

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { errors { code } } }";

/// A request error: nothing ran, and the code is known.
fn assert_request_error(answer: &Answer, code: &str, what: &str) {
    assert_eq!(
        answer.status,
        StatusCode::BAD_REQUEST,
        "{what}: {}",
        answer.text
    );
    assert!(answer.json.get("data").is_none(), "{what}: {}", answer.text);
    let codes = answer.codes();
    assert!(
        !codes.is_empty() && codes.iter().all(|found| *found == code),
        "{what}: {}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_fit_the_schema_is_refused_without_suggestions() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for document in [
        "{ viewr { isAuthenticated } }",
        "{ viewer { isAuthenticatd } }",
        "{ me { emial } }",
        "{ me }",
        "{ viewer { isAuthenticated { x } } }",
        "{ usr(by: { email: \"a\" }) { id } }",
        "{ user(bye: { email: \"a\" }) { id } }",
        "{ user { id } }",
        "{ users(frist: 1) { totalCount } }",
        "query($by: UserLokup) { user(by: $by) { id } }",
        "query($by: UserLookup) { me { id } }",
        "query($by: User) { me { id @skip(if: $by) } }",
        "{ user(by: $by) { id } }",
        "{ me @skp(if: true) { id } }",
        "{ me @skip { id } }",
        "{ ...Nowhere }",
        "{ me { ... on Role { id } } }",
        "{ me { ... on Usr { id } } }",
        "{ me { id } } fragment Unused on User { id }",
        "{ me { id: email id } }",
        "mutation { logn { errors { code } } }",
        "mutation { updateProfile { errors { code } } }",
        "query @public { __typename }",
    ] {
        for answer in [
            app.gql(document, Value::Null).await,
            admin.ask(document).await,
        ] {
            assert_request_error(&answer, "GRAPHQL_VALIDATION_FAILED", document);
            assert!(
                answer.json["errors"][0]["locations"][0]["line"].is_u64(),
                "{}",
                answer.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_their_types_are_refused_and_not_repeated() {
    let app = TestApp::new().await;
    let secret = "hunter2";
    let by = "query($by: UserLookup!) { user(by: $by) { id } }";
    let order = "query($way: SortDirection!) { users(orderBy: { field: EMAIL, direction: $way }) { totalCount } }";
    let names = "query($names: [String!]!) { viewer { hasPermissions(names: $names) } }";
    for (document, variables) in [
        (
            LOGIN,
            json!({ "input": { "identifier": 5, "password": secret } }),
        ),
        (
            LOGIN,
            json!({ "input": { "identifier": secret, "password": { "a": secret } } }),
        ),
        (
            LOGIN,
            json!({ "input": { "identifier": "ada", "password": [secret] } }),
        ),
        (
            LOGIN,
            json!({ "input": { "identifier": "ada", "password": null } }),
        ),
        (LOGIN, json!({ "input": { "identifier": "ada" } })),
        (
            LOGIN,
            json!({ "input": { "identifier": "ada", "password": secret, "admin": true } }),
        ),
        (LOGIN, json!({ "input": null })),
        (LOGIN, json!({ "input": secret })),
        (
            "mutation($id: ID!, $name: String!) { a: login(input: { identifier: $name, password: $name }) { errors { code } } \
             b: updateRole(input: { roleId: $id, isDefault: 5 }) { errors { code } } }",
            json!({ "id": "x", "name": secret }),
        ),
        (
            "query($name: String!) { a: me { id } b: users(search: $name, orderBy: { field: NOTHING }) { totalCount } }",
            json!({ "name": secret }),
        ),
        (
            "query($email: String!) { user(by: { email: $email, username: null }) { id } }",
            json!({ "email": secret }),
        ),
        (
            LOGIN,
            json!({ "Input": { "identifier": "ada", "password": secret } }),
        ),
        (LOGIN, json!({})),
        (LOGIN, Value::Null),
        (
            "query($n: Int) { users(first: $n) { totalCount } }",
            json!({ "n": secret }),
        ),
        (
            "query($n: Int) { users(first: $n) { totalCount } }",
            json!({ "n": 1.5 }),
        ),
        (
            "query($if: Boolean!) { me @skip(if: $if) { id } }",
            json!({ "if": secret }),
        ),
        (
            "query($if: Boolean!) { me @skip(if: $if) { id } }",
            json!({ "if": null }),
        ),
        (by, json!({ "by": { "email": secret, "username": secret } })),
        (by, json!({ "by": {} })),
        (by, json!({ "by": { "phone": secret } })),
        (order, json!({ "way": secret })),
        (names, json!({ "names": [secret, 5] })),
        (names, json!({ "names": [secret, null] })),
        (names, json!({ "names": 5 })),
        (
            "mutation { login(input: { identifier: \"hunter2\", password: 5 }) { errors { code } } }",
            Value::Null,
        ),
        (
            "mutation { login(input: { identifier: \"hunter2\" }) { errors { code } } }",
            Value::Null,
        ),
    ] {
        let answer = app.gql(document, variables.clone()).await;
        assert_request_error(
            &answer,
            "BAD_USER_INPUT",
            &format!("{document} {variables}"),
        );
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    assert_eq!(app.count("rate_limits").await, "0", "nothing ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_its_field_can_judge_fails_that_field() {
    let app = TestApp::new().await;
    let register = "mutation($day: Date) { register(input: { email: \"a@example.org\", fullName: \"Ada\", \
        password: \"Correct-Horse-7\", birthDate: $day }) { errors { code } } }";
    let uuid = "query($uuid: UUID!) { user(by: { uuid: $uuid }) { id } }";
    let users =
        "query($range: DateTimeRange) { users(filter: { createdAt: $range }) { totalCount } }";
    let admin = app.admin().await;
    for (document, variables) in [
        (register, json!({ "day": "2026-02-30" })),
        (register, json!({ "day": 20_260_230 })),
        (uuid, json!({ "uuid": "hunter2" })),
        (users, json!({ "range": { "from": "yesterday" } })),
    ] {
        let answer = admin.gql(document, variables).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{}", answer.text);
        let data = answer.json["data"].as_object().expect("an object");
        assert!(data.values().all(Value::is_null), "{}", answer.text);
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        assert!(
            answer.json["errors"][0]["path"].is_array(),
            "{}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_none_is_refused_without_being_repeated() {
    let app = TestApp::new().await;
    let login = format!(
        "mutation {{ login(input: {{ identifier: \"ada\", password: \"{PASSWORD}\" }}) {{ errors {{ code }} }} }}"
    );
    for document in [
        login.trim_end_matches([' ', '}']).to_owned(),
        login.replacen('{', "(", 1),
        login.replace(": \"Correct", ": \"\"Correct"),
        login.replace("-7\"", "-7"),
        login.replace("\"Correct", "Correct"),
        format!("{login} {PASSWORD}"),
        format!("{PASSWORD} {{"),
        format!("{{ {PASSWORD} }}"),
        format!("query A {{ __typename }} query A {{ a: __typename {PASSWORD} }}"),
        String::new(),
        "#".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        "query".to_owned(),
        "\u{feff}".to_owned(),
        "fragment F on User { id }".to_owned(),
        "type User { id: ID! }".to_owned(),
        "{ a b: }".to_owned(),
    ] {
        let answer = app.gql(&document, Value::Null).await;
        assert_request_error(&answer, "GRAPHQL_PARSE_FAILED", &document);
        assert!(
            !answer.text.contains("Correct") && !answer.text.contains("Horse"),
            "{}",
            answer.text
        );
        assert!(answer.text.len() < 250, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_must_be_meant() {
    let app = TestApp::new().await;
    for (document, operation) in [
        ("query A { __typename } query B { __typename }", None),
        ("query A { __typename } query B { __typename }", Some("C")),
        ("query A { __typename }", Some("a")),
        ("{ __typename }", Some("A")),
    ] {
        let body = json!({ "query": document, "operationName": operation }).to_string();
        let answer = app.post_json(body).await;
        assert_request_error(&answer, "OPERATION_RESOLUTION_FAILURE", document);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_null_character_is_refused_wherever_it_stands() {
    let app = TestApp::new().await;
    let names = "query($names: [String!]!) { viewer { hasPermissions(names: $names) } }";
    let goals = "mutation($goals: JSON) { updateProfile(input: { coachingGoals: $goals }) { errors { code } } }";
    for (document, variables) in [
        (names, json!({ "names": ["a\0b"] })),
        (names, json!({ "names": ["a"], "unused": { "\0": 1 } })),
        (goals, json!({ "goals": { "a": [{ "b": "\0" }] } })),
        (goals, json!({ "goals": { "\0": 1 } })),
        (
            LOGIN,
            json!({ "input": { "identifier": "\0", "password": "x" } }),
        ),
        (
            "{ viewer { hasPermissions(names: [\"\\u0000\"]) } }",
            Value::Null,
        ),
        (
            "{ viewer { hasPermissions(names: [\"\0\"]) } }",
            Value::Null,
        ),
        (
            "{ viewer { hasPermissions(names: [\"\"\"\0\"\"\"]) } }",
            Value::Null,
        ),
    ] {
        let answer = app.gql(document, variables).await;
        assert_request_error(&answer, "BAD_USER_INPUT", document);
        assert_eq!(
            answer.json["errors"][0]["message"],
            "The character U+0000 is not accepted."
        );
    }
}
