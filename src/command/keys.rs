//! `keys`: the keys that sign access tokens, and the master key of what is sealed.

use anyhow::bail;
use cardea::app::App;
use cardea::auth::keys::{KeyState, KeyTimes};
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::crypto::seal::MasterKeys;
use cardea::error::Error;
use cardea::scalar::DateTime;
use cardea::services::keys::{self, Beginning, Removal, Rotation};
use cardea::services::master_keys;
use chrono::SecondsFormat;
use clap::Subcommand;
use uuid::Uuid;

use crate::command::database::Database;
use crate::command::progress::Progress;

#[derive(Subcommand, Debug)]
pub(super) enum Keys {
    /// Make the key that signs next; it is published now and signs in ten minutes
    Rotate {
        /// Let it sign at once: for an emergency, since others may not have seen the key yet
        #[arg(long)]
        at_once: bool,
    },
    /// Wrap the keys of everything sealed anew with the first master key; the others are needed no more then
    RotateMaster,
    /// List the keys
    List,
    /// Remove a key that others may hold; tokens that it signed are refused from now on
    Remove {
        /// The key, as it is listed
        id: Uuid,
    },
}

/// Does what the command line asks.
///
/// # Errors
/// One line that says what is wrong.
pub(super) async fn run(config: Config, action: Keys) -> anyhow::Result<()> {
    let database = Database::open(&config).await?;
    let done = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        match action {
            Keys::Rotate { at_once } => rotate(&app, at_once).await,
            Keys::RotateMaster => rotate_master(&app).await,
            Keys::List => list(&app).await,
            Keys::Remove { id } => remove(&app, id).await,
        }
    }
    .await;
    database.close().await?;
    done
}

async fn rotate(app: &App, at_once: bool) -> anyhow::Result<()> {
    let beginning = if at_once {
        Beginning::AtOnce
    } else {
        Beginning::Published
    };
    match keys::rotate(app, beginning).await.map_err(explain)? {
        Rotation::Added(key) => {
            println!(
                "Made the key {}; it signs from {}.",
                key.id,
                text(key.signs_from)
            );
            Ok(())
        }
        Rotation::Waiting(key) => bail!(
            "the key {} waits already and signs from {}; --at-once makes one that signs now",
            key.id,
            text(key.signs_from)
        ),
    }
}

async fn rotate_master(app: &App) -> anyhow::Result<()> {
    let mut bar = None;
    let rotated = master_keys::rotate(app, |done, total| {
        bar.get_or_insert_with(|| Progress::new("keys", total))
            .at(done);
    })
    .await
    .map_err(explain)?;
    let speed = bar.map(Progress::end);
    let speed = speed.map_or_else(String::new, |(took, _)| {
        format!(" in {:.1} s", took.as_secs_f64())
    });
    let name = MasterKeys::name(app.master_keys.current());
    if rotated == 0 {
        println!("Every key is wrapped with the master key {name} already.");
    } else {
        println!("Wrapped {rotated} keys with the master key {name}{speed}.");
    }
    println!("Other master keys may be taken out of the settings of every server.");
    Ok(())
}

async fn list(app: &App) -> anyhow::Result<()> {
    for (key, state) in keys::list(app).await.map_err(explain)? {
        println!("{}  {}", key.id, describe(&key, state));
    }
    Ok(())
}

fn describe(key: &KeyTimes, state: KeyState) -> String {
    let (name, since, until) = match state {
        KeyState::Next => ("next    ", None, None),
        KeyState::Signing => ("signing ", Some(key.signs_from), key.signs_until),
        KeyState::Retiring => ("retiring", key.signs_until, key.verifies_until),
    };
    let since = match since {
        Some(since) => format!("since {}", text(since)),
        None => format!("from  {}", text(key.signs_from)),
    };
    match until {
        Some(until) => format!("{name}  {since}  until {}", text(until)),
        None => format!("{name}  {since}"),
    }
}

async fn remove(app: &App, id: Uuid) -> anyhow::Result<()> {
    match keys::remove(app, id).await.map_err(explain)? {
        Removal::Removed => {
            println!("Removed the key {id}; tokens that it signed are refused.");
            Ok(())
        }
        Removal::Unknown => bail!("there is no key {id}"),
        Removal::Needed => bail!("no other key can sign; run `cardea keys rotate --at-once` first"),
    }
}

fn text(instant: DateTime) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Internal(cause) => anyhow::anyhow!("{cause:#}"),
        other => anyhow::anyhow!("{other:?}"),
    }
}
