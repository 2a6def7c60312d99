//! Smuggling: a second message inside the first, commands inside data, and anything else that two servers in a row could
//! read in two ways (CVE-2023-51764 to 51766, CVE-2024-27305, CVE-2011-0411 and their families).
//!
//! Over real sockets, in clear text and under TLS, in one write and octet by octet. Each reply is accounted for (see
//! `support::exchange`), and so is each file in the mailboxes. Chunks have tests of their own.

use std::io::{Read, Write};
use std::net::TcpStream;

use std::ops::ControlFlow;

use crate::support::exchange::{Accepted, Cut, WAYS, exchange, greeted, insist, insist_closed, server};
use crate::support::poll::until;
use crate::support::server::Server;
use crate::support::server_socket;

/// What stands for a line end somewhere, or might.
const LINE_ENDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
    b"\r\n\r",
    b"\n\r\n",
    b"\r\n\n",
    b"\r\0\n",
    b"\r\0",
    b"\0\n",
    b"\n\0",
    b"\0",
    b"\0\r\n",
    b"\x0b",
    b"\x0c",
    b"\x1e",
    b"\x85",
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{2029}".as_bytes(),
    b"\x8d\x8a",
    b"\x8d\n",
    b"\r\x8a",
    b"\xc0\x8d\xc0\x8a",
    b"=0D=0A",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n\x08",
    b"",
];

/// What stands for a dot somewhere, or might.
const DOTS: &[&[u8]] = &[
    b"..",
    b"...",
    b". ",
    b" .",
    b".\t",
    b".\0",
    b"\0.",
    b".\x08",
    b"\xae",
    b"\xc0\xae",
    b"=2E",
    b"%2e",
    "\u{ff0e}".as_bytes(),
    "\u{3002}".as_bytes(),
    "\u{feff}.".as_bytes(),
];

const TRANSACTION: &[u8] = b"MAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n";

/// A second transaction, ready to run; its data ends where the whole does.
fn smuggled(marker: &str) -> Vec<u8> {
    format!(
        "MAIL FROM:<mallory@client.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: {marker}\r\n\r\nSMUGGLED\r\n"
    )
    .into_bytes()
}

/// What RFC 5321 section 4.5.2 makes of mail data that ends in CRLF.CRLF, and of that first one: the message, or `None`
/// where a bare CR or LF forbids it. Written down a second time, and simply: by splitting.
fn message(data: &[u8]) -> Option<Vec<u8>> {
    let text = data.strip_suffix(b".\r\n").expect("the final dot");
    let mut message = Vec::new();
    for line in split_lines(text) {
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return None;
        }
        assert_ne!(line, b".", "an end before the end");
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        message.extend_from_slice(b"\r\n");
    }
    Some(message)
}

fn split_lines(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = text.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&text[..at]);
        text = &text[at + 2..];
    }
    assert!(text.is_empty(), "data ends with CRLF");
    lines
}

/// Every line end but the real pair, in front of and behind every dot.
fn separators() -> Vec<Vec<u8>> {
    let mut separators = Vec::new();
    for before in LINE_ENDS {
        for after in LINE_ENDS {
            // The one that counts.
            if !(before.ends_with(b"\r\n") && after.starts_with(b"\r\n")) {
                separators.push([before, &b"."[..], after].concat());
            }
        }
    }
    for dot in DOTS {
        for line_end in LINE_ENDS {
            separators.push([line_end, *dot, line_end].concat());
        }
    }
    // A line that begins with a dot right behind the end of a line that a bare CR or LF has begun.
    for more in [&b"\n.\r\n.\n"[..], b"\r.\r\n.\r", b"\n\r\n.\r\r\n", b"\r\n.\n\r\n.\n", b"\r\n.\r\x00\n.\n"] {
        separators.push(more.to_vec());
    }
    separators
}

/// One reply for each message however it was garbled, nothing of it run as commands, and the next message in order.
fn no_separator_ends_data(server: &Server, (tls, cut): (bool, Cut), separators: &[Vec<u8>], accepted: &mut Accepted) {
    let mut client = greeted(server, tls);
    for separator in separators {
        let name = separator.escape_ascii().to_string();
        let marker = format!("{name} {cut:?}{}", if tls { " under TLS" } else { "" });
        let first = format!("Subject: {marker}\r\n\r\nhello");
        let data = [first.as_bytes(), separator, &smuggled(&marker), b".\r\n"].concat();
        let message = message(&data);
        let reply = if message.is_some() { "250 2.0.0 " } else { "550 5.6.11 " };
        let wire = [TRANSACTION, &data].concat();
        insist(&mut client, &name, &wire, cut, &["250 2.1.0", "250 2.1.5", "354 ", reply]);
        if let Some(message) = message {
            accepted.add("alice", &message);
        }
    }
    client.expect("NOOP", "250 2.0.0");
    client.expect("QUIT", "221");
    assert!(client.at_end());
}

#[test]
fn only_crlf_dot_crlf_ends_mail_data() {
    let (server, mut accepted) = (server(), Accepted::default());
    let separators = separators();
    assert!(separators.len() > 1_000, "{}", separators.len());
    // Octet by octet under TLS each octet is a record: a part of them will do.
    for (way, step) in WAYS.into_iter().zip([1, 2, 2, 10]) {
        for session in separators.chunks(separators.len().div_ceil(4)) {
            let session: Vec<_> = session.iter().step_by(step).cloned().collect();
            no_separator_ends_data(&server, way, &session, &mut accepted);
        }
    }
    accepted.check(&server);
}

/// The real end of the data is one wherever the packets are cut, and what stands behind it is commands: a client may
/// pipeline them (RFC 2920), and only it knows what it sends.
#[test]
fn the_real_end_counts_wherever_it_is_cut() {
    let (server, mut accepted) = (server(), Accepted::default());
    let (ends, marker) = ([&b"\r\n.\r\n"[..], b"\r\r\n.\r\n"], "real end");
    for (at, end) in ends.into_iter().enumerate() {
        let text = format!("Subject: {marker} {at}\r\n\r\nhello");
        for cut in 0..=end.len() {
            let marker = format!("{marker} {at} cut at {cut}");
            let mut client = greeted(&server, false);
            client.expect("MAIL FROM:<carol@client.example>", "250 2.1.0");
            client.expect("RCPT TO:<alice@example.test>", "250 2.1.5");
            client.expect("DATA", "354 ");
            let first = [text.as_bytes(), format!(" {cut}").as_bytes(), &end[..cut]].concat();
            client.send(&first).expect("the server reads");
            until("the server has read it", || server_socket::unread(&server, &client) == 0);
            let second = [&end[cut..], &smuggled(&marker), b".\r\n"].concat();
            let reply = if at == 0 { "250 2.0.0" } else { "550 5.6.11" };
            let replies = [reply, "250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0"];
            insist(&mut client, &marker, &second, Cut::Whole, &replies);
            accepted.add("bob", format!("Subject: {marker}\r\n\r\nSMUGGLED\r\n").as_bytes());
            if at == 0 {
                accepted.add("alice", format!("{text} {cut}\r\n").as_bytes());
            }
        }
    }
    accepted.check(&server);
}

/// What looks like a command within data is data.
#[test]
fn commands_within_data_are_data() {
    let (server, mut accepted) = (server(), Accepted::default());
    for (tls, cut) in WAYS {
        let mut client = greeted(&server, tls);
        let data = format!(
            "Subject: {tls} {cut:?}\r\n\r\nQUIT\r\nRSET\r\nNOOP\r\nSTARTTLS\r\nDATA\r\nBDAT 5 LAST\r\nMAIL FROM:<>\r\n\
             EHLO x\r\nPROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nXCLIENT ADDR=192.0.2.1\r\nGET / HTTP/1.1\r\n\x16\x03\x01\r\n"
        );
        let wire = [TRANSACTION, data.as_bytes(), b".\r\nNOOP\r\nRSET\r\nDATA\r\n"].concat();
        let replies = ["250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0", "250 2.0.0 OK", "250 2.0.0 OK", "503 5.5.1"];
        insist(&mut client, "commands within data", &wire, cut, &replies);
        accepted.add("alice", data.as_bytes());
    }
    accepted.check(&server);
}

/// After a refused DATA there is no data: each of its lines is a (bad) command, and the last dot, too.
#[test]
fn data_behind_a_refused_data_is_no_message() {
    let server = server();
    for (tls, cut) in WAYS {
        let mut client = greeted(&server, tls);
        let wire = b"MAIL FROM:<carol@client.example>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n\
            Subject: x\r\n\r\nhello\r\n.\r\nDATA\r\nRSET\r\nDATA\r\n";
        let replies = ["250 ", "550 5.1.1", "554 5.5.1", "500 ", "500 ", "500 ", "500 ", "554 5.5.1", "250 ", "503 "];
        insist(&mut client, "a refused DATA", wire, cut, &replies);
    }
    Accepted::default().check(&server);
}

/// Only CRLF ends a command; NUL and its like have no place in one.
#[test]
fn only_crlf_ends_a_command() {
    let server = server();
    for (tls, cut) in WAYS {
        for line_end in LINE_ENDS.iter().filter(|line_end| !line_end.windows(2).any(|pair| pair == b"\r\n")) {
            if line_end.is_empty() {
                continue;
            }
            let name = line_end.escape_ascii().to_string();
            let mut client = greeted(&server, tls);
            let [ehlo, mail, rcpt, data] =
                [&b"EHLO x"[..], b"MAIL FROM:<mallory@client.example>", b"RCPT TO:<bob@example.test>", b"DATA"];
            let all = [b"NOOP", mail, rcpt, data, b"SMUGGLED", b"."].join(*line_end);
            insist(&mut client, &name, &[&all, &b"\r\n"[..]].concat(), cut, &["50"]);
            let greeting = [ehlo, mail].join(*line_end);
            insist(
                &mut client,
                &name,
                &[&greeting, &b"\r\nRCPT TO:<bob@example.test>\r\n"[..]].concat(),
                cut,
                &["501", "503"],
            );
            let path = [mail, rcpt].join(*line_end);
            insist(&mut client, &name, &[&path, &b"\r\nDATA\r\n"[..]].concat(), cut, &["5", "503"]);
            let wire = [mail, b"\r\n", rcpt, line_end, data, b"\r\n", data, b"\r\nRSET\r\n"].concat();
            insist(&mut client, &name, &wire, cut, &["250", "5", "554 5.5.1", "250"]);
        }
    }
    Accepted::default().check(&server);
}

/// A line that is too long is one bad command, wherever a buffer of whatever size would have cut it in two.
#[test]
fn the_tail_of_a_line_too_long_is_no_command() {
    let server = server();
    let buffers = [2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072];
    for (tls, cut) in WAYS {
        for buffer in buffers.into_iter().take(if cut == Cut::Whole { buffers.len() } else { 2 }) {
            let mut client = greeted(&server, tls);
            for padding in buffer - 2..=buffer + 2 {
                let padding = "x".repeat(padding);
                let wire = format!(
                    "{padding}MAIL FROM:<mallory@client.example>\r\nRCPT TO:<bob@example.test>\r\nNOOP {padding}\nRSET\r\n"
                );
                insist(
                    &mut client,
                    &padding.len().to_string(),
                    wire.as_bytes(),
                    cut,
                    &["500 5.5.2", "503 ", "500 5.5.2"],
                );
            }
        }
    }
    Accepted::default().check(&server);
}

/// A header field would have to come through an address: none that is accepted brings a line end.
#[test]
fn addresses_inject_no_header_field() {
    let mut tricks: Vec<&[u8]> = LINE_ENDS.iter().copied().filter(|line_end| !line_end.is_empty()).collect();
    // U+010A and U+560A lose all but a line feed where characters are cut to octets; overlong UTF-8; quoted pairs.
    tricks.extend(["\u{10a}".as_bytes(), "\u{560a}".as_bytes(), "\u{560d}\u{560a}".as_bytes()]);
    tricks.extend([&b"\xe0\x80\x8a"[..], b"\xf0\x80\x80\x8a", b"\\\n", b"\\\r", b"\\\0", b"\x7f", b"\x1b"]);
    let (server, mut accepted) = (server(), Accepted::default());
    for (number, trick) in tricks.iter().filter(|trick| !trick.windows(2).any(|pair| pair == b"\r\n")).enumerate() {
        let printable = trick.iter().all(|octet| (b' '..=b'~').contains(octet));
        for (tls, cut) in WAYS {
            let mut client = greeted(&server, tls);
            let (name, field) = (trick.escape_ascii().to_string(), &b"X-Injected: yes"[..]);
            let mut refused = |command: [&[u8]; 3], expected: &str| {
                let wire = [command[0], trick, field, command[1], b"\r\n", command[2]].concat();
                insist(&mut client, &name, &wire, cut, &[expected]);
            };
            refused([b"EHLO client.example", b"", b""], "501");
            refused([b"HELO client.example", b"", b""], "501");
            refused([b"MAIL FROM:<carol", b"@client.example>", b""], "5");
            refused([b"MAIL FROM:<carol@client.example", b">", b""], "501");
            refused([b"MAIL FROM:<carol@client.example> SIZE=1", b"", b""], "5");
            refused([b"RCPT TO:<\"alice", b"\"@example.test>", b""], "5");
            let sender = [b"MAIL FROM:<\"carol", *trick, field, b"\"@client.example>\r\n"].concat();
            insist(&mut client, &name, &sender, cut, &[if printable { "250 2.1.0" } else { "5" }]);
            insist(&mut client, &name, b"RSET\r\n", cut, &["250"]);
            let international = [sender.strip_suffix(b"\r\n").expect("a line"), b" SMTPUTF8\r\n"].concat();
            if let ControlFlow::Continue(replies) = exchange(&mut client, &international, cut)
                && replies[0].starts_with("250")
            {
                let data = format!("Subject: international {number} {tls} {cut:?}\r\n\r\n");
                let wire = [b"RCPT TO:<alice@example.test>\r\nDATA\r\n", data.as_bytes(), b".\r\n"].concat();
                insist(&mut client, &name, &wire, cut, &["250", "354", "250 2.0.0"]);
                accepted.add("alice", data.as_bytes());
            }
            let data = format!("Subject: {number} {tls} {cut:?}\r\n\r\n");
            let data = data.as_bytes();
            let sender = if printable { sender } else { b"MAIL FROM:<>\r\n".to_vec() };
            let wire = [&sender, &b"RCPT TO:<alice@example.test>\r\nDATA\r\n"[..], data, b".\r\n"].concat();
            insist(&mut client, &name, &wire, cut, &["250", "250", "354", "250 2.0.0"]);
            accepted.add("alice", data);
        }
    }
    for stored in server.maildir("alice").messages() {
        let mut lines = stored.octets.split(|octet| *octet == b'\n' || *octet == b'\r');
        assert!(!lines.any(|line| line.starts_with(b"X-Injected")), "{}", stored.octets.escape_ascii());
    }
    accepted.check(&server);
}

/// Trace fields that only we may write do not survive in a message, whoever wrote them (RFC 8601 section 5).
#[test]
fn forged_trace_fields_are_taken_out() {
    let (server, mut accepted) = (server(), Accepted::default());
    let forged = "Return-Path: <forged@example.net>\r\nAuthentication-Results: mx.example.test; dkim=pass (forged)\r\n\
        authentication-results:\r\n (forged) MX.Example.TEST 1;\r\n\tdmarc=pass\r\nX-Spam-Status: No, forged\r\n\
        x-spam-score: -100 forged\r\n";
    let kept = "Received: from kept.example by other.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n\
        Authentication-Results: other.example; dkim=pass\r\nSubject: trace\r\n\r\n";
    let body = "Authentication-Results: mx.example.test; forged but in the body\r\n";
    let wire = [TRANSACTION, forged.as_bytes(), kept.as_bytes(), body.as_bytes(), b".\r\n"].concat();
    insist(&mut greeted(&server, false), "forged", &wire, Cut::Whole, &["250", "250", "354", "250 2.0.0"]);
    accepted.add("alice", format!("{kept}{body}").as_bytes());
    for stored in server.maildir("alice").messages() {
        let text = String::from_utf8_lossy(&stored.octets);
        assert_eq!(text.matches("forged").count(), 1, "{text}");
        assert_eq!(stored.trace_field("Return-Path").as_deref(), Some("<carol@client.example>"));
    }
    accepted.check(&server);
}

/// Who is no load balancer of ours does not speak PROXY, and nobody else says who he is.
#[test]
fn a_stranger_speaks_for_nobody_else() {
    let server = server();
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x19\r\n";
    for (tls, cut) in WAYS {
        let mut client = greeted(&server, tls);
        insist(&mut client, "PROXY v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", cut, &["500 "]);
        insist(&mut client, "PROXY v2", version_2, cut, &["500 ", "500 ", "500 ", "500 "]);
        insist(&mut client, "XCLIENT", b"XCLIENT ADDR=192.0.2.1 NAME=localhost\r\n", cut, &["5"]);
    }
    for line in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"[..], b"PROXY UNKNOWN\r\n"] {
        insist(&mut server.client(), "PROXY before the greeting", line, Cut::Whole, &["500 "]);
    }
    assert!(!server.log().contains("192.0.2.1"), "{}", server.log());
}

/// A browser or a TLS client that was led to this port has no mail for us, whatever stands in what it sends (ALPACA).
#[test]
fn other_protocols_carry_no_mail() {
    let server = server();
    let transaction = [b"EHLO x\r\n", TRANSACTION, &smuggled("in HTTP"), b".\r\n"].concat();
    for (tls, cut) in WAYS {
        for head in ["GET / HTTP/1.1", "POST /x HTTP/1.0", "PUT / HTTP/1.1", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0"] {
            let wire = [head.as_bytes(), b"\r\nHost: mx.example.test\r\n\r\n", &transaction].concat();
            insist_closed(&mut greeted(&server, tls), head, &wire, cut, &["421 4.7.0"]);
        }
        if !tls {
            let wire = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n", &transaction[..]].concat();
            insist_closed(&mut greeted(&server, tls), "a ClientHello", &wire, cut, &["421 4.7.0"]);
        }
    }
    Accepted::default().check(&server);
}

/// What a client says in clear text, before STARTTLS or behind it, has no effect under TLS (RFC 3207 sections 4.2 and 6).
#[test]
fn nothing_said_in_clear_counts_under_tls() {
    let server = server();
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<mallory@client.example>", "250");
    client.expect("RCPT TO:<bob@example.test>", "250");
    client.expect("STARTTLS", "220 2.0.0");
    client.start_tls().expect("a handshake");
    let wire =
        b"DATA\r\nRCPT TO:<bob@example.test>\r\nMAIL FROM:<mallory@client.example>\r\nEHLO x\r\nSTARTTLS\r\nDATA\r\n";
    insist(&mut client, "after the handshake", wire, Cut::Whole, &["503 ", "503 ", "503 ", "250", "503 ", "503 "]);
    Accepted::default().check(&server);
}

/// Octets behind STARTTLS, in its packet or later: no reply to any of them, in clear text or under TLS, and the end.
#[test]
fn octets_behind_starttls_end_the_connection() {
    let server = server();
    let transaction = [b"EHLO x\r\n", TRANSACTION, &smuggled("behind STARTTLS"), b".\r\nQUIT\r\n"].concat();
    let injections: [&[u8]; 9] = [
        b"NOOP\r\n",
        b"\r\n",
        b"N",
        b"\0",
        b"\n",
        b"STARTTLS\r\n",
        b"BDAT 5 LAST\r\nhello",
        &transaction,
        &transaction[..transaction.len() - 1],
    ];
    for injection in injections {
        for later in [false, true] {
            let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
            read_reply(&mut stream, "220 ");
            stream.write_all(b"EHLO client.example\r\n").expect("the server reads");
            read_reply(&mut stream, "250 ");
            if later {
                stream.write_all(b"STARTTLS\r\n").expect("the server reads");
                read_reply(&mut stream, "220 2.0.0 ");
                stream.write_all(injection).expect("the server reads");
            } else {
                stream.write_all(&[b"STARTTLS\r\n", injection].concat()).expect("the server reads");
                read_reply(&mut stream, "220 2.0.0 ");
            }
            // Had the server gone on to TLS, it would wait for more of a handshake.
            stream.shutdown(std::net::Shutdown::Write).expect("the connection stands");
            let mut rest = Vec::new();
            // A reset is an end as good as any.
            let _ = stream.read_to_end(&mut rest);
            let alert = rest.starts_with(b"\x15\x03");
            assert!(rest.is_empty() || later && alert, "{}: {}", injection.escape_ascii(), rest.escape_ascii());
        }
    }
    Accepted::default().check(&server);
}

/// A handshake that begins in the packet of STARTTLS is cut off as well: a client that did not wait for the 220 cannot
/// know what it spoke to.
#[test]
fn a_handshake_does_not_save_what_was_injected() {
    let server = server();
    for injection in [&b"EHLO injected\r\n"[..], b"NOOP\r\n", b"R"] {
        let mut client = server.client();
        client.expect("EHLO client.example", "250");
        client.send(&[b"STARTTLS\r\n", injection].concat()).expect("the server reads");
        assert!(client.reply().is_some_and(|reply| reply.starts_with("220 2.0.0")), "STARTTLS is answered");
        assert!(client.start_tls().is_err(), "TLS over {}", injection.escape_ascii());
    }
    Accepted::default().check(&server);
}

/// Reads a reply, one octet at a time: what follows it must not be lost in a buffer.
fn read_reply(stream: &mut TcpStream, last_line: &str) {
    let mut line = Vec::new();
    loop {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("a reply");
        line.push(octet[0]);
        if line.ends_with(b"\r\n") {
            let text = String::from_utf8_lossy(&line).into_owned();
            if text.as_bytes().get(3) == Some(&b' ') {
                assert!(text.starts_with(last_line), "expected {last_line}, got {text}");
                return;
            }
            line.clear();
        }
    }
}
