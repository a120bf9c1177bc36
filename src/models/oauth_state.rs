//! The table `oauth_states`: sign-ins with a provider that began and have not come back.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::oauth_states;

/// A sign-in that began.
#[derive(HasQuery, Insertable, Clone, Debug)]
#[diesel(table_name = oauth_states)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct OAuthState {
    pub state_hash: TokenHash,
    pub provider: String,
    pub redirect_uri: String,
    pub user_id: Option<Uuid>,
    pub name: Option<String>,
    pub created_at: DateTime,
    pub expires_at: DateTime,
}

impl OAuthState {
    /// Keeps it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(oauth_states::table)
            .values(self)
            .execute(conn)
            .await
            .map(drop)
    }

    /// Takes the sign-in with this hash out, over or not: of two callers the second gets `None`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn consume(conn: &mut Conn, hash: &TokenHash) -> QueryResult<Option<Self>> {
        diesel::delete(oauth_states::table)
            .filter(oauth_states::state_hash.eq(hash))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Notes the name that came beside the code, where one did, and gives the page to which the
    /// browser comes back; `None` if no sign-in with this provider and hash is under way.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn came_back(
        conn: &mut Conn,
        hash: &TokenHash,
        provider: &str,
        name: Option<&str>,
        now: DateTime,
    ) -> QueryResult<Option<String>> {
        let this = oauth_states::table
            .filter(oauth_states::state_hash.eq(hash))
            .filter(oauth_states::provider.eq(provider))
            .filter(oauth_states::expires_at.gt(now));
        match name {
            None => this
                .select(oauth_states::redirect_uri)
                .first(conn)
                .await
                .optional(),
            Some(name) => diesel::update(this)
                .set(oauth_states::name.eq(name))
                .returning(oauth_states::redirect_uri)
                .get_result(conn)
                .await
                .optional(),
        }
    }
}
