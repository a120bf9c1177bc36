//! Which new passwords are taken. It hashes and writes nothing; the settings say what the rules are.

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::app::App;
use crate::config::Config;
use crate::config::password::PasswordPolicy;
use crate::crypto::password::{Verdict, normalized};
use crate::error::{Error, Result, UserError};
use crate::models::password_history::PasswordHistory;
use crate::models::user::User;
use crate::services::common_passwords::is_common;
use crate::services::validate;

/// Shortest word about a person, in characters, that a password may not hold: shorter ones are in
/// everything.
const SHORTEST_WORD: usize = 4;

/// What others know of the person whose password it is to be, as far as it is known here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Person<'a> {
    /// Address.
    pub email: Option<&'a str>,
    /// Second name to sign in with.
    pub username: Option<&'a str>,
    /// Name as it is shown.
    pub full_name: Option<&'a str>,
    /// Given name.
    pub first_name: Option<&'a str>,
    /// Family name.
    pub last_name: Option<&'a str>,
}

impl<'a> From<&'a User> for Person<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            email: Some(&user.email),
            username: user.username.as_deref(),
            full_name: Some(&user.full_name),
            first_name: user.first_name.as_deref(),
            last_name: user.last_name.as_deref(),
        }
    }
}

/// Every rule that `password` breaks as a new password of the person `about`, told at `path`; empty
/// when it is fine. Does not look at former passwords.
///
/// Rules: `LENGTH`, `PASSWORD_UPPERCASE`, `PASSWORD_LOWERCASE`, `PASSWORD_DIGIT`,
/// `PASSWORD_SPECIAL`, `PASSWORD_BREACHED`, `PASSWORD_PERSONAL`.
#[must_use]
pub fn check(config: &Config, path: &[&str], password: &str, about: &Person<'_>) -> Vec<UserError> {
    let policy = config.password_policy();
    let (minimum, maximum) = (policy.minimum_length, policy.maximum_length);
    if password.len() > policy.maximum_bytes() {
        let message = format!("Between {minimum} and {maximum} characters.");
        let bounds = (Some(minimum), Some(maximum));
        return vec![UserError::invalid(path, "LENGTH", bounds, message)];
    }
    let password = normalized(password);
    let mut broken = Vec::new();
    broken.extend(validate::length(path, &password, minimum, maximum).err());
    let rules = classes(&policy, &password).into_iter();
    let rules = rules.chain(easily_guessed(config, &policy, &password, about));
    broken
        .extend(rules.map(|(rule, message)| UserError::invalid(path, rule, (None, None), message)));
    broken
}

/// A rule and what it asks for.
type Rule = (&'static str, &'static str);

fn classes(policy: &PasswordPolicy, password: &str) -> Vec<Rule> {
    let mut broken = Vec::new();
    let mut require = |required: bool, holds: fn(char) -> bool, rule: Rule| {
        if required && !password.chars().any(holds) {
            broken.push(rule);
        }
    };
    require(
        policy.requires_uppercase,
        char::is_uppercase,
        ("PASSWORD_UPPERCASE", "At least one upper-case letter."),
    );
    require(
        policy.requires_lowercase,
        char::is_lowercase,
        ("PASSWORD_LOWERCASE", "At least one lower-case letter."),
    );
    require(
        policy.requires_digit,
        |c| c.is_ascii_digit(),
        ("PASSWORD_DIGIT", "At least one digit."),
    );
    require(
        policy.requires_special,
        |c| !c.is_alphanumeric() && !c.is_control(),
        (
            "PASSWORD_SPECIAL",
            "At least one character that is neither letter nor digit.",
        ),
    );
    broken
}

fn easily_guessed(
    config: &Config,
    policy: &PasswordPolicy,
    password: &str,
    about: &Person<'_>,
) -> Vec<Rule> {
    let mut broken = Vec::new();
    if policy.refuses_common && is_common(password) {
        broken.push((
            "PASSWORD_BREACHED",
            "Not a common password or one known from breaches, nor a variation of one.",
        ));
    }
    if policy.refuses_common && is_personal(password, about, &config.product_name) {
        broken.push((
            "PASSWORD_PERSONAL",
            "Without your name, user name or address, and without the name of this service.",
        ));
    }
    broken
}

/// Whether `password`, in its normal form, holds a word about the person or the product's name,
/// whatever the case.
fn is_personal(password: &str, about: &Person<'_>, product: &str) -> bool {
    let password = folded(password);
    let local_part = about.email.and_then(|email| email.split('@').next());
    let untagged = local_part.and_then(|local_part| local_part.split('+').next());
    let names = [about.full_name, about.first_name, about.last_name];
    let words = names.into_iter().flatten().flat_map(|name| {
        // Not at marks that belong to letters, for names are kept as they were composed.
        name.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation())
    });
    [about.email, local_part, untagged, about.username]
        .into_iter()
        .flatten()
        .chain([product])
        .chain(words)
        .map(|word| folded(&normalized(word)))
        .any(|word| word.chars().count() >= SHORTEST_WORD && password.contains(&word))
}

/// Lower case, the same for a letter wherever it stands: a sigma at the end of a name has another form than one that
/// something follows.
fn folded(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}

/// Takes `candidate` as the next password of `user`; gives it back to be hashed. Call it before a
/// connection is taken: it may hash several times.
///
/// # Errors
/// Every rule of [`check`] that is broken; then `PASSWORD_REUSED`, where the settings say that
/// former passwords may not be used again or that passwords grow too old, for the present one and
/// as many former ones as they say. [`Error::RateLimited`] when too many passwords wait.
pub async fn accept(
    app: &App,
    path: &[&str],
    user: &User,
    candidate: SecretString,
) -> Result<SecretString> {
    let broken = check(&app.config, path, candidate.expose_secret(), &user.into());
    if !broken.is_empty() {
        return Err(Error::Refused(broken));
    }
    if was_used(app, &candidate, hashes(app, user.id).await?).await? {
        return Err(reused(path).into());
    }
    Ok(candidate)
}

/// The hashes that a new password of `user` must not fit: the present one and the former ones that
/// are remembered. None where the settings let passwords be used again.
async fn hashes(app: &App, user: Uuid) -> Result<Vec<String>> {
    let policy = app.config.password_policy();
    // Where passwords grow too old, the old one must not pass for a new one.
    if policy.history_depth == 0 && policy.maximum_age_days.is_none() {
        return Ok(Vec::new());
    }
    let mut conn = app.db.conn().await?;
    Ok(PasswordHistory::used(&mut conn, user, policy.history_depth).await?)
}

/// Whether `candidate` fits one of `hashes`, at the cost of a hash each.
///
/// # Errors
/// [`Error::RateLimited`] when too many passwords wait.
pub async fn was_used(app: &App, candidate: &SecretString, hashes: Vec<String>) -> Result<bool> {
    for hash in hashes {
        let verdict = app.verify_password(candidate.clone(), Some(hash)).await?;
        if matches!(verdict, Verdict::Right(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn reused(path: &[&str]) -> UserError {
    UserError::invalid(
        path,
        "PASSWORD_REUSED",
        (None, None),
        "Not a password that you have used before.",
    )
}
