//! What the settings come to: defaults that hang on other settings, and values in the units they are
//! used in.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use url::Url;

use crate::config::{Config, Mode};

/// A page that mailed links lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Proves an address.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Sets the first password of an account that somebody else opened.
    AcceptInvitation,
    /// Confirms or undoes a change of the address.
    ConfirmEmailChange,
    /// Opens a closed account again.
    ReactivateAccount,
}

impl Config {
    /// Whether this is a production server.
    #[must_use]
    pub fn production(&self) -> bool {
        self.mode == Mode::Production
    }

    /// The address under which clients reach the server, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }

    /// Whether a page of `origin` may use the API with its visitor's credentials: the server's own
    /// origin, or a listed one, to the letter.
    #[must_use]
    pub fn origin_allowed(&self, origin: &str) -> bool {
        let own = Url::parse(&self.public_url()).is_ok_and(|url| {
            // Of a kind that has none, `null` would be the name, which any page can send.
            url.origin().is_tuple() && url.origin().ascii_serialization() == origin
        });
        own || self.near_origins().any(|near| near == origin)
            || self
                .http
                .cors_origins
                .as_ref()
                .is_some_and(|listed| listed.contains(origin))
    }

    /// Where the mailed link to `page` leads that carries `token`.
    ///
    /// On the built-in pages the token stands behind `#`, which no browser sends to a server, so
    /// that it is in no log on the way.
    #[must_use]
    pub fn link(&self, page: Page, token: &str) -> String {
        let links = &self.links;
        let (own, built_in) = match page {
            Page::VerifyEmail => (&links.verify_email, "verify-email"),
            Page::ResetPassword => (&links.reset_password, "reset-password"),
            Page::AcceptInvitation => (&links.accept_invitation, "accept-invitation"),
            Page::ConfirmEmailChange => (&links.confirm_email_change, "confirm-email-change"),
            Page::ReactivateAccount => (&links.reactivate_account, "reactivate-account"),
        };
        match own {
            Some(page) => page.replace("{token}", token),
            None => format!("{}/{built_in}#token={token}", self.public_url()),
        }
    }

    /// Where a forgotten password is told.
    #[must_use]
    pub fn forgot_password_link(&self) -> String {
        let own = self.links.forgot_password.clone();
        own.unwrap_or_else(|| format!("{}/forgot-password", self.public_url()))
    }

    /// Whether a provider may send the browser back to `page`: it is the server's own, or listed, to the
    /// letter.
    #[must_use]
    pub fn redirect_allowed(&self, page: &str) -> bool {
        let own = |origin: &str| page.strip_prefix(origin) == Some("/oauth/callback");
        let mut listed = self.providers.oauth_redirect_uris.iter();
        own(&self.public_url())
            || self.near_origins().any(|origin| own(&origin))
            || listed.any(|listed| listed.0.iter().any(|listed| listed == page))
    }

    /// The origins of a development server under the names of this machine: under whichever one its page
    /// was opened.
    fn near_origins(&self) -> impl Iterator<Item = String> {
        let port = self.listen.port();
        let near = self.public_url.is_none() && self.listen.ip().is_loopback();
        ["localhost", "127.0.0.1", "[::1]"]
            .into_iter()
            .filter(move |_| near)
            .map(move |host| format!("http://{host}:{port}"))
    }

    /// How old a sign-in may be for what changes the account itself.
    #[must_use]
    pub fn recent_sign_in(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.session.recent_sign_in_minutes))
    }

    /// Whether clients reach the server by TLS, so that cookies can be bound to that.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url
            .as_ref()
            .is_some_and(|url| url.scheme() == "https")
    }

    /// `iss` in access tokens.
    #[must_use]
    pub fn token_issuer(&self) -> String {
        self.session
            .token_issuer
            .clone()
            .unwrap_or_else(|| self.public_url())
    }

    /// Whether GraphiQL is shown.
    #[must_use]
    pub fn playground(&self) -> bool {
        self.http.playground.unwrap_or(!self.production())
    }

    /// Whether introspection is answered.
    #[must_use]
    pub fn introspection(&self) -> bool {
        self.http.introspection.unwrap_or(!self.production())
    }

    /// Whether mails go to the inbox page.
    #[must_use]
    pub fn inbox(&self) -> bool {
        self.mail
            .inbox
            .unwrap_or(!self.production() && self.mail.smtp_url.is_none())
    }

    /// Whether the schema of the database is brought up to date at start.
    #[must_use]
    pub fn auto_migrate(&self) -> bool {
        self.database.auto_migrate.unwrap_or(!self.production())
    }

    /// The folder of the server's own database.
    ///
    /// # Errors
    /// If the user has no data folder.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.database.data_dir {
            return Ok(std::path::absolute(dir)?);
        }
        if crate::embedded::running_as_root() {
            return Ok(PathBuf::from("/var/lib/cardea"));
        }
        dirs::data_dir().map(|dir| dir.join("cardea")).ok_or_else(|| {
            anyhow::anyhow!("no data folder is known for this user; name one with --data-dir or CARDEA_DATA_DIR")
        })
    }

    /// How long an access token is good.
    #[must_use]
    pub fn access_token_lifetime(&self) -> TimeDelta {
        TimeDelta::minutes(self.session.access_token_minutes.into())
    }

    /// How long a session lives.
    #[must_use]
    pub fn session_lifetime(&self, remember_me: bool) -> TimeDelta {
        if remember_me {
            TimeDelta::days(self.session.remembered_session_days.into())
        } else {
            TimeDelta::hours(self.session.session_hours.into())
        }
    }

    /// How long a request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.http.request_timeout_secs)
    }
}
