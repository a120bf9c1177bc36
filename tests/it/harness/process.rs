//! The real program, run as a newcomer or an operator runs it, and never left behind.

use std::fs::Permissions;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cardea::config::Config;
use clap::Args as _;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

use crate::harness::app::MASTER_KEY;
use crate::harness::postgres::{Postgres, signal};
use crate::harness::told;

/// How long anything may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// An installation: settings, and a folder of its own that goes with the value, as does the
/// PostgreSQL that may run in it.
pub struct Program {
    home: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Program {
    /// Nothing configured but the data folder and a free port.
    pub fn new() -> Self {
        // The account that runs PostgreSQL in the place of root must be able to enter it.
        let home = tempfile::Builder::new()
            .prefix("cardea-test-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let data = home.path().join("cardea");
        let settings = vec![
            ("CARDEA_DATA_DIR", data.to_string_lossy().into_owned()),
            ("CARDEA_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        Self { home, settings }
    }

    /// An installation on this database, with the master key of all tests.
    pub fn on(url: &SecretString) -> Self {
        let installation = Self::new().with("DATABASE_URL", url.expose_secret());
        installation.with("CARDEA_MASTER_KEY", MASTER_KEY)
    }

    /// Sets a variable; the last value holds.
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.settings.push((variable, value.to_owned()));
        self
    }

    /// The folder of the program's own database.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("cardea")
    }

    /// The PostgreSQL of this installation, if it left a sign of life.
    pub fn postgres(&self) -> Option<Postgres> {
        Postgres::find(&self.data_dir().join("data"))
    }

    /// Starts the program; gives it back before it has done anything.
    pub fn spawn(&self, arguments: &[&str], input: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        // What the person who runs the tests has set is none of the tests' business.
        let known = Config::augment_args(clap::Command::new("cardea"));
        for variable in known.get_arguments().filter_map(clap::Arg::get_env) {
            command.env_remove(variable);
        }
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            // No error may show one even so.
            .env("RUST_BACKTRACE", "1")
            .envs(self.settings.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that reads nothing may be gone already.
        let _ = stdin.write_all(input.as_bytes());
        Process {
            serves: matches!(arguments, [] | ["serve", ..]),
            stdout: Capture::new(child.stdout.take().expect("it is piped")),
            stderr: Capture::new(child.stderr.take().expect("it is piped")),
            child,
        }
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.spawn(arguments, "").wait()
    }

    /// Runs the program to its end with this text as its standard input.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        self.spawn(arguments, input).wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Some(postgres) = self.postgres() else {
            return;
        };
        postgres.signal("QUIT");
        let deadline = Instant::now() + Duration::from_secs(5);
        while postgres.answers() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A running program, killed if it is dropped.
pub struct Process {
    serves: bool,
    child: Child,
    pub stdout: Capture,
    pub stderr: Capture,
}

impl Process {
    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        assert!(signal(self.child.id(), name), "it runs");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let status = until("the end of the program", || self.ended());
        Outcome {
            code: status.code(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the program said: {}", self.stderr.text());
        }
        // Nothing happens to one that has ended: the standard library knows its number is void.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What an errand says is an answer to whoever runs it, and no log.
        if self.serves {
            told::log(&self.stderr.text());
        }
    }
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// None after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// What it said, if all went well.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The one line that says why it failed.
    #[track_caller]
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let [line] = lines[..] else {
            panic!("one line was to be said: {self:?}");
        };
        let line = line.strip_prefix("error: ");
        line.unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// What a program says on one of its streams.
pub struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Capture {
    fn new(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    /// What it said so far.
    pub fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All that it said; fails the test if somebody else still holds the stream.
    #[track_caller]
    fn whole(&self) -> String {
        until("the end of an output", || {
            self.reader.is_finished().then_some(())
        });
        self.text()
    }
}
