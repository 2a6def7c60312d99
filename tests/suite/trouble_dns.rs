//! Trouble with DNS: a failing DMARC record defers at first, and nothing else refuses or holds up mail beyond its deadline.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mxkeep::address::Domain;
use mxkeep::authentication::signing::Signer;
use mxkeep::dns::responder::{Behaviour, Record, Zone};

use crate::support::maildir::{Maildir, Stored};
use crate::support::names::{Names, Silence};
use crate::support::server::{Options, Server};

/// What all the deadlines of a message's checks add up to at most, in seconds: SPF, then DKIM keys, then DMARC.
const CHECKS_SECONDS_MAX: u64 = 30;

/// A server that also takes mail for carol at observe.test, where DMARC is only recorded.
fn server(dns: SocketAddr) -> Server {
    let configuration = r#"domains."observe.test" = { mailboxes = ["carol"], policy = { dmarc = "observe" } }"#;
    Server::start(Options { dns: Some(dns), configuration: configuration.to_owned(), ..Options::default() })
}

/// Domains whose DMARC records fail; broken.example lets nobody send, and signed.example has a key.
fn zone(signer: &Signer) -> Zone {
    let records = [
        ("broken.example", "v=spf1 -all"),
        ("spf.example", "v=spf1 ip4:127.0.0.1 -all"),
        ("sub.spf.example", "v=spf1 ip4:127.0.0.1 -all"),
        (signer.dns_name(), signer.dns_record()),
        ("unrelated.example", "v=spf1 ip4:127.0.0.1 -all"),
    ];
    let zone: Zone = records.into_iter().map(|(name, text)| (name, Record::txt(text))).collect();
    ["broken.example", "spf.example", "signed.example"]
        .iter()
        .fold(zone, |zone, domain| zone.behave(&format!("_dmarc.{domain}"), Behaviour::ServFail))
}

fn message(author: &str) -> Vec<u8> {
    format!("From: someone@{author}\r\nSubject: hello\r\n\r\nHello!\r\n").into_bytes()
}

fn send(server: &Server, reverse_path: &str, forward_paths: &[&str], octets: &[u8]) -> String {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.message(reverse_path, forward_paths, octets)
}

fn carol(server: &Server) -> Vec<Stored> {
    Maildir::new(server.directory().join("mail/observe.test/carol/Maildir")).messages()
}

#[test]
fn a_failing_dmarc_record_defers_unless_nothing_is_in_doubt() {
    let signer = Signer::ed25519(&Domain::parse("signed.example").expect("a domain"), "s").expect("a key");
    let names = Names::start(zone(&signer));
    let server = server(names.address());
    let to = |path: &'static str| [path];
    let alice = to("alice@example.test");

    // In doubt: nobody can tell what the author domain wants. A retry a moment later is no different.
    for _ in 0..2 {
        let reply = send(&server, "x@broken.example", &alice, &message("broken.example"));
        assert!(reply.starts_with("451 4.7.1 DMARC for broken.example cannot be checked now"), "{reply}");
    }
    server.await_log("dmarc=temperror");
    server.await_log("cause=\"dmarc_temporary\"");
    // Another domain's pass, even of a subdomain, says nothing for the author domain itself.
    for reverse_path in ["x@unrelated.example", "x@sub.spf.example"] {
        let author = reverse_path.replace("x@", "").replace("unrelated", "signed").replace("sub.", "");
        let reply = send(&server, reverse_path, &alice, &message(&author));
        assert!(reply.starts_with("451 4.7.1"), "{reverse_path} for {author}: {reply}");
    }
    assert!(server.maildir("alice").messages().is_empty() && server.maildir("alice").unfinished().is_empty());

    // Not in doubt: SPF or DKIM passed for the author domain itself.
    let reply = send(&server, "x@spf.example", &alice, &message("spf.example"));
    assert!(reply.starts_with("250 2.0.0"), "SPF: {reply}");
    let signed = signer.sign(&message("signed.example")).expect("a signature");
    let reply = send(&server, "x@unrelated.example", &alice, &signed);
    assert!(reply.starts_with("250 2.0.0"), "DKIM: {reply}");
    let messages = server.maildir("alice").messages();
    assert_eq!(messages.len(), 2);
    for stored in messages {
        let results = stored.trace_field("Authentication-Results").unwrap_or_default();
        assert!(results.contains("dmarc=temperror"), "{results}");
    }

    // Nobody to protect: DMARC is only recorded, or everything is taken.
    let reply = send(&server, "x@broken.example", &["carol@observe.test"], &message("broken.example"));
    assert!(reply.starts_with("250 2.0.0"), "observe: {reply}");
    assert_eq!(carol(&server).len(), 1);
    let reply = send(&server, "x@broken.example", &["postmaster@example.test"], &message("broken.example"));
    assert!(reply.starts_with("250 2.0.0"), "postmaster: {reply}");
    // One recipient of two who is to be protected defers it for both: nobody has got it yet.
    let both = ["carol@observe.test", "alice@example.test"];
    let reply = send(&server, "y@broken.example", &both, &message("broken.example"));
    assert!(reply.starts_with("451 4.7.1"), "both: {reply}");
    assert_eq!(carol(&server).len(), 1);
}

/// Under p=none nothing depends on how it would end; under p=reject a key that cannot be had now may well verify later.
#[test]
fn spf_and_dkim_that_fail_in_dns_hold_up_only_what_could_be_refused() {
    let zone = ["none", "reject"].iter().fold(Zone::default(), |mut zone, policy| {
        zone.add(&format!("_dmarc.{policy}.example"), Record::txt(&format!("v=DMARC1; p={policy}")));
        zone.behave(&format!("{policy}.example"), Behaviour::ServFail)
            .behave(&format!("s._domainkey.{policy}.example"), Behaviour::ServFail)
    });
    let names = Names::start(zone);
    let server = server(names.address());
    let signed_by = |author: &str| {
        let signer = Signer::ed25519(&Domain::parse(author).expect("a domain"), "s").expect("a key");
        signer.sign(&message(author)).expect("a signature")
    };
    let reply = send(&server, "x@none.example", &["alice@example.test"], &signed_by("none.example"));
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let results = server.maildir("alice").messages()[0].trace_field("Authentication-Results").unwrap_or_default();
    assert!(results.contains("spf=temperror") && results.contains("dkim=temperror"), "{results}");
    let reply = send(&server, "x@reject.example", &["alice@example.test"], &signed_by("reject.example"));
    assert!(reply.starts_with("451 4.7.1 DMARC for reject.example cannot be checked now"), "{reply}");
}

/// Mail that needs no DNS waits for the deadlines, not for ever; and what must defer is told as soon.
#[test]
fn dns_that_never_answers_costs_a_bounded_time() {
    let silence = Silence::start();
    let server = server(silence.address());
    let timed = |reverse_path: &str, forward_path: &str, author: &str| {
        let begin = Instant::now();
        (send(&server, reverse_path, &[forward_path], &message(author)), begin.elapsed())
    };
    let (observed, enforced) = thread::scope(|scope| {
        let observed = scope.spawn(|| timed("x@one.example", "carol@observe.test", "one.example"));
        let enforced = timed("x@two.example", "alice@example.test", "two.example");
        (observed.join().expect("no panic"), enforced)
    });
    assert!(observed.0.starts_with("250 2.0.0"), "{observed:?}");
    assert!(enforced.0.starts_with("451 4.7.1 DMARC for two.example"), "{enforced:?}");
    for (_, took) in [&observed, &enforced] {
        assert!(*took < Duration::from_secs(CHECKS_SECONDS_MAX), "{took:?}");
    }
    // RCPT was answered at once, and so is everything that no check belongs to.
    let begin = Instant::now();
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<x@three.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("RCPT TO:<nobody@example.test>", "550 5.1.1");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    println!("with silent DNS: delivered after {:?}, deferred after {:?}", observed.1, enforced.1);
    let results = carol(&server)[0].trace_field("Authentication-Results").unwrap_or_default();
    assert!(results.contains("spf=temperror") && results.contains("dmarc=temperror"), "{results}");
}
