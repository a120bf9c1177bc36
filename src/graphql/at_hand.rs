//! Objects whose fields wait for nothing, resolved on the spot.
//!
//! The library resolves each field and each item of a list in a task of its own, boxed twice, behind each extension:
//! right for what waits for the database, and most of the time that a page of accounts takes where all of it is
//! loaded. Here the same resolvers and guards run one after another, each polled once, and what they give is written
//! as JSON at once. Where one has to wait, or fails, the library resolves the whole object, as if nothing had been tried.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future as _;
use std::ops::Deref;
use std::pin::pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{ContextSelectionSet, OutputType, Positioned, QueryEnv, ServerResult, Value};

use crate::app::App;
use crate::graphql::access::{SharedRules, admit};
use crate::graphql::context::Caller;
use crate::graphql::encode;

/// Around an object of a type whose resolvers wait for loaders alone: what they ask of others before they wait may be
/// asked twice.
#[derive(Clone, Debug)]
pub struct AtHand<T>(pub T);

/// Around a list of such objects.
#[derive(Clone, Debug)]
pub struct ListAtHand<L>(pub L);

/// Which selections of a document may be tried; found out once for all objects of a list. Belongs to one execution of
/// the document, whose selections it knows by where they lie in memory.
#[derive(Default)]
pub struct Tried {
    merges: OnceLock<bool>,
    selections: Mutex<Vec<(usize, Cow<'static, str>, bool)>>,
}

impl Tried {
    fn may_be<T: ContainerType>(&self, ctx: &ContextSelectionSet<'_>) -> bool {
        if *self.merges.get_or_init(|| merges(ctx.query_env)) {
            return false;
        }
        let place = std::ptr::from_ref(&ctx.item.node).addr();
        let type_name = T::type_name();
        let mut found = self
            .selections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = found
            .iter()
            .find(|(at, of, _)| *at == place && *of == type_name);
        if let Some((.., may_be)) = known {
            return *may_be;
        }
        let may_be = may_be_tried(ctx, &type_name).is_some();
        found.push((place, type_name, may_be));
        may_be
    }
}

/// Whether the document selects an object twice under one name, so that the library has to put two answers together:
/// it cannot do that with text. Of a selection that `@skip` and `@include` have emptied nobody sees any more that it is
/// one of an object, but of the other.
fn merges(document: &QueryEnv) -> bool {
    fn any(document: &QueryEnv, set: &SelectionSet) -> bool {
        let mut fields = Vec::with_capacity(set.items.len());
        gather(document, set, &mut fields);
        let has_more = |field: &Field| !field.selection_set.node.items.is_empty();
        let mut named = HashMap::<_, _, foldhash::fast::RandomState>::default();
        fields.iter().any(|field| {
            let name = field.response_key().node.as_str();
            let before = named.insert(name, has_more(field));
            before.is_some_and(|before| before || has_more(field))
        }) || fields
            .iter()
            .any(|field| any(document, &field.selection_set.node))
    }
    fn gather<'a>(document: &'a QueryEnv, set: &'a SelectionSet, fields: &mut Vec<&'a Field>) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => fields.push(&field.node),
                Selection::InlineFragment(fragment) => {
                    gather(document, &fragment.node.selection_set.node, fields);
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = document.fragments.get(&spread.node.fragment_name.node);
                    if let Some(fragment) = fragment {
                        gather(document, &fragment.node.selection_set.node, fields);
                    }
                }
            }
        }
    }
    any(document, &document.operation.node.selection_set.node)
}

/// Whether each field that is selected may be tried, and may be used by the caller.
fn may_be_tried(ctx: &ContextSelectionSet<'_>, type_name: &str) -> Option<()> {
    let mut fields = Vec::with_capacity(ctx.item.node.items.len());
    let rules = ctx.data_unchecked::<SharedRules>().get()?;
    let requester = ctx.data_unchecked::<Caller>().requester();
    let app = ctx.data_unchecked::<App>();
    let of_type = ctx.schema_env.registry.types.get(type_name)?;
    each_field(ctx, &ctx.item.node, type_name, &mut |field| {
        fields.push(field);
        Some(())
    })?;
    for (at, Positioned { node, .. }) in fields.iter().enumerate() {
        let name = node.name.node.as_str();
        let rule = rules.field(type_name, name);
        let key = node.response_key();
        let alone = fields[..at]
            .iter()
            .all(|before| before.node.response_key().node != key.node);
        let meta = of_type.field_by_name(name);
        // What takes arguments may ask anybody; fields under one name are put together.
        if meta.is_some_and(|meta| !meta.args.is_empty())
            || !node.directives.is_empty()
            || !alone
            || name != "__typename" && admit(type_name, rule, requester, app).is_err()
        {
            return None;
        }
    }
    Some(())
}

/// Writes the object, if none of its fields waits or fails.
fn object<T: ContainerType>(
    ctx: &ContextSelectionSet<'_>,
    type_name: &str,
    object: &T,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.push(b'{');
    let mut first = true;
    each_field(ctx, &ctx.item.node, type_name, &mut |field| {
        if !first {
            out.push(b',');
        }
        first = false;
        encode::string(out, &field.node.response_key().node);
        out.push(b':');
        if field.node.name.node == "__typename" {
            encode::string(out, &object.introspection_type_name());
            return Some(());
        }
        let ctx = ctx.with_field(field);
        let resolved = pin!(object.resolve_field(&ctx));
        match resolved.poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(Ok(value)) => encode::value(out, &value?),
            Poll::Ready(Err(_)) | Poll::Pending => return None,
        }
        Some(())
    })?;
    out.push(b'}');
    Some(())
}

/// Writes the objects of a list.
fn list<T: ContainerType>(
    ctx: &ContextSelectionSet<'_>,
    objects: &[T],
    out: &mut Vec<u8>,
) -> Option<()> {
    let type_name = T::type_name();
    out.push(b'[');
    for (at, item) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        object(&ctx.with_index(at), &type_name, item, out)?;
    }
    out.push(b']');
    Some(())
}

/// Visits the fields of a selection, those of fragments on this very type among them, until there is `None`.
fn each_field<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    type_name: &str,
    visit: &mut impl FnMut(&'a Positioned<Field>) -> Option<()>,
) -> Option<()> {
    for item in &set.items {
        let (condition, set) = match &item.node {
            Selection::Field(field) => {
                visit(field)?;
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
        each_field(ctx, &set.node, type_name, visit)?;
    }
    Some(())
}

/// What `write` writes, as a value that [`encode::value`] puts into the answer, if objects of the type may be tried with
/// this selection.
fn tried<T: ContainerType>(
    ctx: &ContextSelectionSet<'_>,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<Value> {
    if !ctx.data_opt::<Tried>()?.may_be::<T>(ctx) {
        return None;
    }
    let mut out = Vec::with_capacity(256);
    write(&mut out)?;
    Some(Value::Binary(out.into()))
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
        match tried::<T>(ctx, |out| object(ctx, &T::type_name(), &self.0, out)) {
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
        match tried::<T>(ctx, |out| list(ctx, &self.0, out)) {
            Some(value) => Ok(value),
            None => self.0.resolve(ctx, field).await,
        }
    }
}
