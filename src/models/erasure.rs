//! Accounts that are to be erased, and what goes with one. It decides neither who may ask nor when.

use diesel::prelude::*;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::data_key::WrappedKey;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::schema::users;

impl User {
    /// Has the account erased from `at` on; `None` where that was asked for already, or the account is gone.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn schedule_erasure(
        conn: &mut Conn,
        id: Uuid,
        at: DateTime,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(users::table.find(id))
            .filter(users::erases_at.is_null())
            .set((users::erases_at.eq(at), users::updated_at.eq(now)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Has the account not erased after all; `None` where it is gone.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn call_off_erasure(
        conn: &mut Conn,
        id: Uuid,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(users::table.find(id))
            .set((
                users::erases_at.eq(None::<DateTime>),
                users::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// The account whose erasure has been due for longest, those in `passed` and those that somebody works with
    /// left out; locked until the transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn next_to_erase(
        conn: &mut Conn,
        passed: &[Uuid],
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        // Not FOR UPDATE: whoever gives a role holds the role and then wants a share of the account that gives it,
        // while this one holds the account and then wants the role.
        users::table
            .filter(users::erases_at.le(now))
            .filter(users::id.ne_all(passed))
            .order((users::erases_at, users::id))
            .select(Self::as_select())
            .for_no_key_update()
            .skip_locked()
            .first(conn)
            .await
            .optional()
    }

    /// Removes the account and whatever belongs to it: its data key first, then what names it without a foreign key,
    /// then its row, which takes the rest along.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn erase(&self, conn: &mut Conn) -> QueryResult<()> {
        WrappedKey::destroy(conn, self.id).await?;
        diesel::sql_query("DELETE FROM jobs WHERE payload ->> 'user' = $1::text")
            .bind::<SqlUuid, _>(self.id)
            .execute(conn)
            .await?;
        // Others may have wanted to move to the address, which would stand in their rows for a while. Whoever is at
        // that at this moment waits for this account to go, and may then have the address.
        for (table, condition) in [
            (
                "email_changes",
                "lower(new_email) = lower($1) AND confirmed_at IS NULL",
            ),
            ("verification_tokens", "lower(email) = lower($1)"),
        ] {
            // Whoever never proved the address has no say in what is somebody else's, a way back among it.
            if self.email_verified_at.is_none() {
                break;
            }
            diesel::sql_query(format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {condition} FOR UPDATE SKIP LOCKED)"
            ))
            .bind::<Text, _>(&*self.email)
            .execute(conn)
            .await?;
        }
        diesel::delete(users::table.find(self.id))
            .execute(conn)
            .await
            .map(drop)
    }
}
