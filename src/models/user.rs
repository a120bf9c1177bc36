//! The table `users`: reading one or several accounts, opening and changing them.

use std::sync::LazyLock;

use diesel::dsl::{AsSelect, case_when};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::{AmongExt as _, Fixed, fixed};
use crate::models::profile::Profile;
use crate::models::text_enum;
use crate::scalar::{DateTime, EmailAddress, Url};
use crate::schema::{profiles, username_reservations, users};

diesel::define_sql_function! {
    /// `text` in lower case.
    #[sql_name = "lower"]
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}
diesel::define_sql_function! {
    /// `text` in lower case, or null.
    #[sql_name = "lower"]
    fn lower_nullable(text: diesel::sql_types::Nullable<diesel::sql_types::Text>) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

text_enum! {
    /// Where an account is in its life.
    pub enum AccountStatus {
        /// May sign in.
        Active = "active",
        /// Closed by its owner, an administrator or the inactivity policy; nothing is lost, and it can be opened again.
        Deactivated = "deactivated",
        /// Waiting for its address to be proved; may not sign in yet.
        Pending = "pending",
    }
}

/// A person with an account. Holds nothing secret; see `Credentials`.
#[derive(HasQuery, Identifiable, Clone, Debug)]
#[diesel(table_name = users)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::user"
)]
pub struct User {
    pub id: Uuid,
    pub auth_token: Uuid,
    pub username: Option<String>,
    pub email: EmailAddress,
    pub full_name: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub avatar_url: Option<Url>,
    /// Sealed.
    pub birth_date: Option<Vec<u8>>,
    pub status: AccountStatus,
    pub email_verified_at: Option<DateTime>,
    pub last_login_at: Option<DateTime>,
    pub login_count: i32,
    pub coaching_start_date: Option<DateTime>,
    pub last_coaching_session: Option<DateTime>,
    pub created_at: DateTime,
    pub updated_at: DateTime,
    pub erases_at: Option<DateTime>,
}

text_enum! {
    /// Who closed an account.
    pub enum ClosedBy {
        /// An administrator: only one can open it again.
        Admin = "admin",
        /// The inactivity policy.
        Inactivity = "inactivity",
        /// Its owner.
        Owner = "owner",
    }
}

/// An account to open.
#[derive(Insertable, Debug)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewUser<'a> {
    pub id: Uuid,
    pub auth_token: Uuid,
    pub username: Option<&'a str>,
    pub email: &'a str,
    pub hashed_password: Option<&'a str>,
    pub full_name: &'a str,
    pub first_name: Option<&'a str>,
    pub last_name: Option<&'a str>,
    pub status: AccountStatus,
    pub email_verified_at: Option<DateTime>,
    pub password_changed_at: Option<DateTime>,
    pub created_at: DateTime,
    pub updated_at: DateTime,
}

impl NewUser<'_> {
    /// Opens the account, with its sealed birth date; gives `None` where address or username is in use.
    ///
    /// # Errors
    /// If the database refuses for another reason.
    pub async fn insert_if_missing(
        &self,
        conn: &mut Conn,
        birth_date: Option<&[u8]>,
    ) -> QueryResult<Option<User>> {
        diesel::insert_into(users::table)
            .values((self, users::birth_date.eq(birth_date)))
            .on_conflict_do_nothing()
            .returning(User::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}

/// New values for the columns that people change; `None` leaves, `Some(None)` clears.
#[derive(AsChangeset, Clone, Default, Debug)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct UserChanges {
    pub username: Option<Option<String>>,
    pub full_name: Option<String>,
    pub first_name: Option<Option<String>>,
    pub last_name: Option<Option<String>>,
    pub avatar_url: Option<Option<Url>>,
    /// Sealed.
    pub birth_date: Option<Option<Vec<u8>>>,
    pub coaching_start_date: Option<Option<DateTime>>,
    pub last_coaching_session: Option<Option<DateTime>>,
}

impl User {
    /// The accounts with these ids, each with its profile, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn with_profiles(
        conn: &Conn,
        ids: &[Uuid],
    ) -> QueryResult<Vec<(Self, Option<Profile>)>> {
        static TEXT: LazyLock<String> = LazyLock::new(|| {
            let columns = (User::as_select(), Option::<Profile>::as_select());
            let query = users::table.left_join(profiles::table).select(columns);
            fixed(&query, "users.id")
        });
        type Columns = (AsSelect<User, Pg>, AsSelect<Option<Profile>, Pg>);
        Fixed::<<Columns as Expression>::SqlType>::among(&TEXT, ids)
            .load(&mut &*conn)
            .await
    }

    /// The accounts with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(users::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// The account with this address, whatever the case.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_email(conn: &mut Conn, email: &str) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(lower(users::email).eq(lower(email)))
            .first(conn)
            .await
            .optional()
    }

    /// The account with this username, whatever the case.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_username(conn: &mut Conn, username: &str) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(lower_nullable(users::username).eq(lower_nullable(username)))
            .first(conn)
            .await
            .optional()
    }

    /// The account that other systems know by this UUID.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_auth_token(conn: &mut Conn, auth_token: Uuid) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(users::auth_token.eq(auth_token))
            .first(conn)
            .await
            .optional()
    }

    /// The accounts that other systems know by these UUIDs.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_auth_tokens(conn: &Conn, auth_tokens: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(users::auth_token.among(auth_tokens))
            .load(&mut &*conn)
            .await
    }

    /// Whether this username is kept for another account than `account`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn is_reserved(
        conn: &mut Conn,
        username: &str,
        account: Option<Uuid>,
    ) -> QueryResult<bool> {
        let owner: Option<Uuid> = username_reservations::table
            .filter(username_reservations::name.eq(lower(username)))
            .select(username_reservations::user_id)
            .first(conn)
            .await
            .optional()?;
        Ok(owner.is_some_and(|owner| account != Some(owner)))
    }

    /// Keeps this username for `account`, unless it is kept for somebody already, and those that are kept for it
    /// from now on.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reserve(
        conn: &mut Conn,
        username: Option<&str>,
        account: Uuid,
        now: DateTime,
    ) -> QueryResult<()> {
        diesel::sql_query(
            "WITH kept AS (UPDATE username_reservations SET created_at = $3 WHERE user_id = $2) \
             INSERT INTO username_reservations (name, user_id, created_at) \
             SELECT lower($1), $2, $3 WHERE $1 IS NOT NULL ON CONFLICT DO NOTHING",
        )
        .bind::<Nullable<Text>, _>(username)
        .bind::<SqlUuid, _>(account)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
        .map(drop)
    }

    /// Makes the address proved and, if it was pending, the account active; gives `None` if the
    /// account has another address by now or is deactivated.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn verify_email(
        conn: &mut Conn,
        id: Uuid,
        email: &str,
        now: DateTime,
    ) -> QueryResult<Option<Uuid>> {
        diesel::update(users::table)
            .filter(users::id.eq(id))
            .filter(lower(users::email).eq(lower(email)))
            .filter(users::status.ne(AccountStatus::Deactivated))
            .set((
                users::status.eq(AccountStatus::Active),
                users::email_verified_at.eq(now),
                users::updated_at.eq(now),
            ))
            .returning(users::id)
            .get_result(conn)
            .await
            .optional()
    }

    /// The account with this id, locked until the transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock(conn: &mut Conn, id: Uuid) -> QueryResult<Option<Self>> {
        users::table
            .find(id)
            .select(Self::as_select())
            .for_no_key_update()
            .first(conn)
            .await
            .optional()
    }

    /// Puts a new registration in the place of one whose address was never proved: what `new` says
    /// and `birth_date`, sealed, hold, the ids, address and username left aside. Where the stored hash is not `same`, one of the very
    /// password that `new` has, the account is contested from now on.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn register_again(
        conn: &mut Conn,
        id: Uuid,
        new: &NewUser<'_>,
        birth_date: Option<&[u8]>,
        same: Option<&str>,
    ) -> QueryResult<usize> {
        diesel::update(users::table.find(id))
            .set((
                users::contested.eq(users::contested.or(users::hashed_password
                    .is_distinct_from(same)
                    .assume_not_null())),
                users::hashed_password.eq(new.hashed_password),
                users::full_name.eq(new.full_name),
                users::first_name.eq(new.first_name),
                users::last_name.eq(new.last_name),
                users::birth_date.eq(birth_date),
                users::password_changed_at.eq(new.password_changed_at),
                users::updated_at.eq(new.updated_at),
            ))
            .execute(conn)
            .await
    }

    /// Notes a registration with the address of an account that waits for it to be proved and keeps what it has.
    /// Where the stored hash is not `same`, one of the very password of that registration, the account is contested
    /// from now on.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn contest(conn: &mut Conn, id: Uuid, same: Option<&str>) -> QueryResult<usize> {
        diesel::update(users::table.find(id))
            .set(
                users::contested.eq(users::contested.or(users::hashed_password
                    .is_distinct_from(same)
                    .assume_not_null())),
            )
            .execute(conn)
            .await
    }

    /// Moves the account to `email`, which is proved; `None` if its address before never was. A closed
    /// one moves, too: whoever took an account over must not keep it by closing it.
    ///
    /// # Errors
    /// If another account has the address (`users_email_key`), or the database cannot answer.
    pub async fn set_email(
        conn: &mut Conn,
        id: Uuid,
        email: &str,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(users::table)
            .filter(users::id.eq(id))
            .filter(users::status.ne(AccountStatus::Pending))
            .set((
                users::email.eq(email),
                users::email_verified_at.eq(now),
                users::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// The account with this address if nobody has proved the address and it is not `except`; locked until the
    /// transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock_pending(
        conn: &mut Conn,
        email: &str,
        except: Uuid,
    ) -> QueryResult<Option<Self>> {
        users::table
            .filter(lower(users::email).eq(lower(email)))
            .filter(users::status.eq(AccountStatus::Pending))
            .filter(users::id.ne(except))
            .select(Self::as_select())
            .for_no_key_update()
            .first(conn)
            .await
            .optional()
    }

    /// Closes the account; `None` if it is closed already or gone. What somebody else closed an
    /// administrator can close once more, so that only one can open it again. Whatever erasure was begun goes on.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn close(
        conn: &mut Conn,
        id: Uuid,
        by: ClosedBy,
        reason: Option<&str>,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let mut update = diesel::update(users::table)
            .filter(users::id.eq(id))
            .set((
                users::status.eq(AccountStatus::Deactivated),
                users::closed_at.eq(now),
                users::closed_by.eq(by),
                users::closed_reason.eq(reason),
                users::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .into_boxed();
        update = if by == ClosedBy::Admin {
            update.filter(users::closed_by.is_distinct_from(by))
        } else {
            update.filter(users::status.ne(AccountStatus::Deactivated))
        };
        update.get_result(conn).await.optional()
    }

    /// Opens the account, and calls its erasure off; `None` if it is open already, gone, or past the moment of its
    /// erasure. With `unless` it stays closed if that is who closed it. One whose address was never proved waits for that,
    /// if it has no password, being an invitation, or came from elsewhere.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn open(
        conn: &mut Conn,
        id: Uuid,
        unless: Option<ClosedBy>,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        let mut update = diesel::update(users::table)
            .filter(users::id.eq(id))
            .filter(users::status.ne(AccountStatus::Active))
            .set((
                users::status.eq(case_when(
                    users::email_verified_at.is_null().and(
                        users::hashed_password
                            .is_null()
                            .or(users::imported_at.is_not_null()),
                    ),
                    AccountStatus::Pending.into_sql::<Text>(),
                )
                .otherwise(AccountStatus::Active.into_sql::<Text>())),
                users::closed_at.eq(None::<DateTime>),
                users::closed_by.eq(None::<ClosedBy>),
                users::closed_reason.eq(None::<String>),
                users::erases_at.eq(None::<DateTime>),
                users::inactivity_warnings.eq(0),
                users::inactivity_warned_at.eq(None::<DateTime>),
                users::updated_at.eq(now),
            ))
            .filter(users::erases_at.is_null().or(users::erases_at.gt(now)))
            .returning(Self::as_returning())
            .into_boxed();
        if let Some(unless) = unless {
            update = update.filter(users::closed_by.is_distinct_from(unless));
        }
        update.get_result(conn).await.optional()
    }

    /// Writes `changes` and the time of the change; gives `None` if the account is gone.
    ///
    /// # Errors
    /// If the username is in use (`users_username_key`) or the database cannot answer.
    pub async fn update(
        conn: &mut Conn,
        id: Uuid,
        changes: &UserChanges,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(users::table.find(id))
            .set((changes, users::updated_at.eq(now)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}
