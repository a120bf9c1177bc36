//! GraphQL over HTTP: takes requests in, guards the document, runs it and encodes the answer.
//!
//! GET runs queries only, POST takes one JSON object and nothing else, so that no page of another
//! origin can send a mutation without asking first (GraphQL over HTTP; OWASP CSRF cheat sheet).

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use async_graphql::Request;
use async_graphql::parser::types::{OperationDefinition, OperationType};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::app::App;
use crate::auth::requester::{ClientInfo, Requester};
use crate::db::Tally;
use crate::error::Error;
use crate::graphql::Api;
use crate::graphql::context::{Caller, Executed, RequestId};
use crate::graphql::cookie::Cookies;
use crate::graphql::document;
use crate::graphql::encode;
use crate::graphql::error::{Code, INTERNAL};
use crate::graphql::known::Known;
use crate::graphql::live::stream::Cut;
use crate::graphql::live::{Asking, socket, stream};
use crate::graphql::loader::Loaders;
use crate::graphql::media::Media;
use crate::graphql::metrics::{Arrived, Outcome};
use crate::graphql::params::{Params, Refused};
use crate::graphql::request::Prepared;
use crate::graphql::turn::Turns;
use crate::services::session;

/// Most errors of a document that does not fit the schema; more would only make the answer long.
pub(super) const MAX_ERRORS: usize = 20;

const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

/// Answers one GraphQL request: a query or a mutation with a JSON object, a subscription with a stream,
/// and the handshake of a WebSocket.
pub async fn graphql(
    State(app): State<App>,
    Extension(api): Extension<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(client): Extension<ClientInfo>,
    request: HttpRequest,
) -> Response {
    let mut arrived = api.operations().arrived();
    let (mut parts, body) = request.into_parts();
    if socket::is_asked_for(&parts) {
        let asking = Asking {
            app,
            api,
            request_id: request_id.clone(),
            client,
        };
        let answered = Box::pin(socket::open(asking, &mut parts)).await;
        arrived.answered(match &answered {
            Ok(_) => Outcome::OK,
            Err(refused) => refused.code.into(),
        });
        return answered.unwrap_or_else(|refused| refuse(Media::Json, &request_id, refused));
    }
    let media = Media::accepted(&parts.headers);
    if media.is_none() && !Media::takes_events(&parts.headers) {
        let refused = not_acceptable();
        arrived.answered(refused.code.into());
        return refuse(Media::Json, &request_id, refused);
    }
    // Where only a stream is taken, what goes wrong before it begins still has a form.
    let written = media.unwrap_or(Media::GraphqlResponse);
    let asking = Asking {
        app,
        api,
        request_id: request_id.clone(),
        client,
    };
    // Boxed: every layer around it would move its seven kilobytes.
    let answered = Box::pin(answer(asking, &parts, body, media, &mut arrived)).await;
    let (outcome, response) = match answered {
        Ok(Answered::Once(answer)) => {
            let outcome = Outcome::of(&answer.response, &answer.executed);
            (outcome, answer.encode(written))
        }
        Ok(Answered::Stream(stream)) => (Outcome::OK, stream),
        Err(refused) => {
            let outcome = refused.code.into();
            (outcome, refuse(written, &request_id, refused))
        }
    };
    arrived.answered(outcome);
    response
}

enum Answered {
    Once(Answer),
    Stream(Response),
}

fn not_acceptable() -> Refused {
    let message = "Send `Accept: application/graphql-response+json`.";
    Refused::new(StatusCode::NOT_ACCEPTABLE, Code::BadUserInput, message)
}

/// Whether an operation of this kind may come by this request.
fn allowed(parts: &Parts, media: Option<Media>, kind: OperationType) -> Result<(), Refused> {
    if kind == OperationType::Subscription && !Media::takes_events(&parts.headers) {
        let message = "Subscriptions come as `text/event-stream`, to POST with that in `Accept`, or over a WebSocket \
            with the sub-protocol `graphql-transport-ws`.";
        let status = StatusCode::NOT_ACCEPTABLE;
        return Err(Refused {
            by_graphql: true,
            ..Refused::new(status, Code::BadUserInput, message)
        });
    }
    if kind != OperationType::Subscription && media.is_none() {
        return Err(not_acceptable());
    }
    if parts.method != Method::POST && kind != OperationType::Query {
        let message = "Only POST runs mutations and subscriptions.";
        let refused = Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::MethodNotAllowed,
            message,
        );
        return Err(refused.with(header::ALLOW, "POST"));
    }
    Ok(())
}

async fn answer(
    asking: Asking,
    parts: &Parts,
    body: Body,
    media: Option<Media>,
    arrived: &mut Arrived,
) -> Result<Answered, Refused> {
    let Asking { app, api, .. } = &asking;
    let params = Params::read(
        parts,
        body,
        app.config.http.max_body_bytes,
        app.config.request_timeout(),
    )
    .await?;
    arrived.is_read();
    let prepared = Prepared::new(app, api, params, |kind| allowed(parts, media, kind))?;
    arrived.asks_for(prepared.place_in(api.operations()));
    let span = arrived.span().clone();
    // Where it stands: it is large, and would be copied into what enters the span.
    let work = pin!(carry_out(asking, parts, prepared, arrived));
    work.instrument(span).await
}

/// Runs what may be run.
async fn carry_out(
    asking: Asking,
    parts: &Parts,
    mut prepared: Prepared,
    arrived: &Arrived,
) -> Result<Answered, Refused> {
    let Asking {
        app,
        api,
        request_id,
        client,
    } = &asking;
    let operation = prepared.operation();
    let kind = operation.ty;
    let caller = caller(app, api, client.clone(), &parts.headers, operation);
    let caller = arrived.statements().of(caller);
    let caller = tokio::time::timeout(app.config.request_timeout(), caller).await;
    let caller = caller.map_err(|_| unavailable("The request took too long."))??;
    prepared.sent_by(app, api, caller.requester())?;
    if kind == OperationType::Subscription {
        let cut = parts.extensions.get::<Cut>().cloned();
        let stream = stream::open(asking, prepared, &caller, cut).await?;
        return Ok(Answered::Stream(stream));
    }

    let executed = Executed::default();
    let turns = Turns::default();
    let actor = caller.requester().signed_in();
    let mut loaders = Loaders::new(app, &turns, kind == OperationType::Query, actor);
    if let Some(known) = parts.extensions.get::<Known>() {
        loaders.know_all(known).await;
    }
    let request = prepared
        .into_request(app)
        .data(caller)
        .data(loaders)
        .data(executed.clone())
        .data(request_id.clone());
    let response = run(app, api, request, turns, arrived.statements()).await;
    if kind == OperationType::Mutation {
        // Whoever reads this answer and asks again finds what it says.
        app.access.catch_up().await;
    }
    let response = response?;
    Ok(Answered::Once(Answer { response, executed }))
}

/// Runs the request to its end, even where the client hangs up: no transaction is cut in two, and no connection given
/// back with a statement under way.
async fn run(
    app: &App,
    api: &Api,
    request: Request,
    turns: Turns,
    statements: &Tally,
) -> Result<async_graphql::Response, Refused> {
    let (api, patience) = (api.clone(), app.config.request_timeout());
    let resolvers = async move { turns.run(api.execute(request)).await };
    let resolvers = statements.of(resolvers);
    let bounded = async move {
        tokio::time::timeout(patience, AssertUnwindSafe(resolvers).catch_unwind()).await
    };
    let ran = RunsOn {
        rest: Some(bounded.in_current_span().boxed()),
        tasks: app.tasks.clone(),
    };
    match ran.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => {
            tracing::error!("A resolver panicked");
            Err(internal())
        }
        Err(_) => {
            tracing::warn!("A request was given up after {patience:?}");
            Err(unavailable("The request took too long."))
        }
    }
}

/// Runs on as a task of its own when it is dropped before its end.
struct RunsOn<T: Send + 'static> {
    rest: Option<BoxFuture<'static, T>>,
    tasks: TaskTracker,
}

impl<T: Send + 'static> Future for RunsOn<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(rest) = &mut self.rest else {
            return Poll::Pending;
        };
        let output = std::task::ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for RunsOn<T> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.rest.take(), Handle::try_current()) {
            self.tasks.spawn_on(rest.map(drop), &runtime);
        }
    }
}

pub(super) fn internal() -> Refused {
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::InternalServerError,
        INTERNAL,
    )
}

pub(super) fn unavailable(message: &str) -> Refused {
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::ServiceUnavailable,
        message,
    )
    .with(header::RETRY_AFTER, "1")
}

/// Who sends the request.
///
/// An access token that is not good is refused with 401, so that clients learn at once that they
/// have to refresh it. Only where nothing but open mutations is asked, as for signing in and
/// refreshing itself, it counts as none.
async fn caller(
    app: &App,
    api: &Api,
    client: ClientInfo,
    headers: &HeaderMap,
    operation: &OperationDefinition,
) -> Result<Caller, Refused> {
    let cookies = Cookies::read(headers, &app.config)?;
    let Some(token) = bearer(headers).or(cookies.access()) else {
        return Ok(Caller::new(Requester::Anonymous, client, cookies));
    };
    match session::authenticate(app, &client, token).await {
        Ok(Some(requester)) => Ok(Caller::new(requester, client, cookies)),
        Ok(None) if document::is_public(operation, api.rules()) => {
            let lapsed = app.keys.verify_lapsed(token, app.now());
            let caller = Caller::new(Requester::Anonymous, client, cookies);
            Ok(caller.with_lapsed(lapsed.map(|claims| claims.sid)))
        }
        Ok(None) => {
            let message = "The access token is unknown, past its end, or its session has ended.";
            let refused = Refused::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message);
            Err(refused.with(header::WWW_AUTHENTICATE, CHALLENGE))
        }
        Err(Error::Internal(cause)) => {
            tracing::error!(error = ?cause, "The caller could not be told: {cause}");
            Err(internal())
        }
        Err(_) => Err(unavailable("Not available now. Try again later.")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    token_of(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// The token of `Bearer …` (RFC 6750, section 2.1); an empty one counts as none.
pub(super) fn token_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

struct Answer {
    response: async_graphql::Response,
    executed: Executed,
}

impl Answer {
    fn encode(self, media: Media) -> Response {
        let Self {
            mut response,
            executed,
        } = self;
        let headers = std::mem::take(&mut response.http_headers);
        if executed.get() {
            let body = encode::response(&response);
            let mut answer = respond(media, StatusCode::OK, body);
            // Cookies and waits that resolvers have set.
            answer.headers_mut().extend(headers);
            if let Some(wait) = retry_after(&response) {
                answer.headers_mut().insert(header::RETRY_AFTER, wait);
            }
            return answer;
        }
        // Nothing ran, so there is no `data`: the document does not fit the schema.
        let errors: Vec<Value> = response.errors.iter().take(MAX_ERRORS).map(unfit).collect();
        let status = if media == Media::Json {
            StatusCode::OK
        } else {
            StatusCode::BAD_REQUEST
        };
        respond(
            media,
            status,
            json!({ "errors": errors }).to_string().into_bytes(),
        )
    }
}

/// The code of an error of a document that does not fit the schema.
pub(super) fn unfit_code(error: &async_graphql::ServerError) -> Code {
    // The values of variables are checked together with the document they go into.
    if error.message.starts_with("Invalid value for ") {
        Code::BadUserInput
    } else {
        Code::GraphqlValidationFailed
    }
}

/// What is said of a document that does not fit the schema.
pub(super) fn unfit(error: &async_graphql::ServerError) -> Value {
    let extensions = json!({ "code": unfit_code(error).as_str() });
    json!({ "message": error.message, "locations": error.locations, "extensions": extensions })
}

/// The longest wait that an error of the answer names, for the header.
fn retry_after(response: &async_graphql::Response) -> Option<HeaderValue> {
    let wait =
        |error: &async_graphql::ServerError| match error.extensions.as_ref()?.get("retryAfter")? {
            async_graphql::Value::Number(seconds) => seconds.as_u64(),
            _ => None,
        };
    response
        .errors
        .iter()
        .filter_map(wait)
        .max()
        .map(HeaderValue::from)
}

fn refuse(media: Media, id: &RequestId, refused: Refused) -> Response {
    let Refused {
        status,
        by_graphql,
        code,
        message,
        header,
    } = refused;
    // In the old media type, 200 is for every well-formed request, whatever GraphQL says of it.
    let status = if media == Media::Json && by_graphql {
        StatusCode::OK
    } else {
        status
    };
    let body = json!({ "errors": [error_of(code, &message, id)] });
    let mut response = respond(media, status, body.to_string().into_bytes());
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// An error of the list `errors`.
pub(super) fn error_of(code: Code, message: &str, RequestId(id): &RequestId) -> Value {
    let mut extensions = json!({ "code": code.as_str() });
    if code == Code::InternalServerError {
        extensions["requestId"] = Value::from(id.as_str());
    }
    json!({ "message": message, "extensions": extensions })
}

fn respond(media: Media, status: StatusCode, body: Vec<u8>) -> Response {
    let vary = HeaderValue::from_static("Accept, Authorization, Cookie, Origin");
    let content_type = HeaderValue::from_static(media.content_type());
    (
        status,
        [(header::CONTENT_TYPE, content_type), (header::VARY, vary)],
        body,
    )
        .into_response()
}
