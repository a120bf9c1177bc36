//! Closing and opening accounts, and letting people in again.

use async_graphql::{Context, ID, InputObject, Object};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public, requires_permission, requires_session};
use crate::graphql::error::settle;
use crate::graphql::node::Kind;
use crate::graphql::role::AccountPayload;
use crate::models::permission::SystemPermission;
use crate::services::account::{self, StatusChange};
use crate::services::confirm::ConfirmIdentityInput;
use crate::services::email::TokenInput;
use crate::services::invitation::{self, CreateUserInput};
use crate::services::profile::{self, UpdateUserInput};

/// An account to open or close.
#[derive(InputObject)]
pub struct UpdateUserStatusInput {
    /// True opens a closed or pending account, false closes it. One whose owner was invited and has not chosen a
    /// password yet cannot be opened (`REJECTED`).
    pub is_active: bool,
    /// Kept in the audit trail, as `reason` in the `details` of the entry, and part of what the owner may export;
    /// at most 500 characters.
    pub reason: Option<String>,
    /// Id of the account.
    pub user_id: ID,
}

/// An account.
#[derive(InputObject)]
pub struct UserIdInput {
    /// Id of the account.
    pub user_id: ID,
}

/// Closing and opening accounts.
#[derive(Default)]
pub struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Close the caller's own account. Every session ends. A link that opens it again (`reactivateAccount`) is
    /// mailed, and mailed anew to who signs in while it is closed. `PROTECTED` for the last administrator.
    #[graphql(directive = requires_session::apply(true, false), directive = cost::apply(50))]
    async fn deactivate_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Left out by who signed in with a provider, a short time ago, and has neither a password nor a passkey nor a second factor."
        )]
        input: Option<ConfirmIdentityInput>,
    ) -> Result<Option<AccountPayload>> {
        let result = account::deactivate(ctx.app(), ctx.actor()?, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Open a closed account again with the mailed token, good once and for 24 hours unless the operator says
    /// otherwise; an erasure that was asked for is called off. It signs nobody in: `login` follows. What an
    /// administrator closed stays closed.
    #[graphql(directive = public::apply())]
    async fn reactivate_account(
        &self,
        ctx: &Context<'_>,
        input: TokenInput,
    ) -> Result<Option<AccountPayload>> {
        let caller = ctx.caller();
        let actor = caller.requester().in_session();
        let result = account::reactivate(ctx.app(), caller.client(), actor, &input.token).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Open an account for someone else. It has no password until the person chooses one through the link that is
    /// mailed, which proves the address; its token is for `resetPassword`, good once and for 72 hours unless the
    /// operator says otherwise. `resendVerification` mails another.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, true))]
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        input: CreateUserInput,
    ) -> Result<Option<AccountPayload>> {
        let roles: Vec<_> = input
            .role_ids
            .iter()
            .map(|id| Kind::Role.uuid(id))
            .collect();
        let result = invitation::create(ctx.app(), ctx.actor()?, &input, &roles).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Change names, profile and coaching dates of somebody else's account, or of the own one: all that is given,
    /// or nothing. A field left out stays; null clears it. Nobody changes an account that may do what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::WriteAll, false, true))]
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        input: UpdateUserInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let result = profile::update_user(ctx.app(), ctx.actor()?, id, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Let somebody in again whom too many wrong passwords or codes shut out. Nobody unlocks an account that may do
    /// what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn unlock_user(
        &self,
        ctx: &Context<'_>,
        input: UserIdInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let (user, errors) = settle(ctx, account::unlock(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Open or close somebody else's account. Closing ends its sessions, and only an administrator opens it again;
    /// opening calls an erasure off. Its owner is told by mail when it is closed or opened again. Nobody opens or
    /// closes an account that may do what they may not. `PROTECTED` for the last administrator.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn update_user_status(
        &self,
        ctx: &Context<'_>,
        input: UpdateUserStatusInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let change = StatusChange {
            is_active: input.is_active,
            reason: input.reason,
        };
        let result = account::set_status(ctx.app(), ctx.actor()?, id, change).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }
}
