//! What the exports of each product look like, and what of them is taken in; docs/IMPORT.md has the same as tables.

use cardea::models::background::ExperienceLevel;
use cardea::models::profile::{CoachingStyle, NotificationFrequency, SessionFrequency, Theme};
use cardea::services::background::UpdateBackgroundInput;
use cardea::services::import::{Former, ImportUserRow, Row};
use cardea::services::personalization::UpdatePersonalizationInput;
use cardea::services::profile::UpdateProfileInput;
use clap::ValueEnum;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::command::import::fields::{Fault, Fields, given};

/// Whose export it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Product {
    /// Columns named as the fields of `ImportUserRow`
    Cardea,
    /// The coaching app
    Coaching,
    /// The numerology app
    Numerology,
    /// The user management
    UserManagement,
    /// The learning platform
    Learning,
    /// The restaurant guide
    Restaurant,
}

impl Product {
    /// Whether accounts began closed there, and proving the address opened them.
    fn began_closed(self) -> bool {
        matches!(self, Self::Coaching | Self::UserManagement)
    }
}

/// What the person at the command line decides.
#[derive(Debug)]
pub(super) struct Choices {
    /// For whom the export calls staff.
    pub(super) staff_role: Option<String>,
    /// For whom it calls superuser or admin.
    pub(super) superuser_role: Option<String>,
    /// Roles of the export, and which they become here.
    pub(super) roles: Vec<(String, String)>,
    /// Take addresses as proved where the export does not say.
    pub(super) addresses_proved: bool,
    /// Take accounts that are not active, and were not before, as waiting for their address to be proved.
    pub(super) inactive_wait: bool,
}

/// What a record comes to.
pub(super) enum Found {
    /// An account.
    Account {
        row: Box<Row>,
        /// The export names rights that nobody chose a role for.
        rights_left: bool,
        /// It may have been waiting for its address to be proved, and is taken in as closed.
        closed: bool,
    },
    /// Something else.
    Other,
}

/// Algorithms of Django, beside those whose hashes are taken in.
const UNKNOWN_ALGORITHMS: [&str; 6] = [
    "crypt",
    "md5",
    "pbkdf2_sha1",
    "sha1",
    "unsalted_md5",
    "unsalted_sha1",
];

/// Reads a record of `product`.
///
/// # Errors
/// What is wrong with which value.
pub(super) fn read(
    product: Product,
    record: &Map<String, Value>,
    choices: &Choices,
) -> Result<Found, Vec<Fault>> {
    // An object of `dumpdata` has its fields below.
    let record = match (record.get("model"), record.get("fields")) {
        (Some(Value::String(model)), Some(Value::Object(fields))) => {
            let model = model.to_lowercase();
            if !model.ends_with("user") {
                return Ok(Found::Other);
            }
            fields
        }
        _ => record,
    };
    let mut fields = Fields::new(record);
    let (row, rights_left) = match product {
        Product::Cardea => (own(&mut fields), false),
        _ => foreign(product, &mut fields, choices),
    };
    let faults = fields.faults();
    if faults.is_empty() {
        let (user, former) = (&row.user, &row.former);
        let was_in = former.last_login_at.is_some() || former.closed_at.is_some();
        let closed = product.began_closed() && !user.is_active && !user.email_verified && !was_in;
        let row = Box::new(row);
        Ok(Found::Account {
            row,
            rights_left,
            closed,
        })
    } else {
        Err(faults)
    }
}

fn own(fields: &mut Fields<'_>) -> Row {
    let user = ImportUserRow {
        birth_date: fields.day(&["birthDate"]),
        created_at: fields.instant(&["createdAt"]),
        email: fields.text(&["email"]).unwrap_or_default(),
        email_verified: fields.flag(&["emailVerified"]).unwrap_or(false),
        first_name: fields.text(&["firstName"]),
        full_name: fields.text(&["fullName"]).unwrap_or_default(),
        is_active: fields.flag(&["isActive"]).unwrap_or(true),
        last_name: fields.text(&["lastName"]),
        password_hash: fields.text(&["passwordHash"]),
        role_names: fields.list(&["roleNames"]),
        username: fields.text(&["username"]),
        uuid: fields.uuid(&["uuid"]),
    };
    let former = Former::default();
    Row { user, former }
}

fn foreign(product: Product, fields: &mut Fields<'_>, choices: &Choices) -> (Row, bool) {
    let email = fields.text(&["email"]).unwrap_or_default();
    let username = match product {
        Product::Coaching | Product::Restaurant => fields.text(&["username"]),
        _ => None,
    };
    let (first_name, last_name) = (fields.text(&["first_name"]), fields.text(&["last_name"]));
    let names = [first_name.as_deref(), last_name.as_deref()];
    let both = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let full_name = fields
        .text(&["full_name", "name"])
        .or_else(|| (!both.trim().is_empty()).then_some(both))
        .or_else(|| username.clone())
        .or_else(|| email.split('@').next().map(str::to_owned))
        .unwrap_or_default();
    let uuid = match product {
        Product::Numerology | Product::Learning => fields.uuid(&["uuid", "id", "user_id"]),
        Product::Restaurant => fields.uuid(&["auth_token"]),
        _ => None,
    };
    let (password_hash, password) = password(product, fields);
    let last_login_at = fields.instant(&["last_login_at", "last_login"]);
    let closed_at = fields.instant(&["deleted_at", "deactivated_at"]);
    let (is_active, email_verified) = state(product, fields, choices, last_login_at.is_some());
    let (role_names, rights_left) = roles(fields, choices);
    let user = ImportUserRow {
        birth_date: fields.day(&["birth_date", "date_of_birth"]),
        created_at: fields.instant(&["created_at", "date_joined"]),
        email,
        email_verified,
        first_name,
        full_name,
        is_active: is_active && closed_at.is_none(),
        last_name,
        password_hash,
        role_names: Some(role_names),
        username,
        uuid,
    };
    let former = Former {
        password,
        last_login_at,
        coaching_start_date: fields.instant(&["coaching_start_date"]),
        last_coaching_session: fields.instant(&["last_coaching_session"]),
        // Only the numerology app let people close their accounts, and open them again.
        closed_by_owner: product == Product::Numerology && closed_at.is_some(),
        closed_at,
        profile: profile(fields),
        background: if product == Product::Learning {
            background(fields)
        } else {
            None
        },
        personalization: if product == Product::Learning {
            personalization(fields)
        } else {
            None
        },
    };
    (Row { user, former }, rights_left)
}

/// The hash that the export has, or the password itself.
fn password(product: Product, fields: &mut Fields<'_>) -> (Option<String>, Option<SecretString>) {
    let Some(kept) = fields.text(&["password", "hashed_password", "password_hash"]) else {
        return (None, None);
    };
    // What Django writes for accounts without a password.
    if kept.starts_with('!') {
        return (None, None);
    }
    let algorithm = kept.split('$').next().unwrap_or_default();
    let hash = kept.starts_with('$')
        || kept.contains('$')
            && (matches!(
                algorithm,
                "argon2" | "bcrypt" | "bcrypt_sha256" | "pbkdf2_sha256" | "scrypt"
            ) || UNKNOWN_ALGORITHMS.contains(&algorithm));
    if product == Product::Restaurant && !hash {
        if is_digest(&kept) {
            let wrong = "As many hexadecimal digits are no password but a hash of an unknown kind. Leave it empty, and \
                 the owner sets one by a mailed link.";
            fields.refuse("password", wrong);
        }
        return (None, Some(kept.into()));
    }
    (Some(kept), None)
}

/// Whether it looks like what MD5, SHA-1, SHA-256 or SHA-512 makes, in hexadecimal digits.
fn is_digest(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits && matches!(text.len(), 32 | 40 | 64 | 128)
}

/// Whether the account is open, and whether its address was proved.
fn state(
    product: Product,
    fields: &mut Fields<'_>,
    choices: &Choices,
    was_in: bool,
) -> (bool, bool) {
    let active = fields.flag(&["is_active", "active"]).unwrap_or(true);
    let verified = fields.flag(&["email_verified", "is_verified", "is_email_verified"]);
    let proved = match (product, verified) {
        (_, Some(verified)) => verified,
        // Proving the address opened the account there.
        (Product::Coaching, None) => active || was_in,
        (Product::UserManagement, None) if !active => false,
        (_, None) => choices.addresses_proved,
    };
    // One that was closed before its address was proved looks the same as one that waits for that.
    let may_wait = product.began_closed() && !proved && !was_in;
    (active || (may_wait && choices.inactive_wait), proved)
}

/// The roles that were chosen for what the export says, and whether it says more.
fn roles(fields: &mut Fields<'_>, choices: &Choices) -> (Vec<String>, bool) {
    let mut roles = Vec::new();
    let mut left = false;
    let mut take = |chosen: Option<&String>| match chosen {
        Some(role) => roles.push(role.clone()),
        None => left = true,
    };
    if fields.flag(&["is_staff"]) == Some(true) {
        take(choices.staff_role.as_ref());
    }
    if fields.flag(&["is_superuser", "is_admin"]) == Some(true) {
        take(choices.superuser_role.as_ref());
    }
    for name in fields.list(&["roles", "role"]).unwrap_or_default() {
        let chosen = choices
            .roles
            .iter()
            .find(|(there, _)| there.eq_ignore_ascii_case(&name));
        // Everybody gets this one.
        if chosen.is_some() || !name.eq_ignore_ascii_case("user") {
            take(chosen.map(|(_, here)| here));
        }
    }
    (roles, left)
}

fn profile(fields: &mut Fields<'_>) -> Option<Box<UpdateProfileInput>> {
    // Below in an object, or beside the rest.
    if let Some(below) = fields.below(&["profile"]) {
        let mut inner = Fields::new(&below);
        let found = profile(&mut inner);
        fields.take(inner.faults(), "profile");
        return found;
    }
    let profile = UpdateProfileInput {
        avatar_url: given(fields.text(&["avatar_url"])),
        bio: given(fields.text(&["bio"])),
        coaching_goals: given(fields.object(&["coaching_goals"])),
        email_notifications: given(fields.flag(&["email_notifications"])),
        language: given(fields.text(&["language"])),
        notification_frequency: fields.one_of(
            &["notification_frequency"],
            NotificationFrequency::from_text,
        ),
        preferences: given(fields.object(&["preferences"])),
        preferred_coaching_style: fields
            .one_of(&["preferred_coaching_style"], CoachingStyle::from_text),
        push_notifications: given(fields.flag(&["push_notifications"])),
        session_frequency: fields.one_of(&["session_frequency"], SessionFrequency::from_text),
        theme: fields.one_of(&["theme"], Theme::from_text),
        timezone: given(fields.text(&["timezone"])),
        ..UpdateProfileInput::default()
    };
    let any = !(profile.avatar_url.is_undefined()
        && profile.bio.is_undefined()
        && profile.coaching_goals.is_undefined()
        && profile.email_notifications.is_undefined()
        && profile.language.is_undefined()
        && profile.notification_frequency.is_undefined()
        && profile.preferences.is_undefined()
        && profile.preferred_coaching_style.is_undefined()
        && profile.push_notifications.is_undefined()
        && profile.session_frequency.is_undefined()
        && profile.theme.is_undefined()
        && profile.timezone.is_undefined());
    any.then(|| Box::new(profile))
}

fn background(fields: &mut Fields<'_>) -> Option<Box<UpdateBackgroundInput>> {
    let below = fields.below(&["background", "background_info"])?;
    let mut inner = Fields::new(&below);
    let background = UpdateBackgroundInput {
        experience_level: inner.one_of(&["experience_level"], ExperienceLevel::from_text),
        hardware_setup: given(inner.object(&["hardware_setup"])),
        primary_domain: given(inner.text(&["primary_domain"])),
        programming_languages: given(inner.list(&["programming_languages"])),
        software_tools: given(inner.list(&["software_tools"])),
        technical_preferences: given(inner.object(&["technical_preferences"])),
    };
    fields.take(inner.faults(), "background");
    Some(Box::new(background))
}

fn personalization(fields: &mut Fields<'_>) -> Option<Box<UpdatePersonalizationInput>> {
    let below = fields.below(&["personalization", "personalization_profile"])?;
    let mut inner = Fields::new(&below);
    let personalization = UpdatePersonalizationInput {
        preferred_categories: given(inner.list(&["preferred_categories"])),
        recommended_content: given(inner.list(&["recommended_content"])),
        user_id: None,
    };
    fields.take(inner.faults(), "personalization");
    Some(Box::new(personalization))
}
