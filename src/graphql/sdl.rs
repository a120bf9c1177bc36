//! The schema as text, and the rules that its directives state. The text is the one source of both.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    ConstDirective, FieldDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql::{InputType, Positioned, SDLExportOptions};

use crate::models::permission::SystemPermission;

/// What the directives say, by type and field.
#[derive(Debug, Default)]
pub struct Rules(Map<Map<FieldRule>>);

/// By name. Every field of every request is looked up, and the names that are in it are the schema's alone.
type Map<T> = HashMap<String, T, foldhash::fast::RandomState>;

/// What the directives say of one field.
#[derive(Debug)]
pub struct FieldRule {
    /// Who may use it; nothing is said of most fields of objects.
    pub access: Option<Access>,
    /// What it costs before its children.
    pub cost: u64,
    /// How often its children count.
    pub list: Option<ListSize>,
    /// Its type, without brackets and exclamation marks.
    pub of_type: String,
    /// Whether it can be null.
    pub nullable: bool,
}

/// Who may use a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who is signed in.
    Session {
        /// Who proved to be at the keyboard a short time ago.
        recent: bool,
        /// Also who still lacks a compulsory second factor.
        before_second_factor: bool,
    },
    /// Who holds the permission; with `or_owner` also the person the object belongs to.
    Permission {
        /// The permission.
        permission: SystemPermission,
        /// The owner may, too.
        or_owner: bool,
        /// Who proved to be at the keyboard a short time ago.
        recent: bool,
    },
}

/// How long a list is taken to be.
#[derive(Debug)]
pub struct ListSize {
    /// When no argument says.
    pub assumed: u64,
    /// The arguments that say it.
    pub arguments: Vec<String>,
}

/// How the schema is printed: sorted, so that two builds give one text.
#[must_use]
pub fn options() -> SDLExportOptions {
    SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .use_space_ident()
        .prefer_single_line_descriptions()
}

impl Rules {
    /// The rules that the directives in `sdl` state.
    ///
    /// # Errors
    /// If the text is no schema, or a directive does not say what it must.
    pub fn parse(sdl: &str) -> anyhow::Result<Self> {
        let mut rules = Self::default();
        for definition in parse_schema(sdl)?.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let definition = definition.node;
            let fields = match definition.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                _ => continue,
            };
            let fields = fields
                .into_iter()
                .map(|field| Ok((field.node.name.node.to_string(), field_rule(&field.node)?)))
                .collect::<anyhow::Result<_>>()?;
            rules.0.insert(definition.name.node.to_string(), fields);
        }
        Ok(rules)
    }

    /// What is said of the field `field` of `of_type`.
    #[must_use]
    pub fn field(&self, of_type: &str, field: &str) -> Option<&FieldRule> {
        self.0.get(of_type)?.get(field)
    }

    /// All fields of a type with what is said of them.
    pub fn fields(&self, of_type: &str) -> impl Iterator<Item = (&str, &FieldRule)> {
        self.0
            .get(of_type)
            .into_iter()
            .flatten()
            .map(|(name, rule)| (name.as_str(), rule))
    }

    /// Names of all types that have fields.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn field_rule(field: &FieldDefinition) -> anyhow::Result<FieldRule> {
    let mut rule = FieldRule {
        access: None,
        cost: 1,
        list: None,
        of_type: concrete(&field.ty.node),
        nullable: field.ty.node.nullable,
    };
    let mut said = 0;
    for Positioned {
        node: directive, ..
    } in &field.directives
    {
        let access = match directive.name.node.as_str() {
            "public" => Access::Public,
            "requiresSession" => Access::Session {
                recent: argument(directive, "recentSignIn")?,
                before_second_factor: argument(directive, "beforeSecondFactor")?,
            },
            "requiresPermission" => Access::Permission {
                permission: argument(directive, "permission")?,
                or_owner: argument(directive, "orOwner")?,
                recent: argument(directive, "recentSignIn")?,
            },
            "cost" => {
                rule.cost = u64::try_from(argument::<i32>(directive, "weight")?)?;
                continue;
            }
            "listSize" => {
                rule.list = Some(ListSize {
                    assumed: u64::try_from(argument::<i32>(directive, "assumedSize")?)?,
                    arguments: argument(directive, "slicingArguments")?,
                });
                continue;
            }
            _ => continue,
        };
        said += 1;
        rule.access = Some(access);
    }
    anyhow::ensure!(
        said <= 1,
        "{} has more than one access directive",
        field.name.node
    );
    Ok(rule)
}

fn concrete(of_type: &async_graphql::parser::types::Type) -> String {
    of_type.to_string().replace(['[', ']', '!'], "")
}

fn argument<T: InputType>(directive: &ConstDirective, name: &str) -> anyhow::Result<T> {
    let value = directive.get_argument(name).map(|value| value.node.clone());
    T::parse(value).map_err(|_| anyhow::anyhow!("@{} does not say its {name}", directive.name.node))
}
