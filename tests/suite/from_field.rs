//! The From field end to end: one that cannot be read is refused, in the session, and is no way around DMARC.

use mxkeep::dns::responder::{Record, Zone};

use super::support::names::Names;
use super::support::server::{Options, Server, transaction};

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

/// CVE-2019-16378: a filter that evaluates DMARC for one of two From fields, while readers show the other. Whichever comes
/// first, and although SPF passes for the one, the message is refused by a cause of its own.
#[test]
fn two_from_fields_are_refused_by_a_cause_of_their_own() {
    let names = Names::start(Zone::from_iter([
        ("evil.example", Record::txt("v=spf1 ip4:127.0.0.1 -all")),
        ("_dmarc.evil.example", Record::txt("v=DMARC1; p=reject")),
        ("_dmarc.bank.example", Record::txt("v=DMARC1; p=reject")),
    ]));
    let configuration = "log.format = \"json\"".to_owned();
    let server = Server::start(Options { dns: Some(names.address()), configuration, ..Options::default() });
    let (evil, bank) = ("From: x@evil.example", "From: ceo@bank.example");
    assert!(send(&server, evil).starts_with("250 "), "SPF passes for the author of one");
    assert!(send(&server, bank).starts_with("550 5.7.1 Not authenticated as bank.example"));
    for (first, second) in [(evil, bank), (bank, evil), (evil, evil)] {
        for between in ["\r\n", "\r\nX-Other: x\r\n", " \r\n"] {
            let reply = send(&server, &format!("{first}{between}{second}"));
            assert!(reply.starts_with("550 5.7.1 More than one From field: a message has exactly one"), "{reply}");
            let event = transaction(&server, &reply);
            assert_eq!((&event["verdict"], &event["cause"]), (&"reject".into(), &"several_from_fields".into()));
            assert_eq!(event["to"], "alice@example.test:none/several_from_fields");
        }
    }
    let reply = send(&server, "From: x@evil.example, ceo@bank.example");
    assert!(reply.starts_with("550 5.7.1 From names more than one author domain"), "{reply}");
    assert_eq!(transaction(&server, &reply)["cause"], "several_authors");
    assert_eq!(server.maildir("alice").messages().len(), 1);
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
