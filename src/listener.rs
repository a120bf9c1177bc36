//! Hears what any instance has changed, and keeps what this one remembers true. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::app::App;
use crate::auth::access_cache::BELIEF;
use crate::db::Heard;
use crate::live::events::{AuditPlaces, Event, News, Topic};
use crate::services::{audit_trail, session};

/// How often the database is asked for a sign of life; well below [`BELIEF`].
const INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait before a lost line is taken up again.
const PAUSE: Duration = Duration::from_millis(200);
/// Entries of the audit trail that are read at once; fewer than may wait for a follower.
const AUDIT_PAGE: i64 = 100;
/// How long those who follow the trail have for so many.
const AUDIT_PAUSE: Duration = Duration::from_millis(100);
/// How often the use of sessions is written down.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// Starts to listen, and to write down which sessions are used; ends with the application.
///
/// Without it everything works, and every request asks the database who its caller is.
pub fn start(app: &App) {
    let (listening, tasks) = (app.clone(), app.tasks.clone());
    let reload = Arc::new(Notify::new());
    let (keys, asked) = (app.clone(), Arc::clone(&reload));
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = keys.shutdown.cancelled() => return,
                () = asked.notified() => if let Err(error) = keys.reload_keys().await {
                    tracing::warn!(error = %error, "The signing keys could not be read: {error:#}");
                    tokio::time::sleep(PAUSE).await;
                    // A key that was removed must not stay because the database was busy.
                    asked.notify_one();
                },
            }
        }
    });
    let (audit, told) = mpsc::unbounded_channel();
    let reading = app.clone();
    tasks.spawn(async move { read_audit(&reading, told).await });
    tasks.spawn(async move {
        // Told once, however long it lasts.
        let lost = AtomicBool::new(false);
        loop {
            tokio::select! {
                () = listening.shutdown.cancelled() => return,
                error = listen(&listening, &reload, &audit, &lost) => {
                    listening.access.doubt();
                    listening.live.events.publish(&Event::LineLost);
                    if !lost.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = %error, "Lost the line to the database's notifications: {error:#}");
                    }
                },
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let writing = app.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = writing.shutdown.cancelled() => break,
                () = tokio::time::sleep(WRITE_INTERVAL) => write(&writing).await,
            }
        }
        write(&writing).await;
    });
}

async fn write(app: &App) {
    if let Err(error) = session::write_uses(app).await {
        tracing::warn!(error = ?error, "The use of sessions could not be written down");
    }
}

async fn listen(
    app: &App,
    reload_keys: &Notify,
    audit: &mpsc::UnboundedSender<AuditPlaces>,
    lost: &AtomicBool,
) -> anyhow::Error {
    let waiting = Mutex::new(Vec::new());
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let heard = |heard: Heard| match heard {
        // Whatever happened while nobody listened was missed.
        Heard::Began => {
            app.access.clear();
            reload_keys.notify_one();
            if lost.swap(false, Ordering::Relaxed) {
                tracing::info!("The line to the database's notifications is back");
            }
        }
        Heard::Notification(channel, payload) if channel == "events" => tell(app, audit, &payload),
        Heard::Notification(_, payload) if payload == "keys" => reload_keys.notify_one(),
        Heard::Notification(_, payload) => forget(app, &payload),
        Heard::Asking => *lock() = app.access.waiting(),
        Heard::Alive(asked) => app.access.caught_up(asked, std::mem::take(&mut lock())),
    };
    let next = || app.access.asked();
    match app
        .db
        .follow(&["access", "events"], (INTERVAL, BELIEF), next, heard)
        .await
    {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Hands on what a notification says has happened. The triggers of the database write them, and whoever
/// gives entries of the audit trail their places.
fn tell(app: &App, audit: &mpsc::UnboundedSender<AuditPlaces>, payload: &str) {
    match News::read(payload) {
        Some(News::Event(event)) => app.live.events.publish(&event),
        Some(News::Audit(places)) => {
            // Read by who has the time, and by nobody where nobody follows.
            if app.live.events.followers(Topic::Audit) > 0 {
                let _ = audit.send(places);
            }
        }
        // Of a newer version, perhaps.
        None => tracing::debug!("An event that this version does not know"),
    }
}

/// Reads entries of the audit trail once for all who follow it, in order.
async fn read_audit(app: &App, mut told: mpsc::UnboundedReceiver<AuditPlaces>) {
    loop {
        let places = tokio::select! {
            () = app.shutdown.cancelled() => return,
            places = told.recv() => places,
        };
        let Some(places) = places else { return };
        let mut behind = places.from - 1;
        while behind < places.to && app.live.events.followers(Topic::Audit) > 0 {
            let many = (places.to - behind).min(AUDIT_PAGE);
            match audit_trail::chained(app, places.month, behind, many).await {
                Ok(events) => {
                    for event in events {
                        let event = Event::AuditAdded(Arc::new(event));
                        app.live.events.publish(&event);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = ?error, "Entries of the audit trail could not be read for who follows it");
                    // Better none than some of them: whoever follows comes again.
                    app.live.events.lost(Topic::Audit);
                }
            }
            behind += many;
            tokio::time::sleep(AUDIT_PAUSE).await;
        }
    }
}

/// Forgets what a notification says has changed, and tells those whose access it was. The triggers of the
/// database write them.
fn forget(app: &App, payload: &str) {
    let (what, id) = payload.split_once(' ').unwrap_or((payload, ""));
    let whose = match (what, id.parse()) {
        ("session", Ok(id)) => {
            app.access.forget_session(id);
            Topic::Session(id)
        }
        ("user", Ok(id)) => {
            app.access.forget_user(id);
            Topic::Account(id)
        }
        ("permissions", _) => {
            app.access.forget_permissions();
            Topic::Everybody
        }
        // Of a newer version, perhaps.
        _ => {
            app.access.clear();
            Topic::Everybody
        }
    };
    app.live.events.access_changed(whose);
}
