//! PRDR over a real socket: 353, one reply for each recipient in order, and a last one that is 250 if anybody has the message.

use crate::support::maildir::Maildir;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

/// Alice and Bob refuse from 15 points on, Sue from 2.
fn start() -> Server {
    let configuration =
        r#"domains."strict.test" = { mailboxes = ["sue"], policy = { junk_score = 1.0, reject_score = 2.0 } }"#;
    let rules = "header THREE Subject =~ /three/\nscore THREE 3\nheader LOTS Subject =~ /lots/\nscore LOTS 20\n";
    Server::start(Options { configuration: configuration.into(), rules: rules.into(), ..Options::default() })
}

fn message(subject: &str) -> String {
    format!("From: carol@client.example\r\nSubject: {subject}\r\n\r\nHello!\r\n")
}

const TO: [&str; 3] = ["sue@strict.test", "alice@example.test", "bob@example.test"];

/// Opens a transaction with these recipients.
fn envelope(client: &mut Client, parameter: &str, to: &[&str]) {
    client.expect(&format!("MAIL FROM:<carol@client.example>{parameter}"), "250");
    for path in to {
        client.expect(&format!("RCPT TO:<{path}>"), "250");
    }
}

fn send(client: &mut Client, octets: &str) {
    client.send(octets.as_bytes()).expect("the server reads");
}

fn introduced(server: &Server) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client
}

/// Reads replies and insists on how they begin.
fn expect(client: &mut Client, replies: &[&str]) {
    for expected in replies {
        let reply = client.reply().expect("a reply");
        assert!(reply.starts_with(expected), "expected {expected}, got {reply}");
    }
}

/// Copies of Sue, Alice and Bob.
fn counts(server: &Server) -> [usize; 3] {
    TO.map(|path| {
        let (local_part, domain) = path.split_once('@').expect("an address");
        Maildir::new(server.directory().join("mail").join(domain).join(local_part).join("Maildir")).messages().len()
    })
}

const EACH: [&str; 5] = [
    "353 ",
    "550 5.7.1 <sue@strict.test> Refused as spam: score 3.0, limit 2.0 (",
    "250 2.0.0 <alice@example.test> Message delivered (",
    "250 2.0.0 <bob@example.test> Message delivered (",
    "250 2.0.0 Message delivered (",
];

#[test]
fn each_recipient_has_their_own_reply() {
    let server = start();
    let mut client = introduced(&server);
    envelope(&mut client, " PRDR", &TO);
    client.expect("DATA", "354");
    send(&mut client, &format!("{}.\r\n", message("three")));
    expect(&mut client, &EACH);
    assert_eq!(counts(&server), [0, 1, 1]);
    server.await_log("sue@strict.test:none/score,alice@example.test:inbox,bob@example.test:inbox");

    // The same by BDAT, in two chunks.
    envelope(&mut client, " PRDR", &TO);
    let octets = message("three, in chunks");
    let (first, second) = octets.split_at(10);
    send(&mut client, &format!("BDAT 10\r\n{first}BDAT {} LAST\r\n{second}", second.len()));
    expect(&mut client, &["250 2.0.0 10 octets"]);
    expect(&mut client, &EACH);
    assert_eq!(counts(&server), [0, 2, 2]);

    // Nobody has it: neither does the last reply say so.
    envelope(&mut client, " PRDR", &TO);
    client.expect("DATA", "354");
    send(&mut client, &format!("{}.\r\n", message("lots")));
    expect(&mut client, &["353 ", "550 5.7.1 <sue", "550 5.7.1 <alice", "550 5.7.1 <bob", "550 5.7.1 Refused as spam"]);
    client.expect("NOOP", "250");
    assert_eq!(counts(&server), [0, 2, 2]);
}

#[test]
fn who_does_not_ask_or_has_one_recipient_gets_one_reply() {
    let server = start();
    let mut client = introduced(&server);
    for (parameter, to) in [("", &TO[..]), (" PRDR", &TO[1..2])] {
        envelope(&mut client, parameter, to);
        client.expect("DATA", "354");
        send(&mut client, &format!("{}.\r\n", message("three")));
        expect(&mut client, &["250 2.0.0 Message delivered ("]);
        client.expect("NOOP", "250 2.0.0 OK");
    }
    // Only one of two was accepted: that is one recipient.
    client.expect("MAIL FROM:<carol@client.example> PRDR", "250");
    client.expect("RCPT TO:<nobody@example.test>", "550");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    send(&mut client, &format!("{}.\r\n", message("one")));
    expect(&mut client, &["250 2.0.0 Message delivered ("]);
    // Data that breaks the protocol has one reply, whoever it is for.
    envelope(&mut client, " PRDR", &TO);
    client.expect("DATA", "354");
    send(&mut client, "Subject: a bare\nline end\r\n.\r\n");
    expect(&mut client, &["550 5.6.11 "]);
    client.expect("NOOP", "250 2.0.0 OK");
    assert_eq!(counts(&server), [1, 3, 1]);
}

/// A retry makes no second copy for whom the message came to, and asks anew for whom it did not.
#[test]
fn a_retry_makes_no_second_copy() {
    let server = start();
    let dialogue = format!("{}.\r\nQUIT\r\n", message("three"));
    // The QUIT came before the replies went out: that proves nothing.
    for _ in 0..2 {
        let mut client = introduced(&server);
        envelope(&mut client, " PRDR", &TO);
        client.expect("DATA", "354");
        send(&mut client, &dialogue);
        expect(&mut client, &EACH);
        expect(&mut client, &["221 "]);
        assert_eq!(counts(&server), [0, 1, 1]);
    }
    // A command behind the replies does: after it the same octets are another message.
    for copies in [1, 2] {
        let mut client = introduced(&server);
        envelope(&mut client, " PRDR", &TO);
        client.expect("DATA", "354");
        send(&mut client, &format!("{}.\r\n", message("three")));
        expect(&mut client, &EACH);
        client.expect("NOOP", "250");
        assert_eq!(counts(&server), [0, copies, copies]);
    }
}
