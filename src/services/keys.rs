//! The keys of access tokens: made, published before they sign, replaced, removed. Servers are told by
//! the database.

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::access_token::{self, ALGORITHM};
use crate::auth::keys::{KeyState, KeyTimes, MAX_AGE_SECS, ended_since};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::signing_key::{NewSigningKey, SigningKey};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};

/// When a new key begins to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Once nobody's copy of the published keys can be older than the key.
    Published,
    /// At once: for an emergency, since others meet tokens of a key that they have not seen.
    AtOnce,
}

/// What became of the wish for a new key.
#[derive(Clone, Copy, Debug)]
pub enum Rotation {
    /// This key was made.
    Added(KeyTimes),
    /// None was made: this one waits for its time already.
    Waiting(KeyTimes),
}

/// What became of the wish to be rid of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, and its tokens with it.
    Removed,
    /// There is none of this name.
    Unknown,
    /// It stays: there would be no other to sign.
    Needed,
}

/// For how long a key is published before it signs: twice as long as others may keep the keys.
const PUBLISHED: TimeDelta = TimeDelta::seconds(2 * MAX_AGE_SECS);

/// All keys that are good for something, the one that signs last first.
///
/// # Errors
/// If the database cannot answer.
pub async fn list(app: &App) -> Result<Vec<(KeyTimes, KeyState)>> {
    let mut conn = app.db.conn().await?;
    Ok(useful(app, &SigningKey::all(&mut conn).await?, app.now()))
}

/// Makes the key that signs next.
///
/// # Errors
/// If the database cannot answer or no key can be made.
pub async fn rotate(app: &App, beginning: Beginning) -> Result<Rotation> {
    let now = app.now();
    let signs_from = match beginning {
        Beginning::Published => DateTime(*now + PUBLISHED),
        Beginning::AtOnce => now,
    };
    let private_key = access_token::generate_private_key()?;
    let key = NewSigningKey {
        id: Uuid::now_v7(),
        algorithm: ALGORITHM,
        private_key: &private_key,
        created_at: now,
        signs_from,
    };
    let mut conn = app.db.conn().await?;
    let rotation = conn
        .transaction::<_, Error, _>(async |conn| {
            SigningKey::lock(conn).await?;
            let keys = useful(app, &SigningKey::all(conn).await?, now);
            let waiting = keys.iter().find(|(_, state)| *state == KeyState::Next);
            if let (Some((waiting, _)), Beginning::Published) = (waiting, beginning) {
                return Ok(Rotation::Waiting(*waiting));
            }
            SigningKey::add(conn, &key).await?;
            let entry = Entry::server(AuditAction::SigningKeyChanged);
            let entry = entry.with("added", key.id.to_string());
            entry.record(app, conn).await?;
            let keys = useful(app, &SigningKey::all(conn).await?, now);
            let added = keys.iter().find(|(times, _)| times.id == key.id);
            let (added, _) = added.ok_or_else(|| anyhow::anyhow!("the new key is not there"))?;
            Ok(Rotation::Added(*added))
        })
        .await?;
    if let Rotation::Added(added) = rotation {
        tracing::info!(key.id = %added.id, "Made the signing key {}", added.id);
    }
    Ok(rotation)
}

/// Removes a key that others may hold, at once: tokens that it signed are refused from now on. The
/// key before signs again where the one removed did.
///
/// # Errors
/// If the database cannot answer.
pub async fn remove(app: &App, id: Uuid) -> Result<Removal> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let removal = conn
        .transaction::<_, Error, _>(async |conn| {
            SigningKey::lock(conn).await?;
            // One that has ended must not come back as the key before.
            end(app, conn, now).await?;
            let keys = useful(app, &SigningKey::all(conn).await?, now);
            if keys.iter().all(|(times, _)| times.id != id) {
                return Ok(Removal::Unknown);
            }
            let able =
                |(times, state): &(KeyTimes, KeyState)| times.id != id && *state != KeyState::Next;
            if !keys.iter().any(able) {
                return Ok(Removal::Needed);
            }
            SigningKey::remove(conn, id).await?;
            let entry = Entry::server(AuditAction::SigningKeyChanged);
            let entry = entry.with("removed", id.to_string());
            entry.record(app, conn).await?;
            Ok(Removal::Removed)
        })
        .await?;
    if removal == Removal::Removed {
        tracing::warn!(key.id = %id, "Removed the signing key {id}; its tokens are void");
    }
    Ok(removal)
}

/// Removes the keys whose last token has run out; gives how many.
///
/// # Errors
/// If the database cannot answer.
pub async fn remove_ended(app: &App) -> Result<usize> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        SigningKey::lock(conn).await?;
        end(app, conn, app.now()).await
    })
    .await
}

async fn end(app: &App, conn: &mut Conn, now: DateTime) -> Result<usize> {
    let since = ended_since(app.config.access_token_lifetime(), now);
    Ok(SigningKey::remove_ended(conn, since).await?)
}

fn useful(app: &App, rows: &[SigningKey], now: DateTime) -> Vec<(KeyTimes, KeyState)> {
    let times = KeyTimes::of(rows, app.config.access_token_lifetime());
    let useful = times
        .into_iter()
        .filter_map(|times| Some((times, times.state(now)?)));
    useful.collect()
}
