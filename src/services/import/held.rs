//! What an import holds on to until its transaction ends. Everything else takes accounts first and turns then, and so
//! does this: whoever took them the other way round would wait for each other for good.

use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::user::User;
use crate::services::import::batch::{Importer, Numbered};
use crate::services::rights;

/// Rows, who takes them in, and the accounts that are there, locked.
pub(super) struct Held<'a> {
    /// Who takes them in.
    pub(super) importer: Importer<'a>,
    /// The rows.
    pub(super) rows: &'a [Numbered],
    /// The accounts that have their addresses, and the importer's own.
    pub(super) users: Vec<User>,
}

impl<'a> Held<'a> {
    /// Waits until no other import runs, locks the accounts in the order of their ids, and takes the turn in which
    /// rights change. Belongs into a transaction, and before anything that is written in it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where the caller is gone; if the database cannot answer.
    pub(super) async fn take(
        conn: &mut Conn,
        importer: Importer<'a>,
        rows: &'a [Numbered],
    ) -> Result<Self> {
        // Two of them could want each other's usernames, in whatever order they open their accounts.
        User::wait_for_imports(conn).await?;
        let emails: Vec<String> = rows.iter().map(|(_, row)| row.email_key()).collect();
        let (caller, hands_out) = match importer {
            // What is written of a call, or of a role that is given, wants a share of the caller's row.
            Importer::Caller(actor) => (Some(actor.user_id()), true),
            Importer::Operator => (None, rows.iter().any(|(_, row)| !row.role_names.is_empty())),
        };
        let users = User::lock_by_emails(conn, &emails, caller).await?;
        if caller.is_some_and(|caller| users.iter().all(|user| user.id != caller)) {
            return Err(Error::Unauthenticated);
        }
        if hands_out {
            rights::take_turns(conn).await?;
        }
        Ok(Self {
            importer,
            rows,
            users,
        })
    }
}
