//! The table `login_events`: sign-ins, for statistics. Appended only.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::session::SignInMethod;
use crate::scalar::DateTime;
use crate::schema::login_events;

/// Notes that `user` signed in by these proofs.
///
/// # Errors
/// If the database refuses.
pub async fn record(
    conn: &mut Conn,
    user: Uuid,
    methods: &[SignInMethod],
    now: DateTime,
) -> QueryResult<()> {
    diesel::insert_into(login_events::table)
        .values((
            login_events::id.eq(Uuid::now_v7()),
            login_events::user_id.eq(user),
            login_events::methods.eq(methods),
            login_events::occurred_at.eq(now),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// How many sign-ins there were.
#[derive(QueryableByName, Clone, Copy, Debug)]
pub struct Totals {
    /// Sign-ins.
    #[diesel(sql_type = BigInt)]
    pub sign_ins: i64,
    /// Accounts that signed in.
    #[diesel(sql_type = BigInt)]
    pub accounts: i64,
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
    /// Accounts whose sign-ins it was part of.
    #[diesel(sql_type = BigInt)]
    pub accounts: i64,
}

/// How many sign-ins there were from `from` on and before `to`.
///
/// # Errors
/// If the database cannot answer.
pub async fn totals(conn: &mut Conn, from: DateTime, to: DateTime) -> QueryResult<Totals> {
    diesel::sql_query(
        "SELECT count(*) AS sign_ins, count(DISTINCT user_id) AS accounts FROM login_events \
         WHERE occurred_at >= $1 AND occurred_at < $2",
    )
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .get_result(conn)
    .await
}

/// How often each method was part of a sign-in from `from` on and before `to`, the most frequent first.
///
/// # Errors
/// If the database cannot answer.
pub async fn by_method(
    conn: &mut Conn,
    from: DateTime,
    to: DateTime,
) -> QueryResult<Vec<MethodCount>> {
    diesel::sql_query(
        "SELECT method, count(*) AS sign_ins, count(DISTINCT user_id) AS accounts \
         FROM login_events, unnest(methods) AS method \
         WHERE occurred_at >= $1 AND occurred_at < $2 \
         GROUP BY method ORDER BY sign_ins DESC, method",
    )
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .load(conn)
    .await
}
