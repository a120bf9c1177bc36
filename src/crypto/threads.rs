//! Threads for what works for long, such as hashing. Their priority is low: what requests wait for beside it is done first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

/// How far they stand back (nice, up to 19): they get about a tenth of what others get of a core that both want, and all
/// of one that nobody else wants.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The threads. They end when this is dropped, each with what it has begun.
#[derive(Debug)]
pub(super) struct Threads(mpsc::Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

impl Threads {
    /// So many threads.
    ///
    /// # Errors
    /// If the system gives no more of them.
    pub fn start(count: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..count {
            let receiver = Arc::clone(&receiver);
            let thread = thread::Builder::new().name(format!("hash {number}"));
            thread.spawn(move || {
                stand_back();
                let next = || {
                    receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv()
                };
                while let Ok(work) = next() {
                    // Whoever waits for it learns of a panic by getting no answer.
                    let _ = catch_unwind(AssertUnwindSafe(work));
                }
            })?;
        }
        Ok(Self(sender))
    }

    /// Does `work` on the next thread that is free; nobody can call it off. None if it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let work = move || {
            let _ = done.send(work());
        };
        self.0.send(Box::new(work)).ok()?;
        result.await.ok()
    }
}

/// Lowers the priority of the calling thread.
#[cfg(target_os = "linux")]
fn stand_back() {
    // On Linux a niceness is a thread's, unlike POSIX (setpriority(2), "C library/kernel differences").
    let lowered = getpriority_process(None)
        .and_then(|niceness| setpriority_process(None, niceness.max(NICENESS)));
    if let Err(error) = lowered {
        tracing::debug!(error = %error, "The priority of hashing stays as it is: {error}");
    }
}

/// Elsewhere a niceness is the whole process's.
#[cfg(not(target_os = "linux"))]
fn stand_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_takes_no_thread_along() {
        let threads = Threads::start(1).expect("a thread");
        let died = threads.run(|| panic!("on purpose")).await;
        assert_eq!(died.map(|()| 0), None);
        assert_eq!(threads.run(|| 7).await, Some(7));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_stand_back_and_nobody_else_does() {
        let niceness = || getpriority_process(None).expect("a priority");
        let before = niceness();
        let threads = Threads::start(1).expect("a thread");
        let there = threads.run(niceness).await;
        assert_eq!(there, Some(before.max(NICENESS)));
        assert_eq!(niceness(), before);
    }
}
