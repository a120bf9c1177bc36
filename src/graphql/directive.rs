//! The directives of the schema: who may use a field, and what it costs. What they say is enforced by
//! `access` and `document`, which read them from the SDL.

use async_graphql::TypeDirective;

use crate::models::permission::SystemPermission;

/// Open to callers without a session. Every root field carries exactly one of `@public`,
/// `@requiresSession` and `@requiresPermission`, so an access change is always visible in a schema
/// diff.
#[TypeDirective(location = "FieldDefinition", name = "public")]
pub fn public() {}

/// Needs a live session. With `recentSignIn` the person must have proved within the re-authentication
/// window who they are, where the second factor is on by that; otherwise the request fails with the code
/// `REAUTHENTICATION_REQUIRED`, and `extensions.methods` says what `reauthenticate` takes. A session
/// without a compulsory second factor fails with the code `TWO_FACTOR_REQUIRED`, unless
/// `beforeSecondFactor` says that it may do this.
#[TypeDirective(location = "FieldDefinition", name = "requiresSession")]
pub fn requires_session(
    #[graphql(default = false)] recent_sign_in: bool,
    #[graphql(default = false)] before_second_factor: bool,
) {
}

/// Needs a session whose roles grant `permission`. With `orOwner` the person the object belongs to
/// may use the field too. With `recentSignIn` the person must have proved a short time ago who they are,
/// as for `@requiresSession`.
#[TypeDirective(location = "FieldDefinition", name = "requiresPermission")]
pub fn requires_permission(
    permission: SystemPermission,
    #[graphql(default = false)] or_owner: bool,
    #[graphql(default = false)] recent_sign_in: bool,
) {
}

/// Units of the per-request budget that a field costs before its children; 1 when absent.
#[TypeDirective(location = "FieldDefinition", name = "cost")]
pub fn cost(weight: i32) {}

/// Children of the field count as often as the page argument says, or `assumedSize` times.
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
