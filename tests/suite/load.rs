//! Load figures of the real server: each is printed and must hold. The client is another process: its memory does not count.
//!
//! `make load` (`MXKEEP_LOAD=1`) runs them as they are promised, for some minutes; otherwise they run small, for seconds,
//! so that whoever breaks them hears of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::support::dialogue::Settings;
use crate::support::loopback;
use crate::support::poll::until;
use crate::support::process;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

/// What is measured, and what must come out.
struct Scale {
    idle_connections: usize,
    idle_octets_max: u64,
    /// What is measured, in KiB: PSS, or beside other servers its anonymous part.
    idle_measure: fn(u32) -> u64,
    slow_clients: usize,
    rounds: usize,
    samples: usize,
    percentile: usize,
    slowdown_max: f64,
    large_messages: usize,
    /// More of the configuration.
    budgets: &'static str,
    resident_mib_max: u64,
    bad_commands: usize,
}

/// As promised.
const FULL: Scale = Scale {
    idle_connections: 10_000,
    idle_octets_max: 12 * 1024,
    idle_measure: process::pss_kib,
    slow_clients: 500,
    rounds: 7,
    samples: 1_000,
    percentile: 99,
    slowdown_max: 1.5,
    large_messages: 200,
    budgets: "",
    resident_mib_max: 300,
    bad_commands: 10_000,
};

/// In seconds, beside other tests: what is noise is allowed for, what is a bug is not.
const SMALL: Scale = Scale {
    idle_connections: 500,
    idle_octets_max: 16 * 1024,
    idle_measure: process::pss_anonymous_kib,
    slow_clients: 50,
    rounds: 5,
    samples: 60,
    percentile: 90,
    slowdown_max: 4.0,
    large_messages: 8,
    budgets: "limits.memory_octets_max = 8388608\nlimits.inspection_octets_max = 25165824",
    resident_mib_max: 90,
    bad_commands: 10_000,
};

/// The next client is served within so many milliseconds.
const NEXT_MILLIS_MAX: u64 = 100;
const NEXT_CLIENTS: usize = 20;
const LARGE_OCTETS: usize = 20_000_000;
/// How long a large message among many may take, in seconds.
const LARGE_SECONDS_MAX: u64 = 600;

fn scale() -> &'static Scale {
    if env::var_os("MXKEEP_LOAD").is_some() { &FULL } else { &SMALL }
}

fn server(configuration: &str) -> Server {
    process::allow_descriptors(scale().idle_connections as u64 + 2_000);
    let settings = Settings { message_octets_max: 52_428_800, messages_max: 1_000_000, ..Settings::default() };
    let configuration = format!(
        "limits.connections_max = 20000\nlimits.connections_per_client_max = 1000\n\
         {configuration}"
    );
    Server::start(Options { settings, configuration, ..Options::default() })
}

fn client(number: usize, server: SocketAddr) -> Client {
    let stream = loopback::connect(loopback::address(number), server).expect("the server accepts");
    let mut client = Client::over(stream).expect("a socket");
    assert!(client.reply().is_some_and(|banner| banner.starts_with("220 ")), "a banner");
    client.expect("EHLO client.example", "250");
    client
}

fn small_message(client: &mut Client, subject: &str) {
    let text = format!("Subject: {subject}\r\n\r\n{}", "A line as lines are in mail, not long.\r\n".repeat(50));
    let reply = client.message("carol@client.example", &["alice@example.test"], text.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

/// What so many of 100 do not exceed.
fn percentile(sorted: &[Duration], percentile: usize) -> Duration {
    sorted[(sorted.len() * percentile).div_ceil(100) - 1]
}

/// Idle connections cost little, and keep nobody waiting.
#[test]
fn idle_connections_are_small_and_hold_nobody_up() {
    let scale = scale();
    let server = server("");
    for number in 0..20 {
        small_message(&mut client(number, server.address()), &format!("warm {number}"));
    }
    let (before, open) = ((scale.idle_measure)(server.pid()), process::descriptors(server.pid()));
    let mut idle: Vec<Client> = (0..scale.idle_connections).map(|number| client(number, server.address())).collect();
    let after = (scale.idle_measure)(server.pid());
    assert!(process::descriptors(server.pid()) >= idle.len(), "all of them are open at once, besides {open}");
    let octets = after.saturating_sub(before) * 1024 / idle.len() as u64;
    println!("load: {} idle connections: PSS {before} KiB before, {after} KiB after: {octets} octets each", idle.len());

    let served = (0..NEXT_CLIENTS).map(|number| {
        let start = Instant::now();
        small_message(&mut client(scale.idle_connections + number, server.address()), &format!("next {number}"));
        start.elapsed()
    });
    let served = sorted(served.collect());
    let (median, worst) = (percentile(&served, 50), percentile(&served, 100));
    println!(
        "load: meanwhile the next client, from connect to the 250 of its message: median {median:?}, worst {worst:?}"
    );
    for client in idle.iter_mut().step_by(97) {
        client.expect("NOOP", "250");
    }
    assert!(octets <= scale.idle_octets_max, "{octets} octets for an idle connection");
    assert!(median <= Duration::from_millis(NEXT_MILLIS_MAX), "{served:?}");
}

/// Clients that send an octet a second, within their data.
struct SlowClients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SlowClients {
    /// Connects them all, and has them go on.
    fn start(address: SocketAddr, count: usize) -> Self {
        let mut clients: Vec<Client> = (0..count).map(|number| client(number, address)).collect();
        for client in &mut clients {
            client.expect("MAIL FROM:<slow@client.example>", "250");
            client.expect("RCPT TO:<bob@example.test>", "250");
            client.expect("DATA", "354");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let pause = Duration::from_secs(1) / u32::try_from(count).expect("not that many");
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for client in &mut clients {
                    client.send(b"x").expect("the server reads");
                    thread::sleep(pause);
                }
            }
        });
        SlowClients { stop, thread: Some(thread) }
    }
}

impl Drop for SlowClients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the slow clients were served");
        }
    }
}

/// Slow clients leave a fast one as fast as it was. With and without them in turns: the machine has its moods.
#[test]
fn slow_clients_leave_a_fast_one_fast() {
    let scale = scale();
    let server = server("");
    let measure = |name: &str| {
        let mut fast = Client::greeted(server.address());
        fast.expect("EHLO client.example", "250");
        let times = (0..scale.samples).map(|number| {
            let start = Instant::now();
            small_message(&mut fast, &format!("{name} {number}"));
            start.elapsed()
        });
        sorted(times.collect())
    };
    measure("warm");
    let alone = process::descriptors(server.pid());
    let tail = |sorted: &[Duration]| percentile(sorted, scale.percentile);
    let mut ratios: Vec<f64> = Vec::new();
    for round in 0..scale.rounds {
        let measure_without = || {
            until("nobody is connected", || process::descriptors(server.pid()) <= alone);
            measure(&format!("without {round}"))
        };
        let measure_with = || {
            let _slow = SlowClients::start(server.address(), scale.slow_clients);
            measure(&format!("with {round}"))
        };
        // Each is the first in every other round: the second finds a fuller machine.
        let (without, with) = match round % 2 {
            0 => (measure_without(), measure_with()),
            _ => {
                let with = measure_with();
                (measure_without(), with)
            }
        };
        let ratio = tail(&with).as_secs_f64() / tail(&without).as_secs_f64();
        println!(
            "load: round {round}, {} messages each, median and p{}: without slow clients {:?} {:?}; with {} {:?} {:?}: {ratio:.2}",
            scale.samples,
            scale.percentile,
            percentile(&without, 50),
            tail(&without),
            scale.slow_clients,
            percentile(&with, 50),
            tail(&with),
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "load: {} slow clients: p{} of a fast one {median:.2} times that without (median of {} rounds)",
        scale.slow_clients, scale.percentile, scale.rounds
    );
    assert!(median <= scale.slowdown_max, "{ratios:?}");
    assert_eq!(server.maildir("bob").messages().len(), 0, "nothing of the slow ones was finished");
}

/// The body of a large message, on the wire and as it is stored.
fn large_body() -> (Vec<u8>, Vec<u8>) {
    let lines = (0..LARGE_OCTETS / 64).map(|line| format!("{line:0>62}"));
    let (mut wire, mut stored) = (Vec::with_capacity(LARGE_OCTETS), Vec::with_capacity(LARGE_OCTETS));
    for line in lines {
        wire.extend_from_slice(format!("{line}\r\n").as_bytes());
        stored.extend_from_slice(format!("{line}\n").as_bytes());
    }
    (wire, stored)
}

/// Sends one; all others are in the middle of theirs when it is.
fn send_large(number: usize, server: SocketAddr, body: &[u8], middle: &Barrier) {
    let mut client = client(number * loopback::CLIENTS_PER_ADDRESS, server);
    client.be_patient(Duration::from_secs(LARGE_SECONDS_MAX));
    client.expect("MAIL FROM:<carol@client.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    client.send(format!("Subject: large {number}\r\n\r\n").as_bytes()).expect("the server reads");
    let (first, second) = body.split_at(body.len() / 2);
    client.send(first).expect("the server reads");
    middle.wait();
    client.send(second).expect("the server reads");
    client.send(b".\r\n").expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

/// Large messages together fill disks, not memory.
#[test]
fn large_messages_in_parallel_keep_memory_small() {
    let scale = scale();
    let server = server(scale.budgets);
    small_message(&mut client(0, server.address()), "warm");
    process::forget_peak(server.pid());
    let before = process::peak_kib(server.pid());
    let (body, stored) = large_body();
    let (start, middle) = (Instant::now(), Barrier::new(scale.large_messages));
    thread::scope(|scope| {
        for number in 0..scale.large_messages {
            let (body, middle, address) = (&body, &middle, server.address());
            scope.spawn(move || send_large(number, address, body, middle));
        }
    });
    let (took, peak) = (start.elapsed(), process::peak_kib(server.pid()));
    println!(
        "load: {} messages of {LARGE_OCTETS} octets in parallel: {took:?}; resident at most {} MiB ({} MiB before)",
        scale.large_messages,
        peak >> 10,
        before >> 10
    );
    check_large(&server, scale.large_messages, &stored);
    assert!(peak >> 10 <= scale.resident_mib_max, "{peak} KiB were resident");
}

/// Each lies in the mailbox once, octet by octet. One at a time: together they are large.
fn check_large(server: &Server, count: usize, body: &[u8]) {
    let mut numbers = BTreeSet::new();
    let entries = fs::read_dir(server.maildir("alice").path().join("new")).expect("new/").flatten();
    for entry in entries {
        let octets = fs::read(entry.path()).expect("a message can be read");
        let Some(header) = octets.strip_suffix(body) else {
            assert!(octets.len() < 10_000, "{:?} is damaged", entry.path());
            continue;
        };
        let header = String::from_utf8_lossy(header).into_owned();
        let number = header.rsplit_once("\nSubject: large ").expect("its header").1.trim().to_owned();
        assert!(numbers.insert(number), "twice: {header}");
    }
    assert_eq!(numbers.len(), count);
}

/// Who sends nothing but bad commands is sent away, and what stands behind them is not executed.
#[test]
fn bad_commands_cost_the_session() {
    let scale = scale();
    let server = server("");
    let mut client = Client::greeted(server.address());
    let mut wire = b"BAD COMMAND\r\n".repeat(scale.bad_commands);
    wire.extend_from_slice(
        b"EHLO x\r\nMAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nx\r\n.\r\n",
    );
    let start = Instant::now();
    // The server may close before it has all of them.
    let _ = client.send(&wire);
    let replies: Vec<String> = std::iter::from_fn(|| client.reply()).collect();
    println!(
        "load: {} bad commands: {} replies, the last {:?}, closed after {:?}",
        scale.bad_commands,
        replies.len(),
        replies.last(),
        start.elapsed()
    );
    let (last, others) = replies.split_last().expect("replies");
    assert!(last.starts_with("421 4.7.0 "), "{last}");
    assert_eq!(others.len(), usize::try_from(Settings::default().bad_commands_max).expect("a small number"));
    assert!(others.iter().all(|reply| reply.starts_with("500 ")), "{others:?}");
    assert_eq!(server.maildir("alice").messages().len(), 0);
    small_message(&mut self::client(1, server.address()), "the next");
}
