//! Objects whose fields wait for nothing, resolved on the spot.
//!
//! The library resolves each field and each item of a list in a task of its own, boxed twice, behind each extension:
//! right for what waits for the database, and most of the time that a page of accounts takes where all of it is
//! loaded. Here the same resolvers and guards run one after another, each polled once. Where one has to wait, or fails,
//! the library resolves the whole object, as if nothing had been tried.

use std::borrow::Cow;
use std::future::Future as _;
use std::ops::Deref;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value};

use crate::app::App;
use crate::graphql::access::{SharedRules, admit};
use crate::graphql::context::Caller;

/// Around an object of a type whose resolvers wait for loaders alone: what they ask of others before they wait may be
/// asked twice.
#[derive(Clone, Debug)]
pub struct AtHand<T>(pub T);

/// Around a list of such objects.
#[derive(Clone, Debug)]
pub struct ListAtHand<L>(pub L);

/// The fields that are selected of an object, if each may be tried.
struct Plan<'a>(Vec<&'a Positioned<Field>>);

impl<'a> Plan<'a> {
    fn of<T: ContainerType>(ctx: &ContextSelectionSet<'a>) -> Option<Self> {
        let mut fields = Vec::with_capacity(ctx.item.node.items.len());
        let rules = ctx.data_unchecked::<SharedRules>().get()?;
        let requester = ctx.data_unchecked::<Caller>().requester();
        let app = ctx.data_unchecked::<App>();
        let type_name = T::type_name();
        let of_type = ctx.schema_env.registry.types.get(&*type_name)?;
        collect(ctx, &ctx.item.node, &type_name, &mut fields)?;
        for (at, Positioned { node, .. }) in fields.iter().enumerate() {
            let name = node.name.node.as_str();
            let rule = rules.field(&type_name, name);
            let key = node.response_key();
            let alone = fields[..at]
                .iter()
                .all(|before| before.node.response_key().node != key.node);
            let meta = of_type.field_by_name(name);
            // What takes arguments may ask anybody; fields under one name are put together.
            if meta.is_some_and(|meta| !meta.args.is_empty())
                || !node.directives.is_empty()
                || !alone
                || name != "__typename" && admit(&type_name, rule, requester, app).is_err()
            {
                return None;
            }
        }
        Some(Self(fields))
    }

    /// The object, if none of its fields waits or fails.
    fn object<'b, T: ContainerType>(
        &'b self,
        ctx: &'b ContextSelectionSet<'b>,
        object: &T,
    ) -> Option<Value> {
        let mut values = IndexMap::with_capacity(self.0.len());
        for field in &self.0 {
            let value = if field.node.name.node == "__typename" {
                Value::String(object.introspection_type_name().into_owned())
            } else {
                let ctx = ctx.with_field(field);
                let resolved = pin!(object.resolve_field(&ctx));
                match resolved.poll(&mut TaskContext::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(value)) => value?,
                    Poll::Ready(Err(_)) | Poll::Pending => return None,
                }
            };
            values.insert(Name::clone(&field.node.response_key().node), value);
        }
        Some(Value::Object(values))
    }
}

/// Adds the fields of a selection, those of fragments on this very type among them.
fn collect<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    type_name: &str,
    fields: &mut Vec<&'a Positioned<Field>>,
) -> Option<()> {
    for item in &set.items {
        let (condition, set) = match &item.node {
            Selection::Field(field) => {
                fields.push(field);
                continue;
            }
            Selection::InlineFragment(fragment) => {
                let fragment = &fragment.node;
                (fragment.type_condition.as_ref(), &fragment.selection_set)
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let fragment = &ctx.query_env.fragments.get(name)?.node;
                (Some(&fragment.type_condition), &fragment.selection_set)
            }
        };
        if condition.is_some_and(|condition| condition.node.on.node != type_name) {
            return None;
        }
        collect(ctx, &set.node, type_name, fields)?;
    }
    Some(())
}

/// A type, as the schema has it, for a wrapper of its values.
macro_rules! as_type {
    ($of:ty) => {
        fn type_name() -> Cow<'static, str> {
            <$of as OutputType>::type_name()
        }

        fn qualified_type_name() -> String {
            <$of as OutputType>::qualified_type_name()
        }

        fn introspection_type_name(&self) -> Cow<'static, str> {
            self.0.introspection_type_name()
        }

        fn create_type_info(registry: &mut Registry) -> String {
            <$of as OutputType>::create_type_info(registry)
        }
    };
}

impl<T: ContainerType + Send + Sync> OutputType for AtHand<T> {
    as_type!(T);

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let tried = Plan::of::<T>(ctx).and_then(|plan| plan.object(ctx, &self.0));
        match tried {
            Some(value) => Ok(value),
            None => self.0.resolve(ctx, field).await,
        }
    }
}

impl<T, L> OutputType for ListAtHand<L>
where
    T: ContainerType + Send + Sync,
    L: OutputType + Deref<Target = [T]> + Send + Sync,
{
    as_type!(L);

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let tried = Plan::of::<T>(ctx).and_then(|plan| {
            let objects = self.0.iter().enumerate().map(|(at, item)| {
                let ctx = ctx.with_index(at);
                plan.object(&ctx, item)
            });
            objects.collect()
        });
        match tried {
            Some(objects) => Ok(Value::List(objects)),
            None => self.0.resolve(ctx, field).await,
        }
    }
}
