//! The document guard, first half: how long, rich in tokens and nested the text of a document may be,
//! settled without recursion before the parser sees a byte.

use crate::config::DocumentLimits;
use crate::graphql::document::Refusal;
use crate::graphql::error::Code;

/// What a text was found to consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Words, strings and signs.
    pub tokens: usize,
    /// A string is among them.
    pub has_strings: bool,
}

/// Scans the text of a document: its length, tokens and nesting.
///
/// # Errors
/// What it has too much of.
pub fn scan(text: &str, limits: &DocumentLimits) -> Result<Scanned, Refusal> {
    if text.len() > limits.bytes {
        return Err(Refusal::too_complex(format!(
            "A document has at most {} bytes.",
            limits.bytes
        )));
    }
    let mut rest = text.as_bytes();
    let (mut tokens, mut nesting, mut has_strings) = (0_usize, 0_usize, false);
    while let Some((&byte, tail)) = rest.split_first() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                rest = tail;
                continue;
            }
            b'#' => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                rest = &rest[end.unwrap_or(rest.len())..];
                continue;
            }
            // Where a string ends that nobody closed is not for two readers to guess.
            b'"' => {
                has_strings = true;
                string_length(rest).ok_or_else(unclosed)?
            }
            b'.' if rest.starts_with(b"...") => 3,
            b'{' | b'[' | b'(' => {
                nesting += 1;
                1
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                1
            }
            _ => rest
                .iter()
                .position(|&byte| ends_word(byte))
                .unwrap_or(rest.len())
                .max(1),
        };
        rest = &rest[length..];
        tokens += 1;
        if nesting > limits.nesting {
            return Err(Refusal::too_complex(format!(
                "Brackets nest at most {} deep.",
                limits.nesting
            )));
        }
        if tokens > limits.tokens {
            return Err(Refusal::too_complex(format!(
                "A document has at most {} tokens.",
                limits.tokens
            )));
        }
    }
    Ok(Scanned {
        tokens,
        has_strings,
    })
}

fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b','
            | b'#'
            | b'"'
            | b'{'
            | b'}'
            | b'['
            | b']'
            | b'('
            | b')'
            | b':'
            | b'!'
            | b'$'
            | b'@'
            | b'='
            | b'|'
            | b'&'
            | b'.'
    )
}

fn unclosed() -> Refusal {
    Refusal {
        code: Code::GraphqlParseFailed,
        message: "A string is not closed.".to_owned(),
    }
}

/// Length of the string or block string at the beginning of `text`, quotes included; `None` where it
/// is not closed.
pub(super) fn string_length(text: &[u8]) -> Option<usize> {
    let (block, open) = if text.starts_with(b"\"\"\"") {
        (true, 3)
    } else {
        (false, 1)
    };
    let mut at = open;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if block && rest.starts_with(b"\\\"\"\"") {
            at += 4;
        } else if block && rest.starts_with(b"\"\"\"") {
            return Some(at + 3);
        } else if !block && matches!(rest, [b'\\', next, ..] if !matches!(next, b'\n' | b'\r')) {
            at += 2;
        } else if !block && rest[0] == b'"' {
            return Some(at + 1);
        } else if !block && matches!(rest[0], b'\n' | b'\r') {
            return None;
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> DocumentLimits {
        DocumentLimits {
            bytes: 32_768,
            tokens: 2000,
            nesting: 40,
            depth: 16,
            fields: 1000,
            aliases: 30,
            directives: 50,
            mutations: 3,
            cost: 10_000,
        }
    }

    #[test]
    fn nesting_is_refused_in_every_place() {
        for levels in [41, 100, 500, 2000, 5000, 15_000] {
            for (open, close) in [("[", "]"), ("{a:", "}")] {
                let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                for text in [
                    format!("{{user(by:{value}){{id}}}}"),
                    format!("query($a:JSON={value}){{me{{id}}}}"),
                    format!("{{me @skip(if:{value}){{id}}}}"),
                ] {
                    assert!(scan(&text, &limits()).is_err(), "{levels} times {open}");
                }
            }
            let selections = format!("{}{}", "{me".repeat(levels), "}".repeat(levels));
            assert!(scan(&selections, &limits()).is_err());
        }
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let deep = "[{(".repeat(40);
        for text in [
            format!("{{user(by:{{email:\"{deep}\"}}){{id}}}}"),
            format!("{{user(by:{{email:\"\"\"{deep}\\\"\"\"{deep}\"\"\"}}){{id}}}}"),
            format!("{{me{{id}}}} # {deep}"),
            format!("{{user(by:{{email:\"\\\"{deep}\"}}){{id}}}}"),
        ] {
            assert!(scan(&text, &limits()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_string_that_is_not_closed_is_refused() {
        let deep = "[".repeat(41);
        for text in [
            format!("{{a(x:\"\n{deep}"),
            format!("{{a(x:\"\r{deep}"),
            format!("{{a(x:\"{deep}"),
            format!("{{a(x:\"{deep}\\"),
            format!("{{a(x:\"\\\n{deep}\""),
            format!("{{a(x:[\"\"\"y\" {deep}"),
            format!("{{a(x:[\"\"\"y\" {deep} \\\"\"\""),
            "\"\"\"".to_owned(),
            "\"".to_owned(),
        ] {
            let refusal = scan(&text, &limits()).expect_err("must be refused");
            assert_eq!(refusal.code, Code::GraphqlParseFailed, "{text}");
        }
    }

    #[test]
    fn tokens_and_bytes_have_bounds() {
        assert!(scan(&"a ".repeat(2001), &limits()).is_err());
        assert!(scan(&"a".repeat(32_769), &limits()).is_err());
        assert!(scan(&"!".repeat(2001), &limits()).is_err());
        let scanned = Scanned {
            tokens: 2000,
            has_strings: false,
        };
        assert_eq!(scan(&"a ".repeat(2000), &limits()), Ok(scanned));
    }

    #[test]
    fn strings_are_seen_wherever_they_stand() {
        let strings = |text| scan(text, &limits()).map(|scanned| scanned.has_strings);
        assert_eq!(strings("{user(by:{email:\"a\"}){id}}"), Ok(true));
        assert_eq!(strings("query($a:String=\"\"\"a\"\"\"){me{id}}"), Ok(true));
        assert_eq!(strings("{me{id}} # \"a\""), Ok(false));
    }
}
