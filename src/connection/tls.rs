//! The server's side of TLS: 1.2 and 1.3, with one of our certificates; clients need none.
//!
//! Below TLS sits [`Records`], which knows whether the octets read so far end between two records. A record that began to
//! arrive before a reply was flushed was sent before that reply was seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;

/// Negotiates TLS with clients. Clones are cheap, and show the same certificates.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// An acceptor that shows these certificates.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.with_no_client_auth().with_cert_resolver(certificates);
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<Records>> {
        self.0.accept(Records { stream, boundary: Boundary::default() }).await
    }
}

/// A socket that carries TLS records, watched as they are read.
#[derive(Debug)]
pub(super) struct Records {
    stream: TcpStream,
    boundary: Boundary,
}

impl Records {
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Has a part of a record been read, and not its end?
    pub(super) fn within_record(&self) -> bool {
        self.boundary != Boundary::default()
    }
}

impl AsyncRead for Records {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Records { stream, boundary } = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(stream).poll_read(cx, buf);
        boundary.pass(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Records {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Where in a record the octets end (RFC 8446 section 5.1: type, version, two octets of length, and so many more).
#[derive(Debug, Default, PartialEq, Eq)]
struct Boundary {
    /// Octets of the next header that have been read.
    header_octets: usize,
    /// What they say of the length so far.
    length: usize,
    /// Octets of the record that are still to come.
    rest: usize,
}

impl Boundary {
    fn pass(&mut self, mut octets: &[u8]) {
        while let Some((&octet, behind)) = octets.split_first() {
            if self.rest > 0 {
                let taken = self.rest.min(octets.len());
                self.rest -= taken;
                octets = &octets[taken..];
                continue;
            }
            octets = behind;
            self.header_octets += 1;
            if self.header_octets > 3 {
                self.length = self.length << 8 | usize::from(octet);
            }
            if self.header_octets == 5 {
                *self = Boundary { rest: self.length, ..Boundary::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_seen_however_the_octets_are_cut() {
        let records = [&[22, 3, 3, 0, 3, 1, 2, 3][..], &[23, 3, 3, 0, 0], &[23, 3, 3, 1, 1], &[7; 257]].concat();
        let ends = [0, 8, 13, records.len()];
        let mut boundary = Boundary::default();
        for (at, octet) in records.iter().enumerate() {
            assert_eq!(boundary == Boundary::default(), ends.contains(&at), "before octet {at}");
            boundary.pass(&[*octet]);
        }
        assert_eq!(boundary, Boundary::default());
        boundary.pass(&records);
        assert_eq!(boundary, Boundary::default());
        boundary.pass(&records[..records.len() - 1]);
        assert_ne!(boundary, Boundary::default());
    }
}
