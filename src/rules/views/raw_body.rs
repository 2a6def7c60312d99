//! The body as rawbody rules see it: text and attached messages without their transfer encoding, in chunks.
//!
//! *Guarantees:* a part gives at most [`PART_OCTETS_MAX`] octets and little more; a chunk has at most twice
//! [`CHUNK_OCTETS`]; nothing is copied.

use crate::rules::views::parts::Parts;

/// How much of a part is looked at, in octets, up to the next line, tag or word end.
pub const PART_OCTETS_MAX: usize = 500_000;
/// How far to look for that end, in octets.
const CUT_OCTETS_MAX: usize = 1_024;
/// After how many octets a chunk may end.
pub const CHUNK_OCTETS: usize = 2_048;

/// The chunks of all parts.
pub fn chunks(parts: &Parts) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let is_text = |kind: &str, of: &str| {
        kind.strip_prefix(of)
            .is_some_and(|rest| !rest.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    for part in parts.leaves() {
        let kind = part.effective_kind();
        if (is_text(kind, "text") || is_text(kind, "message")) && part.kind() != "text/calendar" {
            push_chunks(cut(part.decoded()), &mut found);
        }
    }
    found
}

/// Where an octet stands at or after `from`, within `octets_max` octets.
fn find(text: &[u8], octet: u8, from: usize, octets_max: usize) -> Option<usize> {
    let window = text.get(from..text.len().min(from.saturating_add(octets_max)))?;
    memchr::memchr(octet, window).map(|at| from + at)
}

fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= PART_OCTETS_MAX {
        return text;
    }
    let ends = [b'\n', b'>', b' '];
    let end = ends.iter().find_map(|end| find(text, *end, PART_OCTETS_MAX, CUT_OCTETS_MAX + 1));
    text.get(..end.map_or(PART_OCTETS_MAX, |end| end + 1)).unwrap_or(text)
}

/// A chunk ends with a line, else with a tag, else with a word, else anywhere.
fn push_chunks<'t>(text: &'t [u8], found: &mut Vec<&'t [u8]>) {
    if text.len() <= CHUNK_OCTETS {
        found.push(text);
        return;
    }
    let mut rest = text;
    while rest.len() > 2 * CHUNK_OCTETS {
        let end = [b'\n', b'>', b' '].iter().find_map(|end| find(rest, *end, CHUNK_OCTETS, CHUNK_OCTETS));
        let (chunk, after) = rest.split_at_checked(end.unwrap_or(CHUNK_OCTETS) + 1).unwrap_or((rest, &[]));
        found.push(chunk);
        rest = after;
    }
    if !rest.is_empty() {
        found.push(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn lengths(mail: &str) -> Vec<usize> {
        let parts = Parts::new(&Message::from_stored(mail.as_bytes()));
        chunks(&parts).into_iter().map(<[u8]>::len).collect()
    }

    #[test]
    fn parts_are_chunked() {
        let line = |octets: usize| "x".repeat(octets - 1) + "\n";
        for (mail, expected) in [
            ("\nab\n".to_owned(), &[3][..]),
            ("A: 1\n\n".to_owned(), &[0]),
            (format!("\n{}", "x".repeat(4_096)), &[4_096]),
            (format!("\n{}", "x".repeat(4_097)), &[2_049, 2_048]),
            (format!("\n{}{}", line(3_000), line(3_000)), &[3_000, 3_000]),
            (format!("\n{}>{}", "x".repeat(2_500), "y".repeat(3_000)), &[2_501, 3_000]),
            (format!("\n{} {}", "x".repeat(2_500), "y".repeat(3_000)), &[2_501, 3_000]),
            ("Content-Type: text/calendar\n\nx\n".to_owned(), &[]),
            ("Content-Type: image/png\n\nx\n".to_owned(), &[]),
            ("Content-Type: message/delivery-status\n\nx\n".to_owned(), &[2]),
            ("Content-Transfer-Encoding: base64\n\nYQ0KYg==\n".to_owned(), &[3]),
        ] {
            assert_eq!(lengths(&mail), expected, "{}", &mail[..mail.len().min(60)]);
        }
        let long = format!("\n{}", "x".repeat(PART_OCTETS_MAX + 5_000));
        assert_eq!(lengths(&long).iter().sum::<usize>(), PART_OCTETS_MAX);
    }
}
