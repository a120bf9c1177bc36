//! The settings of the audit trail.

use clap::Args;

use crate::config::Config;

/// How long the audit trail is kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit trail")]
pub struct AuditConfig {
    /// Whole months for which entries of the audit trail are kept; 0 keeps them for ever
    #[arg(
        long = "audit-months",
        env = "CARDEA_AUDIT_MONTHS",
        default_value_t = 24,
        global = true
    )]
    pub months: u32,
}

impl Config {
    /// For how many whole months entries of the audit trail are kept; `None` for ever.
    #[must_use]
    pub fn audit_months(&self) -> Option<u32> {
        (self.audit.months > 0).then_some(self.audit.months)
    }
}
