//! Changing names and profile of an account.

use async_graphql::{ID, InputObject, MaybeUndefined};
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, OnConstraint as _, Result, UserError};
use crate::models::permission::SystemPermission;
use crate::models::profile::{
    CoachingStyle, NotificationFrequency, PreferenceMerge, Profile, ProfileChanges,
    SessionFrequency, Theme,
};
use crate::models::user::{User, UserChanges};
use crate::scalar::{Date, DateTime, Json, Url};
use crate::services::audit::{AuditAction, Entry};
use crate::services::json::{MAX_JSON_BYTES, json_object};
use crate::services::personalization::not_found;
use crate::services::registration::username_taken;
use crate::services::validate::{self, Problems};
use crate::services::{account, data_keys, sealed};

/// New values for names and profile. A field left out stays. Null clears it, or sets it back to
/// its default where a value is compulsory.
#[derive(InputObject, Clone, Default)]
pub struct UpdateProfileInput {
    /// Absolute `http` or `https` address of a picture, at most 500 characters.
    pub avatar_url: MaybeUndefined<String>,
    /// What the person says of themselves, at most 500 characters.
    pub bio: MaybeUndefined<String>,
    /// Day of birth, not more than 130 years ago. The operator may ask for a least age, and that it is not cleared.
    pub birth_date: MaybeUndefined<Date>,
    /// What the person wants out of coaching; an object.
    pub coaching_goals: MaybeUndefined<Json>,
    /// Applications may send notices by mail; `true` by default.
    pub email_notifications: MaybeUndefined<bool>,
    /// Given name, at most 150 characters.
    pub first_name: MaybeUndefined<String>,
    /// Name as it is to be shown; 2 to 255 characters. Cannot be cleared.
    pub full_name: MaybeUndefined<String>,
    /// BCP 47 tag, e.g. `de-AT`; `en` by default.
    pub language: MaybeUndefined<String>,
    /// Family name, at most 150 characters.
    pub last_name: MaybeUndefined<String>,
    /// How often applications bundle notices; `DAILY` by default.
    pub notification_frequency: MaybeUndefined<NotificationFrequency>,
    /// An object, merged key by key into what is there: a null in it removes the key. Null instead of an object
    /// removes all.
    pub preferences: MaybeUndefined<Json>,
    /// Tone the coach should take.
    pub preferred_coaching_style: MaybeUndefined<CoachingStyle>,
    /// Applications may send notices to devices; `true` by default.
    pub push_notifications: MaybeUndefined<bool>,
    /// How often the person wants to meet.
    pub session_frequency: MaybeUndefined<SessionFrequency>,
    /// Colour scheme; `LIGHT` by default.
    pub theme: MaybeUndefined<Theme>,
    /// IANA name, e.g. `Europe/Vienna`; `UTC` by default.
    pub timezone: MaybeUndefined<String>,
    /// Unique, letters, digits and underscores, at most 150; `TAKEN` where somebody has it.
    pub username: MaybeUndefined<String>,
}

/// Changes names and profile of the caller's account: all of it, or nothing.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value, `TAKEN` for a username in use.
pub async fn update(
    app: &App,
    actor: &Actor,
    input: UpdateProfileInput,
) -> Result<(User, Profile)> {
    let mut problems = Problems::default();
    let changes = Changes::of(app, &input, &mut problems);
    problems.finish()?;
    let id = actor.user_id();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let written = changes.write(app, conn, id).await?;
        let written = written.ok_or(Error::Unauthenticated)?;
        Entry::own(actor, AuditAction::ProfileUpdated)
            .with("fields", fields(&input))
            .record(app, conn)
            .await?;
        Ok(written)
    })
    .await
}

/// New values for an account. A field left out stays; null clears it.
#[derive(InputObject)]
pub struct UpdateUserInput {
    /// When coaching began or is to begin: between 1970 and ten years from now.
    pub coaching_start_date: MaybeUndefined<DateTime>,
    /// Most recent coaching session: between 1970 and now, and not before coaching began.
    pub last_coaching_session: MaybeUndefined<DateTime>,
    /// New names and profile, as `updateProfile` takes them.
    pub profile: Option<UpdateProfileInput>,
    /// Id of the account.
    pub user_id: ID,
}

/// Changes names, profile and coaching dates of an account that may do no more than the caller: all of it, or
/// nothing. No id names nobody.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_VALUE` for each malformed value, `TAKEN` for a username in use; [`Error::Forbidden`]
/// where the account may do what the caller may not.
pub async fn update_user(
    app: &App,
    actor: &Actor,
    user: Option<Uuid>,
    input: UpdateUserInput,
) -> Result<User> {
    let (mut problems, mut of_profile) = (Problems::default(), Problems::default());
    let profile = input.profile.unwrap_or_default();
    let mut changes = Changes::of(app, &profile, &mut of_profile);
    let now = app.now();
    let future = DateTime(*now + TimeDelta::days(3653));
    let (begun, last) = (&input.coaching_start_date, &input.last_coaching_session);
    changes.user.coaching_start_date = checked(begun, &mut problems, |at| {
        instant(
            "coachingStartDate",
            *at,
            future,
            "Between 1970 and ten years from now.",
        )
    });
    changes.user.last_coaching_session = checked(last, &mut problems, |at| {
        instant("lastCoachingSession", *at, now, "Between 1970 and now.")
    });
    problems.add_below("profile", of_profile);
    problems.finish()?;
    let mut fields = fields(&profile);
    let dates = [("coachingStartDate", begun), ("lastCoachingSession", last)];
    let given = dates.into_iter().filter(|(_, date)| !date.is_undefined());
    fields.extend(given.map(|(field, _)| field));
    let id = user.ok_or_else(not_found)?;
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        account::above(app, conn, actor, SystemPermission::WriteAll, id).await?;
        let written = changes.write(app, conn, id).await;
        let written = written.map_err(|error| error.below("profile"))?;
        let (user, _) = written.ok_or_else(not_found)?;
        let order = user.coaching_start_date.zip(user.last_coaching_session);
        if order.is_some_and(|(begun, last)| last < begun)
            && fields
                .iter()
                .any(|field| matches!(*field, "coachingStartDate" | "lastCoachingSession"))
        {
            let path = ["input", "lastCoachingSession"];
            let message = "Not before coaching began.";
            return Err(UserError::invalid(&path, "RANGE", (None, None), message).into());
        }
        Entry::by(actor, AuditAction::ProfileUpdated)
            .on(id)
            .with("fields", fields)
            .record(app, conn)
            .await?;
        Ok(user)
    })
    .await
}

/// An instant between 1970 and `latest`.
fn instant(
    field: &str,
    at: DateTime,
    latest: DateTime,
    message: &str,
) -> Result<DateTime, UserError> {
    if at.timestamp() >= 0 && at <= latest {
        return Ok(at);
    }
    Err(UserError::invalid(
        &["input", field],
        "RANGE",
        (None, None),
        message,
    ))
}

/// What an input changes, checked.
pub(super) struct Changes {
    user: UserChanges,
    profile: ProfileChanges,
    merge: Option<PreferenceMerge>,
    /// To be sealed.
    birth_date: Option<Option<Date>>,
    /// To be sealed.
    coaching_goals: Option<Json>,
}

impl Changes {
    /// Checks an input.
    pub(super) fn of(app: &App, input: &UpdateProfileInput, problems: &mut Problems) -> Self {
        Self {
            user: user_changes(input, problems),
            merge: preference_merge(input, problems),
            profile: profile_changes(input, problems),
            birth_date: birth_date(app, input, problems),
            coaching_goals: coaching_goals(input, problems),
        }
    }

    /// Writes the changes; `None` where there is no such account. Belongs into a transaction.
    pub(super) async fn write(
        &self,
        app: &App,
        conn: &mut Conn,
        id: Uuid,
    ) -> Result<Option<(User, Profile)>> {
        let (user, profile) = self.sealed(app, conn, id).await?;
        let now = app.now();
        if let Some(Some(username)) = &user.username
            && User::is_reserved(conn, username, Some(id)).await?
        {
            return Err(username_taken().into());
        }
        let user = User::update(conn, id, &user, now)
            .await
            .on_constraint("users_username_key", username_taken)?;
        let Some(user) = user else {
            return Ok(None);
        };
        let profile = Profile::update(conn, id, &profile, self.merge.as_ref(), now)
            .await
            .on_constraint("profiles_preferences_size", || {
                let bounds = (None, Some(MAX_JSON_BYTES));
                UserError::invalid(
                    &["input", "preferences"],
                    "JSON_SIZE",
                    bounds,
                    "At most 16 KiB after merging.",
                )
            })?;
        Ok(Some((user, profile)))
    }
}

impl Changes {
    /// The changes with what is to be sealed by the account's data key.
    async fn sealed(
        &self,
        app: &App,
        conn: &mut Conn,
        id: Uuid,
    ) -> Result<(UserChanges, ProfileChanges)> {
        let (mut user, mut profile) = (self.user.clone(), self.profile.clone());
        if self.birth_date.is_none() && self.coaching_goals.is_none() {
            return Ok((user, profile));
        }
        let key = data_keys::ensure(app, conn, id).await?;
        if let Some(day) = self.birth_date {
            let sealed = day.map(|day| sealed::seal_birth_date(&key, day));
            user.birth_date = Some(sealed.transpose()?);
        }
        if let Some(goals) = &self.coaching_goals {
            profile.coaching_goals = Some(sealed::seal_coaching_goals(&key, goals)?);
        }
        Ok((user, profile))
    }
}

/// Names of the fields that an input changes.
fn fields(input: &UpdateProfileInput) -> Vec<&'static str> {
    let undefined = [
        ("avatarUrl", input.avatar_url.is_undefined()),
        ("bio", input.bio.is_undefined()),
        ("birthDate", input.birth_date.is_undefined()),
        ("coachingGoals", input.coaching_goals.is_undefined()),
        (
            "emailNotifications",
            input.email_notifications.is_undefined(),
        ),
        ("firstName", input.first_name.is_undefined()),
        ("fullName", input.full_name.is_undefined()),
        ("language", input.language.is_undefined()),
        ("lastName", input.last_name.is_undefined()),
        (
            "notificationFrequency",
            input.notification_frequency.is_undefined(),
        ),
        ("preferences", input.preferences.is_undefined()),
        (
            "preferredCoachingStyle",
            input.preferred_coaching_style.is_undefined(),
        ),
        ("pushNotifications", input.push_notifications.is_undefined()),
        ("sessionFrequency", input.session_frequency.is_undefined()),
        ("theme", input.theme.is_undefined()),
        ("timezone", input.timezone.is_undefined()),
        ("username", input.username.is_undefined()),
    ];
    let given = undefined.into_iter().filter(|(_, undefined)| !undefined);
    given.map(|(field, _)| field).collect()
}

fn user_changes(input: &UpdateProfileInput, problems: &mut Problems) -> UserChanges {
    let full_name = match &input.full_name {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => {
            problems.add(UserError::invalid(
                &["input", "fullName"],
                "REQUIRED",
                (None, None),
                "A name is needed.",
            ));
            None
        }
        MaybeUndefined::Value(name) => {
            problems.take(validate::full_name(&["input", "fullName"], name))
        }
    };
    let mut part = |value: &MaybeUndefined<String>, field: &str| {
        checked(value, problems, |name| {
            validate::part_of_name(&["input", field], name)
        })
        .map(Option::flatten)
    };
    UserChanges {
        full_name,
        first_name: part(&input.first_name, "firstName"),
        last_name: part(&input.last_name, "lastName"),
        username: checked(&input.username, problems, |name| {
            validate::username(&["input", "username"], name)
        }),
        avatar_url: checked(&input.avatar_url, problems, |url| {
            validate::web_address(&["input", "avatarUrl"], url).map(Url)
        }),
        ..UserChanges::default()
    }
}

fn profile_changes(input: &UpdateProfileInput, problems: &mut Problems) -> ProfileChanges {
    ProfileChanges {
        bio: checked(&input.bio, problems, |bio| {
            validate::text(&["input", "bio"], bio, 500)
        }),
        timezone: checked(&input.timezone, problems, |zone| {
            validate::timezone(&["input", "timezone"], zone)
        })
        .map(|zone| zone.unwrap_or_else(|| "UTC".to_owned())),
        coaching_goals: None,
        preferred_coaching_style: input
            .preferred_coaching_style
            .as_opt_ref()
            .map(Option::<&_>::copied),
        session_frequency: input
            .session_frequency
            .as_opt_ref()
            .map(Option::<&_>::copied),
        email_notifications: or_default(&input.email_notifications, true),
        push_notifications: or_default(&input.push_notifications, true),
        notification_frequency: or_default(
            &input.notification_frequency,
            NotificationFrequency::Daily,
        ),
        theme: or_default(&input.theme, Theme::Light),
        language: checked(&input.language, problems, |tag| {
            validate::language(&["input", "language"], tag)
        })
        .map(|tag| tag.unwrap_or_else(|| "en".to_owned())),
        preferences: input.preferences.is_null().then(empty),
    }
}

fn birth_date(
    app: &App,
    input: &UpdateProfileInput,
    problems: &mut Problems,
) -> Option<Option<Date>> {
    let today = app.now().date_naive();
    let config = &app.config.registration;
    let birth_date = checked(&input.birth_date, problems, |day| {
        validate::birth_date(&["input", "birthDate"], *day, today, config)
    });
    if config.birth_date_required && birth_date == Some(None) {
        let message = "A birth date is needed.";
        problems.add(UserError::invalid(
            &["input", "birthDate"],
            "REQUIRED",
            (None, None),
            message,
        ));
    }
    birth_date
}

fn coaching_goals(input: &UpdateProfileInput, problems: &mut Problems) -> Option<Json> {
    let goals = checked(&input.coaching_goals, problems, |goals| {
        json_object(&["input", "coachingGoals"], goals)
    });
    goals.map(|goals| goals.unwrap_or_else(empty))
}

fn empty() -> Json {
    Json(serde_json::json!({}))
}

fn preference_merge(
    input: &UpdateProfileInput,
    problems: &mut Problems,
) -> Option<PreferenceMerge> {
    let MaybeUndefined::Value(preferences) = &input.preferences else {
        return None;
    };
    let mut set = problems.take(json_object(&["input", "preferences"], preferences))?;
    let mut remove = Vec::new();
    if let serde_json::Value::Object(map) = &mut set.0 {
        map.retain(|key, value| {
            if value.is_null() {
                remove.push(key.clone());
            }
            !value.is_null()
        });
    }
    Some(PreferenceMerge { set, remove })
}

/// `None` where the value was left out, `Some(None)` where it is null or refused, else the value as
/// `check` gives it.
pub(super) fn checked<T, U>(
    value: &MaybeUndefined<T>,
    problems: &mut Problems,
    check: impl FnOnce(&T) -> Result<U, UserError>,
) -> Option<Option<U>> {
    value
        .as_opt_ref()
        .map(|value| value.and_then(|value| problems.take(check(value))))
}

fn or_default<T: Copy>(value: &MaybeUndefined<T>, default: T) -> Option<T> {
    value
        .as_opt_ref()
        .map(|value| value.copied().unwrap_or(default))
}
