//! The data key of an account: found, or made when the first value is to be sealed.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::app::App;
use crate::crypto::seal::DataKey;
use crate::db::Conn;
use crate::error::{Error, Result};
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
/// As [`find`]; [`Error::Unauthenticated`] where the account was erased a moment ago.
pub async fn ensure(app: &App, conn: &mut Conn, user: Uuid) -> Result<DataKey> {
    let key = of_account(app, conn, user).await?;
    key.ok_or(Error::Unauthenticated)
}

/// The data key of `user`, made if there is none; `None` where there is no such account any more.
///
/// # Errors
/// As [`find`].
pub async fn of_account(app: &App, conn: &mut Conn, user: Uuid) -> Result<Option<DataKey>> {
    let key = find(app, conn, user).await?;
    if key.is_some() {
        return Ok(key);
    }
    make(app, conn, user).await?;
    // Of two that make one at once both use the same.
    find(app, conn, user).await
}

/// Makes the data key of `user`, unless there is one or there is no such account.
///
/// # Errors
/// If the database refuses, or no key can be made.
async fn make(app: &App, conn: &mut Conn, user: Uuid) -> Result<()> {
    let (_, row) = new(app, user)?;
    Ok(WrappedKey::insert_missing(conn, &[row], app.now()).await?)
}

/// A new data key for an account to open, and the row that keeps it.
///
/// # Errors
/// If no key can be made.
pub fn new(app: &App, user: Uuid) -> Result<(DataKey, WrappedKey)> {
    let (key, wrapped_key, master) = app.master_keys.new_data_key(user)?;
    let row = WrappedKey {
        user_id: user,
        wrapped_key,
        master_key_id: master.to_vec(),
    };
    Ok((key, row))
}

/// The data keys of these accounts; accounts without one are left out.
///
/// # Errors
/// If the database cannot answer, or no master key unwraps one.
pub async fn of(app: &App, conn: &Conn, users: &[Uuid]) -> Result<HashMap<Uuid, Arc<DataKey>>> {
    let mut keys = HashMap::new();
    for row in WrappedKey::by_users(conn, users).await? {
        let key = app
            .master_keys
            .unwrap(row.user_id, &row.wrapped_key, &row.master_key_id)?;
        keys.insert(row.user_id, Arc::new(key));
    }
    Ok(keys)
}

/// The data keys of these accounts, made where there is none.
///
/// # Errors
/// As [`of`].
pub async fn ensure_all(
    app: &App,
    conn: &mut Conn,
    users: &[Uuid],
) -> Result<HashMap<Uuid, Arc<DataKey>>> {
    let found = of(app, conn, users).await?;
    let missing = users.iter().filter(|user| !found.contains_key(user));
    let rows = missing
        .map(|user| Ok(new(app, *user)?.1))
        .collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        return Ok(found);
    }
    WrappedKey::insert_missing(conn, &rows, app.now()).await?;
    of(app, conn, users).await
}
