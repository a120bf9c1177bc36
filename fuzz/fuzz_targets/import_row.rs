//! Rows of an import: as files have them, for the command, and as `importUsers` takes them, with the hashes of other
//! systems.
//!
//! The first byte chooses product and format; the rest is the file. Behind `h` stands a hash, behind `r` a row as JSON.
#![no_main]

use std::sync::LazyLock;

use async_graphql::InputType as _;
use cardea::app::{App, Secrets};
use cardea::auth::access_token::{KeySet, generate_private_key};
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::crypto::foreign_hash::ForeignHash;
use cardea::crypto::seal::MasterKeys;
use cardea::db::Db;
use cardea::models::signing_key::SigningKey;
use cardea::scalar::DateTime;
use cardea::services::import::{Former, ImportUserRow, Row, Seen, check};
use chrono::TimeDelta;
use clap::Parser;
use libfuzzer_sys::{Corpus, fuzz_target};
use secrecy::SecretString;
use uuid::Uuid;

/// The program's own files: they belong to its command, and the library has none of them.
#[path = "../../src/command"]
mod command {
    pub mod import {
        mod fields;
        mod json;
        mod product;
        mod read;

        use std::sync::Arc;

        use cardea::services::import::Row;
        use clap::ValueEnum as _;

        /// Hands `each` the rows of a file, as the command does.
        pub fn rows(kind: u8, file: &[u8], mut each: impl FnMut(Row)) {
            let products = product::Product::value_variants();
            let product = products[usize::from(kind) % products.len()];
            let format = if kind & 0x80 == 0 {
                read::Format::Csv
            } else {
                read::Format::Jsonl
            };
            let choices = product::Choices {
                staff_role: Some("moderator".to_owned()),
                superuser_role: None,
                roles: vec![("coach".to_owned(), "moderator".to_owned())],
                addresses_proved: kind & 0x40 != 0,
                inactive_wait: kind & 0x20 != 0,
            };
            let mut last = 0;
            let _ = read::records(file, format, &Arc::default(), |record| {
                assert!(record.line > last, "lines only go on");
                last = record.line;
                let found = record
                    .values
                    .map(|values| product::read(product, &values, &choices));
                let found = found.and_then(|found| found.map_err(|_| "faults"));
                if let Ok(product::Found::Account {
                    row,
                    rights_left,
                    closed,
                }) = found
                {
                    // Nobody is told of a closed account, or of rights left behind, where there is none.
                    assert!(!closed || !row.user.is_active);
                    assert!(!rights_left || product != product::Product::Cardea);
                    each(*row);
                }
                true
            });
        }
    }
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

static APP: LazyLock<App> = LazyLock::new(|| {
    let Settings { config } = Settings::parse_from(["cardea"]);
    let clock = Clock::system();
    let key = SigningKey {
        id: Uuid::from_u128(7),
        private_key: generate_private_key().expect("a key"),
        signs_from: DateTime(clock.now()),
    };
    let (issuer, audience) = (config.token_issuer(), config.session.token_audience.clone());
    let master = MasterKeys::parse("Q2FyZGVhIGZ1enplcyBpdHMgaW1wb3J0cyAxMjM0NSE=").expect("a key");
    let (audit, ..) = master.new_data_key(Uuid::nil()).expect("a key");
    let secrets = Secrets {
        access_tokens: KeySet::new(&[key], issuer, audience, TimeDelta::hours(1)).expect("keys"),
        master,
        audit,
    };
    let url = SecretString::from("postgres://nobody@127.0.0.1:1/none");
    let db = Db::new(&url, &config.database).expect("settings");
    App::assemble(config, db, clock, secrets).expect("settings")
});

/// A row that passes is of a form that the database takes.
fn checked(seen: &mut Seen, row: &Row) {
    let Ok(checked) = check(&APP, row) else {
        return;
    };
    let user = &row.user;
    for text in [&user.email, &user.full_name]
        .into_iter()
        .chain(&user.username)
    {
        assert!(!text.contains('\0'), "PostgreSQL takes none");
    }
    assert!(user.email.is_ascii() && user.email.trim().len() <= 254);
    if let Some(hash) = &user.password_hash {
        assert!(
            ForeignHash::parse(hash).is_ok(),
            "a hash that could never be verified"
        );
    }
    let _ = seen.take(&checked);
    assert!(seen.take(&checked).is_err(), "one account twice");
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((kind, rest)) = data.split_first() else {
        return Corpus::Reject;
    };
    match (kind, std::str::from_utf8(rest)) {
        (b'h', Ok(hash)) => {
            let _ = ForeignHash::parse(hash);
        }
        (b'r', Ok(text)) => {
            let value = serde_json::from_str(text).ok();
            let value = value.and_then(|value| async_graphql::Value::from_json(value).ok());
            if let Some(Ok(user)) = value.map(|value| ImportUserRow::parse(Some(value))) {
                let former = Former::default();
                checked(&mut Seen::default(), &Row { user, former });
            }
        }
        _ => {
            let mut seen = Seen::default();
            command::import::rows(*kind, rest, |row| checked(&mut seen, &row));
        }
    }
    Corpus::Keep
});
