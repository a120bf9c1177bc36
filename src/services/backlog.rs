//! How far what is done behind the answers lags: mails, events for other services, places in the audit trail.

use std::time::Duration;

use crate::app::App;
use crate::error::Result;
use crate::models::backlog;
use crate::scalar::DateTime;

/// Most of each kind that are counted: beyond that it is too much anyway.
pub const MOST: i64 = 10_000;

/// A queue of jobs.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// What it holds: `mails`, or `events` for other services.
    pub name: &'static str,
    /// Jobs that were not done yet, at most [`MOST`].
    pub pending: i64,
    /// Those of them that failed before, at most [`MOST`].
    pub retrying: i64,
    /// Jobs that were given up and wait for an operator, at most [`MOST`] of both queues.
    pub dead: i64,
    /// How long the first that is due waits for a worker.
    pub lag: Duration,
}

/// What waits just now.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// The queues.
    pub queues: [Queue; 2],
    /// Entries of the audit trail without a place in their chain, at most [`MOST`].
    pub audit: i64,
    /// How long the oldest of them waits.
    pub audit_lag: Duration,
}

/// What waits just now, by one statement.
///
/// # Errors
/// If the database cannot answer.
pub async fn read(app: &App) -> Result<Backlog> {
    let now = app.now();
    let conn = &mut *app.db.conn().await?;
    let found = backlog::Backlog::count(conn, MOST, now).await?;
    let since = |at: Option<DateTime>| {
        let waited = at.map(|at| *now - *at);
        waited
            .and_then(|waited| waited.to_std().ok())
            .unwrap_or_default()
    };
    let mails = Queue {
        name: "mails",
        pending: found.mails,
        retrying: found.mails_retrying,
        dead: found.mails_dead,
        lag: since(found.mails_due_at),
    };
    let events = Queue {
        name: "events",
        pending: found.events,
        retrying: found.events_retrying,
        dead: found.events_dead,
        lag: since(found.events_due_at),
    };
    Ok(Backlog {
        queues: [mails, events],
        audit: found.audit,
        audit_lag: since(found.audit_since),
    })
}
