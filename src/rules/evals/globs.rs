//! Lists of addresses written with `*` and `?`, as `welcomelist_from` and its like have them.
//!
//! *Does:* tells whether a text is on a list. `*` is any run of octets, `?` is one; everything else is itself, in either case
//! of letters. A text that is written exactly as its entry is on the list too.
//! *Guarantees:* those of [`AddressList`].

use std::collections::HashSet;

use crate::rules::preferences::addresses::{self, AddressList, PATTERN_OCTETS_MAX, glob};

/// The longest text that is looked up: longer ones are no addresses (RFC 5321 section 4.5.3.1.3).
pub const TEXT_OCTETS_MAX: usize = addresses::ADDRESS_OCTETS_MAX;
/// The most entries of one list.
pub const ENTRIES_MAX: usize = 100_000;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<[u8]>);

impl Glob {
    /// Reads an entry; none if it is too long.
    pub fn parse(text: &[u8]) -> Option<Self> {
        (text.len() <= PATTERN_OCTETS_MAX).then(|| Glob(addresses::normal(text)))
    }

    /// Does all of the text, in lower case, look like it?
    pub fn matches(&self, text: &[u8]) -> bool {
        glob(&self.0, text)
    }
}

/// A list of entries.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    entries: AddressList,
    /// As they are written.
    exact: HashSet<Box<[u8]>>,
}

impl Globs {
    /// A list of these entries.
    pub fn from_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut list = Globs::default();
        words.into_iter().for_each(|word| list.add(word));
        list
    }

    /// Adds an entry. Entries that are too long or too many are left out.
    pub fn add(&mut self, entry: &str) {
        if self.entries.len() < ENTRIES_MAX && self.entries.add(entry.as_bytes()) {
            self.exact.insert(entry.to_ascii_lowercase().into_bytes().into());
        }
    }

    /// Adds what matches anywhere in a text: `welcomelist_subject` and its like.
    pub fn add_anywhere(&mut self, entry: &str) {
        self.add(&format!("*{entry}*"));
        self.exact.insert(entry.to_ascii_lowercase().into_bytes().into());
    }

    /// Is nothing on the list?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is this text on the list?
    pub fn contains(&self, text: &[u8]) -> bool {
        let listed = || self.exact.contains(&*text.to_ascii_lowercase()) || self.entries.contains(text);
        !self.is_empty() && text.len() <= TEXT_OCTETS_MAX && listed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_what_they_look_like() {
        for (entry, text, on) in [
            ("ann@a.example", "Ann@A.example", true),
            ("ann@a.example", "joann@a.example", false),
            ("*@a.example", "x@a.example", true),
            ("*@a.example", "x@b.a.example", false),
            ("*@*.a.example", "x@b.a.example", true),
            ("*@*.a.example", "x@c.b.a.example", true),
            ("*@*.a.example", "x@a.example", false),
            ("*@*.a.example", "b.a.example", false),
            ("*.br", "x@y.com.br", true),
            ("*.br", "x@y.com.bra", false),
            ("j??@*", "joe@x", true),
            ("j??@*", "john@x", false),
            ("*a*b*c*", "xxaxbxcx", true),
            ("*a*b*c*", "xxaxcxbx", false),
            ("a(b@x", "a_b@x", true),
            ("a(b@x", "a(b@x", true),
            ("a**b", "ab", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Globs::from_words([entry]).contains(text.as_bytes()), on, "{entry} {text}");
        }
        assert!(!Globs::default().contains(b""));
        let mut subjects = Globs::default();
        subjects.add_anywhere("free *money");
        assert!(subjects.contains(b"Get FREE or not so free Money now\n"));
    }

    #[test]
    fn hostile_texts_are_bounded() {
        let began = std::time::Instant::now();
        let list = Globs::from_words([&*"*a".repeat(250), "*@*.x.example"]);
        for text in ["a".repeat(2_000) + "b", ".".repeat(2_000_000), "@.".repeat(1_000)] {
            assert!(!list.contains(text.as_bytes()));
        }
        assert!(began.elapsed() < std::time::Duration::from_millis(500));
    }
}
