//! Traces of OpenTelemetry: spans of what the server does, sent to a collector. It knows nothing of what is traced, and
//! where no collector is set nothing of it runs.
//!
//! A span is one of `tracing` with the target [`TARGET`]. The log never shows those, and no others go to the collector:
//! whatever a line or a span of the log holds stays here. What they hold is named where they are made, and is about
//! nobody: no address, no name, no token, no value of a statement.

mod export;

use std::time::Duration;

use hyper::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler as Sampling, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use crate::config::{Config, Sampler, TraceConfig};

pub use export::{Spans, spans};

/// The target of spans that go to the collector. No module's name begins so, whose lines would go with it.
pub const TARGET: &str = "cardea-trace";
/// How long the last spans may take to get to the collector when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The header with the caller's trace (W3C Trace Context, section 3.2).
const TRACEPARENT: &str = "traceparent";

/// Takes spans and sends them.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to take spans, where a collector is set.
    ///
    /// # Errors
    /// If a setting cannot hold, or the system gives no thread.
    pub fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        let settings = &config.traces;
        let Some(collector) = settings.collector().map_err(anyhow::Error::msg)? else {
            return Ok(None);
        };
        let headers = settings.headers().map_err(anyhow::Error::msg)?;
        let resource = Resource::builder_empty()
            .with_service_name(settings.otel_service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
            ]);
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampling(settings))
            .with_resource(resource.build())
            .with_span_processor(export::processor(collector, headers)?)
            .build();
        Ok(Some(Self { provider }))
    }

    /// What hears of spans, beside the log.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = FilterFn::new(|of| of.is_span() && of.target() == TARGET);
        OpenTelemetryLayer::new(self.provider.tracer("cardea"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            // Without the hint everything that is for no log would be looked at again and again.
            .with_filter(filter.with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what is left, for three seconds at most. Blocks the calling thread.
    pub fn end(self) {
        if self.provider.shutdown_with_timeout(LAST_WORDS).is_err() {
            tracing::warn!("The last traces were not sent");
        }
    }
}

fn sampling(settings: &TraceConfig) -> Sampling {
    let share = Sampling::TraceIdRatioBased(settings.otel_traces_sampler_arg);
    let parent = |or: Sampling| Sampling::ParentBased(Box::new(or));
    match settings.otel_traces_sampler {
        Sampler::AlwaysOn => Sampling::AlwaysOn,
        Sampler::AlwaysOff => Sampling::AlwaysOff,
        Sampler::Traceidratio => share,
        Sampler::ParentbasedAlwaysOn => parent(Sampling::AlwaysOn),
        Sampler::ParentbasedAlwaysOff => parent(Sampling::AlwaysOff),
        Sampler::ParentbasedTraceidratio => parent(share),
    }
}

/// Whether there are traces at all.
#[must_use]
pub fn on() -> bool {
    tracing::span_enabled!(target: TARGET, Level::INFO)
}

/// Whether what is done just now is part of something that is traced.
#[must_use]
pub fn recording() -> bool {
    Context::map_current(|context| context.has_active_span() && context.span().is_recording())
}

/// The span in which something is done just now; all zeros where it is none.
#[must_use]
pub fn current() -> [u8; 8] {
    Context::map_current(|context| context.span().span_context().span_id().to_bytes())
}

/// Makes `span` a part of the caller's trace, if the headers name one. Whoever may say that may have everything traced.
pub fn follow(span: &Span, headers: &HeaderMap) {
    let mut named = headers.get_all(TRACEPARENT).iter();
    // Two of them are none (W3C Trace Context, section 4.2).
    if let (Some(value), None) = (named.next(), named.next())
        && let Ok(value) = value.to_str()
    {
        let caller = TraceContextPropagator::new().extract(&Parent(value));
        if caller.span().span_context().is_valid() {
            // It cannot fail: the span is new, or there are no traces.
            let _ = span.set_parent(caller);
        }
    }
}

/// The name of the trace that `span` belongs to, as 32 hexadecimal digits.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    if span.is_none() {
        return None;
    }
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// Ends `span` now, whoever still works in it.
pub fn end(span: &Span) {
    if !span.is_none() {
        span.context().span().end();
    }
}

/// One header, of which the propagator may ask.
struct Parent<'a>(&'a str);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        // What comes along in `tracestate` is anybody's, and nothing here reads it.
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
