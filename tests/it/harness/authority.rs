//! Certificates of a server, and the authority that made them.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// A certificate authority of the test, and a server's certificate from it.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// With a certificate that is made out to `host`.
    pub fn certifying(host: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut authority = CertificateParams::default();
        let name = format!("Authority of {host}");
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("a certificate");
        let server = CertificateParams::new([host.to_owned()]).expect("a name");
        let server_key = key();
        let server = server
            .signed_by(&server_key, &authority)
            .expect("a certificate");
        for (file, content) in [
            ("authority.pem", authority.pem()),
            ("server.pem", server.pem()),
            ("server.key", server_key.serialize_pem()),
        ] {
            fs::write(folder.path().join(file), content).expect("a file");
        }
        Self { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
