//! What stands in the file: our trace fields, then the message as it came, without the fields that were forged.
//!
//! *Guarantees:* an IMAP server serves the octets as received: lines are stored with LF only where turning each LF back
//! into CRLF gives them. Otherwise (BINARYMIME with a bare CR or LF) the octets are stored as they came. A message can
//! neither continue our own fields nor hide a forged one behind a header line that is no field.
//! *Never does:* change anything else.

use std::borrow::Cow;
use std::io::IoSlice;

use memchr::memchr_iter;
use rustix::io::Result;

use super::Mail;
use crate::config::LineEndings;
use crate::message::Message;

/// Stands before a message that begins with white space, which would otherwise continue the last of our trace fields.
const GUARD: &[u8] = b"X-Mxkeep-Note: what follows has no field name\r\n";
/// A message up to this size is made ready once, and each copy written by one call. A larger one is converted while each
/// copy is written, so that it is not in memory twice. In octets.
const WHOLE_OCTETS_MAX: usize = 256 << 10;
/// A larger one is written in pieces of about this size, in octets.
const PIECE_OCTETS: usize = 256 << 10;

/// A message as it will be stored, but for the trace fields: shared by all copies.
pub struct Content<'a> {
    form: Form<'a>,
    line_endings: LineEndings,
    /// Octets as stored.
    octets: u64,
    /// How many LFs of those have no CR before them.
    lone_lfs: u64,
}

enum Form<'a> {
    /// Ready to be written.
    Whole(Vec<u8>),
    /// What is kept of the message as received, in order.
    Runs(Vec<&'a [u8]>),
}

/// One copy: what to write, and its sizes.
pub(super) struct Stored<'a> {
    trace: Cow<'a, [u8]>,
    content: &'a Content<'a>,
    /// Octets on disk: `S=`.
    pub(super) size_octets: u64,
    /// Octets with CRLF line ends: `W=`.
    pub(super) wire_octets: u64,
}

impl<'a> Content<'a> {
    /// Makes a message ready.
    pub fn new(mail: &Mail<'a>) -> Self {
        Self::with(mail, WHOLE_OCTETS_MAX)
    }

    fn with(mail: &Mail<'a>, whole_octets_max: usize) -> Self {
        let message = mail.message.octets();
        let line_endings = match is_reversible(message) {
            true => mail.line_endings,
            false => LineEndings::Crlf,
        };
        let runs = kept(mail.message, mail.removed);
        let (form, octets, lone_lfs) = match message.len() <= whole_octets_max {
            true => {
                let mut whole = Vec::with_capacity(message.len() + GUARD.len());
                runs.iter().for_each(|run| append(&mut whole, run, line_endings));
                let (octets, lone_lfs) = (whole.len() as u64, lone_lfs(&whole));
                (Form::Whole(whole), octets, lone_lfs)
            }
            false => {
                let (octets, lone_lfs) = sizes(&runs, line_endings);
                (Form::Runs(runs), octets, lone_lfs)
            }
        };
        Content { form, line_endings, octets, lone_lfs }
    }

    /// This content below these trace fields (CRLF).
    pub(super) fn below(&'a self, trace: &'a [u8]) -> Stored<'a> {
        let trace = match self.line_endings {
            LineEndings::Crlf => Cow::Borrowed(trace),
            LineEndings::Lf => {
                let mut converted = Vec::with_capacity(trace.len());
                append(&mut converted, trace, LineEndings::Lf);
                Cow::Owned(converted)
            }
        };
        let size_octets = trace.len() as u64 + self.octets;
        let wire_octets = size_octets + lone_lfs(&trace) + self.lone_lfs;
        Stored { trace, content: self, size_octets, wire_octets }
    }
}

impl Stored<'_> {
    /// Writes all of it.
    pub(super) fn write(&self, write: impl FnMut(&mut [IoSlice<'_>]) -> Result<()>) -> Result<()> {
        self.write_in_pieces(PIECE_OCTETS, write)
    }

    fn write_in_pieces(&self, octets: usize, mut write: impl FnMut(&mut [IoSlice<'_>]) -> Result<()>) -> Result<()> {
        let runs = match &self.content.form {
            Form::Whole(whole) => return write(&mut [IoSlice::new(&self.trace), IoSlice::new(whole)]),
            Form::Runs(runs) => runs,
        };
        let mut piece = Vec::with_capacity(2 * octets + self.trace.len());
        piece.extend_from_slice(&self.trace);
        for mut rest in runs.iter().copied() {
            while !rest.is_empty() {
                let (next, after) = rest.split_at(piece_end(rest, octets));
                append(&mut piece, next, self.content.line_endings);
                rest = after;
                if piece.len() >= octets {
                    write(&mut [IoSlice::new(&piece)])?;
                    piece.clear();
                }
            }
        }
        write(&mut [IoSlice::new(&piece)])
    }
}

/// The message without the fields that go, in as few runs as there can be.
fn kept<'a>(message: &'a Message, removed: &dyn Fn(&crate::message::Field<'_>) -> bool) -> Vec<&'a [u8]> {
    let all = message.octets();
    let mut runs: Vec<&[u8]> = Vec::new();
    if all.starts_with(b" ") || all.starts_with(b"\t") {
        runs.push(GUARD);
    }
    let (mut from, mut at) = (0, 0);
    for (raw, field) in message.entries() {
        let end = at + raw.len();
        if field.is_some_and(|field| removed(&field)) {
            runs.push(&all[from..at]);
            from = end;
        }
        at = end;
    }
    runs.push(&all[from..]);
    runs.retain(|run| !run.is_empty());
    runs
}

/// Octets of these runs as stored, and how many LFs of those have no CR before them. A run begins behind a line end, so none
/// needs its neighbour.
fn sizes(runs: &[&[u8]], line_endings: LineEndings) -> (u64, u64) {
    let octets: u64 = runs.iter().map(|run| run.len() as u64).sum();
    match line_endings {
        LineEndings::Crlf => (octets, runs.iter().map(|run| lone_lfs(run)).sum()),
        // Here each LF is behind a CR, which goes.
        LineEndings::Lf => {
            let lfs: u64 = runs.iter().map(|run| memchr_iter(b'\n', run).count() as u64).sum();
            (octets - lfs, lfs)
        }
    }
}

/// Where to cut: not between CR and LF, and never at 0.
fn piece_end(rest: &[u8], octets: usize) -> usize {
    match rest.get(..octets) {
        Some(piece) if piece.ends_with(b"\r") && octets > 1 => octets - 1,
        Some(_) => octets,
        None => rest.len(),
    }
}

/// Is every LF behind exactly one CR? Then a LF can stand for CRLF and nothing is lost.
fn is_reversible(octets: &[u8]) -> bool {
    let cr_before = |at: usize, distance| at.checked_sub(distance).and_then(|at| octets.get(at)) == Some(&b'\r');
    memchr_iter(b'\n', octets).all(|at| cr_before(at, 1) && !cr_before(at, 2))
}

/// How many LFs have no CR before them.
fn lone_lfs(octets: &[u8]) -> u64 {
    let lone = |at: &usize| at.checked_sub(1).and_then(|at| octets.get(at)) != Some(&b'\r');
    memchr_iter(b'\n', octets).filter(lone).count() as u64
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
    use proptest::prelude::*;

    /// Stores a message whole and in pieces of several sizes: it comes to the same.
    fn store(octets: &[u8], line_endings: LineEndings) -> (Vec<u8>, u64, u64) {
        let message = Message::new(octets.to_vec());
        let mail = Mail { message: &message, line_endings, removed: &|field| field.is("X-Spam-Flag") };
        let [whole, others @ ..] = [(usize::MAX, 1), (0, 2), (0, 3), (0, 7), (0, 1000)].map(|(whole_max, piece)| {
            let content = Content::with(&mail, whole_max);
            let stored = content.below(b"T: 1\r\n 2\r\n");
            let mut file = Vec::new();
            let written = stored.write_in_pieces(piece, |slices| {
                slices.iter().for_each(|slice| file.extend_from_slice(slice));
                Ok(())
            });
            assert_eq!(written, Ok(()));
            (file, stored.size_octets, stored.wire_octets)
        });
        others.iter().for_each(|other| assert_eq!(*other, whole));
        whole
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

    #[test]
    fn a_long_line_is_written_in_pieces_too() {
        let message = Message::new([b"A: 1\r\n\r\n", &b"x".repeat(WHOLE_OCTETS_MAX)[..], b"\r\n"].concat());
        let content = Content::new(&Mail { message: &message, line_endings: LineEndings::Lf, removed: &|_| false });
        let stored = content.below(b"T: 1\r\n");
        let (mut octets, mut largest, mut calls) = (0, 0, 0);
        let written = stored.write(|slices| {
            let length: usize = slices.iter().map(|slice| slice.len()).sum();
            (octets, largest, calls) = (octets + length as u64, largest.max(length), calls + 1);
            Ok(())
        });
        assert_eq!((written, octets, calls), (Ok(()), stored.size_octets, 2));
        assert!(largest < PIECE_OCTETS + 100);
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
