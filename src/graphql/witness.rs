//! What a request read of other people, and what it was refused: written into the audit trail before the
//! answer goes out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::Result;
use crate::services::audit::{AuditAction, Entry, record_all};
use crate::services::limits::{self, Limit};

/// What one request read and was refused.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    read: BTreeMap<Uuid, BTreeSet<String>>,
    denied: BTreeSet<String>,
}

impl Witness {
    /// Notes that the field `what` of the account `user` was read.
    pub fn read(&self, user: Uuid, what: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.read.entry(user).or_default().insert(what.to_owned());
    }

    /// Notes that the caller may not use a field.
    pub fn denied(&self, of_type: &str, field: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.denied.insert(format!("{of_type}.{field}"));
    }

    /// Forgets what was read of these accounts, and adds those that are left to them.
    pub fn read_before(&self, known: &mut HashSet<Uuid>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.read.retain(|user, _| known.insert(*user));
    }

    /// Writes down what `actor` read of others, an entry for each account, and what was refused, an entry for
    /// all of it.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of what was read may go out.
    pub async fn testify(&self, app: &App, actor: &Actor) -> Result<()> {
        let Seen { mut read, denied } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        read.remove(&actor.user_id());
        if read.is_empty() && denied.is_empty() {
            return Ok(());
        }
        let names = |fields: BTreeSet<String>| fields.into_iter().collect::<Vec<_>>();
        let mut entries = Vec::with_capacity(read.len() + 1);
        for (user, fields) in read {
            let entry = Entry::by(actor, AuditAction::PersonalDataRead);
            entries.push(entry.on(user).with("fields", names(fields)));
        }
        if !denied.is_empty() {
            let fields = names(denied);
            tracing::info!(user.id = %actor.user_id(), "Refused to {}: {}", actor.user_id(), fields.join(", "));
            // Bounded, for anybody can be refused as often as they like.
            let account = actor.user_id().to_string();
            let full = limits::wait(app, Limit::Refusal, actor.client(), &account).await?;
            if full.is_none() {
                let entry = Entry::by(actor, AuditAction::AccessDenied);
                entries.push(entry.denied().with("fields", fields));
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        record_all(app, &mut *app.db.conn().await?, entries).await
    }
}
