//! A server with a sign-in provider, and what people do there.

use std::sync::Arc;

use cardea::clock::Clock;
use serde_json::{Value, json};
use url::Url;

use crate::harness::app::{config, start_of_time};
use crate::harness::provider::{CLIENT_ID, CLIENT_SECRET, FakeProvider};
use crate::harness::{Answer, Client, TestApp};

/// The page of the front end.
pub const PAGE: &str = "https://app.example.org/welcome";

const START: &str = "mutation($input: StartOAuthSignInInput!) { startOAuthSignIn(input: $input) { \
    authorizationUrl state errors { code path ... on TooManyAttemptsError { retryAfterSeconds } ... on InvalidValueError { rule } } } }";
const FINISH: &str = "mutation($input: FinishOAuthSignInInput!) { finishOAuthSignIn(input: $input) { \
    errors { code message path ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken refreshToken session { id } \
    user { id uuid email fullName emailVerified status linkedAccounts { id provider displayName linkedAt } } } } } }";

/// A server, and the provider `acme` of its settings.
pub struct Setup {
    pub app: Arc<TestApp>,
    pub acme: FakeProvider,
}

/// A sign-in that began.
pub struct Begun {
    /// The slug of the provider.
    pub provider: &'static str,
    /// The secret of the tab.
    pub state: String,
    pub url: Url,
}

impl Setup {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these flags besides.
    pub async fn with(flags: &[&str]) -> Self {
        let clock = Clock::fixed(start_of_time());
        let acme = FakeProvider::new(&clock).await;
        let providers = json!([provider("acme", &acme.url)]);
        Self::of(clock, acme, &providers, flags).await
    }

    /// With these providers in the settings.
    pub async fn of(clock: Clock, acme: FakeProvider, providers: &Value, flags: &[&str]) -> Self {
        let providers = format!("--oidc-providers={providers}");
        let pages = format!("--oauth-redirect-uris={PAGE}");
        let flags: Vec<&str> = [&*providers, &*pages]
            .into_iter()
            .chain(flags.iter().copied())
            .collect();
        let app = TestApp::with_clock(config(&flags), clock).await;
        Self {
            app: Arc::new(app),
            acme,
        }
    }

    /// Begins, agrees at the provider as this person, and comes back.
    pub async fn sign_in(&self, subject: &str, email: &str) -> Answer {
        let begun = self.app.begin("acme").await;
        let code = self
            .acme
            .agree(&begun.url, subject, email, Some("Ada Lovelace"));
        self.app.finish(&begun.with(&code)).await
    }

    /// The same, and it works.
    pub async fn signed_in(&self, subject: &str, email: &str) -> Client<'_> {
        let answer = self.sign_in(subject, email).await;
        assert_eq!(answer.code(), "", "{}", answer.text);
        Client::new(&self.app, answer.data("finishOAuthSignIn/result"))
    }
}

/// An element of the settings.
pub fn provider(slug: &str, issuer: &str) -> Value {
    json!({
        "slug": slug, "name": "Acme", "issuer": issuer, "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET,
    })
}

impl Begun {
    fn of(provider: &'static str, answer: &Answer) -> Self {
        let text = |name: &str| {
            let value = answer.data(&format!("startOAuthSignIn/{name}")).as_str();
            value
                .unwrap_or_else(|| panic!("no {name} in {}", answer.text))
                .to_owned()
        };
        Self {
            provider,
            state: text("state"),
            url: Url::parse(&text("authorizationUrl")).expect("an address"),
        }
    }

    /// A parameter of the address.
    pub fn parameter(&self, name: &str) -> String {
        let found = self.url.query_pairs().find(|(key, _)| key == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {}", self.url))
            .1
            .into_owned()
    }

    /// What the front end sends when the browser is back with this code.
    pub fn with(&self, code: &str) -> Value {
        json!({
            "provider": self.provider, "state": self.state, "code": code, "returnedState": self.parameter("state"),
        })
    }
}

impl TestApp {
    pub async fn start(&self, provider: &str, redirect_uri: &str) -> Answer {
        let input = json!({ "provider": provider, "redirectUri": redirect_uri });
        self.gql(START, json!({ "input": input })).await
    }

    pub async fn begin(&self, provider: &'static str) -> Begun {
        Begun::of(provider, &self.start(provider, PAGE).await)
    }

    pub async fn finish(&self, input: &Value) -> Answer {
        self.gql(FINISH, json!({ "input": input })).await
    }
}

impl Client<'_> {
    /// Asks to tie a provider to the account.
    pub async fn start_link(&self, provider: &str) -> Answer {
        let input = json!({ "provider": provider, "redirectUri": PAGE, "link": true });
        self.gql(START, json!({ "input": input })).await
    }

    pub async fn begin_link(&self, provider: &'static str) -> Begun {
        Begun::of(provider, &self.start_link(provider).await)
    }

    pub async fn finish_link(&self, input: &Value) -> Answer {
        self.gql(FINISH, json!({ "input": input })).await
    }

    pub async fn unlink(&self, id: &str) -> Answer {
        let document = "mutation($id: ID!) { unlinkAccount(input: { linkedAccountId: $id }) { \
            errors { code path message } user { linkedAccounts { id } } } }";
        self.gql(document, json!({ "id": id })).await
    }

    /// The global ids of the linked accounts.
    pub async fn linked(&self) -> Vec<String> {
        let answer = self.ask("{ me { linkedAccounts { id } } }").await;
        let linked = answer.data("me/linkedAccounts").as_array().expect("a list");
        let ids = linked.iter().map(|linked| linked["id"].as_str());
        ids.map(|id| id.expect("an id").to_owned()).collect()
    }
}
