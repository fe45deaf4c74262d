//! TLS as Open vSwitch uses it: a private CA whom both sides trust, a certificate for each.
//!
//! Its servers' certificates mostly name no host, so the chain is what is checked; the name only
//! where one is asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime, pem,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_rustls::{TlsConnector, rustls::client::VerifierBuilderError};

/// Whom to trust and who we are: PEM files, read anew for each connection.
///
/// ```
/// use ovsdb::{Endpoint, Tls};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new("/etc/ovn/cacert.pem").identity("/etc/ovn/cert.pem", "/etc/ovn/key.pem");
/// let endpoint = "ssl:10.0.0.1:6641".parse::<Endpoint>()?.with_tls(tls);
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The certificates of the CAs that may have signed the server's.
    pub ca_certificate: PathBuf,
    /// What we show to a server that asks for it, as OVSDB servers do unless told otherwise.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must be for. Without one, whatever the CA signed is
    /// good, which is how the tools of Open vSwitch have it.
    pub server_name: Option<String>,
}

/// A certificate and the key to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate, and those between it and the CA, if any.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
}

/// TLS that can't be spoken as configured. It comes as the source of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// An endpoint `ssl:` without [`Tls`].
    #[error("no certificate of a CA given")]
    NoTls,
    /// A file can't be read, or holds no certificate or key.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file without any certificate.
    #[error("{}: no certificate found", .0.display())]
    Empty(PathBuf),
    /// Certificates or keys that can't be used.
    #[error("cannot use the certificates")]
    Unusable(#[from] rustls::Error),
    /// The CA's certificates can't be used to check a name.
    #[error("cannot use the certificate of the CA")]
    Verifier(#[from] VerifierBuilderError),
    /// The server's name is no name.
    #[error("invalid server name")]
    ServerName(#[from] InvalidDnsNameError),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl Tls {
    /// Trusts the CA whose certificate this file holds. Shows no certificate of its own.
    pub fn new(ca_certificate: impl Into<PathBuf>) -> Self {
        Self { ca_certificate: ca_certificate.into(), identity: None, server_name: None }
    }

    /// Shows this certificate to the server.
    #[must_use]
    pub fn identity(
        mut self,
        certificate: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) -> Self {
        self.identity =
            Some(Identity { certificate: certificate.into(), private_key: private_key.into() });
        self
    }

    /// Wants the server's certificate to be for this name.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the files.
    pub(crate) async fn load(tls: Option<Self>) -> io::Result<Loaded> {
        let tls = tls.ok_or(TlsError::NoTls)?;
        let load = tokio::task::spawn_blocking(move || tls.read());
        Ok(load.await.map_err(io::Error::other)??)
    }

    fn read(self) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.ca_certificate)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.server_name.is_some() {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
            builder.with_webpki_verifier(verifier)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(ChainOnly { roots, provider }))
        };
        let config = match self.identity {
            Some(identity) => {
                let chain = read_certificates(&identity.certificate)?;
                let path = identity.private_key;
                let key = PrivateKeyDer::from_pem_file(&path)
                    .map_err(|source| TlsError::File { path, source })?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Loaded {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: self.server_name,
        })
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(file)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(file)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(certificates)
}

/// [`Tls`] with its files read.
pub(crate) struct Loaded {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl Loaded {
    pub(crate) async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(TlsError::from)?;
        self.connector.connect(name, stream).await
    }
}

/// Checks that a CA signed the server's certificate and that it is valid now, for whatever name.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
