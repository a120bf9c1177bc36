//! The table `rate_limits`: budgets that all instances share, one statement each.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Double, Integer, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::db::Conn;
use crate::models::kept::KeptExt as _;
use crate::scalar::DateTime;
use crate::schema::rate_limits;

/// How much there is, and how it comes back.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    burst: u32,
    interval: TimeDelta,
}

impl Budget {
    /// `burst` units, which all come back within `period`, one by one; `None` where that is no limit.
    #[must_use]
    pub fn new(burst: u32, period: TimeDelta) -> Option<Self> {
        let interval = period / i32::try_from(burst).ok().filter(|burst| *burst > 0)?;
        (!interval.is_zero()).then_some(Self { burst, interval })
    }
}

/// How long tries in a row have to wait.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// Tries that need not wait.
    pub free: u32,
    /// The wait after those; each next one is twice as long.
    pub first: TimeDelta,
    /// The longest wait.
    pub longest: TimeDelta,
    /// How long after the last wait the count begins anew.
    pub forget: TimeDelta,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Double)]
    wait_secs: f64,
}

impl Taken {
    fn wait(&self) -> Option<TimeDelta> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a wait in milliseconds is far below 2^63"
        )]
        let wait = TimeDelta::milliseconds((self.wait_secs * 1000.0).ceil() as i64);
        (self.wait_secs > 0.0).then_some(wait)
    }
}

/// Takes one unit from the budget `key` (generic cell rate algorithm). Gives the time to wait where
/// there is none; then nothing is taken.
///
/// # Errors
/// If the database cannot answer.
pub async fn take(
    conn: &mut Conn,
    key: &[u8; 32],
    subject: Option<&[u8; 32]>,
    budget: Budget,
    now: DateTime,
) -> QueryResult<Option<TimeDelta>> {
    let interval_secs = budget.interval.as_seconds_f64();
    // `full_at` is the theoretical arrival time. A take is refused when it would lie more than the
    // whole budget ahead; the row stays as it is then, and the answer says how long until it fits.
    let taken: Taken = diesel::sql_query(
        "WITH taken AS ( \
             INSERT INTO rate_limits (key, full_at, subject) VALUES ($1, $2 + make_interval(secs => $3), $5) \
             ON CONFLICT (key) DO UPDATE \
             SET full_at = greatest(rate_limits.full_at, $2) + make_interval(secs => $3) \
             WHERE rate_limits.full_at + make_interval(secs => $3) <= $2 + make_interval(secs => $4) \
             RETURNING 1 \
         ) \
         SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN 0 ELSE greatest(0.001, coalesce( \
             (SELECT extract(epoch FROM full_at - $2)::float8 + $3 - $4 FROM rate_limits WHERE key = $1), $3)) \
         END AS wait_secs",
    )
    .bind::<Binary, _>(&key[..])
    .bind::<Timestamptz, _>(now)
    .bind::<Double, _>(interval_secs)
    .bind::<Double, _>(interval_secs * f64::from(budget.burst))
    .bind::<Nullable<Binary>, _>(subject.map(|subject| &subject[..]))
    .kept()
    .get_result(conn)
    .await?;
    Ok(taken.wait())
}

/// Counts one try for `key`, unless the wait after the one before is not over; gives what is left of
/// that wait then. Of tries at once only the free ones pass.
///
/// # Errors
/// If the database cannot answer.
pub async fn take_delayed(
    conn: &mut Conn,
    key: &[u8; 32],
    subject: &[u8; 32],
    delay: &Delay,
    now: DateTime,
) -> QueryResult<Option<TimeDelta>> {
    // The exponent is bounded, so that no count of tries overflows the number.
    let taken: Taken = diesel::sql_query(
        "WITH taken AS ( \
             INSERT INTO rate_limits (key, full_at, tries, subject) \
             VALUES ($1, $2 + CASE WHEN $3 <= 1 THEN make_interval(secs => $4) ELSE INTERVAL '0' END, 1, $7) \
             ON CONFLICT (key) DO UPDATE SET \
             tries = CASE WHEN rate_limits.full_at + make_interval(secs => $6) <= $2 THEN 1 ELSE rate_limits.tries + 1 END, \
             full_at = $2 + CASE \
                 WHEN rate_limits.full_at + make_interval(secs => $6) <= $2 AND $3 > 1 THEN INTERVAL '0' \
                 WHEN rate_limits.full_at + make_interval(secs => $6) > $2 AND rate_limits.tries + 1 < $3 THEN INTERVAL '0' \
                 WHEN rate_limits.full_at + make_interval(secs => $6) <= $2 THEN make_interval(secs => $4) \
                 ELSE make_interval(secs => least($5, $4 * 2 ^ least(rate_limits.tries + 1 - $3, 30))) END \
             WHERE rate_limits.full_at <= $2 \
             RETURNING 1 \
         ) \
         SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN 0 ELSE greatest(0.001, coalesce( \
             (SELECT extract(epoch FROM full_at - $2)::float8 FROM rate_limits WHERE key = $1), $4)) \
         END AS wait_secs",
    )
    .bind::<Binary, _>(&key[..])
    .bind::<Timestamptz, _>(now)
    .bind::<Integer, _>(i32::try_from(delay.free).unwrap_or(i32::MAX))
    .bind::<Double, _>(delay.first.as_seconds_f64())
    .bind::<Double, _>(delay.longest.as_seconds_f64())
    .bind::<Double, _>(delay.forget.as_seconds_f64())
    .bind::<Binary, _>(&subject[..])
    .kept()
    .get_result(conn)
    .await?;
    Ok(taken.wait())
}

/// Takes the last try for `key` back.
///
/// # Errors
/// If the database cannot answer.
pub async fn give_back(conn: &mut Conn, key: &[u8; 32], now: DateTime) -> QueryResult<()> {
    diesel::update(rate_limits::table.find(&key[..]))
        .filter(rate_limits::tries.gt(0))
        .set((
            rate_limits::tries.eq(rate_limits::tries - 1),
            rate_limits::full_at.eq(now),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// Fills the budgets of these keys.
///
/// # Errors
/// If the database cannot answer.
pub async fn forget(conn: &mut Conn, keys: &[&[u8]]) -> QueryResult<()> {
    forget_where(conn, "key", keys).await
}

/// Fills every budget that counts tries for these subjects.
///
/// # Errors
/// If the database cannot answer.
pub async fn forget_subjects(conn: &mut Conn, subjects: &[&[u8]]) -> QueryResult<()> {
    forget_where(conn, "subject", subjects).await
}

async fn forget_where(conn: &mut Conn, column: &str, values: &[&[u8]]) -> QueryResult<()> {
    // Always locked in the same order, so that two that forget the same do not wait for each other.
    diesel::sql_query(format!(
        "DELETE FROM rate_limits WHERE key IN ( \
             SELECT key FROM rate_limits WHERE {column} = ANY($1) ORDER BY key FOR UPDATE \
         )"
    ))
    .bind::<Array<Binary>, _>(values)
    .kept()
    .execute(conn)
    .await
    .map(drop)
}

/// When the whole budget `key` will be there again; `None` where it was never touched.
///
/// # Errors
/// If the database cannot answer.
pub async fn full_at(conn: &mut Conn, key: &[u8; 32]) -> QueryResult<Option<DateTime>> {
    rate_limits::table
        .find(&key[..])
        .select(rate_limits::full_at)
        .first(conn)
        .await
        .optional()
}
