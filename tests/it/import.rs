//! The command `import`: what fails is told and takes nothing along, and nobody is taken over.

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::importing::{OLD, PBKDF2, lines, me};
use crate::harness::{Program, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_are_told_by_line_and_reason_and_nothing_of_them_is_written() {
    let app = TestApp::new().await;
    app.user("taken").await;
    let uuid = app.column("taken@example.org", "auth_token").await;
    let good = |name: &str| json!({ "email": format!("{name}@example.org"), "fullName": "Good Row", "username": name });
    let file = lines(&[
        good("first"),
        json!({ "email": "no address", "fullName": "x", "birthDate": "soon", "uuid": "1" }),
        json!({ "email": "no address", "fullName": "x" }),
        json!(["no object"]),
        json!({ "email": "a@example.org", "fullName": "Taken Name", "username": "TAKEN" }),
        json!({ "email": "b@example.org", "fullName": "Taken Uuid", "uuid": uuid }),
        json!({ "email": "FIRST@example.org", "fullName": "Same Address" }),
        json!({ "email": "c@example.org", "fullName": "Old Hash", "passwordHash": "$2b$31$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2" }),
        json!({ "email": "d@example.org", "fullName": "From Afar", "createdAt": "2999-01-01T00:00:00Z" }),
        json!({ "email": "e@example.org", "fullName": "No Role", "roleNames": ["king"] }),
        json!({ "email": "taken@example.org", "fullName": "Other Uuid", "uuid": "5e0f1c2d-7a8b-4c9d-8e0f-102132435401" }),
        good("last"),
    ]);
    let outcome = app.import(&["--from", "cardea", "--format", "jsonl"], &file);
    assert_eq!(outcome.code, Some(1));
    let said: Vec<_> = outcome.stderr.lines().collect();
    assert_eq!(
        said,
        [
            "line 2: birthDate: This is no date such as 2026-11-30.",
            "line 2: uuid: This is no UUID.",
            "line 4: This is no JSON object in UTF-8.",
            "line 3: email: Not a mail address.",
            "line 3: fullName: Between 2 and 255 characters.",
            "line 7: email: An earlier row has it already.",
            "line 8: passwordHash: Verifying this hash would take too much.",
            "line 9: createdAt: Between 1970 and now.",
            "line 5: username: This user name is taken.",
            "line 6: uuid: Another account is known by this UUID.",
            "line 10: roleNames: There is no such role.",
            "line 11: uuid: The account with this address is known by another UUID, which never changes.",
            "error: 10 rows were not taken in",
        ]
    );
    let emails = "SELECT string_agg(email, ' ' ORDER BY email) FROM users";
    assert_eq!(
        app.db.text(emails).await,
        "first@example.org last@example.org taken@example.org"
    );
    assert_eq!(app.count("profiles").await, "3");
    assert_eq!(app.count("data_keys").await, "3");
    let entry =
        "SELECT string_agg(details::text, ' ') FROM audit_events WHERE action = 'users_imported'";
    assert_eq!(
        app.db.text(entry).await,
        "{\"dryRun\": false, \"failed\": 10, \"created\": 2, \"updated\": 0}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_the_database_refuses_takes_no_other_along() {
    let app = TestApp::new().await;
    let rule = "ALTER TABLE users ADD CONSTRAINT none_of_these CHECK (full_name <> 'Refused')";
    app.db.sql(rule).await;
    let row = |name: &str, full: &str| json!({ "email": format!("{name}@example.org"), "fullName": full });
    let file = lines(&[row("a", "Good"), row("b", "Refused"), row("c", "Good")]);
    let outcome = app.import(&["--from", "cardea", "--format", "jsonl"], &file);
    assert!(
        outcome
            .stdout
            .contains("2 created, 0 updated, 0 unchanged, 1 failed."),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stderr
            .contains("line 2: The database refuses this row."),
        "{outcome:?}"
    );
    assert_eq!(app.count("users").await, "2");
    let created = "SELECT count(*)::text FROM audit_events WHERE action = 'account_created'";
    assert_eq!(app.db.text(created).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let app = TestApp::new().await;
    app.user("taken").await;
    let before = app.kept().await;
    let file = format!(
        "auth_token,email,username,password,is_verified\n\
         5e0f1c2d-7a8b-4c9d-8e0f-102132435401,ada@example.org,ada,{OLD},1\n\
         5e0f1c2d-7a8b-4c9d-8e0f-102132435402,bob@example.org,taken,{OLD},1\n"
    );
    let arguments = ["--from", "restaurant", "--format", "csv", "--dry-run"];
    let outcome = app.import(&arguments, &file);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome
            .stdout
            .contains("1 created, 0 updated, 0 unchanged, 1 failed."),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.contains("dry run: nothing was changed"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stderr
            .starts_with("line 3: username: This user name is taken.\n"),
        "{outcome:?}"
    );
    assert_eq!(app.kept().await, before);
    assert!(!app.db.dump().await.contains("ada@example.org"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_never_takes_over_an_account_that_is_there() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.register("bob").await;
    let before = app.kept().await;
    let row = |name: &str| {
        json!({ "email": format!("{name}@example.org"), "fullName": "Somebody Else", "passwordHash": PBKDF2,
            "emailVerified": true, "isActive": false, "createdAt": "2001-01-01T00:00:00Z" })
    };
    let said = app
        .import(
            &["--from", "cardea", "--format", "jsonl"],
            &lines(&[row("ada"), row("bob")]),
        )
        .success();
    assert!(said.contains("0 created, 0 updated, 2 unchanged"), "{said}");
    assert_eq!(app.kept().await, before);
    assert_eq!(app.login("ada", OLD).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(
        app.login("bob@example.org", OLD).await.code(),
        "INVALID_CREDENTIALS"
    );
    app.sign_in("ada").await;
    // What is lacking is added, and what is there stays.
    let more = json!({ "email": "ada@example.org", "fullName": "Somebody Else", "firstName": "Ada", "username": "other", "birthDate": "1990-12-10" });
    let said = app
        .import(&["--from", "cardea", "--format", "jsonl"], &lines(&[more]))
        .success();
    assert!(said.contains("1 updated"), "{said}");
    assert_eq!(
        me(&ada, "fullName firstName username birthDate").await,
        json!({ "fullName": "ada Example", "firstName": "Ada", "username": "ada", "birthDate": "1990-12-10" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_come_in_batches_and_the_report_goes_to_a_file() {
    let app = TestApp::new().await;
    let mut file = String::from("email,fullName,username\n");
    for n in 0..1201 {
        let _ = writeln!(file, "u{n}@example.org,User {n},u{n}");
    }
    let _ = writeln!(file, "bad,Bad Row,bad");
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.txt");
    let report = report.to_str().expect("a path");
    let outcome = app.import(
        &["--from", "cardea", "--format", "csv", "--report", report],
        &file,
    );
    assert_eq!(outcome.error(), "1 row was not taken in");
    let written = std::fs::read_to_string(report).expect("it was written");
    assert_eq!(written, "line 1203: email: Not a mail address.\n");
    assert_eq!(app.count("users").await, "1201");
    let batches = "SELECT string_agg(details->>'created', ' ' ORDER BY id) FROM audit_events WHERE action = 'users_imported'";
    assert_eq!(app.db.text(batches).await, "500 500 201");
    let whole = "SELECT count(*)::text FROM users JOIN profiles ON profiles.user_id = users.id JOIN data_keys ON data_keys.user_id = users.id \
        JOIN user_roles ON user_roles.user_id = users.id";
    assert_eq!(app.db.text(whole).await, "1201");
}

#[test]
fn what_cannot_be_read_is_one_clear_line() {
    let program = Program::new();
    let from = ["import", "--from", "cardea"];
    let run = |more: &[&str]| program.run(&[&from[..], more].concat()).error();
    assert_eq!(run(&["-"]), "say with --format whether it is csv or jsonl");
    assert!(run(&["/nowhere.csv"]).starts_with("/nowhere.csv cannot be read: "));
}
