//! How a connection to PostgreSQL is protected, and by whom it may be answered. It knows no statement.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::database::{Address, Tls};

/// What goes to and from the database.
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Connects to an address as it wants to be connected to. A file of authorities is read anew each time, so that one that
/// was replaced counts from then on.
///
/// # Errors
/// Why there is no connection.
pub(super) async fn connect(
    address: &Address,
) -> anyhow::Result<(Client, Connection<Socket, Stream>)> {
    let tls = MakeRustlsConnect::new(client(&address.tls)?);
    // Boxed: it would make each future in which somebody connects some kilobytes larger.
    Box::pin(address.server.connect(tls))
        .await
        .map_err(|error| {
            match error.as_db_error() {
                // Without hint and detail, which stand on lines of their own.
                Some(refusal) => anyhow!("{}", refusal.message()),
                None => error.into(),
            }
        })
}

fn client(tls: &Tls) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let unnamed = |verifier: Unnamed| {
        let verifier = Arc::new(verifier);
        let builder = builder.clone().dangerous();
        builder
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth()
    };
    Ok(match tls {
        Tls::VerifyFull(file) => {
            let roots = match file {
                Some(file) => authorities(file)?,
                None => RootCertStore {
                    roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
                },
            };
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Tls::VerifyCa(file) => {
            let roots = Arc::new(authorities(file)?);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            unnamed(Unnamed {
                provider,
                authorities: Some(verifier.build()?),
            })
        }
        Tls::Disable | Tls::Prefer | Tls::Require => unnamed(Unnamed {
            provider,
            authorities: None,
        }),
    })
}

/// The certificates in a file of PEM texts.
fn authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let what = || format!("sslrootcert={}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(what)? {
        roots
            .add(certificate.with_context(what)?)
            .with_context(what)?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate", what());
    Ok(roots)
}

/// Takes a certificate for whatever name it is made out to: one of these authorities, or of anybody. The other side
/// still has to prove that it holds the certificate's key.
#[derive(Debug)]
struct Unnamed {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Unnamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is what it looks at last, when everything else has held.
        match authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
