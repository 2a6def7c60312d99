//! What is odd about a header: the HeaderEval evals that ask neither relays nor dates.

use std::collections::HashSet;

use memchr::memmem;

use super::arguments::{Arguments, Eval};
use super::locales;
use super::mail::Mail;
use super::options::Options;

/// Fields in which something like `%RND_` may stand by right.
const TEMPLATE_FIELDS: [&[u8]; 14] = [
    b"X-VMS-To",
    b"X-UIDL",
    b"X-Face",
    b"To",
    b"Cc",
    b"From",
    b"Subject",
    b"References",
    b"In-Reply-To",
    b"Message-Id",
    b"X-Message-Id",
    b"Resent-Message-Id",
    b"X-Original-Message-Id",
    b"X-Original-Message-ID",
];

/// `check_for_missing_to_header()`: is there neither To nor Apparently-To, or nothing in them?
pub fn missing_to(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|mail| mail.value("To").is_empty() && mail.value("Apparently-To").is_empty()))
}

/// `check_header_count_range(FIELD, MIN, MAX)`: how many fields of that name are there? Equal ones count once.
pub fn count_range(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let field = arguments.text(0)?.to_owned();
    let (min, max) = (arguments.number(1)?, arguments.number(2)?);
    Ok(Eval::new(move |mail| {
        let fields = (mail.header)(&field);
        let lines =
            fields.iter().flat_map(|fields| fields.strip_suffix(b"\n").unwrap_or(fields).split(|o| *o == b'\n'));
        (min..=max).contains(&(lines.collect::<HashSet<_>>().len() as f64))
    }))
}

/// `check_unresolved_template()`: has the sending program left a `%PLACEHOLDER`?
pub fn unresolved_template(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|mail| {
        let all = mail.value("ALL");
        let mut lines = all.split(|octet| *octet == b'\n');
        memchr::memchr(b'%', &all).is_some() && lines.any(|line| has_placeholder(line) && !may_have_placeholder(line))
    }))
}

fn has_placeholder(line: &[u8]) -> bool {
    let third = |octet: u8| octet.is_ascii_uppercase() || octet == b'_' || octet == b'-';
    line.windows(3).any(|w| matches!(w, [b'%', a, b] if a.is_ascii_uppercase() && third(*b)))
}

fn may_have_placeholder(line: &[u8]) -> bool {
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    name.len() < line.len() && TEMPLATE_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name))
}

/// `check_illegal_chars(FIELD, RATIO, COUNT)`: octets that must be encoded. Valid UTF-8 is none of them (RFC 6532).
pub fn illegal_octets(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let field = arguments.text(0)?;
    let selector = if field.ends_with(":raw") { field.to_owned() } else { format!("{field}:raw") };
    let (ratio, count) = (arguments.number(1)?, arguments.number(2)?);
    let is_subject = selector.eq_ignore_ascii_case("subject:raw");
    Ok(Eval::new(move |mail| {
        let text = mail.value(&selector);
        let illegal = illegal(&text, is_subject);
        illegal.is_some_and(|illegal| illegal / text.len().max(1) as f64 >= ratio && illegal >= count)
    }))
}

/// How many octets are illegal; none if there is nothing to say.
fn illegal(text: &[u8], is_subject: bool) -> Option<f64> {
    let control = |octet: &&u8| **octet < b' ' && !matches!(**octet, b'\t' | b'\n' | b'\r');
    if text.iter().all(|octet| b" \t\n\r\x0b\x0c".contains(octet)) {
        return None;
    }
    let high = text.iter().filter(|octet| **octet >= 0x7f).count();
    let controls = text.iter().filter(control).count();
    if high > 0 && controls == 0 && !text.is_ascii() && std::str::from_utf8(text).is_ok() {
        return None;
    }
    let illegal = controls + high;
    if illegal == 0 {
        return Some(0.0);
    }
    let signs = text.iter().filter(|octet| b"\xa2\xa3\xae".contains(octet)).count();
    // One cent, pound or trade mark sign in a Subject is let pass.
    let exempt = usize::from(is_subject && signs == 1);
    Some(illegal.saturating_sub(exempt) as f64)
}

/// `check_for_faraway_charset_in_headers()`: does From or Subject use a character set of none of `ok_locales`?
pub fn faraway_charset(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let known = options.locales.clone();
    let all = known.iter().any(|locale| locale == "all");
    Ok(Eval::new(move |mail| {
        let is_far = |charset: &[u8]| !locales::is_ok(charset, &known);
        !all && ["From:raw", "Subject:raw"].iter().any(|field| encoded_words(&mail.value(field)).any(is_far))
    }))
}

/// The character sets of the encoded words (RFC 2047) in a field.
fn encoded_words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let line = rest.get(memmem::find(rest, b"=?")? + 2..)?;
            rest = line;
            // The set is at least one octet.
            let at = line.iter().skip(1).position(|octet| *octet == b'?').map(|at| at + 1)?;
            let (charset, after) = line.split_at_checked(at)?;
            if let Some([_, b'?', text @ ..]) = after.strip_prefix(b"?") {
                rest = text.get(memmem::find(text, b"?=")? + 2..)?;
                return Some(charset);
            }
        }
    })
}

/// `check_messageid_not_usable()`: did somebody on the way drop or replace the Message-ID?
pub fn message_id_not_usable(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|mail| {
        let received = mail.value("Received");
        let marks: [&[u8]; 3] = [b"/CWT/DCE)", b"iPlanet Messaging Server", b"from groups.msn.com ("];
        received.is_empty()
            || marks.iter().any(|mark| memmem::find(&received, mark).is_some())
            || is_unsubscribe_address(&mail.value("List-Unsubscribe"))
            || is_ezmlm(mail, &received)
    }))
}

/// `<mailto:leave-list@host>` or `<mailto:list-unsubscribe@host>` at the end.
fn is_unsubscribe_address(field: &[u8]) -> bool {
    let field = field.strip_suffix(b"\n").unwrap_or(field).to_ascii_lowercase();
    let Some(address) = field.strip_suffix(b">") else { return false };
    let Some(start) = memmem::rfind(address, b"<mailto:") else { return false };
    let address = address.get(start + 8..).unwrap_or_default();
    let Some(at) = address.iter().rposition(|octet| *octet == b'@') else { return false };
    let (local, domain) = address.split_at_checked(at).unwrap_or_default();
    let leaves = local.strip_prefix(b"leave-").is_some_and(|list| !list.is_empty());
    let unsubscribes = local.strip_suffix(b"-unsubscribe").is_some_and(|list| !list.is_empty());
    domain.len() > 1 && !address.iter().any(u8::is_ascii_whitespace) && (leaves || unsubscribes)
}

/// ezmlm drops Received fields.
fn is_ezmlm(mail: &Mail<'_>, received: &[u8]) -> bool {
    let is_list = |line: &[u8]| line.starts_with(b"contact ") && line.ends_with(b"; run by ezmlm");
    let delivered = |line: &[u8]| line.strip_prefix(b"mailing list ").is_some_and(|list| list.contains(&b'@'));
    mail.values("Mailing-List").iter().any(|line| is_list(line))
        && mail.values("Delivered-To").iter().any(|line| delivered(line))
        && memmem::find(received, b" invoked ").is_some_and(|at| received.get(..at).is_some_and(|b| b.contains(&b'q')))
}

/// An eval that SpamAssassin keeps, but that never hits any more: `check_for_unique_subject_id()`.
pub fn never(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|_| false))
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn ask(call: &str, header: &[(&'static str, &'static str)]) -> bool {
        let options = Options { locales: std::sync::Arc::new(vec!["en".to_owned()]), ..Options::default() };
        Parts::of(header).ask(None, |mail| table::asked(call, &options, mail) > 0)
    }

    #[test]
    fn headers_are_judged() {
        for (call, header, hit) in [
            ("check_for_missing_to_header()", &[("Cc", "x")][..], true),
            ("check_for_missing_to_header()", &[("To", "x")], false),
            ("check_for_missing_to_header()", &[("Apparently-To", "x")], false),
            ("check_header_count_range('To','2','9')", &[("To", "a"), ("To", "b")], true),
            ("check_header_count_range('To','2','9')", &[("To", "a"), ("To", "a")], false),
            ("check_header_count_range('To','0','0')", &[], true),
            ("check_header_count_range('To','1','1')", &[("To", "")], true),
            ("check_unresolved_template()", &[("ALL", "X-A: %RND_TEXT")], true),
            ("check_unresolved_template()", &[("ALL", "X-A: %rND")], false),
            ("check_unresolved_template()", &[("ALL", "X-A: 1\nsubject: %RND_TEXT")], false),
            ("check_unresolved_template()", &[("ALL", "To %RND_TEXT")], true),
            ("check_illegal_chars('X','0.2','2')", &[("X:raw", "a\u{1}\u{2}")], true),
            ("check_illegal_chars('X','0.2','2')", &[("X:raw", "aaaaaaaaaaaaaaaaa\u{1}\u{2}")], false),
            ("check_illegal_chars('X:raw','0','1')", &[("X:raw", "gr\u{fc}n")], false),
            ("check_illegal_chars('X','0','1')", &[("X:raw", "  ")], false),
            ("check_illegal_chars('X','0','0')", &[], false),
            ("check_illegal_chars('X','0','0')", &[("X:raw", "x")], true),
            ("check_for_faraway_charset_in_headers()", &[("From:raw", "=?koi8-r?Q?x?= <a@b>")], true),
            ("check_for_faraway_charset_in_headers()", &[("From:raw", "=?utf-8?Q?x?= =?big5?b?x?=")], true),
            ("check_for_faraway_charset_in_headers()", &[("Subject:raw", "=?utf-8?Q?x?= ?= =?big5?")], false),
            ("check_messageid_not_usable()", &[], true),
            ("check_messageid_not_usable()", &[("Received", "by x")], false),
            ("check_messageid_not_usable()", &[("Received", "by x (iPlanet Messaging Server 5)")], true),
            (
                "check_messageid_not_usable()",
                &[("Received", "by x"), ("List-Unsubscribe", "<mailto:Leave-x@b.example>")],
                true,
            ),
            (
                "check_messageid_not_usable()",
                &[("Received", "by x"), ("List-Unsubscribe", "<mailto:x@b.example>")],
                false,
            ),
            ("check_for_unique_subject_id()", &[("Subject", "x")], false),
        ] {
            assert_eq!(ask(call, header), hit, "{call} {header:?}");
        }
        assert!(!ask("check_for_faraway_charset_in_headers()", &[("From:raw", "=?")]));
        assert!(
            table::read("check_header_count_range", &["To".to_owned()], &Options::default())
                .is_some_and(|e| e.is_err())
        );
    }

    #[test]
    fn illegal_octets_are_counted() {
        for (text, subject, expected) in [
            (&b"abc"[..], false, Some(0.0)),
            (b"a\xfcc\x7f", false, Some(2.0)),
            (b"a\xa3", true, Some(0.0)),
            (b"a\xa3\xa3", true, Some(2.0)),
            (b"a\xa3", false, Some(1.0)),
            (b"\xc3\xbc", false, None),
            (b"\xc3\xbc\x01", false, Some(3.0)),
            (b" \n", false, None),
        ] {
            assert_eq!(illegal(text, subject), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in r"[=?a%A_q\n<>:@ -]{0,60}") {
            encoded_words(text.as_bytes()).count();
            is_unsubscribe_address(text.as_bytes());
            has_placeholder(text.as_bytes());
            may_have_placeholder(text.as_bytes());
        }
    }
}
