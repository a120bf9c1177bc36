//! The PostgreSQL that the real program starts: whether it runs, and its end.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A PostgreSQL as its `postmaster.pid` tells it.
pub struct Postgres {
    pub pid: u32,
    port: u16,
    data: PathBuf,
}

impl Postgres {
    /// The one that works in this data folder, or did until it was killed.
    pub fn find(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3)?.parse().ok()?,
            data: data.to_owned(),
        })
    }

    /// Whether it accepts connections.
    pub fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    /// Sends a signal, such as `QUIT`; nothing happens if it has ended.
    pub fn signal(&self, name: &str) {
        if self.is_ours() {
            signal(self.pid, name);
        }
    }

    /// Whether the process works in its folder; it may have died and its number gone to another.
    fn is_ours(&self) -> bool {
        match fs::read_link(format!("/proc/{}/cwd", self.pid)) {
            Ok(folder) => self.data.canonicalize().is_ok_and(|data| data == folder),
            // Not every system tells.
            Err(_) => !Path::new("/proc/self").exists(),
        }
    }
}

/// Sends a signal; gives whether there was somebody to take it.
pub fn signal(pid: u32, name: &str) -> bool {
    // The shell's own `kill`: not every system has the program.
    let command = format!("kill -{name} {pid}");
    let sent = Command::new("/bin/sh").args(["-c", &command]).output();
    sent.is_ok_and(|sent| sent.status.success())
}
