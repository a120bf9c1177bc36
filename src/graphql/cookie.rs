//! Tokens in cookies: reading them, setting them, and refusing requests that other sites make with them.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{Config, SameSite};
use crate::error::Error;
use crate::graphql::error::Code;
use crate::graphql::params::Refused;
use crate::scalar::DateTime;
use crate::services::session::SignedIn;

/// A request with this header was allowed by this server before the browser sent it: no page of
/// another origin can set it unasked (Fetch, CORS-preflight).
const PREFLIGHT: [HeaderName; 3] = [
    HeaderName::from_static("graphql-require-preflight"),
    HeaderName::from_static("apollo-require-preflight"),
    HeaderName::from_static("x-apollo-operation-name"),
];

const ACCESS: &str = "cardea-access";
const REFRESH: &str = "cardea-refresh";
const DEVICE: &str = "cardea-device";

/// The tokens that came in cookies, and whether this request may have some set.
#[derive(Default)]
pub struct Cookies {
    access: Option<SecretString>,
    refresh: Option<SecretString>,
    device: Option<SecretString>,
    foreign: bool,
    dropped: bool,
}

impl Cookies {
    /// Reads the cookies of a request.
    ///
    /// # Errors
    /// `FORBIDDEN` for a request with cookies of ours that another site may have made: it lacks the
    /// header `graphql-require-preflight`, or its `Origin` or `Sec-Fetch-Site` is foreign.
    pub(super) fn read(headers: &HeaderMap, config: &Config) -> Result<Self, Refused> {
        let mut cookies = Self {
            foreign: is_foreign(headers, config),
            dropped: config.session.cookie_same_site != SameSite::None
                && headers
                    .get("sec-fetch-site")
                    .is_some_and(|site| site == "cross-site"),
            ..Self::default()
        };
        // A token in the header counts alone; cookies that come with it are not looked at.
        if headers.contains_key(header::AUTHORIZATION) {
            return Ok(cookies);
        }
        let [access, refresh, device] = [ACCESS, REFRESH, DEVICE].map(|kind| name(config, kind));
        for (name, value) in pairs(headers) {
            let slot = if name == access {
                &mut cookies.access
            } else if name == refresh {
                &mut cookies.refresh
            } else if name == device {
                &mut cookies.device
            } else {
                continue;
            };
            slot.get_or_insert_with(|| value.into());
        }
        if cookies.access.is_none() && cookies.refresh.is_none() {
            return Ok(cookies);
        }
        let refused = |message: &str| Refused::new(StatusCode::FORBIDDEN, Code::Forbidden, message);
        if cookies.foreign {
            return Err(refused(
                "Another site made this request; its origin is not in CARDEA_CORS_ORIGINS.",
            ));
        }
        if !PREFLIGHT.iter().any(|name| headers.contains_key(name)) {
            return Err(refused(
                "With cookies, send the header `graphql-require-preflight: 1`.",
            ));
        }
        Ok(cookies)
    }

    /// The access token in the cookies of a WebSocket's handshake, which no page can send a header with.
    /// Cookies count where the browser names the page's origin, and that is one of ours.
    pub(super) fn of_handshake(headers: &HeaderMap, config: &Config) -> Option<SecretString> {
        if !headers.contains_key(header::ORIGIN) || is_foreign(headers, config) {
            return None;
        }
        let access = name(config, ACCESS);
        let mut cookies = pairs(headers);
        cookies
            .find(|(name, _)| *name == access)
            .map(|(_, value)| value.into())
    }

    /// The access token.
    #[must_use]
    pub fn access(&self) -> Option<&str> {
        self.access.as_ref().map(SecretString::expose_secret)
    }

    /// The refresh token.
    #[must_use]
    pub fn refresh(&self) -> Option<&str> {
        self.refresh.as_ref().map(SecretString::expose_secret)
    }

    /// The token of a trusted device. It proves nothing by itself, so that a request with it alone may
    /// come from anywhere; a page of another site is not believed.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        let device = self.device.as_ref().filter(|_| !self.foreign);
        device.map(SecretString::expose_secret)
    }

    /// Fails where cookies must not or cannot be set: a page of another site could sign its visitor in to
    /// somebody else's account, and a browser drops `SameSite` cookies that come to one.
    ///
    /// # Errors
    /// [`Error::ForbiddenSo`], with what to set.
    pub fn may_be_set(&self) -> Result<(), Error> {
        if self.foreign {
            return Err(Error::ForbiddenSo(
                "Cookies are given only to pages of listed origins (CARDEA_CORS_ORIGINS).",
            ));
        }
        if self.dropped {
            return Err(Error::ForbiddenSo(
                "A browser keeps no such cookies for a page of another site. Call this server under the page's \
                 own site (localhost and 127.0.0.1 are two), or set CARDEA_COOKIE_SAME_SITE=none.",
            ));
        }
        Ok(())
    }

    /// Whether any token came in a cookie.
    #[must_use]
    pub fn are_used(&self) -> bool {
        self.access.is_some() || self.refresh.is_some()
    }
}

/// The cookies of a session, and of a device that is trusted from now on, as values of `Set-Cookie`. Without `remember_me` they go with the browser's
/// own session.
///
/// The access token's cookie outlives the token, so that a browser whose token has run out is told to
/// refresh it, and not taken for a stranger.
#[must_use]
pub fn issued(config: &Config, signed_in: &SignedIn, now: DateTime) -> Vec<String> {
    let lifetime = *signed_in.session.expires_at - *now;
    let lifetime = signed_in.session.remember_me.then_some(lifetime);
    let mut cookies = vec![
        cookie(config, ACCESS, &signed_in.access_token, lifetime),
        cookie(config, REFRESH, signed_in.refresh_token.expose(), lifetime),
    ];
    if let Some((token, until)) = &signed_in.trusted_device {
        cookies.push(cookie(config, DEVICE, token.expose(), Some(**until - *now)));
    }
    cookies
}

/// Takes the cookies of a session back, as values of `Set-Cookie`. A trusted device stays one.
#[must_use]
pub fn withdrawn(config: &Config) -> [String; 2] {
    [ACCESS, REFRESH].map(|name| cookie(config, name, "", Some(TimeDelta::zero())))
}

fn cookie(config: &Config, kind: &str, value: &str, lifetime: Option<TimeDelta>) -> String {
    let same_site = match config.session.cookie_same_site {
        SameSite::None => "None",
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
    };
    let secure = if config.is_https() { "; Secure" } else { "" };
    let age = lifetime.map_or_else(String::new, |lifetime| {
        format!("; Max-Age={}", lifetime.num_seconds().max(0))
    });
    let name = name(config, kind);
    format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}")
}

/// With TLS a browser takes a `__Host-` cookie only from this very host, for all its paths (RFC 6265bis,
/// section 4.1.3.2). Without TLS no browser takes one at all.
fn name(config: &Config, kind: &str) -> String {
    let prefix = if config.is_https() { "__Host-" } else { "" };
    format!("{prefix}{kind}")
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(_, value)| !value.is_empty())
}

/// Whether the browser says that a page of another site made the request. Only a browser of long ago
/// says nothing; it is kept out by the header that it must send.
pub(super) fn is_foreign(headers: &HeaderMap, config: &Config) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        // A front end on the list may be on another site.
        return !origin
            .to_str()
            .is_ok_and(|origin| config.origin_allowed(origin));
    }
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}
