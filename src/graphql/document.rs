//! The document guard, second half: how deep and costly a parsed document may be, settled before
//! anything of it runs. The first half, `scan`, looks at the text.
//!
//! Each fragment is measured once, in time linear in its length. The cost is that of the directives
//! `@cost` and `@listSize`.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Positioned, Value as ConstValue};
use async_graphql_value::Value as GraphqlValue;
use serde_json::Value;

use crate::config::DocumentLimits;
use crate::graphql::error::Code;
use crate::graphql::page;
use crate::graphql::sdl::{Access, Rules};

/// Why a document is refused before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// The document is larger, deeper or costlier than allowed.
    pub fn too_complex(message: impl Into<String>) -> Self {
        Self {
            code: Code::QueryTooComplex,
            message: message.into(),
        }
    }
}

/// The operation that is meant.
///
/// # Errors
/// If it is not one.
pub fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, Refusal> {
    let refused = |message: String| Refusal {
        code: Code::OperationResolutionFailure,
        message,
    };
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        (DocumentOperations::Multiple(_), None) => {
            return Err(refused(
                "The document has several operations; name the one to run.".to_owned(),
            ));
        }
        (DocumentOperations::Single(_), Some(_)) => None,
    };
    let missing = || refused("The document has no operation of this name.".to_owned());
    operation
        .map(|operation| &operation.node)
        .ok_or_else(missing)
}

/// Measures the document against the limits: all of it where reading it costs, and the operation
/// where running it does.
///
/// # Errors
/// What it has too much of.
pub fn measure(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &serde_json::Map<String, Value>,
    rules: &Rules,
    limits: &DocumentLimits,
) -> Result<(), Refusal> {
    let size = |operation| size(document, operation, variables, rules);
    let run = size(operation)?;
    let mut read = Size::default();
    // Validation reads the operations that are not run, too.
    for (_, Positioned { node: other, .. }) in document.operations.iter() {
        let this = std::ptr::eq(other, operation);
        read.add(if this { run } else { size(other)? });
    }
    // So are fragments that no operation spreads.
    let mut every = Measure::new(document, operation, variables, rules);
    for name in document.fragments.keys() {
        read.fields = read.fields.max(every.fragment(name.as_str())?.fields);
    }
    let mutations = if operation.ty == OperationType::Mutation {
        run.roots
    } else {
        0
    };
    let within = [
        (read.fields, limits.fields, "fields"),
        (
            u64::from(read.depth),
            u64::from(limits.depth),
            "levels of fields",
        ),
        (read.directives, limits.directives, "directives"),
        (run.aliases, limits.aliases, "aliases"),
        (mutations, limits.mutations, "mutations"),
        (run.cost, limits.cost, "units of cost"),
    ];
    match within.into_iter().find(|(found, limit, _)| found > limit) {
        None => Ok(()),
        Some((_, limit, what)) => Err(Refusal::too_complex(format!(
            "A document has at most {limit} {what}."
        ))),
    }
}

fn size(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &serde_json::Map<String, Value>,
    rules: &Rules,
) -> Result<Size, Refusal> {
    let root = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    // The size of a fragment hangs on the variables of the operation: none is taken over.
    let mut measure = Measure::new(document, operation, variables, rules);
    measure.selection(&operation.selection_set.node, root)
}

/// Whether the operation consists of nothing but root fields that need no session.
#[must_use]
pub fn is_public(operation: &OperationDefinition, rules: &Rules) -> bool {
    let open = |field: &Field| {
        let rule = rules.field("Mutation", field.name.node.as_str());
        rule.is_some_and(|rule| rule.access == Some(Access::Public))
    };
    operation.ty == OperationType::Mutation
        && operation
            .selection_set
            .node
            .items
            .iter()
            .all(|item| match &item.node {
                Selection::Field(field) => open(&field.node),
                // Fragments on the root type are rare; whoever uses one needs a good token.
                Selection::InlineFragment(_) | Selection::FragmentSpread(_) => false,
            })
}

#[derive(Clone, Copy, Default)]
struct Size {
    fields: u64,
    depth: u32,
    aliases: u64,
    directives: u64,
    roots: u64,
    cost: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.depth = self.depth.max(other.depth);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.roots = self.roots.saturating_add(other.roots);
        self.cost = self.cost.saturating_add(other.cost);
    }
}

struct Measure<'a> {
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a serde_json::Map<String, Value>,
    rules: &'a Rules,
    /// Sizes of the fragments measured so far; `None` while one is being measured.
    fragments: HashMap<&'a str, Option<Size>>,
}

impl<'a> Measure<'a> {
    fn new(
        document: &'a ExecutableDocument,
        operation: &'a OperationDefinition,
        variables: &'a serde_json::Map<String, Value>,
        rules: &'a Rules,
    ) -> Self {
        Self {
            document,
            operation,
            variables,
            rules,
            fragments: HashMap::new(),
        }
    }

    fn selection(&mut self, set: &'a SelectionSet, of_type: &str) -> Result<Size, Refusal> {
        let mut total = Size::default();
        for Positioned { node, .. } in &set.items {
            let (mut size, directives) = match node {
                Selection::Field(field) => (
                    self.field(&field.node, of_type)?,
                    field.node.directives.len(),
                ),
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let of_type =
                        condition.map_or(of_type, |condition| condition.node.on.node.as_str());
                    (
                        self.selection(&fragment.node.selection_set.node, of_type)?,
                        fragment.node.directives.len(),
                    )
                }
                Selection::FragmentSpread(spread) => (
                    self.fragment(spread.node.fragment_name.node.as_str())?,
                    spread.node.directives.len(),
                ),
            };
            size.directives = size.directives.saturating_add(directives as u64);
            if !matches!(node, Selection::Field(_)) {
                // To spread something is to read it, whatever there is in it.
                size.fields = size.fields.saturating_add(1);
            }
            total.add(size);
        }
        Ok(total)
    }

    fn field(&mut self, field: &'a Field, of_type: &str) -> Result<Size, Refusal> {
        let rule = self.rules.field(of_type, field.name.node.as_str());
        let mut size = self.selection(
            &field.selection_set.node,
            rule.map_or("", |rule| rule.of_type.as_str()),
        )?;
        let unlisted = introspected(of_type, field.name.node.as_str());
        let times = rule
            .and_then(|rule| rule.list.as_ref())
            .map_or(unlisted, |list| {
                let asked = list
                    .arguments
                    .iter()
                    .filter_map(|argument| self.argument(field, argument))
                    .max();
                // A larger page is refused by name, before anything below it runs.
                asked.map_or(list.assumed, |asked| asked.min(page::MAX_SIZE as u64))
            });
        size.cost = size
            .cost
            .saturating_mul(times)
            .saturating_add(rule.map_or(1, |rule| rule.cost));
        size.fields = size.fields.saturating_add(1);
        size.depth = size.depth.saturating_add(1);
        size.aliases = size.aliases.saturating_add(field.alias.is_some().into());
        size.roots = 1;
        Ok(size)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Size, Refusal> {
        match self.fragments.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(Refusal::too_complex("A fragment spreads itself.")),
            None => {}
        }
        // An unknown fragment is for the validation to name; its spread is counted all the same.
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Size::default());
        };
        self.fragments.insert(name.as_str(), None);
        let fragment = &fragment.node;
        let size = self.selection(
            &fragment.selection_set.node,
            fragment.type_condition.node.on.node.as_str(),
        )?;
        self.fragments.insert(name.as_str(), Some(size));
        Ok(size)
    }

    /// The whole number that an argument of `field` stands for, if it is one.
    fn argument(&self, field: &Field, name: &str) -> Option<u64> {
        match &field.get_argument(name)?.node {
            GraphqlValue::Number(number) => number.as_u64(),
            GraphqlValue::Variable(variable) => match self.variables.get(variable.as_str()) {
                Some(value) => value.as_u64(),
                None => self.default_of(variable.as_str()),
            },
            _ => None,
        }
    }

    fn default_of(&self, variable: &str) -> Option<u64> {
        let mut definitions = self.operation.variable_definitions.iter();
        let definition =
            definitions.find(|definition| definition.node.name.node.as_str() == variable)?;
        match &definition.node.default_value.as_ref()?.node {
            ConstValue::Number(number) => number.as_u64(),
            _ => None,
        }
    }
}

/// How often the children of a field of the introspection count: its lists are of no stated size.
///
/// The query of `GraphiQL` and code generators comes to a few thousand units; lists within lists
/// within lists grow beyond every budget.
fn introspected(of_type: &str, field: &str) -> u64 {
    let lists = matches!(
        field,
        "args"
            | "directives"
            | "enumValues"
            | "fields"
            | "inputFields"
            | "interfaces"
            | "possibleTypes"
            | "types"
    );
    // The types of the introspection are not in the SDL, and so have no name here.
    if lists && of_type.is_empty() { 4 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::Api;

    fn limits() -> DocumentLimits {
        DocumentLimits {
            bytes: 32_768,
            tokens: 2000,
            nesting: 40,
            depth: 16,
            fields: 1000,
            aliases: 30,
            directives: 50,
            mutations: 3,
            cost: 10_000,
        }
    }

    fn check(text: &str, variables: &Value) -> Result<(), Refusal> {
        let api = Api::new().expect("the schema is sound");
        let document = async_graphql::parser::parse_query(text).expect("the document parses");
        let operation = operation(&document, None)?;
        let variables = variables.as_object().cloned().unwrap_or_default();
        measure(&document, operation, &variables, api.rules(), &limits())
    }

    fn refused(text: &str) -> String {
        check(text, &Value::Null)
            .expect_err("must be refused")
            .message
    }

    #[test]
    fn fragments_that_multiply_are_measured_once_and_refused() {
        let bomb = |depth: usize, width: usize| {
            let fragment = |level: usize| {
                let inner = format!("...F{} ", level + 1).repeat(width);
                format!(" fragment F{level} on User{{{inner}}}")
            };
            let fragments = (0..depth).map(fragment).collect::<Vec<_>>().concat();
            format!("{{me{{...F0}}}} {fragments} fragment F{depth} on User{{id}}")
        };
        for (depth, width) in [(24, 2), (6, 40), (30, 20)] {
            assert_eq!(
                refused(&bomb(depth, width)),
                "A document has at most 1000 fields."
            );
        }
    }

    #[test]
    fn fragments_that_hold_nothing_count_too() {
        let chain = |last: &str| {
            let link = |n: usize| format!(" fragment f{n} on Query{{...f{} ...f{}}}", n + 1, n + 1);
            let links = (0..22).map(link).collect::<Vec<_>>().concat();
            format!("{links} fragment f22 on Query{{{last}}}")
        };
        for last in [
            "...nope",
            "... on Query{...nope}",
            "me{id}",
            "...on Query{me{...nope}}",
        ] {
            for start in [
                "query A{me{id} ...f0}",
                "query A{me{id}} query B{...f0}",
                "query A{me{id}}",
            ] {
                let text = format!("{start}{}", chain(last));
                let document = async_graphql::parser::parse_query(&text).expect("it parses");
                let named = operation(&document, Some("A")).or_else(|_| operation(&document, None));
                let api = Api::new().expect("the schema is sound");
                let none = serde_json::Map::new();
                let measured = measure(
                    &document,
                    named.expect("an operation"),
                    &none,
                    api.rules(),
                    &limits(),
                );
                assert!(measured.is_err(), "{start} {last}");
            }
        }
    }

    #[test]
    fn introspection_has_a_price() {
        let nested = "{__type(name:\"Node\"){possibleTypes{interfaces{possibleTypes{interfaces{possibleTypes{interfaces{possibleTypes{interfaces{name}}}}}}}}}}";
        assert_eq!(
            refused(nested),
            "A document has at most 10000 units of cost."
        );
        assert_eq!(
            check(
                "{__schema{types{fields{args{type{ofType{ofType{name}}}}}}}}",
                &Value::Null
            ),
            Ok(())
        );
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused() {
        let text = "{me{...A}} fragment A on User{...B} fragment B on User{...A}";
        assert_eq!(refused(text), "A fragment spreads itself.");
    }

    #[test]
    fn operations_that_are_not_run_are_measured_too() {
        let check = |others: &str| {
            let text = format!("query Run{{me{{id}}}} {others}");
            let api = Api::new().expect("the schema is sound");
            let document = async_graphql::parser::parse_query(&text).expect("the document parses");
            let operation = operation(&document, Some("Run"))?;
            measure(
                &document,
                operation,
                &serde_json::Map::new(),
                api.rules(),
                &limits(),
            )
        };
        let wide = |name: &str| format!("query {name}{{me{{{}}}}} ", "id ".repeat(499));
        assert_eq!(check(&wide("A")), Ok(()));
        assert!(check(&(wide("A") + &wide("B"))).is_err());
        assert!(check("query A{me{...F}} fragment F on User{...F}").is_err());
    }

    #[test]
    fn aliases_mutations_and_directives_have_bounds() {
        let aliases: Vec<_> = (0..31)
            .map(|n| format!("a{n}:viewer{{permissions}}"))
            .collect();
        assert_eq!(
            refused(&format!("{{{}}}", aliases.join(" "))),
            "A document has at most 30 aliases."
        );
        let mutations = "a:logout{endedSessions} ".replace('a', "x");
        let four: String = (0..4)
            .map(|n| mutations.replace("x:", &format!("x{n}:")))
            .collect();
        assert_eq!(
            refused(&format!("mutation{{{four}}}")),
            "A document has at most 3 mutations."
        );
        let hidden = format!("mutation{{...M}} fragment M on Mutation{{{four}}}");
        assert_eq!(refused(&hidden), "A document has at most 3 mutations.");
        let directives = "@skip(if:false) ".repeat(51);
        assert_eq!(
            refused(&format!("{{me {directives}{{id}}}}")),
            "A document has at most 50 directives."
        );
    }

    #[test]
    fn pages_cost_what_they_may_return() {
        let inner = "nodes{id fullName roles{name permissions{name}}}";
        assert_eq!(
            check(&format!("{{users(first:100){{{inner}}}}}"), &Value::Null),
            Ok(())
        );
        let nested = "roles{members(first:100){nodes{roles{members(first:100){nodes{id}}}}}}";
        assert_eq!(
            refused(&format!("{{{nested}}}")),
            "A document has at most 10000 units of cost."
        );
        let by_variable = "query($n:Int=100){roles{members(first:$n){nodes{roles{members(first:$n){nodes{id}}}}}}}";
        assert!(check(by_variable, &Value::Null).is_err());
        assert!(check(by_variable, &serde_json::json!({ "n": 100 })).is_err());
        assert_eq!(check(by_variable, &serde_json::json!({ "n": 5 })), Ok(()));
    }
}
