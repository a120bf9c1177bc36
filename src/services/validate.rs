//! Rules on values that several services share. It collects every problem of a form before it answers.

use std::str::FromStr as _;

use chrono::{Datelike as _, NaiveDate};
use email_address::{EmailAddress as Address, Options};
use oxilangtag::LanguageTag;
use unicode_normalization::UnicodeNormalization as _;

use crate::config::RegistrationConfig;
use crate::error::{Error, Result, UserError};
use crate::scalar::Date;

/// Most elements of a list of strings.
pub const MAX_LIST_LENGTH: usize = 200;
/// Most characters of an element of a list of strings.
pub const MAX_LIST_ITEM: usize = 200;
/// Nobody is older than this, in years.
const MAX_AGE: u32 = 130;

/// The problems found in a form.
#[derive(Debug, Default)]
pub struct Problems(Vec<UserError>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, problem: UserError) {
        self.0.push(problem);
    }

    /// Keeps the value, or adds its problem.
    pub fn take<T>(&mut self, checked: Result<T, UserError>) -> Option<T> {
        checked.map_err(|problem| self.add(problem)).ok()
    }

    /// Adds the problems of an input that is the field `field` of this one.
    pub fn add_below(&mut self, field: &str, problems: Self) {
        let problems = problems.0.into_iter();
        self.0.extend(problems.map(|problem| problem.below(field)));
    }

    /// Ends the check.
    ///
    /// # Errors
    /// [`Error::Refused`] with every problem, if there is one.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Refused(self.0))
        }
    }
}

/// Checks that `value` has between `minimum` and `maximum` characters, counted in code points.
///
/// # Errors
/// `LENGTH`.
pub fn length(path: &[&str], value: &str, minimum: usize, maximum: usize) -> Result<(), UserError> {
    if (minimum..=maximum).contains(&value.chars().count()) {
        return Ok(());
    }
    let message = if minimum == 0 {
        format!("At most {maximum} characters.")
    } else {
        format!("Between {minimum} and {maximum} characters.")
    };
    Err(UserError::invalid(
        path,
        "LENGTH",
        (Some(minimum), Some(maximum)),
        message,
    ))
}

/// One line of text between `minimum` and `maximum` characters: trimmed, in NFC, nothing invisible in it.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn line(
    path: &[&str],
    value: &str,
    minimum: usize,
    maximum: usize,
) -> Result<String, UserError> {
    let value: String = value.trim().nfc().collect();
    // Control characters could break out of mail headers and logs; the others turn text round.
    if value.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(UserError::format(
            path,
            "No line breaks and no control characters.",
        ));
    }
    length(path, &value, minimum, maximum)?;
    Ok(value)
}

/// Text of at most `maximum` characters, in which lines may break.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn text(path: &[&str], value: &str, maximum: usize) -> Result<String, UserError> {
    if value
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(UserError::format(
            path,
            "No control characters other than line breaks and tabs.",
        ));
    }
    length(path, value, 0, maximum)?;
    Ok(value.to_owned())
}

/// Characters that show nothing, break lines or turn the direction of text (Unicode, general
/// categories Cf, Zl and Zp, and the fillers), which no line has a use for. The joiners stay: Persian
/// and Indic names are written with them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e007f}')
}

/// A name as it is to be shown.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn full_name(path: &[&str], value: &str) -> Result<String, UserError> {
    line(path, value, 2, 255)
}

/// A given or family name; nothing where it is empty.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn part_of_name(path: &[&str], value: &str) -> Result<Option<String>, UserError> {
    Ok(Some(line(path, value, 0, 150)?).filter(|name| !name.is_empty()))
}

/// A mail address: ASCII, of the form that mail servers everywhere take, at most 254 characters.
///
/// Addresses beyond ASCII are refused rather than folded, so that no two spellings look alike; a
/// domain in another script can be given in its `xn--` form.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn email(path: &[&str], value: &str) -> Result<String, UserError> {
    let value = value.trim();
    length(path, value, 3, 254)?;
    let options = Options::default()
        .without_display_text()
        .without_domain_literal()
        .with_required_tld();
    let quoted = value.starts_with('"');
    if value.is_ascii() && !quoted && Address::parse_with_options(value, options).is_ok() {
        Ok(value.to_owned())
    } else {
        Err(UserError::format(path, "Not a mail address."))
    }
}

/// A name to sign in with.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn username(path: &[&str], value: &str) -> Result<String, UserError> {
    let value = value.trim();
    length(path, value, 1, 150)?;
    if value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        Ok(value.to_owned())
    } else {
        Err(UserError::format(
            path,
            "Only the letters A to Z, digits and underscores.",
        ))
    }
}

/// A day of birth: past, not longer ago than anybody has lived, and old enough.
///
/// # Errors
/// `RANGE` or `MINIMUM_AGE`.
pub fn birth_date(
    path: &[&str],
    value: Date,
    today: NaiveDate,
    config: &RegistrationConfig,
) -> Result<Date, UserError> {
    let range = |message: &str| UserError::invalid(path, "RANGE", (None, None), message);
    if *value >= today {
        return Err(range("A day in the past."));
    }
    let age = today.years_since(*value).unwrap_or(0);
    if value.year() < 1850 || age > MAX_AGE {
        return Err(range("Not more than 130 years ago."));
    }
    if age < config.minimum_age {
        let least = usize::try_from(config.minimum_age).unwrap_or_default();
        let message = format!("At least {least} years old.");
        return Err(UserError::invalid(
            path,
            "MINIMUM_AGE",
            (Some(least), None),
            message,
        ));
    }
    Ok(value)
}

/// A time zone by its IANA name.
///
/// # Errors
/// `TIME_ZONE`.
pub fn timezone(path: &[&str], value: &str) -> Result<String, UserError> {
    match chrono_tz::Tz::from_str(value) {
        Ok(zone) => Ok(zone.name().to_owned()),
        Err(_) => Err(UserError::invalid(
            path,
            "TIME_ZONE",
            (None, None),
            "Not an IANA time zone such as Europe/Vienna.",
        )),
    }
}

/// A language as a BCP 47 tag, in its canonical case.
///
/// # Errors
/// `LANGUAGE`.
pub fn language(path: &[&str], value: &str) -> Result<String, UserError> {
    let refused = || {
        UserError::invalid(
            path,
            "LANGUAGE",
            (None, Some(35)),
            "Not a BCP 47 language tag such as de-AT.",
        )
    };
    if value.len() > 35 {
        return Err(refused());
    }
    let tag = LanguageTag::parse_and_normalize(value).map_err(|_| refused())?;
    // Private-use tags (`x-…`) and the old irregular ones (`i-klingon`) name no language for a front end.
    if tag.primary_language().len() < 2
        || tag.as_str().starts_with("x-")
        || tag.as_str().starts_with("i-")
    {
        return Err(refused());
    }
    Ok(tag.into_inner())
}

/// An absolute address of at most 500 characters whose scheme is `http` or `https`.
///
/// # Errors
/// `LENGTH` or `FORMAT`.
pub fn web_address(path: &[&str], value: &str) -> Result<String, UserError> {
    let value = value.trim();
    length(path, value, 1, 500)?;
    let refused = || UserError::format(path, "Not an http or https address.");
    let url = url::Url::parse(value).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https")
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(refused());
    }
    let normal = String::from(url);
    length(path, &normal, 1, 500)?;
    Ok(normal)
}

/// A list of short lines of text.
///
/// # Errors
/// `LIST_LENGTH`, or what is wrong with an element, with its index in the path.
pub fn list(path: &[&str], values: &[String]) -> Result<Vec<String>, UserError> {
    if values.len() > MAX_LIST_LENGTH {
        let message = format!("At most {MAX_LIST_LENGTH} elements.");
        return Err(UserError::invalid(
            path,
            "LIST_LENGTH",
            (None, Some(MAX_LIST_LENGTH)),
            message,
        ));
    }
    let element = |(index, value): (usize, &String)| {
        let index = index.to_string();
        let path: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
        line(&path, value, 1, MAX_LIST_ITEM)
    };
    values.iter().enumerate().map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "ada@example.org",
            "a.b+c@sub.example.co",
            "A@EXAMPLE.ORG",
            "x@xn--mnchen-3ya.de",
            " ada@example.org ",
        ] {
            assert!(email(&[], good).is_ok(), "{good}");
        }
        for bad in [
            "ada",
            "ada@",
            "@example.org",
            "ada@localhost",
            "a b@example.org",
            "ada@example.org.",
            "ada@exa mple.org",
            "ada\u{ff20}example.org",
            "äda@example.org",
            "ada@[127.0.0.1]",
            "Ada <ada@example.org>",
            "\"a b\"@example.org",
            "ada@example.org\r\nBcc: x@example.org",
            "ada@@example.org",
            "ada@-example.org",
        ] {
            assert!(email(&[], bad).is_err(), "{bad}");
        }
        assert!(
            email(&[], &format!("{}@{}.org", "a".repeat(64), "b".repeat(186))).is_err(),
            "255 characters"
        );
    }

    #[test]
    fn names_hold_nothing_that_breaks_lines() {
        assert_eq!(full_name(&[], "  Ada  ").ok().as_deref(), Some("Ada"));
        for bad in [
            "A",
            "   A   ",
            "Ada\r\nBcc: x",
            "Ada\u{202e}adA",
            "\u{200b}\u{200b}",
            "Ada\u{2028}B",
            "\u{3164}\u{3164}",
            "Ada\u{0}",
        ] {
            assert!(full_name(&[], bad).is_err(), "{bad:?}");
        }
        assert!(full_name(&[], &"é".repeat(255)).is_ok());
        assert!(full_name(&[], &"é".repeat(256)).is_err());
        assert_eq!(part_of_name(&[], "  ").ok(), Some(None));
    }

    #[test]
    fn languages() {
        assert_eq!(language(&[], "DE-at").ok().as_deref(), Some("de-AT"));
        assert_eq!(
            language(&[], "zh-hant-tw").ok().as_deref(),
            Some("zh-Hant-TW")
        );
        for bad in [
            "",
            "d",
            "de_AT",
            "german-austria-vienna-x",
            "x-private",
            "i-klingon",
            "de-AT-",
        ] {
            assert!(language(&[], bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_zones() {
        assert!(timezone(&[], "Europe/Vienna").is_ok());
        for bad in [
            "Europe/Atlantis",
            "",
            "europe/vienna ",
            "+01:00",
            "EST5EDT4,M3.2.0",
        ] {
            assert!(timezone(&[], bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn avatars() {
        assert!(web_address(&[], "https://example.org/a.png").is_ok());
        for bad in [
            "javascript:alert(1)",
            "/a.png",
            "https://",
            "ftp://example.org",
            "https://a:b@example.org",
            "data:,x",
        ] {
            assert!(web_address(&[], bad).is_err(), "{bad}");
        }
    }
}
