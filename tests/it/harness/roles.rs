//! What administrators do with roles and permissions, one request each.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, TestApp};

impl Client<'_> {
    /// A mutation on roles or permissions with this input.
    pub async fn roles(&self, field: &str, input: Value) -> Answer {
        let mut name = field.to_owned();
        name[..1].make_ascii_uppercase();
        let (of_type, selection) = match field {
            "createRole" | "updateRole" => (
                format!("{name}Input"),
                "role { id name description isDefault isSystem requiresTwoFactor permissions { name } }",
            ),
            "grantPermission" | "revokePermission" => (
                "RolePermissionInput".to_owned(),
                "role { permissions { name } }",
            ),
            "createPermission" => (
                format!("{name}Input"),
                "permission { id name description isSystem }",
            ),
            "deleteRole" => (format!("{name}Input"), "deletedRoleId"),
            "deletePermission" => (format!("{name}Input"), "deletedPermissionId"),
            "assignRole" | "removeRole" => ("RoleMembershipInput".to_owned(), "user { id }"),
            other => panic!("{other} is new here"),
        };
        let document = format!(
            "mutation($input: {of_type}!) {{ {field}(input: $input) {{ errors {{ code path ... on InvalidValueError {{ rule maximum }} }} {selection} }} }}"
        );
        self.gql(&document, json!({ "input": input })).await
    }

    /// Adds a role that grants these permissions; gives its id.
    pub async fn new_role(&self, name: &str, permissions: &[&str]) -> String {
        let input = json!({ "name": name, "permissions": permissions });
        let answer = self.roles("createRole", input).await;
        assert_eq!(answer.code(), "", "{}", answer.text);
        answer
            .at("createRole/role/id")
            .as_str()
            .expect("an id")
            .to_owned()
    }

    pub async fn role_id(&self, name: &str) -> String {
        let query = "query($name: String) { role(name: $name) { id } }";
        let answer = self.gql(query, json!({ "name": name })).await;
        answer.data("role/id").as_str().expect("an id").to_owned()
    }

    pub async fn permission_id(&self, name: &str) -> String {
        let answer = self.ask("{ permissions { id name } }").await;
        let all = answer
            .data("permissions")
            .as_array()
            .expect("a list")
            .clone();
        let found = all.iter().find(|permission| permission["name"] == name);
        found.expect("a permission")["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    pub async fn permissions(&self) -> Value {
        let answer = self.ask("{ viewer { permissions } }").await;
        answer.data("viewer/permissions").clone()
    }
}

/// What is kept of roles and permissions, as text.
pub async fn rights(app: &TestApp) -> String {
    let table =
        |query: &str| format!("query_to_xml('{query} ORDER BY 1, 2', true, false, '')::text");
    let tables = [
        table("SELECT * FROM roles"),
        table("SELECT * FROM permissions"),
        table("SELECT * FROM role_permissions"),
        table("SELECT * FROM user_roles"),
    ];
    app.db
        .text(&format!("SELECT concat({})", tables.join(", ")))
        .await
}

/// An administrator of roles who holds these permissions beside their own, and nothing else.
pub async fn clerk<'a>(app: &'a TestApp, name: &str, permissions: &[&str]) -> Client<'a> {
    let list = permissions
        .iter()
        .map(|name| format!("'{name}'"))
        .collect::<Vec<_>>()
        .join(", ");
    app.db
        .sql(&format!(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), '{name}', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
             WHERE roles.name = '{name}' AND permissions.name IN ({list})"
        ))
        .await;
    app.user_with_role(name, name).await
}
