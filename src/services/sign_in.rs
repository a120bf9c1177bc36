//! The one door that every way of signing in goes through: it asks for a second factor where the account
//! has one, and opens the session. What was proved before, others have checked.

use std::sync::Arc;

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::crypto::token::{PlainToken, TokenHash};
use crate::db::Conn;
use crate::error::{Error, Result, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::job::Job;
use crate::models::login_event::{self, NewLoginEvent};
use crate::models::session::{NewSession, Session, SignInMethod};
use crate::models::trusted_device::TrustedDevice;
use crate::models::two_factor_challenge::TwoFactorChallenge;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::Try;
use crate::services::login::TokenDelivery;
use crate::services::session::{self, REFRESH_PREFIX, SignedIn};
use crate::services::two_factor::{self, TwoFactorMethod};
use crate::services::{data_keys, devices, erasure, password, sealed};

/// The prefix of tokens that continue a sign-in with the second factor.
const CHALLENGE_PREFIX: &str = "ctf";
/// The prefix of tokens of trusted devices.
const DEVICE_PREFIX: &str = "ctd";
/// How long a sign-in waits for its second factor.
const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// What a sign-in step leads to.
pub enum SignIn {
    /// A session was opened.
    SignedIn(Box<SignedIn>),
    /// A second factor is asked for.
    TwoFactorRequired {
        /// Continues the sign-in.
        challenge_token: PlainToken,
        /// When that token ends.
        expires_at: DateTime,
        /// What the account can prove it with.
        methods: Vec<TwoFactorMethod>,
    },
    /// The address must be proved first.
    EmailVerificationRequired {
        /// When another mail may be asked for.
        resend_available_at: DateTime,
    },
    /// The password is older than the policy allows.
    PasswordExpired {
        /// Sets a new one.
        reset_token: PlainToken,
        /// When that token ends.
        expires_at: DateTime,
    },
}

/// Who signs in, by what proof.
#[derive(Debug)]
pub struct NewSignIn<'a> {
    /// The account.
    pub user: Uuid,
    /// What was proved.
    pub method: SignInMethod,
    /// The stored hash that a password was compared with.
    pub verified: Option<&'a str>,
    /// What to store in its place.
    pub rehashed: Option<&'a str>,
    /// Keep the session for longer.
    pub remember_me: bool,
    /// How the tokens are to come back.
    pub delivery: TokenDelivery,
    /// What a trusted device shows.
    pub device_token: Option<&'a SecretString>,
    /// The try that is forgiven once the sign-in is whole.
    pub attempt: Option<&'a Try>,
}

/// Lets a person in who has proved one thing: opens a session, or asks for a second factor where the
/// account has one and neither the proof nor the device stands for it. Belongs into a transaction.
///
/// Gives `None` if the account is not active, or its password is not the verified one any more.
///
/// # Errors
/// As [`finish`].
pub async fn admit(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    new: &NewSignIn<'_>,
) -> Result<Option<SignIn>> {
    // Locked, so that a second factor that is being switched on is seen, or ends this session.
    let Some(mut account) = Credentials::lock(conn, new.user).await? else {
        return Ok(None);
    };
    let same = |verified| account.hashed_password.as_deref() == Some(verified);
    if account.status != AccountStatus::Active || !new.verified.is_none_or(same) {
        return Ok(None);
    }
    if let Some(hash) = new.rehashed {
        User::rehash(conn, account.id, hash).await?;
        account.hashed_password = Some(hash.to_owned());
    }
    let mut opening = Opening {
        methods: vec![new.method],
        second_factor: new.method.is_two_factors(),
        proved_at: app.now(),
        remember_me: new.remember_me,
    };
    if !opening.second_factor {
        let methods = two_factor::asked_for(app, conn, account.id).await?;
        let trusted = match new.device_token {
            Some(token) if !methods.is_empty() => {
                let hash = TokenHash::of(token.expose_secret());
                TrustedDevice::live(conn, account.id, &hash, app.now()).await?
            }
            _ => None,
        };
        if let Some(device) = trusted {
            opening.methods.push(SignInMethod::TrustedDevice);
            opening.second_factor = true;
            // What needs a recent proof needs one that is as strong as the one on this device was.
            opening.proved_at = device.created_at;
        } else if !methods.is_empty() {
            return challenge(app, conn, client, &account, new, methods)
                .await
                .map(Some);
        }
    }
    if let Some(attempt) = new.attempt {
        attempt.forgive(conn).await?;
    }
    finish(app, conn, client, &account, &opening).await
}

async fn challenge(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    account: &Credentials,
    new: &NewSignIn<'_>,
    methods: Vec<TwoFactorMethod>,
) -> Result<SignIn> {
    let now = app.now();
    let challenge_token = PlainToken::generate(CHALLENGE_PREFIX);
    let expires_at = DateTime(*now + CHALLENGE_LIFETIME);
    let challenge = TwoFactorChallenge {
        token_hash: challenge_token.hash(),
        user_id: account.id,
        method: new.method,
        password_changed_at: account.password_changed_at,
        remember_me: new.remember_me,
        in_cookies: new.delivery == TokenDelivery::Cookie,
        device_hash: devices::device_hash(client, account.id).to_vec(),
        // An attacker who knows the password must not have wrong ones forgiven by it.
        forgiven_keys: new.attempt.map(Try::keys).unwrap_or_default(),
        created_at: now,
        expires_at,
    };
    challenge.insert(conn).await?;
    proved_one(app, conn, client, account, new.method).await?;
    Ok(SignIn::TwoFactorRequired {
        challenge_token,
        expires_at,
        methods,
    })
}

/// Writes down that somebody knows a password, or holds what stands for it, though it opens no session.
async fn proved_one(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    account: &Credentials,
    method: SignInMethod,
) -> Result<()> {
    let entry = Entry::from(client, AuditAction::FirstFactorProved).on(account.id);
    let entry = entry.with("methods", vec![method.as_str()]);
    entry.record(app, conn).await
}

/// How a session is opened.
#[derive(Debug)]
pub struct Opening {
    /// What was proved, in order.
    pub methods: Vec<SignInMethod>,
    /// A second factor is among it.
    pub second_factor: bool,
    /// When that was.
    pub proved_at: DateTime,
    /// Keep the session for longer.
    pub remember_me: bool,
}

/// Opens a session for an account that has proved everything that is asked of it, or hands out what
/// replaces a password that is too old. Belongs into a transaction that holds the account locked.
///
/// Gives `None` if the account is not active.
///
/// # Errors
/// `ACCOUNT_UNAVAILABLE` for an account whose erasure is due; if the database cannot answer or signing fails.
pub async fn finish(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    account: &Credentials,
    opening: &Opening,
) -> Result<Option<SignIn>> {
    if account.erases_at.is_some_and(|at| at <= app.now()) {
        return Err(erasure::being_erased());
    }
    if opening.methods.contains(&SignInMethod::Password) && password::has_expired(app, account) {
        let expired = password::expired(app, conn, account).await?;
        proved_one(app, conn, client, account, SignInMethod::Password).await?;
        return Ok(
            expired.map(|(reset_token, expires_at)| SignIn::PasswordExpired {
                reset_token,
                expires_at,
            }),
        );
    }
    let now = app.now();
    let Some(user) = User::record_login(conn, account.id, now).await? else {
        return Ok(None);
    };
    let refresh_token = PlainToken::generate(REFRESH_PREFIX);
    let key = Arc::new(data_keys::ensure(app, conn, user.id).await?);
    let id = Uuid::now_v7();
    let ip_address = sealed::seal_ip_address(&key, id, client.ip)?;
    let user_agent = client.user_agent.as_deref();
    let user_agent = user_agent.map(|agent| sealed::seal_user_agent(&key, id, agent));
    let user_agent = user_agent.transpose()?;
    let row = NewSession {
        id,
        user_id: user.id,
        refresh_token_hash: refresh_token.hash(),
        remember_me: opening.remember_me,
        ip_address: Some(&ip_address),
        user_agent: user_agent.as_deref(),
        created_at: now,
        last_accessed_at: now,
        authenticated_at: opening.proved_at,
        expires_at: (*now + app.config.session_lifetime(opening.remember_me)).into(),
        methods: &opening.methods,
        second_factor: opening.second_factor,
    };
    let opened = row.insert(conn).await?;
    let most = app.config.session.sessions_per_account.into();
    Session::revoke_beyond(conn, user.id, most, now).await?;
    let event = NewLoginEvent {
        id: Uuid::now_v7(),
        user_id: user.id,
        methods: &opening.methods,
        occurred_at: user.last_login_at.unwrap_or(now),
        // The account is locked: of two sign-ins at once the second sees the first.
        previous_at: account.last_login_at,
    };
    event.insert(conn).await?;
    if devices::note(conn, client, user.id, now).await? {
        let job = Job::NewDevice {
            user: user.id,
            session: opened.id,
        };
        job.enqueue(conn, now).await?;
    }
    let methods = opening.methods.iter().map(|method| method.as_str());
    Entry::from(client, AuditAction::Login)
        .of(user.id)
        .with("methods", methods.collect::<Vec<_>>())
        .with("session", opened.id.to_string())
        .sealed_by(&key)
        .record(app, conn)
        .await?;
    let signed_in = session::signed_in(app, conn, user, opened, refresh_token).await?;
    Ok(Some(SignIn::SignedIn(Box::new(signed_in))))
}

/// Who tried to sign in, as far as that was said, by what.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// The account that was named, if there is one. Nobody proved to be its owner.
    pub user: Option<Uuid>,
    /// What was to be proved.
    pub method: &'static str,
}

/// Counts the try and writes it into the audit trail where `outcome` refuses it, and gives `outcome` back. Belongs
/// behind the limits, so that nobody writes without end, and outside of the transaction of the try, which takes
/// back what it wrote. A known and an unknown name are the same work.
///
/// # Errors
/// Those of `outcome`; if the database refuses.
pub async fn note_refusal<T>(
    app: &App,
    client: &ClientInfo,
    tried: Tried,
    outcome: Result<T>,
) -> Result<T> {
    let refuses = |code| {
        matches!(
            code,
            UserErrorCode::AccountUnavailable
                | UserErrorCode::InvalidCredentials
                | UserErrorCode::Rejected
                | UserErrorCode::TokenRejected
        )
    };
    if let Err(Error::Refused(errors)) = &outcome
        && errors.iter().any(|error| refuses(error.reason()))
    {
        let mut conn = app.db.conn().await?;
        conn.transaction::<_, Error, _>(async |conn| {
            login_event::record_refused(conn, app.now()).await?;
            let entry = Entry::from(client, AuditAction::Login).failed();
            let entry = entry.with("methods", vec![tried.method]);
            let entry = match tried.user {
                Some(user) => entry.on(user),
                None => entry,
            };
            entry.record(app, conn).await
        })
        .await?;
    }
    outcome
}

/// Trusts the device on which `user` has just proved a second factor. Gives the token that it is to keep,
/// and until when that is good; `None` where the settings trust no device.
///
/// # Errors
/// If the database refuses.
pub async fn trust_device(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
) -> Result<Option<(PlainToken, DateTime)>> {
    let Some(lifetime) = app.config.trusted_device_lifetime() else {
        return Ok(None);
    };
    let token = PlainToken::generate(DEVICE_PREFIX);
    let device = TrustedDevice {
        token_hash: token.hash(),
        user_id: user,
        created_at: app.now(),
        expires_at: DateTime(*app.now() + lifetime),
    };
    device.insert(conn).await?;
    Ok(Some((token, device.expires_at)))
}
