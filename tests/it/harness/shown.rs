//! How a page shows an answer: what differs each time is a name there, such as `<accessToken>`, and `…` stands
//! for what is left out.

use std::fmt::Write as _;

use async_graphql::Value;
use async_graphql::indexmap::IndexMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Most characters of a line of JSON.
const WIDTH: usize = 120;

const LEFT_OUT: &str = "…";

/// What the names of a section stand for.
#[derive(Default)]
pub struct Names(Vec<(String, String)>);

impl Names {
    /// Gives `<name>` to a value. A name has one value, and a value one name.
    pub fn bind(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !fits(name, value) {
            return Err(format!("{name} does not look like {value:?}"));
        }
        match self.0.iter().find(|(_, known)| known == value) {
            Some((known, _)) if known != name => {
                Err(format!("{name} is what {known} stands for already"))
            }
            Some(_) => Ok(()),
            None if self.value(name).is_some() => {
                Err(format!("{name} stands for something else already"))
            }
            None => {
                self.0.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// What `<name>` stands for.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    /// The text with values in the place of names.
    pub fn told(&self, text: &str) -> Result<String, String> {
        let mut told = text.to_owned();
        for (name, value) in &self.0 {
            told = told.replace(name, value);
        }
        let mut pieces = told.split('<').skip(1);
        match pieces.find_map(|piece| Some(piece.split_once('>')?.0).filter(|name| is_word(name))) {
            None => Ok(told),
            Some(name) => Err(format!("nothing has said what <{name}> is")),
        }
    }

    /// The text with names in the place of values.
    fn hidden(&self, text: &str) -> String {
        // A short value may stand in a text by chance.
        let mut hidden = text.to_owned();
        for (name, value) in &self.0 {
            if value == text {
                return name.clone();
            }
            if value.len() >= 16 {
                hidden = hidden.replace(value, name);
            }
        }
        hidden
    }

    /// What a page shows of an answer: names where it has names, gaps where it has gaps, else all of it.
    pub fn shown(&mut self, on_page: Option<&Value>, actual: &Value) -> Result<Value, String> {
        Ok(match (on_page, actual) {
            (on_page, Value::String(actual)) => {
                if let Some(Value::String(name)) = on_page
                    && is_name(name)
                    && self.value(name).is_none()
                {
                    self.bind(name, actual)?;
                }
                Value::String(self.hidden(actual))
            }
            (on_page, Value::List(actual)) => {
                let on_page = match on_page {
                    Some(Value::List(list)) => &list[..],
                    _ => &[],
                };
                let gap = on_page.last().is_some_and(is_gap) && on_page.len() <= actual.len();
                let many = if gap { on_page.len() - 1 } else { actual.len() };
                let elements = actual.iter().enumerate().take(many);
                let shown: Result<Vec<_>, _> = elements
                    .map(|(at, element)| self.shown(on_page.get(at), element))
                    .collect();
                let mut shown = shown?;
                shown.extend(gap.then(|| Value::from(LEFT_OUT)));
                Value::List(shown)
            }
            (on_page, Value::Object(actual)) => {
                let empty = IndexMap::new();
                let on_page = match on_page {
                    Some(Value::Object(members)) => members,
                    _ => &empty,
                };
                let gap = on_page.get(LEFT_OUT);
                let mut shown = IndexMap::new();
                for (key, value) in actual {
                    let known = on_page.get(key);
                    if known.is_some() || gap.is_none() {
                        shown.insert(key.clone(), self.shown(known, value)?);
                    }
                }
                if let Some(gap) = gap.filter(|_| shown.len() < actual.len()) {
                    shown.insert(async_graphql::Name::new(LEFT_OUT), gap.clone());
                }
                Value::Object(shown)
            }
            (_, other) => other.clone(),
        })
    }
}

fn is_gap(value: &Value) -> bool {
    matches!(value, Value::String(text) if text == LEFT_OUT)
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_name(text: &str) -> bool {
    let name = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    name.is_some_and(is_word)
}

/// Whether a value is what its name says, by the name's last words.
fn fits(name: &str, value: &str) -> bool {
    let word = name.trim_matches(['<', '>']);
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let word = word.to_ascii_lowercase();
    let of = |alphabet: fn(&u8) -> bool, length: usize| {
        value.len() == length && value.bytes().all(|c| alphabet(&c))
    };
    let opaque = |kind: &str| {
        let random = value.strip_prefix(kind).and_then(|v| v.strip_prefix('_'));
        random.is_some_and(|random| random.len() == 43)
    };
    let ends = |ending: &str| word.ends_with(ending);
    if ends("accesstoken") {
        value.starts_with("eyJ") && value.split('.').count() == 3
    } else if ends("refreshtoken") {
        opaque("crr")
    } else if ends("challengetoken") {
        opaque("ctf")
    } else if ends("devicetoken") {
        opaque("ctd")
    } else if ends("token") {
        opaque("crv")
    } else if ends("secret") {
        of(|c| c.is_ascii_uppercase() || c.is_ascii_digit(), 32)
    } else if ends("recoverycode") {
        value.len() > 8
            && value
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-')
    } else if ends("code") {
        of(u8::is_ascii_digit, 6)
    } else if ends("uuid") {
        value.parse::<Uuid>().is_ok() && value.len() == 36
    } else if ends("id") || ends("cursor") {
        URL_SAFE_NO_PAD
            .decode(value)
            .is_ok_and(|bytes| bytes.len() > 8)
    } else {
        false
    }
}

/// A value as JSON: in one line where it fits, else in several.
pub fn json(value: &Value) -> String {
    written(value, 0, 0)
}

fn written(value: &Value, indent: usize, before: usize) -> String {
    let line = in_line(value);
    if indent + before + line.chars().count() <= WIDTH {
        return line;
    }
    // What has one member wraps it closely; of several, an object has as many in a line as there is room for.
    let (brackets, packs, members): (_, _, Vec<(String, &Value)>) = match value {
        Value::List(list) => {
            let members = list.iter().map(|value| (String::new(), value));
            (["[", "]"], false, members.collect())
        }
        Value::Object(object) => {
            let members = object.iter();
            let members = members.map(|(key, value)| (format!("\"{key}\": "), value));
            (["{", "}"], true, members.collect())
        }
        _ => return line,
    };
    let [open, close] = brackets;
    if let [(key, value)] = &members[..] {
        let space = if packs { " " } else { "" };
        let value = written(value, indent, before + key.len() + 4);
        return format!("{open}{space}{key}{value}{space}{close}");
    }
    let mut text = open.to_owned();
    let mut room = 0;
    for (at, (key, value)) in members.iter().enumerate() {
        let value = written(value, indent + 2, key.len() + 1);
        let (one_line, length) = (!value.contains('\n'), key.len() + value.chars().count() + 2);
        if packs && one_line && length < room {
            text += " ";
            room -= length;
        } else {
            let _ = write!(text, "\n{:indent$}  ", "");
            room = WIDTH.saturating_sub(indent + 2 + length);
            room = if one_line { room } else { 0 };
        }
        let comma = if at + 1 < members.len() { "," } else { "" };
        let _ = write!(text, "{key}{value}{comma}");
    }
    let _ = write!(text, "\n{:indent$}{close}", "");
    text
}

/// A value as JSON in one line.
pub fn in_line(value: &Value) -> String {
    match value {
        Value::List(list) => {
            let members: Vec<_> = list.iter().map(in_line).collect();
            format!("[{}]", members.join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| format!("\"{key}\": {}", in_line(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        other => serde_json::to_string(other).expect("JSON"),
    }
}
