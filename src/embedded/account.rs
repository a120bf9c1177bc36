//! Owns the account that PostgreSQL runs as, which is never root.
//! Must not change anything but the owner of files that it is handed.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const UNPRIVILEGED: &str = "nobody";

/// Who runs the programs of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Account {
    /// Whoever runs Cardea.
    Own,
    /// Another, because Cardea runs as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The account for the cluster in `data`: an existing one stays with its owner.
    pub(super) fn for_data(data: impl AsRef<Path>) -> Result<Self> {
        if !is_root() {
            return Ok(Self::Own);
        }
        if let Ok(existing) = fs::metadata(data) {
            return Ok(Self::Other {
                uid: existing.uid(),
                gid: existing.gid(),
            });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        parse_passwd(&passwd, UNPRIVILEGED).with_context(|| {
            format!(
                "PostgreSQL refuses to run as root, and /etc/passwd has no `{UNPRIVILEGED}` to \
                 run it as; run Cardea as an ordinary user, or set DATABASE_URL"
            )
        })
    }

    /// A command that runs as this account, in a folder it can enter, without input, in plain
    /// English, and out of reach of the terminal's Ctrl-C, which is for Cardea alone.
    pub(super) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir("/").env("LC_ALL", "C");
        command.stdin(Stdio::null()).process_group(0);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes this account the owner of `path`.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Fails if this account cannot enter `dir`. Does not know about access control lists.
    pub(super) fn check_reach(self, dir: &Path) -> Result<()> {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot open the folder {}", dir.display()))?;
        if let Some(closed) = self.closed_folder(&dir) {
            let closed = closed.display();
            bail!(
                "{closed} is closed to the account that runs PostgreSQL, which refuses root; \
                 choose another folder, or `chmod o+x {closed}`"
            );
        }
        Ok(())
    }

    fn closed_folder(self, dir: &Path) -> Option<PathBuf> {
        let Self::Other { uid, gid } = self else {
            return None;
        };
        let may_enter = |folder: &Path| {
            fs::metadata(folder).is_ok_and(|meta| {
                let bit = if meta.uid() == uid {
                    0o100
                } else if meta.gid() == gid {
                    0o010
                } else {
                    0o001
                };
                meta.mode() & bit != 0
            })
        };
        dir.ancestors()
            .find(|folder| !may_enter(folder))
            .map(Path::to_owned)
    }
}

/// Whether Cardea runs as root.
pub(super) fn is_root() -> bool {
    // The standard library does not tell. Linux shows it as the owner of this folder.
    match fs::metadata("/proc/self") {
        Ok(process) => process.uid() == 0,
        Err(_) => Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|id| id.stdout.trim_ascii() == b"0"),
    }
}

fn parse_passwd(passwd: &str, name: &str) -> Option<Account> {
    // macOS writes `nobody` as -2.
    let id = |text: &str| {
        text.parse()
            .or_else(|_| text.parse().map(i32::cast_unsigned))
            .ok()
    };
    passwd
        .lines()
        .find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
            [account, _, uid, gid, ..] if account == name => Some(Account::Other {
                uid: id(uid)?,
                gid: id(gid)?,
            }),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unprivileged_account_is_read_on_linux_and_macos() {
        let linux = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let macos = "# comment\nnobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n";
        assert_eq!(
            parse_passwd(linux, "nobody"),
            Some(Account::Other {
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(
            parse_passwd(macos, "nobody"),
            Some(Account::Other {
                uid: 4_294_967_294,
                gid: 4_294_967_294
            })
        );
        assert_eq!(parse_passwd(linux, "body"), None);
    }
}
