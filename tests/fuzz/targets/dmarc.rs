//! DMARC policy records: a naive reading comes to the same, and what has no meaning changes nothing.

use mxkeep::authentication::DmarcPolicy;
use mxkeep::authentication::dmarc::{Record, Requests, Subject, is_record};

pub fn run(octets: &[u8]) {
    let found = Record::parse(octets);
    let text = String::from_utf8_lossy(octets);
    assert_eq!(is_record(octets), has_version(&text), "{text:?}");
    assert!(found.is_none() || is_record(octets));
    assert_eq!(found.is_some(), has_version(&text) && is_unambiguous(&text), "{text:?}");
    let Some(record) = found else { return };
    check_values(&record, &text);
    check_neighbours(&record, octets);
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn has_version(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    let starts = first.starts_with(['v', 'V']);
    starts && first.split_once('=').is_some_and(|(name, value)| trim(name).len() == 1 && trim(value) == "DMARC1")
}

fn values<'t>(text: &'t str, wanted: &str) -> Vec<&'t str> {
    let tags = text.split(';').filter_map(|tag| tag.split_once('='));
    tags.filter(|(name, _)| trim(name).eq_ignore_ascii_case(wanted)).map(|(_, value)| trim(value)).collect()
}

fn is_unambiguous(text: &str) -> bool {
    let known = ["v", "p", "sp", "np", "psd", "t", "adkim", "aspf", "rua", "ruf", "fo"];
    known.iter().all(|tag| values(text, tag).len() <= 1)
}

fn check_values(record: &Record, text: &str) {
    let is = |tag: &str, value: &str| values(text, tag).first().is_some_and(|found| found.eq_ignore_ascii_case(value));
    assert_eq!((record.spf_strict, record.dkim_strict), (is("aspf", "s"), is("adkim", "s")), "{text:?}");
    assert_eq!(record.testing, is("t", "y"), "{text:?}");
    if let Requests::Stated { p, .. } = record.requests {
        assert!(is("p", &p.to_string()), "{text:?}");
    }
    for subject in [Subject::Own, Subject::Below, Subject::Missing] {
        let Some((policy, tag)) = record.policy(subject) else { continue };
        assert!(policy == DmarcPolicy::None || tag.is_some_and(|tag| is(tag, &policy.to_string())), "{text:?}");
    }
}

/// Unknown tags, empty ones, case behind the version; and a tag more than once.
fn check_neighbours(record: &Record, octets: &[u8]) {
    let end = octets.iter().position(|octet| *octet == b';').unwrap_or(octets.len());
    let (version, rest) = octets.split_at(end);
    for same in [
        [octets, b" ; ;zz=1; zz=2;p;=;"].concat(),
        [version, b"\t;x=1", rest].concat(),
        [version, &rest.to_ascii_uppercase()].concat(),
    ] {
        assert_eq!(Record::parse(&same), Some(*record), "{:?}", String::from_utf8_lossy(&same));
    }
    assert_eq!(Record::parse(&[octets, b"; V = DMARC1"].concat()), None);
    assert_eq!(Record::parse(&[b" ", octets].concat()), None);
}
