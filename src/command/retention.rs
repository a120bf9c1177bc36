//! `retention`: accounts whose time is over go through their next stage, or are counted.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::services::{erasure, retention};
use clap::Subcommand;

use crate::command::database::Database;

#[derive(Subcommand, Debug)]
pub(super) enum Retention {
    /// Warn owners of accounts that are not used, close or erase accounts whose time is over
    Run {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Does what the command line asks.
///
/// # Errors
/// If the database cannot answer, or an exempt role does not exist.
pub(super) async fn run(config: Config, action: Retention) -> anyhow::Result<()> {
    let database = Database::open(&config).await?;
    let result = carry_out(config, &database, action).await;
    database.close().await?;
    result
}

async fn carry_out(config: Config, database: &Database, action: Retention) -> anyhow::Result<()> {
    database.prepare(&config).await?;
    let app = App::new(config, database.db.clone(), Clock::system()).await?;
    let failed = |error| anyhow!("the retention failed: {error:?}");
    let Retention::Run { dry_run } = action;
    if dry_run {
        for report in retention::report(&app).await.map_err(failed)? {
            let ids: Vec<_> = report.first.iter().map(ToString::to_string).collect();
            let first = if ids.is_empty() {
                String::new()
            } else {
                format!(", the first {}", ids.join(" "))
            };
            println!(
                "{}: {} accounts{first}",
                report.stage.name(),
                report.accounts
            );
        }
        let scheduled = retention::scheduled(&app).await.map_err(failed)?;
        println!("{scheduled} accounts wait for the moment of their erasure.");
        return Ok(());
    }
    let shown = std::io::stderr().is_terminal();
    let progress = |stage: retention::Stage, done: usize| {
        if shown {
            eprint!("\r{}: {done} accounts", stage.name());
        }
    };
    let taken = retention::run(&app, usize::MAX, progress).await;
    let erased = erasure::erase_due(&app).await;
    if shown {
        eprintln!();
    }
    for (stage, accounts) in taken.map_err(failed)? {
        println!("{}: {accounts} accounts", stage.name());
    }
    println!("erased: {} accounts", erased.map_err(failed)?);
    Ok(())
}
