//! What an import holds while others work: nobody waits for each other for good, and what only went wrong this time
//! is not kept as if the rows were at fault.

use std::time::Duration;

use cardea::db::single_connection;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::future::join;
use serde_json::{Value, json};

use crate::harness::importing::lines;
use crate::harness::{Answer, Client, Program, TestApp};

/// Somebody else at the database, in a transaction.
async fn other(app: &TestApp) -> AsyncPgConnection {
    let mut conn = single_connection(&app.db.url())
        .await
        .expect("a connection");
    conn.batch_execute("BEGIN").await.expect("begun");
    conn
}

/// Whoever opens an account of the name `Gate` waits until nobody holds this lock, and is refused if `refused`.
async fn gate(app: &TestApp, refused: bool) {
    let then = if refused {
        "RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation';"
    } else {
        ""
    };
    app.db
        .sql(&format!(
            "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.full_name = 'Gate' THEN PERFORM pg_advisory_xact_lock(42); {then} END IF; RETURN NEW; END $$; \
             CREATE TRIGGER gate BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION gate()"
        ))
        .await;
}

const HOLD_GATE: &str = "SELECT pg_advisory_xact_lock(42)";
const TURN: &str = "SELECT id FROM roles WHERE name = 'admin' FOR NO KEY UPDATE";

fn hold(name: &str) -> String {
    format!("SELECT id FROM users WHERE email = '{name}@example.org' FOR NO KEY UPDATE")
}

fn row(name: &str, full_name: &str, username: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "fullName": full_name, "username": username })
}

async fn import(client: &Client<'_>, rows: &[Value], key: Option<&str>) -> Answer {
    let document = "mutation($input: ImportUsersInput!) { importUsers(input: $input) { created updated \
        errors { code } failures { row errors { code message } } } }";
    let input = json!({ "rows": rows, "idempotencyKey": key });
    client.gql(document, json!({ "input": input })).await
}

/// Created, updated, and how many rows failed.
fn counts(answer: &Answer) -> Value {
    let failed = answer.data("importUsers/failures").as_array();
    let failed = failed.expect("a list").len();
    json!([
        answer.at("importUsers/created"),
        answer.at("importUsers/updated"),
        failed
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_went_wrong_this_time_is_not_kept_as_the_fault_of_a_row() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let rows = [row("ada", "Ada", "ada"), row("bob", "Unlucky", "bob")];
    let unlucky = [
        ("40P01", "deadlock detected"),
        ("40001", "could not serialize access"),
        ("57014", "canceling statement due to statement timeout"),
        ("55P03", "canceling statement due to lock timeout"),
        // In another language, and of another kind.
        (
            "55P03",
            "storniere Anfrage wegen Zeitüberschreitung einer Sperre",
        ),
        ("53100", "could not extend file: No space left on device"),
    ];
    for (state, message) in unlucky {
        app.db
            .sql(&format!(
                "CREATE OR REPLACE FUNCTION unlucky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF NEW.full_name = 'Unlucky' THEN RAISE EXCEPTION '{message}' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$; \
                 CREATE OR REPLACE TRIGGER unlucky BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION unlucky()"
            ))
            .await;
        let answer = import(&admin, &rows, Some("monday")).await;
        let code = answer.codes().join(" ");
        let again =
            ["40P01", "40001", "57014", "53100"].contains(&state) || message.contains("canceling");
        let expected = if again {
            "SERVICE_UNAVAILABLE"
        } else {
            "INTERNAL_SERVER_ERROR"
        };
        assert_eq!(code, expected, "{message}: {}", answer.text);
        let file = lines(&rows);
        let outcome = app.import(&["--from", "cardea", "--format", "jsonl"], &file);
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome.stderr.contains("stopped behind line 0;"),
            "{outcome:?}"
        );
        assert_eq!(app.count("import_requests").await, "0", "{message}");
        assert_eq!(app.count("users").await, "1", "{message}");
    }
    app.db.sql("DROP TRIGGER unlucky ON users").await;
    let answer = import(&admin, &rows, Some("monday")).await;
    assert_eq!(counts(&answer), json!([2, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_by_row_it_waits_for_nobody_who_waits_for_its_turn() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for name in ["ada", "bob"] {
        app.user(name).await;
    }
    gate(&app, true).await;
    let mut gatekeeper = other(&app).await;
    gatekeeper.batch_execute(HOLD_GATE).await.expect("held");
    let with = |name: &str| {
        let mut row = row(name, "Some Body", name);
        row["firstName"] = json!("Some");
        row
    };
    // Refused together, because of the row in the middle, and then one by one.
    let rows = [with("ada"), row("new", "Gate", "new"), with("bob")];
    let rival = async {
        app.db.until_waiting(1).await;
        // As an erasure: the account, and then the turn.
        let mut rival = other(&app).await;
        let erase = async {
            rival.batch_execute(&hold("bob")).await?;
            // Time enough to come so far as to wait for bob, with the turn in hand.
            tokio::time::sleep(Duration::from_millis(300)).await;
            rival.batch_execute(TURN).await?;
            rival.batch_execute("ROLLBACK").await
        };
        let release = async {
            app.db.until_waiting(2).await;
            gatekeeper.batch_execute("ROLLBACK").await
        };
        let (gone, opened) = join(erase, release).await;
        opened.expect("released");
        gone
    };
    let (answer, gone) = join(import(&admin, &rows, None), rival).await;
    assert_eq!(gone, Ok(()));
    assert_eq!(counts(&answer), json!([0, 2, 1]), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_that_want_each_others_names_take_turns() {
    let app = TestApp::new().await;
    gate(&app, false).await;
    let mut gatekeeper = other(&app).await;
    gatekeeper.batch_execute(HOLD_GATE).await.expect("held");
    let program = Program::on(&app.db.url());
    let import = |rows: [Value; 2]| {
        let arguments = ["import", "--from", "cardea", "--format", "jsonl", "-"];
        program.spawn(&arguments, &lines(&rows))
    };
    let first = import([row("a", "First", "one"), row("b", "Gate", "two")]);
    app.db.until_waiting(1).await;
    let second = import([row("c", "Second", "two"), row("d", "Second", "one")]);
    app.db.until_waiting(2).await;
    gatekeeper.batch_execute("ROLLBACK").await.expect("opened");
    let (first, second) = (first.wait(), second.wait());
    let said = "2 created, 0 updated, 0 unchanged, 0 failed.";
    assert!(first.stdout.contains(said), "{first:?}");
    let said = "0 created, 0 updated, 0 unchanged, 2 failed.";
    assert!(second.stdout.contains(said), "{second:?}");
    assert!(
        second
            .stderr
            .contains("line 1: username: This user name is taken."),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_while_they_import_waits_for_nobody_who_waits_for_them() {
    let app = TestApp::new().await;
    app.admin().await;
    let second = app.user_with_role("second", "admin").await;
    // As an erasure: the account, then the turn, then the row.
    let mut rival = other(&app).await;
    rival.batch_execute(&hold("second")).await.expect("held");
    rival.batch_execute(TURN).await.expect("in turn");
    let erase = async {
        app.db.until_waiting(1).await;
        let delete = "DELETE FROM users WHERE email = 'second@example.org'; COMMIT";
        rival.batch_execute(delete).await
    };
    let rows = [row("ada", "Ada", "ada")];
    let (answer, gone) = join(import(&second, &rows, Some("monday")), erase).await;
    assert_eq!(gone, Ok(()));
    assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{}", answer.text);
    assert_eq!(app.count("users").await, "1");
    assert_eq!(app.count("import_requests").await, "0");
}
