//! Answers of browsers to the ceremonies of passkeys: none counts that is for another request, page or service, or whose
//! authenticator did not see the person.
//!
//! Behind `c` stands a new credential as JSON, behind `g` a proof. Behind `C` and `G` come the pieces that are base64 in
//! there, as they are: client data up to a line feed, then the attestation, or, with its length before it, authenticator
//! data and the signature.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::crypto::passkey::{Assertion, Attestation, RelyingParty};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

const ORIGIN: &str = "http://localhost:8000";
const RP_ID: &str = "localhost";
/// In the place of the random one, so that an answer that was good once stays so.
const CHALLENGE: &str = "Q2FyZGVhIGFza3MgdGhlIHNhbWUgYWdhaW4gYW5kIGE";
/// The new credential that proofs are of.
const REGISTRATION: &[u8] = include_bytes!("../corpus/webauthn/registration");

struct Ceremonies {
    party: RelyingParty,
    registration: Value,
    sign_in: Value,
    credential: Value,
    id: String,
}

static CEREMONIES: LazyLock<Ceremonies> = LazyLock::new(|| {
    let origin = Url::parse(ORIGIN).expect("an address");
    let party = RelyingParty::new(RP_ID, "Cardea", &[origin]).expect("a relying party");
    let begun = party.begin_registration(Uuid::from_u128(7), ("ada", "Ada"), Vec::new());
    let mut registration = begun.expect("it begins").state;
    registration["rs"]["challenge"] = json!(CHALLENGE);
    let mut sign_in = party.begin_sign_in(&[]).expect("it begins").state;
    sign_in["ast"]["challenge"] = json!(CHALLENGE);
    let answer: Value = serde_json::from_slice(&REGISTRATION[1..]).expect("JSON");
    let attestation = Attestation::parse(&answer).expect("a new credential");
    let new = party.finish_registration(&attestation, &registration);
    let new = new.unwrap_or_else(|why| panic!("the example does not hold: {why:?}"));
    Ceremonies {
        party,
        registration,
        sign_in,
        credential: new.credential,
        id: URL_SAFE_NO_PAD.encode(new.id),
    }
});

/// What the answer says of request and page, which counts only where it is ours.
fn is_ours(answer: &Value, ceremony: &str) {
    let client_data = answer["response"]["clientDataJSON"]
        .as_str()
        .expect("it was read before");
    // Whatever form of base64 was taken.
    let plain = client_data
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    let Ok(client_data) = URL_SAFE_NO_PAD.decode(plain) else {
        return;
    };
    let told: Value = serde_json::from_slice(&client_data).expect("it was read before");
    assert_eq!(told["type"], ceremony);
    assert_eq!(
        told["challenge"]
            .as_str()
            .map(|it| it.trim_end_matches('=')),
        Some(CHALLENGE)
    );
    let origin = told["origin"]
        .as_str()
        .and_then(|origin| Url::parse(origin).ok());
    assert_eq!(
        origin
            .map(|origin| origin.origin().ascii_serialization())
            .as_deref(),
        Some(ORIGIN)
    );
    assert_ne!(told["crossOrigin"], true);
}

/// The person was there and was verified, for this service.
fn is_seen(data: &[u8]) {
    assert_eq!(data[..32], Sha256::digest(RP_ID)[..]);
    assert_eq!(data[32] & 5, 5);
}

fn create(answer: &Value) {
    let Some(attestation) = Attestation::parse(answer) else {
        return;
    };
    let all = &*CEREMONIES;
    if let Ok(new) = all
        .party
        .finish_registration(&attestation, &all.registration)
    {
        is_ours(answer, "webauthn.create");
        assert!((16..=1023).contains(&new.id.len()));
    }
}

fn get(answer: &Value) {
    let Some(assertion) = Assertion::parse(answer) else {
        return;
    };
    let _ = (assertion.credential_id(), assertion.user_handle());
    let all = &*CEREMONIES;
    if all
        .party
        .finish_sign_in(&assertion, &all.sign_in, &all.credential)
        .is_ok()
    {
        is_ours(answer, "webauthn.get");
        let data = answer["response"]["authenticatorData"]
            .as_str()
            .unwrap_or_default();
        if let Ok(data) = URL_SAFE_NO_PAD.decode(data) {
            is_seen(&data);
        }
    }
}

/// The answer of these pieces.
fn answer(response: &Value) -> Value {
    json!({ "id": CEREMONIES.id, "rawId": CEREMONIES.id, "type": "public-key", "extensions": {}, "response": response })
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((kind, rest)) = data.split_first() else {
        return Corpus::Reject;
    };
    let json = || serde_json::from_slice::<Value>(rest).ok();
    let end = rest.iter().position(|byte| *byte == b'\n');
    let pieces = end.map(|end| (&rest[..end], &rest[end + 1..]));
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match (kind, pieces) {
        (b'c', _) => drop(json().map(|answer| create(&answer))),
        (b'g', _) => drop(json().map(|answer| get(&answer))),
        (b'C', Some((client_data, object))) => create(&answer(&json!({
            "clientDataJSON": encode(client_data), "attestationObject": encode(object),
        }))),
        (b'G', Some((client_data, [length, more @ ..]))) => {
            let at = usize::from(*length).min(more.len());
            get(&answer(&json!({
                "clientDataJSON": encode(client_data), "authenticatorData": encode(&more[..at]),
                "signature": encode(&more[at..]), "userHandle": null,
            })));
        }
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});
