//! The loader of what happened to accounts.

use std::collections::HashMap;

use async_graphql::dataloader::Loader;
use uuid::Uuid;

use crate::db::Pooled;
use crate::error::{Error, Result};
use crate::graphql::loader::Database;
use crate::models::audit_event::AuditEvent;

/// A page at the beginning or the end of what happened to an account, with one entry more than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActivityOf {
    /// The account.
    pub user: Uuid,
    /// Most entries of the page.
    pub limit: usize,
    /// From the end of the list: the oldest entries.
    pub backward: bool,
}

impl Loader<ActivityOf> for Database {
    type Value = Vec<AuditEvent>;
    type Error = Error;

    async fn load(&self, keys: &[ActivityOf]) -> Result<HashMap<ActivityOf, Vec<AuditEvent>>> {
        // Pages of the same form come in one statement; a list has pages of one form.
        let mut forms: HashMap<(usize, bool), Vec<Uuid>> = HashMap::new();
        for key in keys {
            let form = (key.limit, key.backward);
            forms.entry(form).or_default().push(key.user);
        }
        let now = self.app.now();
        let forms = &forms;
        let read = |conn: Pooled| async move {
            let mut pages: HashMap<ActivityOf, Vec<AuditEvent>> = HashMap::new();
            for (&(limit, backward), users) in forms {
                let ends = AuditEvent::ends(&conn, users, !backward, limit + 1, now);
                for (user, event) in ends.await? {
                    let key = ActivityOf {
                        user,
                        limit,
                        backward,
                    };
                    pages.entry(key).or_default().push(event);
                }
            }
            Ok(pages)
        };
        self.app.db.read_much(read).await
    }
}
