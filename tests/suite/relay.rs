//! Behind a trusted relay over the real server: the client is the one in the relay's Received field, and nothing is refused
//! for good that the relay would have to bounce.

use mxkeep::dns::responder::{Record, Zone, reverse_name};

use crate::support::maildir::{Maildir, Stored};
use crate::support::names::Names;
use crate::support::server::{Options, Server, transaction};

/// 192.0.2.1 may send for sender.example and strict.example, who has everything else refused; 127.0.0.1, where the relay
/// sends from, may for relay.example.
fn names() -> Names {
    let reverse = reverse_name([192, 0, 2, 1].into());
    let mut zone = Zone::from_iter([
        ("sender.example", Record::txt("v=spf1 ip4:192.0.2.1 -all")),
        ("strict.example", Record::txt("v=spf1 ip4:192.0.2.1 -all")),
        ("helo.example", Record::txt("v=spf1 ip4:192.0.2.1 -all")),
        ("relay.example", Record::txt("v=spf1 ip4:127.0.0.1 -all")),
        ("_dmarc.strict.example", Record::txt("v=DMARC1; p=reject")),
        ("_dmarc.relay.example", Record::txt("v=DMARC1; p=reject")),
        ("name.example", Record::A([192, 0, 2, 1].into())),
    ]);
    zone.add(&reverse, Record::Ptr("name.example".into()));
    Names::start(zone)
}

fn start(names: &Names, trusted: &str) -> Server {
    let configuration = format!("listen.trusted_relays = [\"{trusted}\"]\nlog.format = \"json\"");
    let rules = "header LOTS Subject =~ /lots/\nscore LOTS 20\n".to_owned();
    Server::start(Options { dns: Some(names.address()), configuration, rules, ..Options::default() })
}

/// Hands a message over as the relay does, and gives the reply.
fn hand_over(server: &Server, reverse_path: &str, octets: &str) -> String {
    let mut relay = server.client();
    relay.expect("EHLO relay.example", "250");
    relay.message(reverse_path, &["alice@example.test"], octets.replace('\n', "\r\n").as_bytes())
}

fn message(received: &str, author: &str, subject: &str) -> String {
    format!("{received}From: someone@{author}\nSubject: {subject}\n\nHello!\n")
}

fn take(server: &Server) -> Stored {
    let mut messages = server.maildir("alice").take_messages();
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

fn results(stored: &Stored) -> String {
    stored.trace_field("Authentication-Results").unwrap_or_default()
}

const GOOD: &str = "Received: from helo.example (name.example [192.0.2.1])\n\
                    \t(using TLSv1.3 with cipher X (256/256 bits))\n\
                    \tby relay.example (Postfix) with ESMTPS id 4X; Mon, 1 Jan 2029 00:00:00 +0000\n";
const BAD: &str = "Received: from [198.51.100.1] (helo=helo.example)\n\
                   \tby relay.example with esmtp (Exim 4.96) id 1x; Mon, 01 Jan 2029 00:00:00 +0000\n";

#[test]
fn the_client_of_the_relay_is_checked() {
    let names = names();
    let server = start(&names, "127.0.0.0/8");
    let reply = hand_over(&server, "a@strict.example", &message(GOOD, "strict.example", "good"));
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let stored = take(&server);
    let found = results(&stored);
    for part in
        ["spf=pass smtp.mailfrom=strict.example", "dmarc=pass", "iprev=pass policy.iprev=192.0.2.1 (name.example)"]
    {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert_eq!(stored.folder, "");
    // Our own field says whom we had it from, and gives the relay nobody else's name.
    let received = stored.trace_field("Received").unwrap_or_default();
    assert!(received.starts_with("from relay.example (unknown [127.0.0.1])"), "{received}");
    let event = transaction(&server, &reply);
    assert_eq!((&event["client"], &event["relay"]), (&"192.0.2.1".into(), &"127.0.0.1".into()));
    assert_eq!(event["helo"], "helo.example");

    // The null reverse-path is checked by the HELO name that the client gave the relay.
    let reply = hand_over(&server, "", &message(GOOD, "helo.example", "a notification"));
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert!(results(&take(&server)).contains("spf=pass smtp.helo=helo.example"));
}

#[test]
fn what_would_be_refused_goes_to_junk() {
    let names = names();
    let server = start(&names, "127.0.0.0/8");
    let table = [
        (message(BAD, "strict.example", "forged"), "dmarc_reject", "spf=fail"),
        // SPF would pass for the relay's own address: it is not asked.
        (message(BAD, "relay.example", "forged too"), "dmarc_reject", "spf=fail"),
        (message(GOOD, "sender.example", "lots"), "score", "spf=pass"),
        (message(GOOD, "sender.example, a@strict.example", "two authors"), "several_authors", "spf=pass"),
    ];
    for (octets, cause, spf) in table {
        let domain = if octets.contains("@relay.example") { "relay.example" } else { "sender.example" };
        let reply = hand_over(&server, &format!("a@{domain}"), &octets);
        assert!(reply.starts_with("250 2.0.0"), "{cause}: {reply}");
        let stored = take(&server);
        assert_eq!(stored.folder, "Junk", "{cause}");
        assert!(results(&stored).contains(spf), "{cause}: {}", results(&stored));
        let event = transaction(&server, &reply);
        assert_eq!((&event["verdict"], &event["cause"]), (&"junk".into(), &cause.into()));
        assert_eq!(event["to"], format!("alice@example.test:junk/{cause}"));
    }
    // Who does not exist is told so: the relay knows the sender, and so do we at RCPT.
    let mut relay = server.client();
    relay.expect("EHLO relay.example", "250");
    relay.expect("MAIL FROM:<a@sender.example>", "250");
    relay.expect("RCPT TO:<nobody@example.test>", "550 5.1.1");
    relay.expect("RCPT TO:<someone@elsewhere.example>", "550 5.7.1");
}

#[test]
fn what_the_client_wrote_is_not_believed() {
    let names = names();
    let server = start(&names, "127.0.0.0/8");
    let by_itself = "Received: by relay.example (Postfix, from userid 33) id 4Y; Mon, 1 Jan 2029 00:00:00 +0000\n";
    let user = GOOD.replace("ESMTPS", "ESMTPSA");
    let filter = "Received: from localhost (localhost [127.0.0.1])\n\tby relay.example (Postfix) with ESMTP id 4Z; x\n";
    let table = [
        // What it called itself may be junk: SPF of the reverse-path does not need it.
        (GOOD.replace("helo.example", "_?!"), "spf=pass"),
        // Below the relay's field anything may stand.
        (format!("{BAD}{GOOD}"), "spf=fail"),
        // A content filter on the relay is passed over.
        (format!("{filter}{BAD}{GOOD}"), "spf=fail"),
        (format!("{filter}{GOOD}{BAD}"), "spf=pass"),
        // Unknown is unknown: SPF says none, and never pass.
        (String::new(), "spf=none"),
        (format!("{by_itself}{GOOD}"), "spf=none"),
        (format!("Received: nonsense\n{GOOD}"), "spf=none"),
        (format!("{user}{GOOD}"), "spf=none"),
    ];
    for (received, spf) in table {
        let reply = hand_over(&server, "a@sender.example", &message(&received, "sender.example", "x"));
        assert!(reply.starts_with("250 2.0.0"), "{received}: {reply}");
        let stored = take(&server);
        let found = results(&stored);
        assert!(found.contains(spf), "{received}: {found}");
        let unknown = spf == "spf=none";
        assert_eq!(!found.contains("iprev"), unknown, "{received}: {found}");
        let client = transaction(&server, &reply)["client"].as_str().map(str::to_owned);
        assert_eq!(client.as_deref() == Some("127.0.0.1"), unknown, "{received}");
    }
    // With p=reject, what cannot be told is no pass either.
    let reply = hand_over(&server, "a@strict.example", &message("", "strict.example", "unknown"));
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!(take(&server).folder, "Junk");
}

/// Whoever is no relay of ours may write into the header what they like: the client is whoever is connected.
#[test]
fn a_stranger_is_judged_as_ever() {
    let names = names();
    let server = start(&names, "203.0.113.0/24");
    let reply = hand_over(&server, "a@strict.example", &message(GOOD, "strict.example", "x"));
    assert!(reply.starts_with("550 5.7.1 Not authenticated as strict.example"), "{reply}");
    let event = transaction(&server, &reply);
    assert_eq!((&event["client"], &event["relay"]), (&"127.0.0.1".into(), &"".into()));
    let empty = Maildir::new(server.directory().join("mail/example.test/alice/Maildir"));
    assert!(empty.messages().is_empty());
}
