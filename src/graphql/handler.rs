//! GraphQL over HTTP: takes requests in, guards the document, runs it and encodes the answer.
//!
//! GET runs queries only, POST takes one JSON object and nothing else, so that no page of another
//! origin can send a mutation without asking first (GraphQL over HTTP; OWASP CSRF cheat sheet).

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{Request, Variables};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use crate::app::App;
use crate::auth::requester::{ClientInfo, Requester};
use crate::error::Error;
use crate::graphql::Api;
use crate::graphql::context::{Caller, Executed, RequestId};
use crate::graphql::cookie::Cookies;
use crate::graphql::document;
use crate::graphql::error::{Code, INTERNAL};
use crate::graphql::loader::Loaders;
use crate::graphql::media::Media;
use crate::graphql::params::{Params, Refused};
use crate::graphql::scan;
use crate::graphql::turn::Turns;
use crate::services::session;

/// Most errors of a document that does not fit the schema; more would only make the answer long.
const MAX_ERRORS: usize = 20;

const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

/// Answers one GraphQL request.
pub async fn graphql(
    State(app): State<App>,
    Extension(api): Extension<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(client): Extension<ClientInfo>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(media) = Media::accepted(&parts.headers) else {
        let message = "Send `Accept: application/graphql-response+json`.";
        let refused = Refused::new(StatusCode::NOT_ACCEPTABLE, Code::BadUserInput, message);
        return refuse(Media::Json, &request_id, refused);
    };
    match answer(&app, &api, &request_id, client, &parts, body).await {
        Ok(answer) => answer.encode(media),
        Err(refused) => refuse(media, &request_id, refused),
    }
}

async fn answer(
    app: &App,
    api: &Api,
    request_id: &RequestId,
    client: ClientInfo,
    parts: &Parts,
    body: Body,
) -> Result<Answer, Refused> {
    let params = Params::read(
        parts,
        body,
        app.config.http.max_body_bytes,
        app.config.request_timeout(),
    )
    .await?;
    let text = params
        .query
        .ok_or_else(|| Refused::parameter("`query` is missing."))?;
    let variables = params.variables.unwrap_or_default();
    let limits = &app.config.limits;
    scan::scan(&text, limits)?;
    refuse_nul(&text, &variables)?;
    let document = parse(&text)?;
    let operation = document::operation(&document, params.operation_name.as_deref())?;
    if parts.method != Method::POST && operation.ty != OperationType::Query {
        let message = "Only POST runs mutations.";
        let refused = Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::MethodNotAllowed,
            message,
        );
        return Err(refused.with(header::ALLOW, "POST"));
    }
    require_variables(operation, &variables)?;
    document::measure(&document, operation, &variables, api.rules(), limits)?;
    let mutation = operation.ty == OperationType::Mutation;
    let caller = caller(app, api, client, &parts.headers, operation).await?;

    let executed = Executed::default();
    let turns = Turns::default();
    let loaders = Loaders::new(app, &turns);
    if let Some(actor) = caller.requester().signed_in() {
        loaders.prime(actor).await;
    }
    let mut request = Request::new(text)
        .variables(Variables::from_json(variables.into()))
        .data(app.clone())
        .data(caller)
        .data(loaders)
        .data(executed.clone())
        .data(request_id.clone());
    request.operation_name = params.operation_name;
    if !app.config.introspection() {
        request = request.disable_introspection();
    }
    request.set_parsed_query(document);
    let response = run(app, api, request, turns).await;
    if mutation {
        // Whoever reads this answer and asks again finds what it says.
        app.access.catch_up().await;
    }
    let response = response?;
    Ok(Answer {
        response,
        executed: executed.get(),
    })
}

/// Runs the request in a task of its own, so that a client that hangs up cuts no transaction in two.
async fn run(
    app: &App,
    api: &Api,
    request: Request,
    turns: Turns,
) -> Result<async_graphql::Response, Refused> {
    let schema = api.schema.clone();
    let resolvers = async move { turns.run(schema.execute(request)).await };
    let mut task = app.tasks.spawn(resolvers.in_current_span());
    match tokio::time::timeout(app.config.request_timeout(), &mut task).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            tracing::error!(error = %error, "A resolver panicked: {error}");
            Err(internal())
        }
        Err(_) => {
            task.abort();
            tracing::warn!(
                "A request was given up after {:?}",
                app.config.request_timeout()
            );
            Err(unavailable("The request took too long."))
        }
    }
}

fn internal() -> Refused {
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::InternalServerError,
        INTERNAL,
    )
}

fn unavailable(message: &str) -> Refused {
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::ServiceUnavailable,
        message,
    )
    .with(header::RETRY_AFTER, "1")
}

fn parse(text: &str) -> Result<ExecutableDocument, Refused> {
    async_graphql::parser::parse_query(text).map_err(|error| {
        // The parser repeats the document, passwords included; its last line says what it expected.
        let error = error.to_string();
        let expected = error
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches([' ', '=']);
        let message = if expected.starts_with("expected ") {
            expected
        } else {
            "The document is not GraphQL."
        };
        Refused::by_graphql(Code::GraphqlParseFailed, message)
    })
}

/// PostgreSQL keeps no U+0000 in text, and no field has a use for it.
fn refuse_nul(text: &str, variables: &Map<String, Value>) -> Result<(), Refused> {
    fn holds_nul(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(holds_nul),
            Value::Object(map) => map
                .iter()
                .any(|(key, value)| key.contains('\0') || holds_nul(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let in_text = text.contains('\0') || text.contains("\\u0000") || text.contains("\\u{0");
    if in_text
        || variables
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value))
    {
        let message = "The character U+0000 is not accepted.";
        return Err(Refused::by_graphql(Code::BadUserInput, message));
    }
    Ok(())
}

fn require_variables(
    operation: &OperationDefinition,
    variables: &Map<String, Value>,
) -> Result<(), Refused> {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        let name = definition.name.node.as_str();
        let compulsory = !definition.var_type.node.nullable && definition.default_value.is_none();
        if compulsory && variables.get(name).is_none_or(Value::is_null) {
            let message = format!("The variable `${name}` is required.");
            return Err(Refused::by_graphql(Code::BadUserInput, message));
        }
    }
    Ok(())
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

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1); an empty one counts as none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

struct Answer {
    response: async_graphql::Response,
    executed: bool,
}

impl Answer {
    fn encode(self, media: Media) -> Response {
        let Self {
            mut response,
            executed,
        } = self;
        let headers = std::mem::take(&mut response.http_headers);
        if executed {
            let body = serde_json::to_vec(&response).unwrap_or_default();
            let mut answer = respond(media, StatusCode::OK, body);
            // Cookies and waits that resolvers have set.
            answer.headers_mut().extend(headers);
            if let Some(wait) = retry_after(&response) {
                answer.headers_mut().insert(header::RETRY_AFTER, wait);
            }
            return answer;
        }
        // Nothing ran, so there is no `data`: the document does not fit the schema.
        let errors: Vec<Value> = response
            .errors
            .iter()
            .take(MAX_ERRORS)
            .map(|error| {
                // The values of variables are checked together with the document they go into.
                let code = if error.message.starts_with("Invalid value for argument") {
                    Code::BadUserInput
                } else {
                    Code::GraphqlValidationFailed
                };
                let extensions = json!({ "code": code.as_str() });
                json!({ "message": error.message, "locations": error.locations, "extensions": extensions })
            })
            .collect();
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

fn refuse(media: Media, RequestId(id): &RequestId, refused: Refused) -> Response {
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
    let mut extensions = json!({ "code": code.as_str() });
    if code == Code::InternalServerError {
        extensions["requestId"] = Value::from(id.as_str());
    }
    let body = json!({ "errors": [{ "message": message, "extensions": extensions }] });
    let mut response = respond(media, status, body.to_string().into_bytes());
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
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
