//! The settings of erasing accounts, and of accounts that nobody uses.

use chrono::TimeDelta;
use clap::Args;

use crate::config::Config;

/// Most days: a hundred years.
const MOST_DAYS: u32 = 36_500;

/// How long personal data is kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Erasing accounts")]
pub struct RetentionConfig {
    /// Days from asking for the erasure of an account to the erasure, in which it can be called off; 0 erases at once
    #[arg(
        long,
        env = "CARDEA_ERASURE_GRACE_DAYS",
        default_value_t = 30,
        global = true
    )]
    pub erasure_grace_days: u32,
    /// Days without use after which the owner of an account is warned by mail; 0 for never
    #[arg(
        long,
        env = "CARDEA_INACTIVE_WARN_DAYS",
        default_value_t = 0,
        global = true
    )]
    pub inactive_warn_days: u32,
    /// Days without use after which the owner is warned once more; 0 for never
    #[arg(
        long,
        env = "CARDEA_INACTIVE_WARN_AGAIN_DAYS",
        default_value_t = 0,
        global = true
    )]
    pub inactive_warn_again_days: u32,
    /// Days without use after which an account is closed; 0 for never
    #[arg(
        long,
        env = "CARDEA_INACTIVE_CLOSE_DAYS",
        default_value_t = 0,
        global = true
    )]
    pub inactive_close_days: u32,
    /// Days without use after which the erasure of an account that was closed for that begins, with its grace period; 0 for never
    #[arg(
        long,
        env = "CARDEA_INACTIVE_ERASE_DAYS",
        default_value_t = 0,
        global = true
    )]
    pub inactive_erase_days: u32,
    /// Roles, between commas, whose holders may leave their accounts unused
    #[arg(
        long,
        env = "CARDEA_INACTIVE_EXEMPT_ROLES",
        value_name = "LIST",
        default_value = "admin",
        global = true
    )]
    pub inactive_exempt_roles: String,
    /// Days after which an account is erased whose address nobody proved; 0 for never
    #[arg(
        long,
        env = "CARDEA_UNPROVED_DAYS",
        default_value_t = 30,
        global = true
    )]
    pub unproved_days: u32,
}

/// What becomes of an account that nobody uses, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InactivityStages {
    /// Its owner is warned.
    pub warn: Option<TimeDelta>,
    /// Its owner is warned once more.
    pub warn_again: Option<TimeDelta>,
    /// It is closed.
    pub close: Option<TimeDelta>,
    /// Its erasure begins.
    pub erase: Option<TimeDelta>,
}

impl InactivityStages {
    /// The warning before an account is closed: how many there are, and after how long the last of them is.
    #[must_use]
    pub fn last_warning(&self) -> Option<(i16, TimeDelta)> {
        let again = self.warn_again.map(|days| (2, days));
        again.or_else(|| self.warn.map(|days| (1, days)))
    }
}

/// So many days; none for never.
fn days(days: u32) -> Option<TimeDelta> {
    (days > 0).then(|| TimeDelta::days(days.into()))
}

impl RetentionConfig {
    /// The settings that cannot hold.
    pub(super) fn problems(&self) -> Vec<String> {
        let stages = [
            ("CARDEA_INACTIVE_WARN_DAYS", self.inactive_warn_days),
            (
                "CARDEA_INACTIVE_WARN_AGAIN_DAYS",
                self.inactive_warn_again_days,
            ),
            ("CARDEA_INACTIVE_CLOSE_DAYS", self.inactive_close_days),
            ("CARDEA_INACTIVE_ERASE_DAYS", self.inactive_erase_days),
        ];
        let mut found = Vec::new();
        let set: Vec<_> = stages.iter().filter(|(_, days)| *days > 0).collect();
        for pair in set.windows(2) {
            if let [(earlier, less), (later, more)] = pair
                && less >= more
            {
                found.push(format!("{later} must be greater than {earlier}"));
            }
        }
        // Nobody loses an account without having heard of it.
        if set
            .first()
            .is_some_and(|(_, days)| *days != self.inactive_warn_days)
        {
            found.push(
                "CARDEA_INACTIVE_WARN_DAYS is missing; whatever comes later needs a warning"
                    .to_owned(),
            );
        }
        if self.inactive_erase_days > 0 && self.inactive_close_days == 0 {
            found.push(
                "CARDEA_INACTIVE_ERASE_DAYS needs CARDEA_INACTIVE_CLOSE_DAYS: only what is closed is erased"
                    .to_owned(),
            );
        }
        let others = [
            ("CARDEA_ERASURE_GRACE_DAYS", self.erasure_grace_days),
            ("CARDEA_UNPROVED_DAYS", self.unproved_days),
        ];
        for (name, days) in stages.iter().chain(&others) {
            if *days > MOST_DAYS {
                found.push(format!("{name} must be at most {MOST_DAYS}"));
            }
        }
        found
    }
}

impl Config {
    /// How long an erasure can be called off; `None` where accounts are erased at once.
    #[must_use]
    pub fn erasure_grace(&self) -> Option<TimeDelta> {
        days(self.retention.erasure_grace_days)
    }

    /// What becomes of accounts that nobody uses.
    #[must_use]
    pub fn inactivity_stages(&self) -> InactivityStages {
        let retention = &self.retention;
        InactivityStages {
            warn: days(retention.inactive_warn_days),
            warn_again: days(retention.inactive_warn_again_days),
            close: days(retention.inactive_close_days),
            erase: days(retention.inactive_erase_days),
        }
    }

    /// The names of the roles whose holders may leave their accounts unused.
    pub fn inactive_exempt_roles(&self) -> impl Iterator<Item = &str> {
        let names = self.retention.inactive_exempt_roles.split(',');
        names.map(str::trim).filter(|name| !name.is_empty())
    }

    /// How long an account waits for its address to be proved; `None` for ever.
    #[must_use]
    pub fn unproved_lifetime(&self) -> Option<TimeDelta> {
        days(self.retention.unproved_days)
    }
}
