//! The second factor of an account: when it is asked for, setting it up, and taking it off.

use async_graphql::{Enum, InputObject};
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::{ExposeSecret as _, SecretBox};
use totp_rs::Builder;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::config::TwoFactorRequirement;
use crate::crypto::seal::Place;
use crate::crypto::token::random;
use crate::db::Conn;
use crate::error::{Error, Proof, Result, UserError, UserErrorCode};
use crate::models::job::Job;
use crate::models::passkey::Passkey;
use crate::models::permission::SystemPermission;
use crate::models::role::Role;
use crate::models::session::{Session, SessionEndReason};
use crate::models::trusted_device::TrustedDevice;
use crate::models::two_factor::{RecoveryCodes, TwoFactorSecret, TwoFactorState};
use crate::models::two_factor_challenge::TwoFactorChallenge;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::confirm::{self, ConfirmIdentityInput};
use crate::services::limits;
use crate::services::personalization::not_found;
use crate::services::{account, codes, data_keys};

/// How long a secret waits for its first code.
pub const SETUP_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// A way to prove the second factor at sign-in.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoFactorMethod {
    /// A passkey of the account: `startPasskeySignIn` with the challenge token, then `finishPasskeySignIn`.
    Passkey,
    /// A recovery code: `verifyTwoFactor`.
    RecoveryCode,
    /// A time-based code (TOTP, RFC 6238) from an authenticator app: `verifyTwoFactor`.
    Totp,
}

/// First code from the new authenticator app.
#[derive(InputObject)]
pub struct ConfirmTwoFactorInput {
    /// Six digits that the app shows now.
    #[graphql(secret)]
    pub code: String,
}

/// What a device needs to show codes.
pub struct TwoFactorSetup {
    /// When it must be confirmed.
    pub expires_at: DateTime,
    /// For a QR code.
    pub otpauth_uri: String,
    /// For typing in, in base 32.
    pub secret: String,
}

/// Whether a second factor is compulsory for `user`.
///
/// # Errors
/// If the database cannot answer.
pub async fn is_compulsory(app: &App, conn: &mut Conn, user: Uuid) -> Result<bool> {
    let required = app.config.two_factor_required();
    let by_role = required == TwoFactorRequirement::Roles
        && Role::any_requires_two_factor(conn, user).await?;
    Ok(required.asks(by_role))
}

/// Whether the session lacks a compulsory second factor: it has proved none, or its account has none any
/// more.
#[must_use]
pub fn is_owed(app: &App, actor: &Actor) -> bool {
    is_compulsory_for(app, actor)
        && (!actor.has_proved_second_factor() || actor.second_proofs().is_empty())
}

/// The same for a session that is to be told so.
///
/// # Errors
/// If the database cannot answer.
pub async fn is_owed_by(app: &App, conn: &mut Conn, session: &Session) -> Result<bool> {
    let user = session.user_id;
    Ok(is_compulsory(app, conn, user).await?
        && (!session.second_factor || !TwoFactorState::of(conn, user).await?.has_any()))
}

fn is_compulsory_for(app: &App, actor: &Actor) -> bool {
    let required = app.config.two_factor_required();
    required.asks(actor.two_factor_by_role())
}

/// The ways in which the caller can prove anew who they are: where signing in asks for a second factor, a
/// password is none, as in [`asked_for`].
#[must_use]
pub fn proofs(app: &App, actor: &Actor) -> Vec<Proof> {
    actor.proofs(app.passkeys.is_some() && is_compulsory_for(app, actor))
}

/// Fails for a session that lacks a compulsory second factor although its account has one: whoever knows
/// the password alone must not add another.
///
/// # Errors
/// [`Error::TwoFactorRequired`].
pub fn require_enrolled(app: &App, actor: &Actor) -> Result<()> {
    let proofs = actor.second_proofs();
    if is_owed(app, actor) && !proofs.is_empty() {
        return Err(Error::TwoFactorRequired(proofs));
    }
    Ok(())
}

/// The same as the database has it now: of two sessions that set up the first one at once, one does. Belongs
/// into a transaction that holds the account locked.
///
/// # Errors
/// [`Error::TwoFactorRequired`].
pub async fn require_enrolled_still(app: &App, conn: &mut Conn, actor: &Actor) -> Result<()> {
    if !is_owed(app, actor) {
        return Ok(());
    }
    let state = TwoFactorState::of(conn, actor.user_id()).await?;
    let passkey = (state.passkeys > 0).then_some(Proof::Passkey);
    let code = state.enabled().then_some(Proof::TwoFactorCode);
    let proofs: Vec<Proof> = passkey.into_iter().chain(code).collect();
    if proofs.is_empty() {
        return Ok(());
    }
    Err(Error::TwoFactorRequired(proofs))
}

/// The ways in which `user` can prove the second factor that is asked for at sign-in; none where none is.
/// A passkey is a whole way in by itself: it makes a password ask for more only where more is compulsory.
///
/// # Errors
/// If the database cannot answer.
pub async fn asked_for(app: &App, conn: &mut Conn, user: Uuid) -> Result<Vec<TwoFactorMethod>> {
    let state = TwoFactorState::of(conn, user).await?;
    let mut methods = Vec::new();
    if app.passkeys.is_some()
        && state.passkeys > 0
        && (state.enabled() || is_compulsory(app, conn, user).await?)
    {
        methods.push(TwoFactorMethod::Passkey);
    }
    if state.enabled() {
        methods.push(TwoFactorMethod::Totp);
        if state.recovery_codes_left > 0 {
            methods.push(TwoFactorMethod::RecoveryCode);
        }
    }
    Ok(methods)
}

/// Makes a secret for a device; nothing changes until a code from it is shown. Where the second factor is
/// on, the new device takes the place of the one before then.
///
/// # Errors
/// If the database cannot answer; [`Error::Unauthenticated`] if the account is gone.
pub async fn enable(app: &App, actor: &Actor) -> Result<TwoFactorSetup> {
    require_enrolled(app, actor)?;
    let (now, user) = (app.now(), actor.user_id());
    let secret = SecretBox::new(Box::new(random::<20>()));
    let id = Uuid::now_v7();
    let mut conn = app.db.conn().await?;
    let email = conn
        .transaction(async |conn| {
            let owner = User::lock(conn, user).await?;
            let owner = owner.ok_or(Error::Unauthenticated)?;
            let key = data_keys::ensure(app, conn, user).await?;
            let place = Place {
                column: codes::SECRET,
                row: id,
            };
            let row = TwoFactorSecret {
                id,
                user_id: user,
                sealed_secret: key.seal(place, secret.expose_secret())?,
                created_at: now,
                confirmed_at: None,
            };
            row.replace_pending(conn).await?;
            Ok::<_, Error>(owner.email)
        })
        .await?;
    // A colon parts issuer and account in the label.
    let issuer = app.config.product_name.replace(':', " ");
    let totp = Builder::new()
        .with_secret(&secret.expose_secret()[..])
        .with_issuer(Some(issuer))
        .with_account_name(email.replace(':', " "))
        .build()
        .map_err(|error| anyhow::anyhow!("no secret can be shown: {error}"))?;
    let otpauth_uri = totp.to_url();
    Ok(TwoFactorSetup {
        expires_at: DateTime(*now + SETUP_LIFETIME),
        otpauth_uri: otpauth_uri
            .map_err(|error| anyhow::anyhow!("no address can be made: {error}"))?,
        secret: totp.secret().to_base32(),
    })
}

/// Switches the second factor on with the first code of the device; gives the recovery codes. Other
/// sessions end, and devices that were trusted are so no more.
///
/// # Errors
/// `TOKEN_REJECTED` for a wrong code or when nothing waits to be confirmed, `TOO_MANY_ATTEMPTS`;
/// [`Error::Unauthenticated`] if the session ended meanwhile.
pub async fn confirm(
    app: &App,
    actor: &Actor,
    input: &ConfirmTwoFactorInput,
) -> Result<(User, Vec<String>)> {
    require_enrolled(app, actor)?;
    let (now, user, path) = (app.now(), actor.user_id(), ["input", "code"]);
    let mut conn = app.db.conn().await?;
    limits::take_code(app, &mut conn, user).await?;
    let since = DateTime(*now - SETUP_LIFETIME);
    let pending = TwoFactorSecret::pending(&mut conn, user, since).await?;
    let pending = pending.ok_or_else(|| {
        let message = "No device waits to be confirmed. Begin anew with `enableTwoFactor`.";
        UserError::new(UserErrorCode::TokenRejected, message)
    })?;
    let key = data_keys::find(app, &mut conn, user).await?;
    let key = key.ok_or_else(|| anyhow::anyhow!("a sealed secret has no data key"))?;
    let compact: String = input
        .code
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(32)
        .collect();
    let step = codes::step_of(app, &key, &pending, &compact)?;
    let step = step.ok_or_else(|| codes::wrong_code(&path))?;
    let (codes, hashes) = codes::new_recovery_codes(&key);
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        require_enrolled_still(app, conn, actor).await?;
        if !TwoFactorSecret::confirm(conn, pending.id, user, step, now).await? {
            return Err(codes::wrong_code(&path));
        }
        RecoveryCodes::replace(conn, user, &hashes, now).await?;
        changed(conn, actor, now).await?;
        limits::forgive_codes(conn, user).await?;
        Job::TwoFactorEnabled { user }.enqueue(conn, now).await?;
        let entry = Entry::own(actor, AuditAction::TwoFactorEnabled);
        entry.record(app, conn).await?;
        Ok((owner, codes))
    })
    .await
}

/// Replaces the recovery codes, whether they were used or not.
///
/// # Errors
/// As [`confirm::confirm`]; `REJECTED` while the second factor is off.
pub async fn regenerate(
    app: &App,
    actor: &Actor,
    input: ConfirmIdentityInput,
) -> Result<(User, Vec<String>)> {
    let (now, user) = (app.now(), actor.user_id());
    // Before a code is counted for nothing.
    require_on(&mut *app.db.conn().await?, user).await?;
    let proof = confirm::check(app, actor, input).await?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        require_on(conn, user).await?;
        proof.take(app, conn, actor).await?;
        let key = data_keys::ensure(app, conn, user).await?;
        let (codes, hashes) = codes::new_recovery_codes(&key);
        RecoveryCodes::replace(conn, user, &hashes, now).await?;
        Job::RecoveryCodesReplaced { user }
            .enqueue(conn, now)
            .await?;
        let entry = Entry::own(actor, AuditAction::RecoveryCodesReplaced);
        entry.record(app, conn).await?;
        Ok((owner, codes))
    })
    .await
}

/// # Errors
/// `REJECTED` while the second factor is off.
async fn require_on(conn: &mut Conn, user: Uuid) -> Result<TwoFactorState> {
    let state = TwoFactorState::of(conn, user).await?;
    if !state.enabled() {
        let message = "The second factor is off.";
        return Err(UserError::new(UserErrorCode::Rejected, message).into());
    }
    Ok(state)
}

/// # Errors
/// `PROTECTED` where nothing else proves a second factor that is compulsory, `REJECTED` while it is off.
async fn require_voluntary(app: &App, conn: &mut Conn, user: Uuid) -> Result<()> {
    let state = require_on(conn, user).await?;
    if state.passkeys == 0 && is_compulsory(app, conn, user).await? {
        let message =
            "A second factor is compulsory for this account. Set up another device instead.";
        return Err(UserError::new(UserErrorCode::Protected, message).into());
    }
    Ok(())
}

/// Switches the second factor off. Other sessions end.
///
/// # Errors
/// As [`confirm::confirm`]; `PROTECTED` where a second factor is compulsory, `REJECTED` while it is off.
pub async fn disable(app: &App, actor: &Actor, input: ConfirmIdentityInput) -> Result<User> {
    let (now, user) = (app.now(), actor.user_id());
    // Before a code is counted for nothing.
    require_voluntary(app, &mut *app.db.conn().await?, user).await?;
    let proof = confirm::check(app, actor, input).await?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        require_voluntary(app, conn, user).await?;
        proof.take(app, conn, actor).await?;
        remove(conn, user).await?;
        changed(conn, actor, now).await?;
        Job::TwoFactorDisabled { user }.enqueue(conn, now).await?;
        let entry = Entry::own(actor, AuditAction::TwoFactorDisabled);
        entry.record(app, conn).await?;
        Ok(owner)
    })
    .await
}

/// Takes the second factor off an account whose owner has lost it, passkeys included; every session of it ends. No id names
/// nobody.
///
/// # Errors
/// `NOT_FOUND`, `PROTECTED` for the caller's own account; [`Error::Forbidden`] where the account may do
/// what the caller may not.
pub async fn reset(app: &App, actor: &Actor, user: Option<Uuid>) -> Result<User> {
    let id = user.ok_or_else(not_found)?;
    if id == actor.user_id() {
        let message =
            "Nobody takes the own second factor off this way; `disableTwoFactor` does it.";
        return Err(UserError::at(UserErrorCode::Protected, &["input", "userId"], message).into());
    }
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = account::above(app, conn, actor, SystemPermission::AdminUsers, id).await?;
        User::lock(conn, id).await?;
        if take_off(conn, id).await? {
            let reason = SessionEndReason::TwoFactorChanged;
            Session::revoke_all(conn, id, None, reason, now).await?;
            if user.status != AccountStatus::Deactivated {
                Job::TwoFactorReset { user: id }.enqueue(conn, now).await?;
            }
            let entry = Entry::by(actor, AuditAction::TwoFactorReset).on(id);
            entry.record(app, conn).await?;
        }
        Ok(user)
    })
    .await
}

/// Takes the second factor off the account with this address, for an operator: whoever runs the server lets
/// the last administrator in again. Says whether it was on; `None` where there is no such account.
///
/// # Errors
/// If the database cannot answer.
pub async fn reset_by_operator(app: &App, email: &str) -> Result<Option<bool>> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let Some(user) = User::by_email(conn, email).await? else {
            return Ok(None);
        };
        User::lock(conn, user.id).await?;
        let was_on = take_off(conn, user.id).await?;
        if was_on {
            let reason = SessionEndReason::TwoFactorChanged;
            Session::revoke_all(conn, user.id, None, reason, now).await?;
            let job = Job::TwoFactorReset { user: user.id };
            job.enqueue(conn, now).await?;
            let entry = Entry::server(AuditAction::TwoFactorReset).on(user.id);
            entry.record(app, conn).await?;
        }
        Ok(Some(was_on))
    })
    .await
}

/// Deletes everything that may have been lost: a passkey proves a second factor, too. Says whether there was
/// anything.
async fn take_off(conn: &mut Conn, user: Uuid) -> Result<bool> {
    let had_passkeys = Passkey::remove_all(conn, user).await? > 0;
    Ok(remove(conn, user).await? || had_passkeys)
}

/// Takes a second factor off that was set up after `since`: whoever took the account over then may have done
/// it. An older one stays, so that a mailbox alone never opens an account that has one; recovery codes that
/// were made since then do not. Belongs into a transaction that holds the account locked.
///
/// # Errors
/// If the database cannot answer.
pub async fn take_off_younger(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    user: Uuid,
    since: DateTime,
) -> Result<()> {
    if TwoFactorSecret::is_younger(conn, user, since).await? {
        remove(conn, user).await?;
        let entry = Entry::from(client, AuditAction::TwoFactorReset).of(user);
        entry.record(app, conn).await?;
    }
    Ok(RecoveryCodes::delete_younger(conn, user, since).await?)
}

/// Deletes the device and the recovery codes of `user`; says whether the second factor was on.
async fn remove(conn: &mut Conn, user: Uuid) -> Result<bool> {
    let was_on = TwoFactorSecret::delete(conn, user, true).await?;
    TwoFactorSecret::delete(conn, user, false).await?;
    RecoveryCodes::delete(conn, user).await?;
    TrustedDevice::delete_all(conn, user).await?;
    TwoFactorChallenge::delete_all(conn, user).await?;
    Ok(was_on)
}

/// What goes with another second factor: whoever came in without it is out.
async fn changed(conn: &mut Conn, actor: &Actor, now: DateTime) -> Result<()> {
    let (user, session) = (actor.user_id(), actor.session_id());
    let reason = SessionEndReason::TwoFactorChanged;
    Session::revoke_all(conn, user, Some(session), reason, now).await?;
    TrustedDevice::delete_all(conn, user).await?;
    TwoFactorChallenge::delete_all(conn, user).await?;
    let session = Session::reauthenticate(conn, session, true, now).await?;
    session.map(drop).ok_or(Error::Unauthenticated)
}
