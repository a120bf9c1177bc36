//! Counts over many accounts.

use chrono::TimeDelta;

use crate::app::App;
use crate::error::{Error, Result};
use crate::models::login_event::{self, MethodCount, Totals};
use crate::scalar::DateTime;

/// The span that is counted where none is given.
const USUAL: TimeDelta = TimeDelta::days(30);
/// The longest span that is counted.
const LONGEST: TimeDelta = TimeDelta::days(400);

/// Sign-ins within a span of time.
pub struct LoginStats {
    /// All of them.
    pub totals: Totals,
    /// By what was proved, the most frequent first.
    pub by_method: Vec<MethodCount>,
}

/// Counts the sign-ins from the first instant on and before the second; up to now and the 30 days before
/// where they are left out.
///
/// # Errors
/// [`Error::BadInput`] for a span that is longer than 400 days or ends before it begins.
pub async fn logins(
    app: &App,
    (from, to): (Option<DateTime>, Option<DateTime>),
) -> Result<LoginStats> {
    // What happens at this very instant counts, too.
    let to = to.unwrap_or_else(|| DateTime(*app.now() + TimeDelta::microseconds(1)));
    let from = match from {
        Some(from) => from,
        None => DateTime((*to).checked_sub_signed(USUAL).unwrap_or(*to)),
    };
    let length = (*to).signed_duration_since(*from);
    if length < TimeDelta::zero() || length > LONGEST {
        let message = "A span that ends after it begins and has at most 400 days.";
        return Err(Error::BadInput(message.to_owned()));
    }
    let mut conn = app.db.conn().await?;
    Ok(LoginStats {
        totals: login_event::totals(&mut conn, from, to).await?,
        by_method: login_event::by_method(&mut conn, from, to).await?,
    })
}
