//! Answers as JSON (GraphQL over HTTP, section 7). What was resolved on the spot is JSON already.

use async_graphql::{Response, Value};

/// The body of an answer.
#[must_use]
pub fn response(response: &Response) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    if !response.errors.is_empty() {
        out.extend_from_slice(b"\"errors\":");
        serialized(&mut out, &response.errors);
        out.push(b',');
    }
    out.extend_from_slice(b"\"data\":");
    value(&mut out, &response.data);
    if !response.extensions.is_empty() {
        out.extend_from_slice(b",\"extensions\":");
        serialized(&mut out, &response.extensions);
    }
    out.push(b'}');
    out
}

/// Adds a value. Binary ones are JSON that [`AtHand`](super::at_hand::AtHand) wrote: no type of the schema is binary.
pub fn value(out: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => serialized(out, number),
        Value::String(text) => string(out, text),
        Value::Enum(name) => string(out, name),
        Value::Binary(json) => out.extend_from_slice(json),
        Value::List(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                value(out, item);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (at, (name, field)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(out, name);
                out.push(b':');
                value(out, field);
            }
            out.push(b'}');
        }
    }
}

/// Adds a string. Hardly any has a character that must be escaped (RFC 8259, section 7); looked through without a
/// branch for each byte, that is a fraction of the work.
pub fn string(out: &mut Vec<u8>, text: &str) {
    let escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | escaped(&byte)) {
        return serialized(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn serialized(out: &mut Vec<u8>, of: &(impl serde::Serialize + ?Sized)) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, of).is_err() {
        // Nothing that is serialized here fails, and memory takes every byte.
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Name, Value, indexmap::IndexMap};
    use axum::body::Bytes;
    use serde_json::json;

    fn encoded(of: &Value) -> String {
        let mut out = Vec::new();
        super::value(&mut out, of);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn values_are_encoded_as_the_library_does() {
        let every_character: String = (0..0x300).filter_map(char::from_u32).collect();
        let each = every_character
            .chars()
            .map(String::from)
            .collect::<Vec<_>>();
        let json = json!({
            "": every_character,
            "a \"key\"\n": [null, true, false, 0, -1, u64::MAX, i64::MIN, 1.5, 1e300, [], {}, [[{}]]],
            "each": each,
            "deep": {"of": [{"x": "𝄞", "y": "\u{2028}"}]},
        });
        let value = Value::from_json(json).expect("a value");
        assert_eq!(
            encoded(&value),
            serde_json::to_string(&value).expect("JSON")
        );
        let value = Value::Enum(Name::new("EACH"));
        assert_eq!(encoded(&value), "\"EACH\"");
    }

    #[test]
    fn what_is_json_already_is_not_encoded_again() {
        let object = IndexMap::from([
            (
                Name::new("a"),
                Value::Binary(Bytes::from_static(b"{\"b\":1}")),
            ),
            (
                Name::new("c"),
                Value::List(vec![Value::Binary(Bytes::from_static(b"[]"))]),
            ),
        ]);
        assert_eq!(encoded(&Value::Object(object)), r#"{"a":{"b":1},"c":[[]]}"#);
    }

    #[test]
    fn answers_have_errors_only_where_there_are_some() {
        let answer = async_graphql::Response::new(Value::Null);
        assert_eq!(super::response(&answer), br#"{"data":null}"#);
        let error = async_graphql::ServerError::new("no \"way\"", None);
        let answer = async_graphql::Response::from_errors(vec![error]);
        let answer = answer.extension("a", Value::from(1));
        let encoded = super::response(&answer);
        let library = serde_json::to_vec(&answer).expect("JSON");
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
        assert_eq!(read(&encoded), read(&library));
        assert!(encoded.starts_with(b"{\"errors\":["));
    }
}
