//! What Prometheus is told: that it is exactly what happened, about nobody, and for nobody else.

#![expect(clippy::float_cmp, reason = "counts are whole, and exact")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use cardea::graphql::metrics::Operations;
use cardea::http;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::{PASSWORD, email};
use crate::harness::process::until;
use crate::harness::stream::{EVENTS, ask};
use crate::harness::{Answer, Program, TestApp, http as client};

const WRONG: &str = "Wrong-Horse-7";
const DASHBOARD: &str = include_str!("../../deploy/grafana/cardea.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// Values by metric and labels.
type Samples = BTreeMap<String, f64>;

/// A server with its counters.
struct Metered {
    app: TestApp,
    operations: Arc<Operations>,
}

impl Metered {
    async fn with(arguments: &[&str]) -> Self {
        let mut app = TestApp::with(arguments).await;
        let api = http::api(&app.app.config).expect("the schema is sound");
        let operations = Arc::clone(api.operations());
        app.router = http::routes(app.app.clone(), api);
        Self { app, operations }
    }

    /// The listener for Prometheus, which has asked the database nothing yet.
    fn listener(&self) -> Router {
        http::metrics::router(&self.app.app, &self.operations)
    }

    async fn text(&self) -> String {
        let request = Request::get("/metrics").body(Body::empty());
        let answer = self.listener().oneshot(request.expect("a request")).await;
        let answer = Answer::read(answer.expect("an answer")).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.text
    }

    async fn scrape(&self) -> Samples {
        samples(&self.text().await)
    }

    /// What counters of requests grew by since `before`; those that did not are left out.
    async fn requests_since(&self, before: &Samples) -> Samples {
        grown(before, &self.scrape().await, "cardea_requests_total")
    }
}

fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    let samples: Vec<_> = lines.map(sample).collect();
    let found: Samples = samples.iter().cloned().collect();
    assert_eq!(found.len(), samples.len(), "a series is there twice");
    found
}

fn grown(before: &Samples, after: &Samples, metric: &str) -> Samples {
    let of_metric = after.iter().filter(|(name, _)| name.starts_with(metric));
    of_metric
        .map(|(name, value)| {
            let grown = value - before.get(name).copied().unwrap_or_default();
            let labels = name.strip_prefix(metric).unwrap_or_default();
            (labels.to_owned(), grown)
        })
        .filter(|(_, grown)| *grown != 0.0)
        .collect()
}

fn request(operation: &str, kind: &str, code: &str) -> String {
    format!("{{operation=\"{operation}\",type=\"{kind}\",code=\"{code}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_counts_once_by_its_root_field_and_its_code() {
    let metered = Metered::with(&["--login-tries=3"]).await;
    let app = &metered.app;
    let ada = app.user("ada").await;
    let before = metered.scrape().await;
    let profile =
        "mutation($bio: String) { updateProfile(input: { bio: $bio }) { errors { code } } }";

    ada.ask("query Name { me { id } }").await;
    ada.ask("query OfClients { me { email } }").await;
    ada.ask("{ me { id } viewer { permissions } }").await;
    ada.ask("{ users(first: 1) { totalCount } }").await;
    ada.gql(profile, json!({ "bio": "short" })).await;
    ada.gql(profile, json!({ "bio": "x".repeat(501) })).await;
    for _ in 0..4 {
        app.login("ada", WRONG).await;
    }
    // Nothing of these runs.
    ada.ask("{ me { nothing } }").await;
    ada.ask("{ nothing }").await;
    ada.ask("{").await;
    app.gql(
        "query($id: ID!) { node(id: $id) { id } }",
        json!({ "id": {} }),
    )
    .await;
    app.gql_as(Some("no token"), "{ me { id } }", Value::Null)
        .await;
    app.gql("query A { me { id } } query B { me { id } }", Value::Null)
        .await;
    app.post_json(" ".repeat(70_000)).await;
    app.raw(
        Method::POST,
        "/graphql",
        &[("content-type", "text/plain")],
        "{}",
    )
    .await;
    app.raw(
        Method::GET,
        "/graphql?query=mutation%7Blogout%7BendedSessions%7D%7D",
        &[],
        "",
    )
    .await;

    let wanted = [
        (request("me", "query", "OK"), 2.0),
        (request("_several", "query", "OK"), 1.0),
        (request("users", "query", "FORBIDDEN"), 1.0),
        (request("updateProfile", "mutation", "OK"), 1.0),
        (request("updateProfile", "mutation", "INVALID_VALUE"), 1.0),
        (request("login", "mutation", "INVALID_CREDENTIALS"), 3.0),
        (request("login", "mutation", "TOO_MANY_ATTEMPTS"), 1.0),
        (request("me", "query", "GRAPHQL_VALIDATION_FAILED"), 1.0),
        (
            request("_unknown", "query", "GRAPHQL_VALIDATION_FAILED"),
            1.0,
        ),
        (request("_none", "none", "GRAPHQL_PARSE_FAILED"), 1.0),
        (request("node", "query", "BAD_USER_INPUT"), 1.0),
        (request("me", "query", "UNAUTHENTICATED"), 1.0),
        (
            request("_none", "none", "OPERATION_RESOLUTION_FAILURE"),
            1.0,
        ),
        (request("_none", "none", "BAD_USER_INPUT"), 2.0),
        (request("_none", "none", "METHOD_NOT_ALLOWED"), 1.0),
    ];
    let after = metered.scrape().await;
    let found = grown(&before, &after, "cardea_requests_total");
    assert_eq!(found, wanted.into_iter().collect());

    let times = grown(&before, &after, "cardea_request_duration_seconds_count");
    let of = |operation: &str| times.get(operation).copied();
    assert_eq!(of("{operation=\"me\",type=\"query\"}"), Some(4.0));
    assert_eq!(of("{operation=\"login\",type=\"mutation\"}"), Some(4.0));
    assert_eq!(of("{operation=\"_none\",type=\"none\"}"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_hangs_up_counts_too() {
    let metered = Metered::with(&[]).await;
    let before = metered.scrape().await;
    let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let request_ = Request::post("/graphql").header("content-type", "application/json");
    let router = metered.app.router.clone();
    let answered = router.oneshot(request_.body(body).expect("a request"));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), answered).await;
    assert!(waited.is_err(), "it waits for the rest of the body");
    let found = metered.requests_since(&before).await;
    assert_eq!(found, [(request("_none", "none", "CANCELLED"), 1.0)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_clients_send_is_in_the_metrics() {
    let metered = Metered::with(&[]).await;
    let app = &metered.app;
    let ada = app.user("ada").await;
    let send = async |mark: usize| {
        ada.ask(&format!("query Spy{mark} {{ spy{mark}: me {{ id }} }}"))
            .await;
        ada.ask(&format!("{{ spy{mark} }}")).await;
        ada.ask(&format!("{{ me {{ spy{mark} }} }}")).await;
        ada.ask(&format!("mutation Spy{mark} {{ spy{mark} {{ id }} }}"))
            .await;
        ada.ask(&format!(
            "{{ ...Spy{mark} }} fragment Spy{mark} on Query {{ spy{mark} }}"
        ))
        .await;
        let wrong = "mutation($input: LoginInput!) { login(input: $input) { errors { code } } }";
        let input = json!({ "identifier": format!("spy{mark}"), "password": WRONG });
        app.gql(wrong, json!({ "input": input })).await;
        app.raw(
            Method::GET,
            &format!("/spy{mark}"),
            &[("user-agent", "spy")],
            "",
        )
        .await;
    };
    send(0).await;
    let series = |samples: Samples| samples.into_keys().collect::<BTreeSet<_>>();
    let before = series(metered.scrape().await);
    for mark in 1..20 {
        send(mark).await;
    }
    assert_eq!(series(metered.scrape().await), before);

    let text = metered.text().await.to_lowercase();
    for secret in [
        "spy",
        "ada",
        "example.org",
        "127.0.0.1",
        &ada.uuid,
        &ada.id.to_lowercase(),
    ] {
        // The name of the product is in that of every metric.
        let text = text.replace("cardea", "");
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_count_for_the_request_that_sends_them_whatever_else_runs() {
    let metered = Metered::with(&[]).await;
    let app = &metered.app;
    let ada = app.user("ada").await;
    let documents = [
        ("me", "{ me { id email } }"),
        ("sessions", "{ sessions(first: 5) { nodes { id } } }"),
        (
            "updateProfile",
            "mutation { updateProfile(input: { bio: \"x\" }) { errors { code } } }",
        ),
    ];
    // What is remembered of the caller is.
    for (_, document) in documents {
        ada.ask(document).await;
    }
    let metric = "cardea_request_sql_statements_total";
    let mut alone = BTreeMap::new();
    for (name, document) in documents {
        let before = metered.scrape().await;
        ada.ask(document).await;
        let grown = grown(&before, &metered.scrape().await, metric);
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert!(
            grown
                .keys()
                .all(|labels| labels.contains(&format!("\"{name}\"")))
        );
        alone.extend(grown);
    }
    assert_eq!(alone.len(), 3);
    let before = metered.scrape().await;
    let all = (0..60).map(|n| ada.ask(documents[n % 3].1));
    join_all(all).await;
    let together = grown(&before, &metered.scrape().await, metric);
    let wanted: Samples = alone
        .into_iter()
        .map(|(name, one)| (name, one * 20.0))
        .collect();
    assert_eq!(together, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_signing_in_count_by_what_came_of_them() {
    let metered = Metered::with(&["--login-tries=3"]).await;
    let app = &metered.app;
    app.user("ada").await;
    app.register("bob").await;
    let before = metered.scrape().await;
    app.login("ada", PASSWORD).await;
    app.login(&email("bob"), PASSWORD).await;
    for _ in 0..5 {
        app.login("nobody", WRONG).await;
    }
    app.verify("crv_no_such_token").await;
    let found = grown(&before, &metered.scrape().await, "cardea_logins_total");
    let login =
        |method: &str, outcome: &str| format!("{{method=\"{method}\",outcome=\"{outcome}\"}}");
    let wanted = [
        (login("password", "signed_in"), 1.0),
        (login("password", "email_verification_required"), 1.0),
        (login("password", "refused"), 3.0),
        (login("password", "limited"), 2.0),
        (login("email_link", "refused"), 1.0),
    ];
    assert_eq!(found, wanted.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_fail_and_are_given_up_are_told() {
    let metered = Metered::with(&[]).await;
    let app = &metered.app;
    let mails = async || {
        let samples = metered.scrape().await;
        ["pending", "retrying", "dead", "lag_seconds"]
            .map(|what| samples[&format!("cardea_jobs_{what}{{queue=\"mails\"}}")])
    };
    assert_eq!(mails().await, [0.0, 0.0, 0.0, 0.0]);
    app.register("ada").await;
    app.advance(TimeDelta::seconds(90));
    assert_eq!(mails().await, [1.0, 0.0, 0.0, 90.0]);
    app.db
        .sql("ALTER TABLE verification_tokens RENAME TO away")
        .await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(
        mails().await,
        [1.0, 1.0, 0.0, 0.0],
        "it is put back for later"
    );
    app.advance(TimeDelta::days(2));
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(mails().await, [0.0, 0.0, 1.0, 0.0], "it was given up");
    let events = "cardea_jobs_dead{queue=\"events\"}";
    assert_eq!(metered.scrape().await[events], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_without_the_database_tells_the_rest_and_that() {
    let metered = Metered::with(&["--database-wait-secs=1"]).await;
    let up = "cardea_database_up";
    let before = metered.scrape().await;
    assert_eq!(before[up], 1.0);
    assert!(before.contains_key("cardea_audit_unchained"));
    metered.app.db.shut().await;
    let during = metered.scrape().await;
    assert_eq!(during[up], 0.0);
    assert!(!during.keys().any(|name| name.starts_with("cardea_jobs_")));
    let missing: Vec<_> = before
        .keys()
        .filter(|name| !during.contains_key(*name))
        .filter(|name| !name.starts_with("cardea_jobs_") && !name.starts_with("cardea_audit_"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    metered.app.db.open().await;
    assert_eq!(metered.scrape().await[up], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_nobody_looks_at_are_told() {
    let metered = Metered::with(&[
        "--password-threads=1",
        "--password-queue=0",
        "--argon2-memory-kib=65536",
    ])
    .await;
    let refused = "cardea_password_hash_refused_total";
    assert_eq!(metered.scrape().await[refused], 0.0);
    let app = &metered.app;
    let tries = join_all((0..8).map(|_| app.login("nobody", WRONG))).await;
    let busy = tries
        .iter()
        .filter(|answer| answer.codes() == ["RATE_LIMITED"]);
    let busy = u32::try_from(busy.count()).expect("few");
    assert!(busy > 0, "one hash at once");
    let after = metered.scrape().await;
    assert_eq!(after[refused], f64::from(busy));
    let limited = "cardea_logins_total{method=\"password\",outcome=\"limited\"}";
    assert_eq!(after[limited], f64::from(busy));
    assert_eq!(after["cardea_password_hash_threads"], 1.0);
    assert_eq!(after["cardea_password_hash_waiting"], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_told_while_they_are_followed() {
    let metered = Metered::with(&[]).await;
    let app = &metered.app;
    let ada = app.user("ada").await;
    let bearer = format!("Bearer {}", ada.access_token);
    crate::harness::socket::until("the line to the database", || app.app.access.is_believed())
        .await;
    let before = metered.scrape().await;
    let document = "subscription { sessionRevoked { reason } }";
    let stream = ask(app, EVENTS, document, &[("authorization", &bearer)]).await;
    let stream = stream.expect("a stream");
    let followed = "cardea_live_subscriptions{operation=\"sessionRevoked\"}";
    let during = metered.scrape().await;
    assert_eq!(
        (during[followed], during["cardea_live_connections"]),
        (1.0, 1.0)
    );
    assert_eq!(
        grown(&before, &during, "cardea_requests_total"),
        [(request("sessionRevoked", "subscription", "OK"), 1.0)].into()
    );
    drop(stream);
    for _ in 0..200 {
        let after = metered.scrape().await;
        if (after[followed], after["cardea_live_connections"]) == (0.0, 0.0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it is still followed");
}

#[test]
fn prometheus_has_a_listener_of_its_own_and_clients_get_no_metrics() {
    let program = Program::new().with("CARDEA_METRICS_LISTEN", "127.0.0.1:0");
    let server = program.serve();
    let told = until("the address of the metrics", || {
        let told = server.process.stdout.text();
        let (_, rest) = told.split_once("Metrics ")?;
        let (address, _) = rest.split_once("/metrics")?;
        address.trim().strip_prefix("http://")?.parse().ok()
    });
    let metrics: SocketAddr = told;
    assert_ne!(metrics, server.address);

    server.gql("{ me { id } }", &Value::Null);
    let answer = client::get(metrics, "/metrics");
    assert_eq!(answer.status, 200);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(content_type));
    assert_eq!(answer.header("connection"), Some("close"));
    let found = samples(&answer.text);
    let series = format!("cardea_requests_total{}", request("me", "query", "OK"));
    assert_eq!(found[&series], 1.0);

    assert_eq!(server.get("/metrics").status, 404);
    for path in ["/", "/graphql", "/health/live", "/metrics/"] {
        assert_eq!(client::get(metrics, path).status, 404, "{path}");
    }
    assert_eq!(
        client::gql(metrics, None, "{ me { id } }", &Value::Null).status,
        404
    );

    // Nobody keeps Prometheus out by silence.
    let silent: Vec<_> = (0..8).map(|_| client::connect(metrics)).collect();
    assert_eq!(client::get(metrics, "/metrics").status, 200);
    drop(silent);

    let other = Program::new().with("CARDEA_METRICS_LISTEN", &metrics.to_string());
    let error = other.run(&[]).error();
    let said = format!(
        "cannot listen on {metrics} for metrics (another one can be set with --metrics-listen): Address already in use"
    );
    assert!(error.starts_with(&said), "{error}");
    assert!(!other.data_dir().exists());
    let same = Program::new()
        .with("CARDEA_LISTEN", "127.0.0.1:8000")
        .with("CARDEA_METRICS_LISTEN", "127.0.0.1:8000");
    let problems = same.run(&["config", "check"]).stdout;
    assert!(
        problems.contains("CARDEA_METRICS_LISTEN must be another"),
        "{problems}"
    );

    server.stop("TERM").success();
    assert!(TcpListener::bind(metrics).is_ok(), "it is closed");
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("cardea_") || word.starts_with("process_"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_alerts_and_manual_name_metrics_that_are_there() {
    let metered = Metered::with(&[]).await;
    metered.app.gql("{ me { id } }", Value::Null).await;
    let text = metered.text().await;
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let series: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for (file, content) in [("cardea.json", DASHBOARD), ("alerts.yaml", ALERTS)] {
        let found = named(content);
        assert!(found.len() > 8, "{file}: {found:?}");
        for name in found {
            assert!(series.contains(name), "{file} names {name}");
        }
    }
    // Whatever there is has its place on the dashboard.
    let shown = named(DASHBOARD);
    for family in &families {
        let parts = [family.to_string(), format!("{family}_bucket")];
        assert!(
            parts.iter().any(|part| shown.contains(&**part)),
            "{family} is not shown"
        );
    }
    let (_, manual) = OPERATIONS
        .split_once("\n## Metrics\n")
        .expect("the chapter");
    let (manual, _) = manual.split_once("\n## ").unwrap_or((manual, ""));
    let explained: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(explained, families);
    let (names, codes) = (
        metered.operations.all().len(),
        metered.operations.outcomes().len(),
    );
    assert!(manual.contains(&format!("{names} names times {codes} codes")));
}

#[test]
fn every_alert_leads_to_what_to_do() {
    let headings: BTreeSet<String> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("#### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        let (_, anchor) = alert.split_once("docs/OPERATIONS.md#").expect(name);
        let anchor: String = anchor.chars().take_while(|c| *c != '"').collect();
        assert!(headings.contains(anchor.trim()), "{name}: {anchor}");
        assert!(
            OPERATIONS.contains(&format!("`{name}`")),
            "{name} is not explained"
        );
        assert!(alert.contains("summary: "), "{name}");
    }
}
