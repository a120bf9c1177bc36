//! What a caller may do now, and the turns in which rights change. It changes none by itself.

use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::permission::SystemPermission;
use crate::models::role::Role;
use crate::models::session::Session;

/// Makes whatever changes rights take turns until the transaction ends, on all servers: roles, what they
/// grant, and who holds them. Gives the id of the role `admin`, whose row is what all of them lock.
///
/// Belongs into a transaction, behind the locks of accounts.
///
/// # Errors
/// If the database cannot answer.
pub async fn take_turns(conn: &mut Conn) -> Result<Uuid> {
    let admin = Role::lock_admin(conn).await?;
    Ok(admin.ok_or_else(|| anyhow::anyhow!("there is no role admin"))?)
}

/// The rights of a caller as they are now, and not as of the beginning of the request: an earlier mutation
/// of the same document may have taken them, or somebody else.
#[derive(Debug)]
pub struct Rights(Vec<String>);

impl Rights {
    /// The rights of the caller, who must still hold `needed`. To act on them where they are handed on, take
    /// turns first.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where the session or the account has ended, [`Error::Forbidden`].
    pub async fn now(
        app: &App,
        conn: &mut Conn,
        actor: &Actor,
        needed: SystemPermission,
    ) -> Result<Self> {
        let owner = Session::owner(conn, actor.session_id(), app.now()).await?;
        let rights = Self(owner.ok_or(Error::Unauthenticated)?.permissions);
        rights.cover([needed.name()])?;
        Ok(rights)
    }

    /// Whether the permission of this name is among them.
    #[must_use]
    pub fn holds(&self, permission: &str) -> bool {
        self.0.iter().any(|held| held == permission)
    }

    /// Fails unless all of these are among them: nobody hands out or takes what they do not hold.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn cover<'a>(&self, permissions: impl IntoIterator<Item = &'a str>) -> Result<()> {
        if permissions.into_iter().all(|name| self.holds(name)) {
            Ok(())
        } else {
            Err(Error::Forbidden)
        }
    }
}
