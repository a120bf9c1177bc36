//! The table `profiles`: self-description and coaching preferences, one row for each account.

use async_graphql::SimpleObject;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::text_enum;
use crate::scalar::{DateTime, Json};
use crate::schema::profiles;

text_enum! {
    /// Tone of coaching.
    pub enum CoachingStyle {
        /// Sets hard tasks and asks for more.
        Challenging = "challenging",
        /// Works it out together.
        Collaborative = "collaborative",
        /// Says what to do.
        Directive = "directive",
        /// Encourages.
        Supportive = "supportive",
    }
}
text_enum! {
    /// Rhythm of coaching sessions.
    pub enum SessionFrequency {
        /// Every two weeks.
        Biweekly = "biweekly",
        /// Every day.
        Daily = "daily",
        /// Every month.
        Monthly = "monthly",
        /// Every week.
        Weekly = "weekly",
    }
}
text_enum! {
    /// How often notices are bundled.
    pub enum NotificationFrequency {
        /// Once a day.
        Daily = "daily",
        /// At once, each by itself.
        Immediate = "immediate",
        /// Not at all.
        Never = "never",
        /// Once a week.
        Weekly = "weekly",
    }
}
text_enum! {
    /// Colour scheme.
    pub enum Theme {
        /// Light on dark.
        Dark = "dark",
        /// Dark on light.
        Light = "light",
        /// As the device is set.
        System = "system",
    }
}

/// Self-description and coaching preferences.
#[derive(HasQuery, SimpleObject, Clone, Debug)]
#[diesel(table_name = profiles)]
#[graphql(complex)]
pub struct Profile {
    /// The account.
    #[graphql(skip)]
    pub user_id: Uuid,
    /// What the person says of themselves, at most 500 characters.
    pub bio: Option<String>,
    /// IANA name of the person's time zone, e.g. `Europe/Vienna`.
    pub timezone: String,
    /// What the person wants out of coaching, sealed; none for an empty object.
    #[graphql(skip)]
    pub coaching_goals: Option<Vec<u8>>,
    /// Tone the coach should take.
    pub preferred_coaching_style: Option<CoachingStyle>,
    /// How often the person wants to meet.
    pub session_frequency: Option<SessionFrequency>,
    /// Applications may send notices by mail. This server keeps the wish; its own mails about the account go out
    /// all the same.
    pub email_notifications: bool,
    /// Applications may send notices to devices.
    pub push_notifications: bool,
    /// How often applications bundle notices.
    pub notification_frequency: NotificationFrequency,
    /// Colour scheme.
    pub theme: Theme,
    /// BCP 47 tag, e.g. `de-AT`, of the language to write to the person in.
    pub language: String,
    /// Settings that only front ends read, an object of at most 16 KiB. An update merges key by key; a null removes
    /// the key.
    pub preferences: Json,
    /// When the profile came into being.
    pub created_at: DateTime,
    /// When the profile last changed.
    pub updated_at: DateTime,
}

/// A profile to begin with; the rest has defaults.
#[derive(Insertable, Debug)]
#[diesel(table_name = profiles)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct NewProfile<'a> {
    pub user_id: Uuid,
    pub timezone: Option<&'a str>,
    pub language: Option<&'a str>,
    pub created_at: DateTime,
    pub updated_at: DateTime,
}

impl NewProfile<'_> {
    /// Writes the profile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<usize> {
        diesel::insert_into(profiles::table)
            .values(self)
            .execute(conn)
            .await
    }

    /// Writes several profiles in one statement.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert_all(conn: &mut Conn, profiles: &[Self]) -> QueryResult<usize> {
        diesel::insert_into(profiles::table)
            .values(profiles)
            .execute(conn)
            .await
    }
}

/// New values; `None` leaves, `Some(None)` clears.
#[derive(AsChangeset, Clone, Default, Debug)]
#[diesel(table_name = profiles)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct ProfileChanges {
    pub bio: Option<Option<String>>,
    pub timezone: Option<String>,
    /// Sealed.
    pub coaching_goals: Option<Option<Vec<u8>>>,
    pub preferred_coaching_style: Option<Option<CoachingStyle>>,
    pub session_frequency: Option<Option<SessionFrequency>>,
    pub email_notifications: Option<bool>,
    pub push_notifications: Option<bool>,
    pub notification_frequency: Option<NotificationFrequency>,
    pub theme: Option<Theme>,
    pub language: Option<String>,
    /// Replaces all preferences; see [`PreferenceMerge`] for the rest.
    pub preferences: Option<Json>,
}

/// A change of the preferences key by key.
#[derive(Debug)]
pub struct PreferenceMerge {
    /// Keys with their new values; an object.
    pub set: Json,
    /// Keys to remove.
    pub remove: Vec<String>,
}

impl Profile {
    /// The profiles of these accounts, in no order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_users(conn: &Conn, users: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(profiles::user_id.among(users))
            .load(&mut &*conn)
            .await
    }

    /// Writes `changes`, `merge` and the time of the change. The merge happens in the database, so
    /// that two at once lose nothing of each other.
    ///
    /// # Errors
    /// If the merged preferences are too large (`profiles_preferences_size`) or the database cannot answer.
    pub async fn update(
        conn: &mut Conn,
        user: Uuid,
        changes: &ProfileChanges,
        merge: Option<&PreferenceMerge>,
        now: DateTime,
    ) -> QueryResult<Self> {
        let merged = merge.map(|merge| {
            profiles::preferences.eq(profiles::preferences
                .concat(&merge.set)
                .remove(merge.remove.clone()))
        });
        diesel::update(profiles::table.find(user))
            .set((changes, merged, profiles::updated_at.eq(now)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
    }
}
