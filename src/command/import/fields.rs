//! The values of a record, by the names that products give them, in the forms that CSV and JSON have for them.

use async_graphql::MaybeUndefined;
use cardea::scalar::{Date, DateTime, Json};
use chrono::{NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::command::import::json;

/// The values of one record, and what is wrong with them.
pub(super) struct Fields<'a> {
    values: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

/// The name of a value, and what is wrong with it.
pub(super) type Fault = (String, &'static str);

impl<'a> Fields<'a> {
    /// The values of this record.
    pub(super) fn new(values: &'a Map<String, Value>) -> Self {
        Self {
            values,
            faults: Vec::new(),
        }
    }

    /// What was wrong with those that were asked for.
    pub(super) fn faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Adds what is wrong with the values of an object below.
    pub(super) fn take(&mut self, faults: Vec<Fault>, below: &str) {
        let placed = |(name, wrong): Fault| (format!("{below}.{name}"), wrong);
        self.faults.extend(faults.into_iter().map(placed));
    }

    /// Adds what is wrong with one of those that were asked for.
    pub(super) fn refuse(&mut self, name: &str, wrong: &'static str) {
        self.faults.push((name.to_owned(), wrong));
    }

    /// The first of these that is there and neither null nor empty.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        names.iter().find_map(|name| {
            let value = self.values.get(*name)?;
            let empty =
                value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
            (!empty).then_some((*name, value))
        })
    }

    /// A value as `read` understands it.
    fn read<T>(
        &mut self,
        names: &[&'static str],
        wrong: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let (name, value) = self.find(names)?;
        let found = read(value);
        if found.is_none() {
            self.faults.push((name.to_owned(), wrong));
        }
        found
    }

    /// Text; numbers are taken for it.
    pub(super) fn text(&mut self, names: &[&'static str]) -> Option<String> {
        self.read(names, "This is no text.", |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, names: &[&'static str]) -> Option<bool> {
        self.read(
            names,
            "This is neither true nor false.",
            |value| match value {
                Value::Bool(flag) => Some(*flag),
                Value::Number(number) if number.as_u64() == Some(0) => Some(false),
                Value::Number(number) if number.as_u64() == Some(1) => Some(true),
                Value::String(text) => match &*text.trim().to_lowercase() {
                    "true" | "t" | "yes" | "y" | "1" => Some(true),
                    "false" | "f" | "no" | "n" | "0" => Some(false),
                    _ => None,
                },
                _ => None,
            },
        )
    }

    /// An instant in one of the forms of ISO 8601; without an offset it is UTC.
    pub(super) fn instant(&mut self, names: &[&'static str]) -> Option<DateTime> {
        let wrong = "This is no date and time such as 2026-11-30T08:00:00Z.";
        self.read(names, wrong, |value| instant(value.as_str()?))
    }

    /// A day, by itself or with a time of which nothing is made.
    pub(super) fn day(&mut self, names: &[&'static str]) -> Option<Date> {
        self.read(names, "This is no date such as 2026-11-30.", |value| {
            let text = value.as_str()?.trim();
            let day = text.split(['T', ' ']).next()?;
            NaiveDate::parse_from_str(day, "%Y-%m-%d").ok().map(Date)
        })
    }

    /// A UUID.
    pub(super) fn uuid(&mut self, names: &[&'static str]) -> Option<Uuid> {
        self.read(names, "This is no UUID.", |value| {
            Uuid::try_parse(value.as_str()?.trim()).ok()
        })
    }

    /// A JSON object, or the text of one.
    pub(super) fn object(&mut self, names: &[&'static str]) -> Option<Json> {
        let read = |value: &Value| parsed(value).filter(Value::is_object).map(Json);
        let wrong =
            "This is no JSON object, or a name stands twice in it, or a number is beyond 64 bits.";
        self.read(names, wrong, read)
    }

    /// The values of an object below this record.
    pub(super) fn below(&mut self, names: &[&'static str]) -> Option<Map<String, Value>> {
        match self.object(names) {
            Some(Json(Value::Object(map))) => Some(map),
            _ => None,
        }
    }

    /// Words: a JSON array of texts, the text of one, or words between semicolons.
    pub(super) fn list(&mut self, names: &[&'static str]) -> Option<Vec<String>> {
        self.read(names, "This is no list of texts.", |value| {
            let listed = parsed(value).filter(Value::is_array);
            if let Some(Value::Array(items)) = listed {
                let text = |item: Value| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                };
                return items.into_iter().map(text).collect();
            }
            let words = value.as_str()?.split(';').map(str::trim);
            Some(
                words
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )
        })
    }

    /// One of the values of an enum, whatever the case.
    pub(super) fn one_of<T>(
        &mut self,
        names: &[&'static str],
        from_text: fn(&str) -> Option<T>,
    ) -> MaybeUndefined<T> {
        let found = self.read(
            names,
            "This is none of the values that are known.",
            |value| from_text(&value.as_str()?.trim().to_lowercase()),
        );
        given(found)
    }
}

/// Left out where there is nothing.
pub(super) fn given<T>(value: Option<T>) -> MaybeUndefined<T> {
    value.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value)
}

fn parsed(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => json::read(text.as_bytes(), "").ok(),
        other => Some(other.clone()),
    }
}

fn instant(text: &str) -> Option<DateTime> {
    let text = text.trim().replacen(' ', "T", 1);
    // PostgreSQL writes whole hours of an offset, which RFC 3339 does not know.
    let hours = text.len().checked_sub(3).and_then(|at| text.get(at..));
    let whole = hours.is_some_and(|end| end.starts_with(['+', '-'])) && text.contains(':');
    let text = if whole { format!("{text}:00") } else { text };
    if let Ok(instant) = chrono::DateTime::parse_from_rfc3339(&text) {
        return Some(DateTime(instant.to_utc()));
    }
    let naive = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f");
    naive.ok().map(|naive| DateTime(naive.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_many_forms() {
        let expected = instant("2024-02-03T04:05:06.5Z");
        assert!(expected.is_some());
        for text in [
            "2024-02-03 04:05:06.5",
            "2024-02-03T04:05:06.500000",
            "2024-02-03 04:05:06.5+00",
            "2024-02-03 05:05:06.500000+01:00",
            " 2024-02-03T04:05:06.5+00:00 ",
        ] {
            assert_eq!(instant(text), expected, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2024-02-30T00:00:00Z",
            "2024-02-03",
            "1706933106",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
