//! Signatures of webhooks, as Standard Webhooks has them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice};

/// The header `webhook-signature`: one signature for each secret, so that a receiver may know either
/// while one takes the place of another.
#[must_use]
pub fn signatures(secrets: &[SecretSlice<u8>], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |secret: &SecretSlice<u8>| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret());
        let code = hmac::sign(&key, signed.as_bytes());
        format!("v1,{}", STANDARD.encode(code))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}
