//! What docs/COMPATIBILITY.md promises of deprecations.

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    ConstDirective, InputValueDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Positioned, Value};
use chrono::NaiveDate;

/// Whether the reason of a deprecation says what to use instead, and after which day it goes.
fn is_sound(reason: &str) -> bool {
    let Some((advice, day)) = reason.split_once(" Goes after ") else {
        return false;
    };
    let day = day.strip_suffix('.').filter(|day| day.len() == 10);
    let day = day.and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok());
    let instead = advice.starts_with("Use ") || advice == "Nothing takes its place.";
    day.is_some() && instead && advice.len() > 5 && advice.ends_with('.')
}

/// Deprecations of a schema whose reason is not sound, and how many there are at all.
fn unsound(sdl: &str) -> (Vec<String>, usize) {
    let schema = parse_schema(sdl).expect("a schema");
    let mut directives: Vec<(String, Vec<Positioned<ConstDirective>>)> = Vec::new();
    let inputs = |of: &str, values: &[Positioned<InputValueDefinition>]| {
        let values = values.iter().map(|value| &value.node);
        let all = values.map(|v| (format!("{of}.{}", v.name.node), v.directives.clone()));
        all.collect::<Vec<_>>()
    };
    for definition in &schema.definitions {
        match definition {
            TypeSystemDefinition::Schema(_) => {}
            TypeSystemDefinition::Directive(directive) => {
                let of = format!("@{}", directive.node.name.node);
                directives.extend(inputs(&of, &directive.node.arguments));
            }
            TypeSystemDefinition::Type(definition) => {
                let of = &definition.node.name.node;
                let fields = match &definition.node.kind {
                    TypeKind::Object(object) => &object.fields[..],
                    TypeKind::Interface(interface) => &interface.fields[..],
                    TypeKind::InputObject(input) => {
                        directives.extend(inputs(of, &input.fields));
                        &[]
                    }
                    TypeKind::Enum(values) => {
                        for value in values.values.iter().map(|value| &value.node) {
                            let at = format!("{of}.{}", value.value.node);
                            directives.push((at, value.directives.clone()));
                        }
                        &[]
                    }
                    TypeKind::Scalar | TypeKind::Union(_) => &[],
                };
                for field in fields.iter().map(|field| &field.node) {
                    let at = format!("{of}.{}", field.name.node);
                    directives.extend(inputs(&at, &field.arguments));
                    directives.push((at, field.directives.clone()));
                }
            }
        }
    }
    let mut found = (Vec::new(), 0);
    for (at, directives) in directives {
        let deprecated = directives.iter().map(|directive| &directive.node);
        for directive in deprecated.filter(|directive| directive.name.node == "deprecated") {
            let reason = directive.get_argument("reason").map(|reason| &reason.node);
            found.1 += 1;
            match reason {
                Some(Value::String(reason)) if is_sound(reason) => {}
                _ => found.0.push(at.clone()),
            }
        }
    }
    found
}

#[test]
fn whatever_is_deprecated_says_what_to_use_and_until_when() {
    let sdl = include_str!("../../schema.graphql");
    let (unsound, many) = unsound(sdl);
    assert!(
        unsound.is_empty(),
        "{unsound:?}: say \"Use `x`. Goes after 2027-06-30.\"; docs/COMPATIBILITY.md has the rule"
    );
    // None was passed over. Descriptions may speak of the directive; its definition is not printed.
    let uses = sdl.lines().map(str::trim_start);
    let uses = uses.filter(|line| !line.starts_with('"') && line.contains("@deprecated"));
    assert_eq!(uses.count(), many);
}

#[test]
fn reasons_without_advice_or_day_are_found_wherever_they_stand() {
    for reason in [
        "Use `b`. Goes after 2027-06-30.",
        "Use `b` with `c: true`. It says more. Goes after 2028-02-29.",
        "Nothing takes its place. Goes after 2027-06-30.",
    ] {
        assert!(is_sound(reason), "{reason}");
    }
    for reason in [
        "",
        "No longer supported",
        "Use `b`.",
        "Use `b` Goes after 2027-06-30.",
        "Use . Goes after 2027-02-29.",
        "Goes after 2027-06-30.",
        "It is old. Goes after 2027-06-30.",
        "Use `b`. Goes after 2027-06-30",
        "Use `b`. Goes after 2027-6-30.",
        "Use `b`. Goes after 2027-02-29.",
        "Use `b`. Goes after 30/06/2027.",
        "Use `b`. Goes after the summer.",
    ] {
        assert!(!is_sound(reason), "{reason}");
    }
    let bad = "@deprecated(reason: \"x\")";
    let sdl = format!(
        "type A {{ a: Int {bad} b(x: Int {bad}): Int @deprecated c: Int @deprecated(reason: \"Use `b`. Goes after 2027-06-30.\") }} \
         interface B {{ a: Int {bad} }} input C {{ a: Int {bad} }} enum D {{ E {bad} F }} \
         directive @g(h: Int {bad}) on FIELD_DEFINITION union U = A scalar S"
    );
    let expected = ["A.a", "A.b.x", "A.b", "B.a", "C.a", "D.E", "@g.h"].map(str::to_owned);
    assert_eq!(unsound(&sdl), (expected.to_vec(), 8));
}
