//! What becomes of accounts that nobody uses, and of those whose address nobody proved. Each of their stages waits
//! for as long after the one before as the settings say, even where the settings are newer than the account.

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::job::Job;
use crate::models::retention::{self, Candidate, Search, Waiting};
use crate::models::role::Role;
use crate::models::session::SessionEndReason;
use crate::models::user::{ClosedBy, User};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry, record_all};
use crate::services::{account, erasure, roles};

/// Accounts that are warned in one transaction.
const BATCH: i64 = 100;
/// Accounts of a stage that one pass of the schedule takes: the mails to a great many must not stand in the way of those
/// that somebody waits for.
pub const PASS: usize = 1000;
/// Accounts that a report names for each stage.
const NAMED: i64 = 5;

/// What becomes of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its owner is warned.
    FirstWarning,
    /// Its owner is warned once more.
    SecondWarning,
    /// It is closed.
    Closing,
    /// Its erasure begins, with its grace period.
    Erasure,
    /// It is erased: nobody proved its address.
    Unproved,
}

impl Stage {
    /// All of them. The later ones come first, so that none is gone through twice in one pass.
    pub const ALL: [Self; 5] = [
        Self::Unproved,
        Self::Erasure,
        Self::Closing,
        Self::SecondWarning,
        Self::FirstWarning,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstWarning => "first warning",
            Self::SecondWarning => "second warning",
            Self::Closing => "closing",
            Self::Erasure => "erasure begins",
            Self::Unproved => "erasure, address never proved",
        }
    }

    /// Which accounts are in for it; `None` where the settings do not have it.
    fn search(self, app: &App, exempt: &[Uuid]) -> Option<Search> {
        let stages = app.config.inactivity_stages();
        let now = app.now();
        let ago = |time: TimeDelta| DateTime(*now - time);
        let (waiting, until, warned_until) = match self {
            Self::FirstWarning => (Waiting::Idle { warnings: 0 }, stages.warn?, None),
            Self::SecondWarning => {
                let (warn, again) = (stages.warn?, stages.warn_again?);
                (Waiting::Idle { warnings: 1 }, again, Some(again - warn))
            }
            Self::Closing => {
                let (close, (warnings, warned)) = (stages.close?, stages.last_warning()?);
                (Waiting::Idle { warnings }, close, Some(close - warned))
            }
            Self::Erasure => {
                let wait = stages.erase? - stages.close?;
                (Waiting::ClosedForIdleness, wait, None)
            }
            Self::Unproved => (Waiting::Unproved, app.config.unproved_lifetime()?, None),
        };
        Some(Search {
            waiting,
            until: ago(until),
            warned_until: warned_until.map_or(now, ago),
            exempt: exempt.to_vec(),
            now,
        })
    }

    /// How many accounts one transaction takes. What changes rights takes turns, which nobody is to wait for long.
    fn batch(self) -> i64 {
        match self {
            Self::FirstWarning | Self::SecondWarning | Self::Erasure => BATCH,
            Self::Closing | Self::Unproved => 1,
        }
    }
}

/// What a stage would take.
#[derive(Debug)]
pub struct Report {
    /// The stage.
    pub stage: Stage,
    /// How many accounts.
    pub accounts: i64,
    /// The first of them.
    pub first: Vec<Uuid>,
}

/// What [`run`] would do now, for each stage that the settings have. Changes nothing.
///
/// # Errors
/// As [`run`].
pub async fn report(app: &App) -> Result<Vec<Report>> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        retention::take_time(conn).await?;
        let exempt = exempt_roles(app, conn).await?;
        let mut reports = Vec::new();
        for stage in Stage::ALL {
            if let Some(search) = stage.search(app, &exempt) {
                let accounts = search.count(conn).await?;
                let first = search.first(conn, NAMED).await?;
                let first = first.into_iter().map(|found| found.id).collect();
                reports.push(Report {
                    stage,
                    accounts,
                    first,
                });
            }
        }
        Ok(reports)
    })
    .await
}

/// How many accounts wait for the moment of their erasure.
///
/// # Errors
/// If the database cannot answer.
pub async fn scheduled(app: &App) -> Result<i64> {
    Ok(retention::count_scheduled(&mut *app.db.conn().await?).await?)
}

/// How long after the warning `number` an account is closed at the earliest; `None` for never.
#[must_use]
pub fn closed_after_warning(app: &App, number: i16) -> Option<TimeDelta> {
    let stages = app.config.inactivity_stages();
    let warned = if number == 1 {
        stages.warn
    } else {
        stages.warn_again
    };
    Some(stages.close? - warned?)
}

/// How long after it was closed an account that nobody uses is erased; `None` for never.
#[must_use]
pub fn erased_after_closing(app: &App) -> Option<TimeDelta> {
    let stages = app.config.inactivity_stages();
    Some(stages.erase? - stages.close? + app.config.erasure_grace().unwrap_or_default())
}

/// Takes accounts whose time is over through their next stage, at most `most` for each stage, and tells `progress` of
/// each batch. Gives how many each stage took. Several instances share the work.
///
/// # Errors
/// If the database cannot answer, or an exempt role does not exist; what was done before stays done, and accounts
/// that it refuses to change hold up none behind them.
pub async fn run(
    app: &App,
    most: usize,
    mut progress: impl FnMut(Stage, usize),
) -> Result<Vec<(Stage, usize)>> {
    let exempt = exempt_roles(app, &mut *app.db.conn().await?).await?;
    // Where the settings have fewer of them than when an account was warned.
    let last = app.config.inactivity_stages().last_warning();
    while !app.shutdown.is_cancelled() {
        let conn = &mut *app.db.conn().await?;
        let mut changed = retention::forget_warnings(conn, BATCH).await?;
        if let Some((last, _)) = last {
            changed += retention::level_warnings(conn, last, BATCH).await?;
        }
        if changed == 0 {
            break;
        }
    }
    let (mut taken, mut failed) = (Vec::new(), None);
    for stage in Stage::ALL {
        let Some(search) = stage.search(app, &exempt) else {
            continue;
        };
        let (mut after, mut done) = (Candidate::first(), 0);
        while done < most && !app.shutdown.is_cancelled() {
            let mut conn = app.db.conn().await?;
            let mut last = None;
            let outcome = conn
                .transaction(async |conn| {
                    let found = search.take(conn, after, stage.batch()).await?;
                    last = found.last().copied();
                    advance(app, conn, stage, &found).await
                })
                .await;
            match outcome {
                Ok(batch) => done += batch,
                Err(error) if last.is_none() => return Err(error),
                Err(error) => failed = Some(error),
            }
            let Some(last) = last else { break };
            after = last;
            progress(stage, done);
        }
        taken.push((stage, done));
    }
    failed.map_or(Ok(taken), Err)
}

/// Takes locked accounts through a stage; gives how many. Belongs into a transaction.
async fn advance(app: &App, conn: &mut Conn, stage: Stage, found: &[Candidate]) -> Result<usize> {
    if found.is_empty() {
        return Ok(0);
    }
    let now = app.now();
    let ids: Vec<_> = found.iter().map(|found| found.id).collect();
    match stage {
        Stage::FirstWarning => warn(app, conn, &ids, 1).await?,
        Stage::SecondWarning => warn(app, conn, &ids, 2).await?,
        Stage::Erasure => {
            let at = DateTime(*now + app.config.erasure_grace().unwrap_or_default());
            let mut entries = Vec::new();
            for id in &ids {
                erasure::schedule(conn, *id, at, now).await?;
                let entry = Entry::server(AuditAction::ErasureRequested).on(*id);
                entries.push(entry.with("by", ClosedBy::Inactivity.as_str()));
            }
            record_all(app, conn, entries).await?;
        }
        Stage::Closing | Stage::Unproved => {
            let mut taken = 0;
            for user in User::by_ids(conn, &ids).await? {
                let changed = match stage {
                    Stage::Closing => close(app, conn, user.id, now).await,
                    _ => erase(app, conn, &user).await,
                };
                match changed {
                    // The last administrator stays.
                    Err(Error::Refused(_)) => {
                        tracing::warn!(user.id = %user.id, "Account {} is that of the last administrator and stays", user.id);
                    }
                    changed => {
                        changed?;
                        taken += 1;
                    }
                }
            }
            return Ok(taken);
        }
    }
    Ok(ids.len())
}

async fn warn(app: &App, conn: &mut Conn, ids: &[Uuid], number: i16) -> Result<()> {
    let now = app.now();
    retention::note_warned(conn, ids, number, now).await?;
    let mut entries = Vec::new();
    for id in ids {
        let job = Job::InactivityWarning { user: *id, number };
        job.enqueue(conn, now).await?;
        let entry = Entry::server(AuditAction::InactivityWarned).on(*id);
        entries.push(entry.with("number", number));
    }
    record_all(app, conn, entries).await
}

async fn close(app: &App, conn: &mut Conn, id: Uuid, now: DateTime) -> Result<()> {
    let (by, end) = (ClosedBy::Inactivity, SessionEndReason::Admin);
    account::close(conn, id, by, None, end, now).await?;
    let entry = Entry::server(AuditAction::AccountDeactivated).on(id);
    entry.with("by", by.as_str()).record(app, conn).await
}

async fn erase(app: &App, conn: &mut Conn, user: &User) -> Result<()> {
    roles::keep_an_administrator(conn, user.id, &[]).await?;
    erasure::erase(app, conn, user).await
}

/// The roles whose holders may leave their accounts unused.
async fn exempt_roles(app: &App, conn: &mut Conn) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for name in app.config.inactive_exempt_roles() {
        let role = Role::by_name(conn, name).await?;
        // A slip of the pen must not cost those accounts.
        let role = role.ok_or_else(|| {
            anyhow::anyhow!(
                "CARDEA_INACTIVE_EXEMPT_ROLES names the role `{name}`, which does not exist"
            )
        })?;
        ids.push(role.id);
    }
    Ok(ids)
}
