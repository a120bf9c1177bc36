//! A client for sockets that says exactly what a test wants said, and a server with other time limits.

use cardea::http;
use cardea::http::serve::serve;
use cardea::live::Times;
use cardea::live::events::Topic;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use crate::harness::TestApp;
use crate::harness::client::Client;

pub const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port.
pub struct Listening {
    pub port: u16,
    pub app: cardea::app::App,
    serving: JoinSet<()>,
}

impl Listening {
    /// The server of a test, whose live connections get these times.
    pub async fn of(test: &TestApp, times: Times) -> Self {
        Self::at(test.app.clone(), times, 0).await
    }

    /// A server on this port, or any.
    pub async fn at(app: cardea::app::App, times: Times, port: u16) -> Self {
        let app = app.with_live_times(times);
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = http::router(app.clone()).expect("the schema is sound");
        let mut serving = JoinSet::new();
        let state = app.clone();
        serving.spawn(async move { serve(listener, router, &state).await.expect("threads") });
        until("the line to the database", || app.access.is_believed()).await;
        Self { port, app, serving }
    }

    /// Stops the server in order.
    pub async fn stop(mut self) {
        self.app.shutdown.cancel();
        while self.serving.join_next().await.is_some() {}
    }

    /// Opens a socket with these headers; the status where it is refused.
    pub async fn open(&self, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let url = format!("ws://127.0.0.1:{}/graphql", self.port);
        let mut request = url.into_client_request().expect("an address");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().append(name, value);
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it listens");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, response)) => Ok(Socket { socket, response }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(Error::Protocol(_)) => Err(0),
            Err(error) => panic!("{error}"),
        }
    }

    /// A socket of who holds this access token.
    pub async fn socket(&self, token: &str) -> Socket {
        let mut socket = self.open(&[PROTOCOL]).await.expect("a socket");
        socket.say(&init(token)).await;
        assert_eq!(
            socket.hear().await,
            Heard::Said(json!({ "type": "connection_ack" }))
        );
        socket
    }

    /// A socket of a client that follows `query` as `"1"`.
    pub async fn following(&self, client: &Client<'_>, query: &str) -> Socket {
        let mut socket = self.socket(&client.access_token).await;
        socket.subscribe("1", query).await;
        socket
    }

    /// Waits until so many follow a topic.
    pub async fn until_followed(&self, topic: Topic, many: usize) {
        until("followers", || {
            self.app.live.events.followers(topic) == many
        })
        .await;
    }
}

pub fn init(token: &str) -> Value {
    json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })
}

/// Waits for something that must come about.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, holding).await;
    held.unwrap_or_else(|_| panic!("{what} never came"));
}

/// A socket as a client holds it.
pub struct Socket {
    pub socket: WebSocketStream<TcpStream>,
    pub response: Response,
}

/// What comes by a socket; frames that only show life are passed over.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Said(Value),
    Closed(u16, String),
    Cut,
}

impl Socket {
    pub async fn say(&mut self, message: &Value) {
        self.send(Message::Text(message.to_string().into())).await;
    }

    /// Sends a frame, whatever it is; one that the server does not take any more is lost.
    pub async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// What the server says next.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            return match message.expect("the server says something in time") {
                Some(Ok(Message::Text(text))) => {
                    Heard::Said(serde_json::from_str(&text).expect("JSON"))
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    assert!(frame.reason.len() <= 123, "{}", frame.reason);
                    Heard::Closed(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("{other}"),
                Some(Err(_)) | None => Heard::Cut,
            };
        }
    }

    /// What the server says next, which is a message.
    pub async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Said(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The code that the socket is closed with, after whatever is said before.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Heard::Said(_) => {}
                Heard::Closed(code, _) => return code,
                Heard::Cut => return 1006,
            }
        }
    }

    /// Follows something; comes back once it does.
    pub async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.say(&json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await;
        self.in_order().await;
    }

    /// Waits until everything said so far was dealt with.
    pub async fn in_order(&mut self) {
        self.say(&json!({ "type": "ping" })).await;
        assert_eq!(self.hear().await, Heard::Said(json!({ "type": "pong" })));
    }
}

/// The account's topic for sessions that end.
pub fn sessions_of(user: Uuid) -> Topic {
    Topic::SessionsOf(user)
}
