//! When loaders send their batches: once every resolver that can run has run.
//!
//! A request's resolvers and batches take turns on one task: no pause to wait for more keys, and no
//! batch that leaves half full, or arrives half delivered, because another thread was quick.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_graphql::runtime::Timer;
use futures_util::future::{self, BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::task::{FutureObj, Spawn, SpawnError};

/// The turns of one request. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Vec<FutureObj<'static, ()>>>>);

impl Turns {
    /// Runs the resolvers of a request; whenever all of them wait, the batches that they asked for.
    pub async fn run<F: Future>(&self, resolvers: F) -> F::Output {
        let mut resolvers = pin!(resolvers);
        let mut batches = FuturesUnordered::new();
        poll_fn(|context| {
            loop {
                if let Poll::Ready(output) = resolvers.as_mut().poll(context) {
                    return Poll::Ready(output);
                }
                batches.extend(std::mem::take(
                    &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
                ));
                match batches.poll_next_unpin(context) {
                    // A batch has delivered: some resolvers can go on.
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

impl Spawn for Turns {
    fn spawn_obj(&self, batch: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(batch);
        Ok(())
    }
}

impl Timer for Turns {
    /// No time at all: a batch begins when the resolvers wait, and then it need not.
    fn delay(&self, _: Duration) -> BoxFuture<'static, ()> {
        future::ready(()).boxed()
    }
}
