//! `Subscription`: what happens, told to who may know. A field says whom it listens to and what it makes of an
//! event; how events travel is the business of `live`.

#![expect(
    clippy::unused_async,
    reason = "the library makes subscriptions of asynchronous functions only"
)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, ID, Object, SimpleObject};
use futures_util::stream::{self, Stream};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::audit::AuditEventFilterInput;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{requires_permission, requires_session};
use crate::graphql::loader::UserById;
use crate::graphql::node::Kind;
use crate::live::events::{AccountChanged, Event, Topic};
use crate::models::audit_event::{AuditEvent, AuditFilter};
use crate::models::permission::SystemPermission;
use crate::models::session::SessionEndReason;
use crate::models::user::User;
use crate::scalar::DateTime;

/// A session ended before its time.
#[derive(SimpleObject)]
pub struct SessionRevokedEvent {
    /// It is the session that this connection belongs to, which ends, too.
    current: bool,
    /// Why the session ended.
    reason: SessionEndReason,
    /// When the session ended.
    revoked_at: DateTime,
    /// Id of the session that ended.
    session_id: ID,
}

/// An account was opened, closed or erased.
pub struct UserStatusChangedEvent(AccountChanged);

/// An account was opened, closed or erased.
#[Object]
impl UserStatusChangedEvent {
    /// Whether the account may sign in now.
    async fn is_active(&self) -> bool {
        self.0.active
    }

    /// The account as it is now; null once it is erased.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        if self.0.erased {
            return Ok(None);
        }
        ctx.loaders().one(UserById(self.0.id)).await
    }

    /// Id of the account, also of one that is erased.
    async fn user_id(&self) -> ID {
        Kind::User.id(self.0.id)
    }
}

/// Which step of a subscription a field is run for. Each event is answered by a run of its own, with the
/// rights and the data of that moment.
pub enum Step {
    /// It begins: the field says what it follows.
    Begin(Arc<Mutex<Option<Source>>>),
    /// This has happened: the field says what it makes of it.
    Answer(Event),
}

/// Accounts whose data a follower of the audit trail has read. Each leaves one entry for a subscription: were
/// there one for each entry that is read, there would be no end.
#[derive(Clone, Default)]
pub struct ReadBefore(pub Arc<Mutex<HashSet<Uuid>>>);

/// What a subscription follows.
pub struct Source {
    /// Whose events.
    pub topic: Topic,
    /// Whether an event is one for it.
    pub takes: Box<dyn Fn(&Event) -> bool + Send + Sync>,
}

/// What can be followed.
pub struct Subscription;

/// Events as they happen, over the WebSocket sub-protocol `graphql-transport-ws` or as server-sent events.
/// Nothing is told again that happened while nobody was connected. A connection ends with its session.
#[async_graphql::Subscription]
impl Subscription {
    /// New entries of the audit trail, in the order of their places in it, about half a second after they were
    /// written. That it is followed leaves an entry itself.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminSystem, false, false))]
    async fn audit_event_added(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditEventFilterInput>,
    ) -> Result<impl Stream<Item = AuditEvent>> {
        let filter = AuditFilter::from(filter.unwrap_or_default());
        Ok(follow(ctx, Topic::Audit, move |event| match event {
            Event::AuditAdded(event) if filter.matches(event) => Some(AuditEvent::clone(event)),
            _ => None,
        }))
    }

    /// One of the caller's sessions ended before its time, by whatever means. The last event on a connection is
    /// its own, unless the session ended by the clock or the account was erased at once.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn session_revoked(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = SessionRevokedEvent>> {
        let actor = ctx.actor()?;
        let (topic, own) = (Topic::SessionsOf(actor.user_id()), actor.session_id());
        Ok(follow(ctx, topic, move |event| match event {
            Event::SessionEnded(ended) => Some(SessionRevokedEvent {
                current: ended.id == own,
                reason: ended.reason,
                revoked_at: ended.at,
                session_id: Kind::Session.id(ended.id),
            }),
            _ => None,
        }))
    }

    /// An account was opened, closed or erased: any, or the one named. One that goes without ever having been
    /// opened is not told of.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn user_status_changed(
        &self,
        ctx: &Context<'_>,
        user_id: Option<ID>,
    ) -> Result<impl Stream<Item = UserStatusChangedEvent>> {
        let topic = match user_id {
            None => Topic::Status,
            Some(id) => Topic::StatusOf(Kind::User.uuid(&id).ok_or_else(|| {
                Error::BadInput("`userId` is not the id of an account.".to_owned())
            })?),
        };
        Ok(follow(ctx, topic, |event| match event {
            Event::AccountChanged(changed) => Some(UserStatusChangedEvent(changed.clone())),
            _ => None,
        }))
    }
}

/// Notes what the field follows, or makes something of what has happened.
fn follow<T, F>(ctx: &Context<'_>, topic: Topic, shape: F) -> impl Stream<Item = T> + use<T, F>
where
    F: Fn(&Event) -> Option<T> + Send + Sync + 'static,
{
    let shaped = match ctx.data_unchecked::<Step>() {
        Step::Begin(source) => {
            let takes = Box::new(move |event: &Event| shape(event).is_some());
            *source.lock().unwrap_or_else(PoisonError::into_inner) = Some(Source { topic, takes });
            None
        }
        Step::Answer(event) => shape(event),
    };
    stream::iter(shaped)
}
