//! The second factor: codes of a device (TOTP, RFC 6238) and the recovery codes that stand in for it.

use async_graphql::{Enum, InputObject};
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::{ExposeSecret as _, SecretBox};
use totp_rs::{Builder, Secret, Totp};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::config::TwoFactorRequirement;
use crate::crypto::seal::{DataKey, Place};
use crate::crypto::token::{TokenHash, random};
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::data_key::WrappedKey;
use crate::models::job::Job;
use crate::models::rate_limit;
use crate::models::role::Role;
use crate::models::session::{Session, SessionEndReason, SignInMethod};
use crate::models::trusted_device::TrustedDevice;
use crate::models::two_factor::{RecoveryCodes, TwoFactorSecret, TwoFactorState};
use crate::models::two_factor_challenge::TwoFactorChallenge;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::services::audit::{self, AuditAction};
use crate::services::confirm::{self, ConfirmIdentityInput};
use crate::services::limits::{self, Limit};
use crate::services::login::TokenDelivery;
use crate::services::personalization::not_found;
use crate::services::sign_in::{self, Opening, SignIn};
use crate::services::{account, devices};

/// How long a secret waits for its first code.
pub const SETUP_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Crockford's base 32: no letter in it looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Wrong codes in a row at which the owner is told.
const TOLD_AT: [i32; 3] = [10, 50, 100];
const SECRET: &str = "two_factor_secrets.sealed_secret";

/// A way to prove the second factor.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoFactorMethod {
    /// A passkey of the account: `startPasskeySignIn` with the challenge token.
    Passkey,
    /// A recovery code: `verifyTwoFactor`.
    RecoveryCode,
    /// A code from the device: `verifyTwoFactor`.
    Totp,
}

/// Second step of a sign-in.
#[derive(InputObject)]
pub struct VerifyTwoFactorInput {
    /// From `TwoFactorRequired`.
    #[graphql(secret)]
    pub challenge_token: String,
    /// Six digits, or a recovery code.
    #[graphql(secret)]
    pub code: String,
    /// Skip the second step on this device for 30 days, or as long as the server is set to.
    #[graphql(default = false)]
    pub trust_device: bool,
}

/// First code from the new device.
#[derive(InputObject)]
pub struct ConfirmTwoFactorInput {
    /// Six digits.
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

/// A right code that was not taken yet.
#[must_use = "a code that is not taken can be used again"]
pub enum Code {
    /// Of a device.
    Totp {
        /// The secret.
        id: Uuid,
        /// The step of time that the code belongs to.
        step: i64,
    },
    /// A recovery code, which may be unknown or used.
    Recovery([u8; 32]),
}

/// What a second step leads to.
pub struct Verified {
    /// The outcome.
    pub sign_in: SignIn,
    /// How the tokens are to come back, as the first step said.
    pub delivery: TokenDelivery,
}

/// Whether a second factor is compulsory for `user`.
///
/// # Errors
/// If the database cannot answer.
pub async fn is_compulsory(app: &App, conn: &mut Conn, user: Uuid) -> Result<bool> {
    Ok(match app.config.two_factor_required() {
        TwoFactorRequirement::Nobody => false,
        TwoFactorRequirement::Roles => Role::any_requires_two_factor(conn, user).await?,
        TwoFactorRequirement::Everybody => true,
    })
}

/// Whether the session lacks a compulsory second factor.
#[must_use]
pub fn is_owed(app: &App, actor: &Actor) -> bool {
    let compulsory = match app.config.two_factor_required() {
        TwoFactorRequirement::Nobody => false,
        TwoFactorRequirement::Roles => actor.two_factor_by_role(),
        TwoFactorRequirement::Everybody => true,
    };
    compulsory && !actor.has_proved_second_factor()
}

/// The ways in which `user` can prove the second factor that is asked for at sign-in; none where none is.
///
/// # Errors
/// If the database cannot answer.
pub async fn asked_for(app: &App, conn: &mut Conn, user: Uuid) -> Result<Vec<TwoFactorMethod>> {
    let _ = app;
    let state = TwoFactorState::of(conn, user).await?;
    let mut methods = Vec::new();
    if state.enabled() {
        methods.push(TwoFactorMethod::Totp);
        if state.recovery_codes_left > 0 {
            methods.push(TwoFactorMethod::RecoveryCode);
        }
    }
    Ok(methods)
}

/// Completes a sign-in with a code.
///
/// `may_deliver` says whether the tokens can come back in the way that the first step asked for; it is
/// asked before the code is looked at.
///
/// # Errors
/// `TOKEN_REJECTED` for a challenge that is unknown, used up, past its end or of another device, and for a
/// wrong code; `REJECTED` after too many wrong codes; `TOO_MANY_ATTEMPTS`; what `may_deliver` says.
pub async fn verify(
    app: &App,
    client: &ClientInfo,
    input: VerifyTwoFactorInput,
    may_deliver: impl FnOnce(TokenDelivery) -> Result<()>,
) -> Result<Verified> {
    limits::take(app, Limit::Token, client, "").await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let challenge = open_challenge(app, &mut conn, client, &input.challenge_token).await?;
    let user = challenge.user_id;
    let delivery = if challenge.in_cookies {
        TokenDelivery::Cookie
    } else {
        TokenDelivery::Body
    };
    may_deliver(delivery)?;
    let path = ["input", "code"];
    let code = check(app, &mut conn, user, &path, &input.code).await?;
    conn.transaction(async |conn| {
        let account = Credentials::lock(conn, user).await?;
        let account = account.ok_or_else(challenge_rejected)?;
        if !challenge.consume(conn, now).await? {
            return Err(challenge_rejected());
        }
        let method = take(app, conn, user, &path, &code).await?;
        complete(
            app,
            conn,
            client,
            &account,
            &challenge,
            method,
            input.trust_device,
        )
        .await
    })
    .await
    .map(|sign_in| Verified { sign_in, delivery })
}

/// The live challenge with this token that began on the same device, with one try taken.
///
/// # Errors
/// `TOKEN_REJECTED` at the challenge token.
pub async fn open_challenge(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    token: &str,
) -> Result<TwoFactorChallenge> {
    let challenge = TwoFactorChallenge::live(conn, &TokenHash::of(token), app.now()).await?;
    let challenge = challenge
        .filter(|challenge| {
            challenge.device_hash == devices::device_hash(client, challenge.user_id)
        })
        .ok_or_else(challenge_rejected)?;
    // Counted before anything is compared: of many tries at once only so many are looked at.
    if !challenge.begin_try(conn).await? {
        return Err(challenge_rejected());
    }
    Ok(challenge)
}

/// Opens the session of a sign-in whose second factor was just proved by `method`. Belongs into the
/// transaction that has locked the account and consumed the challenge.
///
/// # Errors
/// If the database cannot answer or signing fails; `TOKEN_REJECTED` if the account was closed.
pub async fn complete(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    account: &Credentials,
    challenge: &TwoFactorChallenge,
    method: SignInMethod,
    trust_device: bool,
) -> Result<SignIn> {
    let keys = challenge.forgiven_keys.iter();
    let keys: Vec<&[u8]> = keys.map(Vec::as_slice).collect();
    rate_limit::forget(conn, &keys).await?;
    let trusted_device = if trust_device {
        sign_in::trust_device(app, conn, account.id).await?
    } else {
        None
    };
    let opening = Opening {
        methods: vec![challenge.method, method],
        second_factor: true,
        proved_at: app.now(),
        remember_me: challenge.remember_me,
    };
    let finished = sign_in::finish(app, conn, client, account, &opening).await?;
    let mut finished = finished.ok_or_else(challenge_rejected)?;
    if let SignIn::SignedIn(signed_in) = &mut finished {
        signed_in.trusted_device = trusted_device;
    }
    Ok(finished)
}

/// Compares a code with what the account has, and counts it as wrong until it is taken. Commits at once
/// what it counts: call it outside of a transaction.
///
/// # Errors
/// `TOKEN_REJECTED` at `path` for a wrong code, `REJECTED` after too many wrong ones, `TOO_MANY_ATTEMPTS`.
pub async fn check(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
    path: &[&str],
    code: &str,
) -> Result<Code> {
    limits::take_code(app, conn, user).await?;
    let code = code.trim();
    let compact: String = code.chars().filter(|c| *c != ' ').take(32).collect();
    let of_device = compact.len() == 6 && compact.bytes().all(|byte| byte.is_ascii_digit());
    if !of_device {
        let key = data_key(app, conn, user).await?;
        let code = key.zip(normalized(code));
        let hash = code.map(|(key, code)| key.hash(RECOVERY, &code));
        return hash.map(Code::Recovery).ok_or_else(|| wrong_code(path));
    }
    let Some((secret, wrong_codes)) = TwoFactorSecret::begin_try(conn, user).await? else {
        let state = TwoFactorState::of(conn, user).await?;
        return Err(if state.enabled() {
            let message = "Too many wrong codes in a row. Use a recovery code or a passkey, or set a new password.";
            UserError::at(UserErrorCode::Rejected, path, message).into()
        } else {
            wrong_code(path)
        });
    };
    let key = data_key(app, conn, user).await?;
    let key = key.ok_or_else(|| anyhow::anyhow!("a sealed secret has no data key"))?;
    match step_of(app, &key, &secret, &compact)? {
        Some(step) => Ok(Code::Totp {
            id: secret.id,
            step,
        }),
        None => {
            if TOLD_AT.contains(&wrong_codes) {
                Job::WrongCodes { user }.enqueue(conn, app.now()).await?;
            }
            Err(wrong_code(path))
        }
    }
}

/// Uses a code up; says what it was. Belongs into the transaction of what it allows, which holds the
/// account locked.
///
/// # Errors
/// `TOKEN_REJECTED` at `path` for a code that was used before.
pub async fn take(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
    path: &[&str],
    code: &Code,
) -> Result<SignInMethod> {
    let now = app.now();
    let method = match code {
        Code::Totp { id, step } if TwoFactorSecret::take_step(conn, *id, *step).await? => {
            SignInMethod::Totp
        }
        Code::Recovery(hash) if RecoveryCodes::take(conn, user, hash, now).await? => {
            TwoFactorSecret::forgive(conn, user).await?;
            Job::RecoveryCodeUsed { user }.enqueue(conn, now).await?;
            audit::note(AuditAction::RecoveryCodeUsed, user, user);
            SignInMethod::RecoveryCode
        }
        _ => return Err(wrong_code(path)),
    };
    limits::forgive_codes(conn, user).await?;
    Ok(method)
}

/// Makes a secret for a device; nothing changes until a code from it is shown. Where the second factor is
/// on, the new device takes the place of the one before then.
///
/// # Errors
/// If the database cannot answer; [`Error::Unauthenticated`] if the account is gone.
pub async fn enable(app: &App, actor: &Actor) -> Result<TwoFactorSetup> {
    let (now, user) = (app.now(), actor.user_id());
    let secret = SecretBox::new(Box::new(random::<20>()));
    let id = Uuid::now_v7();
    let mut conn = app.db.conn().await?;
    let email = conn
        .transaction(async |conn| {
            let owner = User::lock(conn, user).await?;
            let owner = owner.ok_or(Error::Unauthenticated)?;
            let key = ensure_data_key(app, conn, user).await?;
            let place = Place {
                column: SECRET,
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
    let (now, user, path) = (app.now(), actor.user_id(), ["input", "code"]);
    let mut conn = app.db.conn().await?;
    limits::take_code(app, &mut conn, user).await?;
    let since = DateTime(*now - SETUP_LIFETIME);
    let pending = TwoFactorSecret::pending(&mut conn, user, since).await?;
    let pending = pending.ok_or_else(|| {
        let message = "No device waits to be confirmed. Begin anew with `enableTwoFactor`.";
        UserError::new(UserErrorCode::TokenRejected, message)
    })?;
    let key = data_key(app, &mut conn, user).await?;
    let key = key.ok_or_else(|| anyhow::anyhow!("a sealed secret has no data key"))?;
    let compact: String = input
        .code
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(32)
        .collect();
    let step = step_of(app, &key, &pending, &compact)?;
    let step = step.ok_or_else(|| wrong_code(&path))?;
    let (codes, hashes) = new_recovery_codes(&key);
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        if !TwoFactorSecret::confirm(conn, pending.id, user, step, now).await? {
            return Err(wrong_code(&path));
        }
        RecoveryCodes::replace(conn, user, &hashes, now).await?;
        changed(conn, actor, now).await?;
        limits::forgive_codes(conn, user).await?;
        Job::TwoFactorEnabled { user }.enqueue(conn, now).await?;
        audit::note(AuditAction::TwoFactorEnabled, user, user);
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
    let proof = confirm::check(app, actor, input).await?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        if !TwoFactorState::of(conn, user).await?.enabled() {
            let message = "The second factor is off.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        proof.take(app, conn, actor).await?;
        let key = ensure_data_key(app, conn, user).await?;
        let (codes, hashes) = new_recovery_codes(&key);
        RecoveryCodes::replace(conn, user, &hashes, now).await?;
        Job::RecoveryCodesReplaced { user }
            .enqueue(conn, now)
            .await?;
        audit::note(AuditAction::RecoveryCodesReplaced, user, user);
        Ok((owner, codes))
    })
    .await
}

/// Switches the second factor off. Other sessions end.
///
/// # Errors
/// As [`confirm::confirm`]; `PROTECTED` where a second factor is compulsory, `REJECTED` while it is off.
pub async fn disable(app: &App, actor: &Actor, input: ConfirmIdentityInput) -> Result<User> {
    let (now, user) = (app.now(), actor.user_id());
    let proof = confirm::check(app, actor, input).await?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let owner = User::lock(conn, user).await?;
        let owner = owner.ok_or(Error::Unauthenticated)?;
        proof.take(app, conn, actor).await?;
        if is_compulsory(app, conn, user).await? {
            let message =
                "A second factor is compulsory for this account. Set up another device instead.";
            return Err(UserError::new(UserErrorCode::Protected, message).into());
        }
        if !remove(conn, user).await? {
            let message = "The second factor is off.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        changed(conn, actor, now).await?;
        Job::TwoFactorDisabled { user }.enqueue(conn, now).await?;
        audit::note(AuditAction::TwoFactorDisabled, user, user);
        Ok(owner)
    })
    .await
}

/// Takes the second factor off an account whose owner has lost it; every session of it ends. No id names
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
        let user = account::above(conn, actor, id).await?;
        User::lock(conn, id).await?;
        if remove(conn, id).await? {
            let reason = SessionEndReason::TwoFactorChanged;
            Session::revoke_all(conn, id, None, reason, now).await?;
            if user.status != AccountStatus::Deactivated {
                Job::TwoFactorReset { user: id }.enqueue(conn, now).await?;
            }
            audit::note(AuditAction::TwoFactorReset, actor.user_id(), id);
        }
        Ok(user)
    })
    .await
}

/// Deletes everything that proves the second factor of `user`; says whether it was on.
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

/// The step of time whose code this is, at most the configured number of steps from now.
fn step_of(app: &App, key: &DataKey, secret: &TwoFactorSecret, code: &str) -> Result<Option<i64>> {
    let place = Place {
        column: SECRET,
        row: secret.id,
    };
    let opened = key.open(place, &secret.sealed_secret)?;
    let totp = totp(app, opened.expose_secret())?;
    let now = u64::try_from(app.now().timestamp()).unwrap_or_default();
    let step = totp.check(code, now);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

fn totp(app: &App, secret: &[u8]) -> Result<Totp> {
    let built = Builder::new()
        .with_secret(Secret::from(secret))
        .with_skew(app.config.two_factor.totp_skew_steps)
        .build();
    Ok(built.map_err(|error| anyhow::anyhow!("a secret cannot be used: {error}"))?)
}

const RECOVERY: &str = "recovery_codes.code_hash";

/// Ten codes of 80 random bits, `XXXX-XXXX-XXXX-XXXX`, and what to keep of them.
fn new_recovery_codes(key: &DataKey) -> (Vec<String>, Vec<[u8; 32]>) {
    let code = || {
        let bytes = random::<16>();
        let mut code = String::new();
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        code
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| code()).collect();
    let hash = |code: &String| key.hash(RECOVERY, &code.replace('-', ""));
    let hashes = codes.iter().map(hash).collect();
    (codes, hashes)
}

/// A recovery code as it is hashed, whatever its case and separators; `None` where it is none.
fn normalized(code: &str) -> Option<String> {
    let mut normalized = String::new();
    for c in code.chars().filter(|c| !matches!(c, '-' | ' ')).take(17) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        normalized.push(
            ALPHABET
                .iter()
                .map(|b| char::from(*b))
                .find(|known| *known == c)?,
        );
    }
    (normalized.len() == 16).then_some(normalized)
}

async fn data_key(app: &App, conn: &mut Conn, user: Uuid) -> Result<Option<DataKey>> {
    let Some(row) = WrappedKey::by_user(conn, user).await? else {
        return Ok(None);
    };
    let key = app
        .master_keys
        .unwrap(user, &row.wrapped_key, &row.master_key_id)?;
    Ok(Some(key))
}

/// The data key of `user`, made if there is none.
async fn ensure_data_key(app: &App, conn: &mut Conn, user: Uuid) -> Result<DataKey> {
    if let Some(key) = data_key(app, conn, user).await? {
        return Ok(key);
    }
    let (_, wrapped_key, master) = app.master_keys.new_data_key(user)?;
    let row = WrappedKey {
        user_id: user,
        wrapped_key,
        master_key_id: master.to_vec(),
    };
    row.insert_if_missing(conn, app.now()).await?;
    // Of two that make one at once both use the same.
    let key = data_key(app, conn, user).await?;
    Ok(key.ok_or_else(|| anyhow::anyhow!("a data key was not kept"))?)
}

fn wrong_code(path: &[&str]) -> Error {
    let message = "The code is wrong, or was used before.";
    UserError::at(UserErrorCode::TokenRejected, path, message).into()
}

/// What is said of a sign-in that cannot be continued.
#[must_use]
pub fn challenge_rejected() -> Error {
    let message = "This sign-in is unknown, used up or past its end. Begin anew.";
    let path = ["input", "challengeToken"];
    UserError::at(UserErrorCode::TokenRejected, &path, message).into()
}
