//! The whole session: structured streams against the model that the test suite believes, and raw octets.
//!
//! Of a structured stream each octet is a piece: a command, a chunk (with the octets that follow for its content), a line
//! end, the end of mail data.

use super::support::{check_wire, find, first};
use crate::session_model::{COMMANDS, check_agreement, session};

/// Pieces that are neither commands nor chunks.
const PIECES: [&str; 16] = [
    "EHLO client.example\r\nMAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "\r\n",
    "\r",
    "\n",
    ".",
    "..",
    "a",
    "\0",
    "\r\n.",
    "Subject: x\r\n",
    " ",
    "\n.\n",
    "\r.\r",
    "EHLO client.example\r\nMAIL FROM:<carol@client.example> BODY=binaryMIME\r\nRCPT TO:<alice@example.test>\r\n",
];
/// What the content of a chunk is made of.
const CONTENT: [&str; 8] = ["a", "\r\n", ".", "\r", "\n", "\0", "QUIT\r\n", "b"];

/// Against the model.
pub fn run(octets: &[u8]) {
    let (sizes, octets) = cuts(octets);
    let (mut stream, mut octets) = (String::new(), octets.iter().copied());
    while let Some(octet) = octets.next() {
        match usize::from(octet) {
            command if command < COMMANDS.len() => stream += &format!("{}\r\n", COMMANDS[command].0),
            // The last part of a message, if the sixth bit is set.
            chunk @ 64..128 => {
                let content = octets.by_ref().take(chunk & 7).map(|octet| CONTENT[usize::from(octet) % CONTENT.len()]);
                let content: String = content.collect();
                let last = if chunk & 32 != 0 { " LAST" } else { "" };
                stream += &format!("BDAT {}{last}\r\n{content}", content.len());
            }
            other => stream += PIECES[other % PIECES.len()],
        }
    }
    check_agreement(stream.as_bytes(), &sizes);
}

/// Octets as they are: replies are well-formed, cuts do not matter, and what was received was sent.
pub fn run_raw(octets: &[u8]) {
    let (sizes, stream) = cuts(octets);
    let whole = session(stream, &[stream.len().max(1)]);
    check_wire(&whole.wire);
    let pieces = session(stream, &sizes);
    assert_eq!(pieces.wire, whole.wire, "cuts change the replies");
    assert_eq!(pieces.messages, whole.messages, "cuts change the messages");
    assert_eq!(pieces.closed, whole.closed);
    // Chunks are not stuffed, and need not be together.
    if find(&stream.to_ascii_uppercase(), b"BDAT ").is_none() {
        let unstuffed = without_dots(stream);
        for message in &whole.messages {
            let sent = [&without_dots(&message.octets), &b"\r\n"[..]].concat();
            assert!(find(&unstuffed, &sent).is_some(), "octets that nobody sent");
        }
    }
}

/// Without the dots that begin a line.
fn without_dots(octets: &[u8]) -> Vec<u8> {
    let lines = octets.split_inclusive(|&octet| octet == b'\n');
    lines.flat_map(|line| line.iter().skip_while(|octet| **octet == b'.')).copied().collect()
}

/// Sizes of pieces, from one octet.
fn cuts(octets: &[u8]) -> ([usize; 3], &[u8]) {
    let (cut, rest) = first(octets);
    ([1 + cut % 4, 1 + cut / 4 % 8, 1 + cut / 32 * 13], rest)
}
