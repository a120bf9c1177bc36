//! Hears what any instance has changed, and keeps what this one remembers true. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::app::App;
use crate::auth::access_cache::BELIEF;
use crate::db::Heard;
use crate::services::session;

/// How often the database is asked for a sign of life; well below [`BELIEF`].
const INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait before a lost line is taken up again.
const PAUSE: Duration = Duration::from_millis(200);
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
    tasks.spawn(async move {
        // Told once, however long it lasts.
        let lost = AtomicBool::new(false);
        loop {
            tokio::select! {
                () = listening.shutdown.cancelled() => return,
                error = listen(&listening, &reload, &lost) => {
                    listening.access.doubt();
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

async fn listen(app: &App, reload_keys: &Notify, lost: &AtomicBool) -> anyhow::Error {
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
        Heard::Notification(payload) if payload == "keys" => reload_keys.notify_one(),
        Heard::Notification(payload) => forget(app, &payload),
        Heard::Asking => *lock() = app.access.waiting(),
        Heard::Alive(asked) => app.access.caught_up(asked, std::mem::take(&mut lock())),
    };
    let next = || app.access.asked();
    match app
        .db
        .follow("access", (INTERVAL, BELIEF), next, heard)
        .await
    {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Forgets what a notification says has changed. The triggers of the database write them.
fn forget(app: &App, payload: &str) {
    let (what, id) = payload.split_once(' ').unwrap_or((payload, ""));
    match (what, id.parse()) {
        ("session", Ok(id)) => app.access.forget_session(id),
        ("user", Ok(id)) => app.access.forget_user(id),
        ("permissions", _) => app.access.forget_permissions(),
        // Of a newer version, perhaps.
        _ => app.access.clear(),
    }
}
