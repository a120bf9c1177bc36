//! The directives of the schema: who may use a field, and what it costs. What they say is enforced by
//! `access` and `document`, which read them from the SDL.

use async_graphql::TypeDirective;

use crate::models::permission::SystemPermission;

/// Open to callers without a session. Every root field carries exactly one of `@public`,
/// `@requiresSession` and `@requiresPermission`, so an access change is always visible in a schema
/// diff.
#[TypeDirective(location = "FieldDefinition", name = "public")]
pub fn public() {}

/// Needs a live session; without one the code is `UNAUTHENTICATED`. With `recentSignIn` the person must have proved
/// who they are within the last 5 minutes, unless the operator says otherwise, and where signing in asks for a
/// second factor, by that. Otherwise the request fails with the code `REAUTHENTICATION_REQUIRED`, and
/// `extensions.methods` says what `reauthenticate` takes (`PASSKEY`, `PASSWORD`, `TWO_FACTOR_CODE`; `SIGN_IN` where
/// only signing in anew helps). A session without a compulsory second factor fails with the code
/// `TWO_FACTOR_REQUIRED`, unless `beforeSecondFactor` says that it may do this; `extensions.methods` says how to
/// prove it, and is empty where one has to be set up first.
#[TypeDirective(location = "FieldDefinition", name = "requiresSession")]
pub fn requires_session(
    #[graphql(default = false)] recent_sign_in: bool,
    #[graphql(default = false)] before_second_factor: bool,
) {
}

/// Needs a session whose roles grant `permission`; otherwise the code is `FORBIDDEN`. With `orOwner` the person the
/// object belongs to may use the field too, and at the root what the caller may not see is as if it were not there.
/// With `recentSignIn` the person must have proved a short time ago who they are, as for `@requiresSession`.
#[TypeDirective(location = "FieldDefinition", name = "requiresPermission")]
pub fn requires_permission(
    permission: SystemPermission,
    #[graphql(default = false)] or_owner: bool,
    #[graphql(default = false)] recent_sign_in: bool,
) {
}

/// Units that a field costs before its children; 1 when absent. A request may cost 10,000, unless the operator says
/// otherwise; beyond that the code is `QUERY_TOO_COMPLEX`.
#[TypeDirective(location = "FieldDefinition", name = "cost")]
pub fn cost(weight: i32) {}

/// Children of the field cost as often as the page argument says, or `assumedSize` times where none does.
#[TypeDirective(location = "FieldDefinition", name = "listSize")]
pub fn list_size(
    #[graphql(default = 20)] assumed_size: i32,
    #[graphql(default)] slicing_arguments: Vec<String>,
) {
}

/// The arguments that say how long a page is.
#[must_use]
pub fn page_arguments() -> Vec<String> {
    vec!["first".to_owned(), "last".to_owned()]
}
