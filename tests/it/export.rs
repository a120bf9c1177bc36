//! Everything that is kept about an account, and no table or column forgotten.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::{Client, TestApp};

const EXPORT: &str = "mutation { exportMyData { data errors { code } } }";

/// Tables of which every row of the account is a part of the export, by that part's name.
const EXPORTED: &[(&str, &str)] = &[
    ("audit_events", "activity"),
    ("backgrounds", "background"),
    ("email_changes", "emailChanges"),
    ("identities", "linkedAccounts"),
    ("jobs", "queuedMails"),
    ("known_devices", "knownDevices"),
    ("login_events", "signIns"),
    ("passkeys", "passkeys"),
    ("password_history", "formerPasswords"),
    ("personalizations", "personalization"),
    ("profiles", "profile"),
    ("recovery_codes", "recoveryCodes"),
    ("registration_claims", "registrationAttempts"),
    ("sessions", "sessions"),
    ("trusted_devices", "trustedDevices"),
    ("two_factor_challenges", "signInsUnderWay"),
    ("two_factor_secrets", "authenticatorApps"),
    ("user_roles", "roles"),
    ("username_reservations", "reservedUsernames"),
    ("users", "account"),
    ("verification_tokens", "mailedTokens"),
];

/// What stays out, and why: tables, and columns of the tables above.
const LEFT_OUT: &[(&str, &str)] = &[
    ("audit_chains", "of the installation"),
    (
        "audit_events.actor_id",
        "shown as byYou: others are named by nothing",
    ),
    ("audit_events.client", "shown as ipAddress and userAgent"),
    ("audit_events.hash", "of the chain"),
    ("audit_events.mac", "of the chain"),
    ("audit_events.position", "of the chain"),
    (
        "audit_events.subject_id",
        "shown as onYou: others are named by nothing",
    ),
    (
        "audit_events.subjects",
        "shown as onYou: others are named by nothing",
    ),
    ("data_keys", "a secret"),
    ("installation_keys", "of the installation"),
    ("jobs.account_id", "the account, of queuedEvents"),
    (
        "import_requests",
        "keyed hashes and numbers; when they were is shown in imports",
    ),
    ("jobs.endpoint", "of the installation"),
    (
        "jobs.last_error",
        "what other servers said: of the installation",
    ),
    ("jobs.sequence", "shown in queuedEvents"),
    ("jobs.id", "of the queue"),
    ("jobs.locked_until", "of the queue"),
    (
        "jobs.payload",
        "shown as kind; the rest are ids of rows that are shown",
    ),
    (
        "known_devices.device_hash",
        "a hash that tells nobody anything",
    ),
    (
        "known_devices.network_hash",
        "a hash that tells nobody anything",
    ),
    ("login_day_methods", "numbers without accounts"),
    ("login_day_returns", "numbers without accounts"),
    ("login_events.previous_at", "the row before"),
    ("login_events.succeeded", "refused ones name no account"),
    ("login_quarters", "numbers without accounts"),
    (
        "oauth_states",
        "among signInsUnderWay; its columns are secrets",
    ),
    (
        "passkey_challenges",
        "among signInsUnderWay; its columns are secrets",
    ),
    ("passkeys.credential", "a public key, no use to its owner"),
    (
        "passkeys.credential_id",
        "handed out to whoever signs in, no use to its owner",
    ),
    ("password_history.hashed_password", "a secret"),
    ("permissions", "of the installation"),
    ("profiles.user_id", "the account"),
    ("rate_limits", "counts under hashes, gone within a day"),
    ("recovery_codes.code_hash", "a secret"),
    ("registration_claims.hashed_password", "a secret"),
    ("role_permissions", "of the installation"),
    ("roles", "shown by name among the account's"),
    ("sessions.refresh_token_hash", "a secret"),
    ("sessions.successor_salt", "a secret"),
    ("signing_keys", "of the installation"),
    ("spent_refresh_tokens", "secrets"),
    ("trusted_devices.token_hash", "a secret"),
    ("two_factor_challenges.device_hash", "a secret"),
    (
        "two_factor_challenges.forgiven_keys",
        "hashes of what is limited",
    ),
    ("two_factor_challenges.in_cookies", "how the answer travels"),
    (
        "two_factor_challenges.password_changed_at",
        "shown with the account",
    ),
    ("two_factor_challenges.token_hash", "a secret"),
    ("two_factor_challenges.tries", "of the limits"),
    ("two_factor_secrets.last_step", "of the secret"),
    ("two_factor_secrets.sealed_secret", "a secret"),
    ("two_factor_secrets.wrong_codes", "of the limits"),
    ("unsealed_values", "empty before anything is served"),
    ("user_roles.assigned_by", "somebody else"),
    ("user_roles.role_id", "shown by name"),
    ("users.auth_token", "shown as uuid"),
    ("users.hashed_password", "shown as hasPassword"),
    ("users.search_text", "derived from what is shown"),
    ("verification_tokens.token_hash", "a secret"),
    ("webhook_endpoints", "of the installation"),
    ("webhook_sequences", "a number for each account"),
];

/// A row in every table that has the account in it, beside what its own requests left there.
async fn fill(app: &TestApp, ada: &Client<'_>) {
    let rows = format!(
        "INSERT INTO username_reservations (name, user_id, created_at) VALUES ('former_canary', $id, now());
        INSERT INTO registration_claims (user_id, hashed_password, created_at) VALUES ($id, 'secret-claim', now());
        INSERT INTO email_changes (id, user_id, new_email, old_email, requested_at) VALUES (gen_random_uuid(), $id, 'new-canary@example.org', 'ada@example.org', now());
        INSERT INTO backgrounds (user_id, software_tools, hardware_setup, primary_domain, created_at, updated_at) VALUES ($id, '{{tool-canary}}', '{{\"snake_key\": 1}}', 'domain-canary', now(), now());
        INSERT INTO personalizations (user_id, preferred_categories, created_at, updated_at) VALUES ($id, '{{category-canary}}', now(), now());
        INSERT INTO trusted_devices (token_hash, user_id, created_at, expires_at) VALUES (decode(repeat('ab', 32), 'hex'), $id, now(), now());
        INSERT INTO password_history (id, user_id, hashed_password, created_at) VALUES (gen_random_uuid(), $id, 'secret-former', now());
        INSERT INTO two_factor_secrets (id, user_id, sealed_secret, last_step, created_at, confirmed_at) VALUES (gen_random_uuid(), $id, 'secret-totp', 1, now(), now());
        INSERT INTO recovery_codes (id, user_id, code_hash, created_at) VALUES (gen_random_uuid(), $id, decode(repeat('cd', 32), 'hex'), now());
        INSERT INTO two_factor_challenges (token_hash, user_id, method, remember_me, in_cookies, device_hash, forgiven_keys, created_at, expires_at) VALUES (decode(repeat('ef', 32), 'hex'), $id, 'password', false, false, decode(repeat('26', 32), 'hex'), '{{}}', now(), now());
        INSERT INTO passkeys (id, user_id, credential_id, credential, name, created_at) VALUES (gen_random_uuid(), $id, decode(repeat('0e', 16), 'hex'), '{{}}', 'Passkey canary', now());
        INSERT INTO identities (id, user_id, provider, issuer, subject, display_name, email, linked_at, last_used_at) VALUES (gen_random_uuid(), $id, 'acme', 'https://id.acme.test', 'subject-canary', 'Identity Canary', 'id-canary@example.org', now(), now());
        INSERT INTO oauth_states (state_hash, provider, redirect_uri, user_id, created_at, expires_at) VALUES (decode(repeat('13', 32), 'hex'), 'acme', 'https://app.test', $id, now(), now());
        INSERT INTO jobs (id, payload, last_error, run_at, created_at) VALUES (gen_random_uuid(), '{{\"kind\": \"password_changed\", \"user\": \"{id}\"}}', 'job-canary', now() + INTERVAL '1 day', now());",
        id = ada.user_id()
    );
    app.db
        .sql(&rows.replace("$id", &format!("'{}'", ada.user_id())))
        .await;
    let write = "mutation { updateProfile(input: { birthDate: \"1933-07-19\", coachingGoals: { goal_one: \"goal canary\" }, bio: \"bio canary\" }) { errors { code } } }";
    assert_eq!(
        ada.ask(write).await.data("updateProfile/errors"),
        &json!([])
    );
}

async fn exported(client: &Client<'_>) -> Value {
    let answer = client.ask(EXPORT).await;
    assert_eq!(answer.data("exportMyData/errors"), &json!([]));
    answer.data("exportMyData/data").clone()
}

fn camel(column: &str) -> String {
    let mut parts = column.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(1);
        name + &head.to_uppercase() + tail
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_and_no_column_is_forgotten() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    fill(&app, &ada).await;
    let document = exported(&ada).await;
    let columns = "SELECT json_agg(table_name || '.' || column_name)::text FROM information_schema.columns \
        WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'";
    let columns: Vec<String> = serde_json::from_str(&app.db.text(columns).await).expect("columns");
    let mut left_out: BTreeSet<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
    let mut parts: BTreeSet<&str> = [
        "format",
        "version",
        "exportedAt",
        "activityInAll",
        "queuedEvents",
        "imports",
    ]
    .into();
    for column in &columns {
        let (table, name) = column.split_once('.').expect("a table");
        if LEFT_OUT.iter().any(|(left, _)| *left == table) {
            left_out.remove(table);
            continue;
        }
        if LEFT_OUT.iter().any(|(left, _)| left == column) {
            left_out.remove(&**column);
            continue;
        }
        let part = EXPORTED.iter().find(|(exported, _)| *exported == table);
        let (_, part) = part.unwrap_or_else(|| panic!("{table} is neither exported nor left out"));
        parts.insert(part);
        if name == "user_id" || name == "id" {
            continue;
        }
        let row = match &document[part] {
            Value::Array(rows) => rows.first().unwrap_or_else(|| panic!("{part} is empty")),
            row => row,
        };
        assert!(
            row.get(camel(name)).is_some(),
            "{column} is neither in {part} nor left out: {row}"
        );
    }
    // What stays out by a column's name has to exist.
    left_out.remove("profiles.user_id");
    assert_eq!(left_out, BTreeSet::new(), "these do not exist");
    let there: BTreeSet<&str> = document
        .as_object()
        .expect("parts")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(there, parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_opened_and_holds_neither_secrets_nor_other_people() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    fill(&app, &ada).await;
    let close = "mutation($id: ID!) { updateUserStatus(input: { userId: $id, isActive: true, reason: \"reason canary\" }) { errors { code } } }";
    admin.gql(close, json!({ "id": ada.id })).await;
    bob.ask("mutation { updateProfile(input: { bio: \"Bobs bio\" }) { errors { code } } }")
        .await;
    let document = exported(&ada).await;
    assert_eq!(
        (
            &document["format"],
            &document["version"],
            &document["exportedAt"]
        ),
        (&json!("cardea.account"), &json!(1), &json!(app.app.now())),
    );
    assert_eq!(document["account"]["birthDate"], "1933-07-19");
    assert_eq!(document["account"]["email"], email("ada"));
    assert_eq!(document["account"]["hasPassword"], true);
    let goals = &document["profile"]["coachingGoals"];
    assert_eq!(
        goals,
        &json!({ "goal_one": "goal canary" }),
        "names of the person's own stay"
    );
    assert_eq!(
        document["background"]["hardwareSetup"],
        json!({ "snake_key": 1 })
    );
    assert_eq!(document["sessions"][0]["ipAddress"], "127.0.0.1");
    assert_eq!(document["roles"][0]["name"], "user");
    let activity = document["activity"].as_array().expect("activity");
    let login = activity
        .iter()
        .find(|entry| entry["action"] == "login")
        .expect("a sign-in");
    assert_eq!(
        (&login["ipAddress"], &login["byYou"], &login["onYou"]),
        (&json!("127.0.0.1"), &json!(true), &json!(true))
    );
    let export = activity.last().expect("this very export");
    assert_eq!(export["action"], "data_exported");
    let text = document.to_string();
    for canary in [
        "former_canary",
        "new-canary@",
        "tool-canary",
        "domain-canary",
        "category-canary",
        "Passkey canary",
        "subject-canary",
        "Identity Canary",
        "id-canary@",
        "goal canary",
        "bio canary",
    ] {
        assert!(text.contains(canary), "{canary} is missing");
    }
    for secret in [
        "secret-",
        "argon2",
        "abababab",
        "cdcdcdcd",
        "efefefef",
        "bob",
        "Bob",
        "admin@example.org",
        &admin.user_id().to_string(),
        &bob.user_id().to_string(),
    ] {
        assert!(!text.contains(secret), "{secret} is exported");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_is_exported_without_where_they_were() {
    let app = TestApp::with(&["--trusted-proxies=127.0.0.0/8"]).await;
    app.admin().await;
    let ada = app.user("ada").await;
    let at = app.at("198.51.100.23").with("Admin Browser");
    let signed_in = at.login("admin", PASSWORD).await;
    let admin = Client::new(&app, signed_in.data("login/result"));
    app.grant(&admin, "admin").await;
    let close = "mutation($id: ID!, $active: Boolean!) { updateUserStatus(input: { userId: $id, isActive: $active, reason: \"reason canary\" }) { errors { code } } }";
    for active in [false, true] {
        let done = admin
            .gql(close, json!({ "id": ada.id, "active": active }))
            .await;
        assert_eq!(done.data("updateUserStatus/errors"), &json!([]));
    }
    let ada = app.sign_in("ada").await;
    let document = exported(&ada).await;
    let activity = document["activity"].as_array().expect("activity");
    let closed = activity
        .iter()
        .find(|entry| entry["action"] == "account_deactivated");
    let closed = closed.expect("the entry");
    assert_eq!(
        (
            &closed["byYou"],
            &closed["onYou"],
            &closed["ipAddress"],
            &closed["reason"]
        ),
        (
            &json!(false),
            &json!(true),
            &Value::Null,
            &json!("reason canary")
        )
    );
    let text = document.to_string();
    assert!(!text.contains("198.51.100.23") && !text.contains("Admin Browser"));
    // Of what it did itself to others the administrator has it all, but for who they are.
    let own = exported(&admin).await;
    let activity = own["activity"].as_array().expect("activity");
    let closed = activity
        .iter()
        .find(|entry| entry["action"] == "account_deactivated");
    let closed = closed.expect("the entry");
    assert_eq!(
        (&closed["byYou"], &closed["onYou"], &closed["reason"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    assert!(!own.to_string().contains(&ada.user_id().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_one_statement_bounded_and_fails_on_what_was_changed() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    fill(&app, &ada).await;
    ada.ask("{ me { id } }").await;
    let (statements, _) = app.statements(exported(&ada)).await;
    assert_eq!(statements, 6, "limit, BEGIN, key, entry, all of it, COMMIT");
    app.db
        .sql("UPDATE users SET birth_date = set_byte(birth_date, 30, get_byte(birth_date, 30) # 1)")
        .await;
    assert_eq!(ada.ask(EXPORT).await.codes(), ["INTERNAL_SERVER_ERROR"]);
    app.db.sql("UPDATE users SET birth_date = NULL").await;
    for _ in 2..10 {
        exported(&ada).await;
    }
    let refused = ada.ask(EXPORT).await;
    assert_eq!(
        refused.data("exportMyData/errors/0/code"),
        "TOO_MANY_ATTEMPTS"
    );
    assert_eq!(refused.data("exportMyData/data"), &Value::Null);
    app.advance(TimeDelta::minutes(6));
    let refused = ada.ask(EXPORT).await;
    assert_eq!(refused.codes(), ["REAUTHENTICATION_REQUIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_done_more_than_a_document_holds_gets_the_newest_of_it() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.db
        .sql(&format!(
            "INSERT INTO audit_events (id, occurred_at, action, outcome, mac, actor_id) \
             SELECT gen_random_uuid(), '2026-11-29T00:00:00Z'::timestamptz + n * INTERVAL '1 s', 'role_assigned', 'success', \
                 decode(repeat('31', 32), 'hex'), '{}' FROM generate_series(1, 20000) AS n",
            app.db.text("SELECT id::text FROM users").await
        ))
        .await;
    let document = ada.ask(EXPORT).await;
    let document = document.data("exportMyData/data");
    let activity = document["activity"].as_array().expect("a list");
    assert_eq!(activity.len(), 20_000);
    let last = activity.last().map(|entry| &entry["action"]);
    assert_eq!(last, Some(&json!("data_exported")));
    let all = document["activityInAll"]["entries"]
        .as_u64()
        .expect("a number");
    assert!(all > 20_000, "{all}");
}
