//! The way of spans to the collector: OTLP over HTTP with protobuf. Nobody waits for it: what finds the queue full, and what
//! the collector does not take, is lost and counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::provider::http::Http;

/// Most spans that wait; some two megabytes.
const QUEUE: usize = 2048;
/// Most spans of a request to the collector.
const BATCH: usize = 512;
/// How long spans wait for others to go with.
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take for a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often the log says that the collector takes nothing.
const SAY_AGAIN: Duration = Duration::from_mins(10);

/// Spans so far that the collector took.
static SENT: AtomicU64 = AtomicU64::new(0);
/// Spans so far that it did not take, or that found the queue full.
static LOST: AtomicU64 = AtomicU64::new(0);

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// The collector took them.
    pub sent: u64,
    /// It did not, or there was no place in the queue.
    pub lost: u64,
}

/// What became of spans so far.
#[must_use]
pub fn spans() -> Spans {
    Spans {
        sent: SENT.load(Ordering::Relaxed),
        lost: LOST.load(Ordering::Relaxed),
    }
}

/// Takes spans that have ended, and sends them from a thread of its own.
///
/// # Errors
/// If the system does not give what that takes.
pub(super) fn processor(collector: Url, headers: HeaderMap) -> anyhow::Result<Bounded> {
    let waiting = Arc::new(AtomicUsize::new(0));
    // The thread runs it while it sends: neither requests nor jobs are beside it.
    let runtime = Builder::new_current_thread().enable_all().build();
    let exporter = Exporter {
        collector,
        headers,
        http: Http::new(),
        runtime: runtime.context("traces cannot be sent")?,
        resource: ResourceAttributesWithSchema::default(),
        waiting: Arc::clone(&waiting),
        trouble: Mutex::default(),
    };
    // All of it is said here, or the environment would be asked.
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY);
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build());
    Ok(Bounded {
        batches: batches.build(),
        waiting,
    })
}

/// Gathers spans, and counts those for which there is no place.
#[derive(Debug)]
pub(super) struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            self.batches.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends spans.
struct Exporter {
    collector: Url,
    headers: HeaderMap,
    http: Http,
    runtime: Runtime,
    resource: ResourceAttributesWithSchema,
    waiting: Arc<AtomicUsize>,
    trouble: Mutex<Trouble>,
}

/// What the log was told of a collector that takes nothing.
#[derive(Default)]
struct Trouble {
    said: Option<Instant>,
    /// That it takes something again is to be said.
    open: bool,
    lost: usize,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Address and headers may hold a secret.
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl SpanExporter for Exporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        std::future::ready(self.send(batch))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl Exporter {
    fn send(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let asked = async {
            let sent = self.post(Bytes::from(body));
            let sent = tokio::time::timeout(TIMEOUT, sent).await;
            sent.unwrap_or_else(|_| Err(format!("no answer in {} s", TIMEOUT.as_secs())))
        };
        let sent = self.runtime.block_on(asked);
        let so_many = u64::try_from(count).unwrap_or(u64::MAX);
        let counter = if sent.is_ok() { &SENT } else { &LOST };
        counter.fetch_add(so_many, Ordering::Relaxed);
        self.tell(count, sent.as_ref().err());
        sent.map_err(OTelSdkError::InternalFailure)
    }

    /// A request; why it came to nothing is said without the address.
    async fn post(&self, body: Bytes) -> Result<(), String> {
        let mut headers = self.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        let (status, _) = self.http.post_bytes(&self.collector, headers, body).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("answered {status}"))
        }
    }

    /// Says in the log that the collector takes nothing, now and then, and that it takes spans again.
    fn tell(&self, count: usize, why: Option<&String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => {
                trouble.lost += count;
                let again = |said: Instant| said.elapsed() >= SAY_AGAIN;
                if trouble.said.is_none_or(again) {
                    trouble.said = Some(Instant::now());
                    trouble.open = true;
                    let lost = trouble.lost;
                    tracing::warn!("The collector took no traces, {lost} spans are lost: {why}");
                }
            }
            None if trouble.open => {
                trouble.open = false;
                let lost = std::mem::take(&mut trouble.lost);
                tracing::info!("The collector takes traces again; {lost} spans were lost");
            }
            None => {}
        }
    }
}
