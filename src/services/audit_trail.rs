//! Reading the audit trail. What was sealed is opened with the key that the entry names, if it is there still.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::crypto::seal::{DataKey, Place};
use crate::db::{Conn, Pooled};
use crate::error::Result;
use crate::models::audit_chain;
use crate::models::audit_event::{AuditEvent, AuditFilter, AuditPosition};
use crate::scalar::Date;
use crate::services::audit::{Origin, origin_place, reason_place};
use crate::services::data_keys;

/// A page of entries to fetch, the newest first.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Which entries.
    pub filter: AuditFilter,
    /// Behind this one: older.
    pub after: Option<AuditPosition>,
    /// Before this one: newer.
    pub before: Option<AuditPosition>,
    /// Most entries.
    pub limit: usize,
    /// From the end of the list instead of its beginning.
    pub backward: bool,
}

/// A page of entries, the newest first.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub events: Vec<AuditEvent>,
    /// Newer ones match.
    pub has_previous: bool,
    /// Older ones match.
    pub has_next: bool,
}

/// Fetches a page of the trail.
///
/// # Errors
/// If the database cannot answer.
pub async fn page(app: &App, request: &PageRequest) -> Result<Page> {
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX - 1) + 1;
    // What lies behind an entry of this list is older than it.
    let bounds = (request.before, request.after);
    let descending = !request.backward;
    let filter = &request.filter;
    let read = |mut conn: Pooled| async move {
        Ok(AuditEvent::page(&mut conn, filter, bounds, descending, limit).await?)
    };
    Ok(page_of(app.db.read_much(read).await?, request))
}

/// The page that a request gives whose entries are `events`: in the order in which they are read, one more
/// than asked for where there are more.
#[must_use]
pub fn page_of(mut events: Vec<AuditEvent>, request: &PageRequest) -> Page {
    let more = events.len() > request.limit;
    events.truncate(request.limit);
    // A cursor stands for an entry of the list, so that something lies on its other side.
    let (newer, older) = (request.after.is_some(), request.before.is_some());
    if request.backward {
        events.reverse();
        Page {
            events,
            has_previous: more || newer,
            has_next: older,
        }
    } else {
        Page {
            events,
            has_previous: newer,
            has_next: more || older,
        }
    }
}

/// At most `many` entries of a month behind a place in its chain, in order.
///
/// # Errors
/// If the database cannot answer.
pub async fn chained(app: &App, month: Date, behind: i64, many: i64) -> Result<Vec<AuditEvent>> {
    let conn = &mut *app.db.conn().await?;
    let links = audit_chain::links(conn, month, behind, many).await?;
    Ok(links.into_iter().map(|link| link.event).collect())
}

/// The account whose key opens from where an entry came; none for what the installation's key opens.
#[must_use]
pub fn origin_owner(event: &AuditEvent) -> Option<Uuid> {
    event.actor_id.or(event.subject_id)
}

/// From where it was done; none where that was not kept, or went with the account.
#[must_use]
pub fn origin(app: &App, event: &AuditEvent, owner: Option<&DataKey>) -> Option<Origin> {
    let key = match origin_owner(event) {
        Some(_) => owner?,
        None => &app.audit_key,
    };
    let opened = open(key, origin_place(event.id), event.client.as_deref()?)?;
    serde_json::from_slice(&opened).ok()
}

/// The facts beside, with the reason that was given where the key of the account opens it.
#[must_use]
pub fn details(event: &AuditEvent, subject: Option<&DataKey>) -> Map<String, Value> {
    let mut details = event.details.as_object().cloned().unwrap_or_default();
    if let (Some(key), Some(reason)) = (subject, &event.reason)
        && let Some(reason) = open(key, reason_place(event.id), reason)
    {
        let reason = String::from_utf8_lossy(&reason).into_owned();
        details.insert("reason".to_owned(), Value::String(reason));
    }
    details
}

fn open(key: &DataKey, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    match key.open(place, sealed) {
        Ok(opened) => Some(opened.expose_secret().clone()),
        Err(error) => {
            tracing::warn!(error = %error, "A part of the audit entry {} cannot be opened", place.row);
            None
        }
    }
}

/// Entries as the lines of an export, one JSON object each, opened as far as keys are there.
///
/// # Errors
/// If the database cannot answer.
pub async fn lines(app: &App, conn: &mut Conn, events: &[AuditEvent]) -> Result<Vec<String>> {
    let mut users: Vec<Uuid> = events
        .iter()
        .flat_map(|event| [event.actor_id, event.subject_id])
        .flatten()
        .collect();
    users.sort_unstable();
    users.dedup();
    let keys = data_keys::of(app, conn, &users).await?;
    let key = |user: Option<Uuid>| user.and_then(|user| keys.get(&user)).map(Arc::as_ref);
    let line = |event: &AuditEvent| {
        let origin = origin(app, event, key(origin_owner(event)));
        let (ip, user_agent) =
            origin.map_or((None, None), |origin| (Some(origin.ip), origin.user_agent));
        json!({
            "id": event.id,
            "occurredAt": event.occurred_at,
            "action": event.action.as_str(),
            "outcome": event.outcome.as_str(),
            "actorId": event.actor_id,
            "subjectId": event.subject_id,
            "subjectIds": event.all_subjects(),
            "requestId": event.request_id,
            "ipAddress": ip,
            "userAgent": user_agent,
            "details": details(event, key(event.subject_id)),
        })
        .to_string()
    };
    Ok(events.iter().map(line).collect())
}
