//! Server-sent events: how a stream begins, what comes by it, and how it ends.

use std::time::Duration;

use axum::body::Body;
use cardea::http;
use cardea::live::Times;
use serde_json::Value;

use crate::harness::socket::{sessions_of, until};
use crate::harness::stream::{EVENTS, Stream, ask};
use crate::harness::{Answer, Client, TestApp};

const SESSIONS: &str = "subscription { sessionRevoked { reason sessionId } }";
/// What urql sends with everything.
const URQL: &str = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed";

async fn stream(app: &TestApp, client: &Client<'_>, query: &str) -> Result<Stream, Box<Answer>> {
    until("the line to the database", || app.app.access.is_believed()).await;
    let bearer = format!("Bearer {}", client.access_token);
    ask(app, EVENTS, query, &[("authorization", &bearer)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_until_the_session_ends() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut stream = stream(&app, &ada, SESSIONS).await.expect("a stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert!(!stream.headers.contains_key("content-encoding"));
    app.db
        .sql(
            "INSERT INTO sessions (id, user_id, refresh_token_hash, created_at, last_accessed_at, authenticated_at, expires_at, methods, remember_me)
             SELECT '00000000-0000-7000-8000-000000000001', id, sha256('x'), now(), now(), now(), now() + interval '1 hour', '{}', false FROM users;
             UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin' WHERE id = '00000000-0000-7000-8000-000000000001'",
        )
        .await;
    let text = stream.text().await;
    let data = text.strip_prefix("event: next\ndata: ").expect("an event");
    let data: Value = serde_json::from_str(data.trim_end()).expect("JSON");
    assert_eq!(data["data"]["sessionRevoked"]["reason"], "ADMIN");
    assert!(
        text.ends_with("\n\n") && text.matches('\n').count() == 3,
        "{text:?}"
    );

    ada.ask("mutation { logout { endedSessions } }").await;
    assert!(
        stream.text().await.contains("\"LOGOUT\""),
        "of its own end it is told"
    );
    let last = stream.text().await;
    assert!(last.contains("\"UNAUTHENTICATED\""), "{last}");
    assert!(last.ends_with("event: complete\ndata:\n\n"), "{last}");
    assert!(stream.next().await.is_none());
    until("a free seat", || app.app.live.seats.taken() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_before_the_stream_is_an_answer_of_its_own() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for (query, status, code) in [
        (
            "subscription { userStatusChanged { userId } }",
            403,
            "FORBIDDEN",
        ),
        (
            "subscription { nothing { id } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { sessionRevoked { reason } again: sessionRevoked { reason } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription {", 400, "GRAPHQL_PARSE_FAILED"),
        ("{ me { id } }", 406, "BAD_USER_INPUT"),
        (
            "mutation { logout { endedSessions } }",
            406,
            "BAD_USER_INPUT",
        ),
    ] {
        let answer = stream(&app, &ada, query).await.err().expect(query);
        assert_eq!(
            (answer.status.as_u16(), answer.codes()),
            (status, vec![code]),
            "{query}"
        );
    }
    let nobody = ask(&app, EVENTS, SESSIONS, &[])
        .await
        .err()
        .expect("refused");
    assert_eq!(
        (nobody.status.as_u16(), nobody.codes()),
        (401, vec!["UNAUTHENTICATED"])
    );
    let cookie = format!("cardea-access={}", ada.access_token);
    let foreign = [
        ("cookie", &*cookie),
        ("origin", "https://evil.example.org"),
        ("graphql-require-preflight", "1"),
    ];
    let foreign = ask(&app, EVENTS, SESSIONS, &foreign)
        .await
        .err()
        .expect("refused");
    assert_eq!(foreign.status, 403);
    let unasked = ask(&app, EVENTS, SESSIONS, &[("cookie", &cookie)]).await;
    assert_eq!(unasked.err().expect("refused").status, 403);
    // By address, which a page may ask for unasked, nothing begins.
    let path = crate::harness::raw::graphql_url(&[("query", SESSIONS)]);
    let got = app
        .raw(
            axum::http::Method::GET,
            &path,
            &[("accept", EVENTS)],
            Body::empty(),
        )
        .await;
    assert_eq!(got.status, 405);
    assert_eq!(app.app.live.seats.taken(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_streams_beside_json_gets_json_for_everything_else() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    until("the line to the database", || app.app.access.is_believed()).await;
    let bearer = format!("Bearer {}", ada.access_token);
    let headers = [("authorization", &*bearer)];
    let answer = ask(&app, URQL, "{ me { username } }", &headers)
        .await
        .err()
        .expect("JSON");
    assert_eq!(answer.data("me/username"), "ada");
    assert!(ask(&app, URQL, SESSIONS, &headers).await.is_ok());
    let refused = ask(
        &app,
        "application/json, text/event-stream;q=0",
        SESSIONS,
        &headers,
    )
    .await;
    assert_eq!(refused.err().expect("JSON").codes(), ["BAD_USER_INPUT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_take_seats_and_give_them_back() {
    let app = TestApp::with(&["--live-connections-per-account=2"]).await;
    let ada = app.user("ada").await;
    let first = stream(&app, &ada, SESSIONS).await.expect("a stream");
    let _second = stream(&app, &ada, SESSIONS).await.expect("a stream");
    let third = stream(&app, &ada, SESSIONS).await.err().expect("too many");
    assert_eq!(
        (third.status.as_u16(), third.codes()),
        (429, vec!["RATE_LIMITED"])
    );
    assert_eq!(third.header("retry-after"), Some("5"));
    drop(first);
    until("a free seat", || app.app.live.seats.taken() == 1).await;
    assert!(stream(&app, &ada, SESSIONS).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_may_have_missed_something_is_cut_and_shows_life_before() {
    let mut app = TestApp::new().await;
    app.app = app.app.with_live_times(Times {
        ping: Duration::from_millis(30),
        ..Times::default()
    });
    app.router = http::router(app.app.clone()).expect("the schema is sound");
    let ada = app.user("ada").await;
    let mut cut = stream(&app, &ada, SESSIONS).await.expect("a stream");
    for _ in 0..3 {
        assert_eq!(cut.text().await, ":\n\n");
    }
    app.db.shut().await;
    let end = async |stream: &mut Stream| loop {
        match stream.next().await {
            Some(Ok(text)) => assert_eq!(text, ":\n\n"),
            end => return end,
        }
    };
    assert_eq!(
        end(&mut cut).await,
        Some(Err(())),
        "not completed: a client comes again"
    );
    app.db.open().await;
    until("the line", || app.app.access.is_believed()).await;
    let mut stopped = stream(&app, &ada, SESSIONS).await.expect("a stream");
    until("a follower", || {
        app.app.live.events.followers(sessions_of(ada.user_id())) == 1
    })
    .await;
    app.app.shutdown.cancel();
    assert_eq!(end(&mut stopped).await, Some(Err(())));
}
