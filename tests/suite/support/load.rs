//! Load: senders that behave, each with one message after the other, until they are told to end.
//!
//! They wait for each reply, and send again, with the same octets and the same envelope, what was not acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::poll::until;
use super::server::Server;
use super::smtp_client::{Client, stuffed};

/// What senders do at the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// They have one session each, and it never ends before them.
    One,
    /// They begin another one after some messages, and when the server ends one with 421 or without a word.
    Many,
}

/// Messages that a sender with many sessions sends in one of them.
const SESSION_MESSAGES: usize = 3;

/// What a sender and the test know of each other.
pub struct Load {
    address: SocketAddr,
    over: AtomicBool,
    acknowledged: AtomicU64,
}

/// One message, and whom it was sent to.
pub struct Sent {
    octets: Vec<u8>,
    mailboxes: &'static [&'static str],
}

/// The session ended before the message was acknowledged.
struct Ended(String);

/// Has so many senders of each kind send to this address while `act` acts. What was acknowledged?
pub fn while_sending(address: SocketAddr, kinds: &[Sessions], act: impl FnOnce(&Load)) -> Vec<Sent> {
    let load = &Load { address, over: AtomicBool::new(false), acknowledged: AtomicU64::new(0) };
    thread::scope(|scope| {
        let sender = |(number, kind): (usize, &Sessions)| {
            let kind = *kind;
            scope.spawn(move || send_until_over(load, number, kind))
        };
        let senders: Vec<_> = kinds.iter().enumerate().map(sender).collect();
        // Ends the senders when the test fails, too.
        let over = Over(load);
        act(load);
        drop(over);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    })
}

struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Waits until so many more messages have been acknowledged.
    pub fn await_messages(&self, more: u64) {
        let end = self.acknowledged.load(Ordering::Relaxed) + more;
        until("messages are acknowledged", || self.acknowledged.load(Ordering::Relaxed) >= end);
    }
}

fn send_until_over(load: &Load, number: usize, kind: Sessions) -> Vec<Sent> {
    let (mut sent, mut client) = (Vec::new(), None);
    while !load.over.load(Ordering::Relaxed) {
        let message = message(number, sent.len());
        until("a message is acknowledged", || {
            let accepted = connect(load, client.take()).and_then(|mut connected| {
                transaction(&mut connected, &message)?;
                Ok(connected)
            });
            client = accepted.map_err(|Ended(how)| assert_eq!(kind, Sessions::Many, "a session ended: {how}")).ok();
            client.is_some()
        });
        load.acknowledged.fetch_add(1, Ordering::Relaxed);
        sent.push(message);
        if kind == Sessions::Many && sent.len().is_multiple_of(SESSION_MESSAGES) {
            client = None;
        }
    }
    sent
}

/// A message of its own; every third is for two.
fn message(sender: usize, number: usize) -> Sent {
    let lines = 1 + (number * 37 + sender) % 100;
    let body: String = (0..lines).map(|line| format!("line {line} of message {sender}-{number}\r\n")).collect();
    let octets = format!("Subject: {sender}-{number}\r\n\r\n{body}").into_bytes();
    let mailboxes: &[&str] = match number % 3 {
        0 => &["alice", "bob"],
        1 => &["alice"],
        _ => &["bob"],
    };
    Sent { octets, mailboxes }
}

/// A refused connection fails the test.
fn connect(load: &Load, connected: Option<Client>) -> Result<Client, Ended> {
    if let Some(client) = connected {
        return Ok(client);
    }
    let mut client = Client::try_connect(load.address).expect("no connection is refused");
    reply(&mut client, "220")?;
    command(&mut client, "EHLO client.example", "250")?;
    Ok(client)
}

fn transaction(client: &mut Client, message: &Sent) -> Result<(), Ended> {
    command(client, "MAIL FROM:<carol@client.example>", "250")?;
    for mailbox in message.mailboxes {
        command(client, &format!("RCPT TO:<{mailbox}@example.test>"), "250")?;
    }
    command(client, "DATA", "354")?;
    let wire = stuffed(&message.octets);
    for half in wire.chunks(wire.len().div_ceil(2)) {
        client.send(half).map_err(|error| Ended(error.to_string()))?;
    }
    reply(client, "250 2.0.0 ")
}

fn command(client: &mut Client, line: &str, expected: &str) -> Result<(), Ended> {
    client.send(format!("{line}\r\n").as_bytes()).map_err(|error| Ended(error.to_string()))?;
    reply(client, expected)
}

fn reply(client: &mut Client, expected: &str) -> Result<(), Ended> {
    let reply = client.reply().ok_or_else(|| Ended("without a word".into()))?;
    if reply.starts_with("421 4.3.2 ") {
        return Err(Ended(reply));
    }
    assert!(reply.starts_with(expected), "expected {expected}, got {reply}");
    Ok(())
}

/// In each mailbox lies exactly what was sent to it, octet by octet, and nothing is under way.
pub fn check(server: &Server, sent: &[Sent]) {
    for mailbox in ["alice", "bob"] {
        let maildir = server.maildir(mailbox);
        assert_eq!(maildir.unfinished().len(), 0, "files under tmp/ of {mailbox}");
        let mut copies: BTreeMap<String, i64> = BTreeMap::new();
        let mut count = |octets: &[u8], by: i64| {
            *copies.entry(String::from_utf8_lossy(octets).into_owned()).or_default() += by;
        };
        sent.iter().filter(|sent| sent.mailboxes.contains(&mailbox)).for_each(|sent| count(&sent.octets, -1));
        maildir.messages().iter().for_each(|stored| count(&stored.as_received(), 1));
        copies.retain(|_, copies| *copies != 0);
        assert!(copies.is_empty(), "{mailbox}: lost (-1), doubled or damaged (1): {copies:#?}");
    }
}
