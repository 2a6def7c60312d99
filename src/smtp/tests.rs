//! The session's limits, XCLIENT and refused chunks: what a dialogue cannot show.

use std::sync::Arc;

use super::chunk::ChunkEnd;
use super::{Enhanced, Input, Reply, Session, Settings, Start, Step, XAddress};

/// A session with an application that knows everybody but nobody, late and later.
struct Talk {
    session: Session,
    input: Input,
}

impl Talk {
    fn new(start: Start) -> Self {
        let settings = Settings {
            hostname: "mx.example.test".to_owned(),
            message_octets_max: 100,
            recipients_max: 2,
            messages_max: 2,
            refused_recipients_max: 1,
            starttls: true,
            bad_commands_max: 3,
        };
        Talk { session: Session::new(Arc::new(settings), start), input: Input::default() }
    }

    /// Feeds octets, and tells the codes of the replies. `C` stands for a connection that was closed.
    fn say(&mut self, octets: &str) -> String {
        self.input.extend(octets.as_bytes());
        let mut said = Vec::new();
        while let Some(step) = self.session.step(&mut self.input) {
            let (reply, closed) = match step {
                Step::Reply(reply) | Step::StartTls(reply) => (reply, ""),
                Step::Close(reply, why) => (reply, why),
                Step::Mail(mail) => (mail.answer(ok()), ""),
                Step::Rcpt(rcpt) => {
                    let path = rcpt.forward_path().to_string();
                    (rcpt.answer(if path.starts_with("nobody") { refused() } else { later(&path) }), "")
                }
                Step::Data(data) => (data.go_ahead(), ""),
                Step::Client(client) => {
                    let banner = client.banner();
                    let served = client.address() != XAddress::Is([192, 0, 2, 66].into());
                    (client.answer(if served { banner } else { Reply::new(421, Enhanced(4, 7, 0), "no") }), "")
                }
                Step::Chunk(mut chunk) => match chunk.push(&mut self.input, &mut Vec::new()) {
                    None => break,
                    Some(ChunkEnd::Part) => (chunk.received(), ""),
                    Some(ChunkEnd::Whole(end)) => {
                        let data = chunk.whole();
                        let reply = end.map_or_else(|error| data.refusal(error), |()| ok());
                        (data.answer(reply), "")
                    }
                },
            };
            said.push(format!("{}{}{closed}", reply.code(), if closed.is_empty() { "" } else { " " }));
            if !closed.is_empty() {
                break;
            }
        }
        said.join(", ")
    }
}

fn ok() -> Reply {
    Reply::new(250, Enhanced(2, 0, 0), "ok")
}

fn refused() -> Reply {
    Reply::new(550, Enhanced(5, 1, 1), "unknown")
}

fn later(path: &str) -> Reply {
    match path.starts_with("later") {
        true => Reply::new(452, Enhanced(4, 5, 3), "send it separately"),
        false => ok(),
    }
}

const TO_ALICE: &str = "MAIL FROM:<>\r\nRCPT TO:<alice@x>\r\n";

#[test]
fn refused_recipients_are_counted_over_the_session() {
    let mut talk = Talk::new(Start::default());
    assert_eq!(talk.say("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@x>\r\n"), "250, 250, 550");
    // Neither of these guesses names.
    assert_eq!(talk.say("RCPT TO:<later@x>\r\nRCPT TO:<later@x>\r\nRCPT TO:<\r\n"), "452, 452, 501");
    assert_eq!(talk.say("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<nobody2@x>\r\nNOOP\r\n"), "250, 250, 550, 250");
    assert_eq!(talk.say("RCPT TO:<alice@x>\r\n"), "421 too_many_refused_recipients");
}

#[test]
fn messages_are_counted_over_the_session() {
    let mut talk = Talk::new(Start::default());
    assert_eq!(
        talk.say("EHLO a\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nEHLO b\r\nMAIL FROM:<> X\r\n"),
        "250, 250, 503, 250, 555"
    );
    assert_eq!(talk.say("MAIL FROM:<>\r\nRSET\r\n"), "250, 250");
    assert_eq!(talk.say("MAIL FROM:<>\r\n"), "421 too_many_messages");
}

#[test]
fn other_protocols_are_hung_up_on_before_their_line_ends() {
    for octets in ["GET ", "\x16\x03", "NOOP\r\nPOST / HTTP/1.1"] {
        let told = Talk::new(Start::default()).say(octets);
        assert!(told.ends_with("421 http") || told == "421 tls_in_clear_text", "{octets:?}: {told}");
    }
    assert_eq!(Talk::new(Start { tls: true, xclient: false }).say("\x16\x03\r\n"), "500");
    // In the middle of a line, and in mail data, they are text.
    assert_eq!(Talk::new(Start::default()).say("NOOP GET /\r\n"), "250");
    let chunk = format!("EHLO a\r\n{TO_ALICE}BDAT 11\r\nGET / \r\n\x16\x03\rBDAT 1 LAST\r\n\n");
    assert_eq!(Talk::new(Start::default()).say(&chunk), "250, 250, 250, 250, 250");
}

#[test]
fn a_refused_chunk_is_dropped_before_its_reply_and_its_octets_are_no_commands() {
    let mut talk = Talk::new(Start::default());
    assert_eq!(talk.say("BDAT 18446744073709551615\r\nQUIT\r\n"), "");
    assert!(talk.session.drain(&mut talk.input));
    for _ in 0..100 {
        assert_eq!(talk.say(&"QUIT\r\n".repeat(10_000)), "");
        assert!(talk.input.is_empty(), "octets are held");
    }
    // A client that pipelines its chunks is not cut off for it.
    let mut talk = Talk::new(Start::default());
    assert_eq!(talk.say(&"BDAT 6\r\nQUIT\r\n".repeat(6)), ["503"; 6].join(", "));
    let large = format!("EHLO a\r\n{TO_ALICE}BDAT 101\r\n{}BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "x".repeat(101));
    assert_eq!(talk.say(&large), "250, 250, 250, 552, 503, 250");
    assert_eq!(talk.say("MAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\nRCPT TO:<alice@x>\r\n"), "250, 554, 250");
    assert_eq!(talk.say("BDAT 6 LAST\r\nQUIT\r\n"), "250");
}

#[test]
fn a_bdat_that_cannot_be_read_ends_the_session() {
    let long = format!("bdat 5 {}\r\n", "x".repeat(5_000));
    for line in ["BDAT\r\nNOOP\r\n", "BDAT five LAST\r\nNOOP\r\n", &long] {
        assert_eq!(Talk::new(Start::default()).say(line), "501 malformed_bdat", "{line}");
    }
    let long = format!("NOOP {}\r\n", "x".repeat(5_000));
    assert_eq!(Talk::new(Start::default()).say(&long), "500");
}

#[test]
fn a_chunk_that_is_dropped_is_asked_again() {
    let mut talk = Talk::new(Start::default());
    talk.say(&format!("EHLO a\r\n{TO_ALICE}"));
    talk.input.extend(b"BDAT 3\r\nabcNOOP\r\n");
    assert!(matches!(talk.session.step(&mut talk.input), Some(Step::Chunk(_))));
    assert!(talk.session.envelope().is_some());
    assert_eq!(talk.say(""), "250, 250");
}

#[test]
fn xclient_starts_over_as_another_client() {
    let mut talk = Talk::new(Start { tls: false, xclient: true });
    assert_eq!(talk.say("XCLIENT ADDR=192.0.2.1 HELO=a.example PROTO=ESMTP\r\n"), "220");
    assert_eq!(talk.session.helo().map(|helo| helo.extended), Some(true));
    assert_eq!(talk.say("MAIL FROM:<> SIZE=1\r\nXCLIENT ADDR=192.0.2.2\r\nRSET\r\n"), "250, 503, 250");
    assert_eq!(talk.say("XCLIENT ADDR=192.0.2.2 HELO=b.example PROTO=SMTP\r\n"), "220");
    assert_eq!(
        talk.session.helo().map(|helo| (helo.host.to_string(), helo.extended)),
        Some(("b.example".to_owned(), false))
    );
    assert_eq!(
        talk.say("MAIL FROM:<> SIZE=1\r\nEHLO c.example\r\nMAIL FROM:<> SIZE=1\r\nRSET\r\n"),
        "555, 250, 250, 250"
    );
    assert_eq!(talk.say("MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n"), "250, 250, 421 too_many_messages");
    assert_eq!(talk.say("XCLIENT PORT=25\r\nMAIL FROM:<>\r\n"), "220, 503");
    assert_eq!(talk.say("EHLO d.example\r\nXCLIENT ADDR=192.0.2.66\r\nMAIL FROM:<>\r\nRSET\r\n"), "250, 421, 250, 250");
    assert_eq!(talk.say("XCLIENT\r\nXCLIENT LOGIN=x\r\n"), "501, 501");
}

#[test]
fn xclient_is_for_those_who_may() {
    let mut talk = Talk::new(Start::default());
    assert_eq!(talk.say("XCLIENT ADDR=192.0.2.1\r\nXCLIENT\r\n"), "550, 550");
    let listed = |start| {
        let mut talk = Talk::new(start);
        talk.input.extend(b"EHLO a\r\n");
        match talk.session.step(&mut talk.input) {
            Some(Step::Reply(reply)) => reply.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!listed(Start::default()).contains("XCLIENT"));
    let all = listed(Start { tls: true, xclient: true });
    assert!(
        all.ends_with("250-REQUIRETLS / 250-XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT / 250 HELP"),
        "{all}"
    );
    assert!(!all.contains("STARTTLS"), "{all}");
    // The permission is the peer's: it outlives STARTTLS.
    let mut talk = Talk::new(Start { tls: false, xclient: true });
    assert_eq!(talk.say("STARTTLS\r\n"), "220");
    talk.session.on_tls();
    assert_eq!(talk.say("XCLIENT ADDR=192.0.2.1\r\nEHLO a\r\nMAIL FROM:<> REQUIRETLS\r\n"), "220, 250, 250");
}
