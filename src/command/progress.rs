//! A bar on the terminal that says how far a long errand is; silent where there is no terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const WIDTH: u64 = 30;

/// The progress of one part of an errand.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    began: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// Nothing of `total` is done yet.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        Self {
            what,
            total: total.max(1),
            began: Instant::now(),
            shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// So much is done; draws the bar anew ten times a second.
    pub(super) fn at(&mut self, done: u64) {
        self.counted(done, done);
    }

    /// So much is done, in which so many things were counted.
    pub(super) fn counted(&mut self, done: u64, things: u64) {
        let fresh = |shown: Instant| shown.elapsed() < Duration::from_millis(100);
        if !self.terminal || self.shown.is_some_and(fresh) {
            return;
        }
        self.shown = Some(Instant::now());
        let done = done.min(self.total);
        let filled = usize::try_from(done * WIDTH / self.total).unwrap_or_default();
        let percent = done * 100 / self.total;
        let bar =
            "#".repeat(filled) + &" ".repeat(usize::try_from(WIDTH).unwrap_or_default() - filled);
        let rate = self.rate(things);
        eprint!("\r{:<20} [{bar}] {percent:>3} % {rate:>8}/s ", self.what);
        let _ = std::io::stderr().flush();
    }

    /// Takes the bar away until it is drawn again.
    pub(super) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Takes the bar away; gives how long it took, and how many a second.
    pub(super) fn end(self) -> (Duration, u64) {
        self.clear();
        (self.began.elapsed(), self.rate(self.total))
    }

    fn rate(&self, done: u64) -> u64 {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        done * 1000 / millis.max(1)
    }
}
