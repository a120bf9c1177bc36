//! How often an operation may be tried. The budgets lie in the database, so that all instances agree.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::db::Conn;
use crate::error::{Result, UserError};
use crate::models::rate_limit;
use crate::scalar::DateTime;

/// An operation whose tries are counted.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Opening an account, for each network.
    Register,
    /// Signing in, for each name and network.
    Login,
    /// Mailing a token, for each address.
    Resend,
}

/// Takes one try of `limit` for `subject`, before anything costly is done.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the time to wait.
pub async fn take(app: &App, limit: Limit, client: &ClientInfo, subject: &str) -> Result<()> {
    match wait(app, limit, client, subject).await? {
        None => Ok(()),
        Some(wait) => Err(UserError::too_many_attempts(wait).into()),
    }
}

/// Takes one try of `limit` for `subject`; gives the time to wait where there is none left.
///
/// # Errors
/// If the database cannot answer; nothing is allowed then.
pub async fn wait(
    app: &App,
    limit: Limit,
    client: &ClientInfo,
    subject: &str,
) -> Result<Option<Duration>> {
    let rates = &app.config.rates;
    let subject = subject.to_lowercase();
    let (key, burst, period) = match limit {
        Limit::Register => (
            ["register", &client.network()].join("\0"),
            rates.registrations_per_hour,
            TimeDelta::hours(1),
        ),
        Limit::Login => (
            ["login", &subject, &client.network()].join("\0"),
            rates.logins_per_quarter,
            TimeDelta::minutes(15),
        ),
        Limit::Resend => (
            resend_key(&subject),
            1,
            TimeDelta::seconds(rates.resend_secs.into()),
        ),
    };
    let interval = period / i32::try_from(burst).unwrap_or(i32::MAX);
    if interval.is_zero() {
        return Ok(None);
    }
    // Hashed, so that no address stands in the table.
    let key = Sha256::digest(key);
    let mut conn = app.db.conn().await?;
    let wait = rate_limit::take(&mut conn, &key, burst, interval, app.now()).await?;
    Ok(wait.map(|wait| wait.to_std().unwrap_or_default()))
}

/// When another mail may be asked for with this address.
///
/// # Errors
/// If the database cannot answer.
pub async fn resend_available_at(app: &App, conn: &mut Conn, email: &str) -> Result<DateTime> {
    let key = Sha256::digest(resend_key(&email.to_lowercase()));
    let full_at = rate_limit::full_at(conn, &key).await?;
    Ok(full_at.map_or(app.now(), |full_at| full_at.max(app.now())))
}

fn resend_key(email: &str) -> String {
    ["resend", email].join("\0")
}
