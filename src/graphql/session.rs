//! `Session`: a signed-in device as its owner sees it; keeping one alive and ending it.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use crate::error::{Result, UserError, UserErrorCode};
use crate::graphql::account::UserIdInput;
use crate::graphql::context::ContextExt as _;
use crate::graphql::cookie;
use crate::graphql::directive::{
    cost, list_size, page_arguments, public, requires_permission, requires_session,
};
use crate::graphql::error::settle;
use crate::graphql::loader::SessionsOf;
use crate::graphql::login::{SignInPayload, deliver};
use crate::graphql::node::Kind;
use crate::graphql::page::{self, PageArguments, PageInfo};
use crate::models::permission::SystemPermission;
use crate::models::session::Session;
use crate::scalar::DateTime;
use crate::services::confirm::{self, ConfirmIdentityInput};
use crate::services::login::TokenDelivery;
use crate::services::session::{self, LogoutAllInput, RefreshTokenInput};
use crate::services::{account, sealed};

/// One signed-in device or browser.
#[Object]
impl Session {
    /// When the person signed in.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// The session that made this request, or that this request opened.
    async fn current(&self, ctx: &Context<'_>) -> bool {
        ctx.caller().is(self.id)
    }

    /// When it ends by itself. Refreshing its tokens does not move this.
    async fn expires_at(&self) -> DateTime {
        self.expires_at
    }

    /// Opaque and stable; equal ids mean equal objects across all types.
    pub async fn id(&self) -> ID {
        Kind::Session.id(self.id)
    }

    /// IP address that the person signed in from.
    async fn ip_address(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        if self.ip_address.is_none() {
            return Ok(None);
        }
        let key = ctx.loaders().data_key(self.user_id).await?;
        sealed::open_ip_address(&key, self)
    }

    /// When it was last used, to the minute.
    async fn last_accessed_at(&self) -> DateTime {
        self.last_accessed_at
    }

    /// What the device called itself at sign-in (the header `User-Agent`), at most 512 characters; null where it
    /// sent nothing.
    async fn user_agent(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        if self.user_agent.is_none() {
            return Ok(None);
        }
        let key = ctx.loaders().data_key(self.user_id).await?;
        sealed::open_user_agent(&key, self)
    }
}

/// Page of sessions.
#[derive(SimpleObject)]
pub struct SessionConnection {
    /// The sessions with their cursors.
    edges: Vec<SessionEdge>,
    /// The sessions without their cursors.
    nodes: Vec<Session>,
    /// Where the page lies within the list.
    page_info: PageInfo,
}

/// One session in a page.
#[derive(SimpleObject)]
pub struct SessionEdge {
    /// Where the session stands in the list; for `after` and `before`.
    cursor: String,
    /// The session.
    node: Session,
}

/// Where a session stands in the list.
type Position = (DateTime, Uuid);

fn position(session: &Session) -> Position {
    (session.last_accessed_at, session.id)
}

/// A page of the live sessions of `user`. All of them come in one batch, for their number is bounded.
///
/// # Errors
/// `BadInput` for malformed arguments.
pub async fn connection(
    ctx: &Context<'_>,
    user: Uuid,
    arguments: &PageArguments,
) -> Result<SessionConnection> {
    let (size, backward) = arguments.size()?;
    let cursor = |cursor: &Option<String>| -> Result<Option<Position>> {
        cursor.as_deref().map(page::decode).transpose()
    };
    let (after, before) = (cursor(&arguments.after)?, cursor(&arguments.before)?);
    let all = ctx.loaders().one(SessionsOf(user)).await?;
    let all = all.unwrap_or_default();
    // The newest first, so that what lies behind a position is smaller.
    let mut within: Vec<&Session> = all
        .iter()
        .filter(|session| after.is_none_or(|after| position(session) < after))
        .filter(|session| before.is_none_or(|before| position(session) > before))
        .collect();
    let beyond = within.len().saturating_sub(size);
    if backward {
        within.drain(..beyond);
    } else {
        within.truncate(size);
    }
    let edges: Vec<SessionEdge> = within
        .iter()
        .map(|session| SessionEdge {
            cursor: page::encode(&position(session)),
            node: (*session).clone(),
        })
        .collect();
    let reaches = |end: Option<&&Session>, other: Option<&Session>| match (end, other) {
        (Some(end), Some(other)) => end.id == other.id,
        // An empty page: there is something on a side if there is something at all.
        (None, Some(_)) => false,
        (_, None) => true,
    };
    Ok(SessionConnection {
        page_info: PageInfo {
            has_previous_page: !reaches(within.first(), all.first()),
            has_next_page: !reaches(within.last(), all.last()),
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        },
        nodes: within.into_iter().cloned().collect(),
        edges,
    })
}

/// The session to end.
#[derive(InputObject)]
pub struct RevokeSessionInput {
    /// Id of the session.
    pub session_id: ID,
}

/// How many sessions ended.
#[derive(SimpleObject)]
pub struct LogoutPayload {
    /// How many sessions ended.
    ended_sessions: i32,
    /// Why none ended; empty on success.
    errors: Vec<UserError>,
}

/// The session that ended.
#[derive(SimpleObject)]
pub struct RevokeSessionPayload {
    /// Why none ended; empty on success.
    errors: Vec<UserError>,
    /// Id of the session that ended; null exactly when `errors` is not empty.
    revoked_session_id: Option<ID>,
}

/// The session after the change.
#[derive(SimpleObject)]
pub struct SessionPayload {
    /// Why nothing was changed; empty on success.
    errors: Vec<UserError>,
    /// The session; null exactly when `errors` is not empty.
    session: Option<Session>,
}

/// Reading sessions.
#[derive(Default)]
pub struct SessionQuery;

#[Object]
impl SessionQuery {
    /// The caller's own live sessions, the most recently used first; 20 a page unless `first` or `last` asks
    /// otherwise, at most 100.
    #[graphql(directive = requires_session::apply(false, false), directive = list_size::apply(20, page_arguments()))]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<SessionConnection>> {
        let arguments = PageArguments {
            after,
            before,
            first,
            last,
        };
        let user = ctx.actor()?.user_id();
        connection(ctx, user, &arguments).await.map(Some)
    }
}

/// Tells a browser that signs out to forget what belonged to the session.
fn withdraw_cookies(ctx: &Context<'_>) {
    if ctx.caller().cookies().are_used() {
        for cookie in cookie::withdrawn(&ctx.app().config) {
            ctx.append_http_header("set-cookie", cookie);
        }
        // What the browser keeps of answers; other cookies of the site are none of our business.
        ctx.insert_http_header("clear-site-data", "\"cache\"");
    }
}

/// Keeping sessions alive and ending them.
#[derive(Default)]
pub struct SessionMutation;

#[Object]
impl SessionMutation {
    /// End the current session. Succeeds without one, too; an access token whose time is over, or a refresh token
    /// in a cookie, is enough to name it. Cookies are taken back.
    #[graphql(directive = public::apply())]
    async fn logout(&self, ctx: &Context<'_>) -> Result<Option<LogoutPayload>> {
        let ended_sessions =
            session::logout(ctx.app(), ctx.caller().client(), ctx.caller().leaving()).await?;
        withdraw_cookies(ctx);
        Ok(Some(LogoutPayload {
            ended_sessions,
            errors: Vec::new(),
        }))
    }

    /// End every session of the caller. Trusted devices are forgotten, too, and a change of the address that waits
    /// to be confirmed is dropped.
    #[graphql(directive = requires_session::apply(false, false))]
    async fn logout_all(
        &self,
        ctx: &Context<'_>,
        input: Option<LogoutAllInput>,
    ) -> Result<Option<LogoutPayload>> {
        let keep_current = input.unwrap_or_default().keep_current;
        let ended_sessions = session::logout_all(ctx.app(), ctx.actor()?, keep_current).await?;
        if !keep_current {
            withdraw_cookies(ctx);
        }
        Ok(Some(LogoutPayload {
            ended_sessions,
            errors: Vec::new(),
        }))
    }

    /// Prove again who is at the keyboard, for operations that need a recent sign-in: those with `recentSignIn`,
    /// for 5 minutes unless the operator says otherwise. It also proves a compulsory second factor that the session
    /// lacks. Which proofs the account has, `extensions.methods` of the error that asked for it says.
    #[graphql(directive = requires_session::apply(false, true), directive = cost::apply(50))]
    async fn reauthenticate(
        &self,
        ctx: &Context<'_>,
        input: ConfirmIdentityInput,
    ) -> Result<Option<SessionPayload>> {
        let result =
            confirm::reauthenticate(ctx.app(), ctx.actor_before_second_factor()?, input).await;
        let (session, errors) = settle(ctx, result)?;
        Ok(Some(SessionPayload { errors, session }))
    }

    /// Trade a refresh token for a new pair of tokens; the session ends no later for it. A token works once; reuse
    /// ends the session. Within ten seconds the same token gets the same new one again, as long as that was not
    /// used: two tabs may refresh at once. A token that came in a cookie is answered with cookies. After
    /// `TOKEN_REJECTED` the person has to sign in again.
    #[graphql(directive = public::apply())]
    async fn refresh_token(
        &self,
        ctx: &Context<'_>,
        input: Option<RefreshTokenInput>,
    ) -> Result<Option<SignInPayload>> {
        let given = input.and_then(|input| input.refresh_token);
        let (token, delivery) = match (&given, ctx.caller().cookies().refresh()) {
            (Some(token), _) => (token.as_str(), TokenDelivery::Body),
            (None, Some(token)) => (token, TokenDelivery::Cookie),
            (None, None) => ("", TokenDelivery::Body),
        };
        let (session, errors) = settle(
            ctx,
            session::refresh(ctx.app(), ctx.caller().client(), token).await,
        )?;
        let refused = errors
            .iter()
            .any(|error| error.reason() == UserErrorCode::TokenRejected);
        if refused && given.is_none() {
            // They would only be refused again.
            withdraw_cookies(ctx);
        }
        let result = session.map(|session| deliver(ctx, session, delivery));
        Ok(Some(SignInPayload { errors, result }))
    }

    /// End one session of the caller, or with `admin:users` of anyone who may do no more than the caller.
    /// `NOT_FOUND` where it has ended already.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, true, false))]
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        input: RevokeSessionInput,
    ) -> Result<Option<RevokeSessionPayload>> {
        let id = Kind::Session.uuid(&input.session_id);
        let (revoked, errors) = settle(ctx, session::revoke(ctx.app(), ctx.actor()?, id).await)?;
        Ok(Some(RevokeSessionPayload {
            errors,
            revoked_session_id: revoked.map(|id| Kind::Session.id(id)),
        }))
    }

    /// End every session of somebody else; their trusted devices are forgotten, too, and a change of their address
    /// that waits to be confirmed is dropped. Nobody ends the sessions of an account that may do what they may not.
    #[graphql(directive = requires_permission::apply(SystemPermission::AdminUsers, false, false))]
    async fn revoke_user_sessions(
        &self,
        ctx: &Context<'_>,
        input: UserIdInput,
    ) -> Result<Option<LogoutPayload>> {
        let id = Kind::User.uuid(&input.user_id);
        let (ended, errors) = settle(
            ctx,
            account::end_sessions(ctx.app(), ctx.actor()?, id).await,
        )?;
        Ok(Some(LogoutPayload {
            ended_sessions: ended.unwrap_or(0),
            errors,
        }))
    }
}
