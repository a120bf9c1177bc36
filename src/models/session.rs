//! The table `sessions`: signed-in devices, and who stands behind an access token.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::models::text_enum;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::schema::{sessions, users};

text_enum! {
    /// Why a session ended.
    pub enum SessionEndReason {
        /// An administrator ended it.
        Admin = "admin",
        /// The person signed out.
        Logout = "logout",
        /// The password was changed or reset.
        PasswordChanged = "password_changed",
        /// Its refresh token was used twice.
        ReuseDetected = "reuse_detected",
        /// The person ended it from elsewhere.
        User = "user",
    }
}

/// One signed-in device or browser. Holds no token.
#[derive(HasQuery, Identifiable, Clone, Debug)]
#[diesel(table_name = sessions)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::session"
)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: DateTime,
    pub last_accessed_at: DateTime,
    pub expires_at: DateTime,
}

/// A session to open.
#[derive(Insertable, Debug)]
#[diesel(table_name = sessions)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewSession<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub refresh_token_hash: TokenHash,
    pub remember_me: bool,
    pub ip_address: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub created_at: DateTime,
    pub last_accessed_at: DateTime,
    pub expires_at: DateTime,
}

impl NewSession<'_> {
    /// Opens the session.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<Session> {
        diesel::insert_into(sessions::table)
            .values(self)
            .returning(Session::as_returning())
            .get_result(conn)
            .await
    }
}

/// A session with its account and the names of the account's permissions, sorted.
pub type SessionOwner = (Session, User, Vec<String>);

impl Session {
    /// The live session with this id, if its account may sign in: everything that a request must
    /// know of its caller, in one statement.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn owner(
        conn: &mut Conn,
        id: Uuid,
        now: DateTime,
    ) -> QueryResult<Option<SessionOwner>> {
        sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq(id))
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::expires_at.gt(now))
            .filter(users::status.eq(AccountStatus::Active))
            .select((
                Self::as_select(),
                User::as_select(),
                sql::<Array<Text>>(
                    "ARRAY(SELECT DISTINCT permissions.name FROM user_roles \
                     JOIN role_permissions ON role_permissions.role_id = user_roles.role_id \
                     JOIN permissions ON permissions.id = role_permissions.permission_id \
                     WHERE user_roles.user_id = users.id ORDER BY permissions.name)",
                ),
            ))
            .first(conn)
            .await
            .optional()
    }

    /// The live sessions with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live_by_ids(
        conn: &mut Conn,
        ids: &[Uuid],
        now: DateTime,
    ) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(sessions::id.eq_any(ids))
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::expires_at.gt(now))
            .load(conn)
            .await
    }

    /// Trades the refresh token `old` for `new`, once: of two callers with one token the second
    /// gets `None`, as does one with a token of a session that has ended.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn rotate(
        conn: &mut Conn,
        old: &TokenHash,
        new: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(sessions::table)
            .filter(sessions::refresh_token_hash.eq(old))
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::expires_at.gt(now))
            .set((
                sessions::refresh_token_hash.eq(new),
                sessions::previous_refresh_token_hash.eq(old),
                sessions::refreshed_at.eq(now),
                sessions::last_accessed_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Ends the live session that had `token` before its present one; gives its id.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn revoke_reused(
        conn: &mut Conn,
        token: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<Uuid>> {
        diesel::update(sessions::table)
            .filter(sessions::previous_refresh_token_hash.eq(token))
            .filter(sessions::revoked_at.is_null())
            .set((
                sessions::revoked_at.eq(now),
                sessions::revoked_reason.eq(SessionEndReason::ReuseDetected),
            ))
            .returning(sessions::id)
            .get_result(conn)
            .await
            .optional()
    }

    /// Ends the session `id`; says whether it was live.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn revoke(
        conn: &mut Conn,
        id: Uuid,
        reason: SessionEndReason,
        now: DateTime,
    ) -> QueryResult<bool> {
        diesel::update(sessions::table.find(id))
            .filter(sessions::revoked_at.is_null())
            .set((
                sessions::revoked_at.eq(now),
                sessions::revoked_reason.eq(reason),
            ))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }
}
