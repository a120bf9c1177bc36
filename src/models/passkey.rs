//! The table `passkeys`: credentials of authenticators, and which account each opens.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::scalar::{DateTime, Json};
use crate::schema::passkeys;

/// A passkey as its owner sees it.
#[derive(HasQuery, Clone, Debug)]
#[diesel(table_name = passkeys)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::passkey"
)]
pub struct Passkey {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    pub created_at: DateTime,
    pub last_used_at: Option<DateTime>,
}

/// What a sign-in with a passkey is checked against. Never shown.
#[derive(HasQuery, Debug)]
#[diesel(table_name = passkeys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct PasskeyCredential {
    pub id: Uuid,
    pub user_id: Uuid,
    pub credential_id: Vec<u8>,
    pub credential: Json,
}

/// A passkey to add.
#[derive(Insertable, Debug)]
#[diesel(table_name = passkeys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewPasskey<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub credential_id: &'a [u8],
    pub credential: Json,
    pub name: &'a str,
    pub created_at: DateTime,
}

impl NewPasskey<'_> {
    /// Adds the passkey; `None` where its credential is of an account already, whichever.
    ///
    /// # Errors
    /// If the database refuses for another reason.
    pub async fn insert_if_missing(&self, conn: &mut Conn) -> QueryResult<Option<Passkey>> {
        diesel::insert_into(passkeys::table)
            .values(self)
            .on_conflict(passkeys::credential_id)
            .do_nothing()
            .returning(Passkey::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}

impl Passkey {
    /// The passkeys of these accounts, the oldest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(passkeys::user_id.among(users))
            .order((passkeys::created_at, passkeys::id))
            .load(&mut &*conn)
            .await
    }

    /// The passkeys with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(passkeys::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// How many passkeys the account has.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn, user: Uuid) -> QueryResult<i64> {
        passkeys::table
            .filter(passkeys::user_id.eq(user))
            .count()
            .get_result(conn)
            .await
    }

    /// Removes a passkey of the account; says whether there was one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove(conn: &mut Conn, id: Uuid, user: Uuid) -> QueryResult<bool> {
        let removed = diesel::delete(passkeys::table.find(id))
            .filter(passkeys::user_id.eq(user))
            .execute(conn)
            .await?;
        Ok(removed == 1)
    }

    /// Removes every passkey of the account; gives how many.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove_all(conn: &mut Conn, user: Uuid) -> QueryResult<usize> {
        diesel::delete(passkeys::table)
            .filter(passkeys::user_id.eq(user))
            .execute(conn)
            .await
    }

    /// Gives a passkey of the account another name; `None` where there is no such passkey.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn rename(
        conn: &mut Conn,
        id: Uuid,
        user: Uuid,
        name: &str,
    ) -> QueryResult<Option<Self>> {
        diesel::update(passkeys::table.find(id))
            .filter(passkeys::user_id.eq(user))
            .set(passkeys::name.eq(name))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}

impl PasskeyCredential {
    /// The credential with the id that its authenticator gave it, whoever's it is.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_credential_id(
        conn: &mut Conn,
        credential_id: &[u8],
    ) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(passkeys::credential_id.eq(credential_id))
            .first(conn)
            .await
            .optional()
    }

    /// The ids that authenticators gave to the credentials of the account, the oldest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn ids_of(conn: &mut Conn, user: Uuid) -> QueryResult<Vec<Vec<u8>>> {
        passkeys::table
            .filter(passkeys::user_id.eq(user))
            .order((passkeys::created_at, passkeys::id))
            .select(passkeys::credential_id)
            .load(conn)
            .await
    }

    /// Notes a use of the passkey `id` and keeps what it changed. Says whether it may count: false
    /// where the passkey is gone, or its counter, where it has one, has not grown since its last use.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn note_use(
        conn: &mut Conn,
        id: Uuid,
        credential: &Json,
        sign_count: u32,
        now: DateTime,
    ) -> QueryResult<bool> {
        let sign_count = i64::from(sign_count);
        let grown = passkeys::sign_count.lt(sign_count);
        let without = passkeys::sign_count
            .eq(0)
            .and(sign_count.into_sql::<diesel::sql_types::BigInt>().eq(0));
        let used = diesel::update(passkeys::table.find(id))
            .filter(grown.or(without))
            .set((
                passkeys::credential.eq(credential),
                passkeys::sign_count.eq(sign_count),
                passkeys::last_used_at.eq(now),
            ))
            .execute(conn)
            .await?;
        Ok(used == 1)
    }
}
