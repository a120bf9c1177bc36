//! `importUsers`: up to 500 accounts in one call, which may be repeated without harm.

use async_graphql::{InputObject, SimpleObject};
use diesel_async::AsyncConnection as _;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::import_request::ImportRequest;
use crate::scalar::Json;
use crate::services::import::BATCH;
use crate::services::import::batch::{self, Importer, Numbered, Outcome};
use crate::services::import::held::Held;
use crate::services::import::row::{Former, ImportUserRow, Row, Seen, check};
use crate::services::limits::{self, Limit};
use crate::services::validate;

/// Most characters of a key.
const MAX_KEY: usize = 255;

/// Accounts to take in.
#[derive(InputObject)]
pub struct ImportUsersInput {
    /// Check every row, tell what would become of it, and change nothing.
    #[graphql(default = false)]
    pub dry_run: bool,
    /// The same key within 24 hours returns the first answer again; at most 255 characters. With other rows it is
    /// `TAKEN`. A dry run leaves it alone.
    pub idempotency_key: Option<String>,
    /// Between 1 and 500. With a request of at most 64 KiB, which is the limit unless the operator says otherwise,
    /// some 200 with hashes fit.
    pub rows: Vec<ImportUserRow>,
}

/// A row that was not taken in.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct ImportFailure {
    /// Why it was not taken in; their `path` begins with `input`, `rows` and the number of the row.
    pub errors: Vec<UserError>,
    /// Number of the row in `rows`, counted from 0.
    pub row: i32,
}

/// What became of the rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Accounts that were opened.
    pub created: i32,
    /// Accounts that were there and lacked nothing. Answers that were kept before this was counted have none.
    #[serde(default)]
    pub unchanged: i32,
    /// Accounts that were there and lacked something.
    pub updated: i32,
    /// Rows that were not taken in, in their order.
    pub failures: Vec<ImportFailure>,
}

impl Imported {
    fn of(outcome: Outcome, before: Vec<(usize, Vec<UserError>)>) -> Self {
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let failures = outcome.failures.into_iter().chain(before);
        let mut failures: Vec<_> = failures
            .map(|(row, errors)| {
                let number = row.to_string();
                let placed = |error: UserError| error.below(&number).below("rows");
                ImportFailure {
                    errors: errors.into_iter().map(placed).collect(),
                    row: count(row),
                }
            })
            .collect();
        failures.sort_by_key(|failure| failure.row);
        Self {
            created: count(outcome.created),
            unchanged: count(outcome.unchanged),
            updated: count(outcome.updated),
            failures,
        }
    }
}

/// Takes accounts in, those that can be; tells of the others. Mails nobody.
///
/// # Errors
/// `INVALID_VALUE` for no rows or too many, and for a malformed key; `TAKEN` for a key that was used for other rows;
/// `TOO_MANY_ATTEMPTS` beyond the imports of an hour.
pub async fn import(app: &App, actor: &Actor, input: ImportUsersInput) -> Result<Imported> {
    if input.rows.is_empty() || input.rows.len() > BATCH {
        let (path, bounds) = (["input", "rows"], (Some(1), Some(BATCH)));
        return Err(
            UserError::invalid(&path, "LIST_LENGTH", bounds, "Between 1 and 500 rows.").into(),
        );
    }
    let key = input.idempotency_key.as_deref();
    let key = key
        .map(|key| validate::line(&["input", "idempotencyKey"], key, 1, MAX_KEY))
        .transpose()?;
    let caller = actor.user_id().to_string();
    limits::take(app, Limit::Import, actor.client(), &caller).await?;
    let request = serde_json::to_vec(&input.rows).map_err(anyhow::Error::from)?;
    let (rows, before) = check_all(app, input.rows);
    let importer = Importer::Caller(actor);
    let (Some(key), false) = (key, input.dry_run) else {
        let outcome = batch::run(app, importer, &rows, before.len(), input.dry_run).await?;
        return Ok(Imported::of(outcome, before));
    };
    let claim = ImportRequest {
        user_id: actor.user_id(),
        key_hash: app.audit_key.mac("import key", key.as_bytes()).to_vec(),
        request_hash: app.audit_key.mac("import rows", &request).to_vec(),
        answer: None,
        created_at: app.now(),
    };
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // Of two at once the second waits here until the first is through. The caller's own row first: the key hangs on
        // it, and whoever erases the caller holds it and then wants the turn.
        let held = Held::take(conn, importer, &rows).await?;
        if !claim.claim(conn).await? {
            return answered(conn, &claim).await;
        }
        let outcome = batch::write(app, conn, &held).await?;
        batch::record(app, conn, importer, &outcome, (before.len(), false)).await?;
        let answer = Imported::of(outcome, before);
        let kept = Json(serde_json::to_value(&answer).map_err(anyhow::Error::from)?);
        ImportRequest::answer(conn, claim.user_id, &claim.key_hash, &kept).await?;
        Ok(answer)
    })
    .await
}

/// Checks all rows; gives those that passed, by their numbers, and what is wrong with the others.
fn check_all(app: &App, rows: Vec<ImportUserRow>) -> (Vec<Numbered>, Vec<(usize, Vec<UserError>)>) {
    let mut seen = Seen::default();
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for (number, user) in rows.into_iter().enumerate() {
        let row = Row {
            user,
            former: Former::default(),
        };
        let checked = check(app, &row).and_then(|row| seen.take(&row).map(|()| row));
        match checked {
            Ok(row) => passed.push((number, row)),
            Err(errors) => failed.push((number, errors)),
        }
    }
    (passed, failed)
}

/// What was answered to the call that has the key.
async fn answered(conn: &mut Conn, claim: &ImportRequest) -> Result<Imported> {
    let found = ImportRequest::find(conn, claim.user_id, &claim.key_hash).await?;
    // None: cleaned away between the two statements; the caller may simply try again.
    let found = found.ok_or(Error::Unavailable)?;
    if found.request_hash != claim.request_hash {
        let path = ["input", "idempotencyKey"];
        let message = "This key was used for other rows.";
        return Err(UserError::at(UserErrorCode::Taken, &path, message).into());
    }
    let answer = found.answer.ok_or(Error::Unavailable)?;
    Ok(serde_json::from_value(answer.0).map_err(anyhow::Error::from)?)
}
