//! What rules see of a message: header values, text of any character set, HTML as text. Bounded, whatever the message is.

use mxkeep::message::Message;
use mxkeep::rules::environment::Environment;
use mxkeep::rules::views::body::LINE_OCTETS_MAX;
use mxkeep::rules::views::header::{Known, Query};
use mxkeep::rules::views::html::{self, Html};
use mxkeep::rules::views::parts::Parts;
use mxkeep::rules::views::raw_body::CHUNK_OCTETS;
use mxkeep::rules::views::{Views, charset, uri};

use super::support::first;

/// Labels of character sets that are decoded differently.
const LABELS: [&[u8]; 8] =
    [b"", b"utf-8", b"iso-8859-1", b"koi8-r", b"utf-16le", b"iso-2022-jp", b"gb18030", b"x-user-defined"];

pub fn run(octets: &[u8]) {
    let (choice, octets) = first(octets);
    let decoded = charset::text(octets, Some(LABELS[choice % LABELS.len()]));
    assert!(decoded.len() <= octets.len() * 3 + 3, "a code of one octet has at most three in UTF-8");
    check_html(&decoded, choice);
    check_views(&Message::from_stored(octets));
}

fn check_html(decoded: &str, octets_max: usize) {
    let whole = Html::parse(decoded, usize::MAX);
    // `<p>` becomes two line ends, and the shortest reference that stands for six octets has more of its own.
    assert!(whole.text.len() <= decoded.len() * 2 + 16, "{} octets of {}", whole.text.len(), decoded.len());
    assert!(whole.uris.len() <= html::URIS_MAX);
    let cut = Html::parse(decoded, octets_max);
    assert!(cut.text.len() <= whole.text.len(), "a limit only cuts");
}

fn check_views(message: &Message) {
    let parts = Parts::new(message);
    let environment = Environment::default();
    let known = Known { envelope_from: Some(b"carol@client.example"), ..Known::default() };
    let views = Views::new(&parts, known, &environment);
    for name in ["Subject", "From", "Received", "ALL", "ToCc", "MESSAGEID", "EnvelopeFrom", "ALL-EXTERNAL"] {
        for modifiers in ["", ":raw", ":addr", ":name", ":first:host", ":ip"] {
            let value = views.get(&Query::read(&format!("{name}{modifiers}")));
            // A character set makes at most three octets of one; lists get separators.
            let bound = parts.header().len() * 5 + 100;
            assert!(value.is_none_or(|value| value.len() <= bound), "{name}{modifiers}");
        }
    }
    let subjects = views.header().subject().len();
    let mut octets = 0;
    for line in views.text().lines() {
        assert!(line.len() <= LINE_OCTETS_MAX + 1 && !line.is_empty());
        assert!(!line[..line.len() - 1].contains(&b'\n'), "one paragraph a line");
        octets += line.len();
    }
    assert!(octets == views.text().octets().len() && (octets == 0 || octets >= subjects));
    assert!(views.raw().iter().all(|chunk| chunk.len() <= 2 * CHUNK_OCTETS));
    check_links(&views);
}

fn check_links(views: &Views<'_>) {
    let forms: usize = views.uris().list().iter().map(|form| form.len()).sum();
    assert!(views.uris().details().count() <= uri::URIS_MAX);
    assert!(forms <= uri::FORMS_OCTETS_MAX + 64 * html::URI_CHARS_MAX, "{forms} octets");
}
