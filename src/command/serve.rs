//! `serve`: everything from the first connection to the last.

use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::{Config, LogFormat};
use cardea::services::{audit_chain, sealed, webhook};
use cardea::{http, listener, schedule, worker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::database::Database;

/// Serves until told to stop.
///
/// # Errors
/// One line that says why it cannot.
pub(super) async fn serve(mut config: Config) -> anyhow::Result<()> {
    allow_open_files(&mut config);
    // Before the database, which may take seconds to start.
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!(
            "cannot listen on {} (another one can be set with --listen)",
            config.listen
        )
    })?;
    // Port 0 stands for any that is free.
    config.listen = listener.local_addr()?;
    let for_metrics = match config.metrics_listen {
        Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address} for metrics (another one can be set with --metrics-listen)"
            )
        })?),
        None => None,
    };
    if let Some(listener) = &for_metrics {
        config.metrics_listen = Some(listener.local_addr()?);
    }
    // From here on a signal ends the server in order, wherever it is.
    let mut signals = Signals::new()?;
    // Meanwhile: it takes as long as everything that the database is asked.
    let settings = config.clone();
    let api = tokio::task::spawn_blocking(move || http::api(&settings));
    let database = Database::open(&config).await?;
    let served = async {
        tokio::select! {
            prepared = database.prepare(&config) => prepared?,
            // Another server's migrations may take long.
            () = signals.next() => return Ok(()),
        }
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        let sealed = sealed::seal_what_is_clear(&app).await;
        let sealed = sealed.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        if sealed > 0 {
            tracing::info!("Sealed {sealed} values from before their columns were");
        }
        if let Err(error) = audit_chain::make_months(&app).await {
            tracing::warn!(error = ?error, "The months of the audit trail could not be made");
        }
        let api = api.await??;
        if let Some(listener) = for_metrics {
            http::metrics::start(listener, &app, api.operations());
        }
        let router = http::routes(app.clone(), api);
        listener::start(&app);
        schedule::start(&app);
        // Before anything can change.
        if let Err(error) = webhook::register(&app).await {
            bail!("the webhooks could not be set: {error:?}");
        }
        worker::start(&app);
        if !app.mailer.sends() {
            tracing::warn!("No way to send mails is configured: they wait in the queue");
        }
        match app.config.log_format {
            // Whoever started the server may have closed its output.
            LogFormat::Text => drop(announce(&app)),
            // Whoever reads the log takes each line of the program's for an object.
            LogFormat::Json => {
                let (url, listen) = (app.config.public_url(), app.config.listen);
                tracing::info!(url, %listen, "Cardea is ready at {url}");
            }
        }
        let mut serving = pin!(http::serve::serve(listener, router, &app));
        let stop = async {
            signals.next().await;
            leave(&app, &mut signals).await;
            tracing::info!("Stopping");
            app.shutdown.cancel();
        };
        let served = tokio::select! {
            // It ends before it is told to only where it could not begin.
            served = &mut serving => served,
            () = stop => serving.await,
        };
        served.context("there are no threads to serve on")
    }
    .await;
    database.close().await?;
    served
}

/// Open files beside connections of clients and of the database: the program's own, mails, providers, webhooks.
const OTHER_FILES: usize = 128;

/// Lets the process open as many files as its connections take, where it may raise that itself; otherwise takes fewer
/// connections in, so that there is always a file left for the database.
fn allow_open_files(config: &mut Config) {
    let beside = OTHER_FILES + config.database.pool_size;
    let wanted = u64::try_from(config.http.max_connections + beside).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    // None stands for no limit.
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return;
    };
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let new = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, new) {
        Ok(()) => raised,
        Err(_) => current,
    };
    if allowed < wanted {
        let left = usize::try_from(allowed).unwrap_or(usize::MAX);
        let most = left.saturating_sub(beside).max(1);
        tracing::warn!(
            "At most {allowed} files may be open: {most} connections are taken in at once, and not {}",
            config.http.max_connections
        );
        config.http.max_connections = most;
        // Sockets leave room for requests.
        let live = most.saturating_mul(4) / 5;
        config.http.live_connections = config.http.live_connections.min(live);
    }
}

/// Ctrl-C and SIGTERM, from when the value is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Ends at the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Says to whoever asks that the server goes, and serves on until they have heard it: those who balance load send
/// requests here until their next look. Another signal ends it at once.
async fn leave(app: &App, signals: &mut Signals) {
    app.leaving.cancel();
    let delay = Duration::from_secs(app.config.http.shutdown_delay_secs);
    if !delay.is_zero() {
        tracing::info!("Told to stop; connections are taken in for {delay:?} more");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = signals.next() => {}
        }
    }
}

/// Tells a newcomer where everything is.
fn announce(app: &App) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let config = &app.config;
    let url = config.public_url();
    writeln!(out, "\nCardea is ready.\n")?;
    if config.playground() {
        writeln!(out, "  GraphiQL    {url}/")?;
    }
    writeln!(out, "  GraphQL     {url}/graphql")?;
    writeln!(out, "  Sign in     {url}/sign-in")?;
    if app.mailer.inbox().is_some() {
        writeln!(out, "  Mail inbox  {url}/inbox")?;
    }
    if let Some(address) = config.metrics_listen {
        writeln!(out, "  Metrics     http://{address}/metrics")?;
    }
    if config.public_url.is_some() {
        writeln!(out, "  Listening   {}", config.listen)?;
    }
    if config.database.url.is_none()
        && let Ok(dir) = config.data_dir()
    {
        writeln!(
            out,
            "  Data        {} (the server's own PostgreSQL)",
            dir.display()
        )?;
    }
    if !config.production() {
        writeln!(out, "\nTo make an administrator, in another terminal:\n")?;
        let program = if cfg!(debug_assertions) {
            "cargo run --"
        } else {
            "cardea"
        };
        let folder = config.database.data_dir.as_ref();
        let folder =
            folder.map_or_else(String::new, |dir| format!(" --data-dir {}", dir.display()));
        writeln!(
            out,
            "  {program}{folder} user create --admin --email you@example.org --full-name \"Your Name\""
        )?;
        writeln!(out, "\nCtrl-C stops the server.\n")?;
    }
    Ok(())
}
