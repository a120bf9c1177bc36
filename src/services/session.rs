//! The life of a session: who stands behind a token, keeping it alive, and ending it.

use std::sync::Arc;

use async_graphql::InputObject;
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo, Requester};
use crate::crypto::token::{PlainToken, TokenHash, random};
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::email_change::EmailChange;
use crate::models::job::Job;
use crate::models::permission::{Permission, SystemPermission};
use crate::models::session::{Session, SessionEndReason, SignInMethod};
use crate::models::trusted_device::TrustedDevice;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::{account, limits, two_factor};

/// The prefix of refresh tokens.
pub const REFRESH_PREFIX: &str = "crr";

/// How long a traded refresh token gets the same answer again, as long as that answer was not used:
/// for another tab that refreshes at the same moment, and for an answer that was lost on its way.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// The token to trade in.
#[derive(InputObject)]
pub struct RefreshTokenInput {
    /// From `SignedIn.refreshToken`; left out when it is in a cookie.
    #[graphql(secret)]
    pub refresh_token: Option<String>,
}

/// Which sessions to end.
#[derive(InputObject, Default)]
pub struct LogoutAllInput {
    /// Spare the session that asks.
    #[graphql(default = false)]
    pub keep_current: bool,
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
    /// A second factor is compulsory for the account, and the session has proved none.
    pub two_factor_owed: bool,
    /// Stands in for the second factor on this device from now on, until that instant.
    pub trusted_device: Option<(PlainToken, DateTime)>,
}

/// Signs an access token for a session.
///
/// # Errors
/// If the database cannot answer or signing fails.
pub async fn signed_in(
    app: &App,
    conn: &mut Conn,
    user: User,
    session: Session,
    refresh_token: PlainToken,
) -> Result<SignedIn> {
    let two_factor_owed = two_factor::is_owed_by(app, conn, &session).await?;
    let amr = methods_references(&session);
    let permissions = if !app.config.session.token_permissions {
        None
    } else if two_factor_owed {
        // Nobody to everything, other services among it.
        Some(Vec::new())
    } else {
        let held = Permission::names_by_users(conn, &[user.id]).await?;
        Some(held.into_iter().map(|(_, name)| name).collect())
    };
    let access = app
        .keys
        .sign(user.auth_token, session.id, amr, permissions, app.now())?;
    Ok(SignedIn {
        user,
        session,
        access_token: access.token,
        access_token_expires_at: access.expires_at,
        refresh_token,
        two_factor_owed,
        trusted_device: None,
    })
}

/// What a session says of its proofs in access tokens (RFC 8176, section 2).
fn methods_references(session: &Session) -> Vec<String> {
    let names = session.methods.iter().filter_map(|method| match method {
        SignInMethod::Password => Some("pwd"),
        SignInMethod::Totp | SignInMethod::RecoveryCode => Some("otp"),
        SignInMethod::Passkey => Some("pop"),
        SignInMethod::EmailLink | SignInMethod::Provider | SignInMethod::TrustedDevice => None,
    });
    let several = session.second_factor.then_some("mfa");
    names.chain(several).map(str::to_owned).collect()
}

/// Who stands behind an access token, if it is good and its session lives. Asks the database only
/// for a session that is not remembered.
///
/// # Errors
/// If the database cannot answer.
pub async fn authenticate(
    app: &App,
    client: &ClientInfo,
    access_token: &str,
) -> Result<Option<Requester>> {
    let Some(claims) = app.verify_access_token(access_token).await else {
        return Ok(None);
    };
    let actor = live(app, client, claims.sid).await?;
    let actor = actor.filter(|actor| actor.auth_token() == claims.sub);
    if let Some(actor) = &actor {
        app.access.note_use(actor.session(), app.now());
    }
    Ok(actor.map(|actor| requester(app, actor)))
}

/// Who stands behind a session that was let in before, if it still lives; with the rights of this moment.
/// Asks the database only for a session that is not remembered.
///
/// # Errors
/// If the database cannot answer.
pub async fn standing(app: &App, client: &ClientInfo, session: Uuid) -> Result<Option<Requester>> {
    let actor = live(app, client, session).await?;
    Ok(actor.map(|actor| requester(app, actor)))
}

async fn live(app: &App, client: &ClientInfo, session: Uuid) -> Result<Option<Actor>> {
    let now = app.now();
    let client = Arc::new(client.clone());
    let remembered = app.access.get(session, &client, now);
    if remembered.is_some() {
        return Ok(remembered);
    }
    let asked = app.access.epoch();
    let mut conn = app.db.conn().await?;
    let owner = Session::owner(&mut conn, session, now).await?;
    Ok(owner.map(|owner| app.access.keep(asked, owner, client)))
}

fn requester(app: &App, actor: Actor) -> Requester {
    if two_factor::is_owed(app, &actor) {
        Requester::Unproven(actor)
    } else {
        Requester::User(actor)
    }
}

/// Writes down which sessions were used since the last call.
///
/// # Errors
/// If the database cannot answer.
pub async fn write_uses(app: &App) -> Result<()> {
    let used = app.access.take_used();
    if used.is_empty() {
        return Ok(());
    }
    let now = app.now();
    let since = DateTime(*now - TimeDelta::minutes(1));
    // In pieces, so that no statement holds many rows for long.
    for ids in used.chunks(500) {
        Session::note_use(&mut *app.db.conn().await?, ids, since, now).await?;
    }
    Ok(())
}

/// Trades a refresh token for a new pair, once. A token that was traded before ends its session:
/// one of its two holders is not the owner, and nobody can tell which (RFC 9700, section 4.14.2).
/// Within ten seconds, and until the new token is used, it gets the same new token again instead.
///
/// # Errors
/// `TOKEN_REJECTED`.
pub async fn refresh(app: &App, client: &ClientInfo, token: &str) -> Result<SignedIn> {
    let now = app.now();
    let old = TokenHash::of(token);
    let salt = random::<32>();
    let new = PlainToken::successor(REFRESH_PREFIX, token, &salt);
    let mut conn = app.db.conn().await?;
    // Whole or not at all: a token that was traded for nothing would count as reused next time.
    let traded = conn
        .transaction(async |conn| {
            let Some(session) = Session::rotate(conn, &old, &new.hash(), &salt, now).await? else {
                return Ok(None);
            };
            limits::take_refresh(app, conn, session.id).await?;
            let user = active_owner(conn, &session).await?;
            Ok::<_, Error>(Some((user, session)))
        })
        .await?;
    if let Some((user, session)) = traded {
        return signed_in(app, &mut conn, user, session, new).await;
    }
    let Some(spent) = Session::by_spent_token(&mut conn, &old, now).await? else {
        return Err(token_rejected());
    };
    if *now - *spent.spent_at < GRACE
        && let Some(salt) = spent.salt.and_then(|salt| salt.try_into().ok())
        && let again = PlainToken::successor(REFRESH_PREFIX, token, &salt)
        && again.hash() == spent.current
    {
        let user = active_owner(&mut conn, &spent.session).await?;
        return signed_in(app, &mut conn, user, spent.session, again).await;
    }
    let Session { id, user_id, .. } = spent.session;
    conn.transaction(async |conn| {
        // Before the session, as whoever asks for a move does, which must not slip in between.
        User::lock(conn, user_id).await?;
        if Session::revoke(conn, id, SessionEndReason::ReuseDetected, now).await? {
            tracing::warn!(session.id = %id, "A refresh token was used twice; ended session {id}");
            EmailChange::abandon(conn, user_id, now).await?;
            Job::SessionReuse { user: user_id }
                .enqueue(conn, now)
                .await?;
            // One of two who have it showed it; who of them is the owner nobody knows.
            let entry = Entry::from(client, AuditAction::RefreshTokenReused).on(user_id);
            let entry = entry.denied().with("session", id.to_string());
            entry.record(app, conn).await?;
        }
        Ok::<_, Error>(())
    })
    .await?;
    Err(token_rejected())
}

async fn active_owner(conn: &mut Conn, session: &Session) -> Result<User> {
    let user = User::by_ids(conn, &[session.user_id]).await?.pop();
    user.filter(|user| user.status == AccountStatus::Active)
        .ok_or_else(token_rejected)
}

/// What names the session that wants to end.
#[derive(Debug)]
pub enum Leaving<'a> {
    /// The live session with this id, or that of an access token whose time is over.
    Session(Uuid),
    /// The one that this refresh token keeps alive.
    RefreshToken(&'a str),
}

/// Ends a session; does nothing where none is named or it has ended. Gives how many ended.
///
/// # Errors
/// If the database cannot answer.
pub async fn logout(app: &App, client: &ClientInfo, leaving: Option<Leaving<'_>>) -> Result<i32> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let session = match leaving {
        None => None,
        Some(Leaving::Session(id)) => Some(id),
        Some(Leaving::RefreshToken(token)) => {
            let hash = TokenHash::of(token);
            let session = Session::by_refresh_token(&mut conn, &hash, now).await?;
            session.map(|session| session.id)
        }
    };
    let Some(session) = session else { return Ok(0) };
    conn.transaction(async |conn| {
        let owner = Session::live_by_ids(conn, &[session], now).await?.pop();
        let ended = Session::revoke(conn, session, SessionEndReason::Logout, now).await?;
        if let Some(owner) = owner.filter(|_| ended) {
            let entry = Entry::from(client, AuditAction::Logout).of(owner.user_id);
            let entry = entry.with("session", session.to_string());
            entry.record(app, conn).await?;
        }
        Ok(ended.into())
    })
    .await
}

/// Ends every session of the caller, or every other one, and a move to another address that waits to be
/// confirmed. Gives how many ended.
///
/// # Errors
/// If the database cannot answer.
pub async fn logout_all(app: &App, actor: &Actor, keep_current: bool) -> Result<i32> {
    let spared = keep_current.then_some(actor.session_id());
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let (user, reason) = (actor.user_id(), SessionEndReason::Logout);
    conn.transaction(async |conn| {
        User::lock(conn, user).await?;
        let ended = Session::revoke_all(conn, user, spared, reason, now).await?;
        EmailChange::abandon(conn, user, now).await?;
        // Whoever signs out everywhere may have lost one of them.
        TrustedDevice::delete_all(conn, user).await?;
        let ended = i32::try_from(ended).unwrap_or(i32::MAX);
        let entry = Entry::own(actor, AuditAction::Logout).with("sessions", ended);
        entry.record(app, conn).await?;
        Ok(ended)
    })
    .await
}

/// Ends one live session of the caller, or of anyone for who holds `admin:users`. No id names none.
///
/// # Errors
/// `NOT_FOUND` for a session that is unknown, has ended, or is somebody else's; [`Error::Forbidden`] where its
/// account may do what the caller may not.
pub async fn revoke(app: &App, actor: &Actor, session: Option<Uuid>) -> Result<Uuid> {
    let now = app.now();
    let id = session.ok_or_else(not_found)?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let session = Session::live_by_ids(conn, &[id], now).await?.pop();
        let session = session.ok_or_else(not_found)?;
        let reason = if session.user_id == actor.user_id() {
            User::lock(conn, session.user_id).await?;
            SessionEndReason::User
        } else if actor.has(SystemPermission::AdminUsers) {
            let needed = SystemPermission::AdminUsers;
            account::above(app, conn, actor, needed, session.user_id).await?;
            SessionEndReason::Admin
        } else {
            return Err(not_found());
        };
        // Whoever held the session may have asked for a move to an address of their own.
        EmailChange::abandon(conn, session.user_id, now).await?;
        if Session::revoke(conn, id, reason, now).await? {
            let entry = Entry::by(actor, AuditAction::SessionRevoked).on(session.user_id);
            let entry = entry.with("session", id.to_string());
            entry.record(app, conn).await?;
            Ok(id)
        } else {
            Err(not_found())
        }
    })
    .await
}

/// Fails unless the person behind the session proved to be at the keyboard a short time ago.
///
/// # Errors
/// [`Error::ReauthenticationRequired`].
pub fn require_recent_sign_in(app: &App, actor: &Actor) -> Result<()> {
    let age = *app.now() - *actor.authenticated_at();
    let window = app.config.recent_sign_in();
    if age.to_std().is_ok_and(|age| age > window) {
        let proofs = two_factor::proofs(app, actor);
        return Err(Error::ReauthenticationRequired(proofs));
    }
    Ok(())
}

fn not_found() -> Error {
    let message = "There is no such live session.";
    UserError::at(UserErrorCode::NotFound, &["input", "sessionId"], message).into()
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
