//! Closing an account and opening it again, by its owner and by administrators.

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::email_change::EmailChange;
use crate::models::job::Job;
use crate::models::permission::{Permission, SystemPermission};
use crate::models::session::{Session, SessionEndReason};
use crate::models::trusted_device::TrustedDevice;
use crate::models::user::{AccountStatus, ClosedBy, User};
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::confirm::{self, ConfirmIdentityInput};
use crate::services::limits::{self, Limit};
use crate::services::personalization::not_found;
use crate::services::rights::{self, Rights};
use crate::services::{devices, mails, roles, validate};

/// Closes the caller's own account until it is opened again by a mailed link.
///
/// # Errors
/// Those of [`confirm::check_all_there_is`]; `PROTECTED` for the last administrator.
pub async fn deactivate(
    app: &App,
    actor: &Actor,
    input: Option<ConfirmIdentityInput>,
) -> Result<User> {
    let proof = confirm::check_all_there_is(app, actor, input).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        User::lock(conn, actor.user_id()).await?;
        proof.take(app, conn, actor).await?;
        let (by, reason) = (ClosedBy::Owner, SessionEndReason::User);
        let closed = close(conn, actor.user_id(), by, None, reason, now).await?;
        let closed = closed.ok_or(Error::Unauthenticated)?;
        Entry::own(actor, AuditAction::AccountDeactivated)
            .record(app, conn)
            .await?;
        Ok(closed)
    })
    .await
}

/// Opens an account again by the token that was mailed for it.
///
/// # Errors
/// `TOKEN_REJECTED`, `TOO_MANY_ATTEMPTS`.
pub async fn reactivate(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    token: &str,
) -> Result<User> {
    limits::take(app, Limit::Token, client, "").await?;
    let now = app.now();
    let hash = TokenHash::of(token);
    let owner = caller.map(Actor::user_id);
    let kind = VerificationKind::AccountReactivation;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let token = VerificationToken::consume(conn, &hash, kind, owner, now).await?;
        let token = token.ok_or_else(|| mails::token_rejected_for(owner))?;
        let user = User::lock(conn, token.user_id).await?;
        let user = user.filter(|user| user.email.eq_ignore_ascii_case(&token.email));
        let erased = user.ok_or_else(mails::token_rejected)?.erases_at.is_some();
        // An administrator may have closed it meanwhile.
        let opened = User::open(conn, token.user_id, Some(ClosedBy::Admin), now).await?;
        let user = opened.ok_or_else(mails::token_rejected)?;
        devices::note(conn, client, user.id, now).await?;
        let job = Job::AccountReopened { user: user.id };
        job.enqueue(conn, now).await?;
        let entry = Entry::from(client, AuditAction::AccountReactivated).of(user.id);
        let entry = calls_off(entry, erased);
        entry.record(app, conn).await?;
        Ok(user)
    })
    .await
}

/// What an administrator makes of an account.
#[derive(Debug)]
pub struct StatusChange {
    /// Open.
    pub is_active: bool,
    /// What is kept of the reason.
    pub reason: Option<String>,
}

/// Opens or closes somebody's account; an account that is so already stays as it is, but one that its
/// owner closed is not theirs to open any more. Closing ends its sessions; opening calls its erasure off. No id names
/// nobody.
///
/// # Errors
/// `NOT_FOUND`, `PROTECTED` for the caller's own account and the last administrator, `INVALID_VALUE` for
/// a reason that is too long; [`Error::Forbidden`] where the account may do what the caller may not.
pub async fn set_status(
    app: &App,
    actor: &Actor,
    user: Option<Uuid>,
    change: StatusChange,
) -> Result<User> {
    let reason = change
        .reason
        .map(|reason| validate::text(&["input", "reason"], &reason, 500))
        .transpose()?;
    let id = user.ok_or_else(not_found)?;
    if id == actor.user_id() {
        let message = "Nobody opens or closes the own account this way.";
        return Err(UserError::at(UserErrorCode::Protected, &["input", "userId"], message).into());
    }
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = above(app, conn, actor, SystemPermission::AdminUsers, id).await?;
        // Whoever was invited proves the address by accepting.
        let account = Credentials::by_id(conn, id).await?;
        if change.is_active && account.is_some_and(|account| account.is_invited()) {
            let message = "The account waits for its owner, who was invited.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        let changed = if change.is_active {
            let opened = User::open(conn, id, None, now).await?;
            if user.status == AccountStatus::Deactivated && opened.is_some() {
                VerificationToken::void_all(conn, id, now).await?;
                let invited = opened
                    .as_ref()
                    .is_some_and(|user| user.status == AccountStatus::Pending);
                let job = if invited {
                    Job::VerifyEmail { user: id }
                } else {
                    Job::AccountReopened { user: id }
                };
                job.enqueue(conn, now).await?;
            }
            opened
        } else {
            let (by, end) = (ClosedBy::Admin, SessionEndReason::Admin);
            close(conn, id, by, reason.as_deref(), end, now).await?
        };
        if changed.is_some() {
            let action = if change.is_active {
                AuditAction::AccountReactivated
            } else {
                AuditAction::AccountDeactivated
            };
            let entry = Entry::by(actor, action).on(id).because(reason.as_deref());
            let entry = calls_off(entry, change.is_active && user.erases_at.is_some());
            entry.record(app, conn).await?;
        }
        Ok(changed.unwrap_or(user))
    })
    .await
}

/// Tells of opening an account that an erasure was called off by it, where one was.
fn calls_off(entry: Entry<'_>, erasure: bool) -> Entry<'_> {
    if erasure {
        entry.with("erasureCancelled", true)
    } else {
        entry
    }
}

/// Forgets the wrong passwords and codes that shut somebody out. No id names nobody.
///
/// # Errors
/// `NOT_FOUND`; [`Error::Forbidden`] where the account may do what the caller may not.
pub async fn unlock(app: &App, actor: &Actor, user: Option<Uuid>) -> Result<User> {
    let id = user.ok_or_else(not_found)?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = above(app, conn, actor, SystemPermission::AdminUsers, id).await?;
        limits::unlock(conn, id, &user.email, user.username.as_deref()).await?;
        Entry::by(actor, AuditAction::AccountUnlocked)
            .on(id)
            .record(app, conn)
            .await?;
        Ok(user)
    })
    .await
}

/// Ends every session of somebody, forgets their trusted devices, and drops a move to another address that
/// waits to be confirmed. Gives how many sessions ended. No id names nobody.
///
/// # Errors
/// `NOT_FOUND`, `PROTECTED` for the caller's own account; [`Error::Forbidden`] where the account may do what the
/// caller may not.
pub async fn end_sessions(app: &App, actor: &Actor, user: Option<Uuid>) -> Result<i32> {
    let id = user.ok_or_else(not_found)?;
    if id == actor.user_id() {
        let message = "Nobody ends the own sessions this way; `logoutAll` does it.";
        return Err(UserError::at(UserErrorCode::Protected, &["input", "userId"], message).into());
    }
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        above(app, conn, actor, SystemPermission::AdminUsers, id).await?;
        let ended = Session::revoke_all(conn, id, None, SessionEndReason::Admin, now).await?;
        EmailChange::abandon(conn, id, now).await?;
        TrustedDevice::delete_all(conn, id).await?;
        let ended = i32::try_from(ended).unwrap_or(i32::MAX);
        Entry::by(actor, AuditAction::SessionRevoked)
            .on(id)
            .with("sessions", ended)
            .record(app, conn)
            .await?;
        Ok(ended)
    })
    .await
}

/// The account, locked, if the caller holds `needed` and every permission that it holds, as of now: nobody reaches
/// above the own head. Belongs into a transaction.
///
/// # Errors
/// `NOT_FOUND`; [`Error::Forbidden`] where the account may do what the caller may not, or the caller has lost
/// `needed`; [`Error::Unauthenticated`] where their session has ended.
pub async fn above(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    needed: SystemPermission,
    user: Uuid,
) -> Result<User> {
    // Locked, and in turn: the account may be given more rights at this moment, or the caller lose some.
    let found = User::lock(conn, user).await?.ok_or_else(not_found)?;
    rights::take_turns(conn).await?;
    let rights = Rights::now(app, conn, actor, needed).await?;
    let held = Permission::names_by_users(conn, &[user]).await?;
    rights.cover(held.iter().map(|(_, name)| &**name))?;
    Ok(found)
}

/// Closes an account, ends its sessions and voids its mailed tokens; `None` if it was not open. Belongs
/// into a transaction.
///
/// # Errors
/// `PROTECTED` for the last administrator.
pub(super) async fn close(
    conn: &mut Conn,
    user: Uuid,
    by: ClosedBy,
    reason: Option<&str>,
    end: SessionEndReason,
    now: DateTime,
) -> Result<Option<User>> {
    roles::keep_an_administrator(conn, user, &[]).await?;
    let Some(closed) = User::close(conn, user, by, reason, now).await? else {
        return Ok(None);
    };
    Session::revoke_all(conn, user, None, end, now).await?;
    VerificationToken::void_all(conn, user, now).await?;
    EmailChange::drop_pending(conn, user).await?;
    Job::AccountClosed { user }.enqueue(conn, now).await?;
    Ok(Some(closed))
}
