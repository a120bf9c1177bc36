//! One subscription of a connection: it begins, and answers each event with a run of its own, as the caller is
//! then and with data of then. How the answers travel is the transport's business.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{OperationDefinition, Selection};
use async_graphql::{Response, ServerError};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tracing::Instrument as _;

use crate::auth::requester::Requester;
use crate::error::Error;
use crate::graphql::access::{admit, publishable};
use crate::graphql::context::{Caller, Executed};
use crate::graphql::cookie::Cookies;
use crate::graphql::encode;
use crate::graphql::error::{Code, INTERNAL};
use crate::graphql::handler::{MAX_ERRORS, error_of, unfit};
use crate::graphql::live::{Ending, Holder, LAST_WORD};
use crate::graphql::loader::Loaders;
use crate::graphql::metrics::{self, Following};
use crate::graphql::request::Prepared;
use crate::graphql::subscription::{ReadBefore, Source, Step};
use crate::graphql::turn::Turns;
use crate::graphql::witness::Witness;
use crate::live::events::{Event, Follower, Topic};
use crate::services::audit::{AuditAction, Entry};

/// A subscription that is followed.
pub(super) struct Operation {
    holder: Arc<Holder>,
    prepared: Prepared,
    field: String,
    source: Source,
    follower: Follower,
    following: Following,
    /// The caller as last looked up.
    requester: Requester,
    /// Of a follower of the audit trail.
    read_before: Option<ReadBefore>,
    /// The caller is to be looked up.
    unsure: bool,
    /// It has told of the end of its own session.
    told: bool,
    over: bool,
}

/// What came of waiting for an event.
pub(super) enum Outcome {
    /// An answer for the client, as JSON.
    Next(String),
    /// The operation is over, for these reasons.
    Failed(Vec<Value>),
    /// The connection is.
    Ended(Ending),
}

impl Outcome {
    /// What it is counted as where it comes in the place of a beginning.
    pub(super) fn counts_as(&self) -> metrics::Outcome {
        match self {
            Self::Next(_) => metrics::Outcome::OK,
            Self::Failed(errors) => {
                let code = errors.first().map(|error| &error["extensions"]["code"]);
                metrics::Outcome::of_code(code.and_then(Value::as_str))
            }
            Self::Ended(Ending::Session) => Code::Unauthenticated.into(),
            Self::Ended(Ending::TwoFactor) => Code::TwoFactorRequired.into(),
            Self::Ended(_) => Code::ServiceUnavailable.into(),
        }
    }
}

impl Operation {
    /// Begins to follow what the operation asks for.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn begin(
        holder: &Arc<Holder>,
        mut prepared: Prepared,
    ) -> Result<Self, Outcome> {
        let field = root_field(prepared.operation())
            .ok_or_else(|| {
                let message = "A subscription has one field, without a fragment around it or directives on it.";
                holder.failed(Code::GraphqlValidationFailed, message)
            })?
            .to_owned();
        let requester = match holder.admitted(&field).await {
            Err(refused @ Outcome::Failed(_)) => {
                holder.note_refused(&field).await?;
                return Err(refused);
            }
            admitted => admitted?,
        };
        let sent = prepared.sent_by(holder.app(), &holder.asking.api, &requester);
        sent.map_err(|refused| holder.failed(refused.code, &refused.message))?;
        let operations = holder.asking.api.operations();
        let following = operations.following(prepared.place_in(operations));
        let begun = Arc::new(Mutex::new(None));
        let step = Step::Begin(Arc::clone(&begun));
        let response = run(holder, &prepared, requester.clone(), step, None);
        let response = following.statements().of(response).await?;
        if let Some(response) = response {
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
        if source.topic == Topic::Audit {
            holder.note_following(&requester).await?;
        }
        let follows = source.topic == Topic::Audit;
        let read_before = follows.then(ReadBefore::default);
        let topics = [source.topic, Topic::Account(holder.user)];
        let follower = holder.app().live.events.follow(&topics);
        Ok(Self {
            holder: Arc::clone(holder),
            prepared,
            field,
            source,
            follower,
            following,
            requester,
            read_before,
            // What changed before it followed.
            unsure: true,
            told: false,
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
                let admitted = {
                    // In turn: when permissions change, everybody asks at once.
                    let _turn = self.holder.app().live.answering.acquire().await;
                    self.holder.admitted(&self.field).await
                };
                match admitted {
                    Err(Outcome::Ended(Ending::Session)) => return self.last_word().await,
                    admitted => self.requester = admitted?,
                }
                self.unsure = false;
            }
            match self.follower.next().await {
                None => return Err(Outcome::Ended(Ending::Lagged)),
                // Entries of the audit trail; the others have their connection ended.
                Some(Event::LineLost) => return Err(Outcome::Ended(Ending::LineLost)),
                Some(Event::AccessChanged) => self.unsure = true,
                Some(event) if (self.source.takes)(&event) => match self.answer(event).await {
                    Err(Outcome::Ended(Ending::Session)) => return self.last_word().await,
                    Err(outcome) => return Err(outcome),
                    Ok(Some(answer)) => return Ok(Outcome::Next(answer)),
                    Ok(None) => {}
                },
                Some(_) => {}
            }
        }
    }

    /// The session is over. Whoever follows that is told of it once, if it is told at all.
    async fn last_word(&mut self) -> Result<Outcome, Outcome> {
        let session = self.holder.session;
        let (source, follower) = (&self.source, &mut self.follower);
        let own = async {
            loop {
                match follower.next().await {
                    Some(Event::SessionEnded(ended)) if ended.id == session => {
                        let event = Event::SessionEnded(ended);
                        if (source.takes)(&event) {
                            return event;
                        }
                    }
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        if !self.told
            && let Ok(event) = tokio::time::timeout(LAST_WORD, own).await
            && let Some(answer) = self.answer(event).await?
        {
            return Ok(Outcome::Next(answer));
        }
        Err(Outcome::Ended(Ending::Session))
    }

    async fn answer(&mut self, event: Event) -> Result<Option<String>, Outcome> {
        let _turn = self.holder.app().live.answering.acquire().await;
        // Of its own end the session is still told.
        let last = matches!(&event, Event::SessionEnded(ended) if ended.id == self.holder.session);
        self.told |= last;
        if !last {
            self.requester = self.holder.admitted(&self.field).await?;
        }
        let step = Step::Answer(event);
        let (requester, read_before) = (self.requester.clone(), self.read_before.clone());
        let response = run(&self.holder, &self.prepared, requester, step, read_before);
        let response = self.following.statements().of(response);
        let response = response.instrument(self.following.span()).await?;
        let json = response.map(|response| encode::response(&response));
        Ok(json.map(|json| String::from_utf8_lossy(&json).into_owned()))
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

    /// Writes down that somebody follows the audit trail.
    async fn note_following(&self, requester: &Requester) -> Result<(), Outcome> {
        let noted = async {
            let entry = Entry::by(requester.actor()?, AuditAction::PersonalDataRead);
            let entry = entry.with("subscription", "auditEventAdded");
            let conn = &mut *self.app().db.conn().await?;
            entry.record(self.app(), conn).await
        };
        noted.await.map_err(|error| self.not_noted(&error))
    }

    /// Writes down that somebody may not follow a field.
    async fn note_refused(&self, field: &str) -> Result<(), Outcome> {
        let requester = self.requester().await.map_err(Outcome::Ended)?;
        let Some(actor) = requester.signed_in() else {
            return Ok(());
        };
        let witness = Witness::default();
        witness.denied("Subscription", field);
        let noted = witness.testify(self.app(), actor).await;
        noted.map_err(|error| self.not_noted(&error))
    }

    fn not_noted(&self, error: &Error) -> Outcome {
        tracing::error!(error = ?error, "What is followed could not be written down");
        self.failed(Code::InternalServerError, INTERNAL)
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
    read_before: Option<ReadBefore>,
) -> Result<Option<Response>, Outcome> {
    let app = holder.app();
    let turns = Turns::default();
    // An event is told because something has changed: nothing that is remembered will do.
    let loaders = Loaders::new(app, &turns, false, None);
    let client = holder.asking.client.clone();
    let mut request = prepared
        .clone()
        .into_request(app)
        .data(Caller::new(requester, client, Cookies::default()))
        .data(loaders)
        .data(Executed::default())
        .data(holder.asking.request_id.clone())
        .data(step);
    if let Some(read_before) = read_before {
        request = request.data(read_before);
    }
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
