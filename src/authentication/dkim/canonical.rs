//! Canonical form: the octets that are hashed and signed (RFC 6376 sections 3.4 and 3.7).
//!
//! *Guarantees:* only CRLF ends a line. A CR or LF alone is text, and no octet is left out of what is hashed but those
//! that section 3.4 names. Body hashing gives way to other tasks every [`SLICE_OCTETS`].
//! *Instead of the library's:* that one takes a bare LF for a line end and leaves out a bare CR, so that either could be
//! put into a signed body; and it counts empty lines of white space at the end of a relaxed body, so that some good
//! signatures failed.

use mail_auth::common::crypto::{HashAlgorithm, HashContext as _, HashImpl, Sha1, Sha256};
use mail_auth::common::headers::Writer as _;
use memchr::memmem;

use crate::message::Field;

/// The body is hashed in slices of this size, in octets, with a chance for other tasks in between.
const SLICE_OCTETS: usize = 131_072;

/// How much may change on the way (RFC 6376 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::authentication) enum Canonicalization {
    /// Next to nothing.
    Simple,
    /// White space.
    Relaxed,
}

/// What was hashed of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authentication) struct BodyHash {
    /// The hash.
    pub hash: Vec<u8>,
    /// The canonical body's length, in octets, whatever `l=` says.
    pub octets: u64,
}

type Context = <Sha256 as HashImpl>::Context;

/// Hashes up to a length, and counts all.
struct Hasher {
    context: Context,
    left: u64,
    octets: u64,
}

impl Hasher {
    fn write(&mut self, octets: &[u8]) {
        let counted = usize::try_from(self.left).map_or(octets.len(), |left| octets.len().min(left));
        self.context.write(octets.get(..counted).unwrap_or_default());
        self.left -= counted as u64;
        self.octets += octets.len() as u64;
    }
}

/// A body on its way through the hash.
struct Hashing<'m> {
    canonicalization: Canonicalization,
    /// Up to the end of the last line that counts.
    body: &'m [u8],
    rest: &'m [u8],
    scratch: Vec<u8>,
    hasher: Hasher,
}

impl<'m> Hashing<'m> {
    fn new(body: &'m [u8], canonicalization: Canonicalization, algorithm: HashAlgorithm, length: Option<u64>) -> Self {
        let context = match algorithm {
            HashAlgorithm::Sha256 => Sha256::hasher(),
            HashAlgorithm::Sha1 => Sha1::hasher(),
        };
        let hasher = Hasher { context, left: length.unwrap_or(u64::MAX), octets: 0 };
        let body = without_empty_end(body, canonicalization);
        Hashing { canonicalization, body, rest: body, scratch: Vec::new(), hasher }
    }

    /// Takes a slice. Is there more?
    fn step(&mut self) -> bool {
        let (slice, behind) = self.rest.split_at(slice_end(self.rest));
        match self.canonicalization {
            Canonicalization::Simple => self.hasher.write(slice),
            Canonicalization::Relaxed => write_relaxed_lines(slice, &mut self.scratch, &mut self.hasher),
        }
        self.rest = behind;
        !behind.is_empty()
    }

    fn finish(mut self) -> BodyHash {
        // An empty simple body is one line end, an empty relaxed one is nothing (sections 3.4.3 and 3.4.4).
        if !self.body.is_empty() || self.canonicalization == Canonicalization::Simple {
            self.hasher.write(b"\r\n");
        }
        BodyHash { hash: self.hasher.context.complete().as_ref().to_vec(), octets: self.hasher.octets }
    }
}

/// Hashes a body, or the first `length` octets of its canonical form.
pub(in crate::authentication) async fn hash_body(
    body: &[u8],
    canonicalization: Canonicalization,
    algorithm: HashAlgorithm,
    length: Option<u64>,
) -> BodyHash {
    let mut hashing = Hashing::new(body, canonicalization, algorithm, length);
    while hashing.step() {
        tokio::task::yield_now().await;
    }
    hashing.finish()
}

/// The SHA-256 hash of a body's relaxed form, taken at once: for who signs.
pub(in crate::authentication) fn hash_small_body(body: &[u8]) -> Vec<u8> {
    let mut hashing = Hashing::new(body, Canonicalization::Relaxed, HashAlgorithm::Sha256, None);
    while hashing.step() {}
    hashing.finish().hash
}

/// The body up to the end of its last line that counts.
fn without_empty_end(mut body: &[u8], canonicalization: Canonicalization) -> &[u8] {
    loop {
        body = match body {
            [rest @ .., b'\r', b'\n'] => rest,
            [rest @ .., b' ' | b'\t'] if canonicalization == Canonicalization::Relaxed => rest,
            _ => return body,
        };
    }
}

/// Where a slice of about the right size ends: behind an octet of text or a whole line end, so that its canonical form and
/// that of what follows make up that of both. Not behind a line end only: a line may be as long as a message.
fn slice_end(body: &[u8]) -> usize {
    let Some(far) = body.get(SLICE_OCTETS..) else { return body.len() };
    let text = far.iter().position(|octet| !matches!(octet, b' ' | b'\t' | b'\r'));
    text.map_or(body.len(), |at| SLICE_OCTETS + at + 1)
}

/// Lines that are canonical already go to the hasher as they stand, many at a time.
fn write_relaxed_lines(slice: &[u8], scratch: &mut Vec<u8>, hasher: &mut Hasher) {
    let (mut written, mut start) = (0, 0);
    for end in memmem::find_iter(slice, b"\r\n").chain([slice.len()]) {
        let line = slice.get(start..end).unwrap_or_default();
        if !is_relaxed(line) {
            hasher.write(slice.get(written..start).unwrap_or_default());
            scratch.clear();
            collapse(line, scratch);
            hasher.write(scratch);
            written = end;
        }
        start = end + 2;
    }
    hasher.write(slice.get(written..).unwrap_or_default());
}

/// Is the line in relaxed form: no HTAB, no SP beside another, none at the end?
fn is_relaxed(line: &[u8]) -> bool {
    let next = line.get(1..).unwrap_or_default();
    // No early end: this way it takes many octets at a time.
    let doubled = line.iter().zip(next).fold(false, |found, (one, two)| found | (*one == b' ') & (*two == b' '));
    !doubled && !line.ends_with(b" ") && memchr::memchr(b'\t', line).is_none()
}

/// Each run of white space becomes one SP, and none stays at the end.
fn collapse(line: &[u8], out: &mut Vec<u8>) {
    let mut is_pending = false;
    for &octet in line {
        match octet {
            b' ' | b'\t' => is_pending = true,
            octet => {
                if std::mem::take(&mut is_pending) {
                    out.push(b' ');
                }
                out.push(octet);
            }
        }
    }
}

/// Writes a header field in canonical form, its line end included.
pub(in crate::authentication) fn write_field(field: &Field<'_>, canonicalization: Canonicalization, out: &mut Vec<u8>) {
    match canonicalization {
        Canonicalization::Simple => out.extend_from_slice(field.raw),
        Canonicalization::Relaxed => {
            write_relaxed(field.name, field.body, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes the field of the signature itself: the value of its `b=`, which stands at `place` in the body, counts as empty,
/// and there is no line end (RFC 6376 section 3.7).
pub(in crate::authentication) fn write_signature_field(
    field: &Field<'_>,
    place: std::ops::Range<usize>,
    canonicalization: Canonicalization,
    out: &mut Vec<u8>,
) {
    let before = field.body.get(..place.start).unwrap_or_default();
    let body = [before, field.body.get(place.end..).unwrap_or_default()].concat();
    let body = body.strip_suffix(b"\r\n").unwrap_or(&body);
    match canonicalization {
        Canonicalization::Simple => {
            out.extend_from_slice(field.raw.strip_suffix(field.body).unwrap_or_default());
            out.extend_from_slice(body);
        }
        Canonicalization::Relaxed => write_relaxed(field.name, body, out),
    }
}

/// Writes a header field in relaxed form (RFC 6376 section 3.4.2), without the line end. `body` is what stands behind the
/// colon.
pub(in crate::authentication) fn write_relaxed(name: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let start = out.len();
    let mut line = 0;
    // Unfolding takes the line ends away; what follows each is white space.
    for end in memmem::find_iter(body, b"\r\n").chain([body.len()]) {
        let text = body.get(line..end).unwrap_or_default();
        // At the front nothing is pending: white space there is left out.
        let is_first = out.len() == start;
        let text = if is_first { trim_start(text) } else { text };
        collapse(text, out);
        line = end + 2;
    }
}

fn trim_start(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|octet| !matches!(octet, b' ' | b'\t')).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::dkim::tags::to_base64;
    use crate::message::Message;

    async fn hash(body: &[u8], canonicalization: Canonicalization) -> Vec<u8> {
        hash_body(body, canonicalization, HashAlgorithm::Sha256, None).await.hash
    }

    /// The slow reading of RFC 6376 section 3.4.4.
    fn relaxed(body: &str) -> String {
        let collapse = |line: &str| {
            let mut text = String::new();
            for c in line.chars() {
                match c {
                    ' ' | '\t' if text.ends_with(' ') => {}
                    ' ' | '\t' => text.push(' '),
                    c => text.push(c),
                }
            }
            text.trim_end_matches(' ').to_owned()
        };
        let text = body.split("\r\n").map(collapse).collect::<Vec<_>>().join("\r\n");
        let text = text.trim_end_matches("\r\n");
        if text.is_empty() { String::new() } else { format!("{text}\r\n") }
    }

    #[tokio::test]
    async fn bodies_are_hashed_as_the_rfc_has_it() {
        let long = "line  of\ttext \r\n \r\nplain\r\n".repeat(20_000);
        for body in [
            "",
            "\r\n",
            "\r\n\r\n",
            " \r\n\t\r\n",
            " \r\n\t",
            "text",
            "text\r\n",
            "text\r\n\r\n",
            "text \r\n \r\n\t\r\n",
            "text\r\n  ",
            " two  words\t\there\t \r\n\r\n\r\nmore\r\n",
            "\r\n\r\nlate\r\n",
            "a\rb\r\n\nc\n\r\n\r\r\n",
            "no end \t",
            &long,
            &"one line  of\ttext \r \n ".repeat(20_000),
            &format!("{}\r\n{} end", "x".repeat(SLICE_OCTETS - 1), " \r".repeat(SLICE_OCTETS)),
            &format!("{}\r\n\r\n \r\n{}", "x".repeat(SLICE_OCTETS - 2), " ".repeat(2 * SLICE_OCTETS)),
            &format!("{}  \r\n\r\nend\r\n", "x ".repeat(SLICE_OCTETS / 2)),
        ] {
            let expected = HashAlgorithm::Sha256.hash(relaxed(body).as_bytes());
            assert_eq!(hash(body.as_bytes(), Canonicalization::Relaxed).await, expected.as_ref(), "{body:.40?}");
            let mut end = body;
            while let Some(rest) = end.strip_suffix("\r\n") {
                end = rest;
            }
            let expected = HashAlgorithm::Sha256.hash(format!("{end}\r\n").as_bytes());
            assert_eq!(hash(body.as_bytes(), Canonicalization::Simple).await, expected.as_ref(), "{body:.40?}");
        }
        // RFC 6376 sections 3.4.4 and 3.4.3.
        let empty = hash(b"", Canonicalization::Relaxed).await;
        assert_eq!(to_base64(&empty), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let empty = hash(b"", Canonicalization::Simple).await;
        assert_eq!(to_base64(&empty), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
        let sha1 = hash_body(b"", Canonicalization::Simple, HashAlgorithm::Sha1, None).await;
        assert_eq!(to_base64(&sha1.hash), "uoq1oCgLlTqpdDX/iUbLy7J1Wic=");
    }

    /// Others get their turn, and little memory is taken, however long a line is.
    #[test]
    fn a_line_as_long_as_a_message_is_hashed_in_slices() {
        let body = "long  line ".repeat(SLICE_OCTETS);
        for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
            let mut hashing = Hashing::new(body.as_bytes(), canonicalization, HashAlgorithm::Sha256, None);
            let mut steps = 1;
            while hashing.step() {
                steps += 1;
            }
            assert!(steps >= 10 && hashing.scratch.capacity() <= 4 * SLICE_OCTETS, "{steps}");
        }
    }

    /// The library's canonical form is the same for both of each pair.
    #[tokio::test]
    async fn a_cr_or_lf_alone_is_text() {
        for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
            let plain = hash(b"one\r\ntwo\r\n", canonicalization).await;
            for changed in [&b"one\ntwo\r\n"[..], b"o\rne\r\ntwo\r\n", b"one\r\ntwo\r\n\n", b"one\r\r\ntwo\r\n"] {
                assert_ne!(hash(changed, canonicalization).await, plain, "{changed:?}");
            }
        }
    }

    #[tokio::test]
    async fn white_space_counts_as_far_as_the_canonicalization_says() {
        use Canonicalization::{Relaxed, Simple};
        for (one, other, relaxed, simple) in [
            (&b" C \r\nD \t E\r\n\r\n\r\n"[..], &b" C\r\nD E\r\n"[..], true, false),
            (b"a\r\n\r\n", b"a", true, true),
            (b"a \r\n \r\n", b"a", true, false),
            (b" a", b"a", false, false),
            (b"a\r\n b", b"a\r\nb", false, false),
            (b"a\r\n\r\nb", b"a\r\n \t\r\nb", true, false),
            // The library takes these for the same.
            (b"a\rb", b"ab", false, false),
            (b"a\nb", b"a\r\nb", false, false),
            (b"a\r", b"a", false, false),
            (b"a\n", b"a", false, false),
            (b"a\x0Cb", b"a b", false, false),
        ] {
            for (canonicalization, expected) in [(Relaxed, relaxed), (Simple, simple)] {
                let same = hash(one, canonicalization).await == hash(other, canonicalization).await;
                assert_eq!(same, expected, "{one:?} {canonicalization:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_length_ends_what_is_hashed() {
        let plain = hash_body(b"one\r\n", Canonicalization::Simple, HashAlgorithm::Sha256, None).await;
        let part = hash_body(b"one\r\ntwo\r\n", Canonicalization::Simple, HashAlgorithm::Sha256, Some(5)).await;
        assert_eq!((part.hash, part.octets), (plain.hash, 10));
        let part = hash_body(b"o  ne\r\n", Canonicalization::Relaxed, HashAlgorithm::Sha256, Some(2)).await;
        assert_eq!(part.hash, HashAlgorithm::Sha256.hash(&b"o "[..]).as_ref());
        let nothing = hash_body(b"text\r\n", Canonicalization::Relaxed, HashAlgorithm::Sha256, Some(0)).await;
        assert_eq!(nothing.hash, hash(b"", Canonicalization::Relaxed).await);
    }

    #[test]
    fn fields_in_canonical_form() {
        // RFC 6376 section 3.4.5.
        let message = Message::new(
            b"A: X\r\nB : Y\t\r\n\tZ  \r\nC:\r\n \t\r\n folded  twice \r\nD:\r\nE: a\x0Cb\rc\r\n\r\n".to_vec(),
        );
        let (mut simple, mut relaxed) = (Vec::new(), Vec::new());
        for field in message.fields() {
            write_field(&field, Canonicalization::Simple, &mut simple);
            write_field(&field, Canonicalization::Relaxed, &mut relaxed);
        }
        assert_eq!(simple, message.header());
        assert_eq!(String::from_utf8(relaxed).unwrap(), "a:X\r\nb:Y Z\r\nc:folded twice\r\nd:\r\ne:a\x0Cb\rc\r\n");
    }

    #[test]
    fn the_own_field_is_without_its_signature() {
        for (text, tail, simple, relaxed) in [
            ("DKIM-Signature: v=1; b= x\r\n y ; d=e\r\n", "; d=e", " v=1; b=; d=e", "v=1; b=; d=e"),
            ("DKIM-Signature: v=1; b= x\r\n y\r\n", "", " v=1; b=", "v=1; b="),
            ("DKIM-Signature:\r\n\tv=1;\r\n\tb=x;\r\n", ";\r\n", "\r\n\tv=1;\r\n\tb=;", "v=1; b=;"),
        ] {
            let message = Message::new(format!("{text}\r\n").into_bytes());
            let field = message.fields().next().unwrap();
            let start = memmem::find(field.body, b"b=").unwrap() + 2;
            let tail = if tail == "; d=e" { field.body.len() - tail.len() - 2 } else { field.body.len() - tail.len() };
            for (canonicalization, expected) in [
                (Canonicalization::Simple, format!("DKIM-Signature:{simple}")),
                (Canonicalization::Relaxed, format!("dkim-signature:{relaxed}")),
            ] {
                let mut out = Vec::new();
                write_signature_field(&field, start..tail, canonicalization, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }
}
