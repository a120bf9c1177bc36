//! Changing what is kept about a person's taste.

use async_graphql::{ID, InputObject, MaybeUndefined};
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::permission::SystemPermission;
use crate::models::personalization::{Personalization, PersonalizationChanges};
use crate::models::user::User;
use crate::services::audit::{AuditAction, Entry};
use crate::services::profile::checked;
use crate::services::validate::{self, Problems};

/// New values for what was learned about taste. A field left out stays; null clears it to an empty list.
#[derive(InputObject, Clone, Default)]
pub struct UpdatePersonalizationInput {
    /// Categories in order of preference; at most 200 of at most 200 characters each.
    pub preferred_categories: MaybeUndefined<Vec<String>>,
    /// Keys of the content to offer next; at most 200 of at most 200 characters each.
    pub recommended_content: MaybeUndefined<Vec<String>>,
    /// Id of the account; the caller's own when left out.
    pub user_id: Option<ID>,
}

/// Changes what is kept about the taste of `user`: the caller where they may change their
/// own account, or anybody for a caller who may change any. No id names nobody.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value; `NOT_FOUND` for an account that does not exist or is
/// not the caller's to change.
pub async fn update(
    app: &App,
    actor: &Actor,
    user: Option<Uuid>,
    input: UpdatePersonalizationInput,
) -> Result<(User, Personalization)> {
    let user = user.ok_or_else(not_found)?;
    let own = user == actor.user_id();
    if !actor.has(SystemPermission::WriteAll) {
        if !own {
            return Err(not_found());
        }
        if !actor.has(SystemPermission::WriteOwn) {
            return Err(Error::Forbidden);
        }
    }
    let mut problems = Problems::default();
    let changes = changes(&input, &mut problems);
    problems.finish()?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let account = User::by_ids(conn, &[user])
            .await?
            .pop()
            .ok_or_else(not_found)?;
        let entry = Entry::by(actor, AuditAction::ProfileUpdated).on(user);
        let entry = entry.with("of", "personalization");
        entry.record(app, conn).await?;
        Ok((
            account,
            Personalization::upsert(conn, user, &changes, now).await?,
        ))
    })
    .await
}

/// What an input changes, checked.
pub(super) fn changes(
    input: &UpdatePersonalizationInput,
    problems: &mut Problems,
) -> PersonalizationChanges {
    let mut list = |value: &MaybeUndefined<Vec<String>>, field: &str| {
        checked(value, problems, |list| {
            validate::list(&["input", field], list)
        })
        .map(Option::unwrap_or_default)
    };
    PersonalizationChanges {
        recommended_content: list(&input.recommended_content, "recommendedContent"),
        preferred_categories: list(&input.preferred_categories, "preferredCategories"),
    }
}

/// What is said of an account that the caller cannot see or change.
#[must_use]
pub fn not_found() -> Error {
    UserError::at(
        UserErrorCode::NotFound,
        &["input", "userId"],
        "There is no such account.",
    )
    .into()
}
