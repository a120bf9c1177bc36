//! What the whole suite's servers log, and what must not be in there: written down here, compared by `tests/logs.rs`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, header};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

/// What the server itself says at any level, and what its libraries say at those that operators have.
const LEVELS: &str = "info,tokio_postgres=warn,cardea=trace,cardea-trace=off";

/// Names of fields, and of parts of names, whose values nobody may log.
const SECRET: [&str; 6] = ["token", "password", "secret", "codes", "email", "ticket"];

/// Shorter ones stand in too many words by chance.
const SHORTEST: usize = 8;

static FILES: LazyLock<Files> = LazyLock::new(Files::new);

struct Files {
    log: Mutex<File>,
    secrets: Mutex<(HashSet<String>, File)>,
}

impl Files {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told");
        fs::create_dir_all(&folder).expect("a folder");
        remove_old(&folder);
        let file = |what: &str| {
            let path = folder.join(format!("{}.{what}", std::process::id()));
            File::create(path).expect("a file")
        };
        Self {
            log: Mutex::new(file("log")),
            secrets: Mutex::new((HashSet::new(), file("secrets"))),
        }
    }

    fn log(&self) -> MutexGuard<'_, File> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what earlier runs left, but for the newest, which may be of a run beside this one.
fn remove_old(folder: &Path) {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut files: Vec<(_, PathBuf)> = entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    files.truncate(files.len().saturating_sub(2));
    for (_, file) in files {
        let _ = fs::remove_file(file);
    }
}

/// Takes the log of the servers within this process.
pub fn listen() {
    static ONCE: LazyLock<()> = LazyLock::new(|| {
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new(LEVELS))
            .with_writer(|| Line)
            .init();
    });
    LazyLock::force(&ONCE);
}

struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        FILES.log().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the log of a server that was a process of its own.
pub fn log(text: &str) {
    FILES.log().write_all(text.as_bytes()).expect("a file");
}

/// Notes a token, an address, a password.
pub fn secret(text: &str) {
    if text.len() < SHORTEST || text.contains('\n') {
        return;
    }
    let mut secrets = FILES.secrets.lock();
    let (known, file) = &mut **secrets.as_mut().unwrap_or_else(|error| error.get_mut());
    if known.insert(text.to_owned()) {
        writeln!(file, "{text}").expect("a file");
    }
}

/// Notes the addresses in a text, be it a document, a mail or an answer.
pub fn addresses(text: &str) {
    let in_address = |c: char| c.is_alphanumeric() || "@._+-".contains(c);
    for word in text.split(|c| !in_address(c)) {
        let word = word.trim_matches(['.', '-', '_']);
        if let Some((name, host)) = word.split_once('@')
            && !name.is_empty()
            && host.contains('.')
        {
            secret(word);
        }
    }
}

/// Notes what JSON tells by the names of its fields, and the addresses in it.
pub fn json(value: &Value) {
    walk(value, false);
}

fn walk(value: &Value, is_secret: bool) {
    match value {
        Value::String(text) => {
            addresses(text);
            // Lists of codes that the API has, and texts about them, are no secrets.
            if is_secret && !text.contains(' ') && text.chars().any(|c| c.is_ascii_digit()) {
                secret(text);
            }
            if text.contains('@') {
                secret(&text.replace('@', "%40"));
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, is_secret)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                let named = SECRET.iter().any(|part| name.contains(part));
                walk(value, named || (is_secret && value.is_array()));
                // A passphrase has spaces, and no digit; a word alone stands in many lines.
                if name.ends_with("password")
                    && let Some(text) = value.as_str()
                    && text.chars().any(|c| !c.is_ascii_lowercase())
                {
                    secret(text);
                }
            }
        }
        _ => {}
    }
}

/// Notes the cookies that an answer sets.
pub fn cookies(headers: &HeaderMap) {
    for cookie in headers.get_all(header::SET_COOKIE) {
        let cookie = cookie.to_str().unwrap_or_default();
        let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
        if let Some((_, value)) = pair.split_once('=') {
            secret(value);
        }
    }
}
