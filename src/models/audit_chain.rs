//! The table `audit_chains` and the months of the audit trail: rows get their place in a chain, months
//! come and go. It makes no hash.

use chrono::{Months, NaiveDate, NaiveTime};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date as SqlDate, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::audit_event::AuditEvent;
use crate::models::user_page::Span;
use crate::scalar::{Date, DateTime};
use crate::schema::{audit_chains, audit_events};

/// The chain of one month.
#[derive(HasQuery, Insertable, AsChangeset, Clone, Debug)]
#[diesel(table_name = audit_chains, primary_key(month))]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct AuditChain {
    pub month: Date,
    pub number: i32,
    pub genesis: Vec<u8>,
    pub length: i64,
    pub head: Vec<u8>,
    pub retired: bool,
    pub mac: Vec<u8>,
}

/// An entry with its place in the chain.
#[derive(HasQuery, Clone, Debug)]
#[diesel(table_name = audit_events)]
pub struct Link {
    /// The entry.
    #[diesel(embed)]
    pub event: AuditEvent,
    /// Its place, from 1.
    pub position: Option<i64>,
    /// Its hash.
    pub hash: Option<Vec<u8>>,
}

/// The place that an entry gets.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Place {
    pub id: Uuid,
    pub occurred_at: DateTime,
    pub position: i64,
    pub hash: Vec<u8>,
}

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = Bool)]
    said: bool,
}

/// The first day of the month in which `at` lies, in UTC.
#[must_use]
pub fn month_of(at: DateTime) -> Date {
    use chrono::Datelike as _;
    let day = at.date_naive();
    Date(day.with_day(1).unwrap_or(day))
}

/// The instants of a month: from the first on, before the second.
#[must_use]
pub fn span_of(month: Date) -> Span {
    let begins = |day: NaiveDate| DateTime(day.and_time(NaiveTime::MIN).and_utc());
    let next = (*month).checked_add_months(Months::new(1));
    (Some(begins(*month)), next.map(begins))
}

impl AuditChain {
    /// All chains, in the order in which they began.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        Self::query().order(audit_chains::number).load(conn).await
    }

    /// Writes a chain as it is now.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn put(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(audit_chains::table)
            .values(self)
            .on_conflict(audit_chains::month)
            .do_update()
            .set(self)
            .execute(conn)
            .await
            .map(drop)
    }
}

/// Takes the turn to work on the chains until the transaction ends; says whether it was free.
///
/// # Errors
/// If the database cannot answer.
pub async fn try_turn(conn: &mut Conn) -> QueryResult<bool> {
    let turn: Said =
        diesel::sql_query("SELECT pg_try_advisory_xact_lock(hashtext('cardea audit')) AS said")
            .get_result(conn)
            .await?;
    Ok(turn.said)
}

/// Waits for the turn to work on the chains, and takes it until the transaction ends.
///
/// # Errors
/// If the database cannot answer, or somebody keeps the turn for too long.
pub async fn take_turn(conn: &mut Conn) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock(hashtext('cardea audit'))")
        .execute(conn)
        .await
        .map(drop)
}

/// Whether an entry waits for its place.
///
/// # Errors
/// If the database cannot answer.
pub async fn any_waits(conn: &mut Conn) -> QueryResult<bool> {
    let waiting = audit_events::table.filter(audit_events::position.is_null());
    diesel::select(diesel::dsl::exists(waiting))
        .get_result(conn)
        .await
}

/// Whether an entry of a month waits for its place.
///
/// # Errors
/// If the database cannot answer.
pub async fn any_waits_in(conn: &mut Conn, month: Date) -> QueryResult<bool> {
    let (from, to) = span_of(month);
    let waiting = audit_events::table
        .filter(audit_events::position.is_null())
        .filter(audit_events::occurred_at.nullable().ge(from))
        .filter(audit_events::occurred_at.nullable().lt(to));
    diesel::select(diesel::dsl::exists(waiting))
        .get_result(conn)
        .await
}

/// How many entries of a month have a place.
///
/// # Errors
/// If the database cannot answer.
pub async fn count_placed(conn: &mut Conn, month: Date) -> QueryResult<i64> {
    let (from, to) = span_of(month);
    audit_events::table
        .filter(audit_events::position.is_not_null())
        .filter(audit_events::occurred_at.nullable().ge(from))
        .filter(audit_events::occurred_at.nullable().lt(to))
        .count()
        .get_result(conn)
        .await
}

/// Lets the transaction wait only this long for a lock.
///
/// # Errors
/// If the database cannot answer.
pub async fn wait_shortly(conn: &mut Conn) -> QueryResult<()> {
    diesel::sql_query("SET LOCAL lock_timeout = '200ms'")
        .execute(conn)
        .await
        .map(drop)
}

/// How many entries wait for their place.
///
/// # Errors
/// If the database cannot answer.
pub async fn count_waiting(conn: &mut Conn) -> QueryResult<i64> {
    let waiting = audit_events::table.filter(audit_events::position.is_null());
    waiting.count().get_result(conn).await
}

/// At most `most` entries that wait for their place, the oldest first.
///
/// # Errors
/// If the database cannot answer.
pub async fn waiting(conn: &mut Conn, most: i64) -> QueryResult<Vec<AuditEvent>> {
    AuditEvent::query()
        .filter(audit_events::position.is_null())
        .order((audit_events::occurred_at, audit_events::id))
        .limit(most)
        .load(conn)
        .await
}

/// Gives entries of one month their places.
///
/// # Errors
/// If the database refuses.
pub async fn place(conn: &mut Conn, month: Date, places: &[Place]) -> QueryResult<usize> {
    let (from, to) = span_of(month);
    let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
    let times: Vec<DateTime> = places.iter().map(|place| place.occurred_at).collect();
    let positions: Vec<i64> = places.iter().map(|place| place.position).collect();
    let hashes: Vec<&[u8]> = places.iter().map(|place| place.hash.as_slice()).collect();
    // The span says which partition.
    diesel::sql_query(
        "UPDATE audit_events SET position = places.position, hash = places.hash \
         FROM unnest($1, $2, $3, $4) AS places (id, occurred_at, position, hash) \
         WHERE audit_events.id = places.id AND audit_events.occurred_at = places.occurred_at \
             AND audit_events.occurred_at >= $5 AND audit_events.occurred_at < $6",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Timestamptz>, _>(times)
    .bind::<Array<BigInt>, _>(positions)
    .bind::<Array<Binary>, _>(hashes)
    .bind::<diesel::sql_types::Nullable<Timestamptz>, _>(from)
    .bind::<diesel::sql_types::Nullable<Timestamptz>, _>(to)
    .execute(conn)
    .await
}

/// At most `most` entries of a month behind a place in its chain, in order.
///
/// # Errors
/// If the database cannot answer.
pub async fn links(conn: &mut Conn, month: Date, behind: i64, most: i64) -> QueryResult<Vec<Link>> {
    let (from, to) = span_of(month);
    Link::query()
        .filter(audit_events::position.gt(behind))
        .filter(audit_events::occurred_at.nullable().ge(from))
        .filter(audit_events::occurred_at.nullable().lt(to))
        .order((audit_events::position, audit_events::id))
        .limit(most)
        .load(conn)
        .await
}

/// The first entry that happened at `from` or later.
///
/// # Errors
/// If the database cannot answer.
pub async fn first_since(conn: &mut Conn, from: Option<DateTime>) -> QueryResult<Option<Link>> {
    let mut query = audit_events::table.select(Link::as_select()).into_boxed();
    if let Some(from) = from {
        query = query.filter(audit_events::occurred_at.ge(from));
    }
    query
        .order((audit_events::occurred_at, audit_events::id))
        .first(conn)
        .await
        .optional()
}

/// Tells who follows the trail that entries of a month got their places.
///
/// # Errors
/// If the database cannot answer.
pub async fn announce(conn: &mut Conn, month: Date, from: i64, to: i64) -> QueryResult<()> {
    let payload = serde_json::json!({ "audit": { "month": month, "from": from, "to": to } });
    diesel::sql_query("SELECT pg_notify('events', $1)")
        .bind::<Text, _>(payload.to_string())
        .execute(conn)
        .await
        .map(drop)
}

/// Makes the partition of a month, unless it is there; says whether it was not.
///
/// # Errors
/// If the database refuses.
pub async fn make_month(conn: &mut Conn, month: Date) -> QueryResult<bool> {
    let made: Said = diesel::sql_query("SELECT audit_make_month($1) AS said")
        .bind::<SqlDate, _>(month)
        .get_result(conn)
        .await?;
    Ok(made.said)
}

/// Removes the entries of a month.
///
/// # Errors
/// If the database refuses.
pub async fn drop_month(conn: &mut Conn, month: Date) -> QueryResult<()> {
    diesel::sql_query("SELECT audit_drop_month($1)")
        .bind::<SqlDate, _>(month)
        .execute(conn)
        .await
        .map(drop)
}
