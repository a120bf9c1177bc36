//! Which mails there are, and how they read. Templates are compiled in.

use anyhow::Context as _;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;

/// A mail to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// The link that proves the address. It names nobody: whoever typed the address in is a stranger
    /// until it is proved, and the name would be theirs to write to somebody else with.
    VerifyEmail {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// Somebody tried to register with an address that has an account.
    AlreadyRegistered,
}

/// A mail as it is sent.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Stays the same when the mail is sent again; becomes the Message-ID.
    pub id: String,
    /// Sender.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as a page.
    pub html: String,
    /// The links in it, in their order.
    pub links: Vec<String>,
}

const TEMPLATES: &[(&str, &str)] = &[
    ("layout.html", include_str!("templates/layout.html")),
    (
        "verify_email.txt",
        include_str!("templates/en/verify_email.txt"),
    ),
    (
        "verify_email.html",
        include_str!("templates/en/verify_email.html"),
    ),
    (
        "already_registered.txt",
        include_str!("templates/en/already_registered.txt"),
    ),
    (
        "already_registered.html",
        include_str!("templates/en/already_registered.html"),
    ),
];

impl Mail {
    /// Writes the mail to `to`, whose name is `name`; `id` names it for good.
    ///
    /// The first line of a text template is the subject.
    ///
    /// # Errors
    /// If a template is broken, which a test excludes.
    pub fn render(
        &self,
        config: &Config,
        name: &str,
        to: &str,
        id: Uuid,
    ) -> anyhow::Result<Message> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|name| {
            if std::path::Path::new(name).extension() == Some("html".as_ref()) {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        for (name, source) in TEMPLATES {
            templates
                .add_template(name, source)
                .with_context(|| format!("mail template {name}"))?;
        }
        let (template, links, hours) = match self {
            Self::VerifyEmail { link, hours } => ("verify_email", vec![link.clone()], *hours),
            Self::AlreadyRegistered => ("already_registered", Vec::new(), 0),
        };
        let values = context! {
            product => &*config.product_name, name, email => to, link => links.first(), hours,
        };
        let text = templates
            .get_template(&format!("{template}.txt"))?
            .render(&values)?;
        let html = templates
            .get_template(&format!("{template}.html"))?
            .render(&values)?;
        let (subject, text) = text
            .split_once("\n\n")
            .context("a mail begins with its subject")?;
        Ok(Message {
            id: id.to_string(),
            from: config.registration.mail_from.clone(),
            to: to.to_owned(),
            subject: subject.trim().to_owned(),
            text: text.to_owned(),
            html,
            links,
        })
    }
}
