//! A server on somebody's database: production, health, and stopping while there is work.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cardea::db::single_connection;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};

use secrecy::ExposeSecret as _;

use crate::harness::app::MASTER_KEY;
use crate::harness::app::{config, email};
use crate::harness::db::TestDb;
use crate::harness::http::{connect, post, read};
use crate::harness::process::until;
use crate::harness::server::LOGIN;
use crate::harness::{Program, Server};

/// Waits until this count is not 0.
async fn counted(db: &TestDb, count: &str) {
    let found = async {
        while db.text(&format!("SELECT ({count})::text")).await == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.unwrap_or_else(|_| panic!("never: {count}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_database_is_used_and_no_other_started() {
    let db = TestDb::empty().await;
    let program = Program::new().with("DATABASE_URL", db.url().expose_secret());
    let server = program.serve();
    server.register("ada");
    let told = server.stop("TERM").success();
    assert!(!told.contains("own PostgreSQL"), "{told}");
    let files = std::fs::read_dir(program.data_dir()).expect("the folder of the master key");
    let names: Vec<_> = files
        .map(|file| file.expect("a file").file_name())
        .collect();
    assert_eq!(names, ["master.key"]);
    assert_eq!(db.text("SELECT email FROM users").await, email("ada"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_months_of_the_audit_trail_are_there_before_anything_is_served() {
    let db = TestDb::empty().await;
    let program = Program::on(&db.url());
    let mut turn = single_connection(&db.url()).await.expect("a connection");
    let take = "SELECT pg_advisory_lock(hashtext('cardea audit'))";
    turn.batch_execute(take).await.expect("the turn");
    let server = program.spawn(&[], "");
    db.until_waiting(1).await;
    assert_eq!(server.stdout.text(), "", "it serves nothing yet");
    drop(turn);
    until("that it is ready", || {
        server.stdout.text().contains("ready").then_some(())
    });
    let months =
        "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass";
    assert_eq!(db.text(months).await, "4", "three months and the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_start_together_share_an_empty_database() {
    let db = TestDb::empty().await;
    let program = Program::on(&db.url());
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| program.serve());
        (program.serve(), first.join().expect("it starts"))
    });
    let key = |server: &Server<'_>| server.get("/.well-known/jwks.json").json;
    assert_eq!(key(&first)["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(key(&first), key(&second), "one signing key");
    first.stop("TERM").success();
    assert_eq!(second.get("/health/ready").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database_and_life_does_not() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url());
    let server = program.serve();
    assert_eq!(server.get("/health/ready").text, "ready\n");
    assert_eq!(server.get("/health/live").text, "alive\n");

    db.shut().await;
    for _ in 0..3 {
        let ready = server.get("/health/ready");
        assert_eq!(ready.status, 503);
        assert_eq!(ready.text, "the database does not answer\n");
        assert_eq!(server.get("/health/live").status, 200);
    }
    let input = json!({ "input": { "identifier": "ada", "password": "x" } });
    let refused = server.gql(LOGIN, &input);
    assert_eq!(refused.codes(), ["SERVICE_UNAVAILABLE"], "{refused:?}");

    db.open().await;
    until("readiness", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    server.register("ada");
    server.mailed_token(&email("ada"));
    server.stop("TERM").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn production_shows_no_tools_and_insists_on_https() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url())
        .with("CARDEA_MODE", "production")
        .with("CARDEA_MASTER_KEY", MASTER_KEY)
        .with("CARDEA_PUBLIC_URL", "https://accounts.example.org")
        .with("CARDEA_INBOX", "false");
    let server = program.serve();
    for path in [
        "/",
        "/playground/index.html",
        "/inbox",
        "/inbox/messages.json",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        let policy = answer.header("strict-transport-security");
        assert_eq!(
            policy,
            Some("max-age=31536000; includeSubDomains"),
            "{path}"
        );
    }
    let asked = server.gql("{ viewer { isAuthenticated } }", &Value::Null);
    assert_eq!(asked.data("viewer/isAuthenticated"), false);
    for query in [
        "{ __schema { queryType { name } } }",
        "{ __type(name: \"User\") { name } }",
    ] {
        let refused = server.gql(query, &Value::Null);
        assert_eq!(refused.codes(), ["FORBIDDEN"], "{}", refused.text);
    }
    let named = server.gql("{ __typename }", &Value::Null);
    assert_eq!(named.data("__typename"), "Query");
    assert_eq!(server.get("/health/ready").status, 200);
    let told = server.stop("TERM").success();
    assert!(
        told.contains("https://accounts.example.org/graphql"),
        "{told}"
    );
    assert!(
        !told.contains("GraphiQL") && !told.contains("administrator"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_after_the_signal() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url())
        .with("CARDEA_ARGON2_MEMORY_KIB", "65536")
        .with("CARDEA_ARGON2_PASSES", "12")
        // Hashing stands back behind all else that this machine does.
        .with("CARDEA_REQUEST_TIMEOUT_SECS", "60")
        .with("CARDEA_SHUTDOWN_SECS", "60");
    let server = program.serve();
    let address = server.address;
    let input = json!({ "input": { "identifier": "nobody", "password": "x" } });
    let mut stream = connect(address);
    stream
        .write_all(post(address, None, LOGIN, &input).as_bytes())
        .expect("the server reads");
    let answer = thread::spawn(move || read(stream));
    // The try is counted right before the password is hashed.
    counted(&db, "SELECT count(*) FROM rate_limits").await;
    server.process.signal("TERM");
    until("the end of listening", || TcpStream::connect(address).err());
    assert!(
        !answer.is_finished(),
        "it was to be answered after the signal"
    );
    let answer = answer.join().expect("an answer");
    assert_eq!(answer.data("login/errors/0/code"), "INVALID_CREDENTIALS");
    server.process.wait().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_end_do_not_hold_the_server() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url()).with("CARDEA_SHUTDOWN_SECS", "1");
    let server = program.serve();
    let silent = connect(server.address);
    let mut half_a_head = connect(server.address);
    half_a_head
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: ")
        .expect("the server reads");
    let mut half_a_body = connect(server.address);
    let head = "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 99\r\nExpect: 100-continue\r\n\r\n{";
    half_a_body.write_all(head.as_bytes()).expect("it reads");
    // Whoever came before is known to the server once this one is being answered.
    let mut go_on = [0; 12];
    half_a_body.read_exact(&mut go_on).expect("a word");
    assert_eq!(&go_on, b"HTTP/1.1 100");

    let start = Instant::now();
    server.stop("TERM").success();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop((silent, half_a_head, half_a_body));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_signal_the_server_says_that_it_goes_and_serves_on_for_a_while() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url()).with("CARDEA_SHUTDOWN_DELAY_SECS", "2");
    let mut server = program.serve();
    assert_eq!(server.get("/health/ready").text, "ready\n");
    let start = Instant::now();
    server.process.signal("TERM");
    until("the word", || {
        (server.get("/health/ready").status == 503).then_some(())
    });
    // New connections, one for each request.
    assert_eq!(server.get("/health/ready").text, "the server stops\n");
    assert_eq!(server.get("/health/live").status, 200);
    server.register("ada");
    // Nobody keeps a connection that is about to end.
    let mut kept = connect(server.address);
    kept.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("the server reads");
    let mut answer = String::new();
    kept.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "it was to serve on"
    );
    assert!(server.process.ended().is_none());
    server.process.wait().success();
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_refuse_is_in_the_log_so_far_and_names_nobody() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url())
        .with("CARDEA_LOGIN_TRIES", "1")
        .with("CARDEA_REGISTRATIONS_PER_HOUR", "1");
    let server = program.serve();
    server.register("ada");
    let input = json!({ "input": { "identifier": email("ada"), "password": "Hunter2-Hunter2" } });
    let refused = (0..16).filter(|_| {
        let answer = server.gql(LOGIN, &input);
        answer.data("login/errors/0/code") == "TOO_MANY_ATTEMPTS"
    });
    assert_eq!(refused.count(), 15);
    let again = json!({ "input": { "email": email("bob"), "fullName": "Bob", "password": "Correct-Horse-7" } });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    let answer = server.gql(register, &again);
    assert_eq!(answer.data("register/errors/0/code"), "TOO_MANY_ATTEMPTS");
    let log = server.stop("TERM").stderr;
    let lines = |limit: &str| {
        let said = format!("The limit `{limit}` refused");
        log.lines().filter(|line| line.contains(&said)).count()
    };
    assert_eq!((lines("login"), lines("register")), (10, 1), "{log}");
    for line in log.lines().filter(|line| line.contains("The limit")) {
        assert!(line.contains("request{id="), "{line}");
        for secret in ["ada@", "bob@", "example.org", "127.0.0.1", "Hunter2"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_wait() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url()).with("CARDEA_SHUTDOWN_DELAY_SECS", "300");
    for second in ["TERM", "INT"] {
        let server = program.serve();
        server.process.signal("TERM");
        until("the word", || {
            (server.get("/health/ready").status == 503).then_some(())
        });
        let start = Instant::now();
        server.stop(second).success();
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_waits_for_anothers_migrations_can_be_stopped() {
    let db = TestDb::empty().await;
    let mut other = single_connection(&db.url()).await.expect("a connection");
    other
        .batch_execute("SELECT pg_advisory_lock(hashtext('cardea migrations'))")
        .await
        .expect("the lock is free");
    let program = Program::on(&db.url());
    let process = program.spawn(&[], "");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()";
    counted(&db, waiting).await;
    let start = Instant::now();
    process.signal("TERM");
    process.wait().success();
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(other);
}
