//! What rules see of a message: header values, text of any character set, HTML as text. Bounded, whatever the message is.

use mxkeep::address::ReversePath;
use mxkeep::message::Message;
use mxkeep::rules::definition::{Fields, Part, Selector};
use mxkeep::rules::views::body::LINE_OCTETS_MAX;
use mxkeep::rules::views::{Views, charset, html};

use super::support::first;

/// Labels of character sets that are decoded differently.
const LABELS: [&[u8]; 8] =
    [b"", b"utf-8", b"iso-8859-1", b"koi8-r", b"utf-16le", b"iso-2022-jp", b"gb18030", b"x-user-defined"];

pub fn run(octets: &[u8]) {
    let (choice, octets) = first(octets);
    let decoded = charset::decode(octets, Some(LABELS[choice % LABELS.len()]));
    assert!(decoded.len() <= octets.len() * 3 + 3, "a code of one octet has at most three in UTF-8");
    check_html(&decoded, choice);
    check_views(&Message::from_stored(octets));
}

fn check_html(decoded: &str, octets_max: usize) {
    let whole = html::text(decoded, usize::MAX);
    // `<p>` becomes two line ends, and the shortest reference that stands for six octets has more of its own.
    assert!(whole.len() <= decoded.len() * 2, "{} octets of {}", whole.len(), decoded.len());
    let cut = html::text(decoded, octets_max);
    assert!(whole.starts_with(&cut), "a limit only cuts");
    assert!(cut.len() >= octets_max.min(whole.len()), "and not before the limit");
}

fn check_views(message: &Message) {
    let reverse_path = ReversePath::parse("<carol@client.example>").expect("a path");
    let views = Views::new(message, Some(&reverse_path));
    for fields in [
        Fields::Named("subject".into()),
        Fields::Named("from".into()),
        Fields::Named("received".into()),
        Fields::All,
        Fields::ToCc,
        Fields::MessageId,
        Fields::EnvelopeFrom,
    ] {
        for part in [Part::Decoded, Part::Raw, Part::Address, Part::Name] {
            let value = views.header(&Selector { fields: fields.clone(), part });
            // A character set makes at most three octets of one; lists get separators.
            let bound = message.header().len() * 5 + 100;
            assert!(value.is_none_or(|value| value.len() <= bound), "{fields:?} {part:?}");
        }
    }
    let lines: Vec<&[u8]> = views.text().lines().collect();
    for line in lines.iter().skip(1) {
        assert!(line.len() <= LINE_OCTETS_MAX);
        assert!(!line.is_empty() && !line[..line.len() - 1].contains(&b'\n'), "one paragraph a line");
    }
}
