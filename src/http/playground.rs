//! Serves the GraphiQL page and its files, which `build.rs` puts into the binary.
//! Must not read from disk, and must not decide who sees the page: whoever mounts the routes does.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// A file of the page, as it goes over the wire.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    gzipped: bool,
    bytes: &'static [u8],
}

/// Whether the page that npm built lies in the binary. If not, one that loads from a CDN does.
pub const EMBEDDED: bool = BUILT;

const POLICY: &str = if EMBEDDED { SAME_ORIGIN } else { CDN };

// Monaco, the editor, writes style elements: without inline styles it does not work.
const SAME_ORIGIN: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    font-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// The hash is that of the import map. A browser starts no worker from another origin: those of the
// CDN start as blobs, and what a blob imports counts as a worker, too.
const CDN: &str = "default-src 'none'; \
    script-src 'self' https://esm.sh 'sha256-Vl6PdmhwxfvHTtklvrXt8VqvzJeddm7Lh+/KAyiSoIc='; \
    style-src 'self' https://esm.sh 'unsafe-inline'; font-src https://esm.sh data:; \
    img-src 'self' data:; connect-src 'self'; worker-src blob: https://esm.sh; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Gives the routes for the page at `/` and for its files below `/playground/`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/playground/{*path}", get(file))
}

async fn page(request: HeaderMap) -> Response {
    send("index.html", &request)
}

async fn file(Path(path): Path<String>, request: HeaderMap) -> Response {
    send(&path, &request)
}

fn send(path: &str, request: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if asset.gzipped && !accepts_gzip(request) {
        return (
            StatusCode::NOT_ACCEPTABLE,
            [(header::VARY, "accept-encoding")],
        )
            .into_response();
    }
    let cache = match path {
        "index.html" => "no-store",
        // Vite puts a hash of the content into these names.
        _ if path.starts_with("assets/") => "public, max-age=31536000, immutable",
        _ => "no-cache",
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, cache),
        // On every file and not the page alone: a worker obeys the policy its own script came with.
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    let mut response = (headers, asset.bytes).into_response();
    if asset.gzipped {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// Tells whether the client takes gzip. One that names no encoding takes any (RFC 9110, 12.5.3).
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut others = !request.contains_key(header::ACCEPT_ENCODING);
    let values = request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        let welcome = weight != Some(0.0);
        match coding.trim() {
            "gzip" => return welcome,
            "*" => others = welcome,
            _ => {}
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};
    use tower::ServiceExt;

    async fn fetch(path: &str, encoding: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(encoding) = encoding {
            request = request.header(header::ACCEPT_ENCODING, encoding);
        }
        let request = request
            .body(Body::empty())
            .expect("the path is a valid one");
        routes::<()>()
            .oneshot(request)
            .await
            .expect("routes do not fail")
    }

    fn header(response: &Response, name: &str) -> String {
        response
            .headers()
            .get(name)
            .map_or_else(String::new, |value| format!("{value:?}").replace('"', ""))
    }

    fn gzipped() -> impl Iterator<Item = String> {
        ASSETS
            .iter()
            .filter(|asset| asset.gzipped)
            .map(|asset| format!("/playground/{}", asset.path))
    }

    #[tokio::test]
    async fn page_is_private_and_may_load_only_what_the_policy_names() {
        let response = fetch("/", Some("identity")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            header(&response, "content-type"),
            "text/html; charset=utf-8"
        );
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(header(&response, "content-security-policy"), POLICY);
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "x-robots-tag"), "noindex");
        let body = to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("the body is in memory");
        let html = str::from_utf8(&body).expect("the page is UTF-8");
        assert!(html.contains("<title>Cardea · GraphiQL</title>"));
        assert!(html.contains(r#"data-endpoint="/graphql""#));
        assert_eq!(html.contains("https://esm.sh"), !EMBEDDED);
    }

    #[tokio::test]
    async fn every_file_the_page_names_is_there() {
        for asset in ASSETS {
            let response = fetch(&format!("/playground/{}", asset.path), Some("br, gzip")).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", asset.path);
            assert_eq!(header(&response, "content-type"), asset.content_type);
            assert_eq!(header(&response, "content-security-policy"), POLICY);
        }
        let page = ASSETS
            .iter()
            .find(|asset| asset.path == "index.html")
            .expect("there is a page");
        let html = str::from_utf8(page.bytes).expect("the page is UTF-8");
        let named = html
            .split('"')
            .filter_map(|text| text.strip_prefix("/playground/"))
            .collect::<Vec<_>>();
        assert!(named.len() >= 3, "{named:?}");
        for path in named {
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{path}");
        }
    }

    #[tokio::test]
    async fn built_files_are_gzipped_and_the_hashed_ones_stay_in_caches() {
        for path in gzipped() {
            let response = fetch(&path, None).await;
            assert_eq!(header(&response, "content-encoding"), "gzip", "{path}");
            assert_eq!(header(&response, "vary"), "accept-encoding", "{path}");
            let cache = if path.starts_with("/playground/assets/") {
                "public, max-age=31536000, immutable"
            } else {
                "no-cache"
            };
            assert_eq!(header(&response, "cache-control"), cache, "{path}");
            let body = to_bytes(response.into_body(), usize::MAX)
                .await
                .expect("the body is in memory");
            assert!(body.starts_with(&[0x1f, 0x8b]), "{path}");
        }
        assert_eq!(gzipped().count() > 0, EMBEDDED);
    }

    #[tokio::test]
    async fn client_without_gzip_is_told() {
        for path in gzipped() {
            for refusing in ["identity", "", "br", "gzip;q=0, *", "*;q=0"] {
                let response = fetch(&path, Some(refusing)).await;
                assert_eq!(
                    response.status(),
                    StatusCode::NOT_ACCEPTABLE,
                    "{path} {refusing}"
                );
            }
        }
    }

    #[test]
    fn gzip_is_accepted_by_name_by_wildcard_and_by_silence() {
        for accepting in ["gzip", "br;q=1.0, gzip; q=0.2", "*", "*;q=0, gzip"] {
            let request = HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static(accepting),
            )]);
            assert!(accepts_gzip(&request), "{accepting}");
        }
        assert!(accepts_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn unknown_files_are_not_found() {
        for path in [
            "/playground/",
            "/playground/nothing.js",
            "/playground/../Cargo.toml",
            "/playground/%2e%2e/Cargo.toml",
        ] {
            assert_eq!(
                fetch(path, None).await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[test]
    fn policy_for_the_cdn_names_the_import_map() {
        let html = include_str!("../../playground/cdn.html");
        let (_, rest) = html
            .split_once("<script type=\"importmap\">")
            .expect("the page has an import map");
        let (map, _) = rest.split_once("</script>").expect("the import map ends");
        let hash = BASE64_STANDARD.encode(Sha256::digest(map));
        assert!(
            CDN.contains(&format!("'sha256-{hash}'")),
            "expected 'sha256-{hash}'"
        );
    }
}
