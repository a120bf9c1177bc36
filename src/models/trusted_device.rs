//! The table `trusted_devices`: devices that need no second factor for a while.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::scalar::DateTime;
use crate::schema::trusted_devices;

/// Most devices that an account trusts; the oldest gives way.
const MOST: i64 = 20;

/// A device on which a second factor was proved.
#[derive(HasQuery, Insertable, Debug)]
#[diesel(table_name = trusted_devices)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct TrustedDevice {
    pub token_hash: TokenHash,
    pub user_id: Uuid,
    pub created_at: DateTime,
    pub expires_at: DateTime,
}

impl TrustedDevice {
    /// Trusts the device from now on.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(trusted_devices::table)
            .values(self)
            .execute(conn)
            .await?;
        let other = diesel::alias!(trusted_devices as other);
        let beyond = other
            .filter(other.field(trusted_devices::user_id).eq(self.user_id))
            .order((
                other.field(trusted_devices::created_at).desc(),
                other.field(trusted_devices::token_hash).desc(),
            ))
            .offset(MOST)
            .select(other.field(trusted_devices::token_hash));
        diesel::delete(trusted_devices::table.filter(trusted_devices::token_hash.eq_any(beyond)))
            .execute(conn)
            .await
            .map(drop)
    }

    /// The device with this token, if `user` trusts it still.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn live(
        conn: &mut Conn,
        user: Uuid,
        token: &TokenHash,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(trusted_devices::token_hash.eq(token))
            .filter(trusted_devices::user_id.eq(user))
            .filter(trusted_devices::expires_at.gt(now))
            .first(conn)
            .await
            .optional()
    }

    /// Trusts no device of `user` any more.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete_all(conn: &mut Conn, user: Uuid) -> QueryResult<()> {
        diesel::delete(trusted_devices::table.filter(trusted_devices::user_id.eq(user)))
            .execute(conn)
            .await
            .map(drop)
    }
}
