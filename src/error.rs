//! What can go wrong, in the words of the API. It says nothing of how an answer is encoded.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Enum, Interface, SimpleObject};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};
use serde::{Deserialize, Serialize};

/// The result of services and resolvers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation was not carried out.
///
/// It has no `Display` on purpose: async-graphql turns every displayable error into text for the
/// client, so that one `?` would publish what a database says. What a client may read of each
/// variant is decided in `graphql::error`.
#[derive(Clone, Debug)]
pub enum Error {
    /// The input or the state of the account does not allow it; goes into the payload's `errors`.
    Refused(Vec<UserError>),
    /// Needs a session.
    Unauthenticated,
    /// Needs a session whose owner proved to be at the keyboard a short time ago, in one of these ways.
    ReauthenticationRequired(Vec<Proof>),
    /// Needs a session that proved a second factor, in one of these ways; with none of them it has to be
    /// set up first.
    TwoFactorRequired(Vec<Proof>),
    /// The caller may not do this.
    Forbidden,
    /// The caller may do this, but not in this way.
    ForbiddenSo(&'static str),
    /// An argument of a query is malformed.
    BadInput(String),
    /// Too busy; try again after this time.
    RateLimited(Duration),
    /// The database cannot be reached or answers too slowly.
    Unavailable,
    /// Anything else. The cause is for the log.
    Internal(Arc<anyhow::Error>),
}

/// A way for a signed-in person to prove anew who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A passkey of the account.
    Passkey,
    /// The password.
    Password,
    /// Signing in anew: the account has nothing else to prove.
    SignIn,
    /// A code of the second factor, or a recovery code.
    TwoFactorCode,
}

impl Proof {
    /// The name that clients read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passkey => "PASSKEY",
            Self::Password => "PASSWORD",
            Self::SignIn => "SIGN_IN",
            Self::TwoFactorCode => "TWO_FACTOR_CODE",
        }
    }
}

impl Error {
    /// An internal error with its cause.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(Arc::new(cause.into()))
    }
}

impl Error {
    /// The same refusal of an input that is the field `field` of the input.
    #[must_use]
    pub fn below(self, field: &str) -> Self {
        match self {
            Self::Refused(errors) => {
                Self::Refused(errors.into_iter().map(|error| error.below(field)).collect())
            }
            other => other,
        }
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        Self::Refused(vec![error])
    }
}

impl From<anyhow::Error> for Error {
    fn from(cause: anyhow::Error) -> Self {
        Self::internal(cause)
    }
}

impl From<diesel::result::Error> for Error {
    fn from(cause: diesel::result::Error) -> Self {
        use diesel::result::Error::DatabaseError;
        match cause {
            DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::UnableToSendCommand,
                _,
            ) => {
                tracing::warn!(error = %cause, "The database connection cannot serve: {cause}");
                Self::Unavailable
            }
            // The account was erased while this was on its way: whoever tries again hears that.
            DatabaseError(DatabaseErrorKind::ForeignKeyViolation, ref info)
                if info
                    .constraint_name()
                    .is_some_and(|name| name.ends_with("_user_id_fkey")) =>
            {
                Self::Unavailable
            }
            // Time-outs, deadlocks and full disks reach diesel as text only. Whoever tries again may be luckier.
            DatabaseError(ref kind, ref info)
                if matches!(kind, DatabaseErrorKind::SerializationFailure)
                    || is_bad_luck(info.as_ref()) =>
            {
                tracing::warn!(error = %cause, "The database did not finish: {cause}");
                Self::Unavailable
            }
            _ => Self::internal(cause),
        }
    }
}

fn is_bad_luck(info: &(dyn DatabaseErrorInformation + Send + Sync)) -> bool {
    let message = info.message();
    message.starts_with("canceling statement due to")
        || message.starts_with("terminating connection due to")
        || message == "deadlock detected"
        || message.ends_with(": No space left on device")
        || message.starts_with("out of memory")
        || message.starts_with("out of shared memory")
        // PgBouncer, where it stops, or PostgreSQL behind it is away or busy.
        || message == "server shutting down"
        || message == "server conn crashed?"
        || message == "query_wait_timeout"
        || message.starts_with("server login has been failing")
}

/// Says what a broken constraint means, where the statement stands that may break it.
pub trait OnConstraint<T> {
    /// Turns a violation of the constraint `name` into `refusal`; other errors pass.
    ///
    /// # Errors
    /// `refusal`, or what the database said.
    fn on_constraint(self, name: &str, refusal: impl FnOnce() -> UserError) -> Result<T>;
}

impl<T> OnConstraint<T> for diesel::QueryResult<T> {
    fn on_constraint(self, name: &str, refusal: impl FnOnce() -> UserError) -> Result<T> {
        match self {
            Err(diesel::result::Error::DatabaseError(_, info))
                if info.constraint_name() == Some(name) =>
            {
                Err(refusal().into())
            }
            other => Ok(other?),
        }
    }
}

/// Reasons a mutation may refuse its input.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserErrorCode {
    /// The account is closed or being erased. Where its owner may open it again, a link was mailed.
    AccountUnavailable,
    /// The password, or the name it came with, is wrong. Which of the two is never said.
    InvalidCredentials,
    /// The value breaks a rule; `InvalidValueError` names it.
    InvalidValue,
    /// The thing named in the input does not exist or is not visible to the caller.
    NotFound,
    /// What must stay would go, e.g. the last administrator or the only way in; or it is the caller's own account.
    Protected,
    /// Refused for a reason not listed here; `message` says which.
    Rejected,
    /// Another object already uses the value.
    Taken,
    /// The code, token or passkey is wrong, unknown, used up or past its end.
    TokenRejected,
    /// Too many tries; wait for `TooManyAttemptsError.retryAfterSeconds`.
    TooManyAttempts,
}

/// Something about the input or the state of the account that the person in front of the screen can act on.
/// Mutations return these in `errors`. Everything else (no session, no permission, a busy server, a malformed
/// request, a server fault) arrives in the top-level `errors` list with `extensions.code`.
#[derive(Interface, Clone, Debug, Serialize, Deserialize)]
#[graphql(
    field(
        name = "code",
        ty = "&UserErrorCode",
        desc = "For program logic. New codes may be added; treat an unknown one like `REJECTED`."
    ),
    field(
        name = "message",
        ty = "&String",
        desc = "One English sentence, safe to show."
    ),
    field(
        name = "path",
        ty = "&Vec<String>",
        desc = "Path of the argument at fault, e.g. `[\"input\", \"email\"]`; empty when none is."
    )
)]
pub enum UserError {
    /// A value was refused by a rule.
    InvalidValue(InvalidValueError),
    /// The caller has to wait.
    TooManyAttempts(TooManyAttemptsError),
    /// Anything else.
    General(GeneralError),
}

/// A value was refused by a rule. A form with several bad values gets an error for each.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct InvalidValueError {
    /// Always `INVALID_VALUE`.
    pub code: UserErrorCode,
    /// Largest accepted value, where the rule has one: characters (Unicode code points) of a text, elements of a
    /// list, bytes of JSON.
    pub maximum: Option<i32>,
    /// One English sentence, safe to show.
    pub message: String,
    /// Smallest accepted value, where the rule has one; for `MINIMUM_AGE` in years.
    pub minimum: Option<i32>,
    /// Path of the argument at fault.
    pub path: Vec<String>,
    /// Name of the rule, e.g. `LENGTH`, `FORMAT`, `REQUIRED`, `RANGE`, `LIST_LENGTH`, `PASSWORD_DIGIT`. New ones
    /// may be added.
    pub rule: String,
}

/// The caller has to wait before trying again.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct TooManyAttemptsError {
    /// Always `TOO_MANY_ATTEMPTS`.
    pub code: UserErrorCode,
    /// One English sentence, safe to show.
    pub message: String,
    /// Empty: no argument is at fault.
    pub path: Vec<String>,
    /// Seconds until the next try can succeed.
    pub retry_after_seconds: i32,
}

/// A refusal that carries nothing beyond its code.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct GeneralError {
    /// For program logic.
    pub code: UserErrorCode,
    /// One English sentence, safe to show.
    pub message: String,
    /// Path of the argument at fault; empty when none is.
    pub path: Vec<String>,
}

impl UserError {
    /// Why it was refused.
    #[must_use]
    pub fn reason(&self) -> UserErrorCode {
        match self {
            Self::InvalidValue(error) => error.code,
            Self::TooManyAttempts(error) => error.code,
            Self::General(error) => error.code,
        }
    }

    /// One English sentence about it.
    #[must_use]
    pub fn sentence(&self) -> &str {
        match self {
            Self::InvalidValue(error) => &error.message,
            Self::TooManyAttempts(error) => &error.message,
            Self::General(error) => &error.message,
        }
    }

    /// Path of the argument at fault; empty when none is.
    #[must_use]
    pub fn place(&self) -> &[String] {
        match self {
            Self::InvalidValue(error) => &error.path,
            Self::TooManyAttempts(error) => &error.path,
            Self::General(error) => &error.path,
        }
    }

    /// The same refusal of an input that is the field `field` of the input.
    #[must_use]
    pub fn below(mut self, field: &str) -> Self {
        let path = match &mut self {
            Self::InvalidValue(error) => &mut error.path,
            Self::TooManyAttempts(error) => &mut error.path,
            Self::General(error) => &mut error.path,
        };
        if !path.is_empty() {
            path.insert(1, field.to_owned());
        }
        self
    }

    /// A refusal without a path.
    pub fn new(code: UserErrorCode, message: impl Into<String>) -> Self {
        Self::at(code, &[], message)
    }

    /// A refusal of the argument at `path`.
    pub fn at(code: UserErrorCode, path: &[&str], message: impl Into<String>) -> Self {
        Self::General(GeneralError {
            code,
            message: message.into(),
            path: owned(path),
        })
    }

    /// A value that breaks `rule`; the bounds are inclusive.
    pub fn invalid(
        path: &[&str],
        rule: &str,
        (minimum, maximum): (Option<usize>, Option<usize>),
        message: impl Into<String>,
    ) -> Self {
        let bound = |bound: Option<usize>| bound.and_then(|bound| i32::try_from(bound).ok());
        Self::InvalidValue(InvalidValueError {
            code: UserErrorCode::InvalidValue,
            maximum: bound(maximum),
            message: message.into(),
            minimum: bound(minimum),
            path: owned(path),
            rule: rule.to_owned(),
        })
    }

    /// A value that has the wrong form.
    pub fn format(path: &[&str], message: impl Into<String>) -> Self {
        Self::invalid(path, "FORMAT", (None, None), message)
    }

    /// The caller has to wait for `wait`, told in whole seconds and never as less than one.
    #[must_use]
    pub fn too_many_attempts(wait: Duration) -> Self {
        let seconds = seconds_up(wait);
        Self::TooManyAttempts(TooManyAttemptsError {
            code: UserErrorCode::TooManyAttempts,
            message: format!("Too many tries. Try again in {seconds} s."),
            path: Vec::new(),
            retry_after_seconds: seconds,
        })
    }
}

/// Whole seconds, rounded up, at least one.
#[must_use]
pub fn seconds_up(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|part| (*part).to_owned()).collect()
}
