//! Where mailed links lead, and how long they are good.

use clap::Args;
use url::Url;

/// A year: no link is good for longer.
pub(super) const MAX_HOURS: u32 = 8760;

/// Where mailed links lead, and how long they are good.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mailed links")]
pub struct LinkConfig {
    /// Page of the front end that proves an address; `{token}` in it stands for the token [default: a page of this server]
    #[arg(
        long = "verify-email-url",
        env = "CARDEA_VERIFY_EMAIL_URL",
        global = true
    )]
    pub verify_email: Option<String>,
    /// Page of the front end that sets a new password; with `{token}` [default: a page of this server]
    #[arg(
        long = "reset-password-url",
        env = "CARDEA_RESET_PASSWORD_URL",
        global = true
    )]
    pub reset_password: Option<String>,
    /// Page of the front end where somebody who was invited chooses a password; with `{token}` [default: a page of this server]
    #[arg(
        long = "accept-invitation-url",
        env = "CARDEA_ACCEPT_INVITATION_URL",
        global = true
    )]
    pub accept_invitation: Option<String>,
    /// Page of the front end that confirms or undoes a change of the address; with `{token}` [default: a page of this server]
    #[arg(
        long = "confirm-email-change-url",
        env = "CARDEA_CONFIRM_EMAIL_CHANGE_URL",
        global = true
    )]
    pub confirm_email_change: Option<String>,
    /// Page of the front end that opens a closed account again; with `{token}` [default: a page of this server]
    #[arg(
        long = "reactivate-account-url",
        env = "CARDEA_REACTIVATE_ACCOUNT_URL",
        global = true
    )]
    pub reactivate_account: Option<String>,
    /// Page of the front end where a forgotten password is told [default: a page of this server]
    #[arg(
        long = "forgot-password-url",
        env = "CARDEA_FORGOT_PASSWORD_URL",
        global = true
    )]
    pub forgot_password: Option<String>,
    /// Hours for which a link is good that sets a password, confirms a change of the address or opens a closed account
    #[arg(
        long,
        env = "CARDEA_RECOVERY_HOURS",
        default_value_t = 24,
        global = true
    )]
    pub recovery_hours: u32,
    /// Hours for which an invitation is good
    #[arg(
        long,
        env = "CARDEA_INVITATION_HOURS",
        default_value_t = 72,
        global = true
    )]
    pub invitation_hours: u32,
    /// Hours for which a change of the address can be undone by the link mailed to the address before
    #[arg(
        long,
        env = "CARDEA_EMAIL_UNDO_HOURS",
        default_value_t = 168,
        global = true
    )]
    pub email_undo_hours: u32,
}

impl LinkConfig {
    /// Every setting of these that cannot hold.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (page, variable) in [
            (&self.verify_email, "CARDEA_VERIFY_EMAIL_URL"),
            (&self.reset_password, "CARDEA_RESET_PASSWORD_URL"),
            (&self.accept_invitation, "CARDEA_ACCEPT_INVITATION_URL"),
            (
                &self.confirm_email_change,
                "CARDEA_CONFIRM_EMAIL_CHANGE_URL",
            ),
            (&self.reactivate_account, "CARDEA_REACTIVATE_ACCOUNT_URL"),
        ] {
            if page.as_ref().is_some_and(|page| {
                !page.contains("{token}") || Url::parse(&page.replace("{token}", "t")).is_err()
            }) {
                found.push(format!(
                    "{variable} must be an address that contains {{token}}"
                ));
            }
        }
        let forgot = self.forgot_password.as_ref();
        if forgot.is_some_and(|page| Url::parse(page).is_err()) {
            found.push("CARDEA_FORGOT_PASSWORD_URL must be an address".to_owned());
        }
        for (hours, variable) in [
            (self.recovery_hours, "CARDEA_RECOVERY_HOURS"),
            (self.invitation_hours, "CARDEA_INVITATION_HOURS"),
            (self.email_undo_hours, "CARDEA_EMAIL_UNDO_HOURS"),
        ] {
            if !(1..=MAX_HOURS).contains(&hours) {
                found.push(format!("{variable} must lie between 1 and {MAX_HOURS}"));
            }
        }
        found
    }
}
