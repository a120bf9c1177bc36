//! `Session`: a signed-in device as its owner sees it.

use async_graphql::{Context, ID, Object};

use crate::graphql::context::ContextExt as _;
use crate::graphql::node::Kind;
use crate::models::session::Session;
use crate::scalar::DateTime;

/// One signed-in device or browser.
#[Object]
impl Session {
    /// When the sign-in happened.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// The session that made this request, or that this request opened.
    async fn current(&self, ctx: &Context<'_>) -> bool {
        ctx.caller().is(self.id)
    }

    /// When it ends by itself.
    async fn expires_at(&self) -> DateTime {
        self.expires_at
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Session.id(self.id)
    }

    /// Address of the device at sign-in.
    async fn ip_address(&self) -> Option<&str> {
        self.ip_address.as_deref()
    }

    /// When it was last used.
    async fn last_accessed_at(&self) -> DateTime {
        self.last_accessed_at
    }

    /// What the device called itself at sign-in.
    async fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }
}
