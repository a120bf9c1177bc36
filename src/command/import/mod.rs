//! `import`: takes in the accounts of another system from a file, in batches.

mod fields;
mod json;
mod product;
mod read;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::error::UserError;
use cardea::services::import::{self, BATCH, Importer, Row, Seen};
use cardea::services::roles;
use clap::Args;
use tokio::sync::mpsc;

use crate::command::database::Database;
use crate::command::import::fields::Fault;
use crate::command::import::product::{Choices, Found, Product};
use crate::command::import::read::{Format, Record};
use crate::command::progress::Progress;
use crate::command::user::explain;

#[derive(Args, Debug)]
pub(super) struct Import {
    /// Whose export it is
    #[arg(long = "from", value_enum, value_name = "PRODUCT")]
    product: Product,
    /// How it is written [default: by the name of the file]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Check every row and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Role for whom the export calls staff; without it they get none
    #[arg(long, value_name = "ROLE")]
    staff_role: Option<String>,
    /// Role for whom the export calls superuser or admin; without it they get none
    #[arg(long, value_name = "ROLE")]
    superuser_role: Option<String>,
    /// Role of the export and what it becomes here; without it nobody gets any. May be repeated
    #[arg(long = "role", value_name = "THERE=HERE", value_parser = pair)]
    roles: Vec<(String, String)>,
    /// Take addresses as proved where the export does not say whether they were
    #[arg(long)]
    addresses_proved: bool,
    /// Let accounts wait for their address to be proved that are not active, never signed in and never proved it;
    /// without it they are closed
    #[arg(long)]
    inactive_wait: bool,
    /// Write what is wrong with which line to this file [default: standard error]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The file; - is standard input
    file: PathBuf,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((there, here)) if !there.is_empty() && !here.is_empty() => {
            Ok((there.to_owned(), here.to_owned()))
        }
        _ => Err("write it as THERE=HERE"),
    }
}

/// Takes the accounts in.
///
/// # Errors
/// One line that says why not all of them were.
pub(super) async fn run(config: Config, import: Import) -> anyhow::Result<()> {
    let format = match import.format {
        Some(format) => format,
        None => format_of(&import.file)?,
    };
    let (input, length) = open(&import.file)?;
    let report: Box<dyn Write> = match &import.report {
        Some(path) => {
            let file = File::create(path);
            Box::new(file.with_context(|| format!("{} cannot be written", path.display()))?)
        }
        None => Box::new(io::stderr()),
    };
    let database = Database::open(&config).await?;
    let taken = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        let choices = choices(&app, &import).await?;
        let mut work = Work {
            app: &app,
            import: &import,
            choices,
            seen: Seen::default(),
            report,
            progress: Progress::new("accounts", length),
            total: Total::default(),
        };
        let result = work.all(input, format).await;
        let took = work.end();
        work.total.say(import.dry_run, took);
        if work.total.waiting > 0 {
            let days = app.config.retention.unproved_days;
            println!("{}", waiting(work.total.waiting, days));
        }
        result?;
        match work.total.failed {
            0 => Ok(()),
            1 => bail!("1 row was not taken in"),
            failed => bail!("{failed} rows were not taken in"),
        }
    }
    .await;
    database.close().await?;
    taken
}

fn format_of(file: &Path) -> anyhow::Result<Format> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
        _ => bail!("say with --format whether it is csv or jsonl"),
    }
}

/// The file and its length, 0 where nobody knows.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    Ok((Box::new(file), length))
}

/// The choices of the command line, if there are such roles.
async fn choices(app: &App, import: &Import) -> anyhow::Result<Choices> {
    let named = import.roles.iter().map(|(_, here)| here);
    let named = named
        .chain(&import.staff_role)
        .chain(&import.superuser_role);
    for name in named {
        if roles::by_name(app, name).await.map_err(explain)?.is_none() {
            bail!("there is no role {name}");
        }
    }
    Ok(Choices {
        staff_role: import.staff_role.clone(),
        superuser_role: import.superuser_role.clone(),
        roles: import.roles.clone(),
        addresses_proved: import.addresses_proved,
        inactive_wait: import.inactive_wait,
    })
}

/// What became of the records so far.
#[derive(Debug, Default)]
struct Total {
    created: usize,
    updated: usize,
    unchanged: usize,
    failed: usize,
    others: usize,
    rights_left: usize,
    closed: usize,
    waiting: usize,
    last_line: u64,
}

struct Work<'a> {
    app: &'a App,
    import: &'a Import,
    choices: Choices,
    seen: Seen,
    report: Box<dyn Write>,
    progress: Progress,
    total: Total,
}

impl Work<'_> {
    /// Reads on a thread of its own, and writes batch by batch.
    async fn all(&mut self, input: Box<dyn Read + Send>, format: Format) -> anyhow::Result<()> {
        let (sender, mut batches) = mpsc::channel::<Vec<Record>>(2);
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let read = read::records(input, format, &counter, |record| {
                batch.push(record);
                batch.len() < BATCH || sender.blocking_send(std::mem::take(&mut batch)).is_ok()
            });
            let _ = sender.blocking_send(batch);
            read
        });
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let batch = tokio::select! {
                biased;
                _ = &mut stop => bail!("broken off behind line {}; what was taken in stays, and repeating the command goes on", self.total.last_line),
                batch = batches.recv() => batch,
            };
            let Some(batch) = batch else {
                break;
            };
            self.batch(batch).await?;
            let done = self.total.created + self.total.updated + self.total.unchanged;
            let done = u64::try_from(done + self.total.failed).unwrap_or_default();
            self.progress.counted(bytes.load(Ordering::Relaxed), done);
        }
        match reader.join() {
            Ok(read) => read,
            Err(_) => bail!("the reading thread died"),
        }
    }

    async fn batch(&mut self, batch: Vec<Record>) -> anyhow::Result<()> {
        let failed_before = self.total.failed;
        let last_line = batch.last().map(|record| record.line);
        let (mut rows, mut lines): (Vec<Row>, Vec<u64>) = (Vec::new(), Vec::new());
        for record in batch {
            let line = record.line;
            let values = match record.values {
                Ok(values) => values,
                Err(why) => {
                    self.fail(line, &[(String::new(), why)])?;
                    continue;
                }
            };
            match product::read(self.import.product, &values, &self.choices) {
                Ok(Found::Account {
                    row,
                    rights_left,
                    closed,
                }) => {
                    self.total.rights_left += usize::from(rights_left);
                    self.total.closed += usize::from(closed);
                    rows.push(*row);
                    lines.push(line);
                }
                Ok(Found::Other) => self.total.others += 1,
                Err(faults) => self.fail(line, &faults)?,
            }
        }
        self.check_passwords(&mut rows, &mut lines)?;
        // What a dry run would write is taken back anyway.
        if !self.import.dry_run {
            let hashed = import::hash_plain(self.app, &mut rows).await;
            hashed.map_err(|error| self.stopped(explain(error)))?;
        }
        let mut checked = Vec::with_capacity(rows.len());
        for (row, line) in rows.iter().zip(&lines) {
            let passed = import::check(self.app, row);
            match passed.and_then(|row| self.seen.take(&row).map(|()| row)) {
                Ok(row) => checked.push((usize::try_from(*line)?, row)),
                Err(errors) => self.refuse(*line, &errors)?,
            }
        }
        let failed = self.total.failed - failed_before;
        if checked.is_empty() && failed == 0 {
            return Ok(());
        }
        let dry_run = self.import.dry_run;
        let outcome = import::run(self.app, Importer::Operator, &checked, failed, dry_run).await;
        let outcome = outcome.map_err(|error| self.stopped(explain(error)))?;
        self.total.created += outcome.created;
        self.total.updated += outcome.updated;
        self.total.unchanged += outcome.unchanged;
        self.total.waiting += outcome.waiting;
        for (line, errors) in outcome.failures {
            self.refuse(u64::try_from(line)?, &errors)?;
        }
        self.total.last_line = last_line.unwrap_or(self.total.last_line);
        Ok(())
    }

    /// A password that nobody could sign in with is not hashed.
    fn check_passwords(&mut self, rows: &mut Vec<Row>, lines: &mut Vec<u64>) -> anyhow::Result<()> {
        use secrecy::ExposeSecret as _;
        let most = self.app.config.password_policy().maximum_bytes();
        let too_long = |row: &Row| {
            let password = row.former.password.as_ref();
            password.is_some_and(|password| password.expose_secret().len() > most)
        };
        for at in (0..rows.len())
            .rev()
            .filter(|at| too_long(&rows[*at]))
            .collect::<Vec<_>>()
        {
            rows.remove(at);
            let line = lines.remove(at);
            let wrong = "It is longer than any password that can be signed in with.";
            self.fail(line, &[("password".to_owned(), wrong)])?;
        }
        Ok(())
    }

    fn refuse(&mut self, line: u64, errors: &[UserError]) -> anyhow::Result<()> {
        self.total.failed += 1;
        self.progress.clear();
        for error in errors {
            let path = error.place().get(1..).unwrap_or_default().join(".");
            writeln!(self.report, "{}", reason(line, &path, error.sentence()))?;
        }
        Ok(())
    }

    fn fail(&mut self, line: u64, faults: &[Fault]) -> anyhow::Result<()> {
        self.total.failed += 1;
        self.progress.clear();
        for (name, wrong) in faults {
            writeln!(self.report, "{}", reason(line, name, wrong))?;
        }
        Ok(())
    }

    fn stopped(&self, cause: anyhow::Error) -> anyhow::Error {
        let line = self.total.last_line;
        cause.context(format!(
            "stopped behind line {line}; what was taken in stays, and repeating the command goes on"
        ))
    }

    fn end(&mut self) -> Duration {
        let progress = std::mem::replace(&mut self.progress, Progress::new("", 0));
        progress.end().0
    }
}

/// What is wrong, in one line; nothing of the value.
fn reason(line: u64, path: &str, message: &str) -> String {
    if path.is_empty() {
        format!("line {line}: {message}")
    } else {
        format!("line {line}: {path}: {message}")
    }
}

impl Total {
    fn say(&self, dry_run: bool, took: Duration) {
        let Self {
            created,
            updated,
            unchanged,
            failed,
            others,
            rights_left,
            closed,
            ..
        } = self;
        let rows = created + updated + unchanged + failed;
        let seconds = took.as_secs_f64();
        println!(
            "{rows} rows in {seconds:.1} s: {created} created, {updated} updated, {unchanged} unchanged, {failed} failed."
        );
        if *others > 0 {
            println!("{others} records were no accounts and were passed over.");
        }
        if *rights_left > 0 {
            println!(
                "{rights_left} rows name rights that were not taken over; see --staff-role, --superuser-role and --role."
            );
        }
        if *closed > 0 {
            println!(
                "{closed} rows are of accounts that are not active, never signed in and never proved their address. They are closed; see --inactive-wait."
            );
        }
        if dry_run {
            println!("This was a dry run: nothing was changed.");
        }
    }
}

/// What becomes of accounts whose address nobody proves.
fn waiting(accounts: usize, days: u32) -> String {
    let erased = if days == 0 {
        "none of them is erased for that".to_owned()
    } else {
        format!(
            "each is erased {days} days after it came in, without a mail (CARDEA_UNPROVED_DAYS)"
        )
    };
    format!("Accounts that wait for their owners to prove the address: {accounts}; {erased}.")
}
