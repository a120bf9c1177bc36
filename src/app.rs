//! The values that everything shares. It is put together once, at start, and holds no logic of the product.

use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::access_token::{self, KeySet};
use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::password::{Busy, PasswordHasher, Verdict};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::mail::{Inbox, Mailer};
use crate::models::signing_key::SigningKey;
use crate::scalar::DateTime;

/// Everything a request or a job needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// Hashes and verifies passwords.
    pub passwords: PasswordHasher,
    /// Signs and verifies access tokens.
    pub keys: KeySet,
    /// Where mails go.
    pub mailer: Mailer,
    /// What time it is.
    pub clock: Clock,
    /// Tasks that outlive the request that began them; waited for when the server stops.
    pub tasks: TaskTracker,
    /// Says that the server stops.
    pub shutdown: CancellationToken,
}

impl App {
    /// Puts the values together; makes the first signing key where the database has none.
    ///
    /// # Errors
    /// If the database cannot be reached or its schema is not up to date, or a setting cannot hold.
    pub async fn new(config: Config, db: Db, clock: Clock) -> anyhow::Result<Self> {
        let password = &config.password;
        let threads = password
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let passwords = PasswordHasher::new(
            password.argon2_memory_kib,
            password.argon2_passes,
            threads,
            password.queue,
        )?;
        let keys = load_keys(&config, &db, &clock).await?;
        let mailer = if config.inbox() {
            Mailer::Inbox(Inbox::default())
        } else {
            Mailer::Held
        };
        Ok(Self {
            config: Arc::new(config),
            db,
            passwords,
            keys,
            mailer,
            clock,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        })
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    /// The hash to keep for `password`. Hold no connection meanwhile: it takes long.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when too many passwords wait.
    pub async fn hash_password(&self, password: SecretString) -> Result<String> {
        Ok(self.passwords.hash(password).await.map_err(busy)??)
    }

    /// Compares `password` with `stored`. Hold no connection meanwhile: it takes long.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when too many passwords wait.
    pub async fn verify_password(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<Verdict> {
        Ok(self
            .passwords
            .verify(password, stored)
            .await
            .map_err(busy)??)
    }
}

fn busy(Busy(wait): Busy) -> Error {
    Error::RateLimited(wait)
}

async fn load_keys(config: &Config, db: &Db, clock: &Clock) -> anyhow::Result<KeySet> {
    let unreachable = |error: Error| anyhow::anyhow!("the signing keys cannot be read: {error:?}");
    let mut conn = db.conn().await.map_err(unreachable)?;
    let mut rows = SigningKey::all(&mut conn).await?;
    if rows.iter().all(|row| row.retired_at.is_some()) {
        let private_key = access_token::generate_private_key()?;
        SigningKey::add_if_none(
            &mut conn,
            Uuid::now_v7(),
            &private_key,
            DateTime(clock.now()),
        )
        .await?;
        rows = SigningKey::all(&mut conn).await?;
    }
    KeySet::new(
        &rows,
        config.token_issuer(),
        config.session.token_audience.clone(),
        config.access_token_lifetime(),
    )
}
