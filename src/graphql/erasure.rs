//! Having accounts erased, and calling that off.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, requires_permission, requires_session};
use crate::graphql::error::settle;
use crate::graphql::node::Kind;
use crate::graphql::role::AccountPayload;
use crate::models::permission::SystemPermission;
use crate::scalar::DateTime;
use crate::services::confirm::ConfirmIdentityInput;
use crate::services::erasure::{self, Order};

/// Whom to erase.
#[derive(InputObject)]
pub struct EraseUserInput {
    /// Erase at once, without the grace period.
    #[graphql(default = false)]
    pub immediately: bool,
    /// Kept in the audit trail, as `reason` in the `details` of the entry, where nobody can read it any more once
    /// the account is erased; at most 500 characters.
    pub reason: Option<String>,
    /// Id of the account.
    pub user_id: ID,
}

/// When the erasure happens.
#[derive(SimpleObject)]
pub struct EraseAccountPayload {
    /// Last moment at which the erasure can be called off; null where the account is gone already, and where
    /// `errors` is not empty.
    pub erases_at: Option<DateTime>,
    /// Why nothing was changed; empty on success.
    pub errors: Vec<UserError>,
}

/// Having accounts erased.
#[derive(Default)]
pub struct ErasureMutation;

#[Object]
impl ErasureMutation {
    /// Call off an erasure that was asked for; where none was, nothing changes. Too late (`ACCOUNT_UNAVAILABLE`)
    /// once its moment, `User.erasesAt`, has come.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn cancel_erasure(&self, ctx: &Context<'_>) -> Result<Option<AccountPayload>> {
        let (user, errors) = settle(ctx, erasure::call_off(ctx.app(), ctx.actor()?).await)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Erase the caller's own account for good after a grace period, 30 days unless the operator says otherwise.
    /// Until then its owner can sign in and call it off (`cancelErasure`). Every other session ends at once. Asked
    /// for twice, the first moment holds. `PROTECTED` for the last administrator.
    #[graphql(directive = requires_session::apply(true, false), directive = cost::apply(50))]
    async fn erase_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Left out by who signed in with a provider, a short time ago, and has neither a password nor a passkey nor a second factor."
        )]
        input: Option<ConfirmIdentityInput>,
    ) -> Result<Option<EraseAccountPayload>> {
        let result = erasure::ask(ctx.app(), ctx.actor()?, input).await;
        let (erases_at, errors) = settle(ctx, result)?;
        let erases_at = erases_at.flatten();
        Ok(Some(EraseAccountPayload { erases_at, errors }))
    }

    /// Erase somebody else's account, at once or after the grace period, 30 days unless the operator says
    /// otherwise; one that waits for its address to be proved, always at once. Its sessions end at once. Asked for
    /// twice, the first moment holds, unless it is to be at once. Nobody erases an account that may do what they
    /// may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, true))]
    async fn erase_user(
        &self,
        ctx: &Context<'_>,
        input: EraseUserInput,
    ) -> Result<Option<EraseAccountPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let order = Order {
            immediately: input.immediately,
            reason: input.reason,
        };
        let result = erasure::order(ctx.app(), ctx.actor()?, id, order).await;
        let (erases_at, errors) = settle(ctx, result)?;
        let erases_at = erases_at.flatten();
        Ok(Some(EraseAccountPayload { erases_at, errors }))
    }
}
