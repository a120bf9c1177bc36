//! `AuditEvent`: the audit trail as clients see it.

use async_graphql::{Context, ID, InputObject, Name, Object, SimpleObject};
use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::activity::ActivityOf;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{list_size, page_arguments, requires_permission};
use crate::graphql::loader::{DataKeyOf, UserById};
use crate::graphql::node::Kind;
use crate::graphql::page::{self, DateTimeRange, PageArguments, PageInfo};
use crate::models::audit_event::{
    AuditAction, AuditEvent, AuditFilter, AuditOutcome, AuditPosition,
};
use crate::models::permission::SystemPermission;
use crate::models::user::User;
use crate::scalar::{DateTime, Json};
use crate::services::audit::Origin;
use crate::services::audit_trail::{self, Page, PageRequest};

/// An entry of the audit trail. Entries are never changed, and kept for 24 months unless the operator says otherwise.
#[Object]
impl AuditEvent {
    /// What was done.
    async fn action(&self) -> AuditAction {
        self.action
    }

    /// Who did it; null for the server itself, for somebody who did not prove who they are, for erased
    /// accounts, and for accounts that the caller may not see.
    async fn actor(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        account(ctx, self.actor_id).await
    }

    /// Facts that differ for each action; an object. Secrets are never among them; `reason`, where one was given,
    /// is for holders of `admin:system`.
    async fn details(&self, ctx: &Context<'_>) -> Result<Json> {
        // The reason that was given is for those who look after the installation.
        let reason = self.reason.is_some() && sees_all(ctx);
        let key = match self.subject_id {
            Some(subject) if reason => {
                ctx.caller().witness().read(subject, &Name::new("activity"));
                ctx.loaders().one(DataKeyOf(subject)).await?
            }
            _ => None,
        };
        Ok(Json(audit_trail::details(self, key.as_deref()).into()))
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::AuditEvent.id(self.id)
    }

    /// IP address of the client; null where none was involved, for erased accounts, and in the caller's own
    /// activity where somebody else did it who had proved who they are.
    async fn ip_address(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(origin(ctx, self).await?.map(|origin| origin.ip))
    }

    /// When it was done.
    async fn occurred_at(&self) -> DateTime {
        self.occurred_at
    }

    /// How it ended: done, failed, or not allowed.
    async fn outcome(&self) -> AuditOutcome {
        self.outcome
    }

    /// Ties the entry to log lines and to `extensions.requestId` of server faults; null where no request did it.
    async fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The account that it was done to; null where it was done to none or to several, for erased accounts, and for
    /// accounts that the caller may not see.
    async fn subject(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        account(ctx, self.subject_id).await
    }

    /// The accounts that it was done to, in no order: what one request read of many accounts is one entry, or one for
    /// each 100. Erased accounts, and those that the caller may not see, are left out.
    #[graphql(directive = list_size::apply(100, Vec::new()))]
    async fn subjects(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        let all = self.all_subjects().iter();
        let found = try_join_all(all.map(|subject| account(ctx, Some(*subject)))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// User agent of the client; null as `ipAddress`, and where it sent none.
    async fn user_agent(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(origin(ctx, self)
            .await?
            .and_then(|origin| origin.user_agent))
    }
}

fn sees_all(ctx: &Context<'_>) -> bool {
    let requester = ctx.caller().requester();
    requester.has(SystemPermission::AdminSystem)
}

async fn account(ctx: &Context<'_>, user: Option<Uuid>) -> Result<Option<User>> {
    let caller = ctx.caller();
    match user {
        Some(id) if caller.is(id) || caller.requester().has(SystemPermission::ReadAll) => {
            ctx.loaders().one(UserById(id)).await
        }
        _ => Ok(None),
    }
}

async fn origin(ctx: &Context<'_>, event: &AuditEvent) -> Result<Option<Origin>> {
    let caller = ctx.caller();
    // The address of a colleague who did something to the caller's account is none of the caller's business.
    let own = event.actor_id.is_none_or(|actor| caller.is(actor));
    if event.client.is_none() || !own && !sees_all(ctx) {
        return Ok(None);
    }
    let owner = audit_trail::origin_owner(event);
    let key = match owner {
        Some(owner) => {
            caller.witness().read(owner, &Name::new("activity"));
            ctx.loaders().one(DataKeyOf(owner)).await?
        }
        None => None,
    };
    Ok(audit_trail::origin(ctx.app(), event, key.as_deref()))
}

/// Page of the audit trail, the newest entry first.
#[derive(SimpleObject)]
pub struct AuditEventConnection {
    /// The entries with their cursors.
    edges: Vec<AuditEventEdge>,
    /// The entries without their cursors.
    nodes: Vec<AuditEvent>,
    /// Where the page lies within the list.
    page_info: PageInfo,
}

/// One entry in a page.
#[derive(SimpleObject)]
pub struct AuditEventEdge {
    /// Where the entry stands in the list; for `after` and `before`.
    cursor: String,
    /// The entry.
    node: AuditEvent,
}

/// Which entries of the audit trail; all conditions given must hold.
#[derive(InputObject, Clone, Default)]
#[graphql(name = "AuditEventFilter")]
pub struct AuditEventFilterInput {
    /// Any of these actions.
    pub actions: Option<Vec<AuditAction>>,
    /// Done by the account with this id.
    pub actor_id: Option<ID>,
    /// When it was done.
    pub occurred_at: Option<DateTimeRange>,
    /// Any of these outcomes.
    pub outcomes: Option<Vec<AuditOutcome>>,
    /// Done to the account with this id, alone or among others.
    pub subject_id: Option<ID>,
}

impl From<AuditEventFilterInput> for AuditFilter {
    fn from(input: AuditEventFilterInput) -> Self {
        // An id of something else is the id of an account that nothing was done by or to.
        let account = |id: ID| Kind::User.uuid(&id).unwrap_or_default();
        Self {
            actions: input.actions,
            outcomes: input.outcomes,
            actor_id: input.actor_id.map(account),
            subject_id: input.subject_id.map(account),
            occurred_at: input.occurred_at.map(Into::into).unwrap_or_default(),
        }
    }
}

fn cursor(event: &AuditEvent) -> String {
    page::encode(&(event.occurred_at, event.id))
}

fn connection_of(page: Page) -> AuditEventConnection {
    let edge = |event: &AuditEvent| AuditEventEdge {
        cursor: cursor(event),
        node: event.clone(),
    };
    AuditEventConnection {
        page_info: PageInfo {
            end_cursor: page.events.last().map(cursor),
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: page.events.first().map(cursor),
        },
        edges: page.events.iter().map(edge).collect(),
        nodes: page.events,
    }
}

/// Reads a cursor of the audit trail. Does not check that there ever was such an entry.
///
/// # Errors
/// [`Error::BadInput`] for anything else, and for what the database could not compare: this server never wrote it.
pub fn read_cursor(cursor: &str) -> Result<AuditPosition> {
    let (at, id): AuditPosition = page::decode(cursor)?;
    if (-4000..=200_000).contains(&chrono::Datelike::year(&*at)) {
        Ok((at, id))
    } else {
        let message = "This is no cursor of this list.";
        Err(Error::BadInput(message.to_owned()))
    }
}

fn request(arguments: &PageArguments, filter: AuditFilter) -> Result<PageRequest> {
    let (limit, backward) = arguments.size()?;
    let read = |cursor: &Option<String>| cursor.as_deref().map(read_cursor).transpose();
    Ok(PageRequest {
        filter,
        after: read(&arguments.after)?,
        before: read(&arguments.before)?,
        limit,
        backward,
    })
}

/// What happened to the account `user`. Pages that begin at an end of the list come in one batch for all
/// accounts of a list.
///
/// # Errors
/// [`Error::BadInput`] for malformed arguments.
pub async fn activity(
    ctx: &Context<'_>,
    user: Uuid,
    arguments: &PageArguments,
) -> Result<AuditEventConnection> {
    let filter = AuditFilter {
        subject_id: Some(user),
        ..AuditFilter::default()
    };
    let request = request(arguments, filter)?;
    if request.after.is_some() || request.before.is_some() {
        let page = audit_trail::page(ctx.app(), &request).await?;
        return Ok(connection_of(page));
    }
    let key = ActivityOf {
        user,
        limit: request.limit,
        backward: request.backward,
    };
    let events = ctx.loaders().one(key).await?.unwrap_or_default();
    let page = audit_trail::page_of(events, &request);
    Ok(connection_of(page))
}

/// Reading the audit trail.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// The audit trail, the newest entry first; 20 a page unless `first` or `last` asks otherwise, at most 100.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::AdminSystem, false, false),
        directive = list_size::apply(20, page_arguments()),
    )]
    async fn audit_events(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        filter: Option<AuditEventFilterInput>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<AuditEventConnection>> {
        let arguments = PageArguments {
            after,
            before,
            first,
            last,
        };
        let request = request(&arguments, filter.unwrap_or_default().into())?;
        let page = audit_trail::page(ctx.app(), &request).await?;
        Ok(Some(connection_of(page)))
    }
}
