//! Traces, as a collector gets them from the real program.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use cardea::clock::Clock;
use cardea::db::single_connection;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, config, email};
use crate::harness::collector::{Collector, Mood, Span};
use crate::harness::db::TestDb;
use crate::harness::oauth::{PAGE, provider};
use crate::harness::process::until;
use crate::harness::provider::FakeProvider;
use crate::harness::receiver::Receiver;
use crate::harness::server::LOGIN;
use crate::harness::{Answer, Program, http};

const VERIFY: &str = "mutation($token: String!) { verifyEmail(input: { token: $token }) { \
    result { ... on SignedIn { accessToken refreshToken } } } }";
const ME: &str = "query WhoAmI { me { id email profile { bio } roles { name } } }";

/// The caller's trace, its span, and whether it is kept.
const CALLER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

async fn database() -> TestDb {
    TestDb::new(&config(&[]).database).await
}

/// A server whose every request is traced.
fn program(db: &TestDb, collector: &Collector) -> Program {
    Program::on(&db.url())
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with("OTEL_TRACES_SAMPLER", "always_on")
        .with("CARDEA_ARGON2_MEMORY_KIB", "8")
        .with("CARDEA_ARGON2_PASSES", "1")
}

/// None of these stands anywhere in what the collector got, and no event does.
#[track_caller]
fn assert_silent(collector: &Collector, words: &[&str]) {
    assert!(collector.spans().iter().all(|span| span.others == 0));
    for received in collector.received() {
        let text = String::from_utf8_lossy(&received.body).to_lowercase();
        for word in words {
            assert!(!text.contains(&word.to_lowercase()), "{word}: {text}");
        }
    }
}

#[track_caller]
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    match found[..] {
        [span] => span,
        _ => panic!("{} times {name} in {spans:#?}", found.len()),
    }
}

fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    let of = |span: &&Span| span.parent == parent.id && span.trace == parent.trace;
    spans.iter().filter(of).collect()
}

fn named(spans: &[&Span]) -> Vec<String> {
    let mut names: Vec<_> = spans.iter().map(|span| span.name.clone()).collect();
    names.sort();
    names
}

fn exchange(address: std::net::SocketAddr, head: &str) -> Answer {
    use std::io::Write as _;
    let mut stream = http::connect(address);
    let request = format!(
        "GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    http::read(stream)
}

#[track_caller]
fn assert_resources(collector: &Collector) {
    for resource in collector.resources() {
        assert_eq!(resource["service.name"], "accounts");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(resource["service.instance.id"].len(), 36);
    }
}

/// The mail of a registration is a trace of its own.
#[track_caller]
fn assert_job(spans: &[Span]) {
    let job = one(spans, "job verify_email");
    assert_eq!((job.kind, &*job.parent), (5, ""));
    assert_eq!(job.attributes["cardea.job.attempt"], "1");
    let parts = named(&children(spans, job));
    for part in ["mail.send", "INSERT verification_tokens", "DELETE jobs"] {
        assert!(parts.iter().any(|name| name == part), "{part}: {parts:?}");
    }
}

/// The request with this id and its statement, where `me` took just one.
fn asked_once<'a>(spans: &'a [Span], id: &'a str) -> Option<(&'a str, &'a Span, &'a Span)> {
    let is_its = |span: &&Span| {
        let of = span.attributes.get("cardea.request.id");
        of.is_some_and(|of| of == id)
    };
    let request = spans.iter().find(is_its).expect("it has a span");
    let parts = children(spans, request);
    let [operation] = parts[..] else {
        panic!("{parts:#?}");
    };
    assert_eq!(operation.name, "query me");
    let statements = children(spans, operation);
    (named(&statements) == ["SELECT users"]).then(|| (id, request, statements[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_trace_of_its_operation_its_hashes_and_its_statements() {
    let (db, collector) = (database().await, Collector::new().await);
    let program = program(&db, &collector).with("OTEL_SERVICE_NAME", "accounts");
    let program = program.with("CARDEA_LOG", "debug");
    let server = program.serve();
    server.register("ada");
    let mailed = server.mailed_token(&email("ada"));
    let verified = server.gql(VERIFY, &json!({ "token": mailed }));
    let result = verified.data("verifyEmail/result").clone();
    let text = |name: &str| result[name].as_str().expect("a token").to_owned();
    let (first, refresh) = (text("accessToken"), text("refreshToken"));
    let second = server.login(&email("ada"), PASSWORD);
    // The first one fills what is remembered of roles; a server that lacks the processor for a while forgets it again.
    let asked = (0..8).map(|_| server.gql_as(&second, ME));
    let asked: Vec<_> = asked.collect();
    let me = asked.last().expect("an answer");
    assert_eq!(me.data("me/email"), &json!(email("ada")));
    server.get("/health/ready");
    server.get("/health/live");
    let nowhere = server.get("/nowhere/ada@example.org?token=hunter2");
    assert_eq!(nowhere.status, 404);
    // All of it is of the last seconds, and on its way when the server is told to end.
    let told = server.stop("TERM");
    let log = told.stderr.clone();
    told.success();

    let spans = collector.spans();
    let login = one(&spans, "mutation login");
    let request = spans.iter().find(|span| span.id == login.parent);
    let request = request.expect("it came by a request");
    assert_eq!((&*request.name, request.kind), ("POST /graphql", 2));
    assert_eq!(request.parent, "");
    assert_eq!(request.trace, login.trace);
    assert_eq!(request.attributes["http.request.method"], "POST");
    assert_eq!(request.attributes["http.route"], "/graphql");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert_eq!(login.attributes["graphql.operation.type"], "mutation");
    assert_eq!(login.attributes["graphql.operation.name"], "login");
    assert_eq!(login.attributes["cardea.graphql.code"], "OK");
    let parts = named(&children(&spans, login));
    for part in [
        "password.queue",
        "password.hash",
        "BEGIN",
        "COMMIT",
        "INSERT sessions",
    ] {
        assert!(parts.iter().any(|name| name == part), "{part}: {parts:?}");
    }
    let hashes = children(&spans, login);
    let hash = hashes.iter().find(|span| span.name == "password.hash");
    assert!(hash.is_some_and(|hash| hash.nanos > 0));

    // One statement, as docs/ARCHITECTURE.md promises.
    let ids = asked.iter().filter_map(|me| me.header("x-request-id"));
    let once = ids.filter_map(|id| asked_once(&spans, id)).next_back();
    let (id, request, statement) = once.expect("one that asked once");
    assert_eq!(statement.kind, 3);
    assert_eq!(statement.attributes["db.system.name"], "postgresql");
    assert_eq!(statement.attributes["db.operation.name"], "SELECT");
    assert_eq!(statement.attributes["db.collection.name"], "users");
    // A line of the log leads to the trace.
    let line = log
        .lines()
        .find(|line| line.contains(id) && line.contains("Answered"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains(&format!("trace_id=\"{}\"", request.trace)),
        "{line}"
    );

    assert_job(&spans);

    // What has no route has no path, and probes have no spans.
    assert!(!one(&spans, "GET").attributes.contains_key("http.route"));
    let probes = |span: &Span| span.name.contains("/health");
    assert!(!spans.iter().any(probes));
    assert_resources(&collector);

    // Nobody is in it.
    let uuid = db.text("SELECT id::text FROM users").await;
    assert_silent(
        &collector,
        &[
            "example.org",
            PASSWORD,
            &mailed,
            &first,
            &second,
            &refresh,
            &uuid,
            "127.0.0.1",
            "hunter2",
            "whoami",
            "argon2",
            "nowhere",
            // Shorter words stand in ids by chance.
            "= $1",
            "($1",
            "binds",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_marked_and_says_nothing_of_values() {
    let (db, collector) = (database().await, Collector::new().await);
    let program = program(&db, &collector);
    let server = program.serve();
    server.register("ada");
    let wrong = json!({ "input": { "identifier": email("ada"), "password": "Wrong-Horse-7" } });
    server.gql(LOGIN, &wrong);
    server.gql("{ me { id } } # {", &Value::Null);
    server.gql("{ nothing }", &Value::Null);
    db.sql("ALTER TABLE login_events RENAME TO gone_events; ALTER TABLE rate_limits RENAME TO gone_limits")
        .await;
    let failed = server.gql(LOGIN, &wrong);
    assert_eq!(failed.codes(), ["INTERNAL_SERVER_ERROR"]);
    server.stop("TERM").success();

    let spans = collector.spans();
    let code = |span: &Span| span.attributes["cardea.graphql.code"].clone();
    let logins: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "mutation login")
        .map(|span| (code(span), span.is_error))
        .collect();
    let refused = ("INVALID_CREDENTIALS".to_owned(), false);
    let broken = ("INTERNAL_SERVER_ERROR".to_owned(), true);
    assert_eq!(logins, [refused, broken]);
    assert_eq!(
        code(one(&spans, "query _unknown")),
        "GRAPHQL_VALIDATION_FAILED"
    );
    let statements = spans
        .iter()
        .filter(|span| span.is_error && span.attributes.contains_key("db.system.name"));
    let kinds: Vec<_> = statements
        .map(|span| span.attributes["error.type"].as_str())
        .collect();
    assert!(kinds.contains(&"database_error"), "{kinds:?}");
    assert_silent(
        &collector,
        &["does not exist", "wrong-horse", "example.org"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_end_nobody_waits_for_is_marked() {
    let (db, collector) = (database().await, Collector::new().await);
    let program = program(&db, &collector).with("CARDEA_REQUEST_TIMEOUT_SECS", "1");
    let server = program.serve();
    server.register("ada");
    // The job is done with.
    server.mailed_token(&email("ada"));
    let mut holder = single_connection(&db.url()).await.expect("connected");
    let lock = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("locked");
    let input = json!({ "input": { "identifier": email("ada"), "password": PASSWORD } });
    assert_eq!(server.gql(LOGIN, &input).codes(), ["SERVICE_UNAVAILABLE"]);
    drop(holder);
    server.stop("TERM").success();

    let spans = collector.spans();
    let login = &one(&spans, "mutation login").trace;
    let failed = |span: &&Span| {
        span.is_error && span.attributes.contains_key("db.system.name") && span.trace == *login
    };
    let failed: Vec<_> = spans.iter().filter(failed).collect();
    let kinds: Vec<_> = failed
        .iter()
        .map(|span| &*span.attributes["error.type"])
        .collect();
    assert_eq!(kinds, ["unfinished"], "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_says_which_trace_a_request_belongs_to() {
    let (db, collector) = (database().await, Collector::new().await);
    let parent = |flags: &str| format!("traceparent: 00-{CALLER}-{CALLERS_SPAN}-{flags}\r\n");
    // Nobody but the proxy has anything traced.
    let followed = program(&db, &collector)
        .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "0")
        .with("CARDEA_TRUSTED_PROXIES", "127.0.0.1");
    let server = followed.serve();
    exchange(server.address, "");
    exchange(server.address, &parent("00"));
    for broken in [
        format!("traceparent: 00-{}-{CALLERS_SPAN}-01\r\n", "0".repeat(32)),
        format!("traceparent: 00-{CALLER}-{CALLERS_SPAN}\r\n"),
        format!("traceparent: ff-{CALLER}-{CALLERS_SPAN}-01\r\n"),
        "traceparent: \u{fffd}\r\n".to_owned(),
        format!("{0}{0}", parent("01")),
    ] {
        assert_eq!(exchange(server.address, &broken).status, 200, "{broken}");
    }
    exchange(server.address, &parent("01"));
    server.stop("TERM").success();
    let spans = collector.spans();
    let request = one(&spans, "GET /graphql");
    assert_eq!((&*request.trace, &*request.parent), (CALLER, CALLERS_SPAN));
    assert_eq!(one(&spans, "query __typename").trace, CALLER);
    assert_eq!(spans.len(), 2, "{spans:#?}");

    // Whoever is no proxy has nothing traced by asking for it, and nothing left out.
    let (strict, none) = (Collector::new().await, Collector::new().await);
    let ignored = program(&db, &none)
        .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "0")
        .with("CARDEA_TRUSTED_PROXIES", "192.0.2.0/24");
    let server = ignored.serve();
    exchange(server.address, &parent("01"));
    server.stop("TERM").success();
    assert_eq!(none.received().len(), 0);
    let ignored = program(&db, &strict).with("OTEL_TRACES_SAMPLER", "parentbased_always_on");
    let server = ignored.serve();
    exchange(server.address, &parent("00"));
    server.stop("TERM").success();
    let spans = strict.spans();
    let request = one(&spans, "GET /graphql");
    assert!(request.parent.is_empty() && request.trace != CALLER);

    // Nor does the proxy where the sampler does not follow: not even by the id, which a ratio goes by.
    let own = Collector::new().await;
    let ignored = program(&db, &own)
        .with("OTEL_TRACES_SAMPLER", "traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "1")
        .with("CARDEA_TRUSTED_PROXIES", "127.0.0.1");
    let server = ignored.serve();
    exchange(server.address, &parent("01"));
    server.stop("TERM").success();
    let spans = own.spans();
    let request = one(&spans, "GET /graphql");
    assert!(request.parent.is_empty() && request.trace != CALLER);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_traced_unless_it_is_asked_for() {
    let (db, collector) = (database().await, Collector::new().await);
    // An empty variable is as none (OpenTelemetry, "Environment variable specification").
    let program = program(&db, &collector).with("OTEL_EXPORTER_OTLP_ENDPOINT", "");
    let program = program.with("CARDEA_LOG", "trace");
    let server = program.serve();
    server.register("ada");
    let answer = exchange(server.address, "");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let told = server.stop("TERM");
    assert_eq!(collector.received().len(), 0);
    assert!(told.stderr.contains(&format!(
        "request{{id=\"{id}\" method=GET path=\"/graphql\"}}"
    )));
    for span in [
        "trace_id",
        "operation{",
        "statement{",
        "password.",
        "cardea-trace",
    ] {
        assert!(!told.stderr.contains(span), "{span}");
    }
    told.success();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_the_same_beside_traces() {
    let (db, collector) = (database().await, Collector::new().await);
    let program = program(&db, &collector)
        .with("CARDEA_LOG", "debug")
        .with("CARDEA_LOG_FORMAT", "json");
    let server = program.spawn(&[], "");
    let address = until("the address", || {
        let told = server.stderr.text();
        let (_, rest) = told.split_once("\"listen\":\"")?;
        rest.split_once('"')?.0.parse().ok()
    });
    let answer = exchange(address, "");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    server.signal("TERM");
    let told = server.wait();
    let lines: Vec<Value> = told
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of_it: Vec<_> = lines
        .iter()
        .filter(|line| line["span"]["id"] == *id)
        .collect();
    let spans = collector.spans();
    let request = one(&spans, "GET /graphql");
    let span = json!({
        "name": "request", "id": id, "method": "GET", "path": "/graphql", "trace_id": request.trace,
    });
    assert_eq!(of_it.len(), 1, "{of_it:?}");
    assert_eq!(of_it[0]["span"], span);
    assert_eq!(of_it[0]["spans"], json!([span]));
    assert_eq!(told.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_costs_spans_and_nothing_else() {
    let db = database().await;
    let collector = Collector::new().await;
    let away = "http://127.0.0.1:1";
    let hanging = collector.url();
    for (mood, url, said) in [
        (Mood::Says(503), &*hanging, "answered 503"),
        (Mood::Takes, away, "Connection refused"),
        (Mood::Hangs, &*hanging, ""),
    ] {
        collector.mood(mood);
        let program = program(&db, &collector)
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            .with("CARDEA_METRICS_LISTEN", "127.0.0.1:0");
        let server = program.serve();
        let metrics = until("the address of the metrics", || {
            let told = server.process.stdout.text();
            let (_, rest) = told.split_once("Metrics     http://")?;
            rest.split_once("/metrics")?.0.parse().ok()
        });
        let count = |name: &str| {
            let text = http::get(metrics, "/metrics").text;
            let line = text.lines().find(|line| line.starts_with(name));
            let (_, count) = line.and_then(|line| line.split_once(' ')).expect(name);
            count.parse::<u64>().expect("a number")
        };
        assert_eq!(exchange(server.address, "").status, 200);
        if mood == Mood::Hangs {
            // Two spans each: more than wait, and go out with the first batch.
            for _ in 0..1500 {
                let begun = Instant::now();
                assert_eq!(exchange(server.address, "").status, 200);
                assert!(begun.elapsed() < Duration::from_secs(1));
            }
        }
        until("spans that are lost", || {
            (count("cardea_trace_spans_lost_total") >= 2).then_some(())
        });
        assert_eq!(count("cardea_trace_spans_sent_total"), 0);
        exchange(server.address, "");
        let begun = Instant::now();
        let told = server.stop("TERM");
        assert!(begun.elapsed() < Duration::from_secs(6), "{mood:?}");
        let warnings = told.stderr.matches("The collector took no traces").count();
        // One line, however many batches.
        assert!(warnings <= 1, "{}", told.stderr);
        assert!(mood == Mood::Hangs || warnings == 1, "{}", told.stderr);
        assert!(told.stderr.contains(said), "{}", told.stderr);
        told.success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_gets_spans_again() {
    let (db, collector) = (database().await, Collector::new().await);
    collector.mood(Mood::Says(500));
    let program = program(&db, &collector);
    let server = program.serve();
    exchange(server.address, "");
    until("a refusal", || {
        server
            .process
            .stderr
            .text()
            .contains("answered 500")
            .then_some(())
    });
    let before = collector.received().len();
    collector.mood(Mood::Takes);
    exchange(server.address, "");
    until("the word that it takes them", || {
        let told = server.process.stderr.text();
        told.contains("takes traces again; ").then_some(())
    });
    assert!(collector.received().len() > before);
    server.stop("TERM").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_gets_the_headers_of_the_settings_and_nobody_sees_them() {
    let (db, collector) = (database().await, Collector::new().await);
    let tenant = format!("{}/tenant/a", collector.url());
    let program = program(&db, &collector)
        .with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &tenant)
        .with(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-api-key=hunter2%2Cwith%20commas, X-Tenant = a",
        )
        .with("CARDEA_LOG", "trace");
    let server = program.serve();
    exchange(server.address, "");
    let told = server.stop("TERM");
    let headers: HeaderMap = collector.received().remove(0).headers;
    assert_eq!(headers["x-api-key"], "hunter2,with commas");
    assert_eq!(headers["x-tenant"], "a");
    assert_eq!(headers["user-agent"], "cardea");
    assert!(!told.stderr.contains("hunter2"), "{}", told.stderr);
    told.success();
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_providers_are_traced_without_their_addresses() {
    let (db, collector) = (database().await, Collector::new().await);
    let crm = Receiver::new().await;
    let acme = FakeProvider::new(&Clock::system()).await;
    let program = program(&db, &collector)
        .with("CARDEA_WEBHOOKS", &json!([crm.setting("crm")]).to_string())
        .with(
            "CARDEA_OIDC_PROVIDERS",
            &json!([provider("acme", &acme.url)]).to_string(),
        )
        .with("CARDEA_OAUTH_REDIRECT_URIS", PAGE);
    let server = program.serve();
    server.register("ada");
    let mailed = server.mailed_token(&email("ada"));
    server.gql(VERIFY, &json!({ "token": mailed }));
    until("the event", || (crm.count() > 0).then_some(()));
    let start = "mutation($input: StartOAuthSignInInput!) { startOAuthSignIn(input: $input) { errors { code } } }";
    let input = json!({ "input": { "provider": "acme", "redirectUri": PAGE } });
    let started = server.gql(start, &input);
    assert_eq!(started.data("startOAuthSignIn/errors"), &json!([]));
    server.stop("TERM").success();

    let spans = collector.spans();
    let delivered = spans.iter().find(|span| span.name == "webhook.deliver");
    let delivered = delivered.expect("it was delivered");
    assert_eq!((delivered.kind, &*delivered.parent), (3, ""));
    assert_eq!(delivered.attributes["cardea.webhook.name"], "crm");
    assert_eq!(delivered.attributes["http.response.status_code"], "204");
    let begun = one(&spans, "mutation startOAuthSignIn");
    let calls = children(&spans, begun);
    let call = calls.iter().find(|span| span.name == "GET");
    let call = call.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(call.kind, 3);
    assert_eq!(call.attributes["server.address"], "127.0.0.1");
    assert_eq!(call.attributes["http.response.status_code"], "200");
    assert_silent(
        &collector,
        &["/hook", ".well-known", "whsec", "example.org"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_without_the_span_that_began_it_and_its_events_have_their_own() {
    use std::io::{Read as _, Write as _};
    let (db, collector) = (database().await, Collector::new().await);
    let program = program(&db, &collector);
    let server = program.serve();
    server.register("ada");
    let mailed = server.mailed_token(&email("ada"));
    let verified = server.gql(VERIFY, &json!({ "token": mailed }));
    let token = verified.data("verifyEmail/result/accessToken");
    let token = token.as_str().expect("a token");
    let subscription = "subscription { sessionRevoked { sessionId } }";
    let asked = http::post(server.address, Some(token), subscription, &Value::Null);
    let asked = asked.replace(
        "Accept: application/graphql-response+json",
        "Accept: text/event-stream",
    );
    let mut stream = http::connect(server.address);
    stream.write_all(asked.as_bytes()).expect("it reads");
    // It is open, and what began it was sent all the same.
    until("the spans of the beginning", || {
        let spans = collector.spans();
        let begun = spans
            .iter()
            .find(|span| span.name == "subscription sessionRevoked")?;
        spans
            .iter()
            .any(|span| span.id == begun.parent)
            .then_some(())
    });
    let ended = server.gql_as(token, "mutation { logout { errors { code } } }");
    assert_eq!(ended.data("logout/errors"), &json!([]));
    let mut told = String::new();
    stream.read_to_string(&mut told).expect("to its end");
    assert!(told.contains("event: next"), "{told}");
    server.stop("TERM").success();
    let spans = collector.spans();
    let event = one(&spans, "event sessionRevoked");
    assert_eq!(event.parent, "");
    let began = one(&spans, "subscription sessionRevoked");
    assert_ne!(event.trace, began.trace);
}

#[test]
fn settings_that_cannot_hold_are_named_and_not_repeated() {
    let check = |name: &'static str, value: &str| {
        let program = Program::new().with(name, value);
        program.run(&["config", "check"]).stdout
    };
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://hunter2:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a:hunter2@b"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,x y=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0ab: c"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
    ] {
        let told = check(name, value);
        assert!(told.starts_with(&format!("{name} must ")), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let sound = check("OTEL_TRACES_SAMPLER", "traceidratio");
    assert_eq!(sound, "The settings are sound.\n");
    let program = Program::new()
        .with("CARDEA_MODE", "production")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
        .with("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2");
    let told = program.run(&["config", "check"]).stdout;
    assert!(
        told.contains("OTEL_EXPORTER_OTLP_HEADERS would go in the clear"),
        "{told}"
    );
}
