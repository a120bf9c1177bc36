//! The life of a password: forgotten, changed, and too old.

use async_graphql::InputObject;
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::password::{Verdict, normalized};
use crate::crypto::token::{PlainToken, TokenHash};
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::email_change::EmailChange;
use crate::models::job::Job;
use crate::models::password_history::PasswordHistory;
use crate::models::session::{Session, SessionEndReason};
use crate::models::trusted_device::TrustedDevice;
use crate::models::user::{AccountStatus, User};
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit, Try};
use crate::services::{devices, mails, password_policy, two_factor, validate};

/// How long the token is good that stands in for a password that has become too old.
const EXPIRED_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// Mailed token and new password.
#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// As `authOptions.passwordPolicy` says.
    #[graphql(secret)]
    pub new_password: String,
    /// The token of the mailed link or invitation, or `PasswordExpired.resetToken`.
    #[graphql(secret)]
    pub token: String,
}

/// Old and new password.
#[derive(InputObject)]
pub struct ChangePasswordInput {
    /// The password that the account has now.
    #[graphql(secret)]
    pub current_password: String,
    /// As `authOptions.passwordPolicy` says, and not the present one.
    #[graphql(secret)]
    pub new_password: String,
}

/// Mails a token that sets a new password, if the address belongs to an account. The answer never
/// says whether it does, and comes after the same work.
///
/// # Errors
/// `INVALID_VALUE` for a malformed address, `TOO_MANY_ATTEMPTS`.
pub async fn request_reset(app: &App, client: &ClientInfo, email: &str) -> Result<()> {
    let email = validate::email(&["input", "email"], email)?;
    let kind = VerificationKind::PasswordReset.as_str();
    limits::take_mail(app, client, kind, &email).await?;
    let mut conn = app.db.conn().await?;
    let user = User::by_email(&mut conn, &email).await?;
    conn.transaction(async |conn| {
        let entry = Entry::from(client, AuditAction::PasswordResetRequested);
        let entry = match &user {
            Some(user) => entry.on(user.id),
            None => entry.failed(),
        };
        entry.record(app, conn).await?;
        // A job for nobody does nothing; writing it takes the same time.
        let user = user.map_or_else(Uuid::now_v7, |user| user.id);
        Ok(Job::ResetPassword { user }.enqueue(conn, app.now()).await?)
    })
    .await
}

/// Sets a new password by a mailed token, that of an invitation among them, and ends every session of the account. An account that
/// waits for its address to be proved is open afterwards: the token came by that address.
///
/// A password that the policy refuses leaves the token as it is.
///
/// # Errors
/// `TOKEN_REJECTED`; `INVALID_VALUE` for each rule of the policy that the password breaks;
/// `TOO_MANY_ATTEMPTS`; [`Error::RateLimited`] when too many passwords wait to be hashed.
pub async fn reset(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    input: ResetPasswordInput,
) -> Result<User> {
    limits::take(app, Limit::Token, client, "").await?;
    let hash = TokenHash::of(&input.token);
    let kinds = [
        VerificationKind::PasswordReset,
        VerificationKind::Invitation,
    ];
    let owner = caller.map(Actor::user_id);
    let (kind, user, credentials) = {
        let mut conn = app.db.conn().await?;
        let token = VerificationToken::live(&mut conn, &hash, &kinds, owner, app.now()).await?;
        let token = token.ok_or_else(|| mails::token_rejected_for(owner))?;
        let (user, credentials) = facts(&mut conn, token.user_id)
            .await?
            .filter(|(user, _)| user.email.eq_ignore_ascii_case(&token.email))
            .ok_or_else(mails::token_rejected)?;
        (token.kind, user, credentials)
    };
    let former = credentials.hashed_password.as_deref();
    let waited = user.status == AccountStatus::Pending;
    let path = ["input", "newPassword"];
    let new = accept(app, &path, &user, input.new_password).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // Of two callers with one token the second finds it used.
        let consumed = VerificationToken::consume(conn, &hash, kind, owner, now).await?;
        if consumed.is_none() {
            return Err(mails::token_rejected_for(owner));
        }
        let user = User::set_password(conn, user.id, None, &new, now)
            .await?
            .ok_or_else(mails::token_rejected)?;
        replaced(app, conn, &user, former, None, now).await?;
        if waited {
            let entry = Entry::from(client, AuditAction::EmailVerified).of(user.id);
            entry.record(app, conn).await?;
        }
        let entry = Entry::from(client, AuditAction::PasswordChanged).of(user.id);
        let entry = entry.with("by", kind.as_str());
        entry.record(app, conn).await?;
        // Strangers' tries do not count against who comes from here.
        devices::note(conn, client, user.id, now).await?;
        Ok(user)
    })
    .await
}

/// Replaces the caller's password, and ends the caller's other sessions.
///
/// # Errors
/// `INVALID_CREDENTIALS` for a wrong present password, `INVALID_VALUE` for each rule of the policy that
/// the new one breaks, `TOO_MANY_ATTEMPTS`; [`Error::RateLimited`] when too many passwords wait.
pub async fn change(app: &App, actor: &Actor, input: ChangePasswordInput) -> Result<User> {
    let path = ["input", "currentPassword"];
    let same = normalized(&input.new_password) == normalized(&input.current_password);
    let (user, credentials) = confirm(app, actor, &path, input.current_password).await?;
    if same {
        let (path, rule) = (["input", "newPassword"], "PASSWORD_REUSED");
        let message = "This is the present password.";
        return Err(UserError::invalid(&path, rule, (None, None), message).into());
    }
    let verified = credentials.hashed_password.as_deref();
    let new = accept(app, &["input", "newPassword"], &user, input.new_password).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = User::set_password(conn, user.id, verified, &new, now)
            .await?
            // Changed by somebody else while this one was verified.
            .ok_or_else(|| wrong_password(&path))?;
        let session = actor.session_id();
        // Where signing in asks for more than a password, one that is known renews no sign-in.
        let live = if two_factor::asked_for(app, conn, user.id).await?.is_empty() {
            let session = Session::reauthenticate(conn, session, false, now).await?;
            session.is_some()
        } else {
            !Session::live_by_ids(conn, &[session], now)
                .await?
                .is_empty()
        };
        if !live {
            return Err(Error::Unauthenticated);
        }
        replaced(app, conn, &user, verified, Some(session), now).await?;
        let entry = Entry::own(actor, AuditAction::PasswordChanged);
        entry.record(app, conn).await?;
        Ok(user)
    })
    .await
}

/// Checks that the person behind a session knows the password of its account.
///
/// # Errors
/// `INVALID_CREDENTIALS` at `path`, `TOO_MANY_ATTEMPTS`; [`Error::RateLimited`] when too many passwords
/// wait to be verified.
pub async fn confirm(
    app: &App,
    actor: &Actor,
    path: &[&str],
    password: String,
) -> Result<(User, Credentials)> {
    if password.len() > app.config.password_policy().maximum_bytes() {
        return Err(wrong_password(path));
    }
    let attempt = Try::to_confirm(app, actor.user_id()).await?;
    let found = facts(&mut *app.db.conn().await?, actor.user_id()).await?;
    let (user, credentials) = found.ok_or(Error::Unauthenticated)?;
    let stored = credentials.hashed_password.clone();
    match app.verify_password(password.into(), stored).await {
        Ok(Verdict::Right(_)) => {}
        Ok(Verdict::Wrong) => {
            let conn = &mut *app.db.conn().await?;
            let entry = Entry::own(actor, AuditAction::Reauthenticated).failed();
            entry.record(app, conn).await?;
            return Err(wrong_password(path));
        }
        Err(error) => {
            attempt.give_back(app).await?;
            return Err(error);
        }
    }
    attempt.forgive(&mut *app.db.conn().await?).await?;
    Ok((user, credentials))
}

/// Whether the password is older than the policy allows.
#[must_use]
pub fn has_expired(app: &App, account: &Credentials) -> bool {
    let age = app.config.password_policy().maximum_age();
    let changed = account.password_changed_at;
    changed
        .zip(age)
        .is_some_and(|(changed, age)| *changed + age <= *app.now())
}

/// A token that sets a new password, for who has just proved to know the one that is too old.
///
/// Gives `None` if the account is not active, or its password is not the verified one any more.
///
/// # Errors
/// If the database cannot answer.
pub async fn expired(
    app: &App,
    conn: &mut Conn,
    verified: &Credentials,
) -> Result<Option<(PlainToken, DateTime)>> {
    let kind = VerificationKind::PasswordReset;
    let expires_at = DateTime(*app.now() + EXPIRED_TOKEN_LIFETIME);
    conn.transaction(async |conn| {
        // Whoever knows the old password must not get a token for the new one.
        let user = User::lock(conn, verified.id).await?;
        let present = Credentials::by_id(conn, verified.id).await?;
        let still = present.is_some_and(|present| {
            present.hashed_password == verified.hashed_password
                && present.status == AccountStatus::Active
        });
        let Some(user) = user.filter(|_| still) else {
            return Ok(None);
        };
        let token = mails::new_token(app, conn, user.id, &user.email, kind, expires_at).await?;
        Ok(Some((token, expires_at)))
    })
    .await
}

async fn facts(conn: &mut Conn, user: Uuid) -> Result<Option<(User, Credentials)>> {
    let credentials = Credentials::by_id(conn, user).await?;
    let user = User::by_ids(conn, &[user]).await?.pop();
    Ok(user.zip(credentials))
}

/// The hash of a new password, if the policy takes it. Holds no connection meanwhile.
async fn accept(app: &App, path: &[&str], user: &User, password: String) -> Result<String> {
    let password = password_policy::accept(app, path, user, password.into()).await?;
    app.hash_password(password).await
}

/// What goes with a new password: whoever came in by the old one is out, mailed tokens are void, wrong
/// tries are forgotten, and the owner is told.
async fn replaced(
    app: &App,
    conn: &mut Conn,
    user: &User,
    former: Option<&str>,
    spared: Option<Uuid>,
    now: DateTime,
) -> Result<()> {
    if let Some(former) = former {
        let depth = app.config.password_policy().history_depth;
        PasswordHistory::push(conn, user.id, former, depth, now).await?;
    }
    let reason = SessionEndReason::PasswordChanged;
    Session::revoke_all(conn, user.id, spared, reason, now).await?;
    VerificationToken::void_all(conn, user.id, now).await?;
    TrustedDevice::delete_all(conn, user.id).await?;
    EmailChange::drop_pending(conn, user.id).await?;
    // Not the codes: who has a session and the password, or the mailbox, could guess on after each change.
    limits::unlock_names(conn, &user.email, user.username.as_deref()).await?;
    Ok(Job::PasswordChanged { user: user.id }
        .enqueue(conn, now)
        .await?)
}

fn wrong_password(path: &[&str]) -> Error {
    UserError::at(
        UserErrorCode::InvalidCredentials,
        path,
        "The password is wrong.",
    )
    .into()
}
