//! The table `two_factor_challenges`: sign-ins that wait for their second factor.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::models::session::SignInMethod;
use crate::models::user::AccountStatus;
use crate::scalar::DateTime;
use crate::schema::{two_factor_challenges, users};

/// Codes that may be tried with one challenge.
pub const TRIES: i32 = 5;

/// A sign-in that waits for its second factor.
#[derive(HasQuery, Insertable, Debug)]
#[diesel(table_name = two_factor_challenges)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct TwoFactorChallenge {
    pub token_hash: TokenHash,
    pub user_id: Uuid,
    pub method: SignInMethod,
    pub password_changed_at: Option<DateTime>,
    pub remember_me: bool,
    pub in_cookies: bool,
    pub device_hash: Vec<u8>,
    pub forgiven_keys: Vec<Vec<u8>>,
    pub created_at: DateTime,
    pub expires_at: DateTime,
}

/// The condition that a challenge is live, its account may sign in and has still the password that was
/// proved.
macro_rules! live {
    ($now:expr) => {
        two_factor_challenges::expires_at
            .gt($now)
            .and(users::status.eq(AccountStatus::Active))
            .and(
                two_factor_challenges::password_changed_at
                    .is_not_distinct_from(users::password_changed_at),
            )
            .and(
                two_factor_challenges::method
                    .ne(SignInMethod::Password)
                    .or(users::hashed_password.is_not_null()),
            )
    };
}

impl TwoFactorChallenge {
    /// Lets the sign-in wait.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(two_factor_challenges::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }

    /// The live challenge with this token.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live(
        conn: &mut Conn,
        token: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        two_factor_challenges::table
            .inner_join(users::table)
            .filter(two_factor_challenges::token_hash.eq(token).and(live!(now)))
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// Counts one try of the challenge; says whether there was one left.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn begin_try(&self, conn: &mut Conn) -> QueryResult<bool> {
        diesel::update(two_factor_challenges::table)
            .filter(two_factor_challenges::token_hash.eq(&self.token_hash))
            .filter(two_factor_challenges::tries.lt(TRIES))
            .set(two_factor_challenges::tries.eq(two_factor_challenges::tries + 1))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Uses the challenge up; of two callers with one token the second is told `false`, as is whoever
    /// comes when the password or the state of the account has changed. Belongs into a transaction that
    /// holds the account locked.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn consume(&self, conn: &mut Conn, now: DateTime) -> QueryResult<bool> {
        let still = Self::live(conn, &self.token_hash, now).await?.is_some();
        let deleted = diesel::delete(two_factor_challenges::table)
            .filter(two_factor_challenges::token_hash.eq(&self.token_hash))
            .execute(conn)
            .await?;
        Ok(still && deleted > 0)
    }

    /// Ends every challenge of `user`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete_all(conn: &mut Conn, user: Uuid) -> QueryResult<()> {
        diesel::delete(two_factor_challenges::table.filter(two_factor_challenges::user_id.eq(user)))
            .execute(conn)
            .await
            .map(drop)
    }
}
