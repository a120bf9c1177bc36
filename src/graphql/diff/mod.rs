//! What changed between two schemas, and what that means for clients and for access. It compares texts
//! and knows nothing of this server but the names of its access directives.

mod directives;
mod inputs;
mod read;
mod report;
mod text;
mod types;
mod waiver;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use read::Model;
pub use report::{Report, Summary};
pub use text::{MOST_BYTES, Problem};
pub use waiver::{Waiver, parse as parse_waivers};

/// Directives that say who may use what: those of this server, and those of Apollo Federation.
pub const ACCESS: [&str; 6] = [
    "public",
    "requiresPermission",
    "requiresSession",
    "authenticated",
    "policy",
    "requiresScopes",
];

/// The access directive that asks for nothing.
const OPEN: &str = "public";

/// What a change does to those who use the schema, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Requests that were right may fail, or access is not what it was.
    Breaking,
    /// Breaks nothing, and somebody should look at who gets in.
    Security,
    /// Requests stay right, and may be answered in a way that clients do not expect.
    Dangerous,
    /// Nobody notices who does not look.
    Safe,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "docs/CI.md has a line on each")]
pub enum Kind {
    AccessAdded,
    AccessChanged,
    AccessRemoved,
    ArgumentAdded,
    ArgumentDefaultChanged,
    ArgumentRemoved,
    ArgumentTypeChanged,
    DeprecationAdded,
    DeprecationChanged,
    DeprecationRemoved,
    DescriptionChanged,
    DirectiveAdded,
    DirectiveArgumentAdded,
    DirectiveArgumentDefaultChanged,
    DirectiveArgumentRemoved,
    DirectiveArgumentTypeChanged,
    DirectiveLocationAdded,
    DirectiveLocationRemoved,
    DirectiveRemoved,
    DirectiveRepeatableChanged,
    DirectiveUseAdded,
    DirectiveUseChanged,
    DirectiveUseRemoved,
    EnumValueAdded,
    EnumValueRemoved,
    FieldAdded,
    FieldRemoved,
    FieldTypeChanged,
    InputFieldAdded,
    InputFieldDefaultChanged,
    InputFieldRemoved,
    InputFieldTypeChanged,
    InterfaceAdded,
    InterfaceRemoved,
    OneOfAdded,
    OneOfRemoved,
    RootAdded,
    RootChanged,
    RootRemoved,
    SpecifiedByChanged,
    TypeAdded,
    TypeKindChanged,
    TypeRemoved,
    UnionMemberAdded,
    UnionMemberRemoved,
}

impl Kind {
    /// The name, such as `field-removed`.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// One thing that is not what it was. The order is that of reports: the worst first, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What it does.
    pub severity: Severity,
    /// Where, such as `Query.users(first:)`, `@cost` or `schema`.
    pub coordinate: String,
    /// What.
    pub kind: Kind,
    /// It is about who may use what.
    pub security: bool,
    /// What it was and is, in one line.
    pub message: String,
}

/// Everything that differs, in the order of reports.
#[must_use]
pub fn diff(old: &Model, new: &Model) -> Vec<Change> {
    let mut comparison = Comparison::new(old, new);
    comparison.roots();
    comparison.applied("schema", &old.applied, &new.applied);
    comparison.types();
    comparison.definitions();
    comparison.found.sort();
    comparison.found
}

/// Two schemas, and what was found to differ so far.
struct Comparison<'a> {
    old: &'a Model,
    new: &'a Model,
    /// Types that old clients are given, so that what is new in them may come as a surprise.
    given: BTreeSet<&'a str>,
    /// Whether the new schema says anywhere who may use what.
    guarded: bool,
    found: Vec<Change>,
}

impl<'a> Comparison<'a> {
    fn new(old: &'a Model, new: &'a Model) -> Self {
        let fields = old.types.values().flat_map(|of| of.fields.values());
        let guarded = |model: &Model| {
            let mut fields = model.types.values().flat_map(|of| of.fields.values());
            fields.any(|field| field.applied.says_access())
        };
        Self {
            old,
            new,
            given: fields.map(|field| inputs::named(&field.of)).collect(),
            guarded: guarded(new),
            found: Vec::new(),
        }
    }

    fn add(&mut self, at: &str, kind: Kind, severity: Severity, message: impl Into<String>) {
        self.found.push(Change {
            severity,
            coordinate: at.to_owned(),
            kind,
            security: severity == Severity::Security,
            message: printable(&message.into()),
        });
    }

    fn described(&mut self, at: &str, old: Option<&String>, new: Option<&String>) {
        if old != new {
            let message = match (old, new) {
                (None, _) => "has a description now",
                (_, None) => "has no description any more",
                _ => "is described in other words",
            };
            self.add(at, Kind::DescriptionChanged, Severity::Safe, message);
        }
    }
}

/// What is only in the old one, in both, and only in the new one.
type Sorted<'a, V> = (
    Vec<(&'a str, &'a V)>,
    Vec<(&'a str, &'a V, &'a V)>,
    Vec<(&'a str, &'a V)>,
);

fn sorted<'a, V>(old: &'a BTreeMap<String, V>, new: &'a BTreeMap<String, V>) -> Sorted<'a, V> {
    let only = |of: &'a BTreeMap<String, V>, other: &BTreeMap<String, V>| {
        let only = of.iter().filter(|(name, _)| !other.contains_key(*name));
        only.map(|(name, value)| (name.as_str(), value)).collect()
    };
    let both = old.iter().filter_map(|(name, value)| {
        let other = new.get(name)?;
        Some((name.as_str(), value, other))
    });
    (only(old, new), both.collect(), only(new, old))
}

/// Without what a terminal would obey or hide.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}
