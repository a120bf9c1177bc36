//! docs/API.md and its neighbour say what the server says: each of their requests is sent, and each answer
//! compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use async_graphql::parser::types::{Selection, TypeKind, TypeSystemDefinition};
use async_graphql::parser::{parse_query, parse_schema};

use crate::harness::node::{say, variable};
use crate::harness::page::{Kind, difference, read, rewritten};
use crate::harness::player::{Played, play};

const PAGES: [&str; 2] = ["docs/API.md", "docs/API-ADMINISTRATION.md"];

/// The section that names what the pages do not show.
const NOT_SHOWN: &str = "\n## Not shown here\n";

/// What is said of an answer that is another one now.
const STALE: &str = " is stale:\n";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A page, read when the test runs, so that it can be worked on without building anew.
fn page(path: &str) -> String {
    fs::read_to_string(file(path)).expect(path)
}

/// Runs a page; gives what came of its sections.
async fn run(page: &str) -> Vec<Played> {
    let mut played = Vec::new();
    for section in read(page).expect("a page") {
        played.push(play(&section).await);
    }
    played
}

/// What is wrong with a page, by what came of it.
fn findings(page: &str, played: &[Played]) -> Vec<String> {
    let stopped = played.iter().filter_map(|played| played.stopped.clone());
    let stale = played.iter().flat_map(|played| &played.stale);
    let stale = stale.map(|(lines, old, new)| {
        let line = lines.start + 1;
        format!("line {line}{STALE}{}", difference(old, new))
    });
    let mut findings: Vec<String> = stopped.chain(stale).collect();
    if findings.is_empty() {
        // Every fence is the beginning or the end of a block; what is indented would be none.
        let lines = || page.lines().map(str::trim_start);
        let fences = lines().filter(|line| line.starts_with("```") || line.starts_with("~~~"));
        let quotes = page.split("\n\n").filter(|part| part.starts_with("> "));
        let marked = fences.count() / 2 + quotes.count();
        let run: usize = played.iter().map(|played| played.blocks).sum();
        if marked != run {
            findings.push(format!("{marked} blocks are on the page, {run} were run"));
        }
    }
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_on_the_pages_are_those_of_the_server() {
    let mut wrong = String::new();
    for path in PAGES {
        let page = page(path);
        let played = run(&page).await;
        let mut findings = findings(&page, &played);
        if variable("UPDATE_DOCS").is_some() {
            // What stopped a section has to be mended by hand.
            findings.retain(|finding| !finding.contains(STALE));
            let stale = played.into_iter().flat_map(|played| played.stale);
            let stale: Vec<_> = stale.map(|(lines, _, new)| (lines, new)).collect();
            fs::write(file(path), rewritten(&page, &stale)).expect("written");
            say(&format!("{path}: {} answers written anew", stale.len()));
        }
        if !findings.is_empty() {
            let _ = writeln!(wrong, "{path}:\n\n{}", findings.join("\n"));
        }
    }
    assert!(
        wrong.is_empty(),
        "The documentation does not say what the server does. If the server is right, \
         `UPDATE_DOCS=1 cargo test --test it api_doc` writes the answers anew.\n\n{wrong}"
    );
}

/// Fields of the roots that documents of the page select.
fn shown(page: &str) -> BTreeSet<String> {
    let sections = read(page).expect("a page");
    let blocks = sections.iter().flat_map(|section| &section.blocks);
    let mut fields = BTreeSet::new();
    for block in blocks.filter(|block| block.kind == Kind::Document) {
        let document = parse_query(&block.text).expect("a document");
        for (_, operation) in document.operations.iter() {
            for selection in &operation.node.selection_set.node.items {
                match &selection.node {
                    Selection::Field(field) => fields.insert(field.node.name.node.to_string()),
                    other => panic!("{other:?} at the root"),
                };
            }
        }
    }
    fields
}

/// Fields of the roots of the schema.
fn all() -> BTreeSet<String> {
    let schema = parse_schema(include_str!("../../schema.graphql")).expect("a schema");
    let types = schema.definitions.iter().filter_map(|definition| {
        let TypeSystemDefinition::Type(definition) = definition else {
            return None;
        };
        let root = ["Query", "Mutation", "Subscription"].contains(&&*definition.node.name.node);
        match &definition.node.kind {
            TypeKind::Object(object) if root => Some(&object.fields),
            _ => None,
        }
    });
    let fields = types.flatten();
    fields
        .map(|field| field.node.name.node.to_string())
        .collect()
}

#[test]
fn every_field_of_the_roots_is_shown_or_it_is_said_where_else() {
    let pages = PAGES.map(page);
    let (_, list) = pages[0].split_once(NOT_SHOWN).expect("the section");
    let mut elsewhere = BTreeSet::new();
    for item in list.split("\n- ").skip(1) {
        let (_, link) = item.split_once("](").expect("a link");
        let (link, _) = link.split_once(')').expect("its end");
        let there = fs::read_to_string(file("docs").join(link)).expect(link);
        let (names, _) = item.split_once(": ").expect("names");
        for name in names.split('`').skip(1).step_by(2) {
            assert!(there.contains(name), "{link} says nothing of {name}");
            assert!(elsewhere.insert(name.to_owned()), "{name} is named twice");
        }
    }
    let shown: BTreeSet<_> = pages.iter().flat_map(|page| shown(page)).collect();
    let both: Vec<_> = shown.intersection(&elsewhere).collect();
    assert!(both.is_empty(), "{both:?} are shown after all");
    let all = all();
    let named: BTreeSet<_> = shown.union(&elsewhere).cloned().collect();
    let missing: Vec<_> = all.difference(&named).collect();
    assert!(
        missing.is_empty(),
        "{PAGES:?} neither show {missing:?} nor say where they are told of"
    );
    let gone: Vec<_> = named.difference(&all).collect();
    assert!(gone.is_empty(), "{gone:?} are not in the schema");
}

#[test]
fn the_tables_of_contents_have_every_section() {
    for path in PAGES {
        let page = page(path);
        let titles = page.lines().filter_map(|line| line.strip_prefix("## "));
        let expected = titles.map(|title| {
            let anchor = title.to_lowercase().replace(' ', "-");
            let anchor = anchor.replace(|c: char| !c.is_alphanumeric() && c != '-', "");
            format!("- [{title}](#{anchor})")
        });
        let (contents, _) = page.split_once("\n## ").expect("sections");
        let contents = contents.lines().filter(|line| line.starts_with("- ["));
        assert_eq!(contents.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_stale_or_skips_something_is_found_out() {
    const GOOD: &str = "## A\n\n> Ada is signed in: `<accessToken>`.\n\n```graphql\n# Authorization: Bearer <accessToken>\n\
        { viewer { isAuthenticated user { id username } } }\n```\n\n```json\n\
        { \"data\": { \"viewer\": { \"isAuthenticated\": true, \"user\": { \"id\": \"<adaId>\", \"username\": \"ada\" } } } }\n```\n";
    assert_eq!(findings(GOOD, &run(GOOD).await), [""; 0]);
    for (old, new, says) in [
        // A fact, a fact that is a name, a field more, a name of a form that it has not.
        (
            "\"username\": \"ada\"",
            "\"username\": \"eve\"",
            "+ { \"data\"",
        ),
        (
            "\"username\": \"ada\"",
            "\"username\": \"<adaId>\"",
            "+ { \"data\"",
        ),
        (
            "id username",
            "id username status",
            "\"status\": \"ACTIVE\"",
        ),
        ("<adaId>", "<adaUuid>", "does not look like"),
        (
            "Bearer <accessToken>",
            "Bearer <other>",
            "nothing has said what <other> is",
        ),
        (
            "Bearer <accessToken>",
            "Bearer x",
            "HTTP/1.1 401 Unauthorized",
        ),
        ("Ada is signed in:", "Ada slept well:", "no sentence"),
        ("\n> Ada", "\n> 3 moons later.\n\n> Ada", "no span of time"),
        (
            "```json\n",
            "> 1 minute later.\n\n```json\n",
            "has no answer",
        ),
        (
            "## A\n",
            "## A\n\n```json\n{ \"data\": {} }\n```\n",
            "without a request",
        ),
        (
            "## A\n",
            "## A\n\n  ```graphql\n  { nothing }\n  ```\n",
            "4 blocks are on the page, 3 were run",
        ),
        (
            "## A\n",
            "## A\n\n~~~\n{ nothing }\n~~~\n",
            "4 blocks are on the page, 3 were run",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let page = GOOD.replacen(old, new, 1);
        let found = findings(&page, &run(&page).await).join("\n");
        assert!(found.contains(says), "{page}\n{found}");
    }
    for (old, new) in [
        ("```graphql", "```gql"),
        ("}\n```\n", "}\n"),
        ("## A", "# A"),
    ] {
        let page = GOOD.replace(old, new);
        assert!(read(&page).is_err(), "{page}");
    }
    let unanswered = &GOOD[..GOOD.find("```json").expect("an answer")];
    let found = findings(unanswered, &run(unanswered).await).join("\n");
    assert!(found.contains("the last answer is missing"), "{found}");
    let (sessions, _) = GOOD.split_once("{ viewer").expect("a document");
    let followed = format!("{sessions}subscription {{ sessionRevoked {{ reason }} }}\n```\n");
    let found = findings(&followed, &run(&followed).await).join("\n");
    assert!(found.contains("the last answer is missing"), "{found}");
    // And what is stale is put right.
    let stale = GOOD.replace("\"username\": \"ada\"", "\"username\": \"eve\"");
    let played = run(&stale).await;
    let changes = played.into_iter().flat_map(|played| played.stale);
    let changes: Vec<_> = changes.map(|(lines, _, new)| (lines, new)).collect();
    assert_eq!(rewritten(&stale, &changes), GOOD);
}
