//! Signing in with a password.

use async_graphql::{Enum, InputObject};
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::SecretString;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::crypto::password::Verdict;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::{Credentials, RegistrationClaim};
use crate::models::job::Job;
use crate::models::session::SignInMethod;
use crate::models::user::{AccountStatus, ClosedBy};
use crate::models::verification_token::VerificationKind;
use crate::services::devices;
use crate::services::limits::{self, Try};
use crate::services::sign_in::{self, NewSignIn, SignIn, Tried};

/// How tokens reach the client.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenDelivery {
    /// In the answer; for native apps and servers.
    Body,
    /// In `HttpOnly`, `SameSite` cookies; for browsers. Later requests with them need the header
    /// `graphql-require-preflight: 1`. A page of an origin that the operator has not listed gets the code
    /// `FORBIDDEN`.
    Cookie,
}

/// A sign-in with a password.
#[derive(InputObject)]
pub struct LoginInput {
    /// User name or mail address, without regard to case.
    pub identifier: String,
    /// The password of the account.
    #[graphql(secret)]
    pub password: String,
    /// Keep the session for 30 days instead of 24 hours, unless the operator says otherwise; `Session.expiresAt`
    /// tells.
    #[graphql(default = false)]
    pub remember_me: bool,
    /// Whether the tokens come back in the answer or in cookies.
    #[graphql(default_with = "TokenDelivery::Body")]
    pub token_delivery: TokenDelivery,
    /// From `SignedIn.deviceToken` of an earlier sign-in on this device, in place of the second factor; left out
    /// when it is in a cookie, or there is none.
    #[graphql(secret)]
    pub device_token: Option<String>,
}

/// What verifying a password came to.
enum Verified {
    /// The account is open. With a new hash where the stored one was made with other parameters.
    Open(Credentials, Option<String>),
    /// The account is closed.
    Closed(Credentials),
    /// The address was not proved, or somebody registered in vain with this address and password.
    Pending(Credentials),
}

/// Signs in with an address or username and a password.
///
/// An unknown name and a wrong password get the same answer after the same work. What state an
/// account is in is told only to who knows its password.
///
/// # Errors
/// `INVALID_CREDENTIALS`, `ACCOUNT_UNAVAILABLE` for a closed account, `TOO_MANY_ATTEMPTS`;
/// [`Error::RateLimited`] when too many passwords wait to be verified.
pub async fn login(app: &App, client: &ClientInfo, input: LoginInput) -> Result<SignIn> {
    let identifier = input.identifier.trim();
    // Addresses and usernames are ASCII. What the database takes for equal and this server does not
    // would be a second budget for one account. Nothing longer can be right; hashing it would only
    // be work for whoever sends it. A character has at most four bytes, and up to three more code
    // points in its decomposed form.
    if !identifier.is_ascii()
        || identifier.len() > 254
        || input.password.len() > app.config.password_policy().maximum_bytes()
    {
        return Err(invalid_credentials());
    }
    let network = devices::network_hash(client);
    let found =
        Credentials::by_identifier(&mut *app.db.conn().await?, identifier, &network).await?;
    let known = found.as_ref().is_some_and(|found| found.known_network);
    let attempt = Try::to_login(app, client, identifier, known).await?;
    let found = found.map(|found| (found.credentials, found.claim));
    let who = Tried {
        user: found.as_ref().map(|(account, _)| account.id),
        method: SignInMethod::Password.as_str(),
    };
    let outcome = tried(app, client, input, found, &attempt).await;
    sign_in::note_refusal(app, client, who, outcome).await
}

/// A try that the limits let through.
async fn tried(
    app: &App,
    client: &ClientInfo,
    input: LoginInput,
    found: Option<(Credentials, Option<RegistrationClaim>)>,
    attempt: &Try,
) -> Result<SignIn> {
    let by_address = input.identifier.contains('@');
    let verified = verify(app, found, by_address, input.password.into(), attempt).await?;
    let mut conn = app.db.conn().await?;
    match verified {
        Verified::Open(account, rehashed) => {
            let device_token = input.device_token.map(SecretString::from);
            let new = NewSignIn {
                user: account.id,
                method: SignInMethod::Password,
                verified: account.hashed_password.as_deref(),
                rehashed: rehashed.as_deref(),
                remember_me: input.remember_me,
                delivery: input.token_delivery,
                device_token: device_token.as_ref(),
                // Only who is let in has the wrong tries forgiven: anybody can register in vain with an
                // address that is in use, and would be told by that registration's password.
                attempt: Some(attempt),
            };
            let admitted = conn
                .transaction(async |conn| sign_in::admit(app, conn, client, &new).await)
                .await?;
            // None: closed, or given another password, while this one was verified.
            admitted.ok_or_else(invalid_credentials)
        }
        Verified::Closed(account) => {
            drop(conn);
            offer_reactivation(app, client, &account).await?;
            Err(unavailable())
        }
        Verified::Pending(account) => {
            let kind = VerificationKind::EmailVerification.as_str();
            let at = limits::resend_available_at(app, &mut conn, kind, &account.email).await?;
            Ok(SignIn::EmailVerificationRequired {
                resend_available_at: at,
            })
        }
    }
}

/// Compares a password with what is kept for a name. Holds no connection.
async fn verify(
    app: &App,
    found: Option<(Credentials, Option<RegistrationClaim>)>,
    by_address: bool,
    password: SecretString,
    attempt: &Try,
) -> Result<Verified> {
    let (account, claim) = found.map_or((None, None), |(account, claim)| (Some(account), claim));
    let stored = account
        .as_ref()
        .and_then(|account| account.hashed_password.clone());
    let verdict = match app.verify_password(password.clone(), stored).await {
        Err(busy) => {
            // Nothing was decided. Past this point something is, and the try stays taken.
            attempt.give_back(app).await?;
            return Err(busy);
        }
        verdict => verdict?,
    };
    let right = verdict != Verdict::Wrong;
    let account = match (account, verdict) {
        (Some(account), Verdict::Right(rehashed)) if account.status == AccountStatus::Active => {
            return Ok(Verified::Open(account, rehashed));
        }
        (account, _) => account,
    };
    // Whoever is not let in waits for two hashes, whatever the reason: a registration with the
    // address of an open account is looked at too, and must not be told from one that opened its own.
    let hours = TimeDelta::hours(app.config.registration.verification_hours.into());
    let oldest = *app.now() - hours;
    let claim = claim.filter(|claim| *claim.created_at > oldest);
    let claimed = app
        .verify_password(password, claim.map(|claim| claim.hashed_password))
        .await?;
    match account {
        Some(account) if right && account.status == AccountStatus::Deactivated => {
            Ok(Verified::Closed(account))
        }
        // By the address alone: a username that was asked for with an address in use is kept without an
        // account, and its answer would tell.
        Some(account) if by_address && (right || claimed != Verdict::Wrong) => {
            Ok(Verified::Pending(account))
        }
        _ => Err(invalid_credentials()),
    }
}

/// Mails the link that opens a closed account again to who has proved to own it, unless an
/// administrator closed it.
///
/// # Errors
/// If the database cannot answer.
pub async fn offer_reactivation(
    app: &App,
    client: &ClientInfo,
    account: &Credentials,
) -> Result<()> {
    if account.closed_by == Some(ClosedBy::Admin) {
        return Ok(());
    }
    let kind = VerificationKind::AccountReactivation.as_str();
    let due_at = limits::mail_due_at(app, client, kind, &account.email).await?;
    if due_at <= app.now() {
        let mut conn = app.db.conn().await?;
        let job = Job::ReactivateAccount { user: account.id };
        job.enqueue(&mut conn, app.now()).await?;
    }
    Ok(())
}

fn invalid_credentials() -> Error {
    UserError::new(
        UserErrorCode::InvalidCredentials,
        "Name or password is wrong.",
    )
    .into()
}

/// What is said of a closed account to who has proved to own it.
#[must_use]
pub fn unavailable() -> Error {
    let message = "This account is closed. If you may open it again, a link was mailed to you.";
    UserError::new(UserErrorCode::AccountUnavailable, message).into()
}
