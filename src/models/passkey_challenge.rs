//! The table `passkey_challenges`: ceremonies with an authenticator that wait for its answer.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::models::text_enum;
use crate::scalar::{DateTime, Json};
use crate::schema::passkey_challenges;

text_enum! {
    /// What a ceremony is for.
    pub enum CeremonyKind {
        /// Adds a passkey.
        Registration = "registration",
        /// Proves that somebody holds one.
        SignIn = "sign_in",
    }
}

/// A ceremony that was begun. The client holds a token that names it.
#[derive(Insertable, Debug)]
#[diesel(table_name = passkey_challenges)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewPasskeyChallenge {
    pub token_hash: TokenHash,
    pub kind: CeremonyKind,
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub two_factor_hash: Option<TokenHash>,
    pub state: Json,
    pub created_at: DateTime,
    pub expires_at: DateTime,
}

impl NewPasskeyChallenge {
    /// Keeps the ceremony.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(passkey_challenges::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }
}

/// A ceremony that was taken out to be finished.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = passkey_challenges)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct PasskeyChallenge {
    pub user_id: Option<Uuid>,
    pub two_factor_hash: Option<TokenHash>,
    pub state: Json,
}

impl PasskeyChallenge {
    /// Takes out the live ceremony of this kind that `session` began, or nobody in particular; of two
    /// callers with one token the second gets `None`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn take(
        conn: &mut Conn,
        hash: &TokenHash,
        kind: CeremonyKind,
        session: Option<Uuid>,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::delete(passkey_challenges::table)
            .filter(passkey_challenges::token_hash.eq(hash))
            .filter(passkey_challenges::kind.eq(kind))
            .filter(passkey_challenges::session_id.is_not_distinct_from(session))
            .filter(passkey_challenges::expires_at.gt(now))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}
