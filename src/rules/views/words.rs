//! Values of header fields as rules see them: unfolded, encoded words decoded (RFC 2047), UTF-8.
//!
//! *Does:* joins neighbouring encoded words of one charset before they are decoded, for careless senders cut characters
//! in two; makes raw 8-bit octets UTF-8.
//! *Guarantees:* one pass, linear; what is plain ASCII without encoded words stays as it is.
//! *Never does:* fail. What is no encoded word is text.

use std::borrow::Cow;

use memchr::memmem;

use crate::mime;
use crate::rules::views::charset;
use crate::rules::views::white::{is_white, trimmed};

/// A field body, decoded as its name asks for. Without white space around it and without line ends.
pub fn value(name: &[u8], raw: &[u8]) -> Vec<u8> {
    decoded(name, &unfolded(trimmed(raw))).into_owned()
}

/// A name beside an address, decoded. White space around it stays.
pub fn name(phrase: &[u8]) -> Vec<u8> {
    let unfolded: Vec<u8> = phrase.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    decoded(b"", &unfolded).into_owned()
}

/// Folding becomes one space; line ends that fold nothing go (RFC 5322 section 2.2.3).
fn unfolded(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut value = Vec::with_capacity(raw.len());
    let mut lines = raw.split(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        let blanks = if value.is_empty() { 0 } else { line.iter().take_while(|b| matches!(b, b' ' | b'\t')).count() };
        if blanks > 0 {
            value.push(b' ');
        }
        // A carriage return before a line end that folds is kept, as SpamAssassin does it.
        value.extend_from_slice(line.get(blanks..).unwrap_or_default());
        let folds = lines.peek().is_some_and(|next| matches!(next.first(), Some(b' ' | b'\t')));
        if !folds && lines.peek().is_some() && value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Cow::Owned(value)
}

/// An unfolded text, decoded as a field of this name is.
pub fn decoded<'a>(name: &[u8], text: &'a [u8]) -> Cow<'a, [u8]> {
    let text = match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => match charset::text(text, Some(b"UTF-8")) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    };
    match memmem::find(&text, b"=?") {
        Some(first) if !is_literal(name) => Cow::Owned(without_words(&text, first)),
        _ => text,
    }
}

/// Fields in which no encoded words are decoded: they hold none, or identifiers that only look like them.
fn is_literal(name: &[u8]) -> bool {
    let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    let known = [
        "received",
        "message-id",
        "date",
        "resent-message-id",
        "resent-date",
        "mime-version",
        "references",
        "in-reply-to",
    ];
    known.iter().any(is) || name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"list-"))
}

/// Octets of one charset that stand side by side, before they are decoded.
#[derive(Default)]
struct Waiting {
    /// With its language, lower-case; empty for text.
    charset: Vec<u8>,
    octets: Vec<u8>,
}

impl Waiting {
    fn push(&mut self, charset: &[u8], octets: &[u8], out: &mut Vec<u8>) {
        if !self.charset.eq_ignore_ascii_case(charset) {
            self.flush(out);
            self.charset = charset.to_ascii_lowercase();
        }
        self.octets.extend_from_slice(octets);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        // RFC 2231 section 5 appends a language.
        match self.charset.split(|b| *b == b'*').next() {
            Some(charset) if !charset.is_empty() => out.extend_from_slice(&charset::word(&self.octets, charset)),
            _ => out.extend_from_slice(&self.octets),
        }
        self.octets.clear();
    }
}

fn without_words(text: &[u8], first: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut waiting = Waiting::default();
    let (before, mut rest) = text.split_at_checked(first).unwrap_or((text, &[]));
    waiting.push(b"", before, &mut out);
    while !rest.is_empty() {
        if let Some((word, after)) = Word::read(rest) {
            waiting.push(word.charset, &word.octets(), &mut out);
            // White space between encoded words is not text (RFC 2047 section 6.2).
            let next = after.iter().position(|b| !is_white(*b)).unwrap_or(after.len());
            let joined = after.get(next..).filter(|rest| next > 0 && Word::read(rest).is_some());
            rest = joined.unwrap_or(after);
            continue;
        }
        let end = 1 + memmem::find(rest.get(1..).unwrap_or_default(), b"=?").unwrap_or(rest.len() - 1);
        let (plain, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        waiting.push(b"", plain, &mut out);
        rest = after;
    }
    waiting.flush(&mut out);
    out
}

/// `=?charset?B?text?=`.
struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

impl<'a> Word<'a> {
    /// The encoded word at the beginning, and what follows it.
    fn read(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let inner = text.strip_prefix(b"=?")?;
        let end = inner.iter().position(|b| !(b.is_ascii_alphanumeric() || b"*_-".contains(b)))?;
        let (charset, rest) = inner.split_at_checked(end)?;
        let (base64, rest) = match rest {
            [b'?', b'b' | b'B', b'?', rest @ ..] => (true, rest),
            [b'?', b'q' | b'Q', b'?', rest @ ..] => (false, rest),
            _ => return None,
        };
        let (text, after) = rest.split_at_checked(memchr::memchr(b'?', rest)?)?;
        let after = after.strip_prefix(b"?=")?;
        (!charset.is_empty()).then_some((Word { charset, base64, text }, after))
    }

    fn octets(&self) -> Vec<u8> {
        match self.base64 {
            true => mime::base64(self.text),
            false => {
                let spaced: Vec<u8> = self.text.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
                mime::quoted_printable(&spaced)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_unfolded_and_decoded() {
        for (raw, expected) in [
            ("  x  \n", "x"),
            (" x\n\t  y\n", "x y"),
            (" x\ny", "xy"),
            (" =?utf-8?Q?caf=C3=A9_au?= lait\n", "café au lait"),
            (" =?UTF-8?B?w6k=?=\n =?utf-8?b?w6k=?= x\n", "éé x"),
            (" =?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "€"),
            (" =?iso-8859-1?Q?=E9?=   =?utf-8?Q?=C3=A9?=", "éé"),
            (" a =?utf-8*en?Q?x?=y", "a xy"),
            (" =?x =?utf-8?Q?a?= =? =?utf-8?X?a?=", "=?x a =? =?utf-8?X?a?="),
            (" =?utf-8?Q?open", "=?utf-8?Q?open"),
            (" =?utf-8?Q?a?==?utf-8?Q?b?==", "ab="),
            (" =??Q?a?=", "=??Q?a?="),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&value(b"Subject", raw.as_bytes())), expected, "{raw:?}");
        }
        assert_eq!(value(b"Subject", b" caf\xe9"), "café".as_bytes());
        for name in ["References", "LIST-Id", "Resent-Date"] {
            assert_eq!(value(name.as_bytes(), b" =?utf-8?Q?a?="), b"=?utf-8?Q?a?=", "{name}");
        }
    }

    #[test]
    fn hostile_values_take_linear_time() {
        for unit in ["=?", "=?a?Q?", "=?a?B?QQ==?= ", "\n ", "=?a?Q?=?b", " "] {
            value(b"a", unit.repeat(400_000 / unit.len()).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(raw in proptest::collection::vec(any::<u8>(), 0..200), text in "[=?abqQB_ \n-]{0,60}") {
            value(b"Subject", &raw);
            value(b"Subject", text.as_bytes());
        }
    }
}
