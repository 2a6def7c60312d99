//! A place in the text of a pattern.

use super::PatternError;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Cursor { text, at: 0 }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next octet, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next octet.
    pub fn next(&mut self) -> Option<u8> {
        let octet = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(octet)
    }

    /// The octet that was passed over last.
    pub fn before(&self) -> Option<u8> {
        self.text.get(self.at.checked_sub(1)?).copied()
    }

    /// Passes over these octets if they are next.
    pub fn eat(&mut self, octets: &[u8]) -> bool {
        let found = self.rest().starts_with(octets);
        if found {
            self.at = self.at.saturating_add(octets.len());
        }
        found
    }

    /// Passes over all that belong, and gives them.
    pub fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let end = rest.iter().position(|octet| !belongs(*octet)).unwrap_or(rest.len());
        self.at = self.at.saturating_add(end);
        rest.get(..end).unwrap_or_default()
    }

    /// All that belong; they stay.
    pub fn take_while_peek(&self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        Cursor { ..*self }.take_while(belongs)
    }

    /// All up to an octet, which is passed over too. None, and no step, if it does not come.
    pub fn take_until(&mut self, close: u8) -> Option<&'a [u8]> {
        let rest = self.rest();
        let end = rest.iter().position(|octet| *octet == close)?;
        self.at = self.at.saturating_add(end).saturating_add(1);
        rest.get(..end)
    }

    /// An error here.
    pub fn wrong<T>(&self, what: impl Into<String>) -> Result<T, PatternError> {
        Err(PatternError::Syntax { what: what.into(), at: self.at })
    }

    /// A refusal here.
    pub fn unsupported<T>(&self, what: impl Into<String>) -> Result<T, PatternError> {
        Err(PatternError::Unsupported { what: what.into(), at: self.at })
    }
}
