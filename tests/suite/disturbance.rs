//! A well-behaved client among hostile ones: each of these gets the reply that its fault has, and that one loses nothing.
//!
//! `MXKEEP_LOAD=1` (`make load`) has it take longer.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::dialogue::Settings;
use crate::support::exchange::Accepted;
use crate::support::loopback;
use crate::support::poll::until;
use crate::support::process;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

const MILLIS: u64 = 1_500;
const MILLIS_UNDER_LOAD: u64 = 30_000;
/// It goes on until it has sent so many, however slow the machine is.
const MESSAGES_MIN: usize = 50;
/// Between two messages of the well-behaved client, in milliseconds.
const PAUSE_MILLIS: u64 = 2;
/// Messages that it sends on one connection; every other connection is under TLS.
const CONNECTION_MESSAGES: usize = 5;
/// Between two attacks of one hostile client, in milliseconds: they shall not have the machine for themselves.
const REST_MILLIS: u64 = 2;
/// What it waits for a 250 at most, in seconds: it shares two cores with all the others.
const LATENCY_SECONDS_MAX: u64 = 5;

const MESSAGE_OCTETS_MAX: u64 = 1 << 20;
const TO_BOB: &[u8] =
    b"EHLO hostile.example\r\nMAIL FROM:<mallory@client.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n";

/// One fault, committed once over connections from its own address.
type Fault = fn(&Hostile, u64);

const FAULTS: &[(&str, Fault)] = &[
    ("random octets", random_octets),
    ("bad commands", bad_commands),
    ("half-open connections", half_open),
    ("more connections than allowed", flood),
    ("resets within the data", resets),
    ("an octet at a time", octet_at_a_time),
    ("endless lines", endless_lines),
    ("garbage for a TLS handshake", tls_garbage),
    ("TLS records torn to pieces", torn_handshake),
    ("thousands of recipients", thousands_of_recipients),
    ("replies that are never read", never_reads),
    ("messages too large", too_large),
    ("bare line ends", bare_line_ends),
    ("a stream that ends within the data", ends_within_data),
];

/// A hostile client: where it lives, and whom it attacks.
struct Hostile {
    from: Ipv4Addr,
    server: SocketAddr,
}

impl Hostile {
    /// A connection that has got its banner: the limits let so many in. `None` while the last ones are not forgotten yet.
    fn connect(&self) -> Option<Client> {
        let mut client =
            Client::over(loopback::connect(self.from, self.server).expect("it accepts")).expect("a socket");
        client.reply().filter(|banner| banner.starts_with("220 ")).map(|_| client)
    }

    fn raw(&self) -> TcpStream {
        loopback::connect(self.from, self.server).expect("it accepts")
    }

    /// Sends all of it, pipelined, and reads all replies. The last one must begin like this.
    #[track_caller]
    fn insist(&self, octets: &[u8], last: &str) {
        let Some(mut client) = self.connect() else { return };
        // The server may close before it has all of them.
        let _ = client.send(octets);
        let replies: Vec<String> = std::iter::from_fn(|| client.reply()).collect();
        assert!(
            replies.last().is_some_and(|reply| reply.starts_with(last)),
            "expected {last} at last, got {replies:#?}"
        );
    }
}

#[test]
fn a_good_client_among_hostile_ones_loses_nothing() {
    let millis = if env::var_os("MXKEEP_LOAD").is_some() { MILLIS_UNDER_LOAD } else { MILLIS };
    process::allow_descriptors(4_000);
    let settings = Settings { starttls: true, message_octets_max: MESSAGE_OCTETS_MAX, ..Settings::default() };
    let mut server = Server::start(Options { settings, ..Options::default() });
    let before = process::descriptors(server.pid());
    let over = AtomicBool::new(false);
    let accepted = thread::scope(|scope| {
        let mut hostile = Vec::new();
        for (number, (name, fault)) in FAULTS.iter().enumerate() {
            let client = Hostile { from: loopback::address(number * 80), server: server.address() };
            let over = &over;
            hostile.push((*name, scope.spawn(move || again_and_again(&client, *fault, over))));
        }
        // Ends them when the good client fails, too.
        let ends = Over(&over);
        let accepted = send_well(&server, Duration::from_millis(millis));
        drop(ends);
        for (name, thread) in hostile {
            println!("hostile: {name}: {} times", thread.join().unwrap_or_else(|_| panic!("{name}")));
        }
        accepted
    });
    until("all of them are gone", || process::descriptors(server.pid()) <= before + 2);
    accepted.check(&server);
    assert_eq!(server.stop().code(), Some(0));
    let log = server.log();
    let loud: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

/// Ends the hostile clients when dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often?
fn again_and_again(hostile: &Hostile, fault: Fault, over: &AtomicBool) -> u64 {
    let mut times = 0;
    while !over.load(Ordering::Relaxed) {
        fault(hostile, times);
        times += 1;
        thread::sleep(Duration::from_millis(REST_MILLIS));
    }
    times
}

/// A message every few milliseconds, over several connections.
fn send_well(server: &Server, duration: Duration) -> Accepted {
    let (mut accepted, mut client, start) = (Accepted::default(), None, Instant::now());
    let (mut worst, mut number) = (Duration::ZERO, 0);
    while start.elapsed() < duration || number < MESSAGES_MIN {
        let begun = Instant::now();
        let mut connected = client.take().unwrap_or_else(|| greeted(server, number / CONNECTION_MESSAGES % 2 == 1));
        let text = format!("Subject: good {number}\r\n\r\n{}", "A line of it.\r\n".repeat(number % 100));
        let reply = connected.message("carol@client.example", &["alice@example.test"], text.as_bytes());
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        accepted.add("alice", text.as_bytes());
        worst = worst.max(begun.elapsed());
        number += 1;
        client = (!number.is_multiple_of(CONNECTION_MESSAGES)).then_some(connected);
        thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
    println!("hostile: meanwhile {number} messages of the good client, the slowest in {worst:?}");
    assert!(worst < Duration::from_secs(LATENCY_SECONDS_MAX), "{worst:?}");
    accepted
}

fn greeted(server: &Server, tls: bool) -> Client {
    crate::support::exchange::greeted(server, tls)
}

/// Octets without rhyme or reason, and always the same ones (xorshift).
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let octet = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(octet).take(count).collect()
}

fn random_octets(hostile: &Hostile, round: u64) {
    let Some(mut client) = hostile.connect() else { return };
    for part in 0..4 {
        if client.send(&noise(round * 4 + part, 20_000)).is_err() {
            return;
        }
    }
}

fn bad_commands(hostile: &Hostile, _: u64) {
    hostile.insist(&b"HELP me\0\r\nWHAT\r\nRCPT TO:<bob@example.test>\r\nMAIL FROM:<\r\n".repeat(20), "421 4.7.0 ");
}

/// As many as are allowed; each says a part of something.
fn half_open(hostile: &Hostile, _: u64) {
    let mut clients: Vec<TcpStream> = (0..40).map(|_| hostile.raw()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let _ = std::io::Write::write_all(client, &TO_BOB[..number]);
    }
    thread::sleep(Duration::from_millis(5));
}

fn flood(hostile: &Hostile, _: u64) {
    let mut clients: Vec<Client> = (0..70).map(|_| Client::over(hostile.raw()).expect("a socket")).collect();
    let mut refused = 0;
    for client in &mut clients {
        let reply = client.reply().expect("a banner or a refusal");
        refused += u32::from(reply.starts_with("421 4.7.0 "));
        assert!(reply.starts_with("220 ") || reply.starts_with("421 4.7.0 "), "{reply}");
    }
    assert!(refused >= 20, "only {refused} refused");
}

fn resets(hostile: &Hostile, round: u64) {
    let Some(mut client) = hostile.connect() else { return };
    let _ = client.send(&[TO_BOB, b"Subject: torn\r\n\r\n", &vec![b'x'; (round % 9) as usize * 10_000]].concat());
    client.reset();
}

fn octet_at_a_time(hostile: &Hostile, _: u64) {
    let Some(mut client) = hostile.connect() else { return };
    for octet in [TO_BOB, &b"Subject: slow\r\n\r\nslow"[..]].concat() {
        if client.send(&[octet]).is_err() {
            return;
        }
        thread::sleep(Duration::from_micros(500));
    }
}

fn endless_lines(hostile: &Hostile, _: u64) {
    hostile.insist(&[&vec![b'x'; 1 << 20][..], b"\r\nQUIT\r\n"].concat(), "221 ");
}

fn tls_garbage(hostile: &Hostile, round: u64) {
    let Some(mut client) = hostile.connect() else { return };
    client.expect("EHLO hostile.example", "250");
    client.expect("STARTTLS", "220 ");
    // Behind the header of a handshake record, or without one.
    let header: &[u8] = if round.is_multiple_of(2) { b"\x16\x03\x01\x40\x00\x01\x00" } else { b"" };
    let _ = client.send(&[header, &noise(round, 20_000)].concat());
}

fn torn_handshake(hostile: &Hostile, _: u64) {
    let Some(mut client) = hostile.connect() else { return };
    client.expect("EHLO hostile.example", "250");
    client.expect("STARTTLS", "220 ");
    for octet in b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03" {
        let _ = client.send(&[*octet]);
    }
    client.reset();
}

fn thousands_of_recipients(hostile: &Hostile, round: u64) {
    let mut wire = b"EHLO hostile.example\r\nMAIL FROM:<mallory@client.example>\r\n".to_vec();
    for number in 0..2_000 {
        let name = if round.is_multiple_of(2) { "bob".to_owned() } else { format!("guess{number}") };
        wire.extend_from_slice(format!("RCPT TO:<{name}@example.test>\r\n").as_bytes());
    }
    wire.extend_from_slice(b"QUIT\r\n");
    // Whoever guesses names may be sent away before he is through.
    hostile.insist(&wire, if round.is_multiple_of(2) { "221 " } else { "" });
}

fn never_reads(hostile: &Hostile, _: u64) {
    let mut stream = hostile.raw();
    stream.set_write_timeout(Some(Duration::from_millis(20))).expect("SO_SNDTIMEO");
    let noops = b"NOOP\r\n".repeat(10_000);
    // Until the server does not read on, or so many.
    for _ in 0..100 {
        if std::io::Write::write_all(&mut stream, &noops).is_err() {
            return;
        }
    }
}

fn too_large(hostile: &Hostile, _: u64) {
    let lines = b"It fills a line, and many of these fill a message.\r\n".repeat(25_000);
    assert!(lines.len() as u64 > MESSAGE_OCTETS_MAX, "too large");
    let Some(mut client) = hostile.connect() else { return };
    client.send(&[TO_BOB, &lines, b".\r\n"].concat()).expect("the server reads");
    for reply in ["250", "250", "250", "354", "552 5.3.4 "] {
        let got = client.reply().expect("a reply");
        assert!(got.starts_with(reply), "expected {reply}, got {got}");
    }
}

fn bare_line_ends(hostile: &Hostile, _: u64) {
    let Some(mut client) = hostile.connect() else { return };
    client.send(&[TO_BOB, b"Subject: bare\n\n.\nQUIT\r\n.\r\n"].concat()).expect("the server reads");
    for reply in ["250", "250", "250", "354", "550 5.6.11 "] {
        let got = client.reply().expect("a reply");
        assert!(got.starts_with(reply), "expected {reply}, got {got}");
    }
}

fn ends_within_data(hostile: &Hostile, _: u64) {
    let Some(mut client) = hostile.connect() else { return };
    client.send(&[TO_BOB, b"Subject: cut\r\n\r\nall but the dot\r\n.\r"].concat()).expect("the server reads");
    client.end_stream();
    let replies: Vec<String> = std::iter::from_fn(|| client.reply()).collect();
    assert!(replies.len() == 4 && replies[3].starts_with("354 "), "{replies:#?}");
}
