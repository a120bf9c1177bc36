//! Documents that the server reads when it starts and runs by their ids.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use cardea::http;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::{PASSWORD, config};
use crate::harness::client::Answer;
use crate::harness::socket::Listening;
use crate::harness::{Program, TestApp};

/// Files of trusted documents.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &Value)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content.to_string()).expect("written");
        }
        Self(folder)
    }

    fn flag(&self, file: &str) -> String {
        format!("--trusted-documents={}", self.0.path().join(file).display())
    }
}

/// As a code generator writes it.
fn generated() -> Value {
    json!({
        "me": "query Me { me { __typename email } }",
        "page": "query Page($first: Int) { users(first: $first) { nodes { email } } }",
        "login": "mutation Login($input: LoginInput!) { login(input: $input) { errors { __typename code path } result { __typename ... on SignedIn { accessToken } } } }",
        "profile": "mutation Profile($input: UpdateProfileInput!, $twice: Boolean = false) { updateProfile(input: $input) { errors { code } user { fullName @include(if: $twice) bio: profile { bio } } } }",
        "sessions": "subscription Ended { sessionRevoked { sessionId } }",
        "two": "query One { viewer { isAuthenticated } } query Two { authOptions { __typename } }",
    })
}

async fn run(router: &Router, token: Option<&str>, body: Value) -> Answer {
    let mut request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/graphql-response+json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_string()));
    let sent = router.clone().oneshot(request.expect("a request"));
    Answer::read(sent.await.expect("the router always answers")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_run_by_its_id_in_every_way_in_which_clients_name_it() {
    let files = Files::new(&[("documents.json", &generated())]);
    let app = TestApp::with(&[&files.flag("documents.json")]).await;
    let ada = app.user("ada").await;
    let me = json!({ "data": { "me": { "__typename": "User", "email": "ada@example.org" } } });
    let persisted = json!({ "persistedQuery": { "version": 1, "sha256Hash": "me" } });
    for body in [
        json!({ "documentId": "me" }),
        json!({ "documentId": "me", "operationName": "Me", "variables": {}, "extensions": {} }),
        json!({ "extensions": persisted }),
        // An id that is known stands for its document, whatever comes with it.
        json!({ "documentId": "me", "query": "{ viewer { isAuthenticated } }" }),
    ] {
        let answer = run(&app.router, Some(&ada.access_token), body).await;
        assert_eq!(answer.json, me);
    }
    let asked = [
        "documentId=me".to_owned(),
        format!("extensions={}", urlencoding(&persisted.to_string())),
    ];
    for asked in asked {
        let request = Request::get(format!("/graphql?{asked}"))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", ada.access_token),
            )
            .body(Body::empty());
        assert_eq!(app.send(request.expect("a request")).await.json, me);
    }
    let input = json!({ "identifier": "ada", "password": PASSWORD, "tokenDelivery": "BODY" });
    let login = json!({ "documentId": "login", "variables": { "input": input } });
    let signed_in = run(&app.router, None, login).await;
    assert_eq!(signed_in.data("login/result/__typename"), "SignedIn");
    let by_get = Request::get("/graphql?documentId=login").body(Body::empty());
    let by_get = app.send(by_get.expect("a request")).await;
    assert_eq!(by_get.status, StatusCode::METHOD_NOT_ALLOWED);
    // One of several operations.
    let two = json!({ "documentId": "two", "operationName": "Two" });
    let answer = run(&app.router, None, two).await;
    assert_eq!(answer.data("authOptions/__typename"), "AuthOptions");
    let answer = run(&app.router, None, json!({ "documentId": "two" })).await;
    assert_eq!(answer.codes(), ["OPERATION_RESOLUTION_FAILURE"]);

    let listening = Listening::of(&app, cardea::live::Times::default()).await;
    let mut socket = listening.socket(&ada.access_token).await;
    let message =
        json!({ "type": "subscribe", "id": "1", "payload": { "documentId": "sessions" } });
    socket.say(&message).await;
    socket.in_order().await;
    listening.stop().await;
}

fn urlencoding(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_not_known_is_told_as_clients_look_for_it() {
    let app = TestApp::new().await;
    for body in [
        json!({ "documentId": "nothing" }),
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "ab" } } }),
    ] {
        let answer = run(&app.router, None, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            answer.json,
            json!({ "errors": [{ "message": "PersistedQueryNotFound", "extensions": { "code": "PERSISTED_QUERY_NOT_FOUND" } }] })
        );
    }
    // Apollo's second try has the text as well.
    let body = json!({
        "query": "{ viewer { isAuthenticated } }",
        "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "ab" } },
    });
    let answer = run(&app.router, None, body).await;
    assert_eq!(answer.data("viewer/isAuthenticated"), &json!(false));
    let nothing = run(&app.router, None, json!({ "variables": {} })).await;
    assert_eq!(nothing.codes(), ["BAD_USER_INPUT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_documents_are_trusted_only_administrators_send_texts() {
    let files = Files::new(&[("documents.json", &generated())]);
    let flags = [
        &*files.flag("documents.json"),
        "--trusted-documents-only=true",
    ];
    let app = TestApp::new().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let (second, router) = app.second(&flags).await;
    let text = json!({ "query": "query Me { me { email } }" });
    for token in [None, Some(&*ada.access_token)] {
        let refused = run(&router, token, text.clone()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.codes(), ["PERSISTED_QUERY_ONLY"]);
        assert!(refused.json.get("data").is_none());
    }
    let introspection = json!({ "query": "{ __schema { types { name } } }" });
    let refused = run(&router, Some(&ada.access_token), introspection).await;
    assert_eq!(refused.codes(), ["PERSISTED_QUERY_ONLY"]);
    let trusted = run(
        &router,
        Some(&ada.access_token),
        json!({ "documentId": "me" }),
    )
    .await;
    assert_eq!(trusted.data("me/email"), "ada@example.org");
    let theirs = run(&router, Some(&admin.access_token), text).await;
    assert_eq!(theirs.data("me/email"), "admin@example.org");
    // What is trusted may do no more than it did.
    let page = run(
        &router,
        Some(&ada.access_token),
        json!({ "documentId": "page" }),
    )
    .await;
    assert_eq!(page.codes(), ["FORBIDDEN"]);
    // The server's own pages go on working.
    let input = json!({ "email": "ada@example.org" });
    let own =
        json!({ "documentId": "cardea:requestPasswordReset", "variables": { "input": input } });
    let answer = run(&router, None, own).await;
    assert_eq!(answer.data("requestPasswordReset/errors"), &json!([]));

    let listening = Listening::at(second.clone(), cardea::live::Times::default(), 0).await;
    let mut socket = listening.socket(&ada.access_token).await;
    let payload = json!({ "query": "subscription { sessionRevoked { sessionId } }" });
    socket
        .say(&json!({ "type": "subscribe", "id": "1", "payload": payload }))
        .await;
    let told = socket.message().await;
    assert_eq!(
        told["payload"][0]["extensions"]["code"],
        "PERSISTED_QUERY_ONLY"
    );
    let message =
        json!({ "type": "subscribe", "id": "2", "payload": { "documentId": "sessions" } });
    socket.say(&message).await;
    socket.in_order().await;
    listening.stop().await;
    second.shutdown.cancel();
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_for_a_trusted_document_are_held_to_their_types() {
    let documents = generated();
    let files = Files::new(&[("documents.json", &documents)]);
    let app = TestApp::with(&[&files.flag("documents.json")]).await;
    let ada = app.user("ada").await;
    let before = app.state().await;
    for (variables, place) in [
        (json!({}), "$input"),
        (json!({ "input": null }), "$input"),
        (json!({ "input": "text" }), "$input"),
        (json!({ "input": [] }), "$input"),
        (json!({ "input": { "nickname": "x" } }), "$input.nickname"),
        (json!({ "input": { "fullName": 7 } }), "$input.fullName"),
        (json!({ "input": { "bio": {} } }), "$input.bio"),
        (json!({ "input": { "theme": "PINK" } }), "$input.theme"),
        (json!({ "input": { "theme": 1 } }), "$input.theme"),
        (
            json!({ "input": { "emailNotifications": "yes" } }),
            "$input.emailNotifications",
        ),
        (json!({ "input": { "birthDate": "tomorrow" } }), "Date"),
        (json!({ "input": { "birthDate": [] } }), "Date"),
        (json!({ "input": {}, "twice": "yes" }), "$twice"),
        (json!({ "input": { "bio": "a\u{0}b" } }), ""),
    ] {
        let body = json!({ "documentId": "profile", "variables": variables });
        let refused = run(&app.router, Some(&ada.access_token), body).await;
        assert_eq!(refused.codes(), ["BAD_USER_INPUT"], "{variables}");
        let ran = place == "Date";
        assert_eq!(refused.status == StatusCode::OK, ran, "{variables}");
        assert!(refused.text.contains(place), "{place} in {}", refused.text);
        // The same as where the text is sent.
        let text = json!({ "query": documents["profile"], "variables": variables });
        let answer = run(&app.router, Some(&ada.access_token), text).await;
        let strict = ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"];
        assert!(strict.contains(&answer.codes()[0]), "{}", answer.text);
    }
    assert_eq!(app.state().await, before);
    // What is left out stays as it is, and null clears.
    for (input, bio) in [
        (
            json!({ "fullName": "Ada Byron", "bio": "Countess" }),
            json!("Countess"),
        ),
        (json!({ "fullName": "Ada King" }), json!("Countess")),
        (json!({ "bio": null }), Value::Null),
    ] {
        let body =
            json!({ "documentId": "profile", "variables": { "input": input, "twice": true } });
        let answer = run(&app.router, Some(&ada.access_token), body).await;
        assert_eq!(answer.data("updateProfile/errors"), &json!([]));
        assert_eq!(answer.data("updateProfile/user/bio/bio"), &bio);
    }
    // Large pages cost what they cost.
    let admin = app.admin().await;
    for (first, codes) in [(json!(2), vec![]), (json!("2"), vec!["BAD_USER_INPUT"])] {
        let body = json!({ "documentId": "page", "variables": { "first": first } });
        let answer = run(&app.router, Some(&admin.access_token), body).await;
        assert_eq!(answer.codes(), codes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_manifests_of_apollo_are_read_too() {
    let manifest = json!({
        "format": "apollo-persisted-query-manifest", "version": 1,
        "operations": [{ "id": "abc", "name": "Me", "type": "query", "body": "query Me { me { email } }" }],
    });
    let files = Files::new(&[
        ("a.json", &generated()),
        ("b.json", &manifest),
        ("notes.txt", &json!("no")),
    ]);
    let app = TestApp::with(&[&files.flag("")]).await;
    let ada = app.user("ada").await;
    for id in ["abc", "me"] {
        let answer = run(
            &app.router,
            Some(&ada.access_token),
            json!({ "documentId": id }),
        )
        .await;
        assert_eq!(answer.data("me/email"), "ada@example.org");
    }
}

#[test]
fn what_cannot_be_run_is_named_before_anything_is_served() {
    let wrong = |content: &Value, limits: &[&str]| {
        let files = Files::new(&[("documents.json", content)]);
        let flag = files.flag("documents.json");
        let mut flags = vec![&*flag];
        flags.extend(limits);
        format!("{:#}", http::api(&config(&flags)).err().expect("refused"))
    };
    let told = wrong(
        &json!({
            "one": "query A { me { nickname } }",
            "two": "query B { me { ",
            "three": "query C($first: Int) { me { email } }",
            "four": "mutation D { updateProfile(input: { theme: PINK }) { errors { code } } }",
            "fine": "query E { me { email } }",
            "five": "query F($active: Boolean) { users(filter: { isActve: $active }) { totalCount } }",
            "six": "query G($at: DateTime) { ...P } fragment P on Query { users(filter: { createdAt: { since: $at } }) { totalCount } }",
            "seven": "mutation H($token: String!) { resetPassword(input: { token: $token }) { errors { code } } }",
            "also": "query I($active: Boolean, $at: DateTime) { users(filter: { isActive: $active, createdAt: { from: $at } }) { totalCount } }",
        }),
        &[],
    );
    for part in [
        "7 trusted documents",
        "five: line 1, column 43: Invalid value for argument `filter.isActve`: UserFilter has no such field.",
        "six: line 1, column 69: Invalid value for argument `filter.createdAt.since`: DateTimeRange has no such field.",
        "seven: line 1, column 52: Invalid value for argument `input.newPassword`: expected String!.",
        "one: line 1, column 16",
        "two: ",
        "three: line 1",
        "four: ",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("fine") && !told.contains("also"), "{told}");
    let deep = json!({ "deep": "query A { me { roles { permissions { name } } } }" });
    assert!(wrong(&deep, &["--document-depth=3"]).contains("levels of fields"));
    for (content, part) in [
        (json!([1]), "no JSON object"),
        (json!({ "me": 7 }), "neither an object of texts"),
        (
            json!({ "operations": [{ "id": "x" }] }),
            "neither an object of texts",
        ),
        (
            json!({ "cardea:login": "{ me { email } }" }),
            "stands for two documents",
        ),
    ] {
        let told = wrong(&content, &[]);
        assert!(told.contains(part), "{part} in {told}");
    }
    let nowhere = http::api(&config(&["--trusted-documents=/nowhere/at/all.json"]));
    let told = format!("{:#}", nowhere.err().expect("refused"));
    assert!(told.contains("/nowhere/at/all.json"), "{told}");
    let alone = config(&["--trusted-documents-only=true"]).problems();
    assert!(
        alone
            .iter()
            .any(|problem| problem.contains("CARDEA_TRUSTED_DOCUMENTS"))
    );

    let files = Files::new(&[(
        "documents.json",
        &json!({ "one": "query A { me { nickname } }" }),
    )]);
    let flag = files.flag("documents.json");
    let checked = Program::new().run(&["config", "check", &flag]);
    assert!(checked.stdout.contains("one: line 1"), "{}", checked.stdout);
    assert_eq!(checked.error(), "1 of the settings cannot hold");
}
