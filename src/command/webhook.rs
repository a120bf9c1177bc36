//! `webhook`: the services that are told of accounts, for the operator. It shows no address and no secret.

use anyhow::{anyhow, bail};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::models::webhook::{Dead, Standing};
use cardea::scalar::DateTime;
use cardea::services::webhook;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::command::database::Database;

/// Most lines of a list.
const MOST: i64 = 1000;

#[derive(Subcommand, Debug)]
pub(super) enum Webhook {
    /// List the services: name, events that wait, the oldest of them, events that were given up
    List,
    /// List the events that were given up, the oldest first, at most 1000: id, service, account, number, kind, tries, when and why
    Dead,
    /// Send again what was given up, with the ids that it had
    Replay(Replay),
    /// Send a test event to the services that the settings name
    Test(Test),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Replay {
    /// The events, as `webhook dead` names them
    ids: Vec<Uuid>,
    /// All of them
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
pub(super) struct Test {
    /// The service, as the settings name it [default: all of them]
    name: Option<String>,
}

/// Does what the command line asks.
///
/// # Errors
/// One line that says what is wrong.
pub(super) async fn run(config: Config, action: Webhook) -> anyhow::Result<()> {
    let database = Database::open(&config).await?;
    let done = async {
        database.prepare(&config).await?;
        if let Webhook::Test(test) = action {
            let app = App::new(config, database.db.clone(), Clock::system()).await?;
            return send_test(&app, test.name.as_deref()).await;
        }
        let unavailable = |error| anyhow!("the database cannot be asked: {error:?}");
        let mut conn = database.db.conn().await.map_err(unavailable)?;
        match action {
            Webhook::List => {
                let endpoints = Standing::all(&mut conn).await?;
                if endpoints.is_empty() {
                    println!("No service is told of accounts.");
                }
                for one in &endpoints {
                    println!("{}", standing(one));
                }
            }
            Webhook::Dead => {
                let dead = Dead::list(&mut conn, MOST).await?;
                if dead.is_empty() {
                    println!("No event was given up.");
                }
                for event in &dead {
                    println!("{}", line(event));
                }
            }
            Webhook::Replay(replay) => {
                let ids = (!replay.all).then_some(&*replay.ids);
                let now = DateTime(Clock::system().now());
                let begun = Dead::replay(&mut conn, ids, now).await?;
                println!("{begun} events will be sent again.");
                if begun < replay.ids.len() {
                    bail!("{} were not given up", replay.ids.len() - begun);
                }
            }
            Webhook::Test(_) => {}
        }
        Ok(())
    }
    .await;
    database.close().await?;
    done
}

async fn send_test(app: &App, name: Option<&str>) -> anyhow::Result<()> {
    let endpoints = app.webhooks.endpoints().iter();
    let chosen: Vec<_> = endpoints
        .filter(|endpoint| name.is_none_or(|name| endpoint.name == name))
        .collect();
    if chosen.is_empty() {
        bail!("the settings name no such service");
    }
    let mut refused = 0;
    for endpoint in chosen {
        match webhook::test(app, endpoint).await {
            Ok(status) => println!("{}  {status}", endpoint.name),
            Err(refusal) => {
                println!("{}  {}", endpoint.name, one_line(&refusal.why));
                refused += 1;
            }
        }
    }
    if refused > 0 {
        bail!("{refused} did not take it");
    }
    Ok(())
}

fn instant(at: DateTime) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn standing(one: &Standing) -> String {
    let since = one.oldest.map(|at| format!(" since {}", instant(at)));
    let retired = one
        .retired_at
        .map(|at| format!("  told no more since {}", instant(at)));
    format!(
        "{}  {} wait{}  {} given up{}",
        one.name,
        one.waiting,
        since.unwrap_or_default(),
        one.dead,
        retired.unwrap_or_default()
    )
}

fn line(event: &Dead) -> String {
    let kind = event.payload.get("type").and_then(|kind| kind.as_str());
    format!(
        "{}  {}  account {}  {}  {}  {} tries  given up {}  {}",
        event.id,
        event.endpoint,
        event.account_id,
        event.sequence,
        kind.unwrap_or("unknown"),
        event.attempts,
        instant(event.failed_at),
        one_line(event.last_error.as_deref().unwrap_or_default())
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
