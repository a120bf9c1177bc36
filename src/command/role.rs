//! `role …`: what roles ask of those who hold them.

use anyhow::bail;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::{Config, TwoFactorRequirement};
use cardea::services::roles;
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
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        roles::require_two_factor_by_operator(&app, &name, !off)
            .await
            .map_err(|error| anyhow::anyhow!("the role cannot be changed: {error:?}"))
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
