//! The From field end to end: one that cannot be read is refused, in the session, and is no way around DMARC.

use super::support::server::{Options, Server};

/// All of them show an address at bank.example to somebody, and are delivered as nobody's or as evil.example's where From
/// is read leniently.
const MALFORMED: [&str; 6] = [
    "ceo@bank.example Bank",
    "ceo@bank.example(x)evil.example",
    "<ceo@bank.example, x@evil.example>",
    "ceo@bank.example:;",
    "<ceo@bank.example/>",
    "ceo@bank.example\0",
];

fn send(server: &Server, header: &str) -> String {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let message = format!("{header}\r\nTo: alice@example.test\r\nSubject: x\r\n\r\nx\r\n");
    client.message("x@evil.example", &["alice@example.test"], message.as_bytes())
}

#[test]
fn a_malformed_from_field_is_refused() {
    let server = Server::start(Options::default());
    for from in MALFORMED {
        let reply = send(&server, &format!("From: {from}"));
        assert!(reply.starts_with("550 5.7.1 The From field is not valid"), "{from}: {reply}");
    }
    let reply = send(&server, "From : ceo@bank.example\r\nFrom: x@evil.example");
    assert!(reply.starts_with("550 5.7.1 More than one From field"), "{reply}");
    for header in ["From: \"ceo@bank.example\" <x@evil.example>", "From: root (Cron Daemon)", "X-Other: x"] {
        let reply = send(&server, header);
        assert!(reply.starts_with("250 "), "{header}: {reply}");
    }
    assert!(server.log().contains("malformed_from"), "the cause is on record");
}

#[test]
fn observing_refuses_no_from_field() {
    let configuration = "policy.dmarc = \"observe\"".to_owned();
    let server = Server::start(Options { configuration, ..Options::default() });
    for from in MALFORMED {
        let reply = send(&server, &format!("From: {from}"));
        assert!(reply.starts_with("250 "), "{from}: {reply}");
    }
}
