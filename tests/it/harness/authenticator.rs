//! An authenticator with one passkey, in software (WebAuthn Level 3): it answers as a device and a browser
//! would, or not quite.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::crypto::token::random;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Client, TestApp};

/// The origin and the relying party of a server with the settings of tests.
pub const ORIGIN: &str = "http://localhost:8000";
pub const RP_ID: &str = "localhost";

/// The flags of authenticator data (section 6.1).
pub const PRESENT: u8 = 1;
pub const VERIFIED: u8 = 1 << 2;
pub const BACKUP_ELIGIBLE: u8 = 1 << 3;
pub const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;

/// What an authenticator makes of a request.
#[derive(Clone)]
pub struct How {
    pub origin: String,
    pub rp_id: String,
    /// In place of `webauthn.create` or `webauthn.get`.
    pub ceremony: Option<&'static str>,
    /// In place of the one in the request.
    pub challenge: Option<String>,
    pub flags: u8,
    pub cross_origin: bool,
    /// In place of the next count.
    pub count: Option<u32>,
    /// In place of the one that was kept; `None` in it for none.
    pub user_handle: Option<Option<Vec<u8>>>,
    /// A bit of the signature is turned over.
    pub spoilt: bool,
    /// The COSE number of the algorithm that a new key claims.
    pub algorithm: u8,
    /// The format that a new credential's attestation claims.
    pub format: &'static str,
}

impl Default for How {
    fn default() -> Self {
        Self {
            origin: ORIGIN.to_owned(),
            rp_id: RP_ID.to_owned(),
            ceremony: None,
            challenge: None,
            flags: PRESENT | VERIFIED,
            cross_origin: false,
            count: None,
            user_handle: None,
            spoilt: false,
            // ES256: -7.
            algorithm: 0x26,
            format: "none",
        }
    }
}

/// A passkey and where it lies.
pub struct Authenticator {
    key: EcdsaKeyPair,
    pub credential_id: Vec<u8>,
    pub user_handle: Vec<u8>,
    /// Signatures so far; `None` for an authenticator that does not count.
    pub count: Option<u32>,
    /// Global id of the passkey, once it is registered.
    pub passkey: String,
}

impl Authenticator {
    pub fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        Self {
            key,
            credential_id: random::<32>().to_vec(),
            user_handle: Vec::new(),
            count: Some(0),
            passkey: String::new(),
        }
    }

    /// One that does not count, as those that keep passkeys in several places.
    pub fn without_counter() -> Self {
        Self {
            count: None,
            ..Self::new()
        }
    }

    /// The answer to `navigator.credentials.create`.
    pub fn create(&mut self, options: &Value, how: &How) -> Value {
        self.user_handle = decode(&options["user"]["id"]);
        let client_data = client_data(options, how, "webauthn.create");
        let mut data = self.authenticator_data(how, ATTESTED);
        data.extend([0; 16]);
        data.extend(
            u16::try_from(self.credential_id.len())
                .expect("short")
                .to_be_bytes(),
        );
        data.extend(&self.credential_id);
        data.extend(self.cose_key(how.algorithm));
        let mut object = vec![0xa3];
        object.extend(text("fmt"));
        object.extend(text(how.format));
        object.extend(text("attStmt"));
        object.push(0xa0);
        object.extend(text("authData"));
        object.push(0x59);
        object.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        object.extend(&data);
        self.credential(&json!({
            "attestationObject": encode(&object), "clientDataJSON": encode(&client_data),
            "authenticatorData": encode(&data), "transports": ["internal"], "publicKeyAlgorithm": -7,
        }))
    }

    /// The answer to `navigator.credentials.get`.
    pub fn get(&mut self, options: &Value, how: &How) -> Value {
        let client_data = client_data(options, how, "webauthn.get");
        self.count = self.count.map(|count| count + 1);
        let data = self.authenticator_data(how, 0);
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature = self
            .key
            .sign(&SystemRandom::new(), &signed)
            .expect("signed");
        let mut signature = signature.as_ref().to_vec();
        if how.spoilt {
            *signature.last_mut().expect("a signature") ^= 1;
        }
        let handle = how.user_handle.clone();
        let handle = handle.unwrap_or_else(|| Some(self.user_handle.clone()));
        self.credential(&json!({
            "authenticatorData": encode(&data), "clientDataJSON": encode(&client_data),
            "signature": encode(&signature), "userHandle": handle.map(|handle| encode(&handle)),
        }))
    }

    fn credential(&self, response: &Value) -> Value {
        let id = encode(&self.credential_id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } }, "response": response,
        })
    }

    fn authenticator_data(&self, how: &How, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(&how.rp_id).to_vec();
        data.push(how.flags | flags);
        let count = how.count.or(self.count).unwrap_or(0);
        data.extend(count.to_be_bytes());
        data
    }

    /// The public key (RFC 9052, section 7): `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`.
    fn cose_key(&self, algorithm: u8) -> Vec<u8> {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let mut key = vec![
            0xa5, 0x01, 0x02, 0x03, algorithm, 0x20, 0x01, 0x21, 0x58, 32,
        ];
        key.extend(x);
        key.extend([0x22, 0x58, 32]);
        key.extend(y);
        key
    }
}

fn client_data(options: &Value, how: &How, ceremony: &str) -> Vec<u8> {
    let challenge = how.challenge.clone().map(Value::from);
    json!({
        "type": how.ceremony.unwrap_or(ceremony),
        "challenge": challenge.as_ref().unwrap_or(&options["challenge"]),
        "origin": how.origin, "crossOrigin": how.cross_origin,
    })
    .to_string()
    .into_bytes()
}

/// A short text in CBOR.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short");
    let mut encoded = vec![0x60 | length];
    encoded.extend(text.bytes());
    encoded
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("a text");
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// The token and the options of a ceremony that was begun.
pub struct Begun {
    pub token: String,
    pub options: Value,
}

impl Begun {
    #[track_caller]
    pub fn of(answer: &Answer, field: &str) -> Self {
        assert_eq!(answer.code(), "");
        let token = answer.data(&format!("{field}/challengeToken"));
        Self {
            token: token.as_str().expect("a token").to_owned(),
            options: answer.data(&format!("{field}/options")).clone(),
        }
    }
}

const FINISH_SIGN_IN: &str = "mutation($input: FinishPasskeySignInInput!) { finishPasskeySignIn(input: $input) { \
    errors { code path message ... on InvalidValueError { rule } ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken refreshToken session { id } user { id uuid } } } } }";

impl TestApp {
    pub async fn start_passkey_sign_in(&self) -> Begun {
        let document = "mutation { startPasskeySignIn { challengeToken options errors { code } } }";
        Begun::of(&self.gql(document, Value::Null).await, "startPasskeySignIn")
    }

    pub async fn finish_passkey_sign_in(&self, token: &str, credential: &Value) -> Answer {
        let input = json!({ "challengeToken": token, "credential": credential });
        self.gql(FINISH_SIGN_IN, json!({ "input": input })).await
    }

    /// Both halves of a sign-in.
    pub async fn passkey_sign_in(&self, authenticator: &mut Authenticator, how: &How) -> Answer {
        let begun = self.start_passkey_sign_in().await;
        let credential = authenticator.get(&begun.options, how);
        self.finish_passkey_sign_in(&begun.token, &credential).await
    }

    /// Another session of the account, by its passkey.
    pub async fn sign_in_by(&self, authenticator: &mut Authenticator) -> Client<'_> {
        let answer = self.passkey_sign_in(authenticator, &How::default()).await;
        Client::new(self, answer.data("finishPasskeySignIn/result"))
    }
}

impl Client<'_> {
    pub async fn try_passkey_registration(&self) -> Answer {
        let document = "mutation { startPasskeyRegistration { challengeToken options errors { code message path } } }";
        self.ask(document).await
    }

    pub async fn start_passkey_registration(&self) -> Begun {
        let answer = self.try_passkey_registration().await;
        Begun::of(&answer, "startPasskeyRegistration")
    }

    pub async fn finish_passkey_registration(
        &self,
        token: &str,
        credential: &Value,
        name: &str,
    ) -> Answer {
        let document = "mutation($input: FinishPasskeyRegistrationInput!) { finishPasskeyRegistration(input: $input) { \
            errors { code path message ... on InvalidValueError { rule } } passkey { id name } user { id } } }";
        let input = json!({ "challengeToken": token, "credential": credential, "name": name });
        self.gql(document, json!({ "input": input })).await
    }

    /// Both halves of adding a passkey.
    pub async fn register_passkey(&self, authenticator: &mut Authenticator, how: &How) -> Answer {
        let begun = self.start_passkey_registration().await;
        let credential = authenticator.create(&begun.options, how);
        self.finish_passkey_registration(&begun.token, &credential, "A key")
            .await
    }

    /// Adds the passkey of this authenticator.
    pub async fn add_passkey_of(&self, mut authenticator: Authenticator) -> Authenticator {
        let answer = self
            .register_passkey(&mut authenticator, &How::default())
            .await;
        let id = answer.data("finishPasskeyRegistration/passkey/id");
        id.as_str()
            .expect("an id")
            .clone_into(&mut authenticator.passkey);
        authenticator
    }

    /// Adds a passkey of a new authenticator.
    pub async fn add_passkey(&self) -> Authenticator {
        self.add_passkey_of(Authenticator::new()).await
    }

    pub async fn remove_passkey(&self, id: &str) -> Answer {
        let document = "mutation($id: ID!) { removePasskey(input: { passkeyId: $id }) { \
            errors { code path } user { id passkeys { id } } } }";
        self.gql(document, json!({ "id": id })).await
    }

    pub async fn rename_passkey(&self, id: &str, name: &str) -> Answer {
        let document = "mutation($input: RenamePasskeyInput!) { renamePasskey(input: $input) { \
            errors { code path ... on InvalidValueError { rule } } passkey { id name } user { id } } }";
        let input = json!({ "passkeyId": id, "name": name });
        self.gql(document, json!({ "input": input })).await
    }

    /// Names of the caller's passkeys, in the order of the answer.
    pub async fn passkeys(&self) -> Vec<String> {
        let answer = self.ask("{ me { passkeys { name } } }").await;
        let passkeys = answer.data("me/passkeys").as_array().expect("a list");
        let names = passkeys.iter().map(|passkey| passkey["name"].as_str());
        names.map(|name| name.expect("a name").to_owned()).collect()
    }
}
