//! `Viewer` and `AuthOptions`: what a front end asks before anything else.

use async_graphql::{Context, Object, SimpleObject};

use crate::auth::requester::Actor;
use crate::error::{Error, Result};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::public;
use crate::models::session::Session;
use crate::models::user::User;

/// The caller, signed in or not.
pub struct Viewer(Option<Actor>);

/// The caller, signed in or not.
#[Object]
impl Viewer {
    /// Whether each of these permissions is held, in the order asked; at most 100.
    fn has_permissions(&self, names: Vec<String>) -> Result<Vec<bool>> {
        if names.len() > 100 {
            return Err(Error::BadInput("At most 100 names.".to_owned()));
        }
        let holds = |name: String| self.0.as_ref().is_some_and(|actor| actor.holds(&name));
        Ok(names.into_iter().map(holds).collect())
    }

    /// Whether somebody is signed in.
    async fn is_authenticated(&self) -> bool {
        self.0.is_some()
    }

    /// Names of all permissions that the caller's roles add up to, sorted.
    async fn permissions(&self) -> &[String] {
        self.0.as_ref().map(Actor::permissions).unwrap_or_default()
    }

    /// The session that makes this request; null without one.
    async fn session(&self) -> Option<&Session> {
        self.0.as_ref().map(Actor::session)
    }

    /// The signed-in account; null without a session.
    async fn user(&self) -> Option<&User> {
        self.0.as_ref().map(Actor::user)
    }
}

/// What a sign-in page must know before anyone has signed in.
#[derive(SimpleObject)]
pub struct AuthOptions {
    /// What a new password must look like.
    password_policy: PasswordPolicy,
    /// Whether strangers may open accounts.
    registration_open: bool,
}

/// What a new password must look like, for a checklist beside the field.
#[derive(SimpleObject)]
pub struct PasswordPolicy {
    /// Most characters.
    maximum_length: i32,
    /// Fewest characters.
    minimum_length: i32,
    /// Needs a digit.
    requires_digit: bool,
    /// Needs a lower-case letter.
    requires_lowercase: bool,
    /// Needs a character that is neither letter nor digit.
    requires_special: bool,
    /// Needs an upper-case letter.
    requires_uppercase: bool,
}

/// What a front end asks first.
#[derive(Default)]
pub struct ViewerQuery;

#[Object]
impl ViewerQuery {
    /// What a sign-in page must know.
    #[graphql(directive = public::apply())]
    async fn auth_options(&self, ctx: &Context<'_>) -> AuthOptions {
        let config = &ctx.app().config;
        let policy = &config.password;
        let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        AuthOptions {
            password_policy: PasswordPolicy {
                maximum_length: length(policy.max_length),
                minimum_length: length(policy.min_length),
                requires_digit: policy.require_digit,
                requires_lowercase: policy.require_lowercase,
                requires_special: policy.require_special,
                requires_uppercase: policy.require_uppercase,
            },
            registration_open: config.registration.open,
        }
    }

    /// The caller, signed in or not.
    #[graphql(directive = public::apply())]
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        Viewer(ctx.caller().requester().signed_in().cloned())
    }
}
