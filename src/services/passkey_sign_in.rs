//! Signing in with a passkey, and proving with one to be at the keyboard.

use async_graphql::InputObject;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::passkey::{Assertion, Refusal, Used};
use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::passkey::PasskeyCredential;
use crate::models::passkey_challenge::{CeremonyKind, PasskeyChallenge};
use crate::models::session::SignInMethod;
use crate::models::user::AccountStatus;
use crate::models::verification_token::VerificationKind;
use crate::scalar::{DateTime, Json};
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit};
use crate::services::login::{self, TokenDelivery};
use crate::services::passkey::{self, About, Ceremony};
use crate::services::second_step::{self, Verified};
use crate::services::sign_in::{self, NewSignIn, SignIn, Tried};

/// Which sign-in.
#[derive(InputObject)]
pub struct StartPasskeySignInInput {
    /// From `TwoFactorRequired`, to prove the second factor of that sign-in; left out to begin one.
    #[graphql(secret)]
    pub challenge_token: Option<String>,
}

/// What the authenticator answered to `startPasskeySignIn`.
#[derive(InputObject)]
pub struct FinishPasskeySignInInput {
    /// As `startPasskeySignIn` gave it; good once, for five minutes.
    #[graphql(secret)]
    pub challenge_token: String,
    /// The credential as its `toJSON()` gives it (WebAuthn Level 3, `AuthenticationResponseJSON`); an object.
    pub credential: Json,
    /// Keep the session for 30 days instead of 24 hours, unless the operator says otherwise; `Session.expiresAt`
    /// tells. As a second step, what the first one said counts.
    #[graphql(default = false)]
    pub remember_me: bool,
    /// Whether the tokens come back in the answer or in cookies. As a second step, what the first one said counts.
    #[graphql(default_with = "TokenDelivery::Body")]
    pub token_delivery: TokenDelivery,
}

/// A passkey that is shown again, as the answer to `startPasskeySignIn`.
#[derive(InputObject)]
pub struct PasskeyProofInput {
    /// As `startPasskeySignIn` gave it without an input; good once, for five minutes.
    #[graphql(secret)]
    pub challenge_token: String,
    /// The credential as its `toJSON()` gives it (WebAuthn Level 3, `AuthenticationResponseJSON`); an object.
    pub credential: Json,
}

/// Begins a sign-in with whatever passkey the authenticator finds, or the second step of one with a
/// passkey of its account.
///
/// # Errors
/// `REJECTED` where passkeys cannot be used here, and for an account without one; `TOKEN_REJECTED` for a
/// sign-in that is unknown, used up, past its end or of another device; `TOO_MANY_ATTEMPTS`.
pub async fn start(
    app: &App,
    client: &ClientInfo,
    input: Option<StartPasskeySignInInput>,
) -> Result<Ceremony> {
    let relying_party = passkey::relying_party(app)?;
    limits::take(app, Limit::PasskeyCeremony, client, "").await?;
    let mut conn = app.db.conn().await?;
    let (mut about, mut allowed) = (About::default(), Vec::new());
    if let Some(token) = input.and_then(|input| input.challenge_token) {
        let token = TokenHash::of(&token);
        let waiting = second_step::challenge_of(app, &mut conn, client, &token).await?;
        allowed = PasskeyCredential::ids_of(&mut conn, waiting.user_id).await?;
        if allowed.is_empty() {
            let message = "This account has no passkey.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        about.user = Some(waiting.user_id);
        about.second_step = Some(token);
    }
    let begun = relying_party.begin_sign_in(&allowed);
    let begun = begun.map_err(passkey::fault)?;
    passkey::keep(app, &mut conn, CeremonyKind::SignIn, about, begun).await
}

/// Signs in who holds a passkey, or completes the sign-in whose second factor it proves. The ceremony is
/// over, whatever comes of it.
///
/// `may_deliver` says whether the tokens can come back in the way that was asked for; it is asked before
/// the credential is looked at.
///
/// # Errors
/// `INVALID_VALUE` for a malformed credential; `TOKEN_REJECTED` for a ceremony that is unknown, used or
/// past its end, and for a credential that does not answer it; `ACCOUNT_UNAVAILABLE` for a closed account;
/// `TOO_MANY_ATTEMPTS`; what `may_deliver` says.
pub async fn finish(
    app: &App,
    client: &ClientInfo,
    input: &FinishPasskeySignInInput,
    may_deliver: impl FnOnce(TokenDelivery) -> Result<()>,
) -> Result<Verified> {
    passkey::relying_party(app)?;
    let path = ["input", "credential"];
    let answer = passkey::answer(&path, &input.credential, Assertion::parse)?;
    limits::take(app, Limit::LoginNetwork, client, "").await?;
    let mut conn = app.db.conn().await?;
    let kept = PasskeyCredential::by_credential_id(&mut conn, answer.credential_id()).await?;
    drop(conn);
    let who = Tried {
        user: kept.as_ref().map(|kept| kept.user_id),
        method: SignInMethod::Passkey.as_str(),
    };
    let outcome = tried(app, client, input, (&answer, kept), may_deliver).await;
    sign_in::note_refusal(app, client, who, outcome).await
}

/// A try that the limits let through.
async fn tried(
    app: &App,
    client: &ClientInfo,
    input: &FinishPasskeySignInInput,
    (answer, kept): (&Assertion, Option<PasskeyCredential>),
    may_deliver: impl FnOnce(TokenDelivery) -> Result<()>,
) -> Result<Verified> {
    let path = ["input", "credential"];
    let mut conn = app.db.conn().await?;
    let token_path = ["input", "challengeToken"];
    let ceremony = take_out(app, &mut conn, &input.challenge_token, &token_path).await?;
    let waiting = match &ceremony.two_factor_hash {
        Some(token) => Some(second_step::open_challenge(app, &mut conn, client, token).await?),
        None => None,
    };
    let delivery = waiting
        .as_ref()
        .map_or(input.token_delivery, second_step::delivery_of);
    may_deliver(delivery)?;
    drop(conn);
    let shown = shown(app, client, &ceremony, answer, kept, None, &path).await?;
    let new = NewSignIn {
        user: shown.user_id,
        method: SignInMethod::Passkey,
        verified: None,
        rehashed: None,
        remember_me: input.remember_me,
        delivery,
        device_token: None,
        attempt: None,
    };
    let mut conn = app.db.conn().await?;
    let admitted = conn
        .transaction(async |conn| {
            // The account first: whatever changes it and its passkeys takes them in this order.
            let admitted = match &waiting {
                None => sign_in::admit(app, conn, client, &new).await?,
                Some(challenge) => {
                    let account = Credentials::lock(conn, shown.user_id).await?;
                    let account = account.ok_or_else(second_step::challenge_rejected)?;
                    if !challenge.consume(conn, app.now()).await? {
                        return Err(second_step::challenge_rejected());
                    }
                    let method = SignInMethod::Passkey;
                    let completed = second_step::complete(
                        app, conn, client, &account, challenge, method, false,
                    );
                    Some(completed.await?)
                }
            };
            if admitted.is_some() {
                shown.note(conn, &path, app.now()).await?;
            }
            Ok::<_, Error>(admitted)
        })
        .await?;
    drop(conn);
    let sign_in = match admitted {
        Some(admitted) => admitted,
        None => not_admitted(app, client, shown.user_id).await?,
    };
    Ok(Verified { sign_in, delivery })
}

/// What is told to who holds the passkey of an account that may not sign in.
async fn not_admitted(app: &App, client: &ClientInfo, user: Uuid) -> Result<SignIn> {
    let account = Credentials::by_id(&mut *app.db.conn().await?, user).await?;
    let rejected = || passkey::credential_rejected(&["input", "credential"]);
    let account = account.ok_or_else(rejected)?;
    match account.status {
        AccountStatus::Deactivated => {
            login::offer_reactivation(app, client, &account).await?;
            Err(login::unavailable())
        }
        AccountStatus::Pending => {
            let kind = VerificationKind::EmailVerification.as_str();
            let mut conn = app.db.conn().await?;
            let at = limits::resend_available_at(app, &mut conn, kind, &account.email).await?;
            Ok(SignIn::EmailVerificationRequired {
                resend_available_at: at,
            })
        }
        // Opened meanwhile.
        AccountStatus::Active => Err(rejected()),
    }
}

/// A passkey that somebody has shown a moment ago.
#[must_use = "a use counts once it is noted"]
pub struct Shown {
    passkey: Uuid,
    user_id: Uuid,
    used: Used,
}

impl Shown {
    /// Keeps what the use changed. Belongs into the transaction of what it allows, which holds the account
    /// locked.
    ///
    /// # Errors
    /// `TOKEN_REJECTED` at `path` where the passkey was removed meanwhile, or used with a counter that is no
    /// smaller.
    pub async fn note(&self, conn: &mut Conn, path: &[&str], now: DateTime) -> Result<()> {
        let credential = Json(self.used.credential.clone());
        let count = self.used.sign_count;
        if PasskeyCredential::note_use(conn, self.passkey, &credential, count, now).await? {
            return Ok(());
        }
        Err(passkey::credential_rejected(path))
    }
}

/// Checks that the person behind a session holds a passkey of its account.
///
/// # Errors
/// `INVALID_VALUE` and `TOKEN_REJECTED`, as [`finish`].
pub async fn confirm(app: &App, actor: &Actor, input: &PasskeyProofInput) -> Result<Shown> {
    passkey::relying_party(app)?;
    let path = PROOF;
    let answer = passkey::answer(&path, &input.credential, Assertion::parse)?;
    let mut conn = app.db.conn().await?;
    let token_path = ["input", "passkey", "challengeToken"];
    let ceremony = take_out(app, &mut conn, &input.challenge_token, &token_path).await?;
    if ceremony.two_factor_hash.is_some() {
        return Err(passkey::challenge_rejected(&token_path));
    }
    let kept = PasskeyCredential::by_credential_id(&mut conn, answer.credential_id()).await?;
    drop(conn);
    let (client, owner) = (actor.client(), Some(actor.user_id()));
    shown(app, client, &ceremony, &answer, kept, owner, &path).await
}

/// Where the credential of a [`PasskeyProofInput`] stands.
pub const PROOF: [&str; 3] = ["input", "passkey", "credential"];

/// Takes the ceremony of a sign-in out, so that nobody else finishes it.
async fn take_out(
    app: &App,
    conn: &mut Conn,
    token: &str,
    path: &[&str],
) -> Result<PasskeyChallenge> {
    let (hash, kind) = (TokenHash::of(token), CeremonyKind::SignIn);
    let ceremony = PasskeyChallenge::take(conn, &hash, kind, None, app.now()).await?;
    ceremony.ok_or_else(|| passkey::challenge_rejected(path))
}

/// Checks that an authenticator answers the ceremony with the passkey `kept`, of `owner` where one is
/// given. Holds no connection before.
async fn shown(
    app: &App,
    client: &ClientInfo,
    ceremony: &PasskeyChallenge,
    answer: &Assertion,
    kept: Option<PasskeyCredential>,
    owner: Option<Uuid>,
    path: &[&str],
) -> Result<Shown> {
    let rejected = || passkey::credential_rejected(path);
    let relying_party = passkey::relying_party(app)?;
    let kept = kept.ok_or_else(rejected)?;
    // Level 3, section 7.2, step 6: who was named before is the owner, and otherwise the authenticator
    // has to name them.
    let named = ceremony.user_id.or(owner);
    let is_owners = match answer.user_handle() {
        Some(handle) => handle == kept.user_id.as_bytes(),
        None => named.is_some(),
    };
    if !is_owners || named.is_some_and(|named| named != kept.user_id) {
        return Err(rejected());
    }
    let used = relying_party.finish_sign_in(answer, &ceremony.state, &kept.credential);
    if matches!(used, Err(Refusal::PossiblyCloned)) {
        tracing::warn!(
            user.id = %kept.user_id,
            passkey.id = %kept.id,
            "A passkey of the account {} was refused: its counter has not grown, somebody may hold a copy of it",
            kept.user_id
        );
        let entry = Entry::from(client, AuditAction::PasskeyRefused).on(kept.user_id);
        let conn = &mut *app.db.conn().await?;
        entry.failed().record(app, conn).await?;
    }
    Ok(Shown {
        passkey: kept.id,
        user_id: kept.user_id,
        used: used.map_err(|refusal| passkey::refused(refusal, path))?,
    })
}
