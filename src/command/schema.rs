//! `schema`: the schema is printed, and compared with another.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cardea::clock::Clock;
use cardea::graphql::Api;
use cardea::graphql::diff::{self, MOST_BYTES, Model, Report, Severity, Waiver};
use cardea::graphql::federation::subgraph_sdl;
use clap::{Args, Subcommand, ValueEnum};

/// Most bytes of a file of waivers.
const MOST_WAIVERS: usize = 1024 * 1024;
/// What could not be read was not compared.
const UNREADABLE: u8 = 2;

#[derive(Subcommand, Debug)]
pub(super) enum Schema {
    /// Print schema.graphql
    Print {
        /// As a subgraph of Apollo Federation, for its gateways
        #[arg(long)]
        subgraph: bool,
    },
    /// Say what changed between two schemas; exits with 1 for what breaks clients or changes access, with 2 for a file
    /// that cannot be read
    Diff(Diff),
}

#[derive(Args, Debug)]
pub(super) struct Diff {
    /// The schema before; - reads it from the standard input
    old: PathBuf,
    /// The schema after; that of this program where it is left out
    new: Option<PathBuf>,
    /// A TOML file of changes that are accepted, each with a reason and the last day on which it is
    #[arg(long = "waivers", id = "diff_waivers", value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// How the changes are told
    #[arg(
        long = "format",
        id = "diff_format",
        value_name = "FORMAT",
        default_value = "text"
    )]
    format: Format,
    /// What fails beside breaking changes
    #[arg(
        long = "fail-on",
        id = "diff_fail_on",
        value_name = "WHAT",
        value_delimiter = ','
    )]
    fail_on: Vec<FailOn>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line for each change
    Text,
    /// One document
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    /// New fields that are open, or say nothing of who may use them
    Security,
    /// What clients may not expect
    Dangerous,
}

/// Does what the command line asks.
///
/// # Errors
/// If the schema of the program is unsound.
pub(super) fn run(action: &Schema) -> anyhow::Result<ExitCode> {
    let plain = Api::new()?.sdl();
    match action {
        Schema::Print { subgraph: false } => tell(&plain),
        Schema::Print { subgraph: true } => tell(&subgraph_sdl(&plain)),
        Schema::Diff(diff) => match compare(diff, &plain) {
            Ok(report) => {
                match diff.format {
                    Format::Text => tell(&report.to_string()),
                    Format::Json => tell(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
                }
                return Ok(ExitCode::from(u8::from(report.fails)));
            }
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(UNREADABLE));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(diff: &Diff, own: &str) -> Result<Report, String> {
    let old = schema(&diff.old)?;
    let new = match &diff.new {
        Some(path) => schema(path)?,
        None => model(Path::new("the schema of this program"), own.as_bytes())?,
    };
    let waivers = diff.waivers.as_deref().map(waivers).transpose()?;
    let also: Vec<_> = diff
        .fail_on
        .iter()
        .map(|what| match what {
            FailOn::Security => Severity::Security,
            FailOn::Dangerous => Severity::Dangerous,
        })
        .collect();
    let today = Clock::system().now().date_naive();
    let waivers = waivers.unwrap_or_default();
    Ok(Report::new(diff::diff(&old, &new), &waivers, &also, today))
}

fn schema(path: &Path) -> Result<Model, String> {
    // One byte more than a schema may have, so that one that is too long is told from one that is not.
    model(path, &bytes(path, MOST_BYTES + 1)?)
}

fn model(path: &Path, bytes: &[u8]) -> Result<Model, String> {
    Model::read(bytes).map_err(|problem| {
        let (line, column) = (problem.line, problem.column);
        format!("{}:{line}:{column}: {}", path.display(), problem.message)
    })
}

fn waivers(path: &Path) -> Result<Vec<Waiver>, String> {
    let bytes = bytes(path, MOST_WAIVERS)?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{}: this is not UTF-8", path.display()))?;
    diff::parse_waivers(&text).map_err(|error| format!("{}:{error}", path.display()))
}

/// At most this many bytes of a file, or of the standard input.
fn bytes(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn tell(text: &str) {
    // A reader that has seen enough closes the pipe, which is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
