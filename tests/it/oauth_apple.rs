//! Apple: an answer by a form, a name that comes once, a secret that is signed.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use cardea::clock::Clock;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::harness::Answer;
use crate::harness::app::start_of_time;
use crate::harness::oauth::{Begun, PAGE, Setup};
use crate::harness::provider::{FakeProvider, Key};

const SERVER: &str = "https://id.example.org";

async fn setup(key: &Key) -> Setup {
    let clock = Clock::fixed(start_of_time());
    let apple = FakeProvider::new(&clock).await;
    apple.behaviour().metadata = Box::new(|told| {
        told["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    });
    let issuer = format!("--apple-issuer={}", apple.url);
    let pem = format!("--apple-private-key={}", key.pair.serialize_pem());
    let public_url = format!("--public-url={SERVER}");
    let flags = [
        "--apple-client-id=org.example.web",
        "--apple-team-id=TEAM000000",
        "--apple-key-id=KEY0000000",
        &issuer,
        &pem,
        &public_url,
    ];
    Setup::of(clock, apple, &json!([]), &flags).await
}

/// Sends the form that Apple has the browser send.
async fn post(setup: &Setup, path: &str, form: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://appleid.apple.com"),
    ];
    setup
        .app
        .raw(Method::POST, path, &headers, Body::from(body))
        .await
}

/// What the browser brings back to the page: the parameters behind `#`.
fn brought(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let location = Url::parse(answer.header("location").expect("a location")).expect("an address");
    assert_eq!(location.query(), None);
    let fragment = location.fragment().expect("parameters").as_bytes().to_vec();
    assert_eq!(location.as_str().split('#').next(), Some(PAGE));
    let pairs = form_urlencoded::parse(&fragment).into_owned();
    pairs
        .map(|(key, value)| (key, Value::String(value)))
        .collect()
}

/// Agrees at Apple, by way of the form.
async fn sign_in(setup: &Setup, begun: &Begun, email: &str, user: Option<&str>) -> Answer {
    let code = setup.acme.agree(&begun.url, "000123.abc", email, None);
    let state = begun.parameter("state");
    let mut form = vec![("code", &*code), ("state", &*state)];
    form.extend(user.map(|user| ("user", user)));
    let back = brought(&post(setup, "/oauth/callback/apple", &form).await);
    assert_eq!(back, json!({ "code": code, "state": state }));
    let mut input = begun.with(&code);
    input["returnedState"] = back["state"].clone();
    setup.app.finish(&input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_once_and_a_relayed_address_make_an_account() {
    let key = Key::new("apple");
    let setup = setup(&key).await;
    setup
        .acme
        .claims(|claims| claims["email_verified"] = "true".into());
    let begun = setup.app.begin("apple").await;
    assert_eq!(begun.parameter("response_mode"), "form_post");
    assert_eq!(
        begun.parameter("redirect_uri"),
        format!("{SERVER}/oauth/callback/apple")
    );
    let relay = "dpdcnf87nu@privaterelay.appleid.com";
    let user = json!({ "name": { "firstName": "Ada", "lastName": "Lovelace" }, "email": relay });
    let answer = sign_in(&setup, &begun, relay, Some(&user.to_string())).await;
    let made = answer.data("finishOAuthSignIn/result/user").clone();
    assert_eq!(made["fullName"], "Ada Lovelace");
    assert_eq!(made["email"], relay);
    // From the second time on there is no name.
    let begun = setup.app.begin("apple").await;
    let answer = sign_in(&setup, &begun, relay, None).await;
    let same = answer.data("finishOAuthSignIn/result/user");
    assert_eq!(same["id"], made["id"]);
    assert_eq!(same["fullName"], "Ada Lovelace");
    assert_eq!(same["linkedAccounts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_secret_is_signed_anew_and_ends_soon() {
    let key = Key::new("apple");
    let setup = setup(&key).await;
    let begun = setup.app.begin("apple").await;
    sign_in(&setup, &begun, "ada@example.org", None).await;
    let form = setup.acme.behaviour().form.clone();
    assert_eq!(form["client_id"], "org.example.web");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[&setup.acme.url]);
    validation.set_issuer(&["TEAM000000"]);
    validation.validate_exp = false;
    let decoding = DecodingKey::from_ec_der(key.pair.der_bytes());
    let secret = jsonwebtoken::decode::<Value>(&form["client_secret"], &decoding, &validation);
    let secret = secret.expect("signed with the key of the settings");
    assert_eq!(secret.header.kid.as_deref(), Some("KEY0000000"));
    let now = setup.app.app.clock.now().timestamp();
    assert_eq!(secret.claims["sub"], "org.example.web");
    assert_eq!(secret.claims["iat"], now);
    assert_eq!(secret.claims["exp"], now + 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_waits_for_leads_nowhere() {
    let setup = setup(&Key::new("apple")).await;
    let begun = setup.app.begin("apple").await;
    let state = begun.parameter("state");
    let refused = async |path: &str, form: &[(&str, &str)], status: StatusCode| {
        let answer = post(&setup, path, form).await;
        assert_eq!(answer.status, status, "{path} {form:?}");
        assert_eq!(answer.header("location"), None);
    };
    let bad = StatusCode::BAD_REQUEST;
    refused("/oauth/callback/apple", &[("code", "x")], bad).await;
    refused(
        "/oauth/callback/apple",
        &[("code", "x"), ("state", "unknown")],
        bad,
    )
    .await;
    // The secret of the tab is not what goes round.
    refused("/oauth/callback/apple", &[("state", &begun.state)], bad).await;
    refused("/oauth/callback/acme", &[("state", &state)], bad).await;
    let large = "x".repeat(17_000);
    let too_large = StatusCode::PAYLOAD_TOO_LARGE;
    refused(
        "/oauth/callback/apple",
        &[("state", &state), ("code", &large)],
        too_large,
    )
    .await;
    let json = [("content-type", "application/json")];
    let answer = setup
        .app
        .raw(
            Method::POST,
            "/oauth/callback/apple",
            &json,
            Body::from("{}"),
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // A refusal is led on, as is whatever comes beside a known state, and nothing is used up by it.
    let form = [
        ("state", &*state),
        ("error", "user_cancelled_authorize"),
        ("x", "y"),
    ];
    let back = brought(&post(&setup, "/oauth/callback/apple", &form).await);
    assert_eq!(
        back,
        json!({ "state": state, "error": "user_cancelled_authorize" })
    );
    let form = [("state", &*state), ("code", "a&error=b#c\r\nx: y")];
    let back = brought(&post(&setup, "/oauth/callback/apple", &form).await);
    assert_eq!(
        back,
        json!({ "state": state, "code": "a&error=b#c\r\nx: y" })
    );
    let answer = sign_in(
        &setup,
        &begun,
        "ada@example.org",
        Some("{\"name\":{\"firstName\":7}}"),
    )
    .await;
    assert_eq!(answer.data("finishOAuthSignIn/result/user/fullName"), "ada");
}
