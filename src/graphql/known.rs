//! What the database would answer, known before a request begins: so that `benches/instructions.rs` can measure
//! everything else. No client can bring it along.

use std::sync::Arc;

use crate::error::Result;
use crate::graphql::loader::{Loaders, UserWithProfile};
use crate::models::profile::Profile;
use crate::models::user::User;
use crate::services::users::{self, Page, PageRequest};

/// An extension of a request. Cheap to clone.
#[derive(Clone)]
pub struct Known(pub Arc<Answers>);

/// What would be asked for.
#[derive(Default)]
pub struct Answers {
    /// Accounts with their profiles.
    pub accounts: Vec<(User, Option<Profile>)>,
    /// Every page of accounts.
    pub page: Option<Page>,
}

impl Loaders {
    /// From now on these are the answers.
    pub async fn know_all(&mut self, known: &Known) {
        let accounts = known.0.accounts.iter().cloned();
        let keyed = accounts.map(|(user, profile)| (UserWithProfile(user.id), (user, profile)));
        self.loader.feed_many(keyed).await;
        self.known = Some(known.clone());
    }

    /// A page of accounts.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn page(&self, request: &PageRequest) -> Result<Page> {
        match self.known.as_ref().and_then(|known| known.0.page.as_ref()) {
            Some(page) => Ok(page.clone()),
            None => users::page(&self.loader.loader().app, request).await,
        }
    }
}
