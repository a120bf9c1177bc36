//! Builds the page in `playground/` with npm and lists its files for `src/http/playground.rs`; lists
//! the mail templates for `src/mail/template.rs`, so that a language is added by adding files.
//! Writes to `OUT_DIR` alone, and must not fail for want of npm: a page from a CDN stands in.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through variables"
)]

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What the page is made from, besides `src`. A `node_modules` that somebody left there is not.
const FILES: [&str; 5] = [
    "cdn.html",
    "index.html",
    "package-lock.json",
    "package.json",
    "vite.config.js",
];
/// The page that loads from a CDN: the path each file is served under, and its source.
const STAND_IN: [(&str, &str); 7] = [
    ("index.html", "cdn.html"),
    ("app.js", "src/app.js"),
    ("catalogue.js", "src/catalogue.js"),
    ("examples.js", "src/examples.js"),
    ("icon.svg", "src/icon.svg"),
    ("page.css", "src/page.css"),
    ("session.js", "src/session.js"),
];
/// Where the mail templates are: a folder for each language.
const TEMPLATES: &str = "src/mail/templates";
const SWITCH: &str = "CARDEA_PLAYGROUND_BUILD";
const TIME_LIMIT: Duration = Duration::from_mins(5);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={SWITCH}");
    for source in FILES.into_iter().chain(["src"]) {
        println!("cargo:rerun-if-changed=playground/{source}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    playground(&out).expect("the sources in playground/ can be copied to OUT_DIR");
    // The whole folder: cargo looks at everything in it.
    println!("cargo:rerun-if-changed={TEMPLATES}");
    let templates = templates().expect("the mail templates can be read");
    fs::write(out.join("mail_templates.rs"), templates).expect("OUT_DIR can be written to");
}

/// Writes the mail templates down as Rust source: language, name and text of each.
fn templates() -> io::Result<String> {
    let mut files = Vec::new();
    for language in fs::read_dir(TEMPLATES)? {
        let language = language?;
        if !language.file_type()?.is_dir() {
            continue;
        }
        for template in fs::read_dir(language.path())? {
            let path = template?.path();
            if let (Some("txt"), Some(name)) = (
                path.extension().and_then(OsStr::to_str),
                path.file_stem().and_then(OsStr::to_str),
            ) {
                files.push((language.file_name().display().to_string(), name.to_owned()));
            }
        }
    }
    files.sort();
    let mut source = String::from("&[\n");
    for (language, name) in files {
        let path = format!("/{TEMPLATES}/{language}/{name}.txt");
        writeln!(
            source,
            "    ({language:?}, {name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),"
        )
        .expect("a String takes any text");
    }
    source.push_str("]\n");
    Ok(source)
}

fn playground(out: &Path) -> io::Result<()> {
    let work = out.join("playground");
    copy(Path::new("playground"), &work, FILES)?;
    let modules = fs::read_dir("playground/src")?.map(|entry| Ok(entry?.file_name()));
    copy(
        Path::new("playground/src"),
        &work.join("src"),
        modules.collect::<io::Result<Vec<_>>>()?,
    )?;

    let wanted = env::var_os("CARGO_FEATURE_PLAYGROUND").is_some()
        && env::var_os(SWITCH).as_deref() != Some(OsStr::new("off"));
    let mut files = Vec::new();
    if wanted {
        match build(&work) {
            Ok(built) => files = built,
            Err(reason) => println!(
                "cargo:warning=GraphiQL is not embedded and will load from a CDN: {reason}. \
                 Touch build.rs to try again, or set {SWITCH}=off."
            ),
        }
    }
    let embedded = !files.is_empty();
    if !embedded {
        files.extend(STAND_IN.map(|(path, source)| (path.to_owned(), source.to_owned())));
    }
    fs::write(out.join("playground.rs"), table(embedded, &files))
}

fn copy<N: AsRef<OsStr>>(
    from: &Path,
    to: &Path,
    names: impl IntoIterator<Item = N>,
) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in names {
        let name = Path::new(name.as_ref());
        // Unlike `fs::copy`: a write protection taken along would stop the next run.
        fs::write(to.join(name), fs::read(from.join(name))?)?;
    }
    Ok(())
}

/// Gives each file of the built page as (path it is served under, path below `work`).
fn build(work: &Path) -> Result<Vec<(String, String)>, String> {
    let lock = fs::read(work.join("package-lock.json")).map_err(|error| error.to_string())?;
    // In there, so that it goes when `node_modules` goes.
    let stamp = work.join("node_modules/.installed-lock.json");
    if !fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        let ci = |source| {
            let flags = [
                "--include=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ];
            npm(
                work,
                &[&["ci", source], &flags[..]].concat(),
                "npm ci failed",
            )
        };
        // npm's cache may hold everything. If not, one request tells whether the registry is there:
        // npm would ask for each of a hundred packages before it gave up, which can take minutes.
        if ci("--offline").is_err() {
            let patience = [
                "--fetch-retries=1",
                "--fetch-retry-mintimeout=1000",
                "--fetch-timeout=10000",
            ];
            let question = [&["view", "graphiql", "version"], &patience[..]].concat();
            npm(work, &question, "npm cannot reach its registry")?;
            ci("--prefer-offline")?;
        }
        fs::write(stamp, lock).map_err(|error| error.to_string())?;
    }

    npm(work, &["run", "build"], "npm run build failed")?;
    let mut files = Vec::new();
    list(work, "dist", &mut files)
        .map_err(|error| format!("the built page cannot be read: {error}"))?;
    // Directories have no order of their own, and the same sources shall give the same binary.
    files.sort();
    Ok(files)
}

/// Runs npm, or gives why it did not: in the words of `failure` where npm ran and failed.
fn npm(work: &Path, arguments: &[&str], failure: &str) -> Result<(), String> {
    let log = work.join("npm.log");
    // A file and not a pipe, which whatever npm started could hold open.
    let output = File::create(&log).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut child = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
        .args(arguments)
        .current_dir(work)
        .env("NODE_ENV", "production")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "npm was not found".to_owned(),
            _ => format!("npm did not start: {error}"),
        })?;

    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err(format!("{failure}, see {}", log.display())),
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            None => {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .map_err(|error| error.to_string())?;
                return Err(format!(
                    "{failure}: stopped after {} s",
                    TIME_LIMIT.as_secs()
                ));
            }
        }
    }
}

fn list(work: &Path, directory: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(work.join(directory))? {
        let entry = entry?;
        let file = format!("{directory}/{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            list(work, &file, files)?;
        } else {
            let path = file.trim_start_matches("dist/").trim_end_matches(".gz");
            files.push((path.to_owned(), file));
        }
    }
    Ok(())
}

/// Writes the files down as Rust source, which `src/http/playground.rs` includes.
fn table(embedded: bool, files: &[(String, String)]) -> String {
    let mut source = format!(
        "const BUILT: bool = {embedded};\n\
         static ASSETS: &[Asset] = &[\n"
    );
    for (path, file) in files {
        let content_type = content_type(path);
        let gzipped = Path::new(file).extension() == Some(OsStr::new("gz"));
        writeln!(
            source,
            "    Asset {{ path: {path:?}, content_type: {content_type:?}, gzipped: {gzipped}, \
             bytes: include_bytes!({:?}) }},",
            format!("playground/{file}"),
        )
        .expect("a String takes any text");
    }
    source.push_str("];\n");
    source
}

fn content_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(OsStr::to_str) {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("md") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ttf") => "font/ttf",
        _ => "application/octet-stream",
    }
}
