//! Exporting everything that is kept about an account, as one document (GDPR articles 15 and 20).

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel_async::AsyncConnection as _;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::crypto::seal::{DataKey, Place};
use crate::db::Pooled;
use crate::error::{Error, Result};
use crate::models::export;
use crate::scalar::Json;
use crate::services::audit::{AuditAction, Entry, origin_place, reason_place};
use crate::services::limits::{self, Limit};
use crate::services::{data_keys, sealed};

/// Names the form of the document.
const FORMAT: &str = "cardea.account";
/// Raised when a part changes its name, its form or its meaning; new parts and fields may come without.
const VERSION: u32 = 1;
/// What begins the names of sealed columns.
const SEALED: &str = "sealed_";

/// Everything that is kept about the caller's account: what was sealed opened, secrets left out.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` after several in an hour; an internal error where something sealed was changed.
pub async fn mine(app: &App, actor: &Actor) -> Result<Json> {
    let id = actor.user_id();
    limits::take(app, Limit::Export, actor.client(), &id.to_string()).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let key = conn
        .transaction::<_, Error, _>(async |conn| {
            let key = Arc::new(data_keys::ensure(app, conn, id).await?);
            let entry = Entry::own(actor, AuditAction::DataExported).sealed_by(&key);
            entry.record(app, conn).await?;
            Ok(key)
        })
        .await?;
    drop(conn);
    // Its own entry is in it.
    let read = |mut conn: Pooled| async move { Ok(export::everything(&mut conn, id).await?) };
    let document = app.db.read_much(read).await?;
    let document = document.ok_or(Error::Unauthenticated)?;
    let Value::Object(parts) = document.0 else {
        return Err(anyhow::anyhow!("an export is an object").into());
    };
    let mut whole = Map::new();
    whole.insert("format".to_owned(), json!(FORMAT));
    whole.insert("version".to_owned(), json!(VERSION));
    whole.insert("exportedAt".to_owned(), json!(now));
    for (name, part) in parts {
        let part = match part {
            Value::Array(rows) => rows
                .into_iter()
                .map(|row| opened(&key, &name, row))
                .collect::<Result<Value>>()?,
            row => opened(&key, &name, row)?,
        };
        whole.insert(name, part);
    }
    Ok(Json(Value::Object(whole)))
}

/// A row of a part with the names of the API and what is sealed opened.
fn opened(key: &DataKey, part: &str, row: Value) -> Result<Value> {
    let Value::Object(row) = row else {
        return Ok(row);
    };
    let id = row.get("id").and_then(Value::as_str);
    let id = id.and_then(|id| id.parse().ok()).unwrap_or(key.user());
    let mut shown = Map::new();
    for (column, value) in row {
        match column.strip_prefix(SEALED) {
            None => drop(shown.insert(camel(&column), value)),
            Some(column) => {
                let value = match value.as_str() {
                    Some(text) => open(key, (part, column), id, text)?,
                    _ => Value::Null,
                };
                if column == "client" {
                    let field = |name| value.get(name).cloned().unwrap_or_default();
                    shown.insert("ipAddress".to_owned(), field("ip"));
                    shown.insert("userAgent".to_owned(), field("user_agent"));
                } else {
                    shown.insert(camel(column), value);
                }
            }
        }
    }
    Ok(Value::Object(shown))
}

fn open(key: &DataKey, (part, column): (&str, &str), row: Uuid, text: &str) -> Result<Value> {
    let bytes = STANDARD
        .decode(text.replace('\n', ""))
        .context("PostgreSQL writes base64")?;
    let text = |place: Place<'_>| sealed::open(key, place, &bytes);
    let json = |text: String| serde_json::from_str(&text).context("a sealed value is not JSON");
    Ok(match (part, column) {
        ("account", "birth_date") => json!(sealed::open_birth_date(key, &bytes)?),
        ("profile", "coaching_goals") => sealed::open_coaching_goals(key, &bytes)?.0,
        ("sessions", "ip_address") => json!(text(sealed::place(sealed::IP_ADDRESS, row))?),
        ("sessions", "user_agent") => json!(text(sealed::place(sealed::USER_AGENT, row))?),
        ("activity", "client") => json(text(origin_place(row))?)?,
        ("activity", "reason") => json!(text(reason_place(row))?),
        (part, column) => Err(anyhow::anyhow!("{part}.{column} is not known to be sealed"))?,
    })
}

fn camel(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    let mut upper = false;
    for c in column.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            name.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            name.push(c);
        }
    }
    name
}
