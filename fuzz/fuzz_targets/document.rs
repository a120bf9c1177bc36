//! The guard of documents: what it lets pass stays within the limits that it promises, counted here in another way.
//!
//! The text of a document, and behind a NUL byte the variables as JSON.
#![no_main]

use std::sync::LazyLock;

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use cardea::config::{Config, DocumentLimits};
use cardea::graphql::{Api, document, scan, trusted};
use clap::Parser;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Map, Value};

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

static API: LazyLock<Api> = LazyLock::new(|| Api::new().expect("the schema is sound"));
static LIMITS: LazyLock<DocumentLimits> =
    LazyLock::new(|| Settings::parse_from(["cardea"]).config.limits);

/// What running an operation comes to, every fragment written out where it is spread.
#[derive(Default)]
struct Written {
    fields: u64,
    deepest: u32,
    aliases: u64,
}

impl Written {
    fn out(&mut self, document: &ExecutableDocument, set: &SelectionSet, depth: u32) {
        for item in &set.items {
            self.fields += 1;
            assert!(
                self.fields <= LIMITS.fields,
                "more fields than were promised"
            );
            match &item.node {
                Selection::Field(field) => {
                    self.deepest = self.deepest.max(depth + 1);
                    self.aliases += u64::from(field.node.alias.is_some());
                    self.out(document, &field.node.selection_set.node, depth + 1);
                }
                Selection::InlineFragment(inline) => {
                    self.out(document, &inline.node.selection_set.node, depth);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node)
                    {
                        self.out(document, &fragment.node.selection_set.node, depth);
                    }
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(input) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let (text, variables) = input.split_once('\0').unwrap_or((input, ""));
    let scanned = scan::scan(text, &LIMITS);
    if let Ok(scanned) = scanned {
        assert!(text.len() <= LIMITS.bytes && scanned.tokens <= LIMITS.tokens);
    }
    let Ok(document) = trusted::checked(&API, Some(&LIMITS), text) else {
        return Corpus::Keep;
    };
    assert!(scanned.is_ok(), "passed by another way");
    let variables: Map<String, Value> = serde_json::from_str(variables).unwrap_or_default();
    for (name, operation) in document.operations.iter() {
        let (name, operation) = (name.map(|name| name.as_str()), &operation.node);
        assert!(document::operation(&document, name).is_ok());
        let measured = document::measure(&document, operation, &variables, API.rules(), &LIMITS);
        if measured.is_ok() {
            let mut written = Written::default();
            written.out(&document, &operation.selection_set.node, 0);
            assert!(written.deepest <= LIMITS.depth && written.aliases <= LIMITS.aliases);
        }
    }
    Corpus::Keep
});
