//! What many requests write at the same moment, written at once: whatever comes while a batch is under way goes with
//! the next one. A single one does not wait, and many cost little more than one.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Most items of one batch, unless one caller brings more.
const MOST: usize = 500;

/// Collects items. Clones collect together.
#[derive(Debug)]
pub struct Together<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    waiting: Vec<Parcel<T>>,
    at_work: bool,
}

/// What one caller brought, and who is told when it is done.
#[derive(Debug)]
struct Parcel<T> {
    items: Vec<T>,
    done: oneshot::Sender<Result<()>>,
}

/// Has to be run for what was collected to be written. Where it is dropped before its end, who waits is told, and the
/// next caller gets another one.
#[derive(Debug)]
pub struct Worker<T> {
    queue: Together<T>,
    is_done: bool,
}

impl<T> Clone for Together<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            waiting: Vec::new(),
            at_work: false,
        })))
    }
}

impl<T: Clone> Together<T> {
    /// Takes items in, which are written all or none. Gives what tells of it, and the worker where none is running.
    pub fn put(&self, items: Vec<T>) -> (oneshot::Receiver<Result<()>>, Option<Worker<T>>) {
        let (done, told) = oneshot::channel();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(Parcel { items, done });
        let idle = !std::mem::replace(&mut state.at_work, true);
        drop(state);
        let worker = idle.then(|| Worker {
            queue: self.clone(),
            is_done: false,
        });
        (told, worker)
    }

    /// The next batch; none where nothing waits, and then nobody is at work any more.
    fn next(&self) -> Option<Vec<Parcel<T>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who gave up waiting was shown nothing.
        state.waiting.retain(|parcel| !parcel.done.is_closed());
        let mut items = 0;
        let fits = state.waiting.iter().take_while(|parcel| {
            items += parcel.items.len();
            items <= MOST
        });
        let many = fits.count().max(1).min(state.waiting.len());
        let batch: Vec<_> = state.waiting.drain(..many).collect();
        state.at_work = !batch.is_empty();
        (!batch.is_empty()).then_some(batch)
    }
}

impl<T: Clone> Worker<T> {
    /// Writes until nothing waits. What goes together fails together: trying it apart would keep everybody waiting
    /// who comes behind it, and the database fails for all alike.
    pub async fn run(mut self, write: impl AsyncFn(Vec<T>) -> Result<()>) {
        while let Some(batch) = self.queue.next() {
            let all: Vec<T> = batch
                .iter()
                .flat_map(|parcel| parcel.items.clone())
                .collect();
            let mut written = write(all).await;
            for Parcel { done, .. } in batch {
                let others = match &written {
                    Ok(()) => Ok(()),
                    Err(Error::Unavailable) => Err(Error::Unavailable),
                    Err(_) => Err(anyhow!("what was written together with others failed").into()),
                };
                // Who gave up waiting is not interested any more.
                let _ = done.send(std::mem::replace(&mut written, others));
            }
        }
        self.is_done = true;
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // Once it is done, another one may be at work.
        if !self.is_done {
            let mut state = self.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.at_work = false;
            state.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_meanwhile_is_written_together() {
        let queue = Together::default();
        let batches: Mutex<Vec<Vec<u8>>> = Mutex::default();
        let (first, worker) = queue.put(vec![1]);
        let rest = Mutex::new(Vec::new());
        let work = worker
            .expect("nobody is at work")
            .run(async |items: Vec<u8>| {
                let mut rest = rest.lock().expect("the lock");
                if rest.is_empty() {
                    for items in [vec![2], vec![3, 4]] {
                        let (told, worker) = queue.put(items);
                        assert!(worker.is_none());
                        rest.push(told);
                    }
                }
                batches.lock().expect("the lock").push(items);
                Ok(())
            });
        work.await;
        assert_eq!(*batches.lock().expect("the lock"), [vec![1], vec![2, 3, 4]]);
        for told in std::iter::once(first).chain(rest.into_inner().expect("the lock")) {
            assert!(matches!(told.await, Ok(Ok(()))));
        }
        assert!(queue.put(vec![5]).1.is_some(), "the worker has gone home");
    }

    #[tokio::test]
    async fn what_goes_together_fails_together_and_who_gave_up_is_left_out() {
        let queue = Together::default();
        let (one, worker) = queue.put(vec![1]);
        let (other, _) = queue.put(vec![2]);
        drop(queue.put(vec![3]).0);
        let write = async |items: Vec<u8>| {
            assert_eq!(items, [1, 2]);
            Err(Error::Unavailable)
        };
        worker.expect("nobody is at work").run(write).await;
        for told in [one, other] {
            assert!(matches!(told.await, Ok(Err(Error::Unavailable))));
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_worker_that_was_cut_learns_so() {
        let queue = Together::default();
        let (told, worker) = queue.put(vec![1]);
        drop(worker);
        assert!(told.await.is_err());
        assert!(queue.put(vec![2]).1.is_some());
    }
}
