//! Chunks: mail data that is counted, not searched for its end (BDAT, RFC 3030 section 2).
//!
//! *Guarantees:* a chunk has exactly the octets that its command announced, whatever they are: no dot, no line end and no
//! command in it means anything, so nothing can be smuggled past its end. Unless the body is BINARYMIME, a bare CR or LF
//! anywhere in the message, across the edges of chunks too, has it refused at its end, as with DATA
//! ([`framing`](super::framing)). The same result whatever way the octets were cut when they arrived.
//! *Bounds:* sizes are added up with checked arithmetic, and before the first octet of a chunk is read: a chunk that would
//! pass the limit is read to its end and nothing of it is held.

use crate::smtp::framing::{DataError, Input};

/// What BDAT announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// The octets of mail data that follow.
    pub octets: u64,
    /// `LAST`: the message ends with them.
    pub last: bool,
}

/// What stands behind the last octet of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkEnd {
    /// Another BDAT: the message goes on.
    Part,
    /// The end of the message, or of its transaction: a chunk past the limit needs no `LAST` to be refused.
    Whole(Result<(), DataError>),
}

/// The chunks of one message.
#[derive(Debug)]
pub struct Chunks {
    /// Octets that were announced so far; more than 64 bits are more than any limit.
    octets: u64,
    octets_max: u64,
    /// Any octets are fine (RFC 3030 section 3).
    binary: bool,
    after_cr: bool,
    bare_line_end: bool,
    /// The chunk that is being read, and how much of it is still to come.
    current: Option<(Announced, u64)>,
}

impl Chunks {
    /// For a message of at most `octets_max` octets.
    pub fn new(octets_max: u64, binary: bool) -> Self {
        Chunks { octets: 0, octets_max, binary, after_cr: false, bare_line_end: false, current: None }
    }

    /// A chunk begins.
    pub fn begin(&mut self, announced: Announced) {
        self.octets = self.octets.saturating_add(announced.octets);
        self.current = Some((announced, announced.octets));
    }

    /// The chunk that is being read, until [`Chunks::finish`].
    pub fn current(&self) -> Option<Announced> {
        self.current.map(|(announced, _)| announced)
    }

    /// The octets that were announced so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Moves octets of the current chunk from `input` to `message`. `Some` once all are there; what stands behind them
    /// stays in `input`.
    pub fn push(&mut self, input: &mut Input, message: &mut Vec<u8>) -> Option<ChunkEnd> {
        let (announced, left) = self.current?;
        let octets = input.front(left);
        let taken = octets.len();
        if !self.binary {
            self.scan(octets);
        }
        match self.bare_line_end || self.is_too_large() {
            false => message.extend_from_slice(octets),
            // It will be refused: nothing of it is held while its rest is read.
            true => *message = Vec::new(),
        }
        input.consume(taken);
        let left = left.saturating_sub(taken as u64);
        self.current = Some((announced, left));
        (left == 0).then(|| self.end(announced))
    }

    /// The current chunk has been answered.
    pub fn finish(&mut self) {
        self.current = None;
    }

    fn is_too_large(&self) -> bool {
        // The sum is saturated: at the end of 64 bits it cannot be told what it was.
        self.octets > self.octets_max || self.octets == u64::MAX
    }

    /// CR and LF stand only side by side: an octet is LF exactly if the one before it is CR.
    fn scan(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.bare_line_end |= (octet == b'\n') != self.after_cr;
            self.after_cr = octet == b'\r';
        }
    }

    fn end(&self, announced: Announced) -> ChunkEnd {
        match announced.last {
            _ if self.is_too_large() => ChunkEnd::Whole(Err(DataError::TooLarge)),
            false => ChunkEnd::Part,
            true if self.bare_line_end || self.after_cr => ChunkEnd::Whole(Err(DataError::BareLineEnd)),
            true => ChunkEnd::Whole(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OCTETS_MAX: u64 = 40;

    /// Reads a message in chunks, each fed in pieces of `cut` octets. What a chunk with a `None` behind it leaves is lost.
    fn read(chunks: &[&[u8]], cut: usize, binary: bool) -> (ChunkEnd, Vec<u8>) {
        let (mut input, mut message) = (Input::default(), Vec::new());
        let mut decoder = Chunks::new(OCTETS_MAX, binary);
        for (at, chunk) in chunks.iter().enumerate() {
            decoder.begin(Announced { octets: chunk.len() as u64, last: at + 1 == chunks.len() });
            let mut end = decoder.push(&mut input, &mut message);
            for piece in chunk.chunks(cut) {
                assert_eq!(end, None, "the chunk ended early");
                input.extend(piece);
                end = decoder.push(&mut input, &mut message);
            }
            assert!(input.is_empty(), "octets of the chunk were left");
            decoder.finish();
            match end.expect("the chunk is complete") {
                ChunkEnd::Part => {}
                whole => return (whole, message),
            }
        }
        panic!("there was no last chunk");
    }

    #[test]
    fn dots_and_commands_mean_nothing() {
        let text = b"..a\r\n.\r\nBDAT 5 LAST\r\n.\r\n";
        assert_eq!(read(&[text], 1, false), (ChunkEnd::Whole(Ok(())), text.to_vec()));
        assert_eq!(read(&[b"a\r", b"\nb", b""], 9, false), (ChunkEnd::Whole(Ok(())), b"a\r\nb".to_vec()));
    }

    #[test]
    fn what_stands_behind_a_chunk_stays() {
        let (mut input, mut message) = (Input::default(), Vec::new());
        let mut decoder = Chunks::new(OCTETS_MAX, false);
        decoder.begin(Announced { octets: 2, last: true });
        input.extend(b"abQUIT\r\n");
        assert_eq!(decoder.push(&mut input, &mut message), Some(ChunkEnd::Whole(Ok(()))));
        assert_eq!((&message[..], input.pending()), (&b"ab"[..], &b"QUIT\r\n"[..]));
    }

    #[test]
    fn bare_line_ends_are_seen_across_edges() {
        let bare = ChunkEnd::Whole(Err(DataError::BareLineEnd));
        for chunks in [
            &[&b"a\r"[..], b"b"][..],
            &[b"a\r"],
            &[b"a\r", b""],
            &[b"a", b"\nb"],
            &[b"\n"],
            &[b"a\r\r\n"],
            &[b"a\r\n", b"\n"],
            &[b"a\rb\n", b"\r\n"],
        ] {
            assert_eq!(read(chunks, 1, false).0, bare, "{chunks:?}");
            assert_eq!(read(chunks, 1, true), (ChunkEnd::Whole(Ok(())), chunks.concat()), "{chunks:?}");
        }
    }

    #[test]
    fn the_sum_of_all_chunks_is_limited() {
        let too_large = ChunkEnd::Whole(Err(DataError::TooLarge));
        let (ten, thirty) = ([b'a'; 10], [b'b'; 30]);
        assert_eq!(read(&[&ten, &thirty], 7, false).0, ChunkEnd::Whole(Ok(())));
        assert_eq!(read(&[&ten, &thirty, b"c", b""], 7, false), (too_large, Vec::new()));
        let mut decoder = Chunks::new(u64::MAX, true);
        decoder.begin(Announced { octets: 1, last: false });
        decoder.begin(Announced { octets: u64::MAX, last: false });
        assert!(decoder.is_too_large());
    }

    proptest! {
        /// However chunks are split and octets are cut, the message is what was sent, or nothing.
        #[test]
        fn equals_a_naive_reading(
            chunks in prop::collection::vec(
                prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..12), 1..6),
            lines in any::<bool>(),
            cut in 1usize..7,
            binary in any::<bool>(),
        ) {
            // Half of the time with whole line ends only, or hardly a message would be fine.
            let mend = |chunk: &Vec<u8>| match lines {
                true => String::from_utf8_lossy(chunk).replace('\r', "").replace('\n', "\r\n").into_bytes(),
                false => chunk.clone(),
            };
            let chunks: Vec<Vec<u8>> = chunks.iter().map(mend).collect();
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let whole = chunks.concat();
            let text = String::from_utf8_lossy(&whole).replace("\r\n", "");
            let expected = match () {
                () if whole.len() as u64 > OCTETS_MAX => Err(DataError::TooLarge),
                () if !binary && text.contains(['\r', '\n']) => Err(DataError::BareLineEnd),
                () => Ok(()),
            };
            let (end, message) = read(&chunks, cut, binary);
            prop_assert_eq!(end, ChunkEnd::Whole(expected));
            if expected.is_ok() {
                prop_assert_eq!(message, whole);
            }
        }
    }
}
