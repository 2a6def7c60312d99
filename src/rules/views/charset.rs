//! Character sets: octets of unknown or doubtful charset in, text out. Never fails.
//!
//! *Order of belief:* ASCII is ASCII; what is valid UTF-8 is UTF-8, whatever its label says; then the label; then
//! Windows-1252. (SpamAssassin asks a statistical detector before the last; we don't.)

use encoding_rs::{Encoding, REPLACEMENT, WINDOWS_1252};

/// Decodes by the label that came with the octets, if any.
pub fn decode(octets: &[u8], label: Option<&[u8]>) -> String {
    let labelled = label.and_then(Encoding::for_label).filter(|encoding| *encoding != REPLACEMENT);
    // UTF-16 and ISO-2022-JP look like ASCII and are not.
    if let Some(encoding) = labelled.filter(|encoding| !encoding.is_ascii_compatible()) {
        return encoding.decode(octets).0.into_owned();
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        return text.to_owned();
    }
    let decoded = labelled.and_then(|encoding| encoding.decode_without_bom_handling_and_without_replacement(octets));
    match decoded {
        Some(text) => text.into_owned(),
        None => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_believed_after_utf8() {
        for (octets, label, expected) in [
            (&b"abc"[..], Some(&b"utf-8"[..]), "abc"),
            (b"\xc3\xa9", Some(b"iso-8859-1"), "é"),
            (b"\xe9", Some(b"iso-8859-1"), "é"),
            (b"\x93a\x94", Some(b"iso-8859-1"), "\u{201c}a\u{201d}"),
            (b"\xe9", Some(b"utf-8"), "é"),
            (b"\xe9", None, "é"),
            (b"\xcf\xf0", Some(b"windows-1251"), "Пр"),
            (b"\x1b$B%F\x1b(B", Some(b"ISO-2022-JP"), "テ"),
            (b"a\0b\0", Some(b"utf-16le"), "ab"),
            (b"abc", Some(b"hz-gb-2312"), "abc"),
            (b"\xff\xfe\0", Some(b"nonsense"), "ÿþ\0"),
        ] {
            assert_eq!(decode(octets, label), expected);
        }
    }
}
