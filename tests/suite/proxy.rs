//! The PROXY protocol: a balancer says who is connected, and that is who counts, in the log and in Received. The headers
//! themselves are tested beside the code, each and in pieces.

use std::net::Ipv6Addr;

use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n";
const UNKNOWN: &str = "PROXY UNKNOWN\r\n";
const MESSAGE: &[u8] = b"From: carol@client.example\r\nSubject: hello\r\n\r\nHello!\r\n";

/// A server that knows us as a balancer, with more of a configuration.
fn behind_us(more: &str) -> Server {
    let configuration = format!("listen.proxy_protocol_from = [\"127.0.0.1\"]\n{more}");
    Server::start(Options { configuration, ..Options::default() })
}

/// A header of version 2: version and command, family, addresses and TLVs.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short one").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn v2_tcp6(source: &str, tlvs: &[u8]) -> Vec<u8> {
    let (source, ours): (Ipv6Addr, Ipv6Addr) = (source.parse().expect("an address"), Ipv6Addr::LOCALHOST);
    v2(0x21, 0x21, &[&source.octets()[..], &ours.octets(), &[0x12, 0x67, 0, 25], tlvs].concat())
}

/// A client of the server, announced by this header.
fn announced(server: &Server, header: &[u8]) -> Client {
    let mut client = Client::connect(server.address());
    client.send(header).expect("the server reads");
    client
}

/// What stands in Received and in the log for a client that is announced like this.
#[track_caller]
fn is_seen_as(header: &[u8], client_in_received: &str, client_in_log: &str) {
    let server = behind_us("");
    let mut client = announced(&server, header);
    assert!(client.reply().expect("a banner").starts_with("220 mx.example.test ESMTP"));
    client.expect("EHLO client.example", "250");
    let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    client.expect("QUIT", "221");
    let message = server.maildir("alice").take_messages().remove(0);
    let text = String::from_utf8_lossy(&message.octets).into_owned();
    assert!(text.contains(&format!("Received: from client.example ({client_in_received})")), "{text}");
    server.await_log(&format!("client={client_in_log} relay=\"\" helo=client.example"));
}

#[test]
fn the_client_is_the_one_that_the_balancer_names() {
    is_seen_as(V1.as_bytes(), "unknown [192.0.2.7]", "192.0.2.7");
    is_seen_as(b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n", "unknown [IPv6:2001:db8::7]", "2001:db8::7");
    is_seen_as(
        &v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 25]),
        "unknown [192.0.2.7]",
        "192.0.2.7",
    );
    is_seen_as(&v2_tcp6("2001:db8::7", &[4, 0, 1, 0]), "unknown [IPv6:2001:db8::7]", "2001:db8::7");
    is_seen_as(&v2_tcp6("::ffff:192.0.2.7", b""), "unknown [192.0.2.7]", "192.0.2.7");
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_client() {
    is_seen_as(b"PROXY UNKNOWN\r\n", "localhost [127.0.0.1]", "127.0.0.1");
    is_seen_as(&v2(0x20, 0x00, b""), "localhost [127.0.0.1]", "127.0.0.1");
    is_seen_as(&v2(0x21, 0x00, b""), "localhost [127.0.0.1]", "127.0.0.1");
}

/// Not one octet behind the header is lost, and none of it is taken for a command.
#[test]
fn what_stands_behind_the_header_is_the_clients() {
    let server = behind_us("");
    let dialogue = b"EHLO client.example\r\nMAIL FROM:<carol@client.example>\r\nQUIT\r\n";
    for header in [V1.as_bytes().to_vec(), v2_tcp6("2001:db8::7", &[0; 100])] {
        let mut client = announced(&server, &[&header[..], dialogue].concat());
        let codes: Vec<String> = std::iter::from_fn(|| client.reply()).map(|reply| reply[..3].to_owned()).collect();
        assert_eq!(codes, ["220", "250", "250", "221"]);
    }
    // And in pieces.
    let mut client = Client::connect(server.address());
    for octet in [V1.as_bytes(), dialogue].concat() {
        client.send(&[octet]).expect("the server reads");
    }
    let codes: Vec<String> = std::iter::from_fn(|| client.reply()).map(|reply| reply[..3].to_owned()).collect();
    assert_eq!(codes, ["220", "250", "250", "221"]);
}

/// Nothing is said before the header is there, and nothing without one.
#[test]
fn a_balancer_must_send_its_header_first() {
    let server = behind_us("");
    let mut waiting = Client::connect(server.address());
    for wrong in ["EHLO client.example\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", "PROXY UNKNOWN\nQUIT\r\n"] {
        let mut client = announced(&server, wrong.as_bytes());
        assert_eq!(client.reply(), None, "{wrong}");
    }
    until("they are in the log", || server.log().matches("end=\"proxy_protocol\"").count() == 3);
    assert_eq!(waiting.unread(), 0);
    waiting.send(V1.as_bytes()).expect("the server reads");
    assert!(waiting.reply().expect("a banner").starts_with("220 "));
    drop(waiting);
    let gone = Client::connect(server.address());
    gone.end_stream();
    drop(gone);
    until("it is in the log", || server.log().matches("end=\"proxy_protocol\"").count() == 4);
}

#[test]
fn nobody_else_may_say_who_they_are() {
    let server = Server::start(Options {
        configuration: "listen.proxy_protocol_from = [\"192.0.2.1\", \"127.0.0.9\"]".to_owned(),
        ..Options::default()
    });
    let mut client = server.client();
    client.expect(V1.trim_end(), "500 5.5.1");
    client.expect("EHLO client.example", "250");
    client.expect("QUIT", "221");
    server.await_log("client=127.0.0.1");
    assert!(!server.log().contains("192.0.2.7"));
    let mut balancer = Client::connect_from("127.0.0.9", server.address());
    balancer.send(V1.as_bytes()).expect("the server reads");
    assert!(balancer.reply().expect("a banner").starts_with("220 "));
}

/// Who may say XCLIENT is the client that counts: a balancer in the list opens it to nobody behind it.
#[test]
fn a_client_behind_a_balancer_is_none_that_may_say_xclient() {
    let server = behind_us("listen.xclient_from = [\"127.0.0.1\", \"192.0.2.8\"]");
    let header = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 4711 25\r\n");
    for (header, code) in [(header("192.0.2.7"), "550 5.7.0"), (header("192.0.2.8"), "220"), (UNKNOWN.into(), "220")] {
        let mut client = announced(&server, header.as_bytes());
        assert!(client.reply().expect("a banner").starts_with("220 "));
        client.expect("XCLIENT ADDR=198.51.100.7", code);
    }
}

#[test]
fn a_client_that_xclient_does_not_know_is_not_the_one_before() {
    let server = behind_us("listen.xclient_from = [\"127.0.0.1\"]");
    let mut client = announced(&server, UNKNOWN.as_bytes());
    assert!(client.reply().expect("a banner").starts_with("220 "));
    client.expect("XCLIENT ADDR=198.51.100.7 PORT=4711", "220");
    let received = |client: &mut Client| {
        client.expect("EHLO client.example", "250");
        let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        String::from_utf8_lossy(&server.maildir("alice").take_messages().remove(0).octets).into_owned()
    };
    assert!(received(&mut client).contains("[198.51.100.7]"));
    // Attributes may come in several commands: what is not said stays.
    client.expect("XCLIENT NAME=h.example", "220");
    assert!(received(&mut client).contains("[198.51.100.7]"));
    client.expect("XCLIENT ADDR=[UNAVAILABLE]", "220");
    assert!(received(&mut client).contains("[127.0.0.1]"));
}

/// The end of the stream is the balancer's, which had the reply: whether the client got it cannot be told.
#[test]
fn the_end_of_a_stream_does_not_show_that_the_client_has_seen_the_reply() {
    let server = behind_us("listen.xclient_from = [\"127.0.0.1\"]");
    for (header, xclient) in [(V1, false), (UNKNOWN, true)] {
        let octets = format!("Subject: {header}\r\n\r\nThe same octets each time.\r\n");
        let send = |quit: bool| {
            let mut client = announced(&server, header.as_bytes());
            assert!(client.reply().expect("a banner").starts_with("220 "));
            if xclient {
                client.expect("XCLIENT ADDR=198.51.100.7", "220");
            }
            client.expect("EHLO client.example", "250");
            let reply = client.message("carol@client.example", &["alice@example.test"], octets.as_bytes());
            assert!(reply.starts_with("250 2.0.0"), "{reply}");
            if quit {
                client.expect("QUIT", "221");
            } else {
                client.end_stream();
            }
            assert!(client.at_end());
        };
        for (quit, copies) in [(false, 1), (true, 1), (true, 2)] {
            send(quit);
            assert_eq!(server.maildir("alice").messages().len(), copies, "{header}");
        }
        server.maildir("alice").take_messages();
    }
}

#[test]
fn limits_are_those_of_the_client_and_not_of_the_balancer() {
    let server = behind_us("limits.connections_per_client_max = 1\nlimits.connections_per_network_max = 2");
    let header = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 4711 25\r\n").into_bytes();
    let hears = |client: &mut Client, text: &str| {
        let reply = client.reply().expect("a reply");
        assert!(reply.starts_with(text), "{reply}");
    };
    let waiting: Vec<_> = (0..4).map(|_| Client::connect(server.address())).collect();
    let mut first = announced(&server, &header("192.0.2.7"));
    hears(&mut first, "220 ");
    let mut again = announced(&server, &header("192.0.2.7"));
    hears(&mut again, "421 4.7.0 mx.example.test too many connections from your address");
    assert!(again.at_end());
    let mut second = announced(&server, &header("192.0.2.8"));
    hears(&mut second, "220 ");
    let mut third = announced(&server, &header("192.0.2.9"));
    hears(&mut third, "421 4.7.0 mx.example.test too many connections from your network");
    server.await_log("client=192.0.2.9");
    let mut elsewhere = announced(&server, &header("198.51.100.9"));
    hears(&mut elsewhere, "220 ");
    first.expect("QUIT", "221");
    drop(first);
    until("there is room for the client again", || {
        announced(&server, &header("192.0.2.7")).reply().is_some_and(|reply| reply.starts_with("220 "))
    });
    drop(waiting);
}
