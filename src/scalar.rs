//! The schema's own scalars, which rows, inputs and answers share. Forms only; no rule of the domain.

use std::ops::Deref;

use async_graphql::{InputType, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{NaiveDate, SecondsFormat, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The global id of an object: base64url of the name of its type and its UUID.
#[must_use]
pub fn global_id(kind: &str, id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode([kind.as_bytes(), id.as_bytes()].concat())
}

/// Stores the newtype `$name` as its inner `$inner`, under the SQL type `$sql`.
macro_rules! stored_as {
    ($name:ident, $inner:ty, $sql:ty) => {
        impl ToSql<$sql, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <$inner as ToSql<$sql, Pg>>::to_sql(&self.0, out)
            }
        }
        impl FromSql<$sql, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                <$inner as FromSql<$sql, Pg>>::from_sql(bytes).map(Self)
            }
        }
        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }
        impl Deref for $name {
            type Target = $inner;
            fn deref(&self) -> &$inner {
                &self.0
            }
        }
    };
}

/// An instant, in microseconds.
#[derive(
    AsExpression,
    FromSqlRow,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[diesel(sql_type = sql_types::Timestamptz)]
pub struct DateTime(pub chrono::DateTime<Utc>);
stored_as!(DateTime, chrono::DateTime<Utc>, sql_types::Timestamptz);

/// An instant, RFC 3339. Answers have it in UTC, always with `Z` and at most microseconds; inputs may have another
/// offset.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = string(value)?;
        chrono::DateTime::parse_from_rfc3339(&text)
            .map(|instant| Self(instant.to_utc()))
            .map_err(|_| {
                InputValueError::custom("not an RFC 3339 instant such as 2026-11-30T08:00:00Z")
            })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A calendar date.
#[derive(AsExpression, FromSqlRow, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[diesel(sql_type = sql_types::Date)]
pub struct Date(pub NaiveDate);
stored_as!(Date, NaiveDate, sql_types::Date);

/// A calendar date without a time, as in `2026-11-30`.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/local-date")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = string(value)?;
        // chrono also takes `2026-1-3` and `+12026-01-03`; the specification has one form only.
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        shaped
            .then(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| InputValueError::custom("not a date such as 2026-11-30"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A JSON value.
#[derive(AsExpression, FromSqlRow, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[diesel(sql_type = sql_types::Jsonb)]
pub struct Json(pub serde_json::Value);
stored_as!(Json, serde_json::Value, sql_types::Jsonb);

/// Free-form JSON. As an input it has at most 16 KiB, written without spaces, and 8 levels, and its numbers lie
/// between 1e-15 and 1e15 or are whole ones of 64 bits; answers may be larger.
#[Scalar(
    name = "JSON",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259"
)]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        value
            .into_json()
            .map(Self)
            .map_err(|_| InputValueError::custom("not JSON"))
    }

    fn to_value(&self) -> Value {
        // Every JSON value is a GraphQL value; only a non-finite number could fail, and JSON has none.
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

/// A mail address.
#[derive(AsExpression, FromSqlRow, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[diesel(sql_type = sql_types::Text)]
pub struct EmailAddress(pub String);
stored_as!(EmailAddress, String, sql_types::Text);

/// A mail address as the account holder typed it. Compared without regard to case.
#[Scalar(
    specified_by_url = "https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address"
)]
impl ScalarType for EmailAddress {
    fn parse(value: Value) -> InputValueResult<Self> {
        string(value).map(Self)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An absolute address of the web.
#[derive(AsExpression, FromSqlRow, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[diesel(sql_type = sql_types::Text)]
pub struct Url(pub String);
stored_as!(Url, String, sql_types::Text);

/// An absolute `http` or `https` address.
#[Scalar(name = "URL", specified_by_url = "https://url.spec.whatwg.org/")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        string(value).map(Self)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

fn string<T: InputType>(value: Value) -> Result<String, InputValueError<T>> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(InputValueError::expected_type(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_z() {
        let instant = <DateTime as ScalarType>::parse(Value::from("2026-11-30T09:00:00.25+01:00"))
            .map(|instant| ScalarType::to_value(&instant));
        assert_eq!(instant.ok(), Some(Value::from("2026-11-30T08:00:00.250Z")));
    }

    #[test]
    fn dates_have_one_form() {
        for text in [
            "2026-1-3",
            "+12026-01-03",
            "+2026-1-01",
            "2026- 1-01",
            " 2026-1-01",
            "2026-02-30",
            "20260103",
            "",
        ] {
            assert!(
                <Date as ScalarType>::parse(Value::from(text)).is_err(),
                "{text}"
            );
        }
        assert!(<Date as ScalarType>::parse(Value::from("2024-02-29")).is_ok());
    }
}
