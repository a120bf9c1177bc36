//! Laws that hold for whatever comes: cursors, sealing, and the rules for passwords. What fails is told with the smallest
//! input that does, and stays as a test of its own.

use std::sync::LazyLock;

use cardea::config::Config;
use cardea::crypto::password::normalized;
use cardea::crypto::seal::{DataKey, MasterKeys, Place};
use cardea::error::UserError;
use cardea::graphql::node::Kind;
use cardea::graphql::page::{self, PageArguments};
use cardea::graphql::{audit, user_page};
use cardea::models::user_page::{Key, Position, UserOrderField};
use cardea::scalar::DateTime;
use cardea::services::password_policy::{Person, check};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::string::string_regex;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::harness::app::{MASTER_KEY, config};

/// As many as take a second at most; what failed once is written down as a test and not in a file beside this one.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const ORDERS: [UserOrderField; 4] = [
    UserOrderField::CreatedAt,
    UserOrderField::Email,
    UserOrderField::LastLoginAt,
    UserOrderField::Username,
];

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// As PostgreSQL keeps it, between the years 1 and 9999.
fn instant() -> impl Strategy<Value = DateTime> {
    (-62_135_596_800_000_000_i64..253_402_300_800_000_000).prop_map(|micros| {
        DateTime(chrono::DateTime::from_timestamp_micros(micros).expect("within the years"))
    })
}

/// A position that an account may have in this order.
fn position(order: UserOrderField) -> BoxedStrategy<Position> {
    let key = match order {
        UserOrderField::CreatedAt => instant().prop_map(|at| Key::Instant(Some(at))).boxed(),
        UserOrderField::LastLoginAt => prop::option::of(instant()).prop_map(Key::Instant).boxed(),
        UserOrderField::Email => "[!-~]{1,254}"
            .prop_map(|text| Key::Text(Some(text)))
            .boxed(),
        UserOrderField::Username => prop::option::of("\\PC{1,100}").prop_map(Key::Text).boxed(),
    };
    (key, uuid())
        .prop_map(|(key, id)| Position { key, id })
        .boxed()
}

fn placed() -> impl Strategy<Value = (UserOrderField, Position)> {
    select(&ORDERS[..]).prop_flat_map(|order| (Just(order), position(order)))
}

/// What the database would be asked with: it takes no U+0000, and has no null where the column has none.
fn is_fit_for_the_database(order: UserOrderField, position: &Position) -> bool {
    match (order, &position.key) {
        (UserOrderField::CreatedAt, Key::Instant(at)) => at.is_some(),
        (UserOrderField::LastLoginAt, Key::Instant(_))
        | (UserOrderField::Username, Key::Text(None)) => true,
        (UserOrderField::Email | UserOrderField::Username, Key::Text(Some(text))) => {
            !text.contains('\0')
        }
        _ => false,
    }
}

/// What is asked of a page: anything, and often something near the bounds.
fn size() -> impl Strategy<Value = Option<i32>> {
    prop::option::of(prop_oneof![any::<i32>(), -1..103])
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_cursor_comes_back_as_it_was_written_and_in_no_other_order((order, position) in placed()) {
        let cursor = user_page::write_cursor(position.clone(), order);
        prop_assert_eq!(user_page::read_cursor(&cursor, order).ok(), Some(position));
        for other in ORDERS {
            prop_assert_eq!(user_page::read_cursor(&cursor, other).is_ok(), other == order);
        }
        prop_assert!(audit::read_cursor(&cursor).is_err());
    }

    #[test]
    fn a_cursor_that_was_changed_is_refused_or_names_a_place_like_any_other(
        (order, position) in placed(),
        at in any::<Index>(),
        to in any::<char>(),
    ) {
        let mut cursor: Vec<char> = user_page::write_cursor(position, order).chars().collect();
        let at = at.index(cursor.len());
        cursor[at] = to;
        let cursor: String = cursor.into_iter().collect();
        for order in ORDERS {
            let Ok(read) = user_page::read_cursor(&cursor, order) else {
                continue;
            };
            prop_assert!(is_fit_for_the_database(order, &read), "{:?}", read);
            let again = user_page::write_cursor(read.clone(), order);
            prop_assert_eq!(user_page::read_cursor(&again, order).ok(), Some(read));
        }
    }

    #[test]
    fn what_only_looks_like_a_cursor_is_refused_or_fits_the_database(
        order in select(&ORDERS[..]),
        field in select(&["created_at", "email", "last_login_at", "username", "id"][..]),
        key in prop_oneof![
            "\\PC{0,6}\u{0}?\\PC{0,3}",
            "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|\\+00:00|-01:30)",
        ],
        id in uuid(),
    ) {
        let cursor = page::encode(&(field, &key, id));
        if let Ok(read) = user_page::read_cursor(&cursor, order) {
            prop_assert_eq!(field, order.as_str());
            prop_assert!(is_fit_for_the_database(order, &read), "{:?}", read);
        }
        prop_assert!(page::decode::<(DateTime, Uuid)>(&key).is_err());
    }

    #[test]
    fn a_cursor_of_the_audit_trail_comes_back_and_lies_within_the_years_of_the_database(
        at in instant(),
        year in -262_000_i32..262_000,
        id in uuid(),
    ) {
        prop_assert_eq!(audit::read_cursor(&page::encode(&(at, id))).ok(), Some((at, id)));
        let far = chrono::NaiveDate::from_ymd_opt(year, 1, 1).expect("a day").and_time(chrono::NaiveTime::MIN);
        let read = audit::read_cursor(&page::encode(&(DateTime(far.and_utc()), id)));
        // PostgreSQL's timestamps go from 4713 BC to 294276 AD.
        prop_assert!(read.is_err() || (-4712..=294_275).contains(&year));
    }

    #[test]
    fn a_global_id_names_one_object_of_one_type(id in uuid(), text in any::<String>()) {
        let kinds = [Kind::AuditEvent, Kind::LinkedAccount, Kind::Passkey, Kind::Permission, Kind::Role, Kind::Session, Kind::User];
        for kind in kinds {
            let global = kind.id(id);
            for other in kinds {
                prop_assert_eq!(other.uuid(&global), (other == kind).then_some(id));
            }
            // Equal ids mean equal objects: there is no second way to write one.
            let text = async_graphql::ID(text.clone());
            prop_assert!(kind.uuid(&text).is_none_or(|id| kind.id(id) == text));
        }
    }

    #[test]
    fn a_page_has_one_size_between_one_and_a_hundred(first in size(), last in size()) {
        let arguments = PageArguments { after: None, before: None, first, last };
        match (arguments.size(), first, last) {
            (Ok((size, backward)), first, None) => {
                prop_assert_eq!((size, backward), (first.map_or(page::DEFAULT_SIZE, |first| usize::try_from(first).expect("positive")), false));
                prop_assert!((1..=page::MAX_SIZE).contains(&size));
            }
            (Ok((size, backward)), None, Some(last)) => {
                prop_assert_eq!((i32::try_from(size).expect("small"), backward), (last, true));
                prop_assert!((1..=page::MAX_SIZE).contains(&size));
            }
            (Ok(_), Some(_), Some(_)) => prop_assert!(false, "both"),
            (Err(_), None, None) => prop_assert!(false, "neither"),
            (Err(_), first, last) => {
                let good = |asked: Option<i32>| asked.is_some_and(|asked| (1..=100).contains(&asked));
                prop_assert!(first.is_some() && last.is_some() || !(good(first) || good(last)));
            }
        }
    }
}

fn masters(text: &str) -> MasterKeys {
    MasterKeys::parse(text).expect("a key")
}

const OTHER_MASTER_KEY: &str = "xa5NFZQPZi1MZFwEDZDP6bC7xX9voY0aHUON+u9E8TI=";

fn data_key(user: Uuid) -> DataKey {
    masters(MASTER_KEY).new_data_key(user).expect("a key").0
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_as_it_was(
        value in prop::collection::vec(any::<u8>(), 0..300),
        (user, row, other) in (uuid(), uuid(), uuid()),
        (column, elsewhere) in ("[a-z_]{1,20}\\.[a-z_]{1,20}", "[a-z_]{1,20}\\.[a-z_]{1,20}"),
        (at, bit) in (any::<Index>(), 0..8_u8),
        end in any::<Index>(),
    ) {
        prop_assume!(row != other && user != other && column != elsewhere);
        let (key, place) = (data_key(user), Place { column: &column, row });
        let sealed = key.seal(place, &value).expect("sealed");
        let opened = key.open(place, &sealed).expect("opened");
        prop_assert_eq!(opened.expose_secret(), &value);
        prop_assert_ne!(&key.seal(place, &value).expect("sealed"), &sealed, "the same nonce twice");

        let foreign = [Place { row: other, ..place }, Place { column: &elsewhere, ..place }];
        for place in foreign {
            prop_assert!(key.open(place, &sealed).is_err(), "{:?}", place);
        }
        prop_assert!(data_key(user).open(place, &sealed).is_err(), "by another key");

        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1 << bit;
        prop_assert!(key.open(place, &changed).is_err(), "a bit was turned over");
        prop_assert!(key.open(place, &sealed[..end.index(sealed.len())]).is_err(), "it was cut");
        prop_assert!(key.open(place, &[&sealed[..], &[bit]].concat()).is_err(), "something was added");
    }

    #[test]
    fn a_data_key_is_unwrapped_for_its_account_by_its_master_key(
        (user, other, row) in (uuid(), uuid(), uuid()),
        (at, bit) in (any::<Index>(), 0..8_u8),
    ) {
        prop_assume!(user != other);
        let (one, two) = (masters(MASTER_KEY), masters(OTHER_MASTER_KEY));
        let place = Place { column: "a.b", row };
        let (key, wrapped, by) = one.new_data_key(user).expect("a key");
        let sealed = key.seal(place, b"value").expect("sealed");
        let opens = |key: &DataKey| key.open(place, &sealed).is_ok();
        prop_assert!(one.unwrap(user, &wrapped, &by).is_ok_and(|key| opens(&key)));
        prop_assert!(one.unwrap(other, &wrapped, &by).is_err());
        prop_assert!(two.unwrap(user, &wrapped, &by).is_err());
        prop_assert!(two.unwrap(user, &wrapped, &two.current()).is_err());
        let mut changed = wrapped.clone();
        changed[at.index(wrapped.len())] ^= 1 << bit;
        prop_assert!(one.unwrap(user, &changed, &by).is_err());

        // Wrapped by the key that follows, it is still the same.
        let both = masters(&format!("{OTHER_MASTER_KEY}\n{MASTER_KEY}"));
        let again = both.rewrap(user, &wrapped, &by).expect("wrapped anew");
        prop_assert!(two.unwrap(user, &again, &two.current()).is_ok_and(|key| opens(&key)));
        prop_assert!(one.unwrap(user, &again, &by).is_err());
    }
}

/// The names of the rules that a password breaks.
fn broken(config: &Config, password: &str, about: &Person<'_>) -> Vec<String> {
    let errors = check(config, &["input", "password"], password, about);
    let rule = |error| match error {
        UserError::InvalidValue(invalid) => invalid.rule,
        other => panic!("{other:?}"),
    };
    errors.into_iter().map(rule).collect()
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| config(&[]));

/// Settings of the policy: lengths, what is compulsory, and whether common passwords are refused.
fn policy() -> impl Strategy<Value = Config> {
    let switches = any::<[bool; 5]>();
    (1..20_usize, 20..80_usize, switches).prop_map(|(shortest, longest, on)| {
        let mut config = CONFIG.clone();
        config.password.min_length = Some(shortest);
        config.password.max_length = longest;
        config.password.require_uppercase = Some(on[0]);
        config.password.require_lowercase = Some(on[1]);
        config.password.require_digit = Some(on[2]);
        config.password.require_special = Some(on[3]);
        config.password.refuse_common = on[4];
        config
    })
}

/// Letters of several scripts, among them those whose case hangs on where they stand.
const LETTERS: &str = "[a-zA-ZäöüßÉñΑ-ΡΣ-Ωα-ωЖжŞşøĲǅ日本]";

fn text(pattern: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern).expect("a pattern")
}

fn password() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        text(&format!("({LETTERS}|[0-9 !?_-]|\u{301}|\u{a0}){{0,40}}")),
        "[a-z]{4,12}[0-9]{1,4}[!?]{0,2}",
    ]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_rule_that_is_added_lets_no_password_in(config in policy(), password in password(), rule in 0..7) {
        let before = broken(&config, &password, &Person::default());
        let mut stricter = config.clone();
        let settings = &mut stricter.password;
        match rule {
            0 => settings.require_uppercase = Some(true),
            1 => settings.require_lowercase = Some(true),
            2 => settings.require_digit = Some(true),
            3 => settings.require_special = Some(true),
            4 => settings.refuse_common = true,
            5 => settings.min_length = settings.min_length.map(|least| least + 1),
            _ => settings.max_length -= 1,
        }
        let after = broken(&stricter, &password, &Person::default());
        // What is far too long is told of its length alone.
        prop_assert!(before.iter().all(|rule| after.contains(rule)) || after == ["LENGTH"], "{:?} {:?}", before, after);
    }

    #[test]
    fn a_password_is_judged_by_its_characters_however_they_are_encoded(config in policy(), password in password()) {
        use unicode_normalization::UnicodeNormalization as _;
        let plain = normalized(&password);
        prop_assert_eq!(&normalized(&plain), &plain);
        prop_assert_eq!(&normalized(&password.nfd().collect::<String>()), &plain);
        prop_assume!(password.len() <= config.password_policy().maximum_bytes());
        let about = Person::default();
        prop_assert_eq!(broken(&config, &password, &about), broken(&config, &plain, &about));
        let length = plain.chars().count();
        let policy = config.password_policy();
        let fits = (policy.minimum_length..=policy.maximum_length).contains(&length);
        prop_assert_eq!(!broken(&config, &password, &about).contains(&"LENGTH".to_owned()), fits);
    }

    #[test]
    fn a_password_with_a_name_in_it_is_refused_wherever_it_stands(
        name in text(&format!("{LETTERS}{{4,12}}")),
        (before, after) in (text(&format!("({LETTERS}|[0-9!]){{0,6}}")), text(&format!("({LETTERS}|[0-9!]){{0,6}}"))),
        of in 0..4,
        shouted in any::<bool>(),
    ) {
        let email = format!("{name}@example.org");
        let mut about = Person::default();
        match of {
            0 => about.email = Some(&email),
            1 => about.username = Some(&name),
            2 => about.full_name = Some(&name),
            _ => about.last_name = Some(&name),
        }
        let word = if shouted { name.to_uppercase() } else { name.to_lowercase() };
        // What grows by a letter in capitals, and comes back as two: STRASSE is not Straße.
        prop_assume!(word.to_lowercase().chars().count() == name.to_lowercase().chars().count());
        prop_assume!(!name.contains('ß'));
        let found = broken(&CONFIG, &format!("{before}{word}{after}"), &about);
        prop_assert!(found.contains(&"PASSWORD_PERSONAL".to_owned()), "{:?}", found);
    }

    #[test]
    fn a_common_password_is_refused_in_any_case_and_with_a_year_behind_it(
        at in any::<Index>(),
        capitals in any::<u64>(),
        year in 1950..2030,
        mark in select(&["", "!", "?", "."][..]),
    ) {
        let list = include_str!("../../data/common-passwords.txt");
        let listed: Vec<&str> = list.lines().filter(|line| line.chars().count() >= 4).collect();
        let word = listed[at.index(listed.len())];
        let shouted = |(at, c): (usize, char)| if capitals >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
        let word: String = word.chars().enumerate().map(shouted).collect();
        for password in [word.clone(), format!("{word}{year}{mark}"), format!("{word}{word}")] {
            let found = broken(&CONFIG, &password, &Person::default());
            prop_assert!(found.contains(&"PASSWORD_BREACHED".to_owned()), "{} {:?}", password, found);
        }
    }
}
