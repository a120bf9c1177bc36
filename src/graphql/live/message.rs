//! The messages of `graphql-transport-ws`, and the codes that a socket is closed with. No state.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::graphql::live::Ending;
use crate::graphql::params::Params;

/// Most characters of the name that a client gives an operation.
const MAX_ID: usize = 128;

/// Why a socket is closed. A reason has at most 123 bytes (RFC 6455, section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

const fn close(code: u16, reason: &'static str) -> Close {
    Close { code, reason }
}

impl Close {
    pub(super) const IDLE: Self = close(1000, "Idle: nothing is followed");
    pub(super) const SILENT: Self = close(1001, "No sign of life");
    pub(super) const STOPPING: Self = close(1001, "The server stops");
    pub(super) const NOT_UTF8: Self = close(1007, "Text must be UTF-8");
    pub(super) const BROKEN: Self = close(1002, "Not a frame of a WebSocket");
    pub(super) const FLOOD: Self = close(1008, "Too many messages");
    pub(super) const TOO_LARGE: Self = close(1009, "A message has at most 65536 bytes");
    pub(super) const LINE_LOST: Self = close(1012, "Events were lost: connect again");
    pub(super) const LAGGED: Self = close(1013, "Too slow: events were lost, connect again");
    pub(super) const UNAVAILABLE: Self = close(1013, "Try again later");
    pub(super) const TOO_MANY: Self = close(1013, "The account has too many connections");
    pub(super) const BAD_MESSAGE: Self = close(4400, "Invalid message");
    pub(super) const BINARY: Self = close(4400, "Messages are text");
    pub(super) const UNAUTHORIZED: Self = close(4401, "Unauthorized");
    pub(super) const SESSION_ENDED: Self = close(4401, "The session has ended");
    pub(super) const FORBIDDEN: Self = close(4403, "Forbidden");
    pub(super) const TWO_FACTOR: Self = close(4403, "A second factor is required");
    pub(super) const NO_INIT: Self = close(4408, "Connection initialisation timeout");
    pub(super) const SAME_ID: Self = close(4409, "Subscriber for this id already exists");
    pub(super) const SECOND_INIT: Self = close(4429, "Too many initialisation requests");

    pub(super) fn message(self) -> Message {
        Message::Close(Some(CloseFrame {
            code: self.code,
            reason: Utf8Bytes::from_static(self.reason),
        }))
    }
}

impl From<Ending> for Close {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Session => Self::SESSION_ENDED,
            Ending::TwoFactor => Self::TWO_FACTOR,
            Ending::LineLost => Self::LINE_LOST,
            Ending::Lagged => Self::LAGGED,
            Ending::Unavailable => Self::UNAVAILABLE,
            Ending::Stopping => Self::STOPPING,
        }
    }
}

/// What a client says.
pub(super) enum Said {
    /// Who it is.
    Init(Map<String, Value>),
    /// What it wants to follow, under this name.
    Subscribe(String, Params),
    /// It follows that no more.
    Complete(String),
    Ping,
    Pong,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    #[serde(default)]
    payload: Value,
}

impl Said {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Close::BAD_MESSAGE`] for whatever is none of the protocol.
    pub(super) fn read(text: &str) -> Result<Self, Close> {
        let bad = Close::BAD_MESSAGE;
        // serde would take the members of an array for those of the object.
        if !text.trim_start().starts_with('{') {
            return Err(bad);
        }
        let Envelope { kind, id, payload } = serde_json::from_str(text).map_err(|_| bad)?;
        let object_or_null = matches!(payload, Value::Object(_) | Value::Null);
        let id = id.filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID);
        match (kind.as_str(), payload) {
            ("connection_init", Value::Object(payload)) => Ok(Self::Init(payload)),
            ("connection_init", Value::Null) => Ok(Self::Init(Map::new())),
            ("subscribe", payload @ Value::Object(_)) => {
                let params: Params = serde_json::from_value(payload).map_err(|_| bad)?;
                if params.query.is_none() && params.document_id().is_none() {
                    return Err(bad);
                }
                Ok(Self::Subscribe(id.ok_or(bad)?, params))
            }
            ("complete", _) => Ok(Self::Complete(id.ok_or(bad)?)),
            ("ping", _) if object_or_null => Ok(Self::Ping),
            ("pong", _) if object_or_null => Ok(Self::Pong),
            _ => Err(bad),
        }
    }
}

fn text(value: &Value) -> Message {
    Message::Text(value.to_string().into())
}

pub(super) fn ack() -> Message {
    text(&json!({ "type": "connection_ack" }))
}

pub(super) fn pong() -> Message {
    text(&json!({ "type": "pong" }))
}

/// `result` is JSON.
pub(super) fn next(id: &str, result: &str) -> Message {
    let id = Value::from(id);
    let message = format!("{{\"id\":{id},\"type\":\"next\",\"payload\":{result}}}");
    Message::Text(message.into())
}

pub(super) fn error(id: &str, errors: &[Value]) -> Message {
    text(&json!({ "id": id, "type": "error", "payload": errors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_of_the_protocol_is_refused() {
        let long = format!("{{\"type\":\"complete\",\"id\":\"{}\"}}", "x".repeat(129));
        for text in [
            "",
            "null",
            "[]",
            "[\"ping\",null,null]",
            "{}",
            "{\"type\":\"start\"}",
            "{\"type\":7}",
            "{\"type\":\"connection_init\",\"payload\":[]}",
            "{\"type\":\"connection_init\",\"payload\":\"x\"}",
            "{\"type\":\"connection_ack\"}",
            "{\"type\":\"complete\"}",
            "{\"type\":\"complete\",\"id\":\"\"}",
            "{\"type\":\"complete\",\"id\":7}",
            &long,
            "{\"type\":\"ping\",\"payload\":7}",
            "{\"type\":\"subscribe\",\"id\":\"1\"}",
            "{\"type\":\"subscribe\",\"id\":\"1\",\"payload\":{}}",
            "{\"type\":\"subscribe\",\"id\":\"1\",\"payload\":{\"query\":7}}",
            "{\"type\":\"subscribe\",\"id\":\"1\",\"payload\":{\"query\":\"x\",\"variables\":[]}}",
            "{\"type\":\"subscribe\",\"payload\":{\"query\":\"x\"}}",
        ] {
            assert_eq!(Said::read(text).err(), Some(Close::BAD_MESSAGE), "{text}");
        }
        let nested = format!(
            "{{\"type\":\"ping\",\"payload\":{}1{}}}",
            "[".repeat(9000),
            "]".repeat(9000)
        );
        assert_eq!(Said::read(&nested).err(), Some(Close::BAD_MESSAGE));
        for text in [
            "{\"type\":\"connection_init\"}",
            "{\"type\":\"ping\",\"payload\":{\"a\":1}}",
            "{\"type\":\"complete\",\"id\":\"1\"}",
            "{\"type\":\"subscribe\",\"id\":\"1\",\"payload\":{\"query\":\"x\",\"extensions\":{},\"operationName\":null}}",
        ] {
            assert!(Said::read(text).is_ok(), "{text}");
        }
    }
}
