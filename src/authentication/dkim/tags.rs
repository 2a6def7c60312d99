//! Tag lists (RFC 6376 section 3.2), and how their values are written.
//!
//! *Guarantees:* a list is read as section 3.2 has it or not at all: no name twice, no tag without `=`, no control
//! character. Names are told apart by case. White space is SP, HTAB, CR and LF.

use std::ops::Range;

/// Tags of one list. Signatures have some 12, keys five.
const TAGS_MAX: usize = 64;
/// The longest `t=` and `x=`, in digits (RFC 6376 section 3.5).
pub(in crate::authentication) const TIME_DIGITS_MAX: usize = 12;

/// A tag list, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authentication) struct Tags<'a>(Vec<Tag<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a str,
    /// Without the white space around it.
    value: &'a str,
    /// Where the value stands, with the white space around it.
    place: Range<usize>,
}

impl<'a> Tags<'a> {
    /// Reads a list, if it is one. Octets over 127 have to be UTF-8 (RFC 8616 section 5).
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (mut tags, mut start) = (Vec::with_capacity(16), 0);
        for part in text.split(';') {
            let end = start + part.len();
            // Only behind the last semicolon there may be nothing.
            if end == text.len() && start > 0 && trim(part).is_empty() {
                break;
            }
            let (name, value) = part.split_once('=')?;
            let tag = Tag { name: trim(name), value: trim(value), place: start + name.len() + 1..end };
            let known = tags.iter().any(|known: &Tag| known.name == tag.name);
            if known || tags.len() == TAGS_MAX || !is_name(tag.name) || !tag.value.chars().all(is_legal) {
                return None;
            }
            tags.push(tag);
            start = end + 1;
        }
        Some(Tags(tags))
    }

    /// The value of a tag, without the white space around it.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|tag| tag.name == name).map(|tag| tag.value)
    }

    /// Where a tag's value stands in the text: from behind the `=` up to the `;` or the end.
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        self.0.iter().find(|tag| tag.name == name).map(|tag| tag.place.clone())
    }

    /// Does this tag stand first?
    pub fn begins_with(&self, name: &str) -> bool {
        self.0.first().is_some_and(|tag| tag.name == name)
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_white)
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_legal(c: char) -> bool {
    !c.is_control() || is_white(c)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The items of a list with colons, without the white space around them.
pub(in crate::authentication) fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

/// Digits, at most `digits_max`; what is too large for 64 bits becomes their largest number.
pub(in crate::authentication) fn number(value: &str, digits_max: usize) -> Option<u64> {
    let legal = (1..=digits_max).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| value.parse().unwrap_or(u64::MAX))
}

/// Base 64 (RFC 4648 section 4) of at least one octet, with white space anywhere. Padding may be left out (`base64string`
/// in RFC 6376 section 2.10); bits that no octet takes are zero (RFC 4648 section 3.5).
pub(in crate::authentication) fn base64(value: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(value.len() / 4 * 3);
    let (mut bits, mut digits, mut padding) = (0_u32, 0_usize, 0_usize);
    for octet in value.bytes().filter(|octet| !is_white(char::from(*octet))) {
        let sextet = match octet {
            b'=' => {
                padding += 1;
                continue;
            }
            _ if padding > 0 => return None,
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        digits += 1;
        bits = bits << 6 & 0xFF_FFFF | u32::from(sextet);
        if digits.is_multiple_of(4) {
            octets.extend_from_slice(bits.to_be_bytes().get(1..)?);
        }
    }
    match (digits % 4, padding) {
        (0, 0) => {}
        (2, 0 | 2) if bits & 0xF == 0 => octets.push((bits >> 4) as u8),
        (3, 0 | 1) if bits & 0x3 == 0 => octets.extend_from_slice(((bits >> 2) as u16).to_be_bytes().as_slice()),
        _ => return None,
    }
    (!octets.is_empty()).then_some(octets)
}

/// DKIM-Quoted-Printable (RFC 6376 section 2.11): white space counts for nothing.
pub(super) fn unquoted(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes().filter(|octet| !is_white(char::from(*octet)));
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'=' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

/// RFC 4648 section 4, with padding.
pub(in crate::authentication) fn to_base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for at in 0..4 {
            let sextet = bits >> (18 - 6 * at) & 63;
            text.push(if at <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_rfc_has_them() {
        for (text, expected) in [
            ("a=1", Some("1")),
            (" a = 1 ", Some("1")),
            ("b=2;\r\n a=1;\r\n", Some("1")),
            ("a=1 2;", Some("1 2")),
            ("a=;b=x", Some("")),
            ("a=x=y", Some("x=y")),
            ("A=2;a=1", Some("1")),
            ("a_2=;a=1", Some("1")),
            ("a=\u{fc}", Some("\u{fc}")),
            (" i=1; b = rsa-sha256 ;\r\n\ta=AB\r\n CD; empty=;\r\n", Some("AB\r\n CD")),
            ("a=1;a=1", None),
            ("a=1;;b=2", None),
            (";a=1", None),
            ("a=1;;", None),
            ("a=1; b", None),
            ("a=1; =2", None),
            ("a=1; 2b=2", None),
            ("a=1; b-c=2", None),
            ("a=1; b c=2", None),
            ("a=1; (c) b=2", None),
            ("a=1; b=\0", None),
            ("a=1; b=\u{80}", None),
            ("a=1\u{1}", None),
            ("a=1\u{7f}", None),
            ("", None),
            (" ", None),
            (";", None),
            ("a", None),
        ] {
            assert_eq!(Tags::parse(text.as_bytes()).and_then(|tags| tags.get("a")), expected, "{text:?}");
        }
        assert_eq!(Tags::parse(b"a=\xFF"), None);
        let many: String = (0..=TAGS_MAX).map(|at| format!("t{at}=;")).collect();
        assert_eq!(Tags::parse(many.as_bytes()), None);
    }

    #[test]
    fn the_place_of_a_value_has_its_white_space() {
        let tags = Tags::parse(b"v=1; b = x y\r\n ; d=z\r\n").unwrap();
        assert_eq!(tags.place("b"), Some(8..15));
        assert_eq!((tags.place("d"), tags.place("V")), (Some(19..22), None));
    }

    #[test]
    fn base64_is_strict_but_for_padding() {
        for (text, expected) in [
            ("Zg==", Some(&b"f"[..])),
            ("Zm8=", Some(b"fo")),
            ("Zm 9\r\n\tvYmFy", Some(b"foobar")),
            ("+//+", Some(b"\xFB\xFF\xFE")),
            ("Zg = =", Some(b"f")),
            ("", None),
            ("=", None),
            ("Zh==", None),
            ("Zm9=", None),
            ("Zm8=v", None),
            ("Zm9v====", None),
            ("Zm-_", None),
            ("Zm9v\u{e9}", None),
            ("Zg", Some(b"f")),
            ("Zm8", Some(b"fo")),
            ("Zh", None),
            ("Zg=", None),
            ("Zg===", None),
            ("Zm9v=", None),
            ("Z", None),
            ("Z===", None),
            ("Zg==Zg==", None),
            ("Zm9-", None),
            ("Zm9v\"", None),
        ] {
            assert_eq!(base64(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn quoted_text_and_numbers() {
        assert_eq!(unquoted("=6A=40 b=2ec").as_deref(), Some("j@b.c"));
        for wrong in ["a=", "a=4", "a=4x", "=FF"] {
            assert_eq!(unquoted(wrong), None, "{wrong}");
        }
        assert_eq!((number("012", 12), number("9".repeat(76).as_str(), 76)), (Some(12), Some(u64::MAX)));
        for wrong in ["", "+1", "-1", "1 2", "1.5", "0x1", "1234567890123", "\u{661}"] {
            assert_eq!(number(wrong, 12), None, "{wrong}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648_section_10() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(to_base64(text.as_bytes()), expected);
        }
        assert_eq!(to_base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }
}
