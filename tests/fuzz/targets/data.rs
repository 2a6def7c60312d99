//! Framing and mail data, against naive readings of the whole stream: cuts do not matter, and nothing but CRLF ends a line
//! and nothing but CRLF.CRLF ends mail data. What stands behind the end is left alone to the octet.

use mxkeep::smtp::framing::{COMMAND_LINE_OCTETS_MAX, DataError, Decoder, Input, Line};

use super::support::{find, first, pieces};

pub fn run(octets: &[u8]) {
    let (seed, octets) = first(octets);
    let (limit, stream) = first(octets);
    check_data(stream, seed, limit as u64 * 4);
    check_lines(stream, seed);
    // Lines of some octets are far from the limit: the same with each `~` as a thousand of them.
    let long = stream.iter().flat_map(|&octet| vec![octet; if octet == b'~' { 1_000 } else { 1 }]).collect::<Vec<_>>();
    check_lines(&long, seed);
}

/// What became of mail data: its end, the message, and the octets behind.
type Read = (Option<Result<(), DataError>>, Vec<u8>, Vec<u8>);

fn check_data(stream: &[u8], seed: usize, octets_max: u64) {
    let expected = naive_data(stream, octets_max);
    assert_eq!(decoded(&[stream], octets_max), expected, "in one piece");
    assert_eq!(decoded(&pieces(stream, seed).collect::<Vec<_>>(), octets_max), expected, "in pieces");
    assert_eq!(decoded(&stream.chunks(1).collect::<Vec<_>>(), octets_max), expected, "octet by octet");
}

fn decoded(pieces: &[&[u8]], octets_max: u64) -> Read {
    let (mut input, mut message, mut end) = (Input::default(), Vec::new(), None);
    let mut decoder = Decoder::new(octets_max);
    for piece in pieces {
        input.extend(piece);
        if end.is_none() {
            end = decoder.push(&mut input, &mut message);
        }
        assert!(message.len() as u64 <= octets_max, "more is held than allowed");
    }
    match end {
        Some(Ok(())) => assert_eq!(decoder.octets(), message.len() as u64),
        _ => message.clear(),
    }
    let rest = if end.is_some() { input.pending().to_vec() } else { Vec::new() };
    (end, message, rest)
}

fn naive_data(stream: &[u8], octets_max: u64) -> Read {
    let marked = [b"\r\n", stream].concat();
    let Some(at) = find(&marked, b"\r\n.\r\n") else { return (None, Vec::new(), Vec::new()) };
    let (raw, behind) = (&marked[2..at + 2], &marked[at + 5..]);
    let mut lines = Vec::new();
    let mut rest = raw;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    assert!(rest.is_empty());
    if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) {
        return (Some(Err(DataError::BareLineEnd)), Vec::new(), behind.to_vec());
    }
    let unstuffed = lines.iter().flat_map(|line| [line.strip_prefix(b".").unwrap_or(line), b"\r\n"]);
    let message: Vec<u8> = unstuffed.flatten().copied().collect();
    match message.len() as u64 > octets_max {
        true => (Some(Err(DataError::TooLarge)), Vec::new(), behind.to_vec()),
        false => (Some(Ok(())), message, behind.to_vec()),
    }
}

fn check_lines(stream: &[u8], seed: usize) {
    let mut expected = Vec::new();
    let mut rest = stream;
    while let Some(end) = find(rest, b"\r\n") {
        expected.push(match end + 2 <= COMMAND_LINE_OCTETS_MAX {
            true => Ok(rest[..end].to_vec()),
            false => Err(rest.first_chunk().copied().expect("it is long")),
        });
        rest = &rest[end + 2..];
    }
    assert_eq!(lines(std::iter::once(stream), rest), expected, "in one piece");
    assert_eq!(lines(pieces(stream, seed), rest), expected, "in pieces");
}

/// The lines; of one that is too long its first octets. `rest` is what has no end yet.
fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>, rest: &[u8]) -> Vec<Result<Vec<u8>, [u8; 5]>> {
    let (mut input, mut lines, mut fed) = (Input::default(), Vec::new(), 0);
    for piece in pieces {
        input.extend(piece);
        fed += piece.len() as u64;
        while let Some(line) = input.line() {
            match line {
                Line::Complete(line) => lines.push(Ok(line.to_vec())),
                Line::TooLong(start) => lines.push(Err(start)),
            }
        }
        assert!(input.pending().len() <= COMMAND_LINE_OCTETS_MAX, "a line that is too long is held");
        assert_eq!(input.received(), fed);
    }
    assert_eq!(input.position(), fed - rest.len() as u64);
    assert_eq!(input.is_empty(), rest.is_empty());
    lines
}
