//! The parameters of a GraphQL request, taken from an address or a body, and what refuses one.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::graphql::document::Refusal;
use crate::graphql::error::Code;

/// The parameters of a request (GraphQL over HTTP, section 5); unknown ones are ignored.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Params {
    pub(super) query: Option<String>,
    /// Names a trusted document.
    document_id: Option<String>,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Option<Map<String, Value>>,
    /// Of these only Apollo's `persistedQuery` is understood.
    extensions: Option<Map<String, Value>>,
}

/// A refusal on the way to execution.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The request is well-formed; it is its document, or the values for it, that is refused.
    pub(super) by_graphql: bool,
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            by_graphql: false,
            code,
            message: message.into(),
            header: None,
        }
    }

    pub(super) fn by_graphql(code: Code, message: impl Into<String>) -> Self {
        Self {
            by_graphql: true,
            ..Self::new(StatusCode::BAD_REQUEST, code, message)
        }
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::by_graphql(refusal.code, refusal.message)
    }
}

impl Params {
    /// The id of the document that is meant, where the request names one (GraphQL over HTTP, or Apollo's
    /// persisted queries).
    pub(super) fn document_id(&self) -> Option<&str> {
        let apollo = || {
            let persisted = self.extensions.as_ref()?.get("persistedQuery")?;
            persisted.get("sha256Hash")?.as_str()
        };
        self.document_id.as_deref().or_else(apollo)
    }

    pub(super) async fn read(
        parts: &Parts,
        body: Body,
        limit: usize,
        patience: Duration,
    ) -> Result<Self, Refused> {
        // HEAD too, which is routed as GET is.
        if parts.method != Method::POST {
            return Self::from_url(parts.uri.query().unwrap_or_default());
        }
        if !is_json(&parts.headers) {
            let message = "Send `Content-Type: application/json`.";
            return Err(Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::BadUserInput,
                message,
            ));
        }
        let read = tokio::time::timeout(patience, whole(body, limit));
        let bytes = read.await.map_err(|_| {
            let message = "The body did not come in time.";
            Refused::new(StatusCode::REQUEST_TIMEOUT, Code::BadUserInput, message)
        })??;
        // serde would take the members of an array for those of the object.
        let object = bytes.trim_ascii_start().starts_with(b"{");
        let parsed = if object {
            serde_json::from_slice(&bytes)
        } else {
            serde_json::from_slice::<Map<String, Value>>(&bytes).map(|_| Self::default())
        };
        parsed.map_err(|error| {
            Refused::parameter(if error.is_data() {
                "The body must be one JSON object with `query`, `documentId` and `operationName` as strings, `variables` \
                 and `extensions` as objects."
            } else {
                "The body is not JSON."
            })
        })
    }

    fn from_url(query: &str) -> Result<Self, Refused> {
        let mut params = Self::default();
        let object = |name: &str, text: &str| {
            serde_json::from_str(text)
                .map_err(|_| Refused::parameter(format!("`{name}` must be a JSON object.")))
        };
        for (name, value) in
            url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty())
        {
            match &*name {
                "query" => params.query = Some(value.into_owned()),
                "documentId" => params.document_id = Some(value.into_owned()),
                "operationName" => params.operation_name = Some(value.into_owned()),
                "variables" => params.variables = object("variables", &value)?,
                "extensions" => params.extensions = object("extensions", &value)?,
                _ => {}
            }
        }
        Ok(params)
    }
}

/// The body, if it has at most `limit` bytes.
async fn whole(body: Body, limit: usize) -> Result<Vec<u8>, Refused> {
    let too_large = || {
        let message = format!("A body has at most {limit} bytes.");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Code::BadUserInput, message)
    };
    // What `Content-Length` announces, before any of it is waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Refused::parameter("The body did not come through whole."))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let value = value.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    parts.next() == Some("application/json")
        && parts.all(|part| {
            part.strip_prefix("charset=")
                .is_none_or(|charset| charset.trim_matches('"') == "utf-8")
        })
}
