//! Canonical forms (RFC 6376 section 3.4), octet by octet as they are defined.
//!
//! *Guarantees:* only SP and HTAB are white space, and only CRLF ends a line: a lone CR or LF counts like any other octet.
//! *Why not the library's:* it passes over lone CRs, takes lone LFs for line ends and form feeds for white space; what was
//! sealed could be changed in them.

use mail_auth::common::crypto::{HashContext as _, HashImpl as _, Sha256};
use mail_auth::common::headers::Writer as _;
use memchr::memchr3;

/// The body is canonicalized in slices of about this size, in octets.
const SLICE_OCTETS: usize = 131_072;

/// How much of white space counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonicalization {
    /// All of it.
    Simple,
    /// Whether there is some.
    Relaxed,
}

/// Appends a header field in its relaxed form (section 3.4.2), line end included. `body` is what stands behind the colon.
pub fn relaxed_field(name: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let (mut rest, mut space, mut begun) = (body, false, false);
    while let [octet, tail @ ..] = rest {
        if let Some(unfolded) = rest.strip_prefix(b"\r\n") {
            rest = unfolded;
            continue;
        }
        rest = tail;
        if matches!(octet, b' ' | b'\t') {
            space = true;
            continue;
        }
        if space && begun {
            out.push(b' ');
        }
        out.push(*octet);
        (space, begun) = (false, true);
    }
    out.extend_from_slice(b"\r\n");
}

/// A body on its way into a SHA-256 hash (RFC 6376 sections 3.4.3, 3.4.4 and 3.7).
pub struct BodyHash<'b> {
    canonicalization: Canonicalization,
    rest: &'b [u8],
    is_empty: bool,
    space: bool,
    hasher: <Sha256 as mail_auth::common::crypto::HashImpl>::Context,
}

impl<'b> BodyHash<'b> {
    /// Takes the body, without the empty line before it.
    pub fn new(body: &'b [u8], canonicalization: Canonicalization) -> Self {
        let rest = match canonicalization {
            Canonicalization::Simple => without_end(body, |_| false),
            Canonicalization::Relaxed => without_end(body, |octet| matches!(octet, b' ' | b'\t')),
        };
        BodyHash { canonicalization, rest, is_empty: rest.is_empty(), space: false, hasher: Sha256::hasher() }
    }

    /// Takes in the next slice. False: that was all.
    pub fn advance(&mut self) -> bool {
        match self.canonicalization {
            Canonicalization::Simple => {
                let (slice, rest) = self.rest.split_at(self.rest.len().min(SLICE_OCTETS));
                self.hasher.write(slice);
                self.rest = rest;
            }
            Canonicalization::Relaxed => self.advance_relaxed(),
        }
        !self.rest.is_empty()
    }

    fn advance_relaxed(&mut self) {
        let mut out = Vec::with_capacity(self.rest.len().min(SLICE_OCTETS) + 2);
        while out.len() < SLICE_OCTETS && !self.rest.is_empty() {
            if let Some(rest) = self.rest.strip_prefix(b"\r\n") {
                out.extend_from_slice(b"\r\n");
                (self.rest, self.space) = (rest, false);
                continue;
            }
            if let [b' ' | b'\t', rest @ ..] = self.rest {
                (self.rest, self.space) = (rest, true);
                continue;
            }
            if self.space {
                out.push(b' ');
            }
            // At least one octet: a lone CR is text.
            let end = memchr3(b' ', b'\t', b'\r', self.rest.get(1..).unwrap_or_default());
            let (text, rest) = self.rest.split_at(end.map_or(self.rest.len(), |end| end + 1));
            out.extend_from_slice(text);
            (self.rest, self.space) = (rest, false);
        }
        self.hasher.write(&out);
    }

    /// The hash, once all of it was taken in.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.is_empty || self.canonicalization == Canonicalization::Simple {
            self.hasher.write(b"\r\n");
        }
        self.hasher.complete().as_ref().to_vec()
    }
}

/// The octets without line ends, and what else does not count, at their end.
fn without_end(mut octets: &[u8], ignored: fn(u8) -> bool) -> &[u8] {
    loop {
        octets = match octets {
            [front @ .., b'\r', b'\n'] => front,
            [front @ .., last] if ignored(*last) => front,
            _ => return octets,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::signing::base64;

    fn hash(body: &[u8], canonicalization: Canonicalization) -> String {
        let mut hash = BodyHash::new(body, canonicalization);
        while hash.advance() {}
        base64(&hash.finish())
    }

    /// The example of RFC 6376 section 3.4.5.
    #[test]
    fn a_relaxed_field_is_that_of_the_rfc() {
        for (name, body, expected) in [
            (&b"A"[..], &b" X\r\n"[..], &b"a:X\r\n"[..]),
            (b"B", b" Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),
            (b"C", b"\r\n \r\n", b"c:\r\n"),
            (b"D", b" a\x0Cb\rc\nd\r\n", b"d:a\x0Cb\rc\nd\r\n"),
        ] {
            let mut out = Vec::new();
            relaxed_field(name, body, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn an_empty_body_has_the_hash_that_the_rfc_gives() {
        for body in [&b""[..], b"\r\n", b"\r\n\r\n"] {
            assert_eq!(hash(body, Canonicalization::Simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
            assert_eq!(hash(body, Canonicalization::Relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        }
        assert_eq!(hash(b" \r\n\t", Canonicalization::Relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn white_space_counts_as_far_as_the_canonicalization_says() {
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
            assert_eq!(hash(one, Relaxed) == hash(other, Relaxed), relaxed, "{one:?}");
            assert_eq!(hash(one, Simple) == hash(other, Simple), simple, "{one:?}");
        }
    }

    #[test]
    fn slices_do_not_change_the_hash() {
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for line in 0..20_000 {
            long.extend_from_slice(format!("line \t {line}\t \r\n \r\n").as_bytes());
            short.extend_from_slice(format!("line {line}\r\n\r\n").as_bytes());
        }
        assert!(long.len() > 2 * SLICE_OCTETS);
        let mut whole = Sha256::hasher();
        whole.write(short.strip_suffix(b"\r\n").unwrap());
        let whole = base64(whole.complete().as_ref());
        assert_eq!(hash(&long, Canonicalization::Relaxed), whole);
        assert_eq!(hash(&short, Canonicalization::Simple), whole);
    }
}
