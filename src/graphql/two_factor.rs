//! The second factor: setting it up, proving it, and taking it off.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::account::UserIdInput;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, public, requires_permission, requires_session};
use crate::graphql::error::settle;
use crate::graphql::login::{SignInPayload, finished};
use crate::graphql::node::Kind;
use crate::graphql::role::AccountPayload;
use crate::metrics::LoginMethod;
use crate::models::permission::SystemPermission;
use crate::models::two_factor::TwoFactorState;
use crate::models::user::User;
use crate::scalar::DateTime;
use crate::services::confirm::ConfirmIdentityInput;
use crate::services::second_step::{self, VerifyTwoFactorInput};
use crate::services::two_factor::{self, ConfirmTwoFactorInput};

/// State of the second factor. Passkeys, which prove it too, stand in `User.passkeys`.
#[Object(name = "TwoFactorStatus")]
impl TwoFactorState {
    /// The account must have a second factor: an authenticator app or a passkey.
    async fn compulsory(&self, ctx: &Context<'_>) -> bool {
        ctx.app().config.two_factor_required().asks(self.by_role)
    }

    /// When the authenticator app was confirmed; null while `enabled` is false.
    async fn confirmed_at(&self) -> Option<DateTime> {
        self.confirmed_at
    }

    /// An authenticator app is set up, and signing in with a password or a provider asks for a second factor. One
    /// that is compulsory is asked for also where this is false and the account has a passkey.
    #[graphql(name = "enabled")]
    async fn is_enabled(&self) -> bool {
        self.enabled()
    }

    /// Recovery codes that have not been used, of ten; `regenerateRecoveryCodes` makes new ones.
    #[graphql(name = "recoveryCodesLeft")]
    async fn left(&self) -> i32 {
        i32::try_from(self.recovery_codes_left).unwrap_or(i32::MAX)
    }
}

/// What an authenticator app needs.
#[derive(SimpleObject)]
pub struct EnableTwoFactorPayload {
    /// Always empty.
    errors: Vec<UserError>,
    /// What an authenticator app needs to show codes.
    setup: Option<TwoFactorSetup>,
}

/// What an authenticator app needs, shown this once: six digits, every 30 seconds, SHA-1 (TOTP, RFC 6238).
#[derive(SimpleObject)]
pub struct TwoFactorSetup {
    /// Until when `confirmTwoFactor` takes the first code: 15 minutes from now.
    expires_at: DateTime,
    /// The whole as an `otpauth://` address, to be drawn as a QR code by the client.
    otpauth_uri: String,
    /// The secret alone, for typing in, in base 32 (RFC 4648).
    secret: String,
}

/// New recovery codes.
#[derive(SimpleObject)]
pub struct RecoveryCodesPayload {
    /// Why there are none; empty on success.
    errors: Vec<UserError>,
    /// Ten codes of the form `XXXX-XXXX-XXXX-XXXX`, each good once, shown this once; null exactly when `errors` is
    /// not empty.
    recovery_codes: Option<Vec<String>>,
    /// The account; null exactly when `errors` is not empty.
    user: Option<User>,
}

impl RecoveryCodesPayload {
    fn new(made: Option<(User, Vec<String>)>, errors: Vec<UserError>) -> Self {
        let (user, recovery_codes) = made.unzip();
        Self {
            errors,
            recovery_codes,
            user,
        }
    }
}

/// The second factor.
#[derive(Default)]
pub struct TwoFactorMutation;

#[Object]
impl TwoFactorMutation {
    /// Finish setting up the second factor with a code from the authenticator app; returns the recovery codes once.
    /// Other sessions end, trusted devices are forgotten, and the owner is told by mail.
    #[graphql(directive = requires_session::apply(true, true))]
    async fn confirm_two_factor(
        &self,
        ctx: &Context<'_>,
        input: ConfirmTwoFactorInput,
    ) -> Result<Option<RecoveryCodesPayload>> {
        let actor = ctx.actor_before_second_factor()?;
        let (made, errors) = settle(ctx, two_factor::confirm(ctx.app(), actor, &input).await)?;
        if made.is_some() {
            ctx.caller().proved_second_factor(actor);
        }
        Ok(Some(RecoveryCodesPayload::new(made, errors)))
    }

    /// Switch the second factor off: the authenticator app and the recovery codes are forgotten, passkeys stay. The
    /// input proves anew who asks. Other sessions end, trusted devices are forgotten, and the owner is told by
    /// mail. Refused with `PROTECTED` where one is compulsory and the account has no passkey.
    #[graphql(directive = requires_session::apply(false, false), directive = cost::apply(20))]
    async fn disable_two_factor(
        &self,
        ctx: &Context<'_>,
        input: ConfirmIdentityInput,
    ) -> Result<Option<AccountPayload>> {
        let result = two_factor::disable(ctx.app(), ctx.actor()?, input).await;
        let (user, errors) = settle(ctx, result)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Begin setting up a second factor in an authenticator app; nothing changes until `confirmTwoFactor`. Where it
    /// is on, the new app then takes the place of the one before.
    #[graphql(directive = requires_session::apply(true, true))]
    async fn enable_two_factor(&self, ctx: &Context<'_>) -> Result<Option<EnableTwoFactorPayload>> {
        let actor = ctx.actor_before_second_factor()?;
        let (setup, errors) = settle(ctx, two_factor::enable(ctx.app(), actor).await)?;
        let setup = setup.map(|setup| TwoFactorSetup {
            expires_at: setup.expires_at,
            otpauth_uri: setup.otpauth_uri,
            secret: setup.secret,
        });
        Ok(Some(EnableTwoFactorPayload { errors, setup }))
    }

    /// Throw away the old recovery codes and return new ones once; the input proves anew who asks. The owner is
    /// told by mail. `REJECTED` while the second factor is off.
    #[graphql(directive = requires_session::apply(false, false), directive = cost::apply(20))]
    async fn regenerate_recovery_codes(
        &self,
        ctx: &Context<'_>,
        input: ConfirmIdentityInput,
    ) -> Result<Option<RecoveryCodesPayload>> {
        let result = two_factor::regenerate(ctx.app(), ctx.actor()?, input).await;
        let (made, errors) = settle(ctx, result)?;
        Ok(Some(RecoveryCodesPayload::new(made, errors)))
    }

    /// Take the second factor off an account whose owner lost it, passkeys included. Its sessions end, and the
    /// owner is told by mail; where there is none, nothing changes. Nobody does so to an account that may do what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, true))]
    async fn reset_two_factor(
        &self,
        ctx: &Context<'_>,
        input: UserIdInput,
    ) -> Result<Option<AccountPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let (user, errors) = settle(ctx, two_factor::reset(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(AccountPayload { errors, user }))
    }

    /// Second step of a sign-in: a code from the authenticator app, or a recovery code. The tokens come as the
    /// first step asked for. After a wrong code (`TOKEN_REJECTED` at `code`) the same challenge token may be used
    /// again, five times in all. After very many wrong codes only a recovery code or a passkey helps, or an
    /// administrator (`REJECTED`).
    #[graphql(directive = public::apply(), directive = cost::apply(20))]
    async fn verify_two_factor(
        &self,
        ctx: &Context<'_>,
        input: VerifyTwoFactorInput,
    ) -> Result<Option<SignInPayload>> {
        let caller = ctx.caller();
        let may_deliver = |delivery| caller.may_deliver(delivery);
        let result = second_step::verify(ctx.app(), caller.client(), input, may_deliver).await;
        let result = result.map(|verified| (verified.sign_in, verified.delivery));
        finished(ctx, LoginMethod::Code, result)
    }
}
