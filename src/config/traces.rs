//! Where traces go, and how many of them. The names are those of OpenTelemetry's specification.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::config::network::is_loopback;

/// Where traces go, and how many of them. Settings of OpenTelemetry that are not here are not looked at.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceConfig {
    /// Address of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is put behind it. Without an address there are no traces
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// The same for traces alone, to which nothing is added
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// Headers for the collector, as `name=value,name=value` with percent-encoded values
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        value_name = "LIST",
        global = true
    )]
    pub otel_exporter_otlp_headers: Option<SecretString>,
    /// File with the headers, in the place of `OTEL_EXPORTER_OTLP_HEADERS`
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS_FILE",
        value_name = "PATH",
        global = true
    )]
    pub otel_exporter_otlp_headers_file: Option<PathBuf>,
    /// What the server is called in traces
    #[arg(
        long,
        env = "OTEL_SERVICE_NAME",
        default_value = "cardea",
        global = true
    )]
    pub otel_service_name: String,
    /// Which requests and jobs are traced; those that begin with `parentbased` follow the caller behind a trusted proxy
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        value_enum,
        default_value = "traceidratio",
        global = true
    )]
    pub otel_traces_sampler: Sampler,
    /// Which share of them, from 0 to 1, where the sampler is one of a ratio
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER_ARG",
        default_value_t = 0.1,
        value_name = "RATIO",
        global = true
    )]
    pub otel_traces_sampler_arg: f64,
}

/// Which requests and jobs are traced (OpenTelemetry, "SDK environment variables").
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share.
    Traceidratio,
    /// What the caller traces; all where it says nothing.
    ParentbasedAlwaysOn,
    /// What the caller traces, and nothing else.
    ParentbasedAlwaysOff,
    /// What the caller traces; a share where it says nothing.
    ParentbasedTraceidratio,
}

impl Sampler {
    /// Whether a caller says which trace a request belongs to, and whether it is kept.
    #[must_use]
    pub const fn follows(self) -> bool {
        matches!(
            self,
            Self::ParentbasedAlwaysOn | Self::ParentbasedAlwaysOff | Self::ParentbasedTraceidratio
        )
    }
}

impl TraceConfig {
    /// Where traces are sent; none where there are no traces.
    ///
    /// # Errors
    /// Which setting holds no address. What it holds is not repeated.
    pub fn collector(&self) -> Result<Option<Url>, String> {
        // By the specification an empty variable is as none.
        let given = |setting: &Option<String>| setting.clone().filter(|text| !text.is_empty());
        let own = given(&self.otel_exporter_otlp_traces_endpoint);
        let all = given(&self.otel_exporter_otlp_endpoint);
        let (text, name) = match (own, all) {
            (Some(own), _) => (own, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            (None, Some(all)) => {
                let below = format!("{}/v1/traces", all.trim_end_matches('/'));
                (below, "OTEL_EXPORTER_OTLP_ENDPOINT")
            }
            (None, None) => return Ok(None),
        };
        let url = Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
        });
        match url {
            Some(url) => Ok(Some(url)),
            None => Err(format!(
                "{name} must be an http or https address without a name and a password"
            )),
        }
    }

    /// What is sent to the collector beside traces; the values are marked as sensitive.
    ///
    /// # Errors
    /// That it is no list of headers. What it holds is not repeated.
    pub fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let Some(list) = &self.otel_exporter_otlp_headers else {
            return Ok(headers);
        };
        let pairs = list.expose_secret().split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let read = || {
                let (name, value) = pair.split_once('=')?;
                let name = HeaderName::try_from(name.trim()).ok()?;
                let value: Vec<u8> = percent_decode_str(value.trim()).collect();
                Some((name, HeaderValue::try_from(value).ok()?))
            };
            let (name, mut value) = read().ok_or(
                "OTEL_EXPORTER_OTLP_HEADERS must be headers as `name=value`, between commas",
            )?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// What of these settings cannot hold, one line each.
    pub(super) fn problems(&self, production: bool) -> Vec<String> {
        let mut found = Vec::new();
        let headers = self.headers();
        let secret = headers.as_ref().is_ok_and(|headers| !headers.is_empty());
        match self.collector() {
            Ok(Some(url)) if production && secret && url.scheme() != "https" => {
                if !is_loopback(&url) {
                    found.push(
                        "production: OTEL_EXPORTER_OTLP_HEADERS would go in the clear; the collector needs an https address"
                            .to_owned(),
                    );
                }
            }
            told => found.extend(told.err()),
        }
        found.extend(headers.err());
        if !(0.0..=1.0).contains(&self.otel_traces_sampler_arg) {
            found.push("OTEL_TRACES_SAMPLER_ARG must lie between 0 and 1".to_owned());
        }
        found
    }
}
