//! What is there already, and what a row adds to it: nobody is taken over, and nobody handed more than the importer
//! holds. It writes nothing.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::app::App;
use crate::db::Conn;
use crate::error::{Result, UserError, UserErrorCode};
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::Role;
use crate::models::user::{AccountStatus, User, UserChanges};
use crate::scalar::Date;
use crate::services::import::batch::{Importer, Numbered};
use crate::services::import::held::Held;
use crate::services::import::row::Checked;
use crate::services::rights::Rights;

/// What is there already.
pub(super) struct Present {
    users: HashMap<String, User>,
    held_roles: HashMap<Uuid, Vec<Uuid>>,
    held_permissions: HashMap<Uuid, Vec<String>>,
    usernames: HashMap<String, Uuid>,
    uuids: HashMap<Uuid, Uuid>,
    roles: HashMap<String, (Role, Vec<String>)>,
    rights: Option<Rights>,
}

/// What an account that is there lacks.
pub(super) struct Change {
    /// The account.
    pub(super) user: Uuid,
    /// It waits until its address is proved.
    pub(super) waits: bool,
    /// New values.
    pub(super) changes: UserChanges,
    /// To be sealed.
    pub(super) birth_date: Option<Date>,
    /// Which they are.
    pub(super) fields: Vec<&'static str>,
    /// Roles that it does not hold.
    pub(super) roles: Vec<Uuid>,
}

impl Present {
    /// Reads it for these of the rows. Belongs into the transaction in which they are held.
    pub(super) async fn read(
        app: &App,
        conn: &mut Conn,
        held: &Held<'_>,
        rows: &[Numbered],
    ) -> Result<Self> {
        let emails: Vec<String> = rows.iter().map(|(_, row)| row.email_key()).collect();
        let known: HashSet<&str> = emails.iter().map(String::as_str).collect();
        let by_email = |user: &User| (user.email.to_ascii_lowercase(), user.clone());
        let users = held.users.iter().map(by_email);
        let users = users.filter(|(email, _)| known.contains(&**email));
        let users: HashMap<String, User> = users.collect();
        let mut names: Vec<String> = rows
            .iter()
            .flat_map(|(_, row)| &row.role_names)
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        let rights = match held.importer {
            Importer::Caller(actor) => {
                Some(Rights::now(app, conn, actor, SystemPermission::AdminUsers).await?)
            }
            Importer::Operator => None,
        };
        // Registered since the others were locked: to lock one now would be out of order.
        if users.len() < known.len()
            && User::emails_in_use(conn, &emails).await?.len() > users.len()
        {
            let message = "Somebody else took the address at this moment.";
            let path = ["input", "email"];
            return Err(UserError::at(UserErrorCode::Taken, &path, message).into());
        }
        let ids: Vec<Uuid> = users.values().map(|user| user.id).collect();
        let mut present = Self {
            users,
            held_roles: HashMap::new(),
            held_permissions: HashMap::new(),
            usernames: HashMap::new(),
            uuids: HashMap::new(),
            roles: roles(conn, &names).await?,
            rights,
        };
        if !ids.is_empty() {
            for (user, role) in Role::by_users(conn, &ids).await? {
                present.held_roles.entry(user).or_default().push(role.id);
            }
            for (user, name) in Permission::names_by_users(conn, &ids).await? {
                present.held_permissions.entry(user).or_default().push(name);
            }
        }
        let names: Vec<String> = rows
            .iter()
            .filter_map(|(_, row)| row.username_key())
            .collect();
        if !names.is_empty() {
            let found = User::usernames_in_use(conn, &names).await?;
            present.usernames = found.into_iter().collect();
        }
        let uuids: Vec<Uuid> = rows.iter().filter_map(|(_, row)| row.uuid).collect();
        if !uuids.is_empty() {
            let found = User::uuids_in_use(conn, &uuids).await?;
            present.uuids = found.into_iter().collect();
        }
        Ok(present)
    }

    /// What to do with a row: open an account, or add to the one that is there.
    pub(super) fn judge(&self, row: &Checked) -> Result<Option<Change>, Vec<UserError>> {
        let mut errors = Vec::new();
        let mut refuse = |code, field: &str, message: &str| {
            errors.push(UserError::at(code, &["input", field], message));
        };
        if !self.vouches() {
            for field in row.vouched_for() {
                let message = "Only who holds `admin:system` says this of an account.";
                refuse(UserErrorCode::Rejected, field, message);
            }
        }
        let user = self.users.get(&row.email_key());
        let id = user.map(|user| user.id);
        let other = |owner: Option<&Uuid>| owner.is_some_and(|owner| Some(*owner) != id);
        let lacks_name = user.is_none_or(|user| user.username.is_none());
        let name = row.username_key();
        if lacks_name && other(name.and_then(|name| self.usernames.get(&name))) {
            refuse(UserErrorCode::Taken, "username", "This user name is taken.");
        }
        if let Some(uuid) = row.uuid {
            if user.is_some_and(|user| user.auth_token != uuid) {
                let message =
                    "The account with this address is known by another UUID, which never changes.";
                refuse(UserErrorCode::Taken, "uuid", message);
            } else if other(self.uuids.get(&uuid)) {
                let message = "Another account is known by this UUID.";
                refuse(UserErrorCode::Taken, "uuid", message);
            }
        }
        let held = id.and_then(|id| self.held_roles.get(&id));
        let mut roles = Vec::new();
        for name in &row.role_names {
            let Some((role, grants)) = self.roles.get(&name.to_lowercase()) else {
                refuse(
                    UserErrorCode::NotFound,
                    "roleNames",
                    "There is no such role.",
                );
                continue;
            };
            if held.is_some_and(|held| held.contains(&role.id)) || roles.contains(&role.id) {
                continue;
            }
            roles.push(role.id);
            if !self.covers(grants) {
                let message = "One of these roles grants what you do not hold.";
                refuse(UserErrorCode::Rejected, "roleNames", message);
            }
        }
        let change = user.map(|user| change(user, row, roles));
        // Whoever registered with somebody else's address must not be given anything by that person's row.
        if let Some(change) = &change
            && change.is_any()
            && change.waits
        {
            let message = "The address of this account is not proved yet.";
            refuse(UserErrorCode::Rejected, "email", message);
        }
        if let Some(change) = &change
            && change.is_any()
            && let Some(held) = self.held_permissions.get(&change.user)
            && !self.covers(held)
        {
            let message = "The account with this address may do what you may not.";
            refuse(UserErrorCode::Rejected, "email", message);
        }
        if errors.is_empty() {
            Ok(change)
        } else {
            Err(errors)
        }
    }

    /// Whether the importer is believed about who somebody is. Who may do no more than look after accounts could
    /// otherwise open one for somebody else's address, with a password that they know.
    fn vouches(&self) -> bool {
        let system = SystemPermission::AdminSystem.name();
        let holds = |rights: &Rights| rights.holds(system);
        self.rights.as_ref().is_none_or(holds)
    }

    /// Whether the importer holds all of these permissions.
    fn covers(&self, permissions: &[String]) -> bool {
        let holds = |rights: &Rights| permissions.iter().all(|name| rights.holds(name));
        self.rights.as_ref().is_none_or(holds)
    }

    /// The ids of the roles that a row names.
    pub(super) fn roles_of(&self, row: &Checked) -> Vec<Uuid> {
        let found = row.role_names.iter();
        let found = found.filter_map(|name| self.roles.get(&name.to_lowercase()));
        let mut ids: Vec<Uuid> = found.map(|(role, _)| role.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The name of one of them.
    pub(super) fn role_name(&self, id: Uuid) -> &str {
        let mut roles = self.roles.values();
        let found = roles.find(|(role, _)| role.id == id);
        found.map_or("", |(role, _)| &role.name)
    }
}

/// The roles of these names with what they grant, by name in lower case.
async fn roles(conn: &mut Conn, names: &[String]) -> Result<HashMap<String, (Role, Vec<String>)>> {
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = Role::by_names(conn, names).await?;
    let ids: Vec<Uuid> = found.iter().map(|role| role.id).collect();
    let granted = Permission::by_roles(conn, &ids).await?;
    let with_permissions = |role: Role| {
        let of_role = granted.iter().filter(|(id, _)| *id == role.id);
        let names = of_role.map(|(_, permission)| permission.name.clone());
        let names = names.collect();
        (role.name.to_lowercase(), (role, names))
    };
    Ok(found.into_iter().map(with_permissions).collect())
}

/// What the row has and the account lacks. What is there stays, and of password, address, status and UUID all.
fn change(user: &User, row: &Checked, roles: Vec<Uuid>) -> Change {
    let mut fields = Vec::new();
    let mut missing = |field: &'static str, lacks: bool, has: bool| {
        if lacks && has {
            fields.push(field);
        }
        lacks && has
    };
    let text = |take: bool, value: &Option<String>| take.then(|| value.clone());
    let birth_date = missing(
        "birthDate",
        user.birth_date.is_none(),
        row.birth_date.is_some(),
    );
    let first_name = missing(
        "firstName",
        user.first_name.is_none(),
        row.first_name.is_some(),
    );
    let last_name = missing(
        "lastName",
        user.last_name.is_none(),
        row.last_name.is_some(),
    );
    let username = missing("username", user.username.is_none(), row.username.is_some());
    Change {
        user: user.id,
        waits: user.status == AccountStatus::Pending,
        changes: UserChanges {
            username: text(username, &row.username),
            first_name: text(first_name, &row.first_name),
            last_name: text(last_name, &row.last_name),
            ..UserChanges::default()
        },
        birth_date: row.birth_date.filter(|_| birth_date),
        fields,
        roles,
    }
}

impl Change {
    /// Whether it lacks anything.
    pub(super) fn is_any(&self) -> bool {
        !self.fields.is_empty() || !self.roles.is_empty()
    }
}
