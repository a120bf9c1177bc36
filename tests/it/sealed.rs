//! What is sealed: nowhere in clear, opened in its own place only, and its keys wrapped anew.

use cardea::services::{master_keys, sealed};
use serde_json::{Value, json};

use crate::harness::app::{MASTER_KEY, PASSWORD};
use crate::harness::{Program, TestApp};

const OWN: &str = "{ me { birthDate profile { coachingGoals } sessions(first: 10) { nodes { ipAddress userAgent } } } }";
const WRITE: &str = "mutation($day: Date, $goals: JSON) { updateProfile(input: { birthDate: $day, coachingGoals: $goals }) { errors { code } user { birthDate } profile { coachingGoals } } }";
const GOAL: &str = "canary goal é";
const AGENT: &str = "Canary Browser 7.3";
const ADDRESS: &str = "203.0.113.77";
const DAY: &str = "1933-07-19";
const OTHER_MASTER_KEY: &str = "xa5NFZQPZi1MZFwEDZDP6bC7xX9voY0aHUON+u9E8TI=";

async fn write(client: &crate::harness::Client<'_>, day: &str, goal: &str) {
    let variables = json!({ "day": day, "goals": { "goal": goal } });
    let written = client.gql(WRITE, variables).await;
    assert_eq!(written.data("updateProfile/errors"), &json!([]));
    assert_eq!(written.data("updateProfile/user/birthDate"), day);
    let goals = written.data("updateProfile/profile/coachingGoals");
    assert_eq!(goals, &json!({ "goal": goal }));
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_values_are_nowhere_in_clear_and_come_back_whole() {
    let app = TestApp::with(&["--trusted-proxies=127.0.0.0/8"]).await;
    let ada = app.user("ada").await;
    write(&ada, DAY, GOAL).await;
    app.at(ADDRESS).with(AGENT).login("ada", PASSWORD).await;
    let own = ada.ask(OWN).await;
    assert_eq!(own.data("me/birthDate"), DAY);
    assert_eq!(
        own.data("me/profile/coachingGoals"),
        &json!({ "goal": GOAL })
    );
    let sessions = own.data("me/sessions/nodes").as_array().cloned();
    let sessions = sessions.expect("sessions");
    let there = json!({ "ipAddress": ADDRESS, "userAgent": AGENT });
    assert!(sessions.contains(&there), "{sessions:?}");
    let dump = app.db.dump().await;
    for canary in [DAY, GOAL, AGENT, ADDRESS] {
        let hex = canary.bytes().map(|byte| format!("{byte:02x}"));
        for form in [canary.to_owned(), hex.collect()] {
            assert!(!dump.contains(&form), "{form} is in the dump");
        }
    }
    // Emptied, they are empty again.
    let cleared = ada.gql(WRITE, json!({ "day": null, "goals": null })).await;
    assert_eq!(cleared.data("updateProfile/user/birthDate"), &Value::Null);
    let goals = cleared.data("updateProfile/profile/coachingGoals");
    assert_eq!(goals, &json!({}));
    let kept = "SELECT count(birth_date)::text FROM users";
    assert_eq!(app.db.text(kept).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_or_changed_is_an_error_and_never_another_persons_data() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    write(&ada, DAY, GOAL).await;
    write(&bob, "1944-02-03", "something else").await;
    let moves = [
        // Two rows change places.
        "UPDATE users SET birth_date = other.birth_date FROM users other \
         WHERE users.username IN ('ada', 'bob') AND other.username IN ('ada', 'bob') AND users.id <> other.id",
        "UPDATE profiles SET coaching_goals = other.coaching_goals FROM profiles other WHERE profiles.user_id <> other.user_id",
        // Two columns of one row.
        "UPDATE sessions SET ip_address = user_agent, user_agent = ip_address",
        // With the key that wrapped them.
        "UPDATE data_keys SET wrapped_key = other.wrapped_key FROM data_keys other WHERE data_keys.user_id <> other.user_id",
    ];
    let flips = [
        "UPDATE users SET birth_date = set_byte(birth_date, 20, get_byte(birth_date, 20) # 1)",
        "UPDATE users SET birth_date = set_byte(birth_date, 0, 0)",
        "UPDATE profiles SET coaching_goals = set_byte(coaching_goals, octet_length(coaching_goals) - 1, get_byte(coaching_goals, octet_length(coaching_goals) - 1) # 128)",
        "UPDATE data_keys SET wrapped_key = set_byte(wrapped_key, 30, get_byte(wrapped_key, 30) # 4)",
    ];
    let keep = "CREATE TABLE kept AS SELECT u.id, u.birth_date, p.coaching_goals, k.wrapped_key FROM users u \
        JOIN profiles p ON p.user_id = u.id JOIN data_keys k ON k.user_id = u.id; \
        CREATE TABLE kept_sessions AS SELECT id, ip_address, user_agent FROM sessions;";
    app.db.sql(keep).await;
    let whole = [ada.ask(OWN).await, bob.ask(OWN).await];
    for answer in &whole {
        assert_eq!(answer.codes(), [] as [&str; 0], "{answer:?}");
    }
    for broken in moves.into_iter().chain(flips) {
        app.db.sql(broken).await;
        for client in [&ada, &bob] {
            let answer = client.ask(OWN).await;
            assert_eq!(answer.codes()[0], "INTERNAL_SERVER_ERROR", "{broken}");
            let said = answer.text.clone();
            for other in [DAY, GOAL, "1944-02-03", "something else"] {
                let own = whole[usize::from(client.id == bob.id)].text.contains(other);
                assert!(own || !said.contains(other), "{broken}: {said}");
            }
        }
        let restore = "UPDATE users SET birth_date = kept.birth_date FROM kept WHERE kept.id = users.id; \
            UPDATE profiles SET coaching_goals = kept.coaching_goals FROM kept WHERE kept.id = profiles.user_id; \
            UPDATE data_keys SET wrapped_key = kept.wrapped_key FROM kept WHERE kept.id = data_keys.user_id; \
            UPDATE sessions SET ip_address = kept.ip_address, user_agent = kept.user_agent FROM kept_sessions kept WHERE kept.id = sessions.id;";
        app.db.sql(restore).await;
    }
    assert_eq!(ada.ask(OWN).await.text, whole[0].text, "as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_costs_one_statement_however_many_accounts() {
    let app = TestApp::new().await;
    let moderator = app.user_with_role("mod", "moderator").await;
    for name in ["ada", "bob", "cora"] {
        write(&app.user(name).await, DAY, GOAL).await;
    }
    // Their own rights and key are known from here on.
    moderator.ask("{ users { nodes { fullName } } }").await;
    let (without, _) = app
        .statements(
            moderator.ask("{ users(first: 100) { nodes { lastLoginAt profile { bio } } } }"),
        )
        .await;
    let (with, answer) = app
        .statements(
            moderator
                .ask("{ users(first: 100) { nodes { birthDate profile { coachingGoals } } } }"),
        )
        .await;
    assert_eq!(with, without + 1, "the data keys");
    let nodes = answer.data("users/nodes").as_array().expect("nodes");
    let known = nodes.iter().filter(|node| node["birthDate"] == DAY);
    assert_eq!(known.count(), 3);
    let ada = app.sign_in("ada").await;
    ada.ask("{ me { id } }").await;
    let (without, _) = app.statements(ada.ask("{ me { profile { bio } } }")).await;
    let own = "{ me { birthDate profile { coachingGoals } } }";
    let (with, _) = app.statements(ada.ask(own)).await;
    assert_eq!(with, without + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stood_in_clear_before_is_sealed_before_anything_is_served() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.db
        .sql(
            "INSERT INTO unsealed_values (user_id, place, row_id, value) \
             SELECT id, 'users.birth_date', id, '1933-07-19' FROM users UNION ALL \
             SELECT id, 'profiles.coaching_goals', id, '{\"goal\": \"canary goal é\"}' FROM users UNION ALL \
             SELECT user_id, 'sessions.ip_address', id, '203.0.113.77' FROM sessions UNION ALL \
             SELECT user_id, 'sessions.user_agent', id, 'Canary Browser 7.3' FROM sessions; \
             UPDATE sessions SET ip_address = NULL, user_agent = NULL; DELETE FROM data_keys",
        )
        .await;
    let (first, second) = tokio::join!(
        sealed::seal_what_is_clear(&app.app),
        sealed::seal_what_is_clear(&app.app)
    );
    assert_eq!(first.expect("sealed") + second.expect("sealed"), 4);
    let own = ada.ask(OWN).await;
    assert_eq!(own.data("me/birthDate"), DAY);
    assert_eq!(
        own.data("me/profile/coachingGoals"),
        &json!({ "goal": GOAL })
    );
    let session = json!({ "ipAddress": ADDRESS, "userAgent": AGENT });
    assert_eq!(own.data("me/sessions/nodes/0"), &session);
    let dump = app.db.dump().await;
    for canary in [DAY, GOAL, AGENT, ADDRESS] {
        assert!(!dump.contains(canary), "{canary} is in the dump");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_key_takes_over_while_the_server_runs() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    write(&ada, DAY, GOAL).await;
    // More than a batch, the first of it wrapped already: as if it had been ended half-way.
    app.db
        .sql(
            "INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at) \
             SELECT gen_random_uuid(), gen_random_uuid(), n || '@example.org', 'Someone', now(), now() FROM generate_series(1, 2500) n",
        )
        .await;
    let ids: Vec<uuid::Uuid> =
        serde_json::from_str(&app.db.text("SELECT json_agg(id)::text FROM users").await)
            .expect("ids");
    {
        let mut conn = app.app.db.conn().await.expect("a connection");
        cardea::services::data_keys::ensure_all(&app.app, &mut conn, &ids)
            .await
            .expect("keys");
    }
    let url = app.db.url();
    let both = format!("{OTHER_MASTER_KEY}\n{MASTER_KEY}");
    let rotating = Program::on(&url).with("CARDEA_MASTER_KEY", &both);
    let told = rotating.run(&["keys", "rotate-master"]).success();
    assert!(
        told.starts_with("Wrapped 2502 keys with the master key "),
        "{told}"
    );
    let told = rotating.run(&["keys", "rotate-master"]).success();
    assert!(told.starts_with("Every key is wrapped"), "{told}");
    let masters = "SELECT count(DISTINCT master_key_id)::text FROM (SELECT master_key_id FROM data_keys UNION ALL SELECT master_key_id FROM installation_keys) k";
    assert_eq!(app.db.text(masters).await, "1");
    // A server with the old key alone does not start, one with the new key alone opens everything.
    let refused = Program::on(&url).run(&["keys", "list"]);
    assert!(refused.error().contains("another master key"));
    let renewed = Program::on(&url).with("CARDEA_MASTER_KEY", OTHER_MASTER_KEY);
    let server = renewed.serve();
    let token = server.login("ada", PASSWORD);
    let own = server.gql_as(&token, OWN);
    assert_eq!(own.data("me/birthDate"), DAY);
    let written = "SELECT details::text FROM audit_events WHERE action = 'master_key_rotated'";
    assert_eq!(app.db.text(written).await, "{\"keys\": 2502}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_goes_on_where_it_was_ended() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    for client in [&ada, &bob] {
        write(client, DAY, GOAL).await;
    }
    let both = format!("{OTHER_MASTER_KEY}\n{MASTER_KEY}");
    let (second, router) = app.second(&["--master-key", &both]).await;
    let one = bob.user_id();
    // As a rotation leaves it that is ended half-way: one is wrapped anew, and a server with the old key goes on.
    master_keys::rotate(&second, |_, _| {})
        .await
        .expect("rotated");
    let old = app.app.master_keys.new_data_key(one).expect("a key").2;
    assert_ne!(second.master_keys.current(), old);
    app.db
        .sql(&format!("DELETE FROM data_keys WHERE user_id = '{one}'"))
        .await;
    write_again(&app, &bob).await;
    assert_eq!(
        master_keys::rotate(&second, |_, _| {})
            .await
            .expect("rotated"),
        1
    );
    let visitor = crate::harness::verbs::Visitor::of(&router, "127.0.0.1");
    for name in ["ada", "bob"] {
        let signed_in = visitor.login(name, PASSWORD).await;
        assert_eq!(signed_in.data("login/errors"), &json!([]));
    }
}

/// Seals something with a key that the first server makes, and wraps with the old master key.
async fn write_again(app: &TestApp, client: &crate::harness::Client<'_>) {
    app.db
        .sql("UPDATE users SET birth_date = NULL; UPDATE profiles SET coaching_goals = NULL")
        .await;
    write(client, DAY, GOAL).await;
}
