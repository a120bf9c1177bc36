//! The queue: nothing promised is lost, and nothing broken blocks the rest.

use std::time::Duration;

use cardea::models::job::Job;
use cardea::worker;
use chrono::TimeDelta;

use crate::harness::TestApp;

async fn until(mut holds: impl AsyncFnMut() -> bool, what: &str) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about in 4 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_wakes_the_workers_and_mails_go_out_at_once() {
    let app = TestApp::new().await;
    worker::start(&app.app);
    for name in ["ada", "bob", "eve"] {
        app.register(name).await;
    }
    // The queue is looked at without a notification only every five seconds.
    until(async || app.mails().len() == 3, "three mails").await;
    until(async || app.waiting_jobs().await == 0, "an empty queue").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_leaves_its_job_to_the_next() {
    let app = TestApp::new().await;
    app.register("ada").await;
    let claim = async || {
        let mut conn = app.app.db.conn().await.expect("a connection");
        Job::claim(&mut conn, 10, TimeDelta::seconds(60), app.app.now())
            .await
            .expect("an answer")
            .len()
    };
    assert_eq!(claim().await, 1);
    assert_eq!(claim().await, 0, "held by the worker that claimed it");
    assert_eq!(app.run_jobs().await, 0);
    // The worker never came back.
    app.advance(TimeDelta::seconds(61));
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.waiting_jobs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_never_run_one_job_at_the_same_time() {
    let app = TestApp::new().await;
    for number in 0..10 {
        app.register(&format!("user{number}")).await;
    }
    let (one, two) = tokio::join!(app.run_jobs(), app.run_jobs());
    assert_eq!(one + two, 10);
    assert_eq!(app.mails().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_tried_again_later_and_later_and_given_up_after_a_day() {
    let app = TestApp::new().await;
    app.register("ada").await;
    // The mail cannot be written while the account's table is away.
    app.db
        .sql("ALTER TABLE verification_tokens RENAME TO away")
        .await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.run_jobs().await, 0, "not before five seconds");
    app.advance(TimeDelta::seconds(5));
    assert_eq!(app.run_jobs().await, 1);
    app.advance(TimeDelta::seconds(5));
    assert_eq!(app.run_jobs().await, 0, "twice as long the second time");
    app.db
        .sql("ALTER TABLE away RENAME TO verification_tokens")
        .await;
    app.advance(TimeDelta::seconds(5));
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.mails().len(), 1, "nothing was lost");

    app.register("bob").await;
    app.db
        .sql("ALTER TABLE verification_tokens RENAME TO away")
        .await;
    app.run_jobs().await;
    app.advance(TimeDelta::hours(25));
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.waiting_jobs().await, 0);
    let given_up = app.db.text("SELECT attempts || ' ' || (last_error LIKE '%verification_tokens%') FROM jobs WHERE failed_at IS NOT NULL").await;
    assert_eq!(given_up, "2 true", "it waits for an operator, and says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_version_is_set_aside_and_blocks_nobody() {
    let app = TestApp::new().await;
    app.db
        .sql("INSERT INTO jobs (id, payload, run_at, created_at) VALUES (gen_random_uuid(), '{\"kind\": \"unheard_of\"}', '2000-01-01', now())")
        .await;
    app.register("ada").await;
    assert_eq!(app.run_jobs().await, 2);
    assert_eq!(app.mails().len(), 1);
    assert_eq!(
        app.db
            .text("SELECT count(*)::text FROM jobs WHERE failed_at IS NOT NULL")
            .await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_reason_is_gone_does_nothing() {
    let app = TestApp::new().await;
    app.register("ada").await;
    app.db
        .sql("UPDATE users SET status = 'active', email_verified_at = now()")
        .await;
    app.register("bob").await;
    app.db.sql("DELETE FROM users WHERE username = 'bob'").await;
    assert_eq!(app.run_jobs().await, 2);
    assert_eq!(app.mails().len(), 0);
    assert_eq!(app.waiting_jobs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_to_send_mails_wait() {
    let app = TestApp::with(&["--inbox=false"]).await;
    app.register("ada").await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.waiting_jobs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_one_job_whatever_plan_the_database_makes() {
    let app = TestApp::new().await;
    let job = |n: u32| {
        format!(
            "INSERT INTO jobs (id, payload, run_at, created_at) VALUES \
             ('00000000-0000-0000-0000-00000000000{n}', '{{\"n\": {n}}}', '2026-11-30T08:00:00Z', '2026-11-30T08:00:00Z');"
        )
    };
    // A table that looks nearly empty tempts the planner to search again for each row.
    app.db.sql(&job(1)).await;
    app.db.sql("ANALYZE jobs").await;
    for n in 2..=5 {
        app.db.sql(&job(n)).await;
    }
    let lease = chrono::TimeDelta::seconds(60);
    let conn = &mut *app.app.db.conn().await.expect("a connection");
    for n in 1..=5 {
        let claimed = cardea::models::job::Job::claim(conn, 1, lease, app.app.now()).await;
        let claimed = claimed.expect("claimed");
        assert_eq!(claimed.len(), 1, "turn {n}");
    }
    app.db.sql("DELETE FROM jobs").await;
}
