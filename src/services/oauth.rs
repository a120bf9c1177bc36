//! Signing in with another provider: from the page of the front end to the provider and back.

use async_graphql::InputObject;
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::token::{PlainToken, TokenHash};
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::oauth_state::OAuthState;
use crate::models::session::SignInMethod;
use crate::provider::{Failure, Finish, Person, Provider, Start};
use crate::scalar::DateTime;
use crate::services::limits::{self, Limit};
use crate::services::login::TokenDelivery;
use crate::services::provider_sign_in::{self, Arrival};
use crate::services::sign_in::{self, SignIn, Tried};
use crate::services::{session, validate};

/// Who is refused here has named nobody.
const TRIED: Tried = Tried {
    user: None,
    method: SignInMethod::Provider.as_str(),
};

/// The prefix of the secret with which a browser holds a sign-in that is under way.
const PREFIX: &str = "cos";
/// How long a person may take at the provider.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// Most characters of a code.
const MOST_CODE: usize = 2048;

/// Where to sign in.
#[derive(InputObject)]
#[graphql(name = "StartOAuthSignInInput")]
pub struct StartInput {
    /// Tie the provider to the caller's account, in place of signing in. Needs a session with a recent sign-in;
    /// otherwise the code is `REAUTHENTICATION_REQUIRED`.
    #[graphql(default = false)]
    pub link: bool,
    /// Slug from `authOptions.providers`.
    pub provider: String,
    /// Page that the provider sends the browser back to; must be on the operator's list, to the letter.
    pub redirect_uri: String,
}

/// What the provider sent back.
#[derive(InputObject)]
#[graphql(name = "FinishOAuthSignInInput")]
pub struct FinishInput {
    /// The parameter `code` with which the provider sent the browser back.
    #[graphql(secret)]
    pub code: String,
    /// From `SignedIn.deviceToken` of an earlier sign-in on this device, in place of the second factor; left out
    /// when it is in a cookie, or there is none.
    #[graphql(secret)]
    pub device_token: Option<String>,
    /// The parameter `iss`, where the provider sent one (RFC 9207).
    pub iss: Option<String>,
    /// Slug of the provider, as in `startOAuthSignIn`.
    pub provider: String,
    /// Keep the session for 30 days instead of 24 hours, unless the operator says otherwise; `Session.expiresAt`
    /// tells.
    #[graphql(default = false)]
    pub remember_me: bool,
    /// The parameter `state` with which the provider sent the browser back; compared where it is given.
    pub returned_state: Option<String>,
    /// `StartOAuthSignInPayload.state`. It never leaves the tab that began, and is not the parameter `state` in the
    /// address of the provider.
    #[graphql(secret)]
    pub state: String,
    /// Whether the tokens come back in the answer or in cookies.
    #[graphql(default_with = "TokenDelivery::Body")]
    pub token_delivery: TokenDelivery,
}

/// A sign-in that is under way.
pub struct Started {
    /// Where to send the browser.
    pub authorization_url: Url,
    /// For the browser alone.
    pub state: PlainToken,
}

/// What follows from the secret of a browser. The database keeps only the hash of `state`, so that
/// whoever reads it can end no sign-in.
struct Derived {
    state: String,
    nonce: String,
    verifier: String,
}

impl Derived {
    fn of(secret: &str) -> Self {
        let derived = |purpose| PlainToken::derived(secret, purpose);
        Self {
            state: derived("OAuth state"),
            nonce: derived("OpenID nonce"),
            verifier: derived("PKCE verifier"),
        }
    }
}

/// Begins a sign-in, or the tying of a provider to the account of `owner`.
///
/// # Errors
/// `NOT_FOUND` for the provider, `INVALID_VALUE` for a page that is not listed, `TOO_MANY_ATTEMPTS`,
/// `REJECTED` when the provider cannot be reached; [`Error::ReauthenticationRequired`] where a provider is
/// to be tied.
pub async fn start(
    app: &App,
    client: &ClientInfo,
    owner: Option<&Actor>,
    input: StartInput,
) -> Result<Started> {
    if let Some(owner) = owner {
        // Here and not at the end: who is recent now may take a while at the provider.
        session::require_recent_sign_in(app, owner)?;
    }
    let provider = app.providers.get(&input.provider).ok_or_else(|| {
        let message = "There is no such sign-in provider.";
        UserError::at(UserErrorCode::NotFound, &["input", "provider"], message)
    })?;
    if !app.config.redirect_allowed(&input.redirect_uri) {
        let message = "This page is not on the list of those to come back to.";
        let path = ["input", "redirectUri"];
        return Err(UserError::invalid(&path, "NOT_LISTED", (None, None), message).into());
    }
    limits::take(app, Limit::OAuth, client, "").await?;
    let now = app.now();
    let state = PlainToken::generate(PREFIX);
    let derived = Derived::of(state.expose());
    let start = Start {
        state: &derived.state,
        nonce: &derived.nonce,
        verifier: &derived.verifier,
        redirect_uri: &told_redirect_uri(app, provider, &input.redirect_uri),
    };
    let authorization_url = provider.start(&start, *now).await;
    let authorization_url = authorization_url.map_err(|failure| failed(provider, &failure))?;
    let begun = OAuthState {
        state_hash: TokenHash::of(&derived.state),
        provider: provider.slug.clone(),
        redirect_uri: input.redirect_uri,
        user_id: owner.map(Actor::user_id),
        name: None,
        created_at: now,
        expires_at: DateTime(*now + LIFETIME),
    };
    begun.insert(&mut *app.db.conn().await?).await?;
    Ok(Started {
        authorization_url,
        state,
    })
}

/// Ends a sign-in with what the provider sent back.
///
/// The sign-in is used up before the provider is asked anything, whatever comes of it.
///
/// # Errors
/// `TOKEN_REJECTED` for a sign-in that is unknown, used up, past its end or of another provider, and
/// for a code or an ID token that is not good; `REJECTED` when the provider cannot be reached, or
/// does not say that it proved the address; `ACCOUNT_UNAVAILABLE`, `TAKEN`, `TOO_MANY_ATTEMPTS`.
pub async fn finish(
    app: &App,
    client: &ClientInfo,
    caller: Option<&Actor>,
    input: FinishInput,
) -> Result<SignIn> {
    limits::take(app, Limit::OAuth, client, "").await?;
    let begun = sign_in::note_refusal(app, client, TRIED, consume(app, &input).await).await?;
    let provider = app.providers.get(&begun.provider).ok_or_else(rejected)?;
    let link_to = begun.user_id.map(|owner| owner_here(owner, caller));
    let link_to = link_to.transpose()?;
    let derived = Derived::of(&input.state);
    let finish = Finish {
        code: &input.code,
        iss: input.iss.as_deref(),
        nonce: &derived.nonce,
        verifier: &derived.verifier,
        redirect_uri: &told_redirect_uri(app, provider, &begun.redirect_uri),
    };
    let person = match provider.finish(&finish, *app.now()).await {
        // Nobody was refused.
        Err(unreachable @ Failure::Unreachable(_)) => return Err(failed(provider, &unreachable)),
        answered => answered.map_err(|failure| failed(provider, &failure)),
    };
    let person = sign_in::note_refusal(app, client, TRIED, person).await?;
    let person = Person {
        name: person.name.or(begun.name),
        ..person
    };
    let device_token = input.device_token.map(SecretString::from);
    let arrival = Arrival {
        provider,
        person: &person,
        link_to,
        remember_me: input.remember_me,
        delivery: input.token_delivery,
        device_token: device_token.as_ref(),
    };
    let arrived = provider_sign_in::arrive(app, client, &arrival).await;
    sign_in::note_refusal(app, client, TRIED, arrived).await
}

/// Takes the sign-in out that the input names. Holds no connection afterwards.
async fn consume(app: &App, input: &FinishInput) -> Result<OAuthState> {
    let derived = Derived::of(&input.state).state;
    let hash = TokenHash::of(&derived);
    let begun = OAuthState::consume(&mut *app.db.conn().await?, &hash).await?;
    let returned = input.returned_state.as_ref();
    begun
        .filter(|begun| begun.provider == input.provider && begun.expires_at > app.now())
        .filter(|_| returned.is_none_or(|returned| *returned == derived))
        .filter(|_| (1..=MOST_CODE).contains(&input.code.len()))
        .ok_or_else(rejected)
}

/// The account that a provider is to be tied to, if its owner is still signed in here.
fn owner_here(owner: Uuid, caller: Option<&Actor>) -> Result<(Uuid, Uuid)> {
    let actor = caller.ok_or(Error::Unauthenticated)?;
    if actor.user_id() != owner {
        return Err(rejected());
    }
    Ok((owner, actor.session_id()))
}

/// Takes in what a provider answers by a form; gives the page of the front end to send the browser to.
/// Nobody is signed in, and nothing is used up. `user` is what Apple tells once, with the name in it.
///
/// # Errors
/// If the database cannot answer.
pub async fn came_back(
    app: &App,
    provider: &str,
    state: &str,
    user: Option<SecretString>,
) -> Result<Option<String>> {
    let provider = app.providers.get(provider);
    let Some(provider) = provider.filter(|provider| provider.answers_by_form()) else {
        return Ok(None);
    };
    let hash = TokenHash::of(state);
    let name = user.and_then(|user| name_of(user.expose_secret()));
    let (slug, name) = (&provider.slug, name.as_deref());
    let mut conn = app.db.conn().await?;
    Ok(OAuthState::came_back(&mut conn, &hash, slug, name, app.now()).await?)
}

/// The name in the JSON that Apple sends beside the code of somebody's first sign-in.
fn name_of(user: &str) -> Option<String> {
    let user: serde_json::Value = serde_json::from_str(user).ok()?;
    let part = |name: &str| user.get("name")?.get(name)?.as_str();
    let parts = [part("firstName"), part("lastName")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    validate::full_name(&[], &parts.join(" ")).ok()
}

/// Where the provider is told to answer: the page, or for a form this server.
fn told_redirect_uri(app: &App, provider: &Provider, page: &str) -> String {
    if provider.answers_by_form() {
        let server = app.config.public_url();
        format!("{server}/oauth/callback/{}", provider.slug)
    } else {
        page.to_owned()
    }
}

/// What is said of a sign-in, a code or an ID token that is not good.
fn rejected() -> Error {
    let message = "This sign-in is unknown, used up or past its end. Begin again.";
    UserError::new(UserErrorCode::TokenRejected, message).into()
}

fn failed(provider: &Provider, failure: &Failure) -> Error {
    let slug = &*provider.slug;
    match failure {
        Failure::Refused(why) => {
            tracing::info!(provider = slug, "A sign-in with {slug} was refused: {why}");
            rejected()
        }
        Failure::Unreachable(why) => {
            tracing::warn!(provider = slug, "Sign-in with {slug} does not work: {why}");
            let message = "The provider cannot be reached now. Try again later.";
            UserError::new(UserErrorCode::Rejected, message).into()
        }
    }
}
