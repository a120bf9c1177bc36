//! `User`: the account as clients see it, alone and in pages.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, OneofObject};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::access::Owner;
use crate::graphql::at_hand::{AtHand, ListAtHand};
use crate::graphql::audit::{self, AuditEventConnection};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{list_size, page_arguments, public, requires_permission};
use crate::graphql::loader::{
    AssignmentsOf, BackgroundOf, IdentitiesOf, PasskeysOf, PersonalizationOf, TwoFactorOf,
    UserById, VerificationsOf,
};
use crate::graphql::node::Kind;
use crate::graphql::page::{DateTimeRange, PageArguments};
use crate::graphql::session::{self, SessionConnection};
use crate::graphql::user_page::{NEWEST_FIRST, UserConnection, UserOrder, connection};
use crate::models::background::Background;
use crate::models::identity::Identity;
use crate::models::passkey::Passkey;
use crate::models::permission::SystemPermission;
use crate::models::personalization::Personalization;
use crate::models::profile::Profile;
use crate::models::role::{Assignment, Role};
use crate::models::two_factor::TwoFactorState;
use crate::models::user::{AccountStatus, User};
use crate::models::user_page::UserFilter;
use crate::models::verification_token::VerificationToken;
use crate::scalar::{Date, DateTime, EmailAddress, Url};
use crate::services::sealed;
use crate::services::users::{self, Lookup};

/// A person with an account.
#[Object]
impl User {
    /// Background in software and hardware that coaching builds on; null until it was first written.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn background(&self, ctx: &Context<'_>) -> Result<Option<Background>> {
        ctx.loaders().one(BackgroundOf(self.id)).await
    }

    /// What happened to the account and from where, the newest entry first: its part of the audit trail. 20 a page
    /// unless `first` or `last` asks otherwise, at most 100.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminSystem, true, false), directive = list_size::apply(20, page_arguments()))]
    async fn activity(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<AuditEventConnection>> {
        let arguments = PageArguments {
            after,
            before,
            first,
            last,
        };
        let activity = Box::pin(audit::activity(ctx, self.id, &arguments));
        activity.await.map(Some)
    }

    /// Address of a picture to show beside the name; null when none was chosen.
    async fn avatar_url(&self, ctx: &Context<'_>) -> Option<&Url> {
        note(ctx, self.id);
        self.avatar_url.as_ref()
    }

    /// Day of birth.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn birth_date(&self, ctx: &Context<'_>) -> Result<Option<Date>> {
        let Some(sealed) = &self.birth_date else {
            return Ok(None);
        };
        let key = ctx.loaders().data_key(self.id).await?;
        sealed::open_birth_date(&key, sealed).map(Some)
    }

    /// When coaching began or is to begin; null where that is not known.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn coaching_start_date(&self) -> Option<DateTime> {
        self.coaching_start_date
    }

    /// When the account came into being.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// Address used for sign-in and mail.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn email(&self) -> Option<&EmailAddress> {
        Some(&self.email)
    }

    /// The address in `email` has been proved.
    async fn email_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }

    /// When the address in `email` was last proved; null while it was not.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn email_verified_at(&self) -> Option<DateTime> {
        self.email_verified_at
    }

    /// Last moment at which a requested erasure can be called off (`cancelErasure`); null when none is under way.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn erases_at(&self) -> Option<DateTime> {
        self.erases_at
    }

    /// Given name; null when none was told.
    async fn first_name(&self, ctx: &Context<'_>) -> Option<&str> {
        note(ctx, self.id);
        self.first_name.as_deref()
    }

    /// Name as it is to be shown; 2 to 255 characters.
    async fn full_name(&self, ctx: &Context<'_>) -> &str {
        note(ctx, self.id);
        &self.full_name
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::User.id(self.id)
    }

    /// The account may sign in: its status is `ACTIVE`.
    async fn is_active(&self) -> bool {
        self.status == AccountStatus::Active
    }

    /// Most recent coaching session; null where none is known.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn last_coaching_session(&self) -> Option<DateTime> {
        self.last_coaching_session
    }

    /// Most recent successful sign-in; null while there was none.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn last_login_at(&self) -> Option<DateTime> {
        self.last_login_at
    }

    /// Family name; null when none was told.
    async fn last_name(&self, ctx: &Context<'_>) -> Option<&str> {
        note(ctx, self.id);
        self.last_name.as_deref()
    }

    /// Sign-in providers tied to the account, the earliest first.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn linked_accounts(&self, ctx: &Context<'_>) -> Result<Option<Vec<Identity>>> {
        ctx.loaders()
            .one(IdentitiesOf(self.id))
            .await
            .map(|linked| Some(linked.unwrap_or_default()))
    }

    /// Successful sign-ins so far.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn login_count(&self) -> Option<i32> {
        Some(self.login_count)
    }

    /// Passkeys tied to the account, the oldest first; at most 20.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn passkeys(&self, ctx: &Context<'_>) -> Result<Option<Vec<Passkey>>> {
        ctx.loaders()
            .one(PasskeysOf(self.id))
            .await
            .map(|passkeys| Some(passkeys.unwrap_or_default()))
    }

    /// Names of the permissions that the account's roles add up to, sorted.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Option<Vec<String>>> {
        ctx.loaders().permission_names(self.id).await.map(Some)
    }

    /// What was learned about the person's taste; null until it was first written.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn personalization(&self, ctx: &Context<'_>) -> Result<Option<Personalization>> {
        ctx.loaders().one(PersonalizationOf(self.id)).await
    }

    /// Self-description and coaching preferences.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn profile(&self, ctx: &Context<'_>) -> Result<Option<AtHand<Arc<Profile>>>> {
        let profile = ctx.loaders().profile(self.id).await?;
        Ok(profile.map(AtHand))
    }

    /// Roles the account holds, by name, with who gave them and when.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn role_assignments(&self, ctx: &Context<'_>) -> Result<Option<Vec<Assignment>>> {
        ctx.loaders()
            .one(AssignmentsOf(self.id))
            .await
            .map(|held| Some(held.unwrap_or_default()))
    }

    /// Roles the account holds, by name.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn roles(&self, ctx: &Context<'_>) -> Result<Option<ListAtHand<Vec<Arc<Role>>>>> {
        let roles = ctx.loaders().roles(self.id).await;
        roles.map(|roles| Some(ListAtHand(roles)))
    }

    /// Live sessions, the most recently used first; 20 a page unless `first` or `last` asks otherwise, at most 100.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false), directive = list_size::apply(20, page_arguments()))]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<SessionConnection>> {
        let arguments = PageArguments {
            after,
            before,
            first,
            last,
        };
        let sessions = Box::pin(session::connection(ctx, self.id, &arguments));
        sessions.await.map(Some)
    }

    /// Where the account is in its life.
    async fn status(&self) -> AccountStatus {
        self.status
    }

    /// State of the account's second factor.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn two_factor(&self, ctx: &Context<'_>) -> Result<Option<TwoFactorState>> {
        ctx.loaders().one(TwoFactorOf(self.id)).await
    }

    /// When status, address, password, names, profile or coaching dates of the account last changed, or its erasure
    /// was asked for or called off. Background, roles and second factors do not count.
    async fn updated_at(&self) -> DateTime {
        self.updated_at
    }

    /// Unique name of letters, digits and underscores, at most 150; null when none was chosen.
    async fn username(&self, ctx: &Context<'_>) -> Option<&str> {
        note(ctx, self.id);
        self.username.as_deref()
    }

    /// Identifier of the account in every other system: `sub` in access tokens. Given
    /// once, never changed, and it opens nothing by itself.
    async fn uuid(&self) -> Uuid {
        self.auth_token
    }

    /// Mailed tokens of the last 30 days, the newest first: that there were any, never the tokens themselves.
    #[graphql(guard = "Owner(self.id)", directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn verifications(&self, ctx: &Context<'_>) -> Result<Option<Vec<VerificationToken>>> {
        ctx.loaders()
            .one(VerificationsOf(self.id))
            .await
            .map(|tokens| Some(tokens.unwrap_or_default()))
    }
}

/// Notes that a field of the account was read which whoever sees the account may read. Those with the guard
/// `Owner` are noted by that.
fn note(ctx: &Context<'_>, user: Uuid) {
    let caller = ctx.caller();
    if !caller.is(user) {
        caller.witness().read(user, &ctx.item.node.name.node);
    }
}

/// Which single account is meant.
#[derive(OneofObject)]
pub enum UserLookup {
    /// By address, without regard to case.
    Email(String),
    /// By `User.id`.
    Id(ID),
    /// By user name, without regard to case.
    Username(String),
    /// By `User.uuid`, the identifier that other systems know.
    Uuid(Uuid),
}

/// Which accounts; all conditions given must hold.
#[derive(InputObject, Clone, Default)]
#[graphql(name = "UserFilter")]
pub struct UserFilterInput {
    /// When coaching began.
    pub coaching_start_date: Option<DateTimeRange>,
    /// When the account was opened.
    pub created_at: Option<DateTimeRange>,
    /// Whether the address has been proved.
    pub email_verified: Option<bool>,
    /// Whether the account may sign in.
    pub is_active: Option<bool>,
    /// Most recent successful sign-in.
    pub last_login_at: Option<DateTimeRange>,
    /// Holds any of these roles, by id; at most 50. Needs `admin:users`.
    pub roles: Option<Vec<ID>>,
    /// Is in any of these states.
    pub statuses: Option<Vec<AccountStatus>>,
    /// Whether the second factor is on, as `TwoFactorStatus.enabled` says. Needs `admin:users`.
    pub two_factor_enabled: Option<bool>,
}

fn filter(input: UserFilterInput, search: Option<String>) -> Result<UserFilter> {
    let words: Vec<String> = search
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(|word| word.nfc().collect())
        .collect();
    if words.len() > 8 || search.is_some_and(|text| text.chars().count() > 200) {
        return Err(Error::BadInput(
            "A search has at most 8 words and 200 characters.".to_owned(),
        ));
    }
    if input.roles.as_ref().is_some_and(|roles| roles.len() > 50) {
        return Err(Error::BadInput("At most 50 roles.".to_owned()));
    }
    let span = |range: Option<DateTimeRange>| range.map(Into::into).unwrap_or_default();
    Ok(UserFilter {
        coaching_start_date: span(input.coaching_start_date),
        created_at: span(input.created_at),
        last_login_at: span(input.last_login_at),
        email_verified: input.email_verified,
        is_active: input.is_active,
        statuses: input.statuses,
        two_factor_enabled: input.two_factor_enabled,
        // An id of something else is the id of a role that nobody holds.
        roles: input
            .roles
            .map(|ids| ids.iter().filter_map(|id| Kind::Role.uuid(id)).collect()),
        words,
    })
}

/// Reading accounts.
#[derive(Default)]
pub struct UserQuery;

#[Object]
impl UserQuery {
    /// The signed-in account; null without a session, and while the session lacks a compulsory second factor
    /// (`viewer.twoFactorOwed`).
    #[graphql(directive = public::apply())]
    async fn me(&self, ctx: &Context<'_>) -> Result<Option<AtHand<User>>> {
        let user = match ctx.caller().requester().signed_in() {
            Some(actor) if ctx.look_ahead().field("profile").exists() => {
                ctx.loaders().user_with_profile(actor.user_id()).await?
            }
            Some(actor) => ctx.loaders().one(UserById(actor.user_id())).await?,
            None => None,
        };
        Ok(user.map(AtHand))
    }

    /// One account; null when it does not exist or is not visible.
    #[graphql(directive = requires_permission::apply(SystemPermission::ReadAll, true, false))]
    async fn user(&self, ctx: &Context<'_>, by: UserLookup) -> Result<Option<AtHand<User>>> {
        let lookup = match by {
            UserLookup::Email(email) => Lookup::Email(email),
            UserLookup::Username(username) => Lookup::Username(username),
            UserLookup::Uuid(uuid) => Lookup::Uuid(uuid),
            UserLookup::Id(id) => match Kind::User.uuid(&id) {
                Some(id) => Lookup::Id(id),
                None => return Ok(None),
            },
        };
        let user = users::find(ctx.app(), ctx.actor()?, lookup).await?;
        Ok(user.map(AtHand))
    }

    /// Accounts, the newest first unless `orderBy` says otherwise; 20 a page unless `first` or `last` asks
    /// otherwise, at most 100.
    ///
    /// `search` takes up to 8 words and 200 characters, whatever their case; each word must stand in user name,
    /// mail address or one of the names. A word with three letters or digits in a row is found anywhere in them,
    /// any other one where a name begins. A word without a letter or digit finds nothing.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::ReadAll, false, false),
        directive = list_size::apply(20, page_arguments()),
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is an argument of the field"
    )]
    async fn users(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        filter: Option<UserFilterInput>,
        first: Option<i32>,
        last: Option<i32>,
        #[graphql(default_with = "Some(NEWEST_FIRST)")] order_by: Option<UserOrder>,
        search: Option<String>,
    ) -> Result<Option<UserConnection>> {
        let filter = filter.unwrap_or_default();
        // What the caller could not read may not be found out by asking for it.
        if (filter.roles.is_some() || filter.two_factor_enabled.is_some())
            && !ctx.actor()?.has(SystemPermission::AdminUsers)
        {
            return Err(Error::Forbidden);
        }
        let filter = self::filter(filter, search)?;
        let arguments = PageArguments {
            after,
            before,
            first,
            last,
        };
        connection(ctx, arguments, filter, order_by.unwrap_or(NEWEST_FIRST))
            .await
            .map(Some)
    }
}
