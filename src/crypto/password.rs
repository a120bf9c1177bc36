//! Password hashing: argon2id on a bounded set of threads. It does not judge what a good password is.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use unicode_normalization::UnicodeNormalization as _;

use crate::crypto::foreign_hash::ForeignHash;
use crate::crypto::threads::Threads;
use crate::crypto::token::random;
use crate::traces::TARGET;

/// The most memory of a hash, in KiB: what a hasher is set to is also what it verifies.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
/// The most passes.
const MOST_PASSES: u32 = 20;

/// Hashes and verifies passwords.
///
/// At most `threads` run at once and at most `queue` wait; whoever comes then is told to come back.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct PasswordHasher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    params: Params,
    /// Memory that no hash uses just now.
    memory: Mutex<Vec<Vec<Block>>>,
    dummy: String,
    permits: Arc<Semaphore>,
    workers: Threads,
    threads: usize,
    queue: usize,
    pending: AtomicUsize,
    refused: AtomicU64,
    one_hash: Duration,
}

/// Too many hashes are waiting; come back after the time given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy(pub Duration);

/// The hashes of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most that are worked on at once.
    pub threads: usize,
    /// Those that are.
    pub running: usize,
    /// Most that may wait.
    pub limit: usize,
    /// Those that do.
    pub waiting: usize,
    /// Those that were told to come back, so far.
    pub refused: u64,
}

/// How a password compares with a stored hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password. With a new hash where the stored one was made with other parameters, or elsewhere.
    Right(Option<String>),
    /// It is not the password, or there is none to compare with.
    Wrong,
}

impl PasswordHasher {
    /// A hasher for new passwords with `memory_kib` KiB, `passes` passes and one lane, on `threads`
    /// threads with a queue of `queue`.
    ///
    /// # Errors
    /// If argon2 does not accept the parameters, they are beyond 1 GiB and 20 passes, or there are no more threads.
    pub fn new(memory_kib: u32, passes: u32, threads: usize, queue: usize) -> anyhow::Result<Self> {
        anyhow::ensure!(
            memory_kib <= MOST_MEMORY_KIB && passes <= MOST_PASSES,
            "argon2 with {memory_kib} KiB and {passes} passes is more than is verified"
        );
        let params = Params::new(memory_kib, passes, 1, None)
            .map_err(|error| anyhow!("argon2 refuses its parameters: {error}"))?;
        let mut inner = Inner {
            params,
            memory: Mutex::default(),
            dummy: String::new(),
            permits: Arc::new(Semaphore::new(threads)),
            workers: Threads::start(threads).context("there are no threads to hash on")?,
            threads,
            queue,
            pending: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            one_hash: Duration::ZERO,
        };
        let start = Instant::now();
        inner.dummy = inner.hash(&DUMMY.into())?;
        inner.one_hash = start.elapsed();
        Ok(Self(Arc::new(inner)))
    }

    /// How many hashes are worked on at once.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// How many hashes are worked on and wait just now.
    #[must_use]
    pub fn queue(&self) -> Queue {
        let inner = &self.0;
        let free = inner.permits.available_permits();
        let running = inner.threads.saturating_sub(free);
        let pending = inner.pending.load(Ordering::SeqCst);
        Queue {
            threads: inner.threads,
            running,
            limit: inner.queue,
            waiting: pending.saturating_sub(running),
            refused: AtomicU64::load(&inner.refused, Ordering::Relaxed),
        }
    }

    /// The PHC string to keep for `password`.
    ///
    /// # Errors
    /// [`Busy`] at once when the queue is full; the inner error if argon2 fails.
    pub async fn hash(&self, password: SecretString) -> Result<anyhow::Result<String>, Busy> {
        self.run(move |inner| inner.hash(&password)).await
    }

    /// Compares `password` with `stored`; with nothing stored it works as long as for a hash of its own, and
    /// says wrong. A hash that was made elsewhere takes as long as it was made to.
    ///
    /// A stored hash that cannot be read, or that would take too much, counts as wrong.
    ///
    /// # Errors
    /// [`Busy`] at once when the queue is full; the inner error if argon2 fails.
    pub async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<anyhow::Result<Verdict>, Busy> {
        self.run(move |inner| {
            let fit = inner.verify(&password, stored.as_deref().unwrap_or(&inner.dummy));
            Ok(match stored {
                Some(stored) if fit != Fit::No => {
                    let outdated = fit == Fit::Raw || !is_current(&inner.params, &stored);
                    Verdict::Right(if outdated {
                        Some(inner.hash(&password)?)
                    } else {
                        None
                    })
                }
                _ => Verdict::Wrong,
            })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<anyhow::Result<T>, Busy> {
        let inner = &self.0;
        let place = Place::take(inner)?;
        let turn = tracing::info_span!(target: TARGET, "password.queue");
        let permit = Arc::clone(&inner.permits)
            .acquire_owned()
            .instrument(turn)
            .await
            .expect("the semaphore is never closed");
        // The permit and the place belong to the work, not to the request: a client that hangs up
        // must not make room for more than there are threads.
        let done = inner.workers.run(move || {
            let result = work(&place.0);
            drop(permit);
            drop(place);
            result
        });
        let hashing = tracing::info_span!(target: TARGET, "password.hash");
        Ok(done
            .instrument(hashing)
            .await
            .context("the hash panicked")
            .flatten())
    }
}

/// A place among those that run or wait, given back when dropped.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Result<Self, Busy> {
        let place = Self(Arc::clone(inner));
        let before = inner.pending.fetch_add(1, Ordering::SeqCst);
        if before < inner.threads + inner.queue {
            return Ok(place);
        }
        inner.refused.fetch_add(1, Ordering::Relaxed);
        let rounds = u32::try_from(before / inner.threads).unwrap_or(u32::MAX);
        Err(Busy(inner.one_hash.saturating_mul(rounds)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is hashed at start so that an unknown account costs as much as a known one.
const DUMMY: &str = "no account has this password";

impl Inner {
    fn hash(&self, password: &SecretString) -> anyhow::Result<String> {
        let salt = random::<16>();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let hash = self
            .compute(&self.params, &prepared(password), &salt, &mut output)
            .and_then(|()| {
                Ok(PasswordHash {
                    algorithm: Algorithm::Argon2id.ident(),
                    version: Some(Version::V0x13.into()),
                    params: (&self.params).try_into()?,
                    salt: Some(Salt::new(&salt)?),
                    hash: Some(Output::new(&output)?),
                })
            });
        hash.map(|hash| hash.to_string())
            .map_err(|error| anyhow!("argon2 failed: {error}"))
    }

    /// A hash that was made elsewhere is of the bytes that were typed in there: they are tried, too, where
    /// ours are others.
    fn verify(&self, password: &SecretString, stored: &str) -> Fit {
        let (typed, prepared) = (password.expose_secret().as_bytes(), prepared(password));
        if let Ok(parsed) = PasswordHash::new(stored)
            && is_ours(&parsed)
        {
            return if self.verify_ours(&parsed, &prepared) {
                Fit::Prepared
            } else if prepared != typed && self.verify_ours(&parsed, typed) {
                Fit::Raw
            } else {
                Fit::No
            };
        }
        match ForeignHash::parse(stored) {
            Ok(hash) if hash.verify(typed) => Fit::Raw,
            Ok(hash) if prepared != typed && hash.verify(&prepared) => Fit::Prepared,
            _ => Fit::No,
        }
    }

    fn verify_ours(&self, parsed: &PasswordHash, password: &[u8]) -> bool {
        let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else {
            return false;
        };
        let Ok(params) = Params::try_from(parsed) else {
            return false;
        };
        // What an installation was once set to stays good when it is set to less.
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        let most = u64::from(MOST_MEMORY_KIB) * u64::from(MOST_PASSES);
        if params.m_cost() > MOST_MEMORY_KIB || work > most {
            return false;
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = &mut output[..expected.len()];
        // Outputs are compared in constant time.
        self.compute(&params, password, &salt, output).is_ok()
            && Output::new(output).is_ok_and(|output| output == expected)
    }

    /// Runs argon2id in memory that is used again: as much as `threads` hashes need, and no more,
    /// however many passwords come.
    fn compute(
        &self,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> argon2::password_hash::Result<()> {
        let memory = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = memory().pop().unwrap_or_default();
        blocks.resize(params.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let computed = argon2.hash_password_into_with_memory(password, salt, output, &mut blocks);
        if blocks.len() == self.params.block_count() {
            memory().push(blocks);
        }
        Ok(computed?)
    }
}

/// Which form of a password a hash fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// None.
    No,
    /// The form in which passwords are hashed here.
    Prepared,
    /// The bytes as they were typed in.
    Raw,
}

fn is_ours(parsed: &PasswordHash) -> bool {
    parsed.algorithm == Algorithm::Argon2id.ident() && parsed.version == Some(Version::V0x13.into())
}

fn is_current(params: &Params, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|parsed| {
        is_ours(&parsed)
            && Params::try_from(&parsed).is_ok_and(|used| {
                (used.m_cost(), used.t_cost(), used.p_cost())
                    == (params.m_cost(), params.t_cost(), params.p_cost())
            })
    })
}

/// The bytes to hash: RFC 8265 `OpaqueString`, that is NFC with every space as U+0020, so that one
/// password is one byte string on every keyboard. Nothing is cut.
fn prepared(password: &SecretString) -> Vec<u8> {
    normalized(password.expose_secret()).into_bytes()
}

/// `password` in the form in which it is counted and hashed (RFC 8265, section 4.2.2).
#[must_use]
pub fn normalized(password: &str) -> String {
    password
        .chars()
        .map(|c| {
            if c.is_whitespace() && !c.is_control() {
                ' '
            } else {
                c
            }
        })
        .nfc()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(memory_kib: u32, threads: usize, queue: usize) -> PasswordHasher {
        PasswordHasher::new(memory_kib, 1, threads, queue).expect("valid parameters")
    }

    async fn verdict(hasher: &PasswordHasher, password: &str, stored: &str) -> Verdict {
        hasher
            .verify(password.into(), Some(stored.to_owned()))
            .await
            .expect("not busy")
            .expect("argon2 works")
    }

    async fn hashed(hasher: &PasswordHasher, password: &str) -> String {
        hasher
            .hash(password.into())
            .await
            .expect("not busy")
            .expect("argon2 works")
    }

    #[tokio::test]
    async fn a_password_is_one_byte_string_on_every_keyboard() {
        let hasher = hasher(8, 1, 8);
        let stored = hashed(&hasher, "caf\u{e9} au\u{a0}lait").await;
        assert_eq!(
            verdict(&hasher, "cafe\u{301} au lait", &stored).await,
            Verdict::Right(None)
        );
    }

    #[tokio::test]
    async fn dear_hashes_of_its_own_are_verified_after_the_price_went_down() {
        let dear = hasher(140_000, 1, 8);
        let stored = hashed(&dear, "correct horse").await;
        assert_eq!(
            verdict(&dear, "correct horse", &stored).await,
            Verdict::Right(None)
        );
        assert_eq!(verdict(&dear, "wrong horse", &stored).await, Verdict::Wrong);
        let cheap = hasher(8, 1, 8);
        assert!(matches!(
            verdict(&cheap, "correct horse", &stored).await,
            Verdict::Right(Some(_))
        ));
    }

    #[tokio::test]
    async fn the_last_byte_of_a_long_password_counts() {
        let hasher = hasher(8, 1, 8);
        let long = "x".repeat(127);
        let stored = hashed(&hasher, &format!("{long}a")).await;
        assert_eq!(
            verdict(&hasher, &format!("{long}b"), &stored).await,
            Verdict::Wrong
        );
    }

    #[tokio::test]
    async fn changed_parameters_give_a_new_hash_at_the_next_verification() {
        let stored = hashed(&hasher(8, 1, 8), "secret").await;
        let stronger = hasher(16, 1, 8);
        let Verdict::Right(Some(renewed)) = verdict(&stronger, "secret", &stored).await else {
            panic!("no new hash")
        };
        assert!(
            renewed.starts_with("$argon2id$v=19$m=16,t=1,p=1$"),
            "{renewed}"
        );
        assert_eq!(
            verdict(&stronger, "secret", &renewed).await,
            Verdict::Right(None)
        );
    }

    #[tokio::test]
    async fn a_broken_or_greedy_hash_is_a_wrong_password() {
        let hasher = hasher(8, 1, 8);
        let salted = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY";
        for stored in [salted, "plaintext", "", "$argon2id$"] {
            assert_eq!(
                verdict(&hasher, "plaintext", stored).await,
                Verdict::Wrong,
                "{stored}"
            );
        }
    }

    #[tokio::test]
    async fn a_hash_that_was_made_elsewhere_serves_once_for_the_bytes_that_were_typed_in() {
        let hasher = hasher(8, 1, 8);
        // By Django, of a no-break space and an o with its dots apart.
        let stored = "pbkdf2_sha256$1000$seasalt$0iebMB9N/H9RxavKOex1IGAHGTZssJj8oTU9qBx27j4=";
        let typed = "Pass\u{a0}wo\u{308}rt 1";
        let Verdict::Right(Some(renewed)) = verdict(&hasher, typed, stored).await else {
            panic!("no new hash")
        };
        assert!(renewed.starts_with("$argon2id$v=19$"), "{renewed}");
        // Ours is of one byte string on every keyboard.
        for same in [typed, "Pass w\u{f6}rt 1"] {
            let verdict = verdict(&hasher, same, &renewed).await;
            assert_eq!(verdict, Verdict::Right(None), "{same}");
        }
        let wrong = verdict(&hasher, "Passwort 1", stored).await;
        assert_eq!(wrong, Verdict::Wrong);
    }

    #[tokio::test]
    async fn argon2id_of_another_system_serves_for_the_bytes_that_were_typed_in() {
        let typed = "a\u{a0}b";
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8, 1, 1, None).expect("valid parameters"),
        );
        let mut output = [0; 32];
        argon2
            .hash_password_into(typed.as_bytes(), b"seasaltseasalt", &mut output)
            .expect("hashed");
        let encode = |bytes: &[u8]| {
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, bytes)
        };
        let (salt, output) = (encode(b"seasaltseasalt"), encode(&output));
        let stored = format!("$argon2id$v=19$m=8,t=1,p=1${salt}${output}");
        let hasher = hasher(8, 1, 8);
        let found = verdict(&hasher, typed, &stored).await;
        assert!(matches!(found, Verdict::Right(Some(_))), "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn past_the_queue_callers_are_told_to_come_back() {
        let hasher = hasher(64 * 1024, 1, 2);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let hasher = hasher.clone();
            tasks.spawn(async move { hasher.hash("secret".into()).await.map(|_| ()) });
        }
        let results = tasks.join_all().await;
        let busy: Vec<_> = results.iter().filter_map(|result| result.err()).collect();
        assert!(results.iter().any(Result::is_ok));
        assert!(!busy.is_empty());
        assert!(busy.iter().all(|Busy(wait)| *wait > Duration::ZERO));
        assert_eq!(
            hasher.0.pending.load(Ordering::SeqCst),
            0,
            "every place was given back"
        );
    }
}
