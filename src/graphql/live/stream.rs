//! Server-sent events: one subscription, one answer to a POST (`graphql-sse`, distinct connections mode).

use std::fmt::Display;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::graphql::context::Caller;
use crate::graphql::error::Code;
use crate::graphql::handler::{error_of, internal, unavailable};
use crate::graphql::live::operation::{Operation, Outcome};
use crate::graphql::live::{Asking, Ending, Holder, Watch, socket};
use crate::graphql::params::Refused;
use crate::graphql::request::Prepared;

/// Cuts the connection that a request came by, where nobody takes what is sent.
#[derive(Clone, Default)]
pub struct Cut(pub CancellationToken);

type Chunk = io::Result<Bytes>;

/// Begins the stream.
///
/// # Errors
/// Why it does not begin.
pub(in crate::graphql) async fn open(
    asking: Asking,
    prepared: Prepared,
    caller: &Caller,
    cut: Option<Cut>,
) -> Result<Response, Refused> {
    let app = asking.app.clone();
    if !app.access.is_believed() {
        return Err(unavailable("There are no events at the moment."));
    }
    let actor = caller.requester().actor().map_err(|error| {
        let error =
            async_graphql::Error::from(error).into_server_error(async_graphql::Pos::default());
        refused(&serde_json::to_value(error).unwrap_or_default())
    })?;
    let seat = app.live.seats.for_account(actor.user_id());
    let seat = seat.map_err(socket::no_seat)?;
    let holder = Holder::new(asking, actor);
    let watch = Watch::new(&holder);
    let operation = Operation::begin(&holder, prepared).await;
    let operation = operation.map_err(|outcome| match outcome {
        Outcome::Failed(mut errors) => errors
            .drain(..)
            .next()
            .map_or_else(internal, |error| refused(&error)),
        Outcome::Ended(ending) => match error(&holder, ending) {
            Some(error) => refused(&error),
            None => unavailable("Not available now. Try again later."),
        },
        Outcome::Next(_) => internal(),
    })?;
    let (chunks, received) = mpsc::channel(1);
    let pump = Pump {
        chunks,
        cut: cut.unwrap_or_default(),
    };
    app.tasks.spawn(
        async move {
            let (Ok(()) | Err(Gone)) = pump.run(&holder, operation, watch).await;
            drop(seat);
        }
        .in_current_span(),
    );
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept, Authorization, Cookie, Origin"),
        // A proxy that gathers what it passes on would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let chunks = unfold(received, |mut received: mpsc::Receiver<Chunk>| async move {
        let chunk = received.recv().await?;
        Some((chunk, received))
    });
    Ok((StatusCode::OK, headers, Body::from_stream(chunks)).into_response())
}

/// Why no stream begins, as an answer of HTTP.
fn refused(error: &Value) -> Refused {
    let said = error["extensions"]["code"].as_str().unwrap_or_default();
    let code = Code::ALL.into_iter().find(|code| code.as_str() == said);
    let code = code.unwrap_or(Code::InternalServerError);
    let message = error["message"].as_str().unwrap_or_default();
    match code {
        Code::Unauthenticated => Refused::new(StatusCode::UNAUTHORIZED, code, message),
        Code::Forbidden | Code::TwoFactorRequired => {
            Refused::new(StatusCode::FORBIDDEN, code, message)
        }
        Code::ServiceUnavailable => unavailable(message),
        Code::InternalServerError => internal(),
        _ => Refused::by_graphql(code, message),
    }
}

/// What a client is told of the end of its session; nothing where it should come again.
fn error(holder: &Holder, ending: Ending) -> Option<Value> {
    let (code, message) = match ending {
        Ending::Session => (Code::Unauthenticated, "The session has ended."),
        Ending::TwoFactor => (
            Code::TwoFactorRequired,
            "A second factor is compulsory for this account.",
        ),
        Ending::LineLost | Ending::Lagged | Ending::Unavailable | Ending::Stopping => return None,
    };
    Some(error_of(code, message, &holder.asking.request_id))
}

struct Pump {
    chunks: mpsc::Sender<Chunk>,
    cut: Cut,
}

/// Nobody reads any more.
struct Gone;

impl Pump {
    async fn run(
        self,
        holder: &Holder,
        mut operation: Operation,
        mut watch: Watch,
    ) -> Result<(), Gone> {
        let times = holder.app().live.times;
        let patience = times.write;
        // So that the client, and every proxy on the way, sees the answer begin.
        self.send(":\n\n".to_owned(), patience).await?;
        let mut waiting = Box::pin(operation.next());
        loop {
            let outcome = tokio::select! {
                biased;
                () = self.chunks.closed() => return Err(Gone),
                outcome = &mut waiting => outcome.unwrap_or(Outcome::Ended(Ending::Lagged)),
                ending = watch.ended() => Outcome::Ended(ending),
                () = tokio::time::sleep(times.ping) => {
                    self.send(":\n\n".to_owned(), patience).await?;
                    continue;
                }
            };
            let errors = match outcome {
                Outcome::Next(result) => {
                    self.send(event("next", result), patience).await?;
                    drop(waiting);
                    waiting = Box::pin(operation.next());
                    continue;
                }
                Outcome::Failed(errors) => errors,
                Outcome::Ended(ending) => {
                    let Some(error) = error(holder, ending) else {
                        // Cut and not completed: a client that sees this comes again.
                        let cut = io::Error::other("events were lost, or the server stops");
                        let _ = tokio::time::timeout(patience, self.chunks.send(Err(cut))).await;
                        return Ok(());
                    };
                    vec![error]
                }
            };
            let last = event("next", json!({ "errors": errors }));
            return self
                .send(format!("{last}event: complete\ndata:\n\n"), patience)
                .await;
        }
    }

    async fn send(&self, text: String, patience: std::time::Duration) -> Result<(), Gone> {
        let sent = tokio::time::timeout(patience, self.chunks.send(Ok(text.into()))).await;
        if let Ok(sent) = sent {
            return sent.map_err(|_| Gone);
        }
        self.cut.0.cancel();
        Err(Gone)
    }
}

fn event(name: &str, data: impl Display) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
