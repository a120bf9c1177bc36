//! The tables `two_factor_secrets` and `recovery_codes`: what proves a second factor. It compares no code.

use diesel::prelude::*;
use diesel::sql_types::{self, BigInt, Integer, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::kept::KeptExt as _;
use crate::scalar::DateTime;
use crate::schema::{recovery_codes, two_factor_secrets};

/// Wrong codes after which no code of the device is taken any more.
pub const MOST_WRONG_CODES: i32 = 100;

/// Wrong codes that a right one makes good: as many as its sign-in may have seen, and not those of somebody
/// who guesses between the sign-ins of the owner.
const FORGIVEN: i32 = 5;

define_sql_function! {
    /// The greater one of two numbers.
    fn greatest(one: Integer, other: Integer) -> Integer;
}

/// The secret of a device that shows codes.
#[derive(HasQuery)]
#[diesel(table_name = two_factor_secrets)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct TwoFactorSecret {
    pub id: Uuid,
    pub user_id: Uuid,
    pub sealed_secret: Vec<u8>,
    pub created_at: DateTime,
    pub confirmed_at: Option<DateTime>,
}

/// The state of an account's second factor. Holds no secret.
#[derive(QueryableByName, Clone, Debug)]
pub struct TwoFactorState {
    /// The account.
    #[diesel(sql_type = sql_types::Uuid)]
    pub user_id: Uuid,
    /// When the device was confirmed; `None` while there is none.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub confirmed_at: Option<DateTime>,
    /// Recovery codes that were not used.
    #[diesel(sql_type = BigInt)]
    pub recovery_codes_left: i64,
    /// Passkeys, each of which proves it, too.
    #[diesel(sql_type = BigInt)]
    pub passkeys: i64,
    /// A role of the account makes one compulsory.
    #[diesel(sql_type = sql_types::Bool)]
    pub by_role: bool,
}

impl TwoFactorState {
    /// Whether the second factor is on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.confirmed_at.is_some()
    }

    /// Whether there is anything to prove a second factor with.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.enabled() || self.passkeys > 0
    }

    /// The states of these accounts, one for each.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        // For one, PostgreSQL would plan a list anew each time.
        let asked = if users.len() == 1 {
            "(SELECT $1)"
        } else {
            "unnest($1)"
        };
        let states = diesel::sql_query(format!(
            "SELECT user_id, \
             (SELECT confirmed_at FROM two_factor_secrets AS secret \
              WHERE secret.user_id = asked.user_id AND confirmed_at IS NOT NULL) AS confirmed_at, \
             (SELECT count(*) FROM recovery_codes AS code \
              WHERE code.user_id = asked.user_id AND used_at IS NULL) AS recovery_codes_left, \
             (SELECT count(*) FROM passkeys AS passkey WHERE passkey.user_id = asked.user_id) AS passkeys, \
             EXISTS (SELECT FROM user_roles JOIN roles ON roles.id = user_roles.role_id \
              WHERE user_roles.user_id = asked.user_id AND roles.requires_two_factor) AS by_role \
             FROM {asked} AS asked (user_id)"
        ));
        if let [user] = users {
            let states = states.bind::<sql_types::Uuid, _>(user).kept();
            return states.load(&mut &*conn).await;
        }
        let states = states.bind::<sql_types::Array<sql_types::Uuid>, _>(users);
        states.kept().load(&mut &*conn).await
    }

    /// The state of one account.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn of(conn: &mut Conn, user: Uuid) -> QueryResult<Self> {
        let mut states = Self::by_users(conn, &[user]).await?;
        states.pop().ok_or(diesel::result::Error::NotFound)
    }
}

impl TwoFactorSecret {
    /// Puts a secret that waits to be confirmed in the place of an earlier one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace_pending(&self, conn: &mut Conn) -> QueryResult<()> {
        Self::delete(conn, self.user_id, false).await?;
        diesel::insert_into(two_factor_secrets::table)
            .values((
                two_factor_secrets::id.eq(self.id),
                two_factor_secrets::user_id.eq(self.user_id),
                two_factor_secrets::sealed_secret.eq(&self.sealed_secret),
                two_factor_secrets::created_at.eq(self.created_at),
            ))
            .execute(conn)
            .await
            .map(drop)
    }

    /// The secret of `user` that was made after `since` and waits to be confirmed.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn pending(
        conn: &mut Conn,
        user: Uuid,
        since: DateTime,
    ) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(two_factor_secrets::user_id.eq(user))
            .filter(two_factor_secrets::confirmed_at.is_null())
            .filter(two_factor_secrets::created_at.gt(since))
            .first(conn)
            .await
            .optional()
    }

    /// Puts the waiting secret `id` in the place of the one in use; `step` is that of the code that was
    /// shown. Says whether it still waited. Belongs into a transaction.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn confirm(
        conn: &mut Conn,
        id: Uuid,
        user: Uuid,
        step: i64,
        now: DateTime,
    ) -> QueryResult<bool> {
        Self::delete(conn, user, true).await?;
        diesel::update(two_factor_secrets::table)
            .filter(two_factor_secrets::id.eq(id))
            .filter(two_factor_secrets::confirmed_at.is_null())
            .set((
                two_factor_secrets::confirmed_at.eq(now),
                two_factor_secrets::last_step.eq(step),
            ))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Counts a code as wrong before it is looked at, and gives the secret in use with the count; `None` where
    /// there is none, or after too many wrong ones.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn begin_try(conn: &mut Conn, user: Uuid) -> QueryResult<Option<(Self, i32)>> {
        diesel::update(two_factor_secrets::table)
            .filter(two_factor_secrets::user_id.eq(user))
            .filter(two_factor_secrets::confirmed_at.is_not_null())
            .filter(two_factor_secrets::wrong_codes.lt(MOST_WRONG_CODES))
            .set(two_factor_secrets::wrong_codes.eq(two_factor_secrets::wrong_codes + 1))
            .returning((Self::as_returning(), two_factor_secrets::wrong_codes))
            .get_result(conn)
            .await
            .optional()
    }

    /// Takes the code of `step`, once: of two callers with one code the second is told `false`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn take_step(conn: &mut Conn, id: Uuid, step: i64) -> QueryResult<bool> {
        diesel::update(two_factor_secrets::table)
            .filter(two_factor_secrets::id.eq(id))
            .filter(two_factor_secrets::last_step.lt(step))
            .set((
                two_factor_secrets::last_step.eq(step),
                // It was counted itself.
                two_factor_secrets::wrong_codes
                    .eq(greatest(two_factor_secrets::wrong_codes - 1 - FORGIVEN, 0)),
            ))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Makes as many wrong codes of `user` good as a right one does.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn forgive(conn: &mut Conn, user: Uuid) -> QueryResult<()> {
        Self::lower_wrong_codes(conn, user, FORGIVEN).await
    }

    /// Forgets the wrong codes of `user`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn forget_wrong_codes(conn: &mut Conn, user: Uuid) -> QueryResult<()> {
        Self::lower_wrong_codes(conn, user, MOST_WRONG_CODES).await
    }

    async fn lower_wrong_codes(conn: &mut Conn, user: Uuid, less: i32) -> QueryResult<()> {
        diesel::update(two_factor_secrets::table)
            .filter(two_factor_secrets::user_id.eq(user))
            .filter(two_factor_secrets::wrong_codes.gt(0))
            .set(
                two_factor_secrets::wrong_codes
                    .eq(greatest(two_factor_secrets::wrong_codes - less, 0)),
            )
            .execute(conn)
            .await
            .map(drop)
    }

    /// Whether the secret in use was confirmed after `since`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn is_younger(conn: &mut Conn, user: Uuid, since: DateTime) -> QueryResult<bool> {
        let young = two_factor_secrets::table
            .filter(two_factor_secrets::user_id.eq(user))
            .filter(two_factor_secrets::confirmed_at.gt(since));
        diesel::select(diesel::dsl::exists(young))
            .get_result(conn)
            .await
    }

    /// Deletes the secret of `user` that is in use, or the one that waits; says whether there was one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete(conn: &mut Conn, user: Uuid, confirmed: bool) -> QueryResult<bool> {
        diesel::delete(two_factor_secrets::table)
            .filter(two_factor_secrets::user_id.eq(user))
            .filter(two_factor_secrets::confirmed_at.is_not_null().eq(confirmed))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }
}

/// Codes that stand in for a lost device.
pub struct RecoveryCodes;

impl RecoveryCodes {
    /// Puts codes with these hashes in the place of all earlier ones.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace(
        conn: &mut Conn,
        user: Uuid,
        hashes: &[[u8; 32]],
        now: DateTime,
    ) -> QueryResult<()> {
        Self::delete(conn, user).await?;
        let row = |hash: &[u8; 32]| {
            (
                recovery_codes::id.eq(Uuid::now_v7()),
                recovery_codes::user_id.eq(user),
                recovery_codes::code_hash.eq(hash.to_vec()),
                recovery_codes::created_at.eq(now),
            )
        };
        diesel::insert_into(recovery_codes::table)
            .values(hashes.iter().map(row).collect::<Vec<_>>())
            .execute(conn)
            .await
            .map(drop)
    }

    /// Uses the code with this hash up; of two callers with one code the second is told `false`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn take(
        conn: &mut Conn,
        user: Uuid,
        hash: &[u8; 32],
        now: DateTime,
    ) -> QueryResult<bool> {
        diesel::update(recovery_codes::table)
            .filter(recovery_codes::user_id.eq(user))
            .filter(recovery_codes::code_hash.eq(&hash[..]))
            .filter(recovery_codes::used_at.is_null())
            .set(recovery_codes::used_at.eq(now))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Deletes the codes of `user` that were made after `since`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete_younger(conn: &mut Conn, user: Uuid, since: DateTime) -> QueryResult<()> {
        diesel::delete(recovery_codes::table)
            .filter(recovery_codes::user_id.eq(user))
            .filter(recovery_codes::created_at.gt(since))
            .execute(conn)
            .await
            .map(drop)
    }

    /// Deletes every code of `user`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete(conn: &mut Conn, user: Uuid) -> QueryResult<()> {
        diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user)))
            .execute(conn)
            .await
            .map(drop)
    }
}
