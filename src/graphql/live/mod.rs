//! Live events over WebSocket and server-sent events: whose connection it is, when it ends, and what runs on
//! it. What happened comes from `crate::live`; what a client sees of it, `subscription` says.

mod message;
mod operation;
pub mod socket;
pub mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo, Requester};
use crate::graphql::Api;
use crate::graphql::context::RequestId;
use crate::live::events::{Event, Follower, Topic};
use crate::services::session;

/// How long a connection waits for the event that tells why its session ended: notifications of one change come
/// one after the other, and what ends a session may be told before that it did.
const LAST_WORD: Duration = Duration::from_millis(250);

/// A request for a live connection.
#[derive(Clone)]
pub struct Asking {
    /// The application.
    pub app: App,
    /// The schema.
    pub api: Api,
    /// Names the connection in the log and in errors.
    pub request_id: RequestId,
    /// From where it comes.
    pub client: ClientInfo,
}

/// Whose connection it is: that of a session, for as long as that lives.
pub(super) struct Holder {
    asking: Asking,
    session: Uuid,
    user: Uuid,
}

impl Holder {
    fn new(asking: Asking, actor: &Actor) -> Arc<Self> {
        Arc::new(Self {
            asking,
            session: actor.session_id(),
            user: actor.user_id(),
        })
    }

    fn app(&self) -> &App {
        &self.asking.app
    }

    /// Who the holder is, with the rights of this moment.
    async fn requester(&self) -> Result<Requester, Ending> {
        match session::standing(self.app(), &self.asking.client, self.session).await {
            Ok(Some(Requester::Unproven(_))) => Err(Ending::TwoFactor),
            Ok(Some(requester)) => Ok(requester),
            Ok(None) => Err(Ending::Session),
            Err(_) => Err(Ending::Unavailable),
        }
    }
}

/// Why the server ends a connection that did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Its session is over.
    Session,
    /// Its session lacks a second factor that is compulsory now.
    TwoFactor,
    /// Events were lost: the line to the database broke.
    LineLost,
    /// Events were lost: the client did not take them in time.
    Lagged,
    /// The database does not say who the client is.
    Unavailable,
    /// The server stops.
    Stopping,
}

/// Looks after a connection: knows when it has to end.
struct Watch {
    holder: Arc<Holder>,
    follower: Follower,
    every: Duration,
    next_look: Instant,
    /// The session is to be looked up. Kept here, for waiting may be given up in between.
    unsure: bool,
    /// The line to the database was gone when it began to follow.
    deaf: bool,
    /// The session is over; until then whoever follows it is told why.
    over: Option<Instant>,
}

impl Watch {
    fn new(holder: &Arc<Holder>) -> Self {
        let topics = [Topic::Session(holder.session), Topic::Account(holder.user)];
        let every = holder.app().live.times.ping;
        let follower = holder.app().live.events.follow(&topics);
        Self {
            holder: Arc::clone(holder),
            follower,
            deaf: !holder.app().access.is_believed(),
            every,
            next_look: Instant::now() + every,
            // What changed before it followed.
            unsure: true,
            over: None,
        }
    }

    /// Waits until the connection has to end. May be called again after it was given up.
    async fn ended(&mut self) -> Ending {
        let shutdown = self.holder.app().shutdown.clone();
        loop {
            if let Some(end) = self.over {
                tokio::select! {
                    () = shutdown.cancelled() => return Ending::Stopping,
                    () = tokio::time::sleep_until(end) => return Ending::Session,
                }
            }
            if self.unsure {
                let known = {
                    // In turn: when permissions change, everybody asks at once.
                    let _turn = self.holder.app().live.answering.acquire().await;
                    self.holder.requester().await
                };
                match known {
                    Ok(_) => self.unsure = false,
                    Err(Ending::Session) => {
                        self.over = Some(Instant::now() + LAST_WORD);
                        continue;
                    }
                    Err(ending) => return ending,
                }
            }
            if std::mem::take(&mut self.deaf) {
                return Ending::LineLost;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ending::Stopping,
                event = self.follower.next() => match event {
                    Some(Event::LineLost) => return Ending::LineLost,
                    Some(_) => self.unsure = true,
                    None => return Ending::Lagged,
                },
                // A session also ends by the clock, of which nobody tells.
                () = tokio::time::sleep_until(self.next_look) => {
                    self.next_look = Instant::now() + self.every;
                    self.unsure = true;
                }
            }
        }
    }
}
