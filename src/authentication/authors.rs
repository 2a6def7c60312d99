//! Who a message says wrote it: the author domains in RFC5322.From (RFC 9989 section 5.3.1).
//!
//! *Guarantees:* [`Authors::One`] is a domain that every reader of the field finds, and no reader finds another. What can
//! be read in two ways is [`Authors::Several`] or [`Authors::Malformed`], for both of which policy refuses: a field that
//! cannot be read must not be a way around DMARC.
//! *Lenient where real senders are:* a display name that needed quotes and has none is read, if a single address in angle
//! brackets ends the field and nothing before it looks like an address of another domain.
//! *RFC:* 5322 section 3.6.2.

use memchr::memmem;

use super::Authors;
use super::address_list::{careless_domains, domain_behind_unmatched, domains, scan};
use crate::message::Message;

/// A longer From field is not read, in octets.
const FROM_OCTETS_MAX: usize = 65_536;

/// Who wrote this message, as far as its From field can be read.
pub fn read(message: &Message) -> Authors {
    let mut fields = message.fields().filter(|field| field.is("From"));
    // Some readers show the Sender where there is no author.
    let has_sender = || message.fields().any(|field| field.is("Sender") && field.body.contains(&b'@'));
    match (fields.next(), fields.next()) {
        (None, _) if has_sender() => Authors::Malformed,
        (None, _) => Authors::None,
        (Some(field), None) if names_nobody(field.body) && has_sender() => Authors::Malformed,
        (Some(field), None) if names_nobody(field.body) => Authors::None,
        (Some(field), None) => read_body(field.body),
        _ => Authors::Several,
    }
}

/// `From: root (Cron Daemon)`: a bare name of a machine's own mail. No reader sees a domain in it that it could usurp.
fn names_nobody(body: &[u8]) -> bool {
    body.is_ascii() && !body.contains(&b'@') && memmem::find(body, b"=?").is_none() && !body.contains(&0)
}

fn read_body(body: &[u8]) -> Authors {
    // Readers in C see nothing behind a NUL.
    if body.len() > FROM_OCTETS_MAX || body.contains(&0) {
        return Authors::Malformed;
    }
    let body = String::from_utf8_lossy(body);
    let found = match scan(&body) {
        Some(pieces) => domains(&pieces).or_else(|| careless_domains(&pieces)),
        None => domain_behind_unmatched(&body),
    };
    let mut found = found.unwrap_or_default();
    found.sort();
    found.dedup();
    match found.pop() {
        Some(domain) if found.is_empty() => Authors::One(domain),
        Some(_) => Authors::Several,
        None => Authors::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authors(header: &str) -> String {
        match read(&Message::new(format!("{header}\r\n\r\n").into_bytes())) {
            Authors::One(domain) => domain.to_string(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn one_author() {
        for from in [
            "a@example.org",
            " <a@EXAMPLE.org> ",
            "A Name <a@example.org>",
            "\"b@other.example\" <a@example.org>",
            "\"A \\\" <b@other.example>\" <a@example.org>",
            "A (b@other.example (nested\\)) really) <a@example.org>",
            "a@example.org (A (nested) b@other.example)",
            "a@example.org (A Name)",
            "a@example.org(A Name)",
            "a@example.org, b@Example.Org",
            ",a@example.org,,",
            "group: a@example.org, <b@example.org>;",
            "A group: a@example.org;, B <b@example.org>",
            "\"q r\"@example.org",
            "A\r\n Name\r\n\t<a@example.org>",
            "=?utf-8?q?b=40other.example?= <a@example.org>",
            "J\u{fc}rgen <j\u{fc}rgen@example.org>",
        ] {
            assert_eq!(authors(&format!("From:{from}")), "example.org", "{from}");
        }
        assert_eq!(authors("From: a@b\u{fc}cher.example"), "xn--bcher-kva.example");
        assert_eq!(authors("From: a@xn--bcher-kva.example, b@B\u{dc}CHER.example"), "xn--bcher-kva.example");
        assert_eq!(authors("From : a@example.org"), "example.org");
        assert_eq!(authors("fROM:a@example.org"), "example.org");
        assert_eq!(authors("no field\r\nFrom: a@example.org"), "example.org");
    }

    #[test]
    fn names_that_needed_quotes() {
        for from in [
            "John Q. Public <a@example.org>",
            "Name, Comma <a@example.org>",
            "[list] Re: a name :) <a@example.org>",
            "=?utf-8?Q?Name,_(Comma?= <a@example.org>",
            "a@example.org <a@example.org>",
            "'a@example.org' <a@example.org>",
            "One @ Company <a@example.org>",
            "@handle, elsewhere <a@example.org>",
            "\"unclosed <a@example.org>",
            "unclosed) (again <a@example.org>",
            "\u{1b}$B%F%9%H\u{1b}(B <a@example.org>",
        ] {
            assert_eq!(authors(&format!("From: {from}")), "example.org", "{from}");
        }
    }

    #[test]
    fn several_authors() {
        for from in [
            "a@one.example, b@two.example",
            "g: a@one.example;, b@two.example",
            "g: a@one.example; b@two.example",
            "b@one.example <a@two.example>",
            "'b@one.example' <a@two.example>",
            "[b@one.example] <a@two.example>",
            "b @ one.example <a@two.example>",
            "b@(comment)one.example <a@two.example>",
            "b@localhost <a@two.example>",
            "b@ one .example <a@two.example>",
            "b @ one . example <a@two.example>",
            "b@one. example <a@two.example>",
            "b@ one (comment) .example <a@two.example>",
            "a@one.example\r\nFrom: a@one.example",
            "\r\nFrom: a@one.example",
        ] {
            assert_eq!(authors(&format!("From: {from}")), "several", "{from}");
        }
    }

    /// Each of these was read as no author, or as the one who has the message delivered: DMARC was not asked, or the wrong
    /// domain was.
    #[test]
    fn a_field_that_cannot_be_read_is_no_way_around_dmarc() {
        for from in [
            "ceo@bank.example Bank",
            "ceo@bank.example(x)evil.example",
            "ceo@bank.example x@evil.example",
            "ceo@bank.example <x@evil.example> Bank",
            "<ceo@bank.example, x@evil.example>",
            "<ceo@bank.example x@evil.example>",
            "<ceo@bank.example> <x@evil.example>",
            "<ceo@bank.example><x@evil.example>",
            "<ceo@bank.example> x@evil.example",
            "<ceo@bank.example <x@evil.example>>",
            "ceo@bank.example:;",
            "ceo@bank.example:x@evil.example;",
            "<ceo@bank.example/>",
            "ceo@bank.example\0",
            "\"ceo@bank.example\0\" <x@evil.example>",
            "<ceo@bank.example\u{1}>",
            "ceo@bank.example@evil.example",
            "ceo@bank.example .evil.example",
            "ceo@bank.example(x).evil.example",
            "ceo@ bank.example",
            "c(x)eo@bank.example",
            "<@bank.example,@x.example:x@evil.example>",
            "\"ceo@bank.example\"@evil.example",
            "\"<ceo@bank.example>\"@evil.example",
            "=?utf-8?q?ceo=40bank.example?=@evil.example",
            "=?utf-8?q?ceo=40bank.example?=",
            "ceo@=?utf-8?q?bank.example?=",
            "\"ceo@bank.example\\\" <x@evil.example>",
            "(<ceo@bank.example>) x@evil.example",
            "(<ceo@bank.example>) <x@evil.example>",
            "x@evil.example (<ceo@bank.example>)",
            "\"unclosed ceo@bank.example <x@evil.example>",
            "(unclosed ceo@bank.example, x@evil.example",
            "b@one..example <a@two.example>",
            "ceo@[bank.example] <x@evil.example>",
            "ceo@ <x@evil.example>",
        ] {
            assert_eq!(authors(&format!("From: {from}")), "malformed", "{from}");
        }
        assert_eq!(read_body(b" <ceo@bank\xe9.example>"), Authors::Malformed);
        assert_eq!(read_body(&b"a@example.org,".repeat(5_000)), Authors::Malformed);
    }

    #[test]
    fn a_field_without_a_domain() {
        for from in ["", " ", "root (Cron Daemon)", "A Name", "<>", "undisclosed:;"] {
            assert_eq!(authors(&format!("From:{from}")), "none", "{from}");
        }
        for from in [
            "\"a@b.example\"",
            "(a@b.example)",
            "a@",
            "@b.example",
            "a@b..c",
            ".a@b.example",
            "a@[192.0.2.1]",
            "a@one.example, b@[192.0.2.1]",
        ] {
            assert_eq!(authors(&format!("From:{from}")), "malformed", "{from}");
        }
        assert_eq!(authors("Subject: x"), "none");
        for header in ["Subject: x", "From:", "From: Chief"] {
            assert_eq!(authors(&format!("{header}\r\nSender: <ceo@bank.example>")), "malformed", "{header}");
        }
    }
}
