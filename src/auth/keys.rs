//! The keys of access tokens as one server knows them: which signs, which verify, which are shown.
//! A snapshot of the table; it does not change, and time is told to it.

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use uuid::Uuid;

use crate::models::signing_key::SigningKey;
use crate::scalar::DateTime;

/// Seconds for which others may keep the published keys without asking again.
pub const MAX_AGE_SECS: i64 = 300;

/// For how long a key verifies beyond the last token that it signed: the clocks of servers differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// What a key is for at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, so that everybody knows it when it begins to sign.
    Next,
    /// Signs.
    Signing,
    /// Signs no more; its tokens run out.
    Retiring,
}

/// When a key is good for what.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// The name of the key; `kid` in tokens.
    pub id: Uuid,
    /// From when on it signs.
    pub signs_from: DateTime,
    /// Until when it signs: when its successor begins. `None` without one.
    pub signs_until: Option<DateTime>,
    /// Until when its tokens are accepted. `None` without a successor.
    pub verifies_until: Option<DateTime>,
}

impl KeyTimes {
    /// The times of all `rows`, which come in the order of [`SigningKey::all`], for tokens that
    /// live for `lifetime`.
    #[must_use]
    pub fn of(rows: &[SigningKey], lifetime: TimeDelta) -> Vec<Self> {
        let mut successor: Option<DateTime> = None;
        let times = rows.iter().map(|row| {
            let signs_until = successor.replace(row.signs_from);
            Self {
                id: row.id,
                signs_from: row.signs_from,
                signs_until,
                verifies_until: signs_until.map(|instant| DateTime(*instant + lifetime + LEEWAY)),
            }
        });
        times.collect()
    }

    /// What the key is for at `now`; nothing once its last token has run out.
    #[must_use]
    pub fn state(&self, now: DateTime) -> Option<KeyState> {
        if self.signs_from > now {
            Some(KeyState::Next)
        } else if self.signs_until.is_none_or(|until| now < until) {
            Some(KeyState::Signing)
        } else if self.verifies_until.is_none_or(|until| now < until) {
            Some(KeyState::Retiring)
        } else {
            None
        }
    }
}

/// A key whose successor has signed since then, or longer, is good for nothing at `now`.
#[must_use]
pub fn ended_since(lifetime: TimeDelta, now: DateTime) -> DateTime {
    DateTime(*now - lifetime - LEEWAY)
}

/// A key that can be used.
pub(super) struct Key {
    /// `kid`.
    pub(super) id: String,
    /// The private half.
    pub(super) private: EncodingKey,
    /// The public half.
    pub(super) public: DecodingKey,
    published: Jwk,
    times: KeyTimes,
}

/// All keys, the one that signs last first.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// The keys of these rows, which come in the order of [`SigningKey::all`].
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub(super) fn new(rows: &[SigningKey], lifetime: TimeDelta) -> anyhow::Result<Self> {
        if rows.is_empty() {
            bail!("there is no key to sign access tokens with");
        }
        let mut keys = Vec::new();
        for (row, times) in rows.iter().zip(KeyTimes::of(rows, lifetime)) {
            let id = row.id.to_string();
            let private = EncodingKey::from_ed_der(&row.private_key);
            let mut published = Jwk::from_encoding_key(&private, Algorithm::EdDSA)
                .with_context(|| format!("the signing key {id} cannot be read"))?;
            published.common.key_id = Some(id.clone());
            published.common.key_algorithm = Some(KeyAlgorithm::EdDSA);
            published.common.public_key_use = Some(PublicKeyUse::Signature);
            keys.push(Key {
                id,
                private,
                public: DecodingKey::from_jwk(&published)?,
                published,
                times,
            });
        }
        Ok(Self(keys))
    }

    /// Every key.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key that signs at `now`. Before the first one begins it signs all the same: the clock of
    /// the server that made it is ahead.
    ///
    /// # Errors
    /// Never: there is a key.
    pub(super) fn signing(&self, now: DateTime) -> anyhow::Result<&Key> {
        let begun = self.0.iter().find(|key| key.times.signs_from <= now);
        begun
            .or(self.0.last())
            .context("there is no key to sign access tokens with")
    }

    /// The key of this name, if its tokens are accepted at `now`; one that is yet to sign too, since
    /// another server's clock may be ahead.
    pub(super) fn verifying(&self, id: &str, now: DateTime) -> Option<&Key> {
        let key = self.0.iter().find(|key| key.id == id)?;
        key.times.state(now).map(|_| key)
    }

    /// Whether there is a key of this name, whatever it is good for.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// The public halves of the keys that verify at `now` (RFC 7517).
    pub(super) fn published(&self, now: DateTime) -> JwkSet {
        let shown = self.0.iter().filter(|key| key.times.state(now).is_some());
        JwkSet {
            keys: shown.map(|key| key.published.clone()).collect(),
        }
    }
}
