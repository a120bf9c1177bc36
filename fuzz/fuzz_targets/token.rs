//! Access tokens: none is taken that the key did not sign, and none that says what it must not.
//!
//! The first byte says whether the rest is a token, or header and claims, between them a NUL byte, to be signed here.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::auth::access_token::KeySet;
use cardea::models::signing_key::SigningKey;
use cardea::scalar::DateTime;
use chrono::TimeDelta;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use uuid::Uuid;

const ISSUER: &str = "http://localhost:8000";
const AUDIENCE: &str = "cardea";
const SEED: [u8; 32] = *b"Cardea looks for forged tokens 1";
/// 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000;

static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key"));

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    // PKCS #8, version 1: what stands before the seed is the same for every key of Ed25519 (RFC 8410).
    let before = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let key = SigningKey {
        id: Uuid::from_u128(7),
        private_key: [&before[..], &SEED].concat(),
        signs_from: at(0),
    };
    let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    KeySet::new(&[key], issuer, audience, TimeDelta::hours(1)).expect("keys")
});

fn at(seconds: i64) -> DateTime {
    DateTime(chrono::DateTime::from_timestamp(seconds, 0).expect("a time"))
}

fn signature(message: &str) -> String {
    URL_SAFE_NO_PAD.encode(PAIR.sign(message.as_bytes()))
}

fn part(text: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("it was decoded before");
    serde_json::from_slice(&bytes).expect("it was read before")
}

fn check(token: &str) {
    let (now, later) = (at(NOW), at(NOW + 7200));
    let _ = KEYS.misses_key_of(token, now);
    let lapsed = KEYS.verify_lapsed(token, now);
    let Some(claims) = KEYS.verify(token, now) else {
        assert!(lapsed.is_none_or(|claims| claims.exp <= NOW));
        return;
    };
    let (message, signed) = token.rsplit_once('.').expect("a token has three parts");
    // The same text, to the letter: a token has no second form.
    assert_eq!(signed, signature(message), "a forged token was taken");
    let (header, told) = message.split_once('.').expect("a token has three parts");
    let (header, told) = (part(header), part(told));
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["kid"], Uuid::from_u128(7).to_string());
    assert_eq!(
        (claims.iss.as_str(), claims.aud.as_str()),
        (ISSUER, AUDIENCE)
    );
    assert_eq!(
        (&told["iss"], &told["aud"]),
        (&Value::from(ISSUER), &Value::from(AUDIENCE))
    );
    assert!(claims.iat <= NOW + 60 && NOW < claims.exp);
    assert!(
        KEYS.verify(token, now).is_some(),
        "what was remembered is another answer"
    );
    assert_eq!(
        KEYS.verify(token, later).is_some(),
        later.timestamp() < claims.exp
    );
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((kind, rest)) = data.split_first() else {
        return Corpus::Reject;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return Corpus::Reject;
    };
    match (kind, text.split_once('\0')) {
        (b's', Some((header, claims))) => {
            let message = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode(claims)
            );
            check(&format!("{message}.{}", signature(&message)));
        }
        _ => check(text),
    }
    Corpus::Keep
});
