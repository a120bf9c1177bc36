//! Who may hand out and take what: nobody what they do not hold, as of now.

use cardea::db::single_connection;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::roles::{clerk, rights};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_or_takes_what_they_do_not_hold() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let clerk = clerk(&app, "clerk", &["admin:system", "admin:users"]).await;
    let (moderator, user) = (
        admin.role_id("moderator").await,
        admin.role_id("user").await,
    );
    let own = admin.role_id("clerk").await;
    assert_eq!(
        admin
            .roles("createPermission", json!({ "name": "launch:rockets" }))
            .await
            .code(),
        ""
    );
    let rockets = admin.permission_id("launch:rockets").await;
    let before = rights(&app).await;
    for (field, input) in [
        (
            "createRole",
            json!({ "name": "x", "permissions": ["read:own", "read:all"] }),
        ),
        (
            "grantPermission",
            json!({ "roleId": own, "permission": "read:all" }),
        ),
        (
            "grantPermission",
            json!({ "roleId": moderator, "permission": "read:own" }),
        ),
        (
            "revokePermission",
            json!({ "roleId": user, "permission": "read:all" }),
        ),
        (
            "revokePermission",
            json!({ "roleId": moderator, "permission": "read:own" }),
        ),
        (
            "updateRole",
            json!({ "roleId": moderator, "isDefault": true }),
        ),
        (
            "updateRole",
            json!({ "roleId": moderator, "description": "x" }),
        ),
        ("deleteRole", json!({ "roleId": moderator })),
        ("deletePermission", json!({ "permissionId": rockets })),
        (
            "assignRole",
            json!({ "roleId": moderator, "userId": clerk.id }),
        ),
        (
            "removeRole",
            json!({ "roleId": moderator, "userId": admin.id }),
        ),
    ] {
        let answer = clerk.roles(field, input).await;
        assert_eq!(answer.codes(), ["FORBIDDEN"], "{field} {}", answer.text);
        assert_eq!(answer.at(field), &Value::Null);
    }
    assert_eq!(rights(&app).await, before);
    assert_eq!(
        clerk
            .roles(
                "grantPermission",
                json!({ "roleId": own, "permission": "read:own" })
            )
            .await
            .code(),
        ""
    );
    // What no role grants is nobody's to hand out, and anybody's who manages them to remove.
    let system = admin.role_id("admin").await;
    assert_eq!(
        admin
            .roles(
                "revokePermission",
                json!({ "roleId": system, "permission": "launch:rockets" })
            )
            .await
            .code(),
        ""
    );
    let lost = admin
        .roles(
            "grantPermission",
            json!({ "roleId": own, "permission": "launch:rockets" }),
        )
        .await;
    assert_eq!(lost.codes(), ["FORBIDDEN"]);
    assert_eq!(
        clerk
            .roles("deletePermission", json!({ "permissionId": rockets }))
            .await
            .code(),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_takes_the_callers_right_stops_those_behind_it() {
    let app = TestApp::new().await;
    let (_other, ada) = (app.admin().await, app.user("ada").await);
    let second = app.user_with_role("second", "admin").await;
    let role = second.role_id("admin").await;
    let document = "mutation { demoted: removeRole(input: { roleId: \"ROLE\", userId: \"ME\" }) { errors { code } } after: FIELD }";
    for field in [
        "createRole(input: { name: \"x\", permissions: [\"read:own\"] }) { errors { code } }",
        "createPermission(input: { name: \"x\" }) { errors { code } }",
        "updateRole(input: { roleId: \"ROLE\", description: \"x\" }) { errors { code } }",
        "assignRole(input: { roleId: \"ROLE\", userId: \"ADA\" }) { errors { code } }",
        "updateUserStatus(input: { userId: \"ADA\", isActive: false }) { errors { code } }",
        "resetTwoFactor(input: { userId: \"ADA\" }) { errors { code } }",
        "unlockUser(input: { userId: \"ADA\" }) { errors { code } }",
    ] {
        let document = document
            .replace("FIELD", field)
            .replace("ROLE", &role)
            .replace("ME", &second.id)
            .replace("ADA", &ada.id);
        let answer = second.ask(&document).await;
        assert_eq!(answer.at("demoted/errors"), &json!([]), "{}", answer.text);
        assert_eq!(answer.codes(), ["FORBIDDEN"], "{field}: {}", answer.text);
        assert_eq!(
            app.db
                .text("SELECT status FROM users WHERE username = 'ada'")
                .await,
            "active"
        );
        app.grant(&second, "admin").await;
    }
    // Nor does an ended session do anything more.
    let document = "mutation($password: String!, $role: ID!, $ada: ID!) { \
        closed: deactivateAccount(input: { password: $password }) { errors { code } } \
        after: assignRole(input: { roleId: $role, userId: $ada }) { errors { code } } }";
    let input = json!({ "password": PASSWORD, "role": role, "ada": ada.id });
    let answer = second.gql(document, input).await;
    assert_eq!(answer.at("closed/errors"), &json!([]));
    assert_eq!(answer.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(ada.permissions().await, json!(["read:own", "write:own"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_while_its_holder_waits_is_not_handed_on() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let clerk = clerk(
        &app,
        "clerk",
        &[
            "admin:system",
            "admin:users",
            "read:all",
            "read:own",
            "write:own",
        ],
    )
    .await;
    let (moderator, own) = (
        admin.role_id("moderator").await,
        admin.role_id("clerk").await,
    );
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    held.batch_execute("BEGIN; SELECT FROM roles WHERE name = 'admin' FOR NO KEY UPDATE")
        .await
        .expect("the lock");
    let (revoked, assigned) = join(
        admin.roles(
            "revokePermission",
            json!({ "roleId": own, "permission": "read:all" }),
        ),
        async {
            app.db.until_waiting(1).await;
            let (assigned, ()) = join(
                clerk.roles(
                    "assignRole",
                    json!({ "roleId": moderator, "userId": ada.id }),
                ),
                async {
                    app.db.until_waiting(2).await;
                    held.batch_execute("COMMIT").await.expect("released");
                },
            )
            .await;
            assigned
        },
    )
    .await;
    assert_eq!(revoked.code(), "");
    assert_eq!(assigned.codes(), ["FORBIDDEN"]);
    assert_eq!(ada.permissions().await, json!(["read:own", "write:own"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_being_given_is_not_removed() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let role = admin.new_role("editor", &[]).await;
    // Past the server, where nobody takes turns.
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    let give = "BEGIN; INSERT INTO user_roles (user_id, role_id, assigned_at) \
        SELECT users.id, roles.id, now() FROM users, roles WHERE username = 'ada' AND name = 'editor'";
    held.batch_execute(give).await.expect("given");
    let (deleted, ()) = join(
        admin.roles("deleteRole", json!({ "roleId": role })),
        async {
            app.db.until_waiting(1).await;
            held.batch_execute("COMMIT").await.expect("released");
        },
    )
    .await;
    assert_eq!(deleted.code(), "PROTECTED");
    let roles = ada.ask("{ me { roles { name } } }").await;
    assert_eq!(
        roles.data("me/roles"),
        &json!([{ "name": "editor" }, { "name": "user" }])
    );
    // Of a removal and a gift at once, the first wins.
    let (membership, role_input) = (
        json!({ "roleId": role, "userId": admin.id }),
        json!({ "roleId": role }),
    );
    assert_eq!(
        admin
            .roles("removeRole", json!({ "roleId": role, "userId": ada.id }))
            .await
            .code(),
        ""
    );
    let (deleted, assigned) = join(
        admin.roles("deleteRole", role_input),
        admin.roles("assignRole", membership),
    )
    .await;
    let outcome = (deleted.code(), assigned.code());
    assert!(
        outcome == ("", "NOT_FOUND") || outcome == ("PROTECTED", ""),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hands_out_rights_needs_a_recent_sign_in() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let role = admin.role_id("moderator").await;
    let permission = admin.permission_id("read:all").await;
    app.advance(TimeDelta::minutes(6));
    let before = rights(&app).await;
    let of_role = json!({ "roleId": role, "permission": "read:own" });
    let membership = json!({ "roleId": role, "userId": ada.id });
    let calls = [
        ("createRole", json!({ "name": "x" })),
        ("updateRole", json!({ "roleId": role, "description": "x" })),
        ("deleteRole", json!({ "roleId": role })),
        ("createPermission", json!({ "name": "x" })),
        ("deletePermission", json!({ "permissionId": permission })),
        ("grantPermission", of_role.clone()),
        ("revokePermission", of_role),
        ("assignRole", membership.clone()),
        ("removeRole", membership),
    ];
    for (field, input) in &calls {
        let answer = admin.roles(field, input.clone()).await;
        assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"], "{field}");
        assert_eq!(
            answer.json["errors"][0]["extensions"]["methods"],
            json!(["PASSWORD"])
        );
        let denied = ada.roles(field, input.clone()).await;
        assert_eq!(
            denied.codes(),
            ["FORBIDDEN"],
            "{field}: whoever may not is not asked for a password"
        );
    }
    let reset = admin
        .gql(
            "mutation($id: ID!) { resetTwoFactor(input: { userId: $id }) { errors { code } } }",
            json!({ "id": ada.id }),
        )
        .await;
    assert_eq!(reset.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(rights(&app).await, before);
    assert_eq!(admin.reauthenticate(PASSWORD).await.code(), "");
    assert_eq!(
        admin
            .roles("createRole", json!({ "name": "x" }))
            .await
            .code(),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_rights_is_seen_by_the_other_server_at_the_next_request() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let (second, other) = app.second(&[]).await;
    let role = admin.new_role("editor", &[]).await;
    assert_eq!(
        admin
            .roles("createPermission", json!({ "name": "posts:publish" }))
            .await
            .code(),
        ""
    );
    let permission = admin.permission_id("posts:publish").await;
    let held = async || {
        // What this server has committed reaches the other one by the same line.
        second.access.catch_up().await;
        let body = json!({ "query": "{ viewer { permissions } }" }).to_string();
        let request = axum::http::Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", ada.access_token))
            .body(axum::body::Body::from(body))
            .expect("a request");
        let answer = tower::ServiceExt::oneshot(other.clone(), request).await;
        let answer = crate::harness::Answer::read(answer.expect("an answer")).await;
        answer
            .data("viewer/permissions")
            .to_string()
            .contains("posts:publish")
    };
    assert!(!held().await);
    let membership = json!({ "roleId": role, "userId": ada.id });
    let grant = json!({ "roleId": role, "permission": "posts:publish" });
    for (field, input, expected) in [
        ("assignRole", &membership, false),
        ("grantPermission", &grant, true),
        ("revokePermission", &grant, false),
        ("grantPermission", &grant, true),
        ("removeRole", &membership, false),
        ("assignRole", &membership, true),
        (
            "deletePermission",
            &json!({ "permissionId": permission }),
            false,
        ),
    ] {
        assert_eq!(
            admin.roles(field, input.clone()).await.code(),
            "",
            "{field}"
        );
        assert_eq!(held().await, expected, "{field}");
    }
    second.shutdown.cancel();
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_gets_more_rights_while_its_closing_waits_is_out_of_reach() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let clerk = clerk(&app, "clerk", &["admin:users"]).await;
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    held.batch_execute(&format!(
        "BEGIN; SELECT FROM roles WHERE name = 'admin' FOR NO KEY UPDATE; \
         INSERT INTO user_roles (user_id, role_id, assigned_at) SELECT '{}', id, now() FROM roles WHERE name = 'admin'",
        ada.user_id()
    ))
    .await
    .expect("promoted");
    let (closed, ()) = join(clerk.set_status(&ada.id, false, None), async {
        app.db.until_waiting(1).await;
        held.batch_execute("COMMIT").await.expect("released");
    })
    .await;
    assert_eq!(closed.codes(), ["FORBIDDEN"], "{}", closed.text);
    assert!(ada.is_signed_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_of_somebody_above_are_out_of_reach() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let clerk = clerk(&app, "clerk", &["admin:users"]).await;
    let user = admin.role_id("user").await;
    let before = rights(&app).await;
    for mutation in ["removeRole", "assignRole"] {
        let input = json!({ "roleId": user, "userId": admin.id });
        let answer = clerk.roles(mutation, input).await;
        assert_eq!(answer.codes(), ["FORBIDDEN"], "{mutation}");
    }
    assert_eq!(before, rights(&app).await);
}
