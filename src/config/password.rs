//! The settings of passwords, and the rules that they come to. It checks no password.

use chrono::TimeDelta;
use clap::{ArgAction, Args, ValueEnum};

use crate::config::Config;

/// What a password must look like, and how it is hashed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Passwords")]
pub struct PasswordConfig {
    /// Rules to begin with; the settings below change single ones
    #[arg(
        long = "password-preset",
        env = "CARDEA_PASSWORD_PRESET",
        value_enum,
        default_value = "classes",
        global = true
    )]
    pub preset: PasswordPreset,
    /// Least number of characters [default: 8, with the preset nist 15]
    #[arg(
        long = "password-min-length",
        env = "CARDEA_PASSWORD_MIN_LENGTH",
        global = true
    )]
    pub min_length: Option<usize>,
    /// Greatest number of characters
    #[arg(
        long = "password-max-length",
        env = "CARDEA_PASSWORD_MAX_LENGTH",
        default_value_t = 128,
        global = true
    )]
    pub max_length: usize,
    /// An upper-case letter is compulsory [default: true, with the preset nist false]
    #[arg(
        long = "password-require-uppercase",
        env = "CARDEA_PASSWORD_REQUIRE_UPPERCASE",
        value_name = "BOOL",
        global = true
    )]
    pub require_uppercase: Option<bool>,
    /// A lower-case letter is compulsory [default: true, with the preset nist false]
    #[arg(
        long = "password-require-lowercase",
        env = "CARDEA_PASSWORD_REQUIRE_LOWERCASE",
        value_name = "BOOL",
        global = true
    )]
    pub require_lowercase: Option<bool>,
    /// A digit is compulsory [default: true, with the preset nist false]
    #[arg(
        long = "password-require-digit",
        env = "CARDEA_PASSWORD_REQUIRE_DIGIT",
        value_name = "BOOL",
        global = true
    )]
    pub require_digit: Option<bool>,
    /// A character that is neither letter nor digit is compulsory [default: true, with the preset nist false]
    #[arg(
        long = "password-require-special",
        env = "CARDEA_PASSWORD_REQUIRE_SPECIAL",
        value_name = "BOOL",
        global = true
    )]
    pub require_special: Option<bool>,
    /// Refuse passwords that are common or known from breaches, and those that hold the person's name, username or address or the product's name
    #[arg(long = "password-refuse-common", env = "CARDEA_PASSWORD_REFUSE_COMMON", default_value_t = true, action = ArgAction::Set, value_name = "BOOL", global = true)]
    pub refuse_common: bool,
    /// Former passwords that may not be used again, at most 24
    #[arg(
        long = "password-history",
        env = "CARDEA_PASSWORD_HISTORY",
        default_value_t = 0,
        global = true
    )]
    pub history: u8,
    /// Days after which a password has to be changed; 0 for never
    #[arg(
        long = "password-max-age-days",
        env = "CARDEA_PASSWORD_MAX_AGE_DAYS",
        default_value_t = 0,
        global = true
    )]
    pub max_age_days: u16,
    /// Memory of argon2id in KiB (OWASP Password Storage Cheat Sheet: 19456 with 2 passes)
    #[arg(
        long,
        env = "CARDEA_ARGON2_MEMORY_KIB",
        default_value_t = 19_456,
        global = true
    )]
    pub argon2_memory_kib: u32,
    /// Passes of argon2id
    #[arg(long, env = "CARDEA_ARGON2_PASSES", default_value_t = 2, global = true)]
    pub argon2_passes: u32,
    /// Passwords hashed at once [default: one for each processor]
    #[arg(
        long = "password-threads",
        env = "CARDEA_PASSWORD_THREADS",
        global = true
    )]
    pub threads: Option<usize>,
    /// Passwords that may wait to be hashed; past it callers are told to come back
    #[arg(
        long = "password-queue",
        env = "CARDEA_PASSWORD_QUEUE",
        default_value_t = 64,
        global = true
    )]
    pub queue: usize,
}

/// A set of rules for new passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PasswordPreset {
    /// 8 characters with an upper-case and a lower-case letter, a digit and a special character.
    Classes,
    /// 15 characters of any kind, as NIST SP 800-63B-4 asks of passwords that stand alone.
    Nist,
}

/// What a new password has to be like, every default filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Fewest characters, counted in code points.
    pub minimum_length: usize,
    /// Most characters, counted in code points.
    pub maximum_length: usize,
    /// An upper-case letter is compulsory.
    pub requires_uppercase: bool,
    /// A lower-case letter is compulsory.
    pub requires_lowercase: bool,
    /// A digit is compulsory.
    pub requires_digit: bool,
    /// A character that is neither letter nor digit is compulsory.
    pub requires_special: bool,
    /// Common passwords and personal ones are refused.
    pub refuses_common: bool,
    /// Former passwords that may not be used again.
    pub history_depth: u8,
    /// Days until a password has to be changed; `None` for never.
    pub maximum_age_days: Option<u16>,
}

impl PasswordPolicy {
    /// Most bytes of a password that is looked at at all: more than any password of the greatest
    /// length takes in the least economic spelling.
    #[must_use]
    pub fn maximum_bytes(&self) -> usize {
        16 * self.maximum_length
    }

    /// How old a password may become; `None` for any age.
    #[must_use]
    pub fn maximum_age(&self) -> Option<TimeDelta> {
        self.maximum_age_days
            .map(|days| TimeDelta::days(days.into()))
    }
}

impl Config {
    /// The rules for new passwords: those of the preset, with what single settings change.
    #[must_use]
    pub fn password_policy(&self) -> PasswordPolicy {
        let password = &self.password;
        let (length, classes) = match password.preset {
            PasswordPreset::Classes => (8, true),
            PasswordPreset::Nist => (15, false),
        };
        PasswordPolicy {
            minimum_length: password.min_length.unwrap_or(length),
            maximum_length: password.max_length,
            requires_uppercase: password.require_uppercase.unwrap_or(classes),
            requires_lowercase: password.require_lowercase.unwrap_or(classes),
            requires_digit: password.require_digit.unwrap_or(classes),
            requires_special: password.require_special.unwrap_or(classes),
            refuses_common: password.refuse_common,
            history_depth: password.history,
            maximum_age_days: Some(password.max_age_days).filter(|days| *days > 0),
        }
    }
}
