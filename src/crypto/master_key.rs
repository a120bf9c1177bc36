//! Where master keys come from: a setting, a file, or a command such as that of a key management service.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use uuid::Uuid;

use crate::crypto::seal::MasterKeys;
use crate::crypto::token::random;

/// How long a command has to say the key.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes that are read of what a command says.
const MOST: u64 = 16 * 1024;

/// The keys that are given, in one of three ways; `None` where they are in none.
///
/// # Errors
/// If the file cannot be read, the command fails, or what is given is no good key. It is never repeated.
pub async fn given(
    text: Option<&SecretString>,
    file: Option<&Path>,
    command: Option<&str>,
) -> anyhow::Result<Option<MasterKeys>> {
    if let Some(text) = text {
        let keys = MasterKeys::parse(text.expose_secret());
        return keys.context("CARDEA_MASTER_KEY").map(Some);
    }
    if let Some(path) = file {
        let what = || format!("CARDEA_MASTER_KEY_FILE {}", path.display());
        let text = fs::read_to_string(path).with_context(what)?;
        return MasterKeys::parse(&text).with_context(what).map(Some);
    }
    match command {
        Some(command) => run(command).await.map(Some),
        None => Ok(None),
    }
}

/// The keys that a command prints, run by `sh`. What it says beside goes where the server's own messages go.
///
/// # Errors
/// If it cannot be run, fails, takes longer than 30 seconds, or prints no good key.
async fn run(command: &str) -> anyhow::Result<MasterKeys> {
    let what = "CARDEA_MASTER_KEY_COMMAND";
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{what} is run by `sh`, and there is none here; an image for it needs a shell")
        }
        child => child.context(what)?,
    };
    let mut stdout = child.stdout.take().context(what)?.take(MOST);
    let ended = async {
        let mut said = Vec::new();
        stdout.read_to_end(&mut said).await?;
        let said = SecretString::from(String::from_utf8_lossy(&said).into_owned());
        // Whoever says more than that must not wait for a reader.
        drop(stdout);
        anyhow::Ok((said, child.wait().await?))
    };
    let Ok(ended) = tokio::time::timeout(PATIENCE, ended).await else {
        bail!("{what} did not end within {} seconds", PATIENCE.as_secs());
    };
    let (said, status) = ended.context(what)?;
    ensure!(status.success(), "{what} failed: {status}");
    MasterKeys::parse(said.expose_secret()).context(what)
}

/// The keys in a file, which is made with a new one where there is none.
///
/// # Errors
/// If the file can be neither read nor made, or holds something else.
pub fn read_or_make(path: &Path) -> anyhow::Result<MasterKeys> {
    let what = || format!("the master key in {}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => return MasterKeys::parse(&text).with_context(what),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path).with_context(what)?,
        Err(error) => return Err(error).with_context(what),
    }
    MasterKeys::parse(&fs::read_to_string(path).with_context(what)?).with_context(what)
}

/// Makes a file with a new key, whole or not at all; of two that make it at once one wins.
fn make(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("the file has no folder")?;
    fs::create_dir_all(folder)?;
    let new = path.with_extension(format!("new-{}", Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let key = STANDARD.encode(random::<32>());
    let mut file = options.open(&new)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/master.key");
        let ids = |keys: MasterKeys| keys.ids().collect::<Vec<_>>();
        let first = ids(read_or_make(&path).expect("made"));
        assert_eq!(ids(read_or_make(&path).expect("read")), first);
        let files = fs::read_dir(path.parent().expect("a folder")).expect("files");
        assert_eq!(files.count(), 1);
    }

    #[tokio::test]
    async fn a_command_says_the_key() {
        let key = STANDARD.encode(random::<32>());
        let ids = |keys: MasterKeys| keys.ids().collect::<Vec<_>>();
        let same = ids(MasterKeys::parse(&key).expect("a key"));
        let said = run(&format!("echo {key}")).await;
        assert_eq!(ids(said.expect("a key")), same);
        for wrong in [
            "exit 3",
            "echo hunter2hunter2",
            "yes | head -c 100000",
            &format!("echo {key}; exit 1"),
            "/nowhere/kms",
        ] {
            let error = run(wrong).await.expect_err(wrong);
            let error = format!("{error:#}");
            assert!(error.starts_with("CARDEA_MASTER_KEY_COMMAND"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(!error.contains(&key), "{error}");
        }
    }
}
