//! Changing the master key: data keys are wrapped anew, what they sealed stays as it is. Servers that know
//! both master keys go on meanwhile.

use uuid::Uuid;

use crate::app::App;
use crate::error::Result;
use crate::models::data_key::{InstallationKey, WrappedKey};
use crate::services::audit::{AuditAction, Entry};

/// How many keys are wrapped anew in one transaction.
const BATCH: i64 = 1000;

/// Wraps every key anew that another master key than the first one wrapped, and gives how many. Whatever ends
/// it half-way, it goes on where it was when it is called again. `progress` hears how many are done of how many.
///
/// # Errors
/// If the database refuses, or a key was wrapped by a master key that is not given.
pub async fn rotate(app: &App, mut progress: impl FnMut(u64, u64)) -> Result<usize> {
    let current = app.master_keys.current();
    let mut conn = app.db.conn().await?;
    let mut all = 0;
    for (purpose, key) in InstallationKey::all(&mut conn).await? {
        if key.master_key_id == current {
            continue;
        }
        let (wrapped, by) = (&key.wrapped_key, &key.master_key_id);
        let anew = app.master_keys.rewrap(Uuid::nil(), wrapped, by)?;
        if key.rewrap(&mut conn, &purpose, &anew, &current).await? {
            all += 1;
        }
    }
    // A server that does not know the new key yet may wrap another with the old one meanwhile.
    loop {
        let total = WrappedKey::count_outdated(&mut conn, &current).await?;
        if total == 0 {
            break;
        }
        let total = u64::try_from(total).unwrap_or_default();
        let (mut after, mut done) = (Uuid::nil(), 0);
        loop {
            let keys = WrappedKey::outdated(&mut conn, &current, after, BATCH).await?;
            let Some(last) = keys.last() else { break };
            after = last.user_id;
            let anew = keys
                .iter()
                .map(|key| {
                    let (wrapped, by) = (&key.wrapped_key, &key.master_key_id);
                    app.master_keys.rewrap(key.user_id, wrapped, by)
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            all += WrappedKey::rewrap(&mut conn, &keys, &anew, &current).await?;
            done += keys.len() as u64;
            progress(done.min(total), total);
        }
    }
    if all > 0 {
        Entry::server(AuditAction::MasterKeyRotated)
            .with("keys", all)
            .record(app, &mut conn)
            .await?;
    }
    Ok(all)
}
