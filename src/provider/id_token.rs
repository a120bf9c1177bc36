//! What of an ID token is believed (OpenID Connect Core 1.0, section 3.1.3.7).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{
    CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError,
};
use serde_json::Value;

use crate::provider::{Failure, Person};

/// How far clocks may be apart.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// None with a secret that both sides know: it would make a public key one to sign with.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 5] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What an ID token is checked against. All of it comes from the settings, none from the token.
pub struct Expected<'a> {
    /// `iss`.
    pub issuer: &'a IssuerUrl,
    /// `aud`, alone; `azp` where there is one.
    pub client_id: &'a ClientId,
    /// `nonce`.
    pub nonce: &'a Nonce,
    /// Apple writes `email_verified` as text.
    pub text_for_booleans: bool,
}

/// Why an ID token is not believed.
pub enum Disbelief {
    /// It names a key that is not among those of the issuer; it may have changed them.
    UnknownKey,
    /// Anything else.
    For(Failure),
}

/// Who an ID token names, if it is good.
///
/// # Errors
/// Why it is not.
pub fn read(
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
    now: DateTime<Utc>,
) -> Result<Person, Disbelief> {
    let refuse = |why: &str| Disbelief::For(Failure::Refused(format!("ID token: {why}")));
    // What serde would say of it could be what stands in it.
    let parsed: CoreIdToken = token.parse().map_err(|_| refuse("no such JWT"))?;
    let issuer = expected.issuer.clone();
    let verifier =
        CoreIdTokenVerifier::new_public_client(expected.client_id.clone(), issuer, keys.clone())
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || now - SKEW)
            .set_issue_time_verifier_fn(move |issued: DateTime<Utc>| {
                if issued > now + SKEW {
                    return Err("issued in the future".to_owned());
                }
                Ok(())
            });
    parsed
        .claims(&verifier, expected.nonce)
        .map_err(|error| match error {
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            ) => Disbelief::UnknownKey,
            ClaimsVerificationError::SignatureVerification(error) => refuse(&error.to_string()),
            ClaimsVerificationError::InvalidAudience(_) => refuse("for somebody else"),
            ClaimsVerificationError::InvalidIssuer(_) => refuse("of another issuer"),
            ClaimsVerificationError::InvalidNonce(_) => refuse("of another sign-in"),
            ClaimsVerificationError::Expired(_) => refuse("not of this time"),
            _ => refuse("not good"),
        })?;
    let claims = payload(token).ok_or_else(|| refuse("no such claims"))?;
    // The library leaves these two to its users.
    let client_id = expected.client_id.as_str();
    if claims.get("azp").is_some_and(|azp| azp != client_id) {
        return Err(refuse("issued to somebody else"));
    }
    let not_before = claims.get("nbf").map(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are few")]
    let latest = (now + SKEW).timestamp() as f64;
    if not_before.is_some_and(|nbf| nbf.is_none_or(|nbf| nbf > latest)) {
        return Err(refuse("not of this time"));
    }
    Ok(person(expected, &claims))
}

/// Who these claims, which are believed, are about.
#[must_use]
pub fn person(expected: &Expected<'_>, claims: &Value) -> Person {
    let text = |name: &str| {
        let text = claims.get(name)?.as_str()?.trim();
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let verified = claims.get("email_verified");
    let subject = claims.get("sub").and_then(Value::as_str);
    Person {
        issuer: expected.issuer.to_string(),
        subject: subject.unwrap_or_default().to_owned(),
        email: text("email"),
        // Left out, null or any text is no yes.
        email_verified: verified.is_some_and(|verified| match verified {
            Value::Bool(verified) => *verified,
            Value::String(verified) => expected.text_for_booleans && verified == "true",
            _ => false,
        }),
        name: text("name").or_else(|| {
            let names = [text("given_name"), text("family_name")];
            let names: Vec<_> = names.into_iter().flatten().collect();
            Some(names.join(" ")).filter(|name| !name.is_empty())
        }),
    }
}

/// What a JWT says. Whether it is true, others check.
fn payload(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
