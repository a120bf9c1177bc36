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

/// Open or close.
#[derive(InputObject)]
pub struct UpdateUserStatusInput {
    /// True opens the account, false closes it. An account whose owner was invited and has not chosen a password
    /// yet cannot be opened (`REJECTED`).
    pub is_active: bool,
    /// Kept in the audit trail, as `reason` in the `details` of the entry, and part of what the owner may export;
    /// at most 500 characters.
    pub reason: Option<String>,
    /// The account.
    pub user_id: ID,
}

/// An account.
#[derive(InputObject)]
pub struct UserIdInput {
    /// Its id.
    pub user_id: ID,
}

/// Closing and opening accounts.
#[derive(Default)]
pub struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Close the caller's own account until it is reactivated by the link that is mailed. Every session
    /// ends.
    #[graphql(directive = requires_session::apply(true, false), directive = cost::apply(50))]
    async fn deactivate_account(
        &self,
        ctx: &Context<'_>,
        input: ConfirmIdentityInput,
    ) -> Result<Option<AccountPayload>> {
        let result = account::deactivate(ctx.app(), ctx.actor()?, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Open a closed account again with the mailed token. What an administrator closed stays closed.
    #[graphql(directive = public::apply())]
    async fn reactivate_account(
        &self,
        ctx: &Context<'_>,
        input: TokenInput,
    ) -> Result<Option<AccountPayload>> {
        let caller = ctx.caller();
        let actor = caller.requester().signed_in();
        let result = account::reactivate(ctx.app(), caller.client(), actor, &input.token).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Open an account for someone else. It has no password until the person chooses one through the link that
    /// is mailed, which proves the address.
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

    /// Change somebody else's account, or the own one. A field left out stays; null clears it. Nobody changes
    /// an account that may do what they may not.
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

    /// Open or close an account. Closing ends its sessions.
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
