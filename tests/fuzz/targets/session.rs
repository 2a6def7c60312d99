//! The whole session: structured streams against the model that the test suite believes, and raw octets.
//!
//! Of a structured stream each octet is a piece: a command, a line end, the end of mail data.

use super::support::{check_wire, find, first};
use crate::session_model::{COMMANDS, check_agreement, session};

/// Pieces that are no commands.
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
    "bcdefghij",
];

/// Against the model.
pub fn run(octets: &[u8]) {
    let (sizes, octets) = cuts(octets);
    let piece = |octet: &u8| match usize::from(*octet) {
        command if command < COMMANDS.len() => format!("{}\r\n", COMMANDS[command].0),
        other => PIECES[other % PIECES.len()].to_owned(),
    };
    let stream: String = octets.iter().map(piece).collect();
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
