//! `Role` and `Permission`: reading them, handing roles out.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::error::{Error, Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{list_size, page_arguments, requires_permission, requires_session};
use crate::graphql::error::settle;
use crate::graphql::loader::{MemberCountOf, PermissionsOfRole, RoleById};
use crate::graphql::node::Kind;
use crate::graphql::page::{PageArguments, SortDirection};
use crate::graphql::user_page::{UserConnection, UserOrder, connection};
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::Role;
use crate::models::user::User;
use crate::models::user_page::{UserFilter, UserOrderField};
use crate::scalar::DateTime;
use crate::services::roles;

/// A right that roles grant.
#[Object]
impl Permission {
    /// What the right allows.
    async fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Permission.id(self.id)
    }

    /// Checked by this server; it can be neither renamed nor deleted.
    async fn is_system(&self) -> bool {
        self.is_system
    }

    /// Unique, `resource:action` by custom, e.g. `read:own` or `posts:publish`; at most 100 characters.
    async fn name(&self) -> &str {
        &self.name
    }
}

/// A named bundle of rights.
#[Object]
impl Role {
    /// When the role was added.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// Whom the role is for.
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

    /// Who holds the role must have a second factor, where the settings leave that to the roles.
    async fn requires_two_factor(&self) -> bool {
        self.requires_two_factor
    }

    /// Accounts that hold the role, the newest account first.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::ReadAll, false),
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
        connection(
            ctx,
            PageArguments {
                after,
                before,
                first,
                last,
            },
            filter,
            order,
        )
        .await
        .map(Some)
    }

    /// Unique name of at most 64 characters.
    async fn name(&self) -> &str {
        &self.name
    }

    /// The rights that the role grants, by name.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Vec<Permission>> {
        ctx.loaders()
            .one(PermissionsOfRole(self.id))
            .await
            .map(Option::unwrap_or_default)
    }

    /// When the role or its rights last changed.
    async fn updated_at(&self) -> DateTime {
        self.updated_at
    }
}

/// Reading roles and permissions.
#[derive(Default)]
pub struct RoleQuery;

#[Object]
impl RoleQuery {
    /// All permissions that roles can grant, by name.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Option<Vec<Permission>>> {
        roles::all_permissions(ctx.app()).await.map(Some)
    }

    /// A role by id or by name; null when there is none.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false))]
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

    /// All roles, by name.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false))]
    async fn roles(&self, ctx: &Context<'_>) -> Result<Option<Vec<Role>>> {
        roles::all(ctx.app()).await.map(Some)
    }
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

/// Handing roles out.
#[derive(Default)]
pub struct RoleMutation;

#[Object]
impl RoleMutation {
    /// Give a role to an account. Nobody can give a role that grants what they do not hold.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false))]
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

    /// Take a role from an account. The last administrator keeps the role `admin`.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false))]
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
}
