//! Opening an account, proving the address, signing in.

use async_graphql::{Context, Object, SimpleObject, Union};

use crate::crypto::token::PlainToken;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::graphql::context::ContextExt as _;
use crate::graphql::cookie;
use crate::graphql::directive::{cost, public};
use crate::graphql::error::settle;
use crate::metrics::{LoginMethod, LoginOutcome};
use crate::models::session::Session;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::services::email::{self, EmailInput, VerifyEmailInput};
use crate::services::login::{self, LoginInput, TokenDelivery};
use crate::services::registration::{self, RegisterInput};
use crate::services::session;
use crate::services::sign_in::SignIn;
use crate::services::two_factor::TwoFactorMethod;

/// What a sign-in step leads to: a session, or what is to be done first.
#[derive(Union)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for a request, and moved once"
)]
pub enum SignInResult {
    /// The address must be proved first.
    EmailVerificationRequired(EmailVerificationRequired),
    /// The password is too old.
    PasswordExpired(PasswordExpired),
    /// Signed in.
    SignedIn(SignedIn),
    /// A second factor is still needed.
    TwoFactorRequired(TwoFactorRequired),
}

/// The password was right but is older than `PasswordPolicy.maximumAgeDays` allows. Set a new one with
/// `resetPassword` and this token, then sign in again.
#[derive(SimpleObject)]
pub struct PasswordExpired {
    /// When the reset token ends.
    expires_at: DateTime,
    /// For `resetPassword`; good once, for 15 minutes.
    reset_token: String,
}

/// What was proved is right, but the address must be proved first: with the token of the mailed link
/// (`verifyEmail`). `resendVerification` mails another.
#[derive(SimpleObject)]
pub struct EmailVerificationRequired {
    /// From when on `resendVerification` may mail another link; the present instant where it may at once.
    resend_available_at: DateTime,
}

/// What was proved is right; a second factor is still needed. No session is open yet.
#[derive(SimpleObject)]
pub struct TwoFactorRequired {
    /// For `verifyTwoFactor` and `startPasskeySignIn`, from the device that began; good for five minutes and five
    /// tries, and it opens nothing else.
    challenge_token: String,
    /// When the challenge token ends; after that, sign in anew.
    expires_at: DateTime,
    /// Ways in which this account can prove it.
    methods: Vec<TwoFactorMethod>,
}

/// A session: its tokens are good from now on, and stand in cookies where that was asked for.
#[derive(SimpleObject)]
pub struct SignedIn {
    /// A JWT for the header `Authorization: Bearer …`; null when delivered as a cookie.
    access_token: Option<String>,
    /// When the access token ends, after 15 minutes unless the operator says otherwise; trade the refresh token for
    /// a new pair before (`refreshToken`).
    access_token_expires_at: DateTime,
    /// Stands in for the second factor in later sign-ins on this device (`LoginInput.deviceToken`), for 30 days
    /// unless the operator says otherwise. Given where `VerifyTwoFactorInput.trustDevice` was asked for and the
    /// operator allows it; null otherwise, and when delivered as a cookie.
    device_token: Option<String>,
    /// For `refreshToken`, good once, until `session.expiresAt` at most; null when delivered as a cookie.
    refresh_token: Option<String>,
    /// The session that was opened or kept alive.
    session: Session,
    /// A second factor is compulsory for this account, and the session has proved none. It can set one up
    /// (`enableTwoFactor`, `startPasskeyRegistration`) or prove it (`reauthenticate`); until then other fields fail
    /// with the code `TWO_FACTOR_REQUIRED`.
    two_factor_owed: bool,
    /// The account that is signed in.
    user: User,
}

/// Outcome of a sign-in step.
#[derive(SimpleObject)]
pub struct SignInPayload {
    /// Why it did not succeed; empty on success.
    pub errors: Vec<UserError>,
    /// What the step led to; null exactly when `errors` is not empty.
    pub result: Option<SignInResult>,
}

/// Outcome of opening an account.
#[derive(SimpleObject)]
pub struct RegisterPayload {
    /// Why no account was opened; empty on success.
    errors: Vec<UserError>,
    /// Always null: the address must be proved first, by `verifyEmail` with the mailed token.
    result: Option<SignInResult>,
}

/// The answer of requests that must not reveal whether an account exists.
#[derive(SimpleObject)]
pub struct RequestPayload {
    /// The request was taken in; it says nothing about the account. False exactly when `errors` is not empty.
    accepted: bool,
    /// Why it was not taken in; empty on success.
    errors: Vec<UserError>,
}

impl RequestPayload {
    /// Whether the request was taken in, and why not.
    #[must_use]
    pub fn new(accepted: bool, errors: Vec<UserError>) -> Self {
        Self { accepted, errors }
    }
}

/// The payload of a step of signing in, which is counted, with the tokens of a session on their way.
///
/// # Errors
/// Those of `result` that no payload tells.
pub fn finished(
    ctx: &Context<'_>,
    method: LoginMethod,
    result: Result<(SignIn, TokenDelivery)>,
) -> Result<Option<SignInPayload>> {
    ctx.app().logins.count(method, counts_as(&result));
    let (signed_in, errors) = settle(ctx, result)?;
    let result = signed_in.map(|(signed_in, delivery)| outcome(ctx, signed_in, delivery));
    Ok(Some(SignInPayload { errors, result }))
}

fn counts_as(result: &Result<(SignIn, TokenDelivery)>) -> LoginOutcome {
    match result {
        Ok((SignIn::SignedIn(_), _)) => LoginOutcome::SignedIn,
        Ok((SignIn::TwoFactorRequired { .. }, _)) => LoginOutcome::TwoFactorRequired,
        Ok((SignIn::EmailVerificationRequired { .. }, _)) => {
            LoginOutcome::EmailVerificationRequired
        }
        Ok((SignIn::PasswordExpired { .. }, _)) => LoginOutcome::PasswordExpired,
        Err(Error::RateLimited(_)) => LoginOutcome::Limited,
        Err(Error::Unavailable | Error::Internal(_)) => LoginOutcome::Failed,
        Err(Error::Refused(errors)) => {
            let waits = |error: &UserError| error.reason() == UserErrorCode::TooManyAttempts;
            if errors.iter().any(waits) {
                LoginOutcome::Limited
            } else {
                LoginOutcome::Refused
            }
        }
        Err(_) => LoginOutcome::Refused,
    }
}

fn outcome(ctx: &Context<'_>, outcome: SignIn, delivery: TokenDelivery) -> SignInResult {
    match outcome {
        SignIn::SignedIn(session) => deliver(ctx, *session, delivery),
        SignIn::TwoFactorRequired {
            challenge_token,
            expires_at,
            methods,
        } => SignInResult::TwoFactorRequired(TwoFactorRequired {
            challenge_token: challenge_token.expose().to_owned(),
            expires_at,
            methods,
        }),
        SignIn::EmailVerificationRequired {
            resend_available_at,
        } => SignInResult::EmailVerificationRequired(EmailVerificationRequired {
            resend_available_at,
        }),
        SignIn::PasswordExpired {
            reset_token,
            expires_at,
        } => SignInResult::PasswordExpired(PasswordExpired {
            expires_at,
            reset_token: reset_token.expose().to_owned(),
        }),
    }
}

/// Tells a new session to the guard layer, and hands its tokens over.
#[must_use]
pub fn deliver(
    ctx: &Context<'_>,
    signed_in: session::SignedIn,
    delivery: TokenDelivery,
) -> SignInResult {
    ctx.caller().proved(&signed_in);
    let in_body = delivery == TokenDelivery::Body;
    if !in_body {
        let app = ctx.app();
        for cookie in cookie::issued(&app.config, &signed_in, app.now()) {
            ctx.append_http_header("set-cookie", cookie);
        }
    }
    let text = |token: &PlainToken| in_body.then(|| token.expose().to_owned());
    let device = signed_in.trusted_device.as_ref();
    SignInResult::SignedIn(SignedIn {
        access_token: in_body.then_some(signed_in.access_token),
        access_token_expires_at: signed_in.access_token_expires_at,
        device_token: device.and_then(|(token, _)| text(token)),
        refresh_token: text(&signed_in.refresh_token),
        session: signed_in.session,
        two_factor_owed: signed_in.two_factor_owed,
        user: signed_in.user,
    })
}

/// Opening an account and signing in.
#[derive(Default)]
pub struct LoginMutation;

#[Object]
impl LoginMutation {
    /// Sign in with a password. A wrong name and a wrong password are answered alike and in the same time
    /// (`INVALID_CREDENTIALS`); a closed account is told only to who knows its password (`ACCOUNT_UNAVAILABLE`).
    ///
    /// The result says what follows: with `TwoFactorRequired` `verifyTwoFactor` or `startPasskeySignIn`, with
    /// `EmailVerificationRequired` `verifyEmail` or `resendVerification`, with `PasswordExpired` `resetPassword`.
    #[graphql(directive = public::apply(), directive = cost::apply(50))]
    async fn login(
        &self,
        ctx: &Context<'_>,
        mut input: LoginInput,
    ) -> Result<Option<SignInPayload>> {
        let (caller, delivery) = (ctx.caller(), input.token_delivery);
        caller.may_deliver(delivery)?;
        input.device_token = caller.device_token(input.device_token);
        let result = login::login(ctx.app(), caller.client(), input).await;
        let result = result.map(|signed_in| (signed_in, delivery));
        finished(ctx, LoginMethod::Password, result)
    }

    /// Open an account and mail a link that proves its address; its token is for `verifyEmail`. Until then the
    /// account is `PENDING`, and its password signs nobody in. An address that is in use is answered alike: its
    /// owner is told by mail, never the caller. A user name in use is told (`TAKEN`).
    #[graphql(directive = public::apply(), directive = cost::apply(50))]
    async fn register(
        &self,
        ctx: &Context<'_>,
        input: RegisterInput,
    ) -> Result<Option<RegisterPayload>> {
        let (_, errors) = settle(
            ctx,
            registration::register(ctx.app(), ctx.caller().client(), input).await,
        )?;
        Ok(Some(RegisterPayload {
            errors,
            result: None,
        }))
    }

    /// Mail another link that proves the address; the one before is void. The answer is the same whether or not an
    /// account waits for it. One mail a minute and five an hour to an address, unless the operator says otherwise;
    /// beyond that `TOO_MANY_ATTEMPTS`.
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn resend_verification(
        &self,
        ctx: &Context<'_>,
        input: EmailInput,
    ) -> Result<Option<RequestPayload>> {
        let (accepted, errors) = settle(
            ctx,
            email::resend(ctx.app(), ctx.caller().client(), &input.email).await,
        )?;
        Ok(Some(RequestPayload::new(accepted.is_some(), errors)))
    }

    /// Prove the address with the mailed token, good once and for 24 hours unless the operator says otherwise, and
    /// sign in. The tokens come as `tokenDelivery` says; `TwoFactorRequired` may come in their place. Where somebody
    /// is signed in, a token of another account is `TOKEN_REJECTED` and stays good; with cookies whose access token
    /// is over `COOKIE` fails with `UNAUTHENTICATED`, until `refreshToken` said whether the session lives.
    #[graphql(directive = public::apply())]
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        input: VerifyEmailInput,
    ) -> Result<Option<SignInPayload>> {
        let (caller, delivery) = (ctx.caller(), input.token_delivery);
        caller.may_deliver(delivery)?;
        let session = caller.requester().in_session();
        // New cookies would take the place of a session that can still be renewed, perhaps somebody else's.
        if delivery == TokenDelivery::Cookie && session.is_none() && caller.leaving().is_some() {
            return Err(Error::Unauthenticated);
        }
        let result = email::verify(ctx.app(), caller.client(), session, &input).await;
        let result = result.map(|signed_in| (signed_in, delivery));
        finished(ctx, LoginMethod::EmailLink, result)
    }
}
