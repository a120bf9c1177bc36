//! Passwords and tokens as mathematics: no database, no settings of ours, no clock.

pub mod foreign_hash;
pub mod master_key;
pub mod passkey;
pub mod password;
pub mod seal;
mod threads;
pub mod token;
pub mod webhook;
