//! Character sets: octets of unknown or doubtful charset in, text out. Never fails.
//!
//! *Order of belief:* ASCII is ASCII; what is valid UTF-8 is UTF-8, whatever its label says; then the label; then
//! Windows-1252 if its letters and its quotation marks are all there is; then what [`detect`] guesses; then Windows-1252.
//! In encoded words the label comes first, for it stands right beside the octets.

use std::borrow::Cow;

use encoding_rs::{Encoding, GBK, ISO_2022_JP, REPLACEMENT, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::rules::views::detect::detect;

/// A charset that we can decode.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decoder {
    Ascii,
    /// ISO-8859-1 by a name that does not also mean Windows-1252.
    Latin1,
    Windows1252,
    /// GB 2312 as Unicode's own table has it, which knows fewer letters than GBK and two of them otherwise.
    Gb2312,
    Other(&'static Encoding),
}

/// The text of a body part, by the label that came with it, if any.
pub fn text<'a>(octets: &'a [u8], label: Option<&[u8]>) -> Cow<'a, str> {
    let label = label.unwrap_or(b"us-ascii");
    match std::str::from_utf8(octets) {
        // UTF-16, ISO-2022-JP and the like are written in ASCII and are none.
        Ok(text) if !octets.is_ascii() || extends_ascii(label) => return Cow::Borrowed(text),
        _ => {}
    }
    let labelled = if is_utf16(label) { utf16(octets).and_then(|decoder| decoder.strict(octets)) } else { None };
    let labelled = labelled.or_else(|| match decoder(label).filter(|_| !is_utf16(label)) {
        Some(Decoder::Ascii) | None => None,
        Some(decoder) => decoder.strict(octets),
    });
    labelled.map_or_else(|| guessed(octets, label), Cow::Owned)
}

/// The octets of an encoded word (RFC 2047), by its charset. UTF-16 stays as it is: what is no ASCII superset is no charset
/// for headers.
pub fn word<'a>(octets: &'a [u8], label: &[u8]) -> Cow<'a, [u8]> {
    if octets.is_ascii() && extends_ascii(label) {
        return Cow::Borrowed(octets);
    }
    let into_octets = |text| match text {
        Cow::Borrowed(text) => Cow::Borrowed(str::as_bytes(text)),
        Cow::Owned(text) => Cow::Owned(String::into_bytes(text)),
    };
    if is_utf16(label) {
        let legal = utf16(octets).and_then(|decoder| decoder.strict(octets)).is_some();
        return if legal { Cow::Borrowed(octets) } else { into_octets(guessed(octets, label)) };
    }
    match decoder(label) {
        Some(decoder) => Cow::Owned(decoder.lenient(octets).into_bytes()),
        None => into_octets(guessed(octets, label)),
    }
}

/// The text where its label is of no use.
fn guessed<'a>(octets: &'a [u8], label: &[u8]) -> Cow<'a, str> {
    if octets.is_ascii() {
        return String::from_utf8_lossy(octets);
    }
    if octets.iter().all(is_typical) {
        return Cow::Owned(Decoder::Windows1252.lenient(octets));
    }
    let guess = detect(octets).filter(|guess| !guess.as_bytes().eq_ignore_ascii_case(label));
    let text = guess.and_then(|guess| decoder(guess.as_bytes())).and_then(|decoder| decoder.strict(octets));
    Cow::Owned(text.unwrap_or_else(|| Decoder::Windows1252.lenient(octets)))
}

/// ASCII, letters with diacritics, and the punctuation that word processors write.
fn is_typical(octet: &u8) -> bool {
    matches!(
        octet,
        0..=0x7f | 0x82 | 0x84 | 0x85 | 0x91..=0x97 | 0x99 | 0xa0 | 0xa9 | 0xad | 0xc0..=0xd6 | 0xd8..=0xde
            | 0xe0..=0xf6 | 0xf8..=0xfe
    )
}

fn is_utf16(label: &[u8]) -> bool {
    let rest = label.get(..3).filter(|start| start.eq_ignore_ascii_case(b"utf")).and_then(|_| label.get(3..));
    let rest = rest.map(|rest| rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest));
    rest.is_some_and(|rest| rest.starts_with(b"16"))
}

/// Is text in this charset that has no octet above 127 the same in ASCII?
fn extends_ascii(label: &[u8]) -> bool {
    let label = label.to_ascii_lowercase();
    let is = |names: &[&[u8]]| names.contains(&&label[..]);
    let starts = |prefix: &[u8]| {
        label.strip_prefix(prefix).is_some_and(|rest| rest.iter().all(|b| b.is_ascii_digit() || *b == b'-'))
    };
    is(&[b"us-ascii", b"ascii", b"ansi_x3.4-1986", b"ansi_x3.4-1968", b"iso646-us", b"utf-8", b"utf8", b"big5", b"gbk"])
        || starts(b"iso-8859")
        || starts(b"iso8859")
        || starts(b"windows-")
        || starts(b"gb18030")
        || starts(b"gb-18030")
        || [&b"koi8-"[..], b"euc-"].iter().any(|prefix| {
            label.strip_prefix(*prefix).is_some_and(|rest| matches!(rest.len(), 1 | 2) && rest.is_ascii())
        })
}

fn decoder(label: &[u8]) -> Option<Decoder> {
    let lower = label.to_ascii_lowercase();
    Some(match &lower[..] {
        b"ascii" | b"us-ascii" | b"iso-646-us" | b"646" => Decoder::Ascii,
        b"iso-8859-1" | b"iso8859-1" | b"windows-1252" | b"cp1252" => Decoder::Windows1252,
        b"latin1" | b"latin-1" | b"iso_8859-1" | b"iso_8859_1" | b"l1" => Decoder::Latin1,
        b"gb2312" | b"euc-cn" | b"x-euc-cn" => Decoder::Gb2312,
        b"utf8" | b"utf-8" => Decoder::Other(encoding_rs::UTF_8),
        _ => {
            let known = Encoding::for_label(label).filter(|encoding| *encoding != REPLACEMENT);
            match known? {
                // What these labels mean in the web is not what they mean here.
                encoding if encoding == WINDOWS_1252 => return None,
                encoding => Decoder::Other(encoding),
            }
        }
    })
}

impl Decoder {
    /// None if an octet means nothing.
    fn strict(self, octets: &[u8]) -> Option<String> {
        match self {
            Decoder::Ascii => octets.is_ascii().then(|| self.lenient(octets)),
            Decoder::Latin1 => Some(self.lenient(octets)),
            Decoder::Windows1252 => octets.iter().all(|b| !is_hole(b)).then(|| self.lenient(octets)),
            Decoder::Gb2312 => {
                let legal = octets.iter().all(|b| b.is_ascii() || (0xa1..=0xfe).contains(b));
                let text = legal.then(|| GBK.decode_without_bom_handling_and_without_replacement(octets)).flatten()?;
                Some(text.replace('\u{b7}', "\u{30fb}").replace('\u{2014}', "\u{2015}"))
            }
            Decoder::Other(encoding) => {
                let octets = joined_shifts(encoding, octets);
                encoding.decode_without_bom_handling_and_without_replacement(&octets).map(Cow::into_owned)
            }
        }
    }

    /// What means nothing becomes U+FFFD.
    fn lenient(self, octets: &[u8]) -> String {
        match self {
            Decoder::Ascii => octets.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect(),
            Decoder::Latin1 => octets.iter().copied().map(char::from).collect(),
            Decoder::Windows1252 => {
                let text = WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned();
                match octets.iter().any(is_hole) {
                    true => text.replace(['\u{81}', '\u{8d}', '\u{8f}', '\u{90}', '\u{9d}'], "\u{fffd}"),
                    false => text,
                }
            }
            Decoder::Gb2312 => {
                let text = GBK.decode_without_bom_handling(octets).0;
                text.replace('\u{b7}', "\u{30fb}").replace('\u{2014}', "\u{2015}")
            }
            Decoder::Other(encoding) => {
                encoding.decode_without_bom_handling(&joined_shifts(encoding, octets)).0.into_owned()
            }
        }
    }
}

/// ISO-2022-JP without escape sequences that another one follows at once: pieces that were joined have them, and the
/// decoder takes them for an attack.
fn joined_shifts<'a>(encoding: &'static Encoding, octets: &'a [u8]) -> Cow<'a, [u8]> {
    if encoding != ISO_2022_JP {
        return Cow::Borrowed(octets);
    }
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((first, after)) = rest.split_first() {
        match rest {
            [0x1b, b'(' | b'$', _, 0x1b, ..] => rest = rest.get(3..).unwrap_or_default(),
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

/// The octets that Windows-1252 does not define.
fn is_hole(octet: &u8) -> bool {
    matches!(octet, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d)
}

/// Which of its octets come first, told by where spaces and zeros are. None if a mark says so, or nothing does.
fn utf16(octets: &[u8]) -> Option<Decoder> {
    if octets.starts_with(b"\xff\xfe") || octets.starts_with(b"\xfe\xff") {
        return None;
    }
    let (mut little, mut big) = (0usize, 0usize);
    let (mut even, mut odd) = (0usize, 0usize);
    let nibbles = |octet: u8| usize::from(octet >> 4) + usize::from(octet & 15);
    for pair in octets.chunks(2) {
        let (first, second) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
        even += nibbles(first);
        odd += nibbles(second);
        little += usize::from((first, second) == (b' ', 0));
        big += usize::from((first, second) == (0, b' '));
    }
    little += usize::from(even > odd * 4);
    // SpamAssassin compares this way round; most text that is not little-endian is big-endian then.
    big += usize::from(odd * 4 > even);
    match little.cmp(&big) {
        std::cmp::Ordering::Greater => Some(Decoder::Other(UTF_16LE)),
        std::cmp::Ordering::Less => Some(Decoder::Other(UTF_16BE)),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_believed_after_utf8() {
        for (octets, label, expected) in [
            (&b"abc"[..], Some(&b"utf-8"[..]), "abc"),
            (b"\xc3\xa9", Some(b"iso-8859-1"), "é"),
            (b"\xe9", Some(b"iso-8859-1"), "é"),
            (b"\x93a\x94", Some(b"iso-8859-1"), "\u{201c}a\u{201d}"),
            (b"\x93a\x94 \xa4", Some(b"latin1"), "\u{93}a\u{94} \u{a4}"),
            (b"\xe9", Some(b"utf-8"), "é"),
            (b"\xe9", None, "é"),
            (b"\xe9\x81", Some(b"windows-1252"), "é\u{fffd}"),
            (b"\xcf\xf0", Some(b"windows-1251"), "Пр"),
            (b"\x1b$B%F\x1b(B", Some(b"ISO-2022-JP"), "テ"),
            (b"\x1b$B%F\x1b(B\x1b$B%F\x1b(B", Some(b"ISO-2022-JP"), "テテ"),
            (b"a\0 \0b\0", Some(b"utf-16"), "a b"),
            (b"\0a\0 \0b", Some(b"utf-16le"), "a b"),
            (b"abc", Some(b"hz-gb-2312"), "abc"),
            (b"\xff\xff\0", Some(b"nonsense"), "ÿÿ\0"),
        ] {
            assert_eq!(text(octets, label), expected, "{octets:?}");
        }
    }

    #[test]
    fn labels_of_words_are_believed() {
        for (octets, label, expected) in [
            (&b"\xc3\xa9"[..], &b"iso-8859-1"[..], "Ã©".as_bytes()),
            (b"\xe9", b"utf-8", "\u{fffd}".as_bytes()),
            (b"\xe9", b"us-ascii", "\u{fffd}".as_bytes()),
            (b"\xe9", b"nonsense", "é".as_bytes()),
            (b"a", b"nonsense", b"a"),
            (b"a\0 \0", b"utf-16", b"a\0 \0"),
        ] {
            assert_eq!(word(octets, label), expected, "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200), label in "[a-z0-9-]{0,12}|utf-16|gb18030|big5") {
            text(&octets, Some(label.as_bytes()));
            word(&octets, label.as_bytes());
        }
    }
}
