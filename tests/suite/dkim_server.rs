//! DKIM as the server does it: floods of signatures, keys of domains that are testing, signatures of a part of the body.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use mxkeep::address::Domain;
use mxkeep::authentication::SIGNATURES_MAX;
use mxkeep::authentication::signing::Signer;
use mxkeep::dns::responder::{Record, Zone};

use crate::support::dialogue::Settings;
use crate::support::names::Names;
use crate::support::rsa::to_base64;
use crate::support::server::{Options, Server};

const MESSAGE: &str = "From: someone@signed.example\r\nSubject: hello\r\n\r\nHello!\r\n";

fn server(dns: SocketAddr, configuration: &str) -> Server {
    // A flood of signatures is large.
    let settings = Settings { message_octets_max: 1 << 20, ..Settings::default() };
    Server::start(Options { dns: Some(dns), configuration: configuration.to_owned(), settings, ..Options::default() })
}

fn send(server: &Server, octets: &[u8]) -> String {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.message("x@unrelated.example", &["alice@example.test"], octets)
}

/// A zone in which mail of signed.example passes DMARC by a DKIM signature or is refused.
fn zone(name: &str, record: &str) -> Zone {
    let records = [(name, record), ("_dmarc.signed.example", "v=DMARC1; p=reject")];
    records.into_iter().map(|(name, text)| (name, Record::txt(text))).collect()
}

fn signer() -> Signer {
    Signer::ed25519(&Domain::parse("signed.example").expect("a domain"), "s").expect("a key")
}

#[test]
fn a_flood_of_signatures_asks_for_few_keys_and_hides_none_of_the_author() {
    let signer = signer();
    let names = Names::start(zone(signer.dns_name(), signer.dns_record()));
    let server = server(names.address(), "");
    let signed = String::from_utf8(signer.sign(MESSAGE.as_bytes()).expect("a signature")).expect("ASCII");
    let (own, message) = signed.split_at(signed.len() - MESSAGE.len());
    let forged: String = (0..90).map(|at| own.replace("d=signed.example", &format!("d=f{at}.example"))).collect();
    let more: String = (0..210).map(|at| own.replace("s=s;", &format!("s=g{at};"))).collect();
    let begin = Instant::now();
    let reply = send(&server, format!("{forged}{own}{more}{message}").as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let stored = &server.maildir("alice").messages()[0];
    let results = stored.trace_field("Authentication-Results").unwrap_or_default();
    assert_eq!(results.matches("dkim=").count(), SIGNATURES_MAX, "{results}");
    assert!(results.contains("dkim=pass") && results.contains("dmarc=pass"), "{results}");
    let asked = (0..90).filter(|at| names.queries(&format!("s._domainkey.f{at}.example")) > 0).count()
        + (0..210).filter(|at| names.queries(&format!("g{at}._domainkey.signed.example")) > 0).count();
    assert_eq!(asked, SIGNATURES_MAX - 1);
}

/// RFC 6376 section 3.6.1: as if there were no signature.
#[test]
fn a_testing_key_does_not_save_mail_from_dmarc() {
    let signer = signer();
    for (record, reply) in [
        (signer.dns_record().to_owned(), "250 2.0.0"),
        (signer.dns_record().replace("v=DKIM1;", "v=DKIM1; t=y;"), "550 5.7.1"),
    ] {
        let names = Names::start(zone(signer.dns_name(), &record));
        let server = server(names.address(), "");
        let said = send(&server, &signer.sign(MESSAGE.as_bytes()).expect("a signature"));
        assert!(said.starts_with(reply), "{record}: {said}");
    }
}

/// RFC 6376 section 8.2.
#[test]
fn a_signature_of_a_part_counts_where_the_operator_says_so() {
    let key = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().expect("a key")).expect("a key");
    let public = to_base64(&key.public_key());
    let signer = DkimSigner::from_key(key).domain("signed.example").selector("s").headers(["From", "Subject"]);
    let header = signer.body_length(true).sign(MESSAGE.as_bytes()).expect("a signature").to_header();
    assert!(header.contains("l="), "{header}");
    let longer = format!("{header}{MESSAGE}And more.\r\n");
    let names = Names::start(zone("s._domainkey.signed.example", &format!("v=DKIM1; k=ed25519; p={public}")));
    for (configuration, reply) in [("", "550 5.7.1"), ("authentication.count_body_length = true", "250 2.0.0")] {
        let server = server(names.address(), configuration);
        let said = send(&server, longer.as_bytes());
        assert!(said.starts_with(reply), "{configuration}: {said}");
    }
}
