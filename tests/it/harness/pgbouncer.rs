//! A `PgBouncer` in transaction mode before the test cluster.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use cardea::embedded::running_as_root;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use url::Url;

use crate::harness::node::{skip, variable};
use crate::harness::process::until;

/// Sessions that it has with PostgreSQL, for each database.
pub const SESSIONS: usize = 3;

/// The settings that the server asks for, as docs/OPERATIONS.md has them.
pub const CONNECT_QUERY: &str = "SET statement_timeout = 5000; SET lock_timeout = 2000; \
    SET idle_in_transaction_session_timeout = 10000; SET TimeZone = UTC";

/// One that runs until the value is dropped.
pub struct PgBouncer {
    program: String,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl PgBouncer {
    /// Started before PostgreSQL at `behind`, with these statements for each new session and these further lines of its
    /// settings. `None`, with a notice, on a machine without `PgBouncer` 1.21 or newer; a CI without it fails.
    pub fn before(behind: &SecretString, connect_query: &str, lines: &str) -> Option<Self> {
        let program = variable("PGBOUNCER").unwrap_or_else(|| "pgbouncer".to_owned());
        let said = Command::new(&program).arg("--version").output();
        let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
        if !said.as_deref().is_ok_and(is_new_enough) {
            skip("there is no PgBouncer 1.21 or newer (PGBOUNCER names the program)");
            return None;
        }
        let behind = Url::parse(behind.expose_secret()).expect("an address");
        let (user, password) = (behind.username(), behind.password().unwrap_or_default());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let users = folder.path().join("users.txt");
        fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("a file");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} connect_query='{connect_query}'\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {SESSIONS}\nmax_prepared_statements = 200\n{lines}\n",
            behind.port().expect("a port"),
            users.display()
        );
        fs::write(folder.path().join("pgbouncer.ini"), settings).expect("a file");
        drop(free);
        let mut started = Self {
            program,
            folder,
            port,
            child: None,
        };
        started.start();
        Some(started)
    }

    /// Starts it, and waits until it listens.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg(self.folder.path().join("pgbouncer.ini"));
        if running_as_root() {
            // Which it refuses to run as.
            command.args(["-u", "nobody"]);
        }
        let log = fs::File::create(self.folder.path().join("log")).expect("a file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("PgBouncer starts"));
        until("PgBouncer", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()
        });
    }

    /// Ends it at once, as a machine that fails.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The address of a database by way of it.
    pub fn url(&self, direct: &SecretString) -> SecretString {
        let mut url = Url::parse(direct.expose_secret()).expect("an address");
        url.set_port(Some(self.port)).expect("a port");
        String::from(url).into()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("PgBouncer said: {}", log.unwrap_or_default());
        }
        self.kill();
    }
}

/// Whether it keeps prepared statements, by what `pgbouncer --version` says.
fn is_new_enough(said: &str) -> bool {
    let version = said
        .split_whitespace()
        .nth(1)
        .and_then(|version| version.strip_prefix("1."));
    let minor = version.and_then(|rest| rest.split('.').next()?.parse().ok());
    minor.is_some_and(|minor: u32| minor >= 21)
}
