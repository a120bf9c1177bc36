//! Where mails go, and the mail server that an address names. It connects to nothing.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Where mails go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mail")]
pub struct MailConfig {
    /// Show the mails on the page /inbox instead of sending them [default: true in development without a mail server, else false]
    #[arg(long, env = "CARDEA_INBOX", value_name = "BOOL", global = true)]
    pub inbox: Option<bool>,
    /// Sender of all mails, with or without a name
    #[arg(
        long = "mail-from",
        env = "CARDEA_MAIL_FROM",
        default_value = "no-reply@localhost.localdomain",
        global = true
    )]
    pub from: String,
    /// Mail server, as `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465` (TLS from the start); `?tls=none` sends in the clear
    #[arg(long, env = "CARDEA_SMTP_URL", hide_env_values = true, global = true)]
    pub smtp_url: Option<SecretString>,
    /// File with the address of the mail server, in the place of `CARDEA_SMTP_URL`
    #[arg(long, env = "CARDEA_SMTP_URL_FILE", value_name = "PATH", global = true)]
    pub smtp_url_file: Option<PathBuf>,
    /// File of PEM certificates to trust besides the public authorities, for a mail server with a private one
    #[arg(long, env = "CARDEA_SMTP_CA_FILE", global = true)]
    pub smtp_ca_file: Option<PathBuf>,
    /// Seconds that handing a mail over may take before it is put back for later
    #[arg(
        long,
        env = "CARDEA_SMTP_TIMEOUT_SECS",
        default_value_t = 10,
        global = true
    )]
    pub smtp_timeout_secs: u64,
    /// Most connections to the mail server at once
    #[arg(
        long,
        env = "CARDEA_SMTP_CONNECTIONS",
        default_value_t = 4,
        global = true
    )]
    pub smtp_connections: usize,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Name or address; a certificate must be made out to it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Name and password to sign in with.
    pub credentials: Option<(String, SecretString)>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Begins in the clear; nothing but the request for TLS is said before TLS holds.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Not at all.
    None,
}

const FORM: &str = "CARDEA_SMTP_URL must be smtp:// or smtps://, then user:password@ where needed, host and port, and at most ?tls=none";

impl MailConfig {
    /// The mail server, if one is set.
    ///
    /// # Errors
    /// Why the setting cannot hold; what it says stays out of that, as there is a password in it.
    pub fn server(&self) -> Result<Option<SmtpServer>, &'static str> {
        let Some(url) = &self.smtp_url else {
            return Ok(None);
        };
        let url = Url::parse(url.expose_secret()).map_err(|_| FORM)?;
        let (tls, port) = match (url.scheme(), url.query()) {
            ("smtp", None) => (SmtpTls::Starttls, 587),
            ("smtp", Some("tls=none")) => (SmtpTls::None, 25),
            ("smtps", None) => (SmtpTls::Implicit, 465),
            _ => return Err(FORM),
        };
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(FORM);
        }
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_| FORM)
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => {
                return Err("CARDEA_SMTP_URL must have both a user and a password, or neither");
            }
            (user, Some(password)) => Some((decode(user)?, decode(password)?.into())),
        };
        Ok(Some(SmtpServer {
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            tls,
            credentials,
        }))
    }

    /// The sender.
    ///
    /// # Errors
    /// Why the setting cannot hold.
    pub fn sender(&self) -> Result<Mailbox, &'static str> {
        let sender: Option<Mailbox> = self.from.parse().ok();
        sender
            .filter(|sender| sender.email.to_string().is_ascii())
            .filter(|_| !self.from.contains(char::is_control))
            .ok_or("CARDEA_MAIL_FROM must be a mail address, or a name with one as in `Name <name@example.org>`")
    }
}

impl MailConfig {
    /// What of these settings cannot hold, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let file = self.smtp_ca_file.as_ref();
        let limits = [
            (
                file.is_none_or(|file| file.is_file()),
                "CARDEA_SMTP_CA_FILE names no file",
            ),
            // A worker gives a job up after 45 seconds.
            (
                (1..=40).contains(&self.smtp_timeout_secs),
                "CARDEA_SMTP_TIMEOUT_SECS must lie between 1 and 40",
            ),
            (
                (1..=50).contains(&self.smtp_connections),
                "CARDEA_SMTP_CONNECTIONS must lie between 1 and 50",
            ),
        ];
        [self.sender().err(), self.server().err()]
            .into_iter()
            .flatten()
            .chain(
                limits
                    .into_iter()
                    .filter(|limit| !limit.0)
                    .map(|limit| limit.1),
            )
            .map(str::to_owned)
            .collect()
    }
}

impl SmtpServer {
    /// Whether nothing leaves this machine on the way there.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> MailConfig {
        MailConfig {
            inbox: None,
            from: "Cardea <no-reply@example.org>".to_owned(),
            smtp_url: Some(url.into()),
            smtp_url_file: None,
            smtp_ca_file: None,
            smtp_timeout_secs: 10,
            smtp_connections: 4,
        }
    }

    #[test]
    fn addresses_of_mail_servers_are_read_with_their_usual_ports() -> Result<(), &'static str> {
        for (url, host, port, tls) in [
            (
                "smtp://mail.example.org",
                "mail.example.org",
                587,
                SmtpTls::Starttls,
            ),
            (
                "smtp://127.0.0.1:2525/",
                "127.0.0.1",
                2525,
                SmtpTls::Starttls,
            ),
            (
                "smtps://mail.example.org",
                "mail.example.org",
                465,
                SmtpTls::Implicit,
            ),
            ("smtps://[::1]:4650", "::1", 4650, SmtpTls::Implicit),
            ("smtp://localhost?tls=none", "localhost", 25, SmtpTls::None),
        ] {
            let server = config(url).server()?.ok_or("a server")?;
            assert_eq!(
                (&*server.host, server.port, server.tls),
                (host, port, tls),
                "{url}"
            );
            assert!(server.credentials.is_none());
        }
        let server = config("smtp://ann%40example.org:p%3Aw%2F@mail.example.org").server()?;
        let (user, password) = server.and_then(|server| server.credentials).ok_or("both")?;
        assert_eq!(
            (&*user, password.expose_secret()),
            ("ann@example.org", "p:w/")
        );
        Ok(())
    }

    #[test]
    fn what_names_no_mail_server_is_refused_without_being_repeated() {
        for url in [
            "mail.example.org:25",
            "http://mail.example.org",
            "smtp://",
            "smtp://ann@mail.example.org",
            "smtp://:hush@mail.example.org",
            "smtp://ann:hush@mail.example.org/path",
            "smtp://mail.example.org?tls=maybe",
            "smtps://mail.example.org?tls=none",
            "smtp://ann:%ff@mail.example.org",
        ] {
            let problem = config(url).server().err();
            assert!(
                problem.is_some_and(|problem| !problem.contains("hush")),
                "{url}"
            );
        }
    }

    #[test]
    fn only_this_machine_counts_as_loopback() -> Result<(), &'static str> {
        for (host, loopback) in [
            ("localhost", true),
            ("127.0.0.9", true),
            ("[::1]", true),
            ("mail.localhost.org", false),
            ("10.0.0.1", false),
        ] {
            let server = config(&format!("smtp://{host}?tls=none")).server()?;
            assert_eq!(server.ok_or("a server")?.is_loopback(), loopback, "{host}");
        }
        Ok(())
    }

    #[test]
    fn a_sender_is_one_mailbox_of_one_line() {
        for (from, good) in [
            ("no-reply@example.org", true),
            ("Cardea <no-reply@example.org>", true),
            ("Cardea", false),
            ("a@example.org, b@example.org", false),
            ("Cardea\r\nBcc: <no-reply@example.org>", false),
        ] {
            let config = MailConfig {
                from: from.to_owned(),
                ..config("smtp://localhost")
            };
            assert_eq!(config.sender().is_ok(), good, "{from}");
        }
    }
}
