//! Octets from a client, as rude as can be, up to a mark; and every reply before the mark's.
//!
//! The mark is a command with a reply of its own (VRFY: 252), pipelined behind the octets. Whatever the server makes of
//! them, it is all that stands before the 252: one reply too many or too few is seen, and nobody waits to be sure.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::dialogue::Settings;
use super::server::{Options, Server};
use super::smtp_client::Client;

const MARK: &[u8] = b"VRFY mark\r\n";
const MARK_REPLY: &str = "252 ";

/// How the octets are cut when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One write.
    Whole,
    /// One octet a write.
    Octets,
}

/// The four ways to hold each conversation: in clear text and under TLS, in one write and octet by octet.
pub const WAYS: [(bool, Cut); 4] = [(false, Cut::Whole), (false, Cut::Octets), (true, Cut::Whole), (true, Cut::Octets)];

/// A server with STARTTLS.
pub fn server() -> Server {
    Server::start(Options { settings: Settings { starttls: true, ..Settings::default() }, ..Options::default() })
}

/// A client that has said EHLO, under TLS if asked to.
pub fn greeted(server: &Server, tls: bool) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    if tls {
        client.expect("STARTTLS", "220 2.0.0");
        client.start_tls().expect("a handshake");
        client.expect("EHLO client.example", "250");
    }
    client
}

/// Writes octets. A server that has closed the connection meanwhile is no error: its replies say what happened.
pub fn write(client: &mut Client, octets: &[u8], cut: Cut) {
    let size = if cut == Cut::Whole { octets.len().max(1) } else { 1 };
    for chunk in octets.chunks(size) {
        if client.send(chunk).is_err() {
            return;
        }
    }
}

/// Sends the octets and the mark, and reads the replies to the octets. `Break`: the server closed the connection.
pub fn exchange(client: &mut Client, octets: &[u8], cut: Cut) -> ControlFlow<Vec<String>, Vec<String>> {
    write(client, &[octets, MARK].concat(), cut);
    let mut replies = Vec::new();
    loop {
        match client.reply() {
            Some(reply) if reply.starts_with(MARK_REPLY) => return ControlFlow::Continue(replies),
            Some(reply) => replies.push(reply),
            None => return ControlFlow::Break(replies),
        }
    }
}

/// The replies must be these, each by its beginning, and the session must go on.
#[track_caller]
pub fn insist(client: &mut Client, what: &str, octets: &[u8], cut: Cut, expected: &[&str]) {
    let got = match exchange(client, octets, cut) {
        ControlFlow::Continue(replies) => replies,
        ControlFlow::Break(replies) => panic!("{what}, {cut:?}: closed after {replies:#?}\n{}", shown(octets)),
    };
    check_replies(what, octets, cut, &got, expected);
}

/// The replies must be these, each by its beginning, and the connection must end behind them, the mark unread.
#[track_caller]
pub fn insist_closed(client: &mut Client, what: &str, octets: &[u8], cut: Cut, expected: &[&str]) {
    let got = match exchange(client, octets, cut) {
        ControlFlow::Break(replies) => replies,
        ControlFlow::Continue(replies) => panic!("{what}, {cut:?}: open after {replies:#?}\n{}", shown(octets)),
    };
    check_replies(what, octets, cut, &got, expected);
}

#[track_caller]
fn check_replies(what: &str, octets: &[u8], cut: Cut, got: &[String], expected: &[&str]) {
    let fine = got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| got.starts_with(expected));
    assert!(fine, "{what}, {cut:?}: expected {expected:?}, got {got:#?}\n{}", shown(octets));
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string().chars().take(2_000).collect()
}

/// What must lie in the mailboxes at the end: each message by its octets, as often as it was accepted.
#[derive(Debug, Default)]
pub struct Accepted(BTreeMap<(&'static str, Vec<u8>), i64>);

impl Accepted {
    /// One message was accepted for a mailbox.
    pub fn add(&mut self, mailbox: &'static str, octets: &[u8]) {
        *self.0.entry((mailbox, octets.to_vec())).or_default() += 1;
    }

    /// In each mailbox lies what was accepted, octet by octet, and nothing else; nothing is under way.
    #[track_caller]
    pub fn check(mut self, server: &Server) {
        for mailbox in ["alice", "bob"] {
            let maildir = server.maildir(mailbox);
            assert_eq!(maildir.unfinished().len(), 0, "files under tmp/ of {mailbox}");
            for stored in maildir.messages() {
                *self.0.entry((mailbox, stored.as_received())).or_default() -= 1;
            }
        }
        let wrong: Vec<String> = (self.0.iter().filter(|(_, copies)| **copies != 0))
            .map(|((mailbox, octets), copies)| format!("{mailbox}: {} {}", -copies, shown(octets)))
            .collect();
        let what = "accepted and not there (-1), or there and never accepted (1)";
        assert!(wrong.is_empty(), "{} messages {what}\n{}", wrong.len(), wrong.join("\n"));
    }
}
