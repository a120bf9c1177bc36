//! Taking in accounts from elsewhere.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, requires_permission};
use crate::graphql::error::settle;
use crate::models::permission::SystemPermission;
use crate::services::import::{self, ImportFailure, ImportUsersInput, Imported};

/// What became of the rows.
#[derive(SimpleObject)]
pub struct ImportUsersPayload {
    /// Accounts that were opened; in a dry run, that would be.
    created: i32,
    /// Why nothing was taken in; empty where rows were looked at.
    errors: Vec<UserError>,
    /// Rows that were not taken in, in their order.
    failures: Vec<ImportFailure>,
    /// Accounts that were there and lacked nothing that the row has.
    unchanged: i32,
    /// Accounts that were there and lacked something that the row has.
    updated: i32,
}

/// Taking in accounts.
#[derive(Default)]
pub struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Open or update up to 500 accounts at once, or only try it. Rows that fail are told of, and the others are
    /// taken in. An account that is there keeps what it has: a row adds names, birth date and roles that it lacks,
    /// and never touches its password, address, UUID or state. Nobody is mailed. Rows with a password hash, a
    /// proved address or a UUID need `admin:system`, too: they say who somebody is. At most 120 calls an hour.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::AdminUsers, false, true),
        directive = cost::apply(200),
    )]
    async fn import_users(
        &self,
        ctx: &Context<'_>,
        input: ImportUsersInput,
    ) -> Result<Option<ImportUsersPayload>> {
        let result = import::import(ctx.app(), ctx.actor()?, input).await;
        let (imported, errors) = settle(ctx, result)?;
        let Imported {
            created,
            failures,
            unchanged,
            updated,
        } = imported.unwrap_or_default();
        Ok(Some(ImportUsersPayload {
            created,
            errors,
            failures,
            unchanged,
            updated,
        }))
    }
}
