//! Live events on this instance: who follows what, how many may, and how long everything may take.
//! It knows no protocol.

pub mod events;
pub mod seats;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use events::Events;
use seats::Seats;

/// What live connections share. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    /// What happens, and who follows it.
    pub events: Events,
    /// Who holds a connection.
    pub seats: Seats,
    /// How long things may take.
    pub times: Times,
    /// Events that are being answered at once: one that many follow must not take every connection to
    /// the database from those who ask.
    pub answering: Arc<Semaphore>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A socket has to say who it is.
    pub init: Duration,
    /// Between signs of life that the server asks for, or gives.
    pub ping: Duration,
    /// A socket may say nothing at all.
    pub silence: Duration,
    /// A socket may have nothing that it follows.
    pub idle: Duration,
    /// A message may take to be taken.
    pub write: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            init: Duration::from_secs(5),
            ping: Duration::from_secs(25),
            silence: Duration::from_mins(1),
            idle: Duration::from_mins(10),
            write: Duration::from_secs(4),
        }
    }
}

impl Live {
    /// For an instance with so many seats, of which each account gets so many, and so many connections to
    /// the database.
    #[must_use]
    pub fn new(seats: usize, per_account: usize, pool_size: usize) -> Self {
        Self {
            events: Events::default(),
            seats: Seats::new(seats, per_account),
            times: Times::default(),
            answering: Arc::new(Semaphore::new((pool_size / 4).max(1))),
        }
    }
}
