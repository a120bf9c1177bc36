//! A PostgreSQL of a test's own, and one that follows it by streaming replication.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use cardea::db::single_connection;
use cardea::embedded::{Embedded, Settings, running_as_root};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::harness::postgres::{Postgres, signal};

/// Both; gone with the value, and within a minute where the test process is killed.
pub struct Replicated {
    replica: Option<Embedded>,
    folder: PathBuf,
    frozen: Vec<u32>,
    // Last: its end removes the folder of both.
    primary: Embedded,
}

impl Replicated {
    /// An empty database with its replica.
    pub async fn start() -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let primary = Embedded::throwaway(parent, None).expect("PostgreSQL starts");
        let url = primary.url();
        // A cluster of tests answers before it has written what it was told.
        sql(&url, "ALTER DATABASE cardea SET synchronous_commit = on").await;
        let data: PathBuf = text(&url, "current_setting('data_directory')").await.into();
        let programs: PathBuf = text(&url, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            .await
            .into();
        let around = data.parent().expect("a folder around it");
        let folder = around.join("replica");
        copy(&programs, &url, &folder);
        fs::copy(around.join("password"), folder.join("password")).expect("a copy");
        let owner = fs::metadata(&data).expect("a folder");
        give(&folder, (owner.uid(), owner.gid()));
        let mut replicated = Self {
            replica: None,
            folder,
            frozen: Vec::new(),
            primary,
        };
        replicated.follow();
        replicated
    }

    /// Where the primary is.
    pub fn primary(&self) -> SecretString {
        self.primary.url()
    }

    /// Where the replica is, also while it does not run.
    pub fn replica(&self) -> SecretString {
        self.replica.as_ref().expect("it was started").url()
    }

    /// Starts the replica, or starts it again at a port of its own.
    pub fn follow(&mut self) {
        let settings = Settings {
            dir: self.folder.clone(),
            bin_dir: None,
            durable: false,
        };
        self.replica = Some(Embedded::start(&settings).expect("the replica starts"));
    }

    /// Stops each process of the replica where it is: it hangs.
    pub async fn freeze(&mut self) {
        let processes =
            "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
        let processes = text(&self.replica(), processes).await;
        let server = Postgres::find(&self.folder.join("data")).expect("it runs");
        let processes = processes
            .split(' ')
            .map(|pid| pid.parse().expect("a number"));
        self.frozen = processes.chain([server.pid]).collect();
        for &process in &self.frozen {
            assert!(signal(process, "STOP"));
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        for process in self.frozen.drain(..) {
            signal(process, "CONT");
        }
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        self.thaw();
        if let Some(replica) = self.replica.take() {
            replica.stop().ok();
        }
    }
}

/// Runs statements on the server at `url`.
pub async fn sql(url: &SecretString, sql: &str) {
    let mut conn = single_connection(url).await.expect("PostgreSQL answers");
    conn.batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The one text that a query or an expression gives.
pub async fn text(url: &SecretString, sql: &str) -> String {
    let mut conn = single_connection(url).await.expect("PostgreSQL answers");
    let row: Row = diesel::sql_query(format!("SELECT ({sql})::text AS value"))
        .get_result(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    row.value
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

/// Copies the files of a running server into the folder `data` of a new one, which will follow it.
fn copy(programs: &Path, primary: &SecretString, folder: &Path) {
    let primary = Url::parse(primary.expose_secret()).expect("an address");
    fs::create_dir(folder).expect("a folder");
    let mut copy = Command::new(programs.join("pg_basebackup"));
    copy.args([
        "-h",
        "127.0.0.1",
        "-p",
        &primary.port().expect("a port").to_string(),
    ]);
    copy.args([
        "-U",
        primary.username(),
        "-X",
        "stream",
        "-c",
        "fast",
        "-R",
        "-D",
    ]);
    copy.arg(folder.join("data"));
    copy.env("PGPASSWORD", primary.password().unwrap_or_default());
    let copied = copy.output().expect("pg_basebackup runs");
    assert!(copied.status.success(), "{copied:?}");
}

/// Gives a file, or a folder with all that is in it, to the account that runs PostgreSQL.
fn give(path: &Path, (user, group): (u32, u32)) {
    if !running_as_root() {
        return;
    }
    chown(path, Some(user), Some(group)).expect("root may");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            give(&entry.expect("an entry").path(), (user, group));
        }
    }
}
