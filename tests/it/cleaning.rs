//! What is over is removed, what is not stays, and one instance at a time does it.

use cardea::services::cleaning;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};

use crate::harness::TestApp;

async fn clean(app: &TestApp) -> usize {
    cleaning::clean(&app.app).await.expect("cleaned")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_after_its_time_and_what_lives_stays() {
    let app = TestApp::with(&["--login-tries=10"]).await;
    let ada = app.user("ada").await;
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } } }";
    ada.gql(refresh, json!({ "token": ada.refresh_token }))
        .await;
    ada.ask("mutation { requestEmailChange(input: { newEmail: \"b@example.org\" }) { accepted } }")
        .await;
    app.run_jobs().await;
    app.advance(TimeDelta::minutes(1));
    app.gql(
        "mutation { register(input: { email: \"ada@example.org\", fullName: \"Ada\", password: \"Other-Horse-8\" }) { errors { code } } }",
        Value::Null,
    )
    .await;
    app.run_jobs().await;
    let failed = "INSERT INTO jobs (id, payload, run_at, created_at, failed_at) \
        VALUES (gen_random_uuid(), '{}', now(), now(), '2026-11-30T08:00:00Z')";
    app.db.sql(failed).await;
    let counts = async || {
        let mut counts = Vec::new();
        for table in [
            "sessions",
            "spent_refresh_tokens",
            "verification_tokens",
            "email_changes",
            "registration_claims",
            "known_devices",
            "jobs",
        ] {
            counts.push(app.count(table).await);
        }
        counts.join(" ")
    };
    assert_eq!(clean(&app).await, 0, "nothing is over yet");
    assert_eq!(counts().await, "1 1 2 1 1 1 1");
    assert_ne!(app.count("rate_limits").await, "0");
    app.advance(TimeDelta::hours(24) + TimeDelta::minutes(5));
    clean(&app).await;
    assert_eq!(
        counts().await,
        "1 1 2 1 0 1 1",
        "what was registered in vain"
    );
    assert_eq!(app.count("rate_limits").await, "0", "all budgets are whole");
    // The session lived for a day and is kept for seven more; the move to another address could have
    // been confirmed for a day and undone for seven.
    app.advance(TimeDelta::days(7));
    clean(&app).await;
    assert_eq!(counts().await, "0 0 2 0 0 1 1");
    app.advance(TimeDelta::days(31));
    clean(&app).await;
    assert_eq!(counts().await, "0 0 0 0 0 1 0");
    app.advance(TimeDelta::days(400));
    clean(&app).await;
    assert_eq!(counts().await, "0 0 0 0 0 0 0");
    assert_eq!(app.count("users").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_and_a_limit_that_holds_are_never_cleaned_away() {
    let app = TestApp::with(&["--login-tries=1"]).await;
    let ada = app.user("ada").await;
    let wrong =
        "mutation { login(input: { identifier: \"ada\", password: \"x\" }) { errors { code } } }";
    for _ in 0..6 {
        app.gql(wrong, Value::Null).await;
        app.advance(TimeDelta::seconds(90));
    }
    clean(&app).await;
    let tries = app
        .db
        .text("SELECT max(tries)::text FROM rate_limits")
        .await;
    assert!(tries.parse::<i32>().expect("a number") >= 4, "{tries}");
    app.advance(TimeDelta::minutes(4));
    clean(&app).await;
    assert!(ada.ask("{ me { id } }").await.codes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_go_in_small_batches() {
    // One that listens reads its keys at some moment, too.
    let app = TestApp::deaf().await;
    app.db
        .sql("INSERT INTO rate_limits (key, full_at) SELECT sha256(n::text::bytea), '2026-11-01' FROM generate_series(1, 1300) AS n")
        .await;
    let (statements, removed) = app.statements(clean(&app)).await;
    assert_eq!(removed, 1300);
    assert_eq!(app.count("rate_limits").await, "0");
    // Twenty-one rounds of begin, turn, delete and commit: three for these rows, one for each other kind;
    // and the keys.
    assert_eq!(statements, 96);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_instance_cleans_another_leaves_it_alone() {
    let app = TestApp::new().await;
    app.db
        .sql("INSERT INTO rate_limits (key, full_at) SELECT sha256(n::text::bytea), '2026-11-01' FROM generate_series(1, 10) AS n")
        .await;
    let mut conn = app.app.db.conn().await.expect("a connection");
    conn.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('cardea cleaning'))")
        .await
        .expect("the turn");
    assert_eq!(clean(&app).await, 0);
    conn.batch_execute("COMMIT")
        .await
        .expect("the turn is free");
    drop(conn);
    let (_, router) = app.second(&[]).await;
    drop(router);
    assert_eq!(clean(&app).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_are_warned_of_a_password_that_ends_at_fourteen_three_and_one_day() {
    let app = TestApp::with(&["--password-max-age-days=90"]).await;
    app.user("ada").await;
    let warn = async || {
        cleaning::warn_of_expiry(&app.app).await.expect("queued");
        app.run_jobs().await;
        let mails = app.mails_to("ada@example.org");
        mails
            .iter()
            .filter(|mail| mail.text.contains("password"))
            .count()
    };
    let none = warn().await;
    let mut told = Vec::new();
    for day in 1..=90 {
        app.advance(TimeDelta::days(1));
        let before = app.mails_to("ada@example.org").len();
        cleaning::warn_of_expiry(&app.app).await.expect("queued");
        app.run_jobs().await;
        if app.mails_to("ada@example.org").len() > before {
            told.push(90 - day);
        }
    }
    assert_eq!(told, [14, 3, 1], "{none}");
}
