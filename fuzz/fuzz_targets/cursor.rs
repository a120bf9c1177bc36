//! Cursors and global ids: what is read of them writes back as what reads the same, and is fit for the database.
#![no_main]

use async_graphql::ID;
use cardea::graphql::node::Kind;
use cardea::graphql::{audit, page, user_page};
use cardea::models::user_page::{Key, UserOrderField};
use cardea::scalar::DateTime;
use libfuzzer_sys::{Corpus, fuzz_target};
use uuid::Uuid;

const ORDERS: [UserOrderField; 4] = [
    UserOrderField::CreatedAt,
    UserOrderField::Email,
    UserOrderField::LastLoginAt,
    UserOrderField::Username,
];

const KINDS: [Kind; 7] = [
    Kind::AuditEvent,
    Kind::LinkedAccount,
    Kind::Passkey,
    Kind::Permission,
    Kind::Role,
    Kind::Session,
    Kind::User,
];

fn read(cursor: &str) {
    let mut orders = 0;
    for order in ORDERS {
        let Ok(position) = user_page::read_cursor(cursor, order) else {
            continue;
        };
        orders += 1;
        match &position.key {
            Key::Text(Some(text)) => assert!(!text.contains('\0'), "PostgreSQL takes none"),
            Key::Instant(None) => assert_eq!(order, UserOrderField::LastLoginAt),
            Key::Text(None) => assert_eq!(order, UserOrderField::Username),
            Key::Instant(Some(_)) => {}
        }
        let again = user_page::write_cursor(position.clone(), order);
        assert_eq!(user_page::read_cursor(&again, order).ok(), Some(position));
    }
    assert!(orders <= 1, "a cursor of two orders");
    if let Ok(position) = audit::read_cursor(cursor) {
        assert_eq!(orders, 0, "a cursor of two lists");
        let again = audit::read_cursor(&page::encode(&position));
        assert_eq!(again.ok(), Some(position));
    }
    // Of sessions.
    let _ = page::decode::<(DateTime, Uuid)>(cursor);
    let id = ID(cursor.to_owned());
    let named = KINDS
        .into_iter()
        .filter_map(|kind| Some((kind, kind.uuid(&id)?)));
    for (kind, uuid) in named {
        assert_eq!(kind.id(uuid), id, "two ids of one object");
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    read(text);
    // What stands behind the encoding is where most of the reading is.
    if let Ok(inner) = serde_json::from_str::<serde_json::Value>(text) {
        read(&page::encode(&inner));
    }
    Corpus::Keep
});
