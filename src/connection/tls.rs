//! The server's side of TLS: 1.2 and 1.3, with our certificate; clients need none.

use std::io;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Negotiates TLS with clients. Clones are cheap.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// An acceptor that shows this certificate.
    pub fn new(certified: CertifiedKey) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver = SingleCertAndKey::from(certified);
        let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}
