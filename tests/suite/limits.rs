//! The server's limits and its end: 421 where there is no room, and an orderly stop (SIGTERM, as systemd sends it).

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::poll::until;
use crate::support::process;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

/// What systemd gives us to end in after SIGTERM is 45 s; transactions get 30 of them, and idle sessions none.
const IDLE_STOP_SECONDS_MAX: u64 = 10;
const HEAD: &[u8] = b"From: carol@client.example\r\nSubject: hello\r\n\r\n";

fn limited(limits: &str) -> Server {
    Server::start(Options { configuration: limits.to_owned(), ..Options::default() })
}

/// Connects as one client too many.
fn refused(server: &Server) -> String {
    let mut client = Client::connect(server.address());
    let reply = client.reply().expect("a reply");
    assert!(client.at_end(), "closed after {reply}");
    reply
}

/// A client that was admitted, whatever has just been refused.
fn admitted(server: &Server) -> Client {
    let mut admitted = None;
    until("a client is admitted", || {
        let mut client = Client::connect(server.address());
        let admits = client.reply().is_some_and(|reply| reply.starts_with("220 "));
        admitted = admits.then_some(client);
        admits
    });
    admitted.expect("it was")
}

/// Replies wait for who pipelines, but not for ever more of them: who sends and does not read fills no memory of ours.
#[test]
fn replies_that_nobody_reads_take_little_memory() {
    const CLIENTS: u64 = 20;
    const KIB_EACH_MAX: u64 = 300;
    let server = Server::start(Options::default());
    server.client().expect("EHLO client.example", "250");
    process::forget_peak(server.pid());
    let before = process::peak_kib(server.pid());
    let deaf: Vec<TcpStream> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| deaf(&server))).collect();
        clients.into_iter().map(|client| client.join().expect("it was connected")).collect()
    });
    let taken = process::peak_kib(server.pid()).saturating_sub(before);
    drop(deaf);
    assert!(taken < CLIENTS * KIB_EACH_MAX, "{taken} KiB");
}

/// A client that has sent commands until the server took no more, and has read nothing.
fn deaf(server: &Server) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    socket.connect(&server.address().into()).expect("the server accepts");
    let mut stream = TcpStream::from(socket);
    // Nobody waits for anything here: a server that reads at all reads within this time.
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("SO_SNDTIMEO");
    let commands = b"EHLO client.example\r\n".repeat(1000);
    while stream.write_all(&commands).is_ok() {}
    stream
}

#[test]
fn one_client_too_many_is_421() {
    let texts = [
        ("limits.connections_per_client_max = 2", "421 4.7.0 mx.example.test too many connections from your address"),
        ("limits.connections_max = 2", "421 4.7.0 mx.example.test too many connections open"),
    ];
    for (limits, text) in texts {
        let server = limited(limits);
        let mut first = server.client();
        let second = server.client();
        for _ in 0..2 {
            let reply = refused(&server);
            assert!(reply.starts_with(text), "{reply}");
        }
        let name = limits.split([' ', '.']).nth(1).expect("a name");
        server.await_log(&format!("end=\"{name}\""));
        first.expect("NOOP", "250");
        drop(second);
        let mut third = admitted(&server);
        third.expect("NOOP", "250");
        assert!(refused(&server).starts_with("421 "));
        first.expect("QUIT", "221");
    }
}

/// A network is an IPv4 /24: its addresses share a limit, whatever each of them may have.
#[test]
fn one_client_too_many_of_a_network_is_421() {
    let server = limited("limits.connections_per_network_max = 2");
    let mut first = Client::connect_from("127.0.0.1", server.address());
    let mut second = Client::connect_from("127.0.0.2", server.address());
    let mut third = Client::connect_from("127.0.0.3", server.address());
    for client in [&mut first, &mut second] {
        assert!(client.reply().expect("a banner").starts_with("220 "));
    }
    let reply = third.reply().expect("a reply");
    assert!(reply.starts_with("421 4.7.0 mx.example.test too many connections from your network"), "{reply}");
    assert!(third.at_end());
    server.await_log("end=\"connections_per_network_max\"");
    let mut elsewhere = Client::connect_from("127.0.1.1", server.address());
    assert!(elsewhere.reply().expect("a banner").starts_with("220 "));
    drop(second);
    until("there is room in the network", || {
        let reply = Client::connect_from("127.0.0.3", server.address()).reply();
        reply.is_some_and(|reply| reply.starts_with("220 "))
    });
    first.expect("NOOP", "250");
}

#[test]
fn a_stop_while_idle_is_421_and_status_0_at_once() {
    let mut server = Server::start(Options::default());
    let mut fresh = server.client();
    let mut greeted = server.client();
    greeted.expect("EHLO client.example", "250");
    let mut done = server.client();
    done.expect("EHLO client.example", "250");
    let reply = done.message("carol@client.example", &["alice@example.test"], HEAD);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let begin = Instant::now();
    let status = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(IDLE_STOP_SECONDS_MAX), "{:?}", begin.elapsed());
    for client in [&mut fresh, &mut greeted, &mut done] {
        assert_eq!(client.reply().as_deref(), Some("421 4.3.2 mx.example.test shutting down, try again soon"));
        assert!(client.at_end());
    }
    assert!(!server.directory().join("state/control").exists());
    server.await_log("stopping: open transactions may end");
    server.await_log("cli::serve: stopped");
}

#[test]
fn a_transaction_may_end_after_sigterm() {
    let mut server = Server::start(Options::default());
    let mut early = server.client();
    early.expect("EHLO client.example", "250");
    early.expect("MAIL FROM:<carol@client.example>", "250");
    let mut late = server.client();
    late.expect("EHLO client.example", "250");
    late.expect("MAIL FROM:<dave@client.example>", "250");
    late.expect("RCPT TO:<bob@example.test>", "250");
    late.expect("DATA", "354");
    late.send(HEAD).expect("the server reads");

    let address = server.address();
    server.ask_to_stop();
    until("nobody new is let in", || TcpStream::connect(address).is_err());
    early.expect("RCPT TO:<alice@example.test>", "250");
    early.expect("DATA", "354");
    for client in [&mut early, &mut late] {
        client.send(b"Hello!\r\n.\r\n").expect("the server reads");
        let reply = client.reply().expect("a final reply");
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let reply = client.reply().expect("a last reply");
        assert!(reply.starts_with("421 4.3.2"), "{reply}");
        assert!(client.at_end());
    }
    drop((early, late));
    assert_eq!(server.stop().code(), Some(0));
    for local_part in ["alice", "bob"] {
        assert_eq!(server.maildir(local_part).messages().len(), 1, "{local_part}");
    }
}

/// RFC 1870 section 6: by the declared size at MAIL, and by the real one at the end of the data.
#[test]
fn a_message_too_large_is_552_and_the_session_goes_on() {
    let server = Server::start(Options::default());
    let mut client = server.client();
    let offers = client.expect("EHLO client.example", "250");
    assert!(offers.contains("SIZE 65536"), "{offers}");
    client.expect("MAIL FROM:<carol@client.example> SIZE=65537", "552 5.3.4");
    client.expect("MAIL FROM:<carol@client.example> SIZE=65536", "250");
    client.expect("RSET", "250");
    let large = [HEAD, "It fills a line and says no more than that.\r\n".repeat(1500).as_bytes()].concat();
    let reply = client.message("carol@client.example", &["alice@example.test"], &large);
    assert!(reply.starts_with("552 5.3.4 Message too large: at most 65536 octets"), "{reply}");
    assert!(server.maildir("alice").messages().is_empty() && server.maildir("alice").unfinished().is_empty());
    let reply = client.message("carol@client.example", &["alice@example.test"], HEAD);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}
