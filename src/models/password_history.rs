//! The table `password_history`: hashes of passwords that accounts had before.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::{password_history, users};

/// Former passwords of accounts, as hashes. Never shown.
pub struct PasswordHistory;

impl PasswordHistory {
    /// Keeps `former` as the newest former hash of `user`, and of all of them the newest `depth`
    /// alone; with a depth of 0 none. Belongs into the transaction that changes the password.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn push(
        conn: &mut Conn,
        user: Uuid,
        former: &str,
        depth: u8,
        now: DateTime,
    ) -> QueryResult<()> {
        diesel::insert_into(password_history::table)
            .values((
                password_history::id.eq(Uuid::now_v7()),
                password_history::user_id.eq(user),
                password_history::hashed_password.eq(former),
                password_history::created_at.eq(now),
            ))
            .execute(conn)
            .await?;
        let newest = diesel::alias!(password_history as newest);
        let (id, user_id, created_at) = (
            newest.field(password_history::id),
            newest.field(password_history::user_id),
            newest.field(password_history::created_at),
        );
        let kept = newest
            .filter(user_id.eq(user))
            .order((created_at.desc(), id.desc()))
            .limit(depth.into())
            .select(id);
        diesel::delete(password_history::table)
            .filter(password_history::user_id.eq(user))
            .filter(password_history::id.ne_all(kept))
            .execute(conn)
            .await
            .map(drop)
    }

    /// The newest `depth` former hashes of `user`, the newest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn newest(conn: &mut Conn, user: Uuid, depth: u8) -> QueryResult<Vec<String>> {
        password_history::table
            .filter(password_history::user_id.eq(user))
            .order((
                password_history::created_at.desc(),
                password_history::id.desc(),
            ))
            .limit(depth.into())
            .select(password_history::hashed_password)
            .load(conn)
            .await
    }

    /// The present hash of `user`, if there is one, and the newest `depth` former ones.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn used(conn: &mut Conn, user: Uuid, depth: u8) -> QueryResult<Vec<String>> {
        let present: Option<Option<String>> = users::table
            .find(user)
            .select(users::hashed_password)
            .first(conn)
            .await
            .optional()?;
        let former = Self::newest(conn, user, depth).await?;
        Ok(present.flatten().into_iter().chain(former).collect())
    }
}
