//! Looking accounts up: one, pages of them, orders, filters, search; and what that costs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Client, TestApp};

/// Puts `count` accounts in, past the API: some share a moment, some never signed in, some have no
/// username.
async fn seed(app: &TestApp, count: usize) {
    let mut sql = String::new();
    let _ = write!(
        sql,
        "INSERT INTO users (id, auth_token, username, email, full_name, status, email_verified_at, last_login_at, created_at, updated_at)
         SELECT gen_random_uuid(), gen_random_uuid(), CASE WHEN n % 3 > 0 THEN 'user_' || n END, 'Person' || n || '@example.org',
             'Person ' || n, CASE WHEN n % 4 = 0 THEN 'pending' ELSE 'active' END, CASE WHEN n % 4 > 0 THEN now() END,
             CASE WHEN n % 2 = 0 THEN TIMESTAMPTZ '2026-01-01' + n / 5 * INTERVAL '1 hour' END,
             TIMESTAMPTZ '2026-01-01' + n / 4 * INTERVAL '1 minute', now() FROM generate_series(1, {count}) n;
         INSERT INTO profiles (user_id, created_at, updated_at) SELECT id, now(), now() FROM users ON CONFLICT DO NOTHING;
         INSERT INTO backgrounds (user_id, created_at, updated_at) SELECT id, now(), now() FROM users ON CONFLICT DO NOTHING;
         INSERT INTO personalizations (user_id, created_at, updated_at) SELECT id, now(), now() FROM users ON CONFLICT DO NOTHING;
         INSERT INTO user_roles (user_id, role_id, assigned_at) SELECT users.id, roles.id, now() FROM users, roles
             WHERE roles.name = 'user' ON CONFLICT DO NOTHING;"
    );
    app.db.sql(&sql).await;
}

const PAGE: &str = "query($first: Int, $last: Int, $after: String, $before: String, $orderBy: UserOrder, $filter: UserFilter, $search: String) { \
    users(first: $first, last: $last, after: $after, before: $before, orderBy: $orderBy, filter: $filter, search: $search) { \
    nodes { id email username lastLoginAt createdAt } edges { cursor node { id } } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }";

async fn page(client: &Client<'_>, variables: Value) -> Value {
    client.gql(PAGE, variables).await.data("users").clone()
}

fn ids(page: &Value) -> Vec<String> {
    let nodes = page["nodes"].as_array().expect("a list");
    nodes
        .iter()
        .map(|node| node["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_every_order_neither_overlap_nor_skip() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    seed(&app, 40).await;
    for field in ["CREATED_AT", "EMAIL", "LAST_LOGIN_AT", "USERNAME"] {
        for direction in ["ASC", "DESC"] {
            let order = json!({ "field": field, "direction": direction });
            let all = ids(&page(&admin, json!({ "first": 100, "orderBy": order })).await);
            assert_eq!(all.len(), 41);
            let (mut forward, mut after) = (Vec::new(), Value::Null);
            loop {
                let page = page(
                    &admin,
                    json!({ "first": 7, "after": after, "orderBy": order }),
                )
                .await;
                assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!after.is_null()));
                forward.extend(ids(&page));
                after = page["pageInfo"]["endCursor"].clone();
                if page["pageInfo"]["hasNextPage"] == false {
                    break;
                }
            }
            assert_eq!(forward, all, "{field} {direction} forward");
            let (mut backward, mut before) = (Vec::new(), Value::Null);
            loop {
                let page = page(
                    &admin,
                    json!({ "last": 7, "before": before, "orderBy": order }),
                )
                .await;
                assert_eq!(page["pageInfo"]["hasNextPage"], json!(!before.is_null()));
                backward.splice(0..0, ids(&page));
                before = page["pageInfo"]["startCursor"].clone();
                if page["pageInfo"]["hasPreviousPage"] == false {
                    break;
                }
            }
            assert_eq!(backward, all, "{field} {direction} backward");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_cursors_together_cut_a_piece_out_and_say_what_lies_beside_it() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    seed(&app, 10).await;
    let all = page(&admin, json!({ "first": 100 })).await;
    let cursor = |at: usize| all["edges"][at]["cursor"].clone();
    for (variables, length, previous, next) in [
        (json!({ "first": 10, "before": cursor(3) }), 3, false, true),
        (
            json!({ "first": 10, "after": cursor(0), "before": cursor(3) }),
            2,
            true,
            true,
        ),
        (
            json!({ "last": 10, "after": cursor(0), "before": cursor(3) }),
            2,
            true,
            true,
        ),
        (json!({ "last": 2, "after": cursor(8) }), 2, true, false),
    ] {
        let page = page(&admin, variables.clone()).await;
        assert_eq!(ids(&page).len(), length, "{variables}");
        assert_eq!(
            (
                &page["pageInfo"]["hasPreviousPage"],
                &page["pageInfo"]["hasNextPage"]
            ),
            (&json!(previous), &json!(next)),
            "{variables}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_what_they_say() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    seed(&app, 12).await;
    let column = async |field: &str, direction: &str, key: &str| {
        let page = page(
            &admin,
            json!({ "first": 100, "orderBy": { "field": field, "direction": direction } }),
        )
        .await;
        let nodes = page["nodes"].as_array().expect("a list").clone();
        nodes
            .iter()
            .map(|node| node[key].as_str().unwrap_or_default().to_lowercase())
            .collect::<Vec<_>>()
    };
    for (field, key) in [
        ("CREATED_AT", "createdAt"),
        ("EMAIL", "email"),
        ("LAST_LOGIN_AT", "lastLoginAt"),
        ("USERNAME", "username"),
    ] {
        let ascending = column(field, "ASC", key).await;
        assert!(ascending.is_sorted(), "{field}: {ascending:?}");
        let descending = column(field, "DESC", key).await;
        assert!(
            descending.iter().rev().is_sorted(),
            "{field}: {descending:?}"
        );
    }
    let default = ids(&page(&admin, json!({ "first": 100 })).await);
    let newest_first = json!({ "first": 100, "orderBy": { "field": "CREATED_AT" } });
    assert_eq!(default, ids(&page(&admin, newest_first).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go_between_pages_do_not_move_the_others() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    seed(&app, 20).await;
    let order = json!({ "field": "CREATED_AT", "direction": "DESC" });
    let first = page(&admin, json!({ "first": 10, "orderBy": order })).await;
    let expected = ids(&page(
        &admin,
        json!({ "first": 100, "after": first["pageInfo"]["endCursor"], "orderBy": order }),
    )
    .await);
    // One at the front, and the very account that the cursor names is gone.
    app.db
        .sql(
            "INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'late@example.org', 'Late', now() + INTERVAL '1 year', now())",
        )
        .await;
    let last = first["nodes"][9]["email"].as_str().expect("an address");
    app.db
        .sql(&format!("DELETE FROM users WHERE email = '{last}'"))
        .await;
    let rest = page(
        &admin,
        json!({ "first": 100, "after": first["pageInfo"]["endCursor"], "orderBy": order }),
    )
    .await;
    assert_eq!(ids(&rest), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_search_find_what_they_say() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    seed(&app, 20).await;
    let moderator = app
        .db
        .text("SELECT id::text FROM roles WHERE name = 'admin'")
        .await;
    let admin_role = cardea::graphql::node::Kind::Role.id(moderator.parse().expect("a UUID"));
    let count = async |variables: Value| {
        let document = "query($filter: UserFilter, $search: String) { users(first: 1, filter: $filter, search: $search) { totalCount } }";
        admin
            .gql(document, variables)
            .await
            .data("users/totalCount")
            .as_i64()
            .expect("a number")
    };
    let filter = async |filter: Value| count(json!({ "filter": filter })).await;
    assert_eq!(filter(json!({})).await, 21);
    assert_eq!(filter(json!({ "statuses": ["PENDING"] })).await, 5);
    assert_eq!(
        filter(json!({ "statuses": ["PENDING", "ACTIVE"] })).await,
        21
    );
    assert_eq!(filter(json!({ "statuses": [] })).await, 0);
    assert_eq!(filter(json!({ "isActive": true })).await, 16);
    assert_eq!(filter(json!({ "isActive": false })).await, 5);
    assert_eq!(filter(json!({ "emailVerified": false })).await, 5);
    assert_eq!(
        filter(json!({ "emailVerified": true, "isActive": false })).await,
        0
    );
    assert_eq!(filter(json!({ "roles": [*admin_role] })).await, 1);
    assert_eq!(filter(json!({ "roles": ["nonsense"] })).await, 0);
    assert_eq!(
        filter(
            json!({ "createdAt": { "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:01:00Z" } })
        )
        .await,
        3
    );
    assert_eq!(
        filter(json!({ "createdAt": { "from": "2026-01-01T00:01:00Z" } })).await,
        18
    );
    assert_eq!(
        filter(json!({ "lastLoginAt": { "to": "2026-01-01T01:00:00Z" } })).await,
        2
    );
    assert_eq!(
        filter(json!({ "coachingStartDate": { "from": "2000-01-01T00:00:00Z" } })).await,
        0
    );
    let search = async |text: &str| count(json!({ "search": text })).await;
    assert_eq!(search("PERSON7@").await, 1);
    assert_eq!(search("person example.org").await, 20);
    assert_eq!(search("  ").await, 21);
    assert_eq!(search("user_1").await, 8, "an underscore is an underscore");
    assert_eq!(search("userX1").await, 0);
    assert_eq!(search("%").await, 0);
    assert_eq!(search("\\").await, 0);
    assert_eq!(search("' OR true --").await, 0);
    assert_eq!(search("nobody person").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_pages_are_refused_with_a_code() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let by_email =
        page(&admin, json!({ "orderBy": { "field": "EMAIL" } })).await["pageInfo"]["endCursor"]
            .clone();
    let long = "x".repeat(5000);
    for variables in [
        json!({ "first": 0 }),
        json!({ "first": -1 }),
        json!({ "first": 101 }),
        json!({ "first": 1_000_000 }),
        json!({ "last": 101 }),
        json!({ "first": 1, "last": 1 }),
        json!({ "after": "nonsense" }),
        json!({ "after": "" }),
        json!({ "after": long }),
        json!({ "after": by_email }),
        // ["created_at","'; DROP TABLE users","0…0"]
        json!({ "after": "WyJjcmVhdGVkX2F0IiwiJzsgRFJPUCBUQUJMRSB1c2VycyIsIjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMCJd" }),
        // The same with the key 0000-01-01T00:00:00Z, which the database does not know.
        json!({ "after": "WyJjcmVhdGVkX2F0IiwiMDAwMC0wMS0wMVQwMDowMDowMFoiLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ" }),
        json!({ "search": "a b c d e f g h i" }),
        json!({ "search": long }),
        json!({ "filter": { "roles": vec!["x"; 51] } }),
    ] {
        let answer = admin.gql(PAGE, variables.clone()).await;
        assert_eq!(
            answer.codes(),
            ["BAD_USER_INPUT"],
            "{variables:.80}: {}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_found_by_each_of_its_names() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let moderator = app.user_with_role("moderator", "moderator").await;
    let find = "query($by: UserLookup!) { user(by: $by) { id email } }";
    for by in [
        json!({ "id": ada.id }),
        json!({ "email": "ADA@example.org" }),
        json!({ "username": "Ada" }),
        json!({ "uuid": ada.uuid }),
    ] {
        assert_eq!(
            moderator
                .gql(find, json!({ "by": by }))
                .await
                .data("user/id"),
            &json!(ada.id)
        );
        assert_eq!(
            ada.gql(find, json!({ "by": by })).await.data("user/email"),
            "ada@example.org"
        );
        assert_eq!(
            bob.gql(find, json!({ "by": by })).await.data("user"),
            &Value::Null,
            "not yours is not there"
        );
    }
    for by in [
        json!({ "id": "nonsense" }),
        json!({ "id": ada.session }),
        json!({ "email": "x" }),
        json!({ "username": "" }),
    ] {
        assert_eq!(
            moderator.gql(find, json!({ "by": by })).await.data("user"),
            &Value::Null
        );
    }
    for by in [
        json!({}),
        json!({ "id": ada.id, "email": "x" }),
        json!({ "uuid": "no" }),
    ] {
        assert!(
            !moderator
                .gql(find, json!({ "by": by }))
                .await
                .codes()
                .is_empty()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_found_by_id_where_they_are_visible() {
    let app = TestApp::new().await;
    let (ada, bob, admin) = (
        app.user("ada").await,
        app.user("bob").await,
        app.admin().await,
    );
    let role = admin
        .ask("{ role(name: \"USER\") { id } }")
        .await
        .data("role/id")
        .clone();
    let permission = ada
        .ask("{ permissions { id name } }")
        .await
        .data("permissions/0/id")
        .clone();
    let document = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let wanted =
        json!({ "ids": [ada.id, role, permission, ada.session, "nonsense", bob.id, ada.id] });
    let names = async |client: &Client<'_>| {
        let answer = client.gql(document, wanted.clone()).await;
        let nodes = answer.data("nodes").as_array().expect("a list").clone();
        nodes
            .iter()
            .map(|node| node["__typename"].as_str().unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&ada).await,
        ["User", "-", "Permission", "Session", "-", "-", "User"]
    );
    assert_eq!(
        names(&bob).await,
        ["-", "-", "Permission", "-", "-", "User", "-"]
    );
    assert_eq!(
        names(&admin).await,
        ["User", "Role", "Permission", "Session", "-", "User", "User"]
    );
    let many = json!({ "ids": vec![ada.id.clone(); 101] });
    assert_eq!(ada.gql(document, many).await.codes(), ["BAD_USER_INPUT"]);
}

const EVERYTHING: &str = "id uuid email username fullName firstName lastName avatarUrl birthDate status isActive emailVerified \
    emailVerifiedAt coachingStartDate lastCoachingSession lastLoginAt loginCount createdAt updatedAt \
    profile { bio timezone preferences } background { softwareTools } personalization { recommendedContent } \
    roles { name permissions { name } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_as_many_statements_for_a_hundred_accounts_as_for_one() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let document = format!("{{ users(first: 100) {{ nodes {{ {EVERYTHING} }} }} }}");
    admin.ask(&document).await;
    let (for_one, answer) = app.statements(admin.ask(&document)).await;
    assert_eq!(answer.data("users/nodes").as_array().map(Vec::len), Some(1));
    seed(&app, 120).await;
    let (for_hundred, answer) = app.statements(admin.ask(&document)).await;
    assert_eq!(
        answer.data("users/nodes").as_array().map(Vec::len),
        Some(100)
    );
    // The accounts with their profiles and roles, background, personalization. Of others it is written down that they were
    // read: one look for the key, the first time, and one statement for the entries.
    assert_eq!((for_one, for_hundred), (3, 5));
    let with_count = document.replace("users(first: 100) {", "users(first: 100) { totalCount");
    let (counted, answer) = app.statements(admin.ask(&with_count)).await;
    assert_eq!(answer.data("users/totalCount"), 121);
    assert_eq!(counted, 5, "the count for the key, and only when selected");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_own_account_costs_few_statements() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let me = "{ me { id email } }";
    let (first, _) = app.statements(ada.ask(me)).await;
    assert_eq!(first, 2, "who asks, and what is asked");
    let (plain, _) = app.statements(ada.ask(me)).await;
    assert_eq!(plain, 1, "who asks is remembered");
    let document = format!(
        "{{ me {{ {EVERYTHING} permissions verifications {{ kind email usedAt expiresAt createdAt }} }} }}"
    );
    ada.ask(&document).await;
    let (everything, answer) = app.statements(ada.ask(&document)).await;
    assert_eq!(answer.data("me/verifications/0/kind"), "EMAIL_VERIFICATION");
    assert_eq!(everything, 4);
    let usual =
        "{ me { id email profile { bio timezone theme } roles { name permissions { name } } } }";
    assert_eq!(app.statements(ada.ask(usual)).await.0, 1);
    let (nothing, _) = app
        .statements(app.gql(
            "{ viewer { isAuthenticated } authOptions { registrationOpen } }",
            Value::Null,
        ))
        .await;
    assert_eq!(nothing, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_out_nothing_that_the_caller_could_not_read() {
    let app = TestApp::new().await;
    let moderator = app.user_with_role("mod", "moderator").await;
    let admin = app.admin().await;
    let role = admin.ask("{ role(name: \"admin\") { id } }").await;
    let role = role.data("role/id").clone();
    let count = "query($filter: UserFilter) { users(filter: $filter) { totalCount } }";
    for filter in [
        json!({ "twoFactorEnabled": false }),
        json!({ "roles": [role] }),
    ] {
        let asked = json!({ "filter": filter });
        let refused = moderator.gql(count, asked.clone()).await;
        assert_eq!(refused.codes(), ["FORBIDDEN"], "{filter}");
        admin.gql(count, asked).await.data("users/totalCount");
    }
}
