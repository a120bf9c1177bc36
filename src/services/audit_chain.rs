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
use crate::error::Result;
use crate::models::audit_chain::{self, AuditChain, Place, month_of, span_of};
use crate::models::audit_event::AuditEvent;
use crate::scalar::Date;

/// Entries chained by one transaction.
const BATCH: i64 = 1000;
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
    if let Some(subjects) = &event.subjects {
        let ids: Vec<u8> = subjects.iter().flat_map(|id| *id.as_bytes()).collect();
        part(Some(&ids));
    }
    key.mac("audit entry", &message).to_vec()
}

/// What the first entry of a month is chained to.
pub(super) fn genesis(key: &DataKey, month: Date, before: &[u8]) -> Vec<u8> {
    let message = [(*month).to_string().as_bytes(), b"\0", before].concat();
    key.mac("audit genesis", &message).to_vec()
}

/// The hash of an entry behind another one.
pub(super) fn next(key: &DataKey, before: &[u8], mac: &[u8]) -> Vec<u8> {
    key.mac("audit chain", &[before, mac].concat()).to_vec()
}

/// The code of what is kept of a chain. Who has the database alone can neither wind one back nor retire one.
pub(super) fn chain_mac(key: &DataKey, chain: &AuditChain) -> Vec<u8> {
    let month = (*chain.month).to_string();
    let message = [
        month.as_bytes(),
        b"\0",
        &chain.number.to_be_bytes(),
        &chain.length.to_be_bytes(),
        &[u8::from(chain.retired)],
        &chain.genesis,
        &chain.head,
    ]
    .concat();
    key.mac("audit chain end", &message).to_vec()
}

fn require_genuine(key: &DataKey, chain: &AuditChain) -> anyhow::Result<()> {
    let month = chain.month.format("%Y-%m");
    anyhow::ensure!(
        chain.mac == chain_mac(key, chain),
        "what is kept of the chain of {month} is not genuine"
    );
    Ok(())
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
        // What somebody wound back is not built upon.
        require_genuine(&app.audit_key, chain)?;
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
        chain.mac = chain_mac(&app.audit_key, chain);
        chain.put(conn).await?;
        let updated = audit_chain::place(conn, month, &places).await?;
        if updated != places.len() {
            return Err(anyhow!("only {updated} of {} entries were there", places.len()).into());
        }
        audit_chain::announce(conn, month, first, chain.length).await?;
    }
    Ok(batch)
}

fn begin(key: &DataKey, month: Date, before: Option<&AuditChain>) -> AuditChain {
    let genesis = genesis(key, month, before.map_or(&[], |before| &before.genesis));
    let mut chain = AuditChain {
        month,
        number: before.map_or(0, |before| before.number) + 1,
        head: genesis.clone(),
        genesis,
        length: 0,
        retired: false,
        mac: Vec::new(),
    };
    chain.mac = chain_mac(key, &chain);
    chain
}

/// Makes the partitions of this month and the next ones.
///
/// Before anything is served: an entry on its way into the partition of the other months while this one is
/// made is refused by `PostgreSQL`, and what it tells of with it.
///
/// # Errors
/// If the database refuses.
pub async fn make_months(app: &App) -> Result<()> {
    let now = month_of(app.now());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        audit_chain::take_turn(conn).await?;
        for ahead in 0..=AHEAD {
            if let Some(month) = (*now).checked_add_months(Months::new(ahead)) {
                audit_chain::make_month(conn, Date(month)).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Makes the partitions of this month and the next ones, and removes the months that are past their time.
/// Gives the months removed.
///
/// # Errors
/// If the database refuses.
pub async fn keep_months(app: &App) -> Result<Vec<Date>> {
    make_months(app).await?;
    let now = month_of(app.now());
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        if !audit_chain::try_turn(conn).await? {
            return Ok(Vec::new());
        }
        // Whoever writes an entry waits for this as long as this waits for who reads them.
        audit_chain::wait_shortly(conn).await?;
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
        if audit_chain::any_waits_in(conn, month).await? {
            chain_batch(app, conn).await?;
            continue;
        }
        audit_chain::drop_month(conn, month).await?;
        let chains = AuditChain::all(conn).await?;
        if let Some(mut chain) = chains.into_iter().find(|chain| chain.month == month) {
            require_genuine(&app.audit_key, &chain)?;
            chain.retired = true;
            chain.mac = chain_mac(&app.audit_key, &chain);
            chain.put(conn).await?;
        }
        removed.push(month);
        from = span_of(month).1;
    }
    Ok(removed)
}
