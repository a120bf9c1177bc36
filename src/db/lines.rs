//! A few connections that many requests share.
//!
//! What loaders ask is one short statement each, outside of any transaction. On a connection of its own each pays for
//! a way to the database and back, on which both sides are woken. Here those of several requests travel together, and
//! the database answers them one after another (pipelining). What takes long or belongs to a transaction has no place
//! here: what is behind it would wait with it.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::db::statement::count_statements;
use crate::db::{Conn, Tally, address_of, in_time, tls, watched};

/// Most statements under way on one connection; who comes behind them takes a connection of the pool.
const MOST_UNDER_WAY: usize = 16;

/// Those behind a statement that waits for a lock wait with it, one after another.
const SETUP: &str = "; SET lock_timeout = '250ms'";

/// How long nobody tries again where the database let nobody in; those of the pool may still be there.
const REST: Duration = Duration::from_secs(1);

thread_local! {
    static KEPT_TO: Cell<Option<usize>> = const { Cell::new(None) };
}

/// From now on this thread takes the line of this number first, as long as it has a turn: one that the thread has opened
/// itself wakes nobody else.
pub fn keep_to_line(number: usize) {
    KEPT_TO.set(Some(number));
}

/// The shared connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lines(Arc<Inner>);

struct Inner {
    places: Vec<Place>,
    next: AtomicUsize,
    url: SecretString,
    setup: String,
    counter: Tally,
    tasks: TaskTracker,
}

struct Place {
    state: Mutex<State>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    connected: Option<Arc<Connected>>,
    /// Nobody connects before.
    rests_until: Option<Instant>,
}

struct Connected {
    conn: Conn,
    is_over: Arc<AtomicBool>,
}

/// A turn on a shared connection.
pub(super) struct Line {
    connected: Arc<Connected>,
    _turn: OwnedSemaphorePermit,
}

/// A connection that only reads, see [`Db::reading`](crate::db::Db::reading).
pub struct Reading(Source);

enum Source {
    Shared(Line),
    Own(Box<Object<Conn>>),
}

impl Deref for Reading {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.0 {
            Source::Shared(line) => &line.connected.conn,
            Source::Own(conn) => conn,
        }
    }
}

impl From<Line> for Reading {
    fn from(line: Line) -> Self {
        Self(Source::Shared(line))
    }
}

impl From<Object<Conn>> for Reading {
    fn from(conn: Object<Conn>) -> Self {
        Self(Source::Own(Box::new(conn)))
    }
}

impl Lines {
    /// So many to the database at `url`, which connect when they are first asked for.
    pub fn new(count: usize, url: &SecretString, setup: &str, counter: Tally) -> Self {
        let place = |_| Place {
            state: Mutex::default(),
            turns: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
        };
        Self(Arc::new(Inner {
            places: (0..count).map(place).collect(),
            next: AtomicUsize::new(0),
            url: url.clone(),
            setup: format!("{setup}{SETUP}"),
            counter,
            tasks: TaskTracker::new(),
        }))
    }

    /// A turn on the next of them that has one, on a new connection where the old one was lost. None where all are busy
    /// or the database lets nobody in.
    pub async fn line(&self) -> Option<Line> {
        let places = &self.0.places;
        if places.is_empty() {
            return None;
        }
        let next = || self.0.next.fetch_add(1, Ordering::Relaxed);
        let first = KEPT_TO.get().unwrap_or_else(next) % places.len();
        let (before, from) = places.split_at(first);
        let (turn, mut state) = from.iter().chain(before).find_map(|place| {
            let turn = Arc::clone(&place.turns).try_acquire_owned().ok()?;
            // Otherwise held by somebody who is connecting.
            let state = place.state.try_lock().ok()?;
            let rests = state
                .rests_until
                .is_some_and(|until| Instant::now() < until);
            (!rests).then_some((turn, state))
        })?;
        let lives = |connected: &&Arc<Connected>| !connected.is_over.load(Ordering::Relaxed);
        if let Some(connected) = state.connected.as_ref().filter(lives) {
            let connected = Arc::clone(connected);
            return Some(Line {
                connected,
                _turn: turn,
            });
        }
        state.connected = None;
        match in_time(self.connect()).await {
            Ok(connected) => {
                let connected = Arc::new(connected);
                *state = State {
                    connected: Some(Arc::clone(&connected)),
                    rests_until: None,
                };
                Some(Line {
                    connected,
                    _turn: turn,
                })
            }
            Err(error) => {
                tracing::warn!(error = %error, "No shared connection to the database: {error:#}");
                state.rests_until = Some(Instant::now() + REST);
                None
            }
        }
    }

    /// How many turns there are on all of them, and how many are taken.
    pub fn turns(&self) -> (usize, usize) {
        let places = &self.0.places;
        let all = places.len() * MOST_UNDER_WAY;
        let free: usize = places
            .iter()
            .map(|place| place.turns.available_permits())
            .sum();
        (all, all.saturating_sub(free))
    }

    /// Closes them once nobody uses them; hands none out any more.
    pub fn close(&self) {
        for place in &self.0.places {
            place.turns.close();
            if let Ok(mut state) = place.state.try_lock() {
                state.connected = None;
            }
        }
    }

    async fn connect(&self) -> anyhow::Result<Connected> {
        let Inner { url, setup, .. } = &*self.0;
        let address = watched(address_of(url.expose_secret())?);
        let (client, connection) = tls::connect(&address).await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        self.0.tasks.spawn(async move {
            // Whoever waits for an answer is told by it that there is none.
            let _ = connection.await;
            ended.store(true, Ordering::Relaxed);
        });
        let mut conn = AsyncPgConnection::try_from(client).await?;
        conn.batch_execute(setup).await?;
        count_statements(&mut conn, self.0.counter.clone());
        Ok(Connected { conn, is_over })
    }
}
