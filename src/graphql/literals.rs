//! What a document writes out around a variable, as in `filter: { isActive: $active }`. The library compares it with its
//! type only once it has the variable's value, and a document is validated before there is one.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationType, Selection, SelectionSet,
};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{Positioned, ServerError};
use async_graphql_value::Value;

use crate::graphql::variables::is_compulsory;

/// Whether every value fits its type, wherever variables stand in it.
///
/// # Errors
/// The first that has not, and where it stands.
pub(super) fn check(
    document: &ExecutableDocument,
    registry: &Registry,
) -> Result<(), Vec<ServerError>> {
    let roots = document.operations.iter().map(|(_, operation)| {
        let root = match operation.node.ty {
            OperationType::Query => Some(&registry.query_type),
            OperationType::Mutation => registry.mutation_type.as_ref(),
            OperationType::Subscription => registry.subscription_type.as_ref(),
        };
        (
            root.map_or("", String::as_str),
            &operation.node.selection_set,
        )
    });
    let fragments = document.fragments.values().map(|fragment| {
        let of_type = fragment.node.type_condition.node.on.node.as_str();
        (of_type, &fragment.node.selection_set)
    });
    roots
        .chain(fragments)
        .try_for_each(|(of_type, set)| selection(registry, of_type, &set.node))
        .map_err(|error| vec![error])
}

fn selection(registry: &Registry, of_type: &str, set: &SelectionSet) -> Result<(), ServerError> {
    set.items.iter().try_for_each(|item| match &item.node {
        Selection::Field(named) => field(registry, of_type, &named.node),
        Selection::InlineFragment(fragment) => {
            let condition = fragment.node.type_condition.as_ref();
            let of_type = condition.map_or(of_type, |condition| condition.node.on.node.as_str());
            selection(registry, of_type, &fragment.node.selection_set.node)
        }
        Selection::FragmentSpread(_) => Ok(()),
    })
}

fn field(registry: &Registry, of_type: &str, field: &Field) -> Result<(), ServerError> {
    let meta = registry
        .types
        .get(of_type)
        .and_then(|of_type| of_type.field_by_name(field.name.node.as_str()));
    // What the schema does not know at all the library has refused.
    let Some(meta) = meta else { return Ok(()) };
    for (name, Positioned { pos, node }) in &field.arguments {
        if let Some(argument) = meta.args.get(name.node.as_str()) {
            fits(registry, &argument.ty, node, &name.node)
                .map_err(|misfit| format!("Invalid value for argument {misfit}"))
                .map_err(|misfit| ServerError::new(misfit, Some(*pos)))?;
        }
    }
    let of_type = MetaTypeName::concrete_typename(&meta.ty);
    selection(registry, of_type, &field.selection_set.node)
}

fn fits(registry: &Registry, of_type: &str, value: &Value, place: &str) -> Result<(), String> {
    let expected = |what: &str| Err(format!("`{place}`: expected {what}."));
    match (MetaTypeName::create(of_type), value) {
        (_, Value::Variable(_)) => Ok(()),
        (MetaTypeName::NonNull(_), Value::Null) => expected(of_type),
        (MetaTypeName::NonNull(of_type), value) => fits(registry, of_type, value, place),
        (_, Value::Null) => Ok(()),
        (MetaTypeName::List(of_type), Value::List(items)) => items
            .iter()
            .try_for_each(|item| fits(registry, of_type, item, place)),
        (MetaTypeName::List(of_type), value) => fits(registry, of_type, value, place),
        (MetaTypeName::Named(name), value) => match registry.types.get(name) {
            Some(MetaType::Scalar {
                is_valid: Some(is_valid),
                ..
            }) => match value.clone().into_const() {
                Some(value) if !is_valid(&value) => expected(name),
                _ => Ok(()),
            },
            Some(MetaType::Enum { enum_values, .. }) => match value {
                Value::Enum(value) if enum_values.contains_key(value.as_str()) => Ok(()),
                _ => expected(&format!("a value of {name}")),
            },
            Some(MetaType::InputObject {
                input_fields,
                oneof,
                ..
            }) => {
                let Value::Object(given) = value else {
                    return expected(name);
                };
                if *oneof && (given.len() != 1 || given.values().any(|value| *value == Value::Null))
                {
                    return expected(&format!("exactly one field of {name}"));
                }
                for (key, value) in given {
                    let Some(field) = input_fields.get(key.as_str()) else {
                        return Err(format!("`{place}.{key}`: {name} has no such field."));
                    };
                    fits(registry, &field.ty, value, &format!("{place}.{key}"))?;
                }
                let missing = input_fields.values().find(|field| {
                    is_compulsory(field) && !*oneof && !given.contains_key(field.name.as_str())
                });
                match missing {
                    Some(field) => Err(format!("`{place}.{}`: expected {}.", field.name, field.ty)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        },
    }
}
