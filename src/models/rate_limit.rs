//! The table `rate_limits`: budgets that all instances share, one statement each.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Double, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::rate_limits;

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Double)]
    wait_secs: f64,
}

/// Takes one unit from the budget `key`, which holds `burst` units and regains one each `interval`
/// (generic cell rate algorithm). Gives the time to wait where there is none; then nothing is taken.
///
/// # Errors
/// If the database cannot answer.
pub async fn take(
    conn: &mut Conn,
    key: &[u8],
    burst: u32,
    interval: TimeDelta,
    now: DateTime,
) -> QueryResult<Option<TimeDelta>> {
    let interval_secs = interval.as_seconds_f64();
    // `full_at` is the theoretical arrival time. A take is refused when it would lie more than the
    // whole budget ahead; the row stays as it is then, and the answer says how long until it fits.
    let taken: Taken = diesel::sql_query(
        "WITH taken AS ( \
             INSERT INTO rate_limits (key, full_at) VALUES ($1, $2 + make_interval(secs => $3)) \
             ON CONFLICT (key) DO UPDATE \
             SET full_at = greatest(rate_limits.full_at, $2) + make_interval(secs => $3) \
             WHERE rate_limits.full_at + make_interval(secs => $3) <= $2 + make_interval(secs => $4) \
             RETURNING 1 \
         ) \
         SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN 0 ELSE greatest(0.001, coalesce( \
             (SELECT extract(epoch FROM full_at - $2)::float8 + $3 - $4 FROM rate_limits WHERE key = $1), $3)) \
         END AS wait_secs",
    )
    .bind::<Binary, _>(key)
    .bind::<Timestamptz, _>(now)
    .bind::<Double, _>(interval_secs)
    .bind::<Double, _>(interval_secs * f64::from(burst))
    .get_result(conn)
    .await?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a wait in milliseconds is far below 2^63"
    )]
    let wait = TimeDelta::milliseconds((taken.wait_secs * 1000.0).ceil() as i64);
    Ok((taken.wait_secs > 0.0).then_some(wait))
}

/// When the whole budget `key` will be there again; `None` where it was never touched.
///
/// # Errors
/// If the database cannot answer.
pub async fn full_at(conn: &mut Conn, key: &[u8]) -> QueryResult<Option<DateTime>> {
    rate_limits::table
        .find(key)
        .select(rate_limits::full_at)
        .first(conn)
        .await
        .optional()
}
