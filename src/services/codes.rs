//! Codes that prove the second factor: of a device (TOTP, RFC 6238), and the recovery codes that stand in for it.

use secrecy::ExposeSecret as _;
use totp_rs::{Builder, Secret, Totp};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::crypto::seal::{DataKey, Place};
use crate::crypto::token::random;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::job::Job;
use crate::models::session::SignInMethod;
use crate::models::two_factor::{RecoveryCodes, TwoFactorSecret, TwoFactorState};
use crate::services::audit::{AuditAction, Entry};
use crate::services::{data_keys, limits};

/// The column that secrets are sealed for.
pub const SECRET: &str = "two_factor_secrets.sealed_secret";
const RECOVERY: &str = "recovery_codes.code_hash";
/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Crockford's base 32: no letter in it looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Wrong codes at which the owner is told.
const TOLD_AT: [i32; 3] = [10, 50, 100];

/// A right code that was not taken yet.
#[must_use = "a code that is not taken can be used again"]
pub enum Code {
    /// Of a device.
    Totp {
        /// The secret.
        id: Uuid,
        /// The step of time that the code belongs to.
        step: i64,
    },
    /// A recovery code, which may be unknown or used.
    Recovery([u8; 32]),
}

/// Compares a code with what the account has, and counts it as wrong until it is taken. Commits at once
/// what it counts: call it outside of a transaction.
///
/// # Errors
/// `TOKEN_REJECTED` at `path` for a wrong code, `REJECTED` after too many wrong ones, `TOO_MANY_ATTEMPTS`.
pub async fn check(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
    path: &[&str],
    code: &str,
) -> Result<Code> {
    limits::take_code(app, conn, user).await?;
    let code = code.trim();
    let compact: String = code.chars().filter(|c| *c != ' ').take(32).collect();
    let of_device = compact.len() == 6 && compact.bytes().all(|byte| byte.is_ascii_digit());
    if !of_device {
        let key = data_keys::find(app, conn, user).await?;
        let code = key.zip(normalized(code));
        let hash = code.map(|(key, code)| key.hash(RECOVERY, &code));
        return hash.map(Code::Recovery).ok_or_else(|| wrong_code(path));
    }
    let Some((secret, wrong_codes)) = TwoFactorSecret::begin_try(conn, user).await? else {
        let state = TwoFactorState::of(conn, user).await?;
        return Err(if state.enabled() {
            let message =
                "Too many wrong codes. Use a recovery code or a passkey, or ask an administrator.";
            UserError::at(UserErrorCode::Rejected, path, message).into()
        } else {
            wrong_code(path)
        });
    };
    let key = data_keys::find(app, conn, user).await?;
    let key = key.ok_or_else(|| anyhow::anyhow!("a sealed secret has no data key"))?;
    if let Some(step) = step_of(app, &key, &secret, &compact)? {
        return Ok(Code::Totp {
            id: secret.id,
            step,
        });
    }
    if TOLD_AT.contains(&wrong_codes) {
        Job::WrongCodes { user }.enqueue(conn, app.now()).await?;
    }
    Err(wrong_code(path))
}

/// Uses a code up; says what it was. Belongs into the transaction of what it allows, which holds the
/// account locked.
///
/// # Errors
/// `TOKEN_REJECTED` at `path` for a code that was used before.
pub async fn take(
    app: &App,
    conn: &mut Conn,
    client: &ClientInfo,
    user: Uuid,
    path: &[&str],
    code: &Code,
) -> Result<SignInMethod> {
    let now = app.now();
    let method = match code {
        Code::Totp { id, step } if TwoFactorSecret::take_step(conn, *id, *step).await? => {
            SignInMethod::Totp
        }
        Code::Recovery(hash) if RecoveryCodes::take(conn, user, hash, now).await? => {
            TwoFactorSecret::forgive(conn, user).await?;
            let left = TwoFactorState::of(conn, user).await?.recovery_codes_left;
            let job = Job::RecoveryCodeUsed { user, left };
            job.enqueue(conn, now).await?;
            let entry = Entry::from(client, AuditAction::RecoveryCodeUsed).of(user);
            entry.with("left", left).record(app, conn).await?;
            SignInMethod::RecoveryCode
        }
        _ => return Err(wrong_code(path)),
    };
    limits::forgive_codes(conn, user).await?;
    Ok(method)
}

/// The step of time whose code this is, at most the configured number of steps from now.
///
/// # Errors
/// If the secret cannot be unsealed.
pub fn step_of(
    app: &App,
    key: &DataKey,
    secret: &TwoFactorSecret,
    code: &str,
) -> Result<Option<i64>> {
    let place = Place {
        column: SECRET,
        row: secret.id,
    };
    let opened = key.open(place, &secret.sealed_secret)?;
    let totp = totp(app, opened.expose_secret())?;
    let now = u64::try_from(app.now().timestamp()).unwrap_or_default();
    let step = totp.check(code, now);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

fn totp(app: &App, secret: &[u8]) -> Result<Totp> {
    let built = Builder::new()
        .with_secret(Secret::from(secret))
        .with_skew(app.config.two_factor.totp_skew_steps)
        .build();
    Ok(built.map_err(|error| anyhow::anyhow!("a secret cannot be used: {error}"))?)
}

/// Ten codes of 80 random bits, `XXXX-XXXX-XXXX-XXXX`, and what to keep of them.
#[must_use]
pub fn new_recovery_codes(key: &DataKey) -> (Vec<String>, Vec<[u8; 32]>) {
    let code = || {
        let bytes = random::<16>();
        let mut code = String::new();
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        code
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| code()).collect();
    let hash = |code: &String| key.hash(RECOVERY, &code.replace('-', ""));
    let hashes = codes.iter().map(hash).collect();
    (codes, hashes)
}

/// A recovery code as it is hashed, whatever its case and separators; `None` where it is none.
fn normalized(code: &str) -> Option<String> {
    let mut normalized = String::new();
    for c in code.chars().filter(|c| !matches!(c, '-' | ' ')).take(17) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        normalized.push(
            ALPHABET
                .iter()
                .map(|b| char::from(*b))
                .find(|known| *known == c)?,
        );
    }
    (normalized.len() == 16).then_some(normalized)
}

/// What is said of a code that is not good.
#[must_use]
pub fn wrong_code(path: &[&str]) -> Error {
    let message = "The code is wrong, or was used before.";
    UserError::at(UserErrorCode::TokenRejected, path, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_read_as_people_write_them() {
        let read = |code| normalized(code).unwrap_or_default();
        assert_eq!(read("0123-4567-89ab-cdef"), "0123456789ABCDEF");
        assert_eq!(read(" oO1l iI45 6789 ABCD "), "001111456789ABCD");
        for none in [
            "",
            "0123-4567-89AB-CDE",
            "0123-4567-89AB-CDEFG",
            "0123-4567-89AB-CDEU",
            "ü123-4567-89AB-CDEF",
        ] {
            assert_eq!(read(none), "", "{none}");
        }
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, in the last six of its eight digits.
        let totp = Builder::new()
            .with_secret(Secret::from(&b"12345678901234567890"[..]))
            .build()
            .expect("a secret");
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(totp.check(code, second), Some(second / 30));
            assert_eq!(totp.check(code, second + 30), Some(second / 30));
            assert_eq!(totp.check(code, second + 60), None);
            assert_eq!(
                totp.check(code, second.saturating_sub(60))
                    .filter(|_| second > 60),
                None
            );
        }
    }
}
