//! A schema as it is compared: by names, whatever their order, with extensions joined to what they extend.
//! It reads and does not judge; whether the types that are named exist is not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    ConstDirective, DirectiveDefinition, FieldDefinition, InputValueDefinition, SchemaDefinition,
    Type as TypeRef, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Pos, Positioned, Value};

use super::text::{Problem, prepare};

/// Most uses of one directive at one place; each is compared with each.
const MOST_USES: usize = 100;

/// A schema.
#[derive(Debug, Default)]
pub struct Model {
    /// The types where operations begin, by `query`, `mutation` and `subscription`.
    pub(super) roots: BTreeMap<String, String>,
    pub(super) applied: Applied,
    pub(super) types: BTreeMap<String, Type>,
    pub(super) definitions: BTreeMap<String, Definition>,
}

/// A type of any kind; what its kind does not have is empty.
#[derive(Debug, Default)]
pub(super) struct Type {
    pub kind: &'static str,
    pub description: Option<String>,
    pub applied: Applied,
    pub interfaces: BTreeSet<String>,
    pub members: BTreeSet<String>,
    pub fields: BTreeMap<String, Field>,
    pub inputs: BTreeMap<String, Input>,
    pub values: BTreeMap<String, EnumValue>,
    /// Not only extended.
    defined: bool,
}

/// A field of an object or an interface.
#[derive(Debug)]
pub(super) struct Field {
    pub description: Option<String>,
    pub arguments: BTreeMap<String, Input>,
    pub of: TypeRef,
    pub applied: Applied,
}

/// An argument, or a field of an input object.
#[derive(Debug)]
pub(super) struct Input {
    pub description: Option<String>,
    pub of: TypeRef,
    pub default: Option<Value>,
    pub applied: Applied,
}

#[derive(Debug)]
pub(super) struct EnumValue {
    pub description: Option<String>,
    pub applied: Applied,
}

/// What a directive is.
#[derive(Debug)]
pub(super) struct Definition {
    pub description: Option<String>,
    pub arguments: BTreeMap<String, Input>,
    pub repeatable: bool,
    pub locations: BTreeSet<String>,
}

/// The arguments that an applied directive gives.
pub(super) type Arguments = BTreeMap<String, Value>;

/// The directives that stand at one place, by name.
#[derive(Debug, Default)]
pub(super) struct Applied(pub BTreeMap<String, Vec<Arguments>>);

impl Model {
    /// Reads a schema.
    ///
    /// # Errors
    /// If the bytes are no schema, or define something twice.
    pub fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let prepared = prepare(bytes)?;
        let document = parse_schema(&prepared.text).map_err(|error| {
            let at = error.positions().next().unwrap_or_default();
            // The parser draws the place over several lines; what it expected is in the last one.
            let drawn = error.to_string();
            let said = drawn.trim_end().rsplit("= ").next().unwrap_or_default();
            problem(at, &said.replace('_', " "))
        })?;
        let mut model = Self::default();
        let mut schema = false;
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Schema(definition) => {
                    if !definition.node.extend && std::mem::replace(&mut schema, true) {
                        return Err(problem(definition.pos, "the schema is defined twice"));
                    }
                    model.add_schema(definition.node)?;
                }
                TypeSystemDefinition::Type(definition) => model.add_type(definition)?,
                TypeSystemDefinition::Directive(definition) => {
                    let at = definition.node.name.clone();
                    let of = format!("@{}", at.node);
                    let repeatable = prepared.repeatable.contains(at.node.as_str());
                    let definition = directive(definition.node, repeatable, &of)?;
                    put(&mut model.definitions, &at, definition, &of)?;
                }
            }
        }
        if !schema {
            for (operation, name) in ROOTS {
                if model.types.contains_key(name) {
                    let root = model.roots.entry(operation.to_owned());
                    root.or_insert_with(|| name.to_owned());
                }
            }
        }
        Ok(model)
    }

    /// Whether operations begin at this type.
    pub(super) fn is_root(&self, name: &str) -> bool {
        self.roots.values().any(|root| root == name)
    }

    fn add_schema(&mut self, schema: SchemaDefinition) -> Result<(), Problem> {
        self.applied.add(schema.directives)?;
        let named = [schema.query, schema.mutation, schema.subscription];
        for ((operation, _), name) in ROOTS.into_iter().zip(named) {
            let Some(name) = name else { continue };
            let root = name.node.to_string();
            put(&mut self.roots, &name.map(|_| operation), root, operation)?;
        }
        Ok(())
    }

    fn add_type(&mut self, definition: Positioned<TypeDefinition>) -> Result<(), Problem> {
        let (at, definition) = (definition.pos, definition.node);
        let name = definition.name.node.as_str();
        let kind = kind(&definition.kind);
        let of = self.types.entry(name.to_owned()).or_default();
        if !of.kind.is_empty() && of.kind != kind {
            let message = format!("{name} is {} and {kind}", of.kind);
            return Err(problem(at, &message));
        }
        of.kind = kind;
        if !definition.extend && std::mem::replace(&mut of.defined, true) {
            return Err(twice(at, name));
        }
        of.applied.add(definition.directives)?;
        if let Some(description) = definition.description {
            of.description = Some(description.node);
        }
        match definition.kind {
            TypeKind::Scalar => {}
            TypeKind::Object(object) => of.add_fields(name, object.implements, object.fields)?,
            TypeKind::Interface(interface) => {
                of.add_fields(name, interface.implements, interface.fields)?;
            }
            TypeKind::Union(union) => {
                let members = union.members.into_iter();
                of.members
                    .extend(members.map(|member| member.node.to_string()));
            }
            TypeKind::Enum(list) => {
                for value in list.values {
                    let value = value.node;
                    let at = format!("{name}.{}", value.value.node);
                    let applied = Applied::read(value.directives)?;
                    let description = text(value.description);
                    let member = EnumValue {
                        description,
                        applied,
                    };
                    put(&mut of.values, &value.value, member, &at)?;
                }
            }
            TypeKind::InputObject(input) => {
                of.inputs.append(&mut inputs(input.fields, |field| {
                    format!("{name}.{field}")
                })?);
            }
        }
        Ok(())
    }
}

const ROOTS: [(&str, &str); 3] = [
    ("query", "Query"),
    ("mutation", "Mutation"),
    ("subscription", "Subscription"),
];

impl Type {
    fn add_fields(
        &mut self,
        name: &str,
        interfaces: Vec<Positioned<Name>>,
        fields: Vec<Positioned<FieldDefinition>>,
    ) -> Result<(), Problem> {
        let interfaces = interfaces.into_iter();
        self.interfaces
            .extend(interfaces.map(|interface| interface.node.to_string()));
        for field in fields {
            let field = field.node;
            let at = format!("{name}.{}", field.name.node);
            let read = Field {
                description: text(field.description),
                arguments: inputs(field.arguments, |argument| format!("{at}({argument}:)"))?,
                of: field.ty.node,
                applied: Applied::read(field.directives)?,
            };
            put(&mut self.fields, &field.name, read, &at)?;
        }
        Ok(())
    }
}

impl Applied {
    fn read(directives: Vec<Positioned<ConstDirective>>) -> Result<Self, Problem> {
        let mut applied = Self::default();
        applied.add(directives)?;
        Ok(applied)
    }

    fn add(&mut self, directives: Vec<Positioned<ConstDirective>>) -> Result<(), Problem> {
        for directive in directives {
            let name = directive.node.name.node.to_string();
            let mut arguments = Arguments::new();
            for (argument, value) in directive.node.arguments {
                let at = format!("@{name}({}:)", argument.node);
                put(&mut arguments, &argument, value.node, &at)?;
            }
            let uses = self.0.entry(name).or_default();
            uses.push(arguments);
            if uses.len() > MOST_USES {
                let name = &directive.node.name;
                let message = format!("@{} stands here more than {MOST_USES} times", name.node);
                return Err(problem(name.pos, &message));
            }
        }
        Ok(())
    }
}

fn directive(
    definition: DirectiveDefinition,
    repeatable: bool,
    of: &str,
) -> Result<Definition, Problem> {
    let locations = definition.locations.into_iter();
    Ok(Definition {
        description: text(definition.description),
        arguments: inputs(definition.arguments, |argument| {
            format!("{of}({argument}:)")
        })?,
        repeatable,
        locations: locations
            .map(|location| screaming(&location.node))
            .collect(),
    })
}

fn inputs(
    inputs: Vec<Positioned<InputValueDefinition>>,
    coordinate: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, Input>, Problem> {
    let mut read = BTreeMap::new();
    for input in inputs {
        let input = input.node;
        let value = Input {
            description: text(input.description),
            of: input.ty.node,
            default: input.default_value.map(|value| value.node),
            applied: Applied::read(input.directives)?,
        };
        put(&mut read, &input.name, value, &coordinate(&input.name.node))?;
    }
    Ok(read)
}

fn put<N: fmt::Display, V>(
    map: &mut BTreeMap<String, V>,
    name: &Positioned<N>,
    value: V,
    coordinate: &str,
) -> Result<(), Problem> {
    match map.insert(name.node.to_string(), value) {
        None => Ok(()),
        Some(_) => Err(twice(name.pos, coordinate)),
    }
}

fn text(description: Option<Positioned<String>>) -> Option<String> {
    description.map(|description| description.node)
}

fn kind(kind: &TypeKind) -> &'static str {
    match kind {
        TypeKind::Scalar => "a scalar",
        TypeKind::Object(_) => "an object type",
        TypeKind::Interface(_) => "an interface",
        TypeKind::Union(_) => "a union",
        TypeKind::Enum(_) => "an enum",
        TypeKind::InputObject(_) => "an input object",
    }
}

/// `InlineFragment` as schemas write it.
fn screaming(location: &impl fmt::Debug) -> String {
    let mut written = String::new();
    for c in format!("{location:?}").chars() {
        if c.is_ascii_uppercase() && !written.is_empty() {
            written.push('_');
        }
        written.push(c.to_ascii_uppercase());
    }
    written
}

fn problem(at: Pos, message: &str) -> Problem {
    Problem {
        line: at.line,
        column: at.column,
        message: message.to_owned(),
    }
}

fn twice(at: Pos, coordinate: &str) -> Problem {
    problem(at, &format!("{coordinate} is defined twice"))
}
