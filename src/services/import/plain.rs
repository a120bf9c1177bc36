//! Passwords that another system kept as they are: hashed before anything is written, and never kept.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::app::App;
use crate::error::Result;
use crate::models::user::User;
use crate::services::import::row::Row;

/// Hashes the passwords of those rows that have one, as many at once as there are threads for it. Rows of accounts
/// that are there already are left alone: they keep the password that they have. Holds no connection meanwhile.
///
/// # Errors
/// If the database cannot answer; [`crate::error::Error::RateLimited`] when too many passwords wait.
pub async fn hash_plain(app: &App, rows: &mut [Row]) -> Result<()> {
    let with_password = rows.iter().filter(|row| row.former.password.is_some());
    let emails: Vec<String> = with_password
        .map(|row| row.user.email.trim().to_ascii_lowercase())
        .collect();
    if emails.is_empty() {
        return Ok(());
    }
    let known = User::emails_in_use(&mut *app.db.conn().await?, &emails).await?;
    let mut waiting = Vec::new();
    for (at, row) in rows.iter_mut().enumerate() {
        let email = row.user.email.trim().to_ascii_lowercase();
        if let Some(password) = row.former.password.take()
            && !known.contains(&email)
        {
            waiting.push((at, password));
        }
    }
    let hashes: Vec<(usize, String)> = stream::iter(waiting)
        .map(|(at, password)| async move { Ok((at, app.hash_password(password).await?)) })
        .buffer_unordered(app.passwords.threads())
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error: crate::error::Error| error)?;
    for (at, hash) in hashes {
        rows[at].user.password_hash = Some(hash);
    }
    Ok(())
}
