//! How often the log is told of the same thing. It knows nothing of what that is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind in a minute: enough to see an attack, too few to fill a disk with one.
const LINES: u32 = 10;
const MINUTE: Duration = Duration::from_mins(1);

/// Counts lines of the log by their kind.
#[derive(Default)]
pub struct Refusals(Mutex<BTreeMap<&'static str, Written>>);

struct Written {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Refusals {
    /// Whether another line of this kind may be written: ten a minute. It gives how many were left out since the last
    /// one, and counts this one among them where it may not.
    pub fn line(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = kinds.entry(kind).or_insert(Written {
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(written.since) >= MINUTE {
            (written.since, written.lines) = (now, 0);
        }
        if written.lines == LINES {
            written.left_out += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_of_each_kind_and_the_next_one_counts_the_rest() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let written = (0..1000).filter(|_| refusals.line("login", start).is_some());
        assert_eq!(written.count(), 10);
        assert_eq!(refusals.line("register", start), Some(0));
        let soon = start + Duration::from_secs(59);
        assert_eq!(refusals.line("login", soon), None);
        let later = start + MINUTE;
        assert_eq!(refusals.line("login", later), Some(991));
        assert_eq!(refusals.line("login", later), Some(0));
    }
}
