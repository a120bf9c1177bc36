//! Who may use which field: every root field as every kind of caller, and every private field.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use cardea::graphql::Api;
use cardea::graphql::access::Owner;
use cardea::graphql::sdl::Access;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::socket::until;
use crate::harness::{Answer, TestApp};

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Unauthenticated,
    Forbidden,
}
use Outcome::{Allowed as A, Forbidden as F, Unauthenticated as U};

/// A root field, a document that uses it, and what comes of it for nobody, an account that has not
/// proved its address, a user, a moderator and an administrator. `ID` stands for the id of another
/// account, `ROLE` for that of the role `moderator`.
pub const FIELDS: [(&str, &str, [Outcome; 5]); 69] = [
    (
        "Query.auditEvents",
        "{ auditEvents(first: 1) { nodes { action } } }",
        [U, U, F, F, A],
    ),
    (
        "Query.authOptions",
        "{ authOptions { registrationOpen } }",
        [A, U, A, A, A],
    ),
    ("Query.me", "{ me { id } }", [A, U, A, A, A]),
    ("Query.node", "{ node(id: \"ID\") { id } }", [U, U, A, A, A]),
    (
        "Query.nodes",
        "{ nodes(ids: [\"ID\"]) { id } }",
        [U, U, A, A, A],
    ),
    (
        "Query.permissions",
        "{ permissions { name } }",
        [U, U, A, A, A],
    ),
    (
        "Query.role",
        "{ role(name: \"user\") { id } }",
        [U, U, F, F, A],
    ),
    ("Query.roles", "{ roles { id } }", [U, U, F, F, A]),
    (
        "Query.user",
        "{ user(by: { id: \"ID\" }) { id } }",
        [U, U, A, A, A],
    ),
    ("Query.users", "{ users { nodes { id } } }", [U, U, F, A, A]),
    (
        "Query.viewer",
        "{ viewer { isAuthenticated } }",
        [A, U, A, A, A],
    ),
    (
        "Mutation.assignRole",
        "mutation { assignRole(input: { userId: \"ID\", roleId: \"ROLE\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.removeRole",
        "mutation { removeRole(input: { userId: \"ID\", roleId: \"ROLE\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.createRole",
        "mutation { createRole(input: { name: \"\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.createUser",
        "mutation { createUser(input: { email: \"\", fullName: \"\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.importUsers",
        "mutation { importUsers(input: { rows: [] }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.updateUser",
        "mutation { updateUser(input: { userId: \"ID\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.revokeUserSessions",
        "mutation { revokeUserSessions(input: { userId: \"ID\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.updateRole",
        "mutation { updateRole(input: { roleId: \"ROLE\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.deleteRole",
        "mutation { deleteRole(input: { roleId: \"x\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.createPermission",
        "mutation { createPermission(input: { name: \"\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.deletePermission",
        "mutation { deletePermission(input: { permissionId: \"x\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.grantPermission",
        "mutation { grantPermission(input: { roleId: \"ROLE\", permission: \"read:all\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.revokePermission",
        "mutation { revokePermission(input: { roleId: \"ROLE\", permission: \"x\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.login",
        "mutation { login(input: { identifier: \"x\", password: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.refreshToken",
        "mutation { refreshToken(input: { refreshToken: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.register",
        "mutation { register(input: { email: \"new@example.org\", fullName: \"New\", password: \"Correct-Horse-7\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.resendVerification",
        "mutation { resendVerification(input: { email: \"x@example.org\" }) { accepted } }",
        [A; 5],
    ),
    (
        "Mutation.verifyEmail",
        "mutation { verifyEmail(input: { token: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.updateBackground",
        "mutation { updateBackground(input: { primaryDomain: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.updatePersonalization",
        "mutation { updatePersonalization(input: { preferredCategories: [\"x\"] }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.updateProfile",
        "mutation { updateProfile(input: { bio: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Query.sessions",
        "{ sessions { nodes { id } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.changePassword",
        "mutation { changePassword(input: { currentPassword: \"x\", newPassword: \"Other-Horse-8\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.confirmEmailChange",
        "mutation { confirmEmailChange(input: { token: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.deactivateAccount",
        "mutation { deactivateAccount(input: { password: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.exportMyData",
        "mutation { exportMyData { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.cancelErasure",
        "mutation { cancelErasure { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.eraseAccount",
        "mutation { eraseAccount(input: { password: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.eraseUser",
        "mutation { eraseUser(input: { userId: \"x\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.logoutAll",
        "mutation { logoutAll(input: { keepCurrent: true }) { endedSessions } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.reactivateAccount",
        "mutation { reactivateAccount(input: { token: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.reauthenticate",
        "mutation { reauthenticate(input: { password: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.requestEmailChange",
        "mutation { requestEmailChange(input: { newEmail: \"y@example.org\" }) { accepted } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.requestPasswordReset",
        "mutation { requestPasswordReset(input: { email: \"x@example.org\" }) { accepted } }",
        [A; 5],
    ),
    (
        "Mutation.resetPassword",
        "mutation { resetPassword(input: { token: \"x\", newPassword: \"Other-Horse-8\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.revokeSession",
        "mutation { revokeSession(input: { sessionId: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.startOAuthSignIn",
        "mutation { startOAuthSignIn(input: { provider: \"x\", redirectUri: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.finishOAuthSignIn",
        "mutation { finishOAuthSignIn(input: { provider: \"x\", state: \"x\", code: \"x\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.unlinkAccount",
        "mutation { unlinkAccount(input: { linkedAccountId: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.unlockUser",
        "mutation { unlockUser(input: { userId: \"ID\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.updateUserStatus",
        "mutation { updateUserStatus(input: { userId: \"ID\", isActive: true }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Query.loginStats",
        "{ loginStats { successes } }",
        [U, U, F, F, A],
    ),
    (
        "Query.userStats",
        "{ userStats { total } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.enableTwoFactor",
        "mutation { enableTwoFactor { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.confirmTwoFactor",
        "mutation { confirmTwoFactor(input: { code: \"000000\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.disableTwoFactor",
        "mutation { disableTwoFactor(input: { twoFactorCode: \"000000\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.regenerateRecoveryCodes",
        "mutation { regenerateRecoveryCodes(input: { twoFactorCode: \"000000\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.resetTwoFactor",
        "mutation { resetTwoFactor(input: { userId: \"ID\" }) { errors { code } } }",
        [U, U, F, F, A],
    ),
    (
        "Mutation.verifyTwoFactor",
        "mutation { verifyTwoFactor(input: { challengeToken: \"x\", code: \"000000\" }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.startPasskeyRegistration",
        "mutation { startPasskeyRegistration { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.finishPasskeyRegistration",
        "mutation { finishPasskeyRegistration(input: { challengeToken: \"x\", credential: {}, name: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.renamePasskey",
        "mutation { renamePasskey(input: { passkeyId: \"x\", name: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.removePasskey",
        "mutation { removePasskey(input: { passkeyId: \"x\" }) { errors { code } } }",
        [U, U, A, A, A],
    ),
    (
        "Mutation.startPasskeySignIn",
        "mutation { startPasskeySignIn { errors { code } } }",
        [A; 5],
    ),
    (
        "Mutation.finishPasskeySignIn",
        "mutation { finishPasskeySignIn(input: { challengeToken: \"x\", credential: {} }) { errors { code } } }",
        [A; 5],
    ),
    (
        "Query.__schema",
        "{ __schema { queryType { name } } }",
        [A, U, A, A, A],
    ),
    (
        "Query.__type",
        "{ __type(name: \"User\") { name } }",
        [A, U, A, A, A],
    ),
    // Last: it ends the session that it is called with.
    (
        "Mutation.logout",
        "mutation { logout { endedSessions } }",
        [A; 5],
    ),
];

/// The same for subscriptions; what is allowed begins a stream.
const SUBSCRIPTIONS: [(&str, &str, [Outcome; 5]); 3] = [
    (
        "Subscription.auditEventAdded",
        "subscription { auditEventAdded { action } }",
        [U, U, F, F, A],
    ),
    (
        "Subscription.sessionRevoked",
        "subscription { sessionRevoked { reason } }",
        [U, U, A, A, A],
    ),
    (
        "Subscription.userStatusChanged",
        "subscription { userStatusChanged { userId } }",
        [U, U, F, F, A],
    ),
];

/// Everything in the database but the audit trail, which tells of the asking, and what limits count.
async fn kept(app: &TestApp) -> String {
    app.db
        .text(
            "SELECT string_agg(query_to_xml(format('SELECT * FROM %I', tablename), true, false, '')::text, '' ORDER BY tablename) \
             FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'audit_%' AND tablename <> 'rate_limits'",
        )
        .await
}

fn outcome(answer: &Answer) -> Outcome {
    let codes = answer.codes();
    if answer.status == StatusCode::UNAUTHORIZED || codes.contains(&"UNAUTHENTICATED") {
        U
    } else if codes.contains(&"FORBIDDEN") {
        F
    } else {
        assert!(codes.is_empty(), "{}", answer.text);
        A
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_answers_every_kind_of_caller_as_the_table_says() {
    let app = TestApp::new().await;
    let other = app.user("other").await;
    let pending = app.user("pending").await;
    let tokens = [
        None,
        Some(pending.access_token.clone()),
        Some(app.user("user").await.access_token),
        Some(
            app.user_with_role("moderator", "moderator")
                .await
                .access_token,
        ),
        Some(app.admin().await.access_token),
    ];
    app.db
        .sql("UPDATE users SET status = 'pending' WHERE username = 'pending'")
        .await;
    app.app.access.catch_up().await;
    let role = app
        .db
        .text("SELECT id::text FROM roles WHERE name = 'moderator'")
        .await;
    let role = cardea::graphql::node::Kind::Role.id(role.parse().expect("a UUID"));
    for (field, document, expected) in FIELDS {
        let document = document
            .replace("ID\"", &format!("{}\"", other.id))
            .replace("ROLE\"", &format!("{}\"", *role));
        for (token, expected) in tokens.iter().zip(expected) {
            let before = kept(&app).await;
            let answer = app.gql_as(token.as_deref(), &document, Value::Null).await;
            assert_eq!(outcome(&answer), expected, "{field}: {}", answer.text);
            if expected != A {
                assert_eq!(
                    before,
                    kept(&app).await,
                    "{field} was refused and changed something"
                );
            }
        }
    }
    until("the line to the database", || app.app.access.is_believed()).await;
    // The last call of the table has ended the sessions.
    let tokens = [
        None,
        tokens[1].clone(),
        Some(login(&app, "user").await),
        Some(login(&app, "moderator").await),
        Some(login(&app, "admin").await),
    ];
    for (field, document, expected) in SUBSCRIPTIONS {
        for (token, expected) in tokens.iter().zip(expected) {
            let before = kept(&app).await;
            let begun = subscribe(&app, token.as_deref(), document).await;
            assert_eq!(begun, expected, "{field}");
            assert_eq!(before, kept(&app).await, "{field} changed something");
        }
    }
}

async fn login(app: &TestApp, name: &str) -> String {
    let document = "mutation($name: String!) { login(input: { identifier: $name, password: \"Correct-Horse-7\" }) { \
        result { ... on SignedIn { accessToken } } } }";
    let answer = app.gql(document, json!({ "name": name })).await;
    let token = answer.data("login/result/accessToken").as_str();
    token.expect("a token").to_owned()
}

async fn subscribe(app: &TestApp, token: Option<&str>, document: &str) -> Outcome {
    let mut request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "text/event-stream");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = json!({ "query": document }).to_string();
    let request = request.body(Body::from(body)).expect("a request");
    let response = app.router.clone().oneshot(request).await;
    let response = response.expect("the router always answers");
    if response.status() == StatusCode::OK {
        assert_eq!(
            response.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        return A;
    }
    outcome(&Answer::read(response).await)
}

#[test]
fn the_table_names_every_root_field() {
    let api = Api::new().expect("the schema is sound");
    let fields = |root: &'static str| {
        api.rules()
            .fields(root)
            .map(move |(name, _)| format!("{root}.{name}"))
    };
    let in_schema: BTreeSet<_> = fields("Query")
        .chain(fields("Mutation"))
        .chain(fields("Subscription"))
        .collect();
    let in_table: BTreeSet<_> = FIELDS
        .iter()
        .chain(&SUBSCRIPTIONS)
        .map(|(field, ..)| (*field).to_owned())
        .filter(|field| !field.contains("__"))
        .collect();
    assert_eq!(in_schema, in_table);
}

#[test]
fn every_root_field_states_one_rule_and_guarded_fields_can_be_null() {
    let api = Api::new().expect("the schema is sound");
    for of_type in api.rules().types() {
        for (field, rule) in api.rules().fields(of_type) {
            if matches!(of_type, "Query" | "Mutation" | "Subscription") {
                assert!(
                    rule.access.is_some(),
                    "{of_type}.{field} has no access directive"
                );
            }
            // A subscription has one root field: nothing stands beside it that its failure would cost.
            if of_type != "Subscription" && !matches!(rule.access, None | Some(Access::Public)) {
                assert!(
                    rule.nullable,
                    "{of_type}.{field} is guarded and cannot be null"
                );
            }
            if of_type == "Mutation" {
                assert!(
                    rule.nullable,
                    "a failing {field} would cost the mutations beside it"
                );
            }
            let or_owner = matches!(rule.access, Some(Access::Permission { or_owner: true, .. }));
            // Others would need an owner guard of their own.
            assert!(
                !or_owner || matches!(of_type, "Query" | "Mutation" | "User"),
                "{of_type}.{field}"
            );
        }
    }
}

fn selection(field: &str) -> String {
    match field {
        "background" | "profile" => format!("{field} {{ updatedAt }}"),
        "personalization" => format!("{field} {{ recommendedContent }}"),
        "linkedAccounts" => format!("{field} {{ provider }}"),
        "passkeys" | "roles" => format!("{field} {{ name }}"),
        "roleAssignments" => format!("{field} {{ assignedAt }}"),
        "twoFactor" => format!("{field} {{ enabled }}"),
        "activity" | "sessions" => format!("{field} {{ nodes {{ id }} }}"),
        "verifications" => format!("{field} {{ kind }}"),
        _ => field.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_private_field_opens_to_its_owner_and_to_who_holds_its_permission() {
    let app = TestApp::new().await;
    let api = Api::new().expect("the schema is sound");
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'clerk', now(), now());
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
             WHERE roles.name = 'clerk' AND permissions.name = 'admin:users'",
        )
        .await;
    let owner = app.user("owner").await;
    let moderator = app.user_with_role("moderator", "moderator").await;
    let clerk = app.user_with_role("clerk", "clerk").await;
    let clerks_role = app
        .db
        .text("SELECT id::text FROM roles WHERE name = 'clerk'")
        .await;
    let clerks_role = cardea::graphql::node::Kind::Role.id(clerks_role.parse().expect("a UUID"));
    let fields = Owner::fields(api.rules());
    assert!(fields.len() > 10, "{fields:?}");
    for field in fields {
        let part = selection(field);
        let own = owner.ask(&format!("{{ me {{ {part} }} }}")).await;
        assert!(own.codes().is_empty(), "{field}: {}", own.text);

        let Some(Access::Permission { permission, .. }) = api
            .rules()
            .field("User", field)
            .and_then(|rule| rule.access)
        else {
            panic!("{field} states no permission")
        };
        // A moderator holds read:all and not admin:users, a clerk the reverse; a clerk comes by an
        // account as the answer of a mutation.
        let by_moderator = moderator
            .ask(&format!(
                "{{ user(by: {{ username: \"owner\" }}) {{ id {part} }} }}"
            ))
            .await;
        let input = json!({ "input": { "userId": owner.id, "roleId": *clerks_role } });
        let mutation = format!(
            "mutation($input: RoleMembershipInput!) {{ removeRole(input: $input) {{ user {{ id {part} }} }} }}"
        );
        let by_clerk = clerk.gql(&mutation, input).await;
        let (moderator_may, clerk_may) = match permission.name() {
            "read:all" => (true, false),
            "admin:users" => (false, true),
            "admin:system" => (false, false),
            other => panic!("{other} is new here"),
        };
        for (answer, may, at) in [
            (by_moderator, moderator_may, "user"),
            (by_clerk, clerk_may, "removeRole/user"),
        ] {
            assert_eq!(
                outcome(&answer),
                if may { A } else { F },
                "{field}: {}",
                answer.text
            );
            assert_eq!(answer.at(at)["id"], owner.id, "the refusal costs one field");
            if !may {
                assert_eq!(answer.at(at)[field], Value::Null);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_holds_on_every_path_to_an_account() {
    let app = TestApp::new().await;
    let owner = app.user("owner").await;
    let moderator = app.user_with_role("moderator", "moderator").await;
    for document in [
        "query($id: ID!) { node(id: $id) { ... on User { roles { name } } } }",
        "query($id: ID!) { nodes(ids: [$id]) { ... on User { roles { name } } } }",
        "query($id: ID!) { user(by: { id: $id }) { secret: roles { name } } }",
        "query($id: ID!) { user(by: { id: $id }) { ...F } } fragment F on User { ... @include(if: true) { roles { name } } }",
        "query($id: ID!) { users(search: \"owner\") { edges { node { roles { name } } } } node(id: $id) { id } }",
    ] {
        let answer = moderator.gql(document, json!({ "id": owner.id })).await;
        assert!(answer.codes().contains(&"FORBIDDEN"), "{}", answer.text);
        assert!(!answer.text.contains("\"name\""), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_reads_the_own_account_in_the_same_answer_and_nothing_more() {
    let app = TestApp::new().await;
    app.admin().await;
    let document = "mutation { login(input: { identifier: \"admin\", password: \"Correct-Horse-7\" }) { \
        result { ... on SignedIn { user { email roles { name members { nodes { id } } } } } } } \
        updateProfile(input: { bio: \"x\" }) { errors { code } } }";
    let answer = app.gql(document, Value::Null).await;
    assert_eq!(answer.at("login/result/user/email"), "admin@example.org");
    assert_eq!(answer.at("login/result/user/roles/0/members"), &Value::Null);
    assert_eq!(answer.at("updateProfile"), &Value::Null);
    assert!(
        answer.codes().iter().all(|code| *code == "UNAUTHENTICATED"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sets_what_is_not_theirs_to_set() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for field in [
        "emailVerified: true",
        "status: ACTIVE",
        "roles: [\"admin\"]",
        "id: \"x\"",
        "userId: \"x\"",
        "email: \"x@y.org\"",
    ] {
        let answer = ada
            .ask(&format!(
                "mutation {{ updateProfile(input: {{ {field} }}) {{ errors {{ code }} }} }}"
            ))
            .await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{field}");
    }
    let hidden = json!({ "input": { "preferences": { "role": "admin", "emailVerified": true, "__proto__": { "admin": true } } } });
    ada.gql("mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { errors { code } } }", hidden).await;
    assert_eq!(
        ada.ask("{ me { permissions } }")
            .await
            .data("me/permissions"),
        &json!(["read:own", "write:own"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_role_is_lost_at_the_next_request() {
    let app = TestApp::new().await;
    let moderator = app.user_with_role("moderator", "moderator").await;
    assert!(
        moderator
            .ask("{ users { nodes { id } } }")
            .await
            .codes()
            .is_empty()
    );
    // Past the API: the server hears of it a moment later.
    app.db.sql("DELETE FROM user_roles USING roles WHERE roles.id = role_id AND roles.name = 'moderator'").await;
    app.app.access.catch_up().await;
    assert_eq!(
        moderator.ask("{ users { nodes { id } } }").await.codes(),
        ["FORBIDDEN"]
    );
    app.db.sql("UPDATE users SET status = 'deactivated'").await;
    app.app.access.catch_up().await;
    assert_eq!(
        moderator.ask("{ me { id } }").await.status,
        StatusCode::UNAUTHORIZED
    );
}
