//! `Viewer` and `AuthOptions`: what a front end asks before anything else.

use async_graphql::{Context, Object, SimpleObject};

use crate::auth::requester::{Actor, Requester};
use crate::config::{TwoFactorRequirement, password};
use crate::error::{Error, Result};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::public;
use crate::graphql::loader::{SessionById, UserById};
use crate::models::session::Session;
use crate::models::user::User;

/// The caller, signed in or not.
pub struct Viewer {
    actor: Option<Actor>,
    two_factor_owed: bool,
}

/// The caller, signed in or not.
#[Object]
impl Viewer {
    /// Whether the caller holds each of these permissions, in the order asked; at most 100.
    fn has_permissions(&self, names: Vec<String>) -> Result<Vec<bool>> {
        if names.len() > 100 {
            return Err(Error::BadInput("At most 100 names.".to_owned()));
        }
        let holds = |name: String| self.actor.as_ref().is_some_and(|actor| actor.holds(&name));
        Ok(names.into_iter().map(holds).collect())
    }

    /// Whether somebody is signed in; false while `twoFactorOwed`.
    async fn is_authenticated(&self) -> bool {
        self.actor.is_some()
    }

    /// Names of all permissions that the caller's roles add up to, sorted; empty while nobody is signed in.
    async fn permissions(&self) -> &[String] {
        self.actor
            .as_ref()
            .map(Actor::permissions)
            .unwrap_or_default()
    }

    /// The session that makes this request; null without one, and while `twoFactorOwed`.
    async fn session(&self, ctx: &Context<'_>) -> Result<Option<Session>> {
        match &self.actor {
            Some(actor) => ctx.loaders().one(SessionById(actor.session_id())).await,
            None => Ok(None),
        }
    }

    /// There is a session, but it lacks a second factor that is compulsory for its account. It can set one up
    /// (`enableTwoFactor`, `startPasskeyRegistration`) or prove it (`reauthenticate`), and is nobody to everything
    /// else.
    async fn two_factor_owed(&self) -> bool {
        self.two_factor_owed
    }

    /// The signed-in account; null without a session, and while `twoFactorOwed`.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        match &self.actor {
            Some(actor) => ctx.loaders().one(UserById(actor.user_id())).await,
            None => Ok(None),
        }
    }
}

/// What pages for signing in and up must know before anyone has signed in.
#[derive(SimpleObject)]
pub struct AuthOptions {
    /// `register` wants a birth date.
    birth_date_required: bool,
    /// Least age in years of somebody who gives a birth date; null for none.
    minimum_age: Option<i32>,
    /// What a new password must be like.
    password_policy: PasswordPolicy,
    /// The outside services that one can sign in with (`startOAuthSignIn`), in the operator's order.
    providers: Vec<SignInProvider>,
    /// Whether strangers may open accounts; if not, `register` answers `REJECTED`.
    registration_open: bool,
    /// A second factor is compulsory for every account.
    two_factor_required: bool,
}

/// An outside service that accounts can sign in with.
#[derive(SimpleObject)]
pub struct SignInProvider {
    /// What it is called, for a button.
    display_name: String,
    /// Name for the arguments `provider`. Set per deployment, hence not an enum.
    slug: String,
}

/// What a new password must look like, for a checklist beside the field.
///
/// A password that breaks a rule is refused with one of `LENGTH`, `PASSWORD_UPPERCASE`,
/// `PASSWORD_LOWERCASE`, `PASSWORD_DIGIT`, `PASSWORD_SPECIAL`, `PASSWORD_BREACHED`,
/// `PASSWORD_PERSONAL` and `PASSWORD_REUSED`.
#[derive(SimpleObject)]
pub struct PasswordPolicy {
    /// How many former passwords may not be used again; 0 for none.
    history_depth: i32,
    /// Days until a password has to be changed; then `login` answers `PasswordExpired`. Null for never.
    maximum_age_days: Option<i32>,
    /// Most characters, counted in Unicode code points.
    maximum_length: i32,
    /// Fewest characters, counted in Unicode code points.
    minimum_length: i32,
    /// Refused when it is common or known from breaches, or holds the person's name, user name or
    /// address or the name of the service.
    refuses_common: bool,
    /// Needs a digit, 0 to 9.
    requires_digit: bool,
    /// Needs a lower-case letter.
    requires_lowercase: bool,
    /// Needs a character that is neither letter nor digit.
    requires_special: bool,
    /// Needs an upper-case letter.
    requires_uppercase: bool,
}

impl From<password::PasswordPolicy> for PasswordPolicy {
    fn from(policy: password::PasswordPolicy) -> Self {
        let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        Self {
            history_depth: policy.history_depth.into(),
            maximum_age_days: policy.maximum_age_days.map(Into::into),
            maximum_length: length(policy.maximum_length),
            minimum_length: length(policy.minimum_length),
            refuses_common: policy.refuses_common,
            requires_digit: policy.requires_digit,
            requires_lowercase: policy.requires_lowercase,
            requires_special: policy.requires_special,
            requires_uppercase: policy.requires_uppercase,
        }
    }
}

/// What a front end asks first.
#[derive(Default)]
pub struct ViewerQuery;

#[Object]
impl ViewerQuery {
    /// What pages for signing in and up must know before anyone has signed in.
    #[graphql(directive = public::apply())]
    async fn auth_options(&self, ctx: &Context<'_>) -> AuthOptions {
        let app = ctx.app();
        let config = &app.config;
        let providers = app.providers.iter();
        let providers = providers.map(|provider| SignInProvider {
            display_name: provider.name.clone(),
            slug: provider.slug.clone(),
        });
        let registration = &config.registration;
        AuthOptions {
            birth_date_required: registration.birth_date_required,
            minimum_age: i32::try_from(registration.minimum_age)
                .ok()
                .filter(|age| *age > 0),
            password_policy: config.password_policy().into(),
            providers: providers.collect(),
            registration_open: registration.open,
            two_factor_required: config.two_factor_required() == TwoFactorRequirement::Everybody,
        }
    }

    /// The caller, signed in or not.
    #[graphql(directive = public::apply())]
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        let requester = ctx.caller().requester();
        Viewer {
            actor: requester.signed_in().cloned(),
            two_factor_owed: matches!(requester, Requester::Unproven(_)),
        }
    }
}
