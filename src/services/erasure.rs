//! Erasing accounts: asked for, called off until its moment, and carried out. What is sealed for an account is
//! unreadable from then on, wherever a copy of it lies, since its key is destroyed.

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::email_change::EmailChange;
use crate::models::job::Job;
use crate::models::permission::SystemPermission;
use crate::models::session::{Session, SessionEndReason};
use crate::models::trusted_device::TrustedDevice;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::services::account::above;
use crate::services::audit::{AuditAction, Entry};
use crate::services::confirm::{self, ConfirmIdentityInput};
use crate::services::personalization::not_found;
use crate::services::{limits, roles, validate};

/// Has the caller's own account erased after the grace period, and ends its other sessions. Gives the last moment at
/// which that can be called off; `None` where there is no grace period and the account is gone. Where it was asked
/// for before, the first moment holds.
///
/// # Errors
/// Those of [`confirm::check_all_there_is`]; `PROTECTED` for the last administrator.
pub async fn ask(
    app: &App,
    actor: &Actor,
    input: Option<ConfirmIdentityInput>,
) -> Result<Option<DateTime>> {
    let proof = confirm::check_all_there_is(app, actor, input).await?;
    let now = app.now();
    let id = actor.user_id();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = User::lock(conn, id).await?.ok_or(Error::Unauthenticated)?;
        proof.take(app, conn, actor).await?;
        roles::keep_an_administrator(conn, id, &[]).await?;
        let entry = Entry::own(actor, AuditAction::ErasureRequested);
        entry.record(app, conn).await?;
        let at = match (user.erases_at, app.config.erasure_grace()) {
            (Some(at), _) => at,
            (None, Some(grace)) => {
                let at = DateTime(*now + grace);
                schedule(conn, id, at, now).await?;
                at
            }
            (None, None) => {
                erase(app, conn, &user).await?;
                return Ok(None);
            }
        };
        let (spared, reason) = (Some(actor.session_id()), SessionEndReason::User);
        end_sessions(conn, id, spared, reason, now).await?;
        Ok(Some(at))
    })
    .await
}

/// Calls the erasure of the caller's own account off. Where none was asked for, nothing changes.
///
/// # Errors
/// `ACCOUNT_UNAVAILABLE` once its moment has passed.
pub async fn call_off(app: &App, actor: &Actor) -> Result<User> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = User::lock(conn, actor.user_id()).await?;
        let user = user.ok_or(Error::Unauthenticated)?;
        match user.erases_at {
            None => return Ok(user),
            Some(at) if at <= now => return Err(being_erased()),
            Some(_) => {}
        }
        let kept = User::call_off_erasure(conn, user.id, now).await?;
        let job = Job::ErasureCancelled { user: user.id };
        job.enqueue(conn, now).await?;
        let entry = Entry::own(actor, AuditAction::ErasureCancelled);
        entry.record(app, conn).await?;
        kept.ok_or(Error::Unauthenticated)
    })
    .await
}

/// How an administrator has an account erased.
#[derive(Debug)]
pub struct Order {
    /// Without a grace period.
    pub immediately: bool,
    /// Goes with the account.
    pub reason: Option<String>,
}

/// Has somebody's account erased, at once or after the grace period, and ends its sessions. Gives as [`ask`]. One whose
/// address nobody has proved goes at once. No id names nobody.
///
/// # Errors
/// `NOT_FOUND`, `PROTECTED` for the caller's own account and the last administrator, `INVALID_VALUE` for a
/// reason that is too long; [`Error::Forbidden`] where the account may do what the caller may not.
pub async fn order(
    app: &App,
    actor: &Actor,
    user: Option<Uuid>,
    order: Order,
) -> Result<Option<DateTime>> {
    let reason = order
        .reason
        .map(|reason| validate::text(&["input", "reason"], &reason, 500))
        .transpose()?;
    let id = user.ok_or_else(not_found)?;
    let path = ["input", "userId"];
    if id == actor.user_id() {
        let message = "Nobody erases the own account this way; `eraseAccount` does it.";
        return Err(UserError::at(UserErrorCode::Protected, &path, message).into());
    }
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = above(app, conn, actor, SystemPermission::AdminUsers, id).await?;
        // Nobody can sign in to an account that waits for its address to be proved, and call it off.
        let at_once = order.immediately || user.status == AccountStatus::Pending;
        let grace = app.config.erasure_grace().filter(|_| !at_once);
        roles::keep_an_administrator(conn, id, &path).await?;
        Entry::by(actor, AuditAction::ErasureRequested)
            .on(id)
            .because(reason.as_deref())
            .with("immediately", grace.is_none())
            .record(app, conn)
            .await?;
        let Some(grace) = grace else {
            erase(app, conn, &user).await?;
            return Ok(None);
        };
        let at = user.erases_at.unwrap_or(DateTime(*now + grace));
        if user.erases_at.is_none() {
            schedule(conn, id, at, now).await?;
        }
        end_sessions(conn, id, None, SessionEndReason::Admin, now).await?;
        Ok(Some(at))
    })
    .await
}

/// Has an account erased from `at` on, and tells its owner. Belongs into a transaction that holds it locked.
///
/// # Errors
/// If the database refuses.
pub async fn schedule(conn: &mut Conn, id: Uuid, at: DateTime, now: DateTime) -> Result<()> {
    User::schedule_erasure(conn, id, at, now).await?;
    Ok(Job::ErasureScheduled { user: id }
        .enqueue(conn, now)
        .await?)
}

/// Whoever else holds a session, a trusted device or a pending move to another address loses it.
async fn end_sessions(
    conn: &mut Conn,
    id: Uuid,
    spared: Option<Uuid>,
    reason: SessionEndReason,
    now: DateTime,
) -> Result<()> {
    Session::revoke_all(conn, id, spared, reason, now).await?;
    EmailChange::abandon(conn, id, now).await?;
    Ok(TrustedDevice::delete_all(conn, id).await?)
}

/// Erases an account. Belongs into a transaction that holds it locked, behind
/// [`roles::keep_an_administrator`]. The entry that tells of it is the server's own: who asked, and from where, stands
/// in one of its own, and of the person there is to be none.
///
/// # Errors
/// If the database refuses.
pub async fn erase(app: &App, conn: &mut Conn, user: &User) -> Result<()> {
    limits::forget(conn, user.id, &user.email, user.username.as_deref()).await?;
    user.erase(conn).await?;
    Entry::server(AuditAction::AccountErased)
        .on(user.id)
        .record(app, conn)
        .await
}

/// Erases the accounts whose moment has come, each in a transaction of its own. Gives how many. Several instances share
/// the work. The last administrator is left as it is, and told.
///
/// # Errors
/// If the database cannot answer; an account that could not be erased holds up no other, and is tried again next
/// time.
pub async fn erase_due(app: &App) -> Result<usize> {
    let now = app.now();
    let (mut passed, mut erased, mut failed) = (Vec::new(), 0, None);
    while !app.shutdown.is_cancelled() {
        let mut found = None;
        let mut conn = app.db.conn().await?;
        let outcome = conn
            .transaction(async |conn| {
                let Some(user) = User::next_to_erase(conn, &passed, now).await? else {
                    return Ok(false);
                };
                found = Some(user.id);
                match roles::keep_an_administrator(conn, user.id, &[]).await {
                    Err(Error::Refused(_)) => {
                        leave(app, conn, &user, now).await?;
                        return Ok(false);
                    }
                    kept => kept?,
                }
                erase(app, conn, &user).await?;
                Ok::<_, Error>(true)
            })
            .await;
        match outcome {
            Ok(true) => {
                erased += 1;
                continue;
            }
            Ok(false) => {}
            Err(error) => failed = Some(error),
        }
        match found {
            Some(id) => passed.push(id),
            None => break,
        }
    }
    failed.map_or(Ok(erased), Err)
}

/// Leaves the account of the last administrator as it is.
async fn leave(app: &App, conn: &mut Conn, user: &User, now: DateTime) -> Result<()> {
    let id = user.id;
    tracing::error!(user.id = %id, "Account {id} is that of the last administrator and was not erased");
    User::call_off_erasure(conn, id, now).await?;
    let job = Job::ErasureImpossible { user: id };
    job.enqueue(conn, now).await?;
    let entry = Entry::server(AuditAction::AccountErased).on(id).failed();
    entry.record(app, conn).await
}

/// What is said of an account whose erasure is due.
#[must_use]
pub fn being_erased() -> Error {
    let message = "This account is being erased.";
    UserError::new(UserErrorCode::AccountUnavailable, message).into()
}
