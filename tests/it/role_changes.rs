//! Roles and permissions that are made, changed and removed while the server runs.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::roles::rights;

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_makes_a_role_and_a_permission_of_their_own() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let created = admin
        .roles(
            "createPermission",
            json!({ "name": " posts:publish ", "description": " Publish posts " }),
        )
        .await;
    let id = created.data("createPermission/permission/id").clone();
    assert_eq!(
        created.data("createPermission"),
        &json!({ "errors": [], "permission": { "id": id, "name": "posts:publish", "description": "Publish posts", "isSystem": false } })
    );
    let held = admin.permissions().await;
    assert!(
        held.as_array()
            .is_some_and(|held| held.contains(&json!("posts:publish"))),
        "administrators hold it at once"
    );

    let input = json!({ "name": " Éditor ", "description": "", "permissions": ["posts:publish", "read:own", "read:own"] });
    let created = admin.roles("createRole", input).await;
    let role = created.data("createRole/role/id").clone();
    assert_eq!(
        created.data("createRole"),
        &json!({ "errors": [], "role": { "id": role, "name": "Éditor", "description": null, "isDefault": false, "isSystem": false,
            "requiresTwoFactor": false, "permissions": [{ "name": "posts:publish" }, { "name": "read:own" }] } })
    );
    let membership = json!({ "roleId": role, "userId": ada.id });
    assert_eq!(
        admin.roles("assignRole", membership.clone()).await.code(),
        ""
    );
    assert_eq!(
        ada.permissions().await,
        json!(["posts:publish", "read:own", "write:own"])
    );

    for _ in 0..2 {
        let granted = admin
            .roles(
                "grantPermission",
                json!({ "roleId": role, "permission": "read:all" }),
            )
            .await;
        assert_eq!(
            granted.data("grantPermission"),
            &json!({ "errors": [], "role": { "permissions": [{ "name": "posts:publish" }, { "name": "read:all" }, { "name": "read:own" }] } })
        );
    }
    assert_eq!(
        ada.permissions().await,
        json!(["posts:publish", "read:all", "read:own", "write:own"])
    );
    for _ in 0..2 {
        let revoked = admin
            .roles(
                "revokePermission",
                json!({ "roleId": role, "permission": "read:all" }),
            )
            .await;
        assert_eq!(
            revoked.data("revokePermission/role/permissions"),
            &json!([{ "name": "posts:publish" }, { "name": "read:own" }])
        );
    }
    let deleted = admin
        .roles("deletePermission", json!({ "permissionId": id }))
        .await;
    assert_eq!(
        deleted.data("deletePermission"),
        &json!({ "errors": [], "deletedPermissionId": id })
    );
    assert_eq!(ada.permissions().await, json!(["read:own", "write:own"]));

    let held = admin.roles("deleteRole", json!({ "roleId": role })).await;
    assert_eq!(
        held.data("deleteRole"),
        &json!({ "errors": [{ "code": "PROTECTED", "path": ["input", "roleId"] }], "deletedRoleId": null })
    );
    assert_eq!(admin.roles("removeRole", membership).await.code(), "");
    let deleted = admin.roles("deleteRole", json!({ "roleId": role })).await;
    assert_eq!(
        deleted.data("deleteRole"),
        &json!({ "errors": [], "deletedRoleId": role })
    );
    assert_eq!(
        admin
            .roles("deleteRole", json!({ "roleId": role }))
            .await
            .code(),
        "NOT_FOUND"
    );
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
#[tokio::test(flavor = "multi_thread")]
async fn a_role_changes_as_far_as_it_is_not_of_the_system() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let role = admin.new_role("editor", &[]).await;
    app.advance(TimeDelta::minutes(1));
    let changed = admin
        .roles("updateRole", json!({ "roleId": role, "name": "Author", "description": "Writes", "isDefault": true, "requiresTwoFactor": true }))
        .await;
    let now = json!({ "id": role, "name": "Author", "description": "Writes", "isDefault": true, "isSystem": false, "requiresTwoFactor": true, "permissions": [] });
    assert_eq!(
        changed.data("updateRole"),
        &json!({ "errors": [], "role": now })
    );
    let same = admin.roles("updateRole", json!({ "roleId": role })).await;
    assert_eq!(same.data("updateRole/role"), &now, "what is left out stays");
    assert_eq!(
        admin
            .roles("deleteRole", json!({ "roleId": role }))
            .await
            .code(),
        "PROTECTED",
        "new accounts get it"
    );
    let cleared = admin
        .roles("updateRole", json!({ "roleId": role, "description": null, "isDefault": null, "requiresTwoFactor": null }))
        .await;
    assert_eq!(
        cleared.data("updateRole/role"),
        &json!({ "id": role, "name": "Author", "description": null, "isDefault": false, "isSystem": false, "requiresTwoFactor": false, "permissions": [] })
    );
    let null = admin
        .roles("updateRole", json!({ "roleId": role, "name": null }))
        .await;
    assert_eq!(null.rules(), ["REQUIRED"]);

    let (system, moderator, user) = (
        admin.role_id("admin").await,
        admin.role_id("moderator").await,
        admin.role_id("user").await,
    );
    let before = rights(&app).await;
    for (input, path) in [
        (json!({ "roleId": system, "isDefault": true }), "isDefault"),
        (json!({ "roleId": system, "name": "root" }), "name"),
        (
            json!({ "roleId": moderator, "name": "Moderator", "description": "x" }),
            "name",
        ),
    ] {
        let refused = admin.roles("updateRole", input).await;
        assert_eq!(
            refused.data("updateRole/errors"),
            &json!([{ "code": "PROTECTED", "path": ["input", path] }])
        );
    }
    for role in [&system, &moderator, &user] {
        assert_eq!(
            admin
                .roles("deleteRole", json!({ "roleId": role }))
                .await
                .code(),
            "PROTECTED"
        );
    }
    for name in ["read:own", "admin:system"] {
        let id = admin.permission_id(name).await;
        assert_eq!(
            admin
                .roles("deletePermission", json!({ "permissionId": id }))
                .await
                .code(),
            "PROTECTED"
        );
        let revoked = admin
            .roles(
                "revokePermission",
                json!({ "roleId": system, "permission": name }),
            )
            .await;
        assert_eq!(
            revoked.data("revokePermission/errors"),
            &json!([{ "code": "PROTECTED", "path": ["input", "permission"] }])
        );
    }
    assert_eq!(rights(&app).await, before);

    let changed = admin
        .roles("updateRole", json!({ "roleId": moderator, "name": "moderator", "description": "Looks after", "isDefault": true, "requiresTwoFactor": true }))
        .await;
    assert_eq!(
        changed.code(),
        "",
        "everything else of a role of the system"
    );
    let new = app.user("new").await;
    let owed = new.ask("{ viewer { twoFactorOwed } }").await;
    assert_eq!(
        owed.data("viewer/twoFactorOwed"),
        false,
        "the settings leave it to nobody by default"
    );
    let roles = new.ask("{ me { roles { name } } }").await;
    assert_eq!(
        roles.data("me/roles"),
        &json!([{ "name": "moderator" }, { "name": "user" }])
    );
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_and_unique_without_case() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let role = admin.new_role("Editor", &[]).await;
    assert_eq!(
        admin
            .roles("createPermission", json!({ "name": "posts:publish" }))
            .await
            .code(),
        ""
    );
    let before = rights(&app).await;
    for (name, rule) in [
        ("", "LENGTH"),
        ("  ", "LENGTH"),
        ("a\nb", "FORMAT"),
        ("a\u{202e}b", "FORMAT"),
        (&"ä".repeat(65), "LENGTH"),
    ] {
        for answer in [
            admin.roles("createRole", json!({ "name": name })).await,
            admin
                .roles("updateRole", json!({ "roleId": role, "name": name }))
                .await,
        ] {
            assert_eq!(answer.rules(), [rule], "{name:?}");
        }
    }
    for (name, rule) in [
        ("", "LENGTH"),
        ("Posts:publish", "FORMAT"),
        ("posts:", "FORMAT"),
        (":posts", "FORMAT"),
        ("a::b", "FORMAT"),
        ("a b", "FORMAT"),
        ("ä", "FORMAT"),
        (&"a".repeat(101), "LENGTH"),
    ] {
        assert_eq!(
            admin
                .roles("createPermission", json!({ "name": name }))
                .await
                .rules(),
            [rule],
            "{name:?}"
        );
    }
    for (field, input) in [
        (
            "createRole",
            json!({ "name": "x", "description": "x".repeat(501) }),
        ),
        (
            "updateRole",
            json!({ "roleId": role, "description": "x".repeat(501) }),
        ),
        (
            "createPermission",
            json!({ "name": "x", "description": "x".repeat(501) }),
        ),
    ] {
        assert_eq!(
            admin.roles(field, input).await.rules(),
            ["LENGTH"],
            "{field}"
        );
    }
    for (field, input) in [
        ("createRole", json!({ "name": "EDITOR" })),
        ("createRole", json!({ "name": "Admin" })),
        ("updateRole", json!({ "roleId": role, "name": "USER" })),
        ("createPermission", json!({ "name": "posts:publish" })),
        ("createPermission", json!({ "name": "admin:system" })),
    ] {
        let answer = admin.roles(field, input).await;
        assert_eq!(
            answer.data(&format!("{field}/errors")),
            &json!([{ "code": "TAKEN", "path": ["input", "name"] }])
        );
    }
    let many = vec!["read:own"; 101];
    let answer = admin
        .roles("createRole", json!({ "name": "x", "permissions": many }))
        .await;
    assert_eq!(
        answer.data("createRole/errors/0"),
        &json!({ "code": "INVALID_VALUE", "path": ["input", "permissions"], "rule": "LIST_LENGTH", "maximum": 100 })
    );
    let answer = admin
        .roles(
            "createRole",
            json!({ "name": "x", "permissions": ["read:own", "no:such"] }),
        )
        .await;
    assert_eq!(
        answer.data("createRole/errors"),
        &json!([{ "code": "NOT_FOUND", "path": ["input", "permissions", "1"] }])
    );
    assert_eq!(rights(&app).await, before, "nothing is half-written");
    let longest = "a".repeat(100);
    assert_eq!(
        admin
            .roles("createPermission", json!({ "name": longest }))
            .await
            .code(),
        ""
    );
    assert_eq!(admin.roles("createRole", json!({ "name": "ä".repeat(64), "description": "x".repeat(500), "permissions": vec!["read:own"; 100] })).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_other_things_name_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (role, permission) = (
        admin.role_id("user").await,
        admin.permission_id("read:own").await,
    );
    let before = rights(&app).await;
    for id in ["nonsense", &admin.id, &admin.session, &permission] {
        for (field, rest) in [
            ("updateRole", json!({ "description": "x" })),
            ("deleteRole", json!({})),
            ("grantPermission", json!({ "permission": "read:all" })),
            ("revokePermission", json!({ "permission": "read:own" })),
        ] {
            let mut input = rest;
            input["roleId"] = json!(id);
            let answer = admin.roles(field, input).await;
            assert_eq!(
                answer.data(&format!("{field}/errors")),
                &json!([{ "code": "NOT_FOUND", "path": ["input", "roleId"] }])
            );
        }
    }
    for id in ["nonsense", &admin.id, &role] {
        let answer = admin
            .roles("deletePermission", json!({ "permissionId": id }))
            .await;
        assert_eq!(
            answer.data("deletePermission/errors"),
            &json!([{ "code": "NOT_FOUND", "path": ["input", "permissionId"] }])
        );
    }
    for field in ["grantPermission", "revokePermission"] {
        let answer = admin
            .roles(field, json!({ "roleId": role, "permission": permission }))
            .await;
        assert_eq!(
            answer.data(&format!("{field}/errors")),
            &json!([{ "code": "NOT_FOUND", "path": ["input", "permission"] }])
        );
    }
    assert_eq!(rights(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_bounds_to_roles_and_permissions() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) SELECT gen_random_uuid(), 'r' || n, now(), now() FROM generate_series(4, 199) n;
             INSERT INTO permissions (id, name, created_at) SELECT gen_random_uuid(), 'p' || n, now() FROM generate_series(7, 499) n",
        )
        .await;
    for (field, name) in [("createRole", "last"), ("createPermission", "last")] {
        assert_eq!(
            admin.roles(field, json!({ "name": name })).await.code(),
            "",
            "{field}"
        );
        let before = rights(&app).await;
        let full = admin.roles(field, json!({ "name": "more" })).await;
        assert_eq!(full.code(), "REJECTED", "{field}");
        assert_eq!(rights(&app).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_a_role_and_when_is_told_to_who_may_see_them() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let moderator = admin.role_id("moderator").await;
    app.advance(TimeDelta::minutes(1));
    let membership = json!({ "roleId": moderator, "userId": ada.id });
    assert_eq!(admin.roles("assignRole", membership).await.code(), "");
    let held = "roleAssignments { role { name } assignedAt assignedBy { id username } }";
    let by_server = json!({ "role": { "name": "user" }, "assignedAt": "2026-11-30T08:00:00Z", "assignedBy": null });
    let by = |by: Value| json!([{ "role": { "name": "moderator" }, "assignedAt": "2026-11-30T08:01:00Z", "assignedBy": by }, by_server]);
    let query = format!("query($id: ID!) {{ user(by: {{ id: $id }}) {{ {held} }} }}");
    let (statements, seen) = app
        .statements(admin.gql(&query, json!({ "id": ada.id })))
        .await;
    assert_eq!(
        seen.data("user/roleAssignments"),
        &by(json!({ "id": admin.id, "username": "admin" }))
    );
    // The account, how it came by its roles, who gave them; and what is written down of the reading.
    assert_eq!(statements, 5);
    // A moderator sees who gave it; taken away, nobody does who may not read accounts.
    let own = ada.ask(&format!("{{ me {{ {held} }} }}")).await;
    assert_eq!(
        own.data("me/roleAssignments/0/assignedBy/username"),
        "admin"
    );
    assert_eq!(
        admin
            .roles(
                "revokePermission",
                json!({ "roleId": moderator, "permission": "read:all" })
            )
            .await
            .code(),
        ""
    );
    let own = ada.ask(&format!("{{ me {{ {held} }} }}")).await;
    assert_eq!(own.data("me/roleAssignments"), &by(Value::Null));

    // A batch for the whole list, however many hold something.
    for name in ["bob", "eve"] {
        app.user_with_role(name, "moderator").await;
    }
    let list = format!("{{ users(first: 50) {{ nodes {{ {held} }} }} }}");
    // Who asks is remembered anew.
    admin.ask("{ me { id } }").await;
    let (statements, seen) = app.statements(admin.ask(&list)).await;
    assert_eq!(seen.data("users/nodes").as_array().map(Vec::len), Some(4));
    assert_eq!(statements, 5);
    app.db
        .sql("DELETE FROM users WHERE username = 'admin'")
        .await;
    let own = ada.ask(&format!("{{ me {{ {held} }} }}")).await;
    assert_eq!(own.data("me/roleAssignments"), &by(Value::Null), "erased");
}
