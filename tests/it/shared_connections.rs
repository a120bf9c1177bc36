//! Connections that requests share: answers go to who asked, and what happens to one costs no more than what was under way.

use std::time::Duration;

use cardea::db::single_connection;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;

use crate::harness::app::{TestApp, email};

const CONNECTIONS: &str = "SELECT count(*)::text FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_the_own_answer_by_few_connections() {
    let app = TestApp::new().await;
    let names = ["ada", "bob", "cyd", "dan"];
    let mut clients = Vec::new();
    for name in names {
        clients.push(app.user(name).await);
    }
    // Many more than the connections have turns for.
    for _ in 0..3 {
        let asked = (0..120).map(|at| clients[at % 4].ask("{ me { email profile { theme } } }"));
        for (at, answer) in join_all(asked).await.iter().enumerate() {
            assert_eq!(
                answer.at("me/email"),
                &email(names[at % 4]),
                "{}",
                answer.text
            );
            assert_eq!(answer.at("me/profile/theme"), "LIGHT");
        }
    }
    let held: u32 = app.db.text(CONNECTIONS).await.parse().expect("a number");
    // Four of `--database-pool-size`, and the one that listens.
    assert!(held <= 5, "{held} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_costs_what_was_under_way() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for _ in 0..3 {
        app.db
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        let mut failed = 0;
        loop {
            let answer = ada.ask("{ me { id profile { bio } } }").await;
            if answer.codes().is_empty() {
                break;
            }
            assert_eq!(answer.codes(), ["SERVICE_UNAVAILABLE"]);
            failed += 1;
            assert!(failed < 10, "it stays away");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Once it is back, it stays.
        for _ in 0..5 {
            assert!(ada.ask("{ me { id } }").await.codes().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_behind_a_lock_is_told_before_it_ends() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut holder = single_connection(&app.db.url()).await.expect("connected");
    let lock = "BEGIN; LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("locked");
    for answer in join_all((0..8).map(|_| ada.ask("{ me { id profile { bio } } }"))).await {
        assert_eq!(answer.codes(), ["SERVICE_UNAVAILABLE"], "{}", answer.text);
    }
    // What is not locked is answered meanwhile, by the same connections.
    for _ in 0..4 {
        let answer = ada
            .ask("{ me { background { primaryDomain } roles { name } } }")
            .await;
        assert!(answer.codes().is_empty(), "{}", answer.text);
    }
    holder.batch_execute("ROLLBACK").await.expect("unlocked");
    let answer = ada.ask("{ me { profile { bio } } }").await;
    assert!(answer.codes().is_empty(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_on_a_connection_that_is_lost_hear_that_they_may_try_again() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    ada.ask("{ me { profile { bio } } }")
        .await
        .data("me/profile");
    let mut holder = single_connection(&app.db.url()).await.expect("connected");
    let lock = "BEGIN; LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("locked");
    let asked = join_all((0..12).map(|_| ada.ask("{ me { id profile { bio } } }")));
    let cut = async {
        app.db.until_waiting(1).await;
        app.db
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .await;
        holder.batch_execute("ROLLBACK").await.expect("unlocked");
    };
    let (answers, ()) = tokio::join!(asked, cut);
    let mut failed = 0;
    for answer in answers {
        if !answer.codes().is_empty() {
            assert_eq!(answer.codes(), ["SERVICE_UNAVAILABLE"], "{}", answer.text);
            failed += 1;
        }
    }
    assert!(failed > 0, "nobody waited on it");
}
