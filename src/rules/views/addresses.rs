//! Addresses and the names beside them, as rules see them (`:addr`, `:name`).
//!
//! *Does:* takes a raw field body apart as SpamAssassin's own parser does: leniently, addresses in brackets first, never
//! the local-part and domain by the letter of RFC 5322.
//! *Guarantees:* the patterns run in time linear in the field for each address, fields have at most
//! [`super::parts::section::VALUE_OCTETS_MAX`] octets, and at most [`ADDRESSES_MAX`] addresses are read.
//! *Never does:* say whether an address is legal; [`crate::address`] does.

use std::sync::LazyLock;

use memchr::memchr;
use regex::bytes::Regex;

use crate::rules::views::white::{is_white, trimmed, trimmed_end, trimmed_start};
use crate::rules::views::words;

/// How many addresses of a field are read.
pub const ADDRESSES_MAX: usize = 1_000;

/// An address, or what stands in place of one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Address {
    /// `local-part@domain`.
    pub address: Option<Vec<u8>>,
    /// The name or the comment beside it, as it was written.
    pub phrase: Option<Vec<u8>>,
}

impl Address {
    /// The name decoded, its white space collapsed, without the single quotes that some clients put around it.
    pub fn name(&self) -> Option<Vec<u8>> {
        let decoded = words::name(self.phrase.as_deref()?);
        if trimmed(&decoded).is_empty() {
            // White space alone is a name, and stays.
            return Some(decoded);
        }
        let words: Vec<&[u8]> = decoded.split(|b| is_white(*b)).filter(|word| !word.is_empty()).collect();
        let name = words.join(&b' ');
        let inner = name.strip_prefix(b"'").and_then(|inner| inner.strip_suffix(b"'"));
        Some(inner.map(<[u8]>::to_vec).unwrap_or(name))
    }
}

/// What an address looks like.
const MAILBOX: &str = r#"(?:"(?:[^"\\]+|\\.)*"|[^@\s<>()\[\],:;]+)@(?:[^"\s<>()\[\],:;]+|\[[\d:.]+\])"#;
const QUOTED: &str = r#""(?:[^"\\]+|\\.)*""#;

/// The patterns, compiled when the first address is not a simple one.
struct Patterns {
    /// One address with name and comment, and what separates it from the next.
    entry: Regex,
    mailbox: Regex,
    bracketed: Regex,
    comment: Regex,
    quoted_or_not: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let phrase = format!("(?:{QUOTED}|[^\",;<]+)+");
    let repeated = format!(r"(?:\s*<\s*(?:(?:{QUOTED})?\S+|\s*)\s*>)*");
    let addressed = format!(r"(?:({phrase})\s*)?<\s*([^>@]*\S+|\s*)\s*>{repeated}");
    let entry =
        format!(r"\A\s*(?:{addressed}|(?:({MAILBOX})|({phrase})))(?:\s*\(((?:[^()\\]+|\\.)*)\))?\s*(?:[,;]|\z)");
    let compile = |pattern: &str| Regex::new(&format!("(?i-u:{pattern})")).ok();
    Some(Patterns {
        entry: compile(&entry)?,
        mailbox: compile(&format!(r"\A{MAILBOX}\n?\z"))?,
        bracketed: compile(&format!("<({MAILBOX})>"))?,
        comment: compile(r"\((?:[^()\\]+|\\(?s:.))*\)")?,
        quoted_or_not: compile(r#""((?:[^"\\]+|\\.)*)"|([^"]+)"#)?,
    })
});

/// Takes a field body apart.
pub fn addresses(raw: &[u8]) -> Vec<Address> {
    if let Some(address) = simple(raw) {
        return vec![address];
    }
    let Some(patterns) = PATTERNS.as_ref() else { return Vec::new() };
    let text = without_group(&without_escaped_backslashes(trimmed_end(raw)));
    let mut found = Vec::new();
    let mut rest = text.as_slice();
    while !trimmed(rest).is_empty() && found.len() < ADDRESSES_MAX {
        let Some(captures) = patterns.entry.captures(rest) else { break };
        let group = |number| captures.get(number).map(|found| found.as_bytes());
        let bracketed = group(2).map(|address| patterns.without_comments(address));
        let bracketed = bracketed.filter(|address| patterns.mailbox.is_match(address));
        let address = bracketed.or_else(|| group(3).filter(|_| group(2).is_none()).map(<[u8]>::to_vec));
        let standalone = captures.get(4).map(|phrase| whole_runs(phrase.as_bytes(), rest.get(phrase.end())));
        let Some(standalone) = standalone.map_or(Some(None), |phrase| phrase.map(Some)) else { break };
        found.push(patterns.address(address, group(1).or(standalone), group(5)));
        rest = captures.get(0).and_then(|whole| rest.get(whole.end()..)).unwrap_or_default();
    }
    if memchr(b'@', rest).is_some() {
        let left = patterns.bracketed.captures_iter(rest).filter_map(|captures| captures.get(1));
        let left = left.filter(|address| is_plausible(address.as_bytes())).take(ADDRESSES_MAX);
        found.extend(left.map(|left| Address { address: Some(one_at(left.as_bytes())), phrase: None }));
    }
    found
}

/// A phrase that stands alone is made of quoted strings and of runs that end only where none can go on. A blank run that
/// was cut short before a comment is none; with anything else cut short, there is no phrase at all.
fn whole_runs<'t>(phrase: &'t [u8], next: Option<&u8>) -> Option<&'t [u8]> {
    if next.is_none_or(|next| b"\",;<".contains(next)) {
        return Some(phrase);
    }
    let kept = trimmed_end(phrase);
    (kept.len() < phrase.len() && kept.last() == Some(&b'"')).then_some(kept)
}

/// `user@host`, or `Name <user@host>`: what nearly all fields are. Anything out of the ordinary is `None`.
fn simple(raw: &[u8]) -> Option<Address> {
    let text = trimmed(raw);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._+=-".contains(b);
    let is_address = |text: &[u8]| {
        let at = memchr(b'@', text).unwrap_or(0);
        let (user, host) = text.split_at_checked(at).unwrap_or_default();
        let host = host.get(1..).unwrap_or_default();
        !user.is_empty() && !host.is_empty() && user.iter().all(plain) && host.iter().all(plain)
    };
    if is_address(text) {
        return Some(Address { address: Some(text.to_vec()), phrase: None });
    }
    let (phrase, address) = text.strip_suffix(b">").and_then(|text| text.split_at_checked(memchr(b'<', text)?))?;
    let address = address.get(1..).filter(|address| is_address(address))?;
    let phrase = match phrase.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").or_else(|| quoted.strip_suffix(b"\" "))?,
        None => phrase,
    };
    let ordinary = |b: &u8| b.is_ascii_alphanumeric() || b" ._+='?!*&/-".contains(b);
    let quoted_tail = phrase.len() < text.len() && text.first() == Some(&b'"');
    let phrase_with_blank = quoted_tail && text.get(phrase.len() + 1..phrase.len() + 3) == Some(b"\" ");
    let same = phrase == address;
    if !phrase.iter().all(ordinary) || same || (quoted_tail && phrase.is_empty()) {
        return None;
    }
    let mut phrase = phrase.to_vec();
    if phrase_with_blank {
        phrase.push(b' ');
    }
    Some(Address { address: Some(address.to_vec()), phrase: Some(phrase).filter(|phrase| !phrase.is_empty()) })
}

impl Patterns {
    fn without_comments(&self, text: &[u8]) -> Vec<u8> {
        match memchr(b'(', text) {
            None => text.to_vec(),
            Some(_) => self.comment.replace_all(text, &b""[..]).into_owned(),
        }
    }

    fn address(&self, address: Option<Vec<u8>>, phrase: Option<&[u8]>, comment: Option<&[u8]>) -> Address {
        let address = address.filter(|address| is_plausible(address));
        let phrase = phrase.map(|phrase| self.unquoted(phrase));
        let (address, phrase) = match (address, phrase) {
            (None, Some(phrase)) if self.is_address(&phrase) => (Some(phrase), None),
            (address, phrase) => {
                let phrase = phrase.filter(|phrase| !phrase.is_empty() && address.as_ref() != Some(phrase));
                (address, phrase)
            }
        };
        let phrase = phrase.or_else(|| comment.map(<[u8]>::to_vec));
        Address { address: address.map(|address| one_at(&address)), phrase }
    }

    /// Quotation marks and comments go, escaped octets stand for themselves.
    fn unquoted(&self, phrase: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(phrase.len());
        for captures in self.quoted_or_not.captures_iter(phrase) {
            match (captures.get(1), captures.get(2)) {
                (Some(quoted), _) => out.extend(quoted.as_bytes().iter().filter(|b| **b != b'\\')),
                (None, Some(plain)) => out.extend(self.without_comments(plain.as_bytes())),
                (None, None) => {}
            }
        }
        out
    }

    /// A name that is an address is one if its domain could be in the DNS.
    fn is_address(&self, phrase: &[u8]) -> bool {
        let host = phrase.split(|b| *b == b'@').nth(1).unwrap_or_default();
        self.mailbox.is_match(phrase) && is_plausible(phrase) && could_be_host(host)
    }
}

fn is_plausible(address: &[u8]) -> bool {
    !address.starts_with(b"\"\"@") && address.iter().filter(|b| **b == b'"').count() != 1
}

/// Up to the second `@` on its line; what follows that line stays.
fn one_at(address: &[u8]) -> Vec<u8> {
    let mut ats = memchr::memchr_iter(b'@', address);
    match (ats.next(), ats.next()) {
        (Some(_), Some(second)) => {
            let (kept, cut) = address.split_at_checked(second).unwrap_or((address, &[]));
            let tail = memchr(b'\n', cut).and_then(|end| cut.get(end..)).unwrap_or_default();
            [kept, tail].concat()
        }
        _ => address.to_vec(),
    }
}

/// Labels of letters, digits, `-` and `_`, at least two of them; no `_` in the last two.
pub fn could_be_host(host: &[u8]) -> bool {
    let end = host.iter().rposition(|b| *b != b'.').map_or(0, |last| last + 1);
    let host = host.get(..end).unwrap_or_default();
    let labels: Vec<&[u8]> = host.split(|b| *b == b'.').collect();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |(from_end, label): (usize, &&[u8])| {
        let ends = [label.first(), label.last()];
        (1..=63).contains(&label.len())
            && label.iter().all(inner)
            && ends.iter().all(|end| *end != Some(&b'-'))
            && (from_end >= 2 || memchr(b'_', label).is_none())
    };
    host.len() <= 253 && labels.len() > 1 && labels.iter().rev().enumerate().all(is_label)
}

fn without_escaped_backslashes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match after.strip_prefix(b"\\").filter(|_| *first == b'\\') {
            Some(after) => rest = after,
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The name of a group names nobody (RFC 5322 section 3.4); an empty group ends all.
fn without_group(text: &[u8]) -> Vec<u8> {
    let end = text.iter().position(|b| b"\"()<>".contains(b)).unwrap_or(text.len());
    let colon = text.get(..end).and_then(|name| memchr::memrchr(b':', name)).filter(|colon| *colon > 0);
    let Some(rest) = colon.and_then(|colon| text.get(colon + 1..)) else { return text.to_vec() };
    let rest = trimmed_start(rest);
    if rest.first() == Some(&b';') { Vec::new() } else { rest.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &str) -> (String, String) {
        let text = |values: Vec<Vec<u8>>| String::from_utf8_lossy(&values.join(&b'|')).into_owned();
        let found = addresses(value.as_bytes());
        (
            text(found.iter().filter_map(|address| address.address.clone()).collect()),
            text(found.iter().filter_map(Address::name).collect()),
        )
    }

    #[test]
    fn addresses_and_names() {
        for (value, expected_addresses, expected_names) in [
            ("a@b.example", "a@b.example", ""),
            (" <a@b.example>\n", "a@b.example", ""),
            (" Joe Public <j@b.example>\n", "j@b.example", "Joe Public"),
            ("\"Joe\" <j@b.example>", "j@b.example", "Joe"),
            ("\"Public, Joe \\\"Q\\\"\" <j@b.example>, c@d.example", "j@b.example|c@d.example", "Public, Joe \"Q\""),
            ("j@b.example (Joe)", "j@b.example", "Joe"),
            ("'Joe  X' < j@b.example >", "j@b.example", "Joe X"),
            ("=?utf-8?Q?Jo=C3=AB?= <j@b.example>", "j@b.example", "Joë"),
            ("\"x@y.example\" <j@b.example>", "j@b.example", "x@y.example"),
            ("undisclosed-recipients:;", "", ""),
            ("team: a@b.example, <c@d.example>;", "a@b.example|c@d.example", ""),
            ("Joe <j@b.example", "", ""),
            ("\"Joe\", <j@b.example>", "j@b.example", "Joe"),
            ("\"j@b.example\"", "j@b.example", ""),
            ("\"j@b\"", "", "j@b"),
            ("j@b.example <j@b.example>", "j@b.example", "j@b.example"),
            ("\"j@b.example\" <j@b.example>", "j@b.example", "j@b.example"),
            ("\"j@b.example\"<j@b.example>", "j@b.example", ""),
            ("<a@b.example>,<c@d.example>", "", ""),
            ("<a@b.example>, <c@d.example>", "a@b.example|c@d.example", ""),
            ("a@b.example@c", "a@b.example", ""),
            ("=?x?Q?\"Joe\"?=<a@b.example>", "a@b.example", "Joe"),
            ("x\"y <a@b.example>", "a@b.example", ""),
            ("\"a@b.example\"  (<x@y.example>)", "a@b.example", "<x@y.example>"),
            ("\"a\" (x)", "", "a"),
            ("", "", ""),
        ] {
            let expected = (expected_addresses.to_owned(), expected_names.to_owned());
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("b.example", true),
            ("b.example..", true),
            ("b", false),
            ("a_b.example", false),
            ("x_y.a.example", true),
            ("-a.example", false),
            ("a..example", false),
        ] {
            assert_eq!(could_be_host(host.as_bytes()), expected, "{host}");
        }
    }

    #[test]
    fn hostile_fields_take_bounded_time() {
        for unit in ["(", "\"", "<", "a,", "\\(", "<a@b>,", "<a@b>, ", "a ", "\"\\", ":"] {
            addresses(unit.repeat(8_192 / unit.len()).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..100), text in "[a@b.<>,;:\"'\\\\() \n]{0,40}") {
            addresses(&octets);
            addresses(text.as_bytes());
        }
        /// The short cut for simple fields changes nothing.
        #[test]
        fn simple_is_the_same(text in " {0,2}(\"?[a-z. ]{0,5}\"? ?)?(<[a@.b]{3,6}>|[a@.b]{3,6}) ?\n?") {
            if let Some(found) = simple(text.as_bytes()) {
                let patterns = PATTERNS.as_ref().expect("they compile");
                // A comment behind it makes it anything but simple.
                let long = addresses(format!("{}, x (y)", text.trim_end()).as_bytes());
                let mut expected = vec![found];
                expected.push(patterns.address(None, Some(b"x (y)"), None));
                assert_eq!(long, expected);
            }
        }
    }
}
