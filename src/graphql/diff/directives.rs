//! Directives: what they are, and where they stand.

use std::collections::BTreeSet;

use async_graphql::Value;

use super::inputs::DIRECTIVE_ARGUMENTS;
use super::read::{Applied, Arguments, Definition};
use super::{ACCESS, Comparison, Kind, OPEN, Severity, sorted};

/// Directives that every schema has, whether its text defines them or not.
const BUILT_IN: [&str; 5] = ["deprecated", "include", "oneOf", "skip", "specifiedBy"];

/// Locations in the documents of clients.
const EXECUTABLE: [&str; 8] = [
    "FIELD",
    "FRAGMENT_DEFINITION",
    "FRAGMENT_SPREAD",
    "INLINE_FRAGMENT",
    "MUTATION",
    "QUERY",
    "SUBSCRIPTION",
    "VARIABLE_DEFINITION",
];

impl Applied {
    /// Whether a directive among them says who may use it.
    pub(super) fn says_access(&self) -> bool {
        self.0.keys().any(|name| ACCESS.contains(&name.as_str()))
    }

    /// Whether they say that everybody may.
    pub(super) fn is_open(&self) -> bool {
        self.0.contains_key(OPEN)
    }

    fn get(&self, name: &str) -> &[Arguments] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Comparison<'_> {
    /// Compares what stands at one place.
    pub(super) fn applied(&mut self, at: &str, old: &Applied, new: &Applied) {
        self.access(at, old, new);
        let names = old
            .0
            .keys()
            .chain(new.0.keys().filter(|name| !old.0.contains_key(*name)));
        for name in names.filter(|name| !ACCESS.contains(&name.as_str())) {
            let (removed, added) = self.unlike(name, old.get(name), new.get(name));
            match name.as_str() {
                "deprecated" => self.deprecation(at, removed, added),
                "oneOf" => self.one_of(at, &removed, &added),
                "specifiedBy" => self.specification(at, &removed, &added),
                _ => self.other(at, name, removed, added),
            }
        }
    }

    fn access(&mut self, at: &str, old: &Applied, new: &Applied) {
        let (mut was, mut is) = (Vec::new(), Vec::new());
        for name in ACCESS {
            let (removed, added) = self.unlike(name, old.get(name), new.get(name));
            was.extend(
                removed
                    .into_iter()
                    .map(|arguments| written(name, arguments)),
            );
            is.extend(added.into_iter().map(|arguments| written(name, arguments)));
        }
        let (was, is) = (was.join(" "), is.join(" "));
        let (kind, message) = match (was.is_empty(), is.is_empty()) {
            (true, true) => return,
            (true, false) => (Kind::AccessAdded, format!("{is} is new")),
            (false, true) => (Kind::AccessRemoved, format!("{was} is gone")),
            (false, false) => (Kind::AccessChanged, format!("{was} became {is}")),
        };
        self.add(at, kind, Severity::Breaking, message);
        self.mark(self.found.len() - 1);
    }

    /// Marks what was found since as breaking, and about who may use what.
    fn mark(&mut self, since: usize) {
        let found = self.found[since..].iter_mut();
        for change in found.filter(|change| change.kind != Kind::DescriptionChanged) {
            change.severity = Severity::Breaking;
            change.security = true;
        }
    }

    fn deprecation(&mut self, at: &str, removed: Vec<&Arguments>, added: Vec<&Arguments>) {
        let reason = |list: Vec<&Arguments>| {
            let reason = list.first()?.get("reason");
            Some(reason.map_or_else(|| "no reason".to_owned(), Value::to_string))
        };
        let (kind, message) = match (reason(removed), reason(added)) {
            (None, Some(reason)) => (Kind::DeprecationAdded, format!("deprecated: {reason}")),
            (Some(_), Some(reason)) => (Kind::DeprecationChanged, format!("reason now: {reason}")),
            (Some(_), None) => (
                Kind::DeprecationRemoved,
                "not deprecated any more".to_owned(),
            ),
            (None, None) => return,
        };
        self.add(at, kind, Severity::Safe, message);
    }

    fn one_of(&mut self, at: &str, removed: &[&Arguments], added: &[&Arguments]) {
        if !added.is_empty() {
            let message = "exactly one field must be given";
            self.add(at, Kind::OneOfAdded, Severity::Breaking, message);
        } else if !removed.is_empty() {
            let message = "several fields may be given, or none";
            self.add(at, Kind::OneOfRemoved, Severity::Dangerous, message);
        }
    }

    fn specification(&mut self, at: &str, removed: &[&Arguments], added: &[&Arguments]) {
        let url = |list: &[&Arguments]| {
            let url = list.first()?.get("url");
            Some(url.map_or_else(|| "nothing".to_owned(), Value::to_string))
        };
        let (severity, message) = match (url(removed), url(added)) {
            (None, Some(new)) => (Severity::Safe, format!("specified by {new}")),
            (Some(old), Some(new)) => {
                let message = format!("was specified by {old}, is by {new}");
                (Severity::Dangerous, message)
            }
            (Some(old), None) => (
                Severity::Dangerous,
                format!("not specified by {old} any more"),
            ),
            (None, None) => return,
        };
        self.add(at, Kind::SpecifiedByChanged, severity, message);
    }

    fn other(&mut self, at: &str, name: &str, removed: Vec<&Arguments>, added: Vec<&Arguments>) {
        let write = |list: Vec<&Arguments>| {
            let all = list.into_iter().map(|arguments| written(name, arguments));
            all.collect::<Vec<_>>().join(" ")
        };
        let (was, is) = (write(removed), write(added));
        let (kind, message) = match (was.is_empty(), is.is_empty()) {
            (true, true) => return,
            (true, false) => (Kind::DirectiveUseAdded, format!("{is} is new")),
            (false, true) => (Kind::DirectiveUseRemoved, format!("{was} is gone")),
            (false, false) => (Kind::DirectiveUseChanged, format!("{was} became {is}")),
        };
        self.add(at, kind, Severity::Dangerous, message);
    }

    /// The uses of one directive at one place that the other schema does not have there.
    fn unlike<'l>(
        &self,
        name: &str,
        old: &'l [Arguments],
        new: &'l [Arguments],
    ) -> (Vec<&'l Arguments>, Vec<&'l Arguments>) {
        let mut added: Vec<_> = new.iter().collect();
        let mut removed = Vec::new();
        for was in old {
            match added.iter().position(|is| self.alike(name, was, is)) {
                Some(at) => drop(added.remove(at)),
                None => removed.push(was),
            }
        }
        (removed, added)
    }

    /// Whether two uses say the same. What is left out counts as the default says. An argument that only one of
    /// the schemas knows, at its default, says nothing here: it is told of once, at the directive.
    fn alike(&self, name: &str, old: &Arguments, new: &Arguments) -> bool {
        let was = self.old.definitions.get(name);
        let is = self.new.definitions.get(name);
        let defined = [was, is].into_iter().flatten();
        let names = defined.flat_map(|definition| definition.arguments.keys());
        let mut names = names.chain(old.keys()).chain(new.keys());
        names.all(|argument| {
            let (was, is) = (default(was, argument), default(is, argument));
            let before = old.get(argument).or(was.value);
            let after = new.get(argument).or(is.value);
            before == after || was.unknown && after == is.value || is.unknown && before == was.value
        })
    }

    /// Compares what directives are.
    pub(super) fn definitions(&mut self) {
        let (old, new) = (&self.old.definitions, &self.new.definitions);
        let (removed, both, added) = sorted(old, new);
        let told = |name: &str| !BUILT_IN.contains(&name);
        for (name, _) in removed.into_iter().filter(|(name, _)| told(name)) {
            let since = self.found.len();
            let at = format!("@{name}");
            self.add(&at, Kind::DirectiveRemoved, Severity::Breaking, "is gone");
            if ACCESS.contains(&name) {
                self.mark(since);
            }
        }
        for (name, definition) in added.into_iter().filter(|(name, _)| told(name)) {
            let message = format!("stands on {}", list(&definition.locations));
            let at = format!("@{name}");
            self.add(&at, Kind::DirectiveAdded, Severity::Safe, message);
        }
        for (name, old, new) in both.into_iter().filter(|(name, ..)| told(name)) {
            self.definition(name, old, new);
        }
    }

    fn definition(&mut self, name: &str, old: &Definition, new: &Definition) {
        let (since, at) = (self.found.len(), format!("@{name}"));
        self.inputs(
            &DIRECTIVE_ARGUMENTS,
            &old.arguments,
            &new.arguments,
            |argument| format!("{at}({argument}:)"),
        );
        if old.repeatable != new.repeatable {
            let (severity, message) = if new.repeatable {
                (Severity::Safe, "may stand several times")
            } else {
                (Severity::Breaking, "may stand only once")
            };
            self.add(&at, Kind::DirectiveRepeatableChanged, severity, message);
        }
        for location in old.locations.difference(&new.locations) {
            let message = if EXECUTABLE.contains(&location.as_str()) {
                format!("documents cannot have it on {location} any more")
            } else {
                format!("schemas cannot have it on {location} any more")
            };
            self.add(
                &at,
                Kind::DirectiveLocationRemoved,
                Severity::Breaking,
                message,
            );
        }
        if ACCESS.contains(&name) {
            self.mark(since);
        }
        for location in new.locations.difference(&old.locations) {
            let message = format!("may stand on {location}, too");
            self.add(&at, Kind::DirectiveLocationAdded, Severity::Safe, message);
        }
        self.described(&at, old.description.as_ref(), new.description.as_ref());
    }
}

/// What a definition says of an argument that is left out.
struct Default<'a> {
    value: Option<&'a Value>,
    /// There is a definition, and it does not have the argument.
    unknown: bool,
}

fn default<'a>(definition: Option<&'a Definition>, argument: &str) -> Default<'a> {
    let input = definition.and_then(|definition| definition.arguments.get(argument));
    Default {
        value: input.and_then(|input| input.default.as_ref()),
        unknown: definition.is_some() && input.is_none(),
    }
}

fn written(name: &str, arguments: &Arguments) -> String {
    if arguments.is_empty() {
        return format!("@{name}");
    }
    let arguments = arguments
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    format!("@{name}({})", arguments.collect::<Vec<_>>().join(", "))
}

fn list(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
