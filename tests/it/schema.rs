//! `schema.graphql` is what the server serves.

use cardea::graphql::Api;

use crate::harness::node::Scripts;

#[test]
fn the_file_at_the_top_is_current() {
    let printed = Api::new().expect("the schema is sound").sdl();
    let file = include_str!("../../schema.graphql");
    assert!(printed == file, "schema.graphql is stale: run `just gen`");
}

#[test]
fn everything_in_the_schema_says_what_it_is() {
    let sdl = Api::new().expect("the schema is sound").sdl();
    // Members of a type begin with two spaces and a name; what describes them stands above.
    let mut before = "";
    for line in sdl.lines() {
        let member = line
            .strip_prefix("  ")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        let in_block = before == "block";
        if line.trim() == "\"\"\"" {
            before = if in_block { "described" } else { "block" };
            continue;
        }
        // The roots of the schema are no members that could be described.
        let roots = [
            "  query: Query",
            "  mutation: Mutation",
            "  subscription: Subscription",
        ];
        if in_block || roots.contains(&line) {
            continue;
        }
        if member {
            assert_eq!(before, "described", "{line} has no description");
        }
        before = if line.trim_start().starts_with('"') {
            "described"
        } else {
            ""
        };
    }
}

#[test]
fn graphql_eslint_finds_nothing_in_the_schema() {
    let Some(scripts) = Scripts::installed("schema", &["schema.graphql"]) else {
        return;
    };
    assert_eq!(
        scripts.run("lint.mjs", &[]),
        "0 findings, and naming-convention, require-deprecation-reason, require-description where they belong\n"
    );
}
