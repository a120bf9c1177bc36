//! Owns running a server on one data folder: joining, launching and stopping it.
//! Must only be called by whoever holds the lock for that, which is taken in `mod.rs`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::account::Account;
use super::binaries::Binaries;
use super::postmaster::Postmaster;

/// The name of the superuser and of the database.
pub(super) const ROLE: &str = "cardea";

// The programs are run inside `dir` and given these names, not full paths: `pg_ctl` hands its
// arguments to a shell, which a quote or a dollar in a path would confuse.
pub(super) const DATA: &str = "data";
const LOG: &str = "postgres.log";
pub(super) const PASSWORD: &str = "password";

const PATIENCE: Duration = Duration::from_mins(1);
const LOG_LIMIT: u64 = 1 << 20;

/// What the log says when the next try may do better: the port was taken meanwhile, or the
/// remains of a killed server are still going away.
const PASSING: [&str; 3] = [
    "could not bind",
    "is still in use",
    "\"postmaster.pid\" already exists",
];

/// A data folder with its surroundings, and what it takes to run a server on it.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The folder around the data folder; a full path without links.
    pub(super) dir: PathBuf,
    pub(super) account: Account,
    binaries: Binaries,
}

impl Cluster {
    /// Finds the account and the programs that fit what is in `dir`.
    pub(super) fn open(dir: PathBuf, bin_dir: Option<&Path>) -> Result<Self> {
        let account = Account::for_data(dir.join(DATA))?;
        account.check_reach(&dir)?;
        let made_by = made_by(&dir.join(DATA))?;
        let binaries = Binaries::find(bin_dir, made_by, account)
            .with_context(|| format!("cannot run a database in {}", dir.display()))?;
        Ok(Self {
            dir,
            account,
            binaries,
        })
    }

    /// The superuser's password.
    pub(super) fn password(&self) -> Result<String> {
        let path = self.dir.join(PASSWORD);
        let password = fs::read_to_string(&path);
        let password = password.with_context(|| {
            let path = path.display();
            format!("cannot read {path}; put it back, or move its folder away to start afresh")
        })?;
        Ok(password.trim().to_owned())
    }

    /// Gives the port, and whether the server was already running.
    pub(super) fn join_or_launch(&self, durable: bool) -> Result<(u16, bool)> {
        for _ in 0..10 {
            if let Some(port) = self.running()? {
                return Ok((port, true));
            }
            if let Some(port) = self.launch(durable)? {
                return Ok((port, false));
            }
            sleep(Duration::from_millis(500));
        }
        bail!(
            "PostgreSQL does not start; {} says why",
            self.dir.join(LOG).display()
        )
    }

    /// The port of the server that runs, waiting for one that is just starting or stopping.
    pub(super) fn running(&self) -> Result<Option<u16>> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(postmaster) = self.postmaster()? {
            if let Some(port) = postmaster.answering() {
                return Ok(Some(port));
            }
            let log = self.dir.join(LOG);
            ensure!(
                Instant::now() < deadline,
                "PostgreSQL runs but does not answer; {} may say why",
                log.display()
            );
            sleep(Duration::from_millis(100));
        }
        Ok(None)
    }

    fn postmaster(&self) -> Result<Option<Postmaster>> {
        let data = self.dir.join(DATA);
        let file = data.join("postmaster.pid");
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        let status = self
            .program("pg_ctl")
            .args(["status", "-D", DATA])
            .output()
            .context("cannot run pg_ctl")?;
        match Postmaster::parse(&text) {
            Some(postmaster) if status.status.success() && postmaster.is_stranger(&data) => {
                // PostgreSQL would refuse to start while any process of its account has that
                // number. Its second guard against two servers, the shared memory, remains.
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
                Ok(None)
            }
            postmaster => Ok(postmaster.filter(|_| status.status.success())),
        }
    }

    /// Starts the server and gives its port, or nothing if it should be tried again.
    fn launch(&self, durable: bool) -> Result<Option<u16>> {
        let port = free_port().context("cannot find a free port")?;
        let (log, before) = self.open_log().context("cannot write the database's log")?;
        let mut pg_ctl = self.program("pg_ctl");
        pg_ctl.args(["start", "--silent", "--wait", "--timeout=60"]);
        pg_ctl.args(["-D", DATA, "-l", LOG, "-o", &options(port, durable)]);
        // No pipes, which the server would hold open.
        pg_ctl.stdout(Stdio::null()).stderr(log);
        if pg_ctl.status().context("cannot run pg_ctl")?.success() {
            return Ok(Some(port));
        }
        let said = self.read_log(before)?;
        if PASSING.iter().any(|passing| said.contains(passing)) {
            return Ok(None);
        }
        bail!(
            "PostgreSQL does not start; {} ends with:\n{}",
            self.dir.join(LOG).display(),
            last_lines(&said)
        )
    }

    fn open_log(&self) -> Result<(File, u64)> {
        let path = self.dir.join(LOG);
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
            fs::rename(&path, path.with_extension("log.old"))?;
        }
        let log = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        self.account.give(&path)?;
        let length = log.metadata()?.len();
        Ok((log, length))
    }

    fn read_log(&self, from: u64) -> Result<String> {
        let mut log = File::open(self.dir.join(LOG))?;
        log.seek(SeekFrom::Start(from))?;
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Stops the server and waits for it; fine if it does not run.
    pub(super) fn stop(&self) -> Result<()> {
        let mut pg_ctl = self.program("pg_ctl");
        pg_ctl.args(["stop", "--silent", "--wait", "--timeout=60"]);
        pg_ctl.args(["--mode=fast", "-D", DATA]);
        let stopped = pg_ctl.output().context("cannot run pg_ctl")?;
        if self.postmaster()?.is_none() {
            Ok(())
        } else {
            succeeded("pg_ctl stop", &stopped)
        }
    }

    /// One of PostgreSQL's programs, run as its account in `dir`.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = self.account.command(self.binaries.dir.join(name));
        command.current_dir(&self.dir);
        command
    }
}

/// The major version that made the cluster in `data`, if there is one.
fn made_by(data: &Path) -> Result<Option<u32>> {
    if !data.exists() {
        return Ok(None);
    }
    let version = fs::read_to_string(data.join("PG_VERSION")).ok();
    let Some(major) = version.and_then(|version| version.trim().parse().ok()) else {
        bail!(
            "{} is not a folder of PostgreSQL; move it away",
            data.display()
        );
    };
    Ok(Some(major))
}

/// The server's own options; read by a shell, so nothing from outside may go in here.
fn options(port: u16, durable: bool) -> String {
    // Terse, because the details of an error show rows, and rows hold people's addresses.
    let common = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
        -c timezone=UTC -c log_timezone=UTC -c log_error_verbosity=terse -c cluster_name=cardea";
    let purpose = if durable {
        "-c max_connections=100"
    } else {
        "-c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    };
    format!("-c port={port} {common} {purpose}")
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

pub(super) fn succeeded(program: &str, output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        last_lines(&String::from_utf8_lossy(&output.stderr))
    );
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

/// `N` random bytes, written in hexadecimal.
pub(super) fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    let mut text = String::with_capacity(2 * N);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String can always be written to");
    }
    Ok(text)
}
