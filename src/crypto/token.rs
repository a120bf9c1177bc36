//! Opaque tokens: made from randomness, shown once, kept as hashes. It does not know what they open.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use sha2::{Digest, Sha256};

/// A token in clear: 256 random bits behind a prefix that names its kind, so that secret scanners
/// know it. It is told to its owner once and then dropped.
pub struct PlainToken(String);

impl PlainToken {
    /// A new token, `<prefix>_<43 characters of base64url>`.
    #[must_use]
    pub fn generate(prefix: &str) -> Self {
        Self(format!(
            "{prefix}_{}",
            URL_SAFE_NO_PAD.encode(random::<32>())
        ))
    }

    /// The token that follows `token`, always the same one for the same `salt`: who holds only one
    /// of the two cannot tell it.
    #[must_use]
    pub fn successor(prefix: &str, token: &str, salt: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
        let code = hmac::sign(&key, token.as_bytes());
        Self(format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(code)))
    }

    /// A value for `purpose` that follows from `token`, always the same one: 43 characters of base64url that
    /// tell neither the token nor what follows from it for another purpose.
    #[must_use]
    pub fn derived(token: &str, purpose: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, purpose.as_bytes()))
    }

    /// The text to hand out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What to keep of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(…)")
    }
}

/// The SHA-256 of a token. A plain hash is enough: there is nothing to guess in 256 random bits.
#[derive(AsExpression, FromSqlRow, Clone, Debug, PartialEq, Eq)]
#[diesel(sql_type = Binary)]
pub struct TokenHash(Vec<u8>);

impl TokenHash {
    /// The hash of `token`, whatever its form: an ill-formed one is simply found nowhere.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).to_vec())
    }
}

impl ToSql<Binary, Pg> for TokenHash {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Binary, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<Binary, Pg> for TokenHash {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<Binary, Pg>::from_sql(bytes).map(Self)
    }
}

/// `N` random bytes from the operating system.
///
/// # Panics
/// If the operating system has no randomness to give; nothing safe can be done then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_prefixed_and_never_twice_the_same() {
        let (one, two) = (PlainToken::generate("crr"), PlainToken::generate("crr"));
        assert_eq!(one.expose().len(), 4 + 43);
        assert!(one.expose().starts_with("crr_"));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.hash(), TokenHash::of(one.expose()));
        assert_eq!(format!("{one:?}"), "PlainToken(…)");
    }

    #[test]
    fn what_is_derived_hangs_on_token_and_purpose() {
        let nonce = PlainToken::derived("cos_a", "nonce");
        assert_eq!(nonce, PlainToken::derived("cos_a", "nonce"));
        assert_ne!(nonce, PlainToken::derived("cos_b", "nonce"));
        assert_ne!(nonce, PlainToken::derived("cos_a", "state"));
        assert_eq!(nonce.len(), 43);
    }

    #[test]
    fn successors_hang_on_both_token_and_salt() {
        let next = |token, salt| {
            PlainToken::successor("crr", token, &[salt; 32])
                .expose()
                .to_owned()
        };
        assert_eq!(next("crr_a", 1), next("crr_a", 1));
        assert_ne!(next("crr_a", 1), next("crr_b", 1));
        assert_ne!(next("crr_a", 1), next("crr_a", 2));
        assert_eq!(next("crr_a", 1).len(), 4 + 43);
    }
}
