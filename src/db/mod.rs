//! Connections to PostgreSQL and the migrations compiled in. It knows no table.

mod follow;
mod lines;
mod pool;
mod pooler;
mod replica;
mod statement;
mod tally;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::{
    AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Client;

use crate::config::DatabaseConfig;
use crate::config::database::Address;
use crate::error::{Error, Result};
use crate::metrics::Histogram;

pub use follow::Heard;
use lines::Lines;
pub use lines::{Reading, keep_to_line};
use pooler::SessionSettings;
use replica::Replica;
pub use tally::Tally;

/// A connection; model functions take `&mut Conn`.
pub type Conn = AsyncPgConnection;

/// A connection of a pool, given back to it when dropped.
pub type Pooled = Object<Conn>;

/// The migrations, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// The oldest that the server is tested with.
const OLDEST_POSTGRES: i32 = 15;

/// Most connections that are shared: more make no difference to 32 clients that ask at the same time.
const MOST_LINES: usize = 4;

/// For what takes as long as it takes: a role may bring times of its own, which are meant for requests.
const NO_TIMEOUTS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0";

/// How long what was sent may stay without a sign that it arrived (RFC 5482).
const SILENCE: Duration = Duration::from_secs(10);

/// How often whoever waits for others' migrations asks whether they are done.
const TURN: Duration = Duration::from_millis(100);

/// How long a database may take to let a connection in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<Conn>,
    lines: Lines,
    /// What follows the database, if anything does.
    replica: Option<Arc<Replica>>,
    /// PostgreSQL itself, for what needs a session of its own.
    direct: SecretString,
    /// What lies before it and lends connections out for single transactions, if anything does.
    pooler: Option<SecretString>,
    session: SessionSettings,
    statements: Tally,
    waits: Arc<Waits>,
}

/// How connections of the pool were come by.
#[derive(Default)]
struct Waits {
    times: Histogram,
    failures: AtomicU64,
}

/// The connections of this moment.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Most connections of the pool.
    pub limit: usize,
    /// Those that are open.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Who waits for one.
    pub waiting: usize,
    /// Statements that may be under way on shared connections, and those that are.
    pub shared: (usize, usize),
}

impl Db {
    /// A pool for the database at `url`; connects when first asked for a connection. Where the settings name PostgreSQL
    /// apart from it, `url` is that of a pooler, whose sessions are anybody's: nothing is set on them, and no connection is
    /// shared.
    ///
    /// # Errors
    /// If the settings of the pool contradict each other.
    pub fn new(url: &SecretString, config: &DatabaseConfig) -> anyhow::Result<Self> {
        let statements = Tally::default();
        let session = SessionSettings::new(config.statement_timeout_secs);
        let pooler = config.direct_url.as_ref().map(|_| url.clone());
        let setup = match &pooler {
            Some(_) => String::new(),
            None => session.sql(),
        };
        let shared = match &pooler {
            Some(_) => 0,
            None => (config.pool_size / 4).clamp(1, MOST_LINES),
        };
        let lines = Lines::new(shared, url, &setup, statements.clone());
        let wait = Duration::from_secs(config.wait_secs);
        let size = config.pool_size - shared;
        let pool = pool::build(url, (size, wait), setup, None, statements.clone())?;
        let replica = match &config.replica_url {
            Some(url) => {
                let size = config.pool_size;
                let replica = Replica::new(url, size, session.sql(), statements.clone())?;
                Some(Arc::new(replica))
            }
            None => None,
        };
        Ok(Self {
            pool,
            lines,
            replica,
            direct: config.direct_url.clone().unwrap_or_else(|| url.clone()),
            pooler,
            session,
            statements,
            waits: Arc::default(),
        })
    }

    /// A connection, given back to the pool when dropped. Never take a second one while holding one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is none in time.
    pub async fn conn(&self) -> Result<Pooled> {
        let asked = Instant::now();
        // Boxed: it would make each future in which somebody waits for a connection two kilobytes larger.
        let got = Box::pin(self.pool.get()).await;
        self.waits.times.observe(asked.elapsed());
        got.map_err(|error| {
            self.waits.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = %error, "No connection to the database: {error}");
            Error::Unavailable
        })
    }

    /// How many connections there are just now.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let pool = self.pool.status();
        Connections {
            limit: pool.max_size,
            open: pool.size,
            idle: pool.available,
            waiting: pool.waiting,
            shared: self.lines.turns(),
        }
    }

    /// How long it took to get connections of the pool, in vain or not, and how often it was in vain.
    #[must_use]
    pub fn waits(&self) -> (&Histogram, u64) {
        let failures = AtomicU64::load(&self.waits.failures, Ordering::Relaxed);
        (&self.waits.times, failures)
    }

    /// A connection for one statement that reads and is quick: one that others use at the same time, or else one of the
    /// pool. Hold no other one meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is none in time.
    pub async fn reading(&self) -> Result<Reading> {
        match self.lines.line().await {
            Some(line) => Ok(line.into()),
            None => Ok(self.conn().await?.into()),
        }
    }

    /// SQL statements sent so far, the ones that begin and end transactions included.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.read()
    }

    /// Checks that the database can be reached and is new enough, and that a pooler before it and a replica do what they
    /// have to.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut conn = single_connection(&self.direct).await?;
        let version: i32 = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
            "current_setting('server_version_num')::integer",
        ))
        .get_result(&mut conn)
        .await
        .context("the database does not tell its version")?;
        refuse_old(version)?;
        let has_trigrams = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')",
        ))
        .get_result(&mut conn)
        .await
        .context("the database does not tell its extensions")?;
        refuse_bare(has_trigrams)?;
        if let Some(pooler) = &self.pooler {
            pooler::check(pooler, &mut conn, &self.session).await?;
        }
        match &self.replica {
            Some(replica) => replica.check(&mut conn).await,
            None => Ok(()),
        }
    }

    /// Whether the newest migration of this build was run.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn is_current(&self) -> Result<bool> {
        let newest = migration_names()?.pop().unwrap_or_default();
        let mut conn = self.conn().await?;
        let found =
            diesel::sql_query("SELECT 1 FROM __diesel_schema_migrations WHERE version = $1")
                .bind::<diesel::sql_types::Text, _>(version_of(&newest))
                .execute(&mut conn)
                .await?;
        Ok(found > 0)
    }

    /// Does `work` on a connection of its own that can COPY, which those of the pool cannot.
    ///
    /// # Errors
    /// If the connection is lost, or what `work` says.
    pub async fn copying<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        with_client(&self.direct, async |client| {
            client.batch_execute(NO_TIMEOUTS).await?;
            work(client).await
        })
        .await
    }

    /// A connection of its own that is told of every notification on `channel`.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn listen(&self, channel: &'static str) -> anyhow::Result<Conn> {
        let mut conn = single_connection(&self.direct).await?;
        conn.batch_execute(&format!("LISTEN {channel}")).await?;
        Ok(conn)
    }

    /// Closes every connection once it is given back; none is handed out any more.
    pub fn close(&self) {
        self.lines.close();
        self.pool.close();
        if let Some(replica) = &self.replica {
            replica.close();
        }
    }

    /// Names of the migrations that were not run yet, the oldest first.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn pending_migrations(&self) -> anyhow::Result<Vec<String>> {
        self.with_migrations(pending).await
    }

    /// Runs the pending migrations; two servers that start together run them once. Gives their names.
    ///
    /// # Errors
    /// If one fails; it is rolled back, those before it stay.
    pub async fn migrate(&self) -> anyhow::Result<Vec<String>> {
        self.with_migrations(|harness| {
            let names = pending(harness)?;
            harness
                .run_pending_migrations(MIGRATIONS)
                .map_err(anyhow::Error::from_boxed)?;
            Ok(names)
        })
        .await
    }

    /// Takes the newest migration back. Gives its name, or nothing when there is none.
    ///
    /// # Errors
    /// If it fails; it is rolled back.
    pub async fn migrate_down(&self) -> anyhow::Result<Option<String>> {
        self.with_migrations(|harness| {
            if harness
                .applied_migrations()
                .map_err(anyhow::Error::from_boxed)?
                .is_empty()
            {
                return Ok(None);
            }
            let version = harness
                .revert_last_migration(MIGRATIONS)
                .map_err(anyhow::Error::from_boxed)?
                .to_string();
            let named = migration_names()?
                .into_iter()
                .find(|name| version_of(name) == version);
            Ok(Some(named.unwrap_or(version)))
        })
        .await
    }

    async fn with_migrations<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AsyncMigrationHarness<Conn>) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut conn = single_connection(&self.direct).await?;
        conn.batch_execute(NO_TIMEOUTS).await?;
        // Held by this connection until it closes, so that instances which start together take turns. Asked for again and
        // again: a statement that waits for it has a snapshot, for the end of which CREATE INDEX CONCURRENTLY waits.
        let lock = "pg_try_advisory_lock(hashtext('cardea migrations'))";
        let mine = diesel::dsl::sql::<diesel::sql_types::Bool>(lock);
        while !diesel::select(mine.clone()).get_result(&mut conn).await? {
            tokio::time::sleep(TURN).await;
        }
        // The harness blocks its thread on the asynchronous connection.
        tokio::task::spawn_blocking(move || work(&mut AsyncMigrationHarness::new(conn)))
            .await
            .context("the migration thread died")?
    }
}

fn pending(harness: &mut AsyncMigrationHarness<Conn>) -> anyhow::Result<Vec<String>> {
    let pending = harness
        .pending_migrations(MIGRATIONS)
        .map_err(anyhow::Error::from_boxed)?;
    Ok(pending
        .iter()
        .map(|migration| migration.name().to_string())
        .collect())
}

/// What diesel keeps of a migration's name: the digits in front of the first underscore.
fn version_of(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// All migrations compiled in, by name, the oldest first.
///
/// # Errors
/// If one has no proper name.
pub fn migration_names() -> anyhow::Result<Vec<String>> {
    let migrations: Vec<Box<dyn Migration<Pg>>> =
        MIGRATIONS.migrations().map_err(anyhow::Error::from_boxed)?;
    let mut names: Vec<_> = migrations
        .iter()
        .map(|migration| migration.name().to_string())
        .collect();
    names.sort();
    Ok(names)
}

/// A connection outside the pool, without its time-outs.
///
/// # Errors
/// One line that says where it failed and why; the password is not in it.
pub async fn single_connection(url: &SecretString) -> anyhow::Result<Conn> {
    let url = url.expose_secret();
    connect(url).await.map_err(|error| {
        let at = url::Url::parse(url).ok().and_then(|url| {
            let port = url.port().unwrap_or(5432);
            Some(format!("{}:{port}", url.host_str()?))
        });
        let at = at.unwrap_or_else(|| "the address given".to_owned());
        anyhow!("cannot connect to PostgreSQL at {at}: {error:#}")
    })
}

/// Does `work` on a connection by itself, without diesel.
async fn with_client<T>(
    url: &SecretString,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let address = address_of(url.expose_secret())?;
    let connected = tls::connect(&address);
    let (client, connection) = tokio::time::timeout(CONNECT_TIMEOUT, connected).await??;
    tokio::select! {
        // What the work says of a connection that was lost tells more.
        biased;
        done = work(&client) => done,
        lost = connection => {
            lost?;
            bail!("the database closed the connection")
        }
    }
}

/// Unlike diesel's own way, keeps the cause and gives up on a server that never answers.
async fn connect(url: &str) -> anyhow::Result<Conn> {
    let address = watched(address_of(url)?);
    let connected = async {
        let (client, connection) = tls::connect(&address).await?;
        Ok(AsyncPgConnection::try_from_client_and_connection(client, connection).await?)
    };
    in_time(connected).await
}

/// The parts of a database's address.
fn address_of(url: &str) -> anyhow::Result<Address> {
    Address::parse(url).map_err(anyhow::Error::msg)
}

/// A network that swallows everything is found out before a quarter of an hour is over.
fn watched(mut address: Address) -> Address {
    if address.server.get_tcp_user_timeout().is_none() {
        address.server.tcp_user_timeout(SILENCE);
    }
    address
}

/// Gives up on a server that never answers.
async fn in_time<T>(connected: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(CONNECT_TIMEOUT, connected)
        .await
        .map_err(|_| anyhow!("no answer in {} seconds", CONNECT_TIMEOUT.as_secs()))?
}

fn refuse_old(server_version_num: i32) -> anyhow::Result<()> {
    let major = server_version_num / 10_000;
    if major < OLDEST_POSTGRES {
        bail!("the database is PostgreSQL {major}; Cardea needs {OLDEST_POSTGRES} or newer");
    }
    Ok(())
}

/// The search of accounts needs an extension that some systems package apart.
fn refuse_bare(has_trigrams: bool) -> anyhow::Result<()> {
    if !has_trigrams {
        bail!(
            "the database lacks the extension pg_trgm; install the contrib package of PostgreSQL (Fedora: \
             `sudo dnf install postgresql-contrib`)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postgresql_that_is_too_old_or_too_bare_is_refused() {
        let old = refuse_old(140_019).expect_err("14.19 is too old");
        assert_eq!(
            old.to_string(),
            "the database is PostgreSQL 14; Cardea needs 15 or newer"
        );
        let bare = refuse_bare(false).expect_err("it cannot search");
        assert!(bare.to_string().contains("postgresql-contrib"), "{bare}");
        assert!(refuse_bare(true).is_ok());
        assert!(refuse_old(150_000).is_ok() && refuse_old(180_001).is_ok());
    }
}
