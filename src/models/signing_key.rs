//! The table `signing_keys`: keys that sign access tokens.

use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::signing_keys;

/// A key that signs access tokens, did, or will.
#[derive(HasQuery)]
#[diesel(table_name = signing_keys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct SigningKey {
    pub id: Uuid,
    pub private_key: Vec<u8>,
    pub signs_from: DateTime,
}

/// A key that is to be added.
#[derive(Insertable)]
#[diesel(table_name = signing_keys)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewSigningKey<'a> {
    pub id: Uuid,
    pub algorithm: &'static str,
    pub private_key: &'a [u8],
    pub created_at: DateTime,
    pub signs_from: DateTime,
}

impl SigningKey {
    /// Makes whoever adds or removes keys wait until this transaction ends, on all servers.
    ///
    /// # Errors
    /// If the database cannot answer, or somebody holds the lock for too long.
    pub async fn lock(conn: &mut Conn) -> QueryResult<()> {
        diesel::sql_query("SELECT pg_advisory_xact_lock(hashtext('cardea signing keys'))")
            .execute(conn)
            .await
            .map(drop)
    }

    /// All keys, the one that signs last first; of two that begin together the younger one.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        Self::query()
            .order((signing_keys::signs_from.desc(), signing_keys::id.desc()))
            .load(conn)
            .await
    }

    /// Adds a key.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn add(conn: &mut Conn, key: &NewSigningKey<'_>) -> QueryResult<()> {
        diesel::insert_into(signing_keys::table)
            .values(key)
            .execute(conn)
            .await
            .map(drop)
    }

    /// Removes a key; gives whether it was there. Does not check that another one can sign.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove(conn: &mut Conn, id: Uuid) -> QueryResult<bool> {
        diesel::delete(signing_keys::table.find(id))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Removes the keys whose successor has signed since `succeeded_by` or longer; gives how many.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove_ended(conn: &mut Conn, succeeded_by: DateTime) -> QueryResult<usize> {
        diesel::sql_query(
            "DELETE FROM signing_keys USING ( \
                 SELECT id, lead(signs_from) OVER (ORDER BY signs_from, id) AS succeeded_at FROM signing_keys \
             ) AS successors \
             WHERE signing_keys.id = successors.id AND succeeded_at <= $1",
        )
        .bind::<Timestamptz, _>(succeeded_by)
        .execute(conn)
        .await
    }
}
