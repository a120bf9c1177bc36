//! Changing what an account says of itself: profile, background, personalization.

use async_graphql::{ComplexObject, Context, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::requires_permission;
use crate::graphql::error::settle;
use crate::graphql::node::Kind;
use crate::models::background::Background;
use crate::models::permission::SystemPermission;
use crate::models::personalization::Personalization;
use crate::models::profile::Profile;
use crate::models::user::User;
use crate::scalar::Json;
use crate::services::background::UpdateBackgroundInput;
use crate::services::personalization::UpdatePersonalizationInput;
use crate::services::profile::UpdateProfileInput;
use crate::services::{background, personalization, profile, sealed};

#[ComplexObject]
impl Profile {
    /// What the person wants out of coaching; an object.
    async fn coaching_goals(&self, ctx: &Context<'_>) -> Result<Json> {
        let Some(sealed) = &self.coaching_goals else {
            return Ok(Json(serde_json::json!({})));
        };
        let key = ctx.loaders().data_key(self.user_id).await?;
        sealed::open_coaching_goals(&key, sealed)
    }
}

/// The profile after the change.
#[derive(SimpleObject)]
pub struct UpdateProfilePayload {
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// The profile; null exactly when `errors` is not empty.
    profile: Option<Profile>,
    /// The account; null exactly when `errors` is not empty.
    user: Option<User>,
}

/// The background after the change.
#[derive(SimpleObject)]
pub struct UpdateBackgroundPayload {
    /// The background; null exactly when `errors` is not empty.
    background: Option<Background>,
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// The account; null exactly when `errors` is not empty.
    user: Option<User>,
}

/// What was learned about taste, after the change.
#[derive(SimpleObject)]
pub struct UpdatePersonalizationPayload {
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// What was learned about taste, after the change; null exactly when `errors` is not empty.
    personalization: Option<Personalization>,
    /// The account; null exactly when `errors` is not empty.
    user: Option<User>,
}

/// Changing what an account says of itself.
#[derive(Default)]
pub struct ProfileMutation;

#[Object]
impl ProfileMutation {
    /// Change the background of the caller's account: all that is given, or nothing. A field left out stays; null
    /// clears it.
    #[graphql(directive = requires_permission::apply(SystemPermission::WriteOwn, false, false))]
    async fn update_background(
        &self,
        ctx: &Context<'_>,
        input: UpdateBackgroundInput,
    ) -> Result<Option<UpdateBackgroundPayload>> {
        let (changed, errors) = settle(
            ctx,
            background::update(ctx.app(), ctx.actor()?, input).await,
        )?;
        let (user, background) = changed.unzip();
        Ok(Some(UpdateBackgroundPayload {
            background,
            errors,
            user,
        }))
    }

    /// Change what was learned about a person's taste: for the own account with `write:own`, for any with
    /// `write:all`. A field left out stays; null clears it.
    #[graphql(directive = requires_permission::apply(SystemPermission::WriteAll, true, false))]
    async fn update_personalization(
        &self,
        ctx: &Context<'_>,
        input: UpdatePersonalizationInput,
    ) -> Result<Option<UpdatePersonalizationPayload>> {
        let actor = ctx.actor()?;
        let user = match &input.user_id {
            None => Some(actor.user_id()),
            Some(id) => Kind::User.uuid(id),
        };
        let (changed, errors) = settle(
            ctx,
            personalization::update(ctx.app(), actor, user, input).await,
        )?;
        let (user, personalization) = changed.unzip();
        Ok(Some(UpdatePersonalizationPayload {
            errors,
            personalization,
            user,
        }))
    }

    /// Change names and profile of the caller's account: all that is given, or nothing. A field left out stays;
    /// null clears it.
    #[graphql(directive = requires_permission::apply(SystemPermission::WriteOwn, false, false))]
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        input: UpdateProfileInput,
    ) -> Result<Option<UpdateProfilePayload>> {
        let (changed, errors) = settle(ctx, profile::update(ctx.app(), ctx.actor()?, input).await)?;
        let (user, profile) = changed.unzip();
        Ok(Some(UpdateProfilePayload {
            errors,
            profile,
            user,
        }))
    }
}
