//! The threads that serve connections, each with a runtime of its own.
//!
//! Between two waits a request works for some microseconds. Threads that take each other's work pay more for that than
//! for the work itself: they wake one another, and what one has in its cache the other has to fetch. Here whatever
//! belongs to a connection stays on one thread. What works for long, such as hashing, has threads elsewhere: here it
//! would hold up everybody beside it.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::db;

/// The threads. All but the one that started them end when this is dropped, and with them whatever still runs there.
pub(super) struct Cores {
    all: Vec<Core>,
    /// Where one of those that are equal is looked for first.
    next: usize,
    stop: CancellationToken,
}

/// One of them.
pub(super) struct Core {
    runtime: Handle,
    /// Whoever holds it beside this is a connection.
    connections: Arc<()>,
    thread: Option<JoinHandle<()>>,
}

impl Cores {
    /// One for each core that this process may use; the calling one is the first.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start() -> io::Result<Self> {
        Self::so_many(thread::available_parallelism().map_or(1, usize::from))
    }

    fn so_many(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        db::keep_to_line(0);
        let mut all = vec![Core {
            runtime: Handle::current(),
            connections: Arc::default(),
            thread: None,
        }];
        for number in 1..count {
            all.push(Core::start(number, stop.clone())?);
        }
        Ok(Self { all, next: 0, stop })
    }

    /// The one with the fewest connections; those with equally many take turns.
    pub fn least_busy(&mut self) -> &Core {
        let count = self.all.len();
        let connections = |at: &usize| Arc::strong_count(&self.all[*at].connections);
        let in_turn = (self.next..self.next + count).map(|at| at % count);
        let chosen = in_turn.min_by_key(connections).unwrap_or_default();
        self.next = (chosen + 1) % count;
        &self.all[chosen]
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.all.iter_mut().filter_map(|core| core.thread.take()) {
            // It has nothing to say that its panic has not said.
            let _ = thread.join();
        }
    }
}

impl Core {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let serve = move || {
            db::keep_to_line(number);
            runtime.block_on(stop.cancelled());
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(format!("core {number}"));
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            thread: Some(thread.spawn(serve)?),
        })
    }

    /// Where tasks of a connection are spawned.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Counts as a connection until it is dropped.
    pub fn connection(&self) -> Arc<()> {
        Arc::clone(&self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_spread_over_threads_that_end_with_them() {
        let here = async || thread::current().name().map(str::to_owned);
        let mut cores = Cores::so_many(3).expect("threads");
        let mut open = Vec::new();
        let mut names = Vec::new();
        for _ in 0..6 {
            let core = cores.least_busy();
            open.push(core.connection());
            let name = core.runtime().spawn(here()).await.expect("it runs");
            names.push(name.expect("a name"));
        }
        // The next in turn is the first.
        let (first, rest) = (&names[0], [&names[1], &names[2]]);
        assert_eq!(thread::current().name(), Some(&**first));
        assert_eq!(rest, ["core 1", "core 2"]);
        assert_eq!(names[..3], names[3..]);
        // The second of those on the thread "core 1" ends.
        open.remove(4);
        let core = cores.least_busy();
        let name = core.runtime().spawn(here()).await.expect("it runs");
        assert_eq!(name.as_deref(), Some("core 1"));

        let (started, runs) = tokio::sync::oneshot::channel();
        let endless = core.runtime().spawn(async {
            let _ = started.send(());
            std::future::pending::<()>().await;
        });
        runs.await.expect("it runs");
        // None of these is a connection for long.
        drop(open);
        let mut places = Vec::new();
        for _ in 0..3 {
            let core = cores.least_busy();
            places.push(std::ptr::from_ref(core));
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 3);
        drop(cores);
        let ended = endless.await.expect_err("it never ends by itself");
        assert!(ended.is_cancelled(), "{ended}");
    }
}
