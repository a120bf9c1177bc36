//! The texts of mails, one file for each mail and language, from which both bodies are made. It knows
//! the form of a text and no mail.
//!
//! The first line of a file is the subject; paragraphs follow, separated by blank lines. A paragraph
//! `[Label](address)` is a link by itself, and one whose lines all begin with `- ` is a list. A text is
//! taken apart before values are put in, so that no value can make a paragraph, a list or a link.
//! Files that begin with `_` are parts: how the language writes a date and a time of day.

use anyhow::Context as _;
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

/// Language, name and source of each.
const TEMPLATES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/mail_templates.rs"));
const LAYOUT: &str = include_str!("templates/layout.html");

/// The language of whoever speaks none that we have.
const FALLBACK: &str = "en";
/// Where lines of the plain text end, as old readers want it.
const WIDTH: usize = 76;

/// A piece of a mail.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Block {
    Text { text: String },
    List { items: Vec<String> },
    Link { label: String, address: String },
}

/// A mail in its two forms.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
    /// The addresses in it, in their order.
    pub(super) links: Vec<String>,
}

/// The language to write to somebody who wants `tag`: the lookup of RFC 4647, section 3.4.
pub(super) fn lookup(tag: &str) -> &'static str {
    let mut range = tag;
    loop {
        let known = TEMPLATES.iter().map(|(language, ..)| *language);
        if let Some(language) = known.into_iter().find(|it| it.eq_ignore_ascii_case(range)) {
            return language;
        }
        let Some((shorter, _)) = range.rsplit_once('-') else {
            return FALLBACK;
        };
        // A subtag of one character begins an extension and says nothing by itself.
        range = match shorter.rsplit_once('-') {
            Some((rest, single)) if single.len() == 1 => rest,
            _ => shorter,
        };
    }
}

/// A day as the language writes it.
pub(super) fn day(language: &str, date: NaiveDate) -> anyhow::Result<String> {
    let values = context! { year => date.year(), month => date.month(), day => date.day() };
    part(language, "_date", &values)
}

/// A time of a day as the language writes it; `zone` says where.
pub(super) fn moment(language: &str, at: NaiveDateTime, zone: &str) -> anyhow::Result<String> {
    let values = context! {
        date => day(language, at.date())?, zone,
        hour => format!("{:02}", at.hour()), minute => format!("{:02}", at.minute()),
    };
    part(language, "_time", &values)
}

/// Puts `values` into the text `name`.
///
/// # Errors
/// If there is no such text, or it wants a value that is not given.
pub(super) fn fill(
    language: &str,
    product: &str,
    name: &str,
    values: &Value,
) -> anyhow::Result<Filled> {
    let source = source(language, name)?;
    let environment = environment();
    let fill = |piece: &str| fill_piece(&environment, piece, values);
    let result = || -> anyhow::Result<Filled> {
        let (subject, body) = source
            .split_once("\n\n")
            .context("a mail begins with its subject")?;
        let subject = fill(subject)?;
        let blocks = body
            .split("\n\n")
            .filter(|paragraph| !paragraph.trim().is_empty())
            .map(|paragraph| block(paragraph.trim(), fill))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let layout = context! { language, product, subject => &*subject, blocks => Serde(&blocks) };
        Ok(Filled {
            text: text(&blocks, &fill_piece(&environment, "{{ product }}", values)?),
            html: environment.render_named_str("layout.html", LAYOUT, layout)?,
            links: blocks.into_iter().filter_map(address).collect(),
            subject,
        })
    };
    result().with_context(|| format!("the mail template {language}/{name}"))
}

fn part(language: &str, name: &str, values: &Value) -> anyhow::Result<String> {
    fill_piece(&environment(), source(language, name)?, values)
        .with_context(|| format!("the mail template {language}/{name}"))
}

fn source(language: &str, name: &str) -> anyhow::Result<&'static str> {
    TEMPLATES
        .iter()
        .find(|template| template.0 == language && template.1 == name)
        .map(|(_, _, source)| *source)
        .with_context(|| format!("there is no mail template {language}/{name}"))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// Puts the values into one piece, which comes out as one line: whatever would begin another, steer a
/// terminal or turn the direction of writing is a space.
fn fill_piece(environment: &Environment, piece: &str, values: &Value) -> anyhow::Result<String> {
    let piece = piece.split_whitespace().collect::<Vec<_>>().join(" ");
    // Not escaped here, but as a whole where it goes into HTML.
    let filled = environment.render_named_str("piece.txt", &piece, values)?;
    let steers = |c: char| {
        c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    Ok(filled
        .split(steers)
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" "))
}

fn block(paragraph: &str, fill: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<Block> {
    let link = paragraph
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|inner| inner.split_once("]("));
    if let Some((label, address)) = link {
        return Ok(Block::Link {
            label: fill(label)?,
            address: fill(address)?,
        });
    }
    let items: Option<Vec<_>> = paragraph
        .lines()
        .map(|line| line.strip_prefix("- "))
        .collect();
    Ok(match items {
        Some(items) => Block::List {
            items: items.into_iter().map(fill).collect::<anyhow::Result<_>>()?,
        },
        None => Block::Text {
            text: fill(paragraph)?,
        },
    })
}

fn address(block: Block) -> Option<String> {
    match block {
        Block::Link { address, .. } => Some(address),
        Block::Text { .. } | Block::List { .. } => None,
    }
}

fn text(blocks: &[Block], product: &str) -> String {
    let block = |block: &Block| match block {
        Block::Text { text } => wrap(text, ""),
        Block::List { items } => {
            let item = |item: &String| format!("- {}", wrap(item, "  "));
            items.iter().map(item).collect::<Vec<_>>().join("\n")
        }
        // On a line by itself, so that no reader takes a full stop for a part of it.
        Block::Link { label, address } => format!("{label}:\n{address}"),
    };
    let signature = format!("{product}\n");
    let blocks = blocks.iter().map(block).chain([signature]);
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// Breaks a line between words; the lines after the first begin with `indent`.
fn wrap(line: &str, indent: &str) -> String {
    let mut wrapped = String::new();
    let mut width = indent.len();
    for word in line.split(' ') {
        let length = word.chars().count();
        if !wrapped.is_empty() {
            if width + 1 + length > WIDTH {
                wrapped.push('\n');
                wrapped.push_str(indent);
                width = indent.len();
            } else {
                wrapped.push(' ');
                width += 1;
            }
        }
        wrapped.push_str(word);
        width += length;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_language_is_looked_up_from_the_special_to_the_general() {
        for (wanted, given) in [
            ("de-AT", "de"),
            ("DE", "de"),
            ("de-Latn-CH-1901", "de"),
            ("de-x-dialect", "de"),
            ("en-GB", "en"),
            ("tlh", "en"),
            ("", "en"),
            ("d", "en"),
        ] {
            assert_eq!(lookup(wanted), given, "{wanted}");
        }
    }

    #[test]
    fn every_language_has_the_same_texts() {
        let mut languages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (language, name, _) in TEMPLATES {
            languages.entry(language).or_default().insert(name);
        }
        assert!(languages.len() >= 2, "{languages:?}");
        let english = &languages[&FALLBACK];
        for (language, names) in &languages {
            assert_eq!(names, english, "{language}");
        }
    }

    #[test]
    fn a_value_makes_no_paragraph_no_list_and_no_link() {
        let environment = environment();
        let values = context! { name => "Ann\n\n- one\r\n[Click](https://evil.example)\u{202e}" };
        let fill = |piece: &str| fill_piece(&environment, piece, &values);
        let flat = "Ann - one [Click](https://evil.example)";
        for (paragraph, expected) in [
            (
                "{{ name }}",
                Block::Text {
                    text: flat.to_owned(),
                },
            ),
            (
                "- {{ name }}",
                Block::List {
                    items: vec![flat.to_owned()],
                },
            ),
        ] {
            assert_eq!(block(paragraph, fill).ok(), Some(expected));
        }
    }

    #[test]
    fn days_and_times_are_written_as_the_language_does() -> anyhow::Result<()> {
        let at: NaiveDateTime = "2026-03-05T07:04:59".parse()?;
        assert_eq!(moment("en", at, "CET")?, "5 March 2026 at 07:04 (CET)");
        assert_eq!(moment("de", at, "MEZ")?, "5. März 2026 um 07:04 Uhr (MEZ)");
        Ok(())
    }

    #[test]
    fn lines_end_between_words_and_links_stay_whole() {
        let long = format!("see {} now", "x".repeat(90));
        assert_eq!(wrap(&long, ""), format!("see\n{}\nnow", "x".repeat(90)));
        let line = "word ".repeat(40);
        let wrapped = wrap(line.trim(), "  ");
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH), "{wrapped}");
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|line| line.starts_with("  word"))
        );
    }
}
