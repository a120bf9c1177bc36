//! Requests, counted by what they ask for and what they come to. What clients name freely, operations above all, is no
//! label: there are as many series as the schema has root fields and codes, whatever is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_graphql::parser::types::{
    ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::resolver_utils::EnumType as _;
use async_graphql::{Response, Value};
use tracing::Span;
use tracing::field::Empty;

use crate::db::Tally;
use crate::error::UserErrorCode;
use crate::graphql::context::Executed;
use crate::graphql::error::{CODE, Code};
use crate::graphql::handler::unfit_code;
use crate::graphql::sdl::Rules;
use crate::metrics::Histogram;
use crate::traces::{self, TARGET};

/// What is counted together; no name of GraphQL, which reserves those of the schema that begin so.
const NONE: &str = "_none";
const SEVERAL: &str = "_several";
const UNKNOWN: &str = "_unknown";
/// Fields of every schema (GraphQL, section 4.1).
const META: [&str; 3] = ["__schema", "__type", "__typename"];
/// Most selections that are looked at for the name of a request.
const MOST_SELECTIONS: u32 = 64;

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(usize);

impl Outcome {
    /// Nothing is wrong.
    pub const OK: Self = Self(0);
    /// The client hung up before the answer.
    const CANCELLED: Self = Self(1);

    /// Whether the server is at fault, and not the caller.
    fn is_fault(self) -> bool {
        [Code::InternalServerError, Code::ServiceUnavailable]
            .into_iter()
            .any(|code| self == code.into())
    }

    /// The words of all outcomes, in order.
    fn names() -> Vec<String> {
        let own = ["OK", "CANCELLED"].into_iter();
        let codes = Code::ALL.into_iter().map(Code::as_str);
        let refusals = UserErrorCode::items().iter().map(|item| item.name);
        own.chain(codes)
            .chain(refusals)
            .map(str::to_owned)
            .collect()
    }

    /// What an error of the list `errors` says by its code.
    #[must_use]
    pub fn of_code(code: Option<&str>) -> Self {
        let code = Code::ALL
            .into_iter()
            .find(|known| Some(known.as_str()) == code);
        code.unwrap_or(Code::InternalServerError).into()
    }

    /// What came of a request: the first error of the list, else the first of a payload.
    #[must_use]
    pub fn of(response: &Response, executed: &Executed) -> Self {
        match response.errors.first() {
            Some(error) if !executed.get() => unfit_code(error).into(),
            Some(error) => {
                let code = error.extensions.as_ref().and_then(|all| all.get(CODE));
                Self::of_code(match code {
                    Some(Value::String(code)) => Some(code),
                    _ => None,
                })
            }
            None => executed.refusal().map_or(Self::OK, Self::from),
        }
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        Self(2 + code as usize)
    }
}

impl From<UserErrorCode> for Outcome {
    fn from(code: UserErrorCode) -> Self {
        Self(2 + Code::ALL.len() + code as usize)
    }
}

/// What is counted of the requests of one name.
#[derive(Debug)]
pub struct Counts {
    /// A root field of the schema, or a word for what is not one.
    pub operation: String,
    /// `query`, `mutation`, `subscription` or `none`.
    pub kind: &'static str,
    outcomes: Vec<AtomicU64>,
    /// How long they took from when they were read.
    pub duration: Histogram,
    /// Statements that they sent.
    pub statements: Tally,
    following: AtomicU64,
}

impl Counts {
    fn new(operation: &str, kind: &'static str, outcomes: usize) -> Self {
        Self {
            operation: operation.to_owned(),
            kind,
            outcomes: (0..outcomes).map(|_| AtomicU64::new(0)).collect(),
            duration: Histogram::default(),
            statements: Tally::default(),
            following: AtomicU64::new(0),
        }
    }

    /// How many there were with each outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = u64> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.outcomes.iter().map(read)
    }

    /// Subscriptions that are followed just now.
    #[must_use]
    pub fn following(&self) -> u64 {
        self.following.load(Ordering::Relaxed)
    }

    /// Of one of them, as a part of the request that asks for it.
    fn span(&self) -> Span {
        tracing::info_span!(
            target: TARGET,
            "operation",
            otel.name = format!("{} {}", self.kind, self.operation),
            otel.status_code = Empty,
            "graphql.operation.type" = self.kind,
            "graphql.operation.name" = self.operation,
            "cardea.graphql.code" = Empty,
            "error.type" = Empty,
        )
    }

    /// Of the answer to an event, by itself: what asked for it was answered long ago.
    fn event_span(&self) -> Span {
        tracing::info_span!(
            target: TARGET,
            parent: None,
            "event",
            otel.name = format!("event {}", self.operation),
            "graphql.operation.type" = self.kind,
            "graphql.operation.name" = self.operation,
        )
    }

    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.0].fetch_add(1, Ordering::Relaxed);
    }
}

/// The operations of a type of the roots, by name.
type Names = HashMap<String, usize, foldhash::fast::RandomState>;

/// What requests can be counted as. Made once, with the schema.
#[derive(Debug)]
pub struct Operations {
    all: Vec<Counts>,
    roots: [Root; 3],
    outcomes: Vec<String>,
}

#[derive(Debug, Default)]
struct Root {
    names: Names,
    several: usize,
    unknown: usize,
}

impl Operations {
    /// Those of a schema.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let outcomes = Outcome::names();
        let mut all = vec![Counts::new(NONE, "none", outcomes.len())];
        let mut add = |name: &str, kind| {
            all.push(Counts::new(name, kind, outcomes.len()));
            all.len() - 1
        };
        let types = [
            ("Query", "query"),
            ("Mutation", "mutation"),
            ("Subscription", "subscription"),
        ];
        let roots = types.map(|(of_type, kind)| {
            let mut fields: Vec<&str> = rules.fields(of_type).map(|(name, _)| name).collect();
            fields.sort_unstable();
            if of_type == "Query" {
                fields.extend(META);
            }
            let names = fields
                .iter()
                .map(|name| ((*name).to_owned(), add(name, kind)));
            let names = names.collect();
            Root {
                names,
                several: add(SEVERAL, kind),
                unknown: add(UNKNOWN, kind),
            }
        });
        Self {
            all,
            roots,
            outcomes,
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Counts] {
        &self.all
    }

    /// The words of the outcomes, in the order of [`Counts::outcomes`].
    #[must_use]
    pub fn outcomes(&self) -> &[String] {
        &self.outcomes
    }

    /// Where in [`Operations::all`] requests for `operation` are counted.
    #[must_use]
    pub fn place_of(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
    ) -> usize {
        let root = &self.roots[match operation.ty {
            OperationType::Query => 0,
            OperationType::Mutation => 1,
            OperationType::Subscription => 2,
        }];
        let mut search = Search {
            document,
            left: MOST_SELECTIONS,
            found: None,
            asks_type: false,
        };
        if search.look(&operation.selection_set.node).is_none() {
            return root.several;
        }
        let name = search.found.or(search.asks_type.then_some(META[2]));
        let place = name.and_then(|name| root.names.get(name));
        place.copied().unwrap_or(root.unknown)
    }

    /// A request has arrived.
    pub(super) fn arrived(self: &Arc<Self>) -> Arrived {
        Arrived {
            operations: Arc::clone(self),
            place: 0,
            read_at: None,
            is_counted: false,
            span: Span::none(),
        }
    }

    /// Somebody follows the subscription that is counted at `place`, until this is dropped.
    pub(super) fn following(self: &Arc<Self>, place: usize) -> Following {
        self.all[place].following.fetch_add(1, Ordering::Relaxed);
        Following {
            operations: Arc::clone(self),
            place,
        }
    }
}

/// Looks for the one root field of an operation.
struct Search<'a> {
    document: &'a ExecutableDocument,
    left: u32,
    found: Option<&'a str>,
    asks_type: bool,
}

impl<'a> Search<'a> {
    /// None where there are several, or too much to look at.
    fn look(&mut self, set: &'a SelectionSet) -> Option<()> {
        for item in &set.items {
            self.left = self.left.checked_sub(1)?;
            match &item.node {
                Selection::Field(field) => match field.node.name.node.as_str() {
                    // Clients that add it everywhere ask for nothing else by it.
                    "__typename" => self.asks_type = true,
                    name if self.found.is_none_or(|found| found == name) => {
                        self.found = Some(name);
                    }
                    _ => return None,
                },
                Selection::InlineFragment(fragment) => {
                    self.look(&fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.look(&fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Some(())
    }
}

/// A request on its way, which is counted once, whatever becomes of it.
pub(super) struct Arrived {
    operations: Arc<Operations>,
    place: usize,
    read_at: Option<Instant>,
    is_counted: bool,
    span: Span,
}

impl Arrived {
    /// It is here as a whole: what it takes from now on is the server's.
    pub(super) fn is_read(&mut self) {
        self.read_at = Some(Instant::now());
    }

    /// What it asks for is known.
    pub(super) fn asks_for(&mut self, place: usize) {
        self.place = place;
        self.span = self.operations.all[place].span();
    }

    /// The span of what is done for it, for traces.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Counts the statements of what is done for it.
    pub(super) fn statements(&self) -> &Tally {
        &self.operations.all[self.place].statements
    }

    /// It is answered.
    pub(super) fn answered(mut self, outcome: Outcome) {
        self.count(outcome);
    }

    fn count(&mut self, outcome: Outcome) {
        self.is_counted = true;
        if !self.span.is_none() {
            let code = self.operations.outcomes[outcome.0].as_str();
            self.span.record("cardea.graphql.code", code);
            if outcome.is_fault() {
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", code);
            }
            traces::end(&self.span);
        }
        let counts = &self.operations.all[self.place];
        counts.count(outcome);
        // Before it is known what is asked for, nothing was done.
        if self.place > 0
            && let Some(read_at) = self.read_at
        {
            counts.duration.observe(read_at.elapsed());
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        if !self.is_counted {
            self.count(Outcome::CANCELLED);
        }
    }
}

/// A subscription that is followed.
pub(super) struct Following {
    operations: Arc<Operations>,
    place: usize,
}

impl Following {
    /// Counts the statements of its answers.
    pub(super) fn statements(&self) -> &Tally {
        &self.operations.all[self.place].statements
    }

    /// The span of the answer to one event, for traces.
    pub(super) fn span(&self) -> Span {
        self.operations.all[self.place].event_span()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let following = &self.operations.all[self.place].following;
        following.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::Api;
    use crate::graphql::document;

    #[test]
    fn requests_are_counted_by_the_one_field_that_they_ask_for() {
        let api = Api::new().expect("the schema is sound");
        let operations = api.operations();
        let named = |text: &str| {
            let document = async_graphql::parser::parse_query(text).expect("it parses");
            let operation = document::operation(&document, None).expect("an operation");
            let counts = &operations.all()[operations.place_of(&document, operation)];
            format!("{} {}", counts.kind, counts.operation)
        };
        for (text, name) in [
            ("query Anything { me { id } }", "query me"),
            ("{ a: me { id } b: me { email } __typename }", "query me"),
            (
                "{ ... on Query { me { id } } ...F } fragment F on Query { me { id } }",
                "query me",
            ),
            ("{ me { id } viewer { permissions } }", "query _several"),
            ("{ me { id } nothing }", "query _several"),
            ("{ nothing }", "query _unknown"),
            ("{ ...F } fragment F on Query { ...Gone }", "query _unknown"),
            ("{ __typename }", "query __typename"),
            ("{ __schema { types { name } } }", "query __schema"),
            ("mutation { logout { endedSessions } }", "mutation logout"),
            ("mutation { __typename }", "mutation _unknown"),
            ("mutation { me { id } }", "mutation _unknown"),
            (
                "subscription { sessionRevoked { id } }",
                "subscription sessionRevoked",
            ),
        ] {
            assert_eq!(named(text), name, "{text}");
        }
        let many = format!("{{ {} }}", "me { id } ".repeat(100));
        assert_eq!(named(&many), "query _several");
    }

    #[test]
    fn every_outcome_has_a_place_of_its_own_and_the_name_of_its_code() {
        let names = Outcome::names();
        for code in Code::ALL {
            assert_eq!(names[Outcome::from(code).0], code.as_str());
            assert_eq!(Outcome::of_code(Some(code.as_str())), code.into());
        }
        for item in UserErrorCode::items() {
            assert_eq!(names[Outcome::from(item.value).0], item.name);
        }
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_eq!(names[Outcome::CANCELLED.0], "CANCELLED");
    }
}
