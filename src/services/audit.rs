//! Where account events that must be told later are noted. Secrets are never among them.

use uuid::Uuid;

/// What was done to an account.
#[derive(Clone, Copy, Debug)]
pub enum AuditAction {
    /// A passkey was added.
    PasskeyAdded,
    /// A passkey was refused whose counter has not grown: somebody may hold a copy of it.
    PasskeyRefused,
    /// A passkey was removed.
    PasskeyRemoved,
    /// A provider was tied to the account.
    ProviderLinked,
    /// A provider was untied from the account.
    ProviderUnlinked,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// The recovery codes were replaced.
    RecoveryCodesReplaced,
    /// The second factor was switched off.
    TwoFactorDisabled,
    /// The second factor was switched on, or its device replaced.
    TwoFactorEnabled,
    /// An administrator took the second factor off.
    TwoFactorReset,
}

impl AuditAction {
    /// The name of the action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasskeyAdded => "PASSKEY_ADDED",
            Self::PasskeyRefused => "PASSKEY_REFUSED",
            Self::PasskeyRemoved => "PASSKEY_REMOVED",
            Self::ProviderLinked => "PROVIDER_LINKED",
            Self::ProviderUnlinked => "PROVIDER_UNLINKED",
            Self::RecoveryCodeUsed => "RECOVERY_CODE_USED",
            Self::RecoveryCodesReplaced => "RECOVERY_CODES_REPLACED",
            Self::TwoFactorDisabled => "TWO_FACTOR_DISABLED",
            Self::TwoFactorEnabled => "TWO_FACTOR_ENABLED",
            Self::TwoFactorReset => "TWO_FACTOR_RESET",
        }
    }
}

/// Notes what `actor` did to the account `subject`.
pub fn note(action: AuditAction, actor: Uuid, subject: Uuid) {
    let action = action.as_str();
    tracing::info!(audit.action = action, actor.id = %actor, user.id = %subject, "{action} for account {subject}");
}
