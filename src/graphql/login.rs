//! Opening an account, proving the address, signing in and out.

use async_graphql::{Context, Object, SimpleObject, Union};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public};
use crate::graphql::error::settle;
use crate::models::session::Session;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::services::email::{self, EmailInput, TokenInput};
use crate::services::login::{self, LoginInput, RefreshTokenInput, SignIn};
use crate::services::registration::{self, RegisterInput};

/// What a sign-in step leads to.
#[derive(Union)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for a request, and moved once"
)]
pub enum SignInResult {
    /// The address must be proved first.
    EmailVerificationRequired(EmailVerificationRequired),
    /// Signed in.
    SignedIn(SignedIn),
}

/// The password was right, but the address must be proved first.
#[derive(SimpleObject)]
pub struct EmailVerificationRequired {
    /// When another mail may be asked for.
    resend_available_at: DateTime,
}

/// The tokens are good from now on.
#[derive(SimpleObject)]
pub struct SignedIn {
    /// For the header `Authorization: Bearer …`.
    access_token: Option<String>,
    /// When the access token ends; trade the refresh token for a new pair before.
    access_token_expires_at: DateTime,
    /// For `refreshToken`; good once.
    refresh_token: Option<String>,
    /// The session that was opened or kept alive.
    session: Session,
    /// The account.
    user: User,
}

/// Outcome of a sign-in step.
#[derive(SimpleObject)]
pub struct SignInPayload {
    /// Why it did not succeed; empty on success.
    errors: Vec<UserError>,
    /// Null exactly when `errors` is not empty.
    result: Option<SignInResult>,
}

/// Outcome of opening an account.
#[derive(SimpleObject)]
pub struct RegisterPayload {
    /// Why no account was opened; empty on success.
    errors: Vec<UserError>,
    /// Null when the address must be proved first, which is the rule.
    result: Option<SignInResult>,
}

/// The answer of requests that must not reveal whether an account exists.
#[derive(SimpleObject)]
pub struct RequestPayload {
    /// The request was taken in; it says nothing about the account.
    accepted: bool,
    /// Why it was not taken in; empty on success.
    errors: Vec<UserError>,
}

/// How many sessions ended.
#[derive(SimpleObject)]
pub struct LogoutPayload {
    /// How many sessions ended: 1, or 0 without a session.
    ended_sessions: i32,
    /// Always empty.
    errors: Vec<UserError>,
}

/// Tells a new session to the guard layer and shapes it for the client.
fn signed_in(ctx: &Context<'_>, signed_in: login::SignedIn) -> SignInResult {
    ctx.caller().proved(&signed_in);
    SignInResult::SignedIn(SignedIn {
        access_token: Some(signed_in.access_token),
        access_token_expires_at: signed_in.access_token_expires_at,
        refresh_token: Some(signed_in.refresh_token.expose().to_owned()),
        session: signed_in.session,
        user: signed_in.user,
    })
}

/// Opening an account and signing in.
#[derive(Default)]
pub struct LoginMutation;

#[Object]
impl LoginMutation {
    /// Sign in with a password. A wrong name and a wrong password are answered alike
    /// and in the same time.
    #[graphql(directive = public::apply(), directive = cost::apply(50))]
    async fn login(&self, ctx: &Context<'_>, input: LoginInput) -> Result<Option<SignInPayload>> {
        let (outcome, errors) =
            settle(login::login(ctx.app(), ctx.caller().client(), input).await)?;
        let result = outcome.map(|outcome| match outcome {
            SignIn::SignedIn(session) => signed_in(ctx, *session),
            SignIn::EmailVerificationRequired {
                resend_available_at,
            } => SignInResult::EmailVerificationRequired(EmailVerificationRequired {
                resend_available_at,
            }),
        });
        Ok(Some(SignInPayload { errors, result }))
    }

    /// End the current session. Succeeds without one, too.
    #[graphql(directive = public::apply())]
    async fn logout(&self, ctx: &Context<'_>) -> Result<Option<LogoutPayload>> {
        let ended_sessions = login::logout(ctx.app(), ctx.caller().requester().signed_in()).await?;
        Ok(Some(LogoutPayload {
            ended_sessions,
            errors: Vec::new(),
        }))
    }

    /// Trade a refresh token for a new pair. A token works once; reuse ends the session.
    #[graphql(directive = public::apply())]
    async fn refresh_token(
        &self,
        ctx: &Context<'_>,
        input: RefreshTokenInput,
    ) -> Result<Option<SignInPayload>> {
        let (session, errors) = settle(login::refresh(ctx.app(), &input.refresh_token).await)?;
        Ok(Some(SignInPayload {
            errors,
            result: session.map(|session| signed_in(ctx, session)),
        }))
    }

    /// Open an account. Whether the mail address is already in use is told to its
    /// owner by mail, never to the caller.
    #[graphql(directive = public::apply(), directive = cost::apply(50))]
    async fn register(
        &self,
        ctx: &Context<'_>,
        input: RegisterInput,
    ) -> Result<Option<RegisterPayload>> {
        let (_, errors) =
            settle(registration::register(ctx.app(), ctx.caller().client(), input).await)?;
        Ok(Some(RegisterPayload {
            errors,
            result: None,
        }))
    }

    /// Mail the verification token again, at most once a minute.
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn resend_verification(
        &self,
        ctx: &Context<'_>,
        input: EmailInput,
    ) -> Result<Option<RequestPayload>> {
        let (accepted, errors) =
            settle(email::resend(ctx.app(), ctx.caller().client(), &input.email).await)?;
        Ok(Some(RequestPayload {
            accepted: accepted.is_some(),
            errors,
        }))
    }

    /// Prove a mail address with the mailed token, and sign in.
    #[graphql(directive = public::apply())]
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        input: TokenInput,
    ) -> Result<Option<SignInPayload>> {
        let caller = ctx.caller();
        let result = email::verify(
            ctx.app(),
            caller.client(),
            caller.requester().signed_in(),
            &input.token,
        )
        .await;
        let (session, errors) = settle(result)?;
        Ok(Some(SignInPayload {
            errors,
            result: session.map(|session| signed_in(ctx, session)),
        }))
    }
}
