//! The guard layer: enforces the access directives of the SDL, makes a failed nullable field null in
//! its place, and lets no error out without a known code. It decides nothing by itself.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, NextValidation,
    ResolveInfo,
};
use async_graphql::{
    CacheControl, Context, Guard, PathSegment, Pos, QueryPathNode, QueryPathSegment, Response,
    ServerError, ServerResult, ValidationResult, Value,
};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Requester;
use crate::error::{Error, Result};
use crate::graphql::context::{Caller, Executed, RequestId};
use crate::graphql::documents::ValidateOnly;
use crate::graphql::error::{CODE, Code, INTERNAL};
use crate::graphql::literals;
use crate::graphql::loader::Loaders;
use crate::graphql::sdl::{Access, FieldRule, Rules};
use crate::graphql::subscription::ReadBefore;
use crate::graphql::variables::Validated;
use crate::services::session;

/// The rules of the schema, which are known once it is built.
pub type SharedRules = Arc<OnceLock<Rules>>;

/// Makes the guard layer for each request.
pub struct AccessLayer(pub SharedRules);

impl ExtensionFactory for AccessLayer {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(RequestLayer {
            rules: Arc::clone(&self.0),
            errors: Mutex::default(),
        })
    }
}

struct RequestLayer {
    rules: SharedRules,
    errors: Mutex<Vec<ServerError>>,
}

#[async_trait::async_trait]
impl Extension for RequestLayer {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> std::result::Result<ValidationResult, Vec<ServerError>> {
        if let Some(ValidateOnly(document)) = ctx.data_opt() {
            let result = next.run(ctx).await?;
            literals::check(document, &ctx.schema_env.registry)?;
            return Ok(result);
        }
        // The document was looked at when it came for the first time, but not the values for it.
        let Some(validated) = ctx.data_opt::<Validated>() else {
            return next.run(ctx).await;
        };
        validated.check(&ctx.schema_env.registry)?;
        Ok(ValidationResult {
            cache_control: CacheControl::default(),
            complexity: 0,
            depth: 0,
        })
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        if ctx.data_opt::<ValidateOnly>().is_some() {
            return Response::new(Value::Null);
        }
        if let Ok(executed) = ctx.data::<Executed>() {
            executed.set();
        }
        let mut response = next.run(ctx, operation).await;
        response
            .errors
            .retain(|error| error.source::<Noted>().is_none());
        let failed =
            std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner));
        // What was tried on the spot and failed was resolved once more, and failed again.
        let mut told = HashSet::new();
        let failed = failed.into_iter();
        let once = failed.filter(|error| told.insert(format!("{:?}", error.path)));
        response.errors.extend(once);
        let caller = ctx.data_unchecked::<Caller>();
        // An entry for each entry of the trail that is followed would be followed, too.
        if let Some(ReadBefore(known)) = ctx.data_opt::<ReadBefore>() {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            caller.witness().read_before(&mut known);
        }
        if let Some(actor) = caller.requester().signed_in()
            && let Err(error) = caller
                .witness()
                .testify(ctx.data_unchecked::<App>(), actor)
                .await
        {
            // Nothing that was read goes out without a trace.
            let error = async_graphql::Error::from(error).into_server_error(Pos::default());
            response = Response::from_errors(vec![error]);
        }
        let request_id = ctx.data::<RequestId>().ok();
        response.errors = response
            .errors
            .into_iter()
            .map(|error| publishable(error, request_id))
            .collect();
        response
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        // What lies below `__schema` and `__type` is marked as introspection, these two are not.
        let introspection = ctx.data_unchecked::<App>().config.introspection();
        if info.is_for_introspection || introspection && info.name.starts_with("__") {
            return next.run(ctx, info).await;
        }
        let rule = self
            .rules
            .get()
            .and_then(|rules| rules.field(info.parent_type, info.name));
        let (nullable, node) = (!info.return_type.ends_with('!'), info.path_node);
        let (parent_type, name) = (info.parent_type, info.name);
        let result = match admit(
            info.parent_type,
            rule,
            ctx.data_unchecked::<Caller>().requester(),
            ctx.data_unchecked::<App>(),
        ) {
            Ok(()) => {
                if info.parent_type == "Mutation" {
                    // What an earlier mutation of the same document loaded may be stale now.
                    ctx.data_unchecked::<Loaders>().forget();
                }
                next.run(ctx, info).await
            }
            Err(error) => {
                let pos = info.field.name.pos;
                Err(async_graphql::Error::from(error).into_server_error(pos))
            }
        };
        let Err(error) = result else { return result };
        let code = error.extensions.as_ref().and_then(|all| all.get(CODE));
        if code == Some(&Value::from(Code::Forbidden.as_str())) {
            let caller = ctx.data_unchecked::<Caller>();
            caller.witness().denied(parent_type, name);
        }
        let noted = self.note(error, node);
        // GraphQL, section 6.4.4: the error costs this field, or the next one around it that can be
        // null; the siblings go on.
        if nullable {
            Ok(Some(Value::Null))
        } else {
            Err(noted)
        }
    }
}

/// Stands on the way up for an error that was noted where it happened.
struct Noted;

impl RequestLayer {
    /// Keeps an error with the path of the field that failed; further out the path would be another.
    fn note(&self, error: ServerError, field: &QueryPathNode<'_>) -> ServerError {
        if error.source::<Noted>().is_some() {
            return error;
        }
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.push(error.with_path(path(field)));
        let mut noted = ServerError::new("", None);
        noted.source = Some(Arc::new(Noted));
        noted
    }
}

/// Whether the caller may use a field, as far as that can be told without the object.
///
/// # Errors
/// Why not.
pub(super) fn admit(
    parent_type: &str,
    rule: Option<&FieldRule>,
    requester: &Requester,
    app: &App,
) -> Result<()> {
    let root = matches!(parent_type, "Query" | "Mutation" | "Subscription");
    match rule.and_then(|rule| rule.access) {
        // A root field that nobody gave a rule is closed; a test finds it.
        None if root => Err(Error::Forbidden),
        None | Some(Access::Public) => Ok(()),
        Some(Access::Session {
            recent,
            before_second_factor,
        }) => {
            let actor = if before_second_factor {
                requester.actor_before_second_factor()?
            } else {
                requester.actor()?
            };
            if !recent {
                return Ok(());
            }
            session::require_recent_sign_in(app, actor)
        }
        // Whose the object is, the resolver knows: a root field's service, or the guard `Owner`.
        Some(Access::Permission { or_owner: true, .. }) if !root => Ok(()),
        Some(Access::Permission {
            permission,
            or_owner,
            recent,
        }) => {
            let actor = requester.actor()?;
            if !or_owner && !actor.has(permission) {
                return Err(Error::Forbidden);
            }
            if !recent {
                return Ok(());
            }
            session::require_recent_sign_in(app, actor)
        }
    }
}

/// Settles a field whose directive says `orOwner` once the object is known: the person it belongs
/// to may use it, and who holds the directive's permission.
pub struct Owner(pub Uuid);

impl Guard for Owner {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        let caller = ctx.data_unchecked::<Caller>();
        if caller.is(self.0) {
            return Ok(());
        }
        let actor = caller.requester().actor()?;
        let rules = ctx.data_unchecked::<SharedRules>().get();
        let rule = rules.and_then(|rules| rules.field("User", ctx.field().name()));
        match rule.and_then(|rule| rule.access) {
            Some(Access::Permission { permission, .. }) if actor.has(permission) => {
                caller.witness().read(self.0, &ctx.item.node.name.node);
                Ok(())
            }
            _ => Err(Error::Forbidden.into()),
        }
    }
}

impl Owner {
    /// Names of the fields of `User` that only its owner and holders of a permission may read.
    #[must_use]
    pub fn fields(rules: &Rules) -> HashSet<&str> {
        let guarded = |rule: &FieldRule| {
            matches!(rule.access, Some(Access::Permission { or_owner: true, .. }))
        };
        rules
            .fields("User")
            .filter(|(_, rule)| guarded(rule))
            .map(|(name, _)| name)
            .collect()
    }
}

fn path(node: &QueryPathNode<'_>) -> Vec<PathSegment> {
    let segment = |segment: &QueryPathSegment<'_>| match segment {
        QueryPathSegment::Index(index) => PathSegment::Index(*index),
        QueryPathSegment::Name(name) => PathSegment::Field((*name).to_owned()),
    };
    let mut path: Vec<_> = node
        .parents()
        .map(|parent| segment(&parent.segment))
        .collect();
    path.reverse();
    path.push(segment(&node.segment));
    path
}

/// The last net: an error leaves with a known code, an internal one with the request's id, and one
/// that nobody foresaw without its text.
pub(super) fn publishable(mut error: ServerError, request_id: Option<&RequestId>) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get(CODE).is_none() {
        // The library's words about a value that does not fit its type. The value itself may be a
        // password, and stays out.
        let expected = error.message.starts_with("Expected input type ");
        if let Some((said, _)) = error.message.split_once(", found ")
            && expected
        {
            error.message = format!("{said}.");
        }
        if expected || error.message.starts_with("Failed to parse ") {
            extensions.set(CODE, Code::BadUserInput.as_str());
        } else {
            tracing::error!(error = %error.message, "An error without a code was held back");
            INTERNAL.clone_into(&mut error.message);
            extensions.set(CODE, Code::InternalServerError.as_str());
        }
    }
    if extensions.get(CODE) == Some(&Value::from(Code::InternalServerError.as_str()))
        && let Some(RequestId(id)) = request_id
    {
        extensions.set("requestId", id.as_str());
    }
    error.source = None;
    error
}
