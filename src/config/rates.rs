//! How often operations may be tried.

use clap::Args;

/// How often operations may be tried before the caller has to wait.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rates")]
pub struct RateConfig {
    /// Registrations an hour from one network
    #[arg(
        long,
        env = "CARDEA_REGISTRATIONS_PER_HOUR",
        default_value_t = 30,
        global = true
    )]
    pub registrations_per_hour: u32,
    /// Wrong passwords for one name from one network before each further try has to wait, longer each time
    #[arg(long, env = "CARDEA_LOGIN_TRIES", default_value_t = 10, global = true)]
    pub login_tries: u32,
    /// Sign-in tries a day for one name: from each network that its owner has signed in from, and from all others together
    #[arg(
        long,
        env = "CARDEA_LOGINS_PER_NAME",
        default_value_t = 100,
        global = true
    )]
    pub logins_per_name: u32,
    /// Sign-in tries in 15 minutes from one network, for whatever names
    #[arg(
        long,
        env = "CARDEA_LOGINS_PER_NETWORK",
        default_value_t = 300,
        global = true
    )]
    pub logins_per_network: u32,
    /// Mails an hour to one address that anybody can ask for
    #[arg(
        long,
        env = "CARDEA_MAILS_PER_HOUR",
        default_value_t = 5,
        global = true
    )]
    pub mails_per_hour: u32,
    /// Requests for mails an hour from one network
    #[arg(
        long,
        env = "CARDEA_MAIL_REQUESTS_PER_NETWORK",
        default_value_t = 60,
        global = true
    )]
    pub mail_requests_per_network: u32,
    /// Mailed tokens shown an hour from one network, right or wrong
    #[arg(
        long,
        env = "CARDEA_TOKENS_PER_NETWORK",
        default_value_t = 300,
        global = true
    )]
    pub tokens_per_network: u32,
    /// Codes of second factors in 15 minutes for one account, right ones left aside
    #[arg(long, env = "CARDEA_CODE_TRIES", default_value_t = 10, global = true)]
    pub code_tries: u32,
    /// Accounts an hour that one administrator opens for others, each with a mail
    #[arg(
        long,
        env = "CARDEA_INVITATIONS_PER_HOUR",
        default_value_t = 100,
        global = true
    )]
    pub invitations_per_hour: u32,
    /// Sign-ins with a provider that begin or end in 15 minutes from one network
    #[arg(
        long,
        env = "CARDEA_OAUTH_PER_NETWORK",
        default_value_t = 120,
        global = true
    )]
    pub oauth_per_network: u32,
    /// Seconds between two mails of a kind to one address
    #[arg(long, env = "CARDEA_RESEND_SECS", default_value_t = 60, global = true)]
    pub resend_secs: u32,
}

impl RateConfig {
    /// Whether one of the budgets is empty from the beginning.
    pub(super) fn hold_nothing(&self) -> bool {
        [
            self.registrations_per_hour,
            self.login_tries,
            self.logins_per_name,
            self.logins_per_network,
            self.mails_per_hour,
            self.mail_requests_per_network,
            self.tokens_per_network,
            self.code_tries,
            self.invitations_per_hour,
            self.oauth_per_network,
        ]
        .contains(&0)
    }
}
