//! Looking for accounts whose time is over: those that nobody uses, and those whose address nobody proved. It decides
//! neither what their time is nor what becomes of them.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::{sessions, users};

/// Which accounts; all of a kind are found in the order of the moment from which their time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Open, not used since an instant, warned so often, the last time before another instant.
    Idle {
        /// Warnings so far.
        warnings: i16,
    },
    /// Closed for that, before an instant.
    ClosedForIdleness,
    /// Waiting for its address to be proved, untouched since an instant, and no mailed link is good any more.
    Unproved,
}

/// An account that was found.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Candidate {
    /// The account.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// From when on its time counts.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime,
}

impl Candidate {
    /// Stands before every account.
    #[must_use]
    pub fn first() -> Self {
        // The year 1.
        let since = chrono::DateTime::from_timestamp(-62_135_596_800, 0).unwrap_or_default();
        Self {
            id: Uuid::nil(),
            since: DateTime(since),
        }
    }
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    all: i64,
}

/// What is looked for: accounts that are `waiting`, whose time counts from `until` or earlier. Those who hold one of the
/// roles `exempt` are left out, but not of those whose address nobody proved.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "said above")]
pub struct Search {
    pub waiting: Waiting,
    pub until: DateTime,
    /// Only those that were warned then or earlier.
    pub warned_until: DateTime,
    pub exempt: Vec<Uuid>,
    pub now: DateTime,
}

impl Waiting {
    /// From when on the time of an account counts. The index of each kind is made for it.
    fn since(self) -> &'static str {
        match self {
            Self::Idle { .. } => "coalesce(last_login_at, created_at)",
            Self::ClosedForIdleness => "closed_at",
            Self::Unproved => "updated_at",
        }
    }
}

impl Search {
    /// `$1` is `until`, `$2` `warned_until`, `$3` `exempt` and `$4` `now`; a statement has to take all of them. With
    /// `in_order` each account is looked at by itself, so that the first ones are found without all of them.
    fn condition(&self, in_order: bool) -> String {
        let since = self.waiting.since();
        // A subquery with an offset is not made a join of, whose outcome the planner would guess to be next to nothing.
        let alone = if in_order { "OFFSET 0" } else { "" };
        let exempt = format!(
            "EXISTS (SELECT FROM user_roles WHERE user_id = users.id AND role_id = ANY($3) {alone})"
        );
        // Who has just come from elsewhere, or was opened again, has not had the time to sign in.
        let untouched = if self.waiting == (Waiting::Idle { warnings: 0 }) {
            " AND updated_at <= $1"
        } else {
            ""
        };
        match self.waiting {
            // A session may be used for longer than its sign-in tells, but for 30 days at most. A warning that was
            // not sent is none.
            Waiting::Idle { warnings } => format!(
                "status = 'active' AND erases_at IS NULL AND inactivity_warnings = {warnings} AND {since} <= $1 \
                 AND (inactivity_warned_at IS NULL OR inactivity_warned_at <= $2) AND NOT {exempt} \
                 AND NOT EXISTS ( \
                     SELECT FROM sessions WHERE user_id = users.id \
                     AND last_accessed_at > least($1, inactivity_warned_at) {alone} \
                 ) AND NOT EXISTS ( \
                     SELECT FROM jobs WHERE payload ->> 'user' = users.id::text AND payload ->> 'kind' = 'inactivity_warning' {alone} \
                 ) AND $1 <= $4{untouched}"
            ),
            Waiting::ClosedForIdleness => format!(
                "closed_by = 'inactivity' AND erases_at IS NULL AND {since} <= $1 AND NOT {exempt} AND $2 <= $4"
            ),
            Waiting::Unproved => format!(
                "status = 'pending' AND {since} <= $1 AND NOT EXISTS ( \
                     SELECT FROM verification_tokens WHERE user_id = users.id AND used_at IS NULL AND expires_at > $4 {alone} \
                 ) AND $2 <= $4 AND $3 IS NOT NULL"
            ),
        }
    }

    /// Up to `most` accounts behind `after`, in order, locked until the transaction ends; those that somebody works
    /// with are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn take(
        &self,
        conn: &mut Conn,
        after: Candidate,
        most: i64,
    ) -> QueryResult<Vec<Candidate>> {
        self.find(conn, after, most, "FOR NO KEY UPDATE SKIP LOCKED")
            .await
    }

    /// The first `most` accounts, in order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn first(&self, conn: &mut Conn, most: i64) -> QueryResult<Vec<Candidate>> {
        self.find(conn, Candidate::first(), most, "").await
    }

    async fn find(
        &self,
        conn: &mut Conn,
        after: Candidate,
        most: i64,
        lock: &str,
    ) -> QueryResult<Vec<Candidate>> {
        let (since, condition) = (self.waiting.since(), self.condition(true));
        diesel::sql_query(format!(
            "SELECT id, {since} AS since FROM users WHERE {condition} \
             AND ({since}, id) > ($5, $6) \
             ORDER BY {since}, id LIMIT $7 {lock}"
        ))
        .bind::<Timestamptz, _>(self.until)
        .bind::<Timestamptz, _>(self.warned_until)
        .bind::<Array<SqlUuid>, _>(&self.exempt)
        .bind::<Timestamptz, _>(self.now)
        .bind::<Timestamptz, _>(after.since)
        .bind::<SqlUuid, _>(after.id)
        .bind::<BigInt, _>(most)
        .load(conn)
        .await
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(&self, conn: &mut Conn) -> QueryResult<i64> {
        let condition = self.condition(false);
        let counted: Counted = diesel::sql_query(format!(
            "SELECT count(*) AS all FROM users WHERE {condition}"
        ))
        .bind::<Timestamptz, _>(self.until)
        .bind::<Timestamptz, _>(self.warned_until)
        .bind::<Array<SqlUuid>, _>(&self.exempt)
        .bind::<Timestamptz, _>(self.now)
        .get_result(conn)
        .await?;
        Ok(counted.all)
    }
}

/// Gives the statements of this transaction time to look at every account.
///
/// # Errors
/// If the database cannot answer.
pub async fn take_time(conn: &mut Conn) -> QueryResult<()> {
    diesel::sql_query("SET LOCAL statement_timeout = '10min'")
        .execute(conn)
        .await
        .map(drop)
}

/// Notes that the owners of these accounts are warned for the time `number`.
///
/// # Errors
/// If the database cannot answer.
pub async fn note_warned(
    conn: &mut Conn,
    ids: &[Uuid],
    number: i16,
    now: DateTime,
) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq_any(ids))
        .set((
            users::inactivity_warnings.eq(number),
            users::inactivity_warned_at.eq(now),
        ))
        .execute(conn)
        .await
}

/// Notes that the warning `number` is sent now, and not when it was queued: whatever comes after it waits from now
/// on. False where that is not the account's last warning any more, or the account was used since.
///
/// # Errors
/// If the database cannot answer.
pub async fn note_sent(conn: &mut Conn, id: Uuid, number: i16, now: DateTime) -> QueryResult<bool> {
    let noted = diesel::update(users::table.find(id))
        .filter(users::inactivity_warnings.eq(number))
        .filter(not(exists(
            sessions::table.filter(sessions::user_id.eq(id)).filter(
                sessions::last_accessed_at
                    .nullable()
                    .gt(users::inactivity_warned_at),
            ),
        )))
        .set(users::inactivity_warned_at.eq(now))
        .execute(conn)
        .await?;
    Ok(noted > 0)
}

/// Forgets warnings of up to `most` open accounts that were used since; gives how many.
///
/// # Errors
/// If the database cannot answer.
pub async fn forget_warnings(conn: &mut Conn, most: i64) -> QueryResult<usize> {
    // A sign-in forgets them by itself.
    diesel::sql_query(
        "UPDATE users SET inactivity_warnings = 0, inactivity_warned_at = NULL WHERE id IN ( \
             SELECT id FROM users WHERE status = 'active' AND erases_at IS NULL AND inactivity_warnings > 0 \
             AND EXISTS (SELECT FROM sessions WHERE user_id = users.id AND last_accessed_at > inactivity_warned_at) \
             LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED \
         )",
    )
    .bind::<BigInt, _>(most)
    .execute(conn)
    .await
}

/// Counts the warnings of up to `most` accounts that had more of them as `last`, which is then the last one there is;
/// gives how many.
///
/// # Errors
/// If the database cannot answer.
pub async fn level_warnings(conn: &mut Conn, last: i16, most: i64) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE users SET inactivity_warnings = $1 WHERE id IN ( \
             SELECT id FROM users WHERE status = 'active' AND erases_at IS NULL AND inactivity_warnings > $1 \
             LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED \
         )",
    )
    .bind::<SmallInt, _>(last)
    .bind::<BigInt, _>(most)
    .execute(conn)
    .await
}

/// How many accounts wait for the moment of their erasure.
///
/// # Errors
/// If the database cannot answer.
pub async fn count_scheduled(conn: &mut Conn) -> QueryResult<i64> {
    users::table
        .filter(users::erases_at.is_not_null())
        .count()
        .get_result(conn)
        .await
}
