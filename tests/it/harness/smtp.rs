//! A real mail server on a port of this machine, which does what a test asks with a recipient's mails.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::python;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running mail server, killed when it is dropped.
pub struct MailServer {
    pub port: u16,
    child: Child,
    input: Mutex<ChildStdin>,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    port: Option<u16>,
    answers: usize,
    mails: Vec<Value>,
}

impl MailServer {
    /// A server without TLS and without accounts; `None` where there is no Python.
    pub async fn plain() -> Option<Self> {
        Self::with(json!({})).await
    }

    /// A server with the settings that `tests/smtp/server.py` describes; `None` where there is no Python.
    pub async fn with(settings: Value) -> Option<Self> {
        tokio::task::spawn_blocking(move || {
            let python = python::installed("smtp")?;
            Some(Self::start(&python, &settings))
        })
        .await
        .expect("a mail server")
    }

    fn start(python: &Path, settings: &Value) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(settings.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let heard = Arc::new(Heard::default());
        let (sink, lines) = (
            Arc::clone(&heard),
            BufReader::new(child.stdout.take().expect("it is piped")).lines(),
        );
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.hear(&line);
            }
        });
        let input = child.stdin.take().expect("it is piped");
        let port = heard.wait("a port", |state| state.port);
        Self {
            port,
            child,
            input: Mutex::new(input),
            heard,
        }
    }

    /// Does this with the mails to these recipients from now on, and nothing else any more.
    pub fn rule(&mut self, rules: &Value) {
        self.tell(rules);
    }

    /// Sends a line, and waits until it is answered: everything said before was heard then.
    fn tell(&self, line: &Value) {
        // Two at once would take each other's answer for theirs.
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.heard.lock().answers;
        writeln!(input, "{line}").expect("the server reads");
        self.heard
            .wait("an answer", |state| (state.answers > before).then_some(()));
    }

    /// The mails that it took in, the oldest first.
    pub fn mails(&self) -> Vec<Value> {
        self.tell(&Value::Null);
        self.heard.lock().mails.clone()
    }

    /// To whom the mails were that it took in, in order of the alphabet.
    pub fn recipients(&self) -> Vec<String> {
        let to = |mail: &Value| mail["to"][0].as_str().unwrap_or_default().to_owned();
        let mut recipients: Vec<_> = self.mails().iter().map(to).collect();
        recipients.sort();
        recipients
    }

    /// Its address for `CARDEA_SMTP_URL`, in the clear.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: &str) {
        let mut state = self.lock();
        if line.is_empty() {
            state.answers += 1;
        } else if state.port.is_none() {
            state.port = line.parse().ok();
        } else {
            let mail = serde_json::from_str(line).expect("a mail");
            state.mails.push(mail);
        }
        self.more.notify_all();
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let waiting = |state: &mut State| look(state).is_none();
        let (state, _) = self
            .more
            .wait_timeout_while(self.lock(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        look(&state).unwrap_or_else(|| panic!("{what}: not in {PATIENCE:?}"))
    }
}
