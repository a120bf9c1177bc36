//! Rules on free-form JSON: how large, how deep, and with which numbers it is kept.

use crate::error::UserError;
use crate::scalar::Json;

/// Most bytes of a JSON value, written without spaces.
pub const MAX_JSON_BYTES: usize = 16 * 1024;
/// Most levels of a JSON value.
pub const MAX_JSON_DEPTH: usize = 8;
/// A JSON object of bounded size and depth.
///
/// # Errors
/// `JSON_OBJECT`, `JSON_NUMBER`, `JSON_SIZE` or `JSON_DEPTH`.
pub fn json_object(path: &[&str], value: &Json) -> Result<Json, UserError> {
    let invalid =
        |rule, maximum, message: &str| UserError::invalid(path, rule, (None, maximum), message);
    if !value.is_object() {
        return Err(invalid("JSON_OBJECT", None, "A JSON object."));
    }
    if !has_plain_numbers(value) {
        return Err(invalid(
            "JSON_NUMBER",
            None,
            "Numbers between 1e-15 and 1e15, or whole ones of 64 bits.",
        ));
    }
    if value.to_string().len() > MAX_JSON_BYTES {
        return Err(invalid(
            "JSON_SIZE",
            Some(MAX_JSON_BYTES),
            "At most 16 KiB.",
        ));
    }
    if depth(value) > MAX_JSON_DEPTH {
        return Err(invalid(
            "JSON_DEPTH",
            Some(MAX_JSON_DEPTH),
            "At most 8 levels.",
        ));
    }
    Ok(value.clone())
}

/// Whether every number is one that is written out in full in a few digits: PostgreSQL keeps
/// `1e300` as three hundred and one digits.
fn has_plain_numbers(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => {
            number
                .as_f64()
                .is_some_and(|number| number == 0.0 || (1e-15..=1e15).contains(&number.abs()))
                || number.is_i64()
                || number.is_u64()
        }
        serde_json::Value::Array(items) => items.iter().all(has_plain_numbers),
        serde_json::Value::Object(map) => map.values().all(has_plain_numbers),
        _ => true,
    }
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_bounds() {
        let nested = |levels: usize| {
            Json((1..levels).fold(
                serde_json::json!({}),
                |inner, _| serde_json::json!({ "a": inner }),
            ))
        };
        assert!(json_object(&[], &nested(8)).is_ok());
        assert!(json_object(&[], &nested(9)).is_err());
        assert!(json_object(&[], &Json(serde_json::json!([]))).is_err());
        assert!(
            json_object(
                &[],
                &Json(serde_json::json!({ "a": "x".repeat(MAX_JSON_BYTES) }))
            )
            .is_err()
        );
    }

    #[test]
    fn numbers_are_those_that_every_reader_keeps() {
        let object = |number: &str| {
            let text = format!("{{\"a\": [{number}]}}");
            json_object(&[], &Json(serde_json::from_str(&text).expect("JSON")))
        };
        for good in [
            "0",
            "-1",
            "2.5",
            "1e3",
            "9223372036854775807",
            "18446744073709551615",
            "1e-9",
        ] {
            assert!(object(good).is_ok(), "{good}");
        }
        for bad in [
            "1e300",
            "-1e300",
            "1e-300",
            "123456789012345678901234567890",
        ] {
            assert!(object(bad).is_err(), "{bad}");
        }
    }
}
