//! Scripts that run in Python beside a server, their packages installed outside the sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::node::{run, skip};

const INSTALL_LIMIT: Duration = Duration::from_mins(3);

/// The Python that has the packages of `tests/<folder>/requirements.txt`, in an environment of its own.
/// `None`, with a notice, on a machine without Python; a CI without it fails.
///
/// Blocks while they are installed, and while another test installs the same.
pub fn installed(folder: &str) -> Option<PathBuf> {
    let found = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        skip("Python with its module venv is not installed");
        return None;
    }
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let wanted = fs::read_to_string(wanted.join("requirements.txt")).expect("a list of packages");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("python")
        .join(folder);
    fs::create_dir_all(&home).expect("a folder under target/");
    // Released when it is dropped; it holds between threads and between processes.
    let lock = File::create(home.join(".lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let environment = home.join("venv");
    let python = environment.join("bin").join("python");
    // In there, so that it goes when the environment goes.
    let stamp = environment.join(".installed-requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Some(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear", "venv"]);
    fs::write(home.join("requirements.txt"), &wanted).expect("a file under target/");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--no-deps", "--no-input"]);
    install.args(["--disable-pip-version-check", "-r", "requirements.txt"]);
    for (name, command) in [("venv", make), ("pip", install)] {
        let (status, printed) = run(command, &home, name, INSTALL_LIMIT);
        assert!(status.success(), "{name} failed:\n{printed}");
    }
    fs::write(stamp, wanted).expect("a file under target/");
    Some(python)
}
