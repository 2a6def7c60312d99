//! Smuggling by BDAT (RFC 3030): sizes that lie, chunks that are refused, and what stands in them.
//!
//! As in `smuggling`: over real sockets, each reply and each file accounted for. The octets of a chunk are never commands,
//! whatever becomes of it; what stands behind them always is.

use std::ops::ControlFlow;

use crate::support::exchange::{Accepted, Cut, WAYS, exchange, greeted, insist, insist_closed, server, write};

const OPEN: &[u8] = b"MAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\n";
/// A transaction that must never run: it stands in a chunk.
const WITHIN: &[u8] = b"Subject: within\r\n\r\n.\r\nRSET\r\nMAIL FROM:<mallory@client.example>\r\n\
    RCPT TO:<bob@example.test>\r\nBDAT 8 LAST\r\nSMUGGLEDQUIT\r\nSTARTTLS\r\n..\r\n.\r\n";

fn chunk(octets: &[u8], last: bool) -> Vec<u8> {
    let header = format!("BDAT {}{}\r\n", octets.len(), if last { " LAST" } else { "" });
    [header.as_bytes(), octets].concat()
}

/// A text of its own for each way and case.
fn text(name: impl std::fmt::Debug, way: (bool, Cut)) -> Vec<u8> {
    format!("Subject: {name:?} {way:?}\r\n\r\nhello\r\n").into_bytes()
}

/// All of a chunk is mail data: dots, ends, commands. What stands behind it is commands.
#[test]
fn a_chunk_is_as_long_as_it_says() {
    let (server, mut accepted) = (server(), Accepted::default());
    for way in WAYS {
        let mut client = greeted(&server, way.0);
        let longer = [text("longer", way), WITHIN.to_vec()].concat();
        let wire = [OPEN, &chunk(&longer, true), b"NOOP\r\n"].concat();
        insist(&mut client, "declared longer", &wire, way.1, &["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0 OK"]);
        accepted.add("alice", &longer);

        let shorter = text("shorter", way);
        let wire = [OPEN, &chunk(&shorter, true), b"more of it\r\n\r\n.\r\nRSET\r\n"].concat();
        let replies = ["250 2.1.0", "250 2.1.5", "250 2.0.0", "500 ", "500 ", "500 ", "250 2.0.0 OK"];
        insist(&mut client, "declared shorter", &wire, way.1, &replies);
        accepted.add("alice", &shorter);

        let several = text("several", way);
        let wire = [OPEN, &chunk(&several, false), &chunk(WITHIN, false), &chunk(WITHIN, true)].concat();
        let octets = |count: usize| format!("250 2.0.0 {count} octets received");
        let (first, second) = (octets(several.len()), octets(WITHIN.len()));
        insist(&mut client, "several", &wire, way.1, &["250 2.1.0", "250 2.1.5", &first, &second, "250 2.0.0"]);
        accepted.add("alice", &[&several, WITHIN, WITHIN].concat());

        let empty = text("empty last", way);
        let wire = [OPEN, &chunk(&empty, false), b"bdat 0 last\r\n"].concat();
        insist(&mut client, "an empty last one", &wire, way.1, &["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"]);
        accepted.add("alice", &empty);
    }
    accepted.check(&server);
}

/// A refused chunk is read to its end and nothing of it is executed; one reply, behind its octets.
#[test]
fn a_refused_chunk_is_not_executed() {
    let server = server();
    for (tls, cut) in WAYS {
        let mut client = greeted(&server, tls);
        for last in [false, true] {
            let within = chunk(WITHIN, last);
            insist(&mut client, "no transaction", &within, cut, &["503 5.5.1"]);
            let wire = [b"MAIL FROM:<carol@client.example>\r\n", &within[..], b"RSET\r\n"].concat();
            insist(&mut client, "no recipient", &wire, cut, &["250 2.1.0", "554 5.5.1", "250 2.0.0 OK"]);
            let wire =
                [b"MAIL FROM:<carol@client.example>\r\nRCPT TO:<nobody@example.test>\r\n", &within[..], b"RSET\r\n"]
                    .concat();
            insist(
                &mut client,
                "no good recipient",
                &wire,
                cut,
                &["250 2.1.0", "550 5.1.1", "554 5.5.1", "250 2.0.0 OK"],
            );
            let wire = [OPEN, b"RSET\r\n", &within].concat();
            insist(&mut client, "after RSET", &wire, cut, &["250 2.1.0", "250 2.1.5", "250 2.0.0 OK", "503 5.5.1"]);
            let wire = [OPEN, b"BDAT 1\r\nx", b"RSET\r\n", &within].concat();
            let replies = ["250 2.1.0", "250 2.1.5", "250 2.0.0 1 ", "250 2.0.0 OK", "503 5.5.1"];
            insist(&mut client, "after RSET between chunks", &wire, cut, &replies);
        }
    }
    // Before the greeting.
    insist(&mut server.client(), "not greeted", &chunk(WITHIN, true), Cut::Whole, &["503 5.5.1"]);
    Accepted::default().check(&server);
}

/// Chunks over the limit are drained; so are those that were pipelined behind them.
#[test]
fn a_chunk_too_large_is_not_executed() {
    let server = server();
    let large = WITHIN.repeat(65_537 / WITHIN.len() + 1);
    for (tls, cut) in WAYS {
        if tls && cut == Cut::Octets {
            continue;
        }
        let mut client = greeted(&server, tls);
        let wire = [OPEN, &chunk(&large, false), &chunk(WITHIN, false), &chunk(WITHIN, true)].concat();
        let replies = ["250 2.1.0", "250 2.1.5", "552 5.3.4", "503 5.5.1", "503 5.5.1"];
        insist(&mut client, "one too large", &wire, cut, &replies);
        let half = &large[..large.len() / 2 + 100];
        let wire = [OPEN, &chunk(half, false), &chunk(half, true), &chunk(WITHIN, true)].concat();
        let replies = ["250 2.1.0", "250 2.1.5", "250 2.0.0", "552 5.3.4", "503 5.5.1"];
        insist(&mut client, "two too large", &wire, cut, &replies);
    }
    Accepted::default().check(&server);
}

/// Sizes that overflow something somewhere (Exim's wrapped at 2^40): all that follows belongs to the chunk, and the
/// connection ends within it.
#[test]
fn huge_sizes_swallow_what_follows() {
    let server = server();
    let sizes =
        [1 << 31, (1 << 31) + 5, 1 << 32, (1 << 32) + 5, (1 << 40) + 5, 1 << 63, (1 << 63) + 5, u64::MAX - 5, u64::MAX];
    for (tls, cut) in WAYS {
        for size in sizes {
            for (opening, last) in [(OPEN, true), (OPEN, false), (&b""[..], true)] {
                for before in [&b""[..], b"BDAT 7\r\nSubject"] {
                    let mut client = greeted(&server, tls);
                    let header = format!("BDAT {size}{}\r\nhello", if last { " LAST" } else { "" });
                    let wire =
                        [opening, before, header.as_bytes(), b"\r\n.\r\n", WITHIN, OPEN, &chunk(WITHIN, true)].concat();
                    write(&mut client, &wire, cut);
                    client.close_notify();
                    client.end_stream();
                    let replies: Vec<String> = std::iter::from_fn(|| client.reply()).collect();
                    let count = opening.split(|octet| *octet == b'\n').count() - 1 + usize::from(!before.is_empty());
                    assert_eq!(replies.len(), count, "{size} {tls} {cut:?}: {replies:#?}");
                }
            }
        }
    }
    Accepted::default().check(&server);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Nobody can tell mail data from commands behind a BDAT without a size: 501, and the end.
#[test]
fn a_malformed_size_ends_the_connection() {
    let server = server();
    let malformed = [
        "",
        " ",
        " LAST",
        " -1 LAST",
        " +5 LAST",
        " 0x5 LAST",
        " 5 LASTX",
        " 5 LAST x",
        " 5LAST",
        " 5 5",
        " 5.0",
        " 5,",
        " 1e3",
        " five LAST",
        " \u{665} LAST",
        " 18446744073709551616 LAST",
        " 18446744073709551621 LAST",
        " 99999999999999999999",
        " 000000000000000000005 LAST",
        " 340282366920938463463374607431768211461 LAST",
    ];
    for (tls, cut) in WAYS {
        for arguments in malformed {
            for opening in [OPEN, b""] {
                let mut client = greeted(&server, tls);
                let wire = [opening, format!("BDAT{arguments}\r\n").as_bytes(), WITHIN].concat();
                let replies = if opening.is_empty() { &["501 5.5.4"][..] } else { &["250", "250", "501 5.5.4"] };
                insist_closed(&mut client, &format!("BDAT{arguments}"), &wire, cut, replies);
            }
        }
        // What is no text at all, and what is too long to be read, has no size either.
        for arguments in [" 5\0LAST".to_owned(), " 5 LAST\n".to_owned(), format!(" {}5 LAST", "0".repeat(3_000))] {
            let mut client = greeted(&server, tls);
            let wire = [OPEN, format!("BDAT{arguments}\r\n").as_bytes(), WITHIN].concat();
            insist_closed(&mut client, &arguments, &wire, cut, &["250", "250", "50"]);
        }
    }
    Accepted::default().check(&server);
}

/// Chunk edges mean nothing to the message: a CRLF may lie across one, and a bare CR or LF is bare wherever it lies.
#[test]
fn line_ends_count_across_chunks() {
    let (server, mut accepted) = (server(), Accepted::default());
    for way in WAYS {
        let mut client = greeted(&server, way.0);
        let whole = text("edges", way);
        for at in 0..=whole.len() {
            let text = [b"N: ", at.to_string().as_bytes(), b"\r\n", &whole[..]].concat();
            let (first, second) = text.split_at(text.len() - at);
            let wire = [OPEN, &chunk(first, false), &chunk(second, true)].concat();
            insist(&mut client, "edges", &wire, way.1, &["250", "250", "250 2.0.0", "250 2.0.0"]);
            accepted.add("alice", &text);
        }
        let bare: [&[&[u8]]; 8] = [
            &[b"a\r", b"b\r\n"],
            &[b"a", b"\nb\r\n"],
            &[b"a\r\n\r", b""],
            &[b"a\r", b"\r\n"],
            &[b"a\r\n", b"\n"],
            &[b"a\r", b"", b"\rx\r\n"],
            &[b"\n.\n", b"\r\n"],
            &[b"\n.\r\n", WITHIN],
        ];
        for parts in bare {
            let (last, others) = parts.split_last().expect("parts");
            let mut wire = [OPEN, b"BDAT 14\r\nSubject: x\r\n\r\n"].concat();
            others.iter().for_each(|part| wire.extend_from_slice(&chunk(part, false)));
            wire.extend_from_slice(&chunk(last, true));
            let mut replies = vec!["250", "250", "250 2.0.0 14 "];
            replies.extend(others.iter().map(|_| "250 2.0.0"));
            replies.push("550 5.6.11");
            insist(&mut client, "bare line ends", &wire, way.1, &replies);
        }
    }
    accepted.check(&server);
}

/// One transaction, one way to send its data; commands that are out of place between chunks change nothing.
#[test]
fn chunks_and_data_do_not_mix() {
    let (server, mut accepted) = (server(), Accepted::default());
    for way in WAYS {
        let mut client = greeted(&server, way.0);
        let text = text("mixed", way);
        let between = b"DATA\r\nMAIL FROM:<mallory@client.example>\r\nRCPT TO:<bob@example.test>\r\nNOOP\r\n";
        let wire = [OPEN, &chunk(&text, false), between, &chunk(b"", true)].concat();
        let replies = ["250", "250", "250 2.0.0", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0 OK", "250 2.0.0"];
        insist(&mut client, "between chunks", &wire, way.1, &replies);
        accepted.add("alice", &text);
        let data = format!("Subject: then BDAT {way:?}\r\n\r\n").into_bytes();
        let wire = [OPEN, b"DATA\r\n", &data, b".\r\n", &chunk(WITHIN, true)].concat();
        insist(&mut client, "DATA, then BDAT", &wire, way.1, &["250", "250", "354", "250 2.0.0", "503 5.5.1"]);
        accepted.add("alice", &data);
        let wire = [OPEN, &chunk(b"x", true), &chunk(WITHIN, true), b"DATA\r\n"].concat();
        match exchange(&mut client, &wire, way.1) {
            ControlFlow::Continue(replies) => assert!(
                replies.len() == 5 && replies[3].starts_with("503 5.5.1") && replies[4].starts_with("503 5.5.1"),
                "{replies:#?}"
            ),
            ControlFlow::Break(replies) => panic!("closed after {replies:#?}"),
        }
        for stored in server.maildir("alice").messages().iter().filter(|stored| stored.as_received().starts_with(b"x"))
        {
            std::fs::remove_file(&stored.path).expect("a message can be removed");
        }
    }
    accepted.check(&server);
}

/// A chunked transaction does not survive STARTTLS.
#[test]
fn chunks_end_with_clear_text() {
    let server = server();
    let mut client = greeted(&server, false);
    let wire = [OPEN, &chunk(b"Subject: x\r\n", false)].concat();
    insist(&mut client, "in clear text", &wire, Cut::Whole, &["250", "250", "250 2.0.0"]);
    client.expect("STARTTLS", "220 2.0.0");
    client.start_tls().expect("a handshake");
    let wire = [&chunk(WITHIN, true)[..], b"EHLO client.example\r\n", &chunk(WITHIN, true)].concat();
    insist(&mut client, "under TLS", &wire, Cut::Whole, &["503 5.5.1", "250", "503 5.5.1"]);
    Accepted::default().check(&server);
}

/// BINARYMIME is not scanned for line ends, and nothing in it ends anything; it cannot come by DATA.
#[test]
fn binary_messages_are_counted() {
    let server = server();
    let open = b"MAIL FROM:<carol@client.example> BODY=BINARYMIME\r\nRCPT TO:<alice@example.test>\r\n";
    let mut expected = 0;
    for way in WAYS {
        let mut client = greeted(&server, way.0);
        let head = format!("Subject: binary {way:?}\r\n\r\n").into_bytes();
        let binary = [&b"\n.\n\r.\r\0\n.\r\n"[..], WITHIN, b"\r\r\n.\r\n\n"].concat();
        let wire = [&open[..], b"DATA\r\n", &chunk(&head, false), &chunk(&binary, true)].concat();
        insist(&mut client, "binary", &wire, way.1, &["250", "250", "503 5.5.1", "250 2.0.0", "250 2.0.0"]);
        expected += 1;
        let messages = server.maildir("alice").messages();
        assert_eq!(messages.len(), expected, "{way:?}");
        let stored = messages.iter().filter(|stored| stored.octets.ends_with(&[&head[..], &binary].concat())).count();
        assert_eq!(stored, 1, "{way:?}: {}", messages[expected - 1].octets.escape_ascii());
    }
    assert_eq!(server.maildir("bob").messages().len(), 0);
}
