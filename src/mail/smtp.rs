//! Hands mails to a mail server, over connections that are kept for a while. It tries once; the worker
//! tries again.
//!
//! The pool is our own because lettre's puts a connection back when a delivery is given up half-way,
//! and the next mail would read the answers that were meant for the one before.

use std::fmt;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, client::TlsVersion};
use lettre::{Address, Message as Letter};
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::config::{Config, SmtpServer, SmtpTls};
use crate::mail::Message;
use crate::mail::starttls::Upgradable;

/// How long a connection is kept without use; servers close theirs after minutes.
const IDLE: Duration = Duration::from_secs(30);
/// How long a kept connection may take to show that it still works.
const PROOF: Duration = Duration::from_secs(2);
/// How many mails go over one connection; servers limit it.
const MAILS: u32 = 50;
/// Longest account of a failure.
const TOLD: usize = 300;

/// A mail server that takes mails in. Cheap to clone.
#[derive(Clone)]
pub struct Smtp(Arc<Inner>);

struct Inner {
    server: SmtpServer,
    tls: Option<TlsParameters>,
    from: Mailbox,
    hello: ClientId,
    time_limit: Duration,
    slots: Semaphore,
    idle: Mutex<Vec<Kept>>,
}

/// A connection between two mails.
struct Kept {
    connection: AsyncSmtpConnection,
    since: Instant,
    mails: u32,
}

/// The mail server has refused this mail for good; the text says why.
#[derive(Debug)]
pub struct Undeliverable(String);

impl fmt::Display for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Undeliverable {}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Smtp").field(&self.0.server).finish()
    }
}

impl Smtp {
    /// The mail server of the settings; connects when the first mail is sent.
    ///
    /// # Errors
    /// If the settings cannot hold, or the certificates to trust cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        let mail = &config.mail;
        let Some(server) = mail.server().map_err(anyhow::Error::msg)? else {
            return Ok(None);
        };
        let from = mail.sender().map_err(anyhow::Error::msg)?;
        let tls = if server.tls == SmtpTls::None {
            None
        } else {
            let mut tls = TlsParameters::builder(server.host.clone())
                .certificate_store(CertificateStore::WebpkiRoots)
                .set_min_tls_version(TlsVersion::Tlsv12);
            if let Some(file) = &mail.smtp_ca_file {
                tls = tls.add_root_certificate(trusted(file).with_context(|| {
                    format!("CARDEA_SMTP_CA_FILE: {} cannot be used", file.display())
                })?);
            }
            Some(tls.build_rustls().context("CARDEA_SMTP_URL")?)
        };
        let own_name = config.public_url.as_ref().and_then(url::Url::domain);
        let hello = own_name.unwrap_or_else(|| from.email.domain()).to_owned();
        Ok(Some(Self(Arc::new(Inner {
            server,
            tls,
            from,
            hello: ClientId::Domain(hello),
            time_limit: Duration::from_secs(mail.smtp_timeout_secs),
            slots: Semaphore::new(mail.smtp_connections),
            idle: Mutex::default(),
        }))))
    }

    /// Hands one mail over; when it returns, the server has said that it is responsible for it.
    ///
    /// # Errors
    /// [`Undeliverable`] if the server refused the recipient or the mail for good. Anything else may
    /// pass: the server is away, too slow, says to come back, or turns the sender away, which is not
    /// the mail's fault. No address and no link is in any of them.
    pub async fn send(&self, message: &Message) -> anyhow::Result<()> {
        let to: Address = message
            .to
            .parse()
            .map_err(|_| Undeliverable("the recipient is no mail address".to_owned()))?;
        let letter = self.0.write(message, &to)?;
        let handing_over = self.0.hand_over(to, &letter);
        // Given up, the connection goes with it: nobody knows where in the conversation it was.
        match tokio::time::timeout(self.0.time_limit, handing_over).await {
            Ok(outcome) => outcome.map_err(|error| error.told(&message.to)),
            Err(_) => Err(anyhow!("the mail server took too long")),
        }
    }
}

/// Why a mail was not handed over.
enum Failure {
    /// This mail will not get there.
    Mail(Error),
    /// Nobody answers at the server's address.
    Away(io::Error),
    /// It may get there later.
    Now(&'static str, Error),
}

impl Failure {
    fn told(self, to: &str) -> anyhow::Error {
        match self {
            Self::Mail(error) => Undeliverable(tell(&error, to)).into(),
            Self::Away(error) => anyhow!("the mail server cannot be reached: {error}"),
            Self::Now(stage, error) => anyhow!("{stage}: {}", tell(&error, to)),
        }
    }
}

impl Inner {
    /// The mail as bytes, all of them ASCII.
    fn write(&self, message: &Message, to: &Address) -> anyhow::Result<Vec<u8>> {
        let id = format!("<{}@{}>", message.id, self.from.email.domain());
        let generated = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        let letter = Letter::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(message.subject.replace(char::is_control, " "))
            .message_id(Some(id))
            .date_now()
            .raw_header(generated)
            .multipart(MultiPart::alternative_plain_html(
                message.text.clone(),
                message.html.clone(),
            ))?;
        Ok(letter.formatted())
    }

    async fn hand_over(&self, to: Address, letter: &[u8]) -> Result<(), Failure> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await;
        let mut kept = match self.kept().await {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let connection = &mut kept.connection;
        let from = Some(self.from.email.clone());
        let sender = connection.command(Mail::new(from, Vec::new())).await;
        sender.map_err(|error| Failure::Now("the mail server refuses the sender", error))?;
        let recipient = connection.command(Rcpt::new(to, Vec::new())).await;
        recipient.map_err(verdict)?;
        connection.command(Data).await.map_err(verdict)?;
        connection.message(letter).await.map_err(verdict)?;
        kept.since = Instant::now();
        kept.mails += 1;
        if kept.mails < MAILS {
            self.idle().push(kept);
        }
        Ok(())
    }

    /// A connection that is left from another mail and still works.
    async fn kept(&self) -> Option<Kept> {
        loop {
            let mut kept = self.idle().pop()?;
            if kept.since.elapsed() < IDLE {
                let proof = tokio::time::timeout(PROOF, kept.connection.test_connected());
                if proof.await.is_ok_and(|works| works) {
                    return Some(kept);
                }
            }
        }
    }

    async fn connect(&self) -> Result<Kept, Failure> {
        let server = &self.server;
        let address = (&*server.host, server.port);
        let away = |error| Failure::Now("the mail server cannot be reached", error);
        let connection = match &self.tls {
            Some(tls) if server.tls == SmtpTls::Starttls => {
                let tcp = TcpStream::connect(address).await.map_err(Failure::Away)?;
                let stream = Box::new(Upgradable::new(tcp));
                let connecting = AsyncSmtpConnection::connect_with_transport(stream, &self.hello);
                let mut connection = connecting.await.map_err(away)?;
                let upgraded = connection.starttls(tls.clone(), &self.hello).await;
                upgraded.map_err(|error| Failure::Now("the mail server gives no TLS", error))?;
                connection
            }
            tls => {
                let (limit, tls) = (Some(self.time_limit), tls.clone());
                AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, tls, None)
                    .await
                    .map_err(away)?
            }
        };
        let mut kept = Kept {
            connection,
            since: Instant::now(),
            mails: 0,
        };
        if let Some((user, password)) = &server.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let signed_in = kept
                .connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await;
            signed_in.map_err(|error| Failure::Now("the mail server lets us not in", error))?;
        }
        Ok(kept)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // A panic while the lock was held cannot have left half a connection.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trusted(file: &std::path::Path) -> anyhow::Result<Certificate> {
    let pem = fs::read(file)?;
    // lettre takes a file without any for one with all that it needs.
    if !pem.windows(11).any(|bytes| bytes == b"CERTIFICATE") {
        return Err(anyhow!("there is no PEM certificate in it"));
    }
    Ok(Certificate::from_pem(&pem)?)
}

/// What an answer about the recipient or the mail means: refused for good, unless the answer is about
/// the connection (RFC 5321, section 4.2) or about signing in (RFC 4954, section 6).
fn verdict(error: Error) -> Failure {
    let about_us = error.status().is_some_and(|code| {
        matches!(
            code.to_string().as_str(),
            "502" | "503" | "521" | "530" | "534" | "535" | "538"
        )
    });
    if error.is_permanent() && !about_us {
        Failure::Mail(error)
    } else {
        Failure::Now("the mail server did not take it", error)
    }
}

/// A failure in one line without the recipient and without links: a server repeats what it likes, and
/// the line is shown to operators and logged.
fn tell(error: &Error, to: &str) -> String {
    let said = std::error::Error::source(error).map(ToString::to_string);
    let text = match (error.status(), said) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        _ => error.to_string(),
    };
    mask(&text, to)
}

fn mask(text: &str, to: &str) -> String {
    let local = to.split('@').next().unwrap_or_default();
    let mut told = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let hidden = word.contains('@')
            || word.contains("//")
            || word.contains("token")
            || (!bare.is_empty() && bare.eq_ignore_ascii_case(local));
        if !word.is_empty() {
            told.push(if hidden { "…" } else { word });
        }
    }
    told.join(" ").chars().take(TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_told_without_addresses_and_links() {
        let said =
            "5.1.1 <Ann@example.org>: no\r\n such user ann, see\thttps://example.org/x#token=crv_1";
        assert_eq!(
            mask(said, "ann@example.org"),
            "5.1.1 … no such user … see …"
        );
        assert_eq!(mask(&"x".repeat(5000), "ann@example.org").len(), TOLD);
    }
}
