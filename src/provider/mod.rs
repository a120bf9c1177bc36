//! Sign-in providers: what is asked of them, and what of their answers is believed. It knows no account.

mod apple;
mod github;
pub mod http;
mod id_token;
mod oidc;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::config::{ProviderConfig, ProviderKind, ProviderSettings};
use crate::provider::apple::ClientSecret;
use crate::provider::github::GitHub;
use crate::provider::http::Http;
use crate::provider::oidc::OpenId;

/// How long everything that one step asks of a provider may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The providers of an installation, in the order of the settings. Cheap to clone.
#[derive(Clone, Default)]
pub struct Providers(Arc<Vec<Provider>>);

/// One that people may sign in with.
pub struct Provider {
    /// Its name in the API and in the database.
    pub slug: String,
    /// What it is called on buttons and in mails.
    pub name: String,
    /// Its word that a person has an address counts as proof.
    pub trust_email: bool,
    form_post: bool,
    talks: Talks,
}

/// How a provider is talked to.
enum Talks {
    OpenId(OpenId),
    GitHub(GitHub),
}

/// What a sign-in begins with.
pub struct Start<'a> {
    /// Comes back beside the code.
    pub state: &'a str,
    /// Comes back within the ID token.
    pub nonce: &'a str,
    /// What the code is exchanged with (RFC 7636); only its hash is told here.
    pub verifier: &'a str,
    /// Where the provider sends the browser back to.
    pub redirect_uri: &'a str,
}

/// What a sign-in ends with.
pub struct Finish<'a> {
    /// The code.
    pub code: &'a str,
    /// `iss` beside the code (RFC 9207).
    pub iss: Option<&'a str>,
    /// As in [`Start`].
    pub nonce: &'a str,
    /// As in [`Start`].
    pub verifier: &'a str,
    /// As in [`Start`].
    pub redirect_uri: &'a str,
}

/// Who signed in, as the provider says.
#[derive(Debug)]
pub struct Person {
    /// Who vouches for the subject.
    pub issuer: String,
    /// The person, as the issuer numbers them; 1 to 255 characters.
    pub subject: String,
    /// An address, not checked for its form.
    pub email: Option<String>,
    /// The provider says that the address was proved to be the person's.
    pub email_verified: bool,
    /// A name, not checked for its form.
    pub name: Option<String>,
}

/// Why a step came to nothing. What it says is for the log, and holds no secret and no address.
#[derive(Debug)]
pub enum Failure {
    /// The provider cannot be reached, or answers what none may answer.
    Unreachable(String),
    /// The code or the ID token is not good.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

impl Providers {
    /// The providers that are set. Asks none of them anything.
    ///
    /// # Errors
    /// If a setting cannot hold.
    pub fn new(config: &ProviderConfig) -> anyhow::Result<Self> {
        let (settings, problems) = config.providers();
        if let Some(problem) = problems.into_iter().next() {
            return Err(anyhow::anyhow!(problem));
        }
        if settings.is_empty() {
            return Ok(Self::default());
        }
        let http = Http::new();
        let providers = settings.into_iter();
        let providers = providers.map(|settings| Provider::new(settings, http.clone()));
        Ok(Self(Arc::new(providers.collect::<anyhow::Result<_>>()?)))
    }

    /// The provider of this name.
    #[must_use]
    pub fn get(&self, slug: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.slug == slug)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

impl Provider {
    fn new(settings: ProviderSettings, http: Http) -> anyhow::Result<Self> {
        let client_id = settings.client_id;
        let (form_post, talks) = match settings.kind {
            ProviderKind::OpenId {
                issuer,
                issuer_text,
                client_secret,
                scopes,
            } => {
                let secret = ClientSecret::Fixed(client_secret);
                let talks = OpenId::new(http, (issuer, issuer_text), client_id, secret, scopes);
                (false, Talks::OpenId(talks))
            }
            ProviderKind::Apple {
                issuer,
                issuer_text,
                team_id,
                key_id,
                private_key,
            } => {
                let secret = ClientSecret::signed(team_id, key_id, &private_key)?;
                // Apple answers by a form wherever name or address are asked for.
                let scopes = "openid name email".to_owned();
                let talks = OpenId::new(http, (issuer, issuer_text), client_id, secret, scopes);
                (true, Talks::OpenId(talks.of_apple()))
            }
            ProviderKind::GitHub {
                url,
                api_url,
                client_secret,
            } => {
                let talks = GitHub::new(http, &url, &api_url, client_id, client_secret);
                (false, Talks::GitHub(talks))
            }
        };
        Ok(Self {
            slug: settings.slug,
            name: settings.name,
            trust_email: settings.trust_email,
            form_post,
            talks,
        })
    }

    /// Whether it answers by a form that the browser sends to this server, and not by leading the
    /// browser to a page.
    #[must_use]
    pub fn answers_by_form(&self) -> bool {
        self.form_post
    }

    /// Where the browser is sent so that the person signs in.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], within five seconds.
    pub async fn start(&self, start: &Start<'_>, now: DateTime<Utc>) -> Result<Url, Failure> {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(start.verifier));
        within(async {
            match &self.talks {
                Talks::OpenId(openid) => openid.start(start, &challenge, now).await,
                Talks::GitHub(github) => Ok(github.start(start, &challenge)),
            }
        })
        .await
    }

    /// Who signed in. The tokens of the provider are dropped.
    ///
    /// # Errors
    /// [`Failure`], within five seconds.
    pub async fn finish(&self, finish: &Finish<'_>, now: DateTime<Utc>) -> Result<Person, Failure> {
        let person = within(async {
            match &self.talks {
                Talks::OpenId(openid) => openid.finish(finish, now).await,
                Talks::GitHub(github) => github.finish(finish).await,
            }
        })
        .await?;
        let length = person.subject.chars().count();
        if !(1..=255).contains(&length) || person.subject.contains(char::is_control) {
            return Err(Failure::Refused("a subject without form".to_owned()));
        }
        Ok(person)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| Err(Failure::Unreachable(format!("no answer in {LIMIT:?}"))))
}
