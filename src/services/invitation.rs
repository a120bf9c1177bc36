//! Accounts that administrators open for somebody else, who chooses a password through a mailed link.

use std::collections::HashSet;

use async_graphql::{ID, InputObject};
use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Conn;
use crate::error::{Error, Result, UserError, UserErrorCode};
use crate::models::job::Job;
use crate::models::permission::{Permission, SystemPermission};
use crate::models::role::Role;
use crate::models::user::{AccountStatus, NewUser, User};
use crate::services::audit::{AuditAction, Entry};
use crate::services::limits::{self, Limit};
use crate::services::registration::{Beginning, insert_account, username_taken};
use crate::services::rights::{self, Rights};
use crate::services::roles;
use crate::services::validate::{self, Problems};

/// Most roles that an account is opened with.
const MOST_ROLES: usize = 50;

/// An account for someone else.
#[derive(InputObject)]
pub struct CreateUserInput {
    /// Address to sign in with; the invitation is mailed to it.
    pub email: String,
    /// Given name, at most 150 characters.
    pub first_name: Option<String>,
    /// Name as it is to be shown; 2 to 255 characters.
    pub full_name: String,
    /// BCP 47 tag, e.g. `de-AT`, of the language that the invitation is written in; `en` when left out.
    pub language: Option<String>,
    /// Family name, at most 150 characters.
    pub last_name: Option<String>,
    /// Roles beside those that every new account gets, by id; at most 50, none that grants what the caller does
    /// not hold.
    #[graphql(default)]
    pub role_ids: Vec<ID>,
    /// Unique, letters, digits and underscores, at most 150; null for none.
    pub username: Option<String>,
}

/// Opens an account without a password and queues the mail by whose link the person chooses one. Until then it
/// waits, as one whose address was not proved. `role_ids` are those of the input; no id names nothing.
///
/// # Errors
/// `INVALID_VALUE` for each malformed value, `NOT_FOUND` for an unknown role, `TAKEN` for address or username,
/// `TOO_MANY_ATTEMPTS` beyond the invitations of an hour; [`Error::Forbidden`] for a role that grants what the
/// caller does not hold.
pub async fn create(
    app: &App,
    actor: &Actor,
    input: &CreateUserInput,
    role_ids: &[Option<Uuid>],
) -> Result<User> {
    let form = Form::check(input)?;
    let caller = actor.user_id().to_string();
    limits::take(app, Limit::Invitation, actor.client(), &caller).await?;
    let now = app.now();
    let new = form.new_user(app);
    let beginning = Beginning {
        language: form.language.as_deref(),
        ..Beginning::default()
    };
    let mut conn = app.db.conn().await?;
    conn.transaction(async |conn| {
        // In turn before the account is written, which holds on to roles itself.
        if !role_ids.is_empty() {
            rights::take_turns(conn).await?;
        }
        let rights = Rights::now(app, conn, actor, SystemPermission::AdminUsers).await?;
        if let Some(username) = new.username
            && User::is_reserved(conn, username, None).await?
        {
            return Err(username_taken().into());
        }
        let Some(user) = insert_account(app, conn, &new, &beginning).await? else {
            return Err(taken(conn, &new).await?.into());
        };
        Entry::by(actor, AuditAction::AccountCreated)
            .on(user.id)
            .record(app, conn)
            .await?;
        give_roles(app, conn, (actor, &rights), role_ids, user.id).await?;
        Job::VerifyEmail { user: user.id }
            .enqueue(conn, now)
            .await?;
        Ok(user)
    })
    .await
}

/// Gives the new account the roles that were asked for, as far as the caller may.
async fn give_roles(
    app: &App,
    conn: &mut Conn,
    (actor, rights): (&Actor, &Rights),
    role_ids: &[Option<Uuid>],
    user: Uuid,
) -> Result<()> {
    let ids: HashSet<Uuid> = role_ids.iter().copied().flatten().collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let found = Role::by_ids(conn, &ids).await?;
    let mut problems = Problems::default();
    for (index, id) in role_ids.iter().enumerate() {
        if !found.iter().any(|role| Some(role.id) == *id) {
            let index = index.to_string();
            let path = ["input", "roleIds", &index];
            let message = "There is no such role.";
            problems.add(UserError::at(UserErrorCode::NotFound, &path, message));
        }
    }
    problems.finish()?;
    let granted = Permission::by_roles(conn, &ids).await?;
    rights.cover(granted.iter().map(|(_, permission)| &*permission.name))?;
    for role in &found {
        roles::give(app, conn, actor, role, user, app.now()).await?;
    }
    Ok(())
}

/// What is in use already.
async fn taken(conn: &mut Conn, new: &NewUser<'_>) -> Result<UserError> {
    if let Some(username) = new.username
        && User::by_username(conn, username).await?.is_some()
    {
        return Ok(username_taken());
    }
    let path = ["input", "email"];
    let message = "This address has an account.";
    Ok(UserError::at(UserErrorCode::Taken, &path, message))
}

/// An input that passed every check.
struct Form {
    email: String,
    username: Option<String>,
    full_name: String,
    first_name: Option<String>,
    last_name: Option<String>,
    language: Option<String>,
}

impl Form {
    fn check(input: &CreateUserInput) -> Result<Self> {
        let mut problems = Problems::default();
        let email = problems.take(validate::email(&["input", "email"], &input.email));
        let path = ["input", "fullName"];
        let full_name = problems.take(validate::full_name(&path, &input.full_name));
        let path = ["input", "username"];
        let username = input.username.as_deref();
        let username = username.and_then(|name| problems.take(validate::username(&path, name)));
        let path = ["input", "language"];
        let language = input.language.as_deref();
        let language = language.and_then(|tag| problems.take(validate::language(&path, tag)));
        let mut part = |name: Option<&str>, field: &str| {
            let checked = validate::part_of_name(&["input", field], name?);
            problems.take(checked).flatten()
        };
        let first_name = part(input.first_name.as_deref(), "firstName");
        let last_name = part(input.last_name.as_deref(), "lastName");
        if input.role_ids.len() > MOST_ROLES {
            let (path, bounds) = (["input", "roleIds"], (None, Some(MOST_ROLES)));
            let error = UserError::invalid(&path, "LIST_LENGTH", bounds, "At most 50 roles.");
            problems.add(error);
        }
        problems.finish()?;
        let (Some(email), Some(full_name)) = (email, full_name) else {
            let cause = anyhow::anyhow!("a form without problems has its compulsory values");
            return Err(Error::from(cause));
        };
        Ok(Self {
            email,
            username,
            full_name,
            first_name,
            last_name,
            language,
        })
    }

    fn new_user(&self, app: &App) -> NewUser<'_> {
        NewUser {
            id: Uuid::now_v7(),
            auth_token: Uuid::new_v4(),
            username: self.username.as_deref(),
            email: &self.email,
            hashed_password: None,
            full_name: &self.full_name,
            first_name: self.first_name.as_deref(),
            last_name: self.last_name.as_deref(),
            status: AccountStatus::Pending,
            email_verified_at: None,
            password_changed_at: None,
            created_at: app.now(),
            updated_at: app.now(),
        }
    }
}
