//! Accepting while descriptors are short: clients wait, nobody is thrown out, and all are served when there are some again.

use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

/// More clients than there are descriptors for.
const CLIENTS: usize = 40;
/// Descriptors that are left for new clients.
const ROOM: u64 = 10;

/// How many descriptors the server may have; what it could have had before.
fn allow(server: &Server, descriptors: u64) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a process number"));
    let limit = |current| Rlimit { current, maximum: None };
    let before = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { maximum: before.maximum, ..limit(Some(descriptors)) };
    prlimit(pid, Resource::Nofile, limit).expect("a child may be limited").current
}

fn open_descriptors(server: &Server) -> u64 {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").count() as u64
}

#[test]
fn clients_wait_while_descriptors_are_short() {
    let server = Server::start(Options::default());
    let mut held = server.client();
    held.expect("EHLO client.example", "250");
    let before = allow(&server, open_descriptors(&server) + ROOM).expect("a limit");
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address())).collect();
    server.await_log("cannot accept connections: ");
    held.expect("NOOP", "250");
    until("it has tried some times", || begin.elapsed().as_millis() > 500);
    let said = server.log().matches("cannot accept connections").count() as u64;
    assert!(said <= 2 + begin.elapsed().as_secs(), "{said} times");
    allow(&server, before);
    for client in &mut clients {
        let banner = client.reply().expect("a banner");
        assert!(banner.starts_with("220 "), "{banner}");
    }
    held.expect("EHLO client.example", "250");
    let reply = held.message("carol@client.example", &["alice@example.test"], b"Subject: x\r\n\r\nHello!\r\n");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}
