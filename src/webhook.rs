//! Sending events to other services, signed as Standard Webhooks has it. It knows no account and no queue.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::{HeaderMap, StatusCode};
use secrecy::SecretSlice;
use url::Url;
use uuid::Uuid;

use crate::config::Config;
use crate::crypto::webhook::signatures;
use crate::provider::http::Http;

/// The services that are told. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    endpoints: Arc<[Endpoint]>,
    http: Http,
    timeout: Duration,
}

/// A service that is told.
pub struct Endpoint {
    /// Its name in the database and for the operator.
    pub name: String,
    url: Url,
    secrets: Vec<SecretSlice<u8>>,
}

/// Why a service did not take an event. What it says is for the log and the operator, and does not hold
/// the address of the service, which may be a secret.
#[derive(Debug)]
pub struct Refusal {
    /// In words.
    pub why: String,
    /// It will never take it.
    pub gone: bool,
    /// How long it wants to be left alone.
    pub wait: Option<TimeDelta>,
}

impl Webhooks {
    /// The services that are set. Asks none of them anything.
    ///
    /// # Errors
    /// If a setting cannot hold.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let settings = config
            .webhooks
            .endpoints(config.production())
            .map_err(|problems| anyhow::anyhow!(problems.join("; ")))?;
        let endpoints = settings.into_iter().map(|one| Endpoint {
            name: one.name,
            url: one.url,
            secrets: one.secrets,
        });
        Ok(Self {
            endpoints: endpoints.collect(),
            http: Http::new(),
            timeout: config.webhook_timeout(),
        })
    }

    /// The services.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Sends an event; gives the status with which it was taken. Follows no redirect and reads no answer.
    ///
    /// # Errors
    /// [`Refusal`] for anything but a status from 200 to 299 in time.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        id: Uuid,
        now: DateTime<Utc>,
        body: String,
    ) -> Result<StatusCode, Refusal> {
        let (id, timestamp) = (id.to_string(), now.timestamp());
        let headers = [
            (
                "webhook-signature",
                signatures(&endpoint.secrets, &id, timestamp, &body),
            ),
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        let refusal = |why| Refusal {
            why,
            gone: false,
            wait: None,
        };
        let answer = self.http.tell(&endpoint.url, headers, body);
        let (status, headers) = tokio::time::timeout(self.timeout, answer)
            .await
            .map_err(|_| refusal(format!("no answer in {} s", self.timeout.as_secs())))?
            .map_err(refusal)?;
        if status.is_success() {
            return Ok(status);
        }
        let busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        Err(Refusal {
            why: format!("answered {status}"),
            gone: status == StatusCode::GONE,
            wait: busy
                .contains(&status)
                .then(|| retry_after(&headers, now))
                .flatten(),
        })
    }
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let value = headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(TimeDelta::seconds(seconds.into()));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    Some(until.to_utc() - now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_ask_for_time_in_seconds_or_by_a_date() {
        let now = "2015-10-21T07:27:00Z".parse().expect("an instant");
        for (value, wait) in [
            ("120", Some(TimeDelta::minutes(2))),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(TimeDelta::minutes(1))),
            ("-5", None),
            ("99999999999999999999", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().expect("a value"));
            assert_eq!(retry_after(&headers, now), wait, "{value}");
        }
    }
}
