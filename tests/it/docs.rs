//! README and program say the same, and the page on security names what is there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cardea::config::Config;
use cardea::graphql::error::Code;
use clap::{Args as _, Command};

use crate::harness::node::Scripts;

/// The table of settings, made from the program's own.
fn settings() -> String {
    let mut command = Config::augment_args(Command::new("cardea"));
    command.build();
    let mut table =
        String::from("| variable | flag | default | what it sets |\n|---|---|---|---|\n");
    for argument in command.get_arguments() {
        let (Some(variable), Some(flag)) = (argument.get_env(), argument.get_long()) else {
            continue;
        };
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (help, told) = help
            .split_once(" [default: ")
            .map_or((help.as_str(), None), |(help, default)| {
                (help, default.strip_suffix(']'))
            });
        let values = argument.get_default_values();
        let default = match (values.first(), told) {
            (Some(value), _) => format!("`{}`", value.to_string_lossy()),
            (None, Some(told)) => told.to_owned(),
            (None, None) => String::new(),
        };
        let _ = writeln!(
            table,
            "| `{}` | `--{flag}` | {default} | {help} |",
            variable.to_string_lossy()
        );
    }
    table
}

#[test]
fn the_settings_in_the_readme_are_those_of_the_program() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("<!-- settings")
        .expect("the beginning of the table is marked");
    let (_, rest) = rest.split_once("-->\n").expect("the mark ends");
    let (table, _) = rest
        .split_once("<!-- /settings -->")
        .expect("the end of the table is marked");
    let current = settings();
    assert!(
        table == current,
        "the table in README.md is stale; it should read:\n{current}"
    );
}

/// The codes that begin the rows of the table behind this heading.
fn codes_behind<'a>(text: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let (_, rest) = text.split_once(heading).expect("the heading is there");
    rest.lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(", "))
        .map(|code| code.trim().trim_matches('`'))
        .collect()
}

#[test]
fn every_code_of_an_error_is_explained_and_none_that_is_not_there() {
    let errors = include_str!("../../docs/ERRORS.md");
    let sdl = include_str!("../../schema.graphql");
    let (_, user) = sdl.split_once("enum UserErrorCode {").expect("the enum");
    let (user, _) = user.split_once('}').expect("its end");
    let user: BTreeSet<&str> = user
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('"'))
        .collect();
    assert_eq!(codes_behind(errors, "## In the payload"), user);
    let outside: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes_behind(errors, "## Outside of the payload"), outside);

    // Rules are texts in the sources.
    let rules = codes_behind(errors, "### Rules of");
    let mut sources = include_str!("../../src/error.rs").to_owned();
    for folder in ["services", "services/import", "graphql"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/").to_owned() + folder;
        for file in fs::read_dir(path).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|kind| kind == "rs") {
                sources += &fs::read_to_string(path).expect("text");
            }
        }
    }
    for rule in &rules {
        assert!(
            sources.contains(&format!("\"{rule}\"")),
            "{rule} is no rule"
        );
    }
    let words = sources.split('"').filter(|word| {
        ["PASSWORD_", "JSON_", "HASH"]
            .iter()
            .any(|kind| word.starts_with(kind))
            && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    for rule in words {
        assert!(rules.contains(rule), "{rule} is not explained");
    }
}

#[test]
fn the_workflows_are_sound_ours_and_those_for_users() {
    let files = [
        ".github/workflows/advisories.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/fuzz.yml",
        ".github/workflows/release.yml",
        ".github/workflows/schema.yml",
        ".github/workflows/upgrade.yml",
        "docs/CI.md",
    ];
    let Some(scripts) = Scripts::installed("schema", &files) else {
        return;
    };
    let printed = scripts.run("workflows.mjs", &[("FILES", &files.join(" "))]);
    assert_eq!(printed, "7 workflows checked\n");
}

/// What stands between backticks on a page, outside of blocks of code.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

/// The file and the name of the test that `path` is, if it has the form of one: `cookies::a_name` lies in
/// `tests/it/cookies.rs`, `crypto::seal::tests::a_name` in `src/crypto/seal.rs`.
fn test_of(path: &str) -> Option<(String, &str)> {
    let is_name = |part: &str| {
        let mut letters = part.chars();
        !part.is_empty()
            && letters.all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let (module, name) = path.rsplit_once("::")?;
    if !path.split("::").all(is_name) {
        return None;
    }
    let file = match module.strip_suffix("::tests") {
        Some(module) => format!("src/{}.rs", module.replace("::", "/")),
        // A test of its own, after all others.
        None if module == "logs" => "tests/logs.rs".to_owned(),
        None => format!("tests/it/{module}.rs"),
    };
    Some((file, name))
}

/// Whether a source has a test of this name, and not only a function.
fn has_test(source: &str, name: &str) -> bool {
    let mut of_a_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            of_a_test = true;
        }
        let line = line.strip_prefix("async ").unwrap_or(line);
        if let Some(function) = line.strip_prefix("fn ") {
            let rest = function.strip_prefix(name);
            if of_a_test && rest.is_some_and(|rest| rest.starts_with('(')) {
                return true;
            }
            of_a_test = false;
        }
    }
    false
}

#[test]
fn the_page_on_security_names_tests_and_files_that_are_there() {
    let page = include_str!("../../docs/SECURITY.md");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut tests, mut files) = (BTreeSet::new(), BTreeSet::new());
    for word in quoted(page) {
        if let Some((file, name)) = test_of(word) {
            let source = fs::read_to_string(top.join(&file)).expect(&file);
            assert!(has_test(&source, name), "{file} has no test {name}");
            tests.insert(word);
        } else if Path::new(word).extension().is_some_and(|kind| kind == "rs") {
            // As in docs/ARCHITECTURE.md, below src unless it says more.
            let there = top.join("src").join(word).exists() || top.join(word).exists();
            assert!(there, "there is no {word}");
            files.insert(word);
        }
    }
    // More than a few, or the page is not read as it is written.
    assert!(tests.len() > 200, "{} tests", tests.len());
    assert!(files.len() > 50, "{} files", files.len());

    let source = include_str!("docs.rs");
    let known = "the_settings_in_the_readme_are_those_of_the_program";
    assert!(has_test(source, known));
    assert!(!has_test(source, "has_test") && !has_test(source, "the_settings"));
}

#[test]
fn every_verdict_on_a_requirement_of_security_says_what_shows_it() {
    const VERDICTS: [&str; 5] = ["met", "partly", "operator", "not applicable", "not met"];
    let page = include_str!("../../docs/SECURITY.md");
    let (_, tables) = page.split_once("\n## OWASP ASVS").expect("the chapter");
    let mut numbers = BTreeSet::new();
    for line in tables.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, level, _, verdict, _, shown, _] = cells[..] else {
            panic!("six cells are wanted: {line}");
        };
        if number == "#" {
            continue;
        }
        assert!(numbers.insert(number), "{number} is there twice");
        assert!(["1", "2", "3"].contains(&level), "{number}: {level}");
        assert!(VERDICTS.contains(&verdict), "{number}: {verdict}");
        let open = verdict == "operator" || verdict == "not met";
        assert!(open || !shown.is_empty(), "{number}: nothing shows it");
    }
    assert!(numbers.len() > 200, "{} requirements", numbers.len());
}

/// Cargo refuses a manifest that names a file which is not there, and the image's build sees what `.dockerignore` lets through.
#[test]
fn the_image_is_built_with_every_file_that_the_manifest_names() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(top.join(file)).expect(file);
    let manifest: toml::Table = read("Cargo.toml").parse().expect("a manifest");
    let ignored = read(".dockerignore");
    let mut named = 0;
    for (kind, folder) in [
        ("test", "tests"),
        ("bench", "benches"),
        ("example", "examples"),
    ] {
        let targets = manifest.get(kind).and_then(|all| all.as_array());
        for target in targets.into_iter().flatten() {
            let text = |key: &str| target.get(key).and_then(|value| value.as_str());
            let name = text("name").expect("a name");
            let usual = format!("{folder}/{name}.rs");
            let path = text("path").unwrap_or(&usual);
            let line = format!("!{path}");
            assert!(ignored.lines().any(|one| one == line), "{path}");
            named += 1;
        }
    }
    assert!(named >= 2, "{named}");
}
