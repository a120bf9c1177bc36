//! For which server passkeys are made, and on which pages they may be used.

use clap::Args;
use url::{Host, Url};

use crate::config::{Config, Origins};

/// For which server passkeys are made.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Passkeys")]
pub struct PasskeyConfig {
    /// The domain that passkeys belong to, such as `example.org`: that of the pages that use them, or one above it. Passkeys made for another one are lost [default: the host of the public address]
    #[arg(
        long = "webauthn-rp-id",
        env = "CARDEA_WEBAUTHN_RP_ID",
        value_name = "DOMAIN",
        global = true
    )]
    pub rp_id: Option<String>,
}

impl Config {
    /// The relying party's id (`WebAuthn` Level 3, section 4): the domain that passkeys belong to. `None` where
    /// clients reach the server by a number, for which browsers make no passkeys.
    #[must_use]
    pub fn webauthn_rp_id(&self) -> Option<String> {
        if let Some(id) = &self.passkeys.rp_id {
            return Some(id.clone());
        }
        match own_origin(self)?.host()? {
            Host::Domain(name) => Some(name.to_owned()),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The origins whose pages may use passkeys: the server's own, and those that may use the API, as far
    /// as their host is the relying party's id or below it.
    #[must_use]
    pub fn webauthn_origins(&self) -> Vec<Url> {
        let Some(id) = self.webauthn_rp_id() else {
            return Vec::new();
        };
        let listed = self.http.cors_origins.iter().flat_map(Origins::iter);
        let listed = listed.filter_map(|origin| Url::parse(origin).ok());
        own_origin(self)
            .into_iter()
            .chain(listed)
            .filter(|origin| origin.domain().is_some_and(|host| covers(&id, host)))
            .collect()
    }

    /// What is wrong with the relying party's id, if one is set.
    pub(super) fn passkey_problem(&self) -> Option<String> {
        let id = self.passkeys.rp_id.as_deref()?;
        let is_domain = Url::parse(&format!("https://{id}")).is_ok_and(|url| {
            url.host() == Some(Host::Domain(id)) && (id.contains('.') || id == "localhost")
        });
        if !is_domain {
            return Some(format!(
                "CARDEA_WEBAUTHN_RP_ID: `{id}` is no domain such as example.org"
            ));
        }
        self.webauthn_origins().is_empty().then(|| {
            format!(
                "CARDEA_WEBAUTHN_RP_ID: neither CARDEA_PUBLIC_URL nor one of CARDEA_CORS_ORIGINS lies in `{id}`, so that no page could use a passkey"
            )
        })
    }
}

/// The origin of the server's own pages. Browsers take `localhost` for safe without TLS, and make
/// passkeys for no number.
fn own_origin(config: &Config) -> Option<Url> {
    let url = match &config.public_url {
        None if config.listen.ip().is_loopback() => {
            format!("http://localhost:{}", config.listen.port())
        }
        _ => config.public_url(),
    };
    let origin = Url::parse(&url).ok()?.origin();
    // Of a kind that has none it is no address.
    Url::parse(&origin.ascii_serialization()).ok()
}

/// Whether `host` is the domain `id` or below it.
fn covers(id: &str, host: &str) -> bool {
    host.strip_suffix(id)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_covers_itself_and_what_lies_below() {
        for (host, covered) in [
            ("example.org", true),
            ("app.example.org", true),
            ("badexample.org", false),
            ("example.org.evil.test", false),
            ("org", false),
        ] {
            assert_eq!(covers("example.org", host), covered, "{host}");
        }
    }
}
