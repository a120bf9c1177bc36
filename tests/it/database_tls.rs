//! The way to PostgreSQL: by whom it may be answered, and what never goes in the clear.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use cardea::db::{Db, Heard, single_connection};
use cardea::embedded::Embedded;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

use crate::harness::Program;
use crate::harness::app::config;
use crate::harness::authority::Authority;
use crate::harness::db::TestDb;

/// A PostgreSQL that lets nobody in without TLS, and who certified it for `localhost`.
struct Guarded {
    embedded: Embedded,
    authority: Authority,
}

static GUARDED: OnceLock<Guarded> = OnceLock::new();
static READY: OnceCell<()> = OnceCell::const_new();

async fn guarded() -> &'static Guarded {
    let guarded = GUARDED.get_or_init(|| Guarded {
        embedded: Embedded::throwaway(Path::new(env!("CARGO_TARGET_TMPDIR")), None)
            .expect("PostgreSQL starts"),
        authority: Authority::certifying("localhost"),
    });
    READY.get_or_init(|| guarded.prepare()).await;
    guarded
}

impl Guarded {
    /// Gives the server its key as its own account, for which alone it may be readable.
    async fn prepare(&self) {
        let mut conn = single_connection(&self.embedded.url())
            .await
            .expect("PostgreSQL answers");
        for name in ["server.pem", "server.key"] {
            let text = fs::read_to_string(self.authority.file(name)).expect("a file");
            let copied = format!(
                "COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM 'umask 077; cat > {name}'",
                text.trim_end()
            );
            conn.batch_execute(&copied).await.expect("it is copied");
        }
        for sql in [
            "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
            "ALTER SYSTEM SET ssl_key_file = 'server.key'",
            "ALTER SYSTEM SET ssl = on",
            "COPY (SELECT 'hostssl all all all scram-sha-256') TO PROGRAM 'cat > pg_hba.conf'",
            "SELECT pg_reload_conf()",
        ] {
            conn.batch_execute(sql).await.expect(sql);
        }
        // The postmaster reads its settings when it comes to it.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while single_connection(&self.url("localhost", "?sslmode=require"))
            .await
            .is_err()
        {
            assert!(tokio::time::Instant::now() < deadline, "no TLS in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its address under the name `host`, with these parameters.
    fn url(&self, host: &str, parameters: &str) -> SecretString {
        let url = self.embedded.url();
        let url = url
            .expose_secret()
            .replace("@127.0.0.1:", &format!("@{host}:"));
        (url + parameters).into()
    }

    /// The parameters that have its certificate checked in full.
    fn checked(&self) -> String {
        let file = self.authority.file("authority.pem");
        format!("?sslmode=verify-full&sslrootcert={}", file.display())
    }
}

#[derive(diesel::QueryableByName)]
struct Encrypted {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    ssl: bool,
}

/// Why there is no connection to this address; nothing where there is an encrypted one.
async fn refusal(url: &SecretString) -> Option<String> {
    match single_connection(url).await {
        Err(error) => Some(format!("{error:#}")),
        Ok(mut conn) => {
            let own = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let own: Encrypted = diesel::sql_query(own)
                .get_result(&mut conn)
                .await
                .expect("it tells");
            assert!(own.ssl);
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_encrypted_to_whom_the_certificate_names() {
    let guarded = guarded().await;
    let checked = guarded.checked();
    // With proof by SCRAM that nobody between ends the TLS.
    let url = guarded.url("localhost", &format!("{checked}&channel_binding=require"));
    assert_eq!(refusal(&url).await, None);

    // The server lets nobody in without TLS: whatever works here has it.
    let db = Db::new(&url, &config(&[]).database).expect("a pool");
    db.check().await.expect("a connection by itself");
    db.migrate().await.expect("migrations");
    assert!(db.is_current().await.expect("the pool"));
    let reading = db.reading().await.expect("a shared connection");
    diesel::sql_query("SELECT 1")
        .execute(&mut &*reading)
        .await
        .expect("an answer");
    db.copying(async |client| Ok(client.batch_execute("SELECT 1").await?))
        .await
        .expect("a connection for COPY");
    let heard_alive = Cell::new(false);
    let often = Duration::from_millis(10);
    let followed = db.follow(
        &["tls"],
        (often, Duration::from_secs(5)),
        || tokio::time::sleep(often),
        |heard| heard_alive.set(heard_alive.get() || matches!(heard, Heard::Alive(_))),
    );
    let sign_of_life = async {
        while !heard_alive.get() {
            tokio::time::sleep(often).await;
        }
    };
    tokio::select! {
        lost = followed => panic!("{lost:?}"),
        () = sign_of_life => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("no sign of life"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_by_tls() {
    let guarded = guarded().await;
    let url = guarded.url("localhost", &guarded.checked());
    let program = Program::on(&url).with("CARDEA_INBOX", "true");
    let server = program.serve();
    server.register("ada");
    server.mailed_token("ada@example.org");
    server.stop("TERM").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_name_or_of_a_stranger_is_refused() {
    let guarded = guarded().await;
    let file = guarded.authority.file("authority.pem");
    let other = Authority::certifying("db.example.org");
    let other = other.file("authority.pem");
    let another_name = "not valid for name \"127.0.0.1\"";
    for (host, parameters, said) in [
        ("127.0.0.1", guarded.checked(), Some(another_name)),
        (
            "127.0.0.1",
            format!("?sslrootcert={}", file.display()),
            Some(another_name),
        ),
        // What was asked for less is given less.
        (
            "127.0.0.1",
            format!("?sslmode=verify-ca&sslrootcert={}", file.display()),
            None,
        ),
        ("127.0.0.1", "?sslmode=require".to_owned(), None),
        ("127.0.0.1", "?sslmode=prefer".to_owned(), None),
        ("127.0.0.1", String::new(), None),
        (
            "localhost",
            format!("?sslmode=verify-full&sslrootcert={}", other.display()),
            Some("UnknownIssuer"),
        ),
        (
            "localhost",
            format!("?sslmode=verify-ca&sslrootcert={}", other.display()),
            Some("UnknownIssuer"),
        ),
        (
            "localhost",
            format!("?sslmode=require&sslrootcert={}", other.display()),
            Some("UnknownIssuer"),
        ),
        (
            "localhost",
            "?sslmode=verify-full".to_owned(),
            Some("UnknownIssuer"),
        ),
        (
            "localhost",
            "?sslmode=verify-full&sslrootcert=/nowhere".to_owned(),
            Some("sslrootcert=/nowhere"),
        ),
        (
            "localhost",
            format!(
                "?sslmode=verify-full&sslrootcert={}",
                guarded.authority.file("server.key").display()
            ),
            Some("holds no certificate"),
        ),
        (
            "localhost",
            "?sslmode=disable".to_owned(),
            Some("no encryption"),
        ),
    ] {
        let url = guarded.url(host, &parameters);
        let refused = refusal(&url).await;
        match said {
            None => assert_eq!(refused, None, "{host} {parameters}"),
            Some(said) => assert!(
                refused
                    .as_ref()
                    .is_some_and(|refused| refused.contains(said)),
                "{host} {parameters}: {refused:?}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tls_gets_no_password_where_tls_is_asked_for() {
    let db = TestDb::empty().await;
    for mode in ["require", "verify-full"] {
        let url = format!("{}?sslmode={mode}", db.url().expose_secret());
        let program = Program::new().with("DATABASE_URL", &url);
        let error = program.run(&[]).error();
        assert!(
            error.starts_with("cannot connect to PostgreSQL at 127.0.0.1:")
                && error.ends_with("server does not support TLS"),
            "{error}"
        );
    }
}

/// What the check of settings says in production of this address.
#[track_caller]
fn problems(url: &str) -> Vec<String> {
    let program = Program::new()
        .with("DATABASE_URL", url)
        .with("CARDEA_MODE", "production")
        .with("CARDEA_PUBLIC_URL", "https://accounts.example.org")
        .with("CARDEA_MASTER_KEY", crate::harness::app::MASTER_KEY);
    let checked = program.run(&["config", "check"]);
    assert!(!format!("{checked:?}").contains("hunter2"), "{checked:?}");
    let problems = checked
        .stdout
        .lines()
        .filter(|line| line.contains("DATABASE_URL"));
    problems.map(str::to_owned).collect()
}

#[test]
fn production_wants_to_be_told_how_the_way_to_another_machine_is_protected() {
    let at = |rest: &str| problems(&format!("postgres://a:hunter2@{rest}"));
    let said = [
        "production: DATABASE_URL must say how the way to the database is protected: sslmode=verify-full, or \
         sslmode=disable where nobody else is in the network",
    ];
    assert_eq!(at("db.example.org/b"), said);
    assert_eq!(at("db.example.org/b?sslmode=prefer"), said);
    for told in [
        "db.example.org/b?sslmode=verify-full",
        "db.example.org/b?sslmode=require",
        "db.example.org/b?sslmode=disable",
        "127.0.0.1/b",
        "%2Frun%2Fpostgresql/b",
    ] {
        assert_eq!(at(told), Vec::<String>::new(), "{told}");
    }
    assert_eq!(
        at("db.example.org/b?sslmode=verify-full&sslrootcert=/nowhere"),
        ["DATABASE_URL: sslrootcert=/nowhere names no file"]
    );
    assert_eq!(
        at("db.example.org/b?sslmode=sometimes"),
        ["DATABASE_URL: sslmode must be disable, prefer, require, verify-ca or verify-full"]
    );
}
