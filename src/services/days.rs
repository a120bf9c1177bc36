//! The days of a time zone that a span of time touches. It asks neither the database nor the clock.

use std::str::FromStr as _;

use chrono::{DurationRound as _, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::error::{Error, Result};
use crate::models::statistics::Cut;
use crate::scalar::{Date, DateTime};

/// The length of a roll-up.
pub const QUARTER: TimeDelta = TimeDelta::minutes(15);
/// The longest span that is cut.
const LONGEST: TimeDelta = TimeDelta::days(400);

/// A span of time, cut at the midnights of a time zone.
#[derive(Debug)]
pub struct Days {
    /// The days that it touches, in order; the first and the last may lie in it in part.
    pub days: Vec<Date>,
    /// The pieces, one for each day; one even where there is no day.
    pub cut: Cut,
}

/// Cuts the span from the first instant on and before the second into days of `zone`.
///
/// # Errors
/// [`Error::BadInput`] for an unknown zone, and for a span that is longer than 400 days or ends before it begins.
pub fn cut(from: DateTime, to: DateTime, zone: &str) -> Result<Days> {
    let length = (*to).signed_duration_since(*from);
    if length < TimeDelta::zero() || length > LONGEST {
        let message = "A span that ends after it begins and has at most 400 days.";
        return Err(Error::BadInput(message.to_owned()));
    }
    let zone = Tz::from_str(zone)
        .map_err(|_| Error::BadInput("Not an IANA time zone such as Europe/Vienna.".to_owned()))?;
    let mut days = Vec::new();
    let mut bounds = vec![from];
    if from < to {
        let day_of = |instant: chrono::DateTime<Utc>| instant.with_timezone(&zone).date_naive();
        let last = day_of(*to - TimeDelta::microseconds(1));
        let mut day = day_of(*from);
        days.push(Date(day));
        while day < last
            && let Some(next) = day.succ_opt()
        {
            day = next;
            days.push(Date(day));
            let start = DateTime(start_of(day, zone));
            // In order also where the clock was put back over midnight.
            bounds.push(start.max(bounds[bounds.len() - 1]).min(to));
        }
    }
    bounds.push(to);
    let midnight_before = floor(from, TimeDelta::days(1));
    let first_midnight = if midnight_before == from {
        from
    } else {
        DateTime(*midnight_before + TimeDelta::days(1))
    };
    let cut_quarters = bounds
        .iter()
        .map(|bound| (*bound, floor(*bound, QUARTER)))
        .filter_map(|(bound, quarter)| (bound != quarter).then_some(quarter));
    let mut cut_quarters: Vec<_> = cut_quarters.collect();
    cut_quarters.dedup();
    Ok(Days {
        days,
        cut: Cut {
            from,
            to,
            bounds,
            cut_quarters,
            first_midnight,
            midnight_before,
        },
    })
}

/// The last multiple of `step` since 1970 at or before `instant`.
#[must_use]
pub fn floor(instant: DateTime, step: TimeDelta) -> DateTime {
    DateTime((*instant).duration_trunc(step).unwrap_or(*instant))
}

/// When a day begins. Where the clock is put forward at midnight, that is when it was.
fn start_of(day: NaiveDate, zone: Tz) -> chrono::DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    let start = zone.from_local_datetime(&midnight).earliest();
    start
        .or_else(|| GapInfo::new(&midnight, &zone).and_then(|gap| gap.end))
        .map_or_else(|| midnight.and_utc(), |start| start.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime {
        DateTime(text.parse().expect("an instant"))
    }

    /// Each day and the hours of it that lie in the span.
    fn hours(from: &str, to: &str, zone: &str) -> Vec<String> {
        let Days { days, cut } = cut(instant(from), instant(to), zone).expect("days");
        assert_eq!(cut.bounds.len(), days.len().max(1) + 1);
        let pieces = days.iter().zip(cut.bounds.windows(2));
        let hours = |piece: &[DateTime]| (*piece[1] - *piece[0]).num_minutes();
        pieces
            .map(|(day, piece)| format!("{} {}", **day, hours(piece)))
            .collect()
    }

    #[test]
    fn days_are_cut_at_the_midnight_of_the_zone() {
        let vienna = hours(
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z",
            "Europe/Vienna",
        );
        assert_eq!(
            vienna,
            ["2026-03-28 660", "2026-03-29 1380", "2026-03-30 840"]
        );
        let vienna = hours(
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            "Europe/Vienna",
        );
        assert_eq!(vienna, ["2026-10-25 1500"]);
        let nepal = hours(
            "2026-03-28T18:00:00Z",
            "2026-03-28T18:30:00Z",
            "Asia/Kathmandu",
        );
        assert_eq!(nepal, ["2026-03-28 15", "2026-03-29 15"]);
        let none = hours("2026-03-28T18:00:00Z", "2026-03-28T18:00:00Z", "UTC");
        assert!(none.is_empty());
    }

    #[test]
    fn a_day_without_midnight_begins_when_the_clock_is_put_forward() {
        // From 24:00 to 01:00.
        let cairo = hours(
            "2026-04-22T22:00:00Z",
            "2026-04-25T21:00:00Z",
            "Africa/Cairo",
        );
        assert_eq!(
            cairo,
            ["2026-04-23 1440", "2026-04-24 1380", "2026-04-25 1440"]
        );
        // From 01:00 to 00:00: midnight comes twice, and the day begins with the first.
        let havana = hours(
            "2026-10-31T04:00:00Z",
            "2026-11-02T05:00:00Z",
            "America/Havana",
        );
        assert_eq!(havana, ["2026-10-31 1440", "2026-11-01 1500"]);
        // From 24:00 to 23:00.
        let santiago = hours(
            "2026-04-03T03:00:00Z",
            "2026-04-06T04:00:00Z",
            "America/Santiago",
        );
        assert_eq!(
            santiago,
            ["2026-04-03 1440", "2026-04-04 1500", "2026-04-05 1440"]
        );
        // A day that never was.
        let apia = hours(
            "2011-12-29T10:00:00Z",
            "2011-12-31T10:00:00Z",
            "Pacific/Apia",
        );
        assert_eq!(apia, ["2011-12-29 1440", "2011-12-30 0", "2011-12-31 1440"]);
    }

    #[test]
    fn quarters_that_a_bound_cuts_are_named() {
        let quarters = |from: &str, to: &str, zone| {
            let cut = cut(instant(from), instant(to), zone).expect("days").cut;
            let quarters = cut.cut_quarters.iter().map(|quarter| quarter.to_rfc3339());
            quarters.collect::<Vec<_>>()
        };
        assert!(
            quarters(
                "2026-03-28T18:15:00Z",
                "2026-04-28T18:15:00Z",
                "Asia/Kathmandu"
            )
            .is_empty()
        );
        assert_eq!(
            quarters("2026-03-28T18:15:00.000001Z", "2026-03-28T18:59:59Z", "UTC"),
            ["2026-03-28T18:15:00+00:00", "2026-03-28T18:45:00+00:00"]
        );
        // 44 minutes and 30 seconds behind.
        assert_eq!(
            quarters(
                "1971-03-28T00:00:00Z",
                "1971-03-29T00:00:00Z",
                "Africa/Monrovia"
            ),
            ["1971-03-28T00:30:00+00:00"]
        );
    }

    #[test]
    fn zones_of_the_present_are_whole_quarters_ahead_or_behind() {
        use chrono::Offset as _;
        for zone in chrono_tz::TZ_VARIANTS {
            for month in 1..=12 {
                let date = NaiveDate::from_ymd_opt(2026, month, 1).expect("a date");
                let offset = zone.offset_from_utc_datetime(&date.and_time(NaiveTime::MIN));
                assert_eq!(offset.fix().local_minus_utc() % 900, 0, "{zone}");
            }
        }
    }

    #[test]
    fn spans_and_zones_that_cannot_be_are_refused() {
        let bad = |from, to, zone| {
            matches!(
                cut(instant(from), instant(to), zone),
                Err(Error::BadInput(_))
            )
        };
        assert!(bad("2026-03-28T18:00:00Z", "2026-03-28T17:59:59Z", "UTC"));
        assert!(bad("2025-01-01T00:00:00Z", "2026-02-05T00:00:01Z", "UTC"));
        assert!(!bad("2025-01-01T00:00:00Z", "2026-02-05T00:00:00Z", "UTC"));
        assert!(bad(
            "2026-01-01T00:00:00Z",
            "2026-02-05T00:00:00Z",
            "Europe/Atlantis"
        ));
        // The ends of what can be written.
        assert!(!bad(
            "0000-01-01T00:00:00Z",
            "0000-01-01T00:00:01Z",
            "Asia/Kathmandu"
        ));
        assert!(!bad(
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "Asia/Kathmandu"
        ));
    }
}
