//! The tables `data_keys` and `installation_keys`: the wrapped keys of sealed values. It unwraps none.

use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Bool};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
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
    pub async fn by_users(conn: &mut Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(data_keys::user_id.eq_any(users))
            .load(conn)
            .await
    }

    /// Keeps a key for its account, unless that has one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert_if_missing(&self, conn: &mut Conn, now: DateTime) -> QueryResult<()> {
        diesel::insert_into(data_keys::table)
            .values((
                data_keys::user_id.eq(self.user_id),
                data_keys::wrapped_key.eq(&self.wrapped_key),
                data_keys::master_key_id.eq(&self.master_key_id),
                data_keys::created_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await
            .map(drop)
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
