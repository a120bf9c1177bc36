//! The table `identities`: who an account is at sign-in providers.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::scalar::DateTime;
use crate::schema::identities;

/// A person at a provider, tied to an account.
#[derive(HasQuery, Clone, Debug)]
#[diesel(table_name = identities)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Identity {
    pub id: Uuid,
    pub user_id: Uuid,
    pub provider: String,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub linked_at: DateTime,
}

/// A person at a provider, to be tied to an account.
#[derive(Insertable, Debug)]
#[diesel(table_name = identities)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewIdentity<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub provider: &'a str,
    pub issuer: &'a str,
    pub subject: &'a str,
    pub display_name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub linked_at: DateTime,
    pub last_used_at: DateTime,
}

impl NewIdentity<'_> {
    /// Ties the identity to its account; `None` where it is tied to one already, or the account to
    /// another identity of this provider.
    ///
    /// # Errors
    /// If the database refuses for another reason.
    pub async fn insert_if_missing(&self, conn: &mut Conn) -> QueryResult<Option<Identity>> {
        diesel::insert_into(identities::table)
            .values(self)
            .on_conflict_do_nothing()
            .returning(Identity::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Who the identity is tied to; `None` where to nobody. Locks nothing.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn owner(&self, conn: &mut Conn) -> QueryResult<Option<Uuid>> {
        identities::table
            .filter(identities::provider.eq(self.provider))
            .filter(identities::issuer.eq(self.issuer))
            .filter(identities::subject.eq(self.subject))
            .select(identities::user_id)
            .first(conn)
            .await
            .optional()
    }

    /// Notes that the identity was used, and what the provider says of it now; whether it is still tied
    /// to its account. Lock the account first, as all do who change what is tied to it.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn touch(&self, conn: &mut Conn) -> QueryResult<bool> {
        let touched = diesel::update(identities::table)
            .filter(identities::provider.eq(self.provider))
            .filter(identities::issuer.eq(self.issuer))
            .filter(identities::subject.eq(self.subject))
            .filter(identities::user_id.eq(self.user_id))
            .set((
                // Left out by the provider, they stay.
                self.display_name
                    .map(|name| identities::display_name.eq(name)),
                self.email.map(|email| identities::email.eq(email)),
                identities::last_used_at.eq(self.last_used_at),
            ))
            .execute(conn)
            .await?;
        Ok(touched == 1)
    }
}

impl Identity {
    /// The identities of these accounts, in the order in which they were tied to them.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(identities::user_id.among(users))
            .order((identities::linked_at, identities::id))
            .load(&mut &*conn)
            .await
    }

    /// The identities with these ids, in no order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(identities::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// Unties this identity from `user`; `None` if it is not theirs.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete(conn: &mut Conn, id: Uuid, user: Uuid) -> QueryResult<Option<Self>> {
        diesel::delete(identities::table)
            .filter(identities::id.eq(id))
            .filter(identities::user_id.eq(user))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Unties everything from `user`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn delete_all(conn: &mut Conn, user: Uuid) -> QueryResult<usize> {
        diesel::delete(identities::table.filter(identities::user_id.eq(user)))
            .execute(conn)
            .await
    }
}
