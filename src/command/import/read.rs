//! Reads a file record by record, so that its length does not matter. It knows no product.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::command::import::json;

/// The longest record in bytes.
const LONGEST: usize = 1 << 20;

/// What is said of a line that is something else.
const NO_OBJECT: &str = "This is no JSON object in UTF-8.";

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Values between commas, below a line with the names of the columns
    Csv,
    /// A JSON object on each line
    Jsonl,
}

/// One record, or why it cannot be read.
pub(super) struct Record {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Its values by name.
    pub(super) values: Result<Map<String, Value>, &'static str>,
}

/// Hands `each` the records of a file until it wants no more; counts the bytes that were read.
///
/// # Errors
/// If the file cannot be read, or does not hold together.
pub(super) fn records(
    input: impl Read,
    format: Format,
    bytes: &Arc<AtomicU64>,
    each: impl FnMut(Record) -> bool,
) -> anyhow::Result<()> {
    let input = Counted {
        input,
        bytes: Arc::clone(bytes),
    };
    match format {
        Format::Csv => csv_records(input, each),
        Format::Jsonl => json_lines(input, each),
    }
}

fn csv_records(input: impl Read, mut each: impl FnMut(Record) -> bool) -> anyhow::Result<()> {
    let left = Arc::new(AtomicUsize::new(LONGEST));
    let bounded = Bounded {
        input,
        left: Arc::clone(&left),
    };
    // Lines end with a line feed alone, so that they are counted right where a carriage return stands before it.
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(bounded);
    let header = reader.byte_headers().context("the file cannot be read")?;
    let mut names = Vec::new();
    for name in header {
        let name = std::str::from_utf8(name).context("the names of the columns are no UTF-8")?;
        names.push(name.trim().trim_start_matches('\u{feff}').to_owned());
    }
    if names.iter().all(String::is_empty) {
        bail!("the file has no line with the names of the columns");
    }
    let mut seen = HashSet::new();
    let mut titles = names.iter().filter(|name| !name.is_empty());
    if let Some(twice) = titles.find(|name| !seen.insert(name.as_str())) {
        bail!("two columns are called {twice}");
    }
    let mut record = csv::ByteRecord::new();
    loop {
        left.store(LONGEST, Ordering::Relaxed);
        let found = reader.read_byte_record(&mut record);
        let line = record.position().map_or(0, csv::Position::line);
        if !found.with_context(|| format!("behind line {line}"))? {
            return Ok(());
        }
        let last = record.len().saturating_sub(1);
        if last == 0 && record.get(0) == Some(b"\r") {
            continue;
        }
        let values = if record.len() == names.len() {
            let pairs = names.iter().zip(record.iter().enumerate());
            let pairs = pairs.map(|(name, (at, value))| {
                let value = std::str::from_utf8(value).map_err(|_| "The text is no UTF-8.")?;
                if value.contains('\0') {
                    return Err("A text has a NUL character.");
                }
                let whole = value.strip_suffix('\r').filter(|_| at == last);
                let value = whole.unwrap_or(value);
                Ok((name.clone(), Value::String(value.to_owned())))
            });
            pairs.collect()
        } else {
            Err("It has not as many values as there are columns.")
        };
        if !each(Record { line, values }) {
            return Ok(());
        }
    }
}

fn json_lines(input: impl Read, mut each: impl FnMut(Record) -> bool) -> anyhow::Result<()> {
    let mut reader = BufReader::new(input);
    let (mut line, mut text) = (0, Vec::new());
    loop {
        line += 1;
        text.clear();
        let Some(whole) = read_line(&mut reader, &mut text).context("the file cannot be read")?
        else {
            return Ok(());
        };
        let bytes = if line == 1 {
            text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text)
        } else {
            &text
        };
        if whole && bytes.trim_ascii().is_empty() {
            continue;
        }
        let values = if whole {
            match json::read(bytes, NO_OBJECT) {
                Ok(Value::Object(map)) => Ok(map),
                Ok(_) => Err(NO_OBJECT),
                Err(wrong) => Err(wrong),
            }
        } else {
            Err("The line is longer than 1 MiB.")
        };
        if !each(Record { line, values }) {
            return Ok(());
        }
    }
}

/// The next line, and whether it is whole: of one that is too long the rest is passed over.
fn read_line(reader: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let (mut any, mut whole) = (false, true);
    loop {
        let found = reader.fill_buf()?;
        if found.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = found.iter().position(|byte| *byte == b'\n');
        let part = &found[..end.unwrap_or(found.len())];
        whole = whole && line.len() + part.len() <= LONGEST;
        if whole {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let counted = u64::try_from(read).unwrap_or_default();
        self.bytes.fetch_add(counted, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads no further than so much for one record: a quotation mark that nobody closed would swallow the file.
struct Bounded<R> {
    input: R,
    left: Arc<AtomicUsize>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let message = "a record is longer than 1 MiB; is a quotation mark not closed?";
            return Err(io::Error::other(message));
        }
        let read = self.input.read(buffer)?;
        self.left
            .store(left.saturating_sub(read), Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line and what stands there, or why it cannot be read.
    type Line = (u64, Result<String, &'static str>);

    fn read(text: &[u8], format: Format) -> (Vec<Line>, Option<String>) {
        let mut found = Vec::new();
        let result = records(text, format, &Arc::default(), |record| {
            let values = record
                .values
                .map(|values| Value::Object(values).to_string());
            found.push((record.line, values));
            true
        });
        (found, result.err().map(|error| format!("{error:#}")))
    }

    #[test]
    fn lines_that_are_too_long_or_no_json_take_no_other_along() {
        let long = "x".repeat(LONGEST + 1);
        let text = format!("\u{feff}{{\"a\":1}}\n\n{long}\n[1]\n{{\"b\":\"ä\"}}");
        let (found, error) = read(text.as_bytes(), Format::Jsonl);
        assert_eq!(error, None);
        assert_eq!(
            found,
            [
                (1, Ok("{\"a\":1}".to_owned())),
                (3, Err("The line is longer than 1 MiB.")),
                (4, Err("This is no JSON object in UTF-8.")),
                (5, Ok("{\"b\":\"ä\"}".to_owned())),
            ]
        );
        let twice = "{\"email\":\"a@example.org\",\"email\":\"b@example.org\"}\n{\"a\":18446744073709551616}\n";
        let (found, _) = read(twice.as_bytes(), Format::Jsonl);
        assert_eq!(
            found,
            [
                (1, Err("A name stands twice in one object.")),
                (2, Err("A number is beyond 64 bits.")),
            ]
        );
        let (found, _) = read(b"{\"a\":\"\xff\"}\n", Format::Jsonl);
        assert_eq!(found, [(1, Err("This is no JSON object in UTF-8."))]);
    }

    #[test]
    fn columns_have_names_and_records_their_lines() {
        let text = b"\xef\xbb\xbfa,b\r\n1,\"two\nlines\"\r\n3\r\n\xff,4\r\n\r\n5,\"6\"\r\n";
        let (found, error) = read(text, Format::Csv);
        assert_eq!(error, None);
        assert_eq!(
            found,
            [
                (2, Ok("{\"a\":\"1\",\"b\":\"two\\nlines\"}".to_owned())),
                (4, Err("It has not as many values as there are columns.")),
                (5, Err("The text is no UTF-8.")),
                (7, Ok("{\"a\":\"5\",\"b\":\"6\"}".to_owned())),
            ]
        );
    }

    #[test]
    fn columns_of_one_name_and_nul_characters_are_refused() {
        let (found, error) = read(b"email,a,email\nx,y,z\n", Format::Csv);
        assert!(found.is_empty());
        assert_eq!(error.as_deref(), Some("two columns are called email"));
        let (found, _) = read(b"a,b\n1,x\0y\n", Format::Csv);
        assert_eq!(found, [(2, Err("A text has a NUL character."))]);
    }

    #[test]
    fn a_quotation_mark_that_nobody_closes_does_not_swallow_the_file() {
        let text = format!("a\n\"{}", "x\n".repeat(2 * LONGEST));
        let (found, error) = read(text.as_bytes(), Format::Csv);
        assert!(found.is_empty());
        assert!(error.is_some_and(|error| error.contains("quotation mark")));
    }
}
