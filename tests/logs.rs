//! No log names anybody. While the tests of `it` run, they write down what their servers log, at every level, and each
//! address, token and password that they use (`it/harness/told.rs`). Cargo runs this afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;

/// The lines of a log that have one of these in them, with the first that each has.
fn leaks<'a>(log: &'a str, secrets: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let search = AhoCorasick::new(secrets).expect("a search");
    let leak = |line: &'a str| Some((secrets[search.find(line)?.pattern()], line));
    log.lines().filter_map(leak).collect()
}

/// What the newest run of `it` has written down.
fn newest() -> (String, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|what| what == "log"));
    let age = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let log = logs.max_by_key(age);
    let log = log.expect("`cargo test --test it` was run before");
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
    (read(&log), read(&log.with_extension("secrets")))
}

#[test]
fn the_log_of_the_whole_suite_has_no_address_token_or_password_in_it() {
    let (log, secrets) = newest();
    let secrets: Vec<&str> = secrets.lines().collect();
    println!("{} lines, {} secrets", log.lines().count(), secrets.len());
    assert!(!log.is_empty() && !secrets.is_empty());
    let leaks = leaks(&log, &secrets);
    let shown: Vec<_> = leaks.iter().take(20).collect();
    assert!(leaks.is_empty(), "{} lines: {shown:#?}", leaks.len());
}

#[test]
fn a_line_with_a_secret_in_it_is_found() {
    let log = "level=info from ada\nlevel=warn to ada@example.org\nlevel=info done\n";
    assert_eq!(
        leaks(log, &["bob@example.org", "ada@example.org"]),
        [("ada@example.org", "level=warn to ada@example.org")]
    );
}
