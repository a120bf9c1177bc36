//! What is counted while the server runs, and how it is written for Prometheus. It knows nothing of who counts what,
//! and every label is one of a list that is closed when the server starts.

pub mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of every histogram, in microseconds: 1 ms to 10 s.
pub const BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How long things take, counted in buckets. Nobody waits for anybody: an observation is two additions.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Each for itself; the last one is of what is above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts something that took so long.
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| bound * 1000 < nanos);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many there were in each bucket, of which the last has no bound, and the sum of their times.
    #[must_use]
    pub fn read(&self) -> ([u64; BOUNDS.len() + 1], Duration) {
        let counts = self
            .buckets
            .each_ref()
            .map(|bucket| bucket.load(Ordering::Relaxed));
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        (counts, sum)
    }
}

/// By what somebody signs in; the step, not all that the account has proved by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// A name and a password.
    Password,
    /// A passkey, alone or as the second factor.
    Passkey,
    /// A sign-in provider.
    Provider,
    /// The link of a mail that proves the address.
    EmailLink,
    /// A code of an authenticator app, or a recovery code.
    Code,
}

/// What a step of signing in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// A session was opened.
    SignedIn,
    /// Right, and a second factor is asked for.
    TwoFactorRequired,
    /// Right, and the address is to be proved first.
    EmailVerificationRequired,
    /// Right, and the password is too old.
    PasswordExpired,
    /// Wrong, or not allowed.
    Refused,
    /// Not looked at: too many tries, or too many passwords that wait.
    Limited,
    /// The server could not tell.
    Failed,
}

impl LoginMethod {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Password, "password"),
        (Self::Passkey, "passkey"),
        (Self::Provider, "provider"),
        (Self::EmailLink, "email_link"),
        (Self::Code, "code"),
    ];
}

impl LoginOutcome {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::SignedIn, "signed_in"),
        (Self::TwoFactorRequired, "two_factor_required"),
        (
            Self::EmailVerificationRequired,
            "email_verification_required",
        ),
        (Self::PasswordExpired, "password_expired"),
        (Self::Refused, "refused"),
        (Self::Limited, "limited"),
        (Self::Failed, "failed"),
    ];
}

/// Steps of signing in so far, by method and outcome.
#[derive(Debug, Default)]
pub struct Logins([[AtomicU64; LoginOutcome::ALL.len()]; LoginMethod::ALL.len()]);

impl Logins {
    /// Counts one.
    pub fn count(&self, method: LoginMethod, outcome: LoginOutcome) {
        self.0[method as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn read(&self, method: LoginMethod, outcome: LoginOutcome) -> u64 {
        self.0[method as usize][outcome as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (counts, sum) = histogram.read();
        let mut wanted = [0; BOUNDS.len() + 1];
        wanted[0] = 2;
        wanted[1] = 1;
        wanted[BOUNDS.len() - 1] = 1;
        wanted[BOUNDS.len()] = 1;
        assert_eq!(counts, wanted);
        assert_eq!(sum, Duration::from_micros(20_002_002));
    }

    #[test]
    fn every_login_has_a_place_of_its_own() {
        for (at, (method, _)) in LoginMethod::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, at);
        }
        for (at, (outcome, _)) in LoginOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
