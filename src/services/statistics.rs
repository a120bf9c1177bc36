//! Counts over many accounts, and the roll-ups of sign-ins that keep them fast.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::db::Pooled;
use crate::error::{Error, Result};
use crate::models::role::Role;
use crate::models::statistics::{self, Accounts, Holders, MethodCount, Quarters};
use crate::models::user_page::Span;
use crate::scalar::{Date, DateTime};
use crate::services::days::{self, Days, QUARTER};

/// The span that is counted where none is given, and what lately means.
const USUAL: TimeDelta = TimeDelta::days(30);
/// How long events are left alone before they are rolled up: longer than any transaction, so that none comes to
/// light behind the roll-up, and than clocks of servers differ.
const LAG: TimeDelta = TimeDelta::minutes(15);
/// Events rolled up by one transaction: few enough to be done within a second or so.
const BATCH: i64 = 50_000;

/// Sign-ins within a span of time.
pub struct LoginStats {
    /// Those of each day that the span touches.
    pub by_day: Vec<LoginDay>,
    /// By what was proved, the most frequent first.
    pub by_method: Vec<MethodCount>,
    /// Accounts that signed in.
    pub accounts: i64,
}

/// Sign-ins of a day.
pub struct LoginDay {
    /// The day.
    pub day: Date,
    /// Tries that were refused.
    pub failures: i64,
    /// Sign-ins that opened a session.
    pub successes: i64,
}

/// Counts the sign-ins from the first instant on and before the second; up to now and the 30 days before
/// where they are left out. Days are those of `zone`.
///
/// # Errors
/// [`Error::BadInput`] for an unknown zone, and for a span that is longer than 400 days or ends before it begins.
pub async fn logins(app: &App, span: Span, zone: &str) -> Result<LoginStats> {
    let Days { days, cut } = cut(app, span, zone)?;
    // One snapshot: an event that is rolled up meanwhile is in one of the counts, and in one only.
    let cut = &cut;
    let read = |mut conn: Pooled| async move {
        let mut snapshot = conn.build_transaction().repeatable_read().read_only();
        let read = async |conn: &mut _| {
            let pieces = cut.pieces(conn).await?;
            let by_method = cut.by_method(conn).await?;
            Ok::<_, Error>((pieces, by_method, cut.accounts(conn).await?))
        };
        snapshot.run(read).await
    };
    let (pieces, by_method, accounts) = app.db.read_much(read).await?;
    let days = in_order(&days, pieces.into_iter().map(|piece| (piece.number, piece)));
    let by_day = days.map(|(day, piece)| LoginDay {
        day,
        failures: piece.map_or(0, |piece| piece.failures),
        successes: piece.map_or(0, |piece| piece.successes),
    });
    Ok(LoginStats {
        by_day: by_day.collect(),
        by_method,
        accounts,
    })
}

/// Counts over all accounts at one instant.
pub struct UserStats {
    /// The instant.
    pub as_of: DateTime,
    /// All accounts.
    pub accounts: Accounts,
    /// How many hold each role, by its name.
    pub by_role: Vec<(Role, i64)>,
    /// How many came into being on each day of a span.
    pub registrations: Vec<(Date, i64)>,
}

/// Counts all accounts, and those that came into being from the first instant on and before the second; up to now
/// and the 30 days before where they are left out. Days are those of `zone`.
///
/// # Errors
/// [`Error::BadInput`] for an unknown zone, and for a span that is longer than 400 days or ends before it begins.
pub async fn users(app: &App, span: Span, zone: &str) -> Result<UserStats> {
    let Days { days, cut } = cut(app, span, zone)?;
    let as_of = app.now();
    let lately = DateTime(*as_of - USUAL);
    let cut = &cut;
    let read = |mut conn: Pooled| async move {
        let mut snapshot = conn.build_transaction().repeatable_read().read_only();
        let read = async |conn: &mut _| {
            let accounts = Accounts::count(conn, lately).await?;
            let holders = Holders::count(conn).await?;
            let roles = Role::all(conn).await?;
            Ok::<_, Error>((accounts, holders, roles, cut.registrations(conn).await?))
        };
        snapshot.run(read).await
    };
    let (accounts, holders, roles, registrations) = app.db.read_much(read).await?;
    let holders = holders.into_iter();
    let holders: HashMap<_, _> = holders.map(|row| (row.role_id, row.accounts)).collect();
    let by_role = roles.into_iter().map(|role| {
        let holders = holders.get(&role.id).copied().unwrap_or(0);
        (role, holders)
    });
    let registrations = registrations.into_iter();
    let registrations = in_order(&days, registrations.map(|row| (row.number, row.accounts)));
    Ok(UserStats {
        as_of,
        accounts,
        by_role: by_role.collect(),
        registrations: registrations
            .map(|(day, accounts)| (day, accounts.unwrap_or(0)))
            .collect(),
    })
}

/// Cuts a span into days of `zone`; up to now and the 30 days before where its ends are left out.
fn cut(app: &App, (from, to): Span, zone: &str) -> Result<Days> {
    // What happens at this very instant counts, too.
    let to = to.unwrap_or_else(|| DateTime(*app.now() + TimeDelta::microseconds(1)));
    let from = match from {
        Some(from) => from,
        None => DateTime((*to).checked_sub_signed(USUAL).unwrap_or(*to)),
    };
    days::cut(from, to, zone)
}

/// Every day with what there is for its piece.
fn in_order<T>(
    days: &[Date],
    pieces: impl Iterator<Item = (i32, T)>,
) -> impl Iterator<Item = (Date, Option<T>)> {
    let mut pieces: HashMap<i32, T> = pieces.collect();
    let numbered = days.iter().zip(1..);
    numbered.map(move |(day, number)| (*day, pieces.remove(&number)))
}

/// Rolls up the sign-ins that are old enough, in batches, unless another instance is at it. Gives how many batches
/// there were.
///
/// # Errors
/// If the database cannot answer; what was rolled up before stays so.
pub async fn roll_up(app: &App) -> Result<usize> {
    let until = days::floor(DateTime(*app.now() - LAG), QUARTER);
    for batches in 0.. {
        let mut conn = app.db.conn().await?;
        let batch = conn.transaction(async |conn| {
            if !statistics::try_turn(conn).await? {
                return Ok(false);
            }
            let Some(quarters) = Quarters::next(conn, until, BATCH).await? else {
                return Ok(false);
            };
            quarters.roll_up(conn).await?;
            Ok::<_, Error>(true)
        });
        if !batch.await? || app.shutdown.is_cancelled() {
            return Ok(batches);
        }
    }
    Ok(0)
}
