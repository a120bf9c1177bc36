//! README and program say the same.

use std::fmt::Write as _;

use cardea::config::Config;
use clap::{Args as _, Command};

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
