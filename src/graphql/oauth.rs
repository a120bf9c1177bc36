//! Signing in with another provider.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::{Result, UserError};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::public;
use crate::graphql::error::settle;
use crate::graphql::login::{SignInPayload, finished};
use crate::metrics::LoginMethod;
use crate::scalar::Url;
use crate::services::oauth::{self, FinishInput, StartInput, Started};

/// Where to send the browser.
#[derive(SimpleObject)]
#[graphql(name = "StartOAuthSignInPayload")]
pub struct StartPayload {
    /// Where to send the browser, within ten minutes; null exactly when `errors` is not empty.
    authorization_url: Option<Url>,
    /// Why nothing began; empty on success.
    errors: Vec<UserError>,
    /// A secret for `finishOAuthSignIn`, good once and for ten minutes; null exactly when `errors` is not empty.
    /// Keep it in the tab that began (`sessionStorage`) and send it nowhere else: only who has it can finish the
    /// sign-in.
    state: Option<String>,
}

/// Signing in with another provider.
#[derive(Default)]
pub struct OAuthMutation;

#[Object]
impl OAuthMutation {
    /// Second half of a sign-in with a provider, in the tab in which the first half ran: with the parameters
    /// `code`, `state` (as `returnedState`) and `iss` of the page that the provider sent the browser back to. An
    /// address that the provider vouches for leads to its account, or opens one where registration is open.
    ///
    /// With `link` in the first half the provider is tied to the caller's account instead: the same account must
    /// still be signed in. A new session is opened here, too.
    #[graphql(name = "finishOAuthSignIn", directive = public::apply())]
    async fn finish_oauth_sign_in(
        &self,
        ctx: &Context<'_>,
        mut input: FinishInput,
    ) -> Result<Option<SignInPayload>> {
        let (caller, delivery) = (ctx.caller(), input.token_delivery);
        caller.may_deliver(delivery)?;
        input.device_token = caller.device_token(input.device_token);
        let (client, actor) = (caller.client(), caller.requester().signed_in());
        let result = oauth::finish(ctx.app(), client, actor, input).await;
        let result = result.map(|signed_in| (signed_in, delivery));
        finished(ctx, LoginMethod::Provider, result)
    }

    /// First half of a sign-in with a provider: the address to send the browser to, and a secret for
    /// `finishOAuthSignIn`. A browser that comes back from the provider without that secret did not begin here;
    /// nobody else's sign-in can be foisted on it.
    #[graphql(name = "startOAuthSignIn", directive = public::apply())]
    async fn start_oauth_sign_in(
        &self,
        ctx: &Context<'_>,
        input: StartInput,
    ) -> Result<Option<StartPayload>> {
        let owner = input.link.then(|| ctx.actor()).transpose()?;
        let started = oauth::start(ctx.app(), ctx.caller().client(), owner, input).await;
        let (started, errors) = settle(ctx, started)?;
        let (authorization_url, state) = started.map(answer).unzip();
        Ok(Some(StartPayload {
            authorization_url,
            errors,
            state,
        }))
    }
}

fn answer(started: Started) -> (Url, String) {
    let url = Url(started.authorization_url.into());
    (url, started.state.expose().to_owned())
}
