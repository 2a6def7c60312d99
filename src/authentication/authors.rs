//! Who a message says wrote it: the author domains in RFC5322.From (RFC 9989 section 5.3.1).
//!
//! *Guarantees:* a field that readers may understand differently is never [`Authors::One`] of just one reading: every angle
//! bracket counts, and where quotes, comments or brackets do not match, everything behind an `@` counts.
//! *Never does:* recurse; nesting is a counter.
//! *RFC:* 5322 sections 3.2 to 3.4.

use std::collections::BTreeSet;

use super::Authors;
use crate::address::Domain;
use crate::message::Message;

/// A From field is not read beyond this, in octets.
const FROM_OCTETS_MAX: usize = 65_536;

pub(super) fn read(message: &Message) -> Authors {
    let mut fields = message.fields().filter(|field| field.is("From"));
    match (fields.next(), fields.next()) {
        (None, _) => Authors::None,
        (Some(field), None) if field.body.len() <= FROM_OCTETS_MAX => {
            let body = String::from_utf8_lossy(field.body);
            judge(addresses(&body).unwrap_or_else(|| everything(&body)))
        }
        _ => Authors::Several,
    }
}

/// One legal domain, and nothing beside it that may be another one.
fn judge(addresses: Vec<String>) -> Authors {
    let domains = addresses.iter().filter_map(|address| address.rsplit_once('@')).map(|(_, domain)| {
        let text: String = domain.split_ascii_whitespace().collect();
        Domain::from_unicode(&text).ok()
    });
    let domains: BTreeSet<Option<Domain>> = domains.collect();
    let mut legal = domains.iter().flatten();
    match (legal.next(), domains.len()) {
        (Some(domain), 1) => Authors::One(domain.clone()),
        (None, _) => Authors::None,
        _ => Authors::Several,
    }
}

/// What stands where the scanner is.
#[derive(PartialEq)]
enum Place {
    Text,
    Quoted,
    Angle,
}

/// The addresses of a mailbox list (RFC 5322 section 3.4): what stands in angle brackets, or all of a mailbox without any.
/// None if quotes, comments or brackets do not match.
fn addresses(body: &str) -> Option<Vec<String>> {
    let (mut found, mut text, mut angle) = (Vec::new(), String::new(), String::new());
    let (mut place, mut resume, mut comments) = (Place::Text, Place::Text, 0_usize);
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match (c, &place) {
            ('\\', Place::Quoted) => drop(chars.next()?),
            ('\\', _) if comments > 0 => drop(chars.next()?),
            ('"', Place::Quoted) => place = std::mem::replace(&mut resume, Place::Text),
            (_, Place::Quoted) => {}
            ('(', _) => comments = comments.checked_add(1)?,
            (')', _) => comments = comments.checked_sub(1)?,
            _ if comments > 0 => {}
            ('"', _) => resume = std::mem::replace(&mut place, Place::Quoted),
            ('>', Place::Angle) => {
                found.push(std::mem::take(&mut angle));
                place = Place::Text;
                text.clear();
            }
            ('<', Place::Angle) | ('>', _) => return None,
            (c, Place::Angle) => angle.push(c),
            ('<', _) => place = Place::Angle,
            // A group's name ends at the colon, and the group at the semicolon.
            (':', _) => text.clear(),
            (',' | ';', _) => found.push(std::mem::take(&mut text)),
            (c, _) => text.push(c),
        }
    }
    found.push(text);
    (place == Place::Text && comments == 0).then_some(found)
}

/// Every run of characters around an `@`, wherever it stands.
fn everything(body: &str) -> Vec<String> {
    let ends = |c: char| c.is_ascii_whitespace() || "<>()[],;:\"\\".contains(c);
    body.split(ends).filter(|run| run.contains('@')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authors(header: &str) -> String {
        match read(&Message::new(format!("{header}\r\n\r\n").into_bytes())) {
            Authors::One(domain) => domain.to_string(),
            Authors::None => "none".to_owned(),
            Authors::Several => "several".to_owned(),
        }
    }

    #[test]
    fn one_author() {
        for from in [
            "a@example.org",
            " <a@EXAMPLE.org> ",
            "A Name <a@example.org>",
            "\"b@other.example\" <a@example.org>",
            "b@other.example <a@example.org>",
            "\"A \\\" <b@other.example>\" <a@example.org>",
            "A (b@other.example (nested\\) <c@d>)) <a@example.org>",
            "a@example.org (A Name)",
            "Name, Comma <a@example.org>",
            "a@example.org, b@Example.Org",
            "group: a@example.org, <b@example.org>;",
            "<@route.example,@x:a@example.org>",
            "\"q@r\"@example.org",
            "a@ example . org",
            "a@example.org.",
            "A\r\n Name\r\n\t<a@example.org>",
            "\"unclosed <a@example.org>",
            "=?utf-8?q?b=40other.example?= <a@example.org>",
        ] {
            assert_eq!(authors(&format!("From:{from}")), "example.org", "{from}");
        }
        assert_eq!(authors("From: a@b\u{fc}cher.example"), "xn--bcher-kva.example");
    }

    #[test]
    fn no_author_and_several_authors() {
        for from in ["", "nobody", "a@", "a@[192.0.2.1]", "a@b..c", "undisclosed:;", "<>", "\"a@b.example\""] {
            assert_eq!(authors(&format!("From: {from}")), "none", "{from}");
        }
        assert_eq!(authors("Subject: x"), "none");
        for from in [
            "a@one.example, b@two.example",
            "<a@one.example> <b@two.example>",
            "<a@one.example> b@two.example",
            "g: a@one.example; b@two.example",
            "<a@one.example><b@two.example>",
            "\"unclosed a@one.example <b@two.example>",
            "(unclosed a@one.example, b@two.example",
            "<a@one.example, <b@two.example>",
            "a@one.example, b@[192.0.2.1]",
            "a@one.example\r\nFrom: a@one.example",
        ] {
            assert_eq!(authors(&format!("From: {from}")), "several", "{from}");
        }
    }
}
