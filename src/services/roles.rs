//! Roles: adding, changing and removing them, handing them out and taking them back.

use std::sync::Arc;

use async_graphql::MaybeUndefined;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, OnConstraint as _, Result, UserError, UserErrorCode};
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::{Role, RoleChanges};
use crate::models::role_snapshot::RoleSnapshot;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::services::audit::{AuditAction, Entry};
use crate::services::permissions::{self, description};
use crate::services::personalization::not_found as user_not_found;
use crate::services::rights::{self, Rights};
use crate::services::validate::{self, Problems};

/// Most roles.
const MOST_ROLES: i64 = 200;
/// Most characters of a role's name.
const MAX_NAME: usize = 64;

/// All roles, by name.
///
/// # Errors
/// If the database cannot answer.
pub async fn all(app: &App) -> Result<Vec<Role>> {
    Ok(Role::all(&mut *app.db.conn().await?).await?)
}

/// All roles with what they grant, as this server remembers them. Where nothing is remembered they are read.
///
/// # Errors
/// If the database cannot answer.
pub async fn snapshot(app: &App) -> Result<Arc<RoleSnapshot>> {
    if let Some(roles) = app.access.roles() {
        return Ok(roles);
    }
    let asked = app.access.epoch();
    let roles = RoleSnapshot::read(&mut *app.db.conn().await?).await?;
    let roles = Arc::new(roles);
    app.access.keep_roles(asked, &roles);
    Ok(roles)
}

/// The role of this name, whatever the case.
///
/// # Errors
/// If the database cannot answer.
pub async fn by_name(app: &App, name: &str) -> Result<Option<Role>> {
    Ok(Role::by_name(&mut *app.db.conn().await?, name).await?)
}

/// A role to add.
#[derive(Debug)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// Whom it is for.
    pub description: Option<String>,
    /// Names of what it grants.
    pub permissions: Vec<String>,
}

/// Adds a role.
///
/// # Errors
/// `INVALID_VALUE`, `TAKEN` for the name, `NOT_FOUND` for an unknown permission, `REJECTED` beyond the most
/// roles; [`Error::Forbidden`] for a permission that the caller does not hold.
pub async fn create(app: &App, actor: &Actor, new: NewRole) -> Result<Role> {
    let mut problems = Problems::default();
    let name = problems.take(role_name(&new.name));
    let description = description(new.description.as_deref(), &mut problems);
    problems.take(permissions::bounded(&new.permissions));
    problems.finish()?;
    let name = name.unwrap_or_default();
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        rights::take_turns(conn).await?;
        let rights = Rights::now(app, conn, actor, SystemPermission::AdminSystem).await?;
        let granted = permissions::named(conn, &new.permissions).await?;
        rights.cover(granted.iter().map(|permission| &*permission.name))?;
        if Role::count(conn).await? >= MOST_ROLES {
            let message = "There are 200 roles already, which is the most.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        let role = Role::create(conn, &name, description.as_deref(), now).await;
        let role = role.on_constraint("roles_name_key", name_taken)?;
        let ids: Vec<_> = granted.iter().map(|permission| permission.id).collect();
        Permission::grant(conn, role.id, &ids).await?;
        let names: Vec<_> = granted.iter().map(|granted| &*granted.name).collect();
        Entry::by(actor, AuditAction::RoleCreated)
            .with("role", &*role.name)
            .with("permissions", names)
            .record(app, conn)
            .await?;
        Ok(role)
    })
    .await
}

/// New values for a role. What is left out stays; null clears it, or sets it back to `false`.
#[derive(Debug, Default)]
pub struct RoleUpdate {
    /// Its name; compulsory.
    pub name: MaybeUndefined<String>,
    /// Whom it is for.
    pub description: MaybeUndefined<String>,
    /// New accounts get it.
    pub is_default: MaybeUndefined<bool>,
    /// Whoever holds it needs a second factor.
    pub requires_two_factor: MaybeUndefined<bool>,
}

/// Changes a role: all of it, or nothing. No id names none.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_VALUE`, `TAKEN` for the name, `PROTECTED` for the name of a role of the system and for
/// making `admin` a default; [`Error::Forbidden`] where the role grants what the caller does not hold.
pub async fn update(
    app: &App,
    actor: &Actor,
    role: Option<Uuid>,
    update: RoleUpdate,
) -> Result<Role> {
    let mut problems = Problems::default();
    let name = match &update.name {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => {
            let path = ["input", "name"];
            let message = "A name is needed.";
            problems.add(UserError::invalid(&path, "REQUIRED", (None, None), message));
            None
        }
        MaybeUndefined::Value(name) => problems.take(role_name(name)),
    };
    let new_description = update
        .description
        .as_opt_ref()
        .map(|text| description(text.map(String::as_str), &mut problems));
    problems.finish()?;
    let flag =
        |value: &MaybeUndefined<bool>| value.as_opt_ref().map(|v| v.copied().unwrap_or(false));
    let changes = RoleChanges {
        name,
        description: new_description,
        is_default: flag(&update.is_default),
        requires_two_factor: flag(&update.requires_two_factor),
    };
    let fields: Vec<&str> = [
        ("description", changes.description.is_some()),
        ("isDefault", changes.is_default.is_some()),
        ("name", changes.name.is_some()),
        ("requiresTwoFactor", changes.requires_two_factor.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, given)| given.then_some(field))
    .collect();
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, _) = touched(app, conn, actor, role, SystemPermission::AdminSystem).await?;
        if role.is_system && changes.name.as_ref().is_some_and(|name| *name != role.name) {
            let message = "A role of the system keeps its name.";
            return Err(protected("name", message));
        }
        if role.name == Role::ADMIN && changes.is_default == Some(true) {
            let message = "New accounts are never administrators.";
            return Err(protected("isDefault", message));
        }
        let written = Role::update(conn, role.id, &changes, now).await;
        let written = written.on_constraint("roles_name_key", name_taken)?;
        let written = written.ok_or_else(role_not_found)?;
        Entry::by(actor, AuditAction::RoleChanged)
            .with("role", &*written.name)
            .with("formerly", &*role.name)
            .with("fields", fields)
            .with("isDefault", written.is_default)
            .with("requiresTwoFactor", written.requires_two_factor)
            .record(app, conn)
            .await?;
        Ok(written)
    })
    .await
}

/// Makes a second factor compulsory for whoever holds the role of this name, or does so no more, for an
/// operator; says whether there is such a role.
///
/// # Errors
/// If the database cannot answer.
pub async fn require_two_factor_by_operator(app: &App, name: &str, required: bool) -> Result<bool> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let found = Role::require_two_factor(conn, name, required, app.now()).await?;
        if found {
            let entry = Entry::server(AuditAction::RoleChanged).with("role", name);
            let entry = entry.with("requiresTwoFactor", required);
            entry.record(app, conn).await?;
        }
        Ok(found)
    })
    .await
}

/// Removes a role that nobody holds. No id names none.
///
/// # Errors
/// `NOT_FOUND`; `PROTECTED` for a role of the system, one that new accounts get, and one that somebody holds;
/// [`Error::Forbidden`] where the role grants what the caller does not hold.
pub async fn delete(app: &App, actor: &Actor, role: Option<Uuid>) -> Result<Uuid> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, _) = touched(app, conn, actor, role, SystemPermission::AdminSystem).await?;
        if role.is_system {
            return Err(protected("roleId", "A role of the system stays."));
        }
        // Somebody may be registering at this moment.
        if role.is_default {
            let message = "New accounts get this role: take that flag off first.";
            return Err(protected("roleId", message));
        }
        if !Role::delete_unheld(conn, role.id).await? {
            let message = "Somebody holds this role: take it from them first.";
            return Err(protected("roleId", message));
        }
        Entry::by(actor, AuditAction::RoleDeleted)
            .with("role", &*role.name)
            .record(app, conn)
            .await?;
        Ok(role.id)
    })
    .await
}

/// Gives a role to an account. Giving it twice changes nothing. No id names nothing.
///
/// # Errors
/// `NOT_FOUND` for an unknown account or role; [`Error::Forbidden`] where the role grants, or the account holds, what
/// the caller does not hold.
pub async fn assign(
    app: &App,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<User> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, user) = both(app, conn, actor, role, user).await?;
        give(app, conn, actor, &role, user.id, now).await?;
        Ok(user)
    })
    .await
}

/// Gives a role that the caller may give, once it is their turn. Does not check that.
pub(super) async fn give(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    role: &Role,
    user: Uuid,
    now: DateTime,
) -> Result<()> {
    let given = Role::assign(conn, role.id, user, Some(actor.user_id()), now).await;
    // Erased a moment ago.
    if given.on_constraint("user_roles_user_id_fkey", user_missing)? {
        Entry::by(actor, AuditAction::RoleAssigned)
            .on(user)
            .with("role", &*role.name)
            .record(app, conn)
            .await?;
    }
    Ok(())
}

/// Takes a role from an account. Taking what it does not have changes nothing. No id names nothing.
///
/// # Errors
/// `NOT_FOUND` for an unknown account or role, `PROTECTED` for the last administrator;
/// [`Error::Forbidden`] where the role grants, or the account holds, what the caller does not hold.
pub async fn remove(
    app: &App,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<User> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, user) = both(app, conn, actor, role, user).await?;
        if role.name == Role::ADMIN {
            keep_an_administrator(conn, user.id, &["input", "userId"]).await?;
        }
        if Role::remove(conn, role.id, user.id).await? {
            Entry::by(actor, AuditAction::RoleRemoved)
                .on(user.id)
                .with("role", &*role.name)
                .record(app, conn)
                .await?;
        }
        Ok::<_, Error>(user)
    })
    .await
}

/// Fails where `user` is the last administrator who may sign in. Whatever takes one away calls this first, in
/// its transaction: of two administrators who demote, close or erase each other's account one stays, because
/// rights change in turns.
///
/// # Errors
/// `PROTECTED` at `path`.
pub async fn keep_an_administrator(conn: &mut Conn, user: Uuid, path: &[&str]) -> Result<()> {
    let admin = rights::take_turns(conn).await?;
    let held = Role::by_users(conn, &[user]).await?;
    if held.iter().any(|(_, role)| role.id == admin)
        && Role::count_active_members(conn, admin, user).await? == 0
    {
        let message = "The last administrator stays.";
        return Err(UserError::at(UserErrorCode::Protected, path, message).into());
    }
    Ok(())
}

/// The role and the account of a membership that the caller may change.
async fn both(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<(Role, User)> {
    let (role, rights) = touched(app, conn, actor, role, SystemPermission::AdminUsers).await?;
    let user = User::by_ids(conn, &[user.ok_or_else(user_not_found)?])
        .await?
        .pop()
        .ok_or_else(user_not_found)?;
    let held = Permission::names_by_users(conn, &[user.id]).await?;
    rights.cover(held.iter().map(|(_, name)| &**name))?;
    Ok((role, user))
}

/// The role with this id and the rights of the caller, once it is the caller's turn: they must hold `needed`
/// and whatever the role grants.
///
/// # Errors
/// `NOT_FOUND`, [`Error::Forbidden`], [`Error::Unauthenticated`].
pub(super) async fn touched(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    role: Option<Uuid>,
    needed: SystemPermission,
) -> Result<(Role, Rights)> {
    rights::take_turns(conn).await?;
    let rights = Rights::now(app, conn, actor, needed).await?;
    let id = role.ok_or_else(role_not_found)?;
    let role = Role::by_ids(conn, &[id]).await?.pop();
    let role = role.ok_or_else(role_not_found)?;
    let granted = Permission::by_roles(conn, &[id]).await?;
    rights.cover(granted.iter().map(|(_, permission)| &*permission.name))?;
    Ok((role, rights))
}

fn role_name(name: &str) -> Result<String, UserError> {
    validate::line(&["input", "name"], name, 1, MAX_NAME)
}

fn role_not_found() -> Error {
    let message = "There is no such role.";
    UserError::at(UserErrorCode::NotFound, &["input", "roleId"], message).into()
}

fn user_missing() -> UserError {
    let message = "There is no such account.";
    UserError::at(UserErrorCode::NotFound, &["input", "userId"], message)
}

fn name_taken() -> UserError {
    let message = "Another role has this name.";
    UserError::at(UserErrorCode::Taken, &["input", "name"], message)
}

fn protected(field: &str, message: &str) -> Error {
    UserError::at(UserErrorCode::Protected, &["input", field], message).into()
}
