//! `Verification`: a mailed token as its owner sees it.

use async_graphql::Object;

use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::{DateTime, EmailAddress};

/// A token that was mailed, by a link, to prove an address or to let somebody in again. Each is good once.
#[Object(name = "Verification")]
impl VerificationToken {
    /// When the mail was written.
    async fn created_at(&self) -> DateTime {
        self.created_at
    }

    /// Address that the mail went to.
    async fn email(&self) -> &EmailAddress {
        &self.email
    }

    /// From when on the token is refused.
    async fn expires_at(&self) -> DateTime {
        self.expires_at
    }

    /// What the token is for.
    async fn kind(&self) -> VerificationKind {
        self.kind
    }

    /// When the token was used; null while it was not.
    async fn used_at(&self) -> Option<DateTime> {
        self.used_at
    }
}
