//! `user`: accounts that the operator makes.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::crypto::token::random;
use cardea::error::{Error, UserError};
use cardea::services::registration::{self, RegisterInput};
use cardea::services::two_factor;
use clap::{Args, Subcommand};

use crate::command::database::Database;

#[derive(Subcommand, Debug)]
pub(super) enum User {
    /// Open an account whose address is taken as proved
    Create(Create),
    /// Take the second factor off an account whose owner has lost it
    ResetTwoFactor {
        /// Address of the account
        #[arg(long)]
        email: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct Create {
    /// Address to sign in with
    #[arg(long)]
    email: String,
    /// Name as it is to be shown
    #[arg(long)]
    full_name: String,
    /// Second name to sign in with
    #[arg(long)]
    username: Option<String>,
    /// Give the account the role admin
    #[arg(long)]
    admin: bool,
    /// Read the password from standard input; without it one is made and printed
    #[arg(long)]
    password_stdin: bool,
}

/// Does what the command line asks.
///
/// # Errors
/// One line that says what is wrong.
pub(super) async fn run(config: Config, action: User) -> anyhow::Result<()> {
    let given = match &action {
        User::Create(create) if create.password_stdin => Some(read_password()?),
        _ => None,
    };
    let database = Database::open(&config).await?;
    let created = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        match action {
            User::Create(create) => open_account(&app, create, given).await,
            User::ResetTwoFactor { email } => reset_two_factor(&app, &email).await,
        }
    }
    .await;
    database.close().await?;
    created
}

async fn reset_two_factor(app: &App, email: &str) -> anyhow::Result<()> {
    let was_on = two_factor::reset_by_operator(app, email)
        .await
        .map_err(explain)?;
    match was_on {
        None => bail!("there is no account with the address {email}"),
        Some(false) => println!("The account has no second factor."),
        Some(true) => println!("Took the second factor off; every session of the account ended."),
    }
    Ok(())
}

async fn open_account(app: &App, create: Create, given: Option<String>) -> anyhow::Result<()> {
    // Of every class that a policy may ask for.
    let generated = format!("Aa1-{}", URL_SAFE_NO_PAD.encode(random::<18>()));
    let input = RegisterInput {
        birth_date: None,
        email: create.email,
        first_name: None,
        full_name: create.full_name,
        language: None,
        last_name: None,
        password: given.clone().unwrap_or_else(|| generated.clone()),
        timezone: None,
        username: create.username,
    };
    let user = registration::create_by_operator(app, input, create.admin)
        .await
        .map_err(explain)?;
    println!(
        "Opened the account {}{}.",
        *user.email,
        if create.admin {
            " with the role admin"
        } else {
            ""
        }
    );
    if given.is_none() {
        println!("Its password, shown this once: {generated}");
    }
    Ok(())
}

pub(super) fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(4096)
        .read_to_string(&mut text)
        .context("the password cannot be read")?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("there is no password on standard input");
    }
    Ok(password)
}

/// A refusal in one line.
pub(super) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Refused(errors) => {
            let line = |error: &UserError| {
                let (path, message) = (error.place(), error.sentence());
                match path.last() {
                    Some(field) => format!("{field}: {message}"),
                    None => message.to_owned(),
                }
            };
            anyhow::anyhow!("{}", errors.iter().map(line).collect::<Vec<_>>().join(" "))
        }
        Error::Internal(cause) => anyhow::anyhow!("{cause:#}"),
        other => anyhow::anyhow!("{other:?}"),
    }
}
