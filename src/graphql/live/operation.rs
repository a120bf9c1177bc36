//! One subscription of a connection: it begins, and answers each event with a run of its own, as the caller is
//! then and with data of then. How the answers travel is the transport's business.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{OperationDefinition, Selection};
use async_graphql::{Response, ServerError};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use crate::auth::requester::Requester;
use crate::graphql::access::{admit, publishable};
use crate::graphql::context::{Caller, Executed};
use crate::graphql::cookie::Cookies;
use crate::graphql::error::{Code, INTERNAL};
use crate::graphql::handler::{MAX_ERRORS, error_of, unfit};
use crate::graphql::live::{Ending, Holder};
use crate::graphql::loader::Loaders;
use crate::graphql::request::Prepared;
use crate::graphql::subscription::{Source, Step};
use crate::graphql::turn::Turns;
use crate::live::events::{Event, Follower, Topic};

/// A subscription that is followed.
pub(super) struct Operation {
    holder: Arc<Holder>,
    prepared: Prepared,
    field: String,
    source: Source,
    follower: Follower,
    /// The caller as last looked up.
    requester: Requester,
    /// The caller is to be looked up.
    unsure: bool,
    over: bool,
}

/// What came of waiting for an event.
pub(super) enum Outcome {
    /// An answer for the client.
    Next(Value),
    /// The operation is over, for these reasons.
    Failed(Vec<Value>),
    /// The connection is.
    Ended(Ending),
}

impl Operation {
    /// Begins to follow what the operation asks for.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn begin(holder: &Arc<Holder>, prepared: Prepared) -> Result<Self, Outcome> {
        let field = root_field(prepared.operation())
            .ok_or_else(|| {
                let message = "A subscription has one field, without a fragment around it or directives on it.";
                holder.failed(Code::GraphqlValidationFailed, message)
            })?
            .to_owned();
        let requester = holder.admitted(&field).await?;
        let begun = Arc::new(Mutex::new(None));
        let step = Step::Begin(Arc::clone(&begun));
        if let Some(response) = run(holder, &prepared, requester.clone(), step).await? {
            let errors = response.errors.into_iter().take(MAX_ERRORS);
            let said = |error: ServerError| {
                // Whatever has no path was found before anything ran.
                if error.path.is_empty() {
                    return unfit(&error);
                }
                let error = publishable(error, Some(&holder.asking.request_id));
                serde_json::to_value(error).unwrap_or_default()
            };
            return Err(Outcome::Failed(errors.map(said).collect()));
        }
        let source = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(source) = source else {
            return Err(holder.failed(Code::InternalServerError, INTERNAL));
        };
        let topics = [source.topic, Topic::Account(holder.user)];
        let follower = holder.app().live.events.follow(&topics);
        Ok(Self {
            holder: Arc::clone(holder),
            prepared,
            field,
            source,
            follower,
            requester,
            // What changed before it followed.
            unsure: true,
            over: false,
        })
    }

    /// The next answer, when there is one; `None` after the last. Not to be given up half-way.
    pub(super) async fn next(&mut self) -> Option<Outcome> {
        if self.over {
            return None;
        }
        let outcome = self.outcome().await.unwrap_or_else(|outcome| outcome);
        self.over = !matches!(outcome, Outcome::Next(_));
        Some(outcome)
    }

    async fn outcome(&mut self) -> Result<Outcome, Outcome> {
        loop {
            if self.unsure {
                self.requester = self.holder.admitted(&self.field).await?;
                self.unsure = false;
            }
            match self.follower.next().await {
                None => return Err(Outcome::Ended(Ending::Lagged)),
                Some(Event::AccessChanged) => self.unsure = true,
                Some(event) if (self.source.takes)(&event) => {
                    if let Some(answer) = self.answer(event).await? {
                        return Ok(Outcome::Next(answer));
                    }
                }
                Some(_) => {}
            }
        }
    }

    async fn answer(&mut self, event: Event) -> Result<Option<Value>, Outcome> {
        let _turn = self.holder.app().live.answering.acquire().await;
        // Of its own end the session is still told.
        let last = matches!(&event, Event::SessionEnded(ended) if ended.id == self.holder.session);
        if !last {
            self.requester = self.holder.admitted(&self.field).await?;
        }
        let step = Step::Answer(event);
        let response = run(&self.holder, &self.prepared, self.requester.clone(), step).await?;
        Ok(response.map(|response| serde_json::to_value(response).unwrap_or_default()))
    }
}

impl Holder {
    /// The caller of this moment, if the root field is open to them.
    async fn admitted(&self, field: &str) -> Result<Requester, Outcome> {
        let requester = self.requester().await.map_err(Outcome::Ended)?;
        let rule = self.asking.api.rules().field("Subscription", field);
        // What there is not, the validation names.
        if rule.is_some()
            && let Err(error) = admit("Subscription", rule, &requester, self.app())
        {
            let error =
                async_graphql::Error::from(error).into_server_error(async_graphql::Pos::default());
            let mut error = serde_json::to_value(error).unwrap_or_default();
            error["path"] = Value::from(vec![field]);
            return Err(Outcome::Failed(vec![error]));
        }
        Ok(requester)
    }

    pub(super) fn failed(&self, code: Code, message: &str) -> Outcome {
        Outcome::Failed(vec![error_of(code, message, &self.asking.request_id)])
    }
}

/// The name of the one root field (GraphQL, section 5.2.3.1).
fn root_field(operation: &OperationDefinition) -> Option<&str> {
    match operation.selection_set.node.items.as_slice() {
        [one] => match &one.node {
            Selection::Field(field) if field.node.directives.is_empty() => {
                Some(field.node.name.node.as_str())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Runs a step; gives the answer, if it has one.
async fn run(
    holder: &Holder,
    prepared: &Prepared,
    requester: Requester,
    step: Step,
) -> Result<Option<Response>, Outcome> {
    let app = holder.app();
    let turns = Turns::default();
    let loaders = Loaders::new(app, &turns);
    if let Some(actor) = requester.signed_in() {
        loaders.prime(actor).await;
    }
    let client = holder.asking.client.clone();
    let request = prepared
        .clone()
        .into_request(app)
        .data(Caller::new(requester, client, Cookies::default()))
        .data(loaders)
        .data(Executed::default())
        .data(holder.asking.request_id.clone())
        .data(step);
    let mut stream = holder.asking.api.schema.execute_stream(request);
    // A panic costs this subscription, not the others of the connection.
    let resolvers = AssertUnwindSafe(turns.run(stream.next())).catch_unwind();
    match tokio::time::timeout(app.config.request_timeout(), resolvers).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => {
            tracing::error!("A subscription panicked");
            Err(holder.failed(Code::InternalServerError, INTERNAL))
        }
        Err(_) => {
            tracing::warn!("An event was given up: its answer took too long");
            Err(holder.failed(Code::ServiceUnavailable, "The answer took too long."))
        }
    }
}
