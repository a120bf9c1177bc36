//! All metrics as one text. docs/OPERATIONS.md explains each; a test compares the two.

use crate::app::App;
use crate::graphql::metrics::{Counts, Operations};
use crate::metrics::text::{Kind, Text};
use crate::metrics::{LoginMethod, LoginOutcome};
use crate::services::backlog::Backlog;
use crate::traces::{self, Spans};

/// Writes all of them, without those of the database where it said nothing.
#[must_use]
pub fn write(app: &App, operations: &Operations, backlog: Option<&Backlog>) -> String {
    let mut text = Text::default();
    text.family("cardea_build_info", Kind::Gauge, "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.gauge(
        "process_start_time_seconds",
        "When the server started, in seconds since 1970.",
        app.started_at.timestamp(),
    );
    requests(&mut text, operations);
    logins(&mut text, app);
    passwords(&mut text, app);
    database(&mut text, app);
    live(&mut text, app, operations);
    let Spans { sent, lost } = traces::spans();
    text.counter(
        "cardea_trace_spans_sent_total",
        "Spans that the collector of traces took.",
        sent,
    );
    text.counter(
        "cardea_trace_spans_lost_total",
        "Spans that it did not take, or for which there was no place in the queue.",
        lost,
    );
    text.gauge(
        "cardea_database_up",
        "Whether the database answered this scrape in time.",
        u8::from(backlog.is_some()),
    );
    if let Some(backlog) = backlog {
        waiting(&mut text, backlog);
    }
    text.into_string()
}

fn labels(counts: &Counts) -> [(&'static str, &str); 2] {
    [("operation", &counts.operation), ("type", counts.kind)]
}

/// What came at least once.
fn asked(operations: &Operations) -> impl Iterator<Item = &Counts> {
    let came = |counts: &&Counts| counts.outcomes().any(|count| count > 0);
    operations.all().iter().filter(came)
}

fn requests(text: &mut Text, operations: &Operations) {
    let mut family = text.family(
        "cardea_requests_total",
        Kind::Counter,
        "GraphQL requests, by the root field that they ask for and what they came to.",
    );
    for counts in operations.all() {
        let [operation, kind] = labels(counts);
        for (code, count) in operations.outcomes().iter().zip(counts.outcomes()) {
            // All begin at 0 where it is no error, so that the first request shows as growth.
            if count > 0 || code == "OK" {
                family.sample(&[operation, kind, ("code", code)], count);
            }
        }
    }
    let mut family = text.family(
        "cardea_request_duration_seconds",
        Kind::Histogram,
        "From when a request was read to its answer; of a subscription, to its beginning.",
    );
    for counts in asked(operations).filter(|counts| counts.kind != "none") {
        family.histogram(&labels(counts), &counts.duration);
    }
    let mut family = text.family(
        "cardea_request_sql_statements_total",
        Kind::Counter,
        "SQL statements that requests sent.",
    );
    for counts in asked(operations).filter(|counts| counts.kind != "none") {
        family.sample(&labels(counts), counts.statements.read());
    }
}

fn logins(text: &mut Text, app: &App) {
    let mut family = text.family(
        "cardea_logins_total",
        Kind::Counter,
        "Steps of signing in, by what was to be proved and what came of it.",
    );
    for (method, name) in LoginMethod::ALL {
        for (outcome, came_to) in LoginOutcome::ALL {
            let labels = [("method", name), ("outcome", came_to)];
            family.sample(&labels, app.logins.read(method, outcome));
        }
    }
}

fn passwords(text: &mut Text, app: &App) {
    let queue = app.passwords.queue();
    text.gauge(
        "cardea_password_hash_threads",
        "Passwords that may be hashed at once.",
        queue.threads,
    );
    text.gauge(
        "cardea_password_hash_running",
        "Passwords that are being hashed.",
        queue.running,
    );
    text.gauge(
        "cardea_password_hash_queue_limit",
        "Passwords that may wait to be hashed.",
        queue.limit,
    );
    text.gauge(
        "cardea_password_hash_waiting",
        "Passwords that wait to be hashed.",
        queue.waiting,
    );
    text.counter(
        "cardea_password_hash_refused_total",
        "Passwords that were not hashed because the queue was full.",
        queue.refused,
    );
}

fn database(text: &mut Text, app: &App) {
    let connections = app.db.connections();
    text.gauge(
        "cardea_database_pool_limit",
        "Connections that the pool may open.",
        connections.limit,
    );
    text.gauge(
        "cardea_database_pool_open",
        "Connections of the pool that are open.",
        connections.open,
    );
    text.gauge(
        "cardea_database_pool_idle",
        "Connections of the pool that nobody uses.",
        connections.idle,
    );
    text.gauge(
        "cardea_database_pool_waiting",
        "Who waits for a connection of the pool.",
        connections.waiting,
    );
    let (times, failures) = app.db.waits();
    text.family(
        "cardea_database_pool_wait_seconds",
        Kind::Histogram,
        "How long it took to get a connection of the pool.",
    )
    .histogram(&[], times);
    text.counter(
        "cardea_database_pool_failures_total",
        "How often there was no connection of the pool in time.",
        failures,
    );
    let (limit, taken) = connections.shared;
    text.gauge(
        "cardea_database_shared_limit",
        "Statements that may be under way on shared connections.",
        limit,
    );
    text.gauge(
        "cardea_database_shared_running",
        "Statements that are under way on shared connections.",
        taken,
    );
    text.counter(
        "cardea_sql_statements_total",
        "SQL statements of requests and of all else, those that begin and end transactions among them.",
        app.db.statements(),
    );
    let mut family = text.family(
        "cardea_replica_reads_total",
        Kind::Counter,
        "Reads of much, by what came of asking the replica; what it did not serve the database did.",
    );
    for (outcome, count) in app.db.replica_reads() {
        family.sample(&[("outcome", outcome)], count);
    }
    text.gauge(
        "cardea_notifications_up",
        "Whether the line to the database's notifications is alive.",
        u8::from(app.access.is_believed()),
    );
}

fn live(text: &mut Text, app: &App, operations: &Operations) {
    text.gauge(
        "cardea_live_connections_limit",
        "Live connections that there may be.",
        app.config.http.live_connections,
    );
    text.gauge(
        "cardea_live_connections",
        "Live connections: sockets and event streams.",
        app.live.seats.taken(),
    );
    let mut family = text.family(
        "cardea_live_subscriptions",
        Kind::Gauge,
        "Subscriptions that are followed.",
    );
    let subscriptions = operations.all().iter();
    // Of those that the schema has: nothing else is followed.
    let has =
        |counts: &&Counts| counts.kind == "subscription" && !counts.operation.starts_with('_');
    for counts in subscriptions.filter(has) {
        family.sample(&[("operation", &counts.operation)], counts.following());
    }
}

fn waiting(text: &mut Text, backlog: &Backlog) {
    let mut of_each = |name, help, value: fn(&crate::services::backlog::Queue) -> f64| {
        let mut family = text.family(name, Kind::Gauge, help);
        for queue in &backlog.queues {
            family.sample(&[("queue", queue.name)], value(queue));
        }
    };
    of_each(
        "cardea_jobs_pending",
        "Jobs that were not done yet, up to 10000.",
        |queue| count(queue.pending),
    );
    of_each(
        "cardea_jobs_retrying",
        "Jobs that failed and are tried again, up to 10000.",
        |queue| count(queue.retrying),
    );
    of_each(
        "cardea_jobs_dead",
        "Jobs that were given up, up to 10000.",
        |queue| count(queue.dead),
    );
    of_each(
        "cardea_jobs_lag_seconds",
        "How long the first job that is due waits for a worker.",
        |queue| queue.lag.as_secs_f64(),
    );
    text.gauge(
        "cardea_audit_unchained",
        "Entries of the audit trail without a place in its chain, up to 10000.",
        backlog.audit,
    );
    text.gauge(
        "cardea_audit_lag_seconds",
        "How long the oldest of them waits for it.",
        backlog.audit_lag.as_secs_f64(),
    );
}

#[expect(clippy::cast_precision_loss, reason = "at most 10000")]
fn count(number: i64) -> f64 {
    number as f64
}
