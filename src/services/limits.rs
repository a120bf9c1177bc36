//! How often an operation may be tried. The budgets lie in the database, so that all instances agree;
//! each is one statement, and is taken before the work that it guards.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::db::Conn;
use crate::error::{Result, UserError};
use crate::models::rate_limit::{self, Budget, Delay};
use crate::models::two_factor::TwoFactorSecret;
use crate::models::verification_token::VerificationKind;
use crate::scalar::DateTime;

/// Wrong tries are forgotten this long after the last wait was over.
pub const FORGET: TimeDelta = TimeDelta::minutes(15);
/// The first wait after the free tries; each next one is twice as long.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(5);
/// How often an account may confirm its password in 15 minutes, right or wrong.
const CONFIRMATIONS: u32 = 30;
/// How often a session may be refreshed in an hour. Each spent token is kept as long as the session.
const REFRESHES: u32 = 120;
/// How many refusals of an account in an hour go into the audit trail; the log has all of them.
const REFUSALS: u32 = 60;
/// How many exports an account may ask for in an hour: each reads everything about it.
const EXPORTS: u32 = 10;
/// How often an administrator may call `importUsers` in an hour.
const IMPORTS: u32 = 120;
/// The longest wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);

/// An operation whose uses are counted.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Opening an account, for each network.
    Register,
    /// Signing in, for each network, whoever is meant.
    LoginNetwork,
    /// Beginning a ceremony with an authenticator, for each network.
    PasskeyCeremony,
    /// Mailing a token of this kind, for each address.
    Resend(&'static str),
    /// Mailing this kind of thing that was asked for, for each address. By kind, so that nobody uses up
    /// what the owner's way back into the account needs.
    Mail(&'static str),
    /// Asking for a mail, for each network.
    MailRequest,
    /// Showing a mailed token, for each network.
    Token,
    /// Opening an account for somebody else, for each administrator.
    Invitation,
    /// Taking in accounts from elsewhere, for each administrator.
    Import,
    /// Beginning or ending a sign-in with a provider, for each network.
    OAuth,
    /// Exporting everything about an account, for each account.
    Export,
    /// Writing down what an account may not do, for each account.
    Refusal,
}

/// Whom a limit turns away, as the log says it: never by address, name or network.
#[derive(Clone, Copy)]
enum By<'a> {
    Network,
    Name,
    Address,
    Account(&'a str),
    Session(Uuid),
}

impl Limit {
    /// What the log calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::LoginNetwork => "login network",
            Self::PasskeyCeremony => "passkey ceremony",
            Self::Resend(_) => "resend",
            Self::Mail(_) => "mail",
            Self::MailRequest => "mail request",
            Self::Token => "token",
            Self::Invitation => "invitation",
            Self::Import => "import",
            Self::OAuth => "oauth",
            Self::Export => "export",
            Self::Refusal => "refusal",
        }
    }

    fn by(self, subject: &str) -> By<'_> {
        match self {
            Self::Register
            | Self::LoginNetwork
            | Self::PasskeyCeremony
            | Self::MailRequest
            | Self::Token
            | Self::OAuth => By::Network,
            Self::Resend(_) | Self::Mail(_) => By::Address,
            Self::Invitation | Self::Import | Self::Export | Self::Refusal => By::Account(subject),
        }
    }
}

/// Takes one use of `limit` for `subject`, before anything costly is done.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the time to wait.
pub async fn take(app: &App, limit: Limit, client: &ClientInfo, subject: &str) -> Result<()> {
    let wait = wait(app, limit, client, subject).await?;
    refuse(app, limit.name(), limit.by(subject), wait)
}

/// Takes one use of `limit` for `subject`; gives the time to wait where there is none left.
///
/// # Errors
/// If the database cannot answer; nothing is allowed then.
pub async fn wait(
    app: &App,
    limit: Limit,
    client: &ClientInfo,
    subject: &str,
) -> Result<Option<Duration>> {
    let rates = &app.config.rates;
    let (subject, network) = (subject.to_lowercase(), client.network());
    let hour = TimeDelta::hours(1);
    let (key, burst, period) = match limit {
        Limit::Register => (
            key(&["register", &network]),
            rates.registrations_per_hour,
            hour,
        ),
        Limit::LoginNetwork => (
            key(&["login network", &network]),
            rates.logins_per_network,
            TimeDelta::minutes(15),
        ),
        Limit::PasskeyCeremony => (
            key(&["passkey ceremony", &network]),
            rates.logins_per_network,
            TimeDelta::minutes(15),
        ),
        Limit::Resend(kind) => (
            key(&["resend", kind, &subject]),
            1,
            TimeDelta::seconds(rates.resend_secs.into()),
        ),
        Limit::Mail(kind) => (key(&["mail", kind, &subject]), rates.mails_per_hour, hour),
        Limit::MailRequest => (
            key(&["mail request", &network]),
            rates.mail_requests_per_network,
            hour,
        ),
        Limit::Token => (key(&["token", &network]), rates.tokens_per_network, hour),
        Limit::Invitation => (
            key(&["invitation", &subject]),
            rates.invitations_per_hour,
            hour,
        ),
        Limit::Import => (key(&["import", &subject]), IMPORTS, hour),
        Limit::OAuth => (
            key(&["oauth", &network]),
            rates.oauth_per_network,
            TimeDelta::minutes(15),
        ),
        Limit::Export => (key(&["export", &subject]), EXPORTS, hour),
        Limit::Refusal => (key(&["refusal", &subject]), REFUSALS, hour),
    };
    let Some(budget) = Budget::new(burst, period) else {
        return Ok(None);
    };
    let mut conn = app.db.conn().await?;
    let wait = rate_limit::take(&mut conn, &key, None, budget, app.now()).await?;
    Ok(wait.map(|wait| wait.to_std().unwrap_or_default()))
}

/// Takes one request for a mail of `kind` to `address`: by the network that asks, by the address
/// each hour, and by the time since the last one.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the time to wait. It says nothing about the address: known and unknown
/// ones are counted alike.
pub async fn take_mail(
    app: &App,
    client: &ClientInfo,
    kind: &'static str,
    address: &str,
) -> Result<()> {
    take(app, Limit::MailRequest, client, "").await?;
    take(app, Limit::Resend(kind), client, address).await?;
    let wait = wait(app, Limit::Mail(kind), client, address).await?;
    if wait.is_some() {
        // No mail goes out, so that there is none to wait a minute for.
        let key = key(&["resend", kind, &address.to_lowercase()]);
        rate_limit::forget(&mut *app.db.conn().await?, &[&key[..]]).await?;
    }
    refuse(app, "mail", By::Address, wait)
}

/// Takes one mail of `kind` to `address` that somebody causes without asking for it; gives when it may
/// be sent. Nothing is taken for one that has to wait: those to one address wait as one. Known and
/// unknown addresses are counted alike.
///
/// # Errors
/// If the database cannot answer.
pub async fn mail_due_at(
    app: &App,
    client: &ClientInfo,
    kind: &'static str,
    address: &str,
) -> Result<DateTime> {
    let mut early = wait(app, Limit::Resend(kind), client, address).await?;
    if early.is_none() {
        early = wait(app, Limit::Mail(kind), client, address).await?;
    }
    let early = TimeDelta::from_std(early.unwrap_or_default()).unwrap_or_default();
    Ok(DateTime(*app.now() + early))
}

/// Takes one refresh of a session.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the time to wait.
pub async fn take_refresh(app: &App, conn: &mut Conn, session: Uuid) -> Result<()> {
    let Some(budget) = Budget::new(REFRESHES, TimeDelta::hours(1)) else {
        return Ok(());
    };
    let key = key(&["refresh", &session.to_string()]);
    let wait = rate_limit::take(conn, &key, None, budget, app.now()).await?;
    let wait = wait.map(|wait| wait.to_std().unwrap_or_default());
    refuse(app, "refresh", By::Session(session), wait)
}

/// Takes one try to prove the second factor of `user`. Only a right code gives the tries back, not a right
/// password: whoever knows that one must not guess on.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the time to wait.
pub async fn take_code(app: &App, conn: &mut Conn, user: Uuid) -> Result<()> {
    let budget = Budget::new(app.config.rates.code_tries, TimeDelta::minutes(15));
    let Some(budget) = budget else { return Ok(()) };
    let subject = subject_of_account(user);
    let wait = rate_limit::take(conn, &code_key(user), Some(&subject), budget, app.now()).await?;
    let wait = wait.map(|wait| wait.to_std().unwrap_or_default());
    refuse(app, "second factor", By::Account(&user.to_string()), wait)
}

/// Forgets the tries before a right code.
///
/// # Errors
/// If the database cannot answer.
pub async fn forgive_codes(conn: &mut Conn, user: Uuid) -> Result<()> {
    Ok(rate_limit::forget(conn, &[&code_key(user)[..]]).await?)
}

/// When another mail of `kind` may be asked for with this address.
///
/// # Errors
/// If the database cannot answer.
pub async fn resend_available_at(
    app: &App,
    conn: &mut Conn,
    kind: &'static str,
    email: &str,
) -> Result<DateTime> {
    let key = key(&["resend", kind, &email.to_lowercase()]);
    let full_at = rate_limit::full_at(conn, &key).await?;
    Ok(full_at.map_or(app.now(), |full_at| full_at.max(app.now())))
}

/// A try to name and prove somebody, taken before anything is verified.
#[must_use = "a try that succeeded is to be forgiven"]
#[derive(Debug)]
pub struct Try {
    /// By name and network: each further wrong try has to wait longer.
    by_network: [u8; 32],
    /// By name alone, for all strangers together; by name and network where the owner is known.
    by_name: [u8; 32],
    subject: [u8; 32],
}

impl Try {
    /// A try to sign in as `identifier`. A stranger's wrong tries cannot shut the owner out: with
    /// `known`, a network from which the account has signed in before, only its own tries count.
    ///
    /// Address and username of an account are counted apart. With one budget for both, filling it
    /// by one name and trying the other would tell that they belong together.
    ///
    /// # Errors
    /// `TOO_MANY_ATTEMPTS` with the time to wait.
    pub async fn to_login(
        app: &App,
        client: &ClientInfo,
        identifier: &str,
        known: bool,
    ) -> Result<Self> {
        let (identifier, network) = (identifier.to_lowercase(), client.network());
        // A budget either way: without one, a statement less would tell that the account exists, and
        // that its owner is at home here.
        let whose = if known { &*network } else { "strangers" };
        let this = Self {
            by_network: key(&["login", &identifier, &network]),
            by_name: key(&["login name", &identifier, whose]),
            subject: subject_of_name(&identifier),
        };
        take(app, Limit::LoginNetwork, client, "").await?;
        let (now, rates) = (app.now(), &app.config.rates);
        let mut conn = app.db.conn().await?;
        let delay = this.delay(&mut conn, rates.login_tries, now).await?;
        refuse(app, "login", By::Name, delay)?;
        if let Some(budget) = Budget::new(rates.logins_per_name, TimeDelta::days(1)) {
            let (key, subject) = (&this.by_name, Some(&this.subject));
            let wait = rate_limit::take(&mut conn, key, subject, budget, now).await?;
            let wait = wait.map(|wait| wait.to_std().unwrap_or_default());
            refuse(app, "login name", By::Name, wait)?;
        }
        Ok(this)
    }

    /// A try of a signed-in person to prove to be at the keyboard.
    ///
    /// # Errors
    /// `TOO_MANY_ATTEMPTS` with the time to wait.
    pub async fn to_confirm(app: &App, user: Uuid) -> Result<Self> {
        let account = user.to_string();
        let this = Self {
            by_network: key(&["confirm", &account]),
            by_name: [0; 32],
            subject: subject_of_account(user),
        };
        let (now, mut conn) = (app.now(), app.db.conn().await?);
        // Right ones count, too: each costs a hash.
        if let Some(budget) = Budget::new(CONFIRMATIONS, TimeDelta::minutes(15)) {
            let key = key(&["confirmations", &account]);
            let wait = rate_limit::take(&mut conn, &key, None, budget, now).await?;
            let wait = wait.map(|wait| wait.to_std().unwrap_or_default());
            refuse(app, "confirmations", By::Account(&account), wait)?;
        }
        let tries = app.config.rates.login_tries;
        let delay = this.delay(&mut conn, tries, now).await?;
        refuse(app, "confirm", By::Account(&account), delay)?;
        Ok(this)
    }

    async fn delay(&self, conn: &mut Conn, free: u32, now: DateTime) -> Result<Option<Duration>> {
        let delay = Delay {
            free,
            first: FIRST_WAIT,
            longest: LONGEST_WAIT,
            forget: FORGET,
        };
        let (key, subject) = (&self.by_network, &self.subject);
        let wait = rate_limit::take_delayed(conn, key, subject, &delay, now).await?;
        Ok(wait.map(|wait| wait.to_std().unwrap_or_default()))
    }

    /// Forgets the wrong tries before one that succeeded.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn forgive(&self, conn: &mut Conn) -> Result<()> {
        let keys = [&self.by_network[..], &self.by_name[..]];
        Ok(rate_limit::forget(conn, &keys).await?)
    }

    /// The budgets that are full again once the try has succeeded.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        vec![self.by_network.to_vec(), self.by_name.to_vec()]
    }

    /// Gives the try back: it was not decided.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn give_back(&self, app: &App) -> Result<()> {
        let mut conn = app.db.conn().await?;
        Ok(rate_limit::give_back(&mut conn, &self.by_network, app.now()).await?)
    }
}

/// Forgets every wrong password and code for an account, from wherever it came.
///
/// # Errors
/// If the database cannot answer.
pub async fn unlock(
    conn: &mut Conn,
    user: Uuid,
    email: &str,
    username: Option<&str>,
) -> Result<()> {
    TwoFactorSecret::forget_wrong_codes(conn, user).await?;
    rate_limit::forget_subjects(conn, &[&subject_of_account(user)[..]]).await?;
    unlock_names(conn, email, username).await
}

/// Forgets whatever is counted for an account and its names, for one that goes: who knows an address could tell by
/// its hash that it was used here. What is counted by its id goes when its time is over.
///
/// # Errors
/// If the database cannot answer.
pub async fn forget(
    conn: &mut Conn,
    user: Uuid,
    email: &str,
    username: Option<&str>,
) -> Result<()> {
    use VerificationKind::{AccountReactivation, EmailChange, EmailVerification, PasswordReset};
    let email = email.to_lowercase();
    let kinds = [
        AccountReactivation,
        EmailChange,
        EmailVerification,
        PasswordReset,
    ];
    let keys: Vec<_> = kinds
        .iter()
        .flat_map(|kind| ["resend", "mail"].map(|of| key(&[of, kind.as_str(), &email])))
        .collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    rate_limit::forget(conn, &keys).await?;
    rate_limit::forget_subjects(conn, &[&subject_of_account(user)[..]]).await?;
    unlock_names(conn, &email, username).await
}

/// Forgets every sign-in with a wrong password, from wherever it came.
///
/// # Errors
/// If the database cannot answer.
pub async fn unlock_names(conn: &mut Conn, email: &str, username: Option<&str>) -> Result<()> {
    let names = [Some(email), username].into_iter().flatten();
    let subjects: Vec<_> = names
        .map(|name| subject_of_name(&name.to_lowercase()))
        .collect();
    let subjects: Vec<&[u8]> = subjects.iter().map(|subject| &subject[..]).collect();
    Ok(rate_limit::forget_subjects(conn, &subjects).await?)
}

/// Refuses where there is something to wait for. The log has a line of it, at most ten a minute for each limit: the span of
/// the request names the request, by whose id a proxy's log tells the address.
fn refuse(app: &App, limit: &'static str, by: By<'_>, wait: Option<Duration>) -> Result<()> {
    let Some(wait) = wait else { return Ok(()) };
    if let Some(left_out) = app.refusals.line(limit, Instant::now()) {
        let wait_secs = wait.as_secs();
        let (user, session, whom) = match by {
            By::Network => (None, None, "a network".to_owned()),
            By::Name => (None, None, "a name".to_owned()),
            By::Address => (None, None, "an address".to_owned()),
            By::Account(id) => (Some(id), None, format!("account {id}")),
            By::Session(id) => (None, Some(id.to_string()), format!("session {id}")),
        };
        tracing::info!(
            limit,
            wait_secs,
            left_out,
            user.id = user,
            session.id = session,
            "The limit `{limit}` refused {whom}"
        );
    }
    Err(UserError::too_many_attempts(wait).into())
}

fn code_key(user: Uuid) -> [u8; 32] {
    key(&["second factor", &user.to_string()])
}

fn subject_of_name(identifier: &str) -> [u8; 32] {
    key(&["name", identifier])
}

fn subject_of_account(user: Uuid) -> [u8; 32] {
    key(&["account", &user.to_string()])
}

/// Hashed, so that no address stands in the table.
fn key(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("\0")).into()
}
