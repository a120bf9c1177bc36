//! The table `email_changes`: moves of accounts to other addresses.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::user::lower;
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::{DateTime, EmailAddress};
use crate::schema::email_changes;

/// A move that was asked for, and perhaps confirmed.
#[derive(HasQuery, Insertable, Clone, Debug)]
#[diesel(table_name = email_changes)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct EmailChange {
    pub id: Uuid,
    pub user_id: Uuid,
    pub new_email: EmailAddress,
    pub old_email: EmailAddress,
    pub requested_at: DateTime,
    pub confirmed_at: Option<DateTime>,
}

impl EmailChange {
    /// Keeps the move; one of the same account that waits to be confirmed is dropped. Belongs into a
    /// transaction that holds the account's lock.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace(&self, conn: &mut Conn) -> QueryResult<()> {
        Self::drop_pending(conn, self.user_id).await?;
        diesel::insert_into(email_changes::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }

    /// Drops the move of `user` that waits to be confirmed, and voids its token.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn abandon(conn: &mut Conn, user: Uuid, now: DateTime) -> QueryResult<()> {
        Self::drop_pending(conn, user).await?;
        VerificationToken::void(conn, user, VerificationKind::EmailChange, now).await?;
        Ok(())
    }

    /// Drops the move of `user` that waits to be confirmed.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn drop_pending(conn: &mut Conn, user: Uuid) -> QueryResult<usize> {
        diesel::delete(email_changes::table)
            .filter(email_changes::user_id.eq(user))
            .filter(email_changes::confirmed_at.is_null())
            .execute(conn)
            .await
    }

    /// Drops the moves of `user` that were confirmed at `since` or later: they were undone.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn drop_since(conn: &mut Conn, user: Uuid, since: DateTime) -> QueryResult<usize> {
        diesel::delete(email_changes::table)
            .filter(email_changes::user_id.eq(user))
            .filter(email_changes::confirmed_at.ge(since))
            .execute(conn)
            .await
    }

    /// The move with this id.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_id(conn: &mut Conn, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(email_changes::id.eq(id))
            .first(conn)
            .await
            .optional()
    }

    /// Whether an account was moved away from `email` after `since`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn left(conn: &mut Conn, email: &str, since: DateTime) -> QueryResult<bool> {
        let left = email_changes::table
            .filter(lower(email_changes::old_email).eq(lower(email)))
            .filter(email_changes::confirmed_at.gt(since));
        diesel::select(diesel::dsl::exists(left))
            .get_result(conn)
            .await
    }

    /// Confirms the move of `user` to `new_email`; `None` if none such waits.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn confirm(
        conn: &mut Conn,
        user: Uuid,
        new_email: &str,
        old_email: &str,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(email_changes::table)
            .filter(email_changes::user_id.eq(user))
            .filter(lower(email_changes::new_email).eq(lower(new_email)))
            .filter(email_changes::confirmed_at.is_null())
            .set((
                email_changes::confirmed_at.eq(now),
                email_changes::old_email.eq(old_email),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}
