//! Sign-in providers that are tied to accounts.

use async_graphql::{ID, InputObject};
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::WaysIn;
use crate::models::identity::Identity;
use crate::models::job::Job;
use crate::models::session::Session;
use crate::models::user::User;
use crate::services::audit::{AuditAction, Entry};

/// The provider to untie.
#[derive(InputObject)]
pub struct UnlinkAccountInput {
    /// Id of one of the caller's `linkedAccounts`.
    pub linked_account_id: ID,
}

/// Unties an identity from the caller's account, and tells its owner.
///
/// # Errors
/// `NOT_FOUND` for anybody else's, `PROTECTED` for the last way in.
pub async fn unlink(app: &App, actor: &Actor, id: Option<Uuid>) -> Result<User> {
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // Of two that each take one of two ways in away, the second finds one left.
        let user = User::lock(conn, actor.user_id()).await?;
        // Ended while the request was on its way: what ends sessions locks the account first.
        let live = Session::live_by_ids(conn, &[actor.session_id()], now).await?;
        let user = user.filter(|_| !live.is_empty());
        let user = user.ok_or(Error::Unauthenticated)?;
        let gone = match id {
            Some(id) => Identity::delete(conn, id, user.id).await?,
            None => None,
        };
        let path = ["input", "linkedAccountId"];
        let gone = gone.ok_or_else(|| {
            let message = "The account has no such linked account.";
            UserError::at(UserErrorCode::NotFound, &path, message)
        })?;
        if WaysIn::of(conn, user.id).await?.count() == 0 {
            let message = "This is the only way into the account. Set a password first.";
            return Err(UserError::at(UserErrorCode::Protected, &path, message).into());
        }
        let job = Job::ProviderUnlinked {
            user: user.id,
            provider: name_of(app, &gone.provider),
        };
        job.enqueue(conn, now).await?;
        Entry::own(actor, AuditAction::ProviderUnlinked)
            .with("provider", gone.provider)
            .record(app, conn)
            .await?;
        Ok(user)
    })
    .await
}

/// What a provider is called; its slug where it is not set any more.
#[must_use]
pub fn name_of(app: &App, slug: &str) -> String {
    let provider = app.providers.get(slug);
    provider.map_or_else(|| slug.to_owned(), |provider| provider.name.clone())
}
