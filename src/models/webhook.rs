//! Events for other services: rows of `jobs` with an endpoint, and the table `webhook_endpoints`. The
//! triggers of the database write the events.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{self, Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::{DateTime, Json};
use crate::schema::jobs;

/// An event that a sender holds.
#[derive(QueryableByName, Debug)]
#[diesel(table_name = jobs)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Event {
    pub id: Uuid,
    pub payload: Json,
    pub attempts: i32,
    pub created_at: DateTime,
    #[diesel(sql_type = sql_types::Uuid)]
    pub account_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
}

/// An event that was given up.
#[derive(QueryableByName, Debug)]
#[diesel(table_name = jobs)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Dead {
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    #[diesel(sql_type = sql_types::Uuid)]
    pub account_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    pub payload: Json,
    pub attempts: i32,
    pub last_error: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub failed_at: DateTime,
}

/// How an endpoint stands.
#[derive(QueryableByName, Debug)]
pub struct Standing {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Nothing is queued for it any more.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub retired_at: Option<DateTime>,
    /// Events that wait.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// When the oldest of them was written.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime>,
    /// Events that were given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
}

/// Has events written for these endpoints from now on, and for no others.
///
/// # Errors
/// If the database cannot answer.
pub async fn set_endpoints(conn: &mut Conn, names: &[&str], now: DateTime) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhook_endpoints SET retired_at = $2 WHERE retired_at IS NULL AND name <> ALL($1)",
    )
    .bind::<Array<Text>, _>(names)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    diesel::sql_query(
        "INSERT INTO webhook_endpoints AS endpoint (name, created_at) SELECT unnest($1), $2 \
         ON CONFLICT (name) DO UPDATE SET retired_at = NULL WHERE endpoint.retired_at IS NOT NULL",
    )
    .bind::<Array<Text>, _>(names)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await
    .map(drop)
}

impl Event {
    /// Takes the next due event of `endpoint` for the time of `lease`. One whose account has an earlier
    /// event that is neither delivered nor given up is not due.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn claim(
        conn: &mut Conn,
        endpoint: &str,
        lease: TimeDelta,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        // Materialized for the reason that `Job::claim` gives.
        diesel::sql_query(
            "WITH due AS MATERIALIZED ( \
                 SELECT id FROM jobs AS event WHERE endpoint = $1 AND failed_at IS NULL AND run_at <= $2 \
                 AND (locked_until IS NULL OR locked_until <= $2) \
                 AND NOT EXISTS ( \
                     SELECT FROM jobs AS earlier WHERE earlier.account_id = event.account_id \
                     AND earlier.sequence < event.sequence AND earlier.endpoint = event.endpoint \
                     AND earlier.failed_at IS NULL \
                 ) \
                 ORDER BY run_at, created_at, id LIMIT 1 FOR UPDATE OF event SKIP LOCKED \
             ) \
             UPDATE jobs SET locked_until = $3, attempts = attempts + 1 FROM due WHERE jobs.id = due.id \
             RETURNING jobs.id, jobs.payload, jobs.attempts, jobs.created_at, jobs.account_id, jobs.sequence",
        )
        .bind::<Text, _>(endpoint)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(DateTime(*now + lease))
        .get_result(conn)
        .await
        .optional()
    }

    /// Lets the event be sent again at `run_at`, and those behind it no earlier: they are not looked at
    /// meanwhile. With `given_up` it is not sent again, and those behind it go on.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn put_back(
        &self,
        conn: &mut Conn,
        endpoint: &str,
        error: &str,
        run_at: DateTime,
        given_up: bool,
    ) -> QueryResult<()> {
        diesel::sql_query(
            "UPDATE jobs SET run_at = $5, \
                 last_error = CASE id WHEN $1 THEN $6 ELSE last_error END, \
                 failed_at = CASE WHEN id = $1 AND $7 THEN $5 END, \
                 locked_until = CASE id WHEN $1 THEN NULL ELSE locked_until END \
             WHERE account_id = $2 AND sequence >= $3 AND endpoint = $4 AND failed_at IS NULL",
        )
        .bind::<sql_types::Uuid, _>(self.id)
        .bind::<sql_types::Uuid, _>(self.account_id)
        .bind::<BigInt, _>(self.sequence)
        .bind::<Text, _>(endpoint)
        .bind::<Timestamptz, _>(run_at)
        .bind::<Text, _>(error)
        .bind::<Bool, _>(given_up)
        .execute(conn)
        .await
        .map(drop)
    }
}

impl Dead {
    /// The oldest events that were given up, at most `most`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn list(conn: &mut Conn, most: i64) -> QueryResult<Vec<Self>> {
        diesel::sql_query(
            "SELECT id, endpoint, account_id, sequence, payload, attempts, last_error, failed_at FROM jobs \
             WHERE endpoint IS NOT NULL AND failed_at IS NOT NULL \
             ORDER BY failed_at, account_id, sequence, endpoint LIMIT $1",
        )
        .bind::<BigInt, _>(most)
        .load(conn)
        .await
    }

    /// Has these sent again, or all of them where `ids` is `None`, each as a new one with the id that it
    /// had; gives how many.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn replay(
        conn: &mut Conn,
        ids: Option<&[Uuid]>,
        now: DateTime,
    ) -> QueryResult<usize> {
        diesel::sql_query(
            "WITH again AS ( \
                 UPDATE jobs SET failed_at = NULL, attempts = 0, run_at = '-infinity', created_at = $2, \
                     locked_until = NULL \
                 WHERE endpoint IS NOT NULL AND failed_at IS NOT NULL AND ($1 IS NULL OR id = ANY($1)) \
                 RETURNING id \
             ) SELECT pg_notify('jobs', '') FROM again",
        )
        .bind::<Nullable<Array<sql_types::Uuid>>, _>(ids)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
    }
}

impl Standing {
    /// How the endpoints stand, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        diesel::sql_query(
            "SELECT name, retired_at, \
                 count(jobs.id) FILTER (WHERE failed_at IS NULL) AS waiting, \
                 min(jobs.created_at) FILTER (WHERE failed_at IS NULL) AS oldest, \
                 count(jobs.id) FILTER (WHERE failed_at IS NOT NULL) AS dead \
             FROM webhook_endpoints LEFT JOIN jobs ON endpoint = name \
             GROUP BY name, retired_at ORDER BY name",
        )
        .load(conn)
        .await
    }
}
