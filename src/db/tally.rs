//! Counts statements for whoever causes them, whatever else is under way at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static TALLY: Tally;
}

/// Counts the statements of some work. Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Does `work`, whose statements are counted here. Those of tasks that it spawns are not.
    pub fn of<F: Future>(&self, work: F) -> TaskLocalFuture<Self, F> {
        TALLY.scope(self.clone(), work)
    }

    /// How many there were.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a statement for the work that sends it, if anybody counts there.
pub(super) fn count_for_whoever_asks() {
    let _ = TALLY.try_with(Tally::count);
}
