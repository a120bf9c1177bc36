//! Arguments and fields of input objects, and when a type may stand in the place of another.

use std::collections::BTreeMap;

use async_graphql::Value;
use async_graphql::parser::types::{BaseType, Type};

use super::read::Input;
use super::{Comparison, Kind, Severity, sorted};

/// How changes are called where an input stands.
pub(super) struct Names {
    added: Kind,
    removed: Kind,
    type_changed: Kind,
    default_changed: Kind,
}

pub(super) const ARGUMENTS: Names = Names {
    added: Kind::ArgumentAdded,
    removed: Kind::ArgumentRemoved,
    type_changed: Kind::ArgumentTypeChanged,
    default_changed: Kind::ArgumentDefaultChanged,
};
pub(super) const INPUT_FIELDS: Names = Names {
    added: Kind::InputFieldAdded,
    removed: Kind::InputFieldRemoved,
    type_changed: Kind::InputFieldTypeChanged,
    default_changed: Kind::InputFieldDefaultChanged,
};
pub(super) const DIRECTIVE_ARGUMENTS: Names = Names {
    added: Kind::DirectiveArgumentAdded,
    removed: Kind::DirectiveArgumentRemoved,
    type_changed: Kind::DirectiveArgumentTypeChanged,
    default_changed: Kind::DirectiveArgumentDefaultChanged,
};

impl Comparison<'_> {
    /// Compares what a field, a directive or an input object takes.
    pub(super) fn inputs(
        &mut self,
        names: &Names,
        old: &BTreeMap<String, Input>,
        new: &BTreeMap<String, Input>,
        coordinate: impl Fn(&str) -> String,
    ) {
        let (removed, both, added) = sorted(old, new);
        for (name, input) in removed {
            let message = format!("{} is not taken any more", input.of);
            self.add(
                &coordinate(name),
                names.removed,
                Severity::Breaking,
                message,
            );
        }
        for (name, input) in added {
            let (severity, message) = if compulsory(input) {
                (Severity::Breaking, format!("{} must be given", input.of))
            } else {
                (Severity::Safe, format!("{} may be given", input.of))
            };
            self.add(&coordinate(name), names.added, severity, message);
        }
        for (name, old, new) in both {
            self.input(names, &coordinate(name), old, new);
        }
    }

    fn input(&mut self, names: &Names, at: &str, old: &Input, new: &Input) {
        if old.of != new.of {
            let severity = if takes_all(&old.of, &new.of) {
                Severity::Safe
            } else {
                Severity::Breaking
            };
            let message = format!("{} became {}", old.of, new.of);
            self.add(at, names.type_changed, severity, message);
        }
        if old.default != new.default {
            let severity = if !compulsory(old) && compulsory(new) {
                Severity::Breaking
            } else if compulsory(old) {
                // Nobody left it out.
                Severity::Safe
            } else {
                Severity::Dangerous
            };
            let message = format!("{}, {}", default("was", old), default("is", new));
            self.add(at, names.default_changed, severity, message);
        }
        self.described(at, old.description.as_ref(), new.description.as_ref());
        self.applied(at, &old.applied, &new.applied);
    }
}

fn default(verb: &str, input: &Input) -> String {
    match input.default.as_ref().map(Value::to_string) {
        Some(value) => format!("the default {verb} {value}"),
        None => format!("there {verb} none"),
    }
}

/// It cannot be left out.
fn compulsory(input: &Input) -> bool {
    !input.of.nullable && input.default.is_none()
}

/// Whatever `old` takes, `new` takes, too; variables of the type are among it.
fn takes_all(old: &Type, new: &Type) -> bool {
    (new.nullable || !old.nullable) && same_shape(old, new, takes_all)
}

/// Whatever `new` gives, one who awaits `old` can take.
pub(super) fn gives_no_more(old: &Type, new: &Type) -> bool {
    (old.nullable || !new.nullable) && same_shape(old, new, gives_no_more)
}

fn same_shape(old: &Type, new: &Type, items: fn(&Type, &Type) -> bool) -> bool {
    match (&old.base, &new.base) {
        (BaseType::Named(old), BaseType::Named(new)) => old == new,
        (BaseType::List(old), BaseType::List(new)) => items(old, new),
        _ => false,
    }
}

/// The type without its wrappers.
pub(super) fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(items) => named(items),
    }
}
