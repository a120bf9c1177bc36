//! What the HTTP server takes in and shows, and how it ends.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::config::{Origins, TrustedProxies};

/// What the HTTP server takes in and shows.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpConfig {
    /// Addresses and networks of proxies, between commas, whose X-Forwarded-For tells the client's address; without them it counts for nothing
    #[arg(
        long,
        env = "CARDEA_TRUSTED_PROXIES",
        value_name = "LIST",
        global = true
    )]
    pub trusted_proxies: Option<TrustedProxies>,
    /// Origins, between commas, whose pages may use the API in a browser, such as `https://app.example.org`
    #[arg(long, env = "CARDEA_CORS_ORIGINS", value_name = "LIST", global = true)]
    pub cors_origins: Option<Origins>,
    /// Show GraphiQL at / [default: true in development, false in production]
    #[arg(long, env = "CARDEA_PLAYGROUND", value_name = "BOOL", global = true)]
    pub playground: Option<bool>,
    /// Answer introspection [default: true in development, false in production]
    #[arg(long, env = "CARDEA_INTROSPECTION", value_name = "BOOL", global = true)]
    pub introspection: Option<bool>,
    /// Be a subgraph of Apollo Federation: answer what a gateway asks
    #[arg(long, env = "CARDEA_FEDERATION", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub federation: bool,
    /// Trusted documents: a file of them, or a folder of such files; see docs/TRUSTED-DOCUMENTS.md
    #[arg(
        long,
        env = "CARDEA_TRUSTED_DOCUMENTS",
        value_name = "PATH",
        global = true
    )]
    pub trusted_documents: Option<PathBuf>,
    /// Run trusted documents only; who holds admin:system may send any
    #[arg(long, env = "CARDEA_TRUSTED_DOCUMENTS_ONLY", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub trusted_documents_only: bool,
    /// Most bytes of a request's body
    #[arg(
        long,
        env = "CARDEA_MAX_BODY_BYTES",
        default_value_t = 65_536,
        global = true
    )]
    pub max_body_bytes: usize,
    /// Seconds after which a request is given up
    #[arg(
        long,
        env = "CARDEA_REQUEST_TIMEOUT_SECS",
        default_value_t = 10,
        global = true
    )]
    pub request_timeout_secs: u64,
    /// Most connections at once, live ones among them; whoever comes then waits until one closes
    #[arg(
        long,
        env = "CARDEA_MAX_CONNECTIONS",
        default_value_t = 12_000,
        global = true
    )]
    pub max_connections: usize,
    /// Most live connections, for events over WebSocket and SSE
    #[arg(
        long,
        env = "CARDEA_LIVE_CONNECTIONS",
        default_value_t = 10_000,
        global = true
    )]
    pub live_connections: usize,
    /// Most live connections of one account
    #[arg(
        long,
        env = "CARDEA_LIVE_CONNECTIONS_PER_ACCOUNT",
        default_value_t = 50,
        global = true
    )]
    pub live_connections_per_account: usize,
    /// Seconds for which the server still takes requests in after it was told to stop, while `/health/ready` says that it goes
    #[arg(
        long,
        env = "CARDEA_SHUTDOWN_DELAY_SECS",
        default_value_t = 0,
        global = true
    )]
    pub shutdown_delay_secs: u64,
    /// Seconds that requests in flight get when the server stops
    #[arg(
        long,
        env = "CARDEA_SHUTDOWN_SECS",
        default_value_t = 10,
        global = true
    )]
    pub shutdown_secs: u64,
}

impl HttpConfig {
    /// What of these settings cannot hold, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let checks = [
            (
                self.max_body_bytes >= 1024 && self.request_timeout_secs > 0,
                "CARDEA_MAX_BODY_BYTES must be at least 1024 and CARDEA_REQUEST_TIMEOUT_SECS at least 1",
            ),
            (
                !self.trusted_documents_only || self.trusted_documents.is_some(),
                "CARDEA_TRUSTED_DOCUMENTS_ONLY needs CARDEA_TRUSTED_DOCUMENTS",
            ),
            (
                self.max_connections > self.live_connections && self.max_connections <= 1_000_000,
                "CARDEA_MAX_CONNECTIONS must be greater than CARDEA_LIVE_CONNECTIONS, and at most 1000000",
            ),
            (
                self.shutdown_delay_secs <= 300,
                "CARDEA_SHUTDOWN_DELAY_SECS must be at most 300",
            ),
        ];
        let wrong = checks.into_iter().filter(|(holds, _)| !holds);
        wrong.map(|(_, problem)| problem.to_owned()).collect()
    }
}
