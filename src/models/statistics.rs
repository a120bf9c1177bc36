//! Counts over `login_events`, `users` and the roll-ups of sign-ins: making these, and reading all together. No
//! event is in two counts: what is rolled up lies before an instant that the tables themselves tell, and only what
//! lies behind it, or in a piece of a quarter or a day, is read from the events.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::db::Conn;
use crate::models::login_event::ROLLED_UP_TO;
use crate::models::session::SignInMethod;
use crate::scalar::DateTime;

/// The start of the quarter of an hour that holds an instant, in SQL.
fn quarter(instant: &str) -> String {
    format!("date_bin('15 minutes', {instant}, TIMESTAMPTZ '1970-01-01 00:00:00Z')")
}

#[derive(QueryableByName)]
struct Got {
    #[diesel(sql_type = Bool)]
    got: bool,
}

/// Takes the turn to roll up until the transaction ends; says whether it was free.
///
/// # Errors
/// If the database cannot answer.
pub async fn try_turn(conn: &mut Conn) -> QueryResult<bool> {
    let turn: Got =
        diesel::sql_query("SELECT pg_try_advisory_xact_lock(hashtext('cardea roll-up')) AS got")
            .get_result(conn)
            .await?;
    Ok(turn.got)
}

/// Whole quarters of an hour.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Quarters {
    /// Start of the first one.
    #[diesel(sql_type = Timestamptz)]
    pub from: DateTime,
    /// End of the last one.
    #[diesel(sql_type = Timestamptz)]
    pub to: DateTime,
}

impl Quarters {
    /// The next ones to roll up, which end no later than `until`, the start of a quarter: from the first event that
    /// is not rolled up on, and as many as hold about `most` events, but at least one. `None` where there is nothing
    /// to roll up.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn next(conn: &mut Conn, until: DateTime, most: i64) -> QueryResult<Option<Self>> {
        let (first, last) = (quarter("occurred_at"), quarter("occurred_at"));
        diesel::sql_query(format!(
            "WITH first AS ( \
                 SELECT {first} AS at FROM login_events \
                 WHERE occurred_at >= coalesce({ROLLED_UP_TO}, '-infinity') AND occurred_at < $1 \
                 ORDER BY occurred_at LIMIT 1 \
             ) \
             SELECT at AS \"from\", least($1, greatest(at + INTERVAL '15 minutes', coalesce(( \
                 SELECT {last} FROM login_events WHERE occurred_at >= at ORDER BY occurred_at OFFSET $2 LIMIT 1 \
             ), $1))) AS \"to\" FROM first"
        ))
        .bind::<Timestamptz, _>(until)
        .bind::<BigInt, _>(most)
        .get_result(conn)
        .await
        .optional()
    }

    /// Adds the events in them to the roll-ups. To do so twice breaks `login_quarters_pkey`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn roll_up(self, conn: &mut Conn) -> QueryResult<usize> {
        let quarter = quarter("occurred_at");
        diesel::sql_query(format!(
            "WITH events AS MATERIALIZED ( \
                 SELECT {quarter} AS starts_at, (occurred_at AT TIME ZONE 'UTC')::date AS day, \
                     coalesce((previous_at AT TIME ZONE 'UTC')::date, '-infinity') AS previous_day, methods, succeeded \
                 FROM login_events WHERE occurred_at >= $1 AND occurred_at < $2 \
             ), by_method AS ( \
                 INSERT INTO login_day_methods AS present (day, method, sign_ins) \
                 SELECT day, method, count(*) FROM events, unnest(methods) AS method WHERE succeeded GROUP BY day, method \
                 ON CONFLICT (day, method) DO UPDATE SET sign_ins = present.sign_ins + excluded.sign_ins \
             ), by_return AS ( \
                 INSERT INTO login_day_returns AS present (day, previous_day, sign_ins) \
                 SELECT day, previous_day, count(*) FROM events WHERE succeeded GROUP BY day, previous_day \
                 ON CONFLICT (day, previous_day) DO UPDATE SET sign_ins = present.sign_ins + excluded.sign_ins \
             ) \
             INSERT INTO login_quarters (starts_at, successes, failures) \
             SELECT starts_at, count(*) FILTER (WHERE succeeded), count(*) FILTER (WHERE NOT succeeded) \
             FROM events GROUP BY starts_at"
        ))
        .bind::<Timestamptz, _>(self.from)
        .bind::<Timestamptz, _>(self.to)
        .execute(conn)
        .await
    }
}

/// A span of time that is cut into pieces.
#[derive(Debug)]
pub struct Cut {
    /// Start of the first piece.
    pub from: DateTime,
    /// End of the last piece.
    pub to: DateTime,
    /// Start of each piece, and the end of the last one; in order.
    pub bounds: Vec<DateTime>,
    /// Starts of the quarters of an hour that a bound cuts in two.
    pub cut_quarters: Vec<DateTime>,
    /// The first midnight in UTC within the span, or behind it.
    pub first_midnight: DateTime,
    /// The last midnight in UTC before the span, or at its start.
    pub midnight_before: DateTime,
}

/// Sign-ins within a piece of a span.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Piece {
    /// Which piece; the first is 1.
    #[diesel(sql_type = Integer)]
    pub number: i32,
    /// Sign-ins that opened a session.
    #[diesel(sql_type = BigInt)]
    pub successes: i64,
    /// Tries that were refused.
    #[diesel(sql_type = BigInt)]
    pub failures: i64,
}

/// How often a method was part of a sign-in.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct MethodCount {
    /// What was proved.
    #[diesel(sql_type = Text)]
    pub method: SignInMethod,
    /// Sign-ins that it was part of.
    #[diesel(sql_type = BigInt)]
    pub sign_ins: i64,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// What is read where, for counts that are rolled up by days: whole days between `first` and `last` from the
/// roll-ups, the day of the last roll-up as far as that goes, and from the events what lies before and behind.
const BY_DAYS: &str = "\
    WITH parts AS ( \
        SELECT first, last, greatest(first, last) AS tail FROM ( \
            SELECT $3 AS first, CASE WHEN $2 < at THEN date_trunc('day', $2, 'UTC') ELSE at END AS last \
            FROM (SELECT coalesce(ROLLED_UP_TO, '-infinity') AS at) AS done \
        ) AS ends \
    ) ";

fn by_days(query: &str) -> String {
    BY_DAYS.replace("ROLLED_UP_TO", ROLLED_UP_TO) + query
}

impl Cut {
    /// Sign-ins and refused tries in each piece; pieces without any are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn pieces(&self, conn: &mut Conn) -> QueryResult<Vec<Piece>> {
        diesel::sql_query(format!(
            "WITH done AS MATERIALIZED (SELECT coalesce({ROLLED_UP_TO}, '-infinity') AS at) \
             SELECT number, sum(successes)::bigint AS successes, sum(failures)::bigint AS failures FROM ( \
                 SELECT width_bucket(starts_at, $1) AS number, successes, failures FROM login_quarters \
                 WHERE starts_at >= $2 AND starts_at < $3 AND starts_at <> ALL ($4) \
                 UNION ALL \
                 SELECT width_bucket(occurred_at, $1), succeeded::integer, (NOT succeeded)::integer FROM login_events \
                 WHERE occurred_at >= greatest($2, (SELECT at FROM done)) AND occurred_at < $3 \
                 UNION ALL \
                 SELECT width_bucket(occurred_at, $1), succeeded::integer, (NOT succeeded)::integer \
                 FROM done, unnest($4) AS quarter, login_events \
                 WHERE occurred_at >= greatest(quarter, $2) \
                 AND occurred_at < least(quarter + INTERVAL '15 minutes', $3, at) \
             ) AS counted GROUP BY number"
        ))
        .bind::<Array<Timestamptz>, _>(&self.bounds)
        .bind::<Timestamptz, _>(self.from)
        .bind::<Timestamptz, _>(self.to)
        .bind::<Array<Timestamptz>, _>(&self.cut_quarters)
        .load(conn)
        .await
    }

    /// How often each method was part of a sign-in, the most frequent first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_method(&self, conn: &mut Conn) -> QueryResult<Vec<MethodCount>> {
        diesel::sql_query(by_days(
            "SELECT method, sum(sign_ins)::bigint AS sign_ins FROM ( \
                 SELECT method, sign_ins FROM parts, login_day_methods \
                 WHERE day >= ($3 AT TIME ZONE 'UTC')::date AND (day::timestamp AT TIME ZONE 'UTC') < last \
                 UNION ALL \
                 SELECT method, count(*) FROM login_events, unnest(methods) AS method \
                 WHERE occurred_at >= $1 AND occurred_at < least($2, $3) GROUP BY method \
                 UNION ALL \
                 SELECT method, count(*) FROM login_events, unnest(methods) AS method \
                 WHERE occurred_at >= (SELECT tail FROM parts) AND occurred_at < $2 GROUP BY method \
             ) AS counted GROUP BY method ORDER BY sign_ins DESC, method",
        ))
        .bind::<Timestamptz, _>(self.from)
        .bind::<Timestamptz, _>(self.to)
        .bind::<Timestamptz, _>(self.first_midnight)
        .load(conn)
        .await
    }

    /// How many accounts signed in: the sign-ins whose predecessor lies before the span. The roll-ups know days alone,
    /// so that those are taken off again that had signed in on the day on which the span begins, but within it.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn accounts(&self, conn: &mut Conn) -> QueryResult<i64> {
        let counted: Number = diesel::sql_query(by_days(
            "SELECT (coalesce(( \
                 SELECT sum(sign_ins) FROM parts, login_day_returns \
                 WHERE day >= ($3 AT TIME ZONE 'UTC')::date AND (day::timestamp AT TIME ZONE 'UTC') < last \
                 AND previous_day < ($4 AT TIME ZONE 'UTC')::date \
             ), 0) + ( \
                 SELECT count(*) FROM login_events \
                 WHERE previous_at >= $4 AND previous_at < $1 \
                 AND occurred_at >= $3 AND occurred_at < (SELECT last FROM parts) \
             ) + ( \
                 SELECT count(*) FROM login_events WHERE occurred_at >= $1 AND occurred_at < least($2, $3) \
                 AND succeeded AND (previous_at IS NULL OR previous_at < $1) \
             ) + ( \
                 SELECT count(*) FROM login_events WHERE occurred_at >= (SELECT tail FROM parts) AND occurred_at < $2 \
                 AND succeeded AND (previous_at IS NULL OR previous_at < $1) \
             ))::bigint AS number",
        ))
        .bind::<Timestamptz, _>(self.from)
        .bind::<Timestamptz, _>(self.to)
        .bind::<Timestamptz, _>(self.first_midnight)
        .bind::<Timestamptz, _>(self.midnight_before)
        .get_result(conn)
        .await?;
        Ok(counted.number)
    }

    /// Accounts that came into being in each piece; pieces without any are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn registrations(&self, conn: &mut Conn) -> QueryResult<Vec<Registrations>> {
        diesel::sql_query(
            "SELECT width_bucket(created_at, $1) AS number, count(*) AS accounts FROM users \
             WHERE created_at >= $2 AND created_at < $3 GROUP BY 1",
        )
        .bind::<Array<Timestamptz>, _>(&self.bounds)
        .bind::<Timestamptz, _>(self.from)
        .bind::<Timestamptz, _>(self.to)
        .load(conn)
        .await
    }
}

/// Accounts that came into being within a piece of a span.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Registrations {
    /// Which piece; the first is 1.
    #[diesel(sql_type = Integer)]
    pub number: i32,
    /// Accounts.
    #[diesel(sql_type = BigInt)]
    pub accounts: i64,
}

/// Counts over all accounts.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Accounts {
    /// All of them.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// Those that may sign in.
    #[diesel(sql_type = BigInt)]
    pub active: i64,
    /// Those whose address was proved.
    #[diesel(sql_type = BigInt)]
    pub email_verified: i64,
    /// Those whose second factor is on.
    #[diesel(sql_type = BigInt)]
    pub two_factor: i64,
    /// Those that came into being lately.
    #[diesel(sql_type = BigInt)]
    pub new: i64,
    /// Those that signed in lately.
    #[diesel(sql_type = BigInt)]
    pub seen: i64,
}

impl Accounts {
    /// Counts; what is at or after `lately` was lately.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn, lately: DateTime) -> QueryResult<Self> {
        diesel::sql_query(
            "SELECT count(*) AS total, count(*) FILTER (WHERE status = 'active') AS active, \
             count(email_verified_at) AS email_verified, \
             count(*) FILTER (WHERE created_at >= $1) AS new, \
             count(*) FILTER (WHERE last_login_at >= $1) AS seen, \
             (SELECT count(*) FROM two_factor_secrets WHERE confirmed_at IS NOT NULL) AS two_factor \
             FROM users",
        )
        .bind::<Timestamptz, _>(lately)
        .get_result(conn)
        .await
    }
}

/// How many accounts hold a role.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Holders {
    /// The role.
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub role_id: uuid::Uuid,
    /// Accounts, whatever their status.
    #[diesel(sql_type = BigInt)]
    pub accounts: i64,
}

impl Holders {
    /// The holders of each role that has any.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        diesel::sql_query("SELECT role_id, count(*) AS accounts FROM user_roles GROUP BY role_id")
            .load(conn)
            .await
    }
}
