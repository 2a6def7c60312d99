//! Chunks, against a naive reading: what is received is what was announced, to the octet, and what stands behind it is left
//! alone, whatever it is and wherever it was cut.
//!
//! The octets: cuts, limit and body type, then chunk by chunk an octet that announces it, and its octets.

use mxkeep::smtp::chunk::{Announced, ChunkEnd, Chunks};
use mxkeep::smtp::{DataError, Input};

use super::support::{first, pieces};

/// What was announced, and the octets that came.
type Sent<'a> = (Announced, &'a [u8]);
/// What each chunk ended with, the message if it was accepted, and the octets behind.
type Read = (Vec<ChunkEnd>, Option<Vec<u8>>, Vec<u8>);

pub fn run(octets: &[u8]) {
    let (seed, octets) = first(octets);
    let (limit, octets) = first(octets);
    let (octets_max, binary) = (limit as u64 / 2 * 3, limit % 2 == 1);
    let (chunks, behind) = announced(octets);
    let expected = naive(&chunks, behind, octets_max, binary);
    for seed in [seed, seed + 1] {
        assert_eq!(read(&chunks, behind, octets_max, binary, seed), expected);
    }
}

/// At most 63 octets a chunk, and now and then one of which the end never comes.
fn announced(mut octets: &[u8]) -> (Vec<Sent<'_>>, &[u8]) {
    let mut chunks = Vec::new();
    while let Some((&head, rest)) = octets.split_first() {
        let (size, last) = (usize::from(head & 63), head & 64 != 0);
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        let octets_announced = if head & 128 != 0 { u64::MAX - size as u64 } else { size as u64 };
        chunks.push((Announced { octets: octets_announced, last }, chunk));
        octets = behind;
        if octets_announced != chunk.len() as u64 || last {
            break;
        }
    }
    (chunks, octets)
}

fn read(chunks: &[Sent<'_>], behind: &[u8], octets_max: u64, binary: bool, seed: usize) -> Read {
    let mut reader = Chunks::new(octets_max, binary);
    let (mut input, mut message, mut ends) = (Input::default(), Vec::new(), Vec::new());
    for (announced, chunk) in chunks {
        let is_whole = announced.octets == chunk.len() as u64;
        // What follows a whole chunk may come in one piece with it.
        let arriving = [*chunk, if is_whole { behind } else { &[] }].concat();
        reader.begin(*announced);
        let mut end = reader.push(&mut input, &mut message);
        for piece in pieces(&arriving, seed) {
            input.extend(piece);
            end = end.or_else(|| reader.push(&mut input, &mut message));
            assert!(message.len() as u64 <= octets_max, "more is held than allowed");
        }
        let Some(end) = end else { return (ends, None, input.pending().to_vec()) };
        reader.finish();
        ends.push(end);
        assert_eq!(input.pending(), behind, "what stands behind a chunk");
        if let ChunkEnd::Whole(end) = end {
            return (ends, end.is_ok().then_some(message), behind.to_vec());
        }
        input = Input::default();
    }
    (ends, None, behind.to_vec())
}

fn naive(chunks: &[Sent<'_>], behind: &[u8], octets_max: u64, binary: bool) -> Read {
    let (mut ends, mut sum, mut message) = (Vec::new(), 0_u128, Vec::new());
    for (announced, chunk) in chunks {
        sum += u128::from(announced.octets);
        message.extend_from_slice(chunk);
        if announced.octets != chunk.len() as u64 {
            return (ends, None, Vec::new());
        }
        ends.push(match announced.last {
            _ if sum > u128::from(octets_max) => ChunkEnd::Whole(Err(DataError::TooLarge)),
            false => ChunkEnd::Part,
            true if !binary && has_bare_line_end(&message) => ChunkEnd::Whole(Err(DataError::BareLineEnd)),
            true => ChunkEnd::Whole(Ok(())),
        });
        match ends.last() {
            Some(ChunkEnd::Whole(end)) => return (ends.clone(), end.is_ok().then_some(message), behind.to_vec()),
            _ => continue,
        }
    }
    (ends, None, behind.to_vec())
}

fn has_bare_line_end(octets: &[u8]) -> bool {
    String::from_utf8_lossy(octets).replace("\r\n", "").contains(['\r', '\n'])
}
