//! Messages that were made to hang, crash or exhaust a server: each is delivered or refused with a reason, in bounded time.

use std::time::{Duration, Instant};

use mxkeep::rules::OWN;

use crate::support::dialogue::Settings;
use crate::support::server::{Options, Server};

const MIB: usize = 1 << 20;
/// Far more than any of them takes, on any machine: they were made to take hours.
const SECONDS_MAX: u64 = 25;
const FROM: &str = "From: carol@client.example\r\n";

/// What each does, the message, and how the reply begins.
fn headers() -> Vec<(&'static str, String, &'static str)> {
    let (signature, trace) = ("DKIM-Signature: v=1; a=rsa-sha256; d=client.example; s=", "Received: from a by b; ");
    let field = |name: &str, body: String| format!("{FROM}{name}: {body}\r\n\r\n");
    vec![
        ("100,000 fields", format!("{FROM}{}\r\n", "X-A: 1\r\n".repeat(100_000)), "250"),
        ("100,000 trace fields", format!("{}{FROM}\r\n", format!("{trace}x\r\n").repeat(100_000)), "250"),
        ("20,000 From fields", format!("{}\r\n", FROM.repeat(20_000)), "550 5.7.1"),
        (
            "20,000 signatures",
            format!("{FROM}{}\r\n", format!("{signature}s; h=from; b=AAAA; bh=AAAA\r\n").repeat(20_000)),
            "250",
        ),
        (
            "a signature of 100,000 names",
            field("DKIM-Signature", format!("v=1; d=a.example; s=s; h={}from", "to:".repeat(100_000))),
            "250",
        ),
        ("a field of 1 MiB", field("Subject", "x ".repeat(MIB / 2)), "250"),
        ("a folded field of 1 MiB", field("Subject", "x\r\n ".repeat(MIB / 4)), "250"),
        ("encoded words of 1 MiB", field("Subject", "=?utf-8?q?=".repeat(MIB / 11)), "250"),
        ("a From of 1 MiB", format!("From: {}a@client.example\r\n\r\n", "(\"<,".repeat(MIB / 4)), "550 5.7.1"),
        ("100,000 addresses", field("To", "\"a\" <a@b.example>, ".repeat(100_000)), "250"),
        ("results of 1 MiB", field("Authentication-Results", "(".repeat(MIB)), "250"),
        (
            "results of 1 MiB in our name",
            field("Authentication-Results", format!("mx.example.test{}", "; x=y".repeat(MIB / 5))),
            "250",
        ),
        (
            "100,000 parameters",
            field("Content-Type", format!("multipart/mixed{}", "; boundary=b".repeat(100_000))),
            "250",
        ),
        (
            "an open string of 1 MiB",
            field("Content-Type", format!("multipart/mixed; boundary=\"{}", "\\a".repeat(MIB / 2))),
            "250",
        ),
        ("1,000,000 lines that are no fields", format!("{FROM}{}\r\n", "x\r\n".repeat(MIB)), "250"),
    ]
}

fn bodies() -> Vec<(&'static str, String, &'static str)> {
    let multipart = |body: String| format!("{FROM}Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}");
    let nested = |n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    let base64 = format!(
        "{FROM}Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        "QUJD".repeat(50 * MIB / 4)
    );
    vec![
        ("40,000 nested messages", format!("{FROM}{}", "Content-Type: message/rfc822\r\n\r\n".repeat(40_000)), "250"),
        ("40,000 nested multiparts", format!("{FROM}{}", (0..40_000).map(nested).collect::<String>()), "250"),
        ("100,000 parts", multipart("--b\r\n\r\nx\r\n".repeat(100_000)), "250"),
        ("1,000,000 empty parts", multipart("--b\r\n".repeat(MIB)), "250"),
        (
            "20 MiB of hyphens",
            format!("{FROM}Content-Type: multipart/mixed; boundary=-\r\n\r\n{}", "-".repeat(20 * MIB)),
            "250",
        ),
        ("50 MiB of base64 in one line", base64, "250"),
        ("20 MiB of open tags", format!("{FROM}Content-Type: text/html\r\n\r\n{}", "<p".repeat(10 * MIB)), "250"),
        ("20 MiB of empty lines", format!("{FROM}\r\n{}", "\r\n".repeat(10 * MIB)), "250"),
        ("20 MiB of dots", format!("{FROM}\r\n{}", "..\r\n".repeat(5 * MIB)), "250"),
    ]
}

#[test]
fn hostile_messages_are_answered_in_bounded_time() {
    let rules: String = OWN.iter().map(|(_, text)| *text).collect();
    let settings = Settings { message_octets_max: 64 * MIB as u64, ..Settings::default() };
    // Whatever they score, they are delivered: their octets are to be seen to the end.
    let configuration = "policy.reject_score = 1000.0".to_owned();
    let server = Server::start(Options { settings, rules, configuration, ..Options::default() });
    for (what, message, expected) in headers().into_iter().chain(bodies()) {
        let began = Instant::now();
        let mut client = server.client();
        client.expect("EHLO client.example", "250");
        let reply = client.message("carol@client.example", &["alice@example.test"], message.as_bytes());
        let took = began.elapsed();
        println!("{:>7} ms  {:>9} octets  {what}: {reply}", took.as_millis(), message.len());
        assert!(reply.starts_with(expected), "{what}: {reply}");
        assert!(took < Duration::from_secs(SECONDS_MAX), "{what}: {took:?}");
        let served = server.maildir("alice").take_messages();
        assert_eq!(served.len(), usize::from(expected == "250"), "{what}");
    }
    let log = server.log();
    let malformed = log.lines().filter(|line| line.contains("MX_MALFORMED")).count();
    assert!(malformed >= 8, "{malformed} were found malformed");
    assert!(!log.contains("panicked"), "{log}");
}

/// What a client says stands in quotes in the log: none of it can be taken for a field of ours.
#[test]
fn an_address_adds_no_field_to_the_log() {
    let server = Server::start(Options::default());
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect(r#"MAIL FROM:<"x client=192.0.2.1 y"@client.example>"#, "250");
    client.expect(r#"RCPT TO:<"x client=192.0.2.2 y"@example.test>"#, "550 5.1.1");
    client.expect("QUIT", "221");
    server.await_log("mxkeep::transaction");
    let log = server.log();
    let of = |target: &str| log.lines().find(|line| line.contains(target)).expect("an event");
    for line in [of("mxkeep::recipient"), of("mxkeep::transaction")] {
        assert!(line.contains(r#" from="\"x client=192.0.2.1 y\"@client.example""#), "{line}");
    }
    assert!(of("mxkeep::recipient").contains(r#" to="\"x client=192.0.2.2 y\"@example.test""#), "{log}");
}
