//! Opens the database that the settings name, or the server's own.

use anyhow::{Context as _, bail};
use cardea::config::Config;
use cardea::db::Db;
use cardea::embedded::{Embedded, Settings};

/// An open database, and the PostgreSQL that was started for it.
pub(super) struct Database {
    /// The pool.
    pub(super) db: Db,
    embedded: Option<Embedded>,
}

impl Database {
    /// Opens the database; starts the server's own PostgreSQL where the settings name none.
    ///
    /// # Errors
    /// One line that says why it cannot be used.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(weakness) = config.database.weak_tls() {
            tracing::warn!(
                "On the way to the database {weakness}; sslmode=verify-full protects it"
            );
        }
        let (url, embedded) = if let Some(url) = &config.database.url {
            (url.clone(), None)
        } else {
            let settings = Settings {
                dir: config.data_dir()?,
                bin_dir: config.database.postgres_bin_dir.clone(),
                durable: true,
            };
            let start = move || Embedded::start(&settings);
            let embedded = tokio::task::spawn_blocking(start).await??;
            (embedded.url(), Some(embedded))
        };
        let database = Self {
            db: Db::new(&url, &config.database)?,
            embedded,
        };
        if let Err(error) = database.db.check().await {
            database.close().await?;
            return Err(error);
        }
        Ok(database)
    }

    /// Brings the schema up to date where the settings allow it.
    ///
    /// # Errors
    /// If migrations are pending and may not be run, or one fails.
    pub(super) async fn prepare(&self, config: &Config) -> anyhow::Result<()> {
        if config.auto_migrate() {
            let run = self
                .db
                .migrate()
                .await
                .context("the database could not be brought up to date")?;
            if !run.is_empty() {
                tracing::info!("Ran {} migrations", run.len());
            }
            return Ok(());
        }
        let pending = self.db.pending_migrations().await?;
        if !pending.is_empty() {
            bail!(
                "{} migrations were not run yet; run `cardea migrate up`, or set CARDEA_AUTO_MIGRATE=true",
                pending.len()
            );
        }
        Ok(())
    }

    /// Closes the pool, and stops the PostgreSQL that nobody else uses.
    ///
    /// # Errors
    /// If it does not stop.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.db.close();
        if let Some(embedded) = self.embedded {
            tokio::task::spawn_blocking(move || embedded.stop()).await??;
        }
        Ok(())
    }
}
