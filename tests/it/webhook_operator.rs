//! What an operator sees and does where a service does not take its events, with the real program.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::process::until;
use crate::harness::receiver::{Mood, Receiver, SECRET};
use crate::harness::{Program, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_listed_and_sent_again_with_the_id_that_it_had() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let setting = json!([receiver.setting("crm")]).to_string();
    let program = Program::on(&app.db.url()).with("CARDEA_WEBHOOKS", &setting);
    let (none, nobody) = ("No event was given up.\n", "crm  0 wait  0 given up\n");
    assert_eq!(program.run(&["webhook", "dead"]).success(), none);
    assert_eq!(program.run(&["webhook", "list"]).success(), nobody);
    app.register("ada").await;
    app.db.sql("UPDATE users SET full_name = 'Other'").await;
    let waiting = program.run(&["webhook", "list"]).success();
    assert!(waiting.starts_with("crm  2 wait since 2"), "{waiting}");
    receiver.mood(Mood::Says(500, None));
    app.advance(TimeDelta::hours(73));
    assert_eq!(app.deliver().await, 2);
    let list = program.run(&["webhook", "list"]).success();
    assert_eq!(list, "crm  0 wait  2 given up\n");
    let dead = program.run(&["webhook", "dead"]).success();
    let account = app.db.text("SELECT id::text FROM users").await;
    let lines: Vec<_> = dead.lines().collect();
    let [created, updated] = lines[..] else {
        panic!("{dead}");
    };
    let rest = format!("  crm  account {account}  1  account.created  1 tries  given up 2");
    assert!(created.contains(&rest), "{created}");
    assert!(
        created.ends_with("Z  answered 500 Internal Server Error"),
        "{created}"
    );
    assert!(updated.contains("  2  account.updated  "), "{updated}");
    let id = updated.split("  ").next().expect("an id");
    receiver.take();

    receiver.mood(Mood::Takes);
    let unknown = "00000000-0000-0000-0000-000000000000";
    let refused = program.run(&["webhook", "replay", unknown]).error();
    assert_eq!(refused, "1 were not given up");
    assert_eq!(program.run(&["webhook", "replay"]).code, Some(2));
    let one = program.run(&["webhook", "replay", id]).success();
    assert_eq!(one, "1 events will be sent again.\n");
    assert_eq!(app.deliver().await, 1);
    assert_eq!(receiver.take()[0].id, id);
    let all = program.run(&["webhook", "replay", "--all"]).success();
    assert_eq!(all, "1 events will be sent again.\n");
    assert_eq!(app.deliver().await, 1);
    assert_eq!(receiver.told(), ["account.created 1"]);
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_shows_whether_a_service_takes_what_the_settings_sign() {
    let receiver = Receiver::new().await;
    let app = TestApp::new().await;
    let setting = json!([receiver.setting("crm")]).to_string();
    let program = Program::on(&app.db.url()).with("CARDEA_WEBHOOKS", &setting);
    let taken = program.run(&["webhook", "test"]).success();
    assert_eq!(taken, "crm  204 No Content\n");
    let events = receiver.take();
    assert!(events[0].signed_by(SECRET));
    assert_eq!(events[0].json["type"], "webhook.test");
    receiver.mood(Mood::Says(401, None));
    let refused = program.run(&["webhook", "test", "crm"]);
    assert_eq!(refused.stdout, "crm  answered 401 Unauthorized\n");
    assert_eq!(refused.error(), "1 did not take it");
    let unknown = program.run(&["webhook", "test", "billing"]).error();
    assert_eq!(unknown, "the settings name no such service");
    // Neither told of anything: only a server's start does that.
    app.register("ada").await;
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_tells_what_happens_while_it_serves_and_what_happened_before_it_was_killed() {
    let mut receiver = Receiver::new().await;
    let app = TestApp::new().await;
    let setting = json!([receiver.setting("crm")]).to_string();
    let url = app.db.url();
    receiver.mood(Mood::Hangs);
    let program = Program::on(&url).with("CARDEA_WEBHOOKS", &setting);
    tokio::task::block_in_place(|| {
        let server = program.serve();
        server.register("ada");
        until("the event", || (receiver.count() == 1).then_some(()));
        server.process.signal("KILL");
        server.process.wait();
    });
    receiver.go_away().await;
    let first = receiver.take();
    receiver.mood(Mood::Takes);
    receiver.come_back().await;
    // As if the time of its holder were over.
    app.db
        .sql("UPDATE jobs SET locked_until = now() WHERE endpoint IS NOT NULL")
        .await;
    tokio::task::block_in_place(|| {
        let server = program.serve();
        until("the event again", || (receiver.count() == 1).then_some(()));
        server.stop("TERM").success();
    });
    let second = receiver.take();
    assert_eq!(first[0].id, second[0].id);
    assert_eq!(first[0].body, second[0].body);
    assert_eq!(app.events().await, "0 0");
}
