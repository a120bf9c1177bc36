//! Notifications of the database, with signs that they arrive.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use crate::db::{CONNECT_TIMEOUT, Db, address_of, tls};

/// What comes by a channel that is followed.
#[derive(Debug)]
pub enum Heard {
    /// From now on nothing is missed until the connection is lost.
    Began,
    /// A notification: its channel and its payload.
    Notification(String, String),
    /// The database is asked for a sign of life.
    Asking,
    /// It gave the sign that it was asked for at this instant; every notification of what was
    /// committed before was heard.
    Alive(Instant),
}

impl Db {
    /// Follows `channels` on a connection of its own until that is lost; tells `heard` what comes by
    /// them, in order. Whenever `next` ends, but at least each `interval`, it sends itself a
    /// notification through the database, and does not wait for one longer than `patience`.
    ///
    /// # Errors
    /// Why the connection was lost; it does not end otherwise.
    pub async fn follow<N: Future<Output = ()>>(
        &self,
        channels: &[&'static str],
        (interval, patience): (Duration, Duration),
        next: impl Fn() -> N,
        heard: impl Fn(Heard),
    ) -> anyhow::Result<Infallible> {
        let address = address_of(self.direct.expose_secret())?;
        let connected = tls::connect(&address);
        let (client, mut connection) = tokio::time::timeout(CONNECT_TIMEOUT, connected).await??;
        // The sign of life is a notification itself: that the connection answers does not say that
        // notifications come by it. A pooler in between may swallow them.
        let own = format!("alive_{}", Uuid::new_v4().simple());
        let (echoed, echo) = (AtomicU64::new(0), Notify::new());
        let listened = async {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => {
                        if notification.channel() == own {
                            let beat = notification.payload().parse().unwrap_or(0);
                            echoed.store(beat, Ordering::SeqCst);
                            echo.notify_one();
                        } else {
                            let payload = notification.payload().to_owned();
                            heard(Heard::Notification(
                                notification.channel().to_owned(),
                                payload,
                            ));
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return anyhow::Error::from(error),
                    None => return anyhow!("the database closed the connection"),
                }
            }
        };
        let lived = async {
            client
                .batch_execute(&format!(
                    "LISTEN {}; LISTEN {own}",
                    channels.join("; LISTEN ")
                ))
                .await?;
            heard(Heard::Began);
            for beat in 1_u64.. {
                let asked = Instant::now();
                heard(Heard::Asking);
                let answered = async {
                    client
                        .batch_execute(&format!("NOTIFY {own}, '{beat}'"))
                        .await?;
                    while AtomicU64::load(&echoed, Ordering::SeqCst) < beat {
                        echo.notified().await;
                    }
                    Ok::<_, anyhow::Error>(())
                };
                tokio::time::timeout(patience, answered)
                    .await
                    .map_err(|_| anyhow!("no notification in {patience:?}"))??;
                heard(Heard::Alive(asked));
                // Whether somebody asked or the time is over makes no difference.
                let _ = tokio::time::timeout(interval, next()).await;
            }
            bail!("no more numbers for signs of life")
        };
        tokio::select! {
            // Notifications first: what came before an answer is heard before it.
            biased;
            error = listened => Err(error),
            lived = lived => lived,
        }
    }
}
