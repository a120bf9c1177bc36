//! Changing the background of an account.

use async_graphql::{InputObject, MaybeUndefined};
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::{Error, Result};
use crate::models::background::{Background, BackgroundChanges, ExperienceLevel};
use crate::models::user::User;
use crate::scalar::Json;
use crate::services::audit::{AuditAction, Entry};
use crate::services::json::json_object;
use crate::services::profile::checked;
use crate::services::validate::{self, Problems};

/// New values for the background. A field left out stays; null clears it, a list to an empty one.
#[derive(InputObject, Clone, Default)]
pub struct UpdateBackgroundInput {
    /// Self-assessed level.
    pub experience_level: MaybeUndefined<ExperienceLevel>,
    /// Machines and peripherals; an object.
    pub hardware_setup: MaybeUndefined<Json>,
    /// Main field of work, at most 255 characters.
    pub primary_domain: MaybeUndefined<String>,
    /// Languages in use, the strongest first; at most 200 of at most 200 characters each.
    pub programming_languages: MaybeUndefined<Vec<String>>,
    /// Tools in use; at most 200 of at most 200 characters each.
    pub software_tools: MaybeUndefined<Vec<String>>,
    /// Editor, keyboard, build habits and the like; an object.
    pub technical_preferences: MaybeUndefined<Json>,
}

/// Changes the background of the caller's account: all of it, or nothing.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value.
pub async fn update(
    app: &App,
    actor: &Actor,
    input: UpdateBackgroundInput,
) -> Result<(User, Background)> {
    let mut problems = Problems::default();
    let changes = changes(&input, &mut problems);
    problems.finish()?;
    let (id, now) = (actor.user_id(), app.now());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // As it is now: an earlier mutation of the same document may have changed it.
        let user = User::by_ids(conn, &[id]).await?.pop();
        let user = user.ok_or(Error::Unauthenticated)?;
        let entry = Entry::own(actor, AuditAction::ProfileUpdated);
        entry.with("of", "background").record(app, conn).await?;
        Ok((user, Background::upsert(conn, id, &changes, now).await?))
    })
    .await
}

/// What an input changes, checked.
pub(super) fn changes(input: &UpdateBackgroundInput, problems: &mut Problems) -> BackgroundChanges {
    let mut object = |value: &MaybeUndefined<Json>, field: &str| {
        checked(value, problems, |json| json_object(&["input", field], json))
    };
    let hardware_setup = object(&input.hardware_setup, "hardwareSetup");
    let technical_preferences = object(&input.technical_preferences, "technicalPreferences");
    let mut list = |value: &MaybeUndefined<Vec<String>>, field: &str| {
        checked(value, problems, |list| {
            validate::list(&["input", field], list)
        })
        .map(Option::unwrap_or_default)
    };
    let software_tools = list(&input.software_tools, "softwareTools");
    let programming_languages = list(&input.programming_languages, "programmingLanguages");
    let primary_domain = checked(&input.primary_domain, problems, |domain| {
        validate::line(&["input", "primaryDomain"], domain, 1, 255)
    });
    BackgroundChanges {
        software_tools,
        programming_languages,
        hardware_setup,
        technical_preferences,
        experience_level: input.experience_level.into(),
        primary_domain,
    }
}
