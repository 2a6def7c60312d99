//! DMARC policy records (RFC 9989 sections 4.7 and 4.8): parsed strictly, once.
//!
//! *Guarantees:* a text is a record only if it begins with `v=DMARC1`, and only if no tag of ours is in it twice (RFC 6376
//! section 3.2, whose syntax this is). What else is wrong with it is dropped tag by tag, as section 4.8 says: that never
//! makes a policy stricter. Work is linear in the text, and nothing is kept of it.
//! *Never does:* read `pct`, `rf` and `ri`, which are gone, or what reports would need (`ruf`, `fo`, the addresses in `rua`).
//! *Case:* tag names and keywords are ABNF literals, so case does not matter in them (RFC 5234 section 2.3); in `DMARC1` it
//! does (section 4.7).

use crate::authentication::DmarcPolicy;

/// The tags that are looked at, and then those that are only known. Any other is ignored, however often it is there.
const TAGS: [&str; 11] = ["v", "p", "sp", "np", "psd", "t", "adkim", "aspf", "rua", "ruf", "fo"];

const VERSION: &[u8] = b"DMARC1";

const POLICIES: &[(&str, DmarcPolicy)] =
    &[("none", DmarcPolicy::None), ("quarantine", DmarcPolicy::Quarantine), ("reject", DmarcPolicy::Reject)];

/// One policy record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What its owner wants done with mail that fails.
    pub requests: Requests,
    /// `psd=`.
    pub psd: Psd,
    /// `t=y`: policies are to be applied one step milder.
    pub testing: bool,
    /// `aspf=s`.
    pub spf_strict: bool,
    /// `adkim=s`.
    pub dkim_strict: bool,
}

/// `p=`, `sp=` and `np=` (sections 4.7 and 4.10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// As they should be.
    Stated {
        /// `p=`: for the domain itself.
        p: DmarcPolicy,
        /// `sp=`: for domains below it.
        sp: Option<DmarcPolicy>,
        /// `np=`: for domains below it that do not exist.
        np: Option<DmarcPolicy>,
    },
    /// `p=` is missing, or one of the three is not valid, but there is somebody to report to: as `p=none`.
    Monitor,
    /// `p=` is missing, and nobody is to be told: DMARC does not apply.
    Absent,
    /// One of the three is not valid, and nobody is to be told: DMARC does not apply.
    Invalid,
}

/// `psd=`: is the domain a public suffix?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Psd {
    /// `y`.
    Yes,
    /// `n`: it is the organizational domain of what is below.
    No,
    /// `u`: the tree walk has to find out.
    Default,
}

/// Whose mail a record is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The domain at which the record stands.
    Own,
    /// A domain below it that exists.
    Below,
    /// A domain below it that does not exist (section 3.2.13: NXDOMAIN).
    Missing,
}

/// Is this a policy record, valid or not (section 4.10 step 2)? Only one of them may stand at a name.
pub fn is_record(text: &[u8]) -> bool {
    behind_version(text).is_some()
}

impl Record {
    /// Reads the joined strings of a TXT record. None: it is no policy record, or has a tag twice.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let rest = behind_version(text)?;
        let mut values = [None; TAGS.len()];
        values[0] = Some(VERSION);
        for (place, value) in tags(rest) {
            if values.get_mut(place)?.replace(value).is_some() {
                return None;
            }
        }
        let [_, p, sp, np, psd, t, adkim, aspf, rua, _, _] = values;
        Some(Record {
            requests: Requests::read([p, sp, np], rua.is_some_and(has_uri)),
            psd: choice(psd, &[("y", Psd::Yes), ("n", Psd::No)]).unwrap_or(Psd::Default),
            testing: choice(t, &[("y", true)]).unwrap_or(false),
            spf_strict: choice(aspf, &[("s", true)]).unwrap_or(false),
            dkim_strict: choice(adkim, &[("s", true)]).unwrap_or(false),
        })
    }

    /// What is asked for, `t=` left aside, and by which tag; no tag where it is [`Requests::Monitor`]. None: DMARC does not
    /// apply.
    pub fn policy(&self, subject: Subject) -> Option<(DmarcPolicy, Option<&'static str>)> {
        let (p, sp, np) = match self.requests {
            Requests::Stated { p, sp, np } => (p, sp, np),
            Requests::Monitor => return Some((DmarcPolicy::None, None)),
            Requests::Absent | Requests::Invalid => return None,
        };
        let below = sp.map_or((p, "p"), |sp| (sp, "sp"));
        let (policy, tag) = match subject {
            Subject::Own => (p, "p"),
            Subject::Below => below,
            Subject::Missing => np.map_or(below, |np| (np, "np")),
        };
        Some((policy, Some(tag)))
    }
}

impl Requests {
    fn read(values: [Option<&[u8]>; 3], has_reporting_uri: bool) -> Self {
        let [p, sp, np] = values.map(|value| choice(value, POLICIES));
        let invalid = values.iter().zip([p, sp, np]).any(|(value, policy)| value.is_some() && policy.is_none());
        match p {
            Some(p) if !invalid => Requests::Stated { p, sp, np },
            _ if has_reporting_uri => Requests::Monitor,
            _ if invalid => Requests::Invalid,
            _ => Requests::Absent,
        }
    }
}

/// `"v" equals %s"DMARC1"`, and what follows: nothing, or a semicolon first.
fn behind_version(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"v").or_else(|| text.strip_prefix(b"V"))?;
    let value = trim_start(rest).strip_prefix(b"=")?;
    let rest = trim_start(trim_start(value).strip_prefix(VERSION)?);
    matches!(rest.first(), None | Some(b';')).then_some(rest)
}

/// The tags of ours, by their place in [`TAGS`], and their values. What is no `dmarc-tag` is passed over.
fn tags(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|octet| *octet == b';').filter_map(|tag| {
        let equals = tag.iter().position(|octet| *octet == b'=')?;
        let (name, value) = (trim(tag.get(..equals)?), trim(tag.get(equals + 1..)?));
        let place = TAGS.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((place, value))
    })
}

/// What a value means. None: there is none, or it is none of these.
fn choice<T: Copy>(value: Option<&[u8]>, choices: &[(&str, T)]) -> Option<T> {
    let value = value?;
    choices.iter().find(|(word, _)| value.eq_ignore_ascii_case(word.as_bytes())).map(|(_, meaning)| *meaning)
}

/// `dmarc-urilist`: is one of these a URI?
fn has_uri(list: &[u8]) -> bool {
    list.split(|octet| *octet == b',').any(|uri| is_uri(without_size(trim(uri))))
}

/// `obs-dmarc-report-size`, which says nothing any more, is cut off.
fn without_size(uri: &[u8]) -> &[u8] {
    let Some(at) = uri.iter().rposition(|octet| *octet == b'!') else { return uri };
    let (front, size) = (uri.get(..at).unwrap_or_default(), uri.get(at + 1..).unwrap_or_default());
    let digits = match size.split_last() {
        Some((unit, digits)) if b"kmgtKMGT".contains(unit) => digits,
        _ => size,
    };
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) { front } else { uri }
}

/// `URI` (RFC 3986 section 3) of a scheme and something behind it, without commas and exclamation points (section 4.8).
fn is_uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|octet| *octet == b':') else { return false };
    let (scheme, rest) = (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default());
    let begins = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    let goes_on = scheme.iter().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(octet));
    begins && goes_on && !rest.is_empty() && is_uri_text(rest)
}

fn is_uri_text(mut text: &[u8]) -> bool {
    while let Some((octet, rest)) = text.split_first() {
        text = match (octet, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (b'%', _) => return false,
            (octet, rest) if octet.is_ascii_alphanumeric() || b"-._~:/?#[]@$&'()*+;=".contains(octet) => rest,
            _ => return false,
        };
    }
    true
}

/// Without `WSP` (RFC 5234 appendix B.1) on either side.
fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    let end = text.iter().rposition(|octet| !b" \t".contains(octet)).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| !b" \t".contains(octet)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use DmarcPolicy::{None as Nothing, Quarantine, Reject};

    fn parse(text: &str) -> Record {
        Record::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is a record"))
    }

    #[test]
    fn version_comes_first() {
        for text in ["v=DMARC1", "v=DMARC1;", "V = DMARC1 ; p=none", "v\t=\tDMARC1\t;", "v=DMARC1;;p"] {
            assert!(is_record(text.as_bytes()) && Record::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        for text in [
            "",
            "v",
            "v=",
            " v=DMARC1; p=reject",
            "v=dmarc1; p=reject",
            "v=DMARC10; p=reject",
            "v=DMARC1 p=reject",
            "v=DMARC1,p=reject",
            "v=DMARC1\\; p=reject",
            "v=DMARC2; p=reject",
            "p=reject; v=DMARC1",
            "vv=DMARC1",
            "v=\"DMARC1\"; p=reject",
            "v=spf1 -all",
        ] {
            assert!(!is_record(text.as_bytes()) && Record::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn tags_may_have_white_space_and_any_case() {
        let strict = Record {
            requests: Requests::Stated { p: Reject, sp: Some(Quarantine), np: Some(Nothing) },
            psd: Psd::No,
            testing: true,
            spf_strict: true,
            dkim_strict: true,
        };
        let text = "v=DMARC1;p=reject;sp=quarantine;np=none;psd=n;t=y;aspf=s;adkim=s";
        assert_eq!(parse(text), strict);
        assert_eq!(parse(&text.replace(';', " \t; ").replace('=', "\t= ")), strict);
        assert_eq!(parse(&text.to_ascii_uppercase()), strict);
        assert_eq!(
            parse(&format!("{text};;; ; = ; x; x-y=z; =a; \u{fc}=\u{fc}; {};", "unknown=1; ".repeat(9))),
            strict
        );
        let plain = parse("v=DMARC1; p=reject");
        assert_eq!(
            (plain.psd, plain.testing, plain.spf_strict, plain.dkim_strict),
            (Psd::Default, false, false, false)
        );
        assert_eq!(parse("v=DMARC1; p=reject; psd=y").psd, Psd::Yes);
    }

    #[test]
    fn what_is_not_valid_is_the_default() {
        for rest in
            ["psd=maybe", "t=yes", "adkim=strict", "aspf=", "pct=500", "rf=bob", "ri=-1", "fo=x", "rua=x", "t=n\0"]
        {
            assert_eq!(parse(&format!("v=DMARC1; p=reject; {rest}")), parse("v=DMARC1; p=reject"), "{rest}");
        }
    }

    #[test]
    fn a_tag_of_ours_stands_once() {
        for tag in TAGS {
            let text = format!("v=DMARC1; p=none; {tag}=x; {}=y", tag.to_ascii_uppercase());
            assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
            assert!(is_record(text.as_bytes()), "beside another one it still counts");
        }
        assert!(Record::parse(b"v=DMARC1; p=none; pct=1; pct=2; x=1; x=2").is_some());
    }

    #[test]
    fn policies_without_a_valid_p() {
        for (text, expected) in [
            ("", Requests::Absent),
            ("p=n", Requests::Invalid),
            ("p=", Requests::Invalid),
            ("p=reject; sp=bob", Requests::Invalid),
            ("p=reject; np=bob", Requests::Invalid),
            ("sp=reject", Requests::Absent),
            ("p=bob; rua=mailto:d@example.org", Requests::Monitor),
            ("p=bob; rua=x, , https://example.org/d!10m", Requests::Monitor),
            ("p=reject; sp=bob; rua=mailto:d@example.org!5", Requests::Monitor),
            ("rua=mailto:d@example.org", Requests::Monitor),
            ("p=bob; rua=mailto", Requests::Invalid),
            ("p=bob; ruf=mailto:d@example.org", Requests::Invalid),
        ] {
            assert_eq!(parse(&format!("v=DMARC1; {text}")).requests, expected, "{text}");
        }
    }

    #[test]
    fn uris() {
        for text in ["mailto:a@b.example", "a+b-c.1:x", "x:%41", "mailto:a@b!10k", "m:a!5"] {
            assert!(has_uri(text.as_bytes()), "{text}");
        }
        for text in
            ["", "mailto", "mailto:", ":x", "1a:x", "a b:x", "m:x y", "m:%4", "m:%zz", "m:a!b", "m:a!", "m:\u{fc}"]
        {
            assert!(!has_uri(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn sp_and_np_are_for_what_is_below() {
        for (text, own, below, missing) in [
            ("p=reject", (Reject, "p"), (Reject, "p"), (Reject, "p")),
            ("p=reject; sp=none", (Reject, "p"), (Nothing, "sp"), (Nothing, "sp")),
            ("p=none; np=reject", (Nothing, "p"), (Nothing, "p"), (Reject, "np")),
            ("p=none; sp=quarantine; np=reject", (Nothing, "p"), (Quarantine, "sp"), (Reject, "np")),
        ] {
            let record = parse(&format!("v=DMARC1; {text}"));
            for (subject, (policy, tag)) in [(Subject::Own, own), (Subject::Below, below), (Subject::Missing, missing)]
            {
                assert_eq!(record.policy(subject), Some((policy, Some(tag))), "{text} {subject:?}");
            }
        }
        let monitor = parse("v=DMARC1; p=bob; sp=reject; rua=mailto:d@example.org");
        assert_eq!(monitor.policy(Subject::Below), Some((Nothing, Option::None)));
        assert_eq!(parse("v=DMARC1; psd=y").policy(Subject::Below), Option::None);
    }

    #[test]
    fn long_records_are_read_in_linear_time() {
        let begin = std::time::Instant::now();
        for piece in ["a=b;", "=", ";", "p", " ", "v=DMARC1;", "%41", "rua=m:x,", "!1"] {
            let text = format!("v=DMARC1; rua=x:{}", piece.repeat(32_768 / piece.len()));
            for _ in 0..20 {
                std::hint::black_box(Record::parse(text.as_bytes()));
            }
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
    }
}
