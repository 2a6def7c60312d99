//! What targets share: well-formed replies, octets cut into pieces, a naive search.

use mxkeep::smtp::Reply;

/// A refusal that a client may get: printable ASCII lines with the same code, none over 512 octets.
pub fn check_refusal(reply: &Reply) {
    assert!(matches!(reply.code(), 400..=599), "{reply:?}");
    let mut wire = Vec::new();
    reply.write_to(&mut wire);
    check_wire(&wire);
}

/// Whole reply lines, and nothing else (RFC 5321 section 4.2).
pub fn check_wire(wire: &[u8]) {
    for line in wire.split_inclusive(|&octet| octet == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("a reply line ends with CRLF");
        assert!(line.len() <= 512, "{} octets in a reply line", line.len());
        let (code, text) = text.split_at_checked(3).expect("a reply line begins with its code");
        assert!((b'2'..=b'5').contains(&code[0]) && code.iter().all(u8::is_ascii_digit), "{line:?}");
        assert!(text.iter().all(|octet| (b' '..=b'~').contains(octet)), "{line:?}");
    }
}

/// Printable ASCII: what may stand in a reply, a log line or a trace field.
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|octet| (b' '..=b'~').contains(&octet))
}

/// The place of the first occurrence.
pub fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

/// The first octet as a number, 0 where there is none, and the rest.
pub fn first(octets: &[u8]) -> (usize, &[u8]) {
    octets.split_first().map_or((0, octets), |(first, rest)| (usize::from(*first), rest))
}

/// Pieces of changing sizes that `seed` decides: some of one octet, some large.
pub fn pieces(octets: &[u8], seed: usize) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (octets, seed);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let size = [1, 1, 2, 3, 7, 64, 500, 5000][state >> 40 & 7];
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
