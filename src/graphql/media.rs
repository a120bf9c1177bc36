//! The media type of an answer: which one the client prefers, and how it is written.

use axum::http::{HeaderMap, header};

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: 200 for every answer that is GraphQL's.
    Json,
}

const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

impl Media {
    /// The form that the client prefers among those there are; `None` when it takes neither.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT) {
            return Some(Self::Json);
        }
        let ranges: Vec<_> = ranges(headers).collect();
        let named = |name: &str| ranges.iter().find(|(range, _)| range == name);
        // The most specific range that fits says how welcome a type is (RFC 9110, 12.5.1).
        let welcome = |name: &str| {
            let range = named(name).or_else(|| named("application/*"));
            range.or_else(|| named("*/*")).map_or(0.0, |(_, q)| *q)
        };
        let (response, json) = (welcome(GRAPHQL_RESPONSE), welcome(JSON));
        if response > json
            || named(GRAPHQL_RESPONSE).is_some() && response > 0.0 && response >= json
        {
            Some(Self::GraphqlResponse)
        } else {
            (json > 0.0).then_some(Self::Json)
        }
    }

    /// Whether the client takes a stream of events, and says so by name.
    #[must_use]
    pub fn takes_events(headers: &HeaderMap) -> bool {
        ranges(headers).any(|(range, q)| range == EVENTS && q > 0.0)
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// What `Accept` names.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (String, f32)> {
    let values = headers.get_all(header::ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(range)
}

/// The type that a member of `Accept` names, and how welcome it is.
fn range(text: &str) -> (String, f32) {
    let text = text.to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    (name, quality.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn media(accept: &str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(accept).expect("a header"),
        );
        Media::accepted(&headers)
    }

    #[test]
    fn the_client_chooses_the_media_type() {
        assert_eq!(Media::accepted(&HeaderMap::new()), Some(Media::Json));
        assert_eq!(media("*/*"), Some(Media::Json));
        assert_eq!(media("application/json"), Some(Media::Json));
        assert_eq!(
            media("application/graphql-response+json"),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            media("application/graphql-response+json, application/json;q=0.9"),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            media("application/json, application/graphql-response+json"),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            media("application/graphql-response+json;q=0.5, application/json"),
            Some(Media::Json)
        );
        assert_eq!(
            media("*/*, application/graphql-response+json"),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(media("text/html"), None);
        assert_eq!(media(""), None);
        assert_eq!(
            media("application/json;q=0, */*"),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            media("Application/GraphQL-Response+JSON;q=0, */*;q=0.1"),
            Some(Media::Json)
        );
        assert_eq!(media("application/json;q=0"), None);
    }
}
