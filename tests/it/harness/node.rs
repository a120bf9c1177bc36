//! Scripts that run in Node against a server, their packages installed by npm outside the sources.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const INSTALL_LIMIT: Duration = Duration::from_mins(5);
const RUN_LIMIT: Duration = Duration::from_mins(3);

/// A folder of the repository that npm installs packages for, copied to where it may.
pub struct Scripts {
    folder: PathBuf,
}

impl Scripts {
    /// The scripts of `tests/<folder>` with their packages, and `others`, files that they import.
    /// `None`, with a notice, on a machine without Node; a CI without it fails.
    ///
    /// Blocks while npm works, and while another test installs the same.
    pub fn installed(folder: &str, others: &[&str]) -> Option<Self> {
        let (scripts, _lock) = Self::locked("", &Path::new("tests").join(folder), others)?;
        Some(scripts)
    }

    /// The folder at `inner` after its `npm run build`, which runs where a file of it or of `others` has changed
    /// since the last time; otherwise as [`Scripts::installed`].
    pub fn built(inner: &str, others: &[&str]) -> Option<Self> {
        Self::built_by("build", inner, others)
    }

    /// As [`Scripts::built`], by another script than `build`, in a copy of its own.
    pub fn built_by(script: &str, inner: &str, others: &[&str]) -> Option<Self> {
        let place = script
            .strip_prefix("build")
            .unwrap_or(script)
            .replace(':', "");
        let (scripts, _lock) = Self::locked(&place, Path::new(inner), others)?;
        let mut files = Vec::new();
        let root = sources();
        collect(&root.join(inner), &mut files);
        for other in others {
            collect(&root.join(other), &mut files);
        }
        let state = digest(&files);
        let stamp = scripts.folder.join("node_modules/.built");
        if fs::read_to_string(&stamp).is_ok_and(|built| built == state) {
            return Some(scripts);
        }
        // What was renamed there must not be built any more.
        let mut copies = Vec::new();
        collect(&scripts.folder.join("src"), &mut copies);
        for copy in copies {
            let place = copy.strip_prefix(&scripts.folder).expect("in there");
            if !root.join(inner).join(place).exists() {
                fs::remove_file(&copy).expect("removed");
            }
        }
        let mut command = Command::new(npm());
        command.args(["run", script]);
        let (status, printed) = run(command, &scripts.folder, "build", RUN_LIMIT);
        assert!(
            status.success(),
            "npm run {script} failed in {inner}:\n{printed}"
        );
        fs::write(stamp, state).expect("a file under target/");
        Some(scripts)
    }

    fn locked(place: &str, inner: &Path, others: &[&str]) -> Option<(Self, File)> {
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
        let copies = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("node")
            .join(place);
        let folder = copies.join(inner);
        fs::create_dir_all(&folder).expect("a folder under target/");
        // Released when it is dropped; it holds between threads and between processes.
        let lock = File::create(folder.join(".lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let mut files = Vec::new();
        for wanted in std::iter::once(inner).chain(others.iter().map(Path::new)) {
            collect(&sources().join(wanted), &mut files);
        }
        for file in files {
            let place = file.strip_prefix(sources()).expect("it lies in there");
            copy(&file, &copies.join(place));
        }
        install(&folder);
        Some((Self { folder }, lock))
    }

    /// Where the copies are.
    pub fn folder(&self) -> &Path {
        &self.folder
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

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file at or below `path`, in order, without what npm or a build has left there.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    const MADE: [&str; 4] = ["__generated__", "dist", "gql", "node_modules"];
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).expect("a folder");
    let mut entries: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for entry in entries {
        let made = MADE.iter().any(|name| entry.ends_with(name));
        if !made {
            collect(&entry, files);
        }
    }
}

/// Differs where any name or content does.
fn digest(files: &[PathBuf]) -> String {
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file, fs::read(file).expect("a file")).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
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
