//! Changes that somebody accepted: which, why and until when. It reads them and matches; a waiver never
//! hides a change.

use chrono::NaiveDate;
use serde::Deserialize;
use toml::value::Datetime;

use super::{Change, Kind};

/// A change that somebody accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// Where the change is.
    pub coordinate: String,
    /// What it is.
    pub change: Kind,
    /// What the report says of it, where not any such change is meant.
    pub message: Option<String>,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it is.
    pub until: NaiveDate,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    waiver: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    coordinate: String,
    change: Kind,
    message: Option<String>,
    reason: String,
    until: Datetime,
}

/// Reads a file of waivers.
///
/// # Errors
/// A line that says what is wrong, and where.
pub fn parse(text: &str) -> Result<Vec<Waiver>, String> {
    let written: Written = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].split(|&byte| byte == b'\n').count();
        let message = error.message().trim().replace('\n', "; ");
        format!("{line}: {message}")
    })?;
    let waivers = written.waiver.into_iter().zip(1..);
    waivers
        .map(|(entry, number)| entry.waiver(number))
        .collect()
}

impl Entry {
    fn waiver(self, number: usize) -> Result<Waiver, String> {
        let told = format!("waiver {number}, of {:?}", self.coordinate);
        if self.reason.trim().is_empty() {
            return Err(format!("{told}: the reason is empty"));
        }
        let until = day(&self.until).ok_or_else(|| {
            format!("{told}: `until` is a day without a time, such as 2027-01-31")
        })?;
        Ok(Waiver {
            coordinate: self.coordinate,
            change: self.change,
            message: self.message,
            reason: self.reason.trim().to_owned(),
            until,
        })
    }
}

fn day(written: &Datetime) -> Option<NaiveDate> {
    let date = written.date.filter(|_| written.time.is_none())?;
    NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
}

impl Waiver {
    /// Whether it is about this change.
    pub(super) fn is_about(&self, change: &Change) -> bool {
        self.coordinate == change.coordinate
            && self.change == change.kind
            && self
                .message
                .as_ref()
                .is_none_or(|message| *message == change.message)
    }

    /// Whether its last day is over.
    pub(super) fn has_ended(&self, today: NaiveDate) -> bool {
        self.until < today
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "[[waiver]]\ncoordinate = 'Query.users'\nchange = 'access-changed'\nreason = ' agreed '\nuntil = 2027-01-31\n";

    #[test]
    fn a_waiver_has_a_place_a_kind_a_reason_and_a_day() {
        let waiver = Waiver {
            coordinate: "Query.users".to_owned(),
            change: Kind::AccessChanged,
            message: None,
            reason: "agreed".to_owned(),
            until: NaiveDate::from_ymd_opt(2027, 1, 31).expect("a day"),
        };
        assert_eq!(parse(SOUND), Ok(vec![waiver]));
        assert_eq!(parse("# nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn anything_else_is_refused_and_told() {
        for (change, told) in [
            (("reason = ' agreed '\n", ""), "1: missing field `reason`"),
            (
                ("' agreed '", "'  '"),
                "waiver 1, of \"Query.users\": the reason is empty",
            ),
            (("until = 2027-01-31\n", ""), "1: missing field `until`"),
            (("2027-01-31", "2027-02-31"), "5: "),
            (
                ("2027-01-31", "2027-01-31T10:00:00"),
                "waiver 1, of \"Query.users\": `until` is a day",
            ),
            (("2027-01-31", "'soon'"), "5: "),
            (
                ("access-changed", "whatever"),
                "3: unknown variant `whatever`, expected one of `access-added`",
            ),
            (("reason", "why"), "4: unknown field `why`"),
            (("[[waiver]]", "[[waivers]]"), "1: unknown field `waivers`"),
            (("[[waiver]]", "[["), "1: "),
        ] {
            let error = parse(&SOUND.replace(change.0, change.1)).expect_err("must be refused");
            assert!(error.starts_with(told), "{change:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let deep = format!("a = {}", "[".repeat(200_000));
        assert!(parse(&deep).is_err());
    }
}
