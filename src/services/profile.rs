//! Changing names and profile of an account.

use async_graphql::{InputObject, MaybeUndefined};
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::{Error, OnConstraint as _, Result, UserError};
use crate::models::profile::{
    CoachingStyle, NotificationFrequency, PreferenceMerge, Profile, ProfileChanges,
    SessionFrequency, Theme,
};
use crate::models::user::{User, UserChanges};
use crate::scalar::{Date, Json, Url};
use crate::services::json::{MAX_JSON_BYTES, json_object};
use crate::services::registration::username_taken;
use crate::services::validate::{self, Problems};

/// New values for names and profile. A field left out stays. Null clears it, or sets it back to
/// its default where a value is compulsory.
#[derive(InputObject, Clone, Default)]
pub struct UpdateProfileInput {
    /// Absolute `http` or `https` address of a picture, at most 500 characters.
    pub avatar_url: MaybeUndefined<String>,
    /// At most 500 characters.
    pub bio: MaybeUndefined<String>,
    /// Day of birth.
    pub birth_date: MaybeUndefined<Date>,
    /// What the person wants out of coaching; an object.
    pub coaching_goals: MaybeUndefined<Json>,
    /// Send notices by mail; `true` by default.
    pub email_notifications: MaybeUndefined<bool>,
    /// Given name, at most 150 characters.
    pub first_name: MaybeUndefined<String>,
    /// Name as it is to be shown; 2 to 255 characters. Cannot be cleared.
    pub full_name: MaybeUndefined<String>,
    /// BCP 47 tag; `en` by default.
    pub language: MaybeUndefined<String>,
    /// Family name, at most 150 characters.
    pub last_name: MaybeUndefined<String>,
    /// How often notices are bundled; `DAILY` by default.
    pub notification_frequency: MaybeUndefined<NotificationFrequency>,
    /// An object, merged key by key: a null in it removes the key. Null instead of an object removes all.
    pub preferences: MaybeUndefined<Json>,
    /// Tone the coach should take.
    pub preferred_coaching_style: MaybeUndefined<CoachingStyle>,
    /// Send notices to devices; `true` by default.
    pub push_notifications: MaybeUndefined<bool>,
    /// How often the person wants to meet.
    pub session_frequency: MaybeUndefined<SessionFrequency>,
    /// Colour scheme; `LIGHT` by default.
    pub theme: MaybeUndefined<Theme>,
    /// IANA name; `UTC` by default.
    pub timezone: MaybeUndefined<String>,
    /// Letters, digits and underscores, at most 150.
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
    let user_changes = user_changes(app, &input, &mut problems);
    let merge = preference_merge(&input, &mut problems);
    let profile_changes = profile_changes(&input, &mut problems);
    problems.finish()?;
    let (id, now) = (actor.user_id(), app.now());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        if let Some(Some(username)) = &user_changes.username
            && User::is_reserved(conn, username, Some(id)).await?
        {
            return Err(username_taken().into());
        }
        let user = User::update(conn, id, &user_changes, now)
            .await
            .on_constraint("users_username_key", username_taken)?
            .ok_or(Error::Unauthenticated)?;
        let profile = Profile::update(conn, id, &profile_changes, merge.as_ref(), now)
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
        Ok((user, profile))
    })
    .await
}

fn user_changes(app: &App, input: &UpdateProfileInput, problems: &mut Problems) -> UserChanges {
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
    let mut part = |value: &MaybeUndefined<String>, field: &str| {
        checked(value, problems, |name| {
            validate::part_of_name(&["input", field], name)
        })
        .map(Option::flatten)
    };
    UserChanges {
        full_name,
        birth_date,
        first_name: part(&input.first_name, "firstName"),
        last_name: part(&input.last_name, "lastName"),
        username: checked(&input.username, problems, |name| {
            validate::username(&["input", "username"], name)
        }),
        avatar_url: checked(&input.avatar_url, problems, |url| {
            validate::web_address(&["input", "avatarUrl"], url).map(Url)
        }),
    }
}

fn profile_changes(input: &UpdateProfileInput, problems: &mut Problems) -> ProfileChanges {
    let goals = checked(&input.coaching_goals, problems, |goals| {
        json_object(&["input", "coachingGoals"], goals)
    });
    let empty = || Json(serde_json::json!({}));
    ProfileChanges {
        bio: checked(&input.bio, problems, |bio| {
            validate::text(&["input", "bio"], bio, 500)
        }),
        timezone: checked(&input.timezone, problems, |zone| {
            validate::timezone(&["input", "timezone"], zone)
        })
        .map(|zone| zone.unwrap_or_else(|| "UTC".to_owned())),
        coaching_goals: goals.map(|goals| goals.unwrap_or_else(empty)),
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
