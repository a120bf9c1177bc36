//! The mails before an account goes: that it is not used, was closed for that, or will be erased.

use chrono::TimeDelta;
use uuid::Uuid;

use crate::app::App;
use crate::error::Result;
use crate::mail::{Mail, Recipient};
use crate::models::retention as warnings;
use crate::models::user::{AccountStatus, User};
use crate::models::verification_token::VerificationKind;
use crate::scalar::{Date, DateTime};
use crate::services::mails::{Owner, notify, recipient, tokened};
use crate::services::retention;

/// Tells of an account that was closed, and how to open it where that is its owner's to do.
pub(super) async fn account_closed(app: &App, user: Uuid) -> Result<Option<(Recipient, Mail)>> {
    if let Some(sent) = closed_unused(app, user).await? {
        return Ok(Some(sent));
    }
    let hours = app.config.links.recovery_hours;
    let kind = VerificationKind::AccountReactivation;
    let sent = tokened(app, user, kind, hours, Owner::may_reopen).await?;
    if let Some((recipient, link)) = sent {
        let link = Some(link);
        return Ok(Some((recipient, Mail::AccountClosed { link, hours })));
    }
    let closed = |user: &User| user.status == AccountStatus::Deactivated;
    let notice = Mail::AccountClosed { link: None, hours };
    notify(app, user, notice, closed).await
}

/// Tells of an account that was closed because nobody used it; `None` for any other.
async fn closed_unused(app: &App, user: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let hours = app.config.links.recovery_hours;
    let kind = VerificationKind::AccountReactivation;
    let sent = tokened(app, user, kind, hours, Owner::is_unused).await?;
    Ok(sent.map(|(recipient, link)| {
        let erased_on = retention::erased_after_closing(app).map(|wait| day(app.now(), wait));
        let mail = Mail::AccountClosedUnused {
            link,
            hours,
            erased_on,
        };
        (recipient, mail)
    }))
}

pub(super) async fn erasure_scheduled(app: &App, user: Uuid) -> Result<Option<(Recipient, Mail)>> {
    let found = User::by_ids(&*app.db.conn().await?, &[user]).await?;
    let found = found.into_iter().next();
    let Some((status, at)) = found.and_then(|user| Some((user.status, user.erases_at?))) else {
        return Ok(None);
    };
    let hours = app.config.links.recovery_hours;
    let kind = VerificationKind::AccountReactivation;
    let sent = tokened(app, user, kind, hours, Owner::is_unused_and_erased).await?;
    if let Some((recipient, link)) = sent {
        let link = Some(link);
        return Ok(Some((
            recipient,
            Mail::ErasureScheduled { at, link, hours },
        )));
    }
    // Nothing is written to an address that nobody proved.
    let still = |user: &User| user.erases_at.is_some() && user.email_verified_at.is_some();
    let mail = if status == AccountStatus::Deactivated {
        Mail::ErasureOfClosedAccount { at }
    } else {
        let link = None;
        Mail::ErasureScheduled { at, link, hours }
    };
    notify(app, user, mail, still).await
}

pub(super) fn is_kept(user: &User) -> bool {
    user.erases_at.is_none()
}

pub(super) async fn inactivity_warning(
    app: &App,
    user: Uuid,
    number: i16,
) -> Result<Option<(Recipient, Mail)>> {
    let (conn, at) = (&mut *app.db.conn().await?, app.now());
    if !warnings::note_sent(conn, user, number, at).await? {
        return Ok(None);
    }
    let Some(user) = User::by_ids(conn, &[user]).await?.pop() else {
        return Ok(None);
    };
    let closing = retention::closed_after_warning(app, number);
    let erasing = closing.zip(retention::erased_after_closing(app));
    let mail = Mail::InactivityWarning {
        last_used_on: day(
            user.last_login_at.unwrap_or(user.created_at),
            TimeDelta::zero(),
        ),
        closed_on: closing.map(|wait| day(at, wait)),
        erased_on: erasing.map(|(closing, erasing)| day(at, closing + erasing)),
    };
    let still = |user: &User| user.status == AccountStatus::Active && user.erases_at.is_none();
    if !still(&user) {
        return Ok(None);
    }
    Ok(Some((recipient(conn, user).await?, mail)))
}

fn day(at: DateTime, later: TimeDelta) -> Date {
    Date((*at + later).date_naive())
}
