//! Roots, types and their members.

use super::inputs::{ARGUMENTS, INPUT_FIELDS, gives_no_more};
use super::read::{Field, Type};
use super::{Comparison, Kind, Severity, sorted};

/// Types that every schema has, whether its text defines them or not.
const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];

impl Comparison<'_> {
    /// Compares the types where operations begin.
    pub(super) fn roots(&mut self) {
        let (removed, both, added) = sorted(&self.old.roots, &self.new.roots);
        for (operation, root) in removed {
            let message = format!("no {operation} any more; it was {root}");
            self.add("schema", Kind::RootRemoved, Severity::Breaking, message);
        }
        for (operation, root) in added {
            let message = format!("{operation} begins at {root}");
            self.add("schema", Kind::RootAdded, Severity::Safe, message);
        }
        for (operation, old, new) in both {
            if old != new {
                let message = format!("{operation} began at {old}, begins at {new}");
                self.add("schema", Kind::RootChanged, Severity::Breaking, message);
            }
        }
    }

    /// Compares all types.
    pub(super) fn types(&mut self) {
        let (removed, both, added) = sorted(&self.old.types, &self.new.types);
        let told = |name: &str| !BUILT_IN.contains(&name) && !name.starts_with("__");
        for (name, of) in removed.into_iter().filter(|(name, _)| told(name)) {
            let message = format!("{} is gone", of.kind);
            self.add(name, Kind::TypeRemoved, Severity::Breaking, message);
        }
        for (name, of) in added.into_iter().filter(|(name, _)| told(name)) {
            self.added_type(name, of);
        }
        for (name, old, new) in both.into_iter().filter(|(name, ..)| told(name)) {
            if old.kind == new.kind {
                self.of_type(name, old, new);
            } else {
                let message = format!("{} became {}", old.kind, new.kind);
                self.add(name, Kind::TypeKindChanged, Severity::Breaking, message);
            }
        }
    }

    fn added_type(&mut self, name: &str, of: &Type) {
        let mut known = of
            .interfaces
            .iter()
            .filter(|name| self.old.types.contains_key(*name));
        let (severity, message) = match known.next() {
            Some(interface) => (
                Severity::Dangerous,
                format!("{} that may come where {interface} is read", of.kind),
            ),
            None => (Severity::Safe, of.kind.to_owned()),
        };
        self.add(name, Kind::TypeAdded, severity, message);
        if self.new.is_root(name) {
            for (field, value) in &of.fields {
                self.added_field(name, field, value, false);
            }
        }
    }

    fn of_type(&mut self, name: &str, old: &Type, new: &Type) {
        self.described(name, old.description.as_ref(), new.description.as_ref());
        self.applied(name, &old.applied, &new.applied);
        self.interfaces(name, old, new);
        self.members(name, old, new);
        self.values(name, old, new);
        self.inputs(&INPUT_FIELDS, &old.inputs, &new.inputs, |field| {
            format!("{name}.{field}")
        });
        let (removed, both, added) = sorted(&old.fields, &new.fields);
        for (field, value) in removed {
            let message = format!("{} is not given any more", value.of);
            let at = format!("{name}.{field}");
            self.add(&at, Kind::FieldRemoved, Severity::Breaking, message);
        }
        let guarded = new.fields.values().any(is_guarded);
        for (field, value) in added {
            self.added_field(name, field, value, guarded);
        }
        for (field, old, new) in both {
            self.field(&format!("{name}.{field}"), old, new);
        }
    }

    /// Whoever reads a schema for what is open must see what was opened: a root field that anybody may use or
    /// that says nothing, and a field that says nothing beside others that do.
    fn added_field(&mut self, of_type: &str, name: &str, field: &Field, among_guarded: bool) {
        let root = self.new.is_root(of_type);
        let (severity, message) = if root && field.applied.is_open() {
            (Severity::Security, "is open to everybody")
        } else if root && self.guarded && !field.applied.says_access() {
            (Severity::Security, "does not say who may use it")
        } else if !root && !is_guarded(field) && among_guarded {
            (
                Severity::Security,
                "is for whoever gets at the object, unlike others of the type",
            )
        } else {
            (Severity::Safe, "is new")
        };
        let message = format!("{} {message}", field.of);
        let at = format!("{of_type}.{name}");
        self.add(&at, Kind::FieldAdded, severity, message);
    }

    fn field(&mut self, at: &str, old: &Field, new: &Field) {
        if old.of != new.of {
            let severity = if gives_no_more(&old.of, &new.of) {
                Severity::Safe
            } else {
                Severity::Breaking
            };
            let message = format!("{} became {}", old.of, new.of);
            self.add(at, Kind::FieldTypeChanged, severity, message);
        }
        self.described(at, old.description.as_ref(), new.description.as_ref());
        self.applied(at, &old.applied, &new.applied);
        self.inputs(&ARGUMENTS, &old.arguments, &new.arguments, |argument| {
            format!("{at}({argument}:)")
        });
    }

    fn interfaces(&mut self, name: &str, old: &Type, new: &Type) {
        for interface in old.interfaces.difference(&new.interfaces) {
            let message = format!("is no {interface} any more");
            self.add(name, Kind::InterfaceRemoved, Severity::Breaking, message);
        }
        for interface in new.interfaces.difference(&old.interfaces) {
            let (severity, message) = if self.old.types.contains_key(interface) {
                let message = format!("is {interface} now, and may come where that is read");
                (Severity::Dangerous, message)
            } else {
                (Severity::Safe, format!("is {interface} now"))
            };
            self.add(name, Kind::InterfaceAdded, severity, message);
        }
    }

    fn members(&mut self, name: &str, old: &Type, new: &Type) {
        for member in old.members.difference(&new.members) {
            let message = format!("{member} is no member any more");
            self.add(name, Kind::UnionMemberRemoved, Severity::Breaking, message);
        }
        for member in new.members.difference(&old.members) {
            let message = format!("{member} may come, too");
            self.add(name, Kind::UnionMemberAdded, Severity::Dangerous, message);
        }
    }

    fn values(&mut self, name: &str, old: &Type, new: &Type) {
        let (removed, both, added) = sorted(&old.values, &new.values);
        for (value, _) in removed {
            let at = format!("{name}.{value}");
            self.add(&at, Kind::EnumValueRemoved, Severity::Breaking, "is gone");
        }
        for (value, _) in added {
            let (severity, message) = if self.given.contains(name) {
                (Severity::Dangerous, "may come, too")
            } else {
                (Severity::Safe, "may be given, too; nothing gives it")
            };
            self.add(
                &format!("{name}.{value}"),
                Kind::EnumValueAdded,
                severity,
                message,
            );
        }
        for (value, old, new) in both {
            let at = format!("{name}.{value}");
            self.described(&at, old.description.as_ref(), new.description.as_ref());
            self.applied(&at, &old.applied, &new.applied);
        }
    }
}

/// Not everybody may use it.
fn is_guarded(field: &Field) -> bool {
    field.applied.says_access() && !field.applied.is_open()
}
