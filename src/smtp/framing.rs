//! Framing: where a command line ends and where mail data ends.
//!
//! *Guarantees:* one state machine over octets, the same whatever way the octets were cut when they arrived. Only CRLF ends
//! a line and only CRLF.CRLF ends mail data (RFC 5321 sections 2.3.8 and 4.1.1.4). A bare CR or LF never ends anything,
//! and mail data with one is refused at its end: whatever stands behind it was never taken for a command (the smuggling
//! family, CVE-2023-51764 to 51766). NUL is an octet like any other. The line end a client uses is never adapted to.
//! *Bounds:* a line is buffered up to [`COMMAND_LINE_OCTETS_MAX`]; a longer one is dropped to its end, never executed in
//! pieces. Mail data past its limit is counted and dropped.

use memchr::{memchr2, memmem};

/// The longest command line in octets, CRLF included. RFC 5321 section 4.5.3.1.4 says 512; each extension adds to that
/// (RFC 1870, 6152, 6531 ...), and long bounce addresses exist.
pub const COMMAND_LINE_OCTETS_MAX: usize = 2048;

/// Octets that arrived and were not yet understood.
#[derive(Debug, Default)]
pub struct Input {
    octets: Vec<u8>,
    start: usize,
    /// Octets that arrived since the beginning.
    received: u64,
    /// Octets behind `start` that are known to hold no CRLF.
    scanned: usize,
    /// Octets of the line that has begun that were dropped already: it is too long, and its rest goes as it comes.
    discarded: u64,
    /// The first of them.
    discarded_start: [u8; LINE_START_OCTETS],
}

/// What is kept of a line that is too long.
const LINE_START_OCTETS: usize = 5;

/// A line as it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without its CRLF.
    Complete(&'a [u8]),
    /// Longer than [`COMMAND_LINE_OCTETS_MAX`]; all of it is gone but for its first octets.
    TooLong([u8; LINE_START_OCTETS]),
}

impl Input {
    /// Adds octets as they came from the connection.
    pub fn extend(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.octets.drain(..self.start);
            self.start = 0;
        }
        self.octets.extend_from_slice(octets);
        self.received += octets.len() as u64;
    }

    /// How many octets have arrived since the beginning.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The place at which the next line begins, or the one that has begun, though its first octets may be dropped already.
    pub fn position(&self) -> u64 {
        self.received - self.pending().len() as u64 - self.discarded
    }

    /// Octets that wait.
    pub fn pending(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// What waits, if it is the beginning of a line.
    pub(super) fn line_start(&self) -> Option<&[u8]> {
        (self.discarded == 0).then(|| self.pending())
    }

    /// Nothing waits, and no line has begun.
    pub fn is_empty(&self) -> bool {
        self.pending().is_empty() && self.discarded == 0
    }

    /// Gives the buffer's memory back while nothing waits in it.
    pub fn release_memory(&mut self) {
        if self.pending().is_empty() {
            self.octets = Vec::new();
            self.start = 0;
            self.scanned = 0;
        }
    }

    /// The octets that wait, at most so many of them.
    pub(super) fn front(&self, octets_max: u64) -> &[u8] {
        let octets = usize::try_from(octets_max).unwrap_or(usize::MAX);
        self.pending().get(..octets).unwrap_or(self.pending())
    }

    /// Drops octets that were understood, at most as many as wait.
    pub(super) fn consume(&mut self, octets: usize) {
        self.start += octets;
        self.scanned = 0;
        if self.start == self.octets.len() {
            self.octets.clear();
            self.start = 0;
        }
    }

    /// Takes the next whole line, if it is there.
    pub fn line(&mut self) -> Option<Line<'_>> {
        let from = self.scanned.saturating_sub(1);
        let end = memmem::find(&self.pending()[from..], b"\r\n").map(|at| from + at);
        let limit = COMMAND_LINE_OCTETS_MAX - 2;
        match end {
            Some(end) if self.discarded > 0 || end > limit => {
                self.discard(end + 2);
                self.discarded = 0;
                Some(Line::TooLong(self.discarded_start))
            }
            Some(end) => {
                let start = self.start;
                self.start += end + 2;
                self.scanned = 0;
                Some(Line::Complete(&self.octets[start..start + end]))
            }
            None => {
                self.scanned = self.pending().len();
                if self.discarded > 0 || self.scanned > limit + 1 {
                    // A final CR may be the first half of the CRLF.
                    let dropped = self.scanned - usize::from(self.pending().ends_with(b"\r"));
                    self.discard(dropped);
                }
                None
            }
        }
    }

    /// Drops octets of a line that is too long.
    fn discard(&mut self, octets: usize) {
        if let (0, Some(start)) = (self.discarded, self.pending().first_chunk()) {
            self.discarded_start = *start;
        }
        self.consume(octets);
        self.discarded += octets as u64;
    }
}

/// Why mail data was refused at its end. It was read to that end nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataError {
    /// A CR without LF or a LF without CR.
    BareLineEnd,
    /// More octets than allowed.
    TooLarge,
}

/// Undoes dot-stuffing and finds the end of mail data (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct Decoder {
    at: At,
    octets: u64,
    octets_max: u64,
    bare_line_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Behind CRLF, or at the very start.
    LineStart,
    /// Behind a dot that began a line.
    Dot,
    /// Behind a dot that began a line, and CR.
    DotCr,
    /// Anywhere else.
    Text,
    /// Behind a CR.
    Cr,
}

impl Decoder {
    /// A decoder for a message of at most `octets_max` octets (counted as RFC 1870 section 5 says: without the dots that
    /// were stuffed, with CRLF).
    pub fn new(octets_max: u64) -> Self {
        Decoder { at: At::LineStart, octets: 0, octets_max, bare_line_end: false }
    }

    /// The octets of mail data so far, dropped ones included.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Moves decoded octets from `input` to `message`. `Some` once the end was found; what stands behind it stays in
    /// `input`.
    pub fn push(&mut self, input: &mut Input, message: &mut Vec<u8>) -> Option<Result<(), DataError>> {
        let (consumed, ended) = self.decode(input.pending(), message);
        input.consume(consumed);
        match ended {
            false => None,
            true if self.bare_line_end => Some(Err(DataError::BareLineEnd)),
            true if self.octets > self.octets_max => Some(Err(DataError::TooLarge)),
            true => Some(Ok(())),
        }
    }

    /// How many octets were taken, and whether the end stood behind them.
    fn decode(&mut self, octets: &[u8], message: &mut Vec<u8>) -> (usize, bool) {
        let mut i = 0;
        while let Some(&octet) = octets.get(i) {
            if self.at == At::Text {
                let run = memchr2(b'\r', b'\n', &octets[i..]).unwrap_or(octets.len() - i);
                self.keep(&octets[i..i + run], message);
                i += run;
                let Some(&end) = octets.get(i) else { break };
                self.bare_line_end |= end == b'\n';
                self.keep(&[end], message);
                self.at = if end == b'\r' { At::Cr } else { At::Text };
                i += 1;
                continue;
            }
            i += 1;
            match (self.at, octet) {
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return (i, true);
                }
                (At::LineStart, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::Cr, b'\n') => {
                    self.keep(b"\n", message);
                    self.at = At::LineStart;
                }
                (before, octet) => {
                    if before == At::DotCr {
                        self.keep(b"\r", message);
                    }
                    self.bare_line_end |= octet == b'\n' || matches!(before, At::Cr | At::DotCr);
                    self.keep(&[octet], message);
                    self.at = if octet == b'\r' { At::Cr } else { At::Text };
                }
            }
        }
        (i, false)
    }

    fn keep(&mut self, octets: &[u8], message: &mut Vec<u8>) {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        match self.bare_line_end || self.octets > self.octets_max {
            false => message.extend_from_slice(octets),
            // It will be refused: nothing of it is held while its rest is read.
            true => *message = Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(octets: &[u8], cut: usize) -> (Option<Result<(), DataError>>, Vec<u8>, Vec<u8>) {
        let (mut input, mut decoder, mut message) = (Input::default(), Decoder::new(1000), Vec::new());
        let mut end = None;
        for chunk in octets.chunks(cut.max(1)) {
            input.extend(chunk);
            if end.is_none() {
                end = decoder.push(&mut input, &mut message);
            }
        }
        (end, message, input.pending().to_vec())
    }

    #[test]
    fn the_end_is_crlf_dot_crlf_and_nothing_else() {
        use DataError::BareLineEnd;
        for (octets, end, message, rest) in [
            (&b".\r\nQUIT\r\n"[..], Some(Ok(())), &b""[..], &b"QUIT\r\n"[..]),
            (b"a\r\n.\r\n", Some(Ok(())), b"a\r\n", b""),
            (b"..a\r\n.\r\n", Some(Ok(())), b".a\r\n", b""),
            (b"a.\r\n.\r\n", Some(Ok(())), b"a.\r\n", b""),
            (b"a\n.\r\nb\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\n.\nb\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\r\n.\nb\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\r.\r\nb\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\r\n.\rb\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\r\r\n.\r\n", Some(Err(BareLineEnd)), b"", b""),
            (b"a\0\r\n.\r\n", Some(Ok(())), b"a\0\r\n", b""),
            (b"a\r\n.\r", None, b"a\r\n", b""),
        ] {
            for cut in [1, 2, 3, octets.len()] {
                let (got, decoded, left) = decode(octets, cut);
                let shown = String::from_utf8_lossy(octets);
                assert_eq!((got, &decoded[..]), (end, message), "{shown:?} cut at {cut}");
                if end.is_some() && cut >= octets.len() {
                    assert_eq!(left, rest);
                }
            }
        }
    }

    #[test]
    fn too_much_is_read_to_its_end_and_refused() {
        let mut octets = vec![b'a'; 2000];
        octets.extend_from_slice(b"\r\n.\r\n");
        let (end, message, _) = decode(&octets, 100);
        assert_eq!(end, Some(Err(DataError::TooLarge)));
        assert!(message.len() <= 1000);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_error_and_no_command() {
        let mut input = Input::default();
        let mut octets = vec![b'x'; COMMAND_LINE_OCTETS_MAX - 2];
        octets.extend_from_slice(b"\r\n");
        octets.extend(vec![b'y'; 5000]);
        octets.extend_from_slice(b"\r\nQUIT\r\n");
        let mut lines = Vec::new();
        for octet in octets {
            input.extend(&[octet]);
            match input.line() {
                Some(Line::Complete(line)) => lines.push(line.len() as i64),
                Some(Line::TooLong(start)) => {
                    assert_eq!(&start, b"yyyyy");
                    lines.push(-1);
                }
                None => {}
            }
        }
        assert_eq!(lines, [COMMAND_LINE_OCTETS_MAX as i64 - 2, -1, 4]);
    }

    #[test]
    fn a_line_keeps_its_place_while_it_is_dropped() {
        let mut input = Input::default();
        input.extend(b"NOOP\r\n");
        assert_eq!(input.line(), Some(Line::Complete(b"NOOP")));
        for octets in [&[b'x'; 3000][..], b"more\r", b"and more"] {
            input.extend(octets);
            assert_eq!(input.line(), None);
            assert_eq!(input.position(), 6);
        }
        input.extend(b"\r\nQUIT\r\n");
        assert_eq!(input.line(), Some(Line::TooLong(*b"xxxxx")));
        assert_eq!(input.position(), input.received() - 6);
        assert_eq!(input.line(), Some(Line::Complete(b"QUIT")));
        assert_eq!(input.position(), input.received());
    }

    proptest! {
        /// However the octets are cut, what is decoded is the same, and equals a naive reading.
        #[test]
        fn cuts_do_not_matter(octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60), cut in 1usize..7) {
            let (whole, cutted) = (decode(&octets, 1000), decode(&octets, cut));
            prop_assert_eq!(&whole.0, &cutted.0);
            prop_assert_eq!(&whole.1, &cutted.1);
            let marked = [b"\r\n", &octets[..]].concat();
            let end = memmem::find(&marked, b"\r\n.\r\n");
            prop_assert_eq!(whole.0.is_some(), end.is_some());
            if let (Some(Ok(())), Some(end)) = (whole.0, end) {
                let body = String::from_utf8_lossy(&marked[..end + 2]).replace("\r\n.", "\r\n");
                prop_assert_eq!(String::from_utf8_lossy(&whole.1), &body[2..]);
            }
        }
    }
}
