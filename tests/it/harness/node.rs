//! Scripts that run in Node against a server, their packages installed by npm outside the sources.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const INSTALL_LIMIT: Duration = Duration::from_mins(5);
const RUN_LIMIT: Duration = Duration::from_mins(3);

/// A folder of scripts below `tests`, copied to where packages may be installed.
pub struct Scripts {
    folder: PathBuf,
}

impl Scripts {
    /// The scripts of `tests/<folder>` with their packages, and `others`, files that they import.
    /// `None`, with a notice, on a machine without Node; a CI without it fails.
    ///
    /// Blocks while npm works, and while another test installs the same.
    pub fn installed(folder: &str, others: &[&str]) -> Option<Self> {
        for program in ["node", npm()] {
            let found = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !found.is_ok_and(|status| status.success()) {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copies = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
        let inner = Path::new("tests").join(folder);
        let folder = copies.join(&inner);
        fs::create_dir_all(&folder).expect("a folder under target/");
        // Released when it is dropped; it holds between threads and between processes.
        let lock = File::create(folder.join(".lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let scripts = fs::read_dir(sources.join(&inner)).expect("the folder of scripts");
        for script in scripts {
            let script = script.expect("an entry");
            if script.file_type().expect("a type").is_file() {
                copy(&script.path(), &folder.join(script.file_name()));
            }
        }
        for other in others {
            copy(&sources.join(other), &copies.join(other));
        }
        install(&folder);
        Some(Self { folder })
    }

    /// Runs a script with these variables; gives what it printed. Fails the test if the script does.
    pub fn run(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = Command::new("node");
        command.arg(script).envs(variables.iter().copied());
        let (status, printed) = run(command, &self.folder, script, RUN_LIMIT);
        assert!(status.success(), "{script} failed:\n{printed}");
        printed
    }
}

/// Says past the test harness, which keeps the output of tests that pass to itself.
pub fn say(text: &str) {
    // Whether anybody reads it changes nothing.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Notes that a test cannot run on this machine; in CI, where it must, that fails it.
pub fn skip(reason: &str) {
    assert!(variable("CI").is_none(), "{reason}, which CI needs");
    say(&format!("skipped: {reason}"));
}

/// A variable of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "says on what machine the tests run, and sets nothing of the server"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// Copies what differs, so that no script changes under a process that reads it.
fn copy(from: &Path, to: &Path) {
    let content = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    if fs::read(to).is_ok_and(|present| present == content) {
        return;
    }
    fs::create_dir_all(to.parent().expect("it lies in a folder")).expect("a folder");
    fs::write(to, content).expect("a file under target/");
}

/// Installs what the lock file names, unless the same was installed before.
fn install(folder: &Path) {
    let wanted = fs::read(folder.join("package-lock.json")).expect("a lock file of npm");
    // In there, so that it goes when `node_modules` goes.
    let stamp = folder.join("node_modules/.installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return;
    }
    let mut command = Command::new(npm());
    command.args(["ci", "--ignore-scripts", "--prefer-offline"]);
    command.args(["--no-audit", "--no-fund", "--fetch-retries=1"]);
    let (status, printed) = run(command, folder, "npm", INSTALL_LIMIT);
    assert!(status.success(), "npm ci failed:\n{printed}");
    fs::write(stamp, wanted).expect("a file under target/");
}

/// Runs a program in `folder` to its end; gives what it printed, on either stream.
pub fn run(
    mut command: Command,
    folder: &Path,
    name: &str,
    limit: Duration,
) -> (ExitStatus, String) {
    // A file and not a pipe, which whatever the program started could hold open.
    let log = folder.join(format!("{name}.log"));
    let output = File::create(&log).expect("a file under target/");
    let errors = output.try_clone().expect("a second handle");
    let mut child = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("the state of a child") {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().expect("killed");
                break child.wait().expect("its end");
            }
        }
    };
    let printed = fs::read_to_string(&log).unwrap_or_default();
    (status, printed)
}
