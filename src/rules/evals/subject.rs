//! Evals of the Subject.

use memchr::memmem;

use super::arguments::{Arguments, Eval};
use super::mailboxes::is_space;
use super::options::Options;

/// Beginnings that say that it answers or passes on.
const REPLIES: [&[u8]; 10] = [b"re", b"fwd", b"fw", b"aw", b"antwort", b"wg", b"sv", b"vb", b"vs", b"vl"];
/// Shorter ones are not judged.
const LETTERS_MIN: usize = 10;
/// What names of character sets hold in whose texts letters alone say nothing.
const UNLETTERED: [&[u8]; 11] =
    [b"koi", b"jp", b"jis", b"euc", b"gb", b"big5", b"isoir", b"cp1251", b"windows-1251", b"georgianps", b"pt154"];
/// One more, apart only because of the length of the line.
const THAI: &[u8] = b"tis";

/// `subject_is_all_caps()`: two words or more, and no letter is small.
pub fn is_all_caps(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|mail| {
        let subject = mail.value("Subject");
        let text = without_replies(subject.trim_ascii());
        let letters = || text.iter().filter(|octet| octet.is_ascii_alphabetic());
        text.len() >= LETTERS_MIN
            && text.iter().any(|octet| is_space(*octet))
            && letters().all(u8::is_ascii_uppercase)
            && letters().next().is_some()
            && !is_unlettered(&mail.value("Subject:raw"))
    }))
}

fn without_replies(mut text: &[u8]) -> &[u8] {
    loop {
        let reply = |word: &&&[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let after = |word: &&[u8]| text.get(word.len()..)?.strip_prefix(b":");
        match REPLIES.iter().filter(reply).find_map(after) {
            Some(rest) => text = rest.trim_ascii_start(),
            None => return text,
        }
    }
}

/// Has the field an encoded word whose set has other letters?
fn is_unlettered(raw: &[u8]) -> bool {
    memmem::find_iter(raw, b"=?").any(|at| {
        let rest = raw.get(at + 2..).unwrap_or_default();
        let of_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_".contains(octet);
        let end = rest.iter().position(|octet| !of_name(octet)).filter(|end| rest.get(*end) == Some(&b'?'));
        let name = end.and_then(|end| rest.get(..end)).unwrap_or_default().to_ascii_lowercase();
        UNLETTERED.iter().chain([&THAI]).any(|part| memmem::find(&name, part).is_some())
    })
}

/// `check_for_to_in_subject('address' | 'user')`: does the Subject call the recipient by address, or begin with the
/// local-part as if it were a name?
pub fn names_recipient(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let whole = match arguments.text(0)? {
        "address" => true,
        "user" => false,
        other => return Err(format!("\"{other}\" is neither \"address\" nor \"user\"")),
    };
    Ok(Eval::new(move |mail| {
        let to = mail.first("To:addr");
        let subject = if to.is_empty() { Vec::new() } else { mail.value("Subject") };
        let user = to.split(|octet| *octet == b'@').next().unwrap_or_default();
        !to.is_empty() && if whole { has_word(&subject, &to) } else { calls(&subject, user) }
    }))
}

/// Does this stand in the text, not within longer words? Letters of either case are the same.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let of_word = |octet: Option<&u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
    memmem::find_iter(&text, &word).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = text.get(at.saturating_add(word.len()));
        of_word(before) != of_word(word.first()) && of_word(after) != of_word(word.last())
    })
}

/// The name alone; behind `Re:` with a word between at most; before punctuation; between commas.
fn calls(subject: &[u8], name: &[u8]) -> bool {
    let subject = subject.strip_suffix(b"\n").unwrap_or(subject);
    let is_name = |text: &[u8]| text.eq_ignore_ascii_case(name);
    let mark = |octet: u8| b",:;!?-".contains(&octet);
    let spaced = |text: &[u8]| matches!(text.split_first(), None | Some((b'\t'..=b'\r' | b' ', _)));
    let marked = subject.strip_prefix(name).map(<[u8]>::trim_ascii_start).and_then(<[u8]>::split_first);
    let addressed = marked.is_some_and(|(octet, rest)| mark(*octet) && spaced(rest));
    let between = subject.strip_prefix(b",").map(<[u8]>::trim_ascii_start).and_then(<[u8]>::split_last);
    is_name(subject)
        || addressed
        || between.is_some_and(|(last, text)| mark(*last) && is_name(text))
        || [&b"re:"[..], b"fw:"].iter().any(|start| {
            let head = subject.get(..3).filter(|head| head.eq_ignore_ascii_case(start));
            let rest = head.and(subject.get(3..)).map(<[u8]>::trim_ascii_start);
            rest.is_some_and(|rest| is_name(rest) || second_word(rest).is_some_and(is_name))
        })
}

/// What stands behind the first word and its blanks.
fn second_word(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'_').count();
    let rest = text.get(length..).filter(|rest| length > 0 && rest.first().is_some_and(|octet| is_space(*octet)))?;
    Some(rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn ask(call: &str, subject: &'static str, raw: &'static str) -> bool {
        let parts =
            Parts::of(&[("Subject", subject), ("Subject:raw", raw), ("To:addr", "ann.b@a.example\nbob@b.example")]);
        parts.ask(None, |mail| table::asked(call, &Options::default(), mail) > 0)
    }

    #[test]
    fn capitals_are_seen() {
        for (subject, raw, hit) in [
            ("BUY THIS NOW", "", true),
            ("BUY THIS Now", "", false),
            ("BUYTHISNOW!", "", false),
            ("BUY THIS", "", false),
            ("Re: fwd:AW: BUY THIS NOW", "", true),
            ("12345 67890", "", false),
            ("BUY THIS NOW", "=?iso-2022-JP?B?xx?=", false),
            ("BUY THIS NOW", "=?utf-8?B?jp?=", true),
            ("BUY THIS NOW", "=?a koi8?", true),
        ] {
            assert_eq!(ask("subject_is_all_caps()", subject, raw), hit, "{subject} {raw}");
        }
    }

    #[test]
    fn recipients_are_recognized() {
        for (call, subject, hit) in [
            ("address", "For ANN.b@a.example only", true),
            ("address", "For joann.b@a.example only", false),
            ("address", "For ann.b@a.examples", false),
            ("address", "ann.b@a.example", true),
            ("address", "bob@b.example", false),
            ("user", "Ann.B", true),
            ("user", "ann.b, look", true),
            ("user", "Ann.b, look", false),
            ("user", "ann.b ! look", true),
            ("user", "ann.b,look", false),
            ("user", "ann.b -", true),
            ("user", "re: ANN.b", true),
            ("user", "Fw:hello ann.b", true),
            ("user", "Re: hello you ann.b", false),
            ("user", ", ann.b!", true),
            ("user", ", ann.b! x", false),
            ("user", "", false),
        ] {
            assert_eq!(ask(&format!("check_for_to_in_subject('{call}')"), subject, ""), hit, "{call} {subject}");
        }
        assert!(
            table::read("check_for_to_in_subject", &["x".to_owned()], &Options::default()).is_some_and(|e| e.is_err())
        );
    }

    proptest::proptest! {
        #[test]
        fn no_subject_panics(subject in r"(?i)[re:fw,;! ann.b@x\n]{0,30}", name in "[ann.b]{0,6}") {
            calls(subject.as_bytes(), name.as_bytes());
            has_word(subject.as_bytes(), name.as_bytes());
            without_replies(subject.as_bytes());
            is_unlettered(subject.as_bytes());
        }
    }
}
