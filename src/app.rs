//! The values that everything shares. It is put together once, at start, and holds no logic of the product.

use std::ops::Deref;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::access_cache::AccessCache;
use crate::auth::access_token::{self, Claims, KeySet};
use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::master_key;
use crate::crypto::passkey::RelyingParty;
use crate::crypto::password::{Busy, PasswordHasher, Verdict};
use crate::crypto::seal::{DataKey, MasterKeys};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::live::{Live, Times};
use crate::mail::{Inbox, Mailer, Smtp};
use crate::metrics::Logins;
use crate::models::audit_event::AuditEvent;
use crate::models::data_key::{InstallationKey, WrappedKey};
use crate::models::signing_key::{NewSigningKey, SigningKey};
use crate::provider::Providers;
use crate::refusals::Refusals;
use crate::scalar::DateTime;
use crate::together::Together;
use crate::webhook::Webhooks;

/// How long after a search for a key that was not there nobody searches again.
const SEARCH_PAUSE: TimeDelta = TimeDelta::seconds(1);

/// Everything a request or a job needs, its [`Parts`]. Cheap to clone: one counter, whereas each layer that a request
/// passes has an application of its own.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is put together from.
#[derive(Clone)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// Hashes and verifies passwords.
    pub passwords: PasswordHasher,
    /// Checks passkeys; none where no page could use any.
    pub passkeys: Option<Arc<RelyingParty>>,
    /// Signs and verifies access tokens.
    pub keys: KeySet,
    /// Wrap the keys of what is sealed.
    pub master_keys: Arc<MasterKeys>,
    /// Chains the audit trail, and seals what stands there of people without an account.
    pub audit_key: Arc<DataKey>,
    /// What is remembered of live sessions.
    pub access: AccessCache,
    /// Who follows what happens.
    pub live: Live,
    /// Where mails go.
    pub mailer: Mailer,
    /// With whom people may sign in elsewhere.
    pub providers: Providers,
    /// Entries of the audit trail about what was shown, on their way.
    pub shown: Together<AuditEvent>,
    /// Which services are told of accounts.
    pub webhooks: Webhooks,
    /// How often the log was told of what limits refuse.
    pub refusals: Arc<Refusals>,
    /// Steps of signing in that were tried.
    pub logins: Arc<Logins>,
    /// What time it is.
    pub clock: Clock,
    /// When the application was put together.
    pub started_at: DateTime,
    /// Tasks that outlive the request that began them; waited for when the server stops.
    pub tasks: TaskTracker,
    /// Says that the server was told to stop, and still takes requests in for a while.
    pub leaving: CancellationToken,
    /// Says that the server stops.
    pub shutdown: CancellationToken,
    key_search: Arc<KeySearch>,
}

/// The keys of an installation.
pub struct Secrets {
    /// Sign and verify access tokens.
    pub access_tokens: KeySet,
    /// Wrap the keys of what is sealed.
    pub master: MasterKeys,
    /// Chains the audit trail.
    pub audit: DataKey,
}

/// Takes turns at reading the keys.
#[derive(Default)]
struct KeySearch {
    /// Held while the keys are read, so that older ones never come in the place of newer ones.
    reading: Mutex<()>,
    /// When a key that a token named was last looked for.
    last: Mutex<Option<DateTime>>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the values together; makes the first signing key where the database has none.
    ///
    /// # Errors
    /// If the database cannot be reached or its schema is not up to date, or a setting cannot hold.
    pub async fn new(config: Config, db: Db, clock: Clock) -> anyhow::Result<Self> {
        let access_tokens = load_keys(&config, &db, &clock).await?;
        let master = load_master_keys(&config, &db).await?;
        let audit = load_audit_key(&master, &db, &clock).await?;
        let secrets = Secrets {
            access_tokens,
            master,
            audit,
        };
        Self::assemble(config, db, clock, secrets)
    }

    /// Puts the values together without asking anybody.
    ///
    /// # Errors
    /// If a setting cannot hold.
    pub fn assemble(
        config: Config,
        db: Db,
        clock: Clock,
        secrets: Secrets,
    ) -> anyhow::Result<Self> {
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
        let passkeys = config.webauthn_rp_id().and_then(|id| {
            let (name, origins) = (&config.product_name, config.webauthn_origins());
            RelyingParty::new(&id, name, &origins).map(Arc::new)
        });
        let mailer = if config.inbox() {
            Mailer::Inbox(Inbox::default())
        } else if let Some(smtp) = Smtp::new(&config)? {
            Mailer::Smtp(smtp)
        } else {
            Mailer::Held
        };
        let providers = Providers::new(&config.providers)?;
        let webhooks = Webhooks::new(&config)?;
        let live = Live::new(
            config.http.live_connections,
            config.http.live_connections_per_account,
            config.database.pool_size,
        );
        Ok(Self(Arc::new(Parts {
            config: Arc::new(config),
            db,
            passwords,
            passkeys,
            keys: secrets.access_tokens,
            master_keys: Arc::new(secrets.master),
            audit_key: Arc::new(secrets.audit),
            access: AccessCache::default(),
            live,
            mailer,
            providers,
            shown: Together::default(),
            webhooks,
            refusals: Arc::default(),
            logins: Arc::default(),
            started_at: DateTime(clock.now()),
            clock,
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            key_search: Arc::default(),
        })))
    }

    /// The same whose live connections keep other times: for tests, which cannot wait that long.
    #[must_use]
    pub fn with_live_times(&self, times: Times) -> Self {
        let mut parts = Parts::clone(self);
        parts.live.times = times;
        Self(Arc::new(parts))
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    /// Reads the keys of access tokens anew. Hold no connection meanwhile.
    ///
    /// # Errors
    /// If the database cannot be asked or a key cannot be read; the keys before stay then.
    pub async fn reload_keys(&self) -> anyhow::Result<()> {
        let _turn = self.key_search.reading.lock().await;
        let mut conn = self.db.conn().await.map_err(|error| unreadable(&error))?;
        self.keys.replace(&SigningKey::all(&mut conn).await?)
    }

    /// What an access token says, if it is good. Hold no connection meanwhile: a key that this
    /// server has not met yet is looked for in the database, at most once a second.
    pub async fn verify_access_token(&self, token: &str) -> Option<Arc<Claims>> {
        let now = self.now();
        let claims = self.keys.verify(token, now);
        if claims.is_some() || !self.keys.misses_key_of(token, now) {
            return claims;
        }
        let mut last = self.key_search.last.lock().await;
        // Whoever waited here finds what the one before has read.
        let now = self.now();
        // A clock that was set back must not keep everybody waiting.
        let rests = last.is_some_and(|last| (last..DateTime(*last + SEARCH_PAUSE)).contains(&now));
        if self.keys.misses_key_of(token, now) && !rests {
            if let Err(error) = self.reload_keys().await {
                tracing::warn!(error = %error, "The signing keys could not be read: {error:#}");
            }
            *last = Some(self.now());
        }
        drop(last);
        self.keys.verify(token, self.now())
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

fn unreadable(error: &Error) -> anyhow::Error {
    anyhow::anyhow!("the signing keys cannot be read: {error:?}")
}

/// The master keys, if they are those that the database was sealed with.
async fn load_master_keys(config: &Config, db: &Db) -> anyhow::Result<MasterKeys> {
    let seal = &config.seal;
    let (text, file) = (seal.master_key.as_ref(), seal.master_key_file.as_deref());
    let given = master_key::given(text, file, seal.master_key_command.as_deref()).await?;
    let mut conn = db.conn().await.map_err(|error| unreadable(&error))?;
    let keys = if let Some(keys) = given {
        keys
    } else {
        let path = config.data_dir()?.join("master.key");
        // A new key would open nothing of what is there.
        if !path.exists() && WrappedKey::any_by_others(&mut conn, &[]).await? {
            bail!(
                "the database holds sealed values, and {} with their master key is gone; put it back, or set CARDEA_MASTER_KEY",
                path.display()
            );
        }
        master_key::read_or_make(&path)?
    };
    let ids: Vec<_> = keys.ids().collect();
    if WrappedKey::any_by_others(&mut conn, &ids).await? {
        bail!(
            "the database holds values that were sealed with another master key; give that one, too"
        );
    }
    Ok(keys)
}

/// The key of the audit trail, made where there is none.
async fn load_audit_key(masters: &MasterKeys, db: &Db, clock: &Clock) -> anyhow::Result<DataKey> {
    let mut conn = db.conn().await.map_err(|error| unreadable(&error))?;
    let purpose = InstallationKey::AUDIT;
    let found = if let Some(found) = InstallationKey::find(&mut conn, purpose).await? {
        found
    } else {
        let (_, wrapped_key, master) = masters.new_data_key(Uuid::nil())?;
        let new = InstallationKey {
            wrapped_key,
            master_key_id: master.to_vec(),
        };
        let now = DateTime(clock.now());
        new.insert_if_missing(&mut conn, purpose, now).await?;
        // Of two servers that start together both use the same.
        let found = InstallationKey::find(&mut conn, purpose).await?;
        found.context("the key of the audit trail was not kept")?
    };
    masters
        .unwrap(Uuid::nil(), &found.wrapped_key, &found.master_key_id)
        .context("the key of the audit trail")
}

/// The keys in the database, after making one where there is none.
async fn load_keys(config: &Config, db: &Db, clock: &Clock) -> anyhow::Result<KeySet> {
    let mut conn = db.conn().await.map_err(|error| unreadable(&error))?;
    let mut rows = SigningKey::all(&mut conn).await?;
    if rows.is_empty() {
        let private_key = access_token::generate_private_key()?;
        let now = DateTime(clock.now());
        rows = conn
            .transaction::<_, diesel::result::Error, _>(async |conn| {
                // Of two servers that start together one adds a key.
                SigningKey::lock(conn).await?;
                if SigningKey::all(conn).await?.is_empty() {
                    let key = NewSigningKey {
                        id: Uuid::now_v7(),
                        algorithm: access_token::ALGORITHM,
                        private_key: &private_key,
                        created_at: now,
                        signs_from: now,
                    };
                    SigningKey::add(conn, &key).await?;
                }
                SigningKey::all(conn).await
            })
            .await?;
    }
    KeySet::new(
        &rows,
        config.token_issuer(),
        config.session.token_audience.clone(),
        config.access_token_lifetime(),
    )
}
