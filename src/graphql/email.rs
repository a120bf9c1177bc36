//! Moving an account to another address.

use async_graphql::{Context, Object};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public, requires_session};
use crate::graphql::error::settle;
use crate::graphql::login::RequestPayload;
use crate::graphql::role::AccountPayload;
use crate::services::email::{self, RequestEmailChangeInput, TokenInput};

/// Changing the address.
#[derive(Default)]
pub struct EmailMutation;

#[Object]
impl EmailMutation {
    /// Prove the new address and switch to it; other sessions end, and the address before is told, with
    /// a link that undoes it. Its token is taken here, too, and ends every session.
    #[graphql(directive = public::apply())]
    async fn confirm_email_change(
        &self,
        ctx: &Context<'_>,
        input: TokenInput,
    ) -> Result<Option<AccountPayload>> {
        let caller = ctx.caller();
        let actor = caller.requester().signed_in();
        let result = email::confirm_change(ctx.app(), caller.client(), actor, &input.token).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Mail a token to the new address; the old one stays until it is confirmed. A later request
    /// replaces an earlier one.
    #[graphql(directive = requires_session::apply(true, false), directive = cost::apply(20))]
    async fn request_email_change(
        &self,
        ctx: &Context<'_>,
        input: RequestEmailChangeInput,
    ) -> Result<Option<RequestPayload>> {
        let client = ctx.caller().client();
        let result = email::request_change(ctx.app(), client, ctx.actor()?, &input.new_email).await;
        let (accepted, errors) = settle(ctx, result)?;
        Ok(Some(RequestPayload::new(accepted.is_some(), errors)))
    }
}
