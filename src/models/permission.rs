//! The tables `permissions` and `role_permissions`: rights, and which role grants which.

use async_graphql::Enum;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::scalar::DateTime;
use crate::schema::{permissions, role_permissions, roles, user_roles};

/// The rights that ship with the server. Applications add their own by name.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemPermission {
    /// `admin:system`: change roles and permissions, read the audit trail and the sign-in statistics.
    AdminSystem,
    /// `admin:users`: open, close, erase and import accounts, end sessions, see how people sign in, hand out roles.
    AdminUsers,
    /// `read:all`: read any account; find and list accounts.
    ReadAll,
    /// `read:own`: read the caller's own account. For applications: this server lets every session do so.
    ReadOwn,
    /// `write:all`: change names, profile and personalization of any account, and its coaching dates.
    WriteAll,
    /// `write:own`: change names, profile, background and personalization of the caller's own account.
    WriteOwn,
}

impl SystemPermission {
    /// The name in the database and in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminSystem => "admin:system",
            Self::AdminUsers => "admin:users",
            Self::ReadAll => "read:all",
            Self::ReadOwn => "read:own",
            Self::WriteAll => "write:all",
            Self::WriteOwn => "write:own",
        }
    }
}

/// A right that roles grant.
#[derive(HasQuery, Identifiable, Clone, Debug)]
#[diesel(table_name = permissions)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::role"
)]
pub struct Permission {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub is_system: bool,
}

impl Permission {
    /// All permissions, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        Self::query().order(permissions::name).load(conn).await
    }

    /// The permissions with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(permissions::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// The permissions that each of these roles grants, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_roles(conn: &Conn, roles: &[Uuid]) -> QueryResult<Vec<(Uuid, Self)>> {
        role_permissions::table
            .inner_join(permissions::table)
            .filter(role_permissions::role_id.among(roles))
            .order(permissions::name)
            .select((role_permissions::role_id, Self::as_select()))
            .load(&mut &*conn)
            .await
    }

    /// The names of the permissions that each of these accounts holds, sorted, each once.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn names_by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<(Uuid, String)>> {
        user_roles::table
            .inner_join(
                role_permissions::table.on(role_permissions::role_id.eq(user_roles::role_id)),
            )
            .inner_join(permissions::table.on(permissions::id.eq(role_permissions::permission_id)))
            .filter(user_roles::user_id.among(users))
            .select((user_roles::user_id, permissions::name))
            .distinct()
            .order((user_roles::user_id, permissions::name))
            .load(&mut &*conn)
            .await
    }

    /// The permissions with these names, in no order; unknown names are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_names(conn: &mut Conn, names: &[String]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(permissions::name.eq_any(names))
            .load(conn)
            .await
    }

    /// How many permissions there are.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn) -> QueryResult<i64> {
        permissions::table.count().get_result(conn).await
    }

    /// Adds a permission that no role grants yet.
    ///
    /// # Errors
    /// If the name is in use (`permissions_name_key`) or the database refuses.
    pub async fn create(
        conn: &mut Conn,
        name: &str,
        description: Option<&str>,
        now: DateTime,
    ) -> QueryResult<Self> {
        diesel::insert_into(permissions::table)
            .values((
                permissions::id.eq(Uuid::now_v7()),
                permissions::name.eq(name),
                permissions::description.eq(description),
                permissions::created_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
    }

    /// Removes a permission; every role loses it, and notes when.
    ///
    /// # Errors
    /// If it is one of the system's (`permissions_system_protected`) or the database cannot answer.
    pub async fn delete(conn: &mut Conn, id: Uuid, now: DateTime) -> QueryResult<()> {
        let granting = role_permissions::table
            .filter(role_permissions::permission_id.eq(id))
            .select(role_permissions::role_id);
        diesel::update(roles::table)
            .filter(roles::id.eq_any(granting))
            .set(roles::updated_at.eq(now))
            .execute(conn)
            .await?;
        diesel::delete(permissions::table.find(id))
            .execute(conn)
            .await
            .map(drop)
    }

    /// Whether any role grants the permission.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn is_granted(conn: &mut Conn, id: Uuid) -> QueryResult<bool> {
        let granting = role_permissions::table.filter(role_permissions::permission_id.eq(id));
        diesel::select(diesel::dsl::exists(granting))
            .get_result(conn)
            .await
    }

    /// Lets `role` grant these permissions; says whether one of them is new to it.
    ///
    /// # Errors
    /// If there is no such role or permission, or the database cannot answer.
    pub async fn grant(conn: &mut Conn, role: Uuid, ids: &[Uuid]) -> QueryResult<bool> {
        let rows: Vec<_> = ids
            .iter()
            .map(|id| {
                (
                    role_permissions::role_id.eq(role),
                    role_permissions::permission_id.eq(*id),
                )
            })
            .collect();
        diesel::insert_into(role_permissions::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Stops `role` from granting the permission; says whether it did.
    ///
    /// # Errors
    /// If the role keeps it (`role_permissions_admin_protected`) or the database cannot answer.
    pub async fn revoke(conn: &mut Conn, role: Uuid, id: Uuid) -> QueryResult<bool> {
        diesel::delete(role_permissions::table.find((role, id)))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }
}
