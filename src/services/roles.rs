//! Handing roles out and taking them back.

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::permission::Permission;
use crate::models::role::Role;
use crate::models::user::User;
use crate::services::personalization::not_found as user_not_found;

/// All roles, by name.
///
/// # Errors
/// If the database cannot answer.
pub async fn all(app: &App) -> Result<Vec<Role>> {
    Ok(Role::all(&mut *app.db.conn().await?).await?)
}

/// The role of this name, whatever the case.
///
/// # Errors
/// If the database cannot answer.
pub async fn by_name(app: &App, name: &str) -> Result<Option<Role>> {
    Ok(Role::by_name(&mut *app.db.conn().await?, name).await?)
}

/// All permissions, by name.
///
/// # Errors
/// If the database cannot answer.
pub async fn all_permissions(app: &App) -> Result<Vec<Permission>> {
    Ok(Permission::all(&mut *app.db.conn().await?).await?)
}

/// Gives a role to an account. Giving it twice changes nothing. No id names nothing.
///
/// # Errors
/// `NOT_FOUND` for an unknown account or role; [`Error::Forbidden`] where the role grants what the
/// caller does not hold.
pub async fn assign(
    app: &App,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<User> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, user) = both(conn, actor, role, user).await?;
        Role::assign(conn, role.id, user.id, Some(actor.user_id()), now).await?;
        Ok(user)
    })
    .await
}

/// Takes a role from an account. Taking what it does not have changes nothing. No id names nothing.
///
/// # Errors
/// `NOT_FOUND` for an unknown account or role, `PROTECTED` for the last administrator;
/// [`Error::Forbidden`] where the role grants what the caller does not hold.
pub async fn remove(
    app: &App,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<User> {
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let (role, user) = both(conn, actor, role, user).await?;
        if Role::remove(conn, role.id, user.id).await?
            && role.name == Role::ADMIN
            && Role::count_active_members(conn, role.id, user.id).await? == 0
        {
            let message = "The last administrator keeps the role.";
            return Err(
                UserError::at(UserErrorCode::Protected, &["input", "userId"], message).into(),
            );
        }
        Ok::<_, Error>(user)
    })
    .await
}

/// The role, locked, and the account. The lock makes changes of one role's members take turns, so
/// that of two administrators who demote each other one stays.
async fn both(
    conn: &mut Conn,
    actor: &Actor,
    role: Option<Uuid>,
    user: Option<Uuid>,
) -> Result<(Role, User)> {
    let no_role = || {
        UserError::at(
            UserErrorCode::NotFound,
            &["input", "roleId"],
            "There is no such role.",
        )
    };
    let role = Role::lock(conn, role.ok_or_else(no_role)?)
        .await?
        .ok_or_else(no_role)?;
    let granted = Permission::by_roles(conn, &[role.id]).await?;
    if !granted
        .iter()
        .all(|(_, permission)| actor.holds(&permission.name))
    {
        return Err(Error::Forbidden);
    }
    let user = User::by_ids(conn, &[user.ok_or_else(user_not_found)?])
        .await?
        .pop()
        .ok_or_else(user_not_found)?;
    Ok((role, user))
}
