//! What a resolver finds in its context: the application, the caller, the loaders.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::Context;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::{Actor, ClientInfo, Requester};
use crate::error::{Result, UserErrorCode};
use crate::graphql::cookie::Cookies;
use crate::graphql::loader::Loaders;
use crate::graphql::witness::Witness;
use crate::services::login::TokenDelivery;
use crate::services::session::{Leaving, SignedIn};

/// Names a request in answers and in the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Whether execution began: what failed before is a request error, without `data`. And what a mutation was refused
/// for, which stands in its payload alone.
#[derive(Clone, Debug, Default)]
pub struct Executed(Arc<Execution>);

#[derive(Debug, Default)]
struct Execution {
    began: AtomicBool,
    refusal: OnceLock<UserErrorCode>,
}

impl Executed {
    /// Notes that execution began.
    pub fn set(&self) {
        self.0.began.store(true, Ordering::Relaxed);
    }

    /// Whether execution began.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.began.load(Ordering::Relaxed)
    }

    /// Notes why a mutation was refused; the first one of a document counts.
    pub fn refused(&self, code: UserErrorCode) {
        let _ = self.0.refusal.set(code);
    }

    /// Why the first mutation that was refused was.
    #[must_use]
    pub fn refusal(&self) -> Option<UserErrorCode> {
        self.0.refusal.get().copied()
    }
}

/// Who makes the request, and who proved to be somebody in the course of it.
pub struct Caller {
    requester: Requester,
    client: ClientInfo,
    cookies: Cookies,
    lapsed: Option<Uuid>,
    proved: Mutex<HashSet<Uuid>>,
    witness: Witness,
}

impl Caller {
    /// A caller as of the beginning of the request.
    #[must_use]
    pub fn new(requester: Requester, client: ClientInfo, cookies: Cookies) -> Self {
        Self {
            requester,
            client,
            cookies,
            lapsed: None,
            proved: Mutex::default(),
            witness: Witness::default(),
        }
    }

    /// Notes the session of an access token whose time is over: it lets nobody in, but may be ended.
    #[must_use]
    pub fn with_lapsed(self, session: Option<Uuid>) -> Self {
        Self {
            lapsed: session,
            ..self
        }
    }

    /// The cookies that came with the request.
    #[must_use]
    pub fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// Fails where the tokens of a sign-in cannot come back in this way.
    ///
    /// # Errors
    /// As [`Cookies::may_be_set`].
    pub fn may_deliver(&self, delivery: TokenDelivery) -> Result<()> {
        match delivery {
            TokenDelivery::Body => Ok(()),
            TokenDelivery::Cookie => self.cookies.may_be_set(),
        }
    }

    /// What the device shows that was trusted: `given`, or what is in its cookie.
    #[must_use]
    pub fn device_token(&self, given: Option<String>) -> Option<String> {
        given.or_else(|| self.cookies.device().map(str::to_owned))
    }

    /// What names the session of the request, live or not.
    #[must_use]
    pub fn leaving(&self) -> Option<Leaving<'_>> {
        let actor = self.requester.actor_before_second_factor().ok();
        let live = actor.map(Actor::session_id);
        live.or(self.lapsed)
            .map(Leaving::Session)
            .or_else(|| self.cookies.refresh().map(Leaving::RefreshToken))
    }

    /// Takes note of what the request reads of others.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Who made the request.
    #[must_use]
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// From where it comes.
    #[must_use]
    pub fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// Whether the account or session `id` is the caller's own: of the session that made the
    /// request, or opened by it. The latter opens no field to the caller but those of the account
    /// that the answer holds.
    #[must_use]
    pub fn is(&self, id: Uuid) -> bool {
        self.requester
            .signed_in()
            .is_some_and(|actor| actor.user_id() == id || actor.session_id() == id)
            || self
                .proved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&id)
    }

    /// Notes that a session which lacked a compulsory second factor has set one up or proved it.
    pub fn proved_second_factor(&self, actor: &Actor) {
        let mut proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        proved.extend([actor.user_id(), actor.session_id()]);
    }

    /// Notes that the request opened a session. One that lacks a compulsory second factor opens nothing.
    pub fn proved(&self, signed_in: &SignedIn) {
        if signed_in.two_factor_owed {
            return;
        }
        let mut proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        proved.extend([signed_in.user.id, signed_in.session.id]);
    }
}

/// Short ways to what a request carries.
pub trait ContextExt<'a> {
    /// The application.
    fn app(&self) -> &'a App;
    /// The caller.
    fn caller(&self) -> &'a Caller;
    /// The signed-in caller.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody is signed in.
    fn actor(&self) -> Result<&'a Actor>;
    /// The signed-in caller, even one who lacks a compulsory second factor.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody is signed in.
    fn actor_before_second_factor(&self) -> Result<&'a Actor>;
    /// The loaders of this request.
    fn loaders(&self) -> &'a Loaders;
}

impl<'a> ContextExt<'a> for Context<'a> {
    fn app(&self) -> &'a App {
        self.data_unchecked::<App>()
    }

    fn caller(&self) -> &'a Caller {
        self.data_unchecked::<Caller>()
    }

    fn actor(&self) -> Result<&'a Actor> {
        self.caller().requester().actor()
    }

    fn actor_before_second_factor(&self) -> Result<&'a Actor> {
        self.caller().requester().actor_before_second_factor()
    }

    fn loaders(&self) -> &'a Loaders {
        self.data_unchecked::<Loaders>()
    }
}
