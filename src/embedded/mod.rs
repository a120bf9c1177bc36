//! Owns the server's private PostgreSQL: creating, starting, joining and stopping it.
//! Must not know what the database is used for, and must not touch one given by `DATABASE_URL`.
//!
//! Everything here blocks: async code calls it through `spawn_blocking`.
//!
//! ```text
//! <dir>/start.lock    held alone by whoever creates, starts or stops the server
//! <dir>/use.lock      shared by every process that uses it; the last one out stops the server
//! <dir>/password      of the superuser `cardea`, readable by the owner only
//! <dir>/postgres.log  what the server says; the previous one ends in .old
//! <dir>/data/         the cluster; as root it belongs to an unprivileged account
//! ```

mod account;
mod binaries;
mod cluster;
mod creation;
mod postmaster;
mod watchdog;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use secrecy::SecretString;

use account::Account;
use binaries::Binaries;
use cluster::{Cluster, ROLE};
use watchdog::Watchdog;

/// Whether this process runs as root, which PostgreSQL refuses to.
#[must_use]
pub fn running_as_root() -> bool {
    account::is_root()
}

/// Where a private PostgreSQL lives and how it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that holds it; made if missing. As root, choose one that an unprivileged account
    /// can enter, which then runs it.
    pub dir: PathBuf,
    /// The folder of `initdb`, `pg_ctl` and `postgres`, and no other; searched for if `None`.
    pub bin_dir: Option<PathBuf>,
    /// Whether commits survive a power cut. Only tests can do without.
    pub durable: bool,
}

/// A running private PostgreSQL, kept running for as long as one process holds such a value.
///
/// Dropping the value without [`stop`](Self::stop) leaves the server running, and the next
/// [`start`](Self::start) joins it; a throwaway one goes away either way.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    url: SecretString,
    attached: bool,
    in_use: File,
    watchdog: Option<Watchdog>,
}

impl Embedded {
    /// Starts the PostgreSQL in `settings.dir`, made the first time, or joins it if it runs.
    ///
    /// Blocks until it accepts connections, and while another process starts or stops it.
    /// A server that is joined keeps the durability it was started with.
    ///
    /// # Errors
    /// No fitting PostgreSQL is installed, the folder cannot be used, or the server fails to start.
    pub fn start(settings: &Settings) -> Result<Self> {
        let dir = open_dir(&settings.dir)?;
        let starting = open_lock(&dir, START_LOCK)?;
        starting.lock().context("cannot lock the database folder")?;
        let in_use = open_lock(&dir, USE_LOCK)?;
        in_use
            .lock_shared()
            .context("cannot lock the database folder")?;

        let cluster = Cluster::open(dir, settings.bin_dir.as_deref())?;
        cluster.create_if_missing(settings.durable)?;
        let password = cluster.password()?;
        let (port, attached) = cluster.join_or_launch(settings.durable)?;
        let url = format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{ROLE}").into();
        Ok(Self {
            cluster,
            url,
            attached,
            in_use,
            watchdog: None,
        })
    }

    /// Starts an empty PostgreSQL for tests in a new folder under `parent`, not durable, that is
    /// stopped and removed when this value is dropped or this process ends, however it ends.
    ///
    /// As root, the system's temporary folder takes the place of a `parent` that the unprivileged
    /// account cannot enter.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn throwaway(parent: &Path, bin_dir: Option<&Path>) -> Result<Self> {
        let account = Account::for_data(parent.join("none"))?;
        let binaries = Binaries::find(bin_dir, None, account)?;
        let dir = throwaway_dir(parent, account)?;
        // Before anything runs in there, so that no end of this process leaves something behind.
        let watchdog = Watchdog::spawn(&dir, &binaries, account)?;
        let settings = Settings {
            dir,
            bin_dir: Some(binaries.dir),
            durable: false,
        };
        let embedded = Self::start(&settings)?;
        Ok(Self {
            watchdog: Some(watchdog),
            ..embedded
        })
    }

    /// The address of the database `cardea`, with the superuser's name and password.
    #[must_use]
    pub fn url(&self) -> SecretString {
        self.url.clone()
    }

    /// Whether the server was already running and has been joined.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Stops the server if no other process uses it, closing connections that are still open.
    ///
    /// # Errors
    /// The server does not stop within a minute.
    pub fn stop(self) -> Result<()> {
        if let Some(watchdog) = self.watchdog {
            return watchdog.finish();
        }
        let stopping = open_lock(&self.cluster.dir, START_LOCK)?;
        stopping.lock().context("cannot lock the database folder")?;
        self.in_use
            .unlock()
            .context("cannot unlock the database folder")?;
        match self.in_use.try_lock() {
            Ok(()) => self.cluster.stop(),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => {
                Err(error).context("cannot lock the database folder")
            }
        }
    }
}

const START_LOCK: &str = "start.lock";
const USE_LOCK: &str = "use.lock";

fn open_lock(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot open {}; does the folder belong to another user?",
                path.display()
            )
        })
}

/// Gives `dir` without links, after making it if it is missing.
fn open_dir(dir: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make the database folder {}", dir.display());
    if !dir.exists() {
        fs::create_dir_all(dir).with_context(cannot)?;
        // Another account may have to pass through it; what is secret inside has modes of its own.
        let mode = if account::is_root() { 0o755 } else { 0o700 };
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).with_context(cannot)?;
    }
    dir.canonicalize().with_context(cannot)
}

fn throwaway_dir(parent: &Path, account: Account) -> Result<PathBuf> {
    fs::create_dir_all(parent)
        .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let parent = match account.check_reach(parent) {
        Ok(()) => parent.to_owned(),
        Err(_) => std::env::temp_dir(),
    };
    account.check_reach(&parent)?;
    open_dir(&parent.join(format!("cardea-test-{}", cluster::random_hex::<8>()?)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use secrecy::ExposeSecret;

    use super::*;

    fn answers(embedded: &Embedded) -> bool {
        let url = embedded.url();
        let (_, address) = url
            .expose_secret()
            .split_once('@')
            .expect("the address has a password");
        TcpStream::connect(address.trim_end_matches("/cardea")).is_ok()
    }

    #[test]
    fn a_throwaway_runs_and_leaves_nothing_behind() {
        let throwaway = Embedded::throwaway(&std::env::temp_dir(), None).expect("starts");
        let dir = throwaway.cluster.dir.clone();
        assert!(answers(&throwaway) && !throwaway.attached());
        throwaway.stop().expect("stops");
        assert!(!dir.exists());
    }

    #[test]
    fn the_last_one_out_stops_the_server() {
        let parent = std::env::temp_dir().join(format!(
            "cardea-{}",
            cluster::random_hex::<8>().expect("random")
        ));
        let settings = Settings {
            dir: parent.join("new"),
            bin_dir: None,
            durable: false,
        };
        fs::create_dir(&parent).expect("a folder");
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).expect("its mode");

        let first = Embedded::start(&settings).expect("starts");
        let second = Embedded::start(&settings).expect("joins");
        assert!(!first.attached() && second.attached());
        first.stop().expect("leaves");
        assert!(answers(&second));
        let cluster = Cluster::open(second.cluster.dir.clone(), None).expect("opens");
        second.stop().expect("stops");
        assert!(cluster.running().expect("looks").is_none());
        fs::remove_dir_all(&parent).expect("removes");
    }
}
