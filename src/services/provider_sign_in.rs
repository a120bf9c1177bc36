//! Which account somebody is let into whom a provider vouches for. It asks no provider.

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use secrecy::SecretString;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::email_change::EmailChange;
use crate::models::identity::{Identity, NewIdentity};
use crate::models::job::Job;
use crate::models::session::{Session, SignInMethod};
use crate::models::user::{AccountStatus, NewUser, User};
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::provider::{Person, Provider};
use crate::scalar::{DateTime, EmailAddress};
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit};
use crate::services::login::{self, TokenDelivery};
use crate::services::registration::Beginning;
use crate::services::sign_in::{self, NewSignIn, SignIn};
use crate::services::{registration, two_factor, validate};

/// How often it is tried again when somebody else was faster.
const TRIES: usize = 3;

/// Somebody whom a provider vouches for.
pub struct Arrival<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// Who it says that is.
    pub person: &'a Person,
    /// The account to which the provider is to be tied, and the session that asked for it.
    pub link_to: Option<(Uuid, Uuid)>,
    /// Keep the session for longer.
    pub remember_me: bool,
    /// How the tokens are to come back.
    pub delivery: TokenDelivery,
    /// What a trusted device shows.
    pub device_token: Option<&'a SecretString>,
}

/// What a try comes to.
enum Step {
    /// Let in.
    In(SignIn),
    /// The account is closed.
    Closed(Uuid),
    /// The address of the account is to be proved by mail.
    Unproved(EmailAddress),
    /// There is no account; one may be opened after a look at the limits.
    Stranger,
    /// Somebody else opened the account or tied the identity at the same moment.
    Again,
}

/// Lets somebody in: by the identity where it is known, else by an address that both the provider and
/// the account's owner have proved, else into a new account.
///
/// # Errors
/// `REJECTED` where the provider does not vouch for the address, registration is closed or the account has
/// another identity of this provider; `TAKEN`, `ACCOUNT_UNAVAILABLE`, `TOO_MANY_ATTEMPTS`.
pub async fn arrive(app: &App, client: &ClientInfo, arrival: &Arrival<'_>) -> Result<SignIn> {
    let mut may_open = false;
    for _ in 0..TRIES {
        let mut conn = app.db.conn().await?;
        let step = conn
            .transaction(async |conn| arrival.step(app, conn, client, may_open).await)
            .await?;
        match step {
            Step::In(sign_in) => return Ok(sign_in),
            Step::Closed(user) => {
                let account = Credentials::by_id(&mut conn, user).await?;
                drop(conn);
                if let Some(account) = account {
                    login::offer_reactivation(app, client, &account).await?;
                }
                return Err(login::unavailable());
            }
            Step::Unproved(email) => {
                let kind = VerificationKind::EmailVerification.as_str();
                let resend_available_at =
                    limits::resend_available_at(app, &mut conn, kind, &email).await?;
                return Ok(SignIn::EmailVerificationRequired {
                    resend_available_at,
                });
            }
            Step::Stranger => {
                drop(conn);
                require_open_registration(app)?;
                limits::take(app, Limit::Register, client, "").await?;
                may_open = true;
            }
            Step::Again => {}
        }
    }
    Err(Error::Unavailable)
}

impl Arrival<'_> {
    /// One try. Belongs into a transaction.
    async fn step(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        may_open: bool,
    ) -> Result<Step> {
        let known = self.identity(app, Uuid::nil()).owner(conn).await?;
        let (user, tied) = match (known, self.link_to) {
            (Some(known), Some((owner, _))) if known != owner => return Err(taken()),
            (Some(known), _) => (known, true),
            (None, Some(link_to)) => {
                self.link(app, conn, client, link_to).await?;
                (link_to.0, true)
            }
            (None, None) => match self.by_address(app, conn, client, may_open).await? {
                Ok(found) => found,
                Err(step) => return Ok(step),
            },
        };
        if let Some(sign_in) = self.admit(app, conn, client, user, tied).await? {
            return Ok(Step::In(sign_in));
        }
        // Known at the provider, and not let in: closed, or gone since.
        let account = User::lock(conn, user).await?.ok_or(Error::Unavailable)?;
        match account.status {
            AccountStatus::Active => Ok(Step::Again),
            AccountStatus::Deactivated => Ok(Step::Closed(user)),
            AccountStatus::Pending => {
                let proved = self.proved_email();
                if proved.is_none_or(|email| !email.eq_ignore_ascii_case(&account.email)) {
                    return Ok(Step::Unproved(account.email));
                }
                self.take_over(app, conn, client, &account).await?;
                let sign_in = self.admit(app, conn, client, user, true).await?;
                Ok(sign_in.map_or(Step::Again, Step::In))
            }
        }
    }

    async fn admit(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        user: Uuid,
        tied: bool,
    ) -> Result<Option<SignIn>> {
        let new = NewSignIn {
            user,
            method: SignInMethod::Provider,
            verified: None,
            rehashed: None,
            remember_me: self.remember_me,
            delivery: self.delivery,
            device_token: self.device_token,
            attempt: None,
        };
        let admitted = sign_in::admit(app, conn, client, &new).await?;
        if !tied {
            // Whoever has the mailbox alone leaves nothing behind.
            if matches!(admitted, Some(SignIn::SignedIn(_))) {
                self.tie(app, conn, client, user).await?;
            }
            return Ok(admitted);
        }
        // The account is locked now. Untied a moment ago, the identity opens it no more, and nothing of
        // this sign-in stays.
        if admitted.is_some() && !self.identity(app, user).touch(conn).await? {
            return Err(Error::Unavailable);
        }
        Ok(admitted)
    }

    /// Ties the identity to the account whose owner is signed in.
    async fn link(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        (user, session): (Uuid, Uuid),
    ) -> Result<()> {
        let now = app.now();
        let account = User::lock(conn, user).await?;
        // Ended while the person was at the provider: what ends sessions locks the account first.
        let live = Session::live_by_ids(conn, &[session], now).await?;
        if account.is_none() || live.is_empty() {
            return Err(Error::Unauthenticated);
        }
        self.tie(app, conn, client, user).await
    }

    /// Ties the identity to an account that is locked, and tells its owner.
    async fn tie(&self, app: &App, conn: &mut Conn, client: &ClientInfo, user: Uuid) -> Result<()> {
        let identity = self.identity(app, user);
        if identity.insert_if_missing(conn).await?.is_some() {
            let job = Job::ProviderLinked {
                user,
                provider: self.provider.name.clone(),
            };
            job.enqueue(conn, app.now()).await?;
            Entry::from(client, AuditAction::ProviderLinked)
                .of(user)
                .with("provider", self.provider.slug.clone())
                .record(app, conn)
                .await?;
            return Ok(());
        }
        // The other one of two sign-ins at once may have been faster. Otherwise the account is tied to
        // somebody else there: who had this address before, maybe, and it was given away since.
        if identity.owner(conn).await? == Some(user) {
            return Ok(());
        }
        Err(other_identity())
    }

    /// The account that the proved address leads to, and whether the identity is tied to it, which waits
    /// for the second factor where one is asked for; otherwise what is to be done first.
    async fn by_address(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        may_open: bool,
    ) -> Result<Result<(Uuid, bool), Step>> {
        // The same words whether or not there is an account.
        let email = self.proved_email().ok_or_else(sign_in_first)?;
        let Some(found) = User::by_email(conn, &email).await? else {
            // A new account with the address would make the link useless that undoes the move.
            let window = TimeDelta::hours(app.config.links.email_undo_hours.into());
            if EmailChange::left(conn, &email, DateTime(*app.now() - window)).await? {
                return Err(moved_away());
            }
            if !may_open {
                return Ok(Err(Step::Stranger));
            }
            let opened = self.open(app, conn, client, &email).await?;
            return Ok(opened.map(|user| (user, true)).ok_or(Step::Again));
        };
        let account = User::lock(conn, found.id).await?;
        let Some(account) = account.filter(|account| account.email.eq_ignore_ascii_case(&email))
        else {
            return Ok(Err(Step::Again));
        };
        match account.status {
            AccountStatus::Deactivated => return Ok(Err(Step::Closed(account.id))),
            AccountStatus::Pending => {
                // An administrator asks for no birth date, nor does who takes accounts in.
                if !opened_by_others(conn, account.id).await? {
                    require_no_more(app)?;
                }
                self.take_over(app, conn, client, &account).await?;
            }
            AccountStatus::Active if account.email_verified_at.is_none() => {
                return Err(sign_in_first());
            }
            AccountStatus::Active => {}
        }
        let asked_for = two_factor::asked_for(app, conn, account.id).await?;
        if asked_for.is_empty() {
            self.tie(app, conn, client, account.id).await?;
            return Ok(Ok((account.id, true)));
        }
        let present = Identity::by_users(conn, &[account.id]).await?;
        if present
            .iter()
            .any(|identity| identity.provider == self.provider.slug)
        {
            return Err(other_identity());
        }
        Ok(Ok((account.id, false)))
    }

    /// Opens an account without a password.
    async fn open(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        email: &str,
    ) -> Result<Option<Uuid>> {
        let name = self.full_name(email);
        let new = new_user(app, email, &name);
        let Some(user) =
            registration::insert_account(app, conn, &new, &Beginning::default()).await?
        else {
            return Ok(None);
        };
        Entry::from(client, AuditAction::AccountCreated)
            .of(user.id)
            .with("provider", self.provider.slug.clone())
            .record(app, conn)
            .await?;
        let tied = self.identity(app, user.id).insert_if_missing(conn).await?;
        // None: tied at the same moment to another account. Nothing of this one must stay.
        tied.map(|_| Some(user.id)).ok_or(Error::Unavailable)
    }

    /// Gives an account that waits for its address to be proved to who has proved it. Whoever registered with
    /// the address may be a stranger: nothing that they typed in counts any more.
    /// What an administrator wrote who opened the account stays, and what came from elsewhere but for the password.
    async fn take_over(
        &self,
        app: &App,
        conn: &mut Conn,
        client: &ClientInfo,
        account: &User,
    ) -> Result<()> {
        let now = app.now();
        if opened_by_others(conn, account.id).await? {
            User::clear_password(conn, account.id, now).await?;
        } else {
            let name = self.full_name(&account.email);
            let new = new_user(app, &account.email, &name);
            User::register_again(conn, account.id, &new, None, None).await?;
            User::clear_password(conn, account.id, now).await?;
            User::clear_username(conn, account.id).await?;
        }
        VerificationToken::void_all(conn, account.id, now).await?;
        User::verify_email(conn, account.id, &account.email, now).await?;
        Entry::from(client, AuditAction::EmailVerified)
            .of(account.id)
            .with("provider", self.provider.slug.clone())
            .record(app, conn)
            .await
    }

    fn identity(&self, app: &App, user: Uuid) -> NewIdentity<'_> {
        let now = app.now();
        let person = self.person;
        let email = person.email.as_deref().map(str::trim);
        let shown = person.name.as_deref().map(str::trim).or(email);
        NewIdentity {
            id: Uuid::now_v7(),
            user_id: user,
            provider: &self.provider.slug,
            issuer: &person.issuer,
            subject: &person.subject,
            // What is too long or odd is left out: it is only shown.
            display_name: shown
                .filter(|name| name.chars().count() <= 255)
                .filter(|name| validate::line(&[], name, 1, 255).is_ok()),
            email: email.filter(|email| validate::email(&[], email).is_ok()),
            linked_at: now,
            last_used_at: now,
        }
    }

    /// The address, if the provider says that it is proved and its word counts.
    fn proved_email(&self) -> Option<String> {
        let email = self.person.email.as_deref();
        email
            .filter(|_| self.person.email_verified && self.provider.trust_email)
            .and_then(|email| validate::email(&[], email).ok())
    }

    /// A name to begin with; the person can change it.
    fn full_name(&self, email: &str) -> String {
        let given = self.person.name.as_deref().unwrap_or_default();
        let given: String = given.chars().take(255).collect();
        let local = email.split('@').next().unwrap_or_default();
        [&*given, local]
            .into_iter()
            .find_map(|name| validate::full_name(&[], name).ok())
            .unwrap_or_else(|| email.to_owned())
    }
}

/// Whether an administrator opened the account for its owner, or it came from elsewhere.
async fn opened_by_others(conn: &mut Conn, user: Uuid) -> Result<bool> {
    let account = Credentials::by_id(conn, user).await?;
    Ok(account.is_some_and(|account| account.is_invited() || account.is_imported()))
}

/// An account whose address is proved, without a password.
fn new_user<'a>(app: &App, email: &'a str, full_name: &'a str) -> NewUser<'a> {
    let now = app.now();
    NewUser {
        id: Uuid::now_v7(),
        auth_token: Uuid::new_v4(),
        username: None,
        email,
        hashed_password: None,
        full_name,
        first_name: None,
        last_name: None,
        status: AccountStatus::Active,
        email_verified_at: Some(now),
        password_changed_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// # Errors
/// `REJECTED` where nobody may register, or must say more than a provider does.
fn require_open_registration(app: &App) -> Result<()> {
    if !app.config.registration.open {
        return Err(refused("Registration is closed."));
    }
    require_no_more(app)
}

/// # Errors
/// `REJECTED` where an account needs what no provider says.
fn require_no_more(app: &App) -> Result<()> {
    if app.config.registration.birth_date_required {
        return Err(refused(
            "An account needs a birth date. Register first, then link the provider.",
        ));
    }
    Ok(())
}

fn sign_in_first() -> Error {
    refused(
        "The provider does not vouch for your address. Register or sign in with a password, then link the provider.",
    )
}

fn moved_away() -> Error {
    refused(
        "An account was moved away from your address lately. The link that was mailed to you undoes that.",
    )
}

fn other_identity() -> Error {
    refused("The account is linked with somebody else at this provider. Unlink that first.")
}

fn refused(message: &str) -> Error {
    UserError::new(UserErrorCode::Rejected, message).into()
}

fn taken() -> Error {
    let message = "Another account is linked with this one of the provider.";
    UserError::new(UserErrorCode::Taken, message).into()
}
