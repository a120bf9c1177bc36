//! Access tokens: signed JWTs that name a session (RFC 9068). Whether that session lives, others check.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, anyhow, bail};
use aws_lc_rs::signature::Ed25519KeyPair;
use chrono::TimeDelta;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Header, Validation, dangerous};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::auth::keys::{Key, Keys};
use crate::models::signing_key::SigningKey;
use crate::scalar::DateTime;

/// Longer tokens are not looked at.
const MAX_LENGTH: usize = 4096;

/// Most tokens that are remembered: some megabytes. Only tokens whose signature is good get in.
const REMEMBERED: usize = 10_000;

/// What the keys are for, as it stands in the database.
pub const ALGORITHM: &str = "EdDSA";

/// The type that the header of an access token names (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

/// The keys that sign and verify, and what tokens must say. Cheap to clone; clones change together.
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

struct Inner {
    keys: RwLock<Arc<Keys>>,
    /// Tokens by their SHA-256, so that a signature is verified once and not with each request.
    verified: Cache<[u8; 32], Arc<Verified>>,
    issuer: String,
    audience: String,
    lifetime: TimeDelta,
}

/// A token whose signature is good.
struct Verified {
    /// The name of the key that it is good for.
    key: String,
    claims: Arc<Claims>,
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
    /// How the person proved who they are (RFC 8176): `pwd`, `otp`, `pop` for a passkey, `mfa`.
    #[serde(default)]
    pub amr: Vec<String>,
    /// Names of the account's permissions as of the signing, sorted, where the settings say so. For other
    /// services, and never read here. A private claim: those that RFC 9068, section 2.2.3, takes from SCIM are
    /// roles, groups and entitlements, and say something else.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// The permissions have no room in a token: other services must ask.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub permissions_omitted: bool,
    /// The token itself.
    pub jti: Uuid,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
}

/// Most bytes of permissions in a token, as JSON: with the rest of it they have to fit into a cookie.
const MAX_PERMISSIONS: usize = 2048;

impl Claims {
    /// Tells other services what the account may do, or that it is too much for a token.
    fn tell(&mut self, permissions: Vec<String>) {
        // Two quotation marks and a comma each.
        let size: usize = permissions.iter().map(|name| name.len() + 3).sum();
        self.permissions_omitted = size > MAX_PERMISSIONS;
        self.permissions = Some(permissions).filter(|_| !self.permissions_omitted);
    }
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
    /// A set of the keys in the database, which come in the order of [`SigningKey::all`].
    ///
    /// # Errors
    /// If there is none, or one cannot be read, or signing and verifying do not fit together.
    pub fn new(
        rows: &[SigningKey],
        issuer: String,
        audience: String,
        lifetime: TimeDelta,
    ) -> anyhow::Result<Self> {
        let set = Self(Arc::new(Inner {
            keys: RwLock::new(Arc::new(Keys::new(rows, lifetime)?)),
            verified: Cache::new(REMEMBERED),
            issuer,
            audience,
            lifetime,
        }));
        set.self_test(&set.keys())?;
        Ok(set)
    }

    /// Puts the keys that are now in the database in the place of those before.
    ///
    /// # Errors
    /// As [`KeySet::new`]; the keys before stay then.
    pub fn replace(&self, rows: &[SigningKey]) -> anyhow::Result<()> {
        let keys = Keys::new(rows, self.0.lifetime)?;
        self.self_test(&keys)?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        self.0.verified.clear();
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public keys (RFC 7517): the one that signs at `now`, the ones that are to, and the ones
    /// whose tokens have not run out.
    #[must_use]
    pub fn published(&self, now: DateTime) -> JwkSet {
        self.keys().published(now)
    }

    /// A token for the session `sid` of the account `sub`; with `permissions` it tells other services of them.
    ///
    /// # Errors
    /// If signing fails.
    pub fn sign(
        &self,
        sub: Uuid,
        sid: Uuid,
        amr: Vec<String>,
        permissions: Option<Vec<String>>,
        now: DateTime,
    ) -> anyhow::Result<AccessToken> {
        let mut claims = self.claims(sub, sid, amr, now);
        if let Some(permissions) = permissions {
            claims.tell(permissions);
        }
        sign_with(self.keys().signing(now)?, &claims)
    }

    fn claims(&self, sub: Uuid, sid: Uuid, amr: Vec<String>, now: DateTime) -> Claims {
        Claims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub,
            sid,
            amr,
            permissions: None,
            permissions_omitted: false,
            jti: Uuid::new_v4(),
            iat: now.timestamp(),
            exp: (*now + self.0.lifetime).timestamp(),
        }
    }

    /// What `token` says, if this server signed it for this audience and it has not ended.
    ///
    /// The algorithm, the issuer and the keys are ours to choose; nothing in the token's header is
    /// believed beyond the name of the key (RFC 8725, sections 3.1 and 3.10).
    #[must_use]
    pub fn verify(&self, token: &str, now: DateTime) -> Option<Arc<Claims>> {
        self.verify_lapsed(token, now)
            .filter(|claims| now.timestamp() < claims.exp)
    }

    /// What `token` says, as [`KeySet::verify`] tells it, whether it has ended or not: for who only
    /// wants to give up what the token stands for. A token of a key that has ended is refused.
    #[must_use]
    pub fn verify_lapsed(&self, token: &str, now: DateTime) -> Option<Arc<Claims>> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.0.verified.get(&hash) {
            // What changes with time, and with the keys, is asked each time.
            let good = self.keys().verifying(&known.key, now).is_some();
            return (good && begun(&known.claims, now)).then(|| Arc::clone(&known.claims));
        }
        let key = key_id(token)?;
        let claims = self.verify_with(self.keys().verifying(&key, now)?, token, now)?;
        let claims = Arc::new(claims);
        let verified = Verified {
            key,
            claims: Arc::clone(&claims),
        };
        self.0.verified.insert(hash, Arc::new(verified));
        Some(claims)
    }

    fn verify_with(&self, key: &Key, token: &str, now: DateTime) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.0.issuer]);
        validation.set_audience(&[&self.0.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are compared with the clock of the server, which tests can move.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.public, &validation)
            .ok()?
            .claims;
        begun(&claims, now).then_some(claims)
    }

    /// Whether `token` may be good though its key is not in this set: another server may have made
    /// the key a moment ago. Nothing of the token is believed for that; anybody can write such a one.
    #[must_use]
    pub fn misses_key_of(&self, token: &str, now: DateTime) -> bool {
        let unknown =
            key_id(token).is_some_and(|id| Uuid::try_parse(&id).is_ok() && !self.keys().knows(&id));
        unknown
            && dangerous::insecure_decode::<Claims>(token).is_ok_and(|told| {
                let claims = told.claims;
                told.header.alg == Algorithm::EdDSA
                    && claims.iss == self.0.issuer
                    && claims.aud == self.0.audience
                    && now.timestamp() < claims.exp
                    && begun(&claims, now)
            })
    }

    /// Signs, verifies, and refuses a forgery, so that a broken build or key does not serve.
    fn self_test(&self, keys: &Keys) -> anyhow::Result<()> {
        let now = DateTime(chrono::DateTime::UNIX_EPOCH);
        for key in keys.iter() {
            let claims = self.claims(Uuid::nil(), Uuid::nil(), Vec::new(), now);
            let token = sign_with(key, &claims)?.token;
            if self.verify_with(key, &token, now).is_none() {
                bail!("an access token that was just signed does not verify");
            }
            let (head, signature) = token.rsplit_once('.').context("a token has three parts")?;
            let flipped = if signature.starts_with('A') { "B" } else { "A" };
            let forged = format!("{head}.{flipped}{}", &signature[1..]);
            if self.verify_with(key, &forged, now).is_some() {
                bail!("a forged access token verifies");
            }
        }
        Ok(())
    }
}

fn sign_with(key: &Key, claims: &Claims) -> anyhow::Result<AccessToken> {
    let header = Header {
        typ: Some(TYPE.to_owned()),
        kid: Some(key.id.clone()),
        ..Header::new(Algorithm::EdDSA)
    };
    let token = jsonwebtoken::encode(&header, claims, &key.private)?;
    let expires_at =
        chrono::DateTime::from_timestamp(claims.exp, 0).context("the clock is out of range")?;
    Ok(AccessToken {
        token,
        expires_at: DateTime(expires_at),
    })
}

/// The key that `token` names, if it has the form of an access token.
fn key_id(token: &str) -> Option<String> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    (header.typ.as_deref() == Some(TYPE)).then_some(header.kid)?
}

/// Whether the token was issued by `now`, or no more than a minute later: the clocks of servers
/// differ a little.
fn begun(claims: &Claims, now: DateTime) -> bool {
    claims.iat <= now.timestamp().saturating_add(60)
}
