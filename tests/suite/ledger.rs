//! The ledger, against the running server: who has seen the 250, and what becomes of the same octets sent again.
//!
//! Who has not provably seen it and sends again (RFC 1047) makes no second copy. Who has seen it and sends the same octets
//! sends a new message, and it is delivered. In clear and under TLS.

use std::net::UdpSocket;

use crate::support::dialogue::Settings;
use crate::support::dns::NoNames;
use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::server_socket;
use crate::support::smtp_client::{Client, stuffed};

/// A server with a certificate whose log tells of each connection's end.
fn start() -> Server {
    let settings = Settings { starttls: true, ..Settings::default() };
    let environment = vec![("MXKEEP_LOG".to_owned(), "info,mxkeep::connection=debug".to_owned())];
    Server::start(Options { settings, environment, ..Options::default() })
}

/// A client that has been told to send its mail data.
fn at_data(server: &Server, tls: bool) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    if tls {
        client.expect("STARTTLS", "220 2.0.0");
        client.start_tls().expect("a handshake");
        client.expect("EHLO client.example", "250");
    }
    begin(&mut client);
    client
}

fn begin(client: &mut Client) {
    client.expect("MAIL FROM:<carol@client.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
}

fn message(story: &str, tls: bool) -> Vec<u8> {
    format!("Subject: {story} (under TLS: {tls})\r\n\r\nThe same octets each time.\r\n").into_bytes()
}

/// Sends the message on a new connection, sees its 250, and says goodbye.
fn send_again(server: &Server, tls: bool, octets: &[u8], story: &str) {
    let mut client = at_data(server, tls);
    client.send(&stuffed(octets)).expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 "), "{story}: {reply}");
    client.expect("QUIT", "221");
}

fn copies(server: &Server, octets: &[u8]) -> usize {
    server.maildir("alice").messages().iter().filter(|stored| stored.as_received() == octets).count()
}

/// Waits until the server has done with the connection from this port.
fn until_ended(server: &Server, port: u16) {
    let field = format!(" port={port} ");
    until("the server has done with the connection", || {
        server.log().lines().any(|line| line.contains(&field) && line.contains(" end="))
    });
}

/// How a client leaves: the mail data to send, final dot included, is the last argument.
type Leave = fn(&Server, Client, Vec<u8>);

/// Clients that have not seen the reply, or of whom it cannot be told.
const UNSEEN: &[(&str, Leave)] = &[
    ("reset behind the dot", |_, mut client, data| {
        client.send(&data).expect("the server reads");
        client.reset();
    }),
    ("reset with the reply unread", |_, mut client, data| {
        client.send(&data).expect("the server reads");
        client.await_more_than(0);
        client.reset();
    }),
    ("closed with the reply unread", |_, mut client, data| {
        client.send(&data).expect("the server reads");
        client.await_more_than(0);
    }),
    ("end of stream before the reply", |server, client, data| leave_before_the_reply(server, client, &data, false)),
    ("closing alert before the reply", |server, client, data| leave_before_the_reply(server, client, &data, true)),
    ("QUIT behind the dot", |server, mut client, data| {
        client.send(&[&data[..], b"QUIT\r\n"].concat()).expect("the server reads");
        client.await_more_than(0);
        client.end_stream();
        until_ended(server, client.port());
    }),
    ("QUIT and end of stream before the reply", |server, client, data| {
        leave_before_the_reply(server, client, &[&data[..], b"QUIT\r\n"].concat(), false);
    }),
    ("a command begun before the reply", |_, client, data| finish_a_line(client, &data, b"NO", b"OP\r\n")),
    ("a long line begun before the reply", |_, client, data| finish_a_line(client, &data, &[b'x'; 5000], b"\r\n")),
    ("a refused chunk begun before the reply", |_, client, data| {
        finish_a_line(client, &data, b"BDAT 6\r\nNO", b"OP\r\n");
    }),
];

/// The server finds the mail data and the end of the stream at once, and its reply is received, though never read.
fn leave_before_the_reply(server: &Server, mut client: Client, data: &[u8], closing_alert: bool) {
    server.pause();
    client.send(data).expect("the kernel takes it");
    if closing_alert {
        client.close_notify();
    }
    client.end_stream();
    client.acknowledge_at_once();
    server.resume();
    until_ended(server, client.port());
}

/// Sends half a line with the final dot, and the rest when the reply has arrived.
fn finish_a_line(mut client: Client, data: &[u8], half: &[u8], rest: &[u8]) {
    client.send(&[data, half].concat()).expect("the server reads");
    let reply = client.await_more_than(0);
    client.send(rest).expect("the server reads");
    client.await_more_than(reply);
    client.reset();
}

#[test]
fn a_retry_of_who_has_not_seen_the_reply_makes_no_second_copy() {
    let server = start();
    for tls in [false, true] {
        for (story, leave) in UNSEEN {
            let octets = message(story, tls);
            let client = at_data(&server, tls);
            let port = client.port();
            leave(&server, client, stuffed(&octets));
            until_ended(&server, port);
            send_again(&server, tls, &octets, story);
            assert_eq!(copies(&server, &octets), 1, "{story}, under TLS: {tls}");
            // Now the reply has been seen: the story of this message is over.
            send_again(&server, tls, &octets, story);
            assert_eq!(copies(&server, &octets), 2, "{story}, under TLS: {tls}, once it was seen");
        }
    }
}

/// Clients that have seen the reply, and show it.
const SEEN: &[(&str, Leave)] = &[
    ("another command", |_, mut client, data| {
        assert_delivered(&mut client, &data);
        client.expect("NOOP", "250");
        client.reset();
    }),
    ("a command that is none", |_, mut client, data| {
        assert_delivered(&mut client, &data);
        client.expect("HALLO", "500");
        client.reset();
    }),
    ("QUIT", |_, mut client, data| {
        assert_delivered(&mut client, &data);
        client.expect("QUIT", "221");
    }),
    ("end of stream", |_, mut client, data| assert_delivered(&mut client, &data)),
    ("closing alert and end of stream", |_, mut client, data| {
        assert_delivered(&mut client, &data);
        client.close_notify();
    }),
    ("closing alert, and the end of the stream once that was read", |server, mut client, data| {
        assert_delivered(&mut client, &data);
        client.close_notify();
        until("the server has read it", || server_socket::unread(server, &client) == 0);
    }),
];

fn assert_delivered(client: &mut Client, data: &[u8]) {
    client.send(data).expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
}

#[test]
fn the_same_octets_from_who_has_seen_the_reply_are_a_new_message() {
    let server = start();
    for tls in [false, true] {
        for (story, leave) in SEEN {
            let octets = message(story, tls);
            let client = at_data(&server, tls);
            let port = client.port();
            leave(&server, client, stuffed(&octets));
            until_ended(&server, port);
            assert_eq!(copies(&server, &octets), 1, "{story}, under TLS: {tls}");
            send_again(&server, tls, &octets, story);
            assert_eq!(copies(&server, &octets), 2, "{story}, under TLS: {tls}");
        }
    }
}

#[test]
fn the_same_octets_again_on_the_same_connection_are_a_new_message() {
    let server = start();
    for tls in [false, true] {
        let octets = message("on one connection", tls);
        let mut client = at_data(&server, tls);
        for copy in 1..=3 {
            assert_delivered(&mut client, &stuffed(&octets));
            assert_eq!(copies(&server, &octets), copy);
            begin(&mut client);
        }
    }
}

/// STARTTLS behind the dot proves nothing, but who completes the handshake has read what came before it.
#[test]
fn a_handshake_shows_that_the_reply_was_seen() {
    let server = start();
    let octets = message("before the handshake", false);
    let mut client = at_data(&server, false);
    assert_delivered(&mut client, &[&stuffed(&octets)[..], b"STARTTLS\r\n"].concat());
    assert!(client.reply().is_some_and(|reply| reply.starts_with("220 2.0.0 ")));
    client.start_tls().expect("a handshake");
    client.expect("EHLO client.example", "250");
    begin(&mut client);
    assert_delivered(&mut client, &stuffed(&octets));
    assert_eq!(copies(&server, &octets), 2);
}

/// The name server is silent at first, and holds up whichever session comes first.
#[test]
fn two_sessions_with_the_same_message_make_one_copy() {
    let names = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    let dns = names.local_addr().ok();
    let server = Server::start(Options { dns, ..Options::default() });
    let octets = message("in two sessions", false);
    let (mut one, mut other) = (at_data(&server, false), at_data(&server, false));
    for client in [&mut one, &mut other] {
        client.send(&stuffed(&octets)).expect("the server reads");
    }
    until("one of them is answered", || one.unread() + other.unread() > 0);
    let (mut refused, mut accepted) = if one.unread() > 0 { (one, other) } else { (other, one) };
    let reply = refused.reply().expect("a final reply");
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");

    let _names = NoNames::on(names);
    assert!(accepted.reply().is_some_and(|reply| reply.starts_with("250 2.0.0 ")));
    // Whoever was accepted has shown nothing yet: to the other one the message has been delivered.
    begin(&mut refused);
    refused.send(&stuffed(&octets)).expect("the server reads");
    assert!(refused.reply().is_some_and(|reply| reply.starts_with("250 2.0.0 ")));
    assert_eq!(copies(&server, &octets), 1);
}
