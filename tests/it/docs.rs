//! README and program say the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

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
        for file in std::fs::read_dir(path).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|kind| kind == "rs") {
                sources += &std::fs::read_to_string(path).expect("text");
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
        ".github/workflows/ci.yml",
        ".github/workflows/schema.yml",
        "docs/CI.md",
    ];
    let Some(scripts) = Scripts::installed("schema", &files) else {
        return;
    };
    let printed = scripts.run("workflows.mjs", &[("FILES", &files.join(" "))]);
    assert_eq!(printed, "3 workflows checked\n");
}
