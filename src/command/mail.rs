//! `mail`: the mails that were not sent yet, for the operator. It shows no address and no token.

use std::fmt::Write as _;

use anyhow::{anyhow, bail};
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::models::job::{Job, Unsent};
use cardea::scalar::DateTime;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::command::database::Database;

#[derive(Subcommand, Debug)]
pub(super) enum Mail {
    /// List them, the oldest first: id, kind, account, tries, what comes next, and why the last try failed
    List,
    /// Try again at once what was given up or waits
    Retry(Retry),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Retry {
    /// The mail, as `mail list` names it
    id: Option<Uuid>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Does what the command line asks.
///
/// # Errors
/// One line that says what is wrong.
pub(super) async fn run(config: Config, action: Mail) -> anyhow::Result<()> {
    let database = Database::open(&config).await?;
    let done = async {
        database.prepare(&config).await?;
        let unavailable = |error| anyhow!("the database cannot be asked: {error:?}");
        let mut conn = database.db.conn().await.map_err(unavailable)?;
        let mails = Job::unsent_mails(&mut conn).await?;
        match action {
            Mail::List if mails.is_empty() => println!("No mail waits."),
            Mail::List => mails.iter().for_each(|mail| println!("{}", line(mail))),
            Mail::Retry(retry) => {
                let chosen: Vec<_> = mails
                    .iter()
                    .map(|mail| mail.id)
                    .filter(|id| retry.all || retry.id == Some(*id))
                    .collect();
                if let (Some(id), []) = (retry.id, &*chosen) {
                    bail!("no mail with the id {id} waits");
                }
                let now = DateTime(Clock::system().now());
                let begun = Job::retry(&mut conn, &chosen, now).await?;
                println!("{begun} of {} mails will be tried again.", chosen.len());
            }
        }
        Ok(())
    }
    .await;
    database.close().await?;
    done
}

fn line(mail: &Unsent) -> String {
    let kind = mail.text("kind").unwrap_or("unknown");
    let account = mail.text("user").unwrap_or("unknown");
    let instant = |at: DateTime| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let next = match mail.failed_at {
        Some(at) => format!("given up {}", instant(at)),
        None => format!("next try {}", instant(mail.run_at)),
    };
    let tries = match mail.attempts {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    };
    let mut line = format!("{}  {kind}  account {account}  {tries}  {next}", mail.id);
    if let Some(error) = &mail.last_error {
        // In one line, whatever a job has failed with.
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(line, "  {error}");
    }
    line
}
