//! ID tokens, broken one part at a time: none of them signs anybody in.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::oauth::Setup;
use crate::harness::provider::{CLIENT_ID, Key, Signature};

async fn refused(setup: &Setup, why: &str) {
    let before = setup.app.count("sessions").await;
    let answer = setup.sign_in("ada", "ada@example.org").await;
    assert_eq!(answer.code(), "TOKEN_REJECTED", "{why}: {}", answer.text);
    assert_eq!(setup.app.count("sessions").await, before, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_wrong_or_missing_signs_nobody_in() {
    let setup = Setup::new().await;
    let now = setup.app.app.clock.now().timestamp();
    let cases: Vec<(&str, Value)> = vec![
        // CVE-2026-31813: an ID token that names its own issuer.
        ("iss", json!("https://accounts.google.com")),
        ("iss", json!(format!("{}/", setup.acme.url))),
        ("iss", Value::Null),
        ("aud", json!("somebody else")),
        ("aud", json!(["somebody else", CLIENT_ID])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("azp", json!("somebody else")),
        ("azp", json!([CLIENT_ID])),
        ("nonce", json!("of another sign-in")),
        ("nonce", json!("")),
        ("nonce", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", Value::Null),
        ("iat", json!(now + 61)),
        ("nbf", json!(now + 61)),
        ("sub", json!("")),
        ("sub", json!("x".repeat(256))),
        ("sub", json!("a\u{0}b")),
        ("sub", Value::Null),
    ];
    for (claim, value) in cases {
        let why = format!("{claim}: {value}");
        setup.acme.claims(move |claims| {
            if value.is_null() {
                claims.as_object_mut().expect("claims").remove(claim);
            } else {
                claims[claim] = value.clone();
            }
        });
        refused(&setup, &why).await;
    }
    setup.acme.claims(move |claims| {
        claims["azp"] = CLIENT_ID.into();
        claims["aud"] = json!([CLIENT_ID]);
        // Clocks may be a minute apart.
        claims["exp"] = json!(now - 59);
        claims["iat"] = json!(now + 59);
        claims["nbf"] = json!(now + 59);
    });
    setup.signed_in("ada", "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_not_the_issuers_signs_nobody_in() {
    let setup = Setup::new().await;
    for (signature, why) in [
        (Signature::None, "none"),
        (Signature::PublicKeyAsSecret, "HS256 with the public key"),
        (Signature::OtherKey, "another key of the same name"),
    ] {
        setup.acme.behaviour().signature = signature;
        refused(&setup, why).await;
    }
    // Even where the issuer publishes a secret as a key.
    let secret = setup.acme.behaviour().key.jwk();
    let published = json!({ "kty": "oct", "kid": "one", "k": secret["x"] });
    setup.acme.behaviour().published = vec![published];
    setup.acme.behaviour().signature = Signature::PublicKeyAsSecret;
    setup.app.advance(TimeDelta::hours(1));
    refused(&setup, "a secret among the keys").await;
    assert_eq!(setup.app.count("users").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_issuer_changed_are_fetched_and_not_again_and_again() {
    let setup = Setup::new().await;
    setup.signed_in("ada", "ada@example.org").await;
    assert_eq!(setup.acme.times("/jwks"), 1);
    setup.signed_in("ada", "ada@example.org").await;
    assert_eq!(setup.acme.times("/jwks"), 1, "they are kept");
    setup.acme.behaviour().key = Key::new("two");
    setup.signed_in("ada", "ada@example.org").await;
    assert_eq!(setup.acme.times("/jwks"), 2);

    // A name that no key has makes this server look once in ten seconds.
    let known = setup.acme.behaviour().key.jwk();
    setup.acme.behaviour().published = vec![known];
    setup.acme.behaviour().key = Key::new("three");
    setup.app.advance(TimeDelta::seconds(10));
    for _ in 0..3 {
        refused(&setup, "a key that is not published").await;
    }
    assert_eq!(setup.acme.times("/jwks"), 3);
    setup.acme.behaviour().published = Vec::new();
    setup.app.advance(TimeDelta::seconds(10));
    setup.signed_in("ada", "ada@example.org").await;
    // A key that the issuer took back is good for an hour at most.
    setup.acme.behaviour().published = vec![Key::new("four").jwk()];
    setup.app.advance(TimeDelta::hours(1));
    refused(&setup, "a key that was taken back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_an_id_token_signs_nobody_in() {
    let setup = Setup::new().await;
    setup.acme.claims(|claims| *claims = json!([1, 2]));
    refused(&setup, "a list").await;
    setup.acme.claims(|claims| claims["exp"] = json!("soon"));
    refused(&setup, "a text for an instant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_the_id_token_leaves_out_are_asked_for_and_must_be_about_the_same_person() {
    let setup = Setup::new().await;
    setup.acme.claims(|claims| {
        claims.as_object_mut().expect("claims").remove("email");
    });
    // `email_verified` stands in the ID token alone, about no address.
    let facts = json!({ "sub": "ada", "email": "ada@example.org" });
    setup.acme.behaviour().userinfo = facts;
    let answer = setup.sign_in("ada", "").await;
    assert_eq!(answer.code(), "REJECTED");
    let facts = json!({ "sub": "eve", "email": "ada@example.org", "email_verified": true });
    setup.acme.behaviour().userinfo = facts.clone();
    refused(&setup, "about somebody else").await;
    assert_eq!(setup.app.count("users").await, "0");
    setup.acme.behaviour().userinfo["sub"] = "ada".into();
    let ada = setup.signed_in("ada", "").await;
    let me = ada.ask("{ me { email fullName } }").await;
    assert_eq!(
        me.data("me"),
        &json!({ "email": "ada@example.org", "fullName": "Ada Lovelace" })
    );
}
