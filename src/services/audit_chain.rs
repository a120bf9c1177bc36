//! What makes the audit trail tell of every change to it: each entry carries a code of its own from the
//! moment it is written, and gets a place in the chain of its month a moment later. Writers wait for nobody;
//! one task at a time chains what they have committed.

use std::collections::BTreeMap;

use anyhow::anyhow;
use chrono::Months;
use diesel_async::AsyncConnection as _;

use crate::app::App;
use crate::crypto::seal::DataKey;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::audit_chain::{self, AuditChain, Link, Place, month_of, span_of};
use crate::models::audit_event::AuditEvent;
use crate::scalar::Date;

/// Entries chained by one transaction.
const BATCH: i64 = 1000;
/// Entries read at once to verify them.
const PAGE: i64 = 5000;
/// Months whose partitions are made before they begin.
const AHEAD: u32 = 2;

/// The code that an entry carries from the moment it is written: HMAC-SHA-256 of every column before it.
#[must_use]
pub fn mac(key: &DataKey, event: &AuditEvent) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    let mut part = |part: Option<&[u8]>| {
        // Told apart by their lengths; nothing is not the same as nothing in it.
        let length = part.map_or(u32::MAX, |part| {
            u32::try_from(part.len()).unwrap_or(u32::MAX - 1)
        });
        message.extend(length.to_be_bytes());
        message.extend(part.unwrap_or_default());
    };
    part(Some(event.id.as_bytes()));
    part(Some(&event.occurred_at.timestamp_micros().to_be_bytes()));
    part(Some(event.action.as_str().as_bytes()));
    part(Some(event.outcome.as_str().as_bytes()));
    part(event.actor_id.as_ref().map(|id| &id.as_bytes()[..]));
    part(event.subject_id.as_ref().map(|id| &id.as_bytes()[..]));
    part(event.request_id.as_ref().map(String::as_bytes));
    part(event.client.as_deref());
    part(event.reason.as_deref());
    // Keys come sorted, so that the database may keep them in an order of its own.
    part(Some(event.details.to_string().as_bytes()));
    key.mac("audit entry", &message).to_vec()
}

fn genesis(key: &DataKey, month: Date, before: &[u8]) -> Vec<u8> {
    let message = [(*month).to_string().as_bytes(), b"\0", before].concat();
    key.mac("audit genesis", &message).to_vec()
}

fn next(key: &DataKey, before: &[u8], mac: &[u8]) -> Vec<u8> {
    key.mac("audit chain", &[before, mac].concat()).to_vec()
}

fn retirement(key: &DataKey, chain: &AuditChain) -> Vec<u8> {
    let month = (*chain.month).to_string();
    let length = chain.length.to_be_bytes();
    let message = [month.as_bytes(), b"\0", &length, &chain.head].concat();
    key.mac("audit retirement", &message).to_vec()
}

/// Gives every committed entry its place, unless another instance is at it. Gives how many got one.
///
/// # Errors
/// If the database cannot answer; what was chained before stays.
pub async fn chain(app: &App) -> Result<usize> {
    let mut chained = 0;
    loop {
        let mut conn = app.db.conn().await?;
        if !audit_chain::any_waits(&mut conn).await? {
            return Ok(chained);
        }
        let batch = conn
            .transaction(async |conn| {
                if !audit_chain::try_turn(conn).await? {
                    return Ok(None);
                }
                chain_batch(app, conn).await.map(Some)
            })
            .await?;
        match batch {
            None | Some(0) => return Ok(chained),
            Some(batch) => chained += batch,
        }
    }
}

async fn chain_batch(app: &App, conn: &mut Conn) -> Result<usize> {
    let waiting = audit_chain::waiting(conn, BATCH).await?;
    let mut chains = AuditChain::all(conn).await?;
    let mut months: BTreeMap<_, Vec<AuditEvent>> = BTreeMap::new();
    let batch = waiting.len();
    for event in waiting {
        let month = month_of(event.occurred_at);
        months.entry(*month).or_default().push(event);
    }
    for (month, events) in months {
        let month = Date(month);
        let at = chains.iter().position(|chain| chain.month == month);
        let at = at.unwrap_or_else(|| {
            chains.push(begin(&app.audit_key, month, chains.last()));
            chains.len() - 1
        });
        let chain = &mut chains[at];
        let first = chain.length + 1;
        let mut places = Vec::with_capacity(events.len());
        for event in &events {
            chain.length += 1;
            chain.head = next(&app.audit_key, &chain.head, &event.mac);
            places.push(Place {
                id: event.id,
                occurred_at: event.occurred_at,
                position: chain.length,
                hash: chain.head.clone(),
            });
        }
        chain.put(conn).await?;
        let placed = audit_chain::place(conn, month, &places).await?;
        if placed != places.len() {
            return Err(anyhow!("only {placed} of {} entries were there", places.len()).into());
        }
        audit_chain::announce(conn, month, first, chain.length).await?;
    }
    Ok(batch)
}

fn begin(key: &DataKey, month: Date, before: Option<&AuditChain>) -> AuditChain {
    let genesis = genesis(key, month, before.map_or(&[], |before| &before.genesis));
    AuditChain {
        month,
        number: before.map_or(0, |before| before.number) + 1,
        head: genesis.clone(),
        genesis,
        length: 0,
        retired: None,
    }
}

/// Makes the partitions of this month and the next ones, and removes the months that are past their time.
/// Gives the months removed.
///
/// # Errors
/// If the database refuses.
pub async fn keep_months(app: &App) -> Result<Vec<Date>> {
    let now = month_of(app.now());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        if !audit_chain::try_turn(conn).await? {
            return Ok(Vec::new());
        }
        for ahead in 0..=AHEAD {
            if let Some(month) = (*now).checked_add_months(Months::new(ahead)) {
                audit_chain::make_month(conn, Date(month)).await?;
            }
        }
        remove_past(app, conn, now).await
    })
    .await
}

/// Removes the months that ended longer ago than entries are kept.
async fn remove_past(app: &App, conn: &mut Conn, now: Date) -> Result<Vec<Date>> {
    let mut removed = Vec::new();
    let Some(kept) = app.config.audit_months() else {
        return Ok(removed);
    };
    // The present month counts in addition: what is kept for a month is kept for a whole one.
    let Some(first_kept) = (*now).checked_sub_months(Months::new(kept)) else {
        return Ok(removed);
    };
    let mut from = None;
    while let Some(oldest) = audit_chain::first_since(conn, from).await? {
        let month = month_of(oldest.event.occurred_at);
        if *month >= first_kept {
            break;
        }
        // Not before its last entry is chained: the chain says how many there were.
        if audit_chain::any_waits(conn).await? {
            chain_batch(app, conn).await?;
            continue;
        }
        audit_chain::drop_month(conn, month).await?;
        let chains = AuditChain::all(conn).await?;
        if let Some(chain) = chains.into_iter().find(|chain| chain.month == month) {
            let retired = Some(retirement(&app.audit_key, &chain));
            AuditChain { retired, ..chain }.put(conn).await?;
        }
        removed.push(month);
        from = span_of(month).1;
    }
    Ok(removed)
}

/// How far a chain went at some time, as the log said it. Later chains must hold it still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The month.
    pub month: Date,
    /// How many entries it had.
    pub length: i64,
    /// The hash of the last one, in hexadecimal digits.
    pub head: String,
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let month = self.month.format("%Y-%m");
        write!(out, "{month}:{}:{}", self.length, self.head)
    }
}

impl std::str::FromStr for Checkpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let malformed =
            || anyhow!("a checkpoint is written as 2026-11:120:<64 hexadecimal digits>");
        let mut parts = text.split(':');
        let (Some(month), Some(length), Some(head), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let month = chrono::NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d");
        let length = length.parse().ok().filter(|length| *length >= 0);
        let hexadecimal = head.len() == 64 && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (month, length) {
            (Ok(month), Some(length)) if hexadecimal => Ok(Self {
                month: Date(month),
                length,
                head: head.to_ascii_lowercase(),
            }),
            _ => Err(malformed()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where the chains of the months that are kept end now.
///
/// # Errors
/// If the database cannot answer.
pub async fn checkpoints(app: &App) -> Result<Vec<Checkpoint>> {
    let chains = AuditChain::all(&mut *app.db.conn().await?).await?;
    let kept = chains.iter().filter(|chain| chain.retired.is_none());
    Ok(kept.map(checkpoint).collect())
}

fn checkpoint(chain: &AuditChain) -> Checkpoint {
    Checkpoint {
        month: chain.month,
        length: chain.length,
        head: hexadecimal(&chain.head),
    }
}

/// What verifying the trail came to.
#[derive(Debug)]
pub struct Verified {
    /// Where the chains end.
    pub checkpoints: Vec<Checkpoint>,
    /// Months that the retention removed.
    pub retired: Vec<Date>,
    /// Entries in the chains.
    pub entries: i64,
    /// Entries that wait for their place; their own codes are right.
    pub waiting: i64,
}

/// Why the trail is not as it was written.
#[derive(Debug)]
pub struct Broken(pub String);

/// Reads the whole trail and says whether an entry was changed, removed, added or put elsewhere past the
/// server; the first such place is named. `progress` is told how many entries were read.
///
/// # Errors
/// If the database cannot answer.
pub async fn verify(
    app: &App,
    known: &[Checkpoint],
    mut progress: impl FnMut(i64) + Send,
) -> Result<std::result::Result<Verified, Broken>> {
    let mut conn = app.db.conn().await?;
    conn.build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |conn| {
            let outcome = look(app, conn, known, &mut progress).await;
            match outcome {
                Ok(verified) => Ok(Ok(verified)),
                Err(Found::Broken(text)) => Ok(Err(Broken(text))),
                Err(Found::Failed(error)) => Err::<_, Error>(error),
            }
        })
        .await
}

enum Found {
    Broken(String),
    Failed(Error),
}

impl From<diesel::result::Error> for Found {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

async fn look(
    app: &App,
    conn: &mut Conn,
    known: &[Checkpoint],
    progress: &mut (impl FnMut(i64) + Send),
) -> std::result::Result<Verified, Found> {
    let broken = |text: String| Err(Found::Broken(text));
    let key = &*app.audit_key;
    let chains = AuditChain::all(conn).await?;
    let mut verified = Verified {
        checkpoints: Vec::new(),
        retired: Vec::new(),
        entries: 0,
        waiting: 0,
    };
    let mut before: &[u8] = &[];
    for (at, chain) in (1..).zip(&chains) {
        let month = chain.month.format("%Y-%m");
        if chain.number != at || chain.genesis != genesis(key, chain.month, before) {
            return broken(format!(
                "the beginning of the chain of {month} is not genuine"
            ));
        }
        before = &chain.genesis;
        match &chain.retired {
            Some(retired) if *retired == retirement(key, chain) => {
                verified.retired.push(chain.month);
                continue;
            }
            Some(_) => return broken(format!("the retirement of {month} is not genuine")),
            None => {}
        }
        let points = known.iter().filter(|known| known.month == chain.month);
        let points: Vec<&Checkpoint> = points.collect();
        walk(key, conn, chain, &points, |read| {
            progress(verified.entries + read)
        })
        .await?;
        verified.entries += chain.length;
        verified.checkpoints.push(checkpoint(chain));
    }
    let missing = known
        .iter()
        .find(|known| chains.iter().all(|chain| chain.month != known.month));
    if let Some(missing) = missing {
        return broken(format!(
            "there is no chain of {}",
            missing.month.format("%Y-%m")
        ));
    }
    // Entries of months that no chain speaks for.
    let mut from = None;
    while let Some(Link {
        event, position, ..
    }) = audit_chain::first_since(conn, from).await?
    {
        let month = month_of(event.occurred_at);
        let chain = chains.iter().find(|chain| chain.month == month);
        if position.is_some() && chain.is_none_or(|chain| chain.retired.is_some()) {
            return broken(format!("the entry {} belongs to no chain", event.id));
        }
        from = span_of(month).1;
        if from.is_none() {
            break;
        }
    }
    verified.waiting = audit_chain::count_waiting(conn).await?;
    let waiting = audit_chain::waiting(conn, PAGE).await?;
    if let Some(forged) = waiting.iter().find(|event| event.mac != mac(key, event)) {
        return broken(format!(
            "the entry {}, which waits for its place, is not genuine",
            forged.id
        ));
    }
    Ok(verified)
}

/// Follows one chain from its beginning to its end.
async fn walk(
    key: &DataKey,
    conn: &mut Conn,
    chain: &AuditChain,
    known: &[&Checkpoint],
    mut progress: impl FnMut(i64) + Send,
) -> std::result::Result<(), Found> {
    let month = chain.month.format("%Y-%m");
    let broken = |text: String| Err(Found::Broken(text));
    let (mut length, mut head) = (0, chain.genesis.clone());
    let differs = |length: i64, head: &[u8]| {
        let differing =
            |known: &&&Checkpoint| known.length == length && known.head != hexadecimal(head);
        known.iter().any(|known| differing(&known))
    };
    loop {
        let page = audit_chain::links(conn, chain.month, length, PAGE).await?;
        for Link {
            event,
            position,
            hash,
        } in &page
        {
            let (id, expected) = (event.id, length + 1);
            if *position != Some(expected) {
                let found = position.unwrap_or_default();
                return broken(if found == length {
                    format!("two entries of {month} have the place {found}; one is {id}")
                } else {
                    format!(
                        "the entry at place {expected} of {month} is missing; behind it stands {id} at {found}"
                    )
                });
            }
            if event.mac != mac(key, event) {
                return broken(format!(
                    "the entry {id} at place {expected} of {month} was changed"
                ));
            }
            head = next(key, &head, &event.mac);
            if hash.as_ref() != Some(&head) {
                return broken(format!(
                    "the entry {id} at place {expected} of {month} stands where it does not belong"
                ));
            }
            length = expected;
            if differs(length, &head) {
                return broken(format!(
                    "the chain of {month} differs at place {length} from the checkpoint given"
                ));
            }
        }
        progress(length);
        if page.is_empty() {
            break;
        }
    }
    if length != chain.length || head != chain.head {
        return broken(format!(
            "the chain of {month} ends at place {length}, not at {}",
            chain.length
        ));
    }
    if let Some(longer) = known.iter().find(|known| known.length > length) {
        return broken(format!(
            "the chain of {month} had {} entries at the checkpoint given, and has {length}",
            longer.length
        ));
    }
    Ok(())
}

/// The entries of a month between two places of its chain, both included, in order.
///
/// # Errors
/// If the database cannot answer.
pub async fn between(app: &App, month: Date, from: i64, to: i64) -> Result<Vec<AuditEvent>> {
    let mut conn = app.db.conn().await?;
    let links = audit_chain::links(&mut conn, month, from - 1, to - from + 1).await?;
    Ok(links.into_iter().map(|link| link.event).collect())
}
