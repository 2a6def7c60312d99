//! Where a message's header ends for rules, and which fields it has.
//!
//! *Does:* takes the section apart as SpamAssassin does: it ends at an empty line, at a line that begins with `--`, or at
//! the fourth line that is no field; what such a line holds is a field all the same if there is a colon in it.
//! *Guarantees:* at most [`HEADER_FIELDS_MAX`] fields are kept, of at most [`HEADER_OCTETS_MAX`] octets.
//! *Unlike* [`crate::message::Message::header`], which ends at an empty line only: rules were written for this reading.

use std::ops::Range;

use memchr::memchr;

use crate::message::{HEADER_FIELDS_MAX, HEADER_OCTETS_MAX};
use crate::rules::views::white::line_at;

/// How many lines that are no fields are passed over.
const ODD_LINES_MAX: usize = 3;
/// How much of a field's name is kept, in octets.
const NAME_OCTETS_MAX: usize = 256;
/// How much of a field's body is kept, in octets.
pub const VALUE_OCTETS_MAX: usize = 8_192;

/// A header section.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Names and bodies, line ends and folding included, as offsets.
    pub fields: Vec<(Range<usize>, Range<usize>)>,
    /// Where the body begins.
    pub end: usize,
    /// No empty line ended it.
    pub unseparated: bool,
    /// A name or a body was cut.
    pub cut: bool,
}

impl Section {
    /// Reads the section that begins at `from`.
    pub fn read(text: &[u8], from: usize) -> Self {
        let mut section = Section { end: from, ..Section::default() };
        let mut start = None;
        let mut odd = 0;
        loop {
            let line = line_at(text, section.end);
            if matches!(line.first(), Some(b' ' | b'\t')) {
                start.get_or_insert(section.end);
                section.end += line.len();
                continue;
            }
            if let Some(start) = start.replace(section.end) {
                let near = start - from < HEADER_OCTETS_MAX && section.fields.len() < HEADER_FIELDS_MAX;
                section.push(text, start..section.end, near);
            }
            odd += usize::from(!line.is_empty() && line != b"\n" && !begins_field(line));
            if line.is_empty() || line.starts_with(b"--") || odd > ODD_LINES_MAX {
                section.unseparated = true;
                return section;
            }
            section.end += line.len();
            if line == b"\n" {
                return section;
            }
        }
    }

    fn push(&mut self, text: &[u8], at: Range<usize>, near: bool) {
        let field = text.get(at.clone()).unwrap_or_default();
        let Some(colon) = memchr(b':', field).filter(|_| near) else { return };
        let name = field.get(..colon).unwrap_or_default();
        let name_octets = name.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |last| last + 1);
        let value = at.start + colon + 1;
        self.cut |= name_octets > NAME_OCTETS_MAX || at.end - value > VALUE_OCTETS_MAX;
        let name = at.start..at.start + name_octets.min(NAME_OCTETS_MAX);
        self.fields.push((name, value..at.end.min(value + VALUE_OCTETS_MAX)));
    }
}

/// Does the line begin a field? White space before the colon is obsolete and still read (RFC 5322 section 4.5).
pub fn begins_field(line: &[u8]) -> bool {
    let Some(name) = memchr(b':', line).and_then(|colon| line.get(..colon)) else { return false };
    let end = name.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |last| last + 1);
    end > 0 && name.iter().take(end).all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_end_where_rules_think() {
        for (text, fields, rest, unseparated) in [
            ("A: 1\nB:2\n 3\n\nx", "A= 1\n|B=2\n 3\n", "x", false),
            ("A: 1\n", "A= 1\n", "", true),
            ("\nx", "", "x", false),
            ("", "", "", true),
            ("A: 1\n--b\nB: 2\n", "A= 1\n", "--b\nB: 2\n", true),
            ("A: 1\nno\nno\nB: 2\nno\nC: 3\n\nx", "A= 1\n|B= 2\n|C= 3\n", "x", false),
            ("no\nno\nno\nA: 1\nno more\nB: 2\n", "A= 1\n", "no more\nB: 2\n", true),
            ("a b: 1\n\n", "a b= 1\n", "", false),
            (" a: 1\nA \t: 1\n\n", " a= 1\n|A= 1\n", "", false),
            ("A: 1\n \n\nx", "A= 1\n \n", "x", false),
        ] {
            let found = Section::read(text.as_bytes(), 0);
            let shown = found.fields.iter().map(|(n, v)| format!("{}={}", &text[n.clone()], &text[v.clone()]));
            let shown = shown.collect::<Vec<_>>().join("|");
            assert_eq!(
                (shown.as_str(), &text[found.end..], found.unseparated),
                (fields, rest, unseparated),
                "{text:?}"
            );
        }
    }

    #[test]
    fn sections_are_bounded() {
        let long = format!("{}: {}\n\n", "a".repeat(300), "x".repeat(9_000));
        let found = Section::read(long.as_bytes(), 0);
        assert!(found.cut);
        assert_eq!(found.fields.iter().map(|(n, v)| (n.len(), v.len())).collect::<Vec<_>>(), [(256, 8_192)]);
        let many = "A: 1\n".repeat(HEADER_FIELDS_MAX + 5) + "\nx";
        let found = Section::read(many.as_bytes(), 0);
        assert_eq!((found.fields.len(), &many[found.end..]), (HEADER_FIELDS_MAX, "x"));
    }
}
