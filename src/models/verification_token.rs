//! The table `verification_tokens`: tokens that were mailed, kept as hashes, used once.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::text_enum;
use crate::scalar::{DateTime, EmailAddress};
use crate::schema::{users, verification_tokens};

text_enum! {
    /// What a mailed token is for.
    pub enum VerificationKind {
        /// Opens a closed account again; for `reactivateAccount`.
        AccountReactivation = "account_reactivation",
        /// Proves a new address; for `confirmEmailChange`.
        EmailChange = "email_change",
        /// Takes a change of the address back; mailed to the address before, for `confirmEmailChange`.
        EmailChangeUndo = "email_change_undo",
        /// Proves the address of an account that is `PENDING`; for `verifyEmail`.
        EmailVerification = "email_verification",
        /// Sets the first password of an account that somebody else opened, and proves its address; for
        /// `resetPassword`.
        Invitation = "invitation",
        /// Sets a new password; for `resetPassword`.
        PasswordReset = "password_reset",
    }
}

/// A token that was mailed. The token itself is kept nowhere.
#[derive(HasQuery, Clone, Debug)]
#[diesel(table_name = verification_tokens)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::verification"
)]
pub struct VerificationToken {
    pub id: Uuid,
    pub user_id: Uuid,
    pub kind: VerificationKind,
    pub email: EmailAddress,
    pub expires_at: DateTime,
    pub used_at: Option<DateTime>,
    pub created_at: DateTime,
}

/// A token to be mailed.
#[derive(Insertable, Debug)]
#[diesel(table_name = verification_tokens)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewVerificationToken<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub token_hash: TokenHash,
    pub kind: VerificationKind,
    pub email: &'a str,
    pub expires_at: DateTime,
    pub created_at: DateTime,
}

impl NewVerificationToken<'_> {
    /// Stores the token and ends the older ones of its kind. Belongs into a transaction.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace(&self, conn: &mut Conn) -> QueryResult<()> {
        VerificationToken::void(conn, self.user_id, self.kind, self.created_at).await?;
        self.insert(conn).await
    }

    /// Stores the token beside the older ones of its kind.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(verification_tokens::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }
}

impl VerificationToken {
    /// Ends the live tokens of this kind that were made for `user`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn void(
        conn: &mut Conn,
        user: Uuid,
        kind: VerificationKind,
        now: DateTime,
    ) -> QueryResult<usize> {
        diesel::update(verification_tokens::table)
            .filter(verification_tokens::user_id.eq(user))
            .filter(verification_tokens::kind.eq(kind))
            .filter(verification_tokens::used_at.is_null())
            .filter(verification_tokens::expires_at.gt(now))
            .set(verification_tokens::expires_at.eq(now))
            .execute(conn)
            .await
    }

    /// Uses the live token up; of two callers with one token the second gets `None`. Where `owner`
    /// is given, a token of another account is left as it is. The account is locked first: whatever
    /// changes it does that before it voids tokens, and two that waited for each other would fail.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn consume(
        conn: &mut Conn,
        hash: &TokenHash,
        kind: VerificationKind,
        owner: Option<Uuid>,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let of_token = verification_tokens::table
            .filter(verification_tokens::token_hash.eq(hash))
            .select(verification_tokens::user_id);
        users::table
            .filter(users::id.eq_any(of_token))
            .select(users::id)
            .for_no_key_update()
            .first::<Uuid>(conn)
            .await
            .optional()?;
        let mut update = diesel::update(verification_tokens::table)
            .filter(verification_tokens::token_hash.eq(hash))
            .filter(verification_tokens::kind.eq(kind))
            .filter(verification_tokens::used_at.is_null())
            .filter(verification_tokens::expires_at.gt(now))
            .set(verification_tokens::used_at.eq(now))
            .returning(Self::as_returning())
            .into_boxed();
        if let Some(owner) = owner {
            update = update.filter(verification_tokens::user_id.eq(owner));
        }
        update.get_result(conn).await.optional()
    }

    /// Ends the live tokens of the same kind and account that were made after this one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn void_later(&self, conn: &mut Conn, now: DateTime) -> QueryResult<usize> {
        diesel::update(verification_tokens::table)
            .filter(verification_tokens::user_id.eq(self.user_id))
            .filter(verification_tokens::kind.eq(self.kind))
            .filter(verification_tokens::used_at.is_null())
            .filter(verification_tokens::created_at.ge(self.created_at))
            .filter(verification_tokens::expires_at.gt(now))
            .set(verification_tokens::expires_at.eq(now))
            .execute(conn)
            .await
    }

    /// Ends every live token that was made for `user`, but not those that undo a change of the
    /// address: whoever took an account over must not be able to take them away from its owner.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn void_all(conn: &mut Conn, user: Uuid, now: DateTime) -> QueryResult<usize> {
        diesel::update(verification_tokens::table)
            .filter(verification_tokens::user_id.eq(user))
            .filter(verification_tokens::kind.ne(VerificationKind::EmailChangeUndo))
            .filter(verification_tokens::used_at.is_null())
            .filter(verification_tokens::expires_at.gt(now))
            .set(verification_tokens::expires_at.eq(now))
            .execute(conn)
            .await
    }

    /// The live token with this hash and one of these kinds; where `owner` is given, only if it is of that account.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live(
        conn: &mut Conn,
        hash: &TokenHash,
        kinds: &[VerificationKind],
        owner: Option<Uuid>,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let found = Self::query()
            .filter(verification_tokens::token_hash.eq(hash))
            .filter(verification_tokens::kind.eq_any(kinds))
            .filter(verification_tokens::used_at.is_null())
            .filter(verification_tokens::expires_at.gt(now))
            .first(conn)
            .await
            .optional()?;
        Ok(found.filter(|token: &Self| owner.is_none_or(|owner| owner == token.user_id)))
    }

    /// The tokens that were made for these accounts after `since`, the newest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid], since: DateTime) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(verification_tokens::user_id.among(users))
            .filter(verification_tokens::created_at.gt(since))
            .order((
                verification_tokens::created_at.desc(),
                verification_tokens::id.desc(),
            ))
            .load(&mut &*conn)
            .await
    }
}
