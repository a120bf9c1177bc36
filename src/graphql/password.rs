//! Forgotten and changed passwords.

use async_graphql::{Context, Object};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public, requires_session};
use crate::graphql::error::settle;
use crate::graphql::login::RequestPayload;
use crate::graphql::role::AccountPayload;
use crate::services::email::EmailInput;
use crate::services::password::{self, ChangePasswordInput, ResetPasswordInput};

/// Replacing passwords.
#[derive(Default)]
pub struct PasswordMutation;

#[Object]
impl PasswordMutation {
    /// Replace the password while signed in; an account without one sets it by `requestPasswordReset`. Other
    /// sessions end, trusted devices are forgotten, and the owner is told by mail. A wrong present password is
    /// `INVALID_CREDENTIALS`.
    #[graphql(directive = requires_session::apply(false, false), directive = cost::apply(50))]
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        input: ChangePasswordInput,
    ) -> Result<Option<AccountPayload>> {
        let result = password::change(ctx.app(), ctx.actor()?, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Mail a link that sets a new password; its token is for `resetPassword`, good once and for 24 hours unless
    /// the operator says otherwise. The answer is the same whether or not the account exists. An account that its
    /// owner closed gets a link that opens it again (`reactivateAccount`).
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        input: EmailInput,
    ) -> Result<Option<RequestPayload>> {
        let client = ctx.caller().client();
        let result = password::request_reset(ctx.app(), client, &input.email).await;
        let (accepted, errors) = settle(ctx, result)?;
        Ok(Some(RequestPayload::new(accepted.is_some(), errors)))
    }

    /// Set a new password with the token of a mailed link, of an invitation, or of `PasswordExpired`. Every session
    /// ends and trusted devices are forgotten. It proves a `PENDING` account's address, and signs nobody in:
    /// `login` follows. A password that the policy refuses leaves the token good.
    #[graphql(directive = public::apply(), directive = cost::apply(50))]
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        input: ResetPasswordInput,
    ) -> Result<Option<AccountPayload>> {
        let caller = ctx.caller();
        let actor = caller.requester().in_session();
        let result = password::reset(ctx.app(), caller.client(), actor, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }
}
