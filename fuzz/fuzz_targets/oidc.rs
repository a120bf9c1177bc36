//! Answers of a sign-in provider, over loopback as over the network: nobody gets in whom it did not vouch for, to this
//! server, for this sign-in.
//!
//! Between NUL bytes: metadata, keys, the answer of the token endpoint, facts about the person, claims. `http://issuer`
//! stands for the provider's address, `@KEY@` for its key, and `@TOKEN@` for the claims signed by that key.
#![no_main]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::config::Config;
use cardea::provider::{Finish, Providers};
use chrono::{DateTime, TimeDelta};
use clap::Parser;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const SEED: [u8; 32] = *b"Cardea asks a provider of its 1!";
const NONCE: &str = "a nonce";
const CLIENT: &str = "cardea";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

/// What the provider answers.
#[derive(Clone, Default)]
struct Answers([Vec<u8>; 4]);

type Shared = Arc<Mutex<Answers>>;

struct Setup {
    runtime: Runtime,
    issuer: String,
    providers: Providers,
    answers: Shared,
    pair: Ed25519KeyPair,
    /// Runs so far: between two of them, what is known of the provider grows too old.
    runs: AtomicI64,
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let answers = Shared::default();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&answers));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let settings = json!([{
        "slug": "acme", "name": "Acme", "issuer": issuer, "clientId": CLIENT, "clientSecret": "secret",
    }]);
    let settings = format!("--oidc-providers={settings}");
    let Settings { config } = Settings::parse_from(["cardea", &settings]);
    Setup {
        runtime,
        issuer,
        providers: Providers::new(&config.providers).expect("settings"),
        answers,
        pair: Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key"),
        runs: AtomicI64::new(0),
    }
});

async fn answer(State(answers): State<Shared>, uri: Uri) -> impl IntoResponse {
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let part = match uri.path() {
        "/.well-known/openid-configuration" => 0,
        "/jwks" => 1,
        "/token" => 2,
        _ => 3,
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        answers.0[part].clone(),
    )
}

fn signed(setup: &Setup, claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = setup.pair.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(input) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let setup = &*SETUP;
    let input = input.replace("http://issuer", &setup.issuer);
    let mut parts = input.split('\0');
    let mut next = || parts.next().unwrap_or_default();
    let (metadata, keys, token, userinfo, claims) = (next(), next(), next(), next(), next());
    let key = URL_SAFE_NO_PAD.encode(setup.pair.public_key());
    let answers = [
        metadata.to_owned(),
        keys.replace("@KEY@", &key),
        token.replace("@TOKEN@", &signed(setup, claims)),
        userinfo.to_owned(),
    ];
    *setup.answers.lock().unwrap_or_else(PoisonError::into_inner) =
        Answers(answers.map(String::into_bytes));
    let run = setup.runs.fetch_add(1, Ordering::Relaxed);
    let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    let now = now + TimeDelta::hours(2) * i32::try_from(run % 100_000).expect("small");
    let finish = Finish {
        code: "a code",
        iss: Some(&setup.issuer),
        nonce: NONCE,
        verifier: "a verifier",
        redirect_uri: "https://front.example.org/callback",
    };
    let acme = setup.providers.get("acme").expect("a provider");
    let Ok(person) = setup.runtime.block_on(acme.finish(&finish, now)) else {
        return Corpus::Keep;
    };
    assert!(
        token.contains("@TOKEN@"),
        "a token that the provider did not sign"
    );
    let claims: Value = serde_json::from_str(claims).expect("it was read before");
    assert_eq!(claims["iss"], setup.issuer.as_str());
    assert_eq!(claims["nonce"], NONCE);
    assert_eq!(claims["sub"], person.subject.as_str());
    let audience = &claims["aud"];
    let one = audience == CLIENT;
    assert!(
        one || audience
            .as_array()
            .is_some_and(|all| all == &[Value::from(CLIENT)])
    );
    assert!(claims.get("azp").is_none_or(|azp| azp == CLIENT));
    assert!(
        claims["exp"]
            .as_f64()
            .is_some_and(|exp| exp > (now.timestamp() - 61) as f64)
    );
    assert_eq!(person.issuer, setup.issuer);
    if person.email_verified {
        let facts: Value = serde_json::from_str(userinfo).unwrap_or_default();
        let vouched = |said: &Value| said["email_verified"] == true;
        assert!(
            vouched(&claims) || vouched(&facts),
            "an address that nobody vouched for"
        );
    }
    Corpus::Keep
});
