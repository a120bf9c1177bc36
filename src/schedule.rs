//! Starts what is done from time to time. Every instance tries; the database lets one at a time.

use std::time::Duration;

use crate::app::App;
use crate::services::cleaning;

/// How often.
const INTERVAL: Duration = Duration::from_mins(1);

/// Starts the schedule; it ends with the application.
pub fn start(app: &App) {
    let (app, tasks) = (app.clone(), app.tasks.clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = app.shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
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
        }
    });
}
