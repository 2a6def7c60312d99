//! Bounces of mail that we sent ourselves: SpamAssassin's VBounce.
//!
//! *Does:* looks for the names of our own outgoing relays (`welcomelist_bounce_relays`) in Received fields that a message
//! quotes or carries.
//! *Guarantees:* one pass over the text and one over the undecoded body; none at all without such names.

use std::sync::Arc;

use super::arguments::{Arguments, Eval};
use super::globs::Globs;
use super::mailboxes::is_space;
use super::options::Options;

/// How the list is called.
const LIST: &str = "welcomelist_bounce_relays";
/// The longest Received field that is looked at.
const FIELD_OCTETS_MAX: usize = 64 << 10;

/// `have_any_bounce_relays()`: is any relay named?
pub fn any(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let named = !options.list(LIST).is_empty();
    Ok(Eval::new(move |_| named))
}

/// `check_welcomelist_bounce_relays()`: did one of them handle the mail that came back?
pub fn handled(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let list = options.list(LIST);
    Ok(Eval::new(move |mail| {
        !list.is_empty()
            && ((mail.body)().iter().any(|line| is_received(line) && names(line, |octet| octet == b' ', &list))
                || carries((mail.undecoded_body)(), &list))
    }))
}

/// Is this a Received field, perhaps a quoted one?
fn is_received(line: &[u8]) -> bool {
    let start = line.iter().position(|octet| !b"> ".contains(octet)).unwrap_or(line.len());
    let name = b"Received:";
    line.get(start..).and_then(|field| field.get(..name.len())).is_some_and(|found| found.eq_ignore_ascii_case(name))
}

/// Does a Received field in these octets name a listed relay?
fn carries(octets: &[u8], list: &Arc<Globs>) -> bool {
    let mut field: Vec<u8> = Vec::new();
    let mut lines = octets.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let goes_on = line.first().is_some_and(|octet| is_space(*octet));
        if !goes_on {
            field.clear();
        }
        // The first line of a field decides whether the rest of it is wanted.
        if (goes_on && !field.is_empty()) || is_received(line) {
            field.extend_from_slice(line.get(..FIELD_OCTETS_MAX.saturating_sub(field.len())).unwrap_or(line));
        }
        field.truncate(FIELD_OCTETS_MAX);
        let ends = lines.peek().is_none_or(|next| !next.first().is_some_and(|octet| is_space(*octet)));
        if ends && !field.is_empty() && names(&field, is_space, list) {
            return true;
        }
    }
    false
}

/// Is a word with a dot in it, between blanks, on the list? The blank behind a word doesn't stand before the next one too.
fn names(field: &[u8], blank: fn(u8) -> bool, list: &Arc<Globs>) -> bool {
    let mut rest = field;
    while let Some(at) = rest.iter().position(|octet| blank(*octet)) {
        rest = rest.get(at + 1..).unwrap_or_default();
        let length = rest.iter().position(|octet| is_space(*octet)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let dotted = word.len() > 2 && word.iter().skip(1).take(word.len() - 2).any(|octet| *octet == b'.');
        if !dotted || !rest.get(length).is_some_and(|octet| blank(*octet)) {
            continue;
        }
        if list.contains(word) {
            return true;
        }
        rest = rest.get(length + 1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn ask(body: &'static str, undecoded: &'static str) -> bool {
        let mut options = Options::default();
        options.enlist(LIST, ["mx*.a.example"]);
        let mut parts = Parts::of(&[]);
        parts.body = vec![body.as_bytes()];
        parts.undecoded = undecoded.as_bytes();
        parts.ask(None, |mail| table::asked("check_whitelist_bounce_relays()", &options, mail) > 0)
    }

    #[test]
    fn our_relays_are_found() {
        for (body, undecoded, hit) in [
            ("Received: from mx1.a.example by x", "", true),
            ("> > received: by mx1.a.example (Postfix)", "", true),
            ("Received: from mx1.a.example", "", false),
            ("Received: from b.example mx1.a.example by", "", false),
            ("Sent: from mx1.a.example by x", "", false),
            ("", "x\nReceived: from y\r\n\tby mx1.a.example with\r\n", true),
            ("", "Received: from y\nSent: by mx1.a.example with\n", false),
            ("", "Sent: from y\n by mx1.a.example with\n", false),
            ("", "> Received: from mx9.a.example by\n", true),
            ("", "> Received: from y\n> by mx9.a.example by\n", false),
        ] {
            assert_eq!(ask(body, undecoded), hit, "{body:?} {undecoded:?}");
        }
    }

    #[test]
    fn hostile_bodies_are_bounded() {
        let began = std::time::Instant::now();
        let list = Arc::new(Globs::from_words(["a.example"]));
        for part in ["Received: a.b \n", " a.b ", "Received:", "\n a.b", "> "] {
            let text = "Received: x\n".to_owned() + &part.repeat(200_000);
            assert!(!carries(text.as_bytes(), &list));
        }
        assert!(began.elapsed() < std::time::Duration::from_millis(800), "{:?}", began.elapsed());
    }
}
