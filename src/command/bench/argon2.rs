//! `bench argon2`: how many hashes the processors make by themselves, which no rate of sign-ins exceeds.

use std::thread;
use std::time::{Duration, Instant};

use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use anyhow::anyhow;
use cardea::config::Config;
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct Bare {
    /// For how long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Hashes with the parameters and on as many threads as the settings say, with nothing beside it.
///
/// # Errors
/// If argon2 refuses the parameters.
pub(super) fn run(config: &Config, bench: &Bare) -> anyhow::Result<()> {
    let settings = &config.password;
    let params = Params::new(settings.argon2_memory_kib, settings.argon2_passes, 1, None)
        .map_err(|error| anyhow!("argon2 refuses its parameters: {error}"))?;
    let threads = settings
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let began = Instant::now();
    let until = began + Duration::from_secs(bench.seconds);
    let loops: Vec<_> = (0..threads)
        .map(|_| {
            let params = params.clone();
            thread::spawn(move || hash_until(&params, until))
        })
        .collect();
    let mut times = Vec::new();
    for one in loops {
        let told = one.join().map_err(|_| anyhow!("a thread died"))?;
        times.extend(told.map_err(|error| anyhow!("argon2 failed: {error}"))?);
    }
    let took = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let hashes = times.len();
    #[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 hashes")]
    let rate = hashes as f64 / took;
    println!(
        "{hashes} hashes, {rate:.1} a second, p50 {:.1} ms, p99 {:.1} ms, {threads} threads, {} KiB, {} passes",
        at(50),
        at(99),
        settings.argon2_memory_kib,
        settings.argon2_passes
    );
    Ok(())
}

/// One thread's loop, at least once: the time of each hash. Its memory is used again, as that of the server is.
fn hash_until(params: &Params, until: Instant) -> Result<Vec<Duration>, ::argon2::Error> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut blocks = vec![Block::new(); params.block_count()];
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let mut times = Vec::new();
    loop {
        let began = Instant::now();
        argon2.hash_password_into_with_memory(
            b"Correct-Horse-7",
            b"sixteen bytes of",
            &mut output,
            &mut blocks,
        )?;
        times.push(began.elapsed());
        if Instant::now() >= until {
            return Ok(times);
        }
    }
}
