//! Adding, naming and removing passkeys.

use async_graphql::InputObject;
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::passkey::{Attestation, Begun, NewCredential, Refusal, RelyingParty};
use crate::crypto::token::{PlainToken, TokenHash};
use crate::db::Conn;
use crate::error::{Error, OnConstraint as _, Result, UserError, UserErrorCode};
use crate::models::credentials::WaysIn;
use crate::models::job::Job;
use crate::models::passkey::{NewPasskey, Passkey, PasskeyCredential};
use crate::models::passkey_challenge::{CeremonyKind, NewPasskeyChallenge, PasskeyChallenge};
use crate::models::session::Session;
use crate::models::two_factor::TwoFactorState;
use crate::models::user::User;
use crate::scalar::{DateTime, Json};
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit};
use crate::services::validate::{self, Problems};
use crate::services::{json, second_step, two_factor};

/// Most passkeys of an account.
const MOST: usize = 20;
/// How long an authenticator may take to answer, the person before it included.
const CEREMONY: TimeDelta = TimeDelta::minutes(5);
/// The prefix of tokens that name ceremonies.
const TOKEN_PREFIX: &str = "crp";

/// What the authenticator answered to `startPasskeyRegistration`.
#[derive(InputObject)]
pub struct FinishPasskeyRegistrationInput {
    /// As `startPasskeyRegistration` gave it; good once, for five minutes, in the same session.
    #[graphql(secret)]
    pub challenge_token: String,
    /// The new credential as its `toJSON()` gives it (WebAuthn Level 3, `RegistrationResponseJSON`); an object.
    pub credential: Json,
    /// What the person calls the passkey; 1 to 100 characters.
    pub name: String,
}

/// A ceremony that was begun.
pub struct Ceremony {
    /// Names it when it is finished.
    pub challenge_token: PlainToken,
    /// What is asked of the authenticator.
    pub options: Json,
}

/// Begins to add a passkey to the caller's account. Authenticators that hold one of it already are
/// asked to decline.
///
/// # Errors
/// `REJECTED` where the account has as many as it may, or passkeys cannot be used here;
/// `TOO_MANY_ATTEMPTS`.
pub async fn start_registration(app: &App, client: &ClientInfo, actor: &Actor) -> Result<Ceremony> {
    two_factor::require_enrolled(app, actor)?;
    let relying_party = relying_party(app)?;
    limits::take(app, Limit::PasskeyCeremony, client, "").await?;
    let mut conn = app.db.conn().await?;
    let user = User::by_ids(&conn, &[actor.user_id()]).await?.pop();
    let user = user.ok_or(Error::Unauthenticated)?;
    let present = PasskeyCredential::ids_of(&mut conn, user.id).await?;
    if present.len() >= MOST {
        return Err(too_many());
    }
    let begun = relying_party
        .begin_registration(user.id, (&user.email, &user.full_name), present)
        .map_err(fault)?;
    let about = About {
        user: Some(user.id),
        session: Some(actor.session_id()),
        second_step: None,
    };
    keep(app, &mut conn, CeremonyKind::Registration, about, begun).await
}

/// Adds the passkey that the authenticator made, and tells the owner by mail. The ceremony is over,
/// whatever comes of it.
///
/// # Errors
/// `INVALID_VALUE` for a malformed credential or name; `TOKEN_REJECTED` for a ceremony that is unknown,
/// used, past its end or of another session, and for a credential that does not answer it or is of some
/// account already; `REJECTED` where the account has as many as it may.
pub async fn finish_registration(
    app: &App,
    actor: &Actor,
    input: FinishPasskeyRegistrationInput,
) -> Result<(User, Passkey)> {
    two_factor::require_enrolled(app, actor)?;
    let relying_party = relying_party(app)?;
    let path = ["input", "credential"];
    let mut problems = Problems::default();
    let name = problems.take(validate::line(&["input", "name"], &input.name, 1, 100));
    let answer = problems.take(answer(&path, &input.credential, Attestation::parse));
    problems.finish()?;
    let (Some(name), Some(answer)) = (name, answer) else {
        return Err(credential_rejected(&path));
    };
    let (hash, kind) = (
        TokenHash::of(&input.challenge_token),
        CeremonyKind::Registration,
    );
    let session = actor.session_id();
    let mut conn = app.db.conn().await?;
    let challenge =
        PasskeyChallenge::take(&mut conn, &hash, kind, Some(session), app.now()).await?;
    let challenge = challenge.ok_or_else(|| challenge_rejected(&["input", "challengeToken"]))?;
    drop(conn);
    let new = relying_party.finish_registration(&answer, &challenge.state);
    let new = new.map_err(|refusal| refused(refusal, &path))?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = lock(conn, actor, now).await?;
        two_factor::require_enrolled_still(app, conn, actor).await?;
        let passkey = add(conn, user.id, new, &name, now).await?;
        if two_factor::is_owed(app, actor) {
            // The person was verified, and holds it.
            Session::reauthenticate(conn, session, true, now).await?;
        }
        Job::PasskeyAdded { user: user.id }
            .enqueue(conn, now)
            .await?;
        let entry = Entry::own(actor, AuditAction::PasskeyAdded);
        entry.record(app, conn).await?;
        Ok((user, passkey))
    })
    .await
}

/// Gives a passkey of the caller another name.
///
/// # Errors
/// `INVALID_VALUE` for the name; `NOT_FOUND` for a passkey that is unknown or somebody else's.
pub async fn rename(
    app: &App,
    actor: &Actor,
    passkey: Option<Uuid>,
    name: &str,
) -> Result<(User, Passkey)> {
    let name = validate::line(&["input", "name"], name, 1, 100)?;
    let id = passkey.ok_or_else(not_found)?;
    let mut conn = app.db.conn().await?;
    let renamed = Passkey::rename(&mut conn, id, actor.user_id(), &name).await?;
    let renamed = renamed.ok_or_else(not_found)?;
    let user = User::by_ids(&conn, &[actor.user_id()]).await?.pop();
    Ok((user.ok_or(Error::Unauthenticated)?, renamed))
}

/// Removes a passkey of the caller, and tells the owner by mail.
///
/// # Errors
/// `NOT_FOUND` for a passkey that is unknown or somebody else's; `PROTECTED` for the only way into the
/// account, and for the only second factor where one is compulsory.
pub async fn remove(app: &App, actor: &Actor, passkey: Option<Uuid>) -> Result<User> {
    let id = passkey.ok_or_else(not_found)?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let user = lock(conn, actor, now).await?;
        if !Passkey::remove(conn, id, user.id).await? {
            return Err(not_found());
        }
        let left = WaysIn::of(conn, user.id).await?;
        if left.count() == 0 {
            return Err(protected(
                "This is the only way into the account. Set a password or add another passkey first.",
            ));
        }
        if left.passkeys == 0
            && two_factor::is_compulsory(app, conn, user.id).await?
            && !TwoFactorState::of(conn, user.id).await?.enabled()
        {
            return Err(protected(
                "A second factor is compulsory for this account. Add another one first.",
            ));
        }
        Job::PasskeyRemoved { user: user.id }
            .enqueue(conn, now)
            .await?;
        let entry = Entry::own(actor, AuditAction::PasskeyRemoved);
        entry.record(app, conn).await?;
        Ok(user)
    })
    .await
}

/// Locks the caller's account, whose session may have ended while the request was on its way: what ends
/// sessions locks the account first.
async fn lock(conn: &mut Conn, actor: &Actor, now: DateTime) -> Result<User> {
    let user = User::lock(conn, actor.user_id()).await?;
    let session = Session::live_by_ids(conn, &[actor.session_id()], now).await?;
    user.filter(|_| !session.is_empty())
        .ok_or(Error::Unauthenticated)
}

/// Adds a passkey to the account, whose lock is held.
async fn add(
    conn: &mut Conn,
    user: Uuid,
    new: NewCredential,
    name: &str,
    now: DateTime,
) -> Result<Passkey> {
    let present = Passkey::count(conn, user).await?;
    if usize::try_from(present).unwrap_or(MOST) >= MOST {
        return Err(too_many());
    }
    let row = NewPasskey {
        id: Uuid::now_v7(),
        user_id: user,
        credential_id: &new.id,
        credential: Json(new.credential),
        name,
        created_at: now,
    };
    let added = row.insert_if_missing(conn).await?;
    // Whose it is, is not said.
    added.ok_or_else(|| credential_rejected(&["input", "credential"]))
}

/// What a ceremony is about.
#[derive(Debug, Default)]
pub struct About {
    /// The account whose passkeys are meant.
    pub user: Option<Uuid>,
    /// The session that adds one.
    pub session: Option<Uuid>,
    /// The sign-in whose second factor is to be proved.
    pub second_step: Option<TokenHash>,
}

/// Keeps a ceremony for as long as its answer may take.
///
/// # Errors
/// `TOKEN_REJECTED` where the sign-in is over that it belongs to.
pub async fn keep(
    app: &App,
    conn: &mut Conn,
    kind: CeremonyKind,
    about: About,
    begun: Begun,
) -> Result<Ceremony> {
    let challenge_token = PlainToken::generate(TOKEN_PREFIX);
    let now = app.now();
    let challenge = NewPasskeyChallenge {
        token_hash: challenge_token.hash(),
        kind,
        user_id: about.user,
        session_id: about.session,
        two_factor_hash: about.second_step,
        state: Json(begun.state),
        created_at: now,
        expires_at: DateTime(*now + CEREMONY),
    };
    challenge
        .insert(conn)
        .await
        // Another code or passkey completed that sign-in a moment ago.
        .on_constraint(
            "passkey_challenges_two_factor_hash_fkey",
            second_step::challenge_over,
        )?;
    Ok(Ceremony {
        challenge_token,
        options: Json(begun.options),
    })
}

/// Who asks authenticators.
///
/// # Errors
/// `REJECTED` where clients reach the server by a number, for which there are no passkeys.
pub fn relying_party(app: &App) -> Result<&RelyingParty> {
    let message = "Passkeys need a server that is reached by the name of a domain.";
    let missing = || UserError::new(UserErrorCode::Rejected, message).into();
    app.passkeys.as_deref().ok_or_else(missing)
}

/// Reads what an authenticator answered.
///
/// # Errors
/// `INVALID_VALUE`.
pub fn answer<T>(
    path: &[&str],
    credential: &Json,
    parse: fn(&serde_json::Value) -> Option<T>,
) -> Result<T, UserError> {
    let object = json::json_object(path, credential)?;
    let message = "Not a credential in the form of `PublicKeyCredential.toJSON()`.";
    parse(&object).ok_or_else(|| UserError::format(path, message))
}

/// What becomes of an answer that does not hold.
#[must_use]
pub fn refused(refusal: Refusal, path: &[&str]) -> Error {
    match refusal {
        Refusal::Unreadable(_) => fault(refusal),
        Refusal::Invalid(reason) => {
            tracing::debug!(
                reason,
                "The answer of an authenticator was refused: {reason}"
            );
            credential_rejected(path)
        }
        Refusal::PossiblyCloned => credential_rejected(path),
    }
}

/// What cannot be the client's fault.
#[must_use]
pub fn fault(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unreadable(error) => Error::internal(error),
        other => Error::internal(anyhow::anyhow!("passkeys: {other:?}")),
    }
}

/// What is said of every credential that does not answer its challenge, whatever the reason.
#[must_use]
pub fn credential_rejected(path: &[&str]) -> Error {
    let message = "This passkey was not accepted.";
    UserError::at(UserErrorCode::TokenRejected, path, message).into()
}

/// What is said of a ceremony that cannot be finished.
#[must_use]
pub fn challenge_rejected(path: &[&str]) -> Error {
    let message = "This is unknown, used up or past its end. Begin again.";
    UserError::at(UserErrorCode::TokenRejected, path, message).into()
}

fn too_many() -> Error {
    let message = format!("An account has at most {MOST} passkeys. Remove one first.");
    UserError::new(UserErrorCode::Rejected, message).into()
}

fn not_found() -> Error {
    let message = "There is no such passkey.";
    UserError::at(UserErrorCode::NotFound, &["input", "passkeyId"], message).into()
}

fn protected(message: &str) -> Error {
    UserError::at(UserErrorCode::Protected, &["input", "passkeyId"], message).into()
}
