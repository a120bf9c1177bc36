//! Every setting, its flag, its variable and its default. Nothing else reads the environment.

mod audit;
pub mod database;
mod effective;
mod http;
mod links;
mod mail;
mod network;
mod passkeys;
pub mod password;
mod problems;
mod providers;
mod rates;
mod retention;
mod secret_file;
mod traces;
mod two_factor;
mod webhooks;

pub use effective::Page;
pub use http::HttpConfig;

use std::net::SocketAddr;

use clap::{ArgAction, Args, ValueEnum};
use url::Url;

pub use audit::AuditConfig;
pub use database::DatabaseConfig;

use crate::config::password::PasswordConfig;
pub use links::LinkConfig;
pub use mail::{MailConfig, SmtpServer, SmtpTls};
pub use network::{Origins, TrustedProxies};
pub use passkeys::PasskeyConfig;
pub use providers::{ProviderConfig, ProviderKind, ProviderSettings, RedirectUris};
pub use rates::RateConfig;
pub use retention::{InactivityStages, RetentionConfig};
pub use traces::{Sampler, TraceConfig};
pub use two_factor::{SealConfig, TwoFactorConfig, TwoFactorRequirement};
pub use webhooks::{WebhookConfig, WebhookSettings};

/// The settings of a server.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// What the server is for; production refuses settings that are unsafe there
    #[arg(
        long,
        env = "CARDEA_MODE",
        value_enum,
        default_value = "development",
        global = true
    )]
    pub mode: Mode,
    /// Address and port to listen on
    #[arg(
        long,
        env = "CARDEA_LISTEN",
        default_value = "127.0.0.1:8000",
        global = true
    )]
    pub listen: SocketAddr,
    /// Address and port on which Prometheus gets its metrics, of a network that no client is in; without it nowhere
    #[arg(
        long,
        env = "CARDEA_METRICS_LISTEN",
        value_name = "ADDRESS",
        global = true
    )]
    pub metrics_listen: Option<SocketAddr>,
    /// Address under which clients reach the server; the links in mails begin with it [default: that of --listen]
    #[arg(long, env = "CARDEA_PUBLIC_URL", global = true)]
    pub public_url: Option<Url>,
    /// What the installation calls itself in mails
    #[arg(
        long,
        env = "CARDEA_PRODUCT_NAME",
        default_value = "Cardea",
        global = true
    )]
    pub product_name: String,

    /// What to log, as tracing filter directives
    #[arg(
        long,
        env = "CARDEA_LOG",
        default_value = "info,tokio_postgres=warn",
        global = true
    )]
    pub log: String,
    /// Form of the log
    #[arg(
        long,
        env = "CARDEA_LOG_FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub database: DatabaseConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub registration: RegistrationConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub mail: MailConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub password: PasswordConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub session: SessionConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub passkeys: PasskeyConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub links: LinkConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub providers: ProviderConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub http: HttpConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub limits: DocumentLimits,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub rates: RateConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub two_factor: TwoFactorConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub seal: SealConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub audit: AuditConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub webhooks: WebhookConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub traces: TraceConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "said at the type")]
    pub retention: RetentionConfig,
}

/// What the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Trying and building: own database, playground, inbox page.
    Development,
    /// Real people: unsafe settings are refused at start.
    Production,
}

/// `SameSite` of cookies (RFC 6265bis, section 5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SameSite {
    /// Sent with every request to this server.
    None,
    /// Sent from the same site, and when a link leads here.
    Lax,
    /// Sent from the same site only.
    Strict,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may open an account, and with what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Registration")]
pub struct RegistrationConfig {
    /// Whether strangers may register
    #[arg(long = "registration-open", env = "CARDEA_REGISTRATION_OPEN", default_value_t = true, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub open: bool,
    /// A birth date is compulsory
    #[arg(long, env = "CARDEA_BIRTH_DATE_REQUIRED", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub birth_date_required: bool,
    /// Least age in years, checked where a birth date is given
    #[arg(long, env = "CARDEA_MINIMUM_AGE", default_value_t = 0, global = true)]
    pub minimum_age: u32,
    /// Hours for which the mailed link is good
    #[arg(
        long,
        env = "CARDEA_VERIFICATION_HOURS",
        default_value_t = 24,
        global = true
    )]
    pub verification_hours: u32,
}

/// How long signing in lasts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sessions and tokens")]
pub struct SessionConfig {
    /// Minutes for which an access token is good
    #[arg(
        long,
        env = "CARDEA_ACCESS_TOKEN_MINUTES",
        default_value_t = 15,
        global = true
    )]
    pub access_token_minutes: u32,
    /// Hours for which a session lives
    #[arg(
        long,
        env = "CARDEA_SESSION_HOURS",
        default_value_t = 24,
        global = true
    )]
    pub session_hours: u32,
    /// Days for which a session lives when the person asked to be remembered, at most 30
    #[arg(
        long,
        env = "CARDEA_REMEMBERED_SESSION_DAYS",
        default_value_t = 30,
        global = true
    )]
    pub remembered_session_days: u32,
    /// Most live sessions of an account; past it the one that was not used for longest ends
    #[arg(
        long,
        env = "CARDEA_SESSIONS_PER_ACCOUNT",
        default_value_t = 50,
        global = true
    )]
    pub sessions_per_account: u32,
    /// Access tokens tell other services the permissions of the account as of their signing
    #[arg(long, env = "CARDEA_TOKEN_PERMISSIONS", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub token_permissions: bool,
    /// Minutes for which a sign-in is recent enough for what changes the account itself
    #[arg(
        long,
        env = "CARDEA_RECENT_SIGN_IN_MINUTES",
        default_value_t = 5,
        global = true
    )]
    pub recent_sign_in_minutes: u32,
    /// `SameSite` of the cookies: `none` is for front ends on another site, and needs https
    #[arg(
        long,
        env = "CARDEA_COOKIE_SAME_SITE",
        value_enum,
        default_value = "strict",
        global = true
    )]
    pub cookie_same_site: SameSite,
    /// `iss` in access tokens [default: the public address]
    #[arg(long, env = "CARDEA_TOKEN_ISSUER", global = true)]
    pub token_issuer: Option<String>,
    /// `aud` in access tokens
    #[arg(
        long,
        env = "CARDEA_TOKEN_AUDIENCE",
        default_value = "cardea",
        global = true
    )]
    pub token_audience: String,
}

/// How large a GraphQL document may be.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits of a GraphQL document")]
pub struct DocumentLimits {
    /// Most bytes
    #[arg(
        long = "document-bytes",
        env = "CARDEA_DOCUMENT_BYTES",
        default_value_t = 32_768,
        global = true
    )]
    pub bytes: usize,
    /// Most tokens
    #[arg(
        long = "document-tokens",
        env = "CARDEA_DOCUMENT_TOKENS",
        default_value_t = 2000,
        global = true
    )]
    pub tokens: usize,
    /// Most brackets inside one another, at most 64
    #[arg(
        long = "document-nesting",
        env = "CARDEA_DOCUMENT_NESTING",
        default_value_t = 40,
        global = true
    )]
    pub nesting: usize,
    /// Most levels of fields; introspection by GraphiQL takes 15
    #[arg(
        long = "document-depth",
        env = "CARDEA_DOCUMENT_DEPTH",
        default_value_t = 16,
        global = true
    )]
    pub depth: u32,
    /// Most fields, fragments spread out
    #[arg(
        long = "document-fields",
        env = "CARDEA_DOCUMENT_FIELDS",
        default_value_t = 1000,
        global = true
    )]
    pub fields: u64,
    /// Most aliases, fragments spread out
    #[arg(
        long = "document-aliases",
        env = "CARDEA_DOCUMENT_ALIASES",
        default_value_t = 30,
        global = true
    )]
    pub aliases: u64,
    /// Most directives, fragments spread out
    #[arg(
        long = "document-directives",
        env = "CARDEA_DOCUMENT_DIRECTIVES",
        default_value_t = 50,
        global = true
    )]
    pub directives: u64,
    /// Most mutations in one document
    #[arg(
        long = "document-mutations",
        env = "CARDEA_DOCUMENT_MUTATIONS",
        default_value_t = 3,
        global = true
    )]
    pub mutations: u64,
    /// Greatest cost, in the units of `@cost` and `@listSize`
    #[arg(
        long = "document-cost",
        env = "CARDEA_DOCUMENT_COST",
        default_value_t = 10_000,
        global = true
    )]
    pub cost: u64,
}
