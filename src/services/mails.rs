//! What becomes of queued mails: their tokens are made and they are handed over when their job runs.

use chrono::TimeDelta;
use diesel_async::AsyncConnection as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;
use crate::config::Page;
use crate::crypto::token::PlainToken;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::mail::{Mail, Recipient};
use crate::models::credentials::Credentials;
use crate::models::email_change::EmailChange;
use crate::models::job::Job;
use crate::models::profile::Profile;
use crate::models::session::Session;
use crate::models::user::{AccountStatus, ClosedBy, User};
use crate::models::verification_token::{NewVerificationToken, VerificationKind};
use crate::scalar::{Date, DateTime, EmailAddress};
use crate::services::{closing_mails, data_keys, sealed};
use crate::traces::TARGET;

/// The prefix of mailed tokens.
const TOKEN_PREFIX: &str = "crv";

/// Carries a job out: makes its token, renders its mail and sends it.
///
/// A job whose reason is gone (the address is proved, the account erased) does nothing.
///
/// # Errors
/// If the database cannot answer or the mail cannot be handed over; the job can be run again.
pub async fn carry_out(app: &App, job: &Job, id: Uuid) -> Result<()> {
    let Some((recipient, mail)) = prepare(app, job).await? else {
        return Ok(());
    };
    let message = mail.render(&app.config, &recipient, id)?;
    let span = tracing::info_span!(target: TARGET, "mail.send", otel.kind = "client");
    Ok(app.mailer.send(message).instrument(span).await?)
}

/// What is said of a mailed token that is not good.
#[must_use]
pub fn token_rejected() -> Error {
    let message = "This link is unknown, used up or past its end. Ask for a new one.";
    UserError::at(UserErrorCode::TokenRejected, &["input", "token"], message).into()
}

/// As [`token_rejected`]. Where somebody is signed in, the link may be for another account, and stay good.
#[must_use]
pub fn token_rejected_for(signed_in: Option<Uuid>) -> Error {
    if signed_in.is_none() {
        return token_rejected();
    }
    let message = "This link is unknown, used up or past its end, or for another account: sign out and open it again.";
    UserError::at(UserErrorCode::TokenRejected, &["input", "token"], message).into()
}

/// Whom a job is about, and what to write them.
async fn prepare(app: &App, job: &Job) -> Result<Option<(Recipient, Mail)>> {
    use VerificationKind::Invitation;
    // Whoever was invited chooses a password by the mailed link, and proves the address by that: whatever they
    // asked for is another invitation.
    if let Job::VerifyEmail { user } | Job::ResetPassword { user } = *job {
        let hours = app.config.links.invitation_hours;
        let sent = tokened(app, user, Invitation, hours, Owner::is_invited).await?;
        if let Some((recipient, link)) = sent {
            return Ok(Some((recipient, Mail::Invitation { link, hours })));
        }
    }
    about(app, job).await
}

/// Whom a job is about, as if nobody were invited.
async fn about(app: &App, job: &Job) -> Result<Option<(Recipient, Mail)>> {
    use VerificationKind::{AccountReactivation, EmailVerification, PasswordReset};
    match *job {
        Job::VerifyEmail { user } => {
            let pending: fn(&Owner) -> bool = |user| user.status() == AccountStatus::Pending;
            let hours = app.config.registration.verification_hours;
            let sent = tokened(app, user, EmailVerification, hours, pending).await?;
            Ok(sent.map(|(recipient, link)| (recipient, Mail::VerifyEmail { link, hours })))
        }
        Job::ResetPassword { user } => {
            let hours = app.config.links.recovery_hours;
            let open: fn(&Owner) -> bool = |user| user.status() != AccountStatus::Deactivated;
            let sent = tokened(app, user, PasswordReset, hours, open).await?;
            if let Some((recipient, link)) = sent {
                return Ok(Some((recipient, Mail::ResetPassword { link, hours })));
            }
            // Whoever asks for a password of an account that they closed wants it back.
            let sent = tokened(app, user, AccountReactivation, hours, Owner::may_reopen).await?;
            Ok(sent.map(|(recipient, link)| (recipient, Mail::ReactivateAccount { link, hours })))
        }
        Job::ReactivateAccount { user } => {
            let hours = app.config.links.recovery_hours;
            let sent = tokened(app, user, AccountReactivation, hours, Owner::may_reopen).await?;
            Ok(sent.map(|(recipient, link)| (recipient, Mail::ReactivateAccount { link, hours })))
        }
        Job::AccountClosed { user } => closing_mails::account_closed(app, user).await,
        Job::ErasureScheduled { user } => closing_mails::erasure_scheduled(app, user).await,
        Job::ErasureCancelled { user } => {
            notify(app, user, Mail::ErasureCancelled, closing_mails::is_kept).await
        }
        Job::ErasureImpossible { user } => {
            notify(app, user, Mail::ErasureImpossible, closing_mails::is_kept).await
        }
        Job::InactivityWarning { user, number } => {
            closing_mails::inactivity_warning(app, user, number).await
        }
        Job::ConfirmEmailChange { change, .. } => confirm_email_change(app, change).await,
        Job::EmailChanged { user, change } => email_changed(app, user, change).await,
        Job::AlreadyRegistered { user } => {
            notify(app, user, Mail::AlreadyRegistered, |_| true).await
        }
        Job::EmailChangeUndone { user } => {
            let hours = app.config.links.recovery_hours;
            let open: fn(&Owner) -> bool = |user| user.status() == AccountStatus::Active;
            let sent = tokened(app, user, PasswordReset, hours, open).await?;
            if let Some((recipient, link)) = sent {
                let link = Some(link);
                return Ok(Some((recipient, Mail::EmailChangeUndone { link, hours })));
            }
            let notice = Mail::EmailChangeUndone { link: None, hours };
            notify(app, user, notice, |_| true).await
        }
        Job::PasswordChanged { user } => {
            let forgot_link = app.config.forgot_password_link();
            notify(app, user, Mail::PasswordChanged { forgot_link }, |_| true).await
        }
        Job::PasskeyAdded { user } => {
            let forgot_link = app.config.forgot_password_link();
            notify(app, user, Mail::PasskeyAdded { forgot_link }, |_| true).await
        }
        Job::PasskeyRemoved { user } => {
            let forgot_link = app.config.forgot_password_link();
            notify(app, user, Mail::PasskeyRemoved { forgot_link }, |_| true).await
        }
        Job::SessionReuse { user } => notify(app, user, Mail::SessionReuse, |_| true).await,
        Job::AccountReopened { user } => {
            let open = |user: &User| user.status == AccountStatus::Active;
            notify(app, user, Mail::AccountReopened, open).await
        }
        Job::NewDevice { user, session } => new_device(app, user, session).await,
        Job::TwoFactorEnabled { user } => notify(app, user, Mail::TwoFactorEnabled, |_| true).await,
        Job::TwoFactorDisabled { user } => {
            notify(app, user, Mail::TwoFactorDisabled, |_| true).await
        }
        Job::TwoFactorReset { user } => notify(app, user, Mail::TwoFactorReset, |_| true).await,
        Job::RecoveryCodesReplaced { user } => {
            notify(app, user, Mail::RecoveryCodesReplaced, |_| true).await
        }
        Job::RecoveryCodeUsed { user, left } => {
            notify(app, user, Mail::RecoveryCodeUsed { left }, |_| true).await
        }
        Job::WrongCodes { user } => {
            let forgot_link = app.config.forgot_password_link();
            notify(app, user, Mail::WrongCodes { forgot_link }, |_| true).await
        }
        Job::PasswordExpires { user } => password_expires(app, user).await,
        Job::ProviderLinked { user, ref provider } => {
            let provider = provider.clone();
            notify(app, user, Mail::ProviderLinked { provider }, |_| true).await
        }
        Job::ProviderUnlinked { user, ref provider } => {
            let provider = provider.clone();
            notify(app, user, Mail::ProviderUnlinked { provider }, |_| true).await
        }
    }
}

/// An account with what decides whether it gets a token.
pub(super) struct Owner(User, Credentials);

impl Owner {
    fn status(&self) -> AccountStatus {
        self.0.status
    }

    fn is_invited(&self) -> bool {
        self.1.is_invited()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.status() == AccountStatus::Deactivated
            && self.1.closed_by == Some(ClosedBy::Inactivity)
    }

    pub(super) fn is_unused_and_erased(&self) -> bool {
        self.is_unused() && self.0.erases_at.is_some()
    }

    pub(super) fn may_reopen(&self) -> bool {
        self.status() == AccountStatus::Deactivated && self.1.closed_by != Some(ClosedBy::Admin)
    }
}

/// A new token for an account, in a link, if `may` says that it gets one. The older tokens of its kind end.
pub(super) async fn tokened(
    app: &App,
    user: Uuid,
    kind: VerificationKind,
    hours: u32,
    may: fn(&Owner) -> bool,
) -> Result<Option<(Recipient, String)>> {
    let expires_at = DateTime(*app.now() + TimeDelta::hours(hours.into()));
    let mut conn = app.db.conn().await?;
    let made = conn
        .transaction(async |conn| {
            // Locked, so that of two mails at once only the second holds a live token.
            let user = User::lock(conn, user).await?;
            let Some(user) = user else { return Ok(None) };
            let credentials = Credentials::by_id(conn, user.id).await?;
            let owner = credentials.map(|credentials| Owner(user, credentials));
            let Some(Owner(user, _)) = owner.filter(may) else {
                return Ok(None);
            };
            let token = new_token(app, conn, user.id, &user.email, kind, expires_at).await?;
            Ok::<_, Error>(Some((user, token)))
        })
        .await?;
    let Some((user, token)) = made else {
        return Ok(None);
    };
    let page = match kind {
        VerificationKind::PasswordReset => Page::ResetPassword,
        VerificationKind::Invitation => Page::AcceptInvitation,
        VerificationKind::EmailVerification => Page::VerifyEmail,
        VerificationKind::EmailChange | VerificationKind::EmailChangeUndo => {
            Page::ConfirmEmailChange
        }
        VerificationKind::AccountReactivation => Page::ReactivateAccount,
    };
    let link = app.config.link(page, token.expose());
    let recipient = recipient(&mut conn, user).await?;
    Ok(Some((recipient, link)))
}

/// Makes a token in place of the older ones of its kind. Belongs into a transaction.
///
/// # Errors
/// If the database refuses.
pub async fn new_token(
    app: &App,
    conn: &mut Conn,
    user: Uuid,
    email: &EmailAddress,
    kind: VerificationKind,
    expires_at: DateTime,
) -> Result<PlainToken> {
    let token = PlainToken::generate(TOKEN_PREFIX);
    let new = NewVerificationToken {
        id: Uuid::now_v7(),
        user_id: user,
        token_hash: token.hash(),
        kind,
        email,
        expires_at,
        created_at: app.now(),
    };
    new.replace(conn).await?;
    Ok(token)
}

/// Whom a mail to the account is for, and how they want to read it.
pub(super) async fn recipient(conn: &mut Conn, user: User) -> Result<Recipient> {
    let profile = Profile::by_users(conn, &[user.id]).await?.pop();
    let (language, timezone) = profile
        .map(|profile| (profile.language, profile.timezone))
        .unwrap_or_default();
    // Whoever typed an address in that was never proved could write to its owner by the name.
    let proved = user.email_verified_at.is_some();
    Ok(Recipient {
        name: if proved {
            user.full_name
        } else {
            String::new()
        },
        email: user.email.0,
        language,
        timezone,
    })
}

/// A mail without a token, while `still` holds of the account.
pub(super) async fn notify(
    app: &App,
    user: Uuid,
    mail: Mail,
    still: fn(&User) -> bool,
) -> Result<Option<(Recipient, Mail)>> {
    let mut conn = app.db.conn().await?;
    let user = User::by_ids(&conn, &[user]).await?.pop();
    match user.filter(still) {
        Some(user) => Ok(Some((recipient(&mut conn, user).await?, mail))),
        None => Ok(None),
    }
}

async fn confirm_email_change(app: &App, change: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let hours = app.config.links.recovery_hours;
    let expires_at = DateTime(*app.now() + TimeDelta::hours(hours.into()));
    let mut conn = app.db.conn().await?;
    let made = conn
        .transaction(async |conn| {
            let Some(change) = EmailChange::by_id(conn, change).await? else {
                return Ok(None);
            };
            let (id, email) = (change.user_id, change.new_email);
            let user = User::lock(conn, id).await?;
            let active = user.filter(|user| user.status == AccountStatus::Active);
            let (Some(user), None) = (active, change.confirmed_at) else {
                return Ok(None);
            };
            let other = User::by_email(conn, &email).await?;
            if let Some(other) = other.filter(|other| other.status != AccountStatus::Pending) {
                return Ok(Some((other, None)));
            }
            let kind = VerificationKind::EmailChange;
            let token = new_token(app, conn, id, &email, kind, expires_at).await?;
            Ok::<_, Error>(Some((User { email, ..user }, Some(token))))
        })
        .await?;
    let Some((user, token)) = made else {
        return Ok(None);
    };
    let recipient = recipient(&mut conn, user).await?;
    Ok(Some(match token {
        Some(token) => {
            let link = app.config.link(Page::ConfirmEmailChange, token.expose());
            (recipient, Mail::ConfirmEmailChange { link, hours })
        }
        None => (recipient, Mail::AddressInUse),
    }))
}

async fn email_changed(app: &App, user: Uuid, change: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let hours = app.config.links.email_undo_hours;
    let expires_at = DateTime(*app.now() + TimeDelta::hours(hours.into()));
    let mut conn = app.db.conn().await?;
    let made = conn
        .transaction(async |conn| {
            let Some(user) = User::lock(conn, user).await? else {
                return Ok(None);
            };
            // Gone when it was undone: who holds the mailbox on the other side of it could otherwise
            // refuse the mail until then, and get the link with a later try.
            let change = EmailChange::by_id(conn, change).await?;
            let moved = change.and_then(|change| Some((change.confirmed_at?, change)));
            let Some((confirmed_at, change)) = moved else {
                return Ok(None);
            };
            let token = PlainToken::generate(TOKEN_PREFIX);
            let new = NewVerificationToken {
                id: Uuid::now_v7(),
                user_id: user.id,
                token_hash: token.hash(),
                kind: VerificationKind::EmailChangeUndo,
                email: &change.old_email,
                expires_at,
                // Which of two moves came first decides what undoes what, not which mail did.
                created_at: confirmed_at,
            };
            // Beside the others: what undoes one move says nothing about another one.
            new.insert(conn).await?;
            Ok::<_, Error>(Some((user, change, token)))
        })
        .await?;
    let Some((user, change, token)) = made else {
        return Ok(None);
    };
    let link = app.config.link(Page::ConfirmEmailChange, token.expose());
    let email = change.old_email;
    let recipient = recipient(&mut conn, User { email, ..user }).await?;
    let mail = Mail::EmailChanged {
        new_email_masked: masked(&change.new_email),
        link,
        hours,
    };
    Ok(Some((recipient, mail)))
}

async fn new_device(app: &App, user: Uuid, session: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let (session, key) = {
        let mut conn = app.db.conn().await?;
        let session = Session::by_id(&mut conn, session).await?;
        (session, data_keys::find(app, &mut conn, user).await?)
    };
    let (Some(session), Some(key)) = (session, key) else {
        return Ok(None);
    };
    let mail = Mail::NewDevice {
        at: session.created_at,
        ip: sealed::open_ip_address(&key, &session)?.unwrap_or_default(),
        user_agent: sealed::open_user_agent(&key, &session)?,
    };
    notify(app, user, mail, |_| true).await
}

async fn password_expires(app: &App, user: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let Some(age) = app.config.password_policy().maximum_age() else {
        return Ok(None);
    };
    let credentials = Credentials::by_id(&mut *app.db.conn().await?, user).await?;
    let changed = credentials.and_then(|credentials| credentials.password_changed_at);
    let Some(changed) = changed else {
        return Ok(None);
    };
    let ends = *changed + age;
    let days = (ends - *app.now()).num_days();
    let on = Date(ends.date_naive());
    let active = |user: &User| user.status == AccountStatus::Active;
    notify(app, user, Mail::PasswordExpires { days, on }, active).await
}

/// An address that its owner knows again and nobody else can read: `a***@example.org`.
fn masked(email: &str) -> String {
    let (local, domain) = email.split_once('@').unwrap_or((email, ""));
    let first: String = local.chars().take(1).collect();
    format!("{first}***@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_address_shows_its_first_letter_and_its_domain() {
        assert_eq!(masked("ada@example.org"), "a***@example.org");
        assert_eq!(masked("a@example.org"), "a***@example.org");
    }
}
