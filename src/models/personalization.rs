//! The table `personalizations`: what was learned about taste, a row once it was first written.

use async_graphql::SimpleObject;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::scalar::DateTime;
use crate::schema::personalizations;

/// What was learned about the person's taste, as applications wrote it.
#[derive(HasQuery, SimpleObject, Clone, Debug)]
#[diesel(table_name = personalizations)]
pub struct Personalization {
    /// The account.
    #[graphql(skip)]
    pub user_id: Uuid,
    /// Keys of the content to offer next.
    pub recommended_content: Vec<String>,
    /// Categories in order of preference.
    pub preferred_categories: Vec<String>,
    /// When `updatePersonalization` last wrote the fields beside this one.
    pub last_personalization_update: Option<DateTime>,
}

/// New values; `None` leaves.
#[derive(AsChangeset, Default, Debug)]
#[diesel(table_name = personalizations)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct PersonalizationChanges {
    pub recommended_content: Option<Vec<String>>,
    pub preferred_categories: Option<Vec<String>>,
}

impl Personalization {
    /// The personalizations of these accounts, in no order; those never written are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(personalizations::user_id.among(users))
            .load(&mut &*conn)
            .await
    }

    /// Writes `changes`, with a first row where there is none.
    ///
    /// # Errors
    /// If there is no such account (`personalizations_user_id_fkey`) or the database refuses.
    pub async fn upsert(
        conn: &mut Conn,
        user: Uuid,
        changes: &PersonalizationChanges,
        now: DateTime,
    ) -> QueryResult<Self> {
        let first = (
            personalizations::user_id.eq(user),
            personalizations::created_at.eq(now),
            personalizations::updated_at.eq(now),
        );
        diesel::insert_into(personalizations::table)
            .values(first)
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        diesel::update(personalizations::table.find(user))
            .set((
                changes,
                personalizations::last_personalization_update.eq(now),
                personalizations::updated_at.eq(now),
            ))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
    }
}
