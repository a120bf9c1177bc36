//! Which services are told of accounts. It reads no file but those of secrets and asks nobody.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::TimeDelta;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::Deserialize;
use url::Url;

use crate::config::Config;
use crate::config::network::is_loopback;
use crate::config::secret_file;

/// Most services: each costs a row for every change of an account.
const MOST: usize = 10;
/// Most secrets of one: the present one, and those that go.
const MOST_SECRETS: usize = 3;

/// Which services are told of accounts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookConfig {
    /// Services that are told of changes of accounts, as JSON: `[{"name", "url", "secrets" or "secretsFile"}]`; a secret is `whsec_` and 24 to 64 random bytes in base64
    #[arg(
        long,
        env = "CARDEA_WEBHOOKS",
        hide_env_values = true,
        value_name = "JSON",
        global = true
    )]
    pub webhooks: Option<SecretString>,
    /// File with the JSON of `CARDEA_WEBHOOKS`
    #[arg(long, env = "CARDEA_WEBHOOKS_FILE", value_name = "PATH", global = true)]
    pub webhooks_file: Option<PathBuf>,
    /// Seconds that a service has to take an event
    #[arg(
        long,
        env = "CARDEA_WEBHOOK_TIMEOUT_SECS",
        default_value_t = 15,
        global = true
    )]
    pub webhook_timeout_secs: u32,
    /// Hours for which an event is tried again
    #[arg(
        long,
        env = "CARDEA_WEBHOOK_GIVE_UP_HOURS",
        default_value_t = 72,
        global = true
    )]
    pub webhook_give_up_hours: u32,
}

/// A service that is told, as it is set.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Its name in the database and for the operator.
    pub name: String,
    /// Where events go.
    pub url: Url,
    /// Sign them, each of them.
    pub secrets: Vec<SecretSlice<u8>>,
}

/// An element of `CARDEA_WEBHOOKS`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Element {
    name: String,
    url: String,
    secrets: Option<Vec<SecretString>>,
    secrets_file: Option<PathBuf>,
}

impl WebhookConfig {
    /// The services that are set.
    ///
    /// # Errors
    /// A line for each setting that cannot hold.
    pub fn endpoints(&self, production: bool) -> Result<Vec<WebhookSettings>, Vec<String>> {
        let Some(json) = &self.webhooks else {
            return Ok(Vec::new());
        };
        // What serde says could repeat a secret.
        let elements: Vec<Element> =
            serde_json::from_str(json.expose_secret()).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                vec![format!(
                    "CARDEA_WEBHOOKS is no such JSON (line {line}, column {column})"
                )]
            })?;
        let (mut found, mut problems) = (Vec::<WebhookSettings>::new(), Vec::new());
        if elements.len() > MOST {
            problems.push(format!("CARDEA_WEBHOOKS must name at most {MOST} services"));
        }
        for element in elements {
            match element.settings(production) {
                Ok(one) if found.iter().any(|before| before.name == one.name) => {
                    problems.push(format!("CARDEA_WEBHOOKS names `{}` twice", one.name));
                }
                Ok(one) => found.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(found)
        } else {
            Err(problems)
        }
    }

    /// Every setting of these that cannot hold.
    pub(super) fn problems(&self, production: bool) -> Vec<String> {
        let mut problems = self.endpoints(production).err().unwrap_or_default();
        if !(1..=30).contains(&self.webhook_timeout_secs)
            || !(1..=720).contains(&self.webhook_give_up_hours)
        {
            problems.push(
                "CARDEA_WEBHOOK_TIMEOUT_SECS must lie between 1 and 30, CARDEA_WEBHOOK_GIVE_UP_HOURS between 1 and 720"
                    .to_owned(),
            );
        }
        problems
    }
}

impl Element {
    fn settings(self, production: bool) -> Result<WebhookSettings, String> {
        let name = self.name;
        let form = (1..=32).contains(&name.len())
            && name.split('-').all(|part| {
                let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                !part.is_empty() && part.bytes().all(good)
            });
        if !form {
            return Err(format!(
                "CARDEA_WEBHOOKS: the name `{name}` must be of small letters, digits and single hyphens between them, at most 32"
            ));
        }
        let what = format!("CARDEA_WEBHOOKS: `{name}`");
        // The address itself may hold a secret, and is not repeated.
        let url = Url::parse(&self.url).map_err(|_| format!("{what} has no address"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(format!(
                "{what} must have an address without a name, a password and a fragment"
            ));
        }
        let loopback = !production && url.scheme() == "http" && is_loopback(&url);
        if url.scheme() != "https" && !loopback {
            return Err(format!(
                "{what} must have an https address; http is for this machine, in development"
            ));
        }
        let secrets = match (self.secrets, self.secrets_file) {
            (Some(secrets), None) => secrets,
            (None, Some(file)) => {
                let text = secret_file::read(&what, &file)?;
                let lines = text.expose_secret().lines().map(str::trim);
                lines
                    .filter(|line| !line.is_empty())
                    .map(SecretString::from)
                    .collect()
            }
            _ => return Err(format!("{what} needs one of secrets and secretsFile")),
        };
        if !(1..=MOST_SECRETS).contains(&secrets.len()) {
            return Err(format!(
                "{what} needs a secret, and has at most {MOST_SECRETS}"
            ));
        }
        let secrets = secrets.iter().map(|text| secret(text).ok_or(()));
        let secrets = secrets.collect::<Result<_, _>>().map_err(|()| {
            format!("{what}: a secret is `whsec_` and 24 to 64 random bytes in base64")
        })?;
        Ok(WebhookSettings { name, url, secrets })
    }
}

fn secret(text: &SecretString) -> Option<SecretSlice<u8>> {
    let text = text.expose_secret().strip_prefix("whsec_")?;
    let bytes = STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text));
    let bytes = bytes
        .ok()
        .filter(|bytes| (24..=64).contains(&bytes.len()))?;
    Some(bytes.into())
}

impl Config {
    /// How long a service has to take an event.
    #[must_use]
    pub fn webhook_timeout(&self) -> Duration {
        Duration::from_secs(self.webhooks.webhook_timeout_secs.into())
    }

    /// For how long an event is tried again.
    #[must_use]
    pub fn webhook_give_up_after(&self) -> TimeDelta {
        TimeDelta::hours(self.webhooks.webhook_give_up_hours.into())
    }
}
