//! The columns of `users` that a sign-in is checked against, and the registrations in vain beside them.

use chrono::TimeDelta;
use diesel::dsl::{case_when, exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::kept::KeptExt as _;
use crate::models::login_event::ROLLED_UP_TO;
use crate::models::user::{AccountStatus, ClosedBy, User, lower, lower_nullable};
use crate::scalar::{DateTime, EmailAddress};
use crate::schema::{known_devices, registration_claims, users};

/// What a sign-in is checked against. Never shown.
#[derive(HasQuery)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Credentials {
    pub id: Uuid,
    pub email: EmailAddress,
    pub hashed_password: Option<String>,
    pub password_changed_at: Option<DateTime>,
    pub status: AccountStatus,
    pub closed_by: Option<ClosedBy>,
    pub contested: bool,
    pub imported_at: Option<DateTime>,
    pub last_login_at: Option<DateTime>,
    pub erases_at: Option<DateTime>,
}

impl Credentials {
    /// Whether an administrator opened the account, and nobody has proved the address since. Nobody but
    /// administrators has written to it then.
    #[must_use]
    pub fn is_invited(&self) -> bool {
        self.status == AccountStatus::Pending && self.hashed_password.is_none()
    }

    /// Whether the account came from elsewhere, and nobody has proved the address since. What it says is not of
    /// whoever registers with the address.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.status == AccountStatus::Pending && self.imported_at.is_some()
    }
}

/// The last registration with the address of an account that is open already; opens nothing.
#[derive(Queryable, Selectable)]
#[diesel(table_name = registration_claims)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct RegistrationClaim {
    pub hashed_password: String,
    pub created_at: DateTime,
}

impl RegistrationClaim {
    /// Notes a registration with the address of `user` in place of the one before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn put(
        conn: &mut Conn,
        user: Uuid,
        hashed_password: &str,
        now: DateTime,
    ) -> QueryResult<()> {
        let values = (
            registration_claims::hashed_password.eq(hashed_password),
            registration_claims::created_at.eq(now),
        );
        diesel::insert_into(registration_claims::table)
            .values((registration_claims::user_id.eq(user), values))
            .on_conflict(registration_claims::user_id)
            .do_update()
            .set(values)
            .execute(conn)
            .await
            .map(drop)
    }
}

/// What is known of who signs in with a name.
#[derive(Queryable)]
pub struct SignInFacts {
    /// The credentials of the account that has the name as its address or username.
    pub credentials: Credentials,
    /// The last registration that somebody tried with its address.
    pub claim: Option<RegistrationClaim>,
    /// The account has signed in from this network before.
    pub known_network: bool,
}

impl Credentials {
    /// What is known of the account that has `identifier` as its address or username, and whether
    /// it has signed in from the network with the hash `network`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_identifier(
        conn: &mut Conn,
        identifier: &str,
        network: &[u8; 32],
    ) -> QueryResult<Option<SignInFacts>> {
        let known_network = exists(
            known_devices::table
                .filter(known_devices::user_id.eq(users::id))
                .filter(known_devices::network_hash.eq(&network[..])),
        );
        let mut query = users::table
            .left_join(registration_claims::table)
            .select((
                Self::as_select(),
                Option::<RegistrationClaim>::as_select(),
                known_network,
            ))
            .into_boxed();
        // A username has no `@` and an address always has one, so that at most one can match.
        query = if identifier.contains('@') {
            query.filter(lower(users::email).eq(lower(identifier)))
        } else {
            query.filter(
                lower_nullable(users::username)
                    .eq(lower_nullable(identifier))
                    .assume_not_null(),
            )
        };
        query.first(conn).await.optional()
    }

    /// The stored hash of the account with this address, if the address was not proved yet.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn pending_hash(conn: &mut Conn, email: &str) -> QueryResult<Option<String>> {
        users::table
            .filter(lower(users::email).eq(lower(email)))
            .filter(users::status.eq(AccountStatus::Pending))
            .select(users::hashed_password)
            .first::<Option<String>>(conn)
            .await
            .optional()
            .map(Option::flatten)
    }

    /// The credentials of this account, locked until the transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock(conn: &mut Conn, user: Uuid) -> QueryResult<Option<Self>> {
        users::table
            .find(user)
            .select(Self::as_select())
            .for_no_key_update()
            .first(conn)
            .await
            .optional()
    }

    /// The credentials of this account.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_id(conn: &mut Conn, user: Uuid) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(users::id.eq(user))
            .first(conn)
            .await
            .optional()
    }
}

/// Ways into an account, as they stand.
#[derive(QueryableByName, Debug)]
pub struct WaysIn {
    /// It has a password.
    #[diesel(sql_type = Bool)]
    pub password: bool,
    /// How many passkeys it has.
    #[diesel(sql_type = BigInt)]
    pub passkeys: i64,
    /// How many providers are tied to it.
    #[diesel(sql_type = BigInt)]
    pub providers: i64,
}

impl WaysIn {
    /// The ways into the account. To act on them, hold the account's lock: of two that take a way
    /// away at once each would leave the other's.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn of(conn: &mut Conn, user: Uuid) -> QueryResult<Self> {
        diesel::sql_query(
            "SELECT hashed_password IS NOT NULL AS password, \
             (SELECT count(*) FROM passkeys WHERE user_id = users.id) AS passkeys, \
             (SELECT count(*) FROM identities WHERE user_id = users.id) AS providers \
             FROM users WHERE id = $1",
        )
        .bind::<diesel::sql_types::Uuid, _>(user)
        .get_result(conn)
        .await
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::from(self.password) + self.passkeys + self.providers
    }
}

#[derive(QueryableByName)]
struct Warned {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

impl User {
    /// Counts a sign-in; `None` when the account is not active. Warnings that it is not used are over. It is dated no earlier than the one before it,
    /// whatever the clocks of two servers say, nor than what is rolled up.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn record_login(
        conn: &mut Conn,
        id: Uuid,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let at = sql::<Nullable<Timestamptz>>("greatest(last_login_at, ")
            .bind::<Timestamptz, _>(now)
            .sql(&format!(", {ROLLED_UP_TO})"));
        diesel::update(users::table)
            .filter(users::id.eq(id))
            .filter(users::status.eq(AccountStatus::Active))
            .set((
                users::last_login_at.eq(at),
                users::login_count.eq(users::login_count + 1),
                users::inactivity_warnings.eq(0),
                users::inactivity_warned_at.eq(None::<DateTime>),
            ))
            .returning(Self::as_returning())
            .kept()
            .get_result(conn)
            .await
            .optional()
    }

    /// Stores another hash of the same password.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn rehash(conn: &mut Conn, id: Uuid, hash: &str) -> QueryResult<usize> {
        diesel::update(users::table.find(id))
            .set(users::hashed_password.eq(hash))
            .execute(conn)
            .await
    }

    /// Sets the password, where it is still `verified` if that is given. An account that waits for
    /// its address to be proved is open from now on.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn set_password(
        conn: &mut Conn,
        id: Uuid,
        verified: Option<&str>,
        hash: &str,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let mut update = diesel::update(users::table)
            .filter(users::id.eq(id))
            .filter(users::status.ne(AccountStatus::Deactivated))
            .set((
                users::hashed_password.eq(hash),
                users::contested.eq(false),
                users::password_changed_at.eq(now),
                users::email_verified_at.eq(case_when(
                    users::status.eq(AccountStatus::Pending),
                    now.into_sql::<Nullable<Timestamptz>>(),
                )
                .otherwise(users::email_verified_at)),
                users::status.eq(AccountStatus::Active),
                users::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .into_boxed();
        if let Some(verified) = verified {
            update = update.filter(users::hashed_password.eq(verified));
        }
        update.get_result(conn).await.optional()
    }

    /// Takes the username away.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn clear_username(conn: &mut Conn, id: Uuid) -> QueryResult<usize> {
        diesel::update(users::table.find(id))
            .set(users::username.eq(None::<String>))
            .execute(conn)
            .await
    }

    /// Takes the password away: nobody signs in with one until a new one is set by a mailed token.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn clear_password(conn: &mut Conn, id: Uuid, now: DateTime) -> QueryResult<usize> {
        diesel::update(users::table.find(id))
            .set((
                users::hashed_password.eq(None::<String>),
                users::contested.eq(false),
                users::updated_at.eq(now),
            ))
            .execute(conn)
            .await
    }

    /// Notes that up to `most` owners are warned now whose password, good for `age`, ends within one of
    /// these numbers of days, and who were not warned since it does; gives their ids.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn warn_of_expiry(
        conn: &mut Conn,
        age: TimeDelta,
        days: &[i32],
        most: i64,
        now: DateTime,
    ) -> QueryResult<Vec<Uuid>> {
        let earliest = days.iter().copied().max().unwrap_or(0);
        let warned: Vec<Warned> = diesel::sql_query(
            "WITH due AS MATERIALIZED ( \
                 SELECT id FROM users WHERE status = 'active' AND hashed_password IS NOT NULL \
                 AND password_changed_at > $2 AND password_changed_at <= $2 + make_interval(days => $3) \
                 AND EXISTS ( \
                     SELECT FROM unnest($4) AS day \
                     WHERE password_changed_at <= $2 + make_interval(days => day) \
                     AND (password_warned_at IS NULL \
                         OR password_warned_at < password_changed_at + ($1 - $2) - make_interval(days => day)) \
                 ) \
                 LIMIT $5 FOR UPDATE SKIP LOCKED \
             ) \
             UPDATE users SET password_warned_at = $1 FROM due WHERE users.id = due.id RETURNING users.id",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(DateTime(*now - age))
        .bind::<Integer, _>(earliest)
        .bind::<Array<Integer>, _>(days)
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
        Ok(warned.into_iter().map(|warned| warned.id).collect())
    }
}
