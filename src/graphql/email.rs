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
    /// Prove the new address with the mailed token and switch to it; other sessions end, and the address before is
    /// told, with a link that undoes it for 7 days unless the operator says otherwise.
    ///
    /// The token of that link is taken here, too. It takes the address back, ends every session, and removes the
    /// password, the passkeys, linked providers and a second factor that was set up lately; a link to set a
    /// password is mailed.
    #[graphql(directive = public::apply())]
    async fn confirm_email_change(
        &self,
        ctx: &Context<'_>,
        input: TokenInput,
    ) -> Result<Option<AccountPayload>> {
        let caller = ctx.caller();
        let actor = caller.requester().in_session();
        let result = email::confirm_change(ctx.app(), caller.client(), actor, &input.token).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Mail a link to the new address; its token is for `confirmEmailChange`, good once and for 24 hours unless the
    /// operator says otherwise. The old address stays until then. A later request replaces an earlier one. The
    /// answer is the same for an address that is in use, whose owner is told.
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
