//! Requests to providers and to services that are told of accounts: short, small, without redirects, and to no place inside the network that the
//! operator did not name.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use tower::Service;
use tracing::Instrument as _;
use tracing::field::Empty;
use url::{Host, Url, form_urlencoded};

use crate::provider::Failure;
use crate::traces::TARGET;

/// Most bytes of an answer.
const MOST_BYTES: usize = 1024 * 1024;

/// Where something is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    /// The operator named its host. It may lie anywhere.
    named: bool,
}

impl Endpoint {
    /// One that the operator set.
    #[must_use]
    pub fn named(url: Url) -> Self {
        Self { url, named: true }
    }

    /// One that the metadata of `issuer` tell: on the issuer's host, or by https at a public address.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] for any other place.
    pub fn told(text: &str, issuer: &Url) -> Result<Self, Failure> {
        let refuse = || Failure::Unreachable(format!("its metadata name `{text}`"));
        let url = Url::parse(text).map_err(|_| refuse())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse());
        }
        let named = url.host() == issuer.host();
        let secure = url.scheme() == "https";
        let in_the_clear = url.scheme() == "http" && issuer.scheme() == "http";
        let public = match url.host() {
            Some(Host::Ipv4(ip)) => is_public(ip.into()),
            Some(Host::Ipv6(ip)) => is_public(ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        };
        if (named && (secure || in_the_clear)) || (secure && public) {
            Ok(Self { url, named })
        } else {
            Err(refuse())
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// What a request shows.
pub enum Proof<'a> {
    /// Nothing.
    None,
    /// Client id and secret.
    Basic(&'a str, &'a SecretString),
    /// An access token.
    Bearer(&'a SecretString),
}

/// Asks providers. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    anywhere: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    public: Client<HttpsConnector<HttpConnector<PublicNames>>, Full<Bytes>>,
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// One that has no connection yet.
    #[must_use]
    pub fn new() -> Self {
        let builder = || HttpsConnectorBuilder::new().with_webpki_roots();
        let anywhere = builder().https_or_http().enable_http1();
        let public = builder().https_only().enable_http1();
        // Connections that lie idle for long are closed by the other side at some moment.
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new());
        client.pool_idle_timeout(Duration::from_secs(20));
        Self {
            anywhere: client.build(anywhere.wrap_connector(connector(GaiResolver::new()))),
            public: client.build(public.wrap_connector(connector(PublicNames(GaiResolver::new())))),
        }
    }

    /// What stands at `endpoint`.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] for anything but JSON of this form with the status 200.
    pub async fn get<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        proof: &Proof<'_>,
    ) -> Result<T, Failure> {
        let (status, body) = self.ask(Method::GET, endpoint, proof, None).await?;
        if status != StatusCode::OK {
            return Err(said(endpoint, &format!("answered {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let kind = error.classify();
            said(endpoint, &format!("answered what it must not ({kind:?})"))
        })
    }

    /// What comes of sending a form to `endpoint`: the status, and JSON of this form where it is.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] where there is no answer.
    pub async fn post<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        proof: &Proof<'_>,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Option<T>), Failure> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let (status, body) = self.ask(Method::POST, endpoint, proof, Some(form)).await?;
        Ok((status, serde_json::from_slice(&body).ok()))
    }

    /// What a service says to an event: its status and headers. The rest of the answer is not read.
    ///
    /// # Errors
    /// Why there is no answer, without the address, which may be a secret.
    pub async fn tell(
        &self,
        url: &Url,
        headers: [(&'static str, String); 3],
        body: String,
    ) -> Result<(StatusCode, HeaderMap), String> {
        let mut sent = HeaderMap::new();
        sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            sent.insert(name, value);
        }
        self.post_bytes(url, sent, body.into()).await
    }

    /// Sends `body` to a place that the operator named; gives the status and headers of the answer. The rest of it is not
    /// read.
    ///
    /// # Errors
    /// Why there is no answer, without the address, which may be a secret.
    pub async fn post_bytes(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap), String> {
        let request = Request::post(url.as_str()).header(USER_AGENT, "cardea");
        let request = request.body(Full::new(body));
        let mut request = request.map_err(|_| "its address cannot be asked".to_owned())?;
        request.headers_mut().extend(headers);
        let response = self.anywhere.request(request).await;
        let response = response.map_err(|error| chain(&error))?;
        Ok((response.status(), response.headers().clone()))
    }

    async fn ask(
        &self,
        method: Method,
        endpoint: &Endpoint,
        proof: &Proof<'_>,
        form: Option<String>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        // Neither the path nor the query, which may hold a token.
        let span = tracing::info_span!(
            target: TARGET,
            "provider.request",
            otel.name = method.as_str(),
            otel.kind = "client",
            otel.status_code = Empty,
            "http.request.method" = method.as_str(),
            "server.address" = endpoint.url.host_str(),
            "server.port" = endpoint.url.port_or_known_default(),
            "http.response.status_code" = Empty,
        );
        let answered = self.answer(method, endpoint, proof, form);
        let answered = answered.instrument(span.clone()).await;
        match &answered {
            Ok((status, _)) => span.record("http.response.status_code", status.as_u16()),
            Err(_) => span.record("otel.status_code", "ERROR"),
        };
        answered
    }

    async fn answer(
        &self,
        method: Method,
        endpoint: &Endpoint,
        proof: &Proof<'_>,
        form: Option<String>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let failed = |error: &dyn std::fmt::Display| said(endpoint, &error.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(endpoint.url.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "cardea");
        if form.is_some() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let authorization = match proof {
            Proof::None => None,
            Proof::Basic(id, secret) => Some(basic(id, secret)),
            Proof::Bearer(token) => Some(format!("Bearer {}", token.expose_secret())),
        };
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::try_from(authorization).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = Full::new(Bytes::from(form.unwrap_or_default()));
        let request = request.body(body).map_err(|error| failed(&error))?;
        let response = if endpoint.named {
            self.anywhere.request(request).await
        } else {
            self.public.request(request).await
        };
        let response = response.map_err(|error| failed(&chain(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES);
        let body = body.collect().await.map_err(|error| failed(&*error))?;
        Ok((status, body.to_bytes()))
    }
}

fn connector<R>(resolver: R) -> HttpConnector<R> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(4)));
    connector
}

fn said(endpoint: &Endpoint, what: &str) -> Failure {
    let mut url = endpoint.url.clone();
    url.set_query(None);
    Failure::Unreachable(format!("{url}: {what}"))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Name and password as RFC 6749, section 2.3.1, has them: each form-encoded first.
fn basic(id: &str, secret: &SecretString) -> String {
    use base64::Engine as _;
    let encode =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// Looks names up, and forgets every address that is not of the public internet: a name that leads
/// inside could otherwise make this server ask what only it can reach. The connection is made to
/// what was looked at here, so that the name cannot change its mind in between.
#[derive(Clone)]
struct PublicNames(GaiResolver);

impl Service<Name> for PublicNames {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move {
            let all: Vec<SocketAddr> = found.await?.filter(|at| is_public(at.ip())).collect();
            if all.is_empty() {
                let message = "its name leads to no public address";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            Ok(all.into_iter())
        })
    }
}

/// Whether an address is one of the public internet (the registries of special addresses of IANA).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // What is handed out lies in 2000::/3; in there, 6to4, Teredo and documentation are aside.
    (0x2000..0x4000).contains(&a)
        && a != 0x2002
        && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().expect("an address")), "{inside}");
        }
        for outside in ["1.1.1.1", "8.8.8.8", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(outside.parse().expect("an address")), "{outside}");
        }
    }

    #[test]
    fn metadata_lead_to_the_issuers_host_or_to_the_public_internet() {
        let told = |text: &str, issuer: &str| {
            let issuer = Url::parse(issuer).expect("an address");
            Endpoint::told(text, &issuer)
                .map(|endpoint| endpoint.named)
                .ok()
        };
        let inside = "https://id.example.org";
        assert_eq!(told("https://id.example.org/token", inside), Some(true));
        assert_eq!(
            told("https://id.example.org:8443/token", inside),
            Some(true)
        );
        assert_eq!(told("https://keys.example.net/jwks", inside), Some(false));
        let development = "http://127.0.0.1:4000";
        assert_eq!(told("http://127.0.0.1:4000/token", development), Some(true));
        for refused in [
            "http://id.example.org/token",
            "http://keys.example.net/jwks",
            "https://127.0.0.1/jwks",
            "https://[::1]/jwks",
            "https://169.254.169.254/latest",
            "https://2130706433/jwks",
            "https://user@id.example.org/token",
            "file:///etc/passwd",
            "/token",
        ] {
            assert_eq!(told(refused, inside), None, "{refused}");
        }
        assert_eq!(told("http://127.0.0.2:4000/token", development), None);
    }
}
