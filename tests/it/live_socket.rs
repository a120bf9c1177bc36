//! The WebSocket: every rule of `graphql-transport-ws`, who may hold one, and how much of it.

use std::time::Duration;

use cardea::live::Times;
use cardea::live::events::{AccountChanged, Event};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::socket::{Heard, Listening, PROTOCOL, init, sessions_of};

const SESSIONS: &str = "subscription { sessionRevoked { reason sessionId } }";

fn subscribe(id: &str, query: &str) -> Value {
    json!({ "type": "subscribe", "id": id, "payload": { "query": query } })
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_protocol_is_closed_with_its_code() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let text = |text: &str| Message::Text(text.to_owned().into());
    let say = |value: Value| Message::Text(value.to_string().into());
    let known = || say(init(&ada.access_token));
    let large = "x".repeat(65 * 1024);
    let cases = [
        (
            "subscribe before init",
            vec![say(subscribe("1", SESSIONS))],
            4401,
        ),
        ("a false token", vec![say(init("x"))], 4403),
        (
            "no token",
            vec![say(json!({ "type": "connection_init" }))],
            4403,
        ),
        (
            "a token that is none",
            vec![say(
                json!({ "type": "connection_init", "payload": { "Authorization": 7 } }),
            )],
            4403,
        ),
        (
            "a token without its kind",
            vec![say(
                json!({ "type": "connection_init", "payload": { "Authorization": ada.access_token } }),
            )],
            4403,
        ),
        ("init twice", vec![known(), known()], 4429),
        ("bad JSON", vec![text("{")], 4400),
        ("bad JSON later", vec![known(), text("{")], 4400),
        (
            "an unknown type",
            vec![known(), say(json!({ "type": "start", "id": "1" }))],
            4400,
        ),
        ("an array", vec![text("[]")], 4400),
        (
            "binary",
            vec![known(), Message::Binary(vec![1, 2, 3].into())],
            4400,
        ),
        (
            "no id",
            vec![
                known(),
                say(json!({ "type": "subscribe", "payload": { "query": SESSIONS } })),
            ],
            4400,
        ),
        (
            "no query",
            vec![
                known(),
                say(json!({ "type": "subscribe", "id": "1", "payload": {} })),
            ],
            4400,
        ),
        (
            "a long id",
            vec![known(), say(subscribe(&"x".repeat(129), SESSIONS))],
            4400,
        ),
        (
            "one id twice",
            vec![
                known(),
                say(subscribe("1", SESSIONS)),
                say(subscribe("1", SESSIONS)),
            ],
            4409,
        ),
        ("a large message", vec![known(), text(&large)], 1009),
        ("a large message of a stranger", vec![text(&large)], 1009),
        (
            "pings without end",
            std::iter::once(known())
                .chain((0..400).map(|_| say(json!({ "type": "ping" }))))
                .collect(),
            1008,
        ),
        (
            "bare pings without end",
            (0..400).map(|_| Message::Ping(Vec::new().into())).collect(),
            1008,
        ),
    ];
    for (what, messages, code) in cases {
        let mut socket = server.open(&[PROTOCOL]).await.expect("a socket");
        for message in messages {
            socket.send(message).await;
        }
        assert_eq!(socket.closed().await, code, "{what}");
    }
    // In pieces, too, and in letters that are none.
    let mut socket = server.socket(&ada.access_token).await;
    socket.socket.get_mut().writable().await.expect("open");
    socket
        .socket
        .get_mut()
        .try_write(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe])
        .expect("sent");
    assert_eq!(socket.closed().await, 1007);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrong_costs_the_operation_and_not_the_socket() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.socket(&ada.access_token).await;
    assert_eq!(
        socket.response.headers()["sec-websocket-protocol"],
        "graphql-transport-ws"
    );
    let deep = format!("subscription {{ sessionRevoked {} }}", "{ a ".repeat(100));
    for (query, code) in [
        ("{ me { id } }", "METHOD_NOT_ALLOWED"),
        (
            "mutation { logout { endedSessions } }",
            "METHOD_NOT_ALLOWED",
        ),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        (&deep, "QUERY_TOO_COMPLEX"),
        (
            "subscription { nothing { id } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { sessionRevoked { nothing } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { a: sessionRevoked { reason } b: sessionRevoked { reason } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { ... { sessionRevoked { reason } } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { sessionRevoked @skip(if: true) { reason } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription($x: ID!) { userStatusChanged(userId: $x) { userId } }",
            "BAD_USER_INPUT",
        ),
        ("subscription { userStatusChanged { userId } }", "FORBIDDEN"),
    ] {
        socket.say(&subscribe("1", query)).await;
        let said = socket.message().await;
        assert_eq!(
            (&said["type"], &said["id"]),
            (&json!("error"), &json!("1")),
            "{query}"
        );
        assert_eq!(
            said["payload"][0]["extensions"]["code"], code,
            "{query}: {said}"
        );
    }
    let admin = app.admin().await;
    let mut socket = server.socket(&admin.access_token).await;
    let query = "subscription { userStatusChanged(userId: \"x\") { userId } }";
    socket.say(&subscribe("1", query)).await;
    let said = socket.message().await;
    assert_eq!(
        said["payload"][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{said}"
    );
    assert_eq!(said["payload"][0]["path"], json!(["userStatusChanged"]));
    // Nothing was left behind, and the same name is free again.
    socket.subscribe("1", SESSIONS).await;
    server.until_followed(sessions_of(admin.user_id()), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_site_gets_a_socket() {
    let app = TestApp::with(&[
        "--public-url=https://id.example.org",
        "--cors-origins=https://app.example.org",
    ])
    .await;
    let server = Listening::of(&app, Times::default()).await;
    let status = async |headers: &[(&str, &str)]| server.open(headers).await.err();
    for origin in [
        "https://evil.example.org",
        "null",
        "http://id.example.org",
        "https://id.example.org.evil.net",
        "",
    ] {
        assert_eq!(
            status(&[PROTOCOL, ("origin", origin)]).await,
            Some(403),
            "{origin}"
        );
    }
    let twice = [
        PROTOCOL,
        ("origin", "https://id.example.org"),
        ("origin", "https://evil.example.org"),
    ];
    assert_eq!(status(&twice).await, Some(403));
    for origin in ["https://id.example.org", "https://app.example.org"] {
        assert_eq!(
            status(&[PROTOCOL, ("origin", origin)]).await,
            None,
            "{origin}"
        );
    }
    assert_eq!(status(&[PROTOCOL]).await, None, "no browser");
    // The protocol of old lets operations in before anybody is known.
    assert_eq!(
        status(&[("sec-websocket-protocol", "graphql-ws")]).await,
        Some(400)
    );
    assert_eq!(status(&[]).await, Some(400));
    let both = [("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")];
    let socket = server.open(&both).await.expect("a socket");
    assert_eq!(
        socket.response.headers()["sec-websocket-protocol"],
        "graphql-transport-ws"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_let_in_a_page_of_our_own_and_nobody_else() {
    let app = TestApp::with(&["--public-url=http://id.example.org"]).await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let cookie = format!("theme=dark; cardea-access={}", ada.access_token);
    let origin = ("origin", "http://id.example.org");
    for (headers, payload, code) in [
        (vec![("cookie", &*cookie), origin], json!({}), None),
        // What a page says that has no token yet.
        (
            vec![("cookie", &*cookie), origin],
            json!({ "Authorization": "Bearer " }),
            None,
        ),
        (vec![("cookie", &*cookie)], json!({}), Some(4403)),
        (
            vec![("cookie", &*cookie), origin],
            json!({ "authorization": "Bearer x" }),
            Some(4403),
        ),
        (
            vec![origin],
            json!({ "authorization": format!("bearer {}", ada.access_token) }),
            None,
        ),
    ] {
        let headers: Vec<_> = [PROTOCOL].into_iter().chain(headers).collect();
        let mut socket = server.open(&headers).await.expect("a socket");
        socket
            .say(&json!({ "type": "connection_init", "payload": payload }))
            .await;
        match (socket.hear().await, code) {
            (Heard::Said(said), None) => assert_eq!(said["type"], "connection_ack"),
            (Heard::Closed(closed, _), Some(code)) => assert_eq!(closed, code),
            (heard, _) => panic!("{headers:?}: {heard:?}"),
        }
    }
    let bearer = format!("Bearer {}", ada.access_token);
    let mut socket = server
        .open(&[PROTOCOL, ("authorization", &bearer)])
        .await
        .expect("a socket");
    socket.say(&json!({ "type": "connection_init" })).await;
    assert_eq!(
        socket.message().await["type"],
        "connection_ack",
        "an app sends headers"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_owes_a_second_factor_gets_no_socket() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.open(&[PROTOCOL]).await.expect("a socket");
    socket.say(&init(&ada.access_token)).await;
    let second = "A second factor is required".to_owned();
    assert_eq!(socket.hear().await, Heard::Closed(4403, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_closed() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let short = Duration::from_millis(60);
    let long = Times::default();
    let server = Listening::of(
        &app,
        Times {
            init: short,
            ..long
        },
    )
    .await;
    let mut stranger = server.open(&[PROTOCOL]).await.expect("a socket");
    // A ping is no excuse.
    stranger.in_order().await;
    assert_eq!(stranger.closed().await, 4408);

    let server = Listening::of(
        &app,
        Times {
            ping: short,
            idle: short * 3,
            ..long
        },
    )
    .await;
    let mut busy = server.following(&ada, SESSIONS).await;
    let mut idle = server.socket(&ada.access_token).await;
    let nothing = "Idle: nothing is followed".to_owned();
    assert_eq!(idle.hear().await, Heard::Closed(1000, nothing));
    busy.in_order().await;
    busy.say(&json!({ "type": "complete", "id": "1" })).await;
    assert_eq!(busy.closed().await, 1000);

    let server = Listening::of(
        &app,
        Times {
            ping: short,
            silence: short * 2,
            ..long
        },
    )
    .await;
    let mut silent = server.following(&ada, SESSIONS).await;
    // Only who reads answers the pings.
    tokio::time::sleep(short * 8).await;
    assert_eq!(silent.closed().await, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_carries_twenty_operations() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.socket(&ada.access_token).await;
    for id in 1..=20 {
        socket.subscribe(&id.to_string(), SESSIONS).await;
    }
    socket.say(&subscribe("21", SESSIONS)).await;
    let refused = socket.message().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("21"))
    );
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    server.until_followed(sessions_of(ada.user_id()), 20).await;
    socket.say(&json!({ "type": "complete", "id": "7" })).await;
    socket
        .say(&json!({ "type": "complete", "id": "unknown" }))
        .await;
    socket.subscribe("21", SESSIONS).await;
    server.until_followed(sessions_of(ada.user_id()), 20).await;
    drop(socket);
    server.until_followed(sessions_of(ada.user_id()), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_every_seat() {
    let app = TestApp::with(&["--live-connections=4", "--live-connections-per-account=2"]).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let server = Listening::of(&app, Times::default()).await;
    let first = server.socket(&ada.access_token).await;
    let _second = server.socket(&ada.access_token).await;
    let mut third = server.open(&[PROTOCOL]).await.expect("a socket");
    third.say(&init(&ada.access_token)).await;
    let too_many = "The account has too many connections".to_owned();
    assert_eq!(third.hear().await, Heard::Closed(1013, too_many));
    drop(third);
    let _bobs = server.socket(&bob.access_token).await;
    crate::harness::socket::until("a free seat", || server.app.live.seats.taken() == 3).await;
    let stranger = server.open(&[PROTOCOL]).await.expect("the last seat");
    assert_eq!(server.open(&[PROTOCOL]).await.err(), Some(503));
    drop((first, stranger));
    crate::harness::socket::until("free seats", || server.app.live.seats.taken() == 2).await;
    server.socket(&ada.access_token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_up_is_told_to_come_again() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server
        .following(&admin, "subscription { userStatusChanged { userId } }")
        .await;
    // All places to answer are taken, so that events wait.
    let answering = server.app.live.answering.clone();
    let permits = u32::try_from(answering.available_permits()).expect("few");
    let held = answering.acquire_many(permits).await.expect("open");
    for _ in 0..300 {
        server
            .app
            .live
            .events
            .publish(&Event::AccountChanged(AccountChanged {
                id: admin.user_id(),
                active: true,
                erased: false,
            }));
    }
    drop(held);
    assert_eq!(socket.closed().await, 1013);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(server.following(&ada, SESSIONS).await);
    }
    let mut stranger = server.open(&[PROTOCOL]).await.expect("a socket");
    app.app.shutdown.cancel();
    for socket in sockets.iter_mut().chain([&mut stranger]) {
        assert_eq!(socket.closed().await, 1001);
    }
    app.app.tasks.close();
    let ended = tokio::time::timeout(Duration::from_secs(10), app.app.tasks.wait()).await;
    assert!(ended.is_ok(), "a task goes on");
    assert_eq!(app.app.live.seats.taken(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_is_answered_as_ever_beside_sockets() {
    let app = TestApp::new().await;
    let answer = app
        .gql("subscription { sessionRevoked { reason } }", Value::Null)
        .await;
    assert_eq!(answer.status, 406);
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
    assert!(answer.text.contains("text/event-stream"), "{}", answer.text);
    assert!(
        answer.text.contains("graphql-transport-ws"),
        "{}",
        answer.text
    );
    let login = json!({ "input": { "identifier": "nobody", "password": PASSWORD } });
    let login = app
        .gql(
            "mutation($input: LoginInput!) { login(input: $input) { errors { code } } }",
            login,
        )
        .await;
    assert_eq!(login.data("login/errors/0/code"), "INVALID_CREDENTIALS");
}
