//! `role …`: what roles ask of those who hold them.

use anyhow::bail;
use cardea::clock::Clock;
use cardea::config::{Config, TwoFactorRequirement};
use cardea::models::role;
use cardea::scalar::DateTime;
use clap::Subcommand;

use crate::command::database::Database;

#[derive(Subcommand, Debug)]
pub(super) enum Role {
    /// Make a second factor compulsory for whoever holds a role, where the settings leave that to roles
    RequireTwoFactor {
        /// The role's name
        name: String,
        /// Make it voluntary again
        #[arg(long)]
        off: bool,
    },
}

/// Does what the command line asks.
///
/// # Errors
/// If there is no such role, or the database cannot answer.
pub(super) async fn run(config: Config, action: Role) -> anyhow::Result<()> {
    let Role::RequireTwoFactor { name, off } = action;
    let required = config.two_factor_required();
    let database = Database::open(&config).await?;
    let result = async {
        let conn = &mut *database
            .db
            .conn()
            .await
            .map_err(|error| anyhow::anyhow!("the database cannot be reached: {error:?}"))?;
        let now = DateTime(Clock::system().now());
        role::Role::require_two_factor(conn, &name, !off, now)
            .await
            .map_err(anyhow::Error::from)
    }
    .await;
    database.close().await?;
    if !result? {
        bail!("there is no role named {name}");
    }
    let asks = if off { "requires no" } else { "requires a" };
    println!("The role {name} {asks} second factor.");
    match required {
        TwoFactorRequirement::Roles => {}
        TwoFactorRequirement::Nobody => {
            println!("With CARDEA_TWO_FACTOR_REQUIRED=nobody, nobody is asked for one.");
        }
        TwoFactorRequirement::Everybody => {
            println!("With CARDEA_TWO_FACTOR_REQUIRED=everybody, every account needs one.");
        }
    }
    Ok(())
}
