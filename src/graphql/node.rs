//! Global ids, and reading any object by its id.

use async_graphql::{Context, ID, Interface, Name, Object};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{list_size, requires_session};
use crate::graphql::loader::{
    AuditEventById, IdentityById, PasskeyById, PermissionById, RoleById, SessionById, UserById,
};
use crate::models::audit_event::AuditEvent;
use crate::models::identity::Identity;
use crate::models::passkey::Passkey;
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::Role;
use crate::models::session::Session;
use crate::models::user::User;
use crate::scalar::global_id;

/// Anything a client cache can store under one key.
#[derive(Interface, Clone)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Opaque and stable. Never parse it; equal ids mean equal objects across all types."
))]
pub enum Node {
    /// An entry of the audit trail.
    AuditEvent(AuditEvent),
    /// A sign-in provider tied to an account.
    LinkedAccount(Identity),
    /// A passkey.
    Passkey(Passkey),
    /// A right.
    Permission(Permission),
    /// A role.
    Role(Role),
    /// A session.
    Session(Session),
    /// An account.
    User(User),
}

/// A type whose objects have global ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `AuditEvent`.
    AuditEvent,
    /// `LinkedAccount`.
    LinkedAccount,
    /// `Passkey`.
    Passkey,
    /// `Permission`.
    Permission,
    /// `Role`.
    Role,
    /// `Session`.
    Session,
    /// `User`.
    User,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::AuditEvent,
        Self::LinkedAccount,
        Self::Passkey,
        Self::Permission,
        Self::Role,
        Self::Session,
        Self::User,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AuditEvent => "AuditEvent",
            Self::LinkedAccount => "LinkedAccount",
            Self::Passkey => "Passkey",
            Self::Permission => "Permission",
            Self::Role => "Role",
            Self::Session => "Session",
            Self::User => "User",
        }
    }

    /// The global id of the object `id` of this type: base64url of the type's name and the UUID.
    #[must_use]
    pub fn id(self, id: Uuid) -> ID {
        ID(global_id(self.name(), id))
    }

    /// The UUID in a global id of this type; `None` for anything else.
    #[must_use]
    pub fn uuid(self, id: &ID) -> Option<Uuid> {
        parse(id)
            .filter(|(kind, _)| *kind == self)
            .map(|(_, uuid)| uuid)
    }
}

fn parse(id: &ID) -> Option<(Kind, Uuid)> {
    let bytes = URL_SAFE_NO_PAD.decode(id.as_str()).ok()?;
    let (name, uuid) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.name().as_bytes() == name)?;
    Some((kind, Uuid::from_slice(uuid).ok()?))
}

/// Reading objects by id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by its id; null when it does not exist or is not visible.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Node>> {
        load(ctx, &id).await
    }

    /// Several objects by id, in the order asked, at most 100; null for one that does not exist or is not visible.
    #[graphql(directive = requires_session::apply(false, false), directive = list_size::apply(100, Vec::new()))]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Option<Vec<Option<Node>>>> {
        if ids.len() > 100 {
            return Err(Error::BadInput("At most 100 ids.".to_owned()));
        }
        futures_util::future::try_join_all(ids.iter().map(|id| load(ctx, id)))
            .await
            .map(Some)
    }
}

/// The object that `id` names, if the caller may see it.
async fn load(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let Some((kind, id)) = parse(id) else {
        return Ok(None);
    };
    let (caller, loaders) = (ctx.caller(), ctx.loaders());
    let has = |permission| caller.requester().has(permission);
    Ok(match kind {
        Kind::AuditEvent => {
            let event = loaders.one(AuditEventById(id)).await?;
            let own = |event: &AuditEvent| event.is_about(|user| caller.is(user));
            event
                .filter(|event| own(event) || has(SystemPermission::AdminSystem))
                .map(Node::AuditEvent)
        }
        Kind::User if caller.is(id) || has(SystemPermission::ReadAll) => {
            loaders.one(UserById(id)).await?.map(Node::User)
        }
        Kind::Role if has(SystemPermission::AdminUsers) => {
            loaders.one(RoleById(id)).await?.map(Node::Role)
        }
        Kind::Passkey => {
            let passkey = loaders.one(PasskeyById(id)).await?;
            passkey
                .filter(|passkey| caller.is(passkey.user_id) || has(SystemPermission::AdminUsers))
                .inspect(|passkey| {
                    caller
                        .witness()
                        .read(passkey.user_id, &Name::new("passkeys"));
                })
                .map(Node::Passkey)
        }
        Kind::Permission => loaders.one(PermissionById(id)).await?.map(Node::Permission),
        Kind::LinkedAccount => {
            let identity = loaders.one(IdentityById(id)).await?;
            identity
                .filter(|linked| caller.is(linked.user_id) || has(SystemPermission::AdminUsers))
                .inspect(|linked| {
                    caller
                        .witness()
                        .read(linked.user_id, &Name::new("linkedAccounts"));
                })
                .map(Node::LinkedAccount)
        }
        Kind::Session => {
            let session = loaders.one(SessionById(id)).await?;
            session
                .filter(|session| caller.is(session.user_id) || has(SystemPermission::AdminUsers))
                .inspect(|session| {
                    caller
                        .witness()
                        .read(session.user_id, &Name::new("sessions"));
                })
                .map(Node::Session)
        }
        Kind::User | Kind::Role => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_type() {
        let uuid = Uuid::from_u128(7);
        let id = Kind::User.id(uuid);
        assert_eq!(Kind::User.uuid(&id), Some(uuid));
        assert_eq!(Kind::Role.uuid(&id), None);
        for broken in ["", "VXNlcg", "not base64!", "AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(parse(&ID::from(broken)), None, "{broken}");
        }
    }
}
