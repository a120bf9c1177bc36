//! Writes rows that passed their checks: together where that goes, else one by one, so that a row that fails
//! takes no other along.

use diesel::result::{DatabaseErrorKind as Kind, Error::DatabaseError};
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::background::Background;
use crate::models::personalization::Personalization;
use crate::models::role::Role;
use crate::models::user::User;
use crate::services::audit::{self, AuditAction, Entry};
use crate::services::import::held::Held;
use crate::services::import::present::{Change, Present};
use crate::services::import::row::Checked;
use crate::services::registration::insert_accounts;
use crate::services::{data_keys, sealed};

/// Who takes accounts in.
#[derive(Clone, Copy)]
pub enum Importer<'a> {
    /// An administrator, who hands out no more than they hold.
    Caller(&'a Actor),
    /// Whoever works at the command line.
    Operator,
}

impl<'a> Importer<'a> {
    pub(super) fn entry(self, action: AuditAction) -> Entry<'a> {
        match self {
            Self::Caller(actor) => Entry::by(actor, action),
            Self::Operator => Entry::server(action),
        }
    }
}

/// What became of rows.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Accounts that were opened.
    pub created: usize,
    /// Accounts that were there and lacked something that the row has.
    pub updated: usize,
    /// Accounts that were there and lacked nothing.
    pub unchanged: usize,
    /// Those of all these that wait until their address is proved.
    pub waiting: usize,
    /// Rows that were not taken in, by their numbers, and why.
    pub failures: Vec<(usize, Vec<UserError>)>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.waiting += other.waiting;
        self.failures.extend(other.failures);
    }
}

/// Rows that passed their checks, by their numbers.
pub type Numbered = (usize, Checked);

/// Takes rows in, in one transaction, and writes it into the audit trail, with the number of rows that have failed
/// before. A dry run does the same and takes all of it back.
///
/// # Errors
/// If the database cannot answer; [`Error::Forbidden`] or [`Error::Unauthenticated`] where the caller has lost
/// the right.
pub async fn run(
    app: &App,
    importer: Importer<'_>,
    rows: &[Numbered],
    failed_before: usize,
    dry_run: bool,
) -> Result<Outcome> {
    let mut conn = app.db.conn().await?;
    if dry_run {
        let tried = conn
            .transaction(async |conn| {
                let held = Held::take(conn, importer, rows).await?;
                let outcome = write(app, conn, &held).await?;
                Err::<(), _>(Undone::Tried(outcome))
            })
            .await;
        let outcome = match tried {
            Err(Undone::Tried(outcome)) => outcome,
            Err(Undone::Failed(error)) => return Err(error),
            Ok(()) => Outcome::default(),
        };
        record(app, &mut conn, importer, &outcome, (failed_before, true)).await?;
        return Ok(outcome);
    }
    conn.transaction(async |conn| {
        let held = Held::take(conn, importer, rows).await?;
        let outcome = write(app, conn, &held).await?;
        record(app, conn, importer, &outcome, (failed_before, false)).await?;
        Ok(outcome)
    })
    .await
}

/// Why a dry run ends its transaction.
enum Undone {
    Tried(Outcome),
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes into the audit trail that rows were taken in.
pub(super) async fn record(
    app: &App,
    conn: &mut Conn,
    importer: Importer<'_>,
    outcome: &Outcome,
    (failed_before, dry_run): (usize, bool),
) -> Result<()> {
    let entry = importer.entry(AuditAction::UsersImported);
    entry
        .with("created", outcome.created)
        .with("updated", outcome.updated)
        .with("failed", failed_before + outcome.failures.len())
        .with("dryRun", dry_run)
        .record(app, conn)
        .await
}

/// Writes rows. Belongs into the transaction in which they are held.
///
/// # Errors
/// As [`run`].
pub(super) async fn write(app: &App, conn: &mut Conn, held: &Held<'_>) -> Result<Outcome> {
    if held.rows.is_empty() {
        return Ok(Outcome::default());
    }
    match together(app, conn, held, held.rows).await {
        // Somebody else was faster, or a row breaks a rule that only the database has.
        Err(Error::Refused(_)) => {}
        Err(Error::Internal(cause)) if breaks_a_rule(&cause) => {}
        other => return other,
    }
    let mut outcome = Outcome::default();
    for row in held.rows {
        let number = row.0;
        match together(app, conn, held, std::slice::from_ref(row)).await {
            Ok(one) => outcome.add(one),
            Err(Error::Refused(errors)) => outcome.failures.push((number, errors)),
            Err(Error::Internal(cause)) if breaks_a_rule(&cause) => {
                tracing::warn!(error = %cause, "A row could not be taken in: {cause:#}");
                let message = "The database refuses this row.";
                let error = UserError::new(UserErrorCode::Rejected, message);
                outcome.failures.push((number, vec![error]));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

/// Whether what stands in a row breaks a constraint. Whatever else goes wrong is no row's fault, and may go well the
/// next time: a deadlock, a time-out, a full disk.
fn breaks_a_rule(cause: &anyhow::Error) -> bool {
    matches!(
        cause.downcast_ref(),
        Some(DatabaseError(
            Kind::UniqueViolation
                | Kind::ForeignKeyViolation
                | Kind::NotNullViolation
                | Kind::CheckViolation
                | Kind::ExclusionViolation
                | Kind::RestrictViolation,
            _
        ))
    )
}

/// Writes these of the rows, all that can be; nothing where one of them fails late.
async fn together(
    app: &App,
    conn: &mut Conn,
    held: &Held<'_>,
    rows: &[Numbered],
) -> Result<Outcome> {
    conn.transaction(async |conn| {
        let present = Present::read(app, conn, held, rows).await?;
        let mut writing = Writing::default();
        for (number, row) in rows {
            match present.judge(row) {
                Err(errors) => writing.outcome.failures.push((*number, errors)),
                Ok(None) => writing.new.push(row),
                Ok(Some(change)) => writing.changes.push(change),
            }
        }
        writing.write(app, conn, held.importer, &present).await
    })
    .await
}

/// What is written of a batch.
#[derive(Default)]
struct Writing<'r> {
    new: Vec<&'r Checked>,
    changes: Vec<Change>,
    outcome: Outcome,
}

impl Writing<'_> {
    async fn write(
        mut self,
        app: &App,
        conn: &mut Conn,
        importer: Importer<'_>,
        present: &Present,
    ) -> Result<Outcome> {
        let now = app.now();
        let mut entries = Vec::new();
        let mut given: Vec<(Uuid, Uuid)> = Vec::new();
        let former = self.new.iter().map(|row| row.former_user(app, now));
        let (former, keys): (Vec<_>, Vec<_>) =
            former.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        if !former.is_empty() && !insert_accounts(app, conn, &former, &keys).await? {
            let message =
                "Somebody else took the address, the user name or the UUID at this moment.";
            let error = UserError::at(UserErrorCode::Taken, &["input", "email"], message);
            return Err(error.into());
        }
        for (row, former) in self.new.iter().zip(&former) {
            let id = former.user.id;
            describe(app, conn, row, id).await?;
            entries.push(
                importer
                    .entry(AuditAction::AccountCreated)
                    .on(id)
                    .with("by", "import"),
            );
            given.extend(present.roles_of(row).into_iter().map(|role| (id, role)));
        }
        self.outcome.created += former.len();
        self.outcome.waiting += self.new.iter().filter(|row| row.waits()).count();
        for mut change in self.changes {
            self.outcome.waiting += usize::from(change.waits);
            if !change.is_any() {
                self.outcome.unchanged += 1;
                continue;
            }
            self.outcome.updated += 1;
            if !change.fields.is_empty() {
                if let Some(day) = change.birth_date {
                    let key = data_keys::ensure(app, conn, change.user).await?;
                    let sealed = sealed::seal_birth_date(&key, day)?;
                    change.changes.birth_date = Some(Some(sealed));
                }
                User::update(conn, change.user, &change.changes, now).await?;
                let entry = importer.entry(AuditAction::ProfileUpdated).on(change.user);
                entries.push(entry.with("fields", change.fields).with("by", "import"));
            }
            given.extend(change.roles.iter().map(|role| (change.user, *role)));
        }
        if !given.is_empty() {
            let by = match importer {
                Importer::Caller(actor) => Some(actor.user_id()),
                Importer::Operator => None,
            };
            for (user, role) in Role::assign_all(conn, &given, by, now).await? {
                let entry = importer.entry(AuditAction::RoleAssigned).on(user);
                entries.push(entry.with("role", present.role_name(role)));
            }
        }
        if !entries.is_empty() {
            audit::record_all(app, conn, entries).await?;
        }
        Ok(self.outcome)
    }
}

/// Writes what else is known of a new account.
async fn describe(app: &App, conn: &mut Conn, row: &Checked, user: Uuid) -> Result<()> {
    let now = app.now();
    if let Some(changes) = &row.changes {
        changes.write(app, conn, user).await?;
    }
    if let Some(changes) = &row.background {
        Background::upsert(conn, user, changes, now).await?;
    }
    if let Some(changes) = &row.personalization {
        Personalization::upsert(conn, user, changes, now).await?;
    }
    Ok(())
}
