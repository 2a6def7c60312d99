//! An SMTP client for tests: blocking, over TCP and over TLS, and as rude as a test wants it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::RecvFlags;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::poll::until;

/// A server that says nothing for so long fails the test, in seconds.
const SILENCE_SECONDS_MAX: u64 = 30;

/// A connection to a server.
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While the handshake takes the plain one.
    Changing,
}

impl Client {
    /// Connects, and does not read the banner.
    pub fn connect(address: SocketAddr) -> Self {
        Client::try_connect(address).expect("the server accepts")
    }

    /// Connects, if there is a server.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Client::over(TcpStream::connect(address)?)
    }

    /// Takes over a connection of which nothing has been read.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(SILENCE_SECONDS_MAX)))?;
        Ok(Client { stream: Stream::Plain(stream), buffer: Vec::new() })
    }

    /// Connects from this address of ours, and does not read the banner.
    pub fn connect_from(source: &str, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let source = SocketAddr::new(source.parse().expect("an address"), 0);
        socket.bind(&source.into()).expect("an address of the loopback");
        socket.connect(&address.into()).expect("the server accepts");
        Client::over(socket.into()).expect("a connection")
    }

    /// Connects and reads the banner.
    pub fn greeted(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        let banner = client.reply().expect("a banner");
        assert!(banner.starts_with("220 "), "{banner}");
        client
    }

    /// Sends octets.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(octets),
            Stream::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Stream::Changing => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends a line, adding CRLF, and reads the reply to it.
    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).expect("the server reads");
        self.reply().unwrap_or_else(|| panic!("no reply to {line}"))
    }

    /// Sends a line and insists on a reply that begins like this.
    pub fn expect(&mut self, line: &str, reply: &str) -> String {
        let got = self.command(line);
        assert!(got.starts_with(reply), "{line}: expected {reply}, got {got}");
        got
    }

    /// Sends a message (dots are stuffed) from one mailbox to others, and gives the final reply.
    pub fn message(&mut self, reverse_path: &str, forward_paths: &[&str], octets: &[u8]) -> String {
        self.expect(&format!("MAIL FROM:<{reverse_path}>"), "250");
        for forward_path in forward_paths {
            self.expect(&format!("RCPT TO:<{forward_path}>"), "250");
        }
        self.expect("DATA", "354");
        self.send(&stuffed(octets)).expect("the server reads");
        self.reply().expect("a final reply")
    }

    /// The next reply, all of its lines, without the last CRLF. `None` at the end of the stream.
    pub fn reply(&mut self) -> Option<String> {
        let mut reply = self.line()?;
        let mut last = reply.clone();
        while last.as_bytes().get(3) == Some(&b'-') {
            last = self.line()?;
            reply = format!("{reply}\r\n{last}");
        }
        Some(reply)
    }

    /// The next line, without CRLF. `None` at the end of the stream.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let mut chunk = [0; 4096];
            match self.read(&mut chunk) {
                Ok(0) => return None,
                Ok(octets) => self.buffer.extend_from_slice(&chunk[..octets]),
                Err(error) if is_end(&error) => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Has the server closed the connection, with nothing more to say?
    pub fn at_end(&mut self) -> bool {
        self.line().is_none() && self.buffer.is_empty()
    }

    /// Negotiates TLS. The server has said 220, or expects it at once.
    pub fn start_tls(&mut self) -> io::Result<()> {
        self.start_tls_with("mx.example.test")
    }

    /// Negotiates TLS with the server of this name (SNI), or without a name, if it is an address. Whatever certificate it
    /// shows is taken.
    pub fn start_tls_with(&mut self, name: &str) -> io::Result<()> {
        assert!(self.buffer.is_empty(), "octets before the handshake: {:?}", self.buffer);
        let Stream::Plain(mut stream) = std::mem::replace(&mut self.stream, Stream::Changing) else {
            return Err(io::Error::other("TLS is active"));
        };
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection = ClientConnection::new(config(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    /// The certificate that the server has shown.
    pub fn peer_certificate(&self) -> Vec<u8> {
        let Stream::Tls(stream) = &self.stream else { panic!("TLS is active") };
        stream.conn.peer_certificates().and_then(|chain| chain.first()).expect("a certificate").to_vec()
    }

    /// Waits this long for a reply, instead of the usual time.
    pub fn be_patient(&self, silence_max: Duration) {
        self.tcp().set_read_timeout(Some(silence_max)).expect("SO_RCVTIMEO");
    }

    /// The port of our end.
    pub fn port(&self) -> u16 {
        self.tcp().local_addr().expect("an address").port()
    }

    /// How many octets have arrived, under TLS encrypted ones, and wait to be read?
    pub fn unread(&self) -> usize {
        let mut peeked = [0; 65_536];
        match rustix::net::recv(self.tcp(), &mut peeked[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, octets)) => octets,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => panic!("the connection is gone: {error}"),
        }
    }

    /// Waits until more octets than these have arrived, and leaves them unread. How many are there?
    pub fn await_more_than(&self, octets: usize) -> usize {
        until("a reply arrives", || self.unread() > octets);
        self.unread()
    }

    /// Has the kernel acknowledge what arrives at once, not some milliseconds later.
    pub fn acknowledge_at_once(&self) {
        rustix::net::sockopt::set_tcp_quickack(self.tcp(), true).expect("TCP_QUICKACK");
    }

    /// Says under TLS that nothing more will be sent, and leaves the TCP stream open.
    pub fn close_notify(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().expect("the server reads");
        }
    }

    /// Ends our TCP stream; replies can still be read.
    pub fn end_stream(&self) {
        self.tcp().shutdown(Shutdown::Write).expect("the connection stands");
    }

    /// Breaks the connection off: the server gets a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
            Stream::Changing => panic!("the handshake failed"),
        }
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(chunk),
            Stream::Tls(stream) => stream.read(chunk),
            Stream::Changing => Ok(0),
        }
    }
}

/// A reset, or TLS cut off without a closing alert, is an end too.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}

/// Mail data as it goes over the wire: dots stuffed, the final dot behind it (RFC 5321 section 4.5.2).
pub fn stuffed(octets: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(octets.len() + 5);
    for line in octets.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let verifier = Arc::new(AnyCertificate(provider));
    let builder = builder.expect("protocol versions").dangerous().with_custom_certificate_verifier(verifier);
    Arc::new(builder.with_no_client_auth())
}

/// Takes any certificate: the server's was made by the test itself.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
