//! `Permission`: reading rights, adding and removing them, and which role grants which.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{requires_permission, requires_session};
use crate::graphql::error::settle;
use crate::graphql::node::Kind;
use crate::graphql::role::RolePayload;
use crate::models::permission::{Permission, SystemPermission};
use crate::services::permissions;

/// A right that roles grant.
#[Object]
impl Permission {
    /// What the right allows; null when that was not told.
    async fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Permission.id(self.id)
    }

    /// Ships with the server; it cannot be deleted.
    async fn is_system(&self) -> bool {
        self.is_system
    }

    /// Unique, `resource:action` by custom, e.g. `read:own` or `posts:publish`; at most 100 characters.
    async fn name(&self) -> &str {
        &self.name
    }
}

/// Reading permissions.
#[derive(Default)]
pub struct PermissionQuery;

#[Object]
impl PermissionQuery {
    /// All permissions that roles can grant, by name; there are at most 500.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Option<Vec<Permission>>> {
        permissions::all(ctx.app()).await.map(Some)
    }
}

/// A new permission.
#[derive(InputObject)]
pub struct CreatePermissionInput {
    /// What the right allows; at most 500 characters.
    pub description: Option<String>,
    /// Unique name of at most 100 characters: lower-case letters, digits, `_`, `.` and `-`, in parts between
    /// colons.
    pub name: String,
}

/// The permission to delete.
#[derive(InputObject)]
pub struct DeletePermissionInput {
    /// Id of the permission.
    pub permission_id: ID,
}

/// A role and a right.
#[derive(InputObject)]
pub struct RolePermissionInput {
    /// The right, by name.
    pub permission: String,
    /// The role, by id.
    pub role_id: ID,
}

/// The permission after the change.
#[derive(SimpleObject)]
pub struct PermissionPayload {
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// The permission; null exactly when `errors` is not empty.
    permission: Option<Permission>,
}

/// The permission that is gone.
#[derive(SimpleObject)]
pub struct DeletePermissionPayload {
    /// Id that the permission had; null exactly when `errors` is not empty.
    deleted_permission_id: Option<ID>,
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
}

/// Changing rights, and which role grants which.
#[derive(Default)]
pub struct PermissionMutation;

#[Object]
impl PermissionMutation {
    /// Add a permission that an application checks; there are at most 500. The role `admin` grants it at once, so
    /// that somebody holds it and can hand it on.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn create_permission(
        &self,
        ctx: &Context<'_>,
        input: CreatePermissionInput,
    ) -> Result<Option<PermissionPayload>> {
        let text = input.description.as_deref();
        let result = permissions::create(ctx.app(), ctx.actor()?, &input.name, text).await;
        let (permission, errors) = settle(ctx, result)?;
        Ok(Some(PermissionPayload { errors, permission }))
    }

    /// Delete a permission; roles lose it at once. Those that ship with the server stay, and nobody deletes what
    /// roles grant and they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn delete_permission(
        &self,
        ctx: &Context<'_>,
        input: DeletePermissionInput,
    ) -> Result<Option<DeletePermissionPayload>> {
        let id = Kind::Permission.uuid(&input.permission_id);
        let (deleted, errors) =
            settle(ctx, permissions::delete(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(DeletePermissionPayload {
            deleted_permission_id: deleted.map(|id| Kind::Permission.id(id)),
            errors,
        }))
    }

    /// Let a role grant a right. Whoever holds the role has it at the next request. Nobody hands out a right,
    /// or changes a role that grants one, which they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn grant_permission(
        &self,
        ctx: &Context<'_>,
        input: RolePermissionInput,
    ) -> Result<Option<RolePayload>> {
        let role = Kind::Role.uuid(&input.role_id);
        let result = permissions::grant(ctx.app(), ctx.actor()?, role, &input.permission).await;
        let (role, errors) = settle(ctx, result)?;
        Ok(Some(RolePayload { errors, role }))
    }

    /// Stop a role from granting a right, which is gone at the next request. The role `admin` keeps what ships with
    /// the server. Nobody takes what they do not hold, nor changes a role that grants such a right.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn revoke_permission(
        &self,
        ctx: &Context<'_>,
        input: RolePermissionInput,
    ) -> Result<Option<RolePayload>> {
        let role = Kind::Role.uuid(&input.role_id);
        let result = permissions::revoke(ctx.app(), ctx.actor()?, role, &input.permission).await;
        let (role, errors) = settle(ctx, result)?;
        Ok(Some(RolePayload { errors, role }))
    }
}
