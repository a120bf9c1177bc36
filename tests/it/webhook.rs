//! Events reach services that fail, hang and come back: all of them, in order, signed, and nobody else waits.

use std::time::Duration;

use cardea::models::webhook::{Dead, Event};
use cardea::worker;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::TestApp;
use crate::harness::app::config;
use crate::harness::node::Scripts;
use crate::harness::receiver::{Mood, OTHER_SECRET, Received, Receiver, SECRET, flag};

/// Registers accounts past the API, each with an event; gives their UUIDs.
async fn accounts(app: &TestApp, names: &[&str]) -> Vec<String> {
    let mut uuids = Vec::new();
    for name in names {
        app.register(name).await;
        let uuid = format!("SELECT auth_token::text FROM users WHERE username = '{name}'");
        uuids.push(app.db.text(&uuid).await);
    }
    uuids
}

async fn rename(app: &TestApp, name: &str, to: &str) {
    let sql = format!("UPDATE users SET full_name = '{to}' WHERE username = '{name}'");
    app.db.sql(&sql).await;
}

/// Closes an account, or opens it again: nothing that becomes part of an event which waits.
async fn flip(app: &TestApp, name: &str) {
    let sql = format!(
        "UPDATE users SET (status, closed_at, closed_by) = (SELECT * FROM (VALUES \
             ('deactivated', now(), 'admin'), ('active', NULL, NULL)) AS states (status, closed_at, closed_by) \
             WHERE states.status <> users.status LIMIT 1) WHERE username = '{name}'"
    );
    app.db.sql(&sql).await;
}

/// Past every pause that a few failures can cost.
fn later(app: &TestApp) {
    app.advance(TimeDelta::minutes(61));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_signed_with_every_secret_and_keeps_its_id() {
    let receiver = Receiver::new().await;
    let mut setting = receiver.setting("crm");
    setting["secrets"] = json!([SECRET, OTHER_SECRET]);
    let app = TestApp::telling(&[&flag(&json!([setting]))]).await;
    accounts(&app, &["ada"]).await;
    receiver.script([Mood::Says(500, None)]);
    assert_eq!(app.deliver().await, 1);
    later(&app);
    assert_eq!(app.deliver().await, 1);
    let events = receiver.take();
    let [first, second] = &events[..] else {
        panic!("{events:?}");
    };
    for event in [first, second] {
        assert!(event.signed_by(SECRET) && event.signed_by(OTHER_SECRET));
        assert_eq!(event.signatures.split(' ').count(), 2);
        let strange = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(!event.signed_by(strange));
    }
    assert_eq!(first.id, second.id);
    assert_eq!(first.body, second.body, "the same event, not another one");
    let seconds = |event: &Received| event.timestamp.parse::<i64>();
    let (before, after) = (
        seconds(first).expect("a number"),
        seconds(second).expect("a number"),
    );
    assert_eq!(after - before, 61 * 60, "the time of the sending");
    assert_eq!(after, app.app.clock.now().timestamp());

    // The library of Standard Webhooks takes it, and not a changed one.
    let Some(scripts) = Scripts::installed("webhook", &[]) else {
        return;
    };
    let body = second.body.clone();
    let variables = [
        ("SECRET", SECRET),
        ("OTHER_SECRET", OTHER_SECRET),
        ("ID", &second.id),
        ("TIMESTAMP", &second.timestamp),
        ("SIGNATURES", &second.signatures),
        ("BODY", &body),
    ];
    assert_eq!(scripts.run("verify.mjs", &variables), "verified\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_goes_away_and_comes_back_gets_everything_in_order() {
    let mut receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    accounts(&app, &["ada"]).await;
    for _ in 0..3 {
        flip(&app, "ada").await;
    }
    receiver.script([
        Mood::Says(500, None),
        Mood::Says(404, None),
        Mood::Redirects,
    ]);
    for _ in 0..3 {
        assert_eq!(app.deliver().await, 1, "one try, and nothing behind it");
        assert_eq!(app.deliver().await, 0, "not at once again");
        later(&app);
    }
    assert_eq!(receiver.told(), ["account.created 1"; 3]);
    assert_eq!(receiver.elsewhere(), 0, "a redirect is not followed");
    let why = "SELECT string_agg(last_error, ' ') FROM jobs WHERE endpoint = 'crm'";
    assert_eq!(app.db.text(why).await, "answered 307 Temporary Redirect");
    receiver.go_away().await;
    assert_eq!(app.deliver().await, 1);
    let refused = app.db.text(why).await;
    assert!(refused.contains("refused"), "{refused}");
    assert!(
        !refused.contains("/hook"),
        "the address may be a secret: {refused}"
    );
    rename(&app, "ada", "Other").await;
    later(&app);
    receiver.come_back().await;
    assert_eq!(app.deliver().await, 5);
    let sent = [
        "account.created 1",
        "account.deactivated 2",
        "account.reactivated 3",
        "account.deactivated 4",
        "account.updated 5",
    ];
    assert_eq!(receiver.told(), sent);
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_one_account_holds_up_no_other() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let uuids = accounts(&app, &["ada", "bob"]).await;
    receiver.mood_for(&uuids[0], Mood::Says(500, None));
    for name in ["ada", "bob", "ada", "bob"] {
        flip(&app, name).await;
        flip(&app, name).await;
    }
    assert_eq!(app.deliver().await, 6);
    let events = receiver.take();
    let of = |uuid: &str| -> Vec<String> {
        let events = events.iter().filter(|event| event.uuid() == uuid);
        events.map(Received::told).collect()
    };
    assert_eq!(of(&uuids[0]), ["account.created 1"]);
    assert_eq!(of(&uuids[1]).len(), 5);
    // Those behind it are not even looked at before it is due.
    let due = "SELECT count(*)::text FROM jobs WHERE endpoint IS NOT NULL AND run_at = '-infinity'";
    assert_eq!(app.db.text(due).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_holds_up_neither_mails_nor_other_services() {
    let (hangs, works) = (Receiver::new().await, Receiver::new().await);
    hangs.mood(Mood::Hangs);
    let both = json!([hangs.setting("hangs"), works.setting("works")]);
    let app = TestApp::telling(&[&flag(&both), "--webhook-timeout-secs=30"]).await;
    worker::start(&app.app);
    let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
    for name in &names {
        app.register(name).await;
    }
    until("the other service and the mails", || {
        works.count() == 8 && app.mails().len() == 8 && hangs.count() == 4
    })
    .await;
    assert_eq!(hangs.count(), 4, "no more at once than its own senders");
    assert_eq!(app.events().await, "8 0");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_in_time_is_none_and_an_endless_one_is_not_read() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag(), "--webhook-timeout-secs=1"]).await;
    accounts(&app, &["ada"]).await;
    receiver.script([Mood::Hangs, Mood::Endless]);
    assert_eq!(app.deliver().await, 1);
    let why = "SELECT string_agg(last_error, ' ') FROM jobs WHERE endpoint = 'crm'";
    assert_eq!(app.db.text(why).await, "no answer in 1 s");
    later(&app);
    assert_eq!(app.deliver().await, 1);
    assert_eq!(app.events().await, "0 0", "its status counts");
    assert!(receiver.chunks() < 200, "{} chunks", receiver.chunks());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_is_left_alone_for_as_long_as_it_asks_within_an_hour() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    accounts(&app, &["ada"]).await;
    receiver.script([
        Mood::Says(429, Some("600")),
        Mood::Says(503, Some("999999")),
        // Not its place to say when.
        Mood::Says(500, Some("3000")),
    ]);
    for (early, rest) in [(590, 11), (3590, 11), (0, 25)] {
        assert_eq!(app.deliver().await, 1);
        app.advance(TimeDelta::seconds(early));
        assert_eq!(app.deliver().await, 0);
        app.advance(TimeDelta::seconds(rest));
    }
    assert_eq!(app.deliver().await, 1);
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_dies_after_sending_sends_again_with_the_same_id() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    accounts(&app, &["ada"]).await;
    rename(&app, "ada", "Other").await;
    // It sends, and cannot say that it did.
    app.db
        .sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
              CREATE TRIGGER refuse BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()")
        .await;
    worker::deliver_due(&app.app).await.expect_err("it dies");
    app.db.sql("DROP TRIGGER refuse ON jobs").await;
    assert_eq!(app.deliver().await, 0, "held by the one that died");
    app.advance(TimeDelta::seconds(61));
    assert_eq!(app.deliver().await, 2);
    let events = receiver.take();
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_send_each_event_once_and_keep_the_order() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let (second, _) = app.second(&[&receiver.flag()]).await;
    let names: Vec<String> = (0..5).map(|n| format!("user{n}")).collect();
    for name in &names {
        app.register(name).await;
    }
    for _ in 0..5 {
        for name in &names {
            flip(&app, name).await;
        }
    }
    let senders = (0..6).map(|n| {
        let app = if n % 2 == 0 { &app.app } else { &second };
        worker::deliver_due(app)
    });
    futures_util::future::try_join_all(senders)
        .await
        .expect("sent");
    // One that found the rest of the queue in the hands of others has left it to them.
    app.deliver().await;
    let events = receiver.take();
    assert_eq!(events.len(), 30);
    for event in &events {
        let of = events.iter().filter(|other| other.uuid() == event.uuid());
        let numbers: Vec<_> = of
            .map(|event| event.json["data"]["sequence"].clone())
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    }
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_not_claimed_while_an_earlier_one_of_its_account_is_held() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    accounts(&app, &["ada"]).await;
    rename(&app, "ada", "Other").await;
    let claim = async || {
        let mut conn = app.app.db.conn().await.expect("a connection");
        let lease = TimeDelta::seconds(60);
        Event::claim(&mut conn, "crm", lease, app.app.now())
            .await
            .expect("an answer")
    };
    assert_eq!(claim().await.map(|event| event.sequence), Some(1));
    assert!(claim().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_taken_is_given_up_and_those_behind_it_go_on() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    accounts(&app, &["ada"]).await;
    rename(&app, "ada", "Other").await;
    receiver.mood(Mood::Says(500, None));
    assert_eq!(app.deliver().await, 1);
    app.advance(TimeDelta::hours(71));
    assert_eq!(app.deliver().await, 1);
    assert_eq!(app.events().await, "2 0");
    app.advance(TimeDelta::hours(2));
    // Both are older than three days.
    assert_eq!(app.deliver().await, 2);
    assert_eq!(app.events().await, "0 2");

    // What a service says it never wants is given up at once.
    flip(&app, "ada").await;
    flip(&app, "ada").await;
    receiver.mood(Mood::Takes);
    receiver.script([Mood::Says(410, None)]);
    assert_eq!(app.deliver().await, 2);
    assert_eq!(app.events().await, "0 3");
    let last = receiver.take();
    assert_eq!(
        last.last().map(Received::told),
        Some("account.reactivated 4".to_owned())
    );
    // And forgotten after thirty days.
    app.advance(TimeDelta::days(31));
    cardea::services::cleaning::clean(&app.app)
        .await
        .expect("cleaned");
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_fills_a_queue_by_changing_an_account_over_and_over() {
    let (slow, quick) = (Receiver::new().await, Receiver::new().await);
    let both = json!([slow.setting("slow"), quick.setting("quick")]);
    let app = TestApp::telling(&[&flag(&both)]).await;
    accounts(&app, &["ada"]).await;
    app.deliver().await;
    slow.take();
    quick.take();
    slow.mood(Mood::Says(500, None));
    for round in 0..20 {
        rename(&app, "ada", &format!("Name {round}")).await;
        app.db
            .sql(&format!("UPDATE profiles SET bio = 'Bio {round}'"))
            .await;
        app.deliver().await;
    }
    let waiting = "SELECT string_agg(endpoint, ' ') FROM jobs WHERE endpoint IS NOT NULL";
    assert_eq!(app.db.text(waiting).await, "slow slow");
    assert_eq!(quick.count(), 20, "one for each time that it was looked at");
    // What was tried stays as it was sent; what waits behind it has all the rest.
    slow.mood(Mood::Takes);
    slow.take();
    later(&app);
    assert_eq!(app.deliver().await, 2);
    let told: Vec<_> = slow
        .take()
        .into_iter()
        .map(|event| event.json["data"]["changed"].clone())
        .collect();
    let all = json!(["fullName", "profile.bio"]);
    assert_eq!(told, [all.clone(), all]);
    // The id of one that is sent again was seen already, perhaps.
    slow.script([Mood::Says(410, None)]);
    rename(&app, "ada", "Given up").await;
    app.deliver().await;
    slow.take();
    let mut conn = app.app.db.conn().await.expect("a connection");
    let again = Dead::replay(&mut conn, None, app.app.now()).await;
    assert_eq!(again.expect("replayed"), 1);
    drop(conn);
    rename(&app, "ada", "Later").await;
    assert_eq!(app.deliver().await, 3);
    assert_eq!(slow.take().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_an_event_takes_three_statements_and_no_connection_meanwhile() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag(), "--database-pool-size=2"]).await;
    accounts(&app, &["ada"]).await;
    let (statements, sent) = app.statements(app.deliver()).await;
    assert_eq!(sent, 1);
    assert_eq!(statements, 3, "claim, done, and nothing more to claim");
    receiver.mood(Mood::Hangs);
    accounts(&app, &["bob", "eve", "joe"]).await;
    worker::start(&app.app);
    until("three that hang", || receiver.count() == 4).await;
    // The pool has two.
    app.register("mia").await;
    assert_eq!(app.count("users").await, "5");
}

#[test]
fn settings_that_cannot_hold_are_named_and_no_secret_is() {
    let good = json!({ "name": "crm", "url": "https://crm.example.org/hook", "secrets": [SECRET] });
    let with = |key: &str, value: serde_json::Value| {
        let mut setting = good.clone();
        setting[key] = value;
        json!([setting])
    };
    let problems = |settings: &serde_json::Value, more: &[&str]| {
        let flag = flag(settings);
        let flags: Vec<&str> = more.iter().copied().chain([&*flag]).collect();
        let found = config(&flags).problems();
        let found = found.into_iter().filter(|one| one.contains("WEBHOOK"));
        found.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(problems(&json!([good]), &[]), "");
    assert_eq!(problems(&json!([good]), &["--mode=production"]), "");
    let local = with("url", json!("http://127.0.0.1:4000/hook"));
    assert_eq!(problems(&local, &[]), "");
    let https = "https address";
    assert!(problems(&local, &["--mode=production"]).contains(https));
    for (settings, named) in [
        (with("url", json!("http://crm.example.org/s3cret")), https),
        (with("url", json!("ftp://crm.example.org/s3cret")), https),
        (
            with("url", json!("https://me:s3cret@crm.example.org")),
            "without a name",
        ),
        (
            with("url", json!("https://s3cret@crm.example.org")),
            "without a name",
        ),
        (
            with("url", json!("https://crm.example.org/#s3cret")),
            "fragment",
        ),
        (with("url", json!("s3cret")), "no address"),
        (with("name", json!("CRM")), "small letters"),
        (with("name", json!("a--b")), "small letters"),
        (with("name", json!("")), "small letters"),
        (with("secrets", json!([])), "needs a secret"),
        (with("secrets", json!(["s3cret"])), "whsec_"),
        (with("secrets", json!(["whsec_s3cret"])), "24 to 64"),
        (
            with("secrets", json!(["whsec_c2hvcnQgczNjcmV0"])),
            "24 to 64",
        ),
        (
            with("secrets", json!([SECRET, SECRET, SECRET, SECRET])),
            "at most 3",
        ),
        (with("secretsFile", json!("/nowhere")), "one of secrets"),
        (with("s3cret", json!("s3cret")), "no such JSON"),
        (json!([good, good]), "twice"),
        (json!("s3cret"), "no such JSON"),
    ] {
        let found = problems(&settings, &[]);
        assert!(found.contains(named), "{settings}: {found}");
        assert!(
            !found.contains("s3cret") && !found.contains("Q2Fy"),
            "{found}"
        );
    }
    for flag in ["--webhook-timeout-secs=31", "--webhook-give-up-hours=0"] {
        let found = problems(&json!([good]), &[flag]);
        assert!(found.contains("between"), "{found}");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{SECRET}\n\n{OTHER_SECRET}\n")).expect("written");
    let mut setting = with("secretsFile", json!(file.path()));
    setting[0]
        .as_object_mut()
        .expect("an object")
        .remove("secrets");
    let config = config(&[&flag(&setting)]);
    let endpoints = config.webhooks.endpoints(true).expect("sound");
    assert_eq!(endpoints[0].secrets.len(), 2);
    assert!(!format!("{config:?} {endpoints:?}").contains("Q2Fy"));
}
