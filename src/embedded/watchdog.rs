//! Owns the end of a throwaway cluster, which comes right after that of the process that made it.
//! Must not touch anything but that cluster's folder.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::account::Account;
use super::binaries::Binaries;

const STOP: &str =
    r#"trap '' HUP INT TERM; cat >/dev/null; "$0" stop -s -D data -m immediate -w -t 10"#;

/// Tries again because a program that was cut off while it made the cluster may still write there.
const REMOVE: &str = r#"trap '' HUP INT TERM; cat >/dev/null
for pause in 0 1 2 4; do sleep $pause; rm -rf "$0" && exit; done; exit 1"#;

/// Two shells in a row that wait for this value, or this process, to go away: the first stops
/// the server, then the second removes the folder.
///
/// Each waits for the end of its input, which comes even after `kill -9`. They are two because as
/// root the first must be the server's account and the second must not.
#[derive(Debug)]
pub(super) struct Watchdog {
    stopper: Child,
    remover: Child,
}

impl Watchdog {
    /// Starts watching over the cluster in `dir`.
    pub(super) fn spawn(dir: &Path, binaries: &Binaries, account: Account) -> Result<Self> {
        let mut stopper = account.command("/bin/sh");
        stopper
            .args(["-c", STOP])
            .arg(binaries.dir.join("pg_ctl"))
            .current_dir(dir);
        let mut stopper = detached(&mut stopper, Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run /bin/sh")?;
        let output = stopper.stdout.take().expect("its output is piped");

        let mut remover = Command::new("/bin/sh");
        remover
            .args(["-c", REMOVE])
            .arg(dir)
            .current_dir("/")
            .stdin(output);
        let remover = detached(&mut remover, Stdio::null())
            .spawn()
            .context("cannot run /bin/sh")?;
        Ok(Self { stopper, remover })
    }

    /// Ends the cluster now and waits until nothing is left of it.
    pub(super) fn finish(mut self) -> Result<()> {
        // `wait` closes the input first. Its status says nothing: the server may be gone already.
        self.stopper
            .wait()
            .context("cannot wait for the test database to stop")?;
        let removed = self
            .remover
            .wait()
            .context("cannot wait for the test database to be removed")?;
        ensure!(
            removed.success(),
            "cannot remove the folder of the test database"
        );
        Ok(())
    }
}

/// Away from the terminal's Ctrl-C and from the pipes that a test runner reads to their end.
fn detached(command: &mut Command, stdout: Stdio) -> &mut Command {
    command
        .process_group(0)
        .stdout(stdout)
        .stderr(Stdio::null())
}
