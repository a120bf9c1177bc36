//! Owns finding the programs of an installed PostgreSQL.
//! Must not install or fetch anything, nor change the machine.

use std::fmt;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow};

use super::account::Account;

/// The first with `NULLS NOT DISTINCT` and `initdb --locale-provider`.
const OLDEST: u32 = 15;

/// Parent, start of the name and folder below it, of where systems put PostgreSQL.
const USUAL: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                  // Fedora and Red Hat, from postgresql.org
    ("/usr", "bin", ""),                        // Fedora, Arch
    ("/usr/lib", "postgresql", "bin"),          // openSUSE
    ("/usr/libexec", "postgresql", ""),         // Alpine
    ("/opt/homebrew/opt", "postgresql", "bin"), // macOS on ARM
    ("/usr/local/opt", "postgresql", "bin"),    // macOS on Intel
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // macOS
    ("/usr/local", "pgsql", "bin"),             // built from source
];

/// A folder with `initdb`, `pg_ctl` and `postgres`, all of one version.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.major, self.dir.display())
    }
}

impl Binaries {
    /// Finds those that `account` can run: of the major version that `made_by` names, or without
    /// one any that is new enough.
    pub(super) fn find(
        setting: Option<&Path>,
        made_by: Option<u32>,
        account: Account,
    ) -> Result<Self> {
        let folders: Box<dyn Iterator<Item = PathBuf>> = match setting {
            Some(dir) => Box::new(iter::once(dir.to_owned())),
            None => Box::new(usual_folders(account)),
        };
        let mut unfit: Vec<Self> = Vec::new();
        for dir in folders.filter_map(|dir| dir.canonicalize().ok()) {
            if unfit.iter().any(|known| known.dir == dir) {
                continue;
            }
            match Self::probe(dir, account) {
                Some(found)
                    if made_by.map_or(found.major >= OLDEST, |major| found.major == major) =>
                {
                    return Ok(found);
                }
                Some(found) => unfit.push(found),
                None => {}
            }
        }
        Err(not_found(setting, made_by, &unfit))
    }

    fn probe(dir: PathBuf, account: Account) -> Option<Self> {
        if !["initdb", "pg_ctl"]
            .iter()
            .all(|program| dir.join(program).is_file())
        {
            return None;
        }
        let version = account
            .command(dir.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let major = parse_major(&String::from_utf8_lossy(&version.stdout))?;
        Some(Self { dir, major })
    }
}

fn usual_folders(account: Account) -> impl Iterator<Item = PathBuf> {
    iter::once_with(move || pg_config(account))
        .chain(iter::once_with(move || on_path(account)))
        .flatten()
        .chain(
            USUAL
                .iter()
                .flat_map(|(parent, name, below)| newest_first(parent, name, below)),
        )
}

fn pg_config(account: Account) -> Option<PathBuf> {
    first_line(account.command("pg_config").arg("--bindir").output())
}

fn on_path(account: Account) -> Option<PathBuf> {
    let postgres = first_line(
        account
            .command("/bin/sh")
            .args(["-c", "command -v postgres"])
            .output(),
    )?;
    Some(postgres.canonicalize().ok()?.parent()?.to_owned())
}

fn first_line(output: std::io::Result<std::process::Output>) -> Option<PathBuf> {
    let output = output.ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(
        String::from_utf8(output.stdout).ok()?.lines().next()?,
    ))
}

fn newest_first(parent: &str, name: &str, below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut found: Vec<(Option<u32>, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(name))
        .map(|entry| {
            (
                trailing_number(&entry.file_name().to_string_lossy()),
                entry.path().join(below),
            )
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn trailing_number(name: &str) -> Option<u32> {
    name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..]
        .parse()
        .ok()
}

fn parse_major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| {
        word.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    })
}

fn not_found(setting: Option<&Path>, made_by: Option<u32>, unfit: &[Binaries]) -> Error {
    let place = setting.map_or("this machine".to_owned(), |dir| dir.display().to_string());
    let seen: Vec<_> = unfit.iter().map(ToString::to_string).collect();
    let seen = if seen.is_empty() {
        "none".to_owned()
    } else {
        seen.join(", ")
    };
    match made_by {
        Some(major) => anyhow!(
            "the data was made by PostgreSQL {major}, but {place} has {seen}; install PostgreSQL \
             {major}, or move the data away to start afresh, or set DATABASE_URL"
        ),
        None => anyhow!(
            "{place} has no PostgreSQL {OLDEST} or newer (found: {seen}); install it \
             (Debian, Ubuntu: `sudo apt install postgresql`; Fedora: `sudo dnf install \
             postgresql-server postgresql-contrib`; macOS: `brew install postgresql@17`), or set DATABASE_URL to \
             a database of yours"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(
            parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL)"), None);
    }

    #[test]
    fn folder_names_order_by_number_not_by_text() {
        assert!(trailing_number("9") < trailing_number("15"));
        assert_eq!(trailing_number("postgresql@17"), Some(17));
        assert_eq!(trailing_number("latest"), None);
    }

    #[test]
    fn a_setting_that_holds_nothing_says_what_to_install() {
        let nowhere = Binaries::find(Some(Path::new("/nowhere")), None, Account::Own)
            .expect_err("nothing there");
        let text = nowhere.to_string();
        assert!(
            text.contains("/nowhere")
                && text.contains("apt install")
                && text.contains("DATABASE_URL"),
            "{text}"
        );
    }
}
