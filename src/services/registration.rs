//! Opening an account. It never says whether an address has one already.

use async_graphql::InputObject;
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::ClientInfo;
use crate::crypto::password::Verdict;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::credentials::Credentials;
use crate::models::credentials::RegistrationClaim;
use crate::models::data_key::WrappedKey;
use crate::models::job::Job;
use crate::models::profile::{NewProfile, Profile, ProfileChanges};
use crate::models::role::Role;
use crate::models::user::{AccountStatus, NewUser, User};
use crate::models::user_import::FormerUser;
use crate::models::verification_token::{VerificationKind, VerificationToken};
use crate::scalar::{Date, DateTime};
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit};
use crate::services::password_policy::{self, Person};
use crate::services::validate::{self, Problems};
use crate::services::{data_keys, sealed};

/// A new account.
#[derive(InputObject, Clone)]
pub struct RegisterInput {
    /// Day of birth, not more than 130 years ago. The operator may make it compulsory (`REQUIRED`) and ask for a
    /// least age (`MINIMUM_AGE`).
    pub birth_date: Option<Date>,
    /// Address to sign in with, at most 254 characters; a link is mailed to it.
    pub email: String,
    /// Given name, at most 150 characters.
    pub first_name: Option<String>,
    /// Name as it is to be shown; 2 to 255 characters.
    pub full_name: String,
    /// BCP 47 tag, e.g. `de-AT`, of the language that mails are written in; `en` when left out.
    pub language: Option<String>,
    /// Family name, at most 150 characters.
    pub last_name: Option<String>,
    /// As `authOptions.passwordPolicy` says.
    #[graphql(secret)]
    pub password: String,
    /// IANA name, e.g. `Europe/Vienna`; `UTC` when left out.
    pub timezone: Option<String>,
    /// Unique, letters, digits and underscores, at most 150; null for none.
    pub username: Option<String>,
}

/// Opens an account and queues the mail that proves its address.
///
/// A taken address is no error: its owner gets a mail that says so, and the caller gets the same
/// answer after the same work. A taken username is told, for it is public.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value, `TAKEN` for the username, `TOO_MANY_ATTEMPTS` per
/// network, `REJECTED` where registration is closed.
pub async fn register(app: &App, client: &ClientInfo, input: RegisterInput) -> Result<()> {
    if !app.config.registration.open {
        return Err(UserError::new(UserErrorCode::Rejected, "Registration is closed.").into());
    }
    let form = check(app, input)?;
    limits::take(app, Limit::Register, client, "").await?;
    let hash = app.hash_password(form.password.clone()).await?;
    let pending = Credentials::pending_hash(&mut *app.db.conn().await?, &form.email).await?;
    // Always a hash more, so that its time tells nothing.
    let verdict = app
        .verify_password(form.password.clone(), pending.clone())
        .await?;
    let same = pending.filter(|_| verdict != Verdict::Wrong);
    // A mail to an address counts as one that was asked for: there is one a minute, and a few an hour.
    let kind = VerificationKind::EmailVerification.as_str();
    let due_at = limits::mail_due_at(app, client, kind, &form.email).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let new = form.new_user(&hash, AccountStatus::Pending, now);
        let opened = open_account(app, conn, &form, &new).await?;
        let (job, owner) = if let Some(user) = &opened {
            (Job::VerifyEmail { user: user.id }, user.id)
        } else {
            again(app, conn, &form, &new, same.as_deref()).await?
        };
        let opened = opened.is_some();
        // With an address that has an account it is a try, which its owner finds among the activity.
        let entry = Entry::from(client, AuditAction::AccountCreated).on(owner);
        let entry = if opened { entry } else { entry.failed() };
        entry.record(app, conn).await?;
        // A mail that comes too early waits: the link in the one before is void by now.
        let run_at = if opened { now } else { due_at };
        Ok(job.enqueue_for(conn, run_at, now).await?)
    })
    .await
}

/// A registration with an address that has an account.
///
/// Where that account was never proved, the new registration takes its place. Whoever registered before
/// or after, perhaps with somebody else's address, is not let in by the owner's click: of two different
/// passwords none is believed. Where the account is open, or others opened it for its owner, it stays as it is, and its
/// owner is told.
async fn again(
    app: &App,
    conn: &mut Conn,
    form: &Form,
    new: &NewUser<'_>,
    same: Option<&str>,
) -> Result<(Job, Uuid)> {
    let now = new.created_at;
    let owner = owner_of(conn, form, now).await?;
    // Locked, so that an address that is being proved at this moment is seen to be: nobody types a password
    // into an account that is open.
    let account = Credentials::lock(conn, owner.id).await?;
    let account = account.ok_or(Error::Unavailable)?;
    let others = account.is_invited() || account.is_imported();
    if account.status == AccountStatus::Pending && !others {
        let birth_date = match form.birth_date {
            Some(day) => {
                let key = data_keys::ensure(app, conn, owner.id).await?;
                Some(sealed::seal_birth_date(&key, day)?)
            }
            None => None,
        };
        User::register_again(conn, owner.id, new, birth_date.as_deref(), same).await?;
        // The mail is for who registers now, in their language.
        let changes = ProfileChanges {
            timezone: Some(form.timezone.clone().unwrap_or_else(|| "UTC".to_owned())),
            language: Some(form.language.clone().unwrap_or_else(|| "en".to_owned())),
            ..ProfileChanges::default()
        };
        Profile::update(conn, owner.id, &changes, None, now).await?;
        VerificationToken::void(conn, owner.id, VerificationKind::EmailVerification, now).await?;
        return Ok((Job::VerifyEmail { user: owner.id }, owner.id));
    }
    if let Some(hash) = new.hashed_password {
        RegistrationClaim::put(conn, owner.id, hash, now).await?;
    }
    if others {
        // As the administrator opened it, or as it came from elsewhere, roles among it. The mail's link, not what was
        // typed in here, opens the account; the password that came along is believed no more than another.
        if account.is_imported() {
            User::contest(conn, owner.id, same).await?;
        }
        return Ok((Job::VerifyEmail { user: owner.id }, owner.id));
    }
    Ok((Job::AlreadyRegistered { user: owner.id }, owner.id))
}

/// Opens an account whose address the operator vouches for, with the role `admin` where asked.
///
/// # Errors
/// As [`register`], and `TAKEN` for the address too: whoever calls this sees the database anyway.
pub async fn create_by_operator(app: &App, input: RegisterInput, admin: bool) -> Result<User> {
    let form = check(app, input)?;
    let hash = app.hash_password(form.password.clone()).await?;
    let now = app.now();
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        let Some(user) = open_account(
            app,
            conn,
            &form,
            &form.new_user(&hash, AccountStatus::Active, now),
        )
        .await?
        else {
            owner_of(conn, &form, now).await?;
            return Err(UserError::at(
                UserErrorCode::Taken,
                &["input", "email"],
                "This address has an account.",
            )
            .into());
        };
        if admin {
            let role = Role::by_name(conn, Role::ADMIN)
                .await?
                .ok_or_else(|| anyhow::anyhow!("there is no role admin"))?;
            Role::assign(conn, role.id, user.id, None, now).await?;
        }
        let entry = Entry::server(AuditAction::AccountCreated).on(user.id);
        entry.with("admin", admin).record(app, conn).await?;
        Ok::<_, Error>(user)
    })
    .await
}

/// A form that passed every check.
struct Form {
    email: String,
    username: Option<String>,
    password: secrecy::SecretString,
    full_name: String,
    first_name: Option<String>,
    last_name: Option<String>,
    birth_date: Option<Date>,
    timezone: Option<String>,
    language: Option<String>,
}

fn check(app: &App, input: RegisterInput) -> Result<Form> {
    let mut problems = Problems::default();
    let config = &app.config.registration;
    let email = problems.take(validate::email(&["input", "email"], &input.email));
    let full_name = problems.take(validate::full_name(
        &["input", "fullName"],
        &input.full_name,
    ));
    let mut optional = |value: Option<String>,
                        check: fn(&[&str], &str) -> Result<String, UserError>,
                        field: &str| {
        value.and_then(|value| problems.take(check(&["input", field], &value)))
    };
    let username = optional(input.username, validate::username, "username");
    let timezone = optional(input.timezone, validate::timezone, "timezone");
    let language = optional(input.language, validate::language, "language");
    let mut part = |value: Option<String>, field: &str| {
        value.and_then(|value| {
            problems
                .take(validate::part_of_name(&["input", field], &value))
                .flatten()
        })
    };
    let first_name = part(input.first_name, "firstName");
    let last_name = part(input.last_name, "lastName");
    let path = ["input", "birthDate"];
    let birth_date = input.birth_date.and_then(|day| {
        problems.take(validate::birth_date(
            &path,
            day,
            app.now().date_naive(),
            config,
        ))
    });
    if config.birth_date_required && input.birth_date.is_none() {
        problems.add(UserError::invalid(
            &path,
            "REQUIRED",
            (None, None),
            "A birth date is needed.",
        ));
    }
    let about = Person {
        email: email.as_deref(),
        username: username.as_deref(),
        full_name: full_name.as_deref(),
        first_name: first_name.as_deref(),
        last_name: last_name.as_deref(),
    };
    let path = ["input", "password"];
    for problem in password_policy::check(&app.config, &path, &input.password, &about) {
        problems.add(problem);
    }
    problems.finish()?;
    let (Some(email), Some(full_name)) = (email, full_name) else {
        return Err(anyhow::anyhow!("a form without problems has its compulsory values").into());
    };
    let password = input.password.into();
    Ok(Form {
        email,
        username,
        password,
        full_name,
        first_name,
        last_name,
        birth_date,
        timezone,
        language,
    })
}

impl Form {
    fn new_user<'a>(&'a self, hash: &'a str, status: AccountStatus, now: DateTime) -> NewUser<'a> {
        NewUser {
            id: Uuid::now_v7(),
            auth_token: Uuid::new_v4(),
            username: self.username.as_deref(),
            email: &self.email,
            hashed_password: Some(hash),
            full_name: &self.full_name,
            first_name: self.first_name.as_deref(),
            last_name: self.last_name.as_deref(),
            status,
            email_verified_at: (status == AccountStatus::Active).then_some(now),
            password_changed_at: Some(now),
            created_at: now,
            updated_at: now,
        }
    }
}

/// Writes the account, its profile and its default roles; `None` where address or username is in
/// use.
///
/// # Errors
/// `TAKEN` for a username that is kept for somebody.
async fn open_account(
    app: &App,
    conn: &mut Conn,
    form: &Form,
    new: &NewUser<'_>,
) -> Result<Option<User>> {
    if let Some(username) = &form.username
        && User::is_reserved(conn, username, None).await?
    {
        return Err(username_taken().into());
    }
    let beginning = Beginning {
        birth_date: form.birth_date,
        timezone: form.timezone.as_deref(),
        language: form.language.as_deref(),
    };
    insert_account(app, conn, new, &beginning).await
}

/// What an account says of itself from the beginning.
#[derive(Default, Debug)]
pub struct Beginning<'a> {
    /// Day of birth.
    pub birth_date: Option<Date>,
    /// IANA name; the database's default where there is none.
    pub timezone: Option<&'a str>,
    /// BCP 47 tag; the database's default where there is none.
    pub language: Option<&'a str>,
}

/// Writes an account, its data key, its profile and its default roles; `None` where address or username is in
/// use.
///
/// # Errors
/// If the database refuses.
pub async fn insert_account(
    app: &App,
    conn: &mut Conn,
    new: &NewUser<'_>,
    beginning: &Beginning<'_>,
) -> Result<Option<User>> {
    // At once, so that what is sealed for the account later is no more work than for another.
    let (key, wrapped_key) = data_keys::new(app, new.id)?;
    let birth_date = beginning.birth_date;
    let birth_date = birth_date.map(|day| sealed::seal_birth_date(&key, day));
    let birth_date = birth_date.transpose()?;
    let Some(user) = new.insert_if_missing(conn, birth_date.as_deref()).await? else {
        return Ok(None);
    };
    let now = new.created_at;
    WrappedKey::insert_missing(conn, &[wrapped_key], now).await?;
    let profile = NewProfile {
        user_id: user.id,
        timezone: beginning.timezone,
        language: beginning.language,
        created_at: now,
        updated_at: now,
    };
    profile.insert(conn).await?;
    Role::assign_defaults(conn, user.id, now).await?;
    Ok(Some(user))
}

/// Writes several accounts with their data keys as [`insert_account`] writes one; `false` where an address, a username or a UUID is in
/// use, and nothing may be kept then.
///
/// # Errors
/// If the database refuses.
pub async fn insert_accounts(
    app: &App,
    conn: &mut Conn,
    new: &[FormerUser<'_>],
    keys: &[WrappedKey],
) -> Result<bool> {
    let ids = FormerUser::insert_missing(conn, new).await?;
    if ids.len() < new.len() {
        return Ok(false);
    }
    let now = app.now();
    let profile = |former: &FormerUser<'_>| NewProfile {
        user_id: former.user.id,
        timezone: None,
        language: None,
        created_at: former.user.created_at,
        updated_at: now,
    };
    let profiles: Vec<_> = new.iter().map(profile).collect();
    NewProfile::insert_all(conn, &profiles).await?;
    Role::assign_defaults_to_all(conn, &ids, now).await?;
    WrappedKey::insert_missing(conn, keys, now).await?;
    Ok(true)
}

/// The account that has the form's address already. The username that was asked for is kept for
/// it: were it free afterwards, that alone would tell that the address was in use.
///
/// # Errors
/// `TAKEN` where it is the username that is in use.
async fn owner_of(conn: &mut Conn, form: &Form, now: DateTime) -> Result<User> {
    let username = form.username.as_deref();
    if let Some(username) = username
        && User::by_username(conn, username).await?.is_some()
    {
        return Err(username_taken().into());
    }
    // None: erased between the two statements; the caller may simply try again.
    let owner = User::by_email(conn, &form.email)
        .await?
        .ok_or(Error::Unavailable)?;
    // Those before, too: an account that waits in vain, in place of this one, would keep its name as long.
    User::reserve(conn, username, owner.id, now).await?;
    Ok(owner)
}

/// What is said of a username that somebody has or that is kept for somebody.
#[must_use]
pub fn username_taken() -> UserError {
    UserError::at(
        UserErrorCode::Taken,
        &["input", "username"],
        "This user name is taken.",
    )
}
