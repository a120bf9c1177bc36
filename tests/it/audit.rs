//! The audit trail: what is written down, who reads it, and that nothing happens without it.

use cardea::services::{audit_chain, audit_verify};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, Program, TestApp};

/// What was done to an account so far, the oldest first, as `ACTION outcome who`.
async fn trail(app: &TestApp, client: &Client<'_>) -> Vec<String> {
    let user = client.user_id();
    let entries = app
        .db
        .text(&format!(
            "SELECT string_agg(concat_ws(' ', action, outcome, CASE WHEN actor_id = subject_id THEN 'self' \
                 WHEN actor_id IS NULL THEN 'nobody' ELSE 'other' END), ',' ORDER BY occurred_at, id) \
             FROM audit_events WHERE subject_id = '{user}'"
        ))
        .await;
    entries.split(',').map(str::to_owned).collect()
}

/// What was done since the entries that `trail` gave.
async fn since(app: &TestApp, client: &Client<'_>, before: usize) -> Vec<String> {
    trail(app, client).await.split_off(before)
}

async fn count(app: &TestApp) -> String {
    app.db.text("SELECT count(*)::text FROM audit_events").await
}

/// From now on every entry is refused.
async fn break_the_trail(app: &TestApp) {
    app.db
        .sql("ALTER TABLE audit_events ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_does_leaves_one_entry_each() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    assert_eq!(
        trail(&app, &ada).await,
        [
            "account_created success nobody",
            "email_verified success self",
            "login success self",
        ]
    );
    app.advance(TimeDelta::minutes(2));
    let second = app.sign_in("ada").await;
    ada.ask("mutation { logout { endedSessions } }").await;
    let renew = |token: &str| {
        let input = json!({ "token": token });
        let document = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } } }";
        (document, input)
    };
    // Once is nothing to tell of, and three times is.
    for _ in 0..2 {
        let (document, input) = renew(&second.refresh_token);
        app.gql(document, input).await;
        app.advance(TimeDelta::seconds(20));
    }
    let third = app.sign_in("ada").await;
    let change = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { errors { code } } }";
    for (current, code) in [("wrong", "INVALID_CREDENTIALS"), (PASSWORD, "")] {
        let input = json!({ "input": { "currentPassword": current, "newPassword": NEW_PASSWORD } });
        let answer = third.gql(change, input).await;
        assert_eq!(
            answer
                .data("changePassword/errors")
                .pointer("/0/code")
                .map_or("", |code| code.as_str().unwrap_or("")),
            code
        );
    }
    let prove = "mutation($password: String!) { reauthenticate(input: { password: $password }) { errors { code } } }";
    third.gql(prove, json!({ "password": NEW_PASSWORD })).await;
    third
        .ask(
            "mutation { updateBackground(input: { primaryDomain: \"Rust\" }) { errors { code } } }",
        )
        .await
        .data("updateBackground/errors");
    third
        .gql(
            "mutation($email: String!) { requestEmailChange(input: { newEmail: $email }) { errors { code } } }",
            json!({ "email": "ada@new.example.org" }),
        )
        .await
        .data("requestEmailChange/errors");
    let token = app.mailed_token("ada@new.example.org").await;
    app.confirm_email(&token)
        .await
        .data("confirmEmailChange/errors");
    app.request_reset("ada@new.example.org").await;
    let token = app.mailed_token("ada@new.example.org").await;
    app.reset(&token, PASSWORD)
        .await
        .data("resetPassword/errors");
    let fourth = app.login("ada", PASSWORD).await;
    let fourth = Client::new(&app, fourth.data("login/result"));
    fourth.ask("mutation { logoutAll { endedSessions } }").await;
    assert_eq!(
        since(&app, &ada, 3).await,
        [
            "login success self",
            "logout success self",
            "refresh_token_reused denied nobody",
            "login success self",
            "reauthenticated failure self",
            "password_changed success self",
            "reauthenticated success self",
            "profile_updated success self",
            "email_change_requested success self",
            "email_changed success self",
            "password_reset_requested success nobody",
            "password_changed success self",
            "login success self",
            "logout success self",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_with_an_address_in_use_is_a_try_that_its_owner_finds() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let input = json!({ "input": { "email": "ADA@example.org", "fullName": "Eve", "password": NEW_PASSWORD } });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    app.gql(register, input).await.data("register/errors");
    assert_eq!(
        since(&app, &ada, 3).await,
        ["account_created failure nobody"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_reset_writes_as_much_for_an_address_without_an_account() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let (known, _) = app.statements(app.request_reset(&email("ada"))).await;
    let (unknown, _) = app.statements(app.request_reset(&email("eve"))).await;
    assert_eq!(known, unknown);
    assert_eq!(
        since(&app, &ada, 3).await,
        ["password_reset_requested success nobody"]
    );
    let of_nobody = "SELECT string_agg(concat_ws(' ', action, outcome), ',') FROM audit_events WHERE subject_id IS NULL";
    assert_eq!(
        app.db.text(of_nobody).await,
        "password_reset_requested failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happens_that_cannot_be_written_down() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let moderator = app.user_with_role("mod", "moderator").await;
    let before = app.state().await;
    break_the_trail(&app).await;
    let answers = [
        app.login("ada", PASSWORD).await,
        app.register("eve").await,
        app.request_reset(&email("ada")).await,
        ada.ask("mutation { logout { endedSessions } }").await,
        ada.ask("mutation { logoutAll { endedSessions } }").await,
        ada.ask("mutation { updateBackground(input: { primaryDomain: \"Rust\" }) { errors { code } } }").await,
        moderator.gql(
            "mutation($id: ID!) { revokeSession(input: { sessionId: $id }) { errors { code } } }",
            json!({ "id": moderator.session }),
        ).await,
    ];
    for answer in answers {
        assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"], "{answer:?}");
    }
    assert_eq!(app.state().await, before);
    // Neither is anything shown.
    let shown = moderator
        .gql(
            "query($id: ID!) { user(by: { id: $id }) { fullName email } }",
            json!({ "id": ada.id }),
        )
        .await;
    assert_eq!(shown.codes(), ["INTERNAL_SERVER_ERROR"]);
    assert!(!shown.text.contains("example"), "{}", shown.text);
    // What is the reader's own needs no entry.
    let own = moderator.ask("{ me { email } }").await;
    assert_eq!(own.data("me/email"), "mod@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_others_leaves_an_entry_with_fields_and_accounts() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let moderator = app.user_with_role("mod", "moderator").await;
    let read = "SELECT string_agg(concat(details->'fields', ' ', cardinality(subjects)), ',' ORDER BY id) FROM audit_events \
        WHERE action = 'personal_data_read' AND ";
    let of = |client: &Client<'_>| {
        let id = client.user_id();
        format!("{read} (subject_id = '{id}' OR subjects @> ARRAY['{id}'::uuid])")
    };
    let page = "{ users(first: 10) { totalCount nodes { id fullName profile { bio } } edges { node { email } } } }";
    moderator.ask(page).await.data("users/nodes");
    let fields = r#"["email", "fullName", "profile"] 2"#;
    assert_eq!(app.db.text(&of(&ada)).await, fields);
    assert_eq!(app.db.text(&of(&bob)).await, fields);
    assert_eq!(app.db.text(&of(&moderator)).await, "", "the own account");
    let number = count(&app).await;
    // What says nothing of a person, and what is the reader's own.
    moderator
        .ask("{ users { totalCount nodes { id uuid status createdAt } } me { email profile { bio } } viewer { permissions } }")
        .await
        .data("users");
    ada.ask("{ me { email sessions { nodes { ipAddress } } } }")
        .await
        .data("me/email");
    assert_eq!(count(&app).await, number);
    let by_id = json!({ "id": bob.id });
    moderator
        .gql(
            "query($id: ID!) { node(id: $id) { ... on User { fullName birthDate } } }",
            by_id,
        )
        .await
        .data("node/fullName");
    assert_eq!(
        app.db.text(&of(&bob)).await,
        r#"["email", "fullName", "profile"] 2,["birthDate", "fullName"] "#
    );
    // Both find the one about both of them in their own activity, and nothing there of the other.
    let activity =
        "{ me { activity(first: 1) { nodes { action subject { id } subjects { id } details } } } }";
    let shared = ada.ask(activity).await.data("me/activity/nodes/0").clone();
    assert_eq!(shared["action"], "PERSONAL_DATA_READ");
    assert_eq!(
        [&shared["subject"], &shared["subjects"]],
        [&Value::Null, &json!([{ "id": ada.id }])]
    );
    assert!(!shared.to_string().contains(&bob.id));
    let newest = bob.ask(activity).await.data("me/activity/nodes/0").clone();
    assert_eq!(newest["subject"]["id"], bob.id.as_str());
    // Page by page, from either end, and through a filter, it is in its place.
    let bobs = "{ me { activity(last: 2) { nodes { action } } } }";
    let oldest = bob.ask(bobs).await.data("me/activity/nodes").to_string();
    assert!(!oldest.contains("PERSONAL_DATA_READ"), "{oldest}");
    let admin = app.admin().await;
    let filter = json!({ "filter": { "subjectId": bob.id, "actions": ["PERSONAL_DATA_READ"] } });
    let found = admin
        .gql(
            "query($filter: AuditEventFilter) { auditEvents(filter: $filter) { nodes { subjects { id } } } }",
            filter,
        )
        .await;
    let found = found.data("auditEvents/nodes");
    let subjects = |at: usize| found[at]["subjects"].as_array().map(Vec::len);
    assert_eq!(
        [subjects(0), subjects(1), subjects(2)],
        [Some(1), Some(2), None]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_read_at_once_is_written_together_and_nothing_is_missing() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let moderator = app.user_with_role("mod", "moderator").await;
    moderator.ask("{ me { id } }").await.data("me/id");
    let number = count(&app).await;
    let page = "{ users { nodes { fullName } } }";
    let asked = futures_util::future::join_all((0..40).map(|_| moderator.ask(page)));
    for answer in asked.await {
        answer.data("users/nodes");
    }
    let all: u32 = number.parse().expect("a number");
    assert_eq!(count(&app).await, (all + 40).to_string());
    // Where they cannot be written, none of the answers goes out.
    break_the_trail(&app).await;
    let asked = futures_util::future::join_all((0..10).map(|_| moderator.ask(page)));
    for answer in asked.await {
        assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"], "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_one_entry_for_a_request() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let denied = "SELECT string_agg(concat(actor_id, ' ', outcome, ' ', details->'fields'), ',') FROM audit_events WHERE action = 'access_denied'";
    app.gql("{ users { totalCount } }", Value::Null).await;
    assert_eq!(app.db.text(denied).await, "", "by nobody");
    ada.ask("{ a: users { totalCount } b: users { totalCount } auditEvents { nodes { id } } }")
        .await;
    let entry = format!(
        "{} denied [\"Query.auditEvents\", \"Query.users\"]",
        ada.user_id()
    );
    assert_eq!(app.db.text(denied).await, entry);
}

/// Without what leaves an entry itself.
const PAGES: &str = "query($first: Int, $after: String, $last: Int, $before: String) { \
    auditEvents(first: $first, after: $after, last: $last, before: $before) { \
    nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

const EVENTS: &str = "query($filter: AuditEventFilter, $first: Int, $after: String, $last: Int, $before: String) { \
    auditEvents(filter: $filter, first: $first, after: $after, last: $last, before: $before) { \
    nodes { id action outcome actor { id } subject { id } ipAddress userAgent requestId details } \
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_finds_entries_by_every_filter() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::hours(1));
    let admin = app.admin().await;
    let status = "mutation($id: ID!) { updateUserStatus(input: { userId: $id, isActive: false, reason: \"Spam by night\" }) { errors { code } } }";
    app.login("ada", PASSWORD).await.data("login/result");
    admin
        .gql(status, json!({ "id": ada.id }))
        .await
        .data("updateUserStatus/errors");
    let found = async |filter: Value| -> Vec<String> {
        let answer = admin
            .gql(EVENTS, json!({ "filter": filter, "first": 100 }))
            .await;
        let nodes = answer
            .data("auditEvents/nodes")
            .as_array()
            .cloned()
            .unwrap_or_default();
        nodes
            .iter()
            .map(|node| node["action"].as_str().unwrap_or_default().to_owned())
            // Each look at them leaves one.
            .filter(|action| action != "PERSONAL_DATA_READ")
            .collect()
    };
    assert_eq!(
        found(json!({ "actions": ["EMAIL_VERIFIED"], "subjectId": ada.id })).await,
        ["EMAIL_VERIFIED"]
    );
    assert_eq!(
        found(json!({ "actorId": admin.id, "subjectId": ada.id })).await,
        ["ACCOUNT_DEACTIVATED"]
    );
    assert_eq!(
        found(json!({ "subjectId": ada.id, "occurredAt": { "to": "2026-11-30T08:30:00Z" } })).await,
        ["LOGIN", "EMAIL_VERIFIED", "ACCOUNT_CREATED"]
    );
    assert_eq!(
        found(json!({ "subjectId": ada.id, "occurredAt": { "from": "2026-11-30T08:30:00Z" } }))
            .await,
        ["ACCOUNT_DEACTIVATED", "LOGIN"]
    );
    assert!(found(json!({ "outcomes": ["DENIED"] })).await.is_empty());
    assert!(
        found(json!({ "subjectId": admin.session }))
            .await
            .is_empty(),
        "an id of something else"
    );
    assert!(found(json!({ "actions": [] })).await.is_empty());
    let one = admin
        .gql(
            EVENTS,
            json!({ "filter": { "actions": ["ACCOUNT_DEACTIVATED"] } }),
        )
        .await;
    let one = &one.data("auditEvents/nodes")[0];
    assert_eq!(one["actor"]["id"], json!(admin.id));
    assert_eq!(one["subject"]["id"], json!(ada.id));
    assert_eq!(one["ipAddress"], "127.0.0.1");
    assert_eq!(one["details"]["reason"], "Spam by night");
    assert!(
        one["requestId"].as_str().is_some_and(|id| id.len() == 32),
        "{one}"
    );
    // The reason and the address are sealed.
    let dump = app
        .db
        .text("SELECT string_agg(audit_events::text, ' ') FROM audit_events")
        .await;
    assert!(
        !dump.contains("Spam") && !dump.contains("127.0.0.1") && !dump.contains("example"),
        "{dump}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_trail_neither_overlap_nor_skip() {
    let app = TestApp::new().await;
    app.user("ada").await;
    for round in 0..3 {
        app.advance(TimeDelta::minutes(round));
        // Several at one instant.
        app.sign_in("ada").await;
        app.sign_in("ada").await;
    }
    let admin = app.admin().await;
    let all = admin.gql(PAGES, json!({ "first": 100 })).await;
    let all: Vec<Value> = all
        .data("auditEvents/nodes")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ids = |nodes: &[Value]| {
        nodes
            .iter()
            .map(|node| node["id"].clone())
            .collect::<Vec<_>>()
    };
    for (size, cursor, page, more) in [
        ("first", "after", "endCursor", "hasNextPage"),
        ("last", "before", "startCursor", "hasPreviousPage"),
    ] {
        let (mut seen, mut at) = (Vec::new(), Value::Null);
        loop {
            let answer = admin.gql(PAGES, json!({ size: 4, cursor: at })).await;
            let connection = answer.data("auditEvents");
            let nodes = connection["nodes"].as_array().cloned().unwrap_or_default();
            if size == "first" {
                seen.extend(ids(&nodes));
            } else {
                seen.splice(0..0, ids(&nodes));
            }
            at = connection["pageInfo"][page].clone();
            if connection["pageInfo"][more] == false {
                break;
            }
        }
        assert_eq!(seen, ids(&all), "{size}");
    }
    for broken in [
        json!({ "first": 0 }),
        json!({ "first": 101 }),
        json!({ "first": 1, "last": 1 }),
        json!({ "after": "x" }),
    ] {
        assert_eq!(
            admin.gql(PAGES, broken.clone()).await.codes(),
            ["BAD_USER_INPUT"],
            "{broken}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_reads_the_own_activity_without_what_is_others_business() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let admin = app.admin().await;
    let status = "mutation($id: ID!, $open: Boolean!) { updateUserStatus(input: { userId: $id, isActive: $open, reason: \"Spam\" }) { errors { code } } }";
    for open in [false, true] {
        admin
            .gql(status, json!({ "id": ada.id, "open": open }))
            .await
            .data("updateUserStatus/errors");
    }
    let ada = app.sign_in("ada").await;
    let activity = "{ me { activity(first: 3) { nodes { id action ipAddress actor { id } subject { id } details } pageInfo { hasNextPage } } } }";
    let answer = ada.ask(activity).await;
    let nodes = answer.data("me/activity/nodes").clone();
    let actions: Vec<_> = (0..3).map(|at| nodes[at]["action"].clone()).collect();
    assert_eq!(
        actions,
        ["LOGIN", "ACCOUNT_REACTIVATED", "ACCOUNT_DEACTIVATED"]
    );
    assert_eq!(nodes[0]["ipAddress"], "127.0.0.1");
    assert_eq!(nodes[0]["actor"]["id"], json!(ada.id));
    for at in [1, 2] {
        assert_eq!(nodes[at]["ipAddress"], Value::Null);
        assert_eq!(nodes[at]["actor"], Value::Null);
        assert_eq!(nodes[at]["details"].get("reason"), None);
        assert_eq!(nodes[at]["subject"]["id"], json!(ada.id));
    }
    assert_eq!(answer.data("me/activity/pageInfo/hasNextPage"), true);
    // By its id, too; somebody else's is not there.
    let node = "query($id: ID!) { node(id: $id) { ... on AuditEvent { action } } }";
    let id = json!({ "id": nodes[0]["id"] });
    assert_eq!(ada.gql(node, id.clone()).await.data("node/action"), "LOGIN");
    assert_eq!(bob.gql(node, id.clone()).await.data("node"), &Value::Null);
    assert_eq!(admin.gql(node, id).await.data("node/action"), "LOGIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_activity_of_a_page_of_accounts_is_two_statements() {
    let app = TestApp::new().await;
    for name in ["ada", "bob", "cyd"] {
        app.user(name).await;
    }
    let admin = app.admin().await;
    let page =
        "{ users(first: 100) { nodes { activity(first: 2) { nodes { action ipAddress } } } } }";
    admin.ask(page).await.data("users");
    let (statements, _) = app.statements(admin.ask(page)).await;
    // The accounts, the entries about them alone, those of the last month about several of them, the keys of those who
    // did it; and the entries of the reading.
    assert_eq!(statements, 5);
}

/// Changes rows past the trigger.
async fn tamper(app: &TestApp, sql: &str) {
    app.db
        .sql(&format!("SET session_replication_role = replica; {sql}"))
        .await;
}

async fn verified(app: &TestApp) -> Result<i64, String> {
    let outcome = audit_verify::verify(&app.app, &[], |_| ()).await;
    match outcome.expect("the trail can be read") {
        Ok(verified) => Ok(verified.entries + verified.waiting),
        Err(broken) => Err(broken.0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_past_the_server_is_found_and_named() {
    let all = "audit_events";
    let third = "(SELECT id FROM audit_events WHERE position = 3)";
    for (sql, said) in [
        (
            format!("UPDATE {all} SET action = 'logout' WHERE position = 3"),
            "at place 3 of 2026-11 was changed",
        ),
        (
            format!("UPDATE {all} SET details = '{{\"x\": 1}}' WHERE position = 3"),
            "at place 3 of 2026-11 was changed",
        ),
        (
            format!("UPDATE {all} SET actor_id = NULL WHERE position = 3"),
            "at place 3 of 2026-11 was changed",
        ),
        (
            format!(
                "UPDATE {all} SET occurred_at = occurred_at + INTERVAL '1 microsecond' WHERE position = 3"
            ),
            "at place 3 of 2026-11 was changed",
        ),
        (
            format!("UPDATE {all} SET client = NULL WHERE position = 3"),
            "at place 3 of 2026-11 was changed",
        ),
        (
            format!("DELETE FROM {all} WHERE position = 3"),
            "the entry at place 3 of 2026-11 is missing",
        ),
        (
            format!("DELETE FROM {all} WHERE position = (SELECT max(position) FROM {all})"),
            "ends at place",
        ),
        (
            format!("UPDATE {all} SET position = 7 - position WHERE position IN (3, 4)"),
            "at place 3 of 2026-11 stands where it does not belong",
        ),
        (
            format!(
                "INSERT INTO {all} SELECT gen_random_uuid(), occurred_at, action, outcome, actor_id, subject_id, request_id, client, reason, details, mac, position, hash FROM {all} WHERE id = {third}"
            ),
            "two entries of 2026-11 have the place 3",
        ),
        (
            format!(
                "INSERT INTO {all} SELECT gen_random_uuid(), occurred_at, action, outcome, actor_id, subject_id, request_id, client, reason, details, mac, NULL, NULL FROM {all} WHERE id = {third}"
            ),
            "which waits for its place, is not genuine",
        ),
        (
            format!(
                "INSERT INTO {all} SELECT id, occurred_at - INTERVAL '3 months', action, outcome, actor_id, subject_id, request_id, client, reason, details, mac, position, hash FROM {all} WHERE id = {third}"
            ),
            "belongs to no chain",
        ),
        (
            "UPDATE audit_chains SET length = length - 1".to_owned(),
            "the chain of 2026-11 is not genuine",
        ),
        (
            "UPDATE audit_chains SET head = genesis".to_owned(),
            "the chain of 2026-11 is not genuine",
        ),
        (
            "UPDATE audit_chains SET genesis = head".to_owned(),
            "the beginning of the chain of 2026-11 is not genuine",
        ),
        (
            "UPDATE audit_chains SET retired = true".to_owned(),
            "the chain of 2026-11 is not genuine",
        ),
        ("DELETE FROM audit_chains".to_owned(), "belongs to no chain"),
    ] {
        let app = TestApp::new().await;
        app.user("ada").await;
        app.sign_in("ada").await;
        app.sign_in("ada").await;
        audit_chain::chain(&app.app).await.expect("chained");
        assert_eq!(verified(&app).await, Ok(5), "{sql}");
        tamper(&app, &sql).await;
        let broken = verified(&app).await.expect_err(&sql);
        assert!(broken.contains(said), "{sql}: {broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_cut_off_is_found_by_a_checkpoint() {
    let app = TestApp::new().await;
    app.user("ada").await;
    audit_chain::chain(&app.app).await.expect("chained");
    let early = audit_verify::checkpoints(&app.app)
        .await
        .expect("they are there");
    let kept = app
        .db
        .text("SELECT format('head = decode(%L, ''hex''), mac = decode(%L, ''hex'')', encode(head, 'hex'), encode(mac, 'hex')) FROM audit_chains")
        .await;
    app.sign_in("ada").await;
    audit_chain::chain(&app.app).await.expect("chained");
    let late = audit_verify::checkpoints(&app.app)
        .await
        .expect("they are there");
    let check = async |known: &[audit_verify::Checkpoint]| {
        let outcome = audit_verify::verify(&app.app, known, |_| ()).await;
        outcome
            .expect("the trail can be read")
            .map(drop)
            .map_err(|broken| broken.0)
    };
    assert_eq!(check(&early).await, Ok(()));
    assert_eq!(check(&late).await, Ok(()));
    // Well done, but for what somebody wrote down elsewhere.
    tamper(&app, &format!("DELETE FROM audit_events WHERE position = 4; UPDATE audit_chains SET length = 3, {kept}")).await;
    assert_eq!(check(&[]).await, Ok(()));
    assert_eq!(check(&early).await, Ok(()));
    let broken = check(&late).await.expect_err("the tail is gone");
    assert!(broken.contains("had 4 entries"), "{broken}");
    let mut other = early.clone();
    other[0].head = "0".repeat(64);
    let broken = check(&other).await.expect_err("another chain");
    assert!(broken.contains("differs at place 3"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_builds_upon_no_chain_that_somebody_wound_back() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.sign_in("ada").await;
    audit_chain::chain(&app.app).await.expect("chained");
    // The hash of every entry was the head of the chain once.
    tamper(
        &app,
        "DELETE FROM audit_events WHERE position = 3; \
         UPDATE audit_events SET position = NULL, hash = NULL WHERE position > 3; \
         UPDATE audit_chains SET length = 2, head = (SELECT hash FROM audit_events WHERE position = 2)",
    )
    .await;
    audit_chain::chain(&app.app).await.expect_err("not chained");
    let waiting = "SELECT count(*)::text FROM audit_events WHERE position IS NULL";
    assert_eq!(app.db.text(waiting).await, "1");
    let broken = verified(&app).await.expect_err("an entry is gone");
    assert!(broken.contains("is not genuine"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_commits_late_gets_a_later_place() {
    use cardea::services::audit::{AuditAction, Entry};
    use diesel_async::AsyncConnection as _;
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let conn = &mut *app.app.db.conn().await.expect("a connection");
    conn.transaction::<_, cardea::error::Error, _>(async |conn| {
        let entry = Entry::server(AuditAction::Login).on(ada.user_id());
        entry.record(&app.app, conn).await?;
        app.advance(TimeDelta::seconds(1));
        app.sign_in("ada").await;
        assert_eq!(
            audit_chain::chain(&app.app).await?,
            4,
            "nobody waits for the one under way"
        );
        Ok(())
    })
    .await
    .expect("committed");
    assert_eq!(audit_chain::chain(&app.app).await.expect("chained"), 1);
    assert_eq!(verified(&app).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_chain_at_once_and_every_entry_has_one_place() {
    let app = TestApp::new().await;
    let (second, _) = app.second(&[]).await;
    app.user("ada").await;
    for _ in 0..10 {
        let (a, b, _) = tokio::join!(
            audit_chain::chain(&app.app),
            audit_chain::chain(&second),
            app.sign_in("ada")
        );
        a.and(b).expect("chained");
    }
    audit_chain::chain(&second).await.expect("chained");
    assert_eq!(verified(&app).await, Ok(13));
    let waiting = "SELECT count(*)::text FROM audit_events WHERE position IS NULL";
    assert_eq!(app.db.text(waiting).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn months_go_when_their_time_is_over_and_the_chain_says_so() {
    let app = TestApp::with(&["--audit-months=2"]).await;
    app.user("ada").await;
    let partitions = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'audit_months'::regnamespace AND relkind = 'r'";
    audit_chain::keep_months(&app.app).await.expect("kept");
    // What was written before its month was there has moved into it.
    assert_eq!(
        app.db.text(partitions).await,
        "month_2026_11 month_2026_12 month_2027_01 others"
    );
    assert_eq!(
        app.db
            .text("SELECT count(*)::text FROM audit_months.month_2026_11")
            .await,
        "3"
    );
    app.advance(TimeDelta::days(35));
    app.sign_in("ada").await;
    assert!(
        audit_chain::keep_months(&app.app)
            .await
            .expect("kept")
            .is_empty()
    );
    assert_eq!(verified(&app).await, Ok(4));
    app.advance(TimeDelta::days(30));
    let gone = audit_chain::keep_months(&app.app).await.expect("kept");
    assert_eq!(
        gone.iter()
            .map(|month| month.to_string())
            .collect::<Vec<_>>(),
        ["2026-11-01"]
    );
    audit_chain::chain(&app.app).await.expect("chained");
    let outcome = audit_verify::verify(&app.app, &[], |_| ())
        .await
        .expect("read");
    let verified = outcome.expect("as it was written");
    assert_eq!((verified.entries, verified.retired.len()), (1, 1));
    assert_eq!(
        app.db.text(partitions).await,
        "month_2026_12 month_2027_01 month_2027_02 month_2027_03 month_2027_04 others"
    );
    // Nothing of the month that went can come back.
    tamper(&app, "INSERT INTO audit_events SELECT gen_random_uuid(), '2026-11-30T09:00:00Z', action, outcome, actor_id, subject_id, request_id, client, reason, details, mac, position, hash FROM audit_events LIMIT 1").await;
    let broken = super::audit::verified(&app)
        .await
        .expect_err("an entry of a month that is gone");
    assert!(broken.contains("belongs to no chain"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stands_in_the_trail() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.login("ada", NEW_PASSWORD).await;
    let token = app.reset_token(&email("ada")).await;
    app.reset(&token, NEW_PASSWORD)
        .await
        .data("resetPassword/errors");
    let trail = app
        .db
        .text("SELECT string_agg(audit_events::text, ' ') FROM audit_events")
        .await;
    for secret in [
        &ada.access_token,
        &ada.refresh_token,
        &token,
        PASSWORD,
        NEW_PASSWORD,
    ] {
        assert!(!trail.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_verifies_and_exports_on_the_command_line() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.login("ada", "wrong").await;
    audit_chain::chain(&app.app).await.expect("chained");
    let program = Program::on(&app.db.url());
    let said = program.run(&["audit", "verify"]).success();
    let mut lines = said.lines();
    assert_eq!(
        lines.next(),
        Some("The audit trail is as it was written: 4 entries in 1 months.")
    );
    let checkpoint = lines.next().expect("a checkpoint").to_owned();
    program
        .run(&["audit", "verify", "--checkpoint", &checkpoint])
        .success();
    let exported = program
        .run(&["audit", "export", "--to", "2026-12-01T00:00:00Z"])
        .success();
    let entries: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // That it was exported stands there first, by the clock of the program.
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[0]["details"], json!({ "export": "audit" }));
    assert_eq!(entries[3]["action"], "login");
    assert_eq!(entries[3]["ipAddress"], "127.0.0.1");
    assert_eq!(entries[3]["actorId"], json!(ada.user_id()));
    assert_eq!(entries[3]["details"]["methods"], json!(["email_link"]));
    let none = program
        .run(&["audit", "export", "--from", "2026-12-01T00:00:00Z"])
        .success();
    assert_eq!(none, "");
    tamper(
        &app,
        "UPDATE audit_events SET outcome = 'failure' WHERE position = 3",
    )
    .await;
    let broken = program.run(&["audit", "verify"]).error();
    assert!(
        broken.starts_with("the audit trail is broken: the entry ")
            && broken.ends_with("at place 3 of 2026-11 was changed"),
        "{broken}"
    );
    let other = format!("{}:3:{}", "2026-10", "0".repeat(64));
    program
        .run(&["audit", "verify", "--checkpoint", &other])
        .error();
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_nodes_of_others_count_as_reading() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let admin = app.admin().await;
    let read = async || {
        let fields = format!(
            "SELECT string_agg(details->>'fields', ' ' ORDER BY id) FROM audit_events \
             WHERE action = 'personal_data_read' AND (subject_id = '{0}' OR subjects @> ARRAY['{0}'::uuid])",
            ada.user_id()
        );
        app.db.text(&fields).await
    };
    let list = |field: &str, part: &str| {
        format!("{{ users(orderBy: {{ field: {field} }}) {{ {part} }} }}")
    };
    let number = count(&app).await;
    admin
        .ask(&list(
            "CREATED_AT",
            "edges { cursor } pageInfo { endCursor }",
        ))
        .await
        .data("users");
    assert_eq!(count(&app).await, number, "an instant of the account");
    admin
        .ask(&list("EMAIL", "edges { cursor }"))
        .await
        .data("users");
    admin
        .ask(&list("USERNAME", "pageInfo { startCursor }"))
        .await
        .data("users");
    assert_eq!(read().await, r#"["email"] ["username"]"#);
    let node = "query($id: ID!) { node(id: $id) { ... on Session { ipAddress } } }";
    let session = admin.gql(node, json!({ "id": ada.session })).await;
    assert_eq!(session.data("node/ipAddress"), "127.0.0.1");
    assert_eq!(read().await, r#"["email"] ["username"] ["sessions"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_one_account_fill_the_trail_only_so_far() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for _ in 0..63 {
        let refused = ada.ask("{ auditEvents { nodes { id } } }").await;
        assert_eq!(refused.codes(), ["FORBIDDEN"]);
    }
    let entries = "SELECT count(*)::text FROM audit_events WHERE action = 'access_denied'";
    assert_eq!(app.db.text(entries).await, "60");
    app.advance(TimeDelta::minutes(2));
    ada.ask("{ auditEvents { nodes { id } } }").await;
    assert_eq!(app.db.text(entries).await, "61", "one a minute");
}
