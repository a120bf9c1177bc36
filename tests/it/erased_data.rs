//! Nothing of an erased person is left, and nobody else misses anything.

use std::collections::{BTreeMap, BTreeSet};

use cardea::services::{audit_chain, audit_verify};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::app::{PASSWORD, config};
use crate::harness::db::TestDb;
use crate::harness::oauth::Setup;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

const ADDRESS: &str = "Canary.Ada@example.org";
const IP: &str = "203.0.113.77";
const BORN: &str = "1987-06-05";

/// What becomes of the rows of a table when an account that they are about is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They go with the account's row.
    Go,
    /// The erasure removes them.
    Removed,
    /// They stay, and name nobody any more.
    Nameless,
    /// They are about no account.
    Others,
}
use Fate::{Go, Nameless, Others, Removed};

/// A new table has to say what becomes of its rows, and `a_person_who_is_erased_is_nowhere` should fill it.
const TABLES: &[(&str, Fate)] = &[
    // Chains of codes.
    ("audit_chains", Others),
    // Ids of accounts that are no more; from where and why is sealed with a key that is no more.
    ("audit_events", Nameless),
    ("backgrounds", Go),
    ("data_keys", Go),
    ("email_changes", Go),
    ("identities", Go),
    ("import_requests", Go),
    ("installation_keys", Others),
    ("jobs", Removed),
    ("known_devices", Go),
    ("login_day_methods", Others),
    ("login_day_returns", Others),
    ("login_events", Nameless),
    ("login_quarters", Others),
    ("oauth_states", Go),
    ("passkey_challenges", Go),
    ("passkeys", Go),
    ("password_history", Go),
    ("permissions", Others),
    ("personalizations", Go),
    ("profiles", Go),
    ("rate_limits", Removed),
    ("recovery_codes", Go),
    ("registration_claims", Go),
    ("role_permissions", Others),
    ("roles", Others),
    ("sessions", Go),
    ("signing_keys", Others),
    ("spent_refresh_tokens", Go),
    ("trusted_devices", Go),
    ("two_factor_challenges", Go),
    ("two_factor_secrets", Go),
    // What an erased account gave stays; `assigned_by` is null then.
    ("unsealed_values", Go),
    ("user_roles", Go),
    ("username_reservations", Go),
    ("users", Go),
    ("verification_tokens", Go),
    ("webhook_endpoints", Others),
    ("webhook_sequences", Removed),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_table_says_what_becomes_of_it() {
    let db = TestDb::new(&config(&[]).database).await;
    let names = async |query: &str| -> BTreeSet<String> {
        let text = db.text(query).await;
        text.split_whitespace().map(str::to_owned).collect()
    };
    let tables = names(
        "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND relkind IN ('r', 'p') AND relname <> '__diesel_schema_migrations'",
    )
    .await;
    let listed: BTreeSet<_> = TABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tables, listed);
    // What hangs on an account, directly or by something that does, and goes with it.
    let going = names(
        "WITH RECURSIVE going (id) AS ( \
             SELECT 'users'::regclass::oid UNION \
             SELECT conrelid FROM pg_constraint JOIN going ON confrelid = going.id \
             WHERE contype = 'f' AND confdeltype = 'c' \
         ) SELECT string_agg(id::regclass::text, ' ') FROM going",
    )
    .await;
    let personal = names(
        "SELECT string_agg(DISTINCT table_name::text, ' ') FROM information_schema.columns \
         WHERE table_schema = 'public' AND column_name ~ \
         '(^|_)(user|account|actor|subject|owner|assigned|email|address|agent|phone|birth|payload)(_|$)'",
    )
    .await;
    for (table, fate) in TABLES {
        assert_eq!(going.contains(*table), *fate == Go, "{table}");
        if *fate == Others {
            assert!(!personal.contains(*table), "{table} may be about somebody");
        }
    }
    let kept = names(
        "SELECT string_agg(conrelid::regclass || '.' || attname, ' ') FROM pg_constraint \
         JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) \
         WHERE contype = 'f' AND confrelid = 'users'::regclass AND confdeltype <> 'c'",
    )
    .await;
    let nulled = ["login_events.user_id", "user_roles.assigned_by"];
    assert_eq!(kept, nulled.map(str::to_owned).into());
}

/// Registers somebody whose every word begins with `word`, from a network and with a browser of their own, and fills
/// everything that an account can have.
async fn somebody<'a>(setup: &'a Setup, word: &str, address: &str, ip: &str) -> Client<'a> {
    let app = &setup.app;
    let visitor = app.at(ip).with(&format!("{word}Browser/7.1"));
    let name = format!("{word}_name");
    let input = json!({ "input": {
        "email": address, "fullName": format!("{word} Lovelace"), "username": name, "password": NEW_PASSWORD,
        "birthDate": if word == "Canary" { BORN } else { "1990-01-02" }, "language": "de",
    } });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    visitor.gql(register, input).await.data("register/errors");
    let token = app.mailed_token(address).await;
    let verified = app.verify(&token).await;
    assert_eq!(verified.data("verifyEmail/errors"), &json!([]));
    let token = app.reset_token(address).await;
    assert_eq!(app.reset(&token, PASSWORD).await.code(), "");
    visitor.login(&name, "Wrong-Horse-7").await;
    let answer = visitor.login(&name, PASSWORD).await;
    let client = Client::new(app, answer.data("login/result"));
    let profile = json!({ "input": {
        "bio": format!("{word} bio"), "coachingGoals": { "goal": format!("{word} goal") },
        "avatarUrl": format!("https://{word}.example/face.png"), "firstName": format!("{word}first"),
        "lastName": format!("{word}last"), "preferences": { "likes": format!("{word} tea") },
    } });
    let update = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { errors { code } } }";
    assert_eq!(client.gql(update, profile).await.code(), "");
    for document in [
        "updateBackground(input: { primaryDomain: \"WORD domain\", softwareTools: [\"WORD tool\"] })",
        "updatePersonalization(input: { preferredCategories: [\"WORD category\"] })",
    ] {
        let document = document.replace("WORD", word);
        let document = format!("mutation {{ {document} {{ errors {{ code }} }} }}");
        assert_eq!(client.ask(&document).await.code(), "");
    }
    client.add_passkey().await;
    let begun = client.begin_link("acme").await;
    let elsewhere = format!("{word}.elsewhere@example.com");
    let called = format!("{word} Elsewhere");
    let code = setup.acme.agree(
        &begun.url,
        &format!("{word}-subject"),
        &elsewhere,
        Some(&called),
    );
    assert_eq!(client.finish_link(&begun.with(&code)).await.code(), "");
    client.start_passkey_registration().await;
    client.begin_link("acme").await;
    let moving = format!("{word}.new@example.org");
    client.email_change_token(app, &moving).await;
    app.reset_token(address).await;
    // In vain, with a username that is kept for them.
    let vain = json!({ "input": {
        "email": address, "fullName": format!("{word} Vain"), "username": format!("{word}_kept"), "password": "Other-Horse-8",
    } });
    app.gql(register, vain).await.data("register/errors");
    let device = client.with_two_factor(app).await;
    // A sign-in that waits for the second factor, one on a device that is trusted, and a wrong code.
    let waiting = visitor.login(&name, PASSWORD).await;
    let token = waiting.data("login/result/challengeToken");
    let token = token.as_str().expect("a token").to_owned();
    app.verify_code(&token, &device.wrong_code()).await;
    app.advance(chrono::TimeDelta::seconds(30));
    let token = app.challenge(&name).await;
    app.verify_code_and_trust(&token, &device.code()).await;
    visitor.login(address, "Wrong-Horse-7").await;
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { result { __typename ... on SignedIn { accessToken refreshToken user { id uuid } session { id } } } } }";
    let refreshed = app
        .gql(refresh, json!({ "token": client.refresh_token }))
        .await;
    Client::new(app, refreshed.data("refreshToken/result"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What would tell of the person, as rows may show it.
fn traces(id: &str) -> Vec<String> {
    let mut traces = Vec::new();
    for word in ["canary", IP, BORN, ADDRESS] {
        traces.push(word.to_lowercase());
        for written in [word.to_owned(), word.to_lowercase()] {
            traces.push(hexadecimal(written.as_bytes()));
        }
    }
    // Whoever knows the address could look for these.
    let address = ADDRESS.to_lowercase();
    for hashed in [
        address.clone(),
        format!("name\0{address}"),
        "name\0canary_name".to_owned(),
        format!("account\0{id}"),
        format!("mail\0password_reset\0{address}"),
        format!("resend\0email_verification\0{address}"),
    ] {
        traces.push(hexadecimal(&Sha256::digest(hashed)));
    }
    traces
}

/// The rows of an account in the tables that have some, by table.
async fn rows_of(app: &TestApp, client: &Client<'_>) -> BTreeMap<String, Vec<String>> {
    let id = client.user_id().to_string();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in app.rows().await.lines().filter(|row| row.contains(&id)) {
        let (table, row) = row.split_once(' ').expect("the name of a table");
        let rows = tables.entry(table.to_owned()).or_default();
        rows.push(row.to_owned());
    }
    tables
}

/// What others do with the account, and what waits for it. Gives somebody who wanted to move to its address.
async fn spread<'a>(
    app: &'a TestApp,
    admin: &Client<'_>,
    ada: &Client<'_>,
    bob: &Client<'_>,
) -> Client<'a> {
    let id = ada.user_id().to_string();
    // What others have done with it, and what waits.
    let eve = app.user("eve").await;
    eve.request_email_change(ADDRESS).await;
    app.run_jobs().await;
    let reason = Some("Canary Lovelace wrote a letter");
    let given =
        "mutation($input: RoleMembershipInput!) { assignRole(input: $input) { errors { code } } }";
    let role = admin.role_id("moderator").await;
    let given = admin
        .gql(
            given,
            json!({ "input": { "userId": ada.id, "roleId": role } }),
        )
        .await;
    assert_eq!(given.code(), "");
    let read = "query($id: ID!) { node(id: $id) { ... on User { email profile { bio } } } }";
    admin.gql(read, json!({ "id": ada.id })).await.data("node");
    app.db
        .sql(&format!(
            "UPDATE user_roles SET assigned_by = '{id}' WHERE user_id = '{}'",
            bob.user_id()
        ))
        .await;
    app.request_reset(ADDRESS).await;
    app.db
        .sql(&format!(
            "UPDATE jobs SET last_error = '550 <{ADDRESS}> is unknown', failed_at = now(), attempts = 3 WHERE payload ->> 'user' = '{id}'"
        ))
        .await;
    assert_eq!(admin.set_status(&ada.id, false, reason).await.code(), "");
    // Closing drops those.
    app.db
        .sql(&format!(
            "INSERT INTO email_changes (id, user_id, new_email, old_email, requested_at) \
             VALUES (gen_random_uuid(), '{id}', 'canary.new@example.org', '{ADDRESS}', now())"
        ))
        .await;
    eve
}

/// Fails unless the trail is whole and tells nobody's name; gives how many entries it has.
async fn nameless(app: &TestApp, admin: &Client<'_>, ada: &Client<'_>) -> i64 {
    // The trail is whole, and tells nobody's name.
    audit_chain::chain(&app.app).await.expect("chained");
    let verified = audit_verify::verify(&app.app, &[], |_| ()).await;
    let verified = verified.expect("it can be read").map_err(|broken| broken.0);
    let entries = verified.expect("it is whole").entries;
    let shown = "query($filter: AuditEventFilter) { auditEvents(first: 100, filter: $filter) { \
        nodes { action actor { id } subject { id } ipAddress userAgent details } } }";
    for filter in ["subjectId", "actorId"] {
        let answer = admin
            .gql(shown, json!({ "filter": { filter: ada.id } }))
            .await;
        let nodes = answer.data("auditEvents/nodes").as_array().expect("a list");
        assert!(nodes.len() > 5, "{}", answer.text);
        assert!(!answer.text.to_lowercase().contains("canary"));
        for node in nodes {
            assert_eq!(node["subject"], Value::Null);
            assert_eq!(node["details"]["reason"], Value::Null);
            let by_admin = node["actor"]["id"] == json!(admin.id);
            assert_eq!(node["ipAddress"] != Value::Null, by_admin, "{node}");
            assert_eq!(node["userAgent"], Value::Null);
        }
    }
    for document in [
        "query($id: ID!) { found: node(id: $id) { id } }",
        "query($id: ID!) { found: user(by: { id: $id }) { id } }",
    ] {
        let answer = admin.gql(document, json!({ "id": ada.id })).await;
        assert_eq!(answer.data("found"), &Value::Null);
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_erased_is_nowhere() {
    let setup = Setup::with(&["--password-history=3", "--resend-secs=0"]).await;
    let app = &setup.app;
    let admin = app.admin().await;
    let bob = somebody(&setup, "Other", "other@example.org", "198.51.100.9").await;
    let ada = somebody(&setup, "Canary", ADDRESS, IP).await;
    let id = ada.user_id().to_string();
    let eve = spread(app, &admin, &ada, &bob).await;
    let filled = rows_of(app, &ada).await;
    let empty: Vec<_> = TABLES
        .iter()
        .filter(|(_, fate)| *fate != Others)
        .map(|(table, _)| *table)
        // These name the account in other ways.
        .filter(|table| !["rate_limits", "spent_refresh_tokens"].contains(table))
        // Empty in a server that serves, and without other services to tell (tests/it/webhook_events.rs has those).
        .filter(|table| !["import_requests", "unsealed_values", "webhook_sequences"].contains(table))
        .filter(|table| !filled.contains_key(*table))
        .collect();
    assert_eq!(empty, Vec::<&str>::new(), "nothing is tested of these");
    let before = app.rows().await.to_lowercase();
    let shown = traces(&id);
    // The words, the address as it is hashed for the limits of signing in, and of mails.
    let hashed = shown.len() - 6;
    for trace in [&shown[0], &shown[hashed + 1], &shown[hashed + 4]] {
        assert!(before.contains(&**trace), "{trace} is there before");
    }
    audit_chain::chain(&app.app).await.expect("chained");
    // The roles that the person gave are told to be given by nobody.
    let mut others = rows_of(app, &bob).await;
    let roles = others.remove("user_roles").expect("roles");
    let eves = rows_of(app, &eve).await;
    assert!(eves.contains_key("email_changes"));
    let chained = app.count("audit_events").await;

    let why = json!({ "immediately": true, "reason": "Canary Lovelace wrote a letter" });
    assert_eq!(admin.erase_user(&ada.id, why).await.code(), "");

    let after = app.rows().await.to_lowercase();
    for trace in &shown {
        for row in after.lines() {
            assert!(!row.contains(&**trace), "{trace} in {row}");
        }
    }
    let dump = app.db.dump().await.to_lowercase();
    assert!(!dump.contains("canary") && !dump.contains(IP));
    let left = rows_of(app, &ada).await;
    assert!(
        left.keys().all(|table| table.starts_with("month_")
            || table == "others"
            || table == "audit_events"),
        "{left:#?}"
    );
    assert_eq!(app.count("data_keys").await, "3");
    let told = "SELECT (client IS NULL)::text || (actor_id IS NULL) || details FROM audit_events WHERE action = 'account_erased'";
    assert_eq!(app.db.text(told).await, "truetrue{}");

    // Nobody else misses anything.
    let mut now = rows_of(app, &bob).await;
    let roles_now = now.remove("user_roles").expect("roles");
    assert_eq!(now, others);
    let nobody = |rows: &[String]| -> Vec<String> {
        rows.iter()
            .map(|row| row.replace(&format!(",{id})"), ",)"))
            .collect()
    };
    assert_eq!(roles_now, nobody(&roles));
    assert_ne!(roles_now, roles);
    assert_eq!(app.login("eve", PASSWORD).await.code(), "");

    assert!(nameless(app, &admin, &ada).await > chained.parse().expect("a number"));
}
