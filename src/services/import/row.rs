//! A row that names one account, and the rules that it has to keep. It asks no database.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use async_graphql::InputObject;
use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::crypto::foreign_hash::{ForeignHash, Refusal};
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::background::BackgroundChanges;
use crate::models::data_key::WrappedKey;
use crate::models::personalization::PersonalizationChanges;
use crate::models::user::{AccountStatus, ClosedBy, NewUser};
use crate::models::user_import::FormerUser;
use crate::scalar::{Date, DateTime};
use crate::services::background::{self, UpdateBackgroundInput};
use crate::services::personalization::{self, UpdatePersonalizationInput};
use crate::services::profile::{Changes, UpdateProfileInput};
use crate::services::validate::{self, Problems};
use crate::services::{data_keys, sealed};

/// Most roles that a row names.
const MOST_ROLES: usize = 50;

/// One account to take in; the address is the key. Of an account that is there, only names, birth date and roles
/// that it lacks are filled in.
#[derive(InputObject, Clone, Serialize)]
pub struct ImportUserRow {
    /// Day of birth, not more than 130 years ago.
    pub birth_date: Option<Date>,
    /// When the account came into being: between 1970 and now; now when left out.
    pub created_at: Option<DateTime>,
    /// Address to sign in with.
    pub email: String,
    /// The other system has proved the address. A new account whose address was not is `PENDING` until it is;
    /// `resendVerification` mails a link. Needs `admin:system`.
    #[graphql(default = false)]
    pub email_verified: bool,
    /// Given name, at most 150 characters.
    pub first_name: Option<String>,
    /// Name as it is to be shown; 2 to 255 characters.
    pub full_name: String,
    /// False opens a new account as a closed one, which only an administrator opens again.
    #[graphql(default = true)]
    pub is_active: bool,
    /// Family name, at most 150 characters.
    pub last_name: Option<String>,
    /// A hash as the old system kept it: argon2, bcrypt, scrypt, or Django's `pbkdf2_sha256`. Replaced at the next
    /// sign-in. Needs `admin:system`.
    #[graphql(secret)]
    pub password_hash: Option<String>,
    /// Roles beside those that every new account gets, by name; at most 50, none that grants what the caller does
    /// not hold.
    pub role_names: Option<Vec<String>>,
    /// Unique, letters, digits and underscores, at most 150; null for none.
    pub username: Option<String>,
    /// Keeps the identifier that other systems already know (`User.uuid`). Needs `admin:system`.
    pub uuid: Option<Uuid>,
}

/// What else the command takes in; all of it for new accounts only.
#[derive(Default)]
pub struct Former {
    /// The password itself, where the old system kept it so.
    pub password: Option<SecretString>,
    /// Most recent sign-in.
    pub last_login_at: Option<DateTime>,
    /// When coaching began.
    pub coaching_start_date: Option<DateTime>,
    /// Most recent coaching session.
    pub last_coaching_session: Option<DateTime>,
    /// When the account was closed.
    pub closed_at: Option<DateTime>,
    /// Its owner closed it, and may open it again.
    pub closed_by_owner: bool,
    /// What `updateProfile` takes.
    pub profile: Option<Box<UpdateProfileInput>>,
    /// What `updateBackground` takes.
    pub background: Option<Box<UpdateBackgroundInput>>,
    /// What `updatePersonalization` takes.
    pub personalization: Option<Box<UpdatePersonalizationInput>>,
}

/// A row as it was read.
pub struct Row {
    /// What every row has.
    pub user: ImportUserRow,
    /// What the other system knows besides.
    pub former: Former,
}

/// A row that passed every check.
pub struct Checked {
    pub(super) email: String,
    pub(super) full_name: String,
    pub(super) username: Option<String>,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) birth_date: Option<Date>,
    pub(super) role_names: Vec<String>,
    pub(super) uuid: Option<Uuid>,
    pub(super) changes: Option<Changes>,
    pub(super) background: Option<BackgroundChanges>,
    pub(super) personalization: Option<PersonalizationChanges>,
    password_hash: Option<String>,
    status: AccountStatus,
    verified: bool,
    created_at: Option<DateTime>,
    last_login_at: Option<DateTime>,
    coaching_start_date: Option<DateTime>,
    last_coaching_session: Option<DateTime>,
    closed_at: Option<DateTime>,
    closed_by_owner: bool,
}

/// Checks a row.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value. The policy for passwords is for new ones; a hash is taken whatever
/// it is of, as long as it can be verified.
pub fn check(app: &App, row: &Row) -> Result<Checked, Vec<UserError>> {
    let (user, former) = (&row.user, &row.former);
    let mut problems = Problems::default();
    let email = problems.take(validate::email(&["input", "email"], &user.email));
    let full_name = problems.take(validate::full_name(&["input", "fullName"], &user.full_name));
    let username = user.username.as_deref();
    let username =
        username.and_then(|name| problems.take(validate::username(&["input", "username"], name)));
    let mut part = |name: &Option<String>, field: &str| {
        let checked = validate::part_of_name(&["input", field], name.as_deref()?);
        problems.take(checked).flatten()
    };
    let first_name = part(&user.first_name, "firstName");
    let last_name = part(&user.last_name, "lastName");
    let now = app.now();
    let birth_date = user.birth_date.and_then(|day| {
        let config = &app.config.registration;
        let path = ["input", "birthDate"];
        problems.take(validate::birth_date(&path, day, now.date_naive(), config))
    });
    if let Some(hash) = &user.password_hash {
        problems.take(verifiable(hash));
    }
    for (field, at) in [
        ("createdAt", user.created_at),
        ("lastLoginAt", former.last_login_at),
        ("coachingStartDate", former.coaching_start_date),
        ("lastCoachingSession", former.last_coaching_session),
        ("closedAt", former.closed_at),
    ] {
        if at.is_some_and(|at| at.timestamp() < 0 || at > now) {
            let (path, message) = (["input", field], "Between 1970 and now.");
            problems.add(UserError::invalid(&path, "RANGE", (None, None), message));
        }
    }
    if user.uuid.is_some_and(|uuid| uuid.is_nil() || uuid.is_max()) {
        problems.add(UserError::format(
            &["input", "uuid"],
            "A UUID of one account.",
        ));
    }
    let mut role_names = user.role_names.clone().unwrap_or_default();
    if role_names.len() > MOST_ROLES {
        let (path, bounds) = (["input", "roleNames"], (None, Some(MOST_ROLES)));
        problems.add(UserError::invalid(
            &path,
            "LIST_LENGTH",
            bounds,
            "At most 50 roles.",
        ));
        role_names.clear();
    }
    let changes = former.profile.as_deref();
    let changes = changes.map(|input| Changes::of(app, input, &mut problems));
    let background = former.background.as_deref();
    let background = background.map(|input| background::changes(input, &mut problems));
    let taste = former.personalization.as_deref();
    let personalization = taste.map(|input| personalization::changes(input, &mut problems));
    let (Ok(()), Some(email), Some(full_name)) = (finish(problems)?, email, full_name) else {
        return Err(Vec::new());
    };
    Ok(Checked {
        email,
        full_name,
        username,
        first_name,
        last_name,
        birth_date,
        role_names,
        uuid: user.uuid,
        changes,
        background,
        personalization,
        password_hash: user.password_hash.clone(),
        status: match (user.is_active, user.email_verified) {
            (false, _) => AccountStatus::Deactivated,
            (true, true) => AccountStatus::Active,
            (true, false) => AccountStatus::Pending,
        },
        verified: user.email_verified,
        created_at: user.created_at,
        last_login_at: former.last_login_at,
        coaching_start_date: former.coaching_start_date,
        last_coaching_session: former.last_coaching_session,
        closed_at: former.closed_at,
        closed_by_owner: former.closed_by_owner,
    })
}

fn finish(problems: Problems) -> Result<Result<(), ()>, Vec<UserError>> {
    match problems.finish() {
        Ok(()) => Ok(Ok(())),
        Err(Error::Refused(errors)) => Err(errors),
        Err(_) => Ok(Err(())),
    }
}

fn verifiable(hash: &str) -> Result<(), UserError> {
    let (rule, message) = match ForeignHash::parse(hash) {
        Ok(_) => return Ok(()),
        Err(Refusal::Unknown) => (
            "HASH",
            "Not a hash of argon2, bcrypt, scrypt or pbkdf2_sha256 that can be verified here.",
        ),
        Err(Refusal::TooDear) => ("HASH_COST", "Verifying this hash would take too much."),
    };
    let path = ["input", "passwordHash"];
    Err(UserError::invalid(&path, rule, (None, None), message))
}

impl Checked {
    /// The account as it is opened where none has its address, and its data key.
    ///
    /// # Errors
    /// If no key can be made.
    pub(super) fn former_user(
        &self,
        app: &App,
        now: DateTime,
    ) -> Result<(FormerUser<'_>, WrappedKey)> {
        let id = Uuid::now_v7();
        let (key, wrapped_key) = data_keys::new(app, id)?;
        let birth_date = self.birth_date;
        let birth_date = birth_date.map(|day| sealed::seal_birth_date(&key, day));
        let closed = self.status == AccountStatus::Deactivated;
        let created_at = self.created_at.unwrap_or(now);
        let by = if self.closed_by_owner {
            ClosedBy::Owner
        } else {
            ClosedBy::Admin
        };
        let former = FormerUser {
            user: NewUser {
                id,
                auth_token: self.uuid.unwrap_or_else(Uuid::new_v4),
                username: self.username.as_deref(),
                email: &self.email,
                hashed_password: self.password_hash.as_deref(),
                full_name: &self.full_name,
                first_name: self.first_name.as_deref(),
                last_name: self.last_name.as_deref(),
                status: self.status,
                email_verified_at: self.verified.then_some(now),
                // When it was chosen nobody knows; to grow too old it begins anew.
                password_changed_at: self.password_hash.as_ref().map(|_| now),
                created_at,
                updated_at: now,
            },
            birth_date: birth_date.transpose()?,
            last_login_at: self.last_login_at,
            coaching_start_date: self.coaching_start_date,
            last_coaching_session: self.last_coaching_session,
            closed_at: closed.then(|| self.closed_at.unwrap_or(now)),
            closed_by: closed.then_some(by),
            imported_at: now,
        };
        Ok((former, wrapped_key))
    }

    /// What it says of who somebody is: how they sign in, that the address is theirs, and as whom other systems know
    /// them.
    pub(super) fn vouched_for(&self) -> impl Iterator<Item = &'static str> {
        let said = [
            ("emailVerified", self.verified),
            ("passwordHash", self.password_hash.is_some()),
            ("uuid", self.uuid.is_some()),
        ];
        said.into_iter()
            .filter(|(_, said)| *said)
            .map(|(field, _)| field)
    }

    /// Whether an account that it opens waits until its address is proved.
    pub(super) fn waits(&self) -> bool {
        self.status == AccountStatus::Pending
    }

    pub(super) fn email_key(&self) -> String {
        self.email.to_ascii_lowercase()
    }

    pub(super) fn username_key(&self) -> Option<String> {
        self.username.as_deref().map(str::to_ascii_lowercase)
    }
}

/// The addresses, usernames and UUIDs of the rows so far, as short hashes: a file may have millions.
#[derive(Default)]
pub struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Seen {
    /// Takes those of a row.
    ///
    /// # Errors
    /// `TAKEN` for what an earlier row has; none of them is taken then.
    pub fn take(&mut self, row: &Checked) -> Result<(), Vec<UserError>> {
        let values = [
            ("email", Some(row.email_key())),
            ("username", row.username_key()),
            ("uuid", row.uuid.map(|uuid| uuid.to_string())),
        ];
        let hash = |(field, value): (&'static str, Option<String>)| {
            Some((field, self.hasher.hash_one((field, value?))))
        };
        let hashes: Vec<_> = values.into_iter().filter_map(hash).collect();
        let errors: Vec<_> = hashes
            .iter()
            .filter(|(_, hash)| self.hashes.contains(hash))
            .map(|(field, _)| {
                let message = "An earlier row has it already.";
                UserError::at(UserErrorCode::Taken, &["input", field], message)
            })
            .collect();
        if errors.is_empty() {
            self.hashes.extend(hashes.iter().map(|(_, hash)| hash));
            return Ok(());
        }
        Err(errors)
    }
}
