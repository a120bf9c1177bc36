//! How a provider knows this server: by a fixed secret, or by one that is signed anew each time, as Apple
//! wants it.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

/// How long a signed secret is good; Apple takes up to six months.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// What this server shows a provider.
pub enum ClientSecret {
    /// What the provider gave it.
    Fixed(SecretString),
    /// A JWT signed with a key that the provider knows.
    Signed {
        /// Issuer.
        team_id: String,
        /// Names the key.
        key_id: String,
        /// Of the curve P-256.
        key: Box<EncodingKey>,
    },
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
    aud: &'a str,
    sub: &'a str,
}

impl ClientSecret {
    /// Secrets signed with this key, which is PEM.
    ///
    /// # Errors
    /// If it is no private key of the curve P-256.
    pub fn signed(team_id: String, key_id: String, key: &SecretString) -> anyhow::Result<Self> {
        let key = EncodingKey::from_ec_pem(key.expose_secret().as_bytes());
        let key = key.context("the private key for Apple is no PEM of an EC key")?;
        let secret = Self::Signed {
            team_id,
            key_id,
            key: Box::new(key),
        };
        // Of another curve it would only fail when somebody signs in.
        secret
            .value("check", "check", DateTime::UNIX_EPOCH)
            .context("the private key for Apple does not sign with ES256")?;
        Ok(secret)
    }

    /// What to show `audience`, which knows this server as `client_id`.
    ///
    /// # Errors
    /// If signing fails.
    pub fn value(
        &self,
        audience: &str,
        client_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<SecretString> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::Signed {
                team_id,
                key_id,
                key,
            } => {
                let claims = Claims {
                    iss: team_id,
                    iat: now.timestamp(),
                    exp: (now + LIFETIME).timestamp(),
                    aud: audience,
                    sub: client_id,
                };
                let header = Header {
                    kid: Some(key_id.clone()),
                    ..Header::new(Algorithm::ES256)
                };
                Ok(jsonwebtoken::encode(&header, &claims, key)?.into())
            }
        }
    }
}
