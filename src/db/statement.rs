//! What is heard of statements: they are counted, and have spans for traces. Those hold a verb and a table, never a
//! statement's text, and no value that it carries.

use std::collections::VecDeque;
use std::fmt::{self, Display, Write as _};

use diesel::connection::InstrumentationEvent;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::AsyncConnection as _;
use tracing::Span;
use tracing::field::Empty;

use crate::db::{Conn, Tally, tally};
use crate::traces::{self, TARGET};

/// Most statements of a connection whose end is waited for; more than are ever under way on one.
const MOST: usize = 64;

/// Counts what is sent on `conn`, there and for whoever sends it, and makes the spans of it.
pub(super) fn count_statements(conn: &mut Conn, counter: Tally) {
    let mut under_way = UnderWay::default();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => {
            counter.count();
            tally::count_for_whoever_asks();
            under_way.begin(query);
        }
        InstrumentationEvent::FinishQuery { query, error, .. } => under_way.end(query, error),
        _ => {}
    });
}

/// The statements under way on a connection that are part of something that is traced.
#[derive(Default)]
struct UnderWay(VecDeque<Statement>);

struct Statement {
    /// The span of whoever sent it.
    sender: [u8; 8],
    name: Name,
    span: Span,
    ended: bool,
}

impl Statement {
    fn failed(&self, kind: &str) {
        self.span.record("otel.status_code", "ERROR");
        self.span.record("error.type", kind);
    }
}

impl Drop for Statement {
    /// Whoever sent it did not wait for its end.
    fn drop(&mut self) {
        if !self.ended {
            self.failed("unfinished");
        }
    }
}

/// A verb and, where it has one, a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    verb: String,
    table: Option<String>,
}

impl UnderWay {
    /// A statement is sent.
    fn begin(&mut self, query: &dyn Display) {
        if !traces::recording() {
            return;
        }
        let name = Name::of(query);
        let table = name.table.as_deref();
        let span = tracing::info_span!(
            target: TARGET,
            "statement",
            otel.name = %name,
            otel.kind = "client",
            otel.status_code = Empty,
            "db.system.name" = "postgresql",
            "db.operation.name" = name.verb,
            "db.collection.name" = table,
            "error.type" = Empty,
        );
        // Of one that was given up nobody tells the end.
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let sender = traces::current();
        self.0.push_back(Statement {
            sender,
            name,
            span,
            ended: false,
        });
    }

    /// A statement has ended: the first of this name and sender, for they are answered in order.
    fn end(&mut self, query: &dyn Display, error: Option<&Error>) {
        if self.0.is_empty() || !traces::recording() {
            return;
        }
        let (sender, name) = (traces::current(), Name::of(query));
        let is_it = |one: &Statement| one.sender == sender && one.name == name;
        let at = self.0.iter().position(is_it);
        if let Some(mut statement) = at.and_then(|at| self.0.remove(at)) {
            statement.ended = true;
            if let Some(error) = error {
                statement.failed(kind(error));
            }
        }
    }
}

/// What went wrong, without what the database says of it: that repeats values.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::DatabaseError(kind, _) => match kind {
            DatabaseErrorKind::UniqueViolation => "unique_violation",
            DatabaseErrorKind::ForeignKeyViolation => "foreign_key_violation",
            DatabaseErrorKind::NotNullViolation => "not_null_violation",
            DatabaseErrorKind::CheckViolation => "check_violation",
            DatabaseErrorKind::SerializationFailure => "serialization_failure",
            DatabaseErrorKind::ReadOnlyTransaction => "read_only_transaction",
            DatabaseErrorKind::ClosedConnection => "closed_connection",
            _ => "database_error",
        },
        _ => "_OTHER",
    }
}

impl Name {
    /// That of what diesel shows: the statement in one piece, and behind it the values, at which nobody looks.
    fn of(query: &dyn Display) -> Self {
        let mut text = FirstPiece::default();
        // It refuses what comes behind the statement.
        let _ = write!(text, "{query}");
        Self::read(text.0.as_deref().unwrap_or_default())
    }

    fn read(sql: &str) -> Self {
        let mut words = Words(sql);
        let first = words.next().unwrap_or_default();
        let verb: String = first.chars().take(16).collect::<String>().to_uppercase();
        let before: &[&str] = match verb.as_str() {
            "SELECT" | "DELETE" => &["FROM"],
            // What is written, where anything is.
            "WITH" => &["FROM", "INTO", "UPDATE"],
            "INSERT" => &["INTO"],
            "UPDATE" => &["UPDATE"],
            _ => &[],
        };
        let mut last = first;
        let mut table = None;
        for word in words {
            let begins = before.iter().any(|known| last.eq_ignore_ascii_case(known));
            if begins && is_name(word) {
                table = Some(word.to_owned());
                break;
            }
            last = word;
        }
        Self { verb, table }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "{} {table}", self.verb),
            None => f.write_str(&self.verb),
        }
    }
}

/// Whether a word can be the name of a table here.
fn is_name(word: &str) -> bool {
    (1..=63).contains(&word.len())
        && word
            .bytes()
            .all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The words of a statement, without values that are written into it.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
        loop {
            let at = self.0.find(|c: char| is_part(c) || c == '\'')?;
            self.0 = &self.0[at..];
            if let Some(literal) = self.0.strip_prefix('\'') {
                self.0 = literal.split_once('\'').map_or("", |(_, rest)| rest);
                continue;
            }
            let end = self.0.find(|c: char| !is_part(c)).unwrap_or(self.0.len());
            let (word, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(word);
        }
    }
}

/// Takes the first piece of what is written.
#[derive(Default)]
struct FirstPiece(Option<String>);

impl fmt::Write for FirstPiece {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.is_some() {
            return Err(fmt::Error);
        }
        self.0 = Some(text.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use diesel::pg::Pg;
    use diesel::sql_types::Text;

    use super::*;

    #[test]
    fn a_statement_is_named_by_its_verb_and_its_table() {
        for (sql, name) in [
            (
                r#"SELECT "users"."id" FROM "users" WHERE "users"."id" = $1"#,
                "SELECT users",
            ),
            (
                r#"INSERT INTO "sessions" ("id") VALUES ($1)"#,
                "INSERT sessions",
            ),
            (r#"UPDATE "users" SET "id" = $1"#, "UPDATE users"),
            (r#"DELETE FROM "jobs" WHERE true"#, "DELETE jobs"),
            (
                "WITH a AS (INSERT INTO jobs VALUES (1) ON CONFLICT DO UPDATE SET id = 2) SELECT 1 FROM a",
                "WITH jobs",
            ),
            (
                "WITH a AS (SELECT 1 FROM jobs FOR UPDATE SKIP LOCKED) SELECT 2",
                "WITH jobs",
            ),
            ("BEGIN", "BEGIN"),
            ("SELECT 'it is FROM ada' FROM users", "SELECT users"),
            ("SELECT pg_notify('from', 'ada')", "SELECT"),
            ("SELECT 'it''s FROM ada', FROM Ada@example", "SELECT"),
            ("", ""),
        ] {
            assert_eq!(Name::read(sql).to_string(), name, "{sql}");
        }
    }

    #[test]
    fn no_value_of_a_statement_is_looked_at() {
        let query = diesel::sql_query("SELECT 1 FROM users WHERE name = $1");
        let query = query.bind::<Text, _>("secret FROM ada");
        let shown = diesel::debug_query::<Pg, _>(&query);
        assert!(shown.to_string().contains("ada"), "diesel shows values");
        let mut text = FirstPiece::default();
        assert!(write!(text, "{shown}").is_err());
        assert_eq!(
            text.0.as_deref(),
            Some("SELECT 1 FROM users WHERE name = $1")
        );
        assert_eq!(Name::of(&shown).to_string(), "SELECT users");
    }
}
