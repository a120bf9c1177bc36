//! Two servers behind a `PgBouncer` that lends its sessions out for single transactions.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::db::Db;
use cardea::live::Times;
use cardea::live::events::Topic;
use cardea::{http, listener};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, config, start_of_time};
use crate::harness::db::TestDb;
use crate::harness::pgbouncer::{CONNECT_QUERY, PgBouncer, SESSIONS};
use crate::harness::socket::Listening;
use crate::harness::{Client, Program, TestApp};

/// A server that reaches this database by way of `pooler`.
async fn behind(pooler: &PgBouncer, direct: &SecretString) -> App {
    let flag = format!("--database-direct-url={}", direct.expose_secret());
    let config = config(&[&flag, "--database-pool-size=12"]);
    let db = Db::new(&pooler.url(direct), &config.database).expect("a pool");
    db.check().await.expect("the pooler does what it has to");
    let app = App::new(config, db, Clock::fixed(start_of_time())).await;
    let app = app.expect("the application starts");
    listener::start(&app);
    app
}

/// A test's own database, and a server that reaches it by way of a `PgBouncer`.
async fn pooled() -> Option<(PgBouncer, TestApp)> {
    let db = TestDb::new(&config(&[]).database).await;
    let pooler = PgBouncer::before(&db.url(), CONNECT_QUERY, "")?;
    let app = behind(&pooler, &db.url()).await;
    let router = http::router(app.clone()).expect("the schema is sound");
    Some((pooler, TestApp { app, router, db }))
}

async fn login<'a>(app: &'a TestApp, name: &str) -> Client<'a> {
    let query = "mutation($name: String!, $password: String!) { login(input: { identifier: $name, password: $password }) { \
        result { ... on SignedIn { accessToken refreshToken user { id uuid } session { id } } } } }";
    let answer = app
        .gql(query, json!({ "name": name, "password": PASSWORD }))
        .await;
    Client::new(app, answer.data("login/result"))
}

const SET_BIO: &str = "mutation($bio: String) { updateProfile(input: { bio: $bio }) { errors { code } profile { bio } } }";
const PAGE: &str = "{ users(first: 10) { totalCount nodes { email roles { name } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_three_sessions_of_a_pooler() {
    let Some((pooler, app)) = pooled().await else {
        return;
    };
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let again = login(&app, "ada").await;
    let second = behind(&pooler, &app.db.url()).await;
    let server = Listening::at(second, Times::default(), 0).await;
    let router = http::router(server.app.clone()).expect("the schema is sound");

    // A subscription on one server hears what the other one does.
    let query = "subscription { sessionRevoked { sessionId } }";
    let mut socket = server.following(&ada, query).await;
    server
        .until_followed(Topic::SessionsOf(ada.user_id()), 1)
        .await;
    let end = "mutation($id: ID!) { revokeSession(input: { sessionId: $id }) { errors { code } } }";
    let ended = ada.gql(end, json!({ "id": again.session })).await;
    assert_eq!(ended.data("revokeSession/errors"), &json!([]));
    let told = socket.message().await;
    assert_eq!(
        told["payload"]["data"]["sessionRevoked"]["sessionId"],
        again.session
    );

    // A hundred at once: reading, writing, lists and sign-ins, on both servers.
    let on_second = TestApp {
        app: server.app.clone(),
        router,
        db: TestDb::empty().await,
    };
    let one = async |turn: usize| {
        let app = if turn.is_multiple_of(2) {
            &app
        } else {
            &on_second
        };
        let (token, admins) = (Some(&*ada.access_token), Some(&*admin.access_token));
        match turn % 5 {
            0 => {
                let answer = app.gql_as(admins, PAGE, Value::Null).await;
                assert_eq!(answer.data("users/totalCount"), 2);
            }
            1 => {
                let bio = format!("written in turn {turn}");
                let answer = app.gql_as(token, SET_BIO, json!({ "bio": bio })).await;
                assert_eq!(answer.data("updateProfile/profile/bio"), &json!(bio));
            }
            2 => drop(login(app, "ada").await),
            _ => {
                let query = "{ me { email roles { name } profile { bio } } }";
                let answer = app.gql_as(token, query, Value::Null).await;
                assert_eq!(answer.data("me/email"), "ada@example.org");
            }
        }
    };
    join_all((0..100).map(one)).await;

    // All of it went over the sessions of the pooler: the servers have few others, to listen with.
    let sessions = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
        AND pid <> pg_backend_pid() AND query NOT LIKE 'NOTIFY alive%'";
    let sessions: usize = app.db.text(sessions).await.parse().expect("a number");
    assert!((1..=SESSIONS).contains(&sessions), "{sessions}");
    assert_no_setting_leaked(&pooler, &app.db.url()).await;
}

#[derive(diesel::QueryableByName)]
struct Session {
    #[diesel(sql_type = diesel::sql_types::Text)]
    settings: String,
}

/// Looks at each of the pooler's sessions, held by a transaction meanwhile.
async fn assert_no_setting_leaked(pooler: &PgBouncer, direct: &SecretString) {
    let mut held = Vec::new();
    for _ in 0..SESSIONS {
        let mut conn = cardea::db::single_connection(&pooler.url(direct))
            .await
            .expect("a connection");
        conn.batch_execute("BEGIN").await.expect("a transaction");
        let settings = "SELECT string_agg(setting, ' ' ORDER BY name COLLATE \"C\") AS settings FROM pg_settings WHERE name IN \
            ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'TimeZone', 'search_path', \
            'transaction_isolation', 'transaction_read_only')";
        let session: Session = diesel::sql_query(settings)
            .get_result(&mut conn)
            .await
            .expect("settings");
        // In the order of their names.
        let expected = "UTC 10000 2000 \"$user\", public 5000 read committed off";
        assert_eq!(session.settings, expected);
        held.push(conn);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_when_the_pooler_was_restarted() {
    let Some((mut pooler, app)) = pooled().await else {
        return;
    };
    let ada = app.user("ada").await;
    let asks = async |until: Instant| {
        let mut failed = 0;
        while Instant::now() < until {
            let write = async |turn: usize| {
                ada_writes(&app, &ada, &format!("written in turn {turn}")).await
            };
            let answers = join_all((0..5).map(write));
            failed += answers.await.into_iter().filter(|good| !good).count();
        }
        failed
    };
    asks(Instant::now() + Duration::from_millis(300)).await;
    let restart = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        pooler.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        pooler.start();
    };
    let (failed, ()) = tokio::join!(asks(Instant::now() + Duration::from_secs(2)), restart);
    assert!(failed > 0, "nobody noticed");
    // Each connection that broke was found out, by itself or by whoever got it.
    let failed = asks(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(failed, 0);
    assert_no_setting_leaked(&pooler, &app.db.url()).await;
}

/// Whether it was written; the one failure that there may be says that one may try again.
async fn ada_writes(app: &TestApp, ada: &Client<'_>, bio: &str) -> bool {
    let answer = app
        .gql_as(Some(&ada.access_token), SET_BIO, json!({ "bio": bio }))
        .await;
    if answer.codes().is_empty() {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.data("updateProfile/profile/bio"), bio);
        return true;
    }
    assert_eq!(answer.codes(), ["SERVICE_UNAVAILABLE"], "{}", answer.text);
    false
}

/// Why the program does not start behind this pooler.
async fn refusal(pooler: &PgBouncer, db: &TestDb, direct: &SecretString) -> String {
    let program =
        Program::on(&pooler.url(&db.url())).with("DATABASE_DIRECT_URL", direct.expose_secret());
    let run = move || program.run(&["migrate", "status"]).error();
    tokio::task::spawn_blocking(run).await.expect("it ran")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_does_not_do_is_refused_with_what_to_set() {
    let (db, other) = (TestDb::empty().await, TestDb::empty().await);
    let direct = db.url();
    let Some(pooler) = PgBouncer::before(&direct, "SET lock_timeout = 2000", "") else {
        return;
    };
    let refused = refusal(&pooler, &db, &direct).await;
    assert!(
        refused.starts_with(
            "the pooler at DATABASE_URL cannot be used: its connections have statement_timeout = 0, \
             idle_in_transaction_session_timeout = 0"
        ) && refused.ends_with(&format!(
            "; with PgBouncer set connect_query='{CONNECT_QUERY}' for the database"
        )),
        "{refused}"
    );
    let refused = refusal(&pooler, &db, &other.url()).await;
    assert_eq!(
        refused,
        "the pooler at DATABASE_URL cannot be used: DATABASE_DIRECT_URL leads to another database"
    );
    drop(pooler);

    let pooler = PgBouncer::before(&direct, CONNECT_QUERY, "max_prepared_statements = 0");
    let pooler = pooler.expect("it was there before");
    // Twice: what the first one left on the session is met by the second.
    for _ in 0..2 {
        let refused = refusal(&pooler, &db, &direct).await;
        assert!(
            refused.contains("it keeps no prepared statements for its clients"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_migrates_and_serves_behind_a_pooler() {
    let db = TestDb::empty().await;
    let Some(pooler) = PgBouncer::before(&db.url(), CONNECT_QUERY, "") else {
        return;
    };
    let program = Program::on(&pooler.url(&db.url()))
        .with("DATABASE_DIRECT_URL", db.url().expose_secret())
        .with("CARDEA_INBOX", "true");
    let run = move || {
        let server = program.serve();
        server.register("ada");
        let token = server.mailed_token("ada@example.org");
        let verify = "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { code } } }";
        let verified = server.gql(verify, &json!({ "token": token }));
        assert_eq!(verified.data("verifyEmail/errors"), &json!([]));
        let token = server.login("ada@example.org", PASSWORD);
        let me = server.gql_as(&token, "{ me { email } }");
        assert_eq!(me.data("me/email"), "ada@example.org");
        server.stop("TERM").success();
    };
    tokio::task::spawn_blocking(run).await.expect("it ran");
}

#[test]
fn the_address_of_postgresql_itself_needs_that_of_a_pooler() {
    let program = Program::new().with("DATABASE_DIRECT_URL", "postgres://a:hunter2@127.0.0.1/b");
    let checked = program.run(&["config", "check"]);
    let told = format!("{checked:?}");
    assert!(
        told.contains("DATABASE_DIRECT_URL needs a DATABASE_URL, that of the pooler"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}
