//! `kill -9` in the middle of load, again and again: nothing lost, nothing twice, nothing damaged.
//!
//! Senders behave: they wait for each reply, and send again, after the restart, what was not acknowledged, with the same
//! octets and the same envelope. `MXKEEP_CRASH_ROUNDS` sets how often the server is killed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::{Client, stuffed};

const SENDERS: usize = 16;
const ROUNDS_DEFAULT: u64 = 8;
/// A round ends after so many events at most: commands, halves of messages, replies.
const EVENTS_MAX: u64 = 1_500;
/// Messages that a sender sends on one connection.
const CONNECTION_MESSAGES: usize = 5;

/// What senders and the one who kills know of each other.
struct Scene {
    address: Mutex<SocketAddr>,
    events: AtomicU64,
    over: AtomicBool,
}

/// One message and whom it was sent to.
struct Sent {
    octets: Vec<u8>,
    mailboxes: &'static [&'static str],
}

/// The connection broke: the server was killed.
struct Broken;

#[test]
fn killed_under_load_nothing_is_lost_or_doubled_or_damaged() {
    let rounds = std::env::var("MXKEEP_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS_DEFAULT);
    let mut server = Server::start(Options::default());
    let scene =
        Scene { address: Mutex::new(server.address()), events: AtomicU64::new(0), over: AtomicBool::new(false) };
    let sent: Vec<Sent> = thread::scope(|scope| {
        let scene = &scene;
        let senders: Vec<_> = (0..SENDERS).map(|number| scope.spawn(move || send_until_over(scene, number))).collect();
        // Ends the senders when a round fails, too.
        let over = Over(scene);
        let random = RandomState::new();
        for round in 0..rounds {
            let end = scene.events.load(Ordering::Relaxed) + 1 + random.hash_one(round) % EVENTS_MAX;
            until("the round is over", || scene.events.load(Ordering::Relaxed) >= end);
            server.kill();
            server.restart();
            *scene.address.lock().unwrap_or_else(PoisonError::into_inner) = server.address();
        }
        drop(over);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    });
    check(&server, &sent);
    let settled = server.log().matches("deliveries that had been interrupted were settled").count();
    println!(
        "killed {rounds} times, {settled} of them in the middle of deliveries: {} messages, all there once",
        sent.len()
    );
}

/// Ends the senders when dropped.
struct Over<'a>(&'a Scene);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// One message after the other, each until it is acknowledged.
fn send_until_over(scene: &Scene, number: usize) -> Vec<Sent> {
    let (mut sent, mut client) = (Vec::new(), None);
    while !scene.over.load(Ordering::Relaxed) {
        let message = message(number, sent.len());
        until("a message is acknowledged", || {
            let accepted = connect(scene, client.take()).and_then(|mut connected| {
                transaction(scene, &mut connected, &message)?;
                Ok(connected)
            });
            client = accepted.ok();
            client.is_some()
        });
        sent.push(message);
        if sent.len().is_multiple_of(CONNECTION_MESSAGES) {
            client = None;
        }
    }
    sent
}

/// A message of its own, of some hundred octets up to some ten thousand; every third is for two.
fn message(sender: usize, number: usize) -> Sent {
    let lines = 1 + (number * 37 + sender) % 200;
    let body: String =
        (0..lines).map(|line| format!("line {line} of message {sender}-{number}, and nothing else\r\n")).collect();
    let octets = format!("Subject: {sender}-{number}\r\n\r\n{body}").into_bytes();
    let mailboxes: &[&str] = match number % 3 {
        0 => &["alice", "bob"],
        1 => &["alice"],
        _ => &["bob"],
    };
    Sent { octets, mailboxes }
}

fn connect(scene: &Scene, connected: Option<Client>) -> Result<Client, Broken> {
    if let Some(client) = connected {
        return Ok(client);
    }
    let address = *scene.address.lock().unwrap_or_else(PoisonError::into_inner);
    let mut client = Client::try_connect(address).map_err(|_| Broken)?;
    reply(scene, &mut client, "220")?;
    command(scene, &mut client, "EHLO client.example", "250")?;
    Ok(client)
}

fn transaction(scene: &Scene, client: &mut Client, message: &Sent) -> Result<(), Broken> {
    command(scene, client, "MAIL FROM:<carol@client.example>", "250")?;
    for mailbox in message.mailboxes {
        command(scene, client, &format!("RCPT TO:<{mailbox}@example.test>"), "250")?;
    }
    command(scene, client, "DATA", "354")?;
    let wire = stuffed(&message.octets);
    for half in wire.chunks(wire.len().div_ceil(2)) {
        send(scene, client, half)?;
    }
    reply(scene, client, "250 2.0.0 ")
}

fn command(scene: &Scene, client: &mut Client, line: &str, expected: &str) -> Result<(), Broken> {
    send(scene, client, format!("{line}\r\n").as_bytes())?;
    reply(scene, client, expected)
}

fn send(scene: &Scene, client: &mut Client, octets: &[u8]) -> Result<(), Broken> {
    scene.events.fetch_add(1, Ordering::Relaxed);
    client.send(octets).map_err(|_| Broken)
}

fn reply(scene: &Scene, client: &mut Client, expected: &str) -> Result<(), Broken> {
    let reply = client.reply().ok_or(Broken)?;
    assert!(reply.starts_with(expected), "expected {expected}, got {reply}");
    scene.events.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// In each mailbox lies exactly what was sent to it, octet by octet, and nothing is under way.
fn check(server: &Server, sent: &[Sent]) {
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
