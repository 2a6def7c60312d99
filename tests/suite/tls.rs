//! TLS from the first octet, and the certificate that fits the name that the client asks for.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::dialogue::Settings;
use crate::support::program;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

const MESSAGE: &[u8] = b"From: carol@client.example\r\nSubject: hello\r\n\r\nHello!\r\n";

fn with_certificate(configuration: String) -> Server {
    let settings = Settings { starttls: true, ..Settings::default() };
    Server::start(Options { configuration, settings, ..Options::default() })
}

/// An address of the loopback that is nobody else's: of this process, and of this test by its port.
fn smtps_address(port: u16) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 77, high, low], port))
}

/// A server with a port for TLS at once, and that port's address.
fn with_smtps(port: u16, more: &str) -> (Server, SocketAddr) {
    let address = smtps_address(port);
    (with_certificate(format!("listen.smtps = [\"{address}\"]\n{more}")), address)
}

/// Writes a certificate for these names and its key to `NAME.crt` and `NAME.key`, and gives the certificate.
fn issue(directory: &Path, name: &str, hosts: &[&str]) -> Vec<u8> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let issued = rcgen::generate_simple_self_signed(hosts).expect("a certificate");
    fs::write(directory.join(format!("{name}.crt")), issued.cert.pem()).expect("a certificate file");
    fs::write(directory.join(format!("{name}.key")), issued.signing_key.serialize_pem()).expect("a key file");
    issued.cert.der().to_vec()
}

/// An element of `tls.more`.
fn pair(directory: &Path, name: &str) -> String {
    let at = directory.display();
    format!("{{ certificate = \"{at}/{name}.crt\", key = \"{at}/{name}.key\" }}")
}

#[test]
fn tls_begins_at_once_where_it_is_asked_for() {
    let (server, address) = with_smtps(4650, "");
    let mut client = Client::connect(address);
    client.start_tls().expect("a handshake");
    assert!(client.reply().expect("a banner").starts_with("220 mx.example.test ESMTP"));
    let offers = client.expect("EHLO client.example", "250");
    assert!(!offers.contains("STARTTLS"), "{offers}");
    client.expect("STARTTLS", "503 5.5.1");
    let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    client.expect("QUIT", "221");
    let message = server.maildir("alice").take_messages().remove(0);
    let text = String::from_utf8_lossy(&message.octets).into_owned();
    assert!(text.contains("(using TLSv1.3 with cipher ") && text.contains(" with ESMTPS id "), "{text}");
    server.await_log("tls=\"TLSv1.3\"");
    // The other port is as it was.
    let mut client = server.client();
    assert!(client.expect("EHLO client.example", "250").contains("STARTTLS"));
}

#[test]
fn clear_text_is_not_answered_where_tls_begins_at_once() {
    let (server, address) = with_smtps(4651, "");
    let mut client = Client::connect(address);
    client.send(b"EHLO client.example\r\nQUIT\r\n").expect("the server reads");
    // An alert, at most: no banner, no reply.
    let line = client.line().unwrap_or_default();
    assert!(!line.contains("220") && !line.contains("250"), "{line:?}");
    server.await_log("end=\"tls_handshake\"");
    let mut client = Client::connect(address);
    client.start_tls().expect("a handshake");
    assert!(client.reply().expect("a banner").starts_with("220 "), "others are served");
}

#[test]
fn the_balancers_header_comes_before_tls() {
    let (server, address) =
        with_smtps(4652, "listen.proxy_protocol_from = [\"127.0.0.0/8\"]\nlimits.connections_per_client_max = 1");
    let announced = || {
        let mut client = Client::connect(address);
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\r\n").expect("the server reads");
        client
    };
    let mut client = announced();
    client.start_tls().expect("a handshake");
    assert!(client.reply().expect("a banner").starts_with("220 "));
    client.expect("EHLO client.example", "250");
    let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let message = server.maildir("alice").take_messages().remove(0);
    assert!(String::from_utf8_lossy(&message.octets).contains("(unknown [192.0.2.7])"));
    // One too many: nothing in clear text for a client that expects TLS.
    assert_eq!(announced().reply(), None);
    server.await_log("end=\"connections_per_client_max\"");
}

#[test]
fn the_certificate_has_the_name_that_the_client_asks_for() {
    let here = tempfile::tempdir().expect("a directory");
    let net = issue(here.path(), "net", &["mx.example.net", "*.sub.example.net"]);
    let com = issue(here.path(), "com", &["mx.example.com"]);
    let more = format!("tls.more = [{}, {}]", pair(here.path(), "net"), pair(here.path(), "com"));
    let (server, address) = with_smtps(4653, &more);
    let first =
        CertificateDer::from_pem_file(server.directory().join("certificate.pem")).expect("a certificate").to_vec();
    let cases = [
        ("mx.example.test", &first),
        ("mx.example.net", &net),
        ("MX.Example.NET", &net),
        ("a.sub.example.net", &net),
        ("sub.example.net", &first),
        ("mx.example.com", &com),
        ("unknown.example", &first),
        // No name at all, as most MTAs.
        ("127.0.0.1", &first),
    ];
    for (name, expected) in cases {
        let mut client = server.client();
        client.expect("EHLO client.example", "250");
        client.expect("STARTTLS", "220");
        client.start_tls_with(name).expect("a handshake");
        assert!(&client.peer_certificate() == expected, "STARTTLS, {name}");
        client.expect("EHLO client.example", "250");
        let mut client = Client::connect(address);
        client.start_tls_with(name).expect("a handshake");
        assert!(client.reply().expect("a banner").starts_with("220 "));
        assert!(&client.peer_certificate() == expected, "implicit TLS, {name}");
    }
}

#[test]
fn check_looks_at_each_certificate() {
    let here = tempfile::tempdir().expect("a directory");
    issue(here.path(), "net", &["mx.example.net"]);
    issue(here.path(), "com", &["mx.example.com"]);
    let server = with_certificate(format!("tls.more = [{}, {}]", pair(here.path(), "net"), pair(here.path(), "com")));
    let file = server.configuration();
    let check = || program::run(server.directory(), None, &["check", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(check().code, Some(0));
    fs::copy(here.path().join("net.key"), here.path().join("com.key")).expect("a copy");
    let said = check();
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.err.contains("error: tls.more.key: ") && said.err.contains("com.key is not the key of"), "{said:?}");
}
