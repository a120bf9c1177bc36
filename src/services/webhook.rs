//! Telling other services of accounts: one event after the other, until it is taken or given up. The
//! triggers of the database write the events; nothing here decides what is told.

use std::panic::AssertUnwindSafe;

use chrono::{SecondsFormat, TimeDelta};
use diesel_async::AsyncConnection as _;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use serde_json::{Value, json};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::app::App;
use crate::crypto::token::random;
use crate::error::{Error, Result};
use crate::models::job::Job;
use crate::models::webhook::{self, Event};
use crate::scalar::{DateTime, global_id};
use crate::traces::TARGET;
use crate::webhook::{Endpoint, Refusal};

/// How long a sender holds an event; longer than a service may take.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Longest time between two tries, and longest time that a service can ask for.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Has changes of accounts written down for the services that the settings name, and for no others.
///
/// # Errors
/// If the database cannot answer.
pub async fn register(app: &App) -> Result<()> {
    let endpoints = app.webhooks.endpoints().iter();
    let names: Vec<&str> = endpoints.map(|one| one.name.as_str()).collect();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        webhook::set_endpoints(conn, &names, app.now()).await?;
        Ok::<_, Error>(())
    })
    .await
}

/// Sends the next due event of an endpoint; says whether there was one. Hold no connection meanwhile.
///
/// # Errors
/// If the queue cannot be read or written. An event that is not taken is no error: it is put back.
pub async fn deliver_next(app: &App, endpoint: &Endpoint) -> Result<bool> {
    let name = &endpoint.name;
    let claimed = Event::claim(&mut *app.db.conn().await?, name, LEASE, app.now()).await?;
    let Some(event) = claimed else {
        return Ok(false);
    };
    // Where it goes is not in it: the address may be a secret.
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "webhook.deliver",
        otel.kind = "client",
        otel.status_code = Empty,
        "cardea.webhook.name" = name,
        "cardea.job.attempt" = event.attempts,
        "http.response.status_code" = Empty,
    );
    deliver(app, endpoint, event).instrument(span).await?;
    Ok(true)
}

async fn deliver(app: &App, endpoint: &Endpoint, event: Event) -> Result<()> {
    let name = &endpoint.name;
    let sent = app
        .webhooks
        .send(endpoint, event.id, *app.now(), body(&event));
    // One that panics costs itself, not the sender.
    let sent = AssertUnwindSafe(sent).catch_unwind().await;
    let sent = sent.unwrap_or_else(|_| {
        Err(Refusal {
            why: "panicked".to_owned(),
            gone: false,
            wait: None,
        })
    });
    let now = app.now();
    let mut conn = app.db.conn().await?;
    let Refusal { why, gone, wait } = match sent {
        Ok(status) => {
            Span::current().record("http.response.status_code", status.as_u16());
            return Ok(Job::done(&mut conn, event.id).await?);
        }
        Err(refusal) => refusal,
    };
    Span::current().record("otel.status_code", "ERROR");
    let why: String = why.chars().take(2000).collect();
    let id = event.id;
    if gone || *now - *event.created_at >= app.config.webhook_give_up_after() {
        event.put_back(&mut conn, name, &why, now, true).await?;
        tracing::error!(job.id = %id, "Event {id} for `{name}` is given up: {why}");
    } else {
        let pause = pause(event.attempts).max(wait.unwrap_or_default().min(LONGEST_PAUSE));
        let next = DateTime(*now + pause);
        event.put_back(&mut conn, name, &why, next, false).await?;
        tracing::debug!(job.id = %id, "Event {id} for `{name}` was not taken and will be sent again: {why}");
    }
    Ok(())
}

/// Sends an event that tells nothing, past the queue; gives the status with which it was taken.
///
/// # Errors
/// As [`crate::webhook::Webhooks::send`].
pub async fn test(app: &App, endpoint: &Endpoint) -> Result<StatusCode, Refusal> {
    let now = app.now();
    let timestamp = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let body = json!({ "type": "webhook.test", "timestamp": timestamp, "data": {} });
    let id = Uuid::new_v4();
    app.webhooks
        .send(endpoint, id, *now, body.to_string())
        .await
}

/// What is sent: ids, a number, the names of fields and the state. No value of the account, which may be
/// erased by the time it arrives.
fn body(event: &Event) -> String {
    let told = |key: &str| event.payload.get(key).cloned();
    let mut data = json!({
        "id": global_id("User", event.account_id),
        "uuid": told("uuid"),
        "sequence": event.sequence,
    });
    if let Some(Value::String(status)) = told("status") {
        data["status"] = status.to_uppercase().into();
        data["isActive"] = (status == "active").into();
    }
    if let Some(changed) = told("changed") {
        data["changed"] = changed;
    }
    json!({ "type": told("type"), "timestamp": told("timestamp"), "data": data }).to_string()
}

/// How long to wait after the given number of attempts: 5 s, doubled each time, at most an hour, and a fifth
/// of it more or less, so that what failed together does not come back together.
fn pause(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    let whole = TimeDelta::seconds(5 << doublings.min(10)).min(LONGEST_PAUSE);
    let [chance] = random::<1>();
    whole * 4 / 5 + whole * 2 / 5 * i32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_are_never_quite_the_same() {
        for (attempts, seconds) in [(1, 5), (2, 10), (3, 20), (11, 3600), (40, 3600)] {
            let whole = TimeDelta::seconds(seconds);
            let pauses: Vec<_> = (0..40).map(|_| pause(attempts)).collect();
            for pause in &pauses {
                assert!(
                    *pause >= whole * 4 / 5 && *pause <= whole * 6 / 5,
                    "{pause}"
                );
            }
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
