//! Runs what a section of a page says, on a server of its own, and tells what the page should say.

use async_graphql::Value;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::http::{Request, header};
use chrono::TimeDelta;
use serde_json::json;
use std::ops::Range;

use crate::harness::TestApp;
use crate::harness::device::Device;
use crate::harness::page::{Block, Kind, Section};
use crate::harness::shown::{self, Names};
use crate::harness::socket::until;
use crate::harness::stream::{EVENTS, Stream, ask};

/// The media type that every request accepts.
const ACCEPT: &str = "application/graphql-response+json";

/// Who may have an account on a page, beside the name that they sign in with.
const PEOPLE: [(&str, &str); 4] = [
    ("Ada", "Ada Lovelace"),
    ("Charles", "Charles Babbage"),
    ("Grace", "Grace Hopper"),
    ("Root", "Root"),
];

/// What came of a section.
#[derive(Default)]
pub struct Played {
    /// How many blocks were run.
    pub blocks: usize,
    /// Answers that are others than the page says: where they stand, what stands there, what should.
    pub stale: Vec<(Range<usize>, String, String)>,
    /// Why the rest of the section was not run.
    pub stopped: Option<String>,
}

/// A request that has not been sent.
enum Asked {
    Document(String, Option<serde_json::Value>),
    Raw(String),
}

struct Player {
    app: TestApp,
    names: Names,
    asked: Option<Asked>,
    /// The document before, which is asked again where variables stand alone.
    last: Option<String>,
    /// What is followed, and whether anything was told of it.
    stream: Option<(Stream, bool)>,
    played: Played,
}

/// Runs a section.
pub async fn play(section: &Section) -> Played {
    let mut player = Player {
        app: TestApp::new().await,
        names: Names::default(),
        asked: None,
        last: None,
        stream: None,
        played: Played::default(),
    };
    for block in &section.blocks {
        if let Err(problem) = player.block(block).await {
            let line = block.lines.start + 1;
            let title = &section.title;
            player.played.stopped = Some(format!("{title}, line {line}: {problem}"));
            return player.played;
        }
        player.played.blocks += 1;
    }
    if player.asked.is_some() || player.stream.is_some_and(|stream| !stream.1) {
        player.played.stopped = Some(format!("{}: the last answer is missing", section.title));
    }
    player.played
}

impl Player {
    async fn block(&mut self, block: &Block) -> Result<(), String> {
        let text = &*block.text;
        match block.kind {
            Kind::Stage => {
                self.nothing_waits()?;
                for sentence in text.split_inclusive(". ") {
                    self.stage(sentence.trim_end()).await?;
                }
                Ok(())
            }
            Kind::Document => {
                self.nothing_waits()?;
                self.document(text).await
            }
            Kind::Http if !text.starts_with("HTTP/1.1 ") => {
                self.nothing_waits()?;
                self.asked = Some(Asked::Raw(text.to_owned()));
                Ok(())
            }
            Kind::Http => self.answer(block).await,
            Kind::Json => {
                let value = read(text)?;
                let Value::Object(members) = &value else {
                    return Err("neither variables nor an answer".to_owned());
                };
                let is_answer = members.keys().all(|key| key == "data" || key == "errors");
                if is_answer {
                    return self.answer(block).await;
                }
                let document = match self.asked.take() {
                    Some(Asked::Document(document, None)) => document,
                    None => self.last.clone().ok_or("variables without a document")?,
                    Some(_) => return Err("the request before has no answer".to_owned()),
                };
                let variables = serde_json::from_str(&self.names.told(text)?);
                let variables = variables.map_err(|error| error.to_string())?;
                self.asked = Some(Asked::Document(document, Some(variables)));
                Ok(())
            }
            Kind::Events => self.event(block).await,
        }
    }

    fn nothing_waits(&self) -> Result<(), String> {
        match self.asked {
            None => Ok(()),
            Some(_) => Err("the request before has no answer".to_owned()),
        }
    }

    /// A sentence between two requests; there are no others than these.
    async fn stage(&mut self, text: &str) -> Result<(), String> {
        let pieces: Vec<&str> = text.split('`').collect();
        let quoted: Vec<&str> = pieces.iter().skip(1).step_by(2).copied().collect();
        let sentence: Vec<&str> = pieces.iter().step_by(2).copied().collect();
        let sentence = sentence.join("_");
        let people = PEOPLE.iter().find(|(name, _)| text.starts_with(name));
        match (&*sentence, &*quoted) {
            ("The mail to _ carries _.", [to, name]) => {
                let token = self.app.mailed_token(to).await;
                self.names.bind(name, &token)
            }
            ("The device shows _, made from _.", [name, secret]) => {
                let secret = self.names.value(secret).ok_or("the secret is not known")?;
                let code = Device::new(&self.app, secret).code();
                self.names.bind(name, &code)
            }
            (sentence, []) if sentence.ends_with(" later.") => {
                let by = span(sentence.trim_end_matches(" later."))?;
                self.app.run_jobs().await;
                self.app.advance(by);
                self.app.erase_due().await;
                self.app.run_jobs().await;
                Ok(())
            }
            (sentence, quoted) => {
                let (name, full_name) = people.ok_or("no sentence that is understood")?;
                let account = name.to_lowercase();
                let (client, token) = match (sentence.trim_start_matches(name), quoted) {
                    (" is signed in: _.", [token]) => (self.app.user(&account).await, Some(token)),
                    (" has an account.", []) => (self.app.user(&account).await, None),
                    (" is an administrator and signed in: _.", [token]) => {
                        let client = self.app.user_with_role(&account, "admin").await;
                        (client, Some(token))
                    }
                    _ => return Err("no sentence that is understood".to_owned()),
                };
                let bearer = client.access_token.clone();
                let set = "UPDATE users SET full_name =";
                let whose = format!("WHERE username = '{account}'");
                self.app
                    .db
                    .sql(&format!("{set} '{full_name}' {whose}"))
                    .await;
                token.map_or(Ok(()), |token| self.names.bind(token, &bearer))
            }
        }
    }

    async fn document(&mut self, text: &str) -> Result<(), String> {
        let document = self.names.told(text)?;
        let parsed = parse_query(&document).map_err(|error| error.to_string())?;
        let is_stream = parsed
            .operations
            .iter()
            .any(|(_, operation)| operation.node.ty == OperationType::Subscription);
        if !is_stream {
            self.last = Some(document.clone());
            self.asked = Some(Asked::Document(document, None));
            return Ok(());
        }
        let access = &self.app.app.access;
        until("the line to the database", || access.is_believed()).await;
        let stream = ask(&self.app, EVENTS, &document, &heads(&document)).await;
        self.stream = Some((stream.map_err(|answer| answer.text)?, false));
        Ok(())
    }

    /// Sends what was asked; compares the answer with this block.
    async fn answer(&mut self, block: &Block) -> Result<(), String> {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        let request = match &asked {
            Asked::Document(document, variables) => {
                let body = json!({ "query": document, "variables": variables });
                let mut request = Request::post("/graphql")
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::ACCEPT, ACCEPT);
                for (name, value) in heads(document) {
                    request = request.header(name, value);
                }
                request.body(Body::from(body.to_string()))
            }
            Asked::Raw(text) => {
                let text = self.names.told(text)?;
                let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
                let mut lines = head.lines();
                let line = lines.next().unwrap_or_default();
                let (method, path) = line.split_once(' ').ok_or("no line of a request")?;
                let mut request = Request::builder().method(method).uri(path);
                for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                    request = request.header(name, value);
                }
                request.body(Body::from(body.to_owned()))
            }
        };
        let answer = self.app.send(request.map_err(|e| e.to_string())?).await;

        // Of the head a page shows the status where it is not 200, and what it chooses to.
        let (head, body) = match block.kind {
            Kind::Http => block.text.split_once("\n\n").unwrap_or((&block.text, "{}")),
            _ => ("", &*block.text),
        };
        let mut lines = vec![format!("HTTP/1.1 {}", answer.status)];
        for (name, _) in head.lines().filter_map(|line| line.split_once(": ")) {
            let value = answer.header(name).unwrap_or("missing");
            lines.push(format!("{name}: {value}"));
        }
        let shown = self
            .names
            .shown(Some(&read(body)?), &read(&answer.text)?)
            .map(|shown| shown::json(&shown))?;
        let current = if answer.status == 200 && lines.len() == 1 {
            format!("```json\n{shown}\n```")
        } else {
            format!("```http\n{}\n\n{shown}\n```", lines.join("\n"))
        };
        self.compare(block, current);
        Ok(())
    }

    /// Compares what comes by the stream next with this block.
    async fn event(&mut self, block: &Block) -> Result<(), String> {
        self.nothing_waits()?;
        let (stream, told) = self.stream.as_mut().ok_or("nothing is followed")?;
        let text = stream.text().await;
        *told = true;
        let (head, data) = text.split_once("data: ").ok_or("no event")?;
        let on_page = block
            .text
            .split_once("data: ")
            .map_or("{}", |parts| parts.1);
        let shown = self.names.shown(Some(&read(on_page)?), &read(data)?)?;
        let current = format!("```text\n{head}data: {}\n```", shown::in_line(&shown));
        self.compare(block, current);
        Ok(())
    }

    fn compare(&mut self, block: &Block, current: String) {
        let language = match block.kind {
            Kind::Http => "http",
            Kind::Events => "text",
            _ => "json",
        };
        let on_page = format!("```{language}\n{}\n```", block.text);
        if on_page != current {
            let lines = block.lines.clone();
            self.played.stale.push((lines, on_page, current));
        }
    }
}

fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

/// The headers that a document begins with, as comments: `# Authorization: Bearer …`.
fn heads(document: &str) -> Vec<(&str, &str)> {
    let lines = document.lines();
    lines
        .map_while(|line| line.strip_prefix("# ")?.split_once(": "))
        .collect()
}

/// A span of time in words: `6 minutes`.
fn span(words: &str) -> Result<TimeDelta, String> {
    let number = words.split_once(' ').and_then(|(number, unit)| {
        let number = number.parse::<i64>().ok()?;
        match unit.trim_end_matches('s') {
            "second" => Some(TimeDelta::seconds(number)),
            "minute" => Some(TimeDelta::minutes(number)),
            "hour" => Some(TimeDelta::hours(number)),
            "day" => Some(TimeDelta::days(number)),
            _ => None,
        }
    });
    number.ok_or_else(|| format!("{words:?} is no span of time"))
}
