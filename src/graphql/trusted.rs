//! Trusted documents: read when the server starts, guarded and validated once, and then run by their ids
//! (GraphQL over HTTP, appendix on persisted documents; Apollo's persisted queries).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use async_graphql::parser::types::ExecutableDocument;
use serde_json::{Map, Value};

use crate::config::DocumentLimits;
use crate::graphql::Api;
use crate::graphql::params::Refused;
use crate::graphql::request::{self, Prepared};
use crate::graphql::{document, documents};

/// Most problems that are told at once.
const MOST_PROBLEMS: usize = 20;

/// Documents by id. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedDocuments(Arc<HashMap<String, Arc<ExecutableDocument>>>);

impl TrustedDocuments {
    /// Reads `own`, the documents of the server's pages, which no limit keeps from starting, and a file, or every file of a folder whose name ends in
    /// `.json`. A file is an object of texts by id, as code generators write it, or a manifest of Apollo's.
    ///
    /// # Errors
    /// What cannot be read, is no document, exceeds the limits, or does not fit the schema; every document that is
    /// wrong is named.
    pub fn load(
        api: &Api,
        limits: &DocumentLimits,
        own: &str,
        path: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut texts = HashMap::new();
        add(&mut texts, own).context("the documents of the pages")?;
        let own: HashSet<String> = texts.keys().cloned().collect();
        for file in path.map(files).transpose()?.into_iter().flatten() {
            let named = || format!("the trusted documents in {}", file.display());
            let text = std::fs::read_to_string(&file).with_context(named)?;
            add(&mut texts, &text).with_context(named)?;
        }
        let (mut documents, mut problems) = (HashMap::new(), Vec::new());
        for (id, text) in texts {
            let limits = (!own.contains(&id)).then_some(limits);
            match checked(api, limits, &text) {
                Ok(document) => drop(documents.insert(id, Arc::new(document))),
                Err(problem) => problems.push(format!("\n  {id}: {problem}")),
            }
        }
        if problems.is_empty() {
            return Ok(Self(Arc::new(documents)));
        }
        problems.sort();
        let (all, mut told) = (problems.len(), String::new());
        for problem in problems.iter().take(MOST_PROBLEMS) {
            told.push_str(problem);
        }
        if all > MOST_PROBLEMS {
            let _ = write!(told, "\n  and {} more", all - MOST_PROBLEMS);
        }
        bail!("{all} trusted documents cannot be run:{told}")
    }

    /// The document with this id.
    pub(super) fn get(&self, id: &str) -> Option<Arc<ExecutableDocument>> {
        self.0.get(id).map(Arc::clone)
    }
}

/// The files that are meant by `path`, in order.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = || format!("the trusted documents in {}", path.display());
    if !path.metadata().with_context(named)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(named)? {
        let file = entry.with_context(named)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(file);
        }
    }
    ensure!(
        !files.is_empty(),
        "the folder {} has no file whose name ends in .json",
        path.display()
    );
    files.sort();
    Ok(files)
}

/// Adds what a file holds.
fn add(texts: &mut HashMap<String, String>, file: &str) -> anyhow::Result<()> {
    let object: Map<String, Value> =
        serde_json::from_str(file).map_err(|error| anyhow!("no JSON object: {error}"))?;
    let manifest = object.get("operations").and_then(Value::as_array);
    let found: Vec<(Option<&str>, Option<&str>)> = match manifest {
        Some(operations) => operations
            .iter()
            .map(|operation| {
                let text = |key| operation.get(key).and_then(Value::as_str);
                (text("id"), text("body"))
            })
            .collect(),
        None => object
            .iter()
            .map(|(id, text)| (Some(id.as_str()), text.as_str()))
            .collect(),
    };
    for found in found {
        let (Some(id), Some(text)) = found else {
            bail!(
                "neither an object of texts by id, nor a manifest whose operations have `id` and `body`"
            );
        };
        let before = texts.insert(id.to_owned(), text.to_owned());
        ensure!(
            before.is_none_or(|before| before == text),
            "the id `{id}` stands for two documents"
        );
    }
    Ok(())
}

/// The document of a text, if it may be run whatever its variables will be: small enough, where there are limits, and
/// fit for the schema.
///
/// # Errors
/// What is wrong with it.
pub fn checked(
    api: &Api,
    limits: Option<&DocumentLimits>,
    text: &str,
) -> anyhow::Result<ExecutableDocument> {
    let told = |refused: Refused| anyhow!(refused.message);
    let document = match limits {
        None => request::parse(text).map_err(told)?,
        Some(limits) => {
            let (document, _) = Prepared::guarded(limits, text).map_err(told)?;
            for (_, operation) in document.operations.iter() {
                document::measure(&document, &operation.node, &Map::new(), api.rules(), limits)
                    .map_err(|refusal| anyhow!(refusal.message))?;
            }
            document
        }
    };
    match documents::validate(api, &document) {
        Ok(()) => Ok(document),
        Err(errors) => {
            let error = errors.first().context("an error says what is wrong")?;
            let place = error.locations.first().map_or_else(String::new, |place| {
                format!("line {}, column {}: ", place.line, place.column)
            });
            bail!("{place}{}", error.message)
        }
    }
}
