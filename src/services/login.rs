//! Signing in with a password, keeping a session alive, and signing out.

use async_graphql::InputObject;
use diesel_async::AsyncConnection as _;
use secrecy::SecretString;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::password::Verdict;
use crate::crypto::token::{PlainToken, TokenHash};
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::session::{NewSession, Session, SessionEndReason};
use crate::models::user::{AccountStatus, Credentials, User};
use crate::scalar::DateTime;
use crate::services::limits::{self, Limit};

/// A sign-in with a password.
#[derive(InputObject)]
pub struct LoginInput {
    /// User name or mail address.
    pub identifier: String,
    /// The password.
    #[graphql(secret)]
    pub password: String,
    /// Keep the session for 30 days instead of 24 hours.
    #[graphql(default = false)]
    pub remember_me: bool,
}

/// The token to trade in.
#[derive(InputObject)]
pub struct RefreshTokenInput {
    /// The refresh token.
    #[graphql(secret)]
    pub refresh_token: String,
}

/// What a right password leads to.
pub enum SignIn {
    /// A session was opened.
    SignedIn(Box<SignedIn>),
    /// The address must be proved first.
    EmailVerificationRequired {
        /// When another mail may be asked for.
        resend_available_at: DateTime,
    },
}

/// A session with its tokens.
pub struct SignedIn {
    /// The account.
    pub user: User,
    /// The session.
    pub session: Session,
    /// The signed token for requests.
    pub access_token: String,
    /// When the access token ends.
    pub access_token_expires_at: DateTime,
    /// The token to keep the session alive with.
    pub refresh_token: PlainToken,
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
    // would be a second budget for one account.
    if !identifier.is_ascii() {
        return Err(invalid_credentials());
    }
    limits::take(app, Limit::Login, client, identifier).await?;
    // Nothing longer can be right; hashing it would only be work for whoever sends it. A character
    // has at most four bytes, and up to three more code points in its decomposed form.
    if identifier.chars().count() > 254
        || input.password.len() > 16 * app.config.password.max_length
    {
        return Err(invalid_credentials());
    }
    let found = Credentials::by_identifier(&mut *app.db.conn().await?, identifier).await?;
    let (account, claim) = found.map_or((None, None), |(account, claim)| (Some(account), claim));
    let stored = account
        .as_ref()
        .and_then(|account| account.hashed_password.clone());
    let password = SecretString::from(input.password);
    let verdict = app.verify_password(password.clone(), stored).await?;
    if let (Some(account), Verdict::Right(rehashed)) = (&account, &verdict)
        && account.status == AccountStatus::Active
    {
        let (verified, rehashed) = (account.hashed_password.as_deref(), rehashed.as_deref());
        let mut conn = app.db.conn().await?;
        let signed_in = conn
            .transaction(async |conn| {
                open_session(
                    app,
                    conn,
                    client,
                    account.id,
                    verified,
                    rehashed,
                    input.remember_me,
                )
                .await
            })
            .await?;
        // Deactivated, or given another password, while this one was verified.
        return signed_in
            .map(|signed_in| SignIn::SignedIn(Box::new(signed_in)))
            .ok_or_else(invalid_credentials);
    }
    // Whoever is not let in waits for two hashes, whatever the reason: a registration with the
    // address of an open account is looked at too, and must not be told from one that opened its own.
    let oldest =
        *app.now() - chrono::TimeDelta::hours(app.config.registration.verification_hours.into());
    let claim = claim.filter(|claim| *claim.created_at > oldest);
    let claimed = claim.as_ref().map(|claim| claim.hashed_password.clone());
    let claimed = app.verify_password(password, claimed).await?;
    let Some(account) = account else {
        return Err(invalid_credentials());
    };
    let right = verdict != Verdict::Wrong;
    if right && account.status == AccountStatus::Deactivated {
        return Err(unavailable());
    }
    if !right && claimed == Verdict::Wrong {
        return Err(invalid_credentials());
    }
    let mut conn = app.db.conn().await?;
    let resend_available_at = limits::resend_available_at(app, &mut conn, &account.email).await?;
    Ok(SignIn::EmailVerificationRequired {
        resend_available_at,
    })
}

/// Opens a session for an active account and counts the sign-in. Belongs into a transaction.
///
/// Gives `None` if the account is not active, or its password is not `verified` any more.
///
/// # Errors
/// If the database cannot answer or signing fails.
pub async fn open_session(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    user: Uuid,
    verified: Option<&str>,
    rehashed: Option<&str>,
    remember_me: bool,
) -> Result<Option<SignedIn>> {
    let now = app.now();
    let Some(user) = User::record_login(conn, user, verified, rehashed, now).await? else {
        return Ok(None);
    };
    let refresh_token = PlainToken::generate("crr");
    let ip_address = client.ip.to_string();
    let new = NewSession {
        id: Uuid::now_v7(),
        user_id: user.id,
        refresh_token_hash: refresh_token.hash(),
        remember_me,
        ip_address: Some(&ip_address),
        user_agent: client.user_agent.as_deref(),
        created_at: now,
        last_accessed_at: now,
        expires_at: (*now + app.config.session_lifetime(remember_me)).into(),
    };
    let session = new.insert(conn).await?;
    signed_in(app, user, session, refresh_token).map(Some)
}

fn signed_in(
    app: &App,
    user: User,
    session: Session,
    refresh_token: PlainToken,
) -> Result<SignedIn> {
    let access = app.keys.sign(user.auth_token, session.id, app.now())?;
    Ok(SignedIn {
        user,
        session,
        access_token: access.token,
        access_token_expires_at: access.expires_at,
        refresh_token,
    })
}

/// Trades a refresh token for a new pair, once. A token that was traded before ends its session:
/// one of its two holders is not the owner, and nobody can tell which (RFC 9700, section 4.14.2).
///
/// # Errors
/// `TOKEN_REJECTED`.
pub async fn refresh(app: &App, token: &str) -> Result<SignedIn> {
    let now = app.now();
    let old = TokenHash::of(token);
    let new = PlainToken::generate("crr");
    let mut conn = app.db.conn().await?;
    // Whole or not at all: a token that was traded for nothing would count as reused next time.
    let traded = conn
        .transaction(async |conn| {
            let Some(session) = Session::rotate(conn, &old, &new.hash(), now).await? else {
                return Ok(None);
            };
            let user = User::by_ids(conn, &[session.user_id]).await?.pop();
            let user = user.filter(|user| user.status == AccountStatus::Active);
            let user = user.ok_or_else(token_rejected)?;
            signed_in(app, user, session, new).map(Some)
        })
        .await?;
    if let Some(traded) = traded {
        return Ok(traded);
    }
    if let Some(session) = Session::revoke_reused(&mut conn, &old, now).await? {
        tracing::warn!(session.id = %session, "A refresh token was used twice; ended session {session}");
    }
    Err(token_rejected())
}

/// Ends the caller's session; does nothing when nobody is signed in. Gives how many ended.
///
/// # Errors
/// If the database cannot answer.
pub async fn logout(app: &App, caller: Option<&Actor>) -> Result<i32> {
    let Some(actor) = caller else { return Ok(0) };
    let mut conn = app.db.conn().await?;
    let ended = Session::revoke(
        &mut conn,
        actor.session().id,
        SessionEndReason::Logout,
        app.now(),
    )
    .await?;
    Ok(ended.into())
}

/// Who stands behind an access token, if it is good and its session lives.
///
/// # Errors
/// If the database cannot answer.
pub async fn authenticate(app: &App, access_token: &str) -> Result<Option<Actor>> {
    let now = app.now();
    let Some(claims) = app.verify_access_token(access_token).await else {
        return Ok(None);
    };
    let mut conn = app.db.conn().await?;
    let owner = Session::owner(&mut conn, claims.sid, now).await?;
    Ok(owner
        .filter(|(_, user, _)| user.auth_token == claims.sub)
        .map(Actor::new))
}

fn invalid_credentials() -> Error {
    UserError::new(
        UserErrorCode::InvalidCredentials,
        "Name or password is wrong.",
    )
    .into()
}

fn unavailable() -> Error {
    UserError::new(UserErrorCode::AccountUnavailable, "This account is closed.").into()
}

fn token_rejected() -> Error {
    let message = "This refresh token is unknown, used up or past its end. Sign in again.";
    UserError::at(
        UserErrorCode::TokenRejected,
        &["input", "refreshToken"],
        message,
    )
    .into()
}
