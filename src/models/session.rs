//! The table `sessions`: signed-in devices, and who stands behind an access token.

use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::kept::KeptExt as _;
use crate::models::text_enum;
use crate::models::user::AccountStatus;
use crate::scalar::DateTime;
use crate::schema::{passkeys, sessions, spent_refresh_tokens, two_factor_secrets, users};

text_enum! {
    /// Why a session ended.
    pub enum SessionEndReason {
        /// An administrator ended it, closed the account or has it erased; or nobody used the account for so long
        /// that it was closed.
        Admin = "admin",
        /// The account has as many sessions as it may, and newer ones took its place.
        Displaced = "displaced",
        /// The person signed out, of this session or of all (`logoutAll`).
        Logout = "logout",
        /// The password was changed or reset.
        PasswordChanged = "password_changed",
        /// Its refresh token was used twice: somebody may hold a copy of it.
        ReuseDetected = "reuse_detected",
        /// The second factor was switched on, replaced or taken off.
        TwoFactorChanged = "two_factor_changed",
        /// The person ended it from elsewhere, moved the account to another address, closed it or asked for its
        /// erasure.
        User = "user",
    }
}

text_enum! {
    /// What a person proved to sign in.
    pub enum SignInMethod {
        /// The link of a mail that proves the address.
        EmailLink = "email_link",
        /// A passkey, which its authenticator gives out only to the person it knows.
        Passkey = "passkey",
        /// The password.
        Password = "password",
        /// An account at a sign-in provider.
        Provider = "provider",
        /// A recovery code.
        RecoveryCode = "recovery_code",
        /// A code from an authenticator app.
        Totp = "totp",
        /// Nothing anew: a second factor was proved on the same device before.
        TrustedDevice = "trusted_device",
    }
}

impl SignInMethod {
    /// Whether it proves two factors by itself: something one has, and that it is the person it knows.
    #[must_use]
    pub fn is_two_factors(self) -> bool {
        self == Self::Passkey
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
    /// Sealed.
    pub ip_address: Option<Vec<u8>>,
    /// Sealed.
    pub user_agent: Option<Vec<u8>>,
    pub created_at: DateTime,
    pub last_accessed_at: DateTime,
    pub expires_at: DateTime,
    pub remember_me: bool,
    pub methods: Vec<SignInMethod>,
    pub second_factor: bool,
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
    pub ip_address: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
    pub created_at: DateTime,
    pub last_accessed_at: DateTime,
    pub authenticated_at: DateTime,
    pub expires_at: DateTime,
    pub methods: &'a [SignInMethod],
    pub second_factor: bool,
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

/// What every request must know of its caller.
#[derive(Queryable, Clone, Debug)]
pub struct SessionOwner {
    /// The session.
    pub id: Uuid,
    /// Its account.
    pub user_id: Uuid,
    /// When it ends by itself.
    pub expires_at: DateTime,
    /// When the person last proved to be at the keyboard.
    pub authenticated_at: DateTime,
    /// When it was last used, as far as that was written down.
    pub last_accessed_at: DateTime,
    /// A second factor was proved, at sign-in or since.
    pub second_factor: bool,
    /// The identifier of the account in other systems.
    pub auth_token: Uuid,
    /// Names of the account's permissions, sorted.
    pub permissions: Vec<String>,
    /// The account has a password.
    pub has_password: bool,
    /// The account's second factor is on.
    pub two_factor: bool,
    /// The account has a passkey.
    pub has_passkey: bool,
    /// A role of the account makes a second factor compulsory.
    pub two_factor_by_role: bool,
    /// The roles of the account, by id, in no order.
    pub roles: Vec<Uuid>,
}

/// What became of a refresh token that was traded in before.
#[derive(Queryable, Debug)]
pub struct SpentToken {
    /// The session, which is live.
    pub session: Session,
    /// The refresh token that is good now.
    pub current: TokenHash,
    /// Makes that one from its predecessor.
    pub salt: Option<Vec<u8>>,
    /// When the token was traded in.
    pub spent_at: DateTime,
}

/// The condition that a session lives.
macro_rules! live {
    ($now:expr) => {
        sessions::revoked_at
            .is_null()
            .and(sessions::expires_at.gt($now))
    };
}

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
            .filter(sessions::id.eq(id).and(live!(now)))
            .filter(users::status.eq(AccountStatus::Active))
            .select((
                sessions::id,
                sessions::user_id,
                sessions::expires_at,
                sessions::authenticated_at,
                sessions::last_accessed_at,
                sessions::second_factor,
                users::auth_token,
                sql::<Array<Text>>(
                    "ARRAY(SELECT DISTINCT permissions.name FROM user_roles \
                     JOIN role_permissions ON role_permissions.role_id = user_roles.role_id \
                     JOIN permissions ON permissions.id = role_permissions.permission_id \
                     WHERE user_roles.user_id = users.id ORDER BY permissions.name)",
                ),
                users::hashed_password.is_not_null(),
                exists(
                    two_factor_secrets::table
                        .filter(two_factor_secrets::user_id.eq(users::id))
                        .filter(two_factor_secrets::confirmed_at.is_not_null()),
                ),
                exists(passkeys::table.filter(passkeys::user_id.eq(users::id))),
                sql::<Bool>(
                    "EXISTS (SELECT FROM user_roles JOIN roles ON roles.id = user_roles.role_id \
                     WHERE user_roles.user_id = users.id AND roles.requires_two_factor)",
                ),
                sql::<Array<SqlUuid>>(
                    "ARRAY(SELECT role_id FROM user_roles WHERE user_roles.user_id = users.id)",
                ),
            ))
            .kept()
            .get_result(conn)
            .await
            .optional()
    }

    /// The live sessions with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live_by_ids(conn: &Conn, ids: &[Uuid], now: DateTime) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(sessions::id.among(ids).and(live!(now)))
            .load(&mut &*conn)
            .await
    }

    /// The session with this id, live or not.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_id(conn: &mut Conn, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(sessions::id.eq(id))
            .first(conn)
            .await
            .optional()
    }

    /// The live sessions of these accounts, the most recently used first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live_by_users(
        conn: &Conn,
        users: &[Uuid],
        now: DateTime,
    ) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(sessions::user_id.among(users).and(live!(now)))
            .order((sessions::last_accessed_at.desc(), sessions::id.desc()))
            .load(&mut &*conn)
            .await
    }

    /// Trades the refresh token `old` for `new`, which `salt` makes from it, once: of two callers
    /// with one token the second gets `None`, as does one with a token of a session that has ended.
    /// Belongs into a transaction.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn rotate(
        conn: &mut Conn,
        old: &TokenHash,
        new: &TokenHash,
        salt: &[u8; 32],
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let session = diesel::update(sessions::table)
            .filter(sessions::refresh_token_hash.eq(old).and(live!(now)))
            .set((
                sessions::refresh_token_hash.eq(new),
                sessions::successor_salt.eq(&salt[..]),
                sessions::last_accessed_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        if let Some(session) = &session {
            diesel::insert_into(spent_refresh_tokens::table)
                .values((
                    spent_refresh_tokens::token_hash.eq(old),
                    spent_refresh_tokens::session_id.eq(session.id),
                    spent_refresh_tokens::spent_at.eq(now),
                ))
                .execute(conn)
                .await?;
        }
        Ok(session)
    }

    /// The live session that `token` kept alive before it was traded in.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_spent_token(
        conn: &mut Conn,
        token: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<SpentToken>> {
        spent_refresh_tokens::table
            .inner_join(sessions::table)
            .filter(spent_refresh_tokens::token_hash.eq(token).and(live!(now)))
            .select((
                Self::as_select(),
                sessions::refresh_token_hash,
                sessions::successor_salt,
                spent_refresh_tokens::spent_at,
            ))
            .first(conn)
            .await
            .optional()
    }

    /// The live session whose refresh token this is.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_refresh_token(
        conn: &mut Conn,
        token: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(sessions::refresh_token_hash.eq(token).and(live!(now)))
            .first(conn)
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
        diesel::update(sessions::table)
            .filter(sessions::id.eq(id).and(live!(now)))
            .set((
                sessions::revoked_at.eq(now),
                sessions::revoked_reason.eq(reason),
            ))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Ends the live sessions of `user`, but not the session `spared`; gives how many.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn revoke_all(
        conn: &mut Conn,
        user: Uuid,
        spared: Option<Uuid>,
        reason: SessionEndReason,
        now: DateTime,
    ) -> QueryResult<usize> {
        let mut update = diesel::update(sessions::table)
            .filter(sessions::user_id.eq(user).and(live!(now)))
            .set((
                sessions::revoked_at.eq(now),
                sessions::revoked_reason.eq(reason),
            ))
            .into_boxed();
        if let Some(spared) = spared {
            update = update.filter(sessions::id.ne(spared));
        }
        update.execute(conn).await
    }

    /// Ends the live sessions of `user` beyond the `most` that were used last.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn revoke_beyond(
        conn: &mut Conn,
        user: Uuid,
        most: i64,
        now: DateTime,
    ) -> QueryResult<usize> {
        // The number stands in the text: PostgreSQL plans for a bound one anew each time.
        diesel::sql_query(format!(
            "UPDATE sessions SET revoked_at = $1, revoked_reason = $2 WHERE id IN ( \
                 SELECT id FROM sessions WHERE user_id = $3 AND revoked_at IS NULL AND expires_at > $1 \
                 ORDER BY last_accessed_at DESC, id DESC OFFSET {most} \
             )"
        ))
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(SessionEndReason::Displaced)
        .bind::<SqlUuid, _>(user)
        .kept()
        .execute(conn)
        .await
    }

    /// Notes that the person proved to be at the keyboard, with `second_factor` by more than a password;
    /// `None` if the session has ended.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn reauthenticate(
        conn: &mut Conn,
        id: Uuid,
        second_factor: bool,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(sessions::table)
            .filter(sessions::id.eq(id).and(live!(now)))
            .set((
                sessions::authenticated_at.eq(now),
                sessions::second_factor
                    .eq(sessions::second_factor.or(second_factor.into_sql::<Bool>())),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Notes that these sessions are used, those aside whose use was noted after `since`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn note_use(
        conn: &mut Conn,
        ids: &[Uuid],
        since: DateTime,
        now: DateTime,
    ) -> QueryResult<usize> {
        diesel::update(sessions::table)
            .filter(sessions::id.among(ids).and(live!(now)))
            .filter(sessions::last_accessed_at.le(since))
            .set(sessions::last_accessed_at.eq(now))
            .execute(conn)
            .await
    }
}
