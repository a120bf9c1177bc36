//! Pages of accounts while accounts come, go and change; their cursors; and the plans by which
//! PostgreSQL finds them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::models::role::Role;
use cardea::models::user::{AccountStatus, User};
use cardea::models::user_page::{UserFilter, UserOrderField, position};
use cardea::scalar::DateTime;
use cardea::services::users::PageRequest;
use chrono::TimeDelta;
use diesel_async::RunQueryDsl as _;
use serde_json::{Value, json};

use crate::harness::app::MASTER_KEY;
use crate::harness::process::Program;
use crate::harness::{Client, TestApp};

const PAGE: &str = "query($first: Int, $last: Int, $after: String, $before: String, $orderBy: UserOrder, $search: String) { \
    users(first: $first, last: $last, after: $after, before: $before, orderBy: $orderBy, search: $search) { \
    nodes { id email } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }";

async fn page(client: &Client<'_>, variables: Value) -> Value {
    client.gql(PAGE, variables).await.data("users").clone()
}

fn addresses(page: &Value) -> Vec<String> {
    let nodes = page["nodes"].as_array().expect("a list");
    let email = |node: &Value| node["email"].as_str().expect("an address").to_owned();
    nodes.iter().map(email).collect()
}

/// An account past the API. Keys repeat, instants differ in the last microsecond, and some are missing.
fn insert(email: &str, number: u64) -> String {
    let username = match number % 3 {
        0 => "NULL".to_owned(),
        _ => format!(
            "'{}_{email}'",
            ["Zed", "amy"][usize::from(number.is_multiple_of(2))]
        ),
    };
    let login = match number % 2 {
        0 => "NULL".to_owned(),
        _ => format!(
            "TIMESTAMPTZ '2026-01-01' + {} * INTERVAL '1 microsecond'",
            number % 5
        ),
    };
    format!(
        "INSERT INTO users (id, auth_token, username, email, full_name, last_login_at, created_at, updated_at) VALUES
            (gen_random_uuid(), gen_random_uuid(), {username}, '{email}@example.org', 'Somebody', {login},
             TIMESTAMPTZ '2026-01-01' + {} * INTERVAL '1 microsecond', now());",
        number % 7
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_that_stays_is_seen_once_while_others_come_go_and_change() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut number = 0;
    for field in ["CREATED_AT", "EMAIL", "LAST_LOGIN_AT", "USERNAME"] {
        for direction in ["ASC", "DESC"] {
            for backward in [false, true] {
                app.db
                    .sql("DELETE FROM users WHERE full_name = 'Somebody'")
                    .await;
                let rows: Vec<_> = (0..45_u64)
                    // Those that stay, and those that may go at any time.
                    .map(|n| insert(&format!("{}{n}", ["Stay", "goes"][usize::from(n % 3 == 0)]), n * 7919 % 101))
                    .collect();
                app.db.sql(&rows.concat()).await;
                let order = json!({ "field": field, "direction": direction });
                let (mut seen, mut cursor) = (Vec::new(), Value::Null);
                loop {
                    let variables = if backward {
                        json!({ "last": 6, "before": cursor, "orderBy": order })
                    } else {
                        json!({ "first": 6, "after": cursor, "orderBy": order })
                    };
                    let page = page(&admin, variables).await;
                    seen.extend(addresses(&page));
                    let info = &page["pageInfo"];
                    let (more, end) = if backward {
                        ("hasPreviousPage", "startCursor")
                    } else {
                        ("hasNextPage", "endCursor")
                    };
                    if info[more] == false {
                        break;
                    }
                    cursor = info[end].clone();
                    number += 1;
                    app.db
                        .sql(&format!(
                            "{} {}
                            DELETE FROM users WHERE id IN (SELECT id FROM users WHERE email LIKE 'goes%' ORDER BY md5(email || {number}) LIMIT 2);
                            UPDATE users SET status = 'deactivated', first_name = 'Changed', updated_at = now(), login_count = login_count + 1
                                WHERE full_name = 'Somebody' AND get_byte(decode(md5(email || {number}), 'hex'), 0) < 80",
                            insert(&format!("comes{number}"), number),
                            insert(&format!("Comes{number}x"), number * 31),
                        ))
                        .await;
                }
                let stayed: Vec<_> = seen
                    .iter()
                    .filter(|email| email.starts_with("Stay"))
                    .collect();
                let once: BTreeSet<_> = seen.iter().collect();
                let walk = format!("{field} {direction} backward: {backward}");
                assert_eq!(once.len(), seen.len(), "{walk}: somebody was seen twice");
                assert_eq!(stayed.len(), 30, "{walk}: {stayed:?}");
            }
        }
    }
}

fn forged(cursor: &Value) -> String {
    URL_SAFE_NO_PAD.encode(cursor.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_cursors_are_refused_or_mean_a_place_in_the_list() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let id = "00000000-0000-0000-0000-000000000000";
    let after = async |field: &str, cursor: Value| {
        let order = json!({ "field": field });
        let variables = json!({ "after": forged(&cursor), "orderBy": order });
        admin.gql(PAGE, variables).await
    };
    for (field, cursor) in [
        ("CREATED_AT", json!(["created_at", null, id])),
        (
            "CREATED_AT",
            json!(["created_at", "2026-01-01T00:00:00Z", id]),
        ),
        ("CREATED_AT", json!(["created_at", "-infinity", id])),
        (
            "CREATED_AT",
            json!(["created_at", "+10000-01-01T00:00:00+00:00", id]),
        ),
        ("CREATED_AT", json!(["created_at", 7, id])),
        ("CREATED_AT", json!(["last_login_at", null, id])),
        ("LAST_LOGIN_AT", json!(["last_login_at", "yesterday", id])),
        ("EMAIL", json!(["email", null, id])),
        ("EMAIL", json!(["email", "a\u{0}b", id])),
        ("EMAIL", json!(["email", "a", "no id"])),
        ("USERNAME", json!(["username", "\u{0}", id])),
        ("USERNAME", json!(["username", "a"])),
        ("USERNAME", json!({ "field": "username" })),
    ] {
        let answer = after(field, cursor.clone()).await;
        assert_eq!(
            answer.codes(),
            ["BAD_USER_INPUT"],
            "{cursor}: {}",
            answer.text
        );
    }
    // Nobody was given these, but they name a place.
    for (field, cursor) in [
        (
            "CREATED_AT",
            json!(["created_at", "0000-01-01T00:00:00+00:00", id]),
        ),
        (
            "CREATED_AT",
            json!(["created_at", "9999-12-31T23:59:59.999999+00:00", id]),
        ),
        ("LAST_LOGIN_AT", json!(["last_login_at", null, id])),
        ("EMAIL", json!(["email", "'; DROP TABLE users --", id])),
        ("USERNAME", json!(["username", null, id])),
        ("USERNAME", json!(["username", "Ä\\%_", id])),
    ] {
        let answer = after(field, cursor.clone()).await;
        assert!(
            answer.data("users/nodes").is_array(),
            "{cursor}: {}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_anywhere_and_short_ones_where_a_name_begins() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.db
        .sql(
            "INSERT INTO users (id, auth_token, username, email, full_name, first_name, created_at, updated_at) VALUES
                (gen_random_uuid(), gen_random_uuid(), 'Mu_ller7', 'jm@example.org', 'Jürgen Müller', 'Jürgen', now(), now()),
                (gen_random_uuid(), gen_random_uuid(), NULL, 'zoe@example.net', 'Zoë 100% O''Brien', NULL, now(), now()),
                (gen_random_uuid(), gen_random_uuid(), 'wei', 'wei.li@example.com', '李伟', NULL, now(), now())",
        )
        .await;
    for (search, found) in [
        ("MÜLLER", &["jm"][..]),
        // The same letter, in two code points.
        ("mu\u{308}ller", &["jm"]),
        ("üll", &["jm"]),
        ("mu_l", &["jm"]),
        ("ull", &[]),
        ("r7", &[]),
        ("mü", &["jm"]),
        ("mu", &["jm"]),
        ("u_", &[]),
        ("j", &["jm"]),
        ("ë", &[]),
        ("zo", &["zoe"]),
        ("zoë brien", &["zoe"]),
        ("100%", &["zoe"]),
        ("10%", &[]),
        ("1%0", &[]),
        ("o'b", &["zoe"]),
        ("李", &["wei.li"]),
        ("伟", &[]),
        ("li", &[]),
        ("EXAMPLE.COM", &["wei.li"]),
        ("%", &[]),
        ("_", &[]),
        ("@", &[]),
        ("\\", &[]),
        ("wei nobody", &[]),
    ] {
        let page = page(&admin, json!({ "search": search })).await;
        let emails = addresses(&page);
        let names: Vec<_> = emails
            .iter()
            .filter_map(|email| email.split('@').next())
            .collect();
        assert_eq!(names, found, "{search:?}");
    }
}

/// The real program, on the database of `app`.
fn program(app: &TestApp) -> Program {
    Program::on(&app.db.url()).with("CARDEA_MASTER_KEY", MASTER_KEY)
}

#[expect(clippy::too_many_lines, reason = "a list of queries")]
#[tokio::test(flavor = "multi_thread")]
async fn the_lists_use_their_indexes() {
    let app = TestApp::new().await;
    program(&app)
        .run(&["bench", "seed", "--accounts", "6000"])
        .success();
    let conn = &mut *app.app.db.conn().await.expect("a connection");
    let admin = Role::by_name(conn, "admin")
        .await
        .expect("an answer")
        .expect("a role");
    let first = |filter: UserFilter, field, descending| PageRequest {
        related: false,
        filter,
        field,
        descending,
        after: None,
        before: None,
        limit: 100,
        backward: false,
    };
    let any = UserFilter::default;
    let word = |word: &str| UserFilter {
        words: vec![word.to_owned()],
        ..any()
    };
    let status = |status| UserFilter {
        statuses: Some(vec![status]),
        ..any()
    };
    let since = DateTime(app.app.clock.now() - TimeDelta::days(2000));
    let long_ago = UserFilter {
        last_login_at: (None, Some(since)),
        ..any()
    };
    let (created, email, login, username) = (
        UserOrderField::CreatedAt,
        UserOrderField::Email,
        UserOrderField::LastLoginAt,
        UserOrderField::Username,
    );
    for (filter, field, index) in [
        (any(), created, "users_created_at_idx"),
        (any(), email, "users_email_key"),
        (any(), login, "users_last_login_at_idx"),
        (any(), username, "users_username_idx"),
        (
            status(AccountStatus::Active),
            created,
            "users_created_at_idx",
        ),
        (
            status(AccountStatus::Pending),
            login,
            "users_not_open_last_login_at_idx",
        ),
        (
            UserFilter {
                is_active: Some(false),
                ..any()
            },
            created,
            "users_not_open_created_at_idx",
        ),
        (
            UserFilter {
                email_verified: Some(false),
                ..any()
            },
            login,
            "users_not_open_last_login_at_idx",
        ),
        (
            UserFilter {
                roles: Some(vec![admin.id]),
                ..any()
            },
            created,
            "user_roles_role_id_idx",
        ),
        (long_ago, created, "users_last_login_at_idx"),
        (word("quennev"), email, "users_search_text_idx"),
        (word("xqzzy"), username, "users_search_text_idx"),
        (word("77"), created, "users_search_text_idx"),
    ] {
        for descending in [false, true] {
            let mut request = first(filter.clone(), field, descending);
            let plan = User::explain_page(conn, &request.slice())
                .await
                .expect("a plan")
                .to_string();
            assert!(plan.contains(&format!("\"{index}\"")), "{index}: {plan}");
            assert!(!plan.contains("Seq Scan"), "{index}: {plan}");
            let page = User::page(conn, &request.slice()).await.expect("a page");
            if filter != any() {
                continue;
            }
            // Deep in the list and backward it is the same.
            let Some(last) = page.last() else { continue };
            (request.before, request.backward) = (Some(position(last, field)), true);
            let plan = User::explain_page(conn, &request.slice())
                .await
                .expect("a plan")
                .to_string();
            assert!(
                plan.contains(&format!("\"{index}\"")),
                "{index}, backward: {plan}"
            );
        }
    }
    let prepared: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "(SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM \"users\"%' \
         AND statement NOT LIKE '%pg_prepared_statements%')",
    ))
    .get_result(conn)
    .await
    .expect("a count");
    // Each order in both directions; with a condition, it is planned for its values each time.
    assert_eq!(prepared, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_accounts_can_be_listed_and_signed_in_to() {
    let app = TestApp::new().await;
    let program = program(&app);
    let arguments = [
        "bench",
        "seed",
        "--accounts",
        "3000",
        "--login-events",
        "500",
        "--password-stdin",
    ];
    let outcome = program.run_with_input(&arguments, "Correct-Horse-7\n");
    assert_eq!(outcome.stderr, "", "no bar without a terminal");
    let said = outcome.success();
    assert!(said.starts_with("users: 3000 rows in "), "{said}");
    let (_, email) = said
        .split_once("The first administrator is ")
        .expect("a name");
    let email = email.lines().next().expect("a line").trim_end_matches('.');
    let login = app.at("192.0.2.7").login(email, "Correct-Horse-7").await;
    let token = login
        .data("login/result/accessToken")
        .as_str()
        .expect("a token")
        .to_owned();
    let counts =
        "{ users { totalCount } pending: users(filter: { statuses: [PENDING] }) { totalCount }
        loginStats { successes } role(name: \"user\") { members(first: 1) { totalCount } } }";
    let answer = app.gql_as(Some(&token), counts, Value::Null).await;
    assert_eq!(answer.data("users/totalCount"), 3000);
    assert_eq!(answer.data("role/members/totalCount"), 3000);
    let pending = answer.data("pending/totalCount").as_i64().expect("a count");
    assert!((150..270).contains(&pending), "{pending}");

    // A database with accounts is left as it is, unless more are wanted.
    assert_eq!(
        program.run(&["bench", "seed", "--accounts", "10"]).error(),
        "nothing was written: the database has 3000 accounts already; --add puts more beside them"
    );
    program
        .run(&["bench", "seed", "--accounts", "10", "--add"])
        .success();
    let count = app.db.text("SELECT count(*)::text FROM users").await;
    assert_eq!(count, "3010");
    let open = "SELECT count(*)::text FROM users WHERE hashed_password IS NOT NULL";
    assert_eq!(
        app.db.text(open).await,
        "3000",
        "without a password none opens"
    );
    let resting = "SELECT count(*)::text FROM pg_trigger WHERE tgenabled = 'D'";
    assert_eq!(app.db.text(resting).await, "0", "triggers are back");
}
