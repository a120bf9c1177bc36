//! Starts what is done from time to time. Every instance tries; the database lets one at a time.

use std::time::Duration;

use crate::app::App;
use crate::services::audit_verify::{self, Checkpoint};
use crate::services::{audit_chain, cleaning, erasure, retention, statistics};

/// How often.
const INTERVAL: Duration = Duration::from_mins(1);
/// Accounts that nobody uses are looked for at every so many rounds: once an hour.
const RETENTION_EVERY: u64 = 60;
/// How often the audit trail is chained; who follows it hears of an entry so much later.
const CHAIN_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the schedule; it ends with the application.
pub fn start(app: &App) {
    let (app, tasks) = (app.clone(), app.tasks.clone());
    let chaining = app.clone();
    tasks.spawn(async move {
        // Told once, however long it lasts.
        let mut failing = false;
        while !chaining.shutdown.is_cancelled() {
            let chained = audit_chain::chain(&chaining).await;
            if let Err(error) = &chained
                && !failing
            {
                tracing::warn!(error = ?error, "The audit trail could not be chained");
            }
            failing = chained.is_err();
            tokio::select! {
                // What is written last is chained, too.
                () = chaining.shutdown.cancelled() => {
                    let _ = audit_chain::chain(&chaining).await;
                }
                () = tokio::time::sleep(CHAIN_INTERVAL) => {}
            }
        }
    });
    tasks.spawn(async move {
        let mut told = Vec::new();
        keep_audit(&app, &mut told).await;
        for minute in 0_u64.. {
            tokio::select! {
                () = app.shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            // Before the cleaning, which leaves nothing to roll up of what is too old.
            if let Err(error) = statistics::roll_up(&app).await {
                tracing::warn!(error = ?error, "Sign-ins could not be rolled up");
            }
            match cleaning::clean(&app).await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!("Removed {removed} rows that are over"),
                Err(error) => {
                    tracing::warn!(error = ?error, "What is over could not be removed");
                }
            }
            if let Err(error) = cleaning::warn_of_expiry(&app).await {
                tracing::warn!(error = ?error, "Warnings of passwords that end could not be queued");
            }
            match erasure::erase_due(&app).await {
                Ok(0) => {}
                Ok(erased) => tracing::info!("Erased {erased} accounts"),
                Err(error) => {
                    tracing::warn!(error = ?error, "Accounts could not be erased");
                }
            }
            if minute % RETENTION_EVERY == 0
                && let Err(error) = retention::run(&app, retention::PASS, |_, _| {}).await
            {
                tracing::warn!(error = ?error, "The retention could not be carried out");
            }
            keep_audit(&app, &mut told).await;
        }
    });
}

/// Keeps the months of the audit trail, and tells the log how far its chains go: an outside place to look
/// back at.
async fn keep_audit(app: &App, told: &mut Vec<Checkpoint>) {
    match audit_chain::keep_months(app).await {
        Ok(removed) => {
            for month in removed {
                tracing::info!("Removed the audit trail of {}", month.format("%Y-%m"));
            }
        }
        Err(error) => {
            tracing::warn!(error = ?error, "The months of the audit trail could not be kept");
        }
    }
    match audit_verify::checkpoints(app).await {
        Ok(checkpoints) => {
            for checkpoint in &checkpoints {
                let lost = |told: &&Checkpoint| {
                    told.month == checkpoint.month
                        && (told.length > checkpoint.length
                            || told.length == checkpoint.length && told.head != checkpoint.head)
                };
                if let Some(told) = told.iter().find(lost) {
                    tracing::error!(
                        "The audit trail was wound back: it was at {told}, and is at {checkpoint}"
                    );
                }
                if !told.contains(checkpoint) {
                    tracing::info!("Audit trail at checkpoint {checkpoint}");
                }
            }
            *told = checkpoints;
        }
        Err(error) => tracing::warn!(error = ?error, "The audit trail could not be read"),
    }
}
