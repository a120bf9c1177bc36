//! What waits in the database to be done: rows of `jobs`, and entries of the audit trail without a place. It only counts.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::db::Conn;
use crate::scalar::DateTime;

/// What waits. None of the numbers is above the one that was asked for.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Backlog {
    /// Mails that were not sent yet.
    #[diesel(sql_type = BigInt)]
    pub mails: i64,
    /// Those of them that failed before.
    #[diesel(sql_type = BigInt)]
    pub mails_retrying: i64,
    /// When the first of those that nobody is at was due.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub mails_due_at: Option<DateTime>,
    /// Mails that were given up.
    #[diesel(sql_type = BigInt)]
    pub mails_dead: i64,
    /// Events that were not delivered yet.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Those of them that failed before.
    #[diesel(sql_type = BigInt)]
    pub events_retrying: i64,
    /// When the first of those that nobody is at was due, where the service is still told.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub events_due_at: Option<DateTime>,
    /// Events that were given up.
    #[diesel(sql_type = BigInt)]
    pub events_dead: i64,
    /// Entries of the audit trail without a place.
    #[diesel(sql_type = BigInt)]
    pub audit: i64,
    /// When the oldest of them was written.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub audit_since: Option<DateTime>,
}

impl Backlog {
    /// Counts up to `most` of each kind: however much waits, it takes no longer than that.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn, most: i64, now: DateTime) -> QueryResult<Self> {
        // Each part reads one partial index from one end.
        diesel::sql_query(
            "SELECT mails.waiting AS mails, mails.retrying AS mails_retrying, \
             (SELECT run_at FROM jobs WHERE failed_at IS NULL AND endpoint IS NULL AND run_at <= $2 \
                 AND (locked_until IS NULL OR locked_until <= $2) ORDER BY run_at LIMIT 1) AS mails_due_at, \
             dead.mails AS mails_dead, \
             events.waiting AS events, events.retrying AS events_retrying, \
             (SELECT min(first.run_at) FROM webhook_endpoints AS service, LATERAL ( \
                 SELECT run_at FROM jobs WHERE endpoint = service.name AND failed_at IS NULL AND run_at <= $2 \
                 AND (locked_until IS NULL OR locked_until <= $2) ORDER BY run_at LIMIT 1 \
             ) AS first WHERE service.retired_at IS NULL) AS events_due_at, \
             dead.events AS events_dead, trail.waiting AS audit, trail.since AS audit_since \
             FROM (SELECT count(*) AS waiting, count(last_error) AS retrying FROM ( \
                 SELECT last_error FROM jobs WHERE failed_at IS NULL AND endpoint IS NULL LIMIT $1 \
             ) AS found) AS mails, \
             (SELECT count(*) AS waiting, count(last_error) AS retrying FROM ( \
                 SELECT last_error FROM jobs WHERE failed_at IS NULL AND endpoint IS NOT NULL LIMIT $1 \
             ) AS found) AS events, \
             (SELECT count(*) FILTER (WHERE endpoint IS NULL) AS mails, count(endpoint) AS events FROM ( \
                 SELECT endpoint FROM jobs WHERE failed_at IS NOT NULL LIMIT $1 \
             ) AS found) AS dead, \
             (SELECT count(*) AS waiting, min(occurred_at) AS since FROM ( \
                 SELECT occurred_at FROM audit_events WHERE position IS NULL LIMIT $1 \
             ) AS found) AS trail",
        )
        .bind::<BigInt, _>(most)
        .bind::<Timestamptz, _>(now)
        .get_result(conn)
        .await
    }
}
