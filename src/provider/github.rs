//! GitHub: OAuth 2.0 without ID tokens. Who signed in is asked of its API.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::provider::http::{Endpoint, Http, Proof};
use crate::provider::{Failure, Finish, Person, Start};

/// GitHub, or a GitHub Enterprise Server.
pub struct GitHub {
    http: Http,
    issuer: String,
    authorization: Url,
    token: Endpoint,
    user: Endpoint,
    emails: Endpoint,
    client_id: String,
    client_secret: SecretString,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<SecretString>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    #[serde(rename = "email")]
    address: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    /// The GitHub at `url`, whose API is at `api_url`.
    #[must_use]
    pub fn new(
        http: Http,
        url: &Url,
        api_url: &Url,
        client_id: String,
        client_secret: SecretString,
    ) -> Self {
        let at = |base: &Url, path: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
            url
        };
        Self {
            http,
            authorization: at(url, "/login/oauth/authorize"),
            token: Endpoint::named(at(url, "/login/oauth/access_token")),
            user: Endpoint::named(at(api_url, "/user")),
            emails: Endpoint::named(at(api_url, "/user/emails")),
            issuer: url.as_str().trim_end_matches('/').to_owned(),
            client_id,
            client_secret,
        }
    }

    /// Where the browser is sent.
    #[must_use]
    pub fn start(&self, start: &Start<'_>, challenge: &str) -> Url {
        let mut url = self.authorization.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", start.redirect_uri)
            .append_pair("scope", "read:user user:email")
            .append_pair("state", start.state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Who signed in.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn finish(&self, finish: &Finish<'_>) -> Result<Person, Failure> {
        use secrecy::ExposeSecret as _;
        let form = [
            ("client_id", &*self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
            ("code", finish.code),
            ("redirect_uri", finish.redirect_uri),
            ("code_verifier", finish.verifier),
        ];
        let (status, answer) = self
            .http
            .post::<TokenAnswer>(&self.token, &Proof::None, &form)
            .await?;
        let access_token = match answer {
            Some(TokenAnswer {
                error: Some(error), ..
            }) if error == "bad_verification_code" => {
                return Err(Failure::Refused("the code is not good".to_owned()));
            }
            Some(TokenAnswer {
                error: None,
                access_token: Some(token),
            }) if status.is_success() => token,
            Some(TokenAnswer {
                error: Some(error), ..
            }) => {
                // Its names are from a fixed list, and anything else is not for the log.
                let known = error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let error = if known { &*error } else { "an error" };
                return Err(Failure::Unreachable(format!(
                    "the token endpoint answered {error}"
                )));
            }
            _ => {
                return Err(Failure::Unreachable(format!(
                    "the token endpoint answered {status}"
                )));
            }
        };
        let proof = Proof::Bearer(&access_token);
        let user: User = self.http.get(&self.user, &proof).await?;
        let emails: Vec<Email> = self.http.get(&self.emails, &proof).await?;
        let primary = emails.into_iter().find(|email| email.primary);
        Ok(Person {
            issuer: self.issuer.clone(),
            subject: user.id.to_string(),
            email_verified: primary.as_ref().is_some_and(|email| email.verified),
            email: primary.map(|email| email.address),
            name: user
                .name
                .filter(|name| !name.is_empty())
                .or(Some(user.login)),
        })
    }
}
