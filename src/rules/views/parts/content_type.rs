//! Content-Type as SpamAssassin's rules mean it: by pieces that look right, wherever they stand.
//!
//! *Guarantees:* linear in the octets. Nothing is refused: what is no type is `text/plain`.
//! *Never does:* what RFC 2045 says where mail readers do otherwise; [`crate::mime::ContentType`] does.

use std::collections::BTreeMap;

use memchr::memchr;

use crate::rules::views::white::{is_white, trimmed_start};

/// The highest number of a piece of a name (RFC 2231 section 3) that is looked at.
const PIECES_MAX: usize = 100;
/// How many places that look like a parameter and turn out to be none are looked at: each may read to the end.
const TRIES_MAX: usize = 8;

/// What a Content-Type says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype`, lower-case, without octets that belong in none. Any `text` but HTML, calendars and cards is plain.
    pub kind: String,
    /// Of a multipart.
    pub boundary: Option<Vec<u8>>,
    /// As it was written.
    pub charset: Option<Vec<u8>>,
    /// `name` or `filename`.
    pub name: Option<Vec<u8>>,
    /// There was none, so [`Self::kind`] is the default.
    pub missing: bool,
}

impl ContentType {
    /// Reads a decoded field body. None, and an empty one, is `text/plain; charset=us-ascii`.
    pub fn read(value: Option<&[u8]>) -> Self {
        let Some(value) = value.filter(|value| !is_false(value)) else {
            let charset = Some(b"us-ascii".to_vec());
            return ContentType { kind: "text/plain".to_owned(), charset, missing: true, ..ContentType::default() };
        };
        let (kind, missing) = kind(value);
        let name = parameter(value, name_at).filter(|name| !is_false(name));
        ContentType {
            kind,
            boundary: boundary(value),
            charset: parameter(value, |text, at| keyword(text, at, b"charset")),
            name: name.or_else(|| pieces(value)),
            missing,
        }
    }
}

/// What Perl takes for false.
fn is_false(value: &[u8]) -> bool {
    matches!(value, b"" | b"0")
}

fn kind(value: &[u8]) -> (String, bool) {
    let value = trimmed_start(value);
    let value = value.split(|b| *b == b';').next().unwrap_or_default();
    let end = match memchr(b'/', value) {
        None | Some(0) => value.len(),
        Some(slash) => {
            let subtype = value.get(slash + 1..).unwrap_or_default();
            slash + 1 + subtype.iter().position(|b| *b == b'/' || is_white(*b)).unwrap_or(subtype.len())
        }
    };
    let kind = value.get(..end).unwrap_or_default().to_ascii_lowercase();
    let missing = is_false(&kind);
    let is_text = kind.strip_prefix(b"text").is_some_and(|rest| !rest.first().is_some_and(|b| is_word(*b)));
    let special = matches!(&kind[..], b"text/x-vcard" | b"text/calendar" | b"text/html");
    if missing || (is_text && !special) {
        return ("text/plain".to_owned(), missing);
    }
    let stays = |b: &&u8| b.is_ascii_graphic() && !b"\"(),:;<=>?@[\\]".contains(b);
    (kind.iter().filter(stays).map(|b| char::from(*b)).collect(), false)
}

fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

/// Where a word of this text stands as a word of its own, or its end with a non-word before it: what follows it.
fn keyword(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at.checked_add(word.len())?;
    let begins = at == 0 || text.get(at - 1).is_some_and(|before| !is_word(*before));
    (begins && text.get(at..end)?.eq_ignore_ascii_case(word)).then_some(end)
}

fn name_at(text: &[u8], at: usize) -> Option<usize> {
    keyword(text, at, b"name").or_else(|| keyword(text, at, b"filename"))
}

/// Behind `=` with white space around it.
fn behind_equals(text: &[u8], at: usize) -> Option<usize> {
    let rest = trimmed_start(text.get(at..)?);
    Some(text.len() - trimmed_start(rest.strip_prefix(b"=")?).len())
}

/// A quoted boundary needs no closing quote; another one ends at white space or `;`.
fn boundary(text: &[u8]) -> Option<Vec<u8>> {
    let after = |at| keyword(text, at, b"boundary").and_then(|end| behind_equals(text, end));
    starts(text, b"bB").filter_map(after).find_map(|at| {
        let value = text.get(at..)?;
        if let Some(quoted) = value.strip_prefix(b"\"") {
            let end = memchr(b'"', quoted).unwrap_or(quoted.len());
            return quoted.get(..end).filter(|found| !found.is_empty()).map(<[u8]>::to_vec);
        }
        let end = value.iter().position(|b| is_white(*b) || b"\";".contains(b)).unwrap_or(value.len());
        let legal = end > 0 && value.get(end) != Some(&b'"');
        value.get(..end).filter(|_| legal).map(<[u8]>::to_vec)
    })
}

/// Where one of these octets stands.
fn starts<'a>(text: &'a [u8], octets: &'static [u8; 2]) -> impl Iterator<Item = usize> + 'a {
    let [lower, upper] = *octets;
    memchr::memchr2_iter(lower, upper, text)
}

/// The value of the first parameter that `find` finds, without quotes around it.
fn parameter(text: &[u8], find: impl Fn(&[u8], usize) -> Option<usize>) -> Option<Vec<u8>> {
    let after = |at| find(text, at).and_then(|end| behind_equals(text, end));
    (0..text.len()).filter_map(after).take(TRIES_MAX).find_map(|at| parameter_value(text.get(at..)?))
}

/// Up to a `;` or the end, which a quote may precede. A value over a line end is none.
fn parameter_value(text: &[u8]) -> Option<Vec<u8>> {
    let is_quote = |b: Option<&u8>| matches!(b, Some(b'"' | b'\''));
    let value = if is_quote(text.first()) { text.get(1..)? } else { text };
    let end = value.iter().position(|b| matches!(b, b';' | b'\n')).unwrap_or(value.len());
    let found = value.get(..end)?;
    let legal = matches!(value.get(end..)?, [] | [b'\n'] | [b';', ..]);
    let quoted = is_quote(found.last());
    legal.then(|| found.get(..end - usize::from(quoted)).unwrap_or_default().to_vec())
}

/// A name in pieces: `name*0="a"; name*1="b"` (RFC 2231 section 3).
fn pieces(text: &[u8]) -> Option<Vec<u8>> {
    let mut found = BTreeMap::new();
    let behind_star = |at| text.get(name_at(text, at)?..)?.strip_prefix(b"*");
    for rest in (0..text.len()).filter_map(behind_star).take(PIECES_MAX) {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at_checked(digits).unwrap_or_default();
        let number: Option<usize> = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        let value = behind_equals(rest, 0).and_then(|at| parameter_value(rest.get(at..)?));
        if let (Some(number), Some(value)) = (number.filter(|number| *number < PIECES_MAX), value) {
            found.insert(number, value);
        }
    }
    found.contains_key(&0).then(|| found.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> ContentType {
        ContentType::read(Some(value.as_bytes()))
    }

    #[test]
    fn types() {
        for (value, kind, missing) in [
            ("text/html; charset=x", "text/html", false),
            ("TEXT/HTML", "text/html", false),
            ("text/plain charset=x", "text/plain", false),
            ("text/enriched", "text/plain", false),
            ("text", "text/plain", false),
            ("texture/x", "texture/x", false),
            ("text/calendar; method=REQUEST", "text/calendar", false),
            ("application/x-(y)\"z\"/q", "application/x-yz", false),
            ("multipart/mixed;boundary=x", "multipart/mixed", false),
            ("image png", "imagepng", false),
            ("", "text/plain", true),
            ("0", "text/plain", true),
            ("; charset=x", "text/plain", true),
        ] {
            let found = read(value);
            assert_eq!((found.kind.as_str(), found.missing), (kind, missing), "{value}");
        }
        assert_eq!(ContentType::read(None).charset.as_deref(), Some(&b"us-ascii"[..]));
    }

    #[test]
    fn parameters() {
        let text = |found: Option<Vec<u8>>| found.map(|value| String::from_utf8_lossy(&value).into_owned());
        for (value, boundary, charset, name) in [
            ("a/b; boundary=\"x y\"; charset='utf-8'", Some("x y"), Some("utf-8"), None),
            ("a/b; boundary=\"x y; charset=c; name=n", Some("x y; charset=c; name=n"), Some("c"), Some("n")),
            ("a/b; Boundary = x;y", Some("x"), None, None),
            ("a/b; boundary=x\"; boundary=z", Some("z"), None, None),
            ("a/b; xboundary=x; boundary=\"\"", None, None, None),
            ("a/b; filename=\"a;b\"", None, None, Some("a")),
            ("a/b; x-name=\"a.b\" ; charset=\"\"", None, Some(""), Some("a.b\" ")),
            ("a/b; name*0=\"a\"; name*2=c; filename*1='b'", None, None, Some("abc")),
            ("a/b; name*1=b", None, None, None),
            ("a/b; charset = koi8-r\n", None, Some("koi8-r"), None),
        ] {
            let found = read(value);
            assert_eq!(text(found.boundary).as_deref(), boundary, "{value}");
            assert_eq!(text(found.charset).as_deref(), charset, "{value}");
            assert_eq!(text(found.name).as_deref(), name, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-c/;=\"' *0boundrycharsetme]{0,80}") {
            ContentType::read(Some(&octets));
            read(&text);
        }
    }
}
