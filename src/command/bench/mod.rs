//! `bench …`: fills a database with made-up accounts, and measures the lists of them, or the processors.

mod argon2;
mod people;
mod seed;
mod users;

use cardea::config::Config;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(super) enum Bench {
    /// Fill the database with made-up accounts, all of them or none
    Seed(seed::Seed),
    /// Measure the lists of the accounts that are there
    Users(users::Users),
    /// Hash passwords with nothing beside it, as many as the processors can
    Argon2(argon2::Bare),
}

/// Does what the command line asks.
///
/// # Errors
/// One line that says what is wrong.
pub(super) async fn run(config: Config, action: Bench) -> anyhow::Result<()> {
    match action {
        Bench::Seed(seed) => seed::run(config, seed).await,
        Bench::Users(bench) => users::run(config, bench).await,
        Bench::Argon2(bench) => argon2::run(&config, &bench),
    }
}
