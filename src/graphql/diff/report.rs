//! What is told of a comparison, to people and to programs, and whether it fails.

use std::fmt::{self, Write as _};

use chrono::NaiveDate;
use serde::Serialize;

use super::{Change, Severity, Waiver};

/// A comparison, held against waivers.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether something fails that is not waived.
    pub fails: bool,
    /// How many there are of what.
    pub summary: Summary,
    /// All changes, the worst first.
    pub changes: Vec<Judged>,
    /// Waivers whose last day is over, of changes that are there.
    pub ended_waivers: Vec<Told>,
    /// Waivers of no change that is there.
    pub unused_waivers: Vec<Told>,
}

/// How many changes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Breaking ones.
    pub breaking: usize,
    /// Breaking ones that are about who may use what.
    pub access: usize,
    /// Notices about who may use what.
    pub security: usize,
    /// Dangerous ones.
    pub dangerous: usize,
    /// Safe ones.
    pub safe: usize,
    /// Those that would fail and are waived.
    pub waived: usize,
}

/// A change, and what makes it acceptable.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// Its waiver.
    pub waived: Option<Told>,
}

/// A waiver, as it is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Where the change is.
    pub coordinate: String,
    /// What it is.
    pub change: String,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it is.
    pub until: NaiveDate,
}

impl From<&Waiver> for Told {
    fn from(waiver: &Waiver) -> Self {
        Self {
            coordinate: waiver.coordinate.clone(),
            change: waiver.change.name(),
            reason: super::printable(&waiver.reason),
            until: waiver.until,
        }
    }
}

impl Report {
    /// Holds changes against waivers. What is breaking fails, and what is listed in `also`.
    #[must_use]
    pub fn new(
        changes: Vec<Change>,
        waivers: &[Waiver],
        also: &[Severity],
        today: NaiveDate,
    ) -> Self {
        let about = |waiver: &&Waiver| changes.iter().any(|change| waiver.is_about(change));
        let (used, unused): (Vec<_>, Vec<_>) = waivers.iter().partition(about);
        let (ended, live): (Vec<_>, Vec<_>) =
            used.into_iter().partition(|waiver| waiver.has_ended(today));
        let changes: Vec<_> = changes
            .into_iter()
            .map(|change| {
                let accepted = live.iter().find(|waiver| waiver.is_about(&change));
                let waived = accepted.map(|waiver| Told::from(*waiver));
                Judged { change, waived }
            })
            .collect();
        let would_fail = |judged: &&Judged| {
            let severity = judged.change.severity;
            severity == Severity::Breaking || also.contains(&severity)
        };
        let failing = || changes.iter().filter(would_fail);
        let count = |severity| {
            let of = changes.iter().map(|judged| judged.change.severity);
            of.filter(|one| *one == severity).count()
        };
        let breaking = changes
            .iter()
            .filter(|judged| judged.change.severity == Severity::Breaking);
        Self {
            fails: failing().any(|judged| judged.waived.is_none()),
            summary: Summary {
                breaking: count(Severity::Breaking),
                access: breaking.filter(|judged| judged.change.security).count(),
                security: count(Severity::Security),
                dangerous: count(Severity::Dangerous),
                safe: count(Severity::Safe),
                waived: failing().filter(|judged| judged.waived.is_some()).count(),
            },
            ended_waivers: ended.into_iter().map(Told::from).collect(),
            unused_waivers: unused.into_iter().map(Told::from).collect(),
            changes,
        }
    }
}

impl fmt::Display for Report {
    /// One line for each change, then waivers that do nothing, then a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Judged { change, waived } in &self.changes {
            let severity = match (change.severity, change.security) {
                (Severity::Breaking, true) => "breaking security",
                (Severity::Breaking, false) => "breaking",
                (Severity::Security, _) => "security",
                (Severity::Dangerous, _) => "dangerous",
                (Severity::Safe, _) => "safe",
            };
            let (at, kind) = (&change.coordinate, change.kind.name());
            write!(f, "{severity:<17} {at} {kind}: {}", change.message)?;
            if let Some(waiver) = waived {
                write!(f, " [waived until {}: {}]", waiver.until, waiver.reason)?;
            }
            f.write_char('\n')?;
        }
        let lists = [
            ("ended", &self.ended_waivers),
            ("unused", &self.unused_waivers),
        ];
        for (what, waivers) in lists {
            for told in waivers {
                let Told {
                    coordinate,
                    change,
                    reason,
                    until,
                } = told;
                writeln!(
                    f,
                    "{what} waiver: {coordinate} {change}, until {until}: {reason}"
                )?;
            }
        }
        writeln!(f, "{}", self.summary)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            breaking,
            access,
            security,
            dangerous,
            safe,
            waived,
        } = self;
        if breaking + security + dangerous + safe == 0 {
            return f.write_str("No changes.");
        }
        write!(
            f,
            "{breaking} breaking ({access} of access), {security} to look at for security, "
        )?;
        write!(f, "{dangerous} dangerous, {safe} safe; {waived} waived.")
    }
}
