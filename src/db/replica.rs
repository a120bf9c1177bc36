//! A replica of the database, for reads that take long: lists, counts, exports.
//!
//! A read goes there once the replica has everything that the database had committed when the read was asked for. So nobody
//! misses what they, or anybody before them, wrote; whoever cannot have that in time reads from the database itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use diesel::QueryResult;
use diesel::dsl::sql;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::RunQueryDsl as _;
use diesel_async::pooled_connection::deadpool::Pool;
use secrecy::SecretString;

use crate::db::{Conn, Db, Pooled, Tally, pool, single_connection};
use crate::error::{Error, Result};

/// How long a read waits for the replica, and for a connection to it.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it is asked meanwhile how far it is.
const STEP: Duration = Duration::from_millis(5);
/// How long nobody asks a replica again that was away or behind.
const REST: Duration = Duration::from_secs(1);
/// How often the log says so.
const SILENCE: Duration = Duration::from_mins(1);
/// A read that failed there after this time is not tried again: the caller has waited long enough.
const TOO_LATE: Duration = Duration::from_secs(2);

/// Where the replica is, and how often it was of use. Shared.
pub(super) struct Replica {
    url: SecretString,
    pool: Pool<Conn>,
    /// What the database is that it has to be a replica of, once that was asked.
    primary: Arc<OnceLock<String>>,
    state: Mutex<State>,
    reads: [AtomicU64; 5],
}

/// Whether it is left out.
#[derive(Default)]
struct State {
    /// Until when nobody asks it again, and why.
    rests: Option<(Instant, Outcome)>,
    /// When the log was last told so.
    told: Option<Instant>,
}

/// What came of a read that may go to the replica.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The replica answered.
    Served,
    /// It had not everything in time.
    Behind,
    /// All connections to it were in use.
    Busy,
    /// It cannot be reached, or is no replica of the database.
    Away,
    /// It began and failed; the database answered.
    Failed,
}

impl Outcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Served, "served"),
        (Self::Behind, "behind"),
        (Self::Busy, "busy"),
        (Self::Away, "away"),
        (Self::Failed, "failed"),
    ];
}

impl Replica {
    /// The one at `url`, with so many connections, which run `setup` at their beginning.
    pub fn new(
        url: &SecretString,
        size: usize,
        setup: String,
        counter: Tally,
    ) -> anyhow::Result<Self> {
        let primary = Arc::default();
        let known = Some(Arc::clone(&primary));
        Ok(Self {
            url: url.clone(),
            // Whoever waits for it gives up before.
            pool: pool::build(url, (size, 10 * PATIENCE), setup, known, counter)?,
            primary,
            state: Mutex::default(),
            reads: Default::default(),
        })
    }

    /// Says so where it is the replica of another database. One that is away, or is no replica just now, may come back.
    pub async fn check(&self, primary: &mut Conn) -> anyhow::Result<()> {
        let told = tell(primary).await?;
        ensure!(
            !told.is_replica,
            "the database is a replica, which takes no writes: DATABASE_URL must lead to the primary"
        );
        let primary = self.primary.get_or_init(|| told.identity);
        let told = match single_connection(&self.url).await {
            Ok(conn) => tell(&conn).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(told) if told.identity != *primary => {
                bail!("DATABASE_REPLICA_URL leads to something else than a replica of the database")
            }
            Ok(told) if !told.is_replica => {
                tracing::warn!(
                    "DATABASE_REPLICA_URL leads to no replica but to the database itself"
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %error, "The replica cannot be used: {error:#}");
            }
        }
        Ok(())
    }

    /// Hands no connection out any more.
    pub fn close(&self) {
        self.pool.close();
    }

    /// A connection to it once it has what `db` has now; otherwise why not.
    async fn caught_up(&self, db: &Db) -> Result<Result<Pooled, Outcome>> {
        if let Some((until, why)) = self.state().rests
            && Instant::now() < until
        {
            return Ok(Err(why));
        }
        let primary = db.reading().await?;
        if self.primary.get().is_none() {
            let told = tell(&primary).await?;
            self.primary.get_or_init(|| told.identity);
        }
        let written = written(&primary).await?;
        drop(primary);
        let mut why = Outcome::Away;
        let reached = async {
            let conn = self.pool.get().await?;
            while !has_replayed(&conn, &written).await? {
                why = Outcome::Behind;
                tokio::time::sleep(STEP).await;
            }
            anyhow::Ok(conn)
        };
        let said = match tokio::time::timeout(PATIENCE, reached).await {
            Ok(Ok(conn)) => {
                self.is_back();
                return Ok(Ok(conn));
            }
            Ok(Err(error)) => {
                why = Outcome::Away;
                format!("{error:#}")
            }
            Err(_) if matches!(why, Outcome::Away) && self.is_busy() => {
                return Ok(Err(Outcome::Busy));
            }
            Err(_) => format!("it is not where the database is within {PATIENCE:?}"),
        };
        self.is_left_out(why, &said);
        Ok(Err(why))
    }

    /// It could be used. What others found since this one began to ask holds all the same.
    fn is_back(&self) {
        let mut state = self.state();
        if state
            .rests
            .is_some_and(|(until, _)| until <= Instant::now())
        {
            state.rests = None;
            tracing::debug!("The replica is used again");
        }
    }

    /// It could not be used: nobody tries for a while.
    fn is_left_out(&self, why: Outcome, said: &str) {
        let (mut state, now) = (self.state(), Instant::now());
        state.rests = Some((now + REST, why));
        if state.told.is_none_or(|told| now > told + SILENCE) {
            state.told = Some(now);
            tracing::warn!("The replica is left out until it can be used: {said}");
        }
    }

    fn is_busy(&self) -> bool {
        let pool = self.pool.status();
        pool.available == 0 && pool.size >= pool.max_size
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: Outcome) {
        self.reads[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Db {
    /// Does what reads much and changes nothing: on a replica that has everything written so far, or else on the database
    /// itself, where it is done once more if the replica fails. Hold no connection meanwhile.
    ///
    /// # Errors
    /// What `read` says, or [`Error::Unavailable`] when there is no connection in time.
    pub async fn read_much<T, F: Future<Output = Result<T>>>(
        &self,
        read: impl Fn(Pooled) -> F,
    ) -> Result<T> {
        // Boxed: the library copies a resolver's future, which is as large as the largest beside it.
        Box::pin(async {
            if let Some(replica) = &self.replica {
                let began = Instant::now();
                let outcome = match replica.caught_up(self).await? {
                    Err(outcome) => outcome,
                    Ok(conn) => match read(conn).await {
                        Err(error @ (Error::Unavailable | Error::Internal(_))) => {
                            tracing::warn!(error = ?error, "The replica did not finish a read");
                            if began.elapsed() > TOO_LATE {
                                replica.count(Outcome::Failed);
                                return Err(error);
                            }
                            Outcome::Failed
                        }
                        answered => {
                            replica.count(Outcome::Served);
                            return answered;
                        }
                    },
                };
                replica.count(outcome);
            }
            read(self.conn().await?).await
        })
        .await
    }

    /// What came of reads that may go to a replica, and how often.
    #[must_use]
    pub fn replica_reads(&self) -> [(&'static str, u64); 5] {
        let replica = self.replica.as_deref();
        let read = |outcome: Outcome| {
            replica.map_or(0, |replica| {
                AtomicU64::load(&replica.reads[outcome as usize], Ordering::Relaxed)
            })
        };
        Outcome::ALL.map(|(outcome, name)| (name, read(outcome)))
    }
}

/// What a server of PostgreSQL says of itself.
#[derive(diesel::QueryableByName)]
pub(super) struct Told {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    is_replica: bool,
    /// Of a database and its replicas alone.
    #[diesel(sql_type = diesel::sql_types::Text)]
    identity: String,
}

impl Told {
    /// Refuses what is no copy of `primary`: it would show other people's accounts, or none.
    pub fn refuse_stranger(&self, primary: &OnceLock<String>) -> anyhow::Result<()> {
        let same = primary.get() == Some(&self.identity);
        ensure!(same, "it is not a replica of the database");
        Ok(())
    }
}

/// Asks which database this is, and whether it is a replica.
pub(super) async fn tell(conn: &Conn) -> anyhow::Result<Told> {
    let sql = "SELECT pg_is_in_recovery() AS is_replica, system_identifier::text || ' ' || oid AS identity \
        FROM pg_control_system(), pg_database WHERE datname = current_database()";
    let told = diesel::sql_query(sql).get_result(&mut &*conn).await;
    told.context("the database does not tell what it is")
}

/// Up to where everything is that anybody was told of: what is written, or with `synchronous_commit = off` what will be.
async fn written(primary: &Conn) -> QueryResult<String> {
    let place = sql::<Text>(
        "(CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() \
            ELSE pg_current_wal_flush_lsn() END)::text",
    );
    diesel::select(place).get_result(&mut &*primary).await
}

/// Whether a replica has everything up to there. One that was made a primary goes on in another way.
async fn has_replayed(replica: &Conn, place: &str) -> anyhow::Result<bool> {
    let has =
        sql::<Nullable<Bool>>("CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() >= ");
    let has = has.bind::<Text, _>(place).sql("::pg_lsn END");
    let has: Option<bool> = diesel::select(has).get_result(&mut &*replica).await?;
    has.context("it is no replica any more")
}
