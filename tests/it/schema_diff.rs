//! What `schema diff` makes of changes: how bad each is, whether it is about access, what is waived, and that
//! another judge agrees.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::TypeSystemDefinition;
use cardea::graphql::diff::{ACCESS, Change, Kind, Model, Severity, diff};
use clap::ValueEnum as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Program;
use crate::harness::node::Scripts;

const CURRENT: &str = include_str!("../../schema.graphql");

/// A change, what is to be said of it, and why graphql-inspector says otherwise.
#[derive(Default)]
struct Case {
    name: String,
    old: String,
    new: String,
    says: Vec<String>,
    milder: bool,
    stricter: bool,
}

impl Case {
    fn changes(&self) -> Vec<Change> {
        let read = |text: &str| {
            let model = Model::read(text.as_bytes());
            model.unwrap_or_else(|problem| panic!("{}: {problem:?}", self.name))
        };
        diff(&read(&self.old), &read(&self.new))
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("../schema/changes.txt").lines() {
        if let Some(name) = line.strip_prefix("= ") {
            let name = name.to_owned();
            cases.push(Case {
                name,
                ..Case::default()
            });
        }
        let (Some(case), Some((key, value))) = (cases.last_mut(), line.split_once(": ")) else {
            continue;
        };
        match key {
            "old" => case.old.extend([value, "\n"]),
            "new" => case.new.extend([value, "\n"]),
            "says" => case.says.push(value.to_owned()),
            "milder" => case.milder = true,
            "stricter" => case.stricter = true,
            _ => assert!(key.starts_with("= "), "{line}"),
        }
    }
    cases
}

fn judged(change: &Change) -> String {
    let severity = match (change.severity, change.security) {
        (Severity::Breaking, true) => "breaking!",
        (Severity::Breaking, false) => "breaking",
        (Severity::Security, _) => "security",
        (Severity::Dangerous, _) => "dangerous",
        (Severity::Safe, _) => "safe",
    };
    format!("{severity} {} {}", change.coordinate, change.kind.name())
}

#[test]
fn every_kind_of_change_is_judged_right() {
    let cases = cases();
    let mut seen = Vec::new();
    for case in &cases {
        let changes = case.changes();
        let mut found: Vec<_> = changes.iter().map(judged).collect();
        let mut awaited = case.says.clone();
        found.sort();
        awaited.sort();
        assert_eq!(found, awaited, "{}", case.name);
        assert!(changes.is_sorted(), "{}", case.name);
        seen.extend(changes.into_iter().map(|change| change.kind));
    }
    for kind in Kind::value_variants() {
        assert!(seen.contains(kind), "no case has {kind:?}");
    }
}

#[test]
fn the_page_on_ci_says_what_each_kind_is() {
    let page = include_str!("../../docs/CI.md");
    for kind in Kind::value_variants() {
        let name = format!("`{}`", kind.name());
        assert!(page.contains(&name), "docs/CI.md does not name {name}");
    }
}

#[test]
fn every_directive_of_the_schema_is_known_to_be_about_access_or_not() {
    let document = parse_schema(CURRENT).expect("a schema");
    let others = [
        "cost",
        "include",
        "listSize",
        "oneOf",
        "skip",
        "specifiedBy",
    ];
    let mut about_access = 0;
    for definition in document.definitions {
        if let TypeSystemDefinition::Directive(directive) = definition {
            let name = directive.node.name.node;
            let access = ACCESS.contains(&name.as_str());
            assert!(access || others.contains(&name.as_str()), "@{name}");
            about_access += usize::from(access);
        }
    }
    assert_eq!(about_access, 3);
}

#[test]
fn no_access_directive_of_the_schema_is_lost_unseen() {
    let old = Model::read(CURRENT.as_bytes()).expect("a schema");
    let mut tried = 0;
    for name in ["public", "requiresPermission", "requiresSession"] {
        let directive = format!(" @{name}");
        let uses = CURRENT.match_indices(&directive).filter(|(at, _)| {
            let before = &CURRENT[..*at];
            !before.ends_with("directive") && !before.ends_with('`')
        });
        for (at, used) in uses {
            let rest = &CURRENT[at + used.len()..];
            let arguments = match rest.strip_prefix('(') {
                Some(inner) => inner.find(')').expect("the end") + 2,
                None => 0,
            };
            let without = format!("{}{}", &CURRENT[..at], &rest[arguments..]);
            let new = Model::read(without.as_bytes()).expect("a schema");
            let changes = diff(&old, &new);
            let [change] = &changes[..] else {
                panic!("{changes:?}");
            };
            assert!(
                change.security && change.severity == Severity::Breaking,
                "{change:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
}

/// Files that the program compares.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Runs `schema diff`; gives its code, and what it said on either stream.
    #[track_caller]
    fn diff(arguments: &[&Path], more: &[&str]) -> (i32, String, String) {
        let paths = arguments.iter().map(|path| path.to_str().expect("a path"));
        let arguments: Vec<_> = ["schema", "diff"]
            .into_iter()
            .chain(paths)
            .chain(more.iter().copied())
            .collect();
        let outcome = Program::new().run(&arguments);
        let code = outcome.code.expect("it ended by itself");
        (code, outcome.stdout, outcome.stderr)
    }
}

#[test]
fn the_schema_of_the_program_is_what_the_file_says() {
    let files = Files::new();
    let current = files.with("current.graphql", CURRENT);
    let none = (0, "No changes.\n".to_owned(), String::new());
    assert_eq!(Files::diff(&[&current], &[]), none);
    assert_eq!(Files::diff(&[&current, &current], &[]), none);
    // As a client prints it that has asked for the description of the schema, too.
    let described = CURRENT.replace("\nschema {", "\n\"\"\"\nWhat it is.\n\"\"\"\nschema {");
    let described = files.with("described.graphql", described);
    assert_eq!(Files::diff(&[&described], &[]), none);
    let outcome = Program::new().run_with_input(&["schema", "diff", "-"], CURRENT);
    assert_eq!(outcome.success(), none.1);
}

#[test]
fn changes_are_lines_with_a_summary_and_breaking_ones_fail() {
    let files = Files::new();
    let old = "directive @public on FIELD_DEFINITION directive @requiresSession on FIELD_DEFINITION \
               type Query { b: Int @requiresSession a: Int @requiresSession c: E @public } enum E { A }";
    let old = files.with("old.graphql", old);
    let new = "directive @public on FIELD_DEFINITION directive @requiresSession on FIELD_DEFINITION \
               type Query { b: Int @public c: E @public d: Int @public \"Told.\" e: Int @requiresSession } enum E { A B }";
    let new = files.with("new.graphql", new);
    let (code, told, _) = Files::diff(&[&old, &new], &[]);
    assert_eq!(
        told,
        "breaking          Query.a field-removed: Int is not given any more\n\
         breaking security Query.b access-changed: @requiresSession became @public\n\
         security          Query.d field-added: Int is open to everybody\n\
         dangerous         E.B enum-value-added: may come, too\n\
         safe              Query.e field-added: Int is new\n\
         2 breaking (1 of access), 1 to look at for security, 1 dangerous, 1 safe; 0 waived.\n"
    );
    assert_eq!(code, 1);
    let (code, told, _) = Files::diff(&[&old, &new], &["--format", "json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &told["fails"]), (1, &json!(true)));
    assert_eq!(
        told["changes"][1],
        json!({
            "severity": "breaking", "coordinate": "Query.b", "kind": "access-changed", "security": true,
            "message": "@requiresSession became @public", "waived": null,
        })
    );
    let summary = json!({ "breaking": 2, "access": 1, "security": 1, "dangerous": 1, "safe": 1, "waived": 0 });
    assert_eq!(told["summary"], summary);
}

#[test]
fn what_breaks_nothing_fails_only_where_that_is_chosen() {
    let files = Files::new();
    let guarded = "directive @public on FIELD_DEFINITION type Query { a: E @public";
    let old = files.with("old.graphql", format!("{guarded} }} enum E {{ A }}"));
    for (new, fails_on) in [
        (
            format!("{guarded} b: Int @public }} enum E {{ A }}"),
            "security",
        ),
        (format!("{guarded} }} enum E {{ A B }}"), "dangerous"),
    ] {
        let new = files.with("new.graphql", new);
        for (chosen, code) in [
            (&[][..], 0),
            (
                &["--fail-on", "security"],
                i32::from(fails_on == "security"),
            ),
            (
                &["--fail-on", "dangerous"],
                i32::from(fails_on == "dangerous"),
            ),
            (&["--fail-on", "security,dangerous"], 1),
        ] {
            let (ended, told, _) = Files::diff(&[&old, &new], chosen);
            assert_eq!(ended, code, "{chosen:?}: {told}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_one_line_with_its_place() {
    let files = Files::new();
    let sound = files.with("sound.graphql", "type Query { a: Int }");
    let deep = format!(
        "type Query {{\n  a: {}Int{} }}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let deep_value = format!("type Query {{ a(x: Int = {}): Int }}", "{a:".repeat(50_000));
    let many = format!("type Query {} {{ a: Int }}", "@a ".repeat(101));
    let descriptions = "\"\" schema ".repeat(300_000);
    for (text, told) in [
        (&b""[..], "1:1: expected type system definition"),
        (b"# nothing\n", "2:1: expected type system definition"),
        (b"{ me { id } }", "1:1: expected type system definition"),
        (b"type Query {\n  a: Int\n  b: }", "3:6: expected type "),
        (
            b"type Query {\n a: \"\"\"open",
            "2:5: this string is not closed",
        ),
        (
            b"type Query { a: Int }\ntype \xff\xfe",
            "2:6: this is not UTF-8",
        ),
        (
            b"type Query { a\0: Int }",
            "1:15: expected arguments definition",
        ),
        (
            b"type Query { a: Int }\ntype Query { b: Int }",
            "2:1: Query is defined twice",
        ),
        (
            b"type Query { a: Int a: Int }",
            "1:21: Query.a is defined twice",
        ),
        (
            b"type Query { a(x: Int x: ID): Int }",
            "1:23: Query.a(x:) is defined twice",
        ),
        (
            b"extend type Query { a: Int } type Query { a: ID }",
            "1:43: Query.a is defined twice",
        ),
        (b"enum E { A B A }", "1:14: E.A is defined twice"),
        (
            b"scalar E\nextend enum E { A }",
            "2:1: E is a scalar and an enum",
        ),
        (
            b"schema { query: A } schema { query: B }",
            "1:21: the schema is defined twice",
        ),
        (
            b"directive @a on FIELD directive @a on FIELD",
            "1:34: @a is defined twice",
        ),
        (
            b"type Query { a: Int @a(x: 1 x: 2) }",
            "1:29: @a(x:) is defined twice",
        ),
        (b"schema { mutation: A }", "1:1: "),
        (b"type Query { a(x: Int = 1e999999): Int }", "1:25: "),
        (many.as_bytes(), "1:313: @a stands here more than 100 times"),
        (deep.as_bytes(), "2:45: brackets nest at most 40 deep"),
        (
            deep_value.as_bytes(),
            "1:139: brackets nest at most 40 deep",
        ),
        (descriptions.as_bytes(), "1:11: expected "),
    ] {
        let path = files.with("unsound.graphql", text);
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        for arguments in [[&*path, &*sound], [&*sound, &*path]] {
            let (code, said, error) = Files::diff(&arguments, &[]);
            assert_eq!((code, &*said), (2, ""), "{shown}");
            let awaited = format!("error: {}:{told}", path.display());
            assert!(error.starts_with(&awaited), "{shown}: {error}");
            assert_eq!(error.lines().count(), 1, "{shown}: {error}");
        }
    }
    let missing = files.0.path().join("missing.graphql");
    for path in [missing.as_path(), files.0.path(), Path::new("/dev/zero")] {
        let (code, _, error) = Files::diff(&[path], &[]);
        assert_eq!((code, error.lines().count()), (2, 1), "{error}");
        assert!(error.contains(path.to_str().expect("a path")), "{error}");
    }
}

#[test]
fn broken_texts_are_refused_or_compared_and_nothing_else() {
    let sound = Model::read(CURRENT.as_bytes()).expect("a schema");
    let bytes = CURRENT.as_bytes();
    let step = bytes.len() / 40;
    for (number, at) in (0..bytes.len()).step_by(step).enumerate() {
        let cut = Model::read(&bytes[..at]);
        assert!(cut.is_err() || !diff(&sound, &cut.expect("a schema")).is_empty());
        let mut changed = bytes.to_vec();
        changed[at] = b"\"{[(@!#\0\x80\\:="[number % 12];
        if let Ok(model) = Model::read(&changed) {
            let _ = diff(&sound, &model);
        }
    }
}

/// What compared every type with every other would not come to an end here.
#[test]
fn a_long_schema_is_compared() {
    let mut long = "type Query { a: Int }\n".to_owned();
    for number in 0..20_000 {
        let _ = writeln!(
            long,
            "\"It.\" type T{number} {{ a(x: [Int!]! = [1, 2]): Int! b: T{number} }}"
        );
    }
    let long = Model::read(long.as_bytes()).expect("a schema");
    let short = Model::read(b"type Query { a: Int }").expect("a schema");
    assert_eq!(diff(&short, &long).len(), 20_000);
    assert_eq!(diff(&long, &long).len(), 0);
}

#[test]
fn what_a_terminal_would_obey_is_shown_and_not_said() {
    let read = |text: &str| Model::read(text.as_bytes()).expect("a schema");
    let old = read("type Query { a: Int @deprecated(reason: \"x\") }");
    let new = read("type Query { a: Int @deprecated(reason: \"\u{1b}[2J\u{202e}\\u0007ä\\n\") }");
    let changes = diff(&old, &new);
    let message = &changes[0].message;
    assert!(
        message
            .chars()
            .all(|c| c.is_ascii_graphic() || c == ' ' || c == 'ä'),
        "{message}"
    );
    assert!(
        message.contains("ä") && message.contains("202e"),
        "{message}"
    );
}

const OLD: &str = "directive @public on FIELD_DEFINITION type Query { a: Int b: Int c: Int }";
const NEW: &str = "directive @public on FIELD_DEFINITION type Query { a: Int @public c: String }";

fn waiver(coordinate: &str, change: &str, until: &str, more: &str) -> String {
    format!(
        "[[waiver]]\ncoordinate = \"{coordinate}\"\nchange = \"{change}\"\nreason = \"agreed\"\nuntil = {until}\n{more}\n"
    )
}

#[test]
fn waived_changes_are_told_and_do_not_fail() {
    let files = Files::new();
    let (old, new) = (
        files.with("old.graphql", OLD),
        files.with("new.graphql", NEW),
    );
    let run = |waivers: &str| {
        let waivers = files.with("waivers.toml", waivers);
        let (code, told, error) = Files::diff(
            &[&old, &new],
            &["--waivers", waivers.to_str().expect("a path")],
        );
        assert_eq!(error, "");
        (code, told)
    };
    let all = [
        waiver(
            "Query.a",
            "access-added",
            "2999-12-31",
            "message = \"@public is new\"",
        ),
        waiver("Query.b", "field-removed", "2999-12-31", ""),
        waiver("Query.c", "field-type-changed", "2999-12-31", ""),
    ];
    let (code, told) = run(&all.concat());
    assert_eq!(
        told,
        "breaking security Query.a access-added: @public is new [waived until 2999-12-31: agreed]\n\
         breaking          Query.b field-removed: Int is not given any more [waived until 2999-12-31: agreed]\n\
         breaking          Query.c field-type-changed: Int became String [waived until 2999-12-31: agreed]\n\
         3 breaking (1 of access), 0 to look at for security, 0 dangerous, 0 safe; 3 waived.\n"
    );
    assert_eq!(code, 0);

    // Each that is missing, over, or of something else lets it fail.
    let ended = waiver("Query.b", "field-removed", "2020-01-01", "");
    let other_kind = waiver("Query.b", "field-added", "2999-12-31", "");
    let other_place = waiver("Query.bb", "field-removed", "2999-12-31", "");
    let other_message = waiver(
        "Query.b",
        "field-removed",
        "2999-12-31",
        "message = \"Int is gone\"",
    );
    for (second, told_of) in [
        (String::new(), None),
        (
            ended,
            Some("ended waiver: Query.b field-removed, until 2020-01-01: agreed\n"),
        ),
        (
            other_kind,
            Some("unused waiver: Query.b field-added, until 2999-12-31: agreed\n"),
        ),
        (
            other_place,
            Some("unused waiver: Query.bb field-removed, until 2999-12-31: agreed\n"),
        ),
        (
            other_message,
            Some("unused waiver: Query.b field-removed, until 2999-12-31: agreed\n"),
        ),
    ] {
        let (code, told) = run(&format!("{}{second}{}", all[0], all[2]));
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains("\nbreaking          Query.b field-removed: Int is not given any more\n"),
            "{told}"
        );
        assert!(told.ends_with("; 2 waived.\n"), "{told}");
        let waivers: Vec<_> = told
            .lines()
            .filter(|line| line.contains(" waiver: "))
            .collect();
        assert_eq!(waivers, Vec::from_iter(told_of.map(str::trim_end)));
    }
    // Of two for one change, the one that still holds counts.
    let twice = [waiver("Query.b", "field-removed", "2020-01-01", "")];
    assert_eq!(run(&[twice.concat(), all.concat()].concat()).0, 0);
}

#[test]
fn waivers_without_a_reason_or_a_day_are_not_read() {
    let files = Files::new();
    let (old, new) = (
        files.with("old.graphql", OLD),
        files.with("new.graphql", NEW),
    );
    let sound = waiver("Query.b", "field-removed", "2999-12-31", "");
    for (content, told) in [
        (
            sound.replace("reason = \"agreed\"\n", ""),
            "1: missing field `reason`",
        ),
        (
            sound.replace("agreed", ""),
            "waiver 1, of \"Query.b\": the reason is empty",
        ),
        (
            sound.replace("until = 2999-12-31\n", ""),
            "1: missing field `until`",
        ),
        (
            sound.replace("field-removed", "removed"),
            "3: unknown variant `removed`",
        ),
        ("waivers".to_owned(), "1: "),
    ] {
        let path = files.with("waivers.toml", content);
        let (code, said, error) = Files::diff(
            &[&old, &new],
            &["--waivers", path.to_str().expect("a path")],
        );
        assert_eq!((code, &*said), (2, ""), "{told}");
        let awaited = format!("error: {}:{told}", path.display());
        assert!(error.starts_with(&awaited), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let (code, ..) = Files::diff(&[&old, &new], &["--waivers", "/nowhere/waivers.toml"]);
    assert_eq!(code, 2);
}

#[test]
fn our_own_waivers_can_be_read() {
    let waivers = include_str!("../../schema-waivers.toml");
    cardea::graphql::diff::parse_waivers(waivers).expect("waivers");
}

#[test]
fn graphql_inspector_calls_nothing_breaking_that_is_not() {
    let Some(scripts) = Scripts::installed("schema", &[]) else {
        return;
    };
    let cases = cases();
    let breaking = |case: &Case| -> Vec<String> {
        let changes = case.changes().into_iter();
        let breaking = changes.filter(|change| change.severity == Severity::Breaking);
        breaking.map(|change| change.coordinate).collect()
    };
    let told: Vec<_> = cases
        .iter()
        .map(|case| json!({ "old": case.old, "new": case.new, "breaking": breaking(case) }))
        .collect();
    let files = Files::new();
    let path = files.with("cases.json", json!(told).to_string());
    let printed = scripts.run("opinion.mjs", &[("CASES", path.to_str().expect("a path"))]);
    let opinions: Vec<Value> = serde_json::from_str(&printed).expect("opinions");
    assert_eq!(opinions.len(), cases.len());
    for (case, opinion) in cases.iter().zip(opinions) {
        let missed = opinion["missed"] != json!([]);
        assert_eq!(missed, case.stricter, "{}: {opinion}", case.name);
        let milder = opinion["breaking"] == json!(false) && !breaking(case).is_empty();
        assert_eq!(milder, case.milder, "{}: {opinion}", case.name);
    }
}
