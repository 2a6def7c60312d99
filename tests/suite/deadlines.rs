//! A session ends after `limits.session_seconds_max`, whatever the client does meanwhile. (The other deadlines are minutes:
//! their arithmetic is tested beside the code.)

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

const TIMEOUT: &str = "421 4.4.2 mx.example.test timeout, closing connection";

fn server(seconds: u64) -> Server {
    let configuration = format!("limits.session_seconds_max = {seconds}");
    let settings = crate::support::dialogue::Settings { starttls: true, ..Default::default() };
    Server::start(Options { configuration, settings, ..Options::default() })
}

/// Sends this again and again until the server says something.
fn trickle(client: &mut Client, octets: &[u8]) {
    until("the server has had enough", || client.send(octets).is_err() || client.unread() > 0);
}

#[track_caller]
fn ends(server: &Server, client: &mut Client) {
    assert_eq!(client.reply().as_deref(), Some(TIMEOUT));
    assert!(client.at_end());
    server.await_log("end=\"session_seconds_max\"");
}

#[test]
fn an_idle_session_ends_in_time() {
    let server = server(1);
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    ends(&server, &mut client);
}

#[test]
fn a_session_under_tls_ends_in_time() {
    let server = server(1);
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("STARTTLS", "220");
    client.start_tls().expect("a handshake");
    ends(&server, &mut client);
}

#[test]
fn a_command_that_never_ends_does_not_hold_a_session() {
    let server = server(1);
    let mut client = server.client();
    trickle(&mut client, b"N");
    ends(&server, &mut client);
}

#[test]
fn mail_data_that_never_ends_does_not_hold_a_session() {
    let server = server(1);
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<carol@client.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    trickle(&mut client, b"x\r\n");
    ends(&server, &mut client);
    server.await_log("verdict=\"abandoned\"");
    let maildir = server.maildir("alice");
    assert!(maildir.messages().is_empty() && maildir.unfinished().is_empty());
}

#[test]
fn a_client_that_reads_no_replies_does_not_hold_a_session() {
    let server = server(1);
    let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let commands = b"VRFY somebody\r\n".repeat(1000);
    // Until nobody reads any more: the server is waiting for us to read.
    let stuck = loop {
        if let Err(error) = stream.write_all(&commands) {
            break error.kind();
        }
    };
    assert_eq!(stuck, ErrorKind::WouldBlock);
    server.await_log("end=\"reply_not_read\"");
}

#[test]
fn a_session_within_its_time_is_not_disturbed() {
    let server = server(3600);
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let reply = client.message("carol@client.example", &["alice@example.test"], b"Subject: a\r\n\r\nb\r\n");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    client.expect("QUIT", "221");
}
