//! With which other providers people may sign in. It reads no files but those of secrets and asks nobody.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::config::network::is_loopback;
use crate::config::secret_file;

/// With which other providers people may sign in.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sign-in with other providers")]
pub struct ProviderConfig {
    /// Pages, between commas, to which a provider may send the browser back; compared to the letter; the server's own page /oauth/callback is always among them
    #[arg(
        long,
        env = "CARDEA_OAUTH_REDIRECT_URIS",
        value_name = "LIST",
        global = true
    )]
    pub oauth_redirect_uris: Option<RedirectUris>,
    /// Client id at Google; sign-in with Google is on where it is set
    #[arg(long, env = "CARDEA_GOOGLE_CLIENT_ID", global = true)]
    pub google_client_id: Option<String>,
    /// Client secret at Google
    #[arg(
        long,
        env = "CARDEA_GOOGLE_CLIENT_SECRET",
        hide_env_values = true,
        global = true
    )]
    pub google_client_secret: Option<SecretString>,
    /// File with the client secret at Google
    #[arg(
        long,
        env = "CARDEA_GOOGLE_CLIENT_SECRET_FILE",
        value_name = "PATH",
        global = true
    )]
    pub google_client_secret_file: Option<PathBuf>,
    /// Issuer of Google's ID tokens
    #[arg(
        long,
        env = "CARDEA_GOOGLE_ISSUER",
        default_value = "https://accounts.google.com",
        global = true
    )]
    pub google_issuer: String,
    /// Services id at Apple; sign-in with Apple is on where it is set
    #[arg(long, env = "CARDEA_APPLE_CLIENT_ID", global = true)]
    pub apple_client_id: Option<String>,
    /// Team id at Apple
    #[arg(long, env = "CARDEA_APPLE_TEAM_ID", global = true)]
    pub apple_team_id: Option<String>,
    /// Id of the private key at Apple
    #[arg(long, env = "CARDEA_APPLE_KEY_ID", global = true)]
    pub apple_key_id: Option<String>,
    /// The private key as PEM text
    #[arg(
        long,
        env = "CARDEA_APPLE_PRIVATE_KEY",
        hide_env_values = true,
        global = true
    )]
    pub apple_private_key: Option<SecretString>,
    /// File of the private key, as Apple gives it (`AuthKey_….p8`)
    #[arg(long, env = "CARDEA_APPLE_PRIVATE_KEY_FILE", global = true)]
    pub apple_private_key_file: Option<PathBuf>,
    /// Issuer of Apple's ID tokens
    #[arg(
        long,
        env = "CARDEA_APPLE_ISSUER",
        default_value = "https://appleid.apple.com",
        global = true
    )]
    pub apple_issuer: String,
    /// Client id at GitHub; sign-in with GitHub is on where it is set
    #[arg(
        long = "github-client-id",
        env = "CARDEA_GITHUB_CLIENT_ID",
        global = true
    )]
    pub github_client_id: Option<String>,
    /// Client secret at GitHub
    #[arg(
        long = "github-client-secret",
        env = "CARDEA_GITHUB_CLIENT_SECRET",
        hide_env_values = true,
        global = true
    )]
    pub github_client_secret: Option<SecretString>,
    /// File with the client secret at GitHub
    #[arg(
        long = "github-client-secret-file",
        env = "CARDEA_GITHUB_CLIENT_SECRET_FILE",
        value_name = "PATH",
        global = true
    )]
    pub github_client_secret_file: Option<PathBuf>,
    /// Address of GitHub, or of a GitHub Enterprise Server
    #[arg(
        long = "github-url",
        env = "CARDEA_GITHUB_URL",
        default_value = "https://github.com",
        global = true
    )]
    pub github_url: String,
    /// Address of GitHub's API; that of a GitHub Enterprise Server ends in /api/v3
    #[arg(
        long = "github-api-url",
        env = "CARDEA_GITHUB_API_URL",
        default_value = "https://api.github.com",
        global = true
    )]
    pub github_api_url: String,
    /// Any other OpenID providers, as JSON: `[{"slug", "name", "issuer", "clientId", "clientSecret" or "clientSecretFile", "scopes", "trustEmail"}]`
    #[arg(
        long,
        env = "CARDEA_OIDC_PROVIDERS",
        hide_env_values = true,
        value_name = "JSON",
        global = true
    )]
    pub oidc_providers: Option<SecretString>,
    /// File with the JSON of `CARDEA_OIDC_PROVIDERS`
    #[arg(
        long,
        env = "CARDEA_OIDC_PROVIDERS_FILE",
        value_name = "PATH",
        global = true
    )]
    pub oidc_providers_file: Option<PathBuf>,
}

/// Pages to which a provider may send the browser back.
#[derive(Clone, Debug, Default)]
pub struct RedirectUris(pub Vec<String>);

impl FromStr for RedirectUris {
    type Err = std::convert::Infallible;

    /// Takes what stands between commas. Does not check it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pages = text
            .split(',')
            .map(str::trim)
            .filter(|page| !page.is_empty());
        Ok(Self(pages.map(str::to_owned).collect()))
    }
}

/// A provider, as it is set.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its name in the API and in the database.
    pub slug: String,
    /// What it is called on buttons and in mails.
    pub name: String,
    /// The id that it gave this installation.
    pub client_id: String,
    /// Its word that a person has an address counts as proof.
    pub trust_email: bool,
    /// How it is talked to.
    pub kind: ProviderKind,
}

/// How a provider is talked to.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// OpenID Connect with discovery.
    OpenId {
        /// Whose ID tokens count.
        issuer: Url,
        /// `issuer` to the letter.
        issuer_text: String,
        /// The secret that it gave this installation.
        client_secret: SecretString,
        /// Asked for, between blanks.
        scopes: String,
    },
    /// OpenID Connect as Apple does it.
    Apple {
        /// Whose ID tokens count.
        issuer: Url,
        /// `issuer` to the letter.
        issuer_text: String,
        /// Issuer of the client secret.
        team_id: String,
        /// Names the key.
        key_id: String,
        /// Signs the client secret; PEM.
        private_key: SecretString,
    },
    /// OAuth 2.0 as GitHub does it.
    GitHub {
        /// Where people sign in.
        url: Url,
        /// Where facts about them are.
        api_url: Url,
        /// The secret that it gave this installation.
        client_secret: SecretString,
    },
}

/// An element of `CARDEA_OIDC_PROVIDERS`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Other {
    slug: String,
    name: String,
    issuer: String,
    client_id: String,
    client_secret: Option<SecretString>,
    client_secret_file: Option<PathBuf>,
    scopes: Option<Vec<String>>,
    #[serde(default = "yes")]
    trust_email: bool,
}

fn yes() -> bool {
    true
}

impl ProviderConfig {
    /// The providers that are set, and a line for each setting that cannot hold.
    #[must_use]
    pub fn providers(&self) -> (Vec<ProviderSettings>, Vec<String>) {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for provider in [self.google(), self.apple(), self.github()] {
            match provider {
                Ok(provider) => found.extend(provider),
                Err(problem) => problems.push(problem),
            }
        }
        match self.others() {
            Ok(others) => found.extend(others),
            Err(problem) => problems.push(problem),
        }
        for (at, provider) in found.iter().enumerate() {
            let slug = &provider.slug;
            if found[..at].iter().any(|before| before.slug == *slug) {
                problems.push(format!("there are two sign-in providers `{slug}`"));
            }
        }
        (found, problems)
    }

    fn google(&self) -> Result<Option<ProviderSettings>, String> {
        let pair = pair(
            (&self.google_client_id, "CARDEA_GOOGLE_CLIENT_ID"),
            (&self.google_client_secret, "CARDEA_GOOGLE_CLIENT_SECRET"),
        )?;
        let Some((client_id, client_secret)) = pair else {
            return Ok(None);
        };
        Ok(Some(ProviderSettings {
            slug: "google".to_owned(),
            name: "Google".to_owned(),
            client_id,
            trust_email: true,
            kind: ProviderKind::OpenId {
                issuer: address("CARDEA_GOOGLE_ISSUER", &self.google_issuer)?,
                issuer_text: self.google_issuer.clone(),
                client_secret,
                scopes: "openid email profile".to_owned(),
            },
        }))
    }

    fn apple(&self) -> Result<Option<ProviderSettings>, String> {
        match (
            &self.apple_client_id,
            &self.apple_team_id,
            &self.apple_key_id,
            &self.apple_private_key,
        ) {
            (None, None, None, None) => Ok(None),
            (Some(client_id), Some(team_id), Some(key_id), Some(private_key)) => {
                Ok(Some(ProviderSettings {
                    slug: "apple".to_owned(),
                    name: "Apple".to_owned(),
                    client_id: client_id.clone(),
                    trust_email: true,
                    kind: ProviderKind::Apple {
                        issuer: address("CARDEA_APPLE_ISSUER", &self.apple_issuer)?,
                        issuer_text: self.apple_issuer.clone(),
                        team_id: team_id.clone(),
                        key_id: key_id.clone(),
                        private_key: private_key.clone(),
                    },
                }))
            }
            _ => Err(
                "sign-in with Apple needs CARDEA_APPLE_CLIENT_ID, CARDEA_APPLE_TEAM_ID, CARDEA_APPLE_KEY_ID and the private key"
                    .to_owned(),
            ),
        }
    }

    fn github(&self) -> Result<Option<ProviderSettings>, String> {
        let pair = pair(
            (&self.github_client_id, "CARDEA_GITHUB_CLIENT_ID"),
            (&self.github_client_secret, "CARDEA_GITHUB_CLIENT_SECRET"),
        )?;
        let Some((client_id, client_secret)) = pair else {
            return Ok(None);
        };
        Ok(Some(ProviderSettings {
            slug: "github".to_owned(),
            name: "GitHub".to_owned(),
            client_id,
            trust_email: true,
            kind: ProviderKind::GitHub {
                url: address("CARDEA_GITHUB_URL", &self.github_url)?,
                api_url: address("CARDEA_GITHUB_API_URL", &self.github_api_url)?,
                client_secret,
            },
        }))
    }

    fn others(&self) -> Result<Vec<ProviderSettings>, String> {
        let Some(json) = &self.oidc_providers else {
            return Ok(Vec::new());
        };
        // What serde says of it names fields and places, and no values of known fields.
        let others: Vec<Other> = serde_json::from_str(json.expose_secret()).map_err(|error| {
            format!(
                "CARDEA_OIDC_PROVIDERS is no such JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        others.into_iter().map(Other::settings).collect()
    }

    /// Every setting of these that cannot hold.
    pub(super) fn problems(&self, production: bool) -> Vec<String> {
        let (providers, mut problems) = self.providers();
        for page in self.oauth_redirect_uris.iter().flat_map(|pages| &pages.0) {
            let url = Url::parse(page).ok().filter(|url| url.fragment().is_none());
            let good = url.is_some_and(|url| match url.scheme() {
                "https" => true,
                "http" => !production || is_loopback(&url),
                // An app's own, which RFC 8252 wants to be a domain name backwards.
                scheme => scheme.contains('.'),
            });
            if !good {
                problems.push(format!(
                    "CARDEA_OAUTH_REDIRECT_URIS: `{page}` is no https address, or no scheme of an app such as org.example.app:/callback"
                ));
            }
        }
        if production {
            let addresses = providers.iter().flat_map(|provider| match &provider.kind {
                ProviderKind::OpenId { issuer, .. } | ProviderKind::Apple { issuer, .. } => {
                    vec![(&provider.slug, issuer)]
                }
                ProviderKind::GitHub { url, api_url, .. } => {
                    vec![(&provider.slug, url), (&provider.slug, api_url)]
                }
            });
            let insecure = addresses.filter(|(_, url)| url.scheme() != "https");
            problems.extend(insecure.map(|(slug, url)| {
                format!("production: the sign-in provider `{slug}` must have an https address, not {url}")
            }));
        }
        problems
    }
}

impl Other {
    fn settings(self) -> Result<ProviderSettings, String> {
        let slug = self.slug;
        let form = (1..=32).contains(&slug.len())
            && slug
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !slug.starts_with('-')
            && !slug.ends_with('-');
        if !form {
            return Err(format!(
                "CARDEA_OIDC_PROVIDERS: the slug `{slug}` must be of small letters, digits and hyphens between them, at most 32"
            ));
        }
        let what = format!("CARDEA_OIDC_PROVIDERS: `{slug}`");
        let client_secret = match (self.client_secret, self.client_secret_file) {
            (Some(secret), None) => secret,
            (None, Some(file)) => secret_file::read(&what, &file)?,
            _ => {
                return Err(format!(
                    "{what} needs one of clientSecret and clientSecretFile"
                ));
            }
        };
        if self.name.trim().is_empty() || self.name.contains(char::is_control) {
            return Err(format!("{what} needs a name"));
        }
        let mut scopes = self
            .scopes
            .unwrap_or_else(|| vec!["email".to_owned(), "profile".to_owned()]);
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Ok(ProviderSettings {
            name: self.name,
            client_id: self.client_id,
            trust_email: self.trust_email,
            kind: ProviderKind::OpenId {
                issuer: address(&what, &self.issuer)?,
                issuer_text: self.issuer,
                client_secret,
                scopes: scopes.join(" "),
            },
            slug,
        })
    }
}

/// Both halves, or neither.
fn pair(
    (id, id_name): (&Option<String>, &str),
    (secret, secret_name): (&Option<SecretString>, &str),
) -> Result<Option<(String, SecretString)>, String> {
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some((id.clone(), secret.clone()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{id_name} needs {secret_name}")),
        (None, Some(_)) => Err(format!("{secret_name} needs {id_name}")),
    }
}

fn address(what: &str, text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        })
        .ok_or_else(|| format!("{what}: `{text}` is no https address"))
}
