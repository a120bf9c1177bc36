//! The table `known_devices`: from where accounts have signed in.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::kept::KeptExt as _;
use crate::scalar::DateTime;

#[derive(QueryableByName)]
struct Noted {
    #[diesel(sql_type = Bool)]
    is_new: bool,
}

/// Notes that `user` signs in with a device from a network; says whether the device is a new one. The
/// first one of all is not: there is nobody yet whom it would be news to.
///
/// # Errors
/// If the database cannot answer.
pub async fn note(
    conn: &mut Conn,
    user: Uuid,
    device: &[u8; 32],
    network: &[u8; 32],
    now: DateTime,
) -> QueryResult<bool> {
    let noted: Noted = diesel::sql_query(
        "WITH before AS ( \
             SELECT count(*) > 0 AS any, count(*) FILTER (WHERE device_hash = $2) > 0 AS same \
             FROM known_devices WHERE user_id = $1 \
         ), put AS ( \
             INSERT INTO known_devices (user_id, device_hash, network_hash, first_seen_at, last_seen_at) \
             VALUES ($1, $2, $3, $4, $4) \
             ON CONFLICT (user_id, device_hash, network_hash) DO UPDATE SET last_seen_at = $4 \
         ) \
         SELECT \"any\" AND NOT same AS is_new FROM before",
    )
    .bind::<SqlUuid, _>(user)
    .bind::<Binary, _>(&device[..])
    .bind::<Binary, _>(&network[..])
    .bind::<Timestamptz, _>(now)
    .kept()
    .get_result(conn)
    .await?;
    Ok(noted.is_new)
}
