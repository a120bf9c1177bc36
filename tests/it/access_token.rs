//! Access tokens: what they say, and which are refused.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;

fn parts(token: &str) -> Vec<Value> {
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
    };
    token
        .split('.')
        .take(2)
        .map(|part| decode(part).expect("JSON"))
        .collect()
}

fn token(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

/// What an access token says.
pub fn claims(token: &str) -> Value {
    parts(token)[1].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_say_who_without_saying_anything_personal() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let parts = parts(&ada.access_token);
    assert_eq!(
        (&parts[0]["alg"], &parts[0]["typ"]),
        (&json!("EdDSA"), &json!("at+jwt"))
    );
    let mut names: Vec<_> = parts[1]
        .as_object()
        .expect("claims")
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["amr", "aud", "exp", "iat", "iss", "jti", "sid", "sub"]
    );
    assert_eq!(parts[1]["sub"], ada.uuid);
    assert_eq!(
        (&parts[1]["aud"], &parts[1]["iss"]),
        (&json!("cardea"), &json!("http://127.0.0.1:8000"))
    );
    assert_eq!(
        parts[1]["exp"].as_i64().unwrap_or(0) - parts[1]["iat"].as_i64().unwrap_or(0),
        900
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_key_verifies_access_tokens_and_holds_nothing_private() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let answer = app
        .send(
            Request::get("/.well-known/jwks.json")
                .body(Body::empty())
                .expect("a request"),
        )
        .await;
    let key = &answer.json["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
        (
            &json!("OKP"),
            &json!("Ed25519"),
            &json!("EdDSA"),
            &json!("sig")
        )
    );
    assert_eq!(key["kid"], parts(&ada.access_token)[0]["kid"]);
    assert!(key.get("d").is_none());
    let jwk = serde_json::from_value(key.clone()).expect("a key");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_audience(&["cardea"]);
    let verified = jsonwebtoken::decode::<Value>(
        &ada.access_token,
        &jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("a public key"),
        &validation,
    );
    assert_eq!(verified.expect("verifies").claims["sub"], ada.uuid);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_access_tokens_are_refused() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let eve = app.user("eve").await;
    let parts = parts(&ada.access_token);
    let signature = ada.access_token.rsplit('.').next().expect("a signature");
    let with = |part: &Value, key: &str, value: Value| {
        let mut part = part.clone();
        part[key] = value;
        part
    };
    let public = app.app.keys.published(app.app.now());
    let public = serde_json::to_value(public).expect("JSON")["keys"][0]["x"]
        .as_str()
        .expect("a key")
        .to_owned();
    let hs256 = {
        let header = with(&parts[0], "alg", json!("HS256"));
        let message = token(&header, &parts[1], "");
        let key = aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            &URL_SAFE_NO_PAD.decode(public).expect("a key"),
        );
        let tag = aws_lc_rs::hmac::sign(&key, message.trim_end_matches('.').as_bytes());
        format!("{message}{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let forged = [
        token(&with(&parts[0], "alg", json!("none")), &parts[1], ""),
        hs256,
        token(
            &with(&parts[0], "kid", json!("other")),
            &parts[1],
            signature,
        ),
        token(
            &with(&parts[0], "jku", json!("http://127.0.0.1:1/")),
            &parts[1],
            signature,
        ),
        token(&with(&parts[0], "typ", json!("JWT")), &parts[1], signature),
        token(
            &parts[0],
            &with(&parts[1], "sub", json!(eve.uuid)),
            signature,
        ),
        token(
            &parts[0],
            &with(&parts[1], "exp", json!("never")),
            signature,
        ),
        token(
            &parts[0],
            &with(&parts[1], "exp", json!(i64::MAX)),
            signature,
        ),
        ada.refresh_token.clone(),
        "x".repeat(10_000),
        "..".to_owned(),
        format!("{}.{}.{}", "a".repeat(500), "b".repeat(500), signature),
    ];
    for token in forged {
        let answer = app.gql_as(Some(&token), "{ me { id } }", Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token:.80}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_for_another_audience_or_issuer_are_refused() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for flag in [
        "--token-audience=other",
        "--token-issuer=https://other.example",
    ] {
        let (_, router) = app.second(&[flag]).await;
        let request = Request::get("/graphql?query=%7Bme%7Bid%7D%7D")
            .header(
                header::AUTHORIZATION,
                format!("bearer {}", ada.access_token),
            )
            .body(Body::empty());
        let answer = router
            .oneshot(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_hashes_of_tokens_are_kept() {
    let app = TestApp::new().await;
    app.register("ada").await;
    let mailed = app.mailed_token("ada@example.org").await;
    let ada = app.user("bob").await;
    let dump = app.db.dump().await;
    assert!(
        dump.contains("bob@example.org"),
        "the dump holds the accounts"
    );
    for secret in [&mailed, &ada.refresh_token, &ada.access_token, PASSWORD] {
        assert!(!dump.contains(secret), "a secret stands in the database");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_services_read_permissions_from_a_token_where_the_settings_say_so() {
    let app = TestApp::with(&["--token-permissions=true"]).await;
    let ada = app.user_with_role("ada", "moderator").await;
    let before = claims(&ada.access_token);
    assert_eq!(
        before["permissions"],
        json!(["read:own", "write:own"]),
        "as of the signing"
    );
    let ada = app.sign_in("ada").await;
    let keys = app.get("/.well-known/jwks.json").await;
    let key = serde_json::from_value(keys.json["keys"][0].clone()).expect("a key");
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).expect("a key");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["cardea"]);
    validation.validate_exp = false;
    let verified = jsonwebtoken::decode::<Value>(&ada.access_token, &key, &validation);
    let verified = verified.expect("a signature").claims;
    assert_eq!(
        verified["permissions"],
        json!(["read:all", "read:own", "write:own"])
    );
    assert_eq!(verified.get("permissions_omitted"), None);
    // The claim is for others: here the database counts.
    app.db
        .sql("DELETE FROM user_roles USING roles WHERE roles.id = role_id AND name = 'moderator'")
        .await;
    app.app.access.catch_up().await;
    assert_eq!(
        ada.ask("{ users { nodes { id } } }").await.codes(),
        ["FORBIDDEN"]
    );
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { result { ... on SignedIn { accessToken } } } }";
    let refreshed = app
        .gql(refresh, json!({ "token": ada.refresh_token }))
        .await;
    let token = refreshed
        .data("refreshToken/result/accessToken")
        .as_str()
        .expect("a token");
    assert_eq!(
        claims(token)["permissions"],
        json!(["read:own", "write:own"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_room_for_two_kib_of_permissions() {
    let app = TestApp::with(&["--token-permissions=true"]).await;
    let ada = app.user("ada").await;
    // `"read:own",` and `"write:own",` are 23 bytes; a name of 97 takes 100.
    let add = |from: u32, to: u32, length: u32| {
        format!(
            "WITH new AS (INSERT INTO permissions (id, name, created_at) \
             SELECT gen_random_uuid(), rpad('p' || n || '.', {length}, 'x'), now() FROM generate_series({from}, {to}) n RETURNING id) \
             INSERT INTO role_permissions SELECT roles.id, new.id FROM roles, new WHERE roles.name = 'user'"
        )
    };
    app.db.sql(&add(10, 29, 97)).await;
    app.db.sql(&add(30, 30, 22)).await;
    let full = app.sign_in("ada").await;
    let said = claims(&full.access_token);
    assert_eq!(said["permissions"].as_array().map(Vec::len), Some(23));
    assert_eq!(said["permissions"].to_string().len() - 1, 2048);
    assert!(
        full.access_token.len() < 4096,
        "{}",
        full.access_token.len()
    );
    assert!(full.is_signed_in().await, "this server takes it");
    app.db
        .sql("UPDATE permissions SET name = name || 'x' WHERE name LIKE 'p30.%'")
        .await;
    let said = claims(&app.sign_in("ada").await.access_token);
    assert_eq!(
        (said.get("permissions"), &said["permissions_omitted"]),
        (None, &json!(true))
    );
    assert!(ada.is_signed_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_owes_a_second_factor_has_no_permissions_for_others() {
    let app = TestApp::with(&[
        "--token-permissions=true",
        "--two-factor-required=everybody",
    ])
    .await;
    app.register("ada").await;
    let token = app.mailed_token("ada@example.org").await;
    let verify = "mutation($token: String!) { verifyEmail(input: { token: $token }) { result { ... on SignedIn { accessToken } } } }";
    let answer = app.gql(verify, json!({ "token": token })).await;
    let token = answer
        .at("verifyEmail/result/accessToken")
        .as_str()
        .expect("a token");
    assert_eq!(claims(token)["permissions"], json!([]));
}
