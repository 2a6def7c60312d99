//! What evals over relays and headers look at.

use crate::rules::relays::Relays;

/// What a message offers.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The way it came.
    pub relays: &'a Relays,
    /// What a selector selects, with a line end behind each value; `:addr` without, and only the first address.
    pub get: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The domain that someone registered of a host's name, lower case; the whole name if nobody could.
    pub registered: &'a dyn Fn(&[u8]) -> Vec<u8>,
    /// Someone can register this domain.
    pub is_domain: &'a dyn Fn(&[u8]) -> bool,
    /// The time, in seconds since 1970.
    pub now: i64,
}

impl Facts<'_> {
    /// What a selector selects; empty if there is no such field.
    pub fn text(&self, selector: &str) -> Vec<u8> {
        (self.get)(selector).unwrap_or_default()
    }

    /// The same with one blank for each stretch of blanks and line ends.
    pub fn spaced(&self, selector: &str) -> Vec<u8> {
        spaced(&self.text(selector))
    }
}

/// One blank for each stretch of blanks and line ends.
pub fn spaced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for octet in text {
        match octet {
            b' ' | 9..=13 if out.last() == Some(&b' ') => {}
            b' ' | 9..=13 => out.push(b' '),
            octet => out.push(*octet),
        }
    }
    out
}

/// An address ends in this domain, or in one that only has more before a hyphen or a dot.
pub fn ends_in(address: &[u8], domain: &[u8]) -> bool {
    let Some((before, end)) = address.len().checked_sub(domain.len()).and_then(|at| address.split_at_checked(at))
    else {
        return false;
    };
    let glued = before.last().is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
    end.eq_ignore_ascii_case(domain) && !glued
}
