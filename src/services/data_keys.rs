//! The data key of an account: found, or made when the first value is to be sealed.

use uuid::Uuid;

use crate::app::App;
use crate::crypto::seal::DataKey;
use crate::db::Conn;
use crate::error::Result;
use crate::models::data_key::WrappedKey;

/// The data key of `user`, if there is one.
///
/// # Errors
/// If the database cannot answer, or no master key unwraps it.
pub async fn find(app: &App, conn: &mut Conn, user: Uuid) -> Result<Option<DataKey>> {
    let Some(row) = WrappedKey::by_user(conn, user).await? else {
        return Ok(None);
    };
    let key = app
        .master_keys
        .unwrap(user, &row.wrapped_key, &row.master_key_id)?;
    Ok(Some(key))
}

/// The data key of `user`, made if there is none.
///
/// # Errors
/// As [`find`].
pub async fn ensure(app: &App, conn: &mut Conn, user: Uuid) -> Result<DataKey> {
    if let Some(key) = find(app, conn, user).await? {
        return Ok(key);
    }
    make(app, conn, user).await?;
    // Of two that make one at once both use the same.
    let key = find(app, conn, user).await?;
    Ok(key.ok_or_else(|| anyhow::anyhow!("a data key was not kept"))?)
}

/// Makes the data key of `user`, unless there is one.
///
/// # Errors
/// If the database refuses, or no key can be made.
pub async fn make(app: &App, conn: &mut Conn, user: Uuid) -> Result<()> {
    let (_, wrapped_key, master) = app.master_keys.new_data_key(user)?;
    let row = WrappedKey {
        user_id: user,
        wrapped_key,
        master_key_id: master.to_vec(),
    };
    Ok(row.insert_if_missing(conn, app.now()).await?)
}
