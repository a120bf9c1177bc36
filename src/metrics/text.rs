//! The text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). It decides nothing of what is told.

use std::fmt::{Display, Write as _};

use crate::metrics::{BOUNDS, Histogram};

/// What the text is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; begins at 0 when the server starts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// A text that is being written.
#[derive(Debug, Default)]
pub struct Text(String);

/// A metric of the text; its samples follow.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    /// Begins a metric.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let text = &mut self.0;
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text, name }
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// The whole.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// A value of the metric.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// The buckets, sum and count of a histogram, in seconds.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let (counts, sum) = histogram.read();
        let mut so_far = 0;
        for (at, count) in counts.into_iter().enumerate() {
            so_far += count;
            let bound = BOUNDS.get(at).map_or_else(
                || "+Inf".to_owned(),
                |bound| {
                    std::time::Duration::from_micros(*bound)
                        .as_secs_f64()
                        .to_string()
                },
            );
            self.line("_bucket", labels, Some(&bound), so_far);
        }
        self.line("_sum", labels, None, sum.as_secs_f64());
        self.line("_count", labels, None, so_far);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.text, "{before}{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_of_labels_end_where_they_end() {
        let mut text = Text::default();
        text.family("a", Kind::Gauge, "It.")
            .sample(&[("b", "\" \\ \n"), ("c", "")], 1);
        let wanted = "# HELP a It.\n# TYPE a gauge\na{b=\"\\\" \\\\ \\n\",c=\"\"} 1\n";
        assert_eq!(text.into_string(), wanted);
    }

    #[test]
    fn buckets_count_what_is_below_them_and_the_sum_is_in_seconds() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(1_500));
        histogram.observe(Duration::from_secs(11));
        let mut text = Text::default();
        let mut family = text.family("a_seconds", Kind::Histogram, "It.");
        family.histogram(&[("b", "c")], &histogram);
        let text = text.into_string();
        for line in [
            "a_seconds_bucket{b=\"c\",le=\"0.001\"} 0\n",
            "a_seconds_bucket{b=\"c\",le=\"0.0025\"} 1\n",
            "a_seconds_bucket{b=\"c\",le=\"10\"} 1\n",
            "a_seconds_bucket{b=\"c\",le=\"+Inf\"} 2\n",
            "a_seconds_sum{b=\"c\"} 11.0015\n",
            "a_seconds_count{b=\"c\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
