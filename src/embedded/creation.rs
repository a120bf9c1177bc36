//! Owns making a new cluster, so that a crash in the middle leaves nothing that counts as one.
//! Must not touch a data folder that exists.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::cluster::{Cluster, DATA, PASSWORD, ROLE, random_hex, succeeded};

const UNFINISHED: &str = "unfinished-";

impl Cluster {
    /// Makes the data folder unless it is there. A crash in the middle leaves nothing that counts.
    pub(super) fn create_if_missing(&self, durable: bool) -> Result<()> {
        self.remove_unfinished();
        if self.dir.join(DATA).exists() {
            return Ok(());
        }
        // Never the same name twice: a killed start may have left an initdb that still writes.
        let unfinished = self.dir.join(format!("{UNFINISHED}{}", random_hex::<8>()?));
        let created = self
            .create_in(&unfinished, durable)
            .context("cannot create the database");
        self.remove_unfinished();
        created
    }

    fn create_in(&self, unfinished: &Path, durable: bool) -> Result<()> {
        let password = random_hex::<32>()?;
        fs::create_dir(unfinished)?;
        write_private(&unfinished.join(PASSWORD), &password)?;
        self.account.give(&unfinished.join(PASSWORD))?;
        self.account.give(unfinished)?;

        // The first knows letters beyond ASCII; macOS and others may lack it.
        self.initdb(unfinished, "C.UTF-8", durable)
            .or_else(|_| self.initdb(unfinished, "C", durable))?;
        self.create_database(unfinished)?;

        // The data folder comes last: once it is there, the cluster is complete.
        write_private(&self.dir.join(PASSWORD), &password)?;
        fs::rename(unfinished.join(DATA), self.dir.join(DATA))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }

    fn initdb(&self, folder: &Path, locale: &str, durable: bool) -> Result<()> {
        let mut initdb = self.program("initdb");
        initdb
            .current_dir(folder)
            .args(["-D", DATA, "--data-checksums"]);
        initdb.args(["-U", ROLE, "--pwfile", PASSWORD, "--auth=scram-sha-256"]);
        initdb.args([
            "--encoding=UTF8",
            "--locale-provider=libc",
            "--locale",
            locale,
        ]);
        if !durable {
            initdb.arg("--no-sync");
        }
        succeeded("initdb", &initdb.output().context("cannot run initdb")?)
    }

    fn create_database(&self, folder: &Path) -> Result<()> {
        let mut postgres = self.program("postgres");
        postgres.current_dir(folder).args(["--single", "-D", DATA]);
        postgres.args(["-c", "exit_on_error=on", "postgres"]);
        postgres
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut postgres = postgres.spawn().context("cannot run postgres")?;
        let mut input = postgres.stdin.take().expect("its input is piped");
        // If this fails, postgres has ended, and its own words say why.
        writeln!(input, "CREATE DATABASE {ROLE}").ok();
        drop(input);
        succeeded("postgres", &postgres.wait_with_output()?)
    }

    /// Leaves what cannot be removed to the next start: an `initdb` that lost its parent may be
    /// at work there for another second.
    fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
