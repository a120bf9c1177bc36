//! The tables `data_keys` and `installation_keys`: the wrapped keys of sealed values. It unwraps none.

use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::scalar::DateTime;
use crate::schema::{data_keys, installation_keys};

/// A data key as it is kept.
#[derive(HasQuery)]
#[diesel(table_name = data_keys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct WrappedKey {
    pub user_id: Uuid,
    pub wrapped_key: Vec<u8>,
    pub master_key_id: Vec<u8>,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

impl WrappedKey {
    /// The key of this account, if it has one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_user(conn: &mut Conn, user: Uuid) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(data_keys::user_id.eq(user))
            .first(conn)
            .await
            .optional()
    }

    /// The keys of these accounts, in no order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(data_keys::user_id.among(users))
            .load(&mut &*conn)
            .await
    }

    /// Keeps keys for their accounts, where those have none and are not gone. An account that is being erased at
    /// this moment is waited for.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert_missing(conn: &mut Conn, keys: &[Self], now: DateTime) -> QueryResult<()> {
        let users: Vec<Uuid> = keys.iter().map(|key| key.user_id).collect();
        let wrapped: Vec<&[u8]> = keys.iter().map(|key| &*key.wrapped_key).collect();
        let masters: Vec<&[u8]> = keys.iter().map(|key| &*key.master_key_id).collect();
        diesel::sql_query(
            "INSERT INTO data_keys (user_id, wrapped_key, master_key_id, created_at) \
             SELECT keys.user_id, keys.wrapped_key, keys.master_key_id, $4 \
             FROM unnest($1, $2, $3) AS keys (user_id, wrapped_key, master_key_id) \
             JOIN users ON users.id = keys.user_id \
             FOR KEY SHARE OF users ON CONFLICT DO NOTHING",
        )
        .bind::<Array<SqlUuid>, _>(users)
        .bind::<Array<Binary>, _>(wrapped)
        .bind::<Array<Binary>, _>(masters)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
        .map(drop)
    }

    /// Destroys the key of this account: nothing that was sealed with it can be opened any more.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn destroy(conn: &mut Conn, user: Uuid) -> QueryResult<usize> {
        diesel::delete(data_keys::table.find(user))
            .execute(conn)
            .await
    }

    /// At most `most` keys of accounts behind `after` that a master key other than `current` wrapped, by account.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn outdated(
        conn: &mut Conn,
        current: &[u8],
        after: Uuid,
        most: i64,
    ) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(data_keys::user_id.gt(after))
            .filter(data_keys::master_key_id.ne(current))
            .order(data_keys::user_id)
            .limit(most)
            .load(conn)
            .await
    }

    /// How many keys a master key other than `current` wrapped.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count_outdated(conn: &mut Conn, current: &[u8]) -> QueryResult<i64> {
        data_keys::table
            .filter(data_keys::master_key_id.ne(current))
            .count()
            .get_result(conn)
            .await
    }

    /// Puts keys wrapped anew, by `current`, in the place of those in `before`. A key that went with its
    /// account meanwhile stays away.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn rewrap(
        conn: &mut Conn,
        before: &[Self],
        anew: &[Vec<u8>],
        current: &[u8],
    ) -> QueryResult<usize> {
        let users: Vec<Uuid> = before.iter().map(|key| key.user_id).collect();
        let old: Vec<&[u8]> = before.iter().map(|key| &*key.wrapped_key).collect();
        diesel::sql_query(
            "UPDATE data_keys SET wrapped_key = keys.anew, master_key_id = $1 \
             FROM unnest($2, $3, $4) AS keys (user_id, before, anew) \
             WHERE data_keys.user_id = keys.user_id AND data_keys.wrapped_key = keys.before",
        )
        .bind::<Binary, _>(current)
        .bind::<Array<SqlUuid>, _>(users)
        .bind::<Array<Binary>, _>(old)
        .bind::<Array<Binary>, _>(anew)
        .execute(conn)
        .await
    }

    /// Whether a key was wrapped by a master key other than these.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn any_by_others(conn: &mut Conn, masters: &[[u8; 8]]) -> QueryResult<bool> {
        let masters: Vec<&[u8]> = masters.iter().map(|id| &id[..]).collect();
        let found: Found = diesel::sql_query(
            "SELECT EXISTS (SELECT FROM data_keys WHERE master_key_id <> ALL($1)) \
             OR EXISTS (SELECT FROM installation_keys WHERE master_key_id <> ALL($1)) AS found",
        )
        .bind::<Array<Binary>, _>(masters)
        .get_result(conn)
        .await?;
        Ok(found.found)
    }
}

/// A key of the installation as it is kept.
#[derive(HasQuery)]
#[diesel(table_name = installation_keys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct InstallationKey {
    pub wrapped_key: Vec<u8>,
    pub master_key_id: Vec<u8>,
}

impl InstallationKey {
    /// What the key of the audit trail is for.
    pub const AUDIT: &str = "audit";

    /// The key for this purpose, if there is one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn find(conn: &mut Conn, purpose: &str) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(installation_keys::purpose.eq(purpose))
            .first(conn)
            .await
            .optional()
    }

    /// All keys, with what each is for.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<(String, Self)>> {
        installation_keys::table
            .select((installation_keys::purpose, Self::as_select()))
            .load(conn)
            .await
    }

    /// Puts a key wrapped anew in the place of this one; says whether it still was there.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn rewrap(
        &self,
        conn: &mut Conn,
        purpose: &str,
        anew: &[u8],
        current: &[u8],
    ) -> QueryResult<bool> {
        diesel::update(installation_keys::table.find(purpose))
            .filter(installation_keys::wrapped_key.eq(&self.wrapped_key))
            .set((
                installation_keys::wrapped_key.eq(anew),
                installation_keys::master_key_id.eq(current),
            ))
            .execute(conn)
            .await
            .map(|changed| changed > 0)
    }

    /// Keeps a key for this purpose, unless there is one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert_if_missing(
        &self,
        conn: &mut Conn,
        purpose: &str,
        now: DateTime,
    ) -> QueryResult<()> {
        diesel::insert_into(installation_keys::table)
            .values((
                installation_keys::purpose.eq(purpose),
                installation_keys::wrapped_key.eq(&self.wrapped_key),
                installation_keys::master_key_id.eq(&self.master_key_id),
                installation_keys::created_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await
            .map(drop)
    }
}
