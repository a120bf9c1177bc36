//! Mails: what they say and where they go. It queues nothing and retries nothing; the worker does.

mod device;
pub mod message;
pub mod smtp;
mod starttls;
mod template;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

pub use message::{Mail, Message, Recipient};
pub use smtp::{Smtp, Undeliverable};

/// Most mails that the inbox keeps; older ones are dropped.
const INBOX_SIZE: usize = 500;

/// Where mails go. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Mailer {
    /// Into memory, to be read on the inbox page and in tests; the newest 500 are kept.
    Inbox(Inbox),
    /// To people, through a mail server.
    Smtp(Smtp),
    /// Nowhere yet: mails wait in the queue until the server is started with a way to send them.
    Held,
}

/// The mails in memory, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<VecDeque<Message>>>);

impl Mailer {
    /// Hands a message over. A message with the id of one that is there already replaces it, since
    /// it is the same mail sent twice.
    ///
    /// # Errors
    /// [`Undeliverable`] if trying again is of no use; anything else if it cannot be handed over now.
    pub async fn send(&self, message: Message) -> anyhow::Result<()> {
        match self {
            Self::Inbox(inbox) => {
                inbox.put(message);
                Ok(())
            }
            Self::Smtp(smtp) => smtp.send(&message).await,
            Self::Held => anyhow::bail!("no way to send mails is configured"),
        }
    }

    /// The inbox, if mails go there.
    #[must_use]
    pub fn inbox(&self) -> Option<&Inbox> {
        match self {
            Self::Inbox(inbox) => Some(inbox),
            Self::Smtp(_) | Self::Held => None,
        }
    }

    /// Whether mails get anywhere.
    #[must_use]
    pub fn sends(&self) -> bool {
        !matches!(self, Self::Held)
    }
}

impl Inbox {
    /// The messages, the newest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.lock().iter().cloned().collect()
    }

    /// The message with this id.
    #[must_use]
    pub fn message(&self, id: &str) -> Option<Message> {
        self.lock().iter().find(|message| message.id == id).cloned()
    }

    fn put(&self, message: Message) {
        let mut messages = self.lock();
        messages.retain(|other| other.id != message.id);
        messages.push_front(message);
        messages.truncate(INBOX_SIZE);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Message>> {
        // A panic while the lock was held cannot have left half a message.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
