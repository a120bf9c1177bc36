//! Proving again to be the person behind a session.

use async_graphql::OneofObject;
use diesel::OptionalExtension as _;
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::WaysIn;
use crate::models::session::Session;
use crate::models::two_factor::TwoFactorState;
use crate::models::user::User;
use crate::services::audit::{AuditAction, Entry};
use crate::services::codes::{self, Code};
use crate::services::passkey_sign_in::{self, PROOF, PasskeyProofInput, Shown};
use crate::services::{password, two_factor};

/// Proof that the person at the keyboard owns the account; exactly one of these. What is not enough is refused with
/// `REJECTED`, what is wrong with `INVALID_CREDENTIALS` or `TOKEN_REJECTED`.
#[derive(OneofObject)]
pub enum ConfirmIdentityInput {
    /// A passkey of the account, begun by `startPasskeySignIn`.
    Passkey(PasskeyProofInput),
    /// The password of the account; not enough where signing in asks for a second factor.
    #[graphql(secret)]
    Password(String),
    /// Six digits from the authenticator app, or a recovery code.
    #[graphql(secret)]
    TwoFactorCode(String),
}

const CODE: [&str; 2] = ["input", "twoFactorCode"];

/// A proof that was found right.
#[must_use = "a proof counts once it is taken"]
pub enum Proof {
    /// A passkey.
    Passkey(Shown),
    /// The password.
    Password,
    /// A code of the second factor.
    Code(Code),
    /// The sign-in, which was a short time ago: the account has nothing else to prove.
    SignIn,
}

/// Checks a proof. Where signing in asks for a second factor, a password alone is none.
///
/// # Errors
/// `INVALID_CREDENTIALS` for a wrong password, `TOKEN_REJECTED` for a wrong code or passkey, `REJECTED` for a proof that
/// is not enough or where there have been too many wrong codes, `TOO_MANY_ATTEMPTS`;
/// [`Error::RateLimited`] when too many passwords wait to be verified.
pub async fn check(app: &App, actor: &Actor, input: ConfirmIdentityInput) -> Result<Proof> {
    let user = actor.user_id();
    match input {
        ConfirmIdentityInput::Passkey(passkey) => {
            match passkey_sign_in::confirm(app, actor, &passkey).await {
                Err(wrong) if is_refused(&wrong) => {
                    let conn = &mut *app.db.conn().await?;
                    let entry = Entry::own(actor, AuditAction::Reauthenticated).failed();
                    entry.record(app, conn).await?;
                    Err(wrong)
                }
                shown => Ok(Proof::Passkey(shown?)),
            }
        }
        ConfirmIdentityInput::Password(password) => {
            let path = ["input", "password"];
            let methods = two_factor::asked_for(app, &mut *app.db.conn().await?, user).await?;
            if !methods.is_empty() {
                return Err(not_enough());
            }
            password::confirm(app, actor, &path, password).await?;
            Ok(Proof::Password)
        }
        ConfirmIdentityInput::TwoFactorCode(code) => {
            let mut conn = app.db.conn().await?;
            match codes::check(app, &mut conn, user, &CODE, &code).await {
                Err(wrong) if is_refused(&wrong) => {
                    let entry = Entry::own(actor, AuditAction::Reauthenticated).failed();
                    entry.record(app, &mut conn).await?;
                    Err(wrong)
                }
                code => Ok(Proof::Code(code?)),
            }
        }
    }
}

/// Checks a proof, for what nobody may be kept from. Who signs in with a provider and has nothing else has proved all
/// there is by that, which the directive of the field wants to be a short time ago.
///
/// # Errors
/// As [`check`]; `REJECTED` where there is something to prove and `input` is none.
pub async fn check_all_there_is(
    app: &App,
    actor: &Actor,
    input: Option<ConfirmIdentityInput>,
) -> Result<Proof> {
    if let Some(input) = input {
        return check(app, actor, input).await;
    }
    nothing_to_prove(&mut *app.db.conn().await?, actor).await?;
    Ok(Proof::SignIn)
}

/// Fails where the account has something to prove itself with.
async fn nothing_to_prove(conn: &mut Conn, actor: &Actor) -> Result<()> {
    let user = actor.user_id();
    let ways = WaysIn::of(conn, user).await.optional()?;
    let ways = ways.ok_or(Error::Unauthenticated)?;
    if ways.password || ways.passkeys > 0 || TwoFactorState::of(conn, user).await?.enabled() {
        let message =
            "Prove who you are: by your password, a code of the second factor or a passkey.";
        return Err(UserError::at(UserErrorCode::Rejected, &["input"], message).into());
    }
    Ok(())
}

impl Proof {
    /// Whether it proves a second factor.
    #[must_use]
    pub fn is_second_factor(&self) -> bool {
        !matches!(self, Self::Password | Self::SignIn)
    }

    /// Uses the proof up. Belongs into the transaction of what it allows, which holds the account locked.
    ///
    /// # Errors
    /// `TOKEN_REJECTED` for a code that was used meanwhile, and for a passkey that was removed.
    pub async fn take(self, app: &App, conn: &mut Conn, actor: &Actor) -> Result<()> {
        match self {
            Self::Password => {
                let methods = two_factor::asked_for(app, conn, actor.user_id()).await?;
                // Otherwise switched on meanwhile.
                methods.is_empty().then_some(()).ok_or_else(not_enough)
            }
            // Otherwise given one meanwhile.
            Self::SignIn => {
                nothing_to_prove(conn, actor).await?;
                // The session is all that was proved; whatever ends sessions locks the account first.
                let session = [actor.session_id()];
                let live = Session::live_by_ids(conn, &session, app.now()).await?;
                (!live.is_empty())
                    .then_some(())
                    .ok_or(Error::Unauthenticated)
            }
            Self::Passkey(shown) => shown.note(conn, &PROOF, app.now()).await,
            Self::Code(code) => {
                let taken =
                    codes::take(app, conn, actor.client(), actor.user_id(), &CODE, &code).await;
                taken.map(drop)
            }
        }
    }
}

/// Whether something was looked at and found wrong; what a limit turns away is not.
fn is_refused(error: &Error) -> bool {
    let wrong = |code| matches!(code, UserErrorCode::TokenRejected | UserErrorCode::Rejected);
    matches!(error, Error::Refused(errors) if errors.iter().any(|error| wrong(error.reason())))
}

fn not_enough() -> Error {
    let message = "Signing in asks for a second factor: prove that instead.";
    UserError::at(UserErrorCode::Rejected, &["input", "password"], message).into()
}

/// Notes that the person behind the caller's session is at the keyboard.
///
/// # Errors
/// As [`check`]; [`Error::Unauthenticated`] if the session ended meanwhile.
pub async fn reauthenticate(
    app: &App,
    actor: &Actor,
    input: ConfirmIdentityInput,
) -> Result<Session> {
    let proof = check(app, actor, input).await?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        User::lock(conn, actor.user_id()).await?;
        let second_factor = proof.is_second_factor();
        proof.take(app, conn, actor).await?;
        let session = actor.session_id();
        let session = Session::reauthenticate(conn, session, second_factor, app.now()).await?;
        let entry = Entry::own(actor, AuditAction::Reauthenticated);
        entry.record(app, conn).await?;
        session.ok_or(Error::Unauthenticated)
    })
    .await
}
