//! Tag lists (RFC 6376 section 3.2), read strictly: what two readers could take for different things is no tag list.

use std::ops::Range;

/// Tags that a list may have.
const TAGS_MAX: usize = 64;

/// A tag list: each name once, values without the white space around them.
pub struct Tags<'t>(Vec<Tag<'t>>);

struct Tag<'t> {
    name: &'t str,
    value: &'t str,
    /// What stands between `=` and `;`, in the text.
    range: Range<usize>,
}

impl<'t> Tags<'t> {
    /// Reads a header field's body. None: a name occurs twice, is no name or has no `=`; a tag is empty, but for the one
    /// behind the last `;`; or there are octets that no value can have.
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (mut tags, mut from) = (Vec::<Tag>::new(), 0);
        for spec in text.split(';') {
            let at = from;
            from += spec.len() + 1;
            if trim(spec).is_empty() && from > text.len() && !tags.is_empty() {
                break;
            }
            let (name, value) = spec.split_once('=')?;
            let range = at + name.len() + 1..at + spec.len();
            let (name, value) = (trim(name), trim(value));
            let legal = |c: char| is_space(c) || c > ' ' && c != '\x7F';
            if !is_name(name) || !value.chars().all(legal) || tags.iter().any(|tag| tag.name == name) {
                return None;
            }
            if tags.len() == TAGS_MAX {
                return None;
            }
            tags.push(Tag { name, value, range });
        }
        Some(Tags(tags))
    }

    /// A tag's value.
    pub fn get(&self, name: &str) -> Option<&'t str> {
        self.find(name).map(|tag| tag.value)
    }

    /// Where in the text the value of a tag stands, with the white space around it.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        self.find(name).map(|tag| tag.range.clone())
    }

    fn find(&self, name: &str) -> Option<&Tag<'t>> {
        self.0.iter().find(|tag| tag.name == name)
    }
}

/// ALPHA, then letters, digits and `_`.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// FWS, of which a value may have some inside.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The text without the white space around it.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// An unsigned number of at most twelve digits (RFC 6376 section 3.5, `t=`).
pub fn number(text: &str) -> Option<u64> {
    let legal = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| text.parse().ok()).flatten()
}

/// RFC 4648 section 4; white space may stand anywhere, and the padding may be left out. Bits that no octet takes are zero,
/// or the same octets could be written in many ways.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut kept, mut digits, mut padding) = (0_u32, 0_u32, 0_usize, 0_usize);
    for c in text.bytes().filter(|&b| !is_space(char::from(b))) {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6 | u32::from(digit)) & 0xFFFF;
        (kept, digits) = (kept + 6, digits + 1);
        if kept >= 8 {
            kept -= 8;
            octets.push((bits >> kept & 0xFF) as u8);
        }
    }
    let whole = digits % 4 != 1 && bits & ((1 << kept) - 1) == 0;
    let padded = padding == 0 || padding < 3 && (digits + padding) % 4 == 0;
    (whole && padded && !octets.is_empty()).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_list_has_each_name_once() {
        let tags = Tags::parse(b" i=1; a = rsa-sha256 ;\r\n\tb=AB\r\n CD; empty=;\r\n").unwrap();
        assert_eq!((tags.get("i"), tags.get("a"), tags.get("empty")), (Some("1"), Some("rsa-sha256"), Some("")));
        assert_eq!((tags.get("b"), tags.get("I")), (Some("AB\r\n CD"), None));
        assert_eq!(tags.range("b"), Some(27..34));
        for bad in [
            "",
            ";",
            "i=1;;a=2",
            "i=1;;",
            "i=1; i=1",
            "i=1; =2",
            "i=1; 1a=2",
            "i=1; a b=2",
            "i=1; (c) a=2",
            "i=1; a",
            "i=1; a=\0",
            "i=1; a=\x7F",
            "i",
        ] {
            assert!(Tags::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(Tags::parse(b"i=\xFF").is_none());
        let many: String = (0..=TAGS_MAX).map(|at| format!("t{at}=1;")).collect();
        assert!(Tags::parse(many.as_bytes()).is_none());
    }

    #[test]
    fn base64_has_one_way_of_writing() {
        for (text, octets) in
            [("Zg==", "f"), ("Zg", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), (" Zm 9v\r\n\tYmFy", "foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(octets.as_bytes()), "{text}");
        }
        for bad in [
            "",
            "=",
            "Z",
            "Zh==",
            "Zg=",
            "Zg===",
            "Zg==Zg==",
            "Zm9=",
            "Zm8=v",
            "Zm9v====",
            "Zm9v=",
            "Zm-_",
            "Zm9v\u{e9}",
        ] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number("0123"), Some(123));
        for bad in ["", "-1", "+1", "1 2", "1.5", "1234567890123", "\u{661}"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
