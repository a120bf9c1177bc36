//! What a request read of other people, and what it was refused: written into the audit trail before the
//! answer goes out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use async_graphql::Name;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::Result;
use crate::services::audit::{AuditAction, Entry, MOST_SUBJECTS, record_shown};
use crate::services::limits::{self, Limit};

/// What one request read and was refused.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Accounts with a field each: all that happens for each field of a page is that one is added.
    read: Vec<(Uuid, Name)>,
    denied: BTreeSet<String>,
}

impl Witness {
    /// Notes that the field `what` of the account `user` was read.
    pub fn read(&self, user: Uuid, what: &Name) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.read.push((user, what.clone()));
    }

    /// Notes that the caller may not use a field.
    pub fn denied(&self, of_type: &str, field: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.denied.insert(format!("{of_type}.{field}"));
    }

    /// Forgets what was read of these accounts, and adds those that are left to them.
    pub fn read_before(&self, known: &mut HashSet<Uuid>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.read.retain(|(user, _)| !known.contains(user));
        known.extend(seen.read.iter().map(|(user, _)| *user));
    }

    /// Writes down what `actor` read of others, an entry for the accounts of which the same was read, and what was
    /// refused, an entry for all of it.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of what was read may go out.
    pub async fn testify(&self, app: &App, actor: &Actor) -> Result<()> {
        let Seen { mut read, denied } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        read.retain(|(user, _)| *user != actor.user_id());
        if read.is_empty() && denied.is_empty() {
            return Ok(());
        }
        read.sort_unstable();
        read.dedup();
        let mut together: BTreeMap<Vec<&str>, Vec<Uuid>> = BTreeMap::new();
        for of_one in read.chunk_by(|(before, _), (user, _)| before == user) {
            let fields = of_one.iter().map(|(_, field)| field.as_str());
            together
                .entry(fields.collect())
                .or_default()
                .push(of_one[0].0);
        }
        let mut entries = Vec::with_capacity(together.len() + 1);
        for (fields, users) in together {
            for users in users.chunks(MOST_SUBJECTS) {
                let entry = Entry::by(actor, AuditAction::PersonalDataRead);
                entries.push(entry.on_all(users.to_vec()).with("fields", fields.clone()));
            }
        }
        if !denied.is_empty() {
            let fields: Vec<_> = denied.into_iter().collect();
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
        record_shown(app, actor, entries).await
    }
}
