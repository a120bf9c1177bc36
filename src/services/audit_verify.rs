//! Reading the audit trail from its beginning: whether it is as it was written. It mends nothing.

use anyhow::anyhow;

use crate::app::App;
use crate::crypto::seal::DataKey;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::models::audit_chain::{self, AuditChain, Link, month_of, span_of};
use crate::scalar::Date;
use crate::services::audit_chain::{chain_mac, genesis, mac, next};

/// Entries read at once.
const PAGE: i64 = 5000;

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
    let kept = chains.iter().filter(|chain| !chain.retired);
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
        if chain.mac != chain_mac(key, chain) {
            return broken(format!(
                "what is kept of the chain of {month} is not genuine"
            ));
        }
        if chain.retired {
            verified.retired.push(chain.month);
            continue;
        }
        let points = known.iter().filter(|known| known.month == chain.month);
        let points: Vec<&Checkpoint> = points.collect();
        walk(key, conn, chain, &points, |read| {
            progress(verified.entries + read);
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
        if position.is_some() && chain.is_none_or(|chain| chain.retired) {
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
    // An entry beside another at the end of a page would not be met.
    let placed = audit_chain::count_placed(conn, chain.month).await?;
    if placed != length {
        return broken(format!(
            "{placed} entries of {month} have a place, and there are {length}"
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
