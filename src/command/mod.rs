//! The sub-commands. Each opens the database, does its errand through a service, and closes it again.

mod audit;
mod bench;
mod database;
mod health;
mod import;
mod keys;
mod mail;
mod progress;
mod retention;
mod role;
mod schema;
mod serve;
mod user;
mod webhook;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use anyhow::bail;
use cardea::config::{Config, LogFormat};
use cardea::crypto::master_key;
use cardea::http;
use cardea::traces::{self, Traces};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// User accounts behind one GraphQL schema, on PostgreSQL
#[derive(Parser, Debug)]
#[command(name = "cardea", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// Whether the server is asked for, and no errand.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve))
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Ask the server of this machine whether it can serve; exits with 0 if so
    Health(health::Health),
    /// Change the schema of the database
    Migrate {
        #[command(subcommand)]
        direction: Migrate,
    },
    /// Work with the GraphQL schema
    Schema {
        #[command(subcommand)]
        action: schema::Schema,
    },
    /// Work with accounts
    User {
        #[command(subcommand)]
        action: user::User,
    },
    /// Take in accounts from elsewhere
    Import(import::Import),
    /// Work with roles
    Role {
        #[command(subcommand)]
        action: role::Role,
    },
    /// Work with the keys that sign access tokens, and with the master key
    Keys {
        #[command(subcommand)]
        action: keys::Keys,
    },
    /// Work with the audit trail
    Audit {
        #[command(subcommand)]
        action: audit::Audit,
    },
    /// Work with mails that were not sent yet
    Mail {
        #[command(subcommand)]
        action: mail::Mail,
    },
    /// Work with events for other services
    Webhook {
        #[command(subcommand)]
        action: webhook::Webhook,
    },
    /// Work with accounts that nobody uses
    Retention {
        #[command(subcommand)]
        action: retention::Retention,
    },
    /// Fill a database with made-up accounts, and measure
    Bench {
        #[command(subcommand)]
        action: bench::Bench,
    },
    /// Work with settings
    Config {
        #[command(subcommand)]
        action: Settings,
    },
}

#[derive(Subcommand, Debug)]
enum Migrate {
    /// Run the migrations that were not run yet
    Up,
    /// Take the newest migration back
    Down,
    /// List the migrations
    Status,
}

#[derive(Subcommand, Debug)]
enum Settings {
    /// Say everything that is wrong with the settings
    Check,
}

/// Does what the command line asks; gives what the program ends with.
///
/// # Errors
/// One line that says what is wrong.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli {
        mut config,
        command,
    } = cli;
    let unreadable = config.read_secret_files().err().unwrap_or_default();
    match command.unwrap_or(Command::Serve) {
        Command::Schema { action } => return schema::run(&action),
        Command::Health(asked) => health::run(config.listen, asked).await?,
        Command::Config {
            action: Settings::Check,
        } => check(&config, unreadable).await?,
        command => {
            check_quietly(&config, unreadable)?;
            let traces = match command {
                Command::Serve => Traces::start(&config)?,
                _ => None,
            };
            log(&config, traces.as_ref())?;
            let _errand = if matches!(command, Command::Serve) {
                None
            } else {
                Some(end_at_signals()?)
            };
            match command {
                Command::Serve => {
                    let served = serve::serve(config).await;
                    // Nothing runs on this thread any more.
                    if let Some(traces) = traces {
                        traces.end();
                    }
                    served
                }
                Command::Migrate { direction } => migrate(&config, &direction).await,
                Command::User { action } => user::run(config, action).await,
                Command::Role { action } => role::run(config, action).await,
                Command::Import(import) => import::run(config, import).await,
                Command::Keys { action } => keys::run(config, action).await,
                Command::Audit { action } => audit::run(config, action).await,
                Command::Retention { action } => retention::run(config, action).await,
                Command::Bench { action } => bench::run(config, action).await,
                Command::Mail { action } => mail::run(config, action).await,
                Command::Webhook { action } => webhook::run(config, action).await,
                Command::Schema { .. } | Command::Health(_) | Command::Config { .. } => Ok(()),
            }?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(config: &Config, unreadable: Vec<String>) -> anyhow::Result<()> {
    let mut problems = unreadable;
    problems.extend(config.problems());
    let seal = &config.seal;
    let (text, file) = (seal.master_key.as_ref(), seal.master_key_file.as_deref());
    let key = master_key::given(text, file, seal.master_key_command.as_deref()).await;
    problems.extend(key.err().map(|error| format!("{error:#}")));
    problems.extend(http::api(config).err().map(|error| format!("{error:#}")));
    if problems.is_empty() {
        println!("The settings are sound.");
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    bail!("{} of the settings cannot hold", problems.len());
}

fn check_quietly(config: &Config, unreadable: Vec<String>) -> anyhow::Result<()> {
    let mut problems = unreadable;
    problems.extend(config.problems());
    match problems.as_slice() {
        [] => Ok(()),
        [problem] => bail!("{problem}"),
        problems => bail!("the settings cannot hold:\n  {}", problems.join("\n  ")),
    }
}

/// Has an errand end at Ctrl-C and SIGTERM, as a program does that says nothing about them: the first process of a container
/// hears neither otherwise. What is under way in the database is rolled back when the connection is gone.
///
/// # Errors
/// If the system takes no more of those who wait for signals.
fn end_at_signals() -> io::Result<JoinSet<()>> {
    let mut waiting = JoinSet::new();
    for (kind, code) in [
        (SignalKind::interrupt(), 130),
        (SignalKind::terminate(), 143),
    ] {
        let mut told = signal(kind)?;
        waiting.spawn(async move {
            told.recv().await;
            std::process::exit(code);
        });
    }
    Ok(waiting)
}

/// Sets up the log, and beside it the traces. What is for traces never stands in the log.
fn log(config: &Config, traces: Option<&Traces>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| anyhow::anyhow!("CARDEA_LOG is no list of filter directives: {error}"))?;
    let filter = filter.add_directive(format!("{}=off", traces::TARGET).parse()?);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let log = tracing_subscriber::registry();
    match traces {
        // The filter is everybody's: what is not logged is not even looked at.
        None => log.with(lines).with(filter).init(),
        Some(traces) => log
            .with(lines.with_filter(filter))
            .with(traces.layer())
            .init(),
    }
    Ok(())
}

async fn migrate(config: &Config, direction: &Migrate) -> anyhow::Result<()> {
    let database = database::Database::open(config).await?;
    let result = async {
        match direction {
            Migrate::Up => {
                for name in database.db.migrate().await? {
                    println!("ran {name}");
                }
                println!("The database is up to date.");
            }
            Migrate::Down => match database.db.migrate_down().await? {
                Some(name) => println!("took back {name}"),
                None => println!("There is nothing to take back."),
            },
            Migrate::Status => {
                let pending = database.db.pending_migrations().await?;
                for name in cardea::db::migration_names()? {
                    println!(
                        "{} {name}",
                        if pending.contains(&name) {
                            "pending"
                        } else {
                            "done   "
                        }
                    );
                }
            }
        }
        Ok(())
    }
    .await;
    database.close().await?;
    result
}
