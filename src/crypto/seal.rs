//! Sealing what must not be read in the database: a data key for each account, wrapped by a master key
//! that the database never sees. AES-256-GCM-SIV (RFC 8452), which forgives a nonce that repeats.

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};
use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::crypto::token::random;

/// The form of everything sealed so far: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;
const NONCE_LENGTH: usize = 12;
/// Fewer different bytes are as good as never among 32 random ones.
const LEAST_DIFFERENT: usize = 16;

/// The keys that wrap data keys: the first one wraps, all of them unwrap.
#[derive(Debug)]
pub struct MasterKeys(Vec<MasterKey>);

/// Names a master key without telling it.
pub type MasterKeyId = [u8; 8];

#[derive(Debug)]
struct MasterKey {
    id: MasterKeyId,
    key: SecretBox<[u8; 32]>,
}

/// The key of one account's sealed values.
#[derive(Debug)]
pub struct DataKey {
    key: SecretBox<[u8; 32]>,
    user: Uuid,
}

/// Where a sealed value belongs. It opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table and column, as `table.column`.
    pub column: &'a str,
    /// The row.
    pub row: Uuid,
}

impl MasterKeys {
    /// Reads keys from a text: one in each line, 32 random bytes in base64, the one that wraps first.
    ///
    /// # Errors
    /// If there is none, or one is malformed or plainly not random. The text is never repeated.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim);
        let keys: Vec<MasterKey> = lines
            .filter(|line| !line.is_empty())
            .map(MasterKey::parse)
            .collect::<anyhow::Result<_>>()?;
        ensure!(!keys.is_empty(), "there is no key");
        Ok(Self(keys))
    }

    /// The name of a key as it is shown: 16 hexadecimal digits.
    #[must_use]
    pub fn name(id: MasterKeyId) -> String {
        format!("{:016x}", u64::from_be_bytes(id))
    }

    /// Name of the key that wraps.
    ///
    /// # Panics
    /// Never: there is no value without a key.
    #[must_use]
    pub fn current(&self) -> MasterKeyId {
        self.0.first().expect("there is a master key").id
    }

    /// The data key of `user` that was wrapped by the master key `by`, wrapped anew by the one that wraps now.
    ///
    /// # Errors
    /// As [`Self::unwrap`].
    pub fn rewrap(&self, user: Uuid, wrapped: &[u8], by: &[u8]) -> anyhow::Result<Vec<u8>> {
        let key = self.unwrap(user, wrapped, by)?;
        let master = self.0.first().context("there is no master key")?;
        seal(&master.key, &wrapping(user), key.key.expose_secret())
    }

    /// Names of the keys.
    pub fn ids(&self) -> impl Iterator<Item = MasterKeyId> {
        self.0.iter().map(|key| key.id)
    }

    /// A new data key for `user`, and what to keep of it with the name of the key that wrapped it.
    ///
    /// # Errors
    /// If it cannot be encrypted.
    pub fn new_data_key(&self, user: Uuid) -> anyhow::Result<(DataKey, Vec<u8>, MasterKeyId)> {
        let master = self.0.first().context("there is no master key")?;
        let key = SecretBox::new(Box::new(random::<32>()));
        let wrapped = seal(&master.key, &wrapping(user), key.expose_secret())?;
        Ok((DataKey { key, user }, wrapped, master.id))
    }

    /// The data key of `user` that was wrapped by the master key `by`.
    ///
    /// # Errors
    /// If that key is not there, or the text was changed or belongs to another account.
    pub fn unwrap(&self, user: Uuid, wrapped: &[u8], by: &[u8]) -> anyhow::Result<DataKey> {
        let master = self.0.iter().find(|key| key.id == by);
        let master = master.context("the master key of a data key is not among those given")?;
        let key = open(&master.key, &wrapping(user), wrapped)?;
        let key =
            <[u8; 32]>::try_from(key).map_err(|_| anyhow!("a data key has a wrong length"))?;
        let key = SecretBox::new(Box::new(key));
        Ok(DataKey { key, user })
    }
}

impl MasterKey {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD
            .decode(text)
            .or_else(|_| STANDARD_NO_PAD.decode(text));
        let key = bytes
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = key.context(
            "a master key is 32 random bytes in base64, as `openssl rand -base64 32` prints them",
        )?;
        let mut seen = key.to_vec();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() < LEAST_DIFFERENT {
            bail!("a master key is not random");
        }
        let mut id = MasterKeyId::default();
        let digest = Sha256::new()
            .chain_update(b"cardea master key\0")
            .chain_update(key);
        id.copy_from_slice(&digest.finalize()[..8]);
        let key = SecretBox::new(Box::new(key));
        Ok(Self { id, key })
    }
}

impl DataKey {
    /// Encrypts a value for one place.
    ///
    /// # Errors
    /// If the value is too long to be encrypted.
    pub fn seal(&self, place: Place<'_>, value: &[u8]) -> anyhow::Result<Vec<u8>> {
        seal(&self.key, &self.belonging(place), value)
    }

    /// Decrypts a value that was sealed for this place.
    ///
    /// # Errors
    /// If it was changed, or was sealed for another place or account.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> anyhow::Result<SecretBox<Vec<u8>>> {
        let value = open(&self.key, &self.belonging(place), sealed)?;
        Ok(SecretBox::new(Box::new(value)))
    }

    /// What to keep of a value that is only compared: who has the table alone cannot even try values.
    #[must_use]
    pub fn hash(&self, purpose: &str, value: &str) -> [u8; 32] {
        self.mac(purpose, value.as_bytes())
    }

    /// HMAC-SHA-256 of a message under a key that is derived for one purpose.
    #[must_use]
    pub fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let derived = mac(
            self.key.expose_secret(),
            format!("hash\0{purpose}").as_bytes(),
        );
        mac(&derived, message)
    }

    /// The account that it belongs to; nil for a key of the installation.
    #[must_use]
    pub fn user(&self) -> Uuid {
        self.user
    }

    fn belonging(&self, Place { column, row }: Place<'_>) -> Vec<u8> {
        [
            column.as_bytes(),
            b"\0",
            self.user.as_bytes(),
            row.as_bytes(),
        ]
        .concat()
    }
}

fn wrapping(user: Uuid) -> Vec<u8> {
    [&b"data_keys.wrapped_key\0"[..], user.as_bytes()].concat()
}

fn mac(key: &[u8; 32], value: &[u8]) -> [u8; 32] {
    let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), value);
    let mut hash = [0; 32];
    hash.copy_from_slice(code.as_ref());
    hash
}

fn seal(key: &SecretBox<[u8; 32]>, aad: &[u8], value: &[u8]) -> anyhow::Result<Vec<u8>> {
    let nonce = random::<NONCE_LENGTH>();
    let cipher = Aes256GcmSiv::new(key.expose_secret().into());
    let text = cipher
        .encrypt((&nonce).into(), Payload { msg: value, aad })
        .map_err(|_| anyhow!("a value cannot be sealed"))?;
    Ok([&[VERSION][..], &nonce, &text].concat())
}

fn open(key: &SecretBox<[u8; 32]>, aad: &[u8], sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let broken = || anyhow!("a sealed value was changed, or stands where it does not belong");
    let (version, rest) = sealed.split_first().ok_or_else(broken)?;
    ensure!(*version == VERSION, "a sealed value has an unknown form");
    let (nonce, msg) = rest
        .split_first_chunk::<NONCE_LENGTH>()
        .ok_or_else(broken)?;
    let cipher = Aes256GcmSiv::new(key.expose_secret().into());
    cipher
        .decrypt(nonce.into(), Payload { msg, aad })
        .map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        column: "things.secret",
        row: Uuid::nil(),
    };

    fn masters() -> MasterKeys {
        MasterKeys::parse(&STANDARD.encode(random::<32>())).expect("a key")
    }

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let (masters, user, other) = (masters(), Uuid::from_u128(1), Uuid::from_u128(2));
        let (key, wrapped, by) = masters.new_data_key(user).expect("a key");
        let sealed = key.seal(PLACE, b"secret").expect("sealed");
        let opened = key.open(PLACE, &sealed).expect("opened");
        assert_eq!(opened.expose_secret(), b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert!(
            key.open(
                Place {
                    row: other,
                    ..PLACE
                },
                &sealed
            )
            .is_err()
        );
        assert!(
            key.open(
                Place {
                    column: "things.other",
                    ..PLACE
                },
                &sealed
            )
            .is_err()
        );
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert!(key.open(PLACE, &broken).is_err(), "byte {at}");
            assert!(key.open(PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
        let again = masters.unwrap(user, &wrapped, &by).expect("unwrapped");
        assert!(again.open(PLACE, &sealed).is_ok());
        assert!(
            masters.unwrap(other, &wrapped, &by).is_err(),
            "somebody else's"
        );
        assert_eq!(key.hash("a", "x"), again.hash("a", "x"));
        assert_ne!(key.hash("a", "x"), key.hash("b", "x"));
    }

    #[test]
    fn keys_follow_one_another() {
        let texts = [random::<32>(), random::<32>()].map(|key| STANDARD.encode(key));
        let user = Uuid::from_u128(1);
        let old = MasterKeys::parse(&texts[0]).expect("a key");
        let (_, wrapped, by) = old.new_data_key(user).expect("a key");
        let both = MasterKeys::parse(&format!("{}\n{}\n", texts[1], texts[0])).expect("keys");
        assert!(both.unwrap(user, &wrapped, &by).is_ok());
        let again = both.rewrap(user, &wrapped, &by).expect("wrapped anew");
        let (_, _, now) = both.new_data_key(user).expect("a key");
        assert_eq!(both.current(), now);
        assert_eq!(both.ids().collect::<Vec<_>>(), [now, by]);
        let new = MasterKeys::parse(&texts[1]).expect("a key");
        assert!(new.unwrap(user, &wrapped, &by).is_err());
        assert!(new.rewrap(user, &wrapped, &by).is_err());
        assert!(new.unwrap(user, &again, &now).is_ok());
    }

    #[test]
    fn weak_and_malformed_keys_are_refused_without_repeating_them() {
        let refused = [
            String::new(),
            "hunter2hunter2".to_owned(),
            STANDARD.encode([0; 32]),
            STANDARD.encode(b"aaaabbbbccccddddeeeeffffgggghhhh"),
            STANDARD.encode(random::<31>()),
        ];
        for text in refused {
            let error = format!("{:#}", MasterKeys::parse(&text).expect_err("refused"));
            assert!(text.is_empty() || !error.contains(&text), "{error}");
        }
    }
}
