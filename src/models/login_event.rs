//! The table `login_events`: sign-ins, for statistics. Appended only.

use diesel::prelude::*;
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
