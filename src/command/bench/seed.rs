//! `bench seed`: fills a database with made-up accounts by COPY, past the services; all of it or nothing.

use std::fmt::Write as _;
use std::io::Cursor;
use std::pin::pin;

use anyhow::{Context as _, bail};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::{Config, Mode};
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::SinkExt as _;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::command::bench::people::{Person, World};
use crate::command::database::Database;
use crate::command::progress::Progress;
use crate::command::user::read_password;

/// Bytes sent at a time.
const CHUNK: usize = 1 << 18;
/// The tables that are written.
const TABLES: [&str; 6] = [
    "users",
    "profiles",
    "user_roles",
    "two_factor_secrets",
    "backgrounds",
    "login_events",
];

#[derive(Args, Debug)]
pub(crate) struct Seed {
    /// How many accounts
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    accounts: u64,
    /// How many sign-ins, over the last 800 days
    #[arg(long, default_value_t = 0)]
    login_events: u64,
    /// Another number makes other people
    #[arg(long = "seed", default_value_t = 1)]
    number: u64,
    /// Read a password from standard input that opens every active account; without it none can be opened
    #[arg(long)]
    password_stdin: bool,
    /// Fill a database that has accounts already
    #[arg(long)]
    add: bool,
}

/// Fills the database.
///
/// # Errors
/// One line that says why nothing was written.
pub(super) async fn run(config: Config, seed: Seed) -> anyhow::Result<()> {
    if config.mode == Mode::Production {
        bail!("made-up accounts are for development; this server is set up for production");
    }
    let password = seed.password_stdin.then(read_password).transpose()?;
    let database = Database::open(&config).await?;
    let filled = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        let hash =
            match password {
                Some(password) => {
                    let hash = app.hash_password(password.into()).await;
                    Some(hash.map_err(|error| {
                        anyhow::anyhow!("the password cannot be hashed: {error:?}")
                    })?)
                }
                None => None,
            };
        let now = app.clock.now();
        let fill = app
            .db
            .copying(async |client| fill(client, &seed, hash.as_deref(), now).await);
        tokio::select! {
            filled = fill => filled.context("nothing was written"),
            _ = tokio::signal::ctrl_c() => bail!("broken off; nothing was written"),
        }
    }
    .await;
    database.close().await?;
    filled
}

/// Writes everything in one transaction. Triggers of ours rest meanwhile: they tell other servers of
/// access that changes, and nobody remembers anything of an account that is not there yet. Foreign keys
/// are checked.
async fn fill(
    client: &Client,
    seed: &Seed,
    hash: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let triggers = |verb: &str| {
        let line = |table| format!("ALTER TABLE {table} {verb} TRIGGER USER; ");
        TABLES.map(line).concat()
    };
    client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL work_mem = '256MB'; SET LOCAL gin_pending_list_limit = '256MB'; {}",
            triggers("DISABLE")
        ))
        .await?;
    let first = client.query_one("SELECT count(*) FROM users", &[]).await?;
    let first = u64::try_from(first.get::<_, i64>(0)).unwrap_or_default();
    if first > 0 && !seed.add {
        bail!("the database has {first} accounts already; --add puts more beside them");
    }
    let world = World {
        seed: seed.number,
        first,
        count: seed.accounts,
        now,
    };
    let roles = Roles::read(client).await?;
    for (table, columns, write) in ACCOUNT_TABLES {
        let row = |place, out: &mut String| {
            write(
                &world.person(place),
                &Given {
                    hash,
                    now,
                    roles: &roles,
                },
                out,
            );
        };
        copy(client, (table, columns), seed.accounts, row).await?;
    }
    let event = |place, out: &mut String| {
        let login = world.login(place, seed.login_events);
        line(
            out,
            &[
                &login.id,
                &login.user_id,
                &login.methods,
                &login.occurred_at.to_rfc3339(),
            ],
        );
    };
    client.batch_execute(EVENTS_BEGIN).await?;
    copy(
        client,
        ("seeded_logins", "id, user_id, methods, occurred_at"),
        seed.login_events,
        event,
    )
    .await?;
    client.batch_execute(EVENTS_END).await?;
    client
        .batch_execute(&format!("{} COMMIT", triggers("ENABLE")))
        .await?;
    // Also marks what every transaction may see, without which a count has to look at every row.
    client
        .batch_execute(&format!("VACUUM (ANALYZE) {}", TABLES.join(", ")))
        .await?;
    println!("The first administrator is {}.", world.person(0).email);
    Ok(())
}

/// Sign-ins wait here until each can be told of the one before it.
const EVENTS_BEGIN: &str = "CREATE TEMPORARY TABLE seeded_logins \
    (id uuid, user_id uuid, methods text[], occurred_at timestamptz) ON COMMIT DROP";
/// What was counted before is counted anew, with these.
const EVENTS_END: &str = "INSERT INTO login_events (id, user_id, methods, occurred_at, previous_at) \
    SELECT id, user_id, methods, occurred_at, \
        lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at, id) FROM seeded_logins; \
    TRUNCATE login_quarters, login_day_methods, login_day_returns";

/// What rows are made of besides a person.
struct Given<'a> {
    hash: Option<&'a str>,
    now: DateTime<Utc>,
    roles: &'a Roles,
}

type Write = fn(&Person, &Given<'_>, &mut String);

/// The tables that belong to accounts, their columns, and the rows of one person.
const ACCOUNT_TABLES: [(&str, &str, Write); 5] = [
    (
        "users",
        "id, auth_token, username, email, hashed_password, full_name, first_name, last_name, status, \
         email_verified_at, password_changed_at, last_login_at, login_count, coaching_start_date, closed_at, \
         closed_by, created_at, updated_at",
        user,
    ),
    (
        "profiles",
        "user_id, timezone, created_at, updated_at",
        |person, _, out| {
            let created = person.created_at.to_rfc3339();
            line(out, &[&person.id, &person.timezone, &created, &created]);
        },
    ),
    ("user_roles", "user_id, role_id, assigned_at", roles),
    (
        "two_factor_secrets",
        "id, user_id, sealed_secret, last_step, created_at, confirmed_at",
        two_factor,
    ),
    (
        "backgrounds",
        "user_id, programming_languages, experience_level, created_at, updated_at",
        |person, _, out| {
            if person.background {
                let created = person.created_at.to_rfc3339();
                line(
                    out,
                    &[
                        &person.id,
                        &"{rust,sql}",
                        &"intermediate",
                        &created,
                        &created,
                    ],
                );
            }
        },
    ),
];

fn user(person: &Person, given: &Given<'_>, out: &mut String) {
    let instant = |instant: DateTime<Utc>| instant.to_rfc3339();
    let created = instant(person.created_at);
    let optional = |value: Option<String>| value.unwrap_or_else(|| NULL.to_owned());
    let verified = optional(person.verified.then(|| created.clone()));
    let password_changed = optional(given.hash.map(|_| created.clone()));
    line(
        out,
        &[
            &person.id,
            &person.auth_token,
            &person.username.as_deref().unwrap_or(NULL),
            &person.email,
            &given.hash.unwrap_or(NULL),
            &person.full_name,
            &person.first_name.unwrap_or(NULL),
            &person.last_name.unwrap_or(NULL),
            &person.status,
            &verified,
            &password_changed,
            &optional(person.last_login_at.map(instant)),
            &person.logins,
            &optional(person.coaching_since.map(instant)),
            &optional(person.closed_at.map(instant)),
            &person.closed_at.map_or(NULL, |_| "owner"),
            &created,
            &instant(given.now),
        ],
    );
}

fn roles(person: &Person, given: &Given<'_>, out: &mut String) {
    let created = person.created_at.to_rfc3339();
    for role in &given.roles.defaults {
        line(out, &[&person.id, role, &created]);
    }
    if person.moderator {
        line(out, &[&person.id, &given.roles.moderator, &created]);
    }
    if person.admin {
        line(out, &[&person.id, &given.roles.admin, &created]);
    }
}

/// What is sealed here opens with no key. An id of the person serves the row, too.
fn two_factor(person: &Person, _: &Given<'_>, out: &mut String) {
    if person.two_factor {
        let created = person.created_at.to_rfc3339();
        line(
            out,
            &[
                &person.auth_token,
                &person.id,
                &"\\\\x00",
                &0,
                &created,
                &created,
            ],
        );
    }
}

/// The roles that are given.
struct Roles {
    defaults: Vec<Uuid>,
    moderator: Uuid,
    admin: Uuid,
}

impl Roles {
    async fn read(client: &Client) -> anyhow::Result<Self> {
        let ids = async |condition: &str| {
            let query = format!("SELECT id::text FROM roles WHERE {condition}");
            let rows = client.query(&query, &[]).await?;
            let ids = rows.iter().map(|row| Ok(row.get::<_, &str>(0).parse()?));
            ids.collect::<anyhow::Result<Vec<Uuid>>>()
        };
        let one = async |name: &str| {
            let ids = ids(&format!("name = '{name}'")).await?;
            ids.first()
                .copied()
                .with_context(|| format!("there is no role {name}"))
        };
        Ok(Self {
            defaults: ids("is_default").await?,
            moderator: one("moderator").await?,
            admin: one("admin").await?,
        })
    }
}

const NULL: &str = "\\N";

/// A line of COPY's text format. No value holds a tab, a line break or a backslash that stands for itself.
fn line(out: &mut String, values: &[&dyn std::fmt::Display]) {
    for (at, value) in values.iter().enumerate() {
        let _ = write!(out, "{}{value}", if at == 0 { "" } else { "\t" });
    }
    out.push('\n');
}

async fn copy(
    client: &Client,
    (table, columns): (&'static str, &str),
    count: u64,
    row: impl Fn(u64, &mut String),
) -> anyhow::Result<()> {
    let mut progress = Progress::new(table, count);
    let statement = format!("COPY {table} ({columns}) FROM STDIN");
    let sink = client.copy_in::<_, Cursor<Vec<u8>>>(&statement).await?;
    let mut sink = pin!(sink);
    let mut text = String::with_capacity(CHUNK + 1024);
    for place in 0..count {
        row(place, &mut text);
        if text.len() >= CHUNK || place + 1 == count {
            sink.send(Cursor::new(std::mem::take(&mut text).into_bytes()))
                .await?;
            progress.at(place + 1);
        }
    }
    let rows = sink.finish().await?;
    let (took, _) = progress.end();
    let rate = u128::from(rows) * 1000 / took.as_millis().max(1);
    println!(
        "{table}: {rows} rows in {:.1} s, {rate} a second",
        took.as_secs_f64()
    );
    Ok(())
}
