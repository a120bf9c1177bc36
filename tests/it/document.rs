//! How large, deep and costly a document may be, over HTTP; and introspection, the deepest that
//! every client sends.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::raw::graphql_url;

const INTROSPECTION: &str = include_str!("introspection.graphql");

/// Refused for its size, before anything of it runs.
async fn refused(app: &TestApp, what: &str, document: &str) {
    let answer = app.gql(document, Value::Null).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
    assert_eq!(answer.codes(), ["QUERY_TOO_COMPLEX"], "{what}");
    assert!(answer.json.get("data").is_none(), "{what}");
    assert!(answer.text.len() < 300, "{what}: {}", answer.text);
}

/// So many fields with names of their own.
fn aliases(count: usize) -> String {
    let field = |n: usize| format!("a{n}: __typename ");
    (0..count).map(field).collect::<Vec<_>>().concat()
}

async fn still_answers(app: &TestApp) {
    let answer = app.gql("{ __typename }", Value::Null).await;
    assert_eq!(answer.data("__typename"), "Query");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_values_are_refused_wherever_they_stand() {
    let app = TestApp::new().await;
    // Two brackets stand around the value.
    let value = |levels: usize| {
        format!(
            "{{ user(by: {}{}) {{ id }} }}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    refused(&app, "41 brackets", &value(39)).await;
    let deepest = app.gql(&value(38), Value::Null).await;
    assert_ne!(deepest.codes(), ["QUERY_TOO_COMPLEX"], "40 brackets");
    for levels in [41, 100, 500, 1600, 2000, 5000, 12_000] {
        for (open, close) in [("[", "]"), ("{a:", "}")] {
            let deep = format!("{}true{}", open.repeat(levels), close.repeat(levels));
            for (what, document) in [
                ("an argument", format!("{{ user(by: {deep}) {{ id }} }}")),
                (
                    "an argument behind a block string",
                    format!("{{ user(by: [\"\"\"[\"\"\" {deep}]) {{ id }} }}"),
                ),
                (
                    "a default value",
                    format!("query($a: JSON = {deep}) {{ me {{ id }} }}"),
                ),
                (
                    "an argument of a directive",
                    format!("{{ __typename @skip(if: {deep}) }}"),
                ),
                (
                    "a directive of the operation",
                    format!("query @a(a: {deep}) {{ __typename }}"),
                ),
                (
                    "another operation",
                    format!("query A {{ __typename }} query B {{ user(by: {deep}) {{ id }} }}"),
                ),
                (
                    "an unused fragment",
                    format!("{{ __typename }} fragment F on User {{ id @skip(if: {deep}) }}"),
                ),
            ] {
                refused(&app, &format!("{what}, {levels} times {open}"), &document).await;
            }
        }
        let selections = format!("{}id{}", "{me".repeat(levels), "}".repeat(levels));
        refused(&app, &format!("{levels} selections"), &selections).await;
        let inline = format!("{{me{}id{}}}", "{...".repeat(levels), "}".repeat(levels));
        refused(&app, &format!("{levels} inline fragments"), &inline).await;
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_not_closed_hides_nothing_from_the_guard() {
    let app = TestApp::new().await;
    let deep = format!("{}1{}", "[".repeat(50), "]".repeat(50));
    for document in [
        format!("{{ user(by: [\"\"\"x\" {deep}]) {{ id }} }}"),
        format!("{{ user(by: [\"x {deep}]) {{ id }} }}"),
        format!("{{ user(by: [\"x\\\n\" {deep}]) {{ id }} }}"),
        format!("{{ user(by: [\"\"\"x\\\"\"\" {deep}]) {{ id }} }}"),
    ] {
        let answer = app.gql(&document, Value::Null).await;
        assert_eq!(answer.codes(), ["GRAPHQL_PARSE_FAILED"], "{document:.40}");
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_wide_and_repetitive_documents_are_refused() {
    let app = TestApp::new().await;
    let nested = |levels: usize| {
        format!(
            "{{ me {}{{ id }}{} }}",
            "{ roles { members { nodes ".repeat(levels),
            "} } }".repeat(levels)
        )
    };
    let bomb = |depth: usize, width: usize| {
        let spread = |level: usize| format!("...F{level} ").repeat(width);
        let fragment =
            |level: usize| format!(" fragment F{level} on User {{ {} }}", spread(level + 1));
        let fragments: String = (0..depth).map(fragment).collect();
        format!("{fragments} fragment F{depth} on User {{ id }}")
    };
    for (what, document) in [
        ("16,000 tokens", "a ".repeat(16_000)),
        ("2,001 tokens", format!("{{ me {{ {} }} }}", "id ".repeat(1996))),
        ("32,769 bytes", format!("{{ __typename }}{}", " ".repeat(32_769 - 14))),
        ("a string of 50 KB", format!("{{ user(by: {{ email: \"{}\" }}) {{ id }} }}", "x".repeat(50_000))),
        ("17 levels of fields", nested(5)),
        ("1,001 fields", format!("{{ me {{ {} }} }}", "id ".repeat(1000))),
        ("2^12 fields", format!("{{ me {{ ...F0 }} }}{}", bomb(12, 2))),
        ("40^6 fields", format!("{{ me {{ ...F0 }} }}{}", bomb(6, 40))),
        ("2^12 fields of another operation", format!("query A {{ __typename }} query B {{ me {{ ...F0 }} }}{}", bomb(12, 2))),
        ("51 directives", format!("{{ me {} {{ id }} }}", "@skip(if: false) ".repeat(51))),
        ("a fragment in itself", "{ me { ...A } } fragment A on User { ...B } fragment B on User { ...A }".to_owned()),
        ("31 aliases", format!("{{ {} }}", aliases(31))),
        ("pages of pages", "{ roles { members(first: 100) { nodes { roles { members(first: 100) { nodes { id } } } } } } }".to_owned()),
    ] {
        let named = json!({ "query": document, "operationName": document.starts_with("query A").then_some("A") });
        let answer = app.post_json(named.to_string()).await;
        assert_eq!(answer.codes(), ["QUERY_TOO_COMPLEX"], "{what}: {:.200}", answer.text);
        assert!(answer.json.get("data").is_none(), "{what}");
    }
    // By GET, too.
    let url = graphql_url(&[("query", &format!("{{ me {{ {} }} }}", "id ".repeat(1000)))]);
    assert_eq!(app.get(&url).await.codes(), ["QUERY_TOO_COMPLEX"]);
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_within_the_limits_runs() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.ask(&format!("{{ {} }}", aliases(30))).await.data("a29");
    let fields = "id ".repeat(998);
    assert_eq!(
        ada.ask(&format!("{{ me {{ {fields} }} }}"))
            .await
            .data("me/id"),
        &json!(ada.id)
    );
    let three = "mutation { a: logout { endedSessions } b: logout { endedSessions } c: logout { endedSessions } }";
    assert_eq!(app.gql(three, Value::Null).await.data("c/endedSessions"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_are_no_way_to_try_many_passwords_at_once() {
    let app = TestApp::new().await;
    let login = |n: usize| {
        format!(
            "a{n}: login(input: {{ identifier: \"ada\", password: \"{n}\" }}) {{ errors {{ code }} }} "
        )
    };
    let logins = |count: usize| (0..count).map(login).collect::<Vec<_>>().concat();
    refused(
        &app,
        "100 logins",
        &format!("mutation {{ {} }}", logins(100)),
    )
    .await;
    refused(&app, "4 logins", &format!("mutation {{ {} }}", logins(4))).await;
    refused(
        &app,
        "4 logins in a fragment",
        &format!(
            "mutation {{ ...L }} fragment L on Mutation {{ {} }}",
            logins(4)
        ),
    )
    .await;
    refused(
        &app,
        "4 logins in two fragments",
        &format!(
            "mutation {{ ...L ...L }} fragment L on Mutation {{ {} }}",
            logins(2)
        ),
    )
    .await;
    // A try is counted before its password is hashed.
    assert_eq!(app.count("rate_limits").await, "0", "nothing was tried");
    app.gql(&format!("mutation {{ {} }}", logins(3)), Value::Null)
        .await
        .data("a2");
    let counted = "SELECT sum(tries)::text FROM rate_limits";
    assert_eq!(
        app.db.text(counted).await,
        "3",
        "what is let through is counted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_move_the_limits() {
    let app = TestApp::with(&[
        "--document-mutations=1",
        "--document-depth=2",
        "--document-nesting=3",
    ])
    .await;
    refused(
        &app,
        "two mutations",
        "mutation { a: logout { endedSessions } b: logout { endedSessions } }",
    )
    .await;
    refused(&app, "three levels", "{ viewer { user { id } } }").await;
    refused(
        &app,
        "four brackets",
        "{ user(by: { email: [[]] }) { id } }",
    )
    .await;
    app.gql("{ viewer { isAuthenticated } }", Value::Null)
        .await
        .data("viewer");
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_works_unless_it_is_switched_off() {
    let app = TestApp::new().await;
    let answer = app.gql(INTROSPECTION, Value::Null).await;
    assert_eq!(answer.data("__schema/queryType/name"), "Query");
    assert_eq!(answer.data("__schema/mutationType/name"), "Mutation");
    let types = answer.data("__schema/types").as_array().expect("a list");
    let user = types
        .iter()
        .find(|of_type| of_type["name"] == "User")
        .expect("a type");
    let fields = user["fields"].as_array().expect("fields");
    let email = fields
        .iter()
        .find(|field| field["name"] == "email")
        .expect("a field");
    assert_eq!(email["type"]["name"], "EmailAddress");
    assert_eq!(email["description"], "Address used for sign-in and mail.");
    let by_name = "{ __type(name: \"UserLookup\") { isOneOf inputFields { name } } }";
    assert_eq!(
        app.gql(by_name, Value::Null).await.data("__type/isOneOf"),
        true
    );

    let closed = TestApp::with(&["--introspection=false"]).await;
    for query in [
        INTROSPECTION,
        by_name,
        "{ __schema { types { name } } }",
        "{ x: __schema { queryType { name } } }",
    ] {
        let answer = closed.gql(query, Value::Null).await;
        assert_eq!(answer.codes(), ["FORBIDDEN"], "{}", answer.text);
        assert!(
            !answer.text.contains("Lookup") && !answer.text.contains("\"Query\""),
            "{}",
            answer.text
        );
    }
    let names = closed
        .gql("{ __typename viewer { __typename } }", Value::Null)
        .await;
    assert_eq!(names.data("viewer/__typename"), "Viewer");
    assert_eq!(names.data("__typename"), "Query");
    let mutation = closed.gql("mutation { __typename }", Value::Null).await;
    assert_eq!(mutation.data("__typename"), "Mutation");
}

/// Values of variables are read with one bound for how deep they nest, whatever they are called.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_a_request_stands_for_another_document_within_it() {
    let app = TestApp::new().await;
    let name = "$serde_json::private::RawValue";
    let inner = json!({ name: "{\"deeper\":[]}" });
    for body in [
        json!({ "query": "{ viewer { isAuthenticated } }", "variables": { "x": inner } }),
        json!({ "query": "{ viewer { isAuthenticated } }", "variables": { "x": { name: "no JSON" } } }),
    ] {
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let answer = app.send(request.expect("a request")).await;
        assert_eq!(
            answer.data("viewer/isAuthenticated"),
            &json!(false),
            "a text like any other"
        );
    }
}
