//! Laws that hold for whatever comes, of what the database does: who may hand out which rights, and how preferences
//! merge.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::harness::roles::{clerk, rights};
use crate::harness::{Client, TestApp};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })
}

/// Permissions of applications.
const PERMISSIONS: [&str; 4] = ["a:a", "b:b", "c:c", "d:d"];

#[derive(Clone, Copy, Debug)]
enum Change {
    Grant,
    Revoke,
    Create,
    Update,
    Delete,
    Assign,
    Remove,
}

const CHANGES: [Change; 7] = [
    Change::Grant,
    Change::Revoke,
    Change::Create,
    Change::Update,
    Change::Delete,
    Change::Assign,
    Change::Remove,
];

fn some() -> impl Strategy<Value = BTreeSet<&'static str>> {
    prop::sample::subsequence(&PERMISSIONS[..], 0..=PERMISSIONS.len())
        .prop_map(|names| names.into_iter().collect())
}

/// Lets the role `name` grant these permissions of applications and no others, past the API.
async fn let_grant(app: &TestApp, name: &str, permissions: &BTreeSet<&str>) {
    let list: Vec<_> = permissions.iter().map(|name| format!("'{name}'")).collect();
    app.db
        .sql(&format!(
            "DELETE FROM role_permissions USING roles, permissions WHERE role_id = roles.id AND permission_id = permissions.id
                 AND roles.name = '{name}' AND NOT permissions.is_system;
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
                 WHERE roles.name = '{name}' AND permissions.name = ANY(ARRAY[{}]::text[])",
            list.join(", ")
        ))
        .await;
}

#[test]
fn nobody_hands_out_or_takes_rights_that_they_do_not_hold_whatever_the_rights_are() {
    let runtime = Runtime::new().expect("a runtime");
    let app = runtime.block_on(TestApp::new());
    let (clerk, ada) = runtime.block_on(async {
        let admin = app.admin().await;
        for name in PERMISSIONS {
            let created = admin
                .roles("createPermission", json!({ "name": name }))
                .await;
            assert_eq!(created.code(), "");
        }
        let clerk = clerk(&app, "clerk", &["admin:system", "admin:users"]).await;
        (clerk, app.user("ada").await)
    });
    let strategy = (
        some(),
        some(),
        some(),
        select(&PERMISSIONS[..]),
        select(&CHANGES[..]),
    );
    let law = |(held, granted, named, one, change): (
        BTreeSet<_>,
        BTreeSet<_>,
        BTreeSet<_>,
        _,
        _,
    )| {
        runtime.block_on(async {
            let_grant(&app, "clerk", &held).await;
            app.db
                .sql(
                    "INSERT INTO roles (id, name, created_at, updated_at) SELECT gen_random_uuid(), 'target', now(), now()
                         WHERE NOT EXISTS (SELECT FROM roles WHERE name = 'target');
                     DELETE FROM roles WHERE name = 'made';
                     DELETE FROM user_roles USING roles WHERE role_id = roles.id AND name = 'target'",
                )
                .await;
            let_grant(&app, "target", &granted).await;
            if matches!(change, Change::Remove) {
                let give = "INSERT INTO user_roles (user_id, role_id, assigned_at)";
                let whom = format!("SELECT '{}', id, now() FROM roles WHERE name = 'target'", ada.user_id());
                app.db.sql(&format!("{give} {whom}")).await;
            }
            let before = rights(&app).await;
            let role = clerk.role_id("target").await;
            let by_permission = json!({ "roleId": role, "permission": one });
            let membership = json!({ "roleId": role, "userId": ada.id });
            // What the change touches: what the role grants, and what it is to grant.
            let (field, input, mut touched) = match change {
                Change::Grant => ("grantPermission", by_permission, BTreeSet::from([one])),
                Change::Revoke => ("revokePermission", by_permission, BTreeSet::from([one])),
                Change::Create => ("createRole", json!({ "name": "made", "permissions": named }), named),
                Change::Update => ("updateRole", json!({ "roleId": role, "description": "x" }), BTreeSet::new()),
                Change::Delete => ("deleteRole", json!({ "roleId": role }), BTreeSet::new()),
                Change::Assign => ("assignRole", membership, BTreeSet::new()),
                Change::Remove => ("removeRole", membership, BTreeSet::new()),
            };
            if !matches!(change, Change::Create) {
                touched.extend(&granted);
            }
            let answer = clerk.roles(field, input).await;
            if touched.is_subset(&held) {
                prop_assert!(answer.codes().is_empty(), "{}", answer.text);
                prop_assert_eq!(answer.at(&format!("{field}/errors")), &json!([]));
            } else {
                prop_assert_eq!(answer.codes(), ["FORBIDDEN"], "{}", answer.text);
                prop_assert_eq!(rights(&app).await, before, "nothing changed");
            }
            Ok(())
        })
    };
    let held = runner(24).run(&strategy, law);
    assert_eq!(held.map_err(|error| error.to_string()), Ok(()));
}

/// JSON as applications keep it; with null, which removes.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => "\\PC{0,8}".prop_map(Value::from),
        // Two of them are more than there is room for.
        1 => Just(Value::from("x".repeat(9000))),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-c]", inner), 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn patch() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[a-c]|ä|a\\.b|\"", value()), 0..6)
        .prop_map(|pairs| pairs.into_iter().collect())
}

/// What is kept of the preferences after `patch`, and whether it was refused.
async fn merged(client: &Client<'_>, patch: &Value) -> (Value, bool) {
    let document = "mutation($patch: JSON) { updateProfile(input: { preferences: $patch }) { errors { code ... on InvalidValueError { rule } } } \
        after: updateProfile(input: {}) { profile { preferences } } }";
    let answer = client.gql(document, json!({ "patch": patch })).await;
    let errors = answer
        .data("updateProfile/errors")
        .as_array()
        .expect("a list")
        .len();
    (answer.data("after/profile/preferences").clone(), errors > 0)
}

/// Most bytes of preferences, as documented.
const MOST_BYTES: usize = 16 * 1024;

#[test]
fn preferences_merge_key_by_key_whatever_they_are() {
    let runtime = Runtime::new().expect("a runtime");
    let app = runtime.block_on(TestApp::new());
    let ada = runtime.block_on(app.user("ada"));
    let law = |(one, two): (Map<String, Value>, Map<String, Value>)| {
        runtime.block_on(async {
            merged(&ada, &Value::Null).await;
            let mut kept = Map::new();
            for patch in [&one, &two, &two] {
                let mut expected = kept.clone();
                expected.extend(patch.clone());
                expected.retain(|key, value| !(value.is_null() && patch.contains_key(key)));
                let patch = Value::Object(patch.clone());
                let (found, refused) = merged(&ada, &patch).await;
                let fits = |value: &Value| value.to_string().len() <= MOST_BYTES;
                let expected = Value::Object(expected);
                if refused {
                    prop_assert!(!fits(&patch) || !fits(&expected), "it had room");
                    prop_assert_eq!(&found, &Value::Object(kept.clone()), "nothing changed");
                } else {
                    prop_assert_eq!(&found, &expected);
                    kept = found.as_object().expect("an object").clone();
                }
            }
            Ok(())
        })
    };
    let held = runner(24).run(&(patch(), patch()), law);
    assert_eq!(held.map_err(|error| error.to_string()), Ok(()));
}
