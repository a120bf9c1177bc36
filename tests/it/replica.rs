//! A real replica by streaming replication: what is read from it, and that nobody can tell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cardea::app::App;
use cardea::clock::Clock;
use cardea::db::{Db, single_connection};
use cardea::error::Error;
use cardea::{http, listener};
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use crate::harness::app::{PASSWORD, config, start_of_time};
use crate::harness::db::TestDb;
use crate::harness::replica::{Replicated, sql, text};
use crate::harness::{Client, Program, TestApp};

/// A database with a replica, and a server on both.
async fn replicated(flags: &[&str]) -> (Replicated, TestApp) {
    let databases = Replicated::start().await;
    let flag = format!(
        "--database-replica-url={}",
        databases.replica().expose_secret()
    );
    let config = config(&[&[&*flag], flags].concat());
    let db = Db::new(&databases.primary(), &config.database).expect("pools");
    db.check().await.expect("a database with its replica");
    db.migrate().await.expect("the migrations run");
    let app = App::new(config, db, Clock::fixed(start_of_time())).await;
    let app = app.expect("the application starts");
    listener::start(&app);
    let router = http::router(app.clone()).expect("the schema is sound");
    let db = TestDb::empty().await;
    (databases, TestApp { app, router, db })
}

/// How many reads came to each end so far: served, behind, busy, away, failed.
fn reads(app: &TestApp) -> [u64; 5] {
    let reads = app.app.db.replica_reads();
    reads.map(|(_, count)| count)
}

/// Asks until the replica answers again; it rests for a second.
async fn until_served(app: &TestApp, admin: &Client<'_>) {
    let (before, began) = (reads(app)[0], Instant::now());
    while reads(app)[0] == before {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            reads(app)
        );
        admin.gql("{ users { totalCount } }", Value::Null).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const RENAME: &str =
    "mutation($name: String!) { updateProfile(input: { fullName: $name }) { errors { code } } }";

/// Whether the list has the name that `admin` gives itself just before, so many times.
async fn reads_own_writes(admin: &Client<'_>, many: u32) {
    for turn in 0..many {
        let name = format!("Name {turn}");
        let renamed = admin.gql(RENAME, json!({ "name": name })).await;
        assert_eq!(renamed.data("updateProfile/errors"), &json!([]));
        let listed = admin
            .gql("{ users(first: 1) { nodes { fullName } } }", Value::Null)
            .await;
        assert_eq!(listed.data("users/nodes/0/fullName"), &json!(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_counts_and_exports_come_from_the_replica_and_lack_nothing() {
    let (databases, app) = replicated(&[]).await;
    let admin = app.admin().await;
    for (query, at) in [
        ("{ users(first: 1) { nodes { email } } }", "users/nodes"),
        ("{ users { totalCount } }", "users/totalCount"),
        (
            "{ users(first: 1) { nodes { email roles { name } profile { bio } } } }",
            "users/nodes",
        ),
        (
            "{ auditEvents(first: 1) { nodes { action } } }",
            "auditEvents/nodes",
        ),
        (
            "{ me { activity(first: 1) { nodes { action } } } }",
            "me/activity/nodes",
        ),
        ("{ loginStats { successes } }", "loginStats/successes"),
        ("{ userStats { total } }", "userStats/total"),
        ("mutation { exportMyData { data } }", "exportMyData/data"),
    ] {
        let before = reads(&app);
        let answer = admin.gql(query, Value::Null).await;
        assert!(!answer.data(at).is_null(), "{answer:?}");
        let after = reads(&app);
        assert!(after[0] > before[0], "{query}: {after:?}");
        assert_eq!(after[1..], before[1..], "{query}");
    }
    // What a request looks up by its key stays with the database, and so does all that changes.
    let before = reads(&app);
    admin
        .gql("{ me { email sessions { nodes { id } } } }", Value::Null)
        .await;
    admin.gql(RENAME, json!({ "name": "Admin" })).await;
    assert_eq!(reads(&app), before);

    // An export has the entry that was written for it.
    let export = admin
        .gql("mutation { exportMyData { data } }", Value::Null)
        .await;
    let exported = export.data("exportMyData/data/activity").to_string();
    assert_eq!(exported.matches("data_exported").count(), 2, "{exported}");

    // The replica comes behind each change by a while, which readers wait.
    let delay = "ALTER SYSTEM SET recovery_min_apply_delay = '40ms'";
    sql(&databases.replica(), delay).await;
    sql(&databases.replica(), "SELECT pg_reload_conf()").await;
    until_served(&app, &admin).await;
    let (before, began) = (reads(&app)[0], Instant::now());
    reads_own_writes(&admin, 20).await;
    let served = reads(&app)[0] - before;
    assert!(served > 0, "{:?}", reads(&app));
    assert!(
        began.elapsed() > Duration::from_millis(20 * served),
        "nobody waited"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_behind_away_or_broken_is_left_out() {
    let (mut databases, app) = replicated(&[]).await;
    let admin = app.admin().await;
    until_served(&app, &admin).await;

    sql(&databases.replica(), "SELECT pg_wal_replay_pause()").await;
    let before = reads(&app);
    reads_own_writes(&admin, 5).await;
    let after = reads(&app);
    assert_eq!(
        (after[0], after[1]),
        (before[0], before[1] + 5),
        "{after:?}"
    );
    sql(&databases.replica(), "SELECT pg_wal_replay_resume()").await;
    until_served(&app, &admin).await;

    // It hangs. The connections to it do not know.
    databases.freeze().await;
    let (before, began) = (reads(&app), Instant::now());
    reads_own_writes(&admin, 5).await;
    let after = reads(&app);
    assert_eq!(after[0], before[0], "{after:?}");
    // Nobody waits for it again within a second: the first one did, and one or two more if this took so long.
    assert!(began.elapsed() < Duration::from_secs(5));
    databases.thaw();
    until_served(&app, &admin).await;

    // It breaks off in the middle of a read, which is then done by the database; what fails there too is said.
    let tries = AtomicU32::new(0);
    let before = reads(&app);
    let read = |mut conn: cardea::db::Pooled| {
        let turn = tries.fetch_add(1, Ordering::Relaxed);
        async move {
            if turn == 0 {
                let end = "SELECT pg_terminate_backend(pg_backend_pid())";
                conn.batch_execute(end).await?;
            }
            Ok(turn)
        }
    };
    assert_eq!(app.app.db.read_much(read).await.expect("an answer"), 1);
    assert_eq!(reads(&app)[4], before[4] + 1);
    let refused = |_| async { Err::<(), _>(Error::Forbidden) };
    let refused = app.app.db.read_much(refused).await;
    assert!(matches!(refused, Err(Error::Forbidden)));
    assert_eq!(reads(&app)[4], before[4] + 1);

    // It is made a primary, and goes its own way from there.
    sql(&databases.replica(), "SELECT pg_promote()").await;
    let other = "UPDATE users SET full_name = 'Somebody else'";
    sql(&databases.replica(), other).await;
    let before = reads(&app);
    reads_own_writes(&admin, 2).await;
    let after = reads(&app);
    assert_eq!(
        (after[0], after[3]),
        (before[0], before[3] + 2),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_all_connections_to_the_replica_in_use_goes_to_the_database() {
    let (_databases, app) = replicated(&["--database-pool-size=3"]).await;
    let admin = app.admin().await;
    until_served(&app, &admin).await;
    let mut before = reads(&app);
    let mut busy = all_in_use(&app).await;
    for _ in 0..10 {
        // `behind`, `away`: on a machine that is slow just now not all of them came in time.
        if (busy[1], busy[3]) == (before[1], before[3]) {
            break;
        }
        until_served(&app, &admin).await;
        before = reads(&app);
        busy = all_in_use(&app).await;
    }
    assert_eq!((busy[2], busy[3]), (before[2] + 1, before[3]), "{busy:?}");
    // It does not rest for that: the next one is not turned away unasked.
    admin.gql("{ users { totalCount } }", Value::Null).await;
    assert_eq!(reads(&app)[2], busy[2], "{:?}", reads(&app));
}

/// Reads once more than the replica has connections; gives what came of it while all of them were in use.
async fn all_in_use(app: &TestApp) -> [u64; 5] {
    let (began, held) = (&AtomicU32::new(0), &Semaphore::new(0));
    let slow = |conn: cardea::db::Pooled| async move {
        began.fetch_add(1, Ordering::Relaxed);
        let _turn = held.acquire().await;
        drop(conn);
        Ok(())
    };
    let db = &app.app.db;
    let quick = async {
        while AtomicU32::load(began, Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let quick = |_| async { Ok(()) };
        db.read_much(quick).await.expect("an answer");
        let busy = reads(app);
        held.add_permits(3);
        busy
    };
    let many = join_all((0..3).map(|_| db.read_much(slow)));
    let (busy, all) = tokio::join!(quick, many);
    assert!(all.iter().all(Result::is_ok));
    busy
}

/// A recovery conflict: the replica ends a read that stands in the way of what it has to replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_the_replica_gives_up_is_done_by_the_database() {
    let (databases, app) = replicated(&[]).await;
    let admin = app.admin().await;
    until_served(&app, &admin).await;
    let (primary, replica) = (databases.primary(), databases.replica());
    sql(&replica, "ALTER SYSTEM SET max_standby_streaming_delay = 0").await;
    sql(&replica, "SELECT pg_reload_conf()").await;
    let (tries, before) = (AtomicU32::new(0), reads(&app));
    let primary = single_connection(&primary).await.expect("a connection");
    let (tries, primary) = (&tries, &Mutex::new(primary));
    let read = |mut conn: cardea::db::Pooled| async move {
        let is_first = tries.fetch_add(1, Ordering::Relaxed) == 0;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users";
        conn.batch_execute(begin).await?;
        if is_first {
            let change = "UPDATE users SET full_name = full_name || '!'";
            let mut primary = primary.lock().await;
            primary.batch_execute(change).await?;
            primary.batch_execute("VACUUM users").await?;
            // Until it is replayed.
            loop {
                conn.batch_execute("SELECT count(*) FROM users").await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        conn.batch_execute("COMMIT").await?;
        Ok(())
    };
    app.app.db.read_much(read).await.expect("an answer");
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    assert_eq!(reads(&app)[4], before[4] + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_replica_is_refused_or_left_out() {
    let databases = Replicated::start().await;
    let (primary, replica) = (databases.primary(), databases.replica());
    let other = TestDb::empty().await;
    let run = |url, replica: &secrecy::SecretString| {
        let program = Program::on(url).with("DATABASE_REPLICA_URL", replica.expose_secret());
        let run = move || program.run(&["migrate", "status"]);
        async { tokio::task::spawn_blocking(run).await.expect("it ran") }
    };
    // Another system: it would show other people's accounts.
    assert_eq!(
        run(&primary, &other.url()).await.error(),
        "DATABASE_REPLICA_URL leads to something else than a replica of the database"
    );
    // Turned around.
    assert_eq!(
        run(&replica, &primary).await.error(),
        "the database is a replica, which takes no writes: DATABASE_URL must lead to the primary"
    );
    // The database itself, as after it took the place of a lost one, and nobody at all.
    run(&primary, &primary).await.success();
    let nobody = "postgres://cardea:hunter2@127.0.0.1:9/cardea".to_owned();
    let away = run(&primary, &nobody.into()).await;
    let told = format!("{away:?}");
    assert!(told.contains("The replica cannot be used"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    away.success();
    assert_eq!(text(&replica, "pg_is_in_recovery()").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_lists_from_a_replica() {
    let databases = Replicated::start().await;
    let program = Program::on(&databases.primary())
        .with("DATABASE_REPLICA_URL", databases.replica().expose_secret())
        .with("CARDEA_INBOX", "true");
    let run = move || {
        let server = program.serve();
        server.register("ada");
        let token = server.mailed_token("ada@example.org");
        let verify = "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { code } } }";
        let verified = server.gql(verify, &json!({ "token": token }));
        assert_eq!(verified.data("verifyEmail/errors"), &json!([]));
        let token = server.login("ada@example.org", PASSWORD);
        let mine = server.gql_as(&token, "{ me { activity { nodes { action } } } }");
        assert!(!mine.data("me/activity/nodes/0/action").is_null());
        server.stop("TERM").success();
    };
    tokio::task::spawn_blocking(run).await.expect("it ran");
}

#[test]
fn the_address_of_a_replica_needs_that_of_the_primary() {
    let program = Program::new().with("DATABASE_REPLICA_URL", "postgres://a:hunter2@127.0.0.1/b");
    let checked = program.run(&["config", "check"]);
    let told = format!("{checked:?}");
    assert!(
        told.contains("DATABASE_REPLICA_URL needs a DATABASE_URL, that of the primary"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}
