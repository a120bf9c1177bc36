//! The WebSocket of `graphql-transport-ws`: its handshake, who may hold one, and what is said on it. Only
//! subscriptions run on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::auth::requester::Requester;
use crate::graphql::cookie::{Cookies, is_foreign};
use crate::graphql::error::Code;
use crate::graphql::handler::{error_of, token_of, unavailable};
use crate::graphql::live::message::{Close, Said, ack, error, next, pong};
use crate::graphql::live::operation::{Operation, Outcome};
use crate::graphql::live::{Asking, Holder, Watch};
use crate::graphql::metrics::{self, Arrived};
use crate::graphql::params::{Params, Refused};
use crate::graphql::request::Prepared;
use crate::live::Times;
use crate::live::seats::{Full, Seat};
use crate::services::session;

const PROTOCOL: &str = "graphql-transport-ws";
/// Most bytes of a message.
const MAX_MESSAGE: usize = 64 * 1024;
/// What a socket reads and writes at once; most messages are small, and most sockets say nothing.
const BUFFER: usize = 2 * 1024;
/// Most operations of a socket at once.
const MAX_OPERATIONS: usize = 20;
/// Most messages of a client within [`WINDOW`].
const MAX_MESSAGES: u32 = 300;
const WINDOW: Duration = Duration::from_secs(10);
/// How long a client may take to agree that the socket is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether a request is the handshake of a WebSocket.
pub(crate) fn is_asked_for(parts: &Parts) -> bool {
    let upgrade = parts.headers.get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the handshake.
///
/// # Errors
/// `FORBIDDEN` for a page of another site, whatever it brings along; whatever is no handshake of the protocol;
/// when there is no seat.
pub(in crate::graphql) async fn open(
    asking: Asking,
    parts: &mut Parts,
) -> Result<Response, Refused> {
    let app = &asking.app;
    let origins = parts.headers.get_all(header::ORIGIN).iter().count();
    if origins > 1 || is_foreign(&parts.headers, &app.config) {
        let message = "Another site opens this socket; its origin is not in CARDEA_CORS_ORIGINS.";
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            message,
        ));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade =
        upgrade.map_err(|_| Refused::parameter("This is no handshake of a WebSocket."))?;
    let upgrade = upgrade.protocols([PROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let message = "Ask for the sub-protocol `graphql-transport-ws`.";
        return Err(Refused::parameter(message));
    }
    if !app.access.is_believed() {
        return Err(unavailable("There are no events at the moment."));
    }
    let seat = app.live.seats.for_stranger(asking.client.network());
    let seat = seat.map_err(no_seat)?;
    let known = known(&parts.headers, &asking);
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(BUFFER)
        .write_buffer_size(0);
    let span = tracing::Span::current();
    Ok(upgrade.on_upgrade(move |socket| {
        let tasks = asking.app.tasks.clone();
        let talk = Talk::new(socket, asking, seat);
        tasks.track_future(talk.run(known).instrument(span))
    }))
}

/// Why there is no seat.
pub(super) fn no_seat(full: Full) -> Refused {
    match full {
        Full::Server => unavailable("The server holds as many live connections as it may."),
        Full::Account | Full::Network => {
            let message = "Too many live connections.";
            Refused::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, message)
                .with(header::RETRY_AFTER, "5")
        }
    }
}

/// The access token that came with the handshake, for a client that says nothing else.
fn known(headers: &HeaderMap, asking: &Asking) -> Option<SecretString> {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => Some(token_of(value.to_str().ok()?)?.into()),
        None => Cookies::of_handshake(headers, &asking.app.config),
    }
}

struct Talk {
    socket: WebSocket,
    asking: Asking,
    seat: Seat,
    times: Times,
    heard_at: Instant,
    /// Messages since the window began.
    messages: u32,
    window: Instant,
}

/// The end of a talk: with a word to the client, or without one where nobody is there any more.
type End = Option<Close>;

impl Talk {
    fn new(socket: WebSocket, asking: Asking, seat: Seat) -> Self {
        let (times, now) = (asking.app.live.times, Instant::now());
        Self {
            socket,
            asking,
            seat,
            times,
            heard_at: now,
            messages: 0,
            window: now,
        }
    }

    async fn run(mut self, known: Option<SecretString>) {
        let end = match self.greet(known).await {
            Ok(holder) => self.serve(&holder).await,
            Err(end) => end,
        };
        if let Some(close) = end {
            tracing::debug!(code = close.code, "Closed a socket: {}", close.reason);
            if self.send(close.message()).await.is_err() {
                return;
            }
        }
        // Who closes is answered, and who is closed answers (RFC 6455, section 5.5.1): reading does the one, and
        // waits for the other. Whether the client agrees or not, the connection goes.
        let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = tokio::time::timeout(FAREWELL, answered).await;
    }

    /// Waits until the client has said who it is.
    async fn greet(&mut self, known: Option<SecretString>) -> Result<Arc<Holder>, End> {
        let shutdown = self.asking.app.shutdown.clone();
        let deadline = Instant::now() + self.times.init;
        loop {
            let said = tokio::select! {
                () = shutdown.cancelled() => return Err(Some(Close::STOPPING)),
                said = self.hear() => said?,
                () = tokio::time::sleep_until(deadline) => return Err(Some(Close::NO_INIT)),
            };
            match said {
                Some(Said::Init(payload)) => {
                    let holder = self.recognise(&payload, known).await.map_err(Some)?;
                    self.send(ack()).await?;
                    return Ok(holder);
                }
                Some(Said::Subscribe(..)) => return Err(Some(Close::UNAUTHORIZED)),
                Some(Said::Ping) => self.send(pong()).await?,
                Some(Said::Pong | Said::Complete(_)) | None => {}
            }
        }
    }

    /// Whose session it is.
    async fn recognise(
        &mut self,
        payload: &Map<String, Value>,
        known: Option<SecretString>,
    ) -> Result<Arc<Holder>, Close> {
        let given = ["Authorization", "authorization"].map(|name| payload.get(name));
        let token = match given.into_iter().flatten().find(|value| !value.is_null()) {
            None => known,
            Some(Value::String(text)) => match text.trim() {
                // What a page says that has no token yet.
                text if text.is_empty() || text.eq_ignore_ascii_case("bearer") => known,
                text => Some(token_of(text).ok_or(Close::FORBIDDEN)?.into()),
            },
            Some(_) => return Err(Close::FORBIDDEN),
        };
        let token = token.ok_or(Close::FORBIDDEN)?;
        let Asking { app, client, .. } = &self.asking;
        let actor = match session::authenticate(app, client, token.expose_secret()).await {
            Ok(Some(Requester::User(actor))) => actor,
            Ok(Some(Requester::Unproven(_))) => return Err(Close::TWO_FACTOR),
            Ok(Some(Requester::Anonymous) | None) => return Err(Close::FORBIDDEN),
            Err(_) => return Err(Close::UNAVAILABLE),
        };
        let seated = self.seat.pass_to(actor.user_id());
        seated.map_err(|_| Close::TOO_MANY)?;
        Ok(Holder::new(self.asking.clone(), &actor))
    }

    /// Serves a client that is known, until the end.
    async fn serve(&mut self, holder: &Arc<Holder>) -> End {
        let mut watch = Watch::new(holder);
        let mut operations = Operations::default();
        let mut idle_since = Instant::now();
        let mut ping_at = Instant::now() + self.times.ping;
        loop {
            let result = tokio::select! {
                biased;
                // Before the end of the session, which may be the last thing to tell of.
                Some((id, outcome)) = operations.streams.next() => match outcome {
                    Outcome::Next(result) => self.send(next(&id, &result)).await,
                    Outcome::Failed(errors) => {
                        operations.names.remove(&id);
                        idle_since = Instant::now();
                        self.send(error(&id, &errors)).await
                    }
                    Outcome::Ended(ending) => Err(Some(ending.into())),
                },
                ending = watch.ended() => Err(Some(ending.into())),
                said = self.hear() => match said {
                    Ok(Some(said)) => {
                        idle_since = Instant::now();
                        self.reply(said, holder, &mut operations).await
                    }
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                },
                () = tokio::time::sleep_until(ping_at) => {
                    ping_at = Instant::now() + self.times.ping;
                    if self.heard_at.elapsed() > self.times.silence {
                        Err(Some(Close::SILENT))
                    } else if operations.names.is_empty() && idle_since.elapsed() > self.times.idle {
                        Err(Some(Close::IDLE))
                    } else {
                        self.send(Message::Ping(axum::body::Bytes::new())).await
                    }
                },
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn reply(
        &mut self,
        said: Said,
        holder: &Arc<Holder>,
        operations: &mut Operations,
    ) -> Result<(), End> {
        match said {
            Said::Init(_) => Err(Some(Close::SECOND_INIT)),
            Said::Ping => self.send(pong()).await,
            Said::Pong => Ok(()),
            Said::Complete(id) => {
                if let Some(stop) = operations.names.remove(&id) {
                    stop.cancel();
                }
                Ok(())
            }
            Said::Subscribe(id, _) if operations.names.contains_key(&id) => {
                Err(Some(Close::SAME_ID))
            }
            Said::Subscribe(id, params) => {
                match begin(holder, params, operations.names.len()).await {
                    Ok(operation) => {
                        operations.add(id, operation);
                        Ok(())
                    }
                    Err(Outcome::Ended(ending)) => Err(Some(ending.into())),
                    Err(Outcome::Failed(errors)) => self.send(error(&id, &errors)).await,
                    Err(Outcome::Next(result)) => self.send(next(&id, &result)).await,
                }
            }
        }
    }

    /// What the client says next; `None` for a mere sign of life. May be given up.
    async fn hear(&mut self) -> Result<Option<Said>, End> {
        let message = match self.socket.recv().await {
            None => return Err(None),
            Some(Err(error)) => return Err(broken(error)),
            Some(Ok(message)) => message,
        };
        self.heard_at = Instant::now();
        if self.window.elapsed() > WINDOW {
            (self.window, self.messages) = (self.heard_at, 0);
        }
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(Some(Close::FLOOD));
        }
        match message {
            Message::Text(text) => Said::read(&text).map(Some).map_err(Some),
            Message::Binary(_) => Err(Some(Close::BINARY)),
            Message::Ping(_) | Message::Pong(_) => Ok(None),
            Message::Close(_) => Err(None),
        }
    }

    /// Sends a message to a client that takes it in time.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let sent = tokio::time::timeout(self.times.write, self.socket.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }
}

/// What a socket is closed with that does not speak as it should.
fn broken(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Some(Close::TOO_LARGE),
        Some(tungstenite::Error::Utf8(_)) => Some(Close::NOT_UTF8),
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => None,
        Some(tungstenite::Error::Protocol(_)) => Some(Close::BROKEN),
        _ => None,
    }
}

/// The operations of a socket.
#[derive(Default)]
struct Operations {
    streams: SelectAll<BoxStream<'static, (String, Outcome)>>,
    /// What ends each.
    names: HashMap<String, CancellationToken>,
}

impl Operations {
    fn add(&mut self, id: String, operation: Operation) {
        let stop = CancellationToken::new();
        self.names.insert(id.clone(), stop.clone());
        let outcomes = unfold(operation, |mut operation| async move {
            let outcome = operation.next().await?;
            Some((outcome, operation))
        });
        let outcomes = outcomes.map(move |outcome| (id.clone(), outcome));
        let outcomes = outcomes.take_until(stop.cancelled_owned());
        self.streams.push(outcomes.boxed());
    }
}

async fn begin(holder: &Arc<Holder>, params: Params, running: usize) -> Result<Operation, Outcome> {
    let mut arrived = holder.asking.api.operations().arrived();
    arrived.is_read();
    let begun = begin_new(holder, params, running, &mut arrived).await;
    arrived.answered(match &begun {
        Ok(_) => metrics::Outcome::OK,
        Err(outcome) => outcome.counts_as(),
    });
    begun
}

async fn begin_new(
    holder: &Arc<Holder>,
    params: Params,
    running: usize,
    arrived: &mut Arrived,
) -> Result<Operation, Outcome> {
    if running >= MAX_OPERATIONS {
        let message = format!("A socket has at most {MAX_OPERATIONS} operations at once.");
        return Err(holder.failed(Code::RateLimited, &message));
    }
    let Asking {
        app,
        api,
        request_id,
        ..
    } = &holder.asking;
    let only = |kind| {
        if kind == OperationType::Subscription {
            return Ok(());
        }
        let message = "Only subscriptions run on a socket: send queries and mutations by POST.";
        Err(Refused::by_graphql(Code::MethodNotAllowed, message))
    };
    let prepared = Prepared::new(app, api, params, only).map_err(|refused| {
        Outcome::Failed(vec![error_of(refused.code, &refused.message, request_id)])
    })?;
    arrived.asks_for(prepared.place_in(api.operations()));
    let begun = Operation::begin(holder, prepared);
    begun.instrument(arrived.span().clone()).await
}
