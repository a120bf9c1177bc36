//! Carries out the queues: claims jobs, calls their service, deletes or puts them back, and sends events to
//! other services. It decides nothing of what a job does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::Notify;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::app::App;
use crate::error::{Error, Result};
use crate::mail::{Mailer, Undeliverable};
use crate::models::job::{Claimed, Job};
use crate::scalar::DateTime;
use crate::services::{mails, webhook};
use crate::traces::TARGET;

/// Least number of jobs carried out at once.
const WORKERS: usize = 2;
/// Events that one service gets at once from this server. They are workers of their own, so that a service
/// that hangs holds up neither mails nor other services.
const SENDERS: usize = 4;
/// How long a worker holds a job; whoever has not ended by then counts as dead.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How long a job may take; ends well before its lease.
const TIME_LIMIT: Duration = Duration::from_secs(45);
/// How often the queue is looked at without a notification: retries, and what a notification missed.
const POLL: Duration = Duration::from_secs(5);
/// How long a job is tried.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);

/// Starts the workers and the listener that wakes them; they end with the application.
pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    // One that waits for a mail server that hangs leaves the others to the rest of the queue.
    let workers = match app.mailer {
        Mailer::Smtp(_) => WORKERS.max(app.config.mail.smtp_connections),
        Mailer::Inbox(_) => WORKERS,
        Mailer::Held => 0,
    };
    let mut wakes = vec![Arc::clone(&wake)];
    for endpoint in 0..app.webhooks.endpoints().len() {
        let wake = Arc::new(Notify::new());
        for _ in 0..SENDERS {
            start_sender(app, endpoint, Arc::clone(&wake));
        }
        wakes.push(wake);
    }
    for _ in 0..workers {
        let (app, wake) = (app.clone(), Arc::clone(&wake));
        let tasks = app.tasks.clone();
        tasks.spawn(async move {
            while !app.shutdown.is_cancelled() {
                if let Err(error) = run_due(&app).await {
                    tracing::warn!(error = ?error, "The queue cannot be read");
                }
                tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                    () = app.shutdown.cancelled() => {}
                }
            }
        });
    }
    let app = app.clone();
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = app.shutdown.cancelled() => return,
                ended = listen(&app, &wakes) => if let Err(error) = ended {
                    tracing::warn!(error = %error, "Lost the queue's notifications: {error:#}");
                },
            }
            // Meanwhile the workers look by themselves.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

/// Starts a sender of the endpoint at that place in the settings.
fn start_sender(app: &App, endpoint: usize, wake: Arc<Notify>) {
    let (app, tasks) = (app.clone(), app.tasks.clone());
    tasks.spawn(async move {
        while let Some(endpoint) = app.webhooks.endpoints().get(endpoint) {
            loop {
                if app.shutdown.is_cancelled() {
                    return;
                }
                match webhook::deliver_next(&app, endpoint).await {
                    // There may be more of them than one can send.
                    Ok(true) => wake.notify_one(),
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(error = ?error, "The queue of webhooks cannot be used");
                        break;
                    }
                }
            }
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = app.shutdown.cancelled() => {}
            }
        }
    });
}

async fn listen(app: &App, wakes: &[Arc<Notify>]) -> anyhow::Result<()> {
    let wake = || wakes.iter().for_each(|wake| wake.notify_one());
    let mut conn = app.db.listen("jobs").await?;
    // Whatever came while nobody listened.
    wake();
    let mut notifications = std::pin::pin!(conn.notifications_stream());
    while let Some(notification) = notifications.next().await {
        notification?;
        wake();
    }
    anyhow::bail!("the database closed the connection")
}

/// Sends events until none is due; gives how many were begun.
///
/// # Errors
/// If the queue cannot be read or written. An event that is not taken is no error: it is put back.
pub async fn deliver_due(app: &App) -> Result<usize> {
    let mut begun = 0;
    for endpoint in app.webhooks.endpoints() {
        while webhook::deliver_next(app, endpoint).await? {
            begun += 1;
        }
    }
    Ok(begun)
}

/// Carries out jobs until none is due; gives how many were begun.
///
/// # Errors
/// If the queue cannot be read or written. A job that fails is no error: it is put back.
pub async fn run_due(app: &App) -> Result<usize> {
    let mut begun = 0;
    while !app.shutdown.is_cancelled() {
        let claimed = Job::claim(&mut *app.db.conn().await?, 1, LEASE, app.now()).await?;
        let Some(job) = claimed.into_iter().next() else {
            break;
        };
        begun += 1;
        let kind = job.payload.0.get("kind").and_then(Value::as_str);
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "job",
            otel.name = format!("job {}", kind.unwrap_or("_OTHER")),
            otel.kind = "consumer",
            otel.status_code = Empty,
            "cardea.job.attempt" = job.attempts,
        );
        run(app, job).instrument(span).await?;
    }
    Ok(begun)
}

async fn run(app: &App, claimed: Claimed) -> Result<()> {
    let id = claimed.id;
    let outcome = match serde_json::from_value::<Job>(claimed.payload.0.clone()) {
        Ok(job) => {
            // A job that panics costs itself, not the worker.
            let done = AssertUnwindSafe(mails::carry_out(app, &job, id)).catch_unwind();
            match tokio::time::timeout(TIME_LIMIT, done).await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(Error::Internal(cause)))) => {
                    let again = !cause.is::<Undeliverable>();
                    Err((format!("{cause:#}"), again))
                }
                Ok(Ok(Err(error))) => Err((format!("{error:?}"), true)),
                Ok(Err(_)) => Err(("panicked".to_owned(), true)),
                Err(_) => Err(("took too long".to_owned(), true)),
            }
        }
        Err(error) => Err((format!("not a job of this version: {error}"), false)),
    };
    let now = app.now();
    let mut conn = app.db.conn().await?;
    match outcome {
        Ok(()) => Job::done(&mut conn, id).await?,
        Err((error, again)) => {
            Span::current().record("otel.status_code", "ERROR");
            let next = (again && *now - *claimed.created_at < GIVE_UP_AFTER)
                .then(|| DateTime(*now + pause(claimed.attempts)));
            if next.is_some() {
                tracing::warn!(job.id = %id, "Job {id} failed and will be tried again: {error}");
            } else {
                tracing::error!(job.id = %id, "Job {id} is given up: {error}");
            }
            Job::failed(&mut conn, id, &error, next, now).await?;
        }
    }
    Ok(())
}

/// How long to wait after the given number of attempts: 5 s, doubled each time, at most an hour.
fn pause(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(0)
        .min(10);
    TimeDelta::seconds(5 << doublings).min(TimeDelta::hours(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        assert_eq!(pause(1), TimeDelta::seconds(5));
        assert_eq!(pause(3), TimeDelta::seconds(20));
        assert_eq!(pause(40), TimeDelta::hours(1));
    }
}
