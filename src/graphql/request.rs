//! A request on its way to execution: its document is scanned, parsed, measured against the limits, and
//! asked which operation is meant. Whatever transport it came by passes here.

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{Request, Variables};
use serde_json::{Map, Value};

use crate::app::App;
use crate::graphql::Api;
use crate::graphql::document;
use crate::graphql::error::Code;
use crate::graphql::params::{Params, Refused};
use crate::graphql::scan;

/// A request whose document may be run.
#[derive(Clone)]
pub(super) struct Prepared {
    document: ExecutableDocument,
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
        let text = params
            .query
            .ok_or_else(|| Refused::parameter("`query` is missing."))?;
        let variables = params.variables.unwrap_or_default();
        let limits = &app.config.limits;
        scan::scan(&text, limits)?;
        refuse_nul(&text, &variables)?;
        let document = parse(&text)?;
        let operation = document::operation(&document, params.operation_name.as_deref())?;
        allowed(operation.ty)?;
        require_variables(operation, &variables)?;
        document::measure(&document, operation, &variables, api.rules(), limits)?;
        Ok(Self {
            document,
            variables,
            name: params.operation_name,
        })
    }

    /// The operation that is meant.
    pub(super) fn operation(&self) -> &OperationDefinition {
        document::operation(&self.document, self.name.as_deref())
            .expect("it was found when the request was prepared")
    }

    /// The request to run, with what every resolver needs of the application.
    pub(super) fn into_request(self, app: &App) -> Request {
        // The text was parsed: nothing reads it any more.
        let variables = Variables::from_json(self.variables.into());
        let mut request = Request::new("").variables(variables).data(app.clone());
        request.operation_name = self.name;
        if !app.config.introspection() {
            request = request.disable_introspection();
        }
        request.set_parsed_query(self.document);
        request
    }
}

fn parse(text: &str) -> Result<ExecutableDocument, Refused> {
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
fn refuse_nul(text: &str, variables: &Map<String, Value>) -> Result<(), Refused> {
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
    let in_text = text.contains('\0') || text.contains("\\u0000") || text.contains("\\u{0");
    if in_text
        || variables
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value))
    {
        let message = "The character U+0000 is not accepted.";
        return Err(Refused::by_graphql(Code::BadUserInput, message));
    }
    Ok(())
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
