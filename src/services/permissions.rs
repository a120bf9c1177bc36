//! Rights: adding and removing them, and which role grants which.

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, OnConstraint as _, Result, UserError, UserErrorCode};
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::{Role, RoleChanges};
use crate::services::audit::{AuditAction, Entry};
use crate::services::rights::{self, Rights};
use crate::services::roles;
use crate::services::validate::{self, Problems};

/// Most permissions.
const MOST_PERMISSIONS: i64 = 500;
/// Most permissions in one input.
const MOST_NAMED: usize = 100;
/// Most characters of a permission's name.
const MAX_NAME: usize = 100;

/// All permissions, by name.
///
/// # Errors
/// If the database cannot answer.
pub async fn all(app: &App) -> Result<Vec<Permission>> {
    Ok(Permission::all(&mut *app.db.conn().await?).await?)
}

/// Adds a permission that an application checks. The role `admin` grants it at once, so that somebody holds it
/// and can hand it on.
///
/// # Errors
/// `INVALID_VALUE`, `TAKEN`, `REJECTED` beyond the most permissions; [`Error::Forbidden`].
pub async fn create(
    app: &App,
    actor: &Actor,
    name: &str,
    text: Option<&str>,
) -> Result<Permission> {
    let mut problems = Problems::default();
    let name = problems.take(permission_name(name));
    let text = description(text, &mut problems);
    problems.finish()?;
    let name = name.unwrap_or_default();
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let admin = rights::take_turns(conn).await?;
        Rights::now(app, conn, actor, SystemPermission::AdminSystem).await?;
        if Permission::count(conn).await? >= MOST_PERMISSIONS {
            let message = "There are 500 permissions already, which is the most.";
            return Err(UserError::new(UserErrorCode::Rejected, message).into());
        }
        let created = Permission::create(conn, &name, text.as_deref(), now).await;
        let created = created.on_constraint("permissions_name_key", || {
            let message = "Another permission has this name.";
            UserError::at(UserErrorCode::Taken, &["input", "name"], message)
        })?;
        Permission::grant(conn, admin, &[created.id]).await?;
        Role::update(conn, admin, &RoleChanges::default(), now).await?;
        Entry::by(actor, AuditAction::PermissionCreated)
            .with("permission", &*created.name)
            .record(app, conn)
            .await?;
        Ok(created)
    })
    .await
}

/// Removes a permission; every role loses it. No id names none.
///
/// # Errors
/// `NOT_FOUND`, `PROTECTED` for one of the system's; [`Error::Forbidden`] where a role grants it and the caller
/// does not hold it.
pub async fn delete(app: &App, actor: &Actor, permission: Option<Uuid>) -> Result<Uuid> {
    let missing = || not_found(&["input", "permissionId"]);
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        rights::take_turns(conn).await?;
        let rights = Rights::now(app, conn, actor, SystemPermission::AdminSystem).await?;
        let id = permission.ok_or_else(missing)?;
        let permission = Permission::by_ids(conn, &[id]).await?.pop();
        let permission = permission.ok_or_else(missing)?;
        if permission.is_system {
            let message = "A permission of the system stays.";
            return Err(protected("permissionId", message));
        }
        // One that no role grants is nobody's, and could never be removed.
        if Permission::is_granted(conn, id).await? {
            rights.cover([&*permission.name])?;
        }
        Permission::delete(conn, id, now).await?;
        Entry::by(actor, AuditAction::PermissionDeleted)
            .with("permission", &*permission.name)
            .record(app, conn)
            .await?;
        Ok(id)
    })
    .await
}

/// Lets a role grant a permission. Granting it twice changes nothing. No id names no role.
///
/// # Errors
/// `NOT_FOUND` for an unknown role or permission; [`Error::Forbidden`] for a permission that the caller does not
/// hold, and for a role that grants such a one.
pub async fn grant(app: &App, actor: &Actor, role: Option<Uuid>, name: &str) -> Result<Role> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, permission) = both(app, conn, actor, role, name).await?;
        if Permission::grant(conn, role.id, &[permission.id]).await? {
            let fact = ("granted", &*permission.name);
            return note_change(app, conn, actor, role.id, fact).await;
        }
        Ok(role)
    })
    .await
}

/// Stops a role from granting a permission. Revoking what it does not grant changes nothing. No id names no role.
///
/// # Errors
/// As [`grant`], and `PROTECTED` for what the system checks and the role `admin` grants.
pub async fn revoke(app: &App, actor: &Actor, role: Option<Uuid>, name: &str) -> Result<Role> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, permission) = both(app, conn, actor, role, name).await?;
        if role.name == Role::ADMIN && permission.is_system {
            let message = "The role admin keeps this permission: nobody could give it back.";
            return Err(protected("permission", message));
        }
        if Permission::revoke(conn, role.id, permission.id).await? {
            let fact = ("revoked", &*permission.name);
            return note_change(app, conn, actor, role.id, fact).await;
        }
        Ok(role)
    })
    .await
}

/// The permissions with these names.
///
/// # Errors
/// `NOT_FOUND` for each that there is not.
pub(super) async fn named(conn: &mut Conn, names: &[String]) -> Result<Vec<Permission>> {
    let found = Permission::by_names(conn, names).await?;
    let mut problems = Problems::default();
    for (index, name) in names.iter().enumerate() {
        if !found.iter().any(|permission| permission.name == *name) {
            let index = index.to_string();
            problems.add(missing(&["input", "permissions", &index]));
        }
    }
    problems.finish()?;
    Ok(found)
}

/// Checks how many permissions are named.
///
/// # Errors
/// `LIST_LENGTH`.
pub(super) fn bounded(names: &[String]) -> Result<(), UserError> {
    if names.len() <= MOST_NAMED {
        return Ok(());
    }
    let path = ["input", "permissions"];
    let (rule, bounds) = ("LIST_LENGTH", (None, Some(MOST_NAMED)));
    Err(UserError::invalid(
        &path,
        rule,
        bounds,
        "At most 100 permissions.",
    ))
}

/// What a role or permission is for; nothing where it is empty.
pub(super) fn description(text: Option<&str>, problems: &mut Problems) -> Option<String> {
    let text = validate::text(&["input", "description"], text?.trim(), 500);
    problems.take(text).filter(|text| !text.is_empty())
}

/// The role and the permission, once it is the caller's turn: they must hold it and whatever the role grants.
async fn both(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    role: Option<Uuid>,
    name: &str,
) -> Result<(Role, Permission)> {
    let needed = SystemPermission::AdminSystem;
    let (role, rights) = roles::touched(app, conn, actor, role, needed).await?;
    let named = Permission::by_names(conn, &[name.to_owned()]).await?.pop();
    let permission = named.ok_or_else(|| not_found(&["input", "permission"]))?;
    rights.cover([&*permission.name])?;
    Ok((role, permission))
}

/// Notes when and how what a role grants has changed.
async fn note_change(
    app: &App,
    conn: &mut Conn,
    actor: &Actor,
    role: Uuid,
    (change, permission): (&str, &str),
) -> Result<Role> {
    let changed = Role::update(conn, role, &RoleChanges::default(), app.now()).await?;
    let changed = changed.ok_or(Error::Unavailable)?;
    Entry::by(actor, AuditAction::RoleChanged)
        .with("role", &*changed.name)
        .with(change, permission)
        .record(app, conn)
        .await?;
    Ok(changed)
}

fn permission_name(name: &str) -> Result<String, UserError> {
    let path = ["input", "name"];
    let name = name.trim();
    validate::length(&path, name, 1, MAX_NAME)?;
    let part = |part: &str| {
        let may = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        !part.is_empty() && part.bytes().all(may)
    };
    if name.split(':').all(part) {
        Ok(name.to_owned())
    } else {
        Err(UserError::format(
            &path,
            "Lower-case letters a to z, digits, `_`, `.` and `-`, in parts between colons, such as posts:publish.",
        ))
    }
}

fn missing(path: &[&str]) -> UserError {
    UserError::at(
        UserErrorCode::NotFound,
        path,
        "There is no such permission.",
    )
}

fn not_found(path: &[&str]) -> Error {
    missing(path).into()
}

fn protected(field: &str, message: &str) -> Error {
    UserError::at(UserErrorCode::Protected, &["input", field], message).into()
}
