//! The address of an account: proving it, and moving to another one.

use async_graphql::InputObject;
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::error::{Error, OnConstraint as _, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::email_change::EmailChange;
use crate::models::identity::Identity;
use crate::models::job::Job;
use crate::models::passkey::Passkey;
use crate::models::session::{Session, SessionEndReason, SignInMethod};
use crate::models::user::{AccountStatus, User};
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::{DateTime, EmailAddress};
use crate::services::audit::{AuditAction, Entry};
use crate::services::devices;
use crate::services::limits::{self, Limit};
use crate::services::login::TokenDelivery;
use crate::services::mails::{token_rejected, token_rejected_for};
use crate::services::sign_in::{self, NewSignIn, SignIn};
use crate::services::{erasure, two_factor, validate};

/// A mailed token.
#[derive(InputObject)]
pub struct TokenInput {
    /// The token of the mailed link; good once.
    #[graphql(secret)]
    pub token: String,
}

/// The mailed token that proves an address.
#[derive(InputObject)]
pub struct VerifyEmailInput {
    /// The token, as the mailed link carries it.
    #[graphql(secret)]
    pub token: String,
    /// How the tokens of the session come back.
    #[graphql(default_with = "TokenDelivery::Body")]
    pub token_delivery: TokenDelivery,
}

/// A mail address that may or may not belong to an account.
#[derive(InputObject)]
pub struct EmailInput {
    /// The address, without regard to case.
    pub email: String,
}

/// The address to move to.
#[derive(InputObject)]
pub struct RequestEmailChangeInput {
    /// The new address, at most 254 characters; refused where it is the present one.
    pub new_email: String,
}

/// Proves the address that the token was mailed to, and signs its owner in.
///
/// A token that was mailed to somebody else than the signed-in caller is refused and stays good. Where
/// the account was registered with different passwords, none of them opens it: a link to set one is mailed.
///
/// # Errors
/// `TOKEN_REJECTED` for a token that is unknown, used, replaced or past its end, or whose account
/// has another address by now; `TOO_MANY_ATTEMPTS`.
pub async fn verify(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    input: &VerifyEmailInput,
) -> Result<SignIn> {
    limits::take(app, Limit::Token, client, "").await?;
    let now = app.now();
    let hash = TokenHash::of(&input.token);
    let owner = caller.map(Actor::user_id);
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let kind = VerificationKind::EmailVerification;
        let Some(token) = VerificationToken::consume(conn, &hash, kind, owner, now).await? else {
            return Err(token_rejected_for(owner));
        };
        VerificationToken::void(conn, token.user_id, kind, now).await?;
        let verified = User::verify_email(conn, token.user_id, &token.email, now).await?;
        let user = verified.ok_or_else(token_rejected)?;
        let entry = Entry::from(client, AuditAction::EmailVerified).of(user);
        entry.record(app, conn).await?;
        let credentials = Credentials::by_id(conn, user).await?;
        if credentials.is_some_and(|credentials| credentials.contested) {
            User::clear_password(conn, user, now).await?;
            Job::ResetPassword { user }.enqueue(conn, now).await?;
        }
        let new = NewSignIn {
            user,
            method: SignInMethod::EmailLink,
            verified: None,
            rehashed: None,
            remember_me: false,
            delivery: input.token_delivery,
            device_token: None,
            attempt: None,
        };
        sign_in::admit(app, conn, client, &new)
            .await?
            .ok_or_else(token_rejected)
    })
    .await
}

/// Mails the verification token again, if the address belongs to an account that waits for it.
/// The answer never says whether it does.
///
/// # Errors
/// `INVALID_VALUE` for a malformed address, `TOO_MANY_ATTEMPTS` within a minute of the last time.
pub async fn resend(app: &App, client: &ClientInfo, email: &str) -> Result<()> {
    let email = validate::email(&["input", "email"], email)?;
    let kind = VerificationKind::EmailVerification.as_str();
    limits::take_mail(app, client, kind, &email).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let waiting = User::by_email(&mut conn, &email)
        .await?
        .filter(|user| user.status == AccountStatus::Pending);
    // A job for nobody does nothing; writing it takes the same time.
    let user = waiting.map_or_else(Uuid::now_v7, |user| user.id);
    Ok(Job::VerifyEmail { user }.enqueue(&mut conn, now).await?)
}

/// Mails a token to the address that the caller wants to move to; the account stays where it is until
/// that is shown. A request that was made before is void. The answer is the same for an address that
/// belongs to somebody else, whose owner is told.
///
/// # Errors
/// `INVALID_VALUE` for a malformed address or the present one, `TOO_MANY_ATTEMPTS`.
pub async fn request_change(
    app: &App,
    client: &ClientInfo,
    actor: &Actor,
    new_email: &str,
) -> Result<()> {
    let path = ["input", "newEmail"];
    let new_email = validate::email(&path, new_email)?;
    let kind = VerificationKind::EmailChange.as_str();
    let present = User::by_ids(&*app.db.conn().await?, &[actor.user_id()]).await?;
    if present
        .iter()
        .any(|user| user.email.eq_ignore_ascii_case(&new_email))
    {
        let message = "This is the present address.";
        return Err(UserError::invalid(&path, "UNCHANGED", (None, None), message).into());
    }
    limits::take_mail(app, client, kind, &new_email).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = User::lock(conn, actor.user_id()).await?;
        let user = user.ok_or(Error::Unauthenticated)?;
        // Ended while this request was on its way: what ends sessions locks the account first.
        let session = Session::live_by_ids(conn, &[actor.session_id()], now).await?;
        if session.is_empty() {
            return Err(Error::Unauthenticated);
        }
        let change = EmailChange {
            id: Uuid::now_v7(),
            user_id: user.id,
            new_email: EmailAddress(new_email.clone()),
            old_email: user.email.clone(),
            requested_at: now,
            confirmed_at: None,
        };
        change.replace(conn).await?;
        VerificationToken::void(conn, user.id, VerificationKind::EmailChange, now).await?;
        let entry = Entry::own(actor, AuditAction::EmailChangeRequested);
        entry.record(app, conn).await?;
        let job = Job::ConfirmEmailChange {
            user: user.id,
            change: change.id,
        };
        Ok(job.enqueue(conn, now).await?)
    })
    .await
}

/// Moves the account to the address that `token` was mailed to, and ends its other sessions. The
/// address before is told, with a link that undoes the move; such a link's token is taken here too.
///
/// # Errors
/// `TOKEN_REJECTED` for a token that is unknown, used, replaced or past its end, is not of the signed-in
/// caller's account, or whose address somebody else has proved meanwhile; `TOO_MANY_ATTEMPTS`.
pub async fn confirm_change(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    token: &str,
) -> Result<User> {
    limits::take(app, Limit::Token, client, "").await?;
    let now = app.now();
    let hash = TokenHash::of(token);
    let owner = caller.map(Actor::user_id);
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let kind = VerificationKind::EmailChange;
        if let Some(token) = VerificationToken::consume(conn, &hash, kind, owner, now).await? {
            let user = User::lock(conn, token.user_id).await?;
            let user = user.ok_or_else(token_rejected)?;
            let (new, old) = (&token.email, &user.email);
            let change = EmailChange::confirm(conn, user.id, new, old, now).await?;
            let change = change.ok_or_else(token_rejected)?;
            let spared = caller.map(Actor::session_id);
            let moved = move_to(app, conn, user.id, new, spared, now).await?;
            devices::note(conn, client, user.id, now).await?;
            let entry = Entry::from(client, AuditAction::EmailChanged).of(user.id);
            entry.record(app, conn).await?;
            let job = Job::EmailChanged {
                user: user.id,
                change: change.id,
            };
            job.enqueue(conn, now).await?;
            return Ok(moved);
        }
        // The owner of the former address may be signed in nowhere, and whoever moved the account
        // away knows no such token.
        let kind = VerificationKind::EmailChangeUndo;
        let token = VerificationToken::consume(conn, &hash, kind, owner, now).await?;
        let token = token.ok_or_else(|| token_rejected_for(owner))?;
        let moved = move_to(app, conn, token.user_id, &token.email, None, now).await?;
        // Whoever holds the address that is left now must not undo this. A link mailed to an address
        // that the account had even before stays good: its owner may have to undo this move, too.
        token.void_later(conn, now).await?;
        // Whoever moved the account may have given it a password and passkeys, or tied a provider to it,
        // before or since. The owner's own provider is tied again by the next sign-in with it, if it knows
        // the address.
        User::clear_password(conn, moved.id, now).await?;
        Passkey::remove_all(conn, moved.id).await?;
        Identity::delete_all(conn, moved.id).await?;
        let window = TimeDelta::hours(app.config.links.email_undo_hours.into());
        let since = DateTime(*token.created_at - window);
        two_factor::take_off_younger(app, conn, client, moved.id, since).await?;
        devices::note(conn, client, moved.id, now).await?;
        EmailChange::drop_since(conn, moved.id, token.created_at).await?;
        if moved.erases_at.is_some_and(|at| at > now) {
            // Asked for while its mails went elsewhere, perhaps: the owner may ask again.
            User::call_off_erasure(conn, moved.id, now).await?;
            let entry = Entry::from(client, AuditAction::ErasureCancelled).of(moved.id);
            entry.record(app, conn).await?;
            let job = Job::ErasureCancelled { user: moved.id };
            job.enqueue(conn, now).await?;
        }
        let entry = Entry::from(client, AuditAction::EmailChanged).of(moved.id);
        entry.with("undone", true).record(app, conn).await?;
        let job = Job::EmailChangeUndone { user: moved.id };
        job.enqueue(conn, now).await?;
        Ok(moved)
    })
    .await
}

/// Gives the account another, proved address and ends its sessions but one.
async fn move_to(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
    email: &EmailAddress,
    spared: Option<Uuid>,
    now: DateTime,
) -> Result<User> {
    // Whoever registered with the address and never proved it gives way to who did.
    if let Some(unproved) = User::lock_pending(conn, email, user).await? {
        erasure::erase(app, conn, &unproved).await?;
    }
    let moved = User::set_email(conn, user, email, now)
        .await
        .on_constraint("users_email_key", || {
            let message = "This link is unknown, used up or past its end. Ask for a new one.";
            UserError::at(UserErrorCode::TokenRejected, &["input", "token"], message)
        })?;
    let moved = moved.ok_or_else(token_rejected)?;
    Session::revoke_all(conn, user, spared, SessionEndReason::User, now).await?;
    VerificationToken::void_all(conn, user, now).await?;
    EmailChange::drop_pending(conn, user).await?;
    Ok(moved)
}
