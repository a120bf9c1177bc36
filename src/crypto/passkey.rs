//! Ceremonies with authenticators (WebAuthn Level 3): what is asked of them, and whether their answers
//! hold. It keeps nothing: state and credentials are handed out and in as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::subscriber::NoSubscriber;
use url::Url;
use uuid::Uuid;
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, Passkey, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, RequestChallengeResponse, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// The lengths that the id of a credential may have, in bytes (section 4, "Credential ID").
const CREDENTIAL_ID_LENGTHS: std::ops::RangeInclusive<usize> = 16..=1023;

/// Whom passkeys are for: this server, under its id, on pages of its origins.
pub struct RelyingParty(Webauthn);

/// What a ceremony begins with.
#[derive(Debug)]
pub struct Begun {
    /// For the client, as `PublicKeyCredential.parseCreationOptionsFromJSON` and
    /// `parseRequestOptionsFromJSON` take it.
    pub options: Value,
    /// To finish it with. For this server alone: who could choose it, could answer it.
    pub state: Value,
}

/// A credential that an authenticator made.
#[derive(Debug)]
pub struct NewCredential {
    /// The id that the authenticator gave it.
    pub id: Vec<u8>,
    /// What later sign-ins are checked against.
    pub credential: Value,
}

/// A use of a credential that holds.
#[derive(Debug)]
pub struct Used {
    /// The credential after the use.
    pub credential: Value,
    /// The authenticator's count of signatures; 0 if it does not count.
    pub sign_count: u32,
}

/// An answer in the form of `PublicKeyCredential.toJSON()`, not yet checked.
#[derive(Debug)]
pub struct Attestation(RegisterPublicKeyCredential);

/// An answer in the form of `PublicKeyCredential.toJSON()`, not yet checked.
#[derive(Debug)]
pub struct Assertion(PublicKeyCredential);

/// Why an answer counts for nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The authenticator's counter has not grown: somebody may hold a copy of the key.
    PossiblyCloned,
    /// It does not hold. The cause is for the log.
    Invalid(String),
    /// What was kept cannot be read.
    Unreadable(serde_json::Error),
}

impl From<WebauthnError> for Refusal {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::CredentialPossibleCompromise => Self::PossiblyCloned,
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl RelyingParty {
    /// The relying party with this id and name, for pages of these origins and no others.
    ///
    /// `None` if there is no origin, or one whose host is not the id or below it.
    #[must_use]
    pub fn new(id: &str, name: &str, origins: &[Url]) -> Option<Self> {
        let (first, others) = origins.split_first()?;
        let mut builder = WebauthnBuilder::new(id, first).ok()?.rp_name(name);
        for origin in others {
            // It is checked for the first one only.
            WebauthnBuilder::new(id, origin).ok()?;
            builder = builder.append_allowed_origin(origin);
        }
        builder.build().ok().map(Self)
    }

    /// Asks for a new credential of the account with this handle; not of an authenticator that has one of
    /// `present`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an empty name.
    pub fn begin_registration(
        &self,
        handle: Uuid,
        (name, display_name): (&str, &str),
        present: Vec<Vec<u8>>,
    ) -> Result<Begun, Refusal> {
        let (CreationChallengeResponse { public_key }, state) = quiet(|| {
            self.0
                .start_passkey_registration(handle, name, display_name, Some(present))
        })?;
        let mut begun = begun(&public_key, &state)?;
        // The crate advises against what signing in without a name needs.
        let selection = &mut begun.options["authenticatorSelection"];
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
        Ok(begun)
    }

    /// Checks the answer to [`RelyingParty::begin_registration`]: challenge, origin, relying party,
    /// presence and verification of the person, algorithm.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn finish_registration(
        &self,
        Attestation(answer): &Attestation,
        state: &Value,
    ) -> Result<NewCredential, Refusal> {
        let state: PasskeyRegistration = read(state)?;
        let passkey = quiet(|| self.0.finish_passkey_registration(answer, &state))?;
        let id = passkey.cred_id().clone();
        if !CREDENTIAL_ID_LENGTHS.contains(&id.len()) {
            return Err(Refusal::Invalid("the id has a wrong length".to_owned()));
        }
        Ok(NewCredential {
            id,
            credential: serde_json::to_value(&passkey)?,
        })
    }

    /// Asks for a proof of holding one of the credentials with these ids; of any credential that the
    /// authenticator finds by itself where there are none.
    ///
    /// # Errors
    /// [`Refusal`], which would be a fault of this server.
    pub fn begin_sign_in(&self, allowed: &[Vec<u8>]) -> Result<Begun, Refusal> {
        let (RequestChallengeResponse { public_key, .. }, state) =
            quiet(|| self.0.start_discoverable_authentication())?;
        let mut begun = begun(&public_key, &state)?;
        let descriptor =
            |id: &Vec<u8>| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(id) });
        begun.options["allowCredentials"] = allowed.iter().map(descriptor).collect();
        Ok(begun)
    }

    /// Checks the answer to [`RelyingParty::begin_sign_in`] against a kept credential: challenge,
    /// origin, relying party, presence and verification of the person, signature, counter. Does not check
    /// whose the credential is, nor that it was asked for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn finish_sign_in(
        &self,
        Assertion(answer): &Assertion,
        state: &Value,
        credential: &Value,
    ) -> Result<Used, Refusal> {
        // Level 3, section 7.2, step 12, which the crate checks for new credentials only.
        if in_foreign_frame(&answer.response.client_data_json) {
            return Err(Refusal::Invalid("asked for in a frame".to_owned()));
        }
        let state: DiscoverableAuthentication = read(state)?;
        let mut passkey: Passkey = read(credential)?;
        let used = quiet(|| {
            self.0
                .finish_discoverable_authentication_v2(answer, state, &passkey)
        })?;
        passkey.update_credential(&used);
        Ok(Used {
            credential: serde_json::to_value(&passkey)?,
            sign_count: used.counter(),
        })
    }
}

impl Attestation {
    /// Reads the answer to a request for a new credential; `None` if it is none.
    #[must_use]
    pub fn parse(answer: &Value) -> Option<Self> {
        let answer: RegisterPublicKeyCredential = read(answer).ok()?;
        (answer.type_ == "public-key").then_some(Self(answer))
    }
}

impl Assertion {
    /// Reads the answer to a request for a proof; `None` if it is none.
    #[must_use]
    pub fn parse(answer: &Value) -> Option<Self> {
        let answer: PublicKeyCredential = read(answer).ok()?;
        (answer.type_ == "public-key").then_some(Self(answer))
    }

    /// The id of the credential that it is said to be of.
    #[must_use]
    pub fn credential_id(&self) -> &[u8] {
        self.0.get_credential_id()
    }

    /// The handle of the account, as the authenticator kept it.
    #[must_use]
    pub fn user_handle(&self) -> Option<&[u8]> {
        self.0.get_user_unique_id()
    }
}

/// Whether the page lay in a frame of a page of another origin, which could lead the person to press what
/// they do not see.
fn in_foreign_frame(client_data: &[u8]) -> bool {
    let data: Value = serde_json::from_slice(client_data).unwrap_or_default();
    data["crossOrigin"] == true || data.get("topOrigin").is_some()
}

fn begun(options: &impl Serialize, state: &impl Serialize) -> Result<Begun, Refusal> {
    Ok(Begun {
        options: serde_json::to_value(options)?,
        state: serde_json::to_value(state)?,
    })
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// Without what the crate logs: it takes every wrong answer for an error of the server.
fn quiet<T>(work: impl FnOnce() -> Result<T, WebauthnError>) -> Result<T, WebauthnError> {
    tracing::subscriber::with_default(NoSubscriber::new(), work)
}
