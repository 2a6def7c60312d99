//! What stands in the file: our trace fields, then the message as it came, without the fields that were forged.
//!
//! *Guarantees:* an IMAP server serves the octets as received: lines are stored with LF only where turning each LF back
//! into CRLF gives them. Otherwise (BINARYMIME with a bare CR or LF) the octets are stored as they came. A message can
//! neither continue our own fields nor hide a forged one behind a header line that is no field.
//! *Never does:* change anything else.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::Mail;
use crate::config::LineEndings;

/// Stands before a message that begins with white space, which would otherwise continue the last of our trace fields.
const GUARD: &[u8] = b"X-Mxkeep-Note: what follows has no field name\r\n";

/// A message as it will be stored, but for the trace fields: shared by all copies.
pub struct Content {
    octets: Vec<u8>,
    line_endings: LineEndings,
    lone_lfs: usize,
}

/// One copy: what to write, in this order, and its sizes.
pub(super) struct Stored<'a> {
    pub(super) trace: Cow<'a, [u8]>,
    pub(super) rest: &'a [u8],
    /// Octets on disk: `S=`.
    pub(super) size_octets: u64,
    /// Octets with CRLF line ends: `W=`.
    pub(super) wire_octets: u64,
}

impl Content {
    /// Makes a message ready.
    pub fn new(mail: &Mail<'_>) -> Self {
        let message = mail.message;
        let line_endings = match is_reversible(message.octets()) {
            true => mail.line_endings,
            false => LineEndings::Crlf,
        };
        let mut octets = Vec::with_capacity(message.octets().len());
        if message.octets().starts_with(b" ") || message.octets().starts_with(b"\t") {
            append(&mut octets, GUARD, line_endings);
        }
        for (raw, field) in message.entries() {
            if !field.is_some_and(|field| (mail.removed)(&field)) {
                append(&mut octets, raw, line_endings);
            }
        }
        append(&mut octets, message.separator_and_body(), line_endings);
        let lone_lfs = lone_lfs(&octets);
        Content { octets, line_endings, lone_lfs }
    }

    /// This content below these trace fields (CRLF).
    pub(super) fn below<'a>(&'a self, trace: &'a [u8]) -> Stored<'a> {
        let trace = match self.line_endings {
            LineEndings::Crlf => Cow::Borrowed(trace),
            LineEndings::Lf => {
                let mut converted = Vec::with_capacity(trace.len());
                append(&mut converted, trace, LineEndings::Lf);
                Cow::Owned(converted)
            }
        };
        let size = trace.len() + self.octets.len();
        let wire = size + lone_lfs(&trace) + self.lone_lfs;
        Stored { trace, rest: &self.octets, size_octets: size as u64, wire_octets: wire as u64 }
    }
}

/// Is every LF behind exactly one CR? Then a LF can stand for CRLF and nothing is lost.
fn is_reversible(octets: &[u8]) -> bool {
    let cr_before = |at: usize, distance| at.checked_sub(distance).and_then(|at| octets.get(at)) == Some(&b'\r');
    memchr_iter(b'\n', octets).all(|at| cr_before(at, 1) && !cr_before(at, 2))
}

/// How many LFs have no CR before them.
fn lone_lfs(octets: &[u8]) -> usize {
    let lone = |at: &usize| at.checked_sub(1).and_then(|at| octets.get(at)) != Some(&b'\r');
    memchr_iter(b'\n', octets).filter(lone).count()
}

fn append(out: &mut Vec<u8>, octets: &[u8], line_endings: LineEndings) {
    let mut rest = octets;
    if line_endings == LineEndings::Lf {
        let mut done = 0;
        for end in memchr_iter(b'\n', octets) {
            let line = &octets[done..end];
            out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            out.push(b'\n');
            done = end + 1;
        }
        rest = &octets[done..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use proptest::prelude::*;

    fn store(octets: &[u8], line_endings: LineEndings) -> (Vec<u8>, u64, u64) {
        let message = Message::new(octets.to_vec());
        let content =
            Content::new(&Mail { message: &message, line_endings, removed: &|field| field.is("X-Spam-Flag") });
        let stored = content.below(b"T: 1\r\n 2\r\n");
        ([&stored.trace[..], stored.rest].concat(), stored.size_octets, stored.wire_octets)
    }

    /// What an IMAP server serves of a stored file: each LF without CR becomes CRLF.
    fn served(stored: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, &octet) in stored.iter().enumerate() {
            if octet == b'\n' && (at == 0 || stored[at - 1] != b'\r') {
                out.push(b'\r');
            }
            out.push(octet);
        }
        out
    }

    #[test]
    fn lines_end_as_configured_and_forged_fields_are_gone() {
        let message = b"A: 1\r\nx-spam-flag: NO\r\n more\r\nB: 2\r\n\r\nbody\r\nX-Spam-Flag: stays\r\nend";
        let (stored, size, wire) = store(message, LineEndings::Lf);
        assert_eq!(stored, b"T: 1\n 2\nA: 1\nB: 2\n\nbody\nX-Spam-Flag: stays\nend");
        assert_eq!((size, wire), (stored.len() as u64, stored.len() as u64 + 7));
        let (stored, size, wire) = store(message, LineEndings::Crlf);
        assert_eq!(stored, b"T: 1\r\n 2\r\nA: 1\r\nB: 2\r\n\r\nbody\r\nX-Spam-Flag: stays\r\nend");
        assert_eq!((size, wire), (stored.len() as u64, stored.len() as u64));
    }

    #[test]
    fn octets_that_lf_cannot_stand_for_are_stored_as_they_came() {
        for message in [&b"A: 1\r\n\r\nlone\nlf\r\n"[..], b"A: 1\r\n\r\ncr\r\r\n"] {
            let (stored, size, wire) = store(message, LineEndings::Lf);
            assert_eq!(stored, [b"T: 1\r\n 2\r\n", message].concat());
            assert_eq!((size, wire), (stored.len() as u64, served(&stored).len() as u64));
        }
    }

    #[test]
    fn a_message_neither_continues_our_fields_nor_hides_forged_ones() {
        for (message, stored) in [
            (&b""[..], &b"T: 1\n 2\n"[..]),
            (b"\r\nbody", b"T: 1\n 2\n\nbody"),
            (b" : forged\r\n", b"T: 1\n 2\nX-Mxkeep-Note: what follows has no field name\n : forged\n"),
            (b"A: 1\r\nbroken\r\nX-Spam-Flag: NO\r\n", b"T: 1\n 2\nA: 1\nbroken\n"),
            (b"A: 1\r\n", b"T: 1\n 2\nA: 1\n"),
            (b"A: 1", b"T: 1\n 2\nA: 1"),
            (b"X-Spam-Flag: NO", b"T: 1\n 2\n"),
        ] {
            assert_eq!(store(message, LineEndings::Lf).0, stored, "{:?}", String::from_utf8_lossy(message));
        }
    }

    proptest! {
        /// Whatever comes, an IMAP server serves it as it came (a lone LF as CRLF), and `S=` and `W=` are right.
        #[test]
        fn what_is_served_is_what_came(body in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 0..50)) {
            let message = [b"A: 1\r\n\r\n", &body[..]].concat();
            for line_endings in [LineEndings::Lf, LineEndings::Crlf] {
                let (stored, size, wire) = store(&message, line_endings);
                prop_assert_eq!(served(&stored), served(&[b"T: 1\r\n 2\r\n", &message[..]].concat()));
                prop_assert_eq!((size, wire), (stored.len() as u64, served(&stored).len() as u64));
            }
        }
    }
}
