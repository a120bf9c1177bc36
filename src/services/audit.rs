//! The audit trail: what is written down, in the transaction that it tells of. If it cannot be written,
//! that does not happen either.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::seal::{DataKey, Place};
use crate::db::Conn;
use crate::error::Result;
use crate::models::audit_event::AuditEvent;
pub use crate::models::audit_event::{AuditAction, AuditOutcome, MOST_SUBJECTS};
use crate::scalar::{DateTime, Json};
use crate::services::{audit_chain, data_keys};

/// Something that was done, or tried.
#[derive(Debug)]
pub struct Entry<'a> {
    action: AuditAction,
    outcome: AuditOutcome,
    actor: Option<Uuid>,
    subjects: Vec<Uuid>,
    client: Option<&'a ClientInfo>,
    reason: Option<&'a str>,
    details: Map<String, Value>,
    key: Option<Arc<DataKey>>,
    caller: Option<&'a Actor>,
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
            caller: Some(actor),
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
            subjects: Vec::new(),
            client: None,
            reason: None,
            details: Map::new(),
            key: None,
            caller: None,
        }
    }

    /// It was done to this account.
    #[must_use]
    pub fn on(self, subject: Uuid) -> Self {
        self.on_all(vec![subject])
    }

    /// It was done to these accounts, at most [`MOST_SUBJECTS`], each named once.
    #[must_use]
    pub fn on_all(self, subjects: Vec<Uuid>) -> Self {
        Self { subjects, ..self }
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
    pub fn sealed_by(self, key: &Arc<DataKey>) -> Self {
        let key = Some(Arc::clone(key));
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
        self.actor.or(self.subject())
    }

    /// The only account that it was done to.
    fn subject(&self) -> Option<Uuid> {
        match self.subjects[..] {
            [subject] => Some(subject),
            _ => None,
        }
    }

    /// The entry as it is kept, with what the keys of their owners seal; without a key, nothing is kept of that.
    fn into_event(
        self,
        app: &App,
        now: DateTime,
        origin_key: Option<&DataKey>,
        reason_key: Option<&DataKey>,
    ) -> Result<AuditEvent> {
        // In order also within one instant.
        let id = Uuid::now_v7();
        let mut client = None;
        if let (Some(from), Some(key)) = (self.client, origin_key) {
            let origin = Origin {
                ip: from.ip.to_string(),
                user_agent: from.user_agent.clone(),
            };
            let origin = serde_json::to_vec(&origin).map_err(anyhow::Error::from)?;
            client = Some(key.seal(origin_place(id), &origin)?);
        }
        let mut reason = None;
        if let (Some(given), Some(key)) = (self.reason, reason_key) {
            reason = Some(key.seal(reason_place(id), given.as_bytes())?);
        }
        let mut event = AuditEvent {
            id,
            occurred_at: now,
            action: self.action,
            outcome: self.outcome,
            actor_id: self.actor,
            subject_id: self.subject(),
            request_id: self.client.and_then(|client| client.request_id.clone()),
            client,
            reason,
            details: Json(Value::Object(self.details)),
            mac: Vec::new(),
            subjects: Some(self.subjects).filter(|subjects| subjects.len() > 1),
        };
        event.mac = audit_chain::mac(&app.audit_key, &event);
        Ok(event)
    }
}

/// Writes several entries down that come from one client, in one statement.
///
/// # Errors
/// As [`Entry::record`].
pub async fn record_all(app: &App, conn: &mut Conn, entries: Vec<Entry<'_>>) -> Result<()> {
    let now = app.now();
    let mut keys: Vec<Arc<DataKey>> = Vec::new();
    let mut events = Vec::new();
    for entry in entries {
        let owner = entry.origin_owner().filter(|_| entry.client.is_some());
        // Erased a moment ago: nothing of the person is kept any more.
        let mut origin_key = key_of(app, conn, &mut keys, &entry, owner).await?;
        if entry.client.is_some() && owner.is_none() {
            // As much work as for an account, so that its time does not tell of one.
            data_keys::find(app, conn, Uuid::now_v7()).await?;
            origin_key = Some(Arc::clone(&app.audit_key));
        }
        let subject = entry.subject().filter(|_| entry.reason.is_some());
        let reason_key = key_of(app, conn, &mut keys, &entry, subject).await?;
        events.push(entry.into_event(app, now, origin_key.as_deref(), reason_key.as_deref())?);
    }
    Ok(AuditEvent::insert(conn, &events).await?)
}

/// Writes down what `actor` was shown, or was refused: together with what other requests have of that at this moment,
/// and before the answer goes out.
///
/// # Errors
/// As [`Entry::record`].
pub async fn record_shown(app: &App, actor: &Actor, entries: Vec<Entry<'_>>) -> Result<()> {
    let key = match actor.data_key().get() {
        Some(key) => Some(Arc::clone(key)),
        None => remember_key(app, &mut *app.db.conn().await?, actor).await?,
    };
    let now = app.now();
    let events = entries
        .into_iter()
        .map(|entry| entry.into_event(app, now, key.as_deref(), None))
        .collect::<Result<_>>()?;
    let (written, worker) = app.shown.put(events);
    if let Some(worker) = worker {
        let at_work = app.clone();
        app.tasks
            .spawn(worker.run(async move |events: Vec<AuditEvent>| {
                let conn = &mut *at_work.db.conn().await?;
                Ok(AuditEvent::insert(conn, &events).await?)
            }));
    }
    written
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("what was shown could not be written down").into()))
}

/// The data key of `user`, looked up once; none where the account is gone.
async fn key_of(
    app: &App,
    conn: &mut Conn,
    keys: &mut Vec<Arc<DataKey>>,
    entry: &Entry<'_>,
    user: Option<Uuid>,
) -> Result<Option<Arc<DataKey>>> {
    let Some(user) = user else { return Ok(None) };
    if let Some(key) = &entry.key
        && key.user() == user
    {
        return Ok(Some(Arc::clone(key)));
    }
    // Looked up here, it is not remembered: the transaction that made it may come to nothing.
    let caller = entry.caller.filter(|caller| caller.user_id() == user);
    if let Some(key) = caller.and_then(|caller| caller.data_key().get()) {
        return Ok(Some(Arc::clone(key)));
    }
    if !keys.iter().any(|key| key.user() == user) {
        let key = data_keys::of_account(app, conn, user).await?;
        keys.extend(key.map(Arc::new));
    }
    Ok(keys.iter().find(|key| key.user() == user).map(Arc::clone))
}

/// Looks the data key of a caller up outside of any transaction, to be remembered with the account. It only ever seals
/// from there: once the account is erased, what it sealed a moment later nobody can open.
async fn remember_key(app: &App, conn: &mut Conn, caller: &Actor) -> Result<Option<Arc<DataKey>>> {
    if let Some(key) = data_keys::find(app, conn, caller.user_id()).await? {
        let key = caller.data_key().get_or_init(|| Arc::new(key));
        return Ok(Some(Arc::clone(key)));
    }
    let made = data_keys::of_account(app, conn, caller.user_id()).await?;
    Ok(made.map(Arc::new))
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
