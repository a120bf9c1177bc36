//! `serve`: everything from the first connection to the last.

use anyhow::Context as _;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::{http, worker};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::database::Database;

/// Serves until told to stop.
///
/// # Errors
/// One line that says why it cannot.
pub(super) async fn serve(config: Config) -> anyhow::Result<()> {
    // Before the database, which may take seconds to start.
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!(
            "cannot listen on {} (another one can be set with --listen)",
            config.listen
        )
    })?;
    // From here on a signal ends the server in order, wherever it is.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let database = Database::open(&config).await?;
    let served = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        let router = http::router(app.clone())?;
        if app.mailer.inbox().is_some() {
            worker::start(&app);
        } else {
            tracing::warn!("No way to send mails is configured: they wait in the queue");
        }
        announce(&app);
        let serving = http::serve::serve(listener, router, &app);
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("Stopping");
            app.shutdown.cancel();
        };
        tokio::join!(serving, stop);
        Ok(())
    }
    .await;
    database.close().await?;
    served
}

/// Tells a newcomer where everything is.
fn announce(app: &App) {
    let config = &app.config;
    let url = config.public_url();
    println!("\nCardea is ready.\n");
    if config.playground() {
        println!("  GraphiQL    {url}/");
    }
    println!("  GraphQL     {url}/graphql");
    if app.mailer.inbox().is_some() {
        println!("  Mail inbox  {url}/inbox");
    }
    if config.database.url.is_none()
        && let Ok(dir) = config.data_dir()
    {
        println!(
            "  Data        {} (the server's own PostgreSQL)",
            dir.display()
        );
    }
    if !config.production() {
        println!("\nTo make an administrator, in another terminal:\n");
        println!(
            "  cargo run -- user create --admin --email you@example.org --full-name \"Your Name\""
        );
        println!("\nCtrl-C stops the server.\n");
    }
}
