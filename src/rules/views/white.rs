//! White space as Perl's `\s` means it, and lines.
//!
//! *Guarantees:* octets that are no white space are never touched; nothing here allocates.

use memchr::memchr;

/// `\s` in text that is octets (perlrecharclass): the vertical tab is white space, unlike for [`u8::is_ascii_whitespace`].
pub fn is_white(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t'..=b'\r')
}

/// Without white space at its ends.
pub fn trimmed(octets: &[u8]) -> &[u8] {
    trimmed_end(trimmed_start(octets))
}

/// Without white space before it.
pub fn trimmed_start(octets: &[u8]) -> &[u8] {
    let start = octets.iter().position(|b| !is_white(*b)).unwrap_or(octets.len());
    octets.get(start..).unwrap_or_default()
}

/// Without white space behind it.
pub fn trimmed_end(octets: &[u8]) -> &[u8] {
    let end = octets.iter().rposition(|b| !is_white(*b)).map_or(0, |at| at + 1);
    octets.get(..end).unwrap_or_default()
}

/// The line that begins here, with its `\n`; empty only at the end.
pub fn line_at(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    rest.get(..memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)).unwrap_or_default()
}

/// All lines, each with its `\n`.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let line = line_at(text, at);
        at += line.len();
        (!line.is_empty()).then_some(line)
    })
}

/// How many octets of white space a text of UTF-8 begins with, in Unicode's sense.
pub fn unicode_white(text: &[u8]) -> usize {
    match text {
        [b' ' | b'\t'..=b'\r', ..] => 1,
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..] => 3,
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_perls_and_unicodes() {
        assert_eq!(trimmed(b" \x0b a\tb\r\n"), b"a\tb");
        assert_eq!(trimmed(b" \n"), b"");
        assert_eq!(lines(b"a\nb\n\nc").collect::<Vec<_>>(), [&b"a\n"[..], b"b\n", b"\n", b"c"]);
        assert_eq!((line_at(b"a\nb", 2), line_at(b"a\n", 2), line_at(b"a", 9)), (&b"b"[..], &b""[..], &b""[..]));
        for c in '\0'..='\u{ffff}' {
            let text = c.to_string();
            let expected = if c.is_whitespace() { text.len() } else { 0 };
            assert_eq!(unicode_white(text.as_bytes()), expected, "{c:?}");
        }
    }
}
