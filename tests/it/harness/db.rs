//! A PostgreSQL for the test process, a migrated template in it, and a database for each test.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cardea::config::DatabaseConfig;
use cardea::db::{Db, single_connection};
use cardea::embedded::Embedded;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

/// Gone when the test process ends, however it ends.
static CLUSTER: OnceLock<Embedded> = OnceLock::new();
static TEMPLATE: OnceCell<()> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of its own, dropped with the value.
pub struct TestDb {
    name: String,
}

impl TestDb {
    /// A migrated and seeded database.
    pub async fn new(config: &DatabaseConfig) -> Self {
        TEMPLATE.get_or_init(|| build_template(config)).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        on_server(&format!(
            "CREATE DATABASE {name} TEMPLATE template_cardea STRATEGY = FILE_COPY"
        ))
        .await;
        Self { name }
    }

    /// A database without anything in it.
    pub async fn empty() -> Self {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        on_server(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        Self { name }
    }

    /// Where it is.
    pub fn url(&self) -> SecretString {
        url(&self.name)
    }

    /// Runs statements in it, past the server.
    pub async fn sql(&self, sql: &str) {
        let mut conn = single_connection(&self.url())
            .await
            .expect("the test database answers");
        conn.batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl TestDb {
    /// Turns every connection away, as if the database were gone, until it is let back.
    pub async fn shut(&self) {
        let name = &self.name;
        on_server(&format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    /// Takes connections again.
    pub async fn open(&self) {
        on_server(&format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS true",
            self.name
        ))
        .await;
    }

    /// Waits until so many of its connections wait for a lock.
    pub async fn until_waiting(&self, many: u32) {
        let count = "SELECT count(*)::text FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = async {
            while self.text(count).await.parse().unwrap_or(0) < many {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waiting = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        waiting.unwrap_or_else(|_| panic!("{many} never waited"));
    }

    /// Everything in it, as text.
    pub async fn dump(&self) -> String {
        self.text("SELECT database_to_xml(true, false, '')::text")
            .await
    }

    /// The one text that a query gives.
    pub async fn text(&self, sql: &str) -> String {
        let mut conn = single_connection(&self.url())
            .await
            .expect("the test database answers");
        let row: Row = diesel::sql_query(format!("SELECT coalesce(({sql}), '') AS value"))
            .get_result(&mut conn)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.value
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let name = self.name.clone();
        // Dropping cannot wait, and the test's runtime may be gone already.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(on_server(&format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        let _ = dropper.join();
    }
}

async fn build_template(config: &DatabaseConfig) {
    on_server("CREATE DATABASE template_cardea").await;
    let db = Db::new(&url("template_cardea"), config).expect("a pool");
    db.migrate().await.expect("the migrations run");
    db.close();
    on_server("ALTER DATABASE template_cardea IS_TEMPLATE true ALLOW_CONNECTIONS false").await;
}

fn url(database: &str) -> SecretString {
    let base = cluster().url();
    let (server, _) = base
        .expose_secret()
        .rsplit_once('/')
        .expect("an address with a database");
    format!("{server}/{database}").into()
}

pub fn cluster() -> &'static Embedded {
    CLUSTER.get_or_init(|| {
        Embedded::throwaway(Path::new(env!("CARGO_TARGET_TMPDIR")), None)
            .expect("PostgreSQL starts")
    })
}

async fn on_server(sql: &str) {
    let mut conn = single_connection(&cluster().url())
        .await
        .expect("PostgreSQL answers");
    conn.batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
