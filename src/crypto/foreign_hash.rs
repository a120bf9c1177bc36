//! Password hashes as other systems keep them: read, bounded and compared. It makes none, and every one of them
//! is replaced by ours as soon as it has served.

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::fmt::Write as _;
use std::num::NonZeroU32;

/// The most memory that a stored hash may ask for, in KiB; a row that was tampered with must not
/// take the server down.
const MAX_MEMORY_KIB: u32 = 128 * 1024;
/// The most memory that it may go through in all its passes, in KiB: about a second's work.
const MAX_WORK_KIB: u64 = 1024 * 1024;
/// The most lanes of argon2, and parallel parts of scrypt.
const MAX_LANES: u32 = 64;
/// The dearest bcrypt, about a second's work.
const MAX_BCRYPT_COST: u32 = 14;
/// The dearest PBKDF2, about a second's work; Django's own was 1,000,000 in 2025.
const MAX_ITERATIONS: u32 = 2_000_000;
/// No hash is longer than this.
const MAX_LENGTH: usize = 512;

/// A password hash that was made elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct ForeignHash<'a>(Kind<'a>);

#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Argon2(&'a str),
    /// With the flag set the password is hashed by SHA-256 first, so that all of it counts.
    Bcrypt(&'a str, bool),
    Pbkdf2 {
        iterations: NonZeroU32,
        salt: &'a str,
        output: Vec<u8>,
    },
    Scrypt {
        log_n: u8,
        r: u32,
        p: u32,
        salt: Vec<u8>,
        output: Vec<u8>,
    },
}

/// Why a hash is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is of no kind that can be verified here, or broken.
    Unknown,
    /// Verifying it would take too much time or memory.
    TooDear,
}

impl<'a> ForeignHash<'a> {
    /// Reads a hash: argon2, bcrypt and scrypt as PHC strings and the like, and what Django writes for these and
    /// for `pbkdf2_sha256`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return Err(Refusal::Unknown);
        }
        let (name, rest) = text.split_once('$').ok_or(Refusal::Unknown)?;
        let kind = match name {
            "" if rest.starts_with("argon2") => argon2(text)?,
            "" if rest.starts_with("scrypt$") => phc_scrypt(rest)?,
            "" => bcrypt(text, false)?,
            "argon2" => argon2(&text[name.len()..])?,
            "bcrypt" => bcrypt(rest, false)?,
            "bcrypt_sha256" => bcrypt(rest, true)?,
            "pbkdf2_sha256" => django_pbkdf2(rest)?,
            "scrypt" => django_scrypt(rest)?,
            _ => return Err(Refusal::Unknown),
        };
        Ok(Self(kind))
    }

    /// Whether it is the hash of these bytes. Takes as long as the system that made it wanted it to.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Argon2(text) => verify_argon2(text, password),
            Kind::Bcrypt(text, false) => bcrypt_verify(password, text),
            Kind::Bcrypt(text, true) => {
                let mut hex = String::with_capacity(64);
                for byte in digest(&SHA256, password).as_ref() {
                    let _ = write!(hex, "{byte:02x}");
                }
                bcrypt_verify(hex.as_bytes(), text)
            }
            Kind::Pbkdf2 {
                iterations,
                salt,
                output,
            } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::verify(algorithm, *iterations, salt.as_bytes(), password, output).is_ok()
            }
            Kind::Scrypt {
                log_n,
                r,
                p,
                salt,
                output,
            } => {
                let Ok(params) = scrypt::Params::new(*log_n, *r, *p) else {
                    return false;
                };
                let mut made = vec![0; output.len()];
                scrypt::scrypt(password, salt, &params, &mut made).is_ok()
                    && verify_slices_are_equal(&made, output).is_ok()
            }
        }
    }
}

/// As the other system did it: what stands behind the 72nd byte does not count.
fn bcrypt_verify(password: &[u8], text: &str) -> bool {
    bcrypt::verify(password, text).unwrap_or(false)
}

fn argon2(text: &str) -> Result<Kind<'_>, Refusal> {
    let parsed = PasswordHash::new(text).map_err(|_| Refusal::Unknown)?;
    let known =
        Algorithm::try_from(parsed.algorithm.as_str()).is_ok() && version(&parsed).is_some();
    if !known || parsed.salt.is_none() || parsed.hash.is_none() {
        return Err(Refusal::Unknown);
    }
    let params = Params::try_from(&parsed).map_err(|_| Refusal::Unknown)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_MEMORY_KIB || work > MAX_WORK_KIB || params.p_cost() > MAX_LANES {
        return Err(Refusal::TooDear);
    }
    Ok(Kind::Argon2(text))
}

/// Hashes that name no version are of the first one.
fn version(parsed: &PasswordHash) -> Option<Version> {
    parsed
        .version
        .map_or(Some(Version::V0x10), |number| number.try_into().ok())
}

fn verify_argon2(text: &str, password: &[u8]) -> bool {
    let Ok(parsed) = PasswordHash::new(text) else {
        return false;
    };
    let (Ok(algorithm), Some(version)) = (
        Algorithm::try_from(parsed.algorithm.as_str()),
        version(&parsed),
    ) else {
        return false;
    };
    let (Some(salt), Some(expected), Ok(params)) =
        (parsed.salt, parsed.hash, Params::try_from(&parsed))
    else {
        return false;
    };
    let mut output = [0; Output::MAX_LENGTH];
    let output = &mut output[..expected.len()];
    let argon2 = Argon2::new(algorithm, version, params);
    // Outputs are compared in constant time.
    argon2.hash_password_into(password, &salt, output).is_ok()
        && Output::new(output).is_ok_and(|output| output == expected)
}

fn bcrypt(text: &str, prehashed: bool) -> Result<Kind<'_>, Refusal> {
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let (cost, digest) = rest
        .and_then(|rest| rest.split_once('$'))
        .ok_or(Refusal::Unknown)?;
    let sixty_four = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    if cost.len() != 2 || digest.len() != 53 || !digest.bytes().all(sixty_four) {
        return Err(Refusal::Unknown);
    }
    match number(cost)? {
        0..4 => Err(Refusal::Unknown),
        4..=MAX_BCRYPT_COST => Ok(Kind::Bcrypt(text, prehashed)),
        _ => Err(Refusal::TooDear),
    }
}

fn django_pbkdf2(rest: &str) -> Result<Kind<'_>, Refusal> {
    let [iterations, salt, output] = fields(rest)?;
    let iterations = NonZeroU32::new(number(iterations)?).ok_or(Refusal::Unknown)?;
    if iterations.get() > MAX_ITERATIONS {
        return Err(Refusal::TooDear);
    }
    let output = STANDARD.decode(output).map_err(|_| Refusal::Unknown)?;
    if salt.is_empty() || output.len() != 32 {
        return Err(Refusal::Unknown);
    }
    Ok(Kind::Pbkdf2 {
        iterations,
        salt,
        output,
    })
}

fn django_scrypt(rest: &str) -> Result<Kind<'_>, Refusal> {
    let [n, salt, r, p, output] = fields(rest)?;
    let n = number(n)?;
    if !n.is_power_of_two() || n < 2 || salt.is_empty() {
        return Err(Refusal::Unknown);
    }
    let output = STANDARD.decode(output).map_err(|_| Refusal::Unknown)?;
    let (log_n, r, p) = (n.trailing_zeros(), number(r)?, number(p)?);
    scrypt_kind((log_n, r, p), salt.as_bytes().to_vec(), output)
}

fn phc_scrypt(rest: &str) -> Result<Kind<'_>, Refusal> {
    let [_, params, salt, output] = fields(rest)?;
    let mut costs = [0; 3];
    let mut given = params.split(',');
    for (cost, name) in costs.iter_mut().zip(["ln=", "r=", "p="]) {
        let value = given.next().and_then(|part| part.strip_prefix(name));
        *cost = number(value.ok_or(Refusal::Unknown)?)?;
    }
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| Refusal::Unknown);
    if given.next().is_some() {
        return Err(Refusal::Unknown);
    }
    scrypt_kind(costs.into(), decode(salt)?, decode(output)?)
}

fn scrypt_kind<'a>(
    (log_n, r, p): (u32, u32, u32),
    salt: Vec<u8>,
    output: Vec<u8>,
) -> Result<Kind<'a>, Refusal> {
    if !(16..=64).contains(&output.len()) || log_n == 0 || r == 0 || p == 0 {
        return Err(Refusal::Unknown);
    }
    if log_n > 30 || r > 1024 || p > MAX_LANES {
        return Err(Refusal::TooDear);
    }
    // 128 bytes for each of N times r.
    let memory_kib = (u64::from(r) << log_n) / 8;
    if memory_kib > u64::from(MAX_MEMORY_KIB) || memory_kib * u64::from(p) > MAX_WORK_KIB {
        return Err(Refusal::TooDear);
    }
    let log_n = u8::try_from(log_n).map_err(|_| Refusal::TooDear)?;
    scrypt::Params::new(log_n, r, p).map_err(|_| Refusal::Unknown)?;
    Ok(Kind::Scrypt {
        log_n,
        r,
        p,
        salt,
        output,
    })
}

/// Exactly so many parts between dollar signs.
fn fields<const N: usize>(text: &str) -> Result<[&str; N], Refusal> {
    let parts: Vec<&str> = text.split('$').collect();
    parts.try_into().map_err(|_| Refusal::Unknown)
}

/// Digits and nothing else; a number that is too large for any of these is too dear.
fn number(text: &str) -> Result<u32, Refusal> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Unknown);
    }
    text.parse().map_err(|_| Refusal::TooDear)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "Old-Pferd-4";

    /// Hashes of [`PASSWORD`] made by Django 5.2, bcrypt 5.0, argon2-cffi 25.1 and passlib 1.7 for Python.
    const KNOWN: [&str; 15] = [
        "pbkdf2_sha256$1000$seasalt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
        "scrypt$16$seasalt$8$5$TJVWyA0pzq2FmnIJ256CjwbP9g+4fK3gmzDVZJ6lY06atgg49objx9W5hh7IYLM/rnnjqNaF4vWsWYFqoXpp+Q==",
        "$scrypt$ln=4,r=8,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
        "argon2$argon2id$v=19$m=16,t=1,p=2$c2Vhc2FsdHNhbHQ$vPlAwctXy8XBNg2ZHZQPsQYFX4R7wG2UYO4B9RRp7Jw",
        "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuMHAKQCzrnn04tDrdDwMlgdcuOZ9t5W2",
        "bcrypt$$2b$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
        "$2a$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
        "$2b$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
        "$2y$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
        "$argon2id$v=16$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$914U7zxOBsBHtAZuvTQty/8T1Up2eerf",
        "$argon2id$v=19$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$CQnKnSJd9PjMjhMyQjC6mSx9R3GTn9t4",
        "$argon2i$v=16$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$VOLiUXBat9RSgPMKFRY/jC3PV+0ehBwk",
        "$argon2i$v=19$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$M1lvtECiN2pY5yZAGqNEVj+i3zUx1dng",
        "$argon2d$v=16$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$R4OQAUOWegrCB/f2YBmN3fPwbhysAMPN",
        "$argon2d$v=19$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$Gx/4zBJAgNcvQ2agm7sAv0/9Jq3esYiv",
    ];

    #[test]
    fn known_hashes_fit_their_password_and_no_other() {
        for text in KNOWN {
            let hash = ForeignHash::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert!(hash.verify(PASSWORD.as_bytes()), "{text}");
            assert!(!hash.verify(b"Old-Pferd-5"), "{text}");
            assert!(!hash.verify(b""), "{text}");
        }
        // A hash without a version is of the first one.
        let first = KNOWN[11].replace("v=16$", "");
        assert!(ForeignHash::parse(&first).is_ok_and(|hash| hash.verify(PASSWORD.as_bytes())));
    }

    #[test]
    fn bcrypt_looks_at_72_bytes_as_it_always_did() {
        let text = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
        let hash = ForeignHash::parse(text).expect("bcrypt");
        let long = "x".repeat(72);
        assert!(hash.verify(long.as_bytes()));
        assert!(hash.verify(format!("{long}y").as_bytes()));
        assert!(!hash.verify(&long.as_bytes()[..71]));
    }

    #[test]
    fn what_is_too_dear_is_refused_before_it_is_tried() {
        for text in [
            "$2b$17$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
            "pbkdf2_sha256$10000001$seasalt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
            "pbkdf2_sha256$99999999999$seasalt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
            "$scrypt$ln=20,r=16,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
            "$scrypt$ln=63,r=1,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
            "$scrypt$ln=20,r=8,p=5$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
            "$argon2id$v=19$m=1048577,t=1,p=1$c2Vhc2FsdHNhbHQ$CQnKnSJd9PjMjhMyQjC6mSx9R3GTn9t4",
            "$argon2id$v=19$m=65536,t=65,p=1$c2Vhc2FsdHNhbHQ$CQnKnSJd9PjMjhMyQjC6mSx9R3GTn9t4",
        ] {
            assert_eq!(ForeignHash::parse(text), Err(Refusal::TooDear), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let long = format!("pbkdf2_sha256$1${}$x", "s".repeat(600));
        for text in [
            "",
            "plaintext",
            "!",
            "md5$seasalt$d41d8cd98f00b204e9800998ecf8427e",
            "$1$salt$hash",
            "$2x$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
            "$2b$03$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
            "$2b$+4$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2",
            "$2b$04$short",
            "pbkdf2_sha256$0$seasalt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
            "pbkdf2_sha256$1000$$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
            "pbkdf2_sha256$1000$seasalt$c2hvcnQ=",
            "scrypt$15$seasalt$8$5$TJVWyA0pzq2FmnIJ256CjwbP9g+4fK3gmzDVZJ6lY04=",
            "scrypt$16$seasalt$8$5$c2hvcnQ=",
            "$scrypt$ln=0,r=8,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
            "$scrypt$r=8,ln=4,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE",
            "$argon2id$v=19$m=32,t=3,p=2",
            "$argon2x$v=19$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$CQnKnSJd9PjMjhMyQjC6mSx9R3GTn9t4",
            "pbkdf2_sha256$1000$s\u{e4}salt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=",
            &long,
        ] {
            assert_eq!(ForeignHash::parse(text), Err(Refusal::Unknown), "{text}");
        }
    }
}
