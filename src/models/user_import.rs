//! Accounts by the hundred: who is there already, and many new ones in one statement. No rule of the domain.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::user::{ClosedBy, NewUser, User, lower, lower_nullable};
use crate::scalar::DateTime;
use crate::schema::{username_reservations, users};

/// An account that comes from elsewhere, with its past.
#[derive(Insertable, Debug)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct FormerUser<'a> {
    #[diesel(embed)]
    pub user: NewUser<'a>,
    /// Sealed.
    pub birth_date: Option<Vec<u8>>,
    pub last_login_at: Option<DateTime>,
    pub coaching_start_date: Option<DateTime>,
    pub last_coaching_session: Option<DateTime>,
    pub closed_at: Option<DateTime>,
    pub closed_by: Option<ClosedBy>,
    pub imported_at: DateTime,
}

impl FormerUser<'_> {
    /// Opens the accounts; gives the ids of those that were opened, and leaves out where address, username or
    /// UUID is in use.
    ///
    /// # Errors
    /// If the database refuses for another reason.
    pub async fn insert_missing(conn: &mut Conn, users: &[Self]) -> QueryResult<Vec<Uuid>> {
        diesel::insert_into(users::table)
            .values(users)
            .on_conflict_do_nothing()
            .returning(users::id)
            .get_results(conn)
            .await
    }
}

impl User {
    /// Waits until no other import runs on any server, and makes those that come wait until the transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn wait_for_imports(conn: &mut Conn) -> QueryResult<()> {
        diesel::sql_query("SELECT pg_advisory_xact_lock(hashtext('cardea imports'))")
            .execute(conn)
            .await
            .map(drop)
    }

    /// The accounts with these addresses, which are in lower case, and the one with the id `also`, locked until the
    /// transaction ends, in the order of their ids.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock_by_emails(
        conn: &mut Conn,
        emails: &[String],
        also: Option<Uuid>,
    ) -> QueryResult<Vec<Self>> {
        let also: Vec<Uuid> = also.into_iter().collect();
        users::table
            .filter(
                lower(users::email)
                    .eq_any(emails)
                    .or(users::id.eq_any(also)),
            )
            .order(users::id)
            .select(Self::as_select())
            .for_no_key_update()
            .load(conn)
            .await
    }

    /// Those of these addresses, which are in lower case, that somebody has; in lower case.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn emails_in_use(conn: &mut Conn, emails: &[String]) -> QueryResult<HashSet<String>> {
        let found: Vec<String> = users::table
            .filter(lower(users::email).eq_any(emails))
            .select(lower(users::email))
            .load(conn)
            .await?;
        Ok(found.into_iter().collect())
    }

    /// Those of these usernames, which are in lower case, that somebody has or that are kept for somebody, and
    /// for whom.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn usernames_in_use(
        conn: &mut Conn,
        names: &[String],
    ) -> QueryResult<Vec<(String, Uuid)>> {
        let had = users::table
            .filter(lower_nullable(users::username).eq_any(names))
            .select((lower_nullable(users::username).assume_not_null(), users::id));
        let kept = username_reservations::table
            .filter(username_reservations::name.eq_any(names))
            .select((username_reservations::name, username_reservations::user_id));
        had.union_all(kept).load(conn).await
    }

    /// Those of these UUIDs that other systems know somebody by, and whom.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn uuids_in_use(conn: &mut Conn, uuids: &[Uuid]) -> QueryResult<Vec<(Uuid, Uuid)>> {
        users::table
            .filter(users::auth_token.eq_any(uuids))
            .select((users::auth_token, users::id))
            .load(conn)
            .await
    }
}
