//! Who may import whom: the table of docs/ARCHITECTURE.md, read from the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A layer, and what of this crate and of others it must not name.
struct Layer {
    /// Files or folders below `src`.
    paths: &'static [&'static str],
    /// The only modules of this crate that it may name; `None` for all but `ours`.
    only: Option<&'static [&'static str]>,
    /// Modules of this crate that it must not name.
    ours: &'static [&'static str],
    /// Crates that it must not name.
    crates: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    // Leaves know nothing of the rest.
    Layer {
        paths: &["crypto"],
        only: Some(&["crypto", "traces"]),
        ours: &[],
        crates: &["axum", "diesel_async"],
    },
    Layer {
        paths: &["clock.rs", "scalar.rs", "schema.rs", "error.rs"],
        only: Some(&[]),
        ours: &[],
        crates: &["axum"],
    },
    Layer {
        paths: &["refusals.rs"],
        only: Some(&[]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["metrics"],
        only: Some(&["metrics"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["traces"],
        only: Some(&["config", "provider::http", "traces"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["together.rs"],
        only: Some(&["error"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    // The data folder hangs on who runs the server; that question is all that config asks.
    Layer {
        paths: &["config"],
        only: Some(&["config", "embedded::running_as_root"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["embedded"],
        only: Some(&["embedded"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["db"],
        only: Some(&["config", "db", "error", "metrics", "traces"]),
        ours: &[],
        crates: &["axum"],
    },
    Layer {
        paths: &["live"],
        only: Some(&["live", "models::audit_event", "models::session", "scalar"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["mail"],
        only: Some(&["config", "mail", "scalar"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["provider"],
        only: Some(&["config", "provider", "traces"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["webhook.rs"],
        only: Some(&["config", "crypto::webhook", "provider::http"]),
        ours: &[],
        crates: &["axum", "diesel", "diesel_async"],
    },
    Layer {
        paths: &["models"],
        only: None,
        ours: &[
            "app", "services", "auth", "graphql", "http", "listener", "worker", "mail", "config",
            "provider", "webhook",
        ],
        crates: &["axum"],
    },
    Layer {
        paths: &["auth"],
        only: None,
        ours: &["app", "services", "graphql", "http", "listener", "worker"],
        crates: &["axum"],
    },
    Layer {
        paths: &["app.rs"],
        only: None,
        ours: &["services", "graphql", "http", "listener", "worker"],
        crates: &["axum"],
    },
    Layer {
        paths: &["services"],
        only: None,
        ours: &["graphql", "http", "listener", "worker"],
        crates: &["axum"],
    },
    // The doors. `graphql/loader.rs` calls model functions with a connection, and names no diesel either.
    Layer {
        paths: &["graphql", "http", "listener.rs", "schedule.rs", "worker.rs"],
        only: None,
        ours: &["schema"],
        crates: &["diesel", "diesel_async", "diesel_migrations"],
    },
];

/// Longest file; a longer one holds two subjects.
const MOST_LINES: usize = 500;

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            sources(&entry.expect("an entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The source without comments, and with string literals emptied.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(at) = rest.find(['/', '"', '\'', 'r']) {
        let (before, tail) = rest.split_at(at);
        code.push_str(before);
        let word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes = tail[1..].len() - tail[1..].trim_start_matches('#').len();
        rest = if tail.starts_with("//") {
            &tail[tail.find('\n').unwrap_or(tail.len())..]
        } else if tail.starts_with("/*") {
            tail.split_once("*/").map_or("", |(_, after)| after)
        } else if let Some(text) = tail.strip_prefix('"') {
            code.push_str("\"\"");
            after_string(text)
        } else if tail.starts_with('r') && !word && tail[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            tail[2 + hashes..]
                .split_once(&end)
                .map_or("", |(_, after)| after)
        } else if tail.starts_with("'\"'") || tail.starts_with("'/'") {
            &tail[3..]
        } else if tail.starts_with("'\\") {
            // An escaped character, which may be a quote.
            tail[3..].split_once('\'').map_or("", |(_, after)| after)
        } else {
            code.push_str(&tail[..1]);
            &tail[1..]
        };
    }
    code + rest
}

fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return &text[at + 1..],
            _ => escaped = c == '\\' && !escaped,
        }
    }
    ""
}

/// Every path of this crate that the code names, such as `models::user::User`; groups taken apart.
fn named(code: &str) -> Vec<String> {
    let text: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let starts = text.match_indices("crate::").filter(|(at, _)| {
        // Not the end of a longer name.
        !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    starts
        .flat_map(|(at, prefix)| expand(&text[at + prefix.len()..]))
        .collect()
}

/// The paths at the beginning of `text`: one, or one for each member of `{…}`.
fn expand(text: &str) -> Vec<String> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(text.len());
        let (path, after) = text.split_at(end);
        let Some(prefix) = path.strip_suffix("::") else {
            return vec![path.to_owned()];
        };
        let members = if after.starts_with('{') {
            expand(after)
        } else {
            vec!["*".to_owned()]
        };
        return members
            .into_iter()
            .map(|member| format!("{prefix}::{member}"))
            .collect();
    };
    let mut members = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                if !group[from..at].trim().is_empty() {
                    members.extend(expand(&group[from..at]));
                }
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    members
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].trim_end();
        let alone = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !before.ends_with("::")
            && !before.ends_with('.');
        let after = &code[at + name.len()..];
        alone
            && (after.starts_with("::")
                || before.ends_with("use") && after.starts_with([';', ' ', ','])
                || before.ends_with("extern crate"))
    })
}

fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What `source` names and must not.
fn trespasses(layer: &Layer, source: &str) -> Vec<String> {
    let code = code(source);
    let mut found: Vec<_> = named(&code)
        .into_iter()
        .filter(|path| match layer.only {
            Some(only) => !only.iter().any(|module| within(path, module)),
            None => layer.ours.iter().any(|module| within(path, module)),
        })
        .map(|path| format!("crate::{path}"))
        .collect();
    let crates = layer.crates.iter().filter(|name| names_crate(&code, name));
    found.extend(crates.map(|name| (*name).to_owned()));
    // A way out of the layer that the search for `crate::` would miss.
    found.extend(
        code.contains("super::super")
            .then(|| "super::super".to_owned()),
    );
    found
}

#[test]
fn no_layer_imports_what_lies_above_it() {
    let mut found = Vec::new();
    for layer in LAYERS {
        for path in layer.paths {
            let mut files = Vec::new();
            sources(&src().join(path), &mut files);
            assert!(
                !files.is_empty(),
                "{path} is gone; say here what came in its place"
            );
            for file in files {
                let source = fs::read_to_string(&file).expect("a source");
                let trespasses = trespasses(layer, &source);
                found.extend(
                    trespasses
                        .into_iter()
                        .map(|what| format!("{} names {what}", file.display())),
                );
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_module_has_its_layer() {
    let listed: Vec<_> = LAYERS.iter().flat_map(|layer| layer.paths).collect();
    for entry in fs::read_dir(src()).expect("src") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        // The crate's map, and the program, which puts everything together.
        let above = ["lib.rs", "main.rs", "command"].contains(&&*name);
        // What is neither a module nor a folder of modules, such as diesel's patch.
        let other = Path::new(&name)
            .extension()
            .is_some_and(|extension| extension != "rs");
        assert!(
            above || other || listed.iter().any(|path| **path == name),
            "{name} has no layer"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    // Generated.
    files.retain(|file| *file != src().join("schema.rs"));
    assert!(files.len() > 50, "the sources were found");
    for file in files {
        let lines = fs::read_to_string(&file).expect("a source").lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", file.display());
    }
}

#[test]
fn the_search_finds_imports_in_every_form() {
    let layer = Layer {
        paths: &[],
        only: None,
        ours: &["services", "schema"],
        crates: &["diesel", "axum"],
    };
    for (source, names) in [
        ("use crate::services::login;", "crate::services::login"),
        (
            "use crate::{app, services::{login::{self}, email}};",
            "crate::services::login::self crate::services::email",
        ),
        ("use crate::services;", "crate::services"),
        ("pub(crate) use crate::services::*;", "crate::services::*"),
        (
            "fn f(x: crate::services::login::SignIn) {}",
            "crate::services::login::SignIn",
        ),
        (
            "use crate::{\n    models,\n    schema::users,\n};",
            "crate::schema::users",
        ),
        (
            "let s = \"// \\\" \"; use crate::schema::users;",
            "crate::schema::users",
        ),
        (
            "let q = '\"'; use crate::schema::users;",
            "crate::schema::users",
        ),
        (
            "let q = '\\''; use crate::schema::users; let r = r#\"x\"#;",
            "crate::schema::users",
        ),
        ("use diesel::prelude::*;", "diesel"),
        ("use diesel;", "diesel"),
        ("let x = diesel::insert_into(y);", "diesel"),
        ("fn f<'a>(x: &'a str) -> axum::Json<()> {}", "axum"),
        ("use super::super::services;", "super::super"),
        // And nothing else.
        ("use crate::servicesx::a; use mycrate::services;", ""),
        (
            "// use crate::services::login;\n//! crate::services\n/// [`crate::services`]",
            "",
        ),
        (
            "/* use diesel::x; */ let s = \"use diesel::x; crate::services\";",
            "",
        ),
        ("let s = r#\"use diesel::x; \"crate::services\"#;", ""),
        (
            "use diesel_async::RunQueryDsl; use crate::db::diesel::x; let for_axum = 1;",
            "",
        ),
        ("use crate::models::services;", ""),
    ] {
        assert_eq!(trespasses(&layer, source).join(" "), names, "{source}");
    }
}
