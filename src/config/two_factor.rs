//! The settings of second factors, and the master key of what is sealed.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use secrecy::SecretString;

use crate::config::Config;

/// When a second factor is asked for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Second factors")]
pub struct TwoFactorConfig {
    /// Who must have a second factor; until then an account can set one up and nothing else [default: roles in production, nobody in development]
    #[arg(
        long = "two-factor-required",
        env = "CARDEA_TWO_FACTOR_REQUIRED",
        value_enum,
        global = true
    )]
    pub required: Option<TwoFactorRequirement>,
    /// Steps of 30 seconds by which the clock of a device may be off, 0 or 1
    #[arg(
        long,
        env = "CARDEA_TOTP_SKEW_STEPS",
        default_value_t = 1,
        global = true
    )]
    pub totp_skew_steps: u16,
    /// Days for which a trusted device is not asked for the second factor; 0 trusts none
    #[arg(
        long,
        env = "CARDEA_TRUSTED_DEVICE_DAYS",
        default_value_t = 30,
        global = true
    )]
    pub trusted_device_days: u32,
}

/// Who must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TwoFactorRequirement {
    /// Nobody.
    Nobody,
    /// Who holds a role that requires it, as `admin` does.
    Roles,
    /// Every account.
    Everybody,
}

impl TwoFactorRequirement {
    /// Whether an account must have one; `by_role` says that a role of it requires one.
    #[must_use]
    pub fn asks(self, by_role: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Roles => by_role,
            Self::Everybody => true,
        }
    }
}

/// The key of what is sealed in the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sealed values")]
pub struct SealConfig {
    /// Master key: 32 random bytes in base64, as `openssl rand -base64 32` prints them [default: in development a file in the data folder]
    #[arg(long, env = "CARDEA_MASTER_KEY", hide_env_values = true, global = true)]
    pub master_key: Option<SecretString>,
    /// File with the master key; further lines hold older keys, which are only read with
    #[arg(long, env = "CARDEA_MASTER_KEY_FILE", global = true)]
    pub master_key_file: Option<PathBuf>,
    /// Command that prints the master key, such as that of a key management service; run by `sh` at start
    #[arg(long, env = "CARDEA_MASTER_KEY_COMMAND", global = true)]
    pub master_key_command: Option<String>,
}

impl TwoFactorConfig {
    /// Every setting of these that cannot hold.
    pub(super) fn problems(&self) -> Vec<String> {
        let wrong = self.totp_skew_steps > 1 || self.trusted_device_days > 365;
        let problem =
            "CARDEA_TOTP_SKEW_STEPS must be 0 or 1, CARDEA_TRUSTED_DEVICE_DAYS at most 365";
        wrong.then(|| problem.to_owned()).into_iter().collect()
    }
}

impl SealConfig {
    /// Every setting of these that cannot hold.
    pub(super) fn problems(&self) -> Vec<String> {
        let given = [
            self.master_key.is_some(),
            self.master_key_file.is_some(),
            self.master_key_command.is_some(),
        ];
        let wrong = given.into_iter().filter(|given| *given).count() > 1;
        let problem = "CARDEA_MASTER_KEY, CARDEA_MASTER_KEY_FILE and CARDEA_MASTER_KEY_COMMAND exclude each other";
        wrong.then(|| problem.to_owned()).into_iter().collect()
    }

    /// Whether it is said where the master key comes from.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.master_key.is_some()
            || self.master_key_file.is_some()
            || self.master_key_command.is_some()
    }
}

impl Config {
    /// Who must have a second factor.
    #[must_use]
    pub fn two_factor_required(&self) -> TwoFactorRequirement {
        let by_mode = if self.production() {
            TwoFactorRequirement::Roles
        } else {
            TwoFactorRequirement::Nobody
        };
        self.two_factor.required.unwrap_or(by_mode)
    }

    /// For how long a device is trusted; `None` where none is.
    #[must_use]
    pub fn trusted_device_lifetime(&self) -> Option<TimeDelta> {
        let days = self.two_factor.trusted_device_days;
        (days > 0).then(|| TimeDelta::days(days.into()))
    }
}
