//! The server as a subgraph: accounts as entities, in the rights of the caller, and nothing of it where it
//! is off.

use async_graphql::parser::parse_schema;
use cardea::live::Times;
use serde_json::{Value, json};

use crate::harness::node::Scripts;
use crate::harness::socket::Listening;
use crate::harness::{Client, Program, TestApp};

const ENTITIES: &str = "query($of: [_Any!]!) { _entities(representations: $of) { __typename ... on User { id uuid fullName } } }";

async fn federated() -> TestApp {
    TestApp::with(&["--federation=true"]).await
}

fn by_uuid(uuid: &str) -> Value {
    json!({ "__typename": "User", "uuid": uuid })
}

async fn uuid_of(app: &TestApp, name: &str) -> String {
    let query = format!("SELECT auth_token::text FROM users WHERE username = '{name}'");
    app.db.text(&query).await
}

async fn entities(client: &Client<'_>, of: Value) -> Vec<Value> {
    let answer = client.gql(ENTITIES, json!({ "of": of })).await;
    assert!(answer.codes().is_empty(), "{answer:?}");
    let entities = answer.data("_entities").as_array().expect("a list");
    entities.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_found_by_either_key_and_seen_by_whom_user_shows_them() {
    let app = federated().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let admin = app.admin().await;
    let (ada_uuid, bob_uuid) = (uuid_of(&app, "ada").await, uuid_of(&app, "bob").await);
    let id = async |client: &Client<'_>| client.ask("{ me { id } }").await.data("me/id").clone();
    let (ada_id, bob_id) = (id(&ada).await, id(&bob).await);
    let of = json!([
        by_uuid(&bob_uuid),
        { "__typename": "User", "id": ada_id },
        by_uuid("00000000-0000-0000-0000-000000000000"),
        { "__typename": "User", "id": "bm9ib2R5" },
        by_uuid("no UUID"),
        by_uuid(&ada_uuid),
        { "__typename": "User", "id": bob_id, "more": { "of": ["other services"] } },
    ]);
    let entity = |name: &str, id: &Value, uuid: &str| json!({ "__typename": "User", "id": id, "uuid": uuid, "fullName": format!("{name} Example") });
    let (ada_entity, bob_entity) = (
        entity("ada", &ada_id, &ada_uuid),
        entity("bob", &bob_id, &bob_uuid),
    );
    let null = Value::Null;
    assert_eq!(
        entities(&admin, of.clone()).await,
        [
            &bob_entity,
            &ada_entity,
            &null,
            &null,
            &null,
            &ada_entity,
            &bob_entity
        ]
        .map(Clone::clone)
    );
    assert_eq!(
        entities(&ada, of.clone()).await,
        [&null, &ada_entity, &null, &null, &null, &ada_entity, &null].map(Clone::clone)
    );
    let anonymous = app.gql(ENTITIES, json!({ "of": of })).await;
    assert_eq!(anonymous.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(anonymous.json["data"], Value::Null);

    // What the administrator read of others stands in the audit trail.
    let read = "SELECT count(DISTINCT subject) || ' ' || min(details ->> 'fields') \
        FROM audit_events, unnest(coalesce(subjects, ARRAY[subject_id])) AS subject WHERE action = 'personal_data_read'";
    assert_eq!(app.db.text(read).await, "2 [\"fullName\"]");
    // A field that needs more is guarded as everywhere.
    let moderator = app.user_with_role("mod", "moderator").await;
    let roles = "query($of: [_Any!]!) { _entities(representations: $of) { ... on User { email roles { name } } } }";
    let answer = moderator
        .gql(roles, json!({ "of": [by_uuid(&ada_uuid)] }))
        .await;
    let email = answer.at("_entities/0/email");
    assert_eq!(
        (email, answer.at("_entities/0/roles")),
        (&json!("ada@example.org"), &null),
        "{answer:?}"
    );
    assert_eq!(answer.codes(), ["FORBIDDEN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_entities_cost_as_many_statements_as_one() {
    let app = federated().await;
    let ada = app.user("ada").await;
    app.grant(&ada, "moderator").await;
    app.db
        .sql("INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at) \
              SELECT gen_random_uuid(), gen_random_uuid(), n || '@example.org', 'Name', now(), now() FROM generate_series(1, 50) AS n")
        .await;
    let uuids = app
        .db
        .text("SELECT string_agg(auth_token::text, ' ') FROM users WHERE username IS NULL")
        .await;
    let of: Vec<_> = uuids.split(' ').map(by_uuid).collect();
    let bare =
        "query($of: [_Any!]!) { _entities(representations: $of) { ... on User { id status } } }";
    // The first request of a session looks the caller up.
    ada.ask("{ me { id } }").await;
    let (one, _) = app
        .statements(ada.gql(bare, json!({ "of": of[..1] })))
        .await;
    let (fifty, answer) = app.statements(ada.gql(bare, json!({ "of": of }))).await;
    assert_eq!(answer.data("_entities").as_array().map(Vec::len), Some(50));
    assert_eq!((one, fifty), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_representations_are_refused_with_a_code_and_read_nothing() {
    let app = federated().await;
    let ada = app.user("ada").await;
    ada.ask("{ me { id } }").await;
    let uuid = uuid_of(&app, "ada").await;
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for one in [
        json!("User"),
        json!(7),
        json!([by_uuid(&uuid)]),
        json!({}),
        json!({ "__typename": "User" }),
        json!({ "__typename": "User", "id": 7 }),
        json!({ "__typename": "User", "uuid": { "$gt": "" } }),
        json!({ "__typename": "User", "uuid": deep }),
        json!({ "__typename": "Session", "id": "x" }),
        json!({ "__typename": ["User"], "uuid": uuid }),
        json!({ "uuid": uuid }),
    ] {
        let of = json!({ "of": [by_uuid(&uuid), one] });
        let (statements, answer) = app.statements(ada.gql(ENTITIES, of)).await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{one}: {answer:?}");
        assert_eq!(statements, 0, "{one}");
    }
    let many = json!({ "of": vec![by_uuid(&uuid); 101] });
    assert_eq!(ada.gql(ENTITIES, many).await.codes(), ["BAD_USER_INPUT"]);
    for of in [Value::Null, json!([null]), json!({ "of": 7 })] {
        let answer = ada.gql(ENTITIES, json!({ "of": of })).await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{of}: {answer:?}");
    }
    let hundred = json!({ "of": vec![by_uuid(&uuid); 100] });
    assert!(ada.gql(ENTITIES, hundred.clone()).await.codes().is_empty());
    // Its children count as often as there may be entities.
    let costly = "query($of: [_Any!]!) { _entities(representations: $of) { ... on User { sessions(first: 100) { nodes { id } } } } }";
    let answer = ada.gql(costly, hundred).await;
    assert_eq!(answer.codes(), ["QUERY_TOO_COMPLEX"], "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_off_there_is_nothing_of_it() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for query in [
        "{ _service { sdl } }",
        "{ _entities(representations: []) { __typename } }",
    ] {
        let answer = ada.ask(query).await;
        assert_eq!(answer.codes(), ["GRAPHQL_VALIDATION_FAILED"], "{answer:?}");
    }
    let types = "{ __schema { types { name fields { name } } } }";
    let plain = ada.ask(types).await.json.to_string();
    for name in ["_service", "_entities", "_Any", "_Entity", "_Service"] {
        assert!(!plain.contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subgraph_tells_its_schema_which_the_program_prints_too() {
    let app = TestApp::with(&["--federation=true", "--introspection=false"]).await;
    // A gateway has no account.
    let answer = app.gql("{ _service { sdl } }", Value::Null).await;
    let told = answer.data("_service/sdl").as_str().expect("a text");
    let often = "{ a: _service { sdl } b: _service { sdl } c: _service { sdl } }";
    let often = app.gql(often, Value::Null).await;
    assert_eq!(
        often.codes(),
        ["QUERY_TOO_COMPLEX"],
        "a long text for anybody"
    );
    let printed = Program::new()
        .run(&["schema", "print", "--subgraph"])
        .success();
    assert_eq!(told, printed);
    let plain = Program::new().run(&["schema", "print"]).success();
    assert_eq!(plain, include_str!("../../schema.graphql"));
    parse_schema(told).expect("a schema");
    assert!(
        told.contains(
            "\ntype User implements Node @key(fields: \"id\") @key(fields: \"uuid\") {\n"
        )
    );
    assert!(told.contains("\ntype PageInfo @shareable {\n"));
    assert!(
        !told.contains("_entities"),
        "gateways know that by themselves"
    );
    // Everything else goes on.
    let ada = app.user("ada").await;
    assert!(ada.ask("{ me { id } }").await.codes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_joins_accounts_with_what_another_service_knows_of_them() {
    let Some(scripts) = tokio::task::block_in_place(|| Scripts::installed("federation", &[]))
    else {
        return;
    };
    let app = &federated().await;
    let ada = app.user("ada").await;
    app.user("bob").await;
    let admin = app.admin().await;
    let (ada_uuid, bob_uuid) = (uuid_of(app, "ada").await, uuid_of(app, "bob").await);
    let serving = Listening::of(app, Times::default()).await;
    let url = format!("http://127.0.0.1:{}", serving.port);
    let variables = [
        ("SERVER", &*url),
        ("ADMIN", &admin.access_token),
        ("OWN", &ada.access_token),
        ("ADA", &ada_uuid),
        ("BOB", &bob_uuid),
        ("GONE", "00000000-0000-0000-0000-000000000000"),
    ];
    let printed = tokio::task::block_in_place(|| scripts.run("gateway.mjs", &variables));
    serving.stop().await;
    assert!(printed.ends_with("joined\n"), "{printed}");
}
