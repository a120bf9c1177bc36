//! `Role`: reading roles, changing them, handing them out.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use uuid::Uuid;

use crate::error::{Error, Result, UserError};
use crate::graphql::at_hand::ListAtHand;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{list_size, page_arguments, requires_permission};
use crate::graphql::error::settle;
use crate::graphql::loader::{MemberCountOf, RoleById, UserById};
use crate::graphql::node::Kind;
use crate::graphql::page::{PageArguments, SortDirection};
use crate::graphql::user_page::{UserConnection, UserOrder, connection};
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::{Assignment, Role};
use crate::models::user::User;
use crate::models::user_page::{UserFilter, UserOrderField};
use crate::scalar::DateTime;
use crate::services::roles::{self, NewRole, RoleUpdate};

/// A named bundle of rights.
#[Object]
impl Role {
    /// When the role was added.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// Whom the role is for; null when that was not told.
    async fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Role.id(self.id)
    }

    /// Given to every new account.
    async fn is_default(&self) -> bool {
        self.is_default
    }

    /// Ships with the server; it can be neither renamed nor deleted.
    async fn is_system(&self) -> bool {
        self.is_system
    }

    /// Who holds the role must have a second factor, where the operator leaves that to the roles.
    async fn requires_two_factor(&self) -> bool {
        self.requires_two_factor
    }

    /// Accounts that hold the role, the newest account first; 20 a page unless `first` or `last` asks otherwise, at
    /// most 100.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::ReadAll, false, false),
        directive = list_size::apply(20, page_arguments()),
    )]
    async fn members(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<UserConnection>> {
        let filter = UserFilter {
            roles: Some(vec![self.id]),
            ..UserFilter::default()
        };
        let order = UserOrder {
            direction: SortDirection::Desc,
            field: UserOrderField::CreatedAt,
        };
        // Asked for before the pages, which end one by one, so that the roles of a list are counted
        // together; the loader remembers it.
        if ctx.look_ahead().field("totalCount").exists() {
            ctx.loaders().one(MemberCountOf(self.id)).await?;
        }
        let members = Box::pin(connection(
            ctx,
            PageArguments {
                after,
                before,
                first,
                last,
            },
            filter,
            order,
        ));
        members.await.map(Some)
    }

    /// Unique name of at most 64 characters.
    async fn name(&self) -> &str {
        &self.name
    }

    /// The rights that the role grants, by name.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<ListAtHand<Vec<Arc<Permission>>>> {
        let granted = ctx.loaders().permissions_of_role(self.id).await;
        granted.map(ListAtHand)
    }

    /// When the role or its rights last changed.
    async fn updated_at(&self) -> DateTime {
        self.updated_at
    }
}

/// Reading roles.
#[derive(Default)]
pub struct RoleQuery;

#[Object]
impl RoleQuery {
    /// A role by exactly one of id and name, the name whatever the case; null when there is none.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn role(
        &self,
        ctx: &Context<'_>,
        id: Option<ID>,
        name: Option<String>,
    ) -> Result<Option<Role>> {
        match (id, name) {
            (Some(id), None) => match Kind::Role.uuid(&id) {
                Some(id) => ctx.loaders().one(RoleById(id)).await,
                None => Ok(None),
            },
            (None, Some(name)) => roles::by_name(ctx.app(), &name).await,
            _ => Err(Error::BadInput("Either `id` or `name`.".to_owned())),
        }
    }

    /// All roles, by name; there are at most 200.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn roles(&self, ctx: &Context<'_>) -> Result<Option<Vec<Role>>> {
        roles::all(ctx.app()).await.map(Some)
    }
}

/// A role that an account holds.
#[Object(name = "RoleAssignment")]
impl Assignment {
    /// When the role was given.
    async fn assigned_at(&self) -> DateTime {
        self.assigned_at
    }

    /// Who gave it; null for the server itself, for an erased account, and where the caller may not see
    /// that account.
    async fn assigned_by(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let caller = ctx.caller();
        let visible =
            |id: &Uuid| caller.is(*id) || caller.requester().has(SystemPermission::ReadAll);
        match self.assigned_by.filter(visible) {
            Some(id) => ctx.loaders().one(UserById(id)).await,
            None => Ok(None),
        }
    }

    /// The role.
    async fn role(&self) -> &Role {
        &self.role
    }
}

/// A new role.
#[derive(InputObject)]
pub struct CreateRoleInput {
    /// Whom the role is for; at most 500 characters.
    pub description: Option<String>,
    /// Unique name of at most 64 characters, whatever the case.
    pub name: String,
    /// The rights that it grants, by name; at most 100. `updateRole` does not change them.
    #[graphql(default)]
    pub permissions: Vec<String>,
}

/// New values for a role. A field left out stays. Null clears it, or sets it back to its default where a
/// value is compulsory.
#[derive(InputObject)]
pub struct UpdateRoleInput {
    /// Whom the role is for; at most 500 characters.
    pub description: MaybeUndefined<String>,
    /// Given to every new account; `false` by default. Not for `admin` (`PROTECTED`).
    pub is_default: MaybeUndefined<bool>,
    /// Unique name of at most 64 characters, whatever the case. Cannot be cleared; roles that ship with the
    /// server keep theirs.
    pub name: MaybeUndefined<String>,
    /// Who holds the role must have a second factor, where the operator leaves that to the roles; `false` by default.
    pub requires_two_factor: MaybeUndefined<bool>,
    /// Id of the role.
    pub role_id: ID,
}

/// The role to remove.
#[derive(InputObject)]
pub struct DeleteRoleInput {
    /// Id of the role.
    pub role_id: ID,
}

/// The role after the change.
#[derive(SimpleObject)]
pub struct RolePayload {
    /// Why nothing was changed; empty on success.
    pub errors: Vec<UserError>,
    /// The role; null exactly when `errors` is not empty.
    pub role: Option<Role>,
}

/// The role that is gone.
#[derive(SimpleObject)]
pub struct DeleteRolePayload {
    /// Id that the role had; null exactly when `errors` is not empty.
    deleted_role_id: Option<ID>,
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
}

/// A role and an account.
#[derive(InputObject)]
pub struct RoleMembershipInput {
    /// The role, by id.
    pub role_id: ID,
    /// The account, by id.
    pub user_id: ID,
}

/// The account after the change.
#[derive(SimpleObject)]
pub struct AccountPayload {
    /// Why nothing was changed; empty on success.
    pub errors: Vec<UserError>,
    /// The account; null exactly when `errors` is not empty. A mailed token opens its public fields only:
    /// the others need a session.
    pub user: Option<User>,
}

/// Changing roles and handing them out.
#[derive(Default)]
pub struct RoleMutation;

#[Object]
impl RoleMutation {
    /// Give a role to an account; giving it twice changes nothing. Nobody gives a role that grants what they do not
    /// hold, nor any to an account that may do what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, true))]
    async fn assign_role(
        &self,
        ctx: &Context<'_>,
        input: RoleMembershipInput,
    ) -> Result<Option<AccountPayload>> {
        let (role, user) = (
            Kind::Role.uuid(&input.role_id),
            Kind::User.uuid(&input.user_id),
        );
        let result = roles::assign(ctx.app(), ctx.actor()?, role, user).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Add a role; there are at most 200. Nobody can add one that grants what they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn create_role(
        &self,
        ctx: &Context<'_>,
        input: CreateRoleInput,
    ) -> Result<Option<RolePayload>> {
        let new = NewRole {
            name: input.name,
            description: input.description,
            permissions: input.permissions,
        };
        let (role, errors) = settle(ctx, roles::create(ctx.app(), ctx.actor()?, new).await)?;
        Ok(Some(RolePayload { errors, role }))
    }

    /// Remove a role that nobody holds and new accounts do not get; others are `PROTECTED`, as are those that ship
    /// with the server. Nobody removes one that grants what they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn delete_role(
        &self,
        ctx: &Context<'_>,
        input: DeleteRoleInput,
    ) -> Result<Option<DeleteRolePayload>> {
        let id = Kind::Role.uuid(&input.role_id);
        let (deleted, errors) = settle(ctx, roles::delete(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(DeleteRolePayload {
            deleted_role_id: deleted.map(|id| Kind::Role.id(id)),
            errors,
        }))
    }

    /// Take a role from an account; one that it does not hold changes nothing. The last administrator keeps the
    /// role `admin`. Nobody takes a role that grants what they do not hold, nor any from an account that may do
    /// what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, true))]
    async fn remove_role(
        &self,
        ctx: &Context<'_>,
        input: RoleMembershipInput,
    ) -> Result<Option<AccountPayload>> {
        let (role, user) = (
            Kind::Role.uuid(&input.role_id),
            Kind::User.uuid(&input.user_id),
        );
        let result = roles::remove(ctx.app(), ctx.actor()?, role, user).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Change a role: all that is given, or nothing. What it grants is changed by `grantPermission` and
    /// `revokePermission`. Nobody can change one that grants what they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, true))]
    async fn update_role(
        &self,
        ctx: &Context<'_>,
        input: UpdateRoleInput,
    ) -> Result<Option<RolePayload>> {
        let id = Kind::Role.uuid(&input.role_id);
        let update = RoleUpdate {
            name: input.name,
            description: input.description,
            is_default: input.is_default,
            requires_two_factor: input.requires_two_factor,
        };
        let (role, errors) = settle(
            ctx,
            roles::update(ctx.app(), ctx.actor()?, id, update).await,
        )?;
        Ok(Some(RolePayload { errors, role }))
    }
}
