//! JSON as exports have it, read so that nothing of it is lost in silence. It knows neither files nor products.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What is said of a name that stands twice in one object: which of the values holds nobody knows.
const TWICE: &str = "A name stands twice in one object.";
/// What is said of a number of which only the first digits would be kept.
const TOO_LARGE: &str = "A number is beyond 64 bits.";
/// What is said of a character that PostgreSQL keeps in no text.
const NUL: &str = "A text has a NUL character.";
/// No float from here on is anything but a whole number of more than 64 bits.
const BEYOND_64_BITS: f64 = 18_446_744_073_709_551_616.0;

/// Reads a value.
///
/// # Errors
/// What is wrong: `otherwise`, unless there is more to say.
pub(super) fn read(text: &[u8], otherwise: &'static str) -> Result<Value, &'static str> {
    match serde_json::from_slice(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => {
            let said = error.to_string();
            let known = [TWICE, TOO_LARGE, NUL];
            let found = known.into_iter().find(|known| said.starts_with(known));
            Err(found.unwrap_or(otherwise))
        }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

/// A text without the one character that the database does not take.
fn text<E: Error>(text: String) -> Result<String, E> {
    if text.contains('\0') {
        return Err(E::custom(NUL));
    }
    Ok(text)
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // A whole number below the least of 64 bits comes as a float, too.
        let whole = value <= -BEYOND_64_BITS / 2.0 || value >= BEYOND_64_BITS;
        let number = Number::from_f64(value).filter(|_| !whole);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom(TOO_LARGE))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        text(value.to_owned()).map(Value::String)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.insert(text(name)?, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_in_silence_is_refused() {
        let wrong = |text: &str| read(text.as_bytes(), "else").expect_err(text);
        assert_eq!(wrong(r#"{"a":1,"b":2,"a":3}"#), TWICE);
        assert_eq!(wrong(r#"{"a":{"b":[{"c":1,"\u0063":1}]}}"#), TWICE);
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "1e300",
            "-1e300",
        ] {
            assert_eq!(wrong(&format!("[{number}]")), TOO_LARGE, "{number}");
        }
        for text in ["{\"a\":\"b\\u0000\"}", "{\"\\u0000\":1}"] {
            assert_eq!(wrong(text), NUL);
        }
        for text in ["", "{", "{} {}", "1e999", "nothing"] {
            assert_eq!(wrong(text), "else", "{text}");
        }
    }

    #[test]
    fn all_else_is_read_as_it_stands() {
        for text in [
            r#"{"a":[null,true,-1.5,"ä"],"b":{"a":{}}}"#,
            "[18446744073709551615,-9223372036854775808,1e15]",
        ] {
            let plain: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(read(text.as_bytes(), "else"), Ok(plain));
        }
    }
}
