//! A collector of traces: takes OTLP over HTTP, decodes it, and misbehaves as a test wants it to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Says(u16),
    Hangs,
}

/// A span, as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    /// Empty where there is none.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
    /// Events and links, of which there are none.
    pub others: usize,
    pub nanos: u64,
}

/// A request, as it came.
#[derive(Clone)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Shared = Arc<Mutex<(Mood, Vec<Received>)>>;

/// A collector that answers on a port until the value is dropped.
pub struct Collector {
    pub port: u16,
    shared: Shared,
    _serving: JoinSet<()>,
}

impl Collector {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared: Shared = Arc::new(Mutex::new((Mood::Takes, Vec::new())));
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/tenant/a", post(traces))
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            port,
            shared,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn mood(&self, mood: Mood) {
        self.lock().0 = mood;
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.lock().1.clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let decoded = self.received().into_iter().flat_map(|one| decode(&one));
        let scopes = decoded.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        spans.map(Span::from).collect()
    }

    /// What is said of the server with the spans of each request.
    pub fn resources(&self) -> Vec<BTreeMap<String, String>> {
        let decoded = self.received().into_iter().flat_map(|one| decode(&one));
        let resources = decoded.filter_map(|one| one.resource);
        resources.map(|one| attributes(one.attributes)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, (Mood, Vec<Received>)> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(one: &Received) -> Vec<v1::ResourceSpans> {
    assert_eq!(one.headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(one.body.clone()).expect("OTLP");
    request.resource_spans
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("an attribute is no text and no number: {other:?}"),
    };
    all.into_iter()
        .map(|one| {
            let value = one.value.and_then(|value| value.value);
            (one.key, text(value.expect("a value")))
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl From<v1::Span> for Span {
    fn from(span: v1::Span) -> Self {
        Self {
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: attributes(span.attributes),
            is_error: span.status.is_some_and(|status| status.code == 2),
            others: span.events.len() + span.links.len(),
            nanos: span.end_time_unix_nano - span.start_time_unix_nano,
            name: span.name,
        }
    }
}

async fn traces(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), StatusCode> {
    let mood = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.1.push(Received { headers, body });
        shared.0
    };
    match mood {
        Mood::Takes => Ok(()),
        Mood::Says(status) => Err(StatusCode::from_u16(status).expect("a status")),
        Mood::Hangs => std::future::pending().await,
    }
}
