//! Values of variables, compared with their types: the document itself was validated without them
//! (GraphQL, section 6.1.2).

use async_graphql::registry::{MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::{Name, ServerError, Value, Variables};

/// What is known of a document that was validated before it came to run, and the values for it.
pub(super) struct Validated {
    /// What of it does not fit the schema.
    pub(super) misfits: Vec<ServerError>,
    /// The variables that the operation declares, with their types as they are written.
    pub(super) types: Vec<(Name, String)>,
    /// What the request gives for them.
    pub(super) given: Variables,
}

impl Validated {
    /// Whether the document fits the schema, and every value its type.
    ///
    /// # Errors
    /// What of the document does not, or the first value that does not, and where.
    pub(super) fn check(&self, registry: &Registry) -> Result<(), Vec<ServerError>> {
        if !self.misfits.is_empty() {
            return Err(self.misfits.clone());
        }
        for (name, of_type) in &self.types {
            let Some(value) = self.given.get(name) else {
                continue;
            };
            if let Err(misfit) = fits(registry, of_type, value, &format!("${name}")) {
                let message = format!("Invalid value for variable {misfit}");
                return Err(vec![ServerError::new(message, None)]);
            }
        }
        Ok(())
    }
}

/// Whether `value` at `place` is one of the type; if not, what is expected where.
fn fits(registry: &Registry, of_type: &str, value: &Value, place: &str) -> Result<(), String> {
    let expected = |what: &str| Err(format!("`{place}`: expected {what}."));
    match (MetaTypeName::create(of_type), value) {
        (MetaTypeName::NonNull(_), Value::Null) => expected(of_type),
        (MetaTypeName::NonNull(of_type), value) => fits(registry, of_type, value, place),
        (_, Value::Null) => Ok(()),
        (MetaTypeName::List(of_type), Value::List(items)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(n, item)| fits(registry, of_type, item, &format!("{place}.{n}")))
        }
        (MetaTypeName::List(of_type), value) => fits(registry, of_type, value, place),
        (MetaTypeName::Named(name), value) => match registry.types.get(name) {
            Some(MetaType::Scalar {
                is_valid: Some(is_valid),
                ..
            }) if !is_valid(value) => expected(name),
            Some(MetaType::Enum { enum_values, .. }) => match value {
                Value::String(value) if enum_values.contains_key(value) => Ok(()),
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
                for field in input_fields.values().filter(|_| !*oneof) {
                    if is_compulsory(field) && !given.contains_key(field.name.as_str()) {
                        return Err(format!("`{place}.{}`: expected {}.", field.name, field.ty));
                    }
                }
                given.iter().try_for_each(|(key, value)| {
                    let place = format!("{place}.{key}");
                    match input_fields.get(key.as_str()) {
                        Some(field) => fits(registry, &field.ty, value, &place),
                        None => Err(format!("`{place}`: {name} has no such field.")),
                    }
                })
            }
            _ => Ok(()),
        },
    }
}

/// Whether an input object without the field is none of its type.
pub(super) fn is_compulsory(field: &MetaInputValue) -> bool {
    field.ty.ends_with('!') && field.default_value.is_none()
}
