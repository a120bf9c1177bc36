//! What a session of a request is like, and whether a pooler that lends connections out for single transactions
//! (`PgBouncer`'s `pool_mode = transaction`) makes its own like that. It sets nothing there.

use anyhow::{Context as _, bail, ensure};
use diesel_async::RunQueryDsl as _;
use secrecy::SecretString;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::db::{Conn, with_client};

/// The settings of PostgreSQL that each session of a request has.
#[derive(Clone, Debug)]
pub(super) struct SessionSettings([(&'static str, String); 4]);

/// Which PostgreSQL, and which of its databases: the start of the server tells it from its copies.
const PLACE: &str = "SELECT extract(epoch FROM pg_postmaster_start_time())::text || ' ' || oid AS place \
    FROM pg_database WHERE datname = current_database()";

/// A statement that nothing else prepares.
const MARK: &str = "SELECT 'the name that a pooler gives this'";
/// How many names it has that are not tokio-postgres's own, `s` and a number: a pooler that keeps prepared statements for
/// its clients puts names of its own in their place.
const NAMES: &str = "SELECT count(*) FROM pg_prepared_statements \
    WHERE statement = $$SELECT 'the name that a pooler gives this'$$ AND name !~ '^s[0-9]+$'";

#[derive(diesel::QueryableByName)]
struct Place {
    #[diesel(sql_type = diesel::sql_types::Text)]
    place: String,
}

impl SessionSettings {
    /// Those of requests, whose statements take so many seconds at most.
    pub fn new(statement_timeout_secs: u32) -> Self {
        let statement_timeout = u64::from(statement_timeout_secs) * 1000;
        Self([
            ("statement_timeout", statement_timeout.to_string()),
            ("lock_timeout", "2000".to_owned()),
            ("idle_in_transaction_session_timeout", "10000".to_owned()),
            ("TimeZone", "UTC".to_owned()),
        ])
    }

    /// The statements that set them. They have no quotes, so that they can stand in `connect_query` of `PgBouncer`.
    pub fn sql(&self) -> String {
        let set = |(name, value): &(&str, String)| format!("SET {name} = {value}");
        self.0.iter().map(set).collect::<Vec<_>>().join("; ")
    }
}

/// Checks that the pooler leads to the database of `direct`, keeps prepared statements for its clients, and
/// that its sessions have these settings: the session that it lends just now.
///
/// # Errors
/// One line that says what to set.
pub(super) async fn check(
    pooler: &SecretString,
    direct: &mut Conn,
    wanted: &SessionSettings,
) -> anyhow::Result<()> {
    let meant: Place = diesel::sql_query(PLACE)
        .get_result(direct)
        .await
        .context("the database does not tell what it is")?;
    with_client(pooler, async |client| {
        // Everything on one session.
        client.batch_execute("BEGIN").await?;
        ensure!(
            texts(client, PLACE).await? == [meant.place],
            "DATABASE_DIRECT_URL leads to another database"
        );
        refuse_other_settings(client, wanted).await?;
        refuse_lost_statements(client).await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    })
    .await
    .context("the pooler at DATABASE_URL cannot be used")
}

async fn refuse_other_settings(client: &Client, wanted: &SessionSettings) -> anyhow::Result<()> {
    let mut different = Vec::new();
    for (name, value) in &wanted.0 {
        // In milliseconds, where SHOW would say `5s`.
        let setting = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
        let found = texts(client, &setting).await?.concat();
        if found != *value {
            different.push(format!("{name} = {found}"));
        }
    }
    if !different.is_empty() {
        bail!(
            "its connections have {}; with PgBouncer set connect_query='{}' for the database",
            different.join(", "),
            wanted.sql()
        );
    }
    Ok(())
}

async fn refuse_lost_statements(client: &Client) -> anyhow::Result<()> {
    const NEEDED: &str = "it keeps no prepared statements for its clients: it takes PgBouncer 1.21 or newer with \
        pool_mode=transaction and max_prepared_statements above 0; without such a pooler leave DATABASE_DIRECT_URL away";
    let is_taken = |error: &Error| error.code() == Some(&SqlState::DUPLICATE_PSTATEMENT);
    let prepared = match client.prepare(MARK).await {
        // Left there by another client, whose numbers begin at 0 as well.
        Err(error) if is_taken(&error) => bail!(NEEDED),
        prepared => prepared?,
    };
    ensure!(texts(client, NAMES).await? != ["0"], NEEDED);
    drop(prepared);
    Ok(())
}

/// The first column of what a query gives, without preparing it.
async fn texts(client: &Client, query: &str) -> anyhow::Result<Vec<String>> {
    let messages = client.simple_query(query).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}
