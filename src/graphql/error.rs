//! How failures reach clients: which code, which words, and never a cause. The last net lies in `access`.

use async_graphql::{Context, ErrorExtensionValues, Value};

use crate::error::{Error, Result, UserError, seconds_up};
use crate::graphql::context::Executed;

/// The field of `extensions` that tells the code.
pub const CODE: &str = "code";

/// Codes of the top-level `errors` list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A request parameter or an argument is malformed.
    BadUserInput,
    /// The caller may not do this.
    Forbidden,
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// A fault of the server; `requestId` names the log lines.
    InternalServerError,
    /// The method does not fit the operation.
    MethodNotAllowed,
    /// No operation, or more than one, is meant.
    OperationResolutionFailure,
    /// No trusted document has this id.
    PersistedQueryNotFound,
    /// Nothing but trusted documents is run.
    PersistedQueryOnly,
    /// The document is larger, deeper or costlier than allowed.
    QueryTooComplex,
    /// Too busy; `retryAfter` says when to come back.
    RateLimited,
    /// The person has to prove again to be at the keyboard; `reauthenticate` does it.
    ReauthenticationRequired,
    /// The server cannot reach its database, or took too long.
    ServiceUnavailable,
    /// A second factor is compulsory, and the session has proved none; `extensions.methods` says how it
    /// can be proved with `reauthenticate`, and is empty where one has to be set up first.
    TwoFactorRequired,
    /// No session, or an access token that is good no more.
    Unauthenticated,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::BadUserInput,
        Self::Forbidden,
        Self::GraphqlParseFailed,
        Self::GraphqlValidationFailed,
        Self::InternalServerError,
        Self::MethodNotAllowed,
        Self::OperationResolutionFailure,
        Self::PersistedQueryNotFound,
        Self::PersistedQueryOnly,
        Self::QueryTooComplex,
        Self::RateLimited,
        Self::ReauthenticationRequired,
        Self::ServiceUnavailable,
        Self::TwoFactorRequired,
        Self::Unauthenticated,
    ];

    /// The code as clients read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::Forbidden => "FORBIDDEN",
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::OperationResolutionFailure => "OPERATION_RESOLUTION_FAILURE",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::PersistedQueryOnly => "PERSISTED_QUERY_ONLY",
            Self::QueryTooComplex => "QUERY_TOO_COMPLEX",
            Self::RateLimited => "RATE_LIMITED",
            Self::ReauthenticationRequired => "REAUTHENTICATION_REQUIRED",
            Self::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            Self::TwoFactorRequired => "TWO_FACTOR_REQUIRED",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// What is said of every internal error.
pub const INTERNAL: &str = "Internal server error.";

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            // A service that refuses belongs behind `settle`; a query has no payload to put it in.
            Error::Refused(errors) => (Code::BadUserInput, refusal(errors)),
            Error::Unauthenticated => (Code::Unauthenticated, "Sign in first.".to_owned()),
            Error::TwoFactorRequired(methods) => (
                Code::TwoFactorRequired,
                if methods.is_empty() {
                    "Set up a second factor first: it is compulsory for this account."
                } else {
                    "Prove the second factor first: it is compulsory for this account."
                }
                .to_owned(),
            ),
            Error::ReauthenticationRequired(_) => (
                Code::ReauthenticationRequired,
                "Prove again who you are first.".to_owned(),
            ),
            Error::Forbidden => (Code::Forbidden, "You may not do this.".to_owned()),
            Error::ForbiddenSo(message) => (Code::Forbidden, (*message).to_owned()),
            Error::BadInput(message) => (Code::BadUserInput, message.clone()),
            Error::RateLimited(_) => (Code::RateLimited, "Too busy. Try again later.".to_owned()),
            Error::Unavailable => (
                Code::ServiceUnavailable,
                "Not available now. Try again later.".to_owned(),
            ),
            Error::Internal(cause) => {
                tracing::error!(error = ?cause, "A request failed: {cause}");
                (Code::InternalServerError, INTERNAL.to_owned())
            }
        };
        let mut extensions = ErrorExtensionValues::default();
        extensions.set(CODE, code.as_str());
        if let Error::ReauthenticationRequired(methods) | Error::TwoFactorRequired(methods) = &error
        {
            let names = methods.iter().map(|method| Value::from(method.as_str()));
            extensions.set("methods", Value::List(names.collect()));
        }
        if let Error::RateLimited(wait) = error {
            extensions.set("retryAfter", seconds_up(wait));
        }
        Self {
            message,
            source: None,
            extensions: Some(extensions),
        }
    }
}

fn refusal(errors: &[UserError]) -> String {
    let message = UserError::sentence;
    errors.iter().map(message).collect::<Vec<_>>().join(" ")
}

/// Parts what a payload tells from what fails the field. A wait goes into the header `Retry-After`, too.
///
/// # Errors
/// Everything but a refusal.
pub fn settle<T>(ctx: &Context<'_>, result: Result<T>) -> Result<(Option<T>, Vec<UserError>)> {
    match result {
        Ok(value) => Ok((Some(value), Vec::new())),
        Err(Error::Refused(errors)) => {
            if let (Ok(executed), Some(first)) = (ctx.data::<Executed>(), errors.first()) {
                executed.refused(first.reason());
            }
            for error in &errors {
                if let UserError::TooManyAttempts(error) = error {
                    ctx.insert_http_header("retry-after", error.retry_after_seconds.to_string());
                }
            }
            Ok((None, errors))
        }
        Err(error) => Err(error),
    }
}
