//! Handing roles out and taking them back.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, TestApp};

async fn role_id(admin: &Client<'_>, name: &str) -> String {
    let answer = admin
        .gql(
            "query($name: String) { role(name: $name) { id } }",
            json!({ "name": name }),
        )
        .await;
    answer.data("role/id").as_str().expect("an id").to_owned()
}

async fn change(client: &Client<'_>, mutation: &str, user: &str, role: &str) -> Answer {
    let document = format!(
        "mutation($input: RoleMembershipInput!) {{ {mutation}(input: $input) {{ errors {{ code path }} user {{ id roles {{ name }} permissions }} }} }}"
    );
    client
        .gql(
            &document,
            json!({ "input": { "userId": user, "roleId": role } }),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_gives_and_takes_roles() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let moderator = role_id(&admin, "moderator").await;
    for _ in 0..2 {
        let given = change(&admin, "assignRole", &ada.id, &moderator).await;
        assert_eq!(
            given.data("assignRole"),
            &json!({ "errors": [], "user": { "id": ada.id, "roles": [{ "name": "moderator" }, { "name": "user" }],
                "permissions": ["read:all", "read:own", "write:own"] } })
        );
    }
    assert_eq!(
        ada.ask("{ users { nodes { id } } }")
            .await
            .data("users/nodes")
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let by = app
        .db
        .text("SELECT count(*)::text FROM user_roles WHERE assigned_by IS NOT NULL")
        .await;
    assert_eq!(by, "1", "who gave it is kept");
    for _ in 0..2 {
        let taken = change(&admin, "removeRole", &ada.id, &moderator).await;
        assert_eq!(
            taken.data("removeRole/user/roles"),
            &json!([{ "name": "user" }])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_accounts_and_roles_are_named_by_their_path() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let moderator = role_id(&admin, "moderator").await;
    for (user, role, path) in [
        (admin.id.as_str(), "nonsense", "roleId"),
        (admin.id.as_str(), admin.id.as_str(), "roleId"),
        ("nonsense", moderator.as_str(), "userId"),
        (admin.session.as_str(), moderator.as_str(), "userId"),
    ] {
        for mutation in ["assignRole", "removeRole"] {
            let answer = change(&admin, mutation, user, role).await;
            let refused = json!({ "errors": [{ "code": "NOT_FOUND", "path": ["input", path] }], "user": null });
            assert_eq!(answer.data(mutation), &refused);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays_also_when_two_demote_each_other() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let role = role_id(&admin, "admin").await;
    let refused = change(&admin, "removeRole", &admin.id, &role).await;
    assert_eq!(
        refused.data("removeRole/errors/0"),
        &json!({ "code": "PROTECTED", "path": ["input", "userId"] })
    );
    for round in 0..5 {
        let other = app.user_with_role(&format!("other{round}"), "admin").await;
        let (one, two) = tokio::join!(
            change(&admin, "removeRole", &other.id, &role),
            change(&other, "removeRole", &admin.id, &role)
        );
        let won = [&one, &two]
            .into_iter()
            .filter(|answer| answer.json.pointer("/data/removeRole/errors") == Some(&json!([])))
            .count();
        assert_eq!(won, 1, "{} {}", one.text, two.text);
        assert!(admin_count(&app).await == 1);
        // Whoever is left, the next round begins with the first one alone.
        app.grant(&admin, "admin").await;
        app.db.sql("DELETE FROM user_roles USING users, roles WHERE users.id = user_id AND roles.id = role_id AND roles.name = 'admin' AND users.username <> 'admin'").await;
        app.app.access.catch_up().await;
    }
}

async fn admin_count(app: &TestApp) -> i64 {
    let count = app.db.text("SELECT count(*)::text FROM user_roles JOIN roles ON roles.id = role_id WHERE roles.name = 'admin'").await;
    count.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_what_they_do_not_hold() {
    let app = TestApp::new().await;
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'clerk', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
             WHERE roles.name = 'clerk' AND permissions.name = 'admin:users'",
        )
        .await;
    let clerk = app.user_with_role("clerk", "clerk").await;
    for name in ["admin", "moderator"] {
        let role = role_id(&clerk, name).await;
        for mutation in ["assignRole", "removeRole"] {
            let answer = change(&clerk, mutation, &clerk.id, &role).await;
            assert_eq!(answer.codes(), ["FORBIDDEN"]);
            assert_eq!(answer.at(mutation), &Value::Null);
        }
    }
    assert_eq!(admin_count(&app).await, 0);
    let own = role_id(&clerk, "clerk").await;
    assert_eq!(
        change(&clerk, "assignRole", &clerk.id, &own)
            .await
            .data("assignRole/errors"),
        &json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_permissions_are_listed_by_name() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let answer = admin.ask("{ roles { name isDefault isSystem permissions { name isSystem } members { nodes { username } totalCount } } permissions { name } }").await;
    let roles = answer.data("roles").as_array().expect("a list").clone();
    let names: Vec<_> = roles
        .iter()
        .map(|role| role["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, ["admin", "moderator", "user"]);
    assert_eq!(
        roles[0]["members"],
        json!({ "nodes": [{ "username": "admin" }], "totalCount": 1 })
    );
    assert_eq!(roles[0]["permissions"].as_array().map(Vec::len), Some(6));
    assert_eq!(
        (&roles[2]["isDefault"], &roles[1]["isDefault"]),
        (&json!(true), &json!(false))
    );
    let all: Vec<_> = [
        "admin:system",
        "admin:users",
        "read:all",
        "read:own",
        "write:all",
        "write:own",
    ]
    .map(|name| json!({ "name": name }))
    .into();
    assert_eq!(answer.data("permissions"), &json!(all));
    for document in ["{ role { id } }", "{ role(id: \"x\", name: \"y\") { id } }"] {
        assert_eq!(admin.ask(document).await.codes(), ["BAD_USER_INPUT"]);
    }
    assert_eq!(
        admin.ask("{ role(id: \"x\") { id } }").await.data("role"),
        &Value::Null
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_all_roles_are_counted_by_one_statement() {
    let app = TestApp::new().await;
    let (admin, _ada) = (app.admin().await, app.user("ada").await);
    let pages = "{ roles { name members(first: 1) { nodes { id } } } }";
    admin.ask(pages).await;
    let (without, _) = app.statements(admin.ask(pages)).await;
    let counted = pages.replace("nodes", "totalCount nodes");
    let (with, answer) = app.statements(admin.ask(&counted)).await;
    assert_eq!(with, without + 1);
    let roles = answer.data("roles").as_array().expect("a list");
    let counts = roles.iter().map(|role| &role["members"]["totalCount"]);
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [1, 0, 2],
        "admin, moderator, user"
    );
}
