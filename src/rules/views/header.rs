//! The header as header rules see it: values unfolded and decoded, addresses and names taken apart, pseudo-headers.
//!
//! *Guarantees:* at most [`HEADER_OCTETS_MAX`] octets and [`FIELDS_MAX`] fields are looked at.
//! *Follows:* RFC 2047 for encoded words, read leniently: neighbours of one charset are joined before they are decoded,
//! for characters are cut in two by careless senders.

use memchr::{memchr, memmem};

use crate::address::ReversePath;
use crate::message::{Field, HEADER_OCTETS_MAX, Message};
use crate::mime;
use crate::rules::definition::{Fields, Part, Selector};
use crate::rules::views::charset;

/// How many fields are looked at.
pub const FIELDS_MAX: usize = 4_096;

/// Fields in which no encoded words are decoded: they hold none, or identifiers that only look like them.
const NOT_DECODED: [&str; 7] =
    ["received", "message-id", "date", "mime-version", "references", "in-reply-to", "return-path"];

/// The fields of a message.
pub struct Header<'a> {
    fields: Vec<Field<'a>>,
    reverse_path: Option<&'a ReversePath>,
}

impl<'a> Header<'a> {
    /// Lists the fields.
    pub fn new(message: &'a Message, reverse_path: Option<&'a ReversePath>) -> Self {
        let mut octets = 0;
        let within = |field: &Field<'_>| {
            octets += field.raw.len();
            octets <= HEADER_OCTETS_MAX
        };
        Header { fields: message.fields().take(FIELDS_MAX).take_while(within).collect(), reverse_path }
    }

    /// The decoded Subject without line end: the last one, as SpamAssassin has it. Empty if there is none.
    pub fn subject(&self) -> Vec<u8> {
        let subject = self.fields.iter().rev().find(|field| field.is("Subject"));
        let mut value = subject.map(|field| decoded(field)).unwrap_or_default();
        value.pop();
        value
    }

    /// What a selector selects; none if there is no such field.
    pub fn select(&self, selector: &Selector) -> Option<Vec<u8>> {
        let part = selector.part;
        match &selector.fields {
            Fields::Named(name) => self.values(&[name], part, b""),
            Fields::ToCc => self.values(&["to", "cc"], part, b", "),
            Fields::MessageId => {
                self.values(&["x-message-id", "resent-message-id", "x-original-message-id", "message-id"], part, b"")
            }
            Fields::All => Some(self.all(part)),
            Fields::EnvelopeFrom => self.envelope_from(),
        }
    }

    /// The values of all fields of these names, name by name. `between` replaces the line end before another name's.
    fn values(&self, names: &[&str], part: Part, between: &[u8]) -> Option<Vec<u8>> {
        let mut value: Option<Vec<u8>> = None;
        for (at, name) in names.iter().enumerate() {
            let mut first_of_name = at > 0;
            for field in self.fields.iter().filter(|field| field.is(name)) {
                let value = value.get_or_insert_default();
                if std::mem::take(&mut first_of_name) && !between.is_empty() && value.last() == Some(&b'\n') {
                    value.pop();
                    value.extend_from_slice(between);
                }
                value.extend_from_slice(&part_of(field, part));
            }
        }
        value
    }

    fn all(&self, part: Part) -> Vec<u8> {
        let mut all = Vec::new();
        for field in &self.fields {
            if part == Part::Raw {
                all.extend_from_slice(field.raw);
                continue;
            }
            all.extend_from_slice(field.name);
            all.extend_from_slice(b": ");
            all.extend_from_slice(&decoded(field));
        }
        all
    }

    /// The reverse-path without brackets, empty for the null one. Without a session, what an earlier delivery noted.
    fn envelope_from(&self) -> Option<Vec<u8>> {
        match self.reverse_path {
            Some(ReversePath::Null) => Some(Vec::new()),
            Some(ReversePath::Mailbox(mailbox)) => Some(mailbox.to_string().into_bytes()),
            None => {
                let noted = self.fields.iter().find(|field| field.is("Return-Path"))?;
                let trimmed = noted.body.trim_ascii();
                let inner = trimmed.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
                Some(inner.unwrap_or(trimmed).to_vec())
            }
        }
    }
}

fn part_of(field: &Field<'_>, part: Part) -> Vec<u8> {
    match part {
        Part::Decoded => decoded(field),
        Part::Raw => raw(field),
        Part::Address => joined(addresses(&unfolded(field.body)).into_iter().map(|address| address.address)),
        Part::Name => joined(addresses(&unfolded(field.body)).into_iter().map(|address| plain_name(&address.name))),
    }
}

/// Not empty, each with a line end.
fn joined(items: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    items.filter(|item| !item.is_empty()).flat_map(|item| [item, b"\n".to_vec()].concat()).collect()
}

/// Folding becomes one space (RFC 5322 section 2.2.3), line ends go.
fn unfolded(body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(body.len());
    for (at, line) in body.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let folded = line.trim_ascii_start();
        match at {
            0 => value.extend_from_slice(line),
            _ if folded.len() < line.len() => {
                value.push(b' ');
                value.extend_from_slice(folded);
            }
            _ => value.extend_from_slice(line),
        }
    }
    value
}

fn raw(field: &Field<'_>) -> Vec<u8> {
    let mut value = unfolded(field.body);
    value.push(b'\n');
    value
}

fn decoded(field: &Field<'_>) -> Vec<u8> {
    let value = unfolded(field.body);
    let value = value.trim_ascii();
    let literal = NOT_DECODED.iter().any(|name| field.is(name)) || starts_with(field.name, b"resent-");
    let mut decoded = match literal || starts_with(field.name, b"list-") {
        true => charset::decode(value, None).into_bytes(),
        false => decode_words(value),
    };
    decoded.push(b'\n');
    decoded
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Decodes the encoded words of a value (RFC 2047 section 2). What is none stays, as UTF-8.
fn decode_words(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    // Octets of neighbours of one charset.
    let mut waiting: Option<(&[u8], Vec<u8>)> = None;
    let mut rest = value;
    while let Some((before, word, after)) = next_word(rest) {
        let neighbours = waiting.is_some() && before.trim_ascii().is_empty();
        if !neighbours {
            flush(&mut waiting, &mut out);
            out.extend_from_slice(charset::decode(before, None).as_bytes());
        }
        match &mut waiting {
            Some((charset, octets)) if charset.eq_ignore_ascii_case(word.charset) => octets.extend(word.decoded()),
            _ => {
                flush(&mut waiting, &mut out);
                waiting = Some((word.charset, word.decoded()));
            }
        }
        rest = after;
    }
    flush(&mut waiting, &mut out);
    out.extend_from_slice(charset::decode(rest, None).as_bytes());
    out
}

fn flush(waiting: &mut Option<(&[u8], Vec<u8>)>, out: &mut Vec<u8>) {
    if let Some((label, octets)) = waiting.take() {
        out.extend_from_slice(charset::decode(&octets, Some(label)).as_bytes());
    }
}

/// `=?charset?B?text?=`.
struct EncodedWord<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

impl EncodedWord<'_> {
    fn decoded(&self) -> Vec<u8> {
        match self.base64 {
            true => mime::base64(self.text),
            false => {
                let spaced: Vec<u8> = self.text.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
                mime::quoted_printable(&spaced)
            }
        }
    }
}

/// The next encoded word, with what stands before and behind it. A start that leads to none is passed over.
fn next_word(text: &[u8]) -> Option<(&[u8], EncodedWord<'_>, &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memmem::find(text.get(from..)?, b"=?")?;
        let (before, word) = text.split_at(at);
        if let Some((word, after)) = encoded_word(word.get(2..)?) {
            return Some((before, word, after));
        }
        from = at + 2;
    }
}

/// The longest encoded word that is read, in octets. RFC 2047 section 2 allows 75; senders write whole subjects in one.
const WORD_OCTETS_MAX: usize = 2_048;

fn encoded_word(text: &[u8]) -> Option<(EncodedWord<'_>, &[u8])> {
    let limited = text.get(..WORD_OCTETS_MAX).unwrap_or(text);
    let (charset, rest) = limited.split_at_checked(memchr(b'?', limited)?)?;
    // RFC 2231 section 5 appends a language.
    let charset = charset.split(|b| *b == b'*').next()?;
    let (&encoding, rest) = rest.get(1..)?.split_first()?;
    let rest = rest.strip_prefix(b"?")?;
    let end = memmem::find(rest, b"?=")?;
    let base64 = matches!(encoding, b'B' | b'b');
    let legal = base64 || matches!(encoding, b'Q' | b'q');
    let legal = legal && !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
    let consumed = limited.len() - rest.len() + end + 2;
    legal.then_some((EncodedWord { charset, base64, text: rest.get(..end)? }, text.get(consumed..)?))
}

/// One address of an address list (RFC 5322 section 3.4), read leniently.
#[derive(Debug, Default, PartialEq, Eq)]
struct Address {
    name: Vec<u8>,
    address: Vec<u8>,
}

/// Takes an address list apart: one pass over quoted strings, comments, brackets, and what separates addresses.
fn addresses(value: &[u8]) -> Vec<Address> {
    let mut found = Vec::new();
    let mut current = Address::default();
    let mut comment = Vec::new();
    let mut bracketed = false;
    let mut rest = value;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'"' => rest = quoted(after, b'"', &mut current.name),
            b'(' => rest = quoted(after, b')', &mut comment),
            b'<' if !bracketed => {
                bracketed = true;
                let end = memchr(b'>', after).unwrap_or(after.len());
                let (address, after) = after.split_at(end);
                current.address = address.trim_ascii().to_vec();
                rest = after.get(1..).unwrap_or_default();
            }
            b',' | b';' => finish(&mut current, &mut comment, &mut bracketed, &mut found),
            // The name of a group (RFC 5322 section 3.4) names nobody.
            b':' => current.name.clear(),
            octet => current.name.push(octet),
        }
    }
    finish(&mut current, &mut comment, &mut bracketed, &mut found);
    found
}

/// Copies to the closing mark; a backslash takes the next octet literally.
fn quoted<'a>(text: &'a [u8], close: u8, out: &mut Vec<u8>) -> &'a [u8] {
    let mut octets = text.iter().enumerate();
    while let Some((at, &octet)) = octets.next() {
        match octet {
            b'\\' => out.extend(octets.next().map(|(_, octet)| octet)),
            octet if octet == close => return text.get(at + 1..).unwrap_or_default(),
            octet => out.push(octet),
        }
    }
    &[]
}

/// Without brackets the text is the address, and a comment the name (RFC 5322 section 3.4, the old form).
fn finish(current: &mut Address, comment: &mut Vec<u8>, bracketed: &mut bool, found: &mut Vec<Address>) {
    let mut address = std::mem::take(current);
    let comment = std::mem::take(comment);
    if !std::mem::take(bracketed) {
        let mut words = address.name.split(|b| b.is_ascii_whitespace());
        if let Some(word) = words.find(|word| word.contains(&b'@')) {
            address.address = word.iter().copied().filter(|b| !b"<>".contains(b)).collect();
            address.name.clear();
        }
    }
    if address.name.trim_ascii().is_empty() {
        address.name = comment;
    }
    if !address.address.is_empty() || !address.name.trim_ascii().is_empty() {
        found.push(address);
    }
}

/// A name decoded, white space collapsed, without the single quotes that some clients put around it.
fn plain_name(name: &[u8]) -> Vec<u8> {
    let decoded = decode_words(name.trim_ascii());
    let words: Vec<&[u8]> = decoded.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let name = words.join(&b' ');
    name.strip_prefix(b"'").and_then(|inner| inner.strip_suffix(b"'")).unwrap_or(&name).to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::address::Domain;
    use crate::authentication::{self, Authors};

    fn select(header: &str, fields: Fields, part: Part) -> Option<String> {
        let message = Message::from_stored(header.as_bytes());
        let value = Header::new(&message, None).select(&Selector { fields, part });
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    fn named(header: &str, part: Part) -> String {
        select(header, Fields::Named("a".into()), part).expect("a field A")
    }

    #[test]
    fn values_are_unfolded_and_decoded() {
        for (header, expected) in [
            ("A:  x  \n", "x\n"),
            ("A: x\n\t y\n", "x y\n"),
            ("A: 1\nB: 2\na: 3\n", "1\n3\n"),
            ("A: =?utf-8?Q?caf=C3=A9_au?= lait\n", "café au lait\n"),
            ("A: =?UTF-8?B?w6k=?=\n =?utf-8?b?w6k=?= x\n", "éé x\n"),
            ("A: =?utf-8?B?4oI=?= =?utf-8?B?rA==?=\n", "€\n"),
            ("A: =?iso-8859-1?Q?=E9?= =?utf-8?Q?=C3=A9?=\n", "éé\n"),
            ("A: =?utf-8*en?Q?x?=y\n", "xy\n"),
            ("A: =?x =?utf-8?Q?a?= =? =?utf-8?X?a?=\n", "=?x a =? =?utf-8?X?a?=\n"),
            ("A: =?utf-8?Q?open\n", "=?utf-8?Q?open\n"),
        ] {
            assert_eq!(named(header, Part::Decoded), expected, "{header:?}");
        }
        assert_eq!(named("A:  =?utf-8?Q?a?=\n  b\n", Part::Raw), "  =?utf-8?Q?a?= b\n");
        let message = Message::new(b"A: caf\xe9\r\n".to_vec());
        let value =
            Header::new(&message, None).select(&Selector { fields: Fields::Named("a".into()), part: Part::Decoded });
        assert_eq!(value.as_deref(), Some("café\n".as_bytes()));
        let references = Fields::Named("references".into());
        assert_eq!(
            select("References: =?utf-8?Q?a?=\n", references, Part::Decoded).as_deref(),
            Some("=?utf-8?Q?a?=\n")
        );
    }

    /// Rules that ask for `From:addr` mean the author that DMARC means, wherever the field is legal.
    #[test]
    fn from_addresses_are_those_of_the_authors() {
        for from in [
            "a@example.org",
            "A Name <a@example.org>",
            "\"b@other.example\" <a@example.org>",
            "\"A \\\" <b@other.example>\" <a@example.org>",
            "A (b@other.example) <a@example.org>",
            "a@example.org (b@other.example)",
            "a@example.org(A (nested) name)",
            ",a@example.org, b@Example.Org,",
            "group: a@example.org, <b@example.org>;",
            "\"q r\"@example.org",
            "A\r\n Name\r\n\t<a@example.org>",
            "=?utf-8?q?b=40other.example?= <a@example.org>",
            "a@b\u{fc}cher.example",
        ] {
            let header = format!("From: {from}\r\n");
            let authors = authentication::authors(&Message::from_stored(header.as_bytes()));
            let seen = select(&header, Fields::Named("from".into()), Part::Address).unwrap();
            let domains: BTreeSet<_> = seen.lines().filter_map(|line| line.rsplit_once('@')).collect();
            let domains: BTreeSet<_> = domains.iter().filter_map(|(_, text)| Domain::from_unicode(text).ok()).collect();
            assert_eq!(domains.into_iter().map(Authors::One).collect::<Vec<_>>(), [authors], "{from}");
        }
    }

    #[test]
    fn addresses_and_names() {
        for (value, expected_addresses, expected_names) in [
            ("a@b.example", "a@b.example\n", ""),
            ("<a@b.example>", "a@b.example\n", ""),
            ("Joe Q. Public <j@b.example>", "j@b.example\n", "Joe Q. Public\n"),
            (
                "\"Public, Joe \\\"Q\\\"\" <j@b.example>, c@d.example",
                "j@b.example\nc@d.example\n",
                "Public, Joe \"Q\"\n",
            ),
            ("j@b.example (Joe)", "j@b.example\n", "Joe\n"),
            ("'Joe  X' < j@b.example >", "j@b.example\n", "Joe X\n"),
            ("=?utf-8?Q?Jo=C3=AB?= <j@b.example>", "j@b.example\n", "Joë\n"),
            ("\"x@y.example\" <j@b.example>", "j@b.example\n", "x@y.example\n"),
            ("undisclosed-recipients:;", "", ""),
            ("team: a@b.example, <c@d.example>;", "a@b.example\nc@d.example\n", ""),
            ("Joe <j@b.example", "j@b.example\n", "Joe\n"),
            ("\"Joe\", <j@b.example>", "j@b.example\n", "Joe\n"),
            ("\"open <j@b.example>", "j@b.example\n", ""),
            ("", "", ""),
        ] {
            let header = format!("A: {value}\n");
            assert_eq!(named(&header, Part::Address), expected_addresses, "{value}");
            assert_eq!(named(&header, Part::Name), expected_names, "{value}");
        }
    }

    #[test]
    fn pseudo_headers() {
        let header = "Return-Path: <r@x.example>\nTo: a\nCc: b\nTo: c\nMessage-ID: <1>\nX-Message-Id: <2>\n";
        assert_eq!(select(header, Fields::ToCc, Part::Decoded).as_deref(), Some("a\nc, b\n"));
        assert_eq!(select(header, Fields::MessageId, Part::Decoded).as_deref(), Some("<2>\n<1>\n"));
        assert_eq!(select(header, Fields::EnvelopeFrom, Part::Decoded).as_deref(), Some("r@x.example"));
        assert_eq!(select("A: 1\n 2\nB:3\n", Fields::All, Part::Decoded).as_deref(), Some("A: 1 2\nB: 3\n"));
        assert_eq!(select("A: 1\n 2\n", Fields::All, Part::Raw).as_deref(), Some("A: 1\r\n 2\r\n"));
        assert_eq!(select("A: 1\n", Fields::ToCc, Part::Decoded), None);
        let message = Message::new(Vec::new());
        let header = Header::new(&message, Some(&ReversePath::Null));
        assert_eq!(header.envelope_from(), Some(Vec::new()));
        assert_eq!(header.subject(), b"");
    }

    #[test]
    fn hostile_headers_take_linear_time() {
        for unit in ["=?", "=?a?Q?", "(", "\"", "<", "a,", "\\(", "=?a?B?QQ==?= ", "\r\n "] {
            let message = Message::new(format!("A: {}\r\n", unit.repeat(200_000 / unit.len())).into_bytes());
            let header = Header::new(&message, None);
            for part in [Part::Decoded, Part::Raw, Part::Address, Part::Name] {
                header.select(&Selector { fields: Fields::Named("a".into()), part });
            }
        }
    }
}
