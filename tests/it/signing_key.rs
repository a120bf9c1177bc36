//! The table of signing keys: its first row, whom it tells of changes, and what an operator does with it.

use cardea::app::App;
use cardea::clock::Clock;
use cardea::db::{Db, migration_names};
use cardea::services::keys::{self, Beginning};
use chrono::TimeDelta;
use serde_json::Value;

use crate::harness::app::{config, start_of_time};
use crate::harness::db::TestDb;
use crate::harness::{Program, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_make_one_first_key() {
    let db = TestDb::new(&config(&[]).database).await;
    let starts = (0..4).map(|_| async {
        let config = config(&[]);
        let pool = Db::new(&db.url(), &config.database).expect("a pool");
        let started = App::new(config, pool, Clock::fixed(start_of_time())).await;
        let app = started.expect("it starts");
        let keys = app.keys.published(app.now()).keys;
        app.db.close();
        keys.into_iter()
            .map(|key| key.common.key_id)
            .collect::<Vec<_>>()
    });
    let known = futures_util::future::join_all(starts).await;
    assert_eq!(known[0].len(), 1);
    assert!(known.iter().all(|keys| *keys == known[0]), "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_keys_is_told_to_who_listens() {
    use futures_util::StreamExt as _;
    let app = TestApp::new().await;
    let mut listening = app.app.db.listen("access").await.expect("a connection");
    let mut told = std::pin::pin!(listening.notifications_stream());
    for statement in [
        "INSERT INTO signing_keys SELECT gen_random_uuid(), algorithm, private_key, created_at, signs_from FROM signing_keys",
        "UPDATE signing_keys SET signs_from = now()",
        "DELETE FROM signing_keys",
    ] {
        app.db.sql(statement).await;
        let next = tokio::time::timeout(std::time::Duration::from_secs(5), told.next());
        let next = next.await.expect("in time").expect("one").expect("whole");
        assert_eq!((&*next.channel, &*next.payload), ("access", "keys"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_when_the_migration_is_taken_back() {
    let app = TestApp::new().await;
    for beginning in [Beginning::AtOnce, Beginning::Published] {
        keys::rotate(&app.app, beginning).await.expect("a key");
        app.advance(TimeDelta::minutes(1));
    }
    let name = migration_names().expect("names");
    let name = name.iter().find(|name| name.ends_with("_key_rotation"));
    let version = name
        .and_then(|name| name.split('_').next())
        .expect("it is there");
    let db = &app.app.db;
    while !db
        .migrate_down()
        .await
        .expect("down")
        .expect("one was left")
        .starts_with(version)
    {}
    let retired = "SELECT string_agg(coalesce(to_char(retired_at AT TIME ZONE 'UTC', 'HH24:MI'), 'signs'), ' ' ORDER BY id) FROM signing_keys";
    assert_eq!(app.db.text(retired).await, "08:00 08:11 signs");
    db.migrate().await.expect("up");
    let order = "SELECT string_agg(to_char(signs_from AT TIME ZONE 'UTC', 'HH24:MI'), ' ' ORDER BY id) FROM signing_keys";
    assert_eq!(app.db.text(order).await, "08:00 08:00 08:01");
}

/// The names and states that `keys list` prints.
#[track_caller]
fn listed(program: &Program) -> Vec<(String, String)> {
    let lines = program.run(&["keys", "list"]).success();
    let words = lines.lines().map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (
            words.next().expect("a name"),
            words.next().expect("a state"),
        )
    });
    words.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_rotates_lists_and_removes_keys_on_the_command_line() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url());
    let [(first, state)] = &listed(&program)[..] else {
        panic!("one key was to be listed");
    };
    assert_eq!(state, "signing");
    assert_eq!(
        program.run(&["keys", "remove", first]).error(),
        "no other key can sign; run `cardea keys rotate --at-once` first"
    );
    let made = program.run(&["keys", "rotate"]).success();
    let (next, instant) = made
        .strip_prefix("Made the key ")
        .and_then(|rest| {
            rest.trim_end()
                .strip_suffix('.')?
                .split_once("; it signs from ")
        })
        .expect("what was made");
    let instant: chrono::DateTime<chrono::Utc> = instant.parse().expect("an instant");
    let away = instant.signed_duration_since(Clock::system().now());
    assert!((570..=600).contains(&away.num_seconds()), "{away}");
    let again = program.run(&["keys", "rotate"]).error();
    assert!(
        again.starts_with(&format!("the key {next} waits already and signs from ")),
        "{again}"
    );
    program.run(&["keys", "rotate", "--at-once"]).success();
    let states: Vec<_> = listed(&program)
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, ["next", "signing", "retiring"]);
    assert_eq!(
        program.run(&["keys", "remove", first]).success(),
        format!("Removed the key {first}; tokens that it signed are refused.\n")
    );
    assert_eq!(
        program.run(&["keys", "remove", first]).error(),
        format!("there is no key {first}")
    );
    let server = program.serve();
    let keys: Value = server.get("/.well-known/jwks.json").json["keys"].clone();
    assert_eq!(
        (keys.as_array().map(Vec::len), &keys[0]["kid"]),
        (Some(2), &Value::from(next))
    );
    server.stop("TERM").success();
}
