//! What the named groups of patterns captured in this message, and patterns that are made with it: `%{TAG}`.
//!
//! *Guarantees:* what was captured goes into a pattern as literal text, whatever it is. At most [`TAGS_MAX`] tags are kept,
//! of at most [`VALUE_OCTETS_MAX`] octets each.

use std::collections::HashMap;
use std::ops::Deref;

use crate::rules::compile::Matcher;
use crate::rules::pattern::{Budget, Pattern};

/// The most tags of one message.
pub const TAGS_MAX: usize = 100;
/// The longest value of a tag, in octets; a longer one is no value.
pub const VALUE_OCTETS_MAX: usize = 1_024;
/// The longest pattern that becomes of one with tags, in octets.
const PATTERN_OCTETS_MAX: usize = 16 << 10;

/// Values by the name of their tag.
#[derive(Debug, Default)]
pub struct Tags(HashMap<Box<str>, Vec<u8>>);

/// A pattern that can be asked.
pub enum Ready<'a> {
    /// One that is the same for all messages.
    Fixed(&'a Pattern),
    /// One that was made for this message.
    Made(Box<Pattern>),
}

impl Deref for Ready<'_> {
    type Target = Pattern;

    fn deref(&self) -> &Pattern {
        match self {
            Ready::Fixed(pattern) => pattern,
            Ready::Made(pattern) => pattern,
        }
    }
}

impl Tags {
    /// Keeps what the named groups of a pattern match in a text.
    pub fn keep(&mut self, pattern: &Pattern, text: &[u8], budget: &mut Budget) {
        for (name, range) in pattern.captures(text, budget).unwrap_or_default() {
            let value = text.get(range).filter(|value| !value.is_empty() && value.len() <= VALUE_OCTETS_MAX);
            if let Some(value) = value.filter(|_| self.0.len() < TAGS_MAX) {
                self.0.entry(name).or_insert_with(|| value.to_vec());
            }
        }
    }

    /// The pattern that a matcher stands for in this message; none while a tag has no value.
    pub fn pattern<'a>(&self, matcher: &'a Matcher) -> Option<Ready<'a>> {
        match matcher {
            Matcher::Fixed(pattern) => Some(Ready::Fixed(pattern)),
            Matcher::Tagged { written, .. } => {
                Some(Ready::Made(Box::new(Pattern::parse(&self.filled(written)?).ok()?)))
            }
        }
    }

    /// The text of a pattern with the values in the place of their tags.
    fn filled(&self, written: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(written.len());
        let mut rest = written;
        while let Some(at) = memchr::memmem::find(rest, b"%{") {
            let (before, tag) = rest.split_at_checked(at)?;
            out.extend_from_slice(before);
            let end = memchr::memchr(b'}', tag)?;
            let name = std::str::from_utf8(tag.get(2..end)?).ok()?;
            // Whatever it is, it stands for itself.
            for octet in self.0.get(name)? {
                out.extend_from_slice(format!("\\x{octet:02x}").as_bytes());
            }
            rest = tag.get(end + 1..)?;
        }
        out.extend_from_slice(rest);
        (out.len() <= PATTERN_OCTETS_MAX).then_some(out)
    }
}
