//! `importUsers`: who may, what of it, and the same call twice.

use chrono::TimeDelta;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::harness::importing::{OLD, PBKDF2};
use crate::harness::roles::clerk;
use crate::harness::{Answer, Client, TestApp};

const UUID: &str = "5e0f1c2d-7a8b-4c9d-8e0f-102132435401";

impl Client<'_> {
    async fn import(&self, input: Value) -> Answer {
        let document = "mutation($input: ImportUsersInput!) { importUsers(input: $input) { created unchanged updated \
            errors { code path ... on InvalidValueError { rule } } failures { row errors { code path message } } } }";
        self.gql(document, json!({ "input": input })).await
    }
}

fn row(name: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "fullName": format!("{name} Example"), "username": name })
}

fn rows(count: usize) -> Vec<Value> {
    (0..count).map(|n| row(&format!("u{n}"))).collect()
}

/// Created, updated, and the numbers of the rows that failed.
fn counts(answer: &Answer) -> Value {
    assert_eq!(answer.data("importUsers/errors"), &json!([]));
    let failed = answer
        .at("importUsers/failures")
        .as_array()
        .expect("a list");
    let failed: Vec<_> = failed
        .iter()
        .map(|failure| failure["row"].clone())
        .collect();
    json!([
        answer.at("importUsers/created"),
        answer.at("importUsers/updated"),
        failed
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_takes_accounts_in_and_they_sign_in_as_before() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ada = json!({ "email": "Ada@example.org", "fullName": "Ada Lovelace", "username": "ada", "firstName": "Ada", "lastName": "Lovelace",
        "birthDate": "1990-12-10", "createdAt": "2020-01-02T03:04:05Z", "emailVerified": true, "passwordHash": PBKDF2,
        "roleNames": ["Moderator"], "uuid": UUID });
    let input = json!({ "rows": [ada, row("bob"), { "email": "eve@example.org", "fullName": "Eve", "isActive": false }] });
    let answer = admin.import(input.clone()).await;
    assert_eq!(counts(&answer), json!([3, 0, []]));
    assert_eq!(app.run_jobs().await, 0, "nobody is mailed");
    let login = app.login("ada", OLD).await;
    let client = Client::new(&app, login.data("login/result"));
    let me = client.ask("{ me { uuid email createdAt birthDate emailVerified roleAssignments { role { name } } } }").await;
    assert_eq!(
        me.data("me"),
        &json!({ "uuid": UUID, "email": "Ada@example.org", "createdAt": "2020-01-02T03:04:05Z", "birthDate": "1990-12-10", "emailVerified": true,
            "roleAssignments": [{ "role": { "name": "moderator" } }, { "role": { "name": "user" } }] })
    );
    let hash = app
        .db
        .text("SELECT hashed_password FROM users WHERE username = 'ada'")
        .await;
    assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
    let states = "SELECT string_agg(concat_ws(' ', email, status, closed_by, email_verified_at IS NOT NULL), ', ' ORDER BY email) \
        FROM users WHERE email <> 'admin@example.org'";
    assert_eq!(
        app.db.text(states).await,
        "Ada@example.org active t, bob@example.org pending f, eve@example.org deactivated admin f"
    );
    let trail = "SELECT string_agg(concat_ws(' ', action, details, actor_id = subject_id), ', ' ORDER BY id) FROM audit_events \
        WHERE action IN ('account_created', 'role_assigned', 'users_imported') AND actor_id = (SELECT id FROM users WHERE username = 'admin')";
    assert_eq!(
        app.db.text(trail).await,
        "account_created {\"by\": \"import\"} f, account_created {\"by\": \"import\"} f, account_created {\"by\": \"import\"} f, \
         role_assigned {\"role\": \"moderator\"} f, users_imported {\"dryRun\": false, \"failed\": 0, \"created\": 3, \"updated\": 0}"
    );
    // The same once more.
    let before = app.state().await;
    let again = admin.import(input).await;
    assert_eq!(counts(&again), json!([0, 0, []]));
    assert_eq!(again.at("importUsers/unchanged"), 3);
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_say_why_and_the_others_are_taken_in() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let input = json!({ "rows": [
        row("good"),
        { "email": "no address", "fullName": "x", "passwordHash": "x" },
        { "email": "GOOD@example.org", "fullName": "Same Address" },
        { "email": "a@example.org", "fullName": "Taken", "username": "ADMIN", "roleNames": ["king"] },
    ] });
    let answer = admin.import(input).await;
    let path = |row: &str, field: &str| json!(["input", "rows", row, field]);
    assert_eq!(
        answer.data("importUsers"),
        &json!({ "created": 1, "unchanged": 0, "updated": 0, "errors": [], "failures": [
            { "row": 1, "errors": [
                { "code": "INVALID_VALUE", "path": path("1", "email"), "message": "Not a mail address." },
                { "code": "INVALID_VALUE", "path": path("1", "fullName"), "message": "Between 2 and 255 characters." },
                { "code": "INVALID_VALUE", "path": path("1", "passwordHash"), "message": "Not a hash of argon2, bcrypt, scrypt or pbkdf2_sha256 that can be verified here." },
            ] },
            { "row": 2, "errors": [{ "code": "TAKEN", "path": path("2", "email"), "message": "An earlier row has it already." }] },
            { "row": 3, "errors": [
                { "code": "TAKEN", "path": path("3", "username"), "message": "This user name is taken." },
                { "code": "NOT_FOUND", "path": path("3", "roleNames"), "message": "There is no such role." },
            ] },
        ] })
    );
    assert_eq!(app.count("users").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn between_one_and_500_rows_and_the_work_does_not_grow_with_them() {
    let app = TestApp::with(&["--max-body-bytes=1000000"]).await;
    let admin = app.admin().await;
    for many in [rows(0), rows(501)] {
        let refused = admin.import(json!({ "rows": many })).await;
        assert_eq!(refused.data("importUsers/errors/0/rule"), "LIST_LENGTH");
    }
    assert_eq!(app.count("users").await, "1");
    // The key of who imports is known from here on.
    admin.import(json!({ "rows": [row("nobody")] })).await;
    let (few, answer) = app
        .statements(admin.import(json!({ "rows": [row("first")] })))
        .await;
    assert_eq!(counts(&answer), json!([1, 0, []]));
    let (many, answer) = app
        .statements(admin.import(json!({ "rows": rows(500) })))
        .await;
    assert_eq!(counts(&answer), json!([500, 0, []]));
    assert_eq!(few, many);
    assert!(many < 30, "{many}");
    let (again, answer) = app
        .statements(admin.import(json!({ "rows": rows(500) })))
        .await;
    assert_eq!(counts(&answer), json!([0, 0, []]));
    assert!(again < 30, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_more_by_import_than_they_hold() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let clerk = clerk(&app, "clerk", &["admin:users"]).await;
    app.user("ada").await;
    let with_role = |name: &str, role: &str| {
        let mut row = row(name);
        row["roleNames"] = json!([role]);
        row
    };
    let before = app.state().await;
    let input = json!({ "rows": [with_role("new", "admin"), with_role("ada", "moderator"),
        { "email": "admin@example.org", "fullName": "Admin", "firstName": "Mallory" }] });
    let answer = clerk.import(input).await;
    assert_eq!(counts(&answer), json!([0, 0, [0, 1, 2]]));
    let at = |place: &str| answer.at(&format!("importUsers/failures/{place}"));
    assert_eq!(at("0/errors/0/code"), "REJECTED");
    assert_eq!(
        at("1/errors/0/path"),
        &json!(["input", "rows", "1", "roleNames"])
    );
    assert_eq!(
        at("2/errors/0/path"),
        &json!(["input", "rows", "2", "email"])
    );
    assert_eq!(app.state().await, before);
    // What they hold they may give.
    let answer = clerk
        .import(json!({ "rows": [with_role("ada", "clerk")] }))
        .await;
    assert_eq!(counts(&answer), json!([0, 1, []]));
    // An account that lacks nothing is not touched, whoever it is.
    let answer = clerk
        .import(json!({ "rows": [{ "email": "admin@example.org", "fullName": "Other" }] }))
        .await;
    assert_eq!(counts(&answer), json!([0, 0, []]));
    assert_eq!(
        admin.ask("{ me { fullName } }").await.data("me/fullName"),
        "admin Example"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_after_accounts_opens_none_with_a_password_that_they_know() {
    // For the address of somebody who comes later, by a provider perhaps, and would share the account with them.
    let app = TestApp::new().await;
    app.admin().await;
    let clerk = clerk(&app, "clerk", &["admin:users"]).await;
    let before = app.state().await;
    let with = |name: &str, field: &str, value: Value| {
        let mut row = row(name);
        row[field] = value;
        row
    };
    let input = json!({ "rows": [with("ada", "passwordHash", json!(PBKDF2)), with("bob", "emailVerified", json!(true)),
        with("eve", "uuid", json!(UUID))] });
    let answer = clerk.import(input).await;
    assert_eq!(counts(&answer), json!([0, 0, [0, 1, 2]]));
    for (row, field) in ["passwordHash", "emailVerified", "uuid"].iter().enumerate() {
        let error = answer.at(&format!("importUsers/failures/{row}/errors/0"));
        let message = "Only who holds `admin:system` says this of an account.";
        assert_eq!(
            error,
            &json!({ "code": "REJECTED", "path": ["input", "rows", row.to_string(), field], "message": message })
        );
    }
    assert_eq!(app.state().await, before);
    let plain = json!({ "rows": [with("ada", "emailVerified", json!(false))] });
    assert_eq!(counts(&clerk.import(plain).await), json!([1, 0, []]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_never_sets_the_password_of_an_account_that_is_there() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ada").await;
    app.register("pending").await;
    let invite = "mutation { createUser(input: { email: \"invited@example.org\", fullName: \"Invited\" }) { errors { code } } }";
    admin.ask(invite).await;
    let before = app.state().await;
    let row = |name: &str| json!({ "email": format!("{name}@example.org"), "fullName": "Other Name", "passwordHash": PBKDF2, "emailVerified": true });
    let input = json!({ "rows": [row("ada"), row("pending"), row("invited"), row("admin")] });
    assert_eq!(counts(&admin.import(input).await), json!([0, 0, []]));
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registered_with_an_address_is_given_nothing_by_its_owners_row() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.register("pending").await;
    let row = json!({ "email": "pending@example.org", "fullName": "Owner", "emailVerified": true,
        "passwordHash": PBKDF2, "roleNames": ["moderator"], "birthDate": "1990-12-10" });
    let before = app.state().await;
    assert_eq!(
        counts(&admin.import(json!({ "rows": [row] })).await),
        json!([0, 0, [0]])
    );
    assert_eq!(app.state().await, before);
    let given = "SELECT count(*)::text FROM user_roles JOIN users ON users.id = user_id WHERE email = 'pending@example.org'";
    assert_eq!(app.db.text(given).await, "1", "the role of everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_leaves_its_key_alone() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let before = app.state().await;
    let mut input = json!({ "rows": [row("ada"), { "email": "x", "fullName": "Bad" }], "dryRun": true, "idempotencyKey": "monday" });
    assert_eq!(
        counts(&admin.import(input.clone()).await),
        json!([1, 0, [1]])
    );
    assert_eq!(app.state().await, before);
    assert_eq!(app.count("import_requests").await, "0");
    let entry = "SELECT details::text FROM audit_events WHERE action = 'users_imported'";
    assert_eq!(
        app.db.text(entry).await,
        "{\"dryRun\": true, \"failed\": 1, \"created\": 1, \"updated\": 0}"
    );
    input["dryRun"] = json!(false);
    assert_eq!(counts(&admin.import(input).await), json!([1, 0, [1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_first_answer_again_for_a_day() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let input = json!({ "rows": [row("ada"), { "email": "x", "fullName": "Bad" }], "idempotencyKey": "monday" });
    let first = admin.import(input.clone()).await;
    assert_eq!(counts(&first), json!([1, 0, [1]]));
    let trail = "SELECT count(*)::text FROM audit_events WHERE action IN ('account_created', 'users_imported')";
    let written = app.db.text(trail).await;
    let again = admin.import(input.clone()).await;
    assert_eq!(again.data("importUsers"), first.data("importUsers"));
    assert_eq!(app.db.text(trail).await, written);
    // For other rows it is taken; for somebody else it is free.
    let other = json!({ "rows": [row("bob")], "idempotencyKey": "monday" });
    let refused = admin.import(other.clone()).await;
    assert_eq!(refused.code(), "TAKEN");
    assert_eq!(
        refused.data("importUsers/errors/0/path"),
        &json!(["input", "idempotencyKey"])
    );
    assert_eq!(refused.at("importUsers/created"), 0);
    let second = app.user_with_role("second", "admin").await;
    assert_eq!(
        counts(&second.import(other.clone()).await),
        json!([1, 0, []])
    );
    let kept = "SELECT string_agg(answer::text, '') FROM import_requests";
    let kept = app.db.text(kept).await;
    assert!(
        !kept.contains("example.org") && !kept.contains("Example"),
        "{kept}"
    );
    // A day later it is free again, cleaned away or not, and then it is cleaned away.
    app.advance(TimeDelta::hours(25));
    let admin = app.sign_in("admin").await;
    assert_eq!(counts(&admin.import(other).await), json!([0, 0, []]));
    cardea::services::cleaning::clean(&app.app)
        .await
        .expect("cleaned");
    assert_eq!(app.count("import_requests").await, "1", "the new one");
    app.advance(TimeDelta::hours(25));
    cardea::services::cleaning::clean(&app.app)
        .await
        .expect("cleaned");
    assert_eq!(app.count("import_requests").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_with_one_key_at_once_one_has_an_effect_and_both_get_its_answer() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let input = json!({ "rows": rows(50), "idempotencyKey": "monday" });
    let (one, two) = join(admin.import(input.clone()), admin.import(input)).await;
    assert_eq!(counts(&one), json!([50, 0, []]));
    assert_eq!(counts(&two), json!([50, 0, []]));
    let imports = "SELECT count(*)::text FROM audit_events WHERE action = 'users_imported'";
    assert_eq!(app.db.text(imports).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_of_one_file_at_once_open_each_account_once() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let other = app.user_with_role("other", "admin").await;
    let input = json!({ "rows": rows(50) });
    let (one, two) = join(admin.import(input.clone()), other.import(input)).await;
    let (one, two) = (counts(&one), counts(&two));
    let created = one[0].as_u64().expect("a number") + two[0].as_u64().expect("a number");
    assert_eq!(created, 50, "{one} {two}");
    assert_eq!((&one[2], &two[2]), (&json!([]), &json!([])));
    assert_eq!(app.count("users").await, "52");
}
