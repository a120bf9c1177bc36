//! The table `signing_keys`: keys that sign access tokens.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::signing_keys;

/// A key that signs, or has signed, access tokens.
#[derive(HasQuery)]
#[diesel(table_name = signing_keys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct SigningKey {
    pub id: Uuid,
    pub private_key: Vec<u8>,
    pub retired_at: Option<DateTime>,
}

impl SigningKey {
    /// All keys, the newest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        Self::query()
            .order(signing_keys::id.desc())
            .load(conn)
            .await
    }

    /// Adds a key that signs from now on, unless there is one; of two servers that start together
    /// one adds it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn add_if_none(
        conn: &mut Conn,
        id: Uuid,
        private_key: &[u8],
        now: DateTime,
    ) -> QueryResult<bool> {
        diesel::insert_into(signing_keys::table)
            .values((
                signing_keys::id.eq(id),
                signing_keys::algorithm.eq("EdDSA"),
                signing_keys::private_key.eq(private_key),
                signing_keys::created_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }
}
