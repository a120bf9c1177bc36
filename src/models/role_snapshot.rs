//! Every role with what it grants, to be remembered: small tables that nearly every answer needs. They are read one after
//! the other; a notification tells of what changes meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::permission::Permission;
use crate::models::role::Role;
use crate::schema::role_permissions;

/// All roles and permissions.
#[derive(Debug)]
pub struct RoleSnapshot(HashMap<Uuid, Granted, foldhash::fast::RandomState>);

/// A role, and what it grants.
#[derive(Debug)]
struct Granted {
    /// The place of the role among all, by name as the database orders names.
    place: usize,
    role: Arc<Role>,
    permissions: Vec<Arc<Permission>>,
}

impl RoleSnapshot {
    /// Reads everything.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn read(conn: &mut Conn) -> QueryResult<Self> {
        let roles = Role::all(conn).await?;
        let permissions = Permission::all(conn).await?;
        let granted: Vec<(Uuid, Uuid)> = role_permissions::table
            .select((role_permissions::role_id, role_permissions::permission_id))
            .load(conn)
            .await?;
        Ok(Self::new(roles, permissions, granted))
    }

    /// Roles and permissions as the database orders their names, and which role grants which permission.
    #[must_use]
    pub fn new(roles: Vec<Role>, permissions: Vec<Permission>, granted: Vec<(Uuid, Uuid)>) -> Self {
        let mut snapshot: HashMap<_, _, _> = roles
            .into_iter()
            .enumerate()
            .map(|(place, role)| {
                let granted = Granted {
                    place,
                    role: Arc::new(role),
                    permissions: Vec::new(),
                };
                (granted.role.id, granted)
            })
            .collect();
        let permissions: Vec<_> = permissions.into_iter().map(Arc::new).collect();
        let places: HashMap<_, _> = permissions
            .iter()
            .enumerate()
            .map(|(place, permission)| (permission.id, place))
            .collect();
        let mut granted: Vec<_> = granted
            .into_iter()
            .filter_map(|(role, permission)| Some((*places.get(&permission)?, role)))
            .collect();
        granted.sort_unstable();
        for (place, role) in granted {
            if let Some(role) = snapshot.get_mut(&role) {
                role.permissions.push(Arc::clone(&permissions[place]));
            }
        }
        Self(snapshot)
    }

    /// These roles, by name; `None` if one of them came into being since then.
    #[must_use]
    pub fn roles(&self, ids: &[Uuid]) -> Option<Vec<Arc<Role>>> {
        let mut found: Vec<_> = ids.iter().map(|id| self.0.get(id)).collect::<Option<_>>()?;
        found.sort_unstable_by_key(|granted| granted.place);
        let roles = found.into_iter().map(|granted| Arc::clone(&granted.role));
        Some(roles.collect())
    }

    /// What a role grants, by name; `None` if it came into being since then.
    #[must_use]
    pub fn permissions(&self, role: Uuid) -> Option<&[Arc<Permission>]> {
        self.0.get(&role).map(|granted| &*granted.permissions)
    }
}
