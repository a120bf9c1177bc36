//! OpenID Connect by discovery: the metadata and keys of an issuer, kept for a while, and the two steps
//! of a sign-in with it.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::StatusCode;
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::{ClientId, IssuerUrl, Nonce};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::provider::apple::ClientSecret;
use crate::provider::http::{Endpoint, Http, Proof};
use crate::provider::id_token::{self, Disbelief, Expected};
use crate::provider::{Failure, Finish, Person, Start};

/// How long metadata and keys are kept.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How long after a search for a key that was not there nobody searches again.
const SEARCH_PAUSE: TimeDelta = TimeDelta::seconds(10);

/// An issuer of ID tokens.
pub struct OpenId {
    http: Http,
    issuer: Url,
    issuer_text: String,
    client_id: String,
    secret: ClientSecret,
    scopes: String,
    is_apple: bool,
    known: RwLock<Option<Arc<Known>>>,
    /// Held while something is fetched; says when a key was last looked for in vain.
    fetching: Mutex<Option<DateTime<Utc>>>,
}

/// What an issuer says of itself.
struct Known {
    authorization: Url,
    token: Endpoint,
    jwks: Endpoint,
    /// Where facts about a person are.
    userinfo: Option<Endpoint>,
    /// The secret goes into the form and not into the header.
    secret_in_form: bool,
    /// The answer names its issuer (RFC 9207).
    names_itself: bool,
    keys: CoreJsonWebKeySet,
    fetched_at: DateTime<Utc>,
}

/// OpenID Connect Discovery 1.0, section 3, and RFC 9207, section 3.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<SecretString>,
    id_token: Option<SecretString>,
    error: Option<String>,
}

impl OpenId {
    /// The issuer with this address, which is compared to the letter.
    #[must_use]
    pub fn new(
        http: Http,
        (issuer, issuer_text): (Url, String),
        client_id: String,
        secret: ClientSecret,
        scopes: String,
    ) -> Self {
        Self {
            http,
            issuer,
            issuer_text,
            client_id,
            secret,
            scopes,
            is_apple: false,
            known: RwLock::default(),
            fetching: Mutex::default(),
        }
    }

    /// The same, as Apple does it.
    #[must_use]
    pub fn of_apple(self) -> Self {
        Self {
            is_apple: true,
            ..self
        }
    }

    /// Where the browser is sent.
    ///
    /// # Errors
    /// [`Failure::Unreachable`].
    pub async fn start(
        &self,
        start: &Start<'_>,
        challenge: &str,
        now: DateTime<Utc>,
    ) -> Result<Url, Failure> {
        let mut url = self.known(now).await?.authorization.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", start.redirect_uri)
            .append_pair("scope", &self.scopes)
            .append_pair("state", start.state)
            .append_pair("nonce", start.nonce)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        if self.is_apple {
            query.append_pair("response_mode", "form_post");
        }
        drop(query);
        Ok(url)
    }

    /// Who signed in.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn finish(&self, finish: &Finish<'_>, now: DateTime<Utc>) -> Result<Person, Failure> {
        let known = self.known(now).await?;
        // A code of another issuer must not be shown to this one.
        let same = finish.iss.map(|iss| iss == self.issuer_text);
        if same == Some(false) || (known.names_itself && same.is_none()) {
            return Err(Failure::Refused("the answer of another issuer".to_owned()));
        }
        let (token, access_token) = self.exchange(&known, finish, now).await?;
        let issuer = IssuerUrl::new(self.issuer_text.clone());
        let expected = Expected {
            issuer: &issuer.map_err(|error| Failure::Unreachable(error.to_string()))?,
            client_id: &ClientId::new(self.client_id.clone()),
            nonce: &Nonce::new(finish.nonce.to_owned()),
            text_for_booleans: self.is_apple,
        };
        let token = token.expose_secret();
        let read = match id_token::read(token, &known.keys, &expected, now) {
            Err(Disbelief::UnknownKey) => {
                let known = self.search(&known, now).await?;
                id_token::read(token, &known.keys, &expected, now)
            }
            read => read,
        };
        let person = read.map_err(|disbelief| match disbelief {
            Disbelief::UnknownKey => {
                Failure::Refused("ID token: signed with no key of the issuer".to_owned())
            }
            Disbelief::For(failure) => failure,
        })?;
        match (&known.userinfo, access_token) {
            (Some(at), Some(access)) if person.email.is_none() => {
                self.ask_about(person, at, &access, &expected).await
            }
            _ => Ok(person),
        }
    }

    /// The person with what the issuer says of them when asked, which is where issuers may keep what a
    /// scope opens (OpenID Connect Core 1.0, section 5.4).
    async fn ask_about(
        &self,
        person: Person,
        at: &Endpoint,
        access_token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<Person, Failure> {
        let claims: Value = self.http.get(at, &Proof::Bearer(access_token)).await?;
        let told = id_token::person(expected, &claims);
        // The access token could be somebody else's (section 5.3.2).
        if told.subject != person.subject {
            return Err(Failure::Refused("facts about somebody else".to_owned()));
        }
        Ok(Person {
            name: told.name.or(person.name),
            ..told
        })
    }

    /// Trades the code in for an ID token and an access token.
    async fn exchange(
        &self,
        known: &Known,
        finish: &Finish<'_>,
        now: DateTime<Utc>,
    ) -> Result<(SecretString, Option<SecretString>), Failure> {
        let secret = self.secret.value(&self.issuer_text, &self.client_id, now);
        let secret = secret.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", finish.code),
            ("redirect_uri", finish.redirect_uri),
            ("code_verifier", finish.verifier),
        ];
        let proof = if known.secret_in_form {
            form.push(("client_id", &self.client_id));
            form.push(("client_secret", secret.expose_secret()));
            Proof::None
        } else {
            Proof::Basic(&self.client_id, &secret)
        };
        let (status, answer) = self
            .http
            .post::<TokenAnswer>(&known.token, &proof, &form)
            .await?;
        match answer {
            Some(answer) if status == StatusCode::OK => {
                let missing = || "the token endpoint gave no ID token".to_owned();
                let token = answer.id_token;
                let token = token.ok_or_else(|| Failure::Unreachable(missing()))?;
                Ok((token, answer.access_token))
            }
            Some(answer) if answer.error.as_deref() == Some("invalid_grant") => {
                Err(Failure::Refused("the code is not good".to_owned()))
            }
            // A wrong secret, say: for the operator.
            _ => Err(Failure::Unreachable(format!(
                "the token endpoint answered {status}"
            ))),
        }
    }

    /// What the issuer says of itself, at most an hour ago.
    async fn known(&self, now: DateTime<Utc>) -> Result<Arc<Known>, Failure> {
        if let Some(known) = self.kept(now) {
            return Ok(known);
        }
        let _turn = self.fetching.lock().await;
        // Whoever waited here finds what the one before has fetched.
        if let Some(known) = self.kept(now) {
            return Ok(known);
        }
        let path = self.issuer.path().trim_end_matches('/');
        let mut discovery = self.issuer.clone();
        discovery.set_path(&format!("{path}/.well-known/openid-configuration"));
        let told: Metadata = self
            .http
            .get(&Endpoint::named(discovery), &Proof::None)
            .await?;
        if told.issuer != self.issuer_text {
            return Err(Failure::Unreachable(format!(
                "the metadata of {} are those of another issuer",
                self.issuer_text
            )));
        }
        let jwks = Endpoint::told(&told.jwks_uri, &self.issuer)?;
        let userinfo = told.userinfo_endpoint.as_deref();
        let userinfo = userinfo.map(|place| Endpoint::told(place, &self.issuer));
        let methods = told.token_endpoint_auth_methods_supported;
        let known = Known {
            authorization: Endpoint::told(&told.authorization_endpoint, &self.issuer)?
                .url()
                .clone(),
            token: Endpoint::told(&told.token_endpoint, &self.issuer)?,
            keys: self.http.get(&jwks, &Proof::None).await?,
            jwks,
            userinfo: userinfo.transpose()?,
            // Where nothing is said, the header is what holds.
            secret_in_form: methods.is_some_and(|methods| {
                let has = |method| methods.iter().any(|other| other == method);
                has("client_secret_post") && !has("client_secret_basic")
            }) || self.is_apple,
            names_itself: told.authorization_response_iss_parameter_supported,
            fetched_at: now,
        };
        Ok(self.keep(known))
    }

    /// Fetches the keys again, as one is missing in `known`; at most once in ten seconds, so that
    /// nobody makes this server ask by sending names of keys that there are not.
    async fn search(&self, known: &Known, now: DateTime<Utc>) -> Result<Arc<Known>, Failure> {
        let mut last = self.fetching.lock().await;
        let kept = self.kept(now);
        let rests = last.is_some_and(|last| (last..last + SEARCH_PAUSE).contains(&now));
        if let Some(kept) = kept.filter(|_| rests) {
            return Ok(kept);
        }
        *last = Some(now);
        let keys = self.http.get(&known.jwks, &Proof::None).await?;
        Ok(self.keep(Known {
            authorization: known.authorization.clone(),
            token: known.token.clone(),
            jwks: known.jwks.clone(),
            userinfo: known.userinfo.clone(),
            keys,
            ..*known
        }))
    }

    fn kept(&self, now: DateTime<Utc>) -> Option<Arc<Known>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref();
        known
            .filter(|known| (known.fetched_at..known.fetched_at + KEPT).contains(&now))
            .cloned()
    }

    fn keep(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        let mut kept = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::clone(&known));
        known
    }
}
