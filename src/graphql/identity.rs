//! `LinkedAccount`: sign-in providers tied to an account.

use async_graphql::{Context, ID, Object};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::requires_session;
use crate::graphql::error::settle;
use crate::graphql::node::Kind;
use crate::graphql::role::AccountPayload;
use crate::models::identity::Identity;
use crate::scalar::DateTime;
use crate::services::identity::{self, UnlinkAccountInput};

/// A sign-in provider tied to an account.
#[Object(name = "LinkedAccount")]
impl Identity {
    /// Name or address that the provider shows for the person; null where it shows none.
    async fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::LinkedAccount.id(self.id)
    }

    /// When it was tied to the account.
    async fn linked_at(&self) -> DateTime {
        self.linked_at
    }

    /// Slug of the provider, as in `authOptions.providers`.
    async fn provider(&self) -> &str {
        &self.provider
    }
}

/// Untying providers.
#[derive(Default)]
pub struct IdentityMutation;

#[Object]
impl IdentityMutation {
    /// Untie a provider from the caller's account. Refused with `PROTECTED` when it is the only way in. The owner
    /// is told by mail.
    #[graphql(directive = requires_session::apply(true, false))]
    async fn unlink_account(
        &self,
        ctx: &Context<'_>,
        input: UnlinkAccountInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::LinkedAccount.uuid(&input.linked_account_id);
        let (user, errors) = settle(ctx, identity::unlink(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(AccountPayload { errors, user }))
    }
}
