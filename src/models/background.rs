//! The table `backgrounds`: background in software and hardware, a row once it was first written.

use async_graphql::SimpleObject;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::text_enum;
use crate::scalar::{DateTime, Json};
use crate::schema::backgrounds;

text_enum! {
    /// Self-assessed level.
    pub enum ExperienceLevel {
        /// Works without help on most things.
        Advanced = "advanced",
        /// Has just begun.
        Beginner = "beginner",
        /// Others ask them.
        Expert = "expert",
        /// Works alone on common things.
        Intermediate = "intermediate",
    }
}

/// Background in software and hardware.
#[derive(HasQuery, SimpleObject, Clone, Debug)]
#[diesel(table_name = backgrounds)]
pub struct Background {
    /// The account.
    #[graphql(skip)]
    pub user_id: Uuid,
    /// Tools in use.
    pub software_tools: Vec<String>,
    /// Languages in use, the strongest first.
    pub programming_languages: Vec<String>,
    /// Machines and peripherals; an object, or null.
    pub hardware_setup: Option<Json>,
    /// Editor, keyboard, build habits and the like; an object, or null.
    pub technical_preferences: Option<Json>,
    /// Self-assessed level; null when not told.
    pub experience_level: Option<ExperienceLevel>,
    /// Main field of work; null when not told.
    pub primary_domain: Option<String>,
    /// When the background last changed.
    pub updated_at: DateTime,
}

/// New values; `None` leaves, `Some(None)` clears.
#[derive(AsChangeset, Default, Debug)]
#[diesel(table_name = backgrounds)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct BackgroundChanges {
    pub software_tools: Option<Vec<String>>,
    pub programming_languages: Option<Vec<String>>,
    pub hardware_setup: Option<Option<Json>>,
    pub technical_preferences: Option<Option<Json>>,
    pub experience_level: Option<Option<ExperienceLevel>>,
    pub primary_domain: Option<Option<String>>,
}

impl Background {
    /// The backgrounds of these accounts, in no order; those never written are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(backgrounds::user_id.among(users))
            .load(&mut &*conn)
            .await
    }

    /// Writes `changes`, with a first row where there is none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn upsert(
        conn: &mut Conn,
        user: Uuid,
        changes: &BackgroundChanges,
        now: DateTime,
    ) -> QueryResult<Self> {
        let first = (
            backgrounds::user_id.eq(user),
            backgrounds::created_at.eq(now),
            backgrounds::updated_at.eq(now),
        );
        diesel::insert_into(backgrounds::table)
            .values(first)
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        diesel::update(backgrounds::table.find(user))
            .set((changes, backgrounds::updated_at.eq(now)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
    }
}
