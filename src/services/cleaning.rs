//! What is done from time to time: what is over is removed, and passwords that end soon are told of.

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::error::{Error, Result};
use crate::models::cleaning::{self, Ending};
use crate::models::import_request;
use crate::models::job::Job;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::services::{keys, limits, two_factor};

/// Rows removed by one statement: few enough to hold nobody up.
const BATCH: i64 = 500;
/// Days before its end at which the owner of a password is warned.
const WARNINGS: [i32; 3] = [14, 3, 1];

/// Removes what is over, in small batches, unless another instance is at it. Gives how many rows went.
///
/// # Errors
/// If the database cannot answer; what was removed before stays removed, and what comes after is tried.
pub async fn clean(app: &App) -> Result<usize> {
    let (mut removed, mut failed) = (0, None);
    for ending in Ending::ALL {
        match clean_one(app, ending).await {
            Ok(Some(rows)) => removed += rows,
            Ok(None) => return Ok(removed),
            Err(error) => failed = Some(error),
        }
    }
    removed += keys::remove_ended(app).await?;
    failed.map_or(Ok(removed), Err)
}

/// Removes what is over of one kind; `None` where another instance is at it.
async fn clean_one(app: &App, ending: Ending) -> Result<Option<usize>> {
    let before = DateTime(*app.now() - kept(app, ending));
    let mut removed = 0;
    loop {
        let mut conn = app.db.conn().await?;
        let batch = conn
            .transaction(async |conn| {
                if !cleaning::try_turn(conn).await? {
                    return Ok(None);
                }
                let removed = ending.remove(conn, before, BATCH).await?;
                Ok::<_, Error>(Some(removed))
            })
            .await?;
        let Some(batch) = batch else {
            return Ok(None);
        };
        removed += batch;
        if i64::try_from(batch).unwrap_or(BATCH) < BATCH || app.shutdown.is_cancelled() {
            return Ok(Some(removed));
        }
    }
}

/// For how long rows are kept after their end.
fn kept(app: &App, ending: Ending) -> TimeDelta {
    let links = &app.config.links;
    let hours = |hours: u32| TimeDelta::hours(hours.into());
    match ending {
        // Asked for, confirmed and undone, each at its last moment.
        Ending::EmailChanges => hours(links.recovery_hours) + hours(links.email_undo_hours),
        // A year, and the one before it to compare with.
        Ending::LoginEvents => TimeDelta::days(800),
        // Later than what they were made of: the last of them tells what is rolled up already.
        Ending::LoginDayMethods | Ending::LoginDayReturns | Ending::LoginQuarters => {
            TimeDelta::days(802)
        }
        // Anybody can make them. Their numbers stay in the roll-ups.
        Ending::RefusedSignIns => TimeDelta::days(90),
        Ending::ImportRequests => import_request::LIFETIME,
        Ending::KnownDevices => TimeDelta::days(400),
        // Tries in a row are remembered for a while after the last wait.
        Ending::RateLimits => limits::FORGET,
        Ending::RegistrationClaims => hours(app.config.registration.verification_hours),
        // For whoever looks into what happened.
        Ending::Sessions | Ending::SpentTokens => TimeDelta::days(7),
        // `User.verifications` shows tokens that were made in the last 30 days.
        Ending::OAuthStates
        | Ending::PasskeyChallenges
        | Ending::TrustedDevices
        | Ending::TwoFactorChallenges => TimeDelta::zero(),
        // As long as the account would have waited that the registration was to open.
        Ending::UsernameReservations => app
            .config
            .unproved_lifetime()
            .unwrap_or(TimeDelta::days(365_000)),
        Ending::PendingSecrets => two_factor::SETUP_LIFETIME,
        Ending::VerificationTokens | Ending::FailedJobs | Ending::WebhookEvents => {
            TimeDelta::days(30)
        }
    }
}

/// Queues a mail to everybody whose password ends in 14, in 3 or in 1 day and who was not told yet.
/// Gives how many.
///
/// # Errors
/// If the database cannot answer.
pub async fn warn_of_expiry(app: &App) -> Result<usize> {
    let Some(age) = app.config.password_policy().maximum_age() else {
        return Ok(0);
    };
    let now = app.now();
    let mut warned = 0;
    loop {
        let mut conn = app.db.conn().await?;
        let users = conn
            .transaction(async |conn| {
                let users = User::warn_of_expiry(conn, age, &WARNINGS, BATCH, now).await?;
                for user in &users {
                    Job::PasswordExpires { user: *user }
                        .enqueue(conn, now)
                        .await?;
                }
                Ok::<_, Error>(users.len())
            })
            .await?;
        warned += users;
        if users == 0 || app.shutdown.is_cancelled() {
            return Ok(warned);
        }
    }
}
