//! Exporting what is kept about an account.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, requires_session};
use crate::graphql::error::settle;
use crate::scalar::Json;
use crate::services::export;

/// Everything stored about the caller.
#[derive(SimpleObject)]
pub struct ExportMyDataPayload {
    /// Everything stored about the caller, as one document: `format`, `version`, `exportedAt`, and a part for each
    /// kind of thing. It may be larger than other JSON. Secrets are not among it. Null exactly when `errors` is not
    /// empty.
    data: Option<Json>,
    /// Why nothing was exported; empty on success.
    errors: Vec<UserError>,
}

/// Exporting what is kept about an account.
#[derive(Default)]
pub struct ExportMutation;

#[Object]
impl ExportMutation {
    /// Collect everything stored about the caller in one document, at most ten times an hour.
    #[graphql(directive = requires_session::apply(true, false), directive = cost::apply(200))]
    async fn export_my_data(&self, ctx: &Context<'_>) -> Result<Option<ExportMyDataPayload>> {
        let (data, errors) = settle(ctx, export::mine(ctx.app(), ctx.actor()?).await)?;
        Ok(Some(ExportMyDataPayload { data, errors }))
    }
}
