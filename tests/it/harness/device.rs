//! A device that shows codes, written anew from RFC 6238, and what people do with a second factor.

use aws_lc_rs::hmac;
use cardea::clock::Clock;
use serde_json::json;

use crate::harness::app::PASSWORD;
use crate::harness::verbs::Visitor;
use crate::harness::{Answer, Client, TestApp};

/// A device with the secret of an account.
pub struct Device {
    secret: Vec<u8>,
    clock: Clock,
    pub recovery_codes: Vec<String>,
}

impl Device {
    /// A device that was told this secret in base 32.
    pub fn new(app: &TestApp, secret: &str) -> Self {
        let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
        for c in secret.bytes() {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'2'..=b'7' => c - b'2' + 26,
                _ => panic!("no base 32: {secret}"),
            };
            bits = (bits << 5) | u32::from(value);
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from((bits >> held) & 0xff).expect("a byte"));
            }
        }
        Self {
            secret: bytes,
            clock: app.app.clock.clone(),
            recovery_codes: Vec::new(),
        }
    }

    pub fn secret_bytes(&self) -> &[u8] {
        &self.secret
    }

    /// The code that it shows now.
    pub fn code(&self) -> String {
        self.code_at(0)
    }

    /// The code that it shows `steps` of half a minute from now.
    pub fn code_at(&self, steps: i64) -> String {
        let step = self.clock.now().timestamp() / 30 + steps;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let code = hmac::sign(&key, &step.to_be_bytes());
        let bytes = code.as_ref();
        let offset = usize::from(bytes[19] & 0xf);
        let part = <[u8; 4]>::try_from(&bytes[offset..offset + 4]).expect("four bytes");
        format!(
            "{:06}",
            (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000
        )
    }

    /// A code that it does not show in any step near.
    pub fn wrong_code(&self) -> String {
        let near: Vec<_> = (-3..=3).map(|steps| self.code_at(steps)).collect();
        let mut codes = (0..10).map(|n| format!("{:06}", n * 111_111 % 1_000_000));
        codes.find(|code| !near.contains(code)).expect("one of ten")
    }
}

pub const VERIFY: &str = "mutation($input: VerifyTwoFactorInput!) { verifyTwoFactor(input: $input) { \
    errors { code path ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken refreshToken deviceToken twoFactorOwed session { id } user { id uuid } } \
    ... on PasswordExpired { resetToken } } } }";

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { \
    errors { code path ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken refreshToken deviceToken twoFactorOwed session { id } user { id uuid } } \
    ... on TwoFactorRequired { challengeToken expiresAt methods } ... on PasswordExpired { resetToken } } } }";

impl TestApp {
    /// Signs in with the password; gives the token that the second step takes.
    pub async fn challenge(&self, name: &str) -> String {
        let answer = self.first_step(name).await;
        challenge_of(&answer)
    }

    pub async fn first_step(&self, name: &str) -> Answer {
        let input = json!({ "input": { "identifier": name, "password": PASSWORD } });
        self.gql(LOGIN, input).await
    }

    /// A sign-in with the token of a trusted device.
    pub async fn login_on_device(&self, name: &str, device: &str) -> Answer {
        let input =
            json!({ "input": { "identifier": name, "password": PASSWORD, "deviceToken": device } });
        self.gql(LOGIN, input).await
    }

    pub async fn verify_code(&self, challenge: &str, code: &str) -> Answer {
        let input = json!({ "input": { "challengeToken": challenge, "code": code } });
        self.gql(VERIFY, input).await
    }

    pub async fn verify_code_and_trust(&self, challenge: &str, code: &str) -> Answer {
        let input =
            json!({ "input": { "challengeToken": challenge, "code": code, "trustDevice": true } });
        self.gql(VERIFY, input).await
    }

    /// Another session of `name`, by password and code.
    pub async fn sign_in_with(&self, name: &str, code: &str) -> Client<'_> {
        let challenge = self.challenge(name).await;
        let answer = self.verify_code(&challenge, code).await;
        Client::new(self, answer.data("verifyTwoFactor/result"))
    }
}

impl Visitor {
    pub async fn first_step(&self, name: &str) -> Answer {
        let input = json!({ "input": { "identifier": name, "password": PASSWORD } });
        self.gql(LOGIN, input).await
    }

    pub async fn verify_code(&self, challenge: &str, code: &str) -> Answer {
        let input = json!({ "input": { "challengeToken": challenge, "code": code } });
        self.gql(VERIFY, input).await
    }
}

/// The token in an answer that asks for a second factor.
#[track_caller]
pub fn challenge_of(answer: &Answer) -> String {
    let result = answer.data("login/result");
    assert_eq!(result["__typename"], "TwoFactorRequired", "{}", answer.text);
    result["challengeToken"]
        .as_str()
        .expect("a token")
        .to_owned()
}

impl Client<'_> {
    /// Asks for a secret; gives the device that was told it.
    pub async fn begin_two_factor(&self, app: &TestApp) -> Device {
        let answer = self
            .ask("mutation { enableTwoFactor { errors { code } setup { secret otpauthUri expiresAt } } }")
            .await;
        let secret = answer.data("enableTwoFactor/setup/secret");
        Device::new(app, secret.as_str().expect("a secret"))
    }

    pub async fn confirm_two_factor(&self, code: &str) -> Answer {
        let document = "mutation($code: String!) { confirmTwoFactor(input: { code: $code }) { \
            errors { code path } recoveryCodes user { twoFactor { enabled confirmedAt recoveryCodesLeft } } } }";
        self.gql(document, json!({ "code": code })).await
    }

    /// Switches the second factor on. Its first code is used by that; half a minute later there is another.
    pub async fn with_two_factor(&self, app: &TestApp) -> Device {
        let mut device = self.begin_two_factor(app).await;
        let answer = self.confirm_two_factor(&device.code()).await;
        let codes = answer.data("confirmTwoFactor/recoveryCodes").as_array();
        let codes = codes.unwrap_or_else(|| panic!("{}", answer.text)).iter();
        device.recovery_codes = codes
            .map(|code| code.as_str().expect("a code").to_owned())
            .collect();
        app.run_jobs().await;
        app.advance(chrono::TimeDelta::seconds(30));
        device
    }

    /// A mutation that takes a `ConfirmIdentityInput` with this proof.
    pub async fn prove(&self, field: &str, proof: &str, value: &str) -> Answer {
        let selection = match field {
            "regenerateRecoveryCodes" => "recoveryCodes",
            "reauthenticate" => "session { id }",
            _ => "user { id }",
        };
        let document = format!(
            "mutation($input: ConfirmIdentityInput!) {{ {field}(input: $input) {{ \
             errors {{ code path ... on TooManyAttemptsError {{ retryAfterSeconds }} }} {selection} }} }}"
        );
        self.gql(&document, json!({ "input": { proof: value } }))
            .await
    }

    /// `enabled` and `recoveryCodesLeft` of the own account.
    pub async fn two_factor(&self) -> (bool, i64) {
        let answer = self
            .ask("{ me { twoFactor { enabled recoveryCodesLeft } } }")
            .await;
        let state = answer.data("me/twoFactor");
        (
            state["enabled"].as_bool().expect("a Boolean"),
            state["recoveryCodesLeft"].as_i64().expect("a number"),
        )
    }
}
