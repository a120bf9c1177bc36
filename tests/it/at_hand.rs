//! Objects that are resolved on the spot: the answers are those of the library's own way.

use serde_json::{Value, json};

use crate::harness::app::TestApp;
use crate::harness::client::Client;

/// What is selected of an account, and once more behind a fragment on an interface, which the library resolves.
async fn both(client: &Client<'_>, of: &str, selected: &str) -> (Value, Value) {
    let ask = async |selected: &str| {
        let document = of.replace('…', selected);
        client.ask(&document).await.json
    };
    let slow = format!("{selected} ... on Node {{ id }}");
    (ask(selected).await, ask(&slow).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_what_the_library_makes_of_them() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.user("bob").await;
    let moderator = app.user_with_role("mod", "moderator").await;
    let admin = app.admin().await;
    let selections = [
        "id email profile { bio theme } roles { name permissions { name } }",
        "mine: email id roles { granted: permissions { id } name }",
        "... on User { id email ... { profile { __typename bio } } } __typename",
        "id profile { bio } profile { timezone }",
        "id email @include(if: true) username @skip(if: true) fullName",
        "id permissions twoFactor { enabled } sessions(first: 1) { nodes { current } }",
        "id birthDate profile { coachingGoals }",
    ];
    let lists = [
        "{ users { nodes { … } } }",
        "{ users { edges { node { … } } } }",
    ];
    for selected in selections {
        for client in [&ada, &moderator, &admin] {
            let (quick, slow) = both(client, "{ me { … } }", selected).await;
            assert_eq!(quick, slow, "{selected}");
            assert!(quick["data"]["me"]["id"].is_string(), "{quick}");
        }
        for list in lists {
            let (quick, slow) = both(&admin, list, selected).await;
            assert_eq!(quick, slow, "{list} {selected}");
            assert!(quick["errors"].is_null(), "{quick}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_selected_in_pieces_is_put_together() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ada").await;
    let whole = "{ me { id email profile { bio theme } } users { nodes { id email roles { name permissions { name } } } } }";
    let pieces = [
        "{ me { id } me { email profile { bio theme } } users { nodes { id email roles { name permissions { name } } } } }",
        "{ me { id email profile { bio theme } } users { nodes { id } nodes { email roles { name permissions { name } } } } }",
        "{ me { id email profile { bio theme } } users { nodes { id email roles { name } } } users { nodes { roles { permissions { name } } } } }",
        "query { ...A ...B } fragment A on Query { me { id email ...P } users { nodes { id ...R } } } \
            fragment B on Query { me { profile { theme } } users { nodes { email ...R } } } \
            fragment P on User { profile { bio } } fragment R on User { roles { name permissions { name } } }",
        "{ ... { me { id email ... on User { profile { bio } } ... { profile { theme } } } } \
            users { nodes { id email roles { name } ... on User { roles { permissions { name } } } } } }",
    ];
    let answer = admin.ask(whole).await;
    assert!(answer.json["errors"].is_null(), "{answer:?}");
    for document in pieces {
        assert_eq!(admin.ask(document).await.json, answer.json, "{document}");
    }
    // `@skip` and `@include` empty a selection, but not the other one.
    let emptied = [
        (
            "{ me { id @skip(if: true) } me { email } }",
            "{ me { email } }",
        ),
        (
            "{ me { email } me { id @skip(if: true) } }",
            "{ me { email } }",
        ),
        (
            "{ me { profile { bio @include(if: false) } profile { theme } } }",
            "{ me { profile { theme } } }",
        ),
        (
            "{ users { edges { cursor @include(if: false) } edges { node { id } } } }",
            "{ users { edges { node { id } } } }",
        ),
        (
            "{ me { ...Card @include(if: false) } me { id } }",
            "{ me { id } }",
        ),
        (
            "{ me { id @skip(if: true) } }",
            "{ me { __typename @skip(if: true) } }",
        ),
    ];
    for (document, rest) in emptied {
        let fragment = " fragment Card on User { email }";
        let fragment = fragment.repeat(document.matches("...Card").count());
        let answer = admin.ask(&format!("{document}{fragment}")).await;
        let rest = admin.ask(rest).await;
        assert_eq!(answer.json, rest.json, "{document}");
        assert!(answer.json["errors"].is_null(), "{answer:?}");
    }
    // Under two names they are two.
    let named =
        "{ one: me { id email profile { bio theme } } two: me { id } users { nodes { id } } }";
    let named = admin.ask(named).await;
    assert_eq!(named.at("one"), answer.at("me"));
    assert_eq!(named.at("two/id"), answer.at("me/id"));
    // Names stand in the order in which they were asked for (GraphQL, section 7.2.2).
    let text = admin
        .ask("{ me { username id profile { theme bio } email } }")
        .await
        .text;
    let places = ["username", "id", "profile", "theme", "bio", "email"]
        .map(|name| text.find(&format!("\"{name}\":")));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_for_each_of_them_once() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let moderator = app.user_with_role("mod", "moderator").await;
    let of = "{ users(orderBy: { field: USERNAME, direction: ASC }) { nodes { … } } }";
    let selected = "id email roles { name } profile { bio }";
    let (mut quick, mut slow) = both(&moderator, of, selected).await;
    let errors = |answer: &mut Value| {
        let mut errors = answer["errors"].as_array().cloned().unwrap_or_default();
        errors.sort_by_key(|error| error["path"].to_string());
        errors
    };
    let (quick_errors, slow_errors) = (errors(&mut quick), errors(&mut slow));
    assert_eq!(quick_errors.len(), 1, "{quick}");
    assert_eq!(
        quick_errors[0]["path"],
        json!(["users", "nodes", 0, "roles"])
    );
    assert_eq!(quick_errors, slow_errors);
    assert_eq!(quick["data"], slow["data"]);
    assert_eq!(quick["data"]["users"]["nodes"][0]["roles"], Value::Null);
    assert_eq!(
        quick["data"]["users"]["nodes"][1]["roles"][0]["name"],
        "moderator"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_below_edges_stands_at_its_own_place() {
    let app = TestApp::new().await;
    for name in ["ada", "bob"] {
        app.user(name).await;
    }
    let moderator = app.user_with_role("mod", "moderator").await;
    let order = "orderBy: { field: USERNAME, direction: ASC }";
    for more in ["", "birthDate"] {
        let document =
            format!("{{ users({order}) {{ edges {{ node {{ id {more} roles {{ name }} }} }} }} }}");
        let answer = moderator.ask(&document).await;
        let errors = answer.json["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut paths: Vec<_> = errors.iter().map(|error| error["path"].clone()).collect();
        paths.sort_by_key(Value::to_string);
        let at = |edge: usize| json!(["users", "edges", edge, "node", "roles"]);
        assert_eq!(paths, [at(0), at(1)], "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_below_them_is_told_once() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.ask("mutation { updateProfile(input: { coachingGoals: { run: \"far\" } }) { errors { code } } }")
        .await
        .data("updateProfile");
    app.db
        .sql("UPDATE profiles SET coaching_goals = sha256(coaching_goals) || coaching_goals WHERE coaching_goals IS NOT NULL")
        .await;
    let answer = ada
        .ask("{ me { id email profile { bio coachingGoals } } }")
        .await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"], "{answer:?}");
    assert_eq!(answer.at("me/profile"), &Value::Null);
    assert_eq!(answer.at("me/email"), "ada@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_came_before_is_answered_as_the_first_time() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let size = "query($n: Int, $no: Boolean = false) { me { id username @skip(if: $no) sessions(first: $n) { nodes { id } } } }";
    let single = json!({ "n": 1 });
    let cases = [
        (size, single.clone()),
        (size, json!({ "n": 1, "no": true })),
        (size, json!({ "n": "one" })),
        (size, json!({ "n": 1000 })),
        (size, Value::Null),
        ("query A { me { id } } query B { me { no } }", Value::Null),
        ("{ me { no } }", Value::Null),
        (
            "query($n: Int!) { me { sessions(first: $n) { nodes { id } } } }",
            Value::Null,
        ),
    ];
    let mut answers = Vec::new();
    for _ in 0..3 {
        let mut round = Vec::new();
        for (document, variables) in &cases {
            let answer = ada.gql(document, variables.clone()).await;
            round.push((answer.status, answer.text));
        }
        answers.push(round);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    // Another caller gets nothing of it.
    let anonymous = app.gql(size, single).await;
    assert_eq!(anonymous.data("me"), &Value::Null);
}
