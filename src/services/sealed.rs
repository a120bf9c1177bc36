//! What is sealed of an account with its data key: birth date, coaching goals, and from where its sessions
//! were opened. Each value opens in its own row and column only.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use anyhow::Context as _;
use diesel_async::AsyncConnection as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::crypto::seal::{DataKey, Place};
use crate::error::{Error, Result};
use crate::models::session::Session;
use crate::models::unsealed_value::UnsealedValue;
use crate::scalar::{Date, Json};
use crate::services::data_keys;

const BIRTH_DATE: &str = "users.birth_date";
const COACHING_GOALS: &str = "profiles.coaching_goals";
/// Where the address of a session's client stands.
pub const IP_ADDRESS: &str = "sessions.ip_address";
/// Where the user agent of a session's client stands.
pub const USER_AGENT: &str = "sessions.user_agent";
/// How many values are sealed in one transaction.
const BATCH: i64 = 500;

/// Seals a birth date.
///
/// # Errors
/// If it cannot be encrypted.
pub fn seal_birth_date(key: &DataKey, day: Date) -> Result<Vec<u8>> {
    seal(key, BIRTH_DATE, key.user(), day.format("%Y-%m-%d"))
}

/// Opens a birth date.
///
/// # Errors
/// If it was changed, or is of another account.
pub fn open_birth_date(key: &DataKey, sealed: &[u8]) -> Result<Date> {
    let text = open(key, place(BIRTH_DATE, key.user()), sealed)?;
    let day = text.parse().context("a sealed birth date is no date")?;
    Ok(Date(day))
}

/// Seals coaching goals; an empty object is kept as nothing.
///
/// # Errors
/// If they cannot be encrypted.
pub fn seal_coaching_goals(key: &DataKey, goals: &Json) -> Result<Option<Vec<u8>>> {
    if **goals == json!({}) {
        return Ok(None);
    }
    seal(key, COACHING_GOALS, key.user(), &**goals).map(Some)
}

/// Opens coaching goals.
///
/// # Errors
/// If they were changed, or are of another account.
pub fn open_coaching_goals(key: &DataKey, sealed: &[u8]) -> Result<Json> {
    let text = open(key, place(COACHING_GOALS, key.user()), sealed)?;
    let goals: Value = serde_json::from_str(&text).context("sealed goals are not JSON")?;
    Ok(Json(goals))
}

/// Seals the address of the client that opened a session.
///
/// # Errors
/// If it cannot be encrypted.
pub fn seal_ip_address(key: &DataKey, session: Uuid, ip: impl Display) -> Result<Vec<u8>> {
    seal(key, IP_ADDRESS, session, ip)
}

/// Opens the address of the client that opened a session, where it was kept.
///
/// # Errors
/// If it was changed, or is of another session.
pub fn open_ip_address(key: &DataKey, session: &Session) -> Result<Option<String>> {
    let sealed = session.ip_address.as_deref();
    sealed
        .map(|sealed| open(key, place(IP_ADDRESS, session.id), sealed))
        .transpose()
}

/// Seals what the client that opened a session calls itself.
///
/// # Errors
/// If it cannot be encrypted.
pub fn seal_user_agent(key: &DataKey, session: Uuid, agent: &str) -> Result<Vec<u8>> {
    seal(key, USER_AGENT, session, agent)
}

/// Opens what the client that opened a session calls itself, where it was kept.
///
/// # Errors
/// If it was changed, or is of another session.
pub fn open_user_agent(key: &DataKey, session: &Session) -> Result<Option<String>> {
    let sealed = session.user_agent.as_deref();
    sealed
        .map(|sealed| open(key, place(USER_AGENT, session.id), sealed))
        .transpose()
}

/// Where a value of this column and row belongs.
#[must_use]
pub fn place(column: &str, row: Uuid) -> Place<'_> {
    Place { column, row }
}

fn seal(key: &DataKey, column: &str, row: Uuid, value: impl Display) -> Result<Vec<u8>> {
    Ok(key.seal(place(column, row), value.to_string().as_bytes())?)
}

/// Opens a text that was sealed for this place.
///
/// # Errors
/// If it was changed, or belongs elsewhere.
pub fn open(key: &DataKey, place: Place<'_>, sealed: &[u8]) -> Result<String> {
    let opened = key
        .open(place, sealed)
        .with_context(|| format!("{} of {}", place.column, place.row))?;
    let text = String::from_utf8(opened.expose_secret().clone());
    Ok(text.context("a sealed value is not text")?)
}

/// Seals what stands in clear from before its column was sealed; gives how many values there were. Two servers
/// that start together share the work, and neither is done before it is.
///
/// # Errors
/// If the database refuses, or a value cannot be sealed.
pub async fn seal_what_is_clear(app: &App) -> Result<usize> {
    let mut all = 0;
    loop {
        let mut conn = app.db.conn().await?;
        let done = conn
            .transaction::<_, Error, _>(async |conn| {
                let values = UnsealedValue::lock_some(conn, BATCH).await?;
                let mut users: Vec<Uuid> = values.iter().map(|value| value.user_id).collect();
                users.dedup();
                let keys = data_keys::ensure_all(app, conn, &users).await?;
                for place in [BIRTH_DATE, COACHING_GOALS, IP_ADDRESS, USER_AGENT] {
                    let of_place: Vec<_> =
                        values.iter().filter(|value| value.place == place).collect();
                    let sealed = of_place
                        .iter()
                        .map(|value| seal_value(&keys, value))
                        .collect::<Result<Vec<_>>>()?;
                    if !sealed.is_empty() {
                        UnsealedValue::replace(conn, place, &of_place, sealed).await?;
                    }
                }
                Ok(values.len())
            })
            .await?;
        if done == 0 {
            return Ok(all);
        }
        all += done;
    }
}

fn seal_value(keys: &HashMap<Uuid, Arc<DataKey>>, value: &UnsealedValue) -> Result<Vec<u8>> {
    let key = keys
        .get(&value.user_id)
        .context("an account has no data key")?;
    seal(key, &value.place, value.row_id, &value.value)
}
