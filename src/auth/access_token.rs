//! Access tokens: signed JWTs that name a session (RFC 9068). Whether that session lives, others check.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use aws_lc_rs::signature::Ed25519KeyPair;
use chrono::TimeDelta;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::models::signing_key::SigningKey;
use crate::scalar::DateTime;

/// Longer tokens are not looked at.
const MAX_LENGTH: usize = 4096;

/// The keys that sign and verify, and what tokens must say. Cheap to clone.
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

struct Inner {
    signing: (String, EncodingKey),
    verifying: Vec<(String, DecodingKey)>,
    published: JwkSet,
    issuer: String,
    audience: String,
    lifetime: TimeDelta,
}

/// What an access token says. No personal data stands in it.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Claims {
    /// The server that issued it.
    pub iss: String,
    /// For whom it is.
    pub aud: String,
    /// The account, by the UUID that other systems know.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The token itself.
    pub jti: Uuid,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
}

/// A token that was just signed.
#[derive(Debug)]
pub struct AccessToken {
    /// The text.
    pub token: String,
    /// From when on it is refused.
    pub expires_at: DateTime,
}

/// A new private key for `EdDSA` over Ed25519, as PKCS #8.
///
/// # Errors
/// If the system has no randomness.
pub fn generate_private_key() -> anyhow::Result<Vec<u8>> {
    // Version 1 of PKCS #8, without the public key: the only form that jsonwebtoken reads.
    let key = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
    Ok(key
        .map_err(|_| anyhow!("no key could be made"))?
        .as_ref()
        .to_vec())
}

impl KeySet {
    /// A set of the keys in the database, the newest first; the first that is not retired signs.
    ///
    /// # Errors
    /// If no key can sign, or one cannot be read, or signing and verifying do not fit together.
    pub fn new(
        rows: &[SigningKey],
        issuer: String,
        audience: String,
        lifetime: TimeDelta,
    ) -> anyhow::Result<Self> {
        let mut signing = None;
        let mut verifying = Vec::new();
        let mut keys = Vec::new();
        for row in rows {
            let kid = row.id.to_string();
            let private = EncodingKey::from_ed_der(&row.private_key);
            let mut public = Jwk::from_encoding_key(&private, Algorithm::EdDSA)
                .with_context(|| format!("the signing key {kid} cannot be read"))?;
            public.common.key_id = Some(kid.clone());
            public.common.key_algorithm = Some(KeyAlgorithm::EdDSA);
            public.common.public_key_use = Some(PublicKeyUse::Signature);
            verifying.push((kid.clone(), DecodingKey::from_jwk(&public)?));
            keys.push(public);
            if row.retired_at.is_none() && signing.is_none() {
                signing = Some((kid, private));
            }
        }
        let Some(signing) = signing else {
            bail!("there is no key to sign access tokens with")
        };
        let set = Self(Arc::new(Inner {
            signing,
            verifying,
            published: JwkSet { keys },
            issuer,
            audience,
            lifetime,
        }));
        set.self_test()?;
        Ok(set)
    }

    /// The public keys (RFC 7517).
    #[must_use]
    pub fn published(&self) -> &JwkSet {
        &self.0.published
    }

    /// A token for the session `sid` of the account `sub`.
    ///
    /// # Errors
    /// If signing fails.
    pub fn sign(&self, sub: Uuid, sid: Uuid, now: DateTime) -> anyhow::Result<AccessToken> {
        let (kid, key) = &self.0.signing;
        let expires_at = *now + self.0.lifetime;
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub,
            sid,
            jti: Uuid::new_v4(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: Some(kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token = jsonwebtoken::encode(&header, &claims, key)?;
        let expires_at =
            chrono::DateTime::from_timestamp(claims.exp, 0).context("the clock is out of range")?;
        Ok(AccessToken {
            token,
            expires_at: DateTime(expires_at),
        })
    }

    /// What `token` says, if this server signed it for this audience and it has not ended.
    ///
    /// The algorithm, the issuer and the keys are ours to choose; nothing in the token's header is
    /// believed beyond the name of the key (RFC 8725, sections 3.1 and 3.10).
    #[must_use]
    pub fn verify(&self, token: &str, now: DateTime) -> Option<Claims> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some("at+jwt") {
            return None;
        }
        let (_, key) = self
            .0
            .verifying
            .iter()
            .find(|(kid, _)| Some(kid) == header.kid.as_ref())?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.0.issuer]);
        validation.set_audience(&[&self.0.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The end is compared below, with the clock of the server, which tests can move.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .ok()?
            .claims;
        let seconds = now.timestamp();
        // No more than a minute from the future: instances' clocks differ a little.
        (seconds < claims.exp && claims.iat <= seconds.saturating_add(60)).then_some(claims)
    }

    /// Signs, verifies, and refuses a forgery, so that a broken build does not serve.
    fn self_test(&self) -> anyhow::Result<()> {
        let now = DateTime(chrono::DateTime::UNIX_EPOCH);
        let token = self.sign(Uuid::nil(), Uuid::nil(), now)?.token;
        if self.verify(&token, now).is_none() {
            bail!("an access token that was just signed does not verify");
        }
        let (head, signature) = token.rsplit_once('.').context("a token has three parts")?;
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        if self
            .verify(&format!("{head}.{flipped}{}", &signature[1..]), now)
            .is_some()
        {
            bail!("a forged access token verifies");
        }
        Ok(())
    }
}
