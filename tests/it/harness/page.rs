//! A page of documentation whose requests are run: what is on it, in order, and how it is written anew.
//!
//! Nothing is passed over: a code block of a language that is not named here is refused.

use std::fmt::Write as _;
use std::ops::Range;

/// What a piece of the page is, by how it is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block quote: what happens between two requests.
    Stage,
    /// `graphql`: what is sent.
    Document,
    /// `json`: variables, or the body of an answer.
    Json,
    /// `http`: a request or an answer with its head.
    Http,
    /// `text`: what came by a stream.
    Events,
}

/// A piece of the page.
#[derive(Debug)]
pub struct Block {
    pub kind: Kind,
    pub text: String,
    /// Where it stands: lines counted from 0, its marks among them.
    pub lines: Range<usize>,
}

/// What stands behind a heading of the second level.
#[derive(Debug)]
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// Reads a page.
pub fn read(page: &str) -> Result<Vec<Section>, String> {
    let lines: Vec<&str> = page.lines().collect();
    let mut sections: Vec<Section> = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let begin = at;
        at += 1;
        let (kind, text) = if let Some(title) = line.strip_prefix("## ") {
            let title = title.to_owned();
            let blocks = Vec::new();
            sections.push(Section { title, blocks });
            continue;
        } else if line.starts_with('>') {
            while lines.get(at).is_some_and(|line| line.starts_with('>')) {
                at += 1;
            }
            let quoted = lines[begin..at].iter();
            let text: Vec<&str> = quoted.map(|line| line[1..].trim()).collect();
            (Kind::Stage, text.join(" "))
        } else if let Some(language) = line.strip_prefix("```") {
            let rest = lines[at..].iter();
            let length = rest.clone().take_while(|line| **line != "```").count();
            if length == rest.len() {
                return Err(format!("line {at}: the block has no end"));
            }
            let text = lines[at..at + length].join("\n");
            at += length + 1;
            let kind = match language {
                "graphql" => Kind::Document,
                "json" => Kind::Json,
                "http" => Kind::Http,
                "text" => Kind::Events,
                other => return Err(format!("line {}: nobody runs {other:?}", begin + 1)),
            };
            (kind, text)
        } else {
            continue;
        };
        let section = sections
            .last_mut()
            .ok_or_else(|| format!("line {}: before the first section", begin + 1))?;
        let lines = begin..at;
        section.blocks.push(Block { kind, text, lines });
    }
    Ok(sections)
}

/// The page with other texts in the place of these lines, which are told in order.
pub fn rewritten(page: &str, changes: &[(Range<usize>, String)]) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let (mut text, mut at) = (String::new(), 0);
    let mut copy = |text: &mut String, until: usize| {
        for line in &lines[at..until] {
            let _ = writeln!(text, "{line}");
        }
        at = until;
    };
    for (range, new) in changes {
        copy(&mut text, range.start);
        let _ = writeln!(text, "{new}");
        // What stood there is passed over.
        let mut gone = String::new();
        copy(&mut gone, range.end);
    }
    copy(&mut text, lines.len());
    text
}

/// What differs between two texts: the lines between their common beginning and their common end.
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let tails = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = tails.take_while(same).count();
    let mut text = String::new();
    for line in &old[head..old.len() - tail] {
        let _ = writeln!(text, "- {line}");
    }
    for line in &new[head..new.len() - tail] {
        let _ = writeln!(text, "+ {line}");
    }
    text
}
