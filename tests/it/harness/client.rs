//! A caller with a session, and the answers it gets.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::app::TestApp;
use crate::harness::told;

/// A signed-in account.
pub struct Client<'a> {
    app: &'a TestApp,
    /// Global id of the account.
    pub id: String,
    /// The identifier for other systems.
    pub uuid: String,
    pub access_token: String,
    pub refresh_token: String,
    /// Global id of the session.
    pub session: String,
}

impl<'a> Client<'a> {
    pub fn new(app: &'a TestApp, signed_in: &Value) -> Self {
        let text = |pointer: &str| {
            let value = signed_in.pointer(pointer).and_then(Value::as_str);
            value
                .unwrap_or_else(|| panic!("no {pointer} in {signed_in}"))
                .to_owned()
        };
        Self {
            app,
            id: text("/user/id"),
            uuid: text("/user/uuid"),
            access_token: text("/accessToken"),
            refresh_token: text("/refreshToken"),
            session: text("/session/id"),
        }
    }

    pub async fn gql(&self, query: &str, variables: Value) -> Answer {
        self.app
            .gql_as(Some(&self.access_token), query, variables)
            .await
    }

    /// Runs a document without variables.
    pub async fn ask(&self, query: &str) -> Answer {
        self.gql(query, Value::Null).await
    }

    /// The account's id in the database.
    pub fn user_id(&self) -> Uuid {
        let bytes = URL_SAFE_NO_PAD.decode(&self.id).expect("a global id");
        Uuid::from_slice(&bytes[bytes.len() - 16..]).expect("a UUID at its end")
    }
}

/// Every code of the top-level `errors` list; a new one is one more for clients to know.
const KNOWN_CODES: [&str; 15] = [
    "BAD_USER_INPUT",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "INTERNAL_SERVER_ERROR",
    "METHOD_NOT_ALLOWED",
    "OPERATION_RESOLUTION_FAILURE",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_ONLY",
    "QUERY_TOO_COMPLEX",
    "RATE_LIMITED",
    "REAUTHENTICATION_REQUIRED",
    "SERVICE_UNAVAILABLE",
    "TWO_FACTOR_REQUIRED",
    "UNAUTHENTICATED",
];

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON; null where it is none.
    pub json: Value,
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("a whole body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or_default();
        let answer = Self {
            status: parts.status,
            headers: parts.headers,
            text,
            json,
        };
        told::json(&answer.json);
        told::cookies(&answer.headers);
        answer.check_errors();
        answer
    }

    /// What holds for the errors of every answer, whatever a test looks at.
    fn check_errors(&self) {
        for code in self.codes() {
            assert!(KNOWN_CODES.contains(&code), "{code} in {}", self.text);
        }
        let errors = self.json["errors"].to_string().to_lowercase();
        assert!(!errors.contains("did you mean"), "{errors}");
    }

    /// What stands at `path` below `data`; fails the test where there are errors or nothing is there.
    #[track_caller]
    pub fn data(&self, path: &str) -> &Value {
        assert!(self.json["errors"].is_null(), "{}", self.text);
        self.at(path)
    }

    /// What stands at `path` below `data`, errors or not.
    #[track_caller]
    pub fn at(&self, path: &str) -> &Value {
        let value = self.json.pointer(&format!("/data/{path}"));
        value.unwrap_or_else(|| panic!("nothing at {path} in {}", self.text))
    }

    /// The codes of the top-level errors.
    pub fn codes(&self) -> Vec<&str> {
        let errors = self.json["errors"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        errors
            .iter()
            .map(|error| error["extensions"]["code"].as_str().unwrap_or("none"))
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
