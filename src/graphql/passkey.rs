//! `Passkey`: adding, naming and removing passkeys, and signing in with one.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public, requires_session};
use crate::graphql::error::settle;
use crate::graphql::login::{SignInPayload, finished};
use crate::graphql::node::Kind;
use crate::graphql::role::AccountPayload;
use crate::metrics::LoginMethod;
use crate::models::passkey::Passkey;
use crate::models::user::User;
use crate::scalar::{DateTime, Json};
use crate::services::passkey::{self, Ceremony, FinishPasskeyRegistrationInput};
use crate::services::passkey_sign_in::{self, FinishPasskeySignInInput, StartPasskeySignInInput};

/// A passkey (WebAuthn credential) tied to an account.
#[Object]
impl Passkey {
    /// When it was added.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Passkey.id(self.id)
    }

    /// When somebody last signed in or confirmed their identity with it; null while nobody did.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.last_used_at
    }

    /// Name that the person gave it.
    async fn name(&self) -> &str {
        &self.name
    }
}

/// What the browser's WebAuthn call needs.
#[derive(SimpleObject)]
pub struct StartPasskeyPayload {
    /// For the second half, which needs it beside the answer of the authenticator; good once, for five minutes.
    /// Null exactly when `errors` is not empty.
    challenge_token: Option<String>,
    /// Why nothing was begun; empty on success.
    errors: Vec<UserError>,
    /// For `navigator.credentials`, in the JSON form of WebAuthn Level 3: what
    /// `PublicKeyCredential.parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON` take. Null exactly when
    /// `errors` is not empty.
    options: Option<Json>,
}

impl StartPasskeyPayload {
    fn new(ceremony: Option<Ceremony>, errors: Vec<UserError>) -> Self {
        let (challenge_token, options) = ceremony
            .map(|begun| (begun.challenge_token.expose().to_owned(), begun.options))
            .unzip();
        Self {
            challenge_token,
            errors,
            options,
        }
    }
}

/// The passkey after the change.
#[derive(SimpleObject)]
pub struct PasskeyPayload {
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// The passkey; null exactly when `errors` is not empty.
    passkey: Option<Passkey>,
    /// Owner of the passkey; null exactly when `errors` is not empty.
    user: Option<User>,
}

impl PasskeyPayload {
    fn new(changed: Option<(User, Passkey)>, errors: Vec<UserError>) -> Self {
        let (user, passkey) = changed.unzip();
        Self {
            errors,
            passkey,
            user,
        }
    }
}

/// The passkey to remove.
#[derive(InputObject)]
pub struct RemovePasskeyInput {
    /// Id of the passkey.
    pub passkey_id: ID,
}

/// The passkey to give another name.
#[derive(InputObject)]
pub struct RenamePasskeyInput {
    /// What the person calls it from now on; 1 to 100 characters.
    pub name: String,
    /// Id of the passkey.
    pub passkey_id: ID,
}

/// Adding, naming and removing passkeys, and signing in with one.
#[derive(Default)]
pub struct PasskeyMutation;

#[Object]
impl PasskeyMutation {
    /// First half of adding a passkey; `finishPasskeyRegistration` is the second. `REJECTED` where the account has
    /// 20 already, or the server is reached by an IP address.
    #[graphql(directive = requires_session::apply(true, true))]
    async fn start_passkey_registration(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<StartPasskeyPayload>> {
        let (client, actor) = (ctx.caller().client(), ctx.actor_before_second_factor()?);
        let begun = passkey::start_registration(ctx.app(), client, actor).await;
        let (begun, errors) = settle(ctx, begun)?;
        Ok(Some(StartPasskeyPayload::new(begun, errors)))
    }

    /// Second half of adding a passkey. The owner is told by mail. Where it is refused (`TOKEN_REJECTED`), begin
    /// again with `startPasskeyRegistration`.
    #[graphql(directive = requires_session::apply(true, true), directive = cost::apply(20))]
    async fn finish_passkey_registration(
        &self,
        ctx: &Context<'_>,
        input: FinishPasskeyRegistrationInput,
    ) -> Result<Option<PasskeyPayload>> {
        let actor = ctx.actor_before_second_factor()?;
        let added = passkey::finish_registration(ctx.app(), actor, input).await;
        let (added, errors) = settle(ctx, added)?;
        Ok(Some(PasskeyPayload::new(added, errors)))
    }

    /// Give a passkey of the caller another name.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn rename_passkey(
        &self,
        ctx: &Context<'_>,
        input: RenamePasskeyInput,
    ) -> Result<Option<PasskeyPayload>> {
        let id = Kind::Passkey.uuid(&input.passkey_id);
        let renamed = passkey::rename(ctx.app(), ctx.actor()?, id, &input.name).await;
        let (renamed, errors) = settle(ctx, renamed)?;
        Ok(Some(PasskeyPayload::new(renamed, errors)))
    }

    /// Remove a passkey of the caller. Refused with `PROTECTED` when it is the only way in, or the only second
    /// factor where one is compulsory. The owner is told by mail.
    #[graphql(directive = requires_session::apply(true, false))]
    async fn remove_passkey(
        &self,
        ctx: &Context<'_>,
        input: RemovePasskeyInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::Passkey.uuid(&input.passkey_id);
        let removed = passkey::remove(ctx.app(), ctx.actor()?, id).await;
        let (user, errors) = settle(ctx, removed)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// First half of a sign-in with a passkey; `finishPasskeySignIn` is the second. Without a `challengeToken` the
    /// answer says nothing about any account; with one of `TwoFactorRequired` the passkey is to prove the second
    /// factor. It also begins a `PasskeyProofInput`.
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn start_passkey_sign_in(
        &self,
        ctx: &Context<'_>,
        input: Option<StartPasskeySignInInput>,
    ) -> Result<Option<StartPasskeyPayload>> {
        let begun = passkey_sign_in::start(ctx.app(), ctx.caller().client(), input).await;
        let (begun, errors) = settle(ctx, begun)?;
        Ok(Some(StartPasskeyPayload::new(begun, errors)))
    }

    /// Second half of a sign-in with a passkey. Whoever holds it and was verified by its authenticator has proved
    /// two factors: no other is asked for. Where it is refused (`TOKEN_REJECTED`), begin again with
    /// `startPasskeySignIn`.
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn finish_passkey_sign_in(
        &self,
        ctx: &Context<'_>,
        input: FinishPasskeySignInInput,
    ) -> Result<Option<SignInPayload>> {
        let caller = ctx.caller();
        let may_deliver = |delivery| caller.may_deliver(delivery);
        let verified =
            passkey_sign_in::finish(ctx.app(), caller.client(), &input, may_deliver).await;
        let result = verified.map(|verified| (verified.sign_in, verified.delivery));
        finished(ctx, LoginMethod::Passkey, result)
    }
}
