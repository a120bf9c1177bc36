//! The text of a schema before the parser sees it: its size and nesting are settled, and what the parser does
//! not tell is found: a description of the schema itself, and `repeatable`. It knows nothing of types.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::graphql::scan::string_length;

/// Most bytes of a schema; the largest public ones have a quarter of it.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How deep brackets may nest; schemas need five or six levels.
const MOST_NESTING: usize = 40;

/// Why a text is no schema, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
}

impl Problem {
    /// A problem at this byte of the text.
    pub(super) fn at(text: &[u8], offset: usize, message: &str) -> Self {
        let before = &text[..offset];
        let start = before.iter().rposition(|&byte| byte == b'\n');
        let line = &before[start.map_or(0, |at| at + 1)..];
        Self {
            line: before.split(|&byte| byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(line).chars().count(),
            message: message.to_owned(),
        }
    }
}

/// A text that the parser can take.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    /// The text, without the description of the schema itself.
    pub text: Cow<'a, str>,
    /// The directives that may stand several times at one place, which the parser says of all.
    pub repeatable: BTreeSet<&'a str>,
}

/// Reads the bytes of a schema.
///
/// # Errors
/// If there are too many of them, they are no UTF-8, brackets nest too deep, or a string is not closed.
pub(super) fn prepare(bytes: &[u8]) -> Result<Prepared<'_>, Problem> {
    if bytes.len() > MOST_BYTES {
        let message = format!("a schema has at most {MOST_BYTES} bytes");
        return Err(Problem::at(bytes, MOST_BYTES, &message));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::at(bytes, error.valid_up_to(), "this is not UTF-8"))?;
    let walk = Walk::through(text)?;
    let mut text = Cow::Borrowed(text);
    if let Some((from, to)) = walk.description {
        // Blanks in the place of each character but line breaks: positions stay true.
        let blank = text[from..to].replace(|c| c != '\n' && c != '\r', " ");
        let blank = format!("{blank}{}", " ".repeat(to - from - blank.len()));
        text.to_mut().replace_range(from..to, &blank);
    }
    Ok(Prepared {
        text,
        repeatable: walk.repeatable,
    })
}

/// What was found token by token.
#[derive(Default)]
struct Walk<'a> {
    nesting: usize,
    /// The last three tokens outside of brackets, brackets left out.
    last: [&'a str; 3],
    /// The string in front of the present token.
    string: Option<(usize, usize)>,
    /// The first string in front of `schema`; there is no second one in a sound text.
    description: Option<(usize, usize)>,
    repeatable: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn through(text: &'a str) -> Result<Self, Problem> {
        let (bytes, mut at, mut walk) = (text.as_bytes(), 0, Self::default());
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at..];
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => at += 1,
                b'#' => {
                    let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    at += end.unwrap_or(rest.len());
                }
                b'"' => {
                    let length = string_length(rest)
                        .ok_or_else(|| Problem::at(bytes, at, "this string is not closed"))?;
                    walk.string = Some((at, at + length));
                    at += length;
                }
                b'{' | b'[' | b'(' => {
                    walk.nesting += 1;
                    if walk.nesting > MOST_NESTING {
                        let message = format!("brackets nest at most {MOST_NESTING} deep");
                        return Err(Problem::at(bytes, at, &message));
                    }
                    at += 1;
                }
                b'}' | b']' | b')' => {
                    walk.nesting = walk.nesting.saturating_sub(1);
                    at += 1;
                }
                _ => {
                    let ends = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'_';
                    let word = rest.iter().position(ends).unwrap_or(rest.len());
                    // What is no word goes by characters.
                    let length = if word == 0 { character(byte) } else { word };
                    walk.token(&text[at..at + length]);
                    at += length;
                }
            }
        }
        Ok(walk)
    }

    fn token(&mut self, token: &'a str) {
        let string = self.string.take();
        if self.nesting > 0 {
            return;
        }
        if token == "schema" {
            self.description = self.description.or(string);
        }
        if let ("repeatable", ["directive", "@", name]) = (token, self.last) {
            self.repeatable.insert(name);
        }
        self.last = [self.last[1], self.last[2], token];
    }
}

/// Length of the character that begins with this byte.
fn character(byte: u8) -> usize {
    match byte.leading_ones() {
        0 => 1,
        ones => usize::try_from(ones).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &[u8]) -> (usize, usize, String) {
        let problem = prepare(text).expect_err("must be refused");
        (problem.line, problem.column, problem.message)
    }

    #[test]
    fn only_the_description_of_the_schema_goes_and_positions_stay() {
        for (text, prepared) in [
            (
                "\"what it is\" # why\nschema { query: Q }",
                Some("             # why\nschema { query: Q }"),
            ),
            (
                "\"\"\"\nä\n\"\"\"\nschema @a",
                Some("   \n \n    \nschema @a"),
            ),
            ("type A { \"it\" schema: Int }", None),
            ("\"it\" type schema", None),
            ("\"it\" scalar A schema { query: Q }", None),
            ("# \"it\"\nschema { query: Q }", None),
        ] {
            let said = prepare(text.as_bytes()).expect("a text");
            assert_eq!(said.text, prepared.unwrap_or(text));
        }
    }

    #[test]
    fn directives_that_may_stand_several_times_are_found() {
        for (text, found) in [
            (
                "directive @d repeatable on FIELD directive @e on FIELD",
                "d",
            ),
            (
                "directive @d(a: [Int] = [1]) # on\n repeatable on | FIELD",
                "d",
            ),
            ("directive @repeatable on FIELD", ""),
            (
                "directive @d(repeatable: Int) on FIELD type repeatable { a: Int }",
                "",
            ),
            (
                "\"repeatable\" directive @d on FIELD scalar Ä repeatable",
                "",
            ),
        ] {
            let prepared = prepare(text.as_bytes()).expect("a text");
            let names: Vec<_> = prepared.repeatable.into_iter().collect();
            assert_eq!(names.join(" "), found, "{text}");
        }
    }

    #[test]
    fn what_no_parser_should_see_is_refused_with_its_place() {
        let deep = format!("type Q {{\n  a: {}Int", "[".repeat(100_000));
        let told = (2, 45, "brackets nest at most 40 deep".to_owned());
        assert_eq!(problem(deep.as_bytes()), told);
        let long = vec![b'\n'; MOST_BYTES + 1];
        assert_eq!(problem(&long).2, "a schema has at most 16777216 bytes");
        assert_eq!(
            problem(b"type \xff"),
            (1, 6, "this is not UTF-8".to_owned())
        );
        for text in ["scalar A\n  \"open", "scalar A\n  \"\"\"open\n\n"] {
            let told = (2, 3, "this string is not closed".to_owned());
            assert_eq!(problem(text.as_bytes()), told);
        }
    }
}
