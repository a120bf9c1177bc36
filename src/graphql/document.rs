//! The document guard: how large, deep and costly a document may be, settled before anything of it runs.
//!
//! The text is scanned without recursion before it is parsed; the parsed document is then measured
//! with each fragment measured once, in time linear in its length. The cost is that of the
//! directives `@cost` and `@listSize`.

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
    fn too_complex(message: impl Into<String>) -> Self {
        Self {
            code: Code::QueryTooComplex,
            message: message.into(),
        }
    }
}

/// Scans the text of a document: its length, tokens and nesting, before the parser sees a byte.
///
/// # Errors
/// What it has too much of.
pub fn scan(text: &str, limits: &DocumentLimits) -> Result<(), Refusal> {
    if text.len() > limits.bytes {
        return Err(Refusal::too_complex(format!(
            "A document has at most {} bytes.",
            limits.bytes
        )));
    }
    let mut rest = text.as_bytes();
    let (mut tokens, mut nesting) = (0_usize, 0_usize);
    while let Some((&byte, tail)) = rest.split_first() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                rest = tail;
                continue;
            }
            b'#' => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                rest = &rest[end.unwrap_or(rest.len())..];
                continue;
            }
            b'"' => string_length(rest),
            b'{' | b'[' | b'(' => {
                nesting += 1;
                1
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                1
            }
            _ => rest
                .iter()
                .position(|&byte| ends_word(byte))
                .unwrap_or(rest.len())
                .max(1),
        };
        rest = &rest[length..];
        tokens += 1;
        if nesting > limits.nesting {
            return Err(Refusal::too_complex(format!(
                "Brackets nest at most {} deep.",
                limits.nesting
            )));
        }
        if tokens > limits.tokens {
            return Err(Refusal::too_complex(format!(
                "A document has at most {} tokens.",
                limits.tokens
            )));
        }
    }
    Ok(())
}

fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b','
            | b'#'
            | b'"'
            | b'{'
            | b'}'
            | b'['
            | b']'
            | b'('
            | b')'
            | b':'
            | b'!'
            | b'$'
            | b'@'
            | b'='
            | b'|'
            | b'&'
    )
}

/// Length of the string or block string at the beginning of `text`, quotes included; to the end of
/// the text, or of the line, where it is not closed.
fn string_length(text: &[u8]) -> usize {
    let (block, open) = if text.starts_with(b"\"\"\"") {
        (true, 3)
    } else {
        (false, 1)
    };
    let mut at = open;
    while at < text.len() {
        let rest = &text[at..];
        if block && rest.starts_with(b"\\\"\"\"") {
            at += 4;
        } else if block && rest.starts_with(b"\"\"\"") {
            return at + 3;
        } else if !block && rest[0] == b'\\' {
            at += 2;
        } else if !block && rest[0] == b'"' {
            return at + 1;
        } else if !block && matches!(rest[0], b'\n' | b'\r') {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
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

/// Measures the operation against the limits.
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
    let mut measure = Measure {
        document,
        operation,
        variables,
        rules,
        fragments: HashMap::new(),
    };
    let root = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let size = measure.selection(&operation.selection_set.node, root)?;
    let mutations = if operation.ty == OperationType::Mutation {
        size.roots
    } else {
        0
    };
    let within = [
        (size.fields, limits.fields, "fields"),
        (
            u64::from(size.depth),
            u64::from(limits.depth),
            "levels of fields",
        ),
        (size.aliases, limits.aliases, "aliases"),
        (size.directives, limits.directives, "directives"),
        (mutations, limits.mutations, "mutations"),
        (size.cost, limits.cost, "units of cost"),
    ];
    match within.into_iter().find(|(found, limit, _)| found > limit) {
        None => Ok(()),
        Some((_, limit, what)) => Err(Refusal::too_complex(format!(
            "A document has at most {limit} {what}."
        ))),
    }
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
        let times = rule.and_then(|rule| rule.list.as_ref()).map_or(1, |list| {
            let asked = list
                .arguments
                .iter()
                .filter_map(|argument| self.argument(field, argument))
                .max();
            asked.unwrap_or(list.assumed)
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
        // An unknown fragment is for the validation to name.
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

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
        scan(text, &limits())?;
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
    fn nesting_is_refused_in_every_place() {
        for levels in [41, 100, 500, 2000, 5000, 15_000] {
            for (open, close) in [("[", "]"), ("{a:", "}")] {
                let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                for text in [
                    format!("{{user(by:{value}){{id}}}}"),
                    format!("query($a:JSON={value}){{me{{id}}}}"),
                    format!("{{me @skip(if:{value}){{id}}}}"),
                ] {
                    assert!(scan(&text, &limits()).is_err(), "{levels} times {open}");
                }
            }
            let selections = format!("{}{}", "{me".repeat(levels), "}".repeat(levels));
            assert!(scan(&selections, &limits()).is_err());
        }
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let deep = "[{(".repeat(40);
        for text in [
            format!("{{user(by:{{email:\"{deep}\"}}){{id}}}}"),
            format!("{{user(by:{{email:\"\"\"{deep}\\\"\"\"{deep}\"\"\"}}){{id}}}}"),
            format!("{{me{{id}}}} # {deep}"),
            format!("{{user(by:{{email:\"\\\"{deep}\"}}){{id}}}}"),
        ] {
            assert_eq!(scan(&text, &limits()), Ok(()), "{text}");
        }
    }

    #[test]
    fn unclosed_strings_end_with_the_line() {
        let text = format!("{{a(x:\"\n{}", "[".repeat(41));
        assert!(
            scan(&text, &limits()).is_err(),
            "a scan that swallows the rest can be led astray"
        );
    }

    #[test]
    fn tokens_and_bytes_have_bounds() {
        assert!(scan(&"a ".repeat(2001), &limits()).is_err());
        assert!(scan(&"a".repeat(32_769), &limits()).is_err());
        assert!(scan(&"!".repeat(2001), &limits()).is_err());
        assert_eq!(scan(&"a ".repeat(2000), &limits()), Ok(()));
    }

    #[test]
    fn fragments_that_multiply_are_measured_once_and_refused() {
        let bomb = |depth: usize, width: usize| {
            let mut text = "{me{...F0}}".to_owned();
            for level in 0..depth {
                let inner = if level + 1 == depth {
                    "id".to_owned()
                } else {
                    format!("...F{} ", level + 1).repeat(width)
                };
                let _ = write!(text, " fragment F{level} on User{{{inner}}}");
            }
            text
        };
        for (depth, width) in [(24, 2), (6, 40), (30, 20)] {
            assert_eq!(
                refused(&bomb(depth, width)),
                "A document has at most 1000 fields."
            );
        }
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused() {
        let text = "{me{...A}} fragment A on User{...B} fragment B on User{...A}";
        assert_eq!(refused(text), "A fragment spreads itself.");
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
