//! `audit`: the trail is verified, and given out as lines.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::db::Pooled;
use cardea::models::audit_event::{AuditEvent, AuditFilter, AuditPosition};
use cardea::scalar::DateTime;
use cardea::services::audit::{AuditAction, Entry};
use cardea::services::audit_trail;
use cardea::services::audit_verify::{self, Broken, Checkpoint};
use clap::Subcommand;

use crate::command::database::Database;

/// Entries read at once.
const PAGE: i64 = 1000;

#[derive(Subcommand, Debug)]
pub(super) enum Audit {
    /// Read the whole audit trail and say whether it is as it was written
    Verify {
        /// A line of the log that must still hold, as 2026-11:120:<64 hexadecimal digits>; may be given several times
        #[arg(long)]
        checkpoint: Vec<Checkpoint>,
    },
    /// Give the audit trail out as JSON lines, the oldest entry first
    Export {
        /// From this instant on, as 2026-11-01T00:00:00Z
        #[arg(long = "from", id = "export_from")]
        from: Option<chrono::DateTime<chrono::Utc>>,
        /// Before this instant
        #[arg(long = "to", id = "export_to")]
        to: Option<chrono::DateTime<chrono::Utc>>,
        /// A file to make instead of printing
        #[arg(long = "output", id = "export_output")]
        output: Option<PathBuf>,
    },
}

/// Does what the command line asks.
///
/// # Errors
/// If the trail is broken, or cannot be read.
pub(super) async fn run(config: Config, action: Audit) -> anyhow::Result<()> {
    let database = Database::open(&config).await?;
    let result = carry_out(config, &database, action).await;
    database.close().await?;
    result
}

async fn carry_out(config: Config, database: &Database, action: Audit) -> anyhow::Result<()> {
    database.prepare(&config).await?;
    let app = App::new(config, database.db.clone(), Clock::system()).await?;
    match action {
        Audit::Verify { checkpoint } => verify(&app, &checkpoint).await,
        Audit::Export { from, to, output } => {
            let occurred_at = (from.map(DateTime), to.map(DateTime));
            let filter = AuditFilter {
                occurred_at,
                ..AuditFilter::default()
            };
            match output {
                None => export(&app, &filter, BufWriter::new(std::io::stdout())).await,
                Some(path) => {
                    let what = || format!("{} cannot be made", path.display());
                    let file = File::create_new(&path).with_context(what)?;
                    export(&app, &filter, BufWriter::new(file)).await
                }
            }
        }
    }
}

async fn verify(app: &App, known: &[Checkpoint]) -> anyhow::Result<()> {
    let shown = std::io::stderr().is_terminal();
    let progress = |read: i64| {
        if shown {
            eprint!("\r{read} entries read");
        }
    };
    let outcome = audit_verify::verify(app, known, progress).await;
    if shown {
        eprintln!();
    }
    let verified =
        match outcome.map_err(|error| anyhow!("the audit trail cannot be read: {error:?}"))? {
            Ok(verified) => verified,
            Err(Broken(why)) => bail!("the audit trail is broken: {why}"),
        };
    println!(
        "The audit trail is as it was written: {} entries in {} months.",
        verified.entries,
        verified.checkpoints.len()
    );
    if verified.waiting > 0 {
        println!("{} entries wait for their place.", verified.waiting);
    }
    for month in &verified.retired {
        println!(
            "{} was removed when its time was over.",
            month.format("%Y-%m")
        );
    }
    for checkpoint in &verified.checkpoints {
        println!("{checkpoint}");
    }
    Ok(())
}

async fn export(app: &App, filter: &AuditFilter, mut out: impl Write) -> anyhow::Result<()> {
    let failed = |error| anyhow!("the audit trail cannot be read: {error:?}");
    let mut conn = app.db.conn().await.map_err(failed)?;
    let entry = Entry::server(AuditAction::PersonalDataRead).with("export", "audit");
    entry.record(app, &mut conn).await.map_err(failed)?;
    drop(conn);
    let mut last: Option<AuditPosition> = None;
    loop {
        let bounds = (last, None);
        let read = |mut conn: Pooled| async move {
            let events = AuditEvent::page(&mut conn, filter, bounds, false, PAGE).await?;
            let lines = audit_trail::lines(app, &mut conn, &events).await?;
            Ok((events, lines))
        };
        let (events, lines) = app.db.read_much(read).await.map_err(failed)?;
        let Some(newest) = events.last() else { break };
        last = Some((newest.occurred_at, newest.id));
        for line in lines {
            // A reader that has seen enough closes the pipe, which is no failure.
            match writeln!(out, "{line}") {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
    }
    Ok(out.flush()?)
}
