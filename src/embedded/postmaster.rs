//! Owns reading `postmaster.pid`, the file in which a running server says who and where it is.
//! Must not start, stop or signal anything.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A server as its `postmaster.pid` tells it.
#[derive(Debug, PartialEq)]
pub(super) struct Postmaster {
    pid: u32,
    /// Where it accepts connections; none while it starts or stops.
    port: Option<u16>,
}

impl Postmaster {
    /// Reads the file's text, which may be half-written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let ready = lines.get(7) == Some(&"ready");
        let port = lines
            .get(3)
            .filter(|_| ready)
            .and_then(|port| port.parse().ok());
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port,
        })
    }

    /// The port, if the server accepts connections there.
    pub(super) fn answering(&self) -> Option<u16> {
        let reach = |port: &u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        };
        self.port.filter(reach)
    }

    /// Whether the process is known not to be the server of `data`, although its number is taken.
    ///
    /// After a crash, the number may belong to anything, often so in a container, where numbers are
    /// low, or to the dead server itself until its parent notices. A server works in its data
    /// folder, which Linux shows; elsewhere the answer is no.
    pub(super) fn is_stranger(&self, data: &Path) -> bool {
        // Not by name, of which a folder may have several.
        let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        match identity(Path::new(&format!("/proc/{}/cwd", self.pid))) {
            Ok(folder) => identity(data).is_ok_and(|data| data != folder),
            Err(error) => error.kind() == ErrorKind::NotFound && Path::new("/proc/self").exists(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_server_has_a_port() {
        let file = |status: &str| {
            format!("4711\n/srv/data\n1700000000\n40123\n\n127.0.0.1\n  1234 5\n{status}\n")
        };
        let at = |port| Some(Postmaster { pid: 4711, port });
        assert_eq!(Postmaster::parse(&file("ready   ")), at(Some(40123)));
        assert_eq!(Postmaster::parse(&file("starting")), at(None));
        assert_eq!(Postmaster::parse(&file("stopping")), at(None));
        assert_eq!(Postmaster::parse("4711\n/srv/data\n"), at(None));
        assert_eq!(Postmaster::parse(""), None);
    }
}
