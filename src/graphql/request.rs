//! A request on its way to execution: its document is scanned, parsed, measured against the limits, and
//! asked which operation is meant. Whatever transport it came by passes here.

use std::sync::Arc;

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{Positioned, Request, ServerError, Variables};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::requester::Requester;
use crate::config::DocumentLimits;
use crate::graphql::Api;
use crate::graphql::at_hand::Tried;
use crate::graphql::error::Code;
use crate::graphql::metrics::Operations;
use crate::graphql::params::{Params, Refused};
use crate::graphql::scan::{self, Scanned};
use crate::graphql::variables::Validated;
use crate::graphql::{document, documents};
use crate::models::permission::SystemPermission;

/// A request whose document may be run.
#[derive(Clone)]
pub(super) struct Prepared {
    document: Arc<ExecutableDocument>,
    /// It was read when the server started.
    trusted: bool,
    /// Its text, where it was not validated yet.
    new: Option<(String, Scanned)>,
    /// What of it does not fit the schema.
    misfits: Vec<ServerError>,
    variables: Map<String, Value>,
    name: Option<String>,
}

impl Prepared {
    /// Guards the document; `allowed` says whether an operation of its kind may come by this way.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(
        app: &App,
        api: &Api,
        params: Params,
        allowed: impl FnOnce(OperationType) -> Result<(), Refused>,
    ) -> Result<Self, Refused> {
        let limits = &app.config.limits;
        let trusted = params.document_id().map(|id| api.trusted().get(id));
        let (document, trusted, new) = match (trusted, params.query) {
            (Some(Some(document)), _) => (document, true, None),
            (_, Some(text)) => {
                if let Some(document) = api.known().get(&text) {
                    (document, false, None)
                } else {
                    let (document, scanned) = Self::guarded(limits, &text)?;
                    (Arc::new(document), false, Some((text, scanned)))
                }
            }
            (Some(None), None) => {
                // Apollo's clients look for these words, and send the text.
                let message = "PersistedQueryNotFound";
                return Err(Refused::by_graphql(Code::PersistedQueryNotFound, message));
            }
            (None, None) => {
                return Err(Refused::parameter("`query` or `documentId` is missing."));
            }
        };
        let variables = params.variables.unwrap_or_default();
        refuse_nul(&variables)?;
        let operation = document::operation(&document, params.operation_name.as_deref())?;
        allowed(operation.ty)?;
        require_variables(operation, &variables)?;
        document::measure(&document, operation, &variables, api.rules(), limits)?;
        Ok(Self {
            document,
            trusted,
            new,
            misfits: Vec::new(),
            variables,
            name: params.operation_name,
        })
    }

    /// The document of a text, whatever its variables will be, if it is small enough to be looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn guarded(
        limits: &DocumentLimits,
        text: &str,
    ) -> Result<(ExecutableDocument, Scanned), Refused> {
        let scanned = scan::scan(text, limits)?;
        if text.contains('\0') || text.contains("\\u0000") || text.contains("\\u{0") {
            return Err(nul());
        }
        Ok((parse(text)?, scanned))
    }

    /// Lets the caller send this document: any, or where the settings trust documents alone, one of those.
    /// Administrators of the system may send what they like. What comes for the first time is validated then.
    ///
    /// # Errors
    /// That it is not trusted.
    pub(super) fn sent_by(
        &mut self,
        app: &App,
        api: &Api,
        requester: &Requester,
    ) -> Result<(), Refused> {
        if self.trusted
            || !app.config.http.trusted_documents_only
            || requester.has(SystemPermission::AdminSystem)
        {
            if let Some((text, scanned)) = self.new.take() {
                match documents::validate(api, &self.document) {
                    Ok(()) => api.known().keep(&text, scanned, &self.document),
                    Err(errors) => self.misfits = errors,
                }
            }
            return Ok(());
        }
        let message = "This server runs trusted documents only: send `documentId`.";
        Err(Refused {
            by_graphql: true,
            ..Refused::new(StatusCode::FORBIDDEN, Code::PersistedQueryOnly, message)
        })
    }

    /// The operation that is meant.
    pub(super) fn operation(&self) -> &OperationDefinition {
        document::operation(&self.document, self.name.as_deref())
            .expect("it was found when the request was prepared")
    }

    /// Where requests like it are counted.
    pub(super) fn place_in(&self, operations: &Operations) -> usize {
        operations.place_of(&self.document, self.operation())
    }

    /// The request to run, with what every resolver needs of the application.
    pub(super) fn into_request(self, app: &App) -> Request {
        // The text was parsed: nothing reads it any more.
        let variables = Variables::from_json(self.variables.into());
        let operation = document::operation(&self.document, self.name.as_deref());
        let operation = operation.expect("it was found when the request was prepared");
        let definitions = operation.variable_definitions.iter();
        let types = definitions
            .map(|Positioned { node, .. }| (node.name.node.clone(), node.var_type.to_string()));
        let validated = Validated {
            misfits: self.misfits,
            types: types.collect(),
            given: variables.clone(),
        };
        let request = Request::new("").variables(variables).data(app.clone());
        let mut request = request.data(validated).data(Tried::default());
        request.operation_name = self.name;
        if !app.config.introspection() {
            request = request.disable_introspection();
        }
        request.set_parsed_query(Arc::unwrap_or_clone(self.document));
        request
    }
}

/// Parses a text that is known to be harmless.
///
/// # Errors
/// That it is not GraphQL.
pub(super) fn parse(text: &str) -> Result<ExecutableDocument, Refused> {
    async_graphql::parser::parse_query(text).map_err(|error| {
        // The parser repeats the document, passwords included; its last line says what it expected.
        let error = error.to_string();
        let expected = error
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches([' ', '=']);
        let message = if expected.starts_with("expected ") {
            expected
        } else {
            "The document is not GraphQL."
        };
        Refused::by_graphql(Code::GraphqlParseFailed, message)
    })
}

/// PostgreSQL keeps no U+0000 in text, and no field has a use for it.
fn nul() -> Refused {
    Refused::by_graphql(Code::BadUserInput, "The character U+0000 is not accepted.")
}

fn refuse_nul(variables: &Map<String, Value>) -> Result<(), Refused> {
    fn holds_nul(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(holds_nul),
            Value::Object(map) => map
                .iter()
                .any(|(key, value)| key.contains('\0') || holds_nul(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let found = variables
        .iter()
        .any(|(key, value)| key.contains('\0') || holds_nul(value));
    if found { Err(nul()) } else { Ok(()) }
}

fn require_variables(
    operation: &OperationDefinition,
    variables: &Map<String, Value>,
) -> Result<(), Refused> {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        let name = definition.name.node.as_str();
        let compulsory = !definition.var_type.node.nullable && definition.default_value.is_none();
        if compulsory && variables.get(name).is_none_or(Value::is_null) {
            let message = format!("The variable `${name}` is required.");
            return Err(Refused::by_graphql(Code::BadUserInput, message));
        }
    }
    Ok(())
}
