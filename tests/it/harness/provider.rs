//! Sign-in providers on loopback whose every answer a test can break.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cardea::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

pub const CLIENT_ID: &str = "cardea";
pub const CLIENT_SECRET: &str = "s3cret:/?";

/// A key of the curve P-256.
pub struct Key {
    pub kid: &'static str,
    pub pair: KeyPair,
}

impl Key {
    pub fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self { kid, pair }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.der_bytes();
        let (x, y) = point[1..].split_at(32);
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": encode(x), "y": encode(y) })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.kid.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, claims, &key).expect("signed")
    }
}

/// How an ID token is signed.
#[derive(Clone, Copy)]
pub enum Signature {
    /// As it should be.
    Good,
    /// Not at all.
    None,
    /// HMAC with the public key as its secret.
    PublicKeyAsSecret,
    /// By a key of somebody else that calls itself the same.
    OtherKey,
}

/// How the token endpoint behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Answers after 20 seconds.
    Slow,
    /// Answers what it should, in 10 MB.
    Huge,
    /// Leads elsewhere.
    Redirects,
    /// Answers no JSON.
    Html,
}

type Change = Box<dyn Fn(&mut Value) + Send>;

/// What a test can break.
pub struct Behaviour {
    pub key: Key,
    /// Published; the signing key where it is empty.
    pub published: Vec<Value>,
    pub signature: Signature,
    pub claims: Change,
    pub metadata: Change,
    pub mood: Mood,
    /// What the API of GitHub says.
    pub emails: Value,
    /// What the endpoint of facts about a person says; there is none while this is null.
    pub userinfo: Value,
    /// What was asked, in order.
    pub asked: Vec<String>,
    /// The last form that the token endpoint got.
    pub form: HashMap<String, String>,
    codes: HashMap<String, Code>,
}

/// A code that was given out.
#[derive(Clone)]
struct Code {
    query: HashMap<String, String>,
    subject: String,
    email: String,
    name: Option<String>,
}

#[derive(Clone)]
struct Shared {
    url: String,
    clock: Clock,
    behaviour: Arc<Mutex<Behaviour>>,
}

/// A provider that answers on a port until the value is dropped.
pub struct FakeProvider {
    pub url: String,
    shared: Shared,
    _serving: JoinSet<()>,
}

impl FakeProvider {
    pub async fn new(clock: &Clock) -> Self {
        Self::at("127.0.0.1:0", clock).await
    }

    pub async fn at(address: &str, clock: &Clock) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let behaviour = Behaviour {
            key: Key::new("one"),
            published: Vec::new(),
            signature: Signature::Good,
            claims: Box::new(|_| ()),
            metadata: Box::new(|_| ()),
            mood: Mood::Good,
            emails: json!([{ "email": "ada@example.org", "primary": true, "verified": true }]),
            userinfo: Value::Null,
            asked: Vec::new(),
            form: HashMap::new(),
            codes: HashMap::new(),
        };
        let shared = Shared {
            url: url.clone(),
            clock: clock.clone(),
            behaviour: Arc::new(Mutex::new(behaviour)),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/login/oauth/access_token", post(token))
            .route("/api/user", get(user))
            .route("/api/user/emails", get(emails))
            .fallback(elsewhere)
            .with_state(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url,
            shared,
            _serving: serving,
        }
    }

    pub fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.shared.behaviour()
    }

    /// Changes the claims of every ID token from now on.
    pub fn claims(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.behaviour().claims = Box::new(change);
    }

    /// The person agrees on the page at `url`; gives the code that goes back.
    pub fn agree(&self, url: &Url, subject: &str, email: &str, name: Option<&str>) -> String {
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let code = URL_SAFE_NO_PAD.encode(cardea::crypto::token::random::<16>());
        let given = Code {
            query,
            subject: subject.to_owned(),
            email: email.to_owned(),
            name: name.map(str::to_owned),
        };
        self.behaviour().codes.insert(code.clone(), given);
        code
    }

    /// How often this path was asked.
    pub fn times(&self, path: &str) -> usize {
        let asked = &self.behaviour().asked;
        asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Shared {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        let behaviour = self.behaviour.lock();
        behaviour.unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metadata(State(shared): State<Shared>, uri: Uri) -> Response {
    let url = &shared.url;
    let mut metadata = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
    });
    let mut behaviour = shared.behaviour();
    behaviour.asked.push(uri.path().to_owned());
    if !behaviour.userinfo.is_null() {
        metadata["userinfo_endpoint"] = format!("{url}/userinfo").into();
    }
    (behaviour.metadata)(&mut metadata);
    Json(metadata).into_response()
}

async fn jwks(State(shared): State<Shared>, uri: Uri) -> Response {
    let mut behaviour = shared.behaviour();
    behaviour.asked.push(uri.path().to_owned());
    let mut keys = behaviour.published.clone();
    if keys.is_empty() {
        keys.push(behaviour.key.jwk());
    }
    Json(json!({ "keys": keys })).into_response()
}

async fn token(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    form: String,
) -> Response {
    let pairs = url::form_urlencoded::parse(form.as_bytes());
    let form: HashMap<String, String> = pairs.into_owned().collect();
    let mood = {
        let mut behaviour = shared.behaviour();
        behaviour.asked.push(uri.path().to_owned());
        behaviour.form.clone_from(&form);
        behaviour.mood
    };
    match mood {
        Mood::Good | Mood::Huge => {}
        Mood::Slow => tokio::time::sleep(Duration::from_secs(20)).await,
        Mood::Redirects => {
            return Redirect::temporary(&format!("{}/elsewhere", shared.url)).into_response();
        }
        Mood::Html => return "<html>maintenance</html>".into_response(),
    }
    let github = uri.path() != "/token";
    if !github && !is_client(&headers, &form) {
        let answer = Json(json!({ "error": "invalid_client" }));
        return (StatusCode::UNAUTHORIZED, answer).into_response();
    }
    let Some(code) = shared.redeem(&form) else {
        let (status, error) = if github {
            (StatusCode::OK, "bad_verification_code")
        } else {
            (StatusCode::BAD_REQUEST, "invalid_grant")
        };
        return (status, Json(json!({ "error": error }))).into_response();
    };
    let mut answer = json!({ "access_token": "at-secret", "token_type": "Bearer" });
    if !github {
        answer["id_token"] = shared.id_token(&code).into();
    }
    if mood == Mood::Huge {
        // All that is needed stands in it, too.
        answer["padding"] = "x".repeat(10 * 1024 * 1024).into();
    }
    Json(answer).into_response()
}

/// Whether a request shows the fixed secret, or any JWT as Apple's clients do.
fn is_client(headers: &HeaderMap, form: &HashMap<String, String>) -> bool {
    let form_encoded = "cardea:s3cret%3A%2F%3F";
    let basic = format!("Basic {}", STANDARD.encode(form_encoded));
    let shown = headers.get(header::AUTHORIZATION);
    let in_form = form
        .get("client_secret")
        .is_some_and(|secret| secret == CLIENT_SECRET || secret.split('.').count() == 3);
    shown.is_some_and(|shown| *shown == *basic) || in_form
}

impl Shared {
    /// Takes a code: once, with the verifier of its challenge and the page that it was asked for.
    fn redeem(&self, form: &HashMap<String, String>) -> Option<Code> {
        let code = self.behaviour().codes.remove(form.get("code")?)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form.get("code_verifier")?));
        let same = code.query.get("code_challenge") == Some(&challenge)
            && code
                .query
                .get("code_challenge_method")
                .is_some_and(|method| method == "S256")
            && code.query.get("redirect_uri") == form.get("redirect_uri");
        same.then_some(code)
    }

    fn id_token(&self, code: &Code) -> String {
        let now = self.clock.now().timestamp();
        let mut claims = json!({
            "iss": self.url,
            "aud": code.query["client_id"],
            "sub": code.subject,
            "nonce": code.query["nonce"],
            "iat": now,
            "exp": now + 300,
            "email": code.email,
            "email_verified": true,
        });
        if let Some(name) = &code.name {
            claims["name"] = name.as_str().into();
        }
        let behaviour = self.behaviour();
        (behaviour.claims)(&mut claims);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        match behaviour.signature {
            Signature::Good => behaviour.key.sign(&claims),
            Signature::OtherKey => Key::new(behaviour.key.kid).sign(&claims),
            Signature::None => {
                format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&claims))
            }
            Signature::PublicKeyAsSecret => {
                let secret = EncodingKey::from_secret(behaviour.key.pair.der_bytes());
                let header = Header {
                    kid: Some(behaviour.key.kid.to_owned()),
                    ..Header::new(Algorithm::HS256)
                };
                jsonwebtoken::encode(&header, &claims, &secret).expect("signed")
            }
        }
    }
}

async fn user(State(shared): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    api(
        &shared,
        &headers,
        &uri,
        |_| json!({ "id": 583_231, "login": "ada-l", "name": null }),
    )
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    api(&shared, &headers, &uri, |behaviour| {
        behaviour.userinfo.clone()
    })
}

async fn emails(State(shared): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    api(&shared, &headers, &uri, |behaviour| {
        behaviour.emails.clone()
    })
}

fn api(
    shared: &Shared,
    headers: &HeaderMap,
    uri: &Uri,
    answer: fn(&Behaviour) -> Value,
) -> Response {
    let mut behaviour = shared.behaviour();
    behaviour.asked.push(uri.path().to_owned());
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|shown| shown != "Bearer at-secret")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(answer(&behaviour)).into_response()
}

async fn elsewhere(State(shared): State<Shared>, uri: Uri) -> StatusCode {
    shared.behaviour().asked.push(uri.path().to_owned());
    StatusCode::NOT_FOUND
}

/// An answer in JSON.
struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let content_type = (header::CONTENT_TYPE, "application/json");
        ([content_type], self.0.to_string()).into_response()
    }
}
