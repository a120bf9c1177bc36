//! People who do not exist: a number and a seed make the same one each time. It knows no database.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{Builder, Uuid};

/// Accounts were opened over the last so many days, more of them lately.
const OPENED_DAYS: i64 = 3 * 365;
/// Sign-ins lie in the last so many days.
const LOGIN_DAYS: i64 = 800;

/// Given names, as they are shown and as they stand in addresses.
const GIVEN: &[(&str, &str)] = &[
    ("Ada", "ada"),
    ("Agnieszka", "agnieszka"),
    ("Ahmed", "ahmed"),
    ("Aisha", "aisha"),
    ("Amélie", "amelie"),
    ("Ana", "ana"),
    ("Anders", "anders"),
    ("André", "andre"),
    ("Anna", "anna"),
    ("Antonio", "antonio"),
    ("Ayşe", "ayse"),
    ("Björn", "bjorn"),
    ("Carlos", "carlos"),
    ("Carmen", "carmen"),
    ("Chidi", "chidi"),
    ("Chloé", "chloe"),
    ("Daniel", "daniel"),
    ("David", "david"),
    ("Diego", "diego"),
    ("Élodie", "elodie"),
    ("Emma", "emma"),
    ("Fatima", "fatima"),
    ("Felix", "felix"),
    ("François", "francois"),
    ("Giulia", "giulia"),
    ("Grace", "grace"),
    ("Hanna", "hanna"),
    ("Hiroshi", "hiroshi"),
    ("Ibrahim", "ibrahim"),
    ("Ingrid", "ingrid"),
    ("Isabella", "isabella"),
    ("Ivan", "ivan"),
    ("James", "james"),
    ("Jan", "jan"),
    ("João", "joao"),
    ("José", "jose"),
    ("Jürgen", "jurgen"),
    ("Katarzyna", "katarzyna"),
    ("Lars", "lars"),
    ("Laura", "laura"),
    ("Léa", "lea"),
    ("Liam", "liam"),
    ("Linnéa", "linnea"),
    ("Lucía", "lucia"),
    ("Łukasz", "lukasz"),
    ("Maria", "maria"),
    ("Mehmet", "mehmet"),
    ("Mei", "mei"),
    ("Mohammed", "mohammed"),
    ("Nadia", "nadia"),
    ("Nguyễn", "nguyen"),
    ("Noah", "noah"),
    ("Olga", "olga"),
    ("Oluwaseun", "oluwaseun"),
    ("Paolo", "paolo"),
    ("Priya", "priya"),
    ("Rahul", "rahul"),
    ("Ruth", "ruth"),
    ("Sofia", "sofia"),
    ("Søren", "soren"),
    ("Thomas", "thomas"),
    ("Tomáš", "tomas"),
    ("Wei", "wei"),
    ("Yusuf", "yusuf"),
    ("Zoë", "zoe"),
    ("Ольга", "olga"),
];

/// Family names in the same way; the last one is drawn for one person in five thousand.
const FAMILY: &[(&str, &str)] = &[
    ("Adeyemi", "adeyemi"),
    ("Almeida", "almeida"),
    ("Andersson", "andersson"),
    ("Bauer", "bauer"),
    ("Becker", "becker"),
    ("Bianchi", "bianchi"),
    ("Brown", "brown"),
    ("Castillo", "castillo"),
    ("Chen", "chen"),
    ("Costa", "costa"),
    ("Da Silva", "dasilva"),
    ("Dubois", "dubois"),
    ("Dvořák", "dvorak"),
    ("Fischer", "fischer"),
    ("García", "garcia"),
    ("González", "gonzalez"),
    ("Haddad", "haddad"),
    ("Hansen", "hansen"),
    ("Hernández", "hernandez"),
    ("Hoffmann", "hoffmann"),
    ("Ivanova", "ivanova"),
    ("Jansen", "jansen"),
    ("Johansson", "johansson"),
    ("Jones", "jones"),
    ("Kaya", "kaya"),
    ("Khan", "khan"),
    ("Kim", "kim"),
    ("Kowalski", "kowalski"),
    ("Kumar", "kumar"),
    ("Larsen", "larsen"),
    ("Le", "le"),
    ("Lefèvre", "lefevre"),
    ("Lindqvist", "lindqvist"),
    ("López", "lopez"),
    ("Mbeki", "mbeki"),
    ("Moreau", "moreau"),
    ("Müller", "muller"),
    ("Nakamura", "nakamura"),
    ("Nielsen", "nielsen"),
    ("Novák", "novak"),
    ("O'Brien", "obrien"),
    ("Okafor", "okafor"),
    ("Øvergård", "overgard"),
    ("Patel", "patel"),
    ("Pereira", "pereira"),
    ("Petrov", "petrov"),
    ("Rossi", "rossi"),
    ("Sánchez", "sanchez"),
    ("Sato", "sato"),
    ("Schäfer", "schafer"),
    ("Schmidt", "schmidt"),
    ("Schneider", "schneider"),
    ("Singh", "singh"),
    ("Smith", "smith"),
    ("Suzuki", "suzuki"),
    ("Taylor", "taylor"),
    ("Torres", "torres"),
    ("Tran", "tran"),
    ("Van den Berg", "vandenberg"),
    ("Wagner", "wagner"),
    ("Weber", "weber"),
    ("Williams", "williams"),
    ("Wójcik", "wojcik"),
    ("Yılmaz", "yilmaz"),
    ("Zhang", "zhang"),
    ("Quenneville", "quenneville"),
];

const DOMAINS: &[&str] = &[
    "example.org",
    "example.org",
    "example.org",
    "example.com",
    "example.com",
    "example.net",
    "mail.example",
    "post.example",
];
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/Paris",
    "America/New_York",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Africa/Lagos",
];

/// Who is made, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    /// Another number makes other people.
    pub(super) seed: u64,
    /// The number of the first one.
    pub(super) first: u64,
    /// How many there are.
    pub(super) count: u64,
    /// The present.
    pub(super) now: DateTime<Utc>,
}

/// Somebody with an account.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: Uuid,
    pub(super) auth_token: Uuid,
    pub(super) username: Option<String>,
    pub(super) email: String,
    pub(super) full_name: String,
    pub(super) first_name: Option<&'static str>,
    pub(super) last_name: Option<&'static str>,
    pub(super) status: &'static str,
    pub(super) verified: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_login_at: Option<DateTime<Utc>>,
    pub(super) logins: u64,
    pub(super) closed_at: Option<DateTime<Utc>>,
    pub(super) coaching_since: Option<DateTime<Utc>>,
    pub(super) timezone: &'static str,
    pub(super) two_factor: bool,
    pub(super) background: bool,
    pub(super) moderator: bool,
    pub(super) admin: bool,
}

/// A sign-in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) methods: &'static str,
    pub(super) occurred_at: DateTime<Utc>,
}

impl World {
    /// The account at `place`, from 0; a later place was opened later.
    pub(super) fn person(&self, place: u64) -> Person {
        let number = self.first + place;
        let mut draw = Draw::new(self.seed, number);
        let created_at = self.opened_at(place, &mut draw);
        let id = draw.time_id(created_at);
        let auth_token = Builder::from_random_bytes(draw.bytes()).into_uuid();
        let (given, given_ascii) = draw.one_of(GIVEN);
        let (family, family_ascii) = match draw.below(5000) {
            0 => FAMILY[FAMILY.len() - 1],
            _ => draw.one_of(&FAMILY[..FAMILY.len() - 1]),
        };
        let username = match draw.below(20) {
            0..5 => None,
            5..12 => Some(format!("{given_ascii}_{family_ascii}{number}")),
            12..17 => Some(format!("{given_ascii}{number}")),
            _ => Some(
                format!("{family}_{number}").replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
            ),
        };
        // The first few run the installation, and can sign in.
        let admin = number < 5;
        let status = match draw.below(100) {
            _ if admin => "active",
            0..90 => "active",
            90..97 => "pending",
            _ => "deactivated",
        };
        let active_until = match status {
            "deactivated" => draw.between(created_at, self.now),
            _ => self.now,
        };
        let signed_in = status != "pending" && (admin || draw.below(100) < 92);
        Person {
            id,
            auth_token,
            username,
            email: format!(
                "{given_ascii}.{family_ascii}.{number}@{}",
                draw.one_of(DOMAINS)
            ),
            full_name: format!("{given} {family}"),
            first_name: (draw.below(10) > 0).then_some(given),
            last_name: (draw.below(10) > 0).then_some(family),
            status,
            verified: status != "pending",
            created_at,
            // The later of two, since most come back.
            last_login_at: signed_in.then(|| {
                let (one, other) = (
                    draw.between(created_at, active_until),
                    draw.between(created_at, active_until),
                );
                one.max(other)
            }),
            logins: if signed_in {
                1 + draw.low_below(300)
            } else {
                0
            },
            closed_at: (status == "deactivated").then_some(active_until),
            coaching_since: (signed_in && draw.below(4) == 0)
                .then(|| draw.between(created_at, active_until)),
            timezone: draw.one_of(ZONES),
            two_factor: status == "active" && !admin && draw.below(100) < 3,
            background: draw.below(5) == 0,
            moderator: draw.below(1000) == 0,
            admin,
        }
    }

    /// The sign-in at `place` of `count`, in the order of time. Accounts that were opened later
    /// sign in more often.
    pub(super) fn login(&self, place: u64, count: u64) -> Login {
        let mut draw = Draw::new(!self.seed, place);
        let span = i128::from(LOGIN_DAYS * MICROS_A_DAY);
        let ago = span * i128::from(count - place) / i128::from(count);
        let occurred_at =
            self.now - TimeDelta::microseconds(i64::try_from(ago).unwrap_or_default());
        let open = self.opened_before(ago).max(1);
        let user_id = self.person(open - 1 - draw.low_below(open)).id;
        Login {
            id: draw.time_id(occurred_at),
            user_id,
            methods: match draw.below(100) {
                0..80 => "{password}",
                80..84 => "{password,totp}",
                84..92 => "{passkey}",
                92..98 => "{provider}",
                _ => "{email_link}",
            },
            occurred_at,
        }
    }

    /// The age falls with the square of the place, so that later days bring more accounts.
    fn opened_at(&self, place: u64, draw: &mut Draw) -> DateTime<Utc> {
        let (rest, count) = (u128::from(self.count - place), u128::from(self.count));
        let span = u128::from((OPENED_DAYS * MICROS_A_DAY).unsigned_abs());
        let age = span * rest * rest / (count * count);
        // Somewhere between this account and the next one.
        let gap = u64::try_from(span * rest / (count * count))
            .unwrap_or(1)
            .max(1);
        let age = i64::try_from(age)
            .unwrap_or(i64::MAX)
            .saturating_sub_unsigned(draw.below(gap));
        self.now - TimeDelta::microseconds(age)
    }

    /// How many accounts were open so many microseconds ago.
    fn opened_before(&self, ago: i128) -> u64 {
        let count = u128::from(self.count);
        let span = u128::from((OPENED_DAYS * MICROS_A_DAY).unsigned_abs());
        let rest = (ago.unsigned_abs() * count * count / span).isqrt();
        self.count
            .saturating_sub(u64::try_from(rest).unwrap_or(u64::MAX))
    }
}

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Numbers that look random (`SplitMix64`); the same for the same beginning.
struct Draw(u64);

impl Draw {
    fn new(seed: u64, number: u64) -> Self {
        let mut draw = Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        draw.0 = draw.number();
        draw
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, each as likely.
    fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// Below `end`, low ones more likely.
    fn low_below(&mut self, end: u64) -> u64 {
        let limit = self.below(end) + 1;
        self.below(limit)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).unwrap_or_default()]
    }

    fn between(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        let span = (to - from)
            .num_microseconds()
            .unwrap_or_default()
            .unsigned_abs();
        let after = self.below(span.max(1));
        from + TimeDelta::microseconds(i64::try_from(after).unwrap_or_default())
    }

    fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.number()) << 64 | u128::from(self.number())).to_be_bytes()
    }

    /// A UUID v7 of this instant.
    fn time_id(&mut self, at: DateTime<Utc>) -> Uuid {
        let millis = at.timestamp_millis().unsigned_abs();
        let bytes = self.bytes();
        let random: [u8; 10] = std::array::from_fn(|at| bytes[at]);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn world(count: u64) -> World {
        let now = "2026-11-30T08:00:00Z".parse().expect("an instant");
        World {
            seed: 1,
            first: 0,
            count,
            now,
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_people_and_another_one_others() {
        let (one, other) = (
            world(100),
            World {
                seed: 2,
                ..world(100)
            },
        );
        assert_eq!(
            format!("{:?}", one.person(17)),
            format!("{:?}", one.person(17))
        );
        assert_ne!(one.person(17).id, other.person(17).id);
        assert_ne!(one.person(17).id, one.person(18).id);
    }

    #[test]
    fn people_are_spread_as_they_should_be() {
        let world = world(20_000);
        let people: Vec<_> = (0..20_000).map(|place| world.person(place)).collect();
        let share = |count: usize| count * 1000 / people.len();
        let of = |status: &str| {
            share(
                people
                    .iter()
                    .filter(|person| person.status == status)
                    .count(),
            )
        };
        assert!((880..920).contains(&of("active")), "{}", of("active"));
        assert!((60..80).contains(&of("pending")), "{}", of("pending"));
        assert!(
            (20..40).contains(&of("deactivated")),
            "{}",
            of("deactivated")
        );
        assert!(people.is_sorted_by_key(|person| person.created_at));
        let oldest = world.now - people[0].created_at;
        assert!((1090..=1095).contains(&oldest.num_days()), "{oldest}");
        let logins_are_later = |person: &Person| {
            person
                .last_login_at
                .is_none_or(|at| at >= person.created_at && at <= world.now)
        };
        assert!(people.iter().all(logins_are_later));
        let addresses: BTreeSet<_> = people.iter().map(|person| &person.email).collect();
        let usernames: BTreeSet<_> = people
            .iter()
            .filter_map(|person| person.username.as_ref())
            .collect();
        assert_eq!(addresses.len(), people.len());
        assert_eq!(
            usernames.len(),
            people
                .iter()
                .filter(|person| person.username.is_some())
                .count()
        );
    }

    #[test]
    fn nobody_signs_in_before_the_account_was_there() {
        let world = world(5000);
        let opened: std::collections::HashMap<_, _> = (0..5000)
            .map(|place| world.person(place))
            .map(|person| (person.id, person.created_at))
            .collect();
        let logins: Vec<_> = (0..3000).map(|place| world.login(place, 3000)).collect();
        assert!(logins.is_sorted_by_key(|login| login.occurred_at));
        let day = TimeDelta::days(1);
        assert!(
            logins
                .iter()
                .all(|login| opened[&login.user_id] <= login.occurred_at + day)
        );
    }
}
