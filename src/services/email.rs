//! Proving a mail address, and the mails that go with it. Sending itself is the mailer's.

use async_graphql::InputObject;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use chrono::TimeDelta;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::token::{PlainToken, TokenHash};
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::mail::{Mail, Recipient};
use crate::models::job::Job;
use crate::models::profile::Profile;
use crate::models::user::{AccountStatus, User};
use crate::models::verification_token::{
    NewVerificationToken, VerificationKind, VerificationToken,
};
use crate::services::limits::{self, Limit};
use crate::services::login::{self, SignedIn};
use crate::services::validate;

/// A mailed token.
#[derive(InputObject)]
pub struct TokenInput {
    /// The token, as the mailed link carries it.
    #[graphql(secret)]
    pub token: String,
}

/// A mail address that may or may not belong to an account.
#[derive(InputObject)]
pub struct EmailInput {
    /// The address.
    pub email: String,
}

/// Proves the address that `token` was mailed to, and signs its owner in.
///
/// A token that was mailed to somebody else than the signed-in caller is refused and stays good.
///
/// # Errors
/// `TOKEN_REJECTED` for a token that is unknown, used, replaced or past its end, or whose account
/// has another address by now.
pub async fn verify(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    token: &str,
) -> Result<SignedIn> {
    let now = app.now();
    let hash = TokenHash::of(token);
    let owner = caller.map(Actor::user_id);
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let kind = VerificationKind::EmailVerification;
        let Some(token) = VerificationToken::consume(conn, &hash, kind, owner, now).await? else {
            return Err(token_rejected());
        };
        VerificationToken::void(conn, token.user_id, kind, now).await?;
        let Some(user) = User::verify_email(conn, token.user_id, &token.email, now).await? else {
            return Err(token_rejected());
        };
        login::open_session(app, conn, client, user, None, None, false)
            .await?
            .ok_or_else(token_rejected)
    })
    .await
}

fn token_rejected() -> Error {
    let message = "This link is unknown, used up or past its end. Ask for a new one.";
    UserError::at(UserErrorCode::TokenRejected, &["input", "token"], message).into()
}

/// Mails the verification token again, if the address belongs to an account that waits for it.
/// The answer never says whether it does.
///
/// # Errors
/// `INVALID_VALUE` for a malformed address, `TOO_MANY_ATTEMPTS` within a minute of the last time.
pub async fn resend(app: &App, client: &ClientInfo, email: &str) -> Result<()> {
    let email = validate::email(&["input", "email"], email)?;
    limits::take(app, Limit::Resend, client, &email).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let waiting = User::by_email(conn, &email)
            .await?
            .filter(|user| user.status == AccountStatus::Pending);
        // A job for nobody does nothing; writing it takes the same time.
        let user = waiting.map_or_else(Uuid::now_v7, |user| user.id);
        Ok(Job::VerifyEmail { user }.enqueue(conn, now).await?)
    })
    .await
}

/// Carries a job out: makes its token, renders its mail and sends it.
///
/// A job whose reason is gone (the address is proved, the account erased) does nothing.
///
/// # Errors
/// If the database cannot answer or the mail cannot be handed over; the job can be run again.
pub async fn carry_out(app: &App, job: &Job, id: Uuid) -> Result<()> {
    let (user, mail) = match job {
        Job::VerifyEmail { user } => {
            let Some((user, token)) = mint(app, *user).await? else {
                return Ok(());
            };
            let link = app.config.verify_email_link(token.expose());
            let hours = app.config.registration.verification_hours;
            (user, Mail::VerifyEmail { link, hours })
        }
        Job::AlreadyRegistered { user } => {
            let Some(user) = load(app, *user).await? else {
                return Ok(());
            };
            (user, Mail::AlreadyRegistered)
        }
    };
    let recipient = recipient(app, user).await?;
    let message = mail.render(&app.config, &recipient, id)?;
    Ok(app.mailer.send(message).await?)
}

/// Whom a mail to the account is for, and how they want to read it.
async fn recipient(app: &App, user: User) -> Result<Recipient> {
    let mut conn = app.db.conn().await?;
    let profile = Profile::by_users(&mut conn, &[user.id]).await?.pop();
    let (language, timezone) = profile
        .map(|profile| (profile.language, profile.timezone))
        .unwrap_or_default();
    Ok(Recipient {
        name: user.full_name,
        email: user.email.0,
        language,
        timezone,
    })
}

async fn load(app: &App, id: Uuid) -> Result<Option<User>> {
    let mut conn = app.db.conn().await?;
    Ok(User::by_ids(&mut conn, &[id]).await?.pop())
}

/// A new token for an account that waits for its address to be proved.
async fn mint(app: &App, user: Uuid) -> Result<Option<(User, PlainToken)>> {
    let now = app.now();
    let token = PlainToken::generate("crv");
    let lifetime = TimeDelta::hours(app.config.registration.verification_hours.into());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // Locked, so that of two mails at once only the second holds a live token.
        let waiting = User::lock(conn, user)
            .await?
            .filter(|user| user.status == AccountStatus::Pending);
        let Some(user) = waiting else { return Ok(None) };
        let new = NewVerificationToken {
            id: Uuid::now_v7(),
            user_id: user.id,
            token_hash: token.hash(),
            kind: VerificationKind::EmailVerification,
            email: &user.email,
            expires_at: (*now + lifetime).into(),
            created_at: now,
        };
        new.replace(conn).await?;
        Ok::<_, Error>(Some((user, token)))
    })
    .await
}
