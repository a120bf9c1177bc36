//! The second step of a sign-in: a code completes what a password or a provider began.

use async_graphql::InputObject;
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::crypto::token::TokenHash;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::rate_limit;
use crate::models::session::SignInMethod;
use crate::models::two_factor_challenge::TwoFactorChallenge;
use crate::services::limits::{self, Limit};
use crate::services::login::TokenDelivery;
use crate::services::sign_in::{self, Opening, SignIn, Tried};
use crate::services::{codes, devices};

/// Second step of a sign-in.
#[derive(InputObject)]
pub struct VerifyTwoFactorInput {
    /// As `TwoFactorRequired` gave it.
    #[graphql(secret)]
    pub challenge_token: String,
    /// Six digits from the authenticator app, or a recovery code, whatever its case and hyphens.
    #[graphql(secret)]
    pub code: String,
    /// Ask for no second factor on this device for 30 days unless the operator says otherwise;
    /// `SignedIn.deviceToken` or a cookie stands in for it.
    #[graphql(default = false)]
    pub trust_device: bool,
}

/// What a second step leads to.
pub struct Verified {
    /// The outcome.
    pub sign_in: SignIn,
    /// How the tokens are to come back, as the first step said.
    pub delivery: TokenDelivery,
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
    let method = "second_factor";
    let mut conn = app.db.conn().await?;
    let token = TokenHash::of(&input.challenge_token);
    let challenge = match open_challenge(app, &mut conn, client, &token).await {
        Err(unknown @ Error::Refused(_)) => {
            drop(conn);
            // Known ones have limits of their own: no stranger in the same network uses them up.
            limits::take(app, Limit::Token, client, "").await?;
            let user = None;
            return sign_in::note_refusal(app, client, Tried { user, method }, Err(unknown)).await;
        }
        challenge => challenge?,
    };
    let delivery = delivery_of(&challenge);
    may_deliver(delivery)?;
    drop(conn);
    let proved = prove(app, client, &challenge, &input).await;
    let user = Some(challenge.user_id);
    let sign_in = sign_in::note_refusal(app, client, Tried { user, method }, proved).await?;
    Ok(Verified { sign_in, delivery })
}

/// Completes the sign-in of a challenge whose try was taken.
async fn prove(
    app: &App,
    client: &ClientInfo,
    challenge: &TwoFactorChallenge,
    input: &VerifyTwoFactorInput,
) -> Result<SignIn> {
    let (user, now) = (challenge.user_id, app.now());
    let path = ["input", "code"];
    let mut conn = app.db.conn().await?;
    let code = codes::check(app, &mut conn, user, &path, &input.code).await?;
    conn.transaction(async |conn| {
        let account = Credentials::lock(conn, user).await?;
        let account = account.ok_or_else(challenge_rejected)?;
        if !challenge.consume(conn, now).await? {
            return Err(challenge_rejected());
        }
        let method = codes::take(app, conn, client, user, &path, &code).await?;
        let trust_device = input.trust_device;
        complete(app, conn, client, &account, challenge, method, trust_device).await
    })
    .await
}

/// How the tokens are to come back, as the first step said.
#[must_use]
pub fn delivery_of(challenge: &TwoFactorChallenge) -> TokenDelivery {
    if challenge.in_cookies {
        TokenDelivery::Cookie
    } else {
        TokenDelivery::Body
    }
}

/// The live challenge with this token that began on the same device.
///
/// # Errors
/// `TOKEN_REJECTED` at the challenge token.
pub async fn challenge_of(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    token: &TokenHash,
) -> Result<TwoFactorChallenge> {
    let challenge = TwoFactorChallenge::live(conn, token, app.now()).await?;
    challenge
        .filter(|challenge| {
            challenge.device_hash == devices::device_hash(client, challenge.user_id)
        })
        .ok_or_else(challenge_rejected)
}

/// The challenge of [`challenge_of`], with one try taken.
///
/// # Errors
/// `TOKEN_REJECTED` at the challenge token.
pub async fn open_challenge(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    token: &TokenHash,
) -> Result<TwoFactorChallenge> {
    let challenge = challenge_of(app, conn, client, token).await?;
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

/// What is said of a sign-in that cannot be continued.
#[must_use]
pub fn challenge_rejected() -> Error {
    challenge_over().into()
}

/// The same as what a payload holds.
#[must_use]
pub fn challenge_over() -> UserError {
    let message = "This sign-in is unknown, used up or past its end. Begin anew.";
    let path = ["input", "challengeToken"];
    UserError::at(UserErrorCode::TokenRejected, &path, message)
}
