//! A broken database never shows its text.

use serde_json::Value;

use crate::access::FIELDS;
use crate::harness::TestApp;

/// Words of the database, of its driver, and of the machine.
const WORDS: [&str; 14] = [
    "relation",
    "column \\\"",
    "does not exist",
    "SELECT",
    "INSERT",
    "UPDATE ",
    "diesel",
    "postgres",
    "_broken",
    "constraint",
    "src/",
    ".rs",
    "panicked",
    "127.0.0.1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_table_is_an_internal_error_with_an_id_and_nothing_else() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let tables = app
        .db
        .text("SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'")
        .await;
    let mut internal = 0;
    for table in tables.split(' ') {
        app.db
            .sql(&format!("ALTER TABLE {table} RENAME TO {table}_broken"))
            .await;
        for (field, document, _) in FIELDS
            .iter()
            .filter(|(field, ..)| *field != "Mutation.logout")
        {
            let document = document
                .replace("ID\"", &format!("{}\"", admin.id))
                .replace("ROLE\"", "x\"");
            for token in [None, Some(admin.access_token.as_str())] {
                let answer = app.gql_as(token, &document, Value::Null).await;
                for word in WORDS {
                    assert!(
                        !answer.text.contains(word),
                        "{table}: {field} says {word}: {}",
                        answer.text
                    );
                }
                let errors = answer.json["errors"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                for error in errors
                    .iter()
                    .filter(|error| error["extensions"]["code"] == "INTERNAL_SERVER_ERROR")
                {
                    internal += 1;
                    assert_eq!(error["message"], "Internal server error.");
                    let id = error["extensions"]["requestId"].as_str();
                    assert!(
                        id.is_none() || id == answer.header("x-request-id"),
                        "{}",
                        answer.text
                    );
                }
            }
        }
        app.db
            .sql(&format!("ALTER TABLE {table}_broken RENAME TO {table}"))
            .await;
    }
    assert!(internal > 20, "the tables were broken: {internal}");
    assert!(
        admin.ask("{ me { id } }").await.codes().is_empty(),
        "and it serves again"
    );
}
