//! Documents that came before: guarded, parsed and validated once, and remembered without their values.

use std::sync::Arc;

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Request, ServerError};
use futures_util::FutureExt as _;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::graphql::Api;
use crate::graphql::scan::Scanned;

/// Most bytes that the documents which are remembered take up, about: some hundreds of large ones.
const BYTES: u64 = 16 * 1024 * 1024;
/// What a token takes up beside its text, about.
const TOKEN_BYTES: usize = 256;
/// How many documents are expected.
const DOCUMENTS: usize = 1_000;

/// Marks a request that is validated and not run, and is its document.
pub(super) struct ValidateOnly(pub(super) ExecutableDocument);

/// Documents that are known to be valid, by the SHA-256 of their text. Cheap to clone.
#[derive(Clone)]
pub(super) struct KnownDocuments(Arc<Cache<[u8; 32], Known, Size>>);

#[derive(Clone)]
struct Known {
    document: Arc<ExecutableDocument>,
    bytes: usize,
}

/// Weighs documents by what they take up.
#[derive(Clone)]
struct Size;

impl Weighter<[u8; 32], Known> for Size {
    fn weight(&self, _: &[u8; 32], known: &Known) -> u64 {
        known.bytes as u64
    }
}

impl Default for KnownDocuments {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(DOCUMENTS, BYTES, Size)))
    }
}

impl KnownDocuments {
    /// The document of this text, if it is remembered.
    pub(super) fn get(&self, text: &str) -> Option<Arc<ExecutableDocument>> {
        self.0.get(&hash(text)).map(|known| known.document)
    }

    /// Remembers a valid document. One with a string in it is not: it may be a password, and the next request of its
    /// kind has another.
    pub(super) fn keep(&self, text: &str, scanned: Scanned, document: &Arc<ExecutableDocument>) {
        if scanned.has_strings {
            return;
        }
        let known = Known {
            document: Arc::clone(document),
            bytes: text.len() + TOKEN_BYTES * scanned.tokens,
        };
        self.0.insert(hash(text), known);
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether the document fits the schema, whatever its variables will be.
///
/// # Errors
/// What does not fit.
pub(super) fn validate(api: &Api, document: &ExecutableDocument) -> Result<(), Vec<ServerError>> {
    let mut request = Request::new("").data(ValidateOnly(document.clone()));
    request.set_parsed_query(document.clone());
    // One operation's name is as good as another's: all of them are validated.
    request.operation_name = document
        .operations
        .iter()
        .find_map(|(name, _)| name.map(ToString::to_string));
    let response = api.execute(request).now_or_never();
    let errors = response.expect("validation has nothing to wait for").errors;
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::request::parse;

    fn kept(documents: &KnownDocuments, text: &str, tokens: usize, has_strings: bool) -> bool {
        let document = parse(text).map(Arc::new).expect("a document");
        let scanned = Scanned {
            tokens,
            has_strings,
        };
        documents.keep(text, scanned, &document);
        documents.get(text).is_some()
    }

    #[test]
    fn what_was_valid_is_known_unless_it_may_hold_a_secret_or_is_larger_than_all_together() {
        let documents = KnownDocuments::default();
        assert!(documents.get("{me{id}}").is_none());
        assert!(kept(&documents, "{me{id}}", 6, false));
        assert!(documents.get("{me{id} }").is_none(), "another text");
        assert!(!kept(&documents, "{user(by:{email:\"a\"}){id}}", 16, true));
        assert!(!kept(&documents, "{me{email}}", 65_536, false));
        assert!(documents.get("{me{id}}").is_some());
    }

    #[test]
    fn a_flood_of_documents_does_not_grow_it() {
        let documents = KnownDocuments::default();
        let long = "a".repeat(30_000);
        for number in 0..1000 {
            kept(&documents, &format!("{{me{{a{number}:id}}}}"), 1000, false);
            kept(
                &documents,
                &format!("query {long}{number}{{me{{id}}}}"),
                7,
                false,
            );
        }
        let held: usize = documents.0.iter().map(|(_, known)| known.bytes).sum();
        assert!(
            documents.0.weight() <= BYTES && held as u64 <= BYTES,
            "{held}"
        );
        assert!(!documents.0.is_empty());
    }

    #[test]
    fn validation_names_what_does_not_fit_and_takes_variables_as_they_may_be() {
        let api = Api::new().expect("the schema is sound");
        let valid = |text| validate(&api, &parse(text).expect("a document"));
        assert!(valid("query($n: Int) { users(first: $n) { totalCount } }").is_ok());
        assert!(valid("query A { me { id } } query B { me { uuid } }").is_ok());
        assert!(valid("query($n: Int) { users(page: $n) { totalCount } }").is_err());
        assert!(valid("query A { me { id } } query B { me { no } }").is_err());
    }
}
