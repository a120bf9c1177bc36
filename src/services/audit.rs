//! The audit trail: what is written down, in the transaction that it tells of. If it cannot be written,
//! that does not happen either.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::seal::{DataKey, Place};
use crate::db::Conn;
use crate::error::Result;
use crate::models::audit_event::AuditEvent;
pub use crate::models::audit_event::{AuditAction, AuditOutcome};
use crate::scalar::Json;
use crate::services::{audit_chain, data_keys};

/// Something that was done, or tried.
#[derive(Debug)]
pub struct Entry<'a> {
    action: AuditAction,
    outcome: AuditOutcome,
    actor: Option<Uuid>,
    subject: Option<Uuid>,
    client: Option<&'a ClientInfo>,
    reason: Option<&'a str>,
    details: Map<String, Value>,
    key: Option<&'a DataKey>,
}

/// From where something was done, as it is sealed.
#[derive(Serialize, Deserialize)]
pub struct Origin {
    /// The address of the client.
    pub ip: String,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

impl<'a> Entry<'a> {
    /// A signed-in caller did it. To whom says [`Entry::on`].
    #[must_use]
    pub fn by(actor: &'a Actor, action: AuditAction) -> Self {
        let entry = Self::from(actor.client(), action);
        Self {
            actor: Some(actor.user_id()),
            ..entry
        }
    }

    /// A signed-in caller did it to the own account.
    #[must_use]
    pub fn own(actor: &'a Actor, action: AuditAction) -> Self {
        Self::by(actor, action).on(actor.user_id())
    }

    /// Somebody without a session did it, at this client. Who that turned out to be says [`Entry::of`].
    #[must_use]
    pub fn from(client: &'a ClientInfo, action: AuditAction) -> Self {
        Self {
            client: Some(client),
            ..Self::server(action)
        }
    }

    /// The server itself did it, or an operator at its command line.
    #[must_use]
    pub fn server(action: AuditAction) -> Self {
        Self {
            action,
            outcome: AuditOutcome::Success,
            actor: None,
            subject: None,
            client: None,
            reason: None,
            details: Map::new(),
            key: None,
        }
    }

    /// It was done to this account.
    #[must_use]
    pub fn on(self, subject: Uuid) -> Self {
        let subject = Some(subject);
        Self { subject, ..self }
    }

    /// Who did it proved to be the owner of this account, and did it to that.
    #[must_use]
    pub fn of(self, user: Uuid) -> Self {
        let actor = Some(user);
        Self { actor, ..self }.on(user)
    }

    /// It was tried and did not succeed.
    #[must_use]
    pub fn failed(self) -> Self {
        let outcome = AuditOutcome::Failure;
        Self { outcome, ..self }
    }

    /// Who asked may not.
    #[must_use]
    pub fn denied(self) -> Self {
        let outcome = AuditOutcome::Denied;
        Self { outcome, ..self }
    }

    /// A fact beside. Neither a secret nor personal data: it stays when the account is erased.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The reason that was given; goes with the account that it was done to.
    #[must_use]
    pub fn because(self, reason: Option<&'a str>) -> Self {
        Self { reason, ..self }
    }

    /// A data key that is at hand and need not be looked up, if it is the one that is needed.
    #[must_use]
    pub fn sealed_by(self, key: &'a DataKey) -> Self {
        let key = Some(key);
        Self { key, ..self }
    }

    /// Writes it down. Belongs into the transaction that it tells of.
    ///
    /// # Errors
    /// If the database refuses or no key seals what has to be sealed.
    pub async fn record(self, app: &App, conn: &mut Conn) -> Result<()> {
        record_all(app, conn, vec![self]).await
    }

    /// Whose key seals the origin: of who acted, else of whom it was done to, else of the installation.
    fn origin_owner(&self) -> Option<Uuid> {
        self.actor.or(self.subject)
    }
}

/// Writes several entries down that come from one client, in one statement.
///
/// # Errors
/// As [`Entry::record`].
pub async fn record_all(app: &App, conn: &mut Conn, entries: Vec<Entry<'_>>) -> Result<()> {
    let now = app.now();
    let mut keys: Vec<DataKey> = Vec::new();
    let mut events = Vec::new();
    for entry in entries {
        // In order also within one instant.
        let id = Uuid::now_v7();
        let client = match entry.client {
            Some(client) => {
                let origin = Origin {
                    ip: client.ip.to_string(),
                    user_agent: client.user_agent.clone(),
                };
                let origin = serde_json::to_vec(&origin).map_err(anyhow::Error::from)?;
                let place = origin_place(id);
                if let Some(owner) = entry.origin_owner() {
                    // Erased a moment ago: nothing of the person is kept any more.
                    let key = key_of(app, conn, &mut keys, entry.key, owner).await?;
                    key.map(|key| key.seal(place, &origin)).transpose()?
                } else {
                    // As much work as for an account, so that its time does not tell of one.
                    data_keys::find(app, conn, id).await?;
                    Some(app.audit_key.seal(place, &origin)?)
                }
            }
            None => None,
        };
        let reason = match (entry.reason, entry.subject) {
            (Some(reason), Some(subject)) => {
                let key = key_of(app, conn, &mut keys, entry.key, subject).await?;
                let place = reason_place(id);
                key.map(|key| key.seal(place, reason.as_bytes()))
                    .transpose()?
            }
            _ => None,
        };
        let mut event = AuditEvent {
            id,
            occurred_at: now,
            action: entry.action,
            outcome: entry.outcome,
            actor_id: entry.actor,
            subject_id: entry.subject,
            request_id: entry.client.and_then(|client| client.request_id.clone()),
            client,
            reason,
            details: Json(Value::Object(entry.details)),
            mac: Vec::new(),
        };
        event.mac = audit_chain::mac(&app.audit_key, &event);
        events.push(event);
    }
    Ok(AuditEvent::insert(conn, &events).await?)
}

/// The data key of `user`, looked up once; none where the account is gone.
async fn key_of<'k>(
    app: &App,
    conn: &mut Conn,
    keys: &'k mut Vec<DataKey>,
    at_hand: Option<&'k DataKey>,
    user: Uuid,
) -> Result<Option<&'k DataKey>> {
    if let Some(key) = at_hand.filter(|key| key.user() == user) {
        return Ok(Some(key));
    }
    if !keys.iter().any(|key| key.user() == user) {
        keys.extend(data_keys::of_account(app, conn, user).await?);
    }
    Ok(keys.iter().find(|key| key.user() == user))
}

/// Where the origin of an entry is sealed for.
#[must_use]
pub fn origin_place(event: Uuid) -> Place<'static> {
    Place {
        column: "audit_events.client",
        row: event,
    }
}

/// Where the reason of an entry is sealed for.
#[must_use]
pub fn reason_place(event: Uuid) -> Place<'static> {
    Place {
        column: "audit_events.reason",
        row: event,
    }
}
