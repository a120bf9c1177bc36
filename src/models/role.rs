//! The tables `roles` and `user_roles`: bundles of rights, and who holds which.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::user::{AccountStatus, lower};
use crate::scalar::DateTime;
use crate::schema::{roles, user_roles, users};

/// A named bundle of rights.
#[derive(HasQuery, Identifiable, Clone, Debug)]
#[diesel(table_name = roles)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::role"
)]
pub struct Role {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub is_default: bool,
    pub is_system: bool,
    pub created_at: DateTime,
    pub updated_at: DateTime,
    pub requires_two_factor: bool,
}

/// A role that an account holds, and how it came by it.
#[derive(Queryable, Selectable, Clone, Debug)]
#[diesel(table_name = user_roles)]
#[expect(
    missing_docs,
    reason = "the columns are described in the database and in graphql::role"
)]
pub struct Assignment {
    #[diesel(embed)]
    pub role: Role,
    pub assigned_at: DateTime,
    pub assigned_by: Option<Uuid>,
}

/// New values for a role; `None` leaves, `Some(None)` clears.
#[derive(AsChangeset, Default, Debug)]
#[diesel(table_name = roles)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct RoleChanges {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub is_default: Option<bool>,
    pub requires_two_factor: Option<bool>,
}

impl Role {
    /// Name of the role that runs the installation; somebody always holds it.
    pub const ADMIN: &str = "admin";

    /// All roles, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn all(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        Self::query().order(roles::name).load(conn).await
    }

    /// The roles with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(roles::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// The role with this name, whatever the case.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_name(conn: &mut Conn, name: &str) -> QueryResult<Option<Self>> {
        Self::query()
            .filter(lower(roles::name).eq(lower(name)))
            .first(conn)
            .await
            .optional()
    }

    /// The id of the role `admin`, locked until the transaction ends. `None` where somebody removed it past
    /// the server.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock_admin(conn: &mut Conn) -> QueryResult<Option<Uuid>> {
        roles::table
            .filter(lower(roles::name).eq(Self::ADMIN))
            .select(roles::id)
            .for_no_key_update()
            .first(conn)
            .await
            .optional()
    }

    /// The roles that each of these accounts holds, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<(Uuid, Self)>> {
        user_roles::table
            .inner_join(roles::table)
            .filter(user_roles::user_id.among(users))
            .order(roles::name)
            .select((user_roles::user_id, Self::as_select()))
            .load(&mut &*conn)
            .await
    }

    /// The ids of the roles that each of these accounts holds, in no order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn ids_by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<(Uuid, Uuid)>> {
        user_roles::table
            .filter(user_roles::user_id.among(users))
            .select((user_roles::user_id, user_roles::role_id))
            .load(&mut &*conn)
            .await
    }

    /// How many accounts hold each of these roles; roles that nobody holds are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count_members(conn: &Conn, roles: &[Uuid]) -> QueryResult<Vec<(Uuid, i64)>> {
        user_roles::table
            .filter(user_roles::role_id.among(roles))
            .group_by(user_roles::role_id)
            .select((user_roles::role_id, diesel::dsl::count_star()))
            .load(&mut &*conn)
            .await
    }

    /// The roles that each of these accounts holds with who gave them and when, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn assignments_by_users(
        conn: &Conn,
        users: &[Uuid],
    ) -> QueryResult<Vec<(Uuid, Assignment)>> {
        user_roles::table
            .inner_join(roles::table)
            .filter(user_roles::user_id.among(users))
            .order(roles::name)
            .select((user_roles::user_id, Assignment::as_select()))
            .load(&mut &*conn)
            .await
    }

    /// How many roles there are.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn) -> QueryResult<i64> {
        roles::table.count().get_result(conn).await
    }

    /// Adds a role that grants nothing yet.
    ///
    /// # Errors
    /// If the name is in use (`roles_name_key`) or the database refuses.
    pub async fn create(
        conn: &mut Conn,
        name: &str,
        description: Option<&str>,
        now: DateTime,
    ) -> QueryResult<Self> {
        diesel::insert_into(roles::table)
            .values((
                roles::id.eq(Uuid::now_v7()),
                roles::name.eq(name),
                roles::description.eq(description),
                roles::created_at.eq(now),
                roles::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
    }

    /// Writes `changes` and the time of the change; gives `None` if the role is gone.
    ///
    /// # Errors
    /// If the name is in use (`roles_name_key`) or the database refuses.
    pub async fn update(
        conn: &mut Conn,
        id: Uuid,
        changes: &RoleChanges,
        now: DateTime,
    ) -> QueryResult<Option<Self>> {
        diesel::update(roles::table.find(id))
            .set((changes, roles::updated_at.eq(now)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Removes the role, if nobody holds it; says whether it is gone. Whoever is being given it at this
    /// moment is waited for.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete_unheld(conn: &mut Conn, id: Uuid) -> QueryResult<bool> {
        // A row of `user_roles` that is being written holds the role; a new statement sees it.
        roles::table
            .find(id)
            .select(roles::id)
            .for_update()
            .first::<Uuid>(conn)
            .await
            .optional()?;
        let held = user_roles::table.filter(user_roles::role_id.eq(id));
        diesel::delete(roles::table.find(id))
            .filter(diesel::dsl::not(diesel::dsl::exists(held)))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Gives `user` every role that new accounts get.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn assign_defaults(conn: &mut Conn, user: Uuid, now: DateTime) -> QueryResult<usize> {
        diesel::insert_into(user_roles::table)
            .values(roles::table.filter(roles::is_default).select((
                user.into_sql::<diesel::sql_types::Uuid>(),
                roles::id,
                now.into_sql::<diesel::sql_types::Timestamptz>(),
            )))
            .into_columns((
                user_roles::user_id,
                user_roles::role_id,
                user_roles::assigned_at,
            ))
            .execute(conn)
            .await
    }

    /// Gives each of `users` every role that new accounts get.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn assign_defaults_to_all(
        conn: &mut Conn,
        users: &[Uuid],
        now: DateTime,
    ) -> QueryResult<usize> {
        diesel::sql_query(
            "INSERT INTO user_roles (user_id, role_id, assigned_at) \
             SELECT users.id, roles.id, $2 FROM unnest($1) AS users (id), roles WHERE roles.is_default",
        )
        .bind::<diesel::sql_types::Array<diesel::sql_types::Uuid>, _>(users)
        .bind::<diesel::sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await
    }

    /// Gives roles to accounts, each a pair of account and role; gives those pairs that are new.
    ///
    /// # Errors
    /// If there is no such account or role, or the database cannot answer.
    pub async fn assign_all(
        conn: &mut Conn,
        pairs: &[(Uuid, Uuid)],
        by: Option<Uuid>,
        now: DateTime,
    ) -> QueryResult<Vec<(Uuid, Uuid)>> {
        let row = |(user, role): &(Uuid, Uuid)| {
            (
                user_roles::user_id.eq(*user),
                user_roles::role_id.eq(*role),
                user_roles::assigned_by.eq(by),
                user_roles::assigned_at.eq(now),
            )
        };
        diesel::insert_into(user_roles::table)
            .values(pairs.iter().map(row).collect::<Vec<_>>())
            .on_conflict_do_nothing()
            .returning((user_roles::user_id, user_roles::role_id))
            .get_results(conn)
            .await
    }

    /// The roles with these names, whatever the case, in no order; unknown names are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_names(conn: &mut Conn, names: &[String]) -> QueryResult<Vec<Self>> {
        let names: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
        Self::query()
            .filter(lower(roles::name).eq_any(names))
            .load(conn)
            .await
    }

    /// Gives `role` to `user`; says whether they did not have it before.
    ///
    /// # Errors
    /// If there is no such account (`user_roles_user_id_fkey`) or role, or the database cannot answer.
    pub async fn assign(
        conn: &mut Conn,
        role: Uuid,
        user: Uuid,
        by: Option<Uuid>,
        now: DateTime,
    ) -> QueryResult<bool> {
        diesel::insert_into(user_roles::table)
            .values((
                user_roles::user_id.eq(user),
                user_roles::role_id.eq(role),
                user_roles::assigned_by.eq(by),
                user_roles::assigned_at.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Takes `role` from `user`; says whether they had it.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove(conn: &mut Conn, role: Uuid, user: Uuid) -> QueryResult<bool> {
        diesel::delete(user_roles::table.find((user, role)))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// Whether a role of `user` makes a second factor compulsory.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn any_requires_two_factor(conn: &mut Conn, user: Uuid) -> QueryResult<bool> {
        let requiring = user_roles::table
            .inner_join(roles::table)
            .filter(user_roles::user_id.eq(user))
            .filter(roles::requires_two_factor);
        diesel::select(diesel::dsl::exists(requiring))
            .get_result(conn)
            .await
    }

    /// Makes a second factor compulsory for whoever holds the role of this name, or does so no more;
    /// says whether there is such a role.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn require_two_factor(
        conn: &mut Conn,
        name: &str,
        required: bool,
        now: DateTime,
    ) -> QueryResult<bool> {
        diesel::update(roles::table)
            .filter(lower(roles::name).eq(lower(name)))
            .set((
                roles::requires_two_factor.eq(required),
                roles::updated_at.eq(now),
            ))
            .execute(conn)
            .await
            .map(|rows| rows > 0)
    }

    /// How many accounts that may sign in and are not to be erased hold `role`, `except` left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count_active_members(
        conn: &mut Conn,
        role: Uuid,
        except: Uuid,
    ) -> QueryResult<i64> {
        user_roles::table
            .inner_join(users::table.on(users::id.eq(user_roles::user_id)))
            .filter(user_roles::role_id.eq(role))
            .filter(users::id.ne(except))
            .filter(users::status.eq(AccountStatus::Active))
            .filter(users::erases_at.is_null())
            .count()
            .get_result(conn)
            .await
    }
}
