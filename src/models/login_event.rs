//! The table `login_events`: sign-ins and refused tries, for statistics. Appended only.

use diesel::prelude::*;
use diesel::sql_types::{self, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::session::SignInMethod;
use crate::scalar::DateTime;
use crate::schema::login_events;

/// Until when events are rolled up, in SQL; null where none is. Nothing is noted before that instant any
/// more: an event of a server whose clock is behind would be in no count.
pub const ROLLED_UP_TO: &str =
    "(SELECT max(starts_at) + INTERVAL '15 minutes' FROM login_quarters)";

/// A sign-in that opened a session.
#[derive(Insertable, Debug)]
#[diesel(table_name = login_events)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewLoginEvent<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub methods: &'a [SignInMethod],
    pub occurred_at: DateTime,
    pub previous_at: Option<DateTime>,
}

impl NewLoginEvent<'_> {
    /// Notes the sign-in.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(login_events::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }
}

/// Notes a try to sign in that was refused, whoever was meant, and whether or not they exist.
///
/// # Errors
/// If the database refuses.
pub async fn record_refused(conn: &mut Conn, now: DateTime) -> QueryResult<()> {
    diesel::sql_query(format!(
        "INSERT INTO login_events (id, methods, succeeded, occurred_at) \
         VALUES ($1, '{{}}', false, greatest($2, {ROLLED_UP_TO}))"
    ))
    .bind::<sql_types::Uuid, _>(Uuid::now_v7())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await
    .map(drop)
}
