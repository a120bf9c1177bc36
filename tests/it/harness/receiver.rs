//! A service that is told of accounts: it checks signatures by itself, and misbehaves as a test wants it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardea::clock::Clock;
use cardea::services::webhook;
use cardea::worker;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::TestApp;
use crate::harness::app::config;

/// Signs in tests: `whsec_` and 32 bytes.
pub const SECRET: &str = "whsec_Q2FyZGVhJ3MgdGVzdHMgc2lnbiBieSB0aGlzIDEhISE=";
pub const OTHER_SECRET: &str = "whsec_Q2FyZGVhJ3MgdGVzdHMgc2lnbiBieSB0aGlzIDIhISE=";

/// How the receiver answers an event.
#[derive(Clone, Debug)]
pub enum Mood {
    /// 204.
    Takes,
    /// This status, and perhaps `Retry-After`.
    Says(u16, Option<&'static str>),
    /// Nothing, ever.
    Hangs,
    /// Leads elsewhere.
    Redirects,
    /// 200, and a body without an end.
    Endless,
}

/// An event as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signatures: String,
    pub body: String,
    pub json: Value,
}

impl Received {
    /// Whether one of its signatures is of this secret; computed here by the words of the specification.
    pub fn signed_by(&self, secret: &str) -> bool {
        use aws_lc_rs::hmac;
        let secret = secret.strip_prefix("whsec_").expect("a secret");
        let key = STANDARD.decode(secret).expect("base64");
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        self.signatures.split(' ').any(|signature| {
            let code = signature.strip_prefix("v1,").expect("a version");
            let code = STANDARD.decode(code).expect("base64");
            hmac::verify(&key, signed.as_bytes(), &code).is_ok()
        })
    }

    /// Type and number.
    pub fn told(&self) -> String {
        let (kind, data) = (&self.json["type"], &self.json["data"]);
        format!("{} {}", kind.as_str().expect("a type"), data["sequence"])
    }

    pub fn uuid(&self) -> &str {
        self.json["data"]["uuid"].as_str().expect("a UUID")
    }
}

#[derive(Default)]
struct Behaviour {
    /// For the next events, one after the other; then `mood`.
    script: VecDeque<Mood>,
    /// Of events about this account only.
    only: Option<String>,
    received: Vec<Received>,
    elsewhere: usize,
    chunks: usize,
}

type Shared = Arc<Mutex<(Mood, Behaviour)>>;

/// A service that answers on a port until the value is dropped.
pub struct Receiver {
    pub port: u16,
    shared: Shared,
    serving: Option<JoinSet<()>>,
}

impl Receiver {
    pub async fn new() -> Self {
        let shared: Shared = Arc::new(Mutex::new((Mood::Takes, Behaviour::default())));
        let mut receiver = Self {
            port: 0,
            shared,
            serving: None,
        };
        receiver.come_back().await;
        receiver
    }

    /// Answers again, at the same address.
    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await;
        let listener = listener.expect("a port");
        self.port = listener.local_addr().expect("an address").port();
        let router = Router::new()
            .route("/hook", post(hook))
            .route("/elsewhere", get(elsewhere).post(elsewhere))
            .with_state(Arc::clone(&self.shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        self.serving = Some(serving);
    }

    /// Refuses connections.
    pub async fn go_away(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Mood, Behaviour)> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mood(&self, mood: Mood) {
        let mut shared = self.lock();
        shared.0 = mood;
        shared.1.only = None;
    }

    /// Another mood for events about one account.
    pub fn mood_for(&self, uuid: &str, mood: Mood) {
        let mut shared = self.lock();
        shared.0 = mood;
        shared.1.only = Some(uuid.to_owned());
    }

    /// How the next events are answered, one after the other.
    pub fn script(&self, moods: impl IntoIterator<Item = Mood>) {
        self.lock().1.script.extend(moods);
    }

    /// What came since the last look.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.lock().1.received)
    }

    /// Types and numbers of what came since the last look.
    pub fn told(&self) -> Vec<String> {
        self.take().iter().map(Received::told).collect()
    }

    pub fn count(&self) -> usize {
        self.lock().1.received.len()
    }

    /// How often somebody followed the redirect.
    pub fn elsewhere(&self) -> usize {
        self.lock().1.elsewhere
    }

    /// Chunks of endless answers that were asked for.
    pub fn chunks(&self) -> usize {
        self.lock().1.chunks
    }

    /// The element of the settings.
    pub fn setting(&self, name: &str) -> Value {
        json!({ "name": name, "url": format!("http://127.0.0.1:{}/hook", self.port), "secrets": [SECRET] })
    }

    pub fn flag(&self) -> String {
        flag(&json!([self.setting("crm")]))
    }
}

pub fn flag(settings: &Value) -> String {
    format!("--webhooks={settings}")
}

impl TestApp {
    /// A server that tells services, on a clock that stands at the database's time.
    pub async fn telling(arguments: &[&str]) -> Self {
        let clock = Clock::fixed(Clock::system().now());
        let app = Self::with_clock(config(arguments), clock).await;
        webhook::register(&app.app).await.expect("registered");
        app
    }

    /// Sends every event that is due.
    pub async fn deliver(&self) -> usize {
        worker::deliver_due(&self.app).await.expect("delivered")
    }

    /// How many events wait, and how many were given up.
    pub async fn events(&self) -> String {
        let count = "SELECT count(*) FILTER (WHERE failed_at IS NULL) || ' ' || count(failed_at) \
            FROM jobs WHERE endpoint IS NOT NULL";
        self.db.text(count).await
    }
}

async fn hook(State(shared): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let header = |name: &str| {
        let value = headers.get(name).expect("a header").to_str();
        value.expect("text").to_owned()
    };
    let json: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(header("content-type"), "application/json");
    let mood = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (mood, behaviour) = &mut *shared;
        let uuid = json["data"]["uuid"].as_str();
        let meant = behaviour
            .only
            .as_deref()
            .is_none_or(|only| uuid == Some(only));
        let usual = if meant { mood.clone() } else { Mood::Takes };
        behaviour.received.push(Received {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signatures: header("webhook-signature"),
            body,
            json,
        });
        behaviour.script.pop_front().unwrap_or(usual)
    };
    let answer = Response::builder();
    let answer = match mood {
        Mood::Takes => answer.status(StatusCode::NO_CONTENT),
        Mood::Says(status, None) => answer.status(status),
        Mood::Says(status, Some(wait)) => answer.status(status).header("retry-after", wait),
        Mood::Hangs => std::future::pending().await,
        Mood::Redirects => answer.status(307).header("location", "/elsewhere"),
        Mood::Endless => {
            let chunks = futures_util::stream::repeat_with(move || {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.1.chunks += 1;
                Ok::<_, std::io::Error>(vec![b'x'; 65_536])
            });
            return answer.body(Body::from_stream(chunks)).expect("an answer");
        }
    };
    answer.body(Body::empty()).expect("an answer")
}

async fn elsewhere(State(shared): State<Shared>) -> StatusCode {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.1.elsewhere += 1;
    StatusCode::NO_CONTENT
}
