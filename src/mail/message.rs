//! Which mails there are, and what goes into them. Their texts are in `templates/`, a file for each mail
//! and language.

use chrono_tz::Tz;
use minijinja::{Value, context};
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;
use crate::mail::device::device;
use crate::mail::template;
use crate::scalar::{Date, DateTime};

/// A mail to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// The link that proves the address. It names nobody: whoever typed the address in is a stranger
    /// until it is proved, and the name would be theirs to write to somebody else with.
    VerifyEmail {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The link by which somebody chooses a password for whom an administrator opened an account. Names nobody,
    /// as [`Mail::VerifyEmail`].
    Invitation {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// Somebody tried to register with an address that has an account.
    AlreadyRegistered,
    /// Somebody wanted to move another account to an address that has one.
    AddressInUse,
    /// The link that lets its holder choose a new password.
    ResetPassword {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The link that proves a new address, for the new address. Names nobody, as [`Mail::VerifyEmail`].
    ConfirmEmailChange {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The account has another address now; for the old one.
    EmailChanged {
        /// The new address, most of it hidden.
        new_email_masked: String,
        /// Where the change is undone, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The account has its former address again; for that one.
    EmailChangeUndone {
        /// Where a new password is set, the token in it; none where the account is closed.
        link: Option<String>,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The account has a new password.
    PasswordChanged {
        /// Where a forgotten password is replaced.
        forgot_link: String,
    },
    /// The account has a passkey more. It does not tell its name, which whoever added it chose.
    PasskeyAdded {
        /// Where a forgotten password is replaced.
        forgot_link: String,
    },
    /// The account has a passkey less.
    PasskeyRemoved {
        /// Where a forgotten password is replaced.
        forgot_link: String,
    },
    /// Somebody signed in from a device that was not seen before.
    NewDevice {
        /// When; shown in the time zone of the person.
        at: DateTime,
        /// The network address.
        ip: String,
        /// The header as it came. Shown only as the names of the program and the system.
        user_agent: Option<String>,
    },
    /// A refresh token was used twice, and its session was ended.
    SessionReuse,
    /// The account was closed.
    AccountClosed {
        /// Where it is opened again, the token in it; none where an administrator closed it.
        link: Option<String>,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The account was closed because nobody used it.
    AccountClosedUnused {
        /// Where it is opened again, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
        /// From when on it will be erased, if ever.
        erased_on: Option<Date>,
    },
    /// The account will be erased.
    ErasureScheduled {
        /// When; shown in the time zone of the person.
        at: DateTime,
        /// Where a closed account is opened again, which calls the erasure off; none where signing in is the way.
        link: Option<String>,
        /// For how many hours it is good.
        hours: u32,
    },
    /// A closed account will be erased, and its owner cannot open it.
    ErasureOfClosedAccount {
        /// When; shown in the time zone of the person.
        at: DateTime,
    },
    /// The account will not be erased after all.
    ErasureCancelled,
    /// The account was not erased, because it is that of the last administrator.
    ErasureImpossible,
    /// The account was not used for long.
    InactivityWarning {
        /// Its last use, as far as that is kept.
        last_used_on: Date,
        /// From when on it will be closed, if ever.
        closed_on: Option<Date>,
        /// From when on it will be erased, if ever.
        erased_on: Option<Date>,
    },
    /// The link that opens a closed account again.
    ReactivateAccount {
        /// Where it leads, the token in it.
        link: String,
        /// For how many hours it is good.
        hours: u32,
    },
    /// The account was opened again.
    AccountReopened,
    /// The second factor is on, or has another device.
    TwoFactorEnabled,
    /// The second factor is off.
    TwoFactorDisabled,
    /// An administrator took the second factor off.
    TwoFactorReset,
    /// There are new recovery codes.
    RecoveryCodesReplaced,
    /// A recovery code was used.
    RecoveryCodeUsed {
        /// How many are left.
        left: i64,
    },
    /// Somebody who knows the password tries codes.
    WrongCodes {
        /// Where a forgotten password is told.
        forgot_link: String,
    },
    /// The password will not be good for long.
    PasswordExpires {
        /// In how many days it ends; none are left at 0.
        days: i64,
        /// Its last day.
        on: Date,
    },
    /// A sign-in provider was tied to the account.
    ProviderLinked {
        /// What it is called.
        provider: String,
    },
    /// A sign-in provider was untied from the account.
    ProviderUnlinked {
        /// What it was called.
        provider: String,
    },
}

/// Whom a mail is for.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The name to greet, in mails to a proved owner.
    pub name: String,
    /// Where the mail goes.
    pub email: String,
    /// BCP 47 tag of the language they want.
    pub language: String,
    /// IANA name of the time zone they live in.
    pub timezone: String,
}

/// A mail as it is sent.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Stays the same when the mail is sent again; becomes the Message-ID.
    pub id: String,
    /// Sender.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// The language it is written in.
    pub language: String,
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as a page.
    pub html: String,
    /// The links in it, in their order.
    pub links: Vec<String>,
}

impl Mail {
    /// Writes the mail to `recipient`, in their language where there are texts in it; `id` names it
    /// for good.
    ///
    /// # Errors
    /// If a template is broken, which a test excludes.
    pub fn render(
        &self,
        config: &Config,
        recipient: &Recipient,
        id: Uuid,
    ) -> anyhow::Result<Message> {
        let language = template::lookup(&recipient.language);
        let product = &*config.product_name;
        let common = context! { product, email => &*recipient.email };
        // Where it is not given, a template that names somebody cannot be filled.
        let greeting = if self.knows_owner() {
            context! { name => &*recipient.name }
        } else {
            Value::UNDEFINED
        };
        let own = self.values(language, &recipient.timezone)?;
        let values = context! { ..common, ..greeting, ..own };
        let filled = template::fill(language, product, self.template(), &values)?;
        Ok(Message {
            id: id.to_string(),
            from: config.mail.from.clone(),
            to: recipient.email.clone(),
            language: language.to_owned(),
            subject: filled.subject,
            text: filled.text,
            html: filled.html,
            links: filled.links,
        })
    }

    fn template(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::Invitation { .. } => "invitation",
            Self::AlreadyRegistered => "already_registered",
            Self::AddressInUse => "address_in_use",
            Self::ResetPassword { .. } => "reset_password",
            Self::ConfirmEmailChange { .. } => "confirm_email_change",
            Self::EmailChanged { .. } => "email_changed",
            Self::EmailChangeUndone { link: Some(_), .. } => "email_change_undone",
            Self::EmailChangeUndone { link: None, .. } => "email_change_undone_closed",
            Self::PasswordChanged { .. } => "password_changed",
            Self::PasskeyAdded { .. } => "passkey_added",
            Self::PasskeyRemoved { .. } => "passkey_removed",
            Self::NewDevice { .. } => "new_device",
            Self::SessionReuse => "session_reuse",
            Self::AccountClosed { link: Some(_), .. } => "account_closed",
            Self::AccountClosed { link: None, .. } => "account_closed_by_administrator",
            Self::AccountClosedUnused { .. } => "account_closed_unused",
            Self::ErasureScheduled { link: None, .. } => "erasure_scheduled",
            Self::ErasureScheduled { link: Some(_), .. } => "erasure_scheduled_unused",
            Self::ErasureOfClosedAccount { .. } => "erasure_scheduled_closed",
            Self::ErasureCancelled => "erasure_cancelled",
            Self::ErasureImpossible => "erasure_impossible",
            Self::InactivityWarning { .. } => "inactivity_warning",
            Self::ReactivateAccount { .. } => "reactivate_account",
            Self::AccountReopened => "account_reopened",
            Self::TwoFactorEnabled => "two_factor_enabled",
            Self::TwoFactorDisabled => "two_factor_disabled",
            Self::TwoFactorReset => "two_factor_reset",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::RecoveryCodeUsed { .. } => "recovery_code_used",
            Self::WrongCodes { .. } => "wrong_codes",
            Self::PasswordExpires { .. } => "password_expires",
            Self::ProviderLinked { .. } => "provider_linked",
            Self::ProviderUnlinked { .. } => "provider_unlinked",
        }
    }

    /// Whether whoever reads the address is known to be the person behind the account.
    fn knows_owner(&self) -> bool {
        !matches!(
            self,
            Self::VerifyEmail { .. } | Self::Invitation { .. } | Self::ConfirmEmailChange { .. }
        )
    }

    fn values(&self, language: &str, timezone: &str) -> anyhow::Result<Value> {
        Ok(match self {
            Self::VerifyEmail { link, hours }
            | Self::Invitation { link, hours }
            | Self::ResetPassword { link, hours }
            | Self::ConfirmEmailChange { link, hours }
            | Self::ReactivateAccount { link, hours } => context! { link, hours },
            Self::AccountClosed { link, hours } | Self::EmailChangeUndone { link, hours } => {
                context! { link, hours }
            }
            Self::AccountClosedUnused {
                link,
                hours,
                erased_on,
            } => context! { link, hours, erased_on => day(language, *erased_on)? },
            Self::ErasureScheduled { at, link, hours } => {
                context! { at => local(language, *at, timezone)?, link, hours }
            }
            Self::ErasureOfClosedAccount { at } => {
                context! { at => local(language, *at, timezone)? }
            }
            Self::InactivityWarning {
                last_used_on,
                closed_on,
                erased_on,
            } => context! {
                last_used_on => template::day(language, **last_used_on)?,
                closed_on => day(language, *closed_on)?,
                erased_on => day(language, *erased_on)?,
            },
            Self::EmailChanged {
                new_email_masked,
                link,
                hours,
            } => context! { new_email => new_email_masked, link, hours },
            Self::PasswordChanged { forgot_link }
            | Self::PasskeyAdded { forgot_link }
            | Self::PasskeyRemoved { forgot_link }
            | Self::WrongCodes { forgot_link } => context! { forgot_link },
            Self::RecoveryCodeUsed { left } => context! { left },
            Self::NewDevice { at, ip, user_agent } => {
                let at = local(language, *at, timezone)?;
                let device = user_agent.as_deref().and_then(device);
                context! { at, ip, device }
            }
            Self::PasswordExpires { days, on } => {
                context! { days, date => template::day(language, **on)? }
            }
            Self::ProviderLinked { provider } | Self::ProviderUnlinked { provider } => {
                context! { provider }
            }
            Self::AlreadyRegistered
            | Self::AddressInUse
            | Self::ErasureCancelled
            | Self::ErasureImpossible
            | Self::SessionReuse
            | Self::TwoFactorEnabled
            | Self::TwoFactorDisabled
            | Self::TwoFactorReset
            | Self::RecoveryCodesReplaced
            | Self::AccountReopened => Value::UNDEFINED,
        })
    }
}

/// An instant as it is in the time zone of the person.
fn local(language: &str, at: DateTime, timezone: &str) -> anyhow::Result<String> {
    // The profile takes only zones that are known.
    let zone = timezone.parse().unwrap_or(Tz::UTC);
    let local = at.with_timezone(&zone);
    let zone = local.format("%Z").to_string();
    template::moment(language, local.naive_local(), &zone)
}

/// A day, if there is one.
fn day(language: &str, day: Option<Date>) -> anyhow::Result<Option<String>> {
    day.map(|day| template::day(language, *day)).transpose()
}
