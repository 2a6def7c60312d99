//! DMARC against the suites of others (data beside the repository), with real DNS answers on loopback.
//!
//! The tables of OpenDMARC are older than RFC 9989. Rows that it decides otherwise are in the tables below, with the reason,
//! and are held to what RFC 9989 says. Organizational domains that they have from the public suffix list are published here
//! as records, as a tree walk wants them.

use std::net::Ipv4Addr;
use std::path::Path;

use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::dmarc::{Record, Requests, organizational_domain};
use mxkeep::authentication::{Authenticator, Authors, Dmarc, Iprev, MethodResult, Settings, authors};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Record as ZoneRecord, Responder, Zone};
use mxkeep::message::Message;
use serde_json::Value;

use crate::support::conformance::{self, json};
use crate::support::shared;

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Records, why the table's result no longer holds, and what holds: are they records that ask for something?
const PARSED_OTHERWISE: &[(&str, &str, bool)] = &[
    ("v=DMARC1; p=n;", "a keyword cannot be shortened (section 4.8, as in RFC 7489 section 6.4)", false),
    ("v=DMARC1; p=none; adkim=bob;", "a value that is not valid is the default (section 4.8)", true),
    ("v=DMARC1; p=none; aspf=bob;", "a value that is not valid is the default (section 4.8)", true),
    ("v=DMARC1; p=none; rf=bob;", "rf is gone (appendix C.5.2): ignored", true),
    ("v=DMARC1; p=none; ri=bob;", "ri is gone (appendix C.5.2): ignored", true),
    ("v=DMARC1; p=none; pct=500;", "pct is gone (appendix C.5.2): ignored", true),
    ("v=DMARC1; p=none; rf=000000000000000000000000000000000", "rf is gone (appendix C.5.2): ignored", true),
];

/// Domains that are none: nothing can be checked for them.
const NO_DOMAINS: &[(&str, &str)] = &[
    (".mac.com.", "no domain (RFC 1035 section 2.3.1): an empty label"),
    ("....mac.com....", "no domain (RFC 1035 section 2.3.1): empty labels"),
];

/// From fields, why the first domain is not the author domain, and what is found.
const FROM_OTHERWISE: &[(&str, &str, Authors)] = &[
    (
        "\"Johnson, Joe <joe@joe.com>\" joe@joe.com",
        "a name without angle brackets is no mailbox (RFC 5322 section 3.4)",
        Authors::Malformed,
    ),
    ("<<<><joe@joe.com>>>", "no mailbox (RFC 5322 section 3.4)", Authors::Malformed),
    (
        "\"( bob@bob.com)\" joe@joe.com",
        "a name without angle brackets is no mailbox (RFC 5322 section 3.4)",
        Authors::Malformed,
    ),
    ("Joe Johnson <joe@joe.com>, ace@ace.com", "two author domains are not one (section 5.3.1)", Authors::Several),
    ("joe@joe.com, ace@ace.com", "two author domains are not one (section 5.3.1)", Authors::Several),
];

/// A table of text.
fn rows(path: &Path) -> Vec<Vec<String>> {
    json(path)
}

fn report(suite: &str, count: usize, excluded: &[(&str, &str)]) {
    let reasons = excluded.iter().map(|(row, reason)| format!("{row}: {reason}"));
    conformance::report(suite, count, count - excluded.len(), excluded.len(), reasons);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

struct World {
    _responder: Responder,
    resolver: Resolver,
    authenticator: Authenticator,
}

impl World {
    async fn new(zone: Zone) -> Self {
        let responder = Responder::start(zone).await.expect("a responder");
        let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
        let hostname = Domain::parse("mx.example.test").expect("a domain");
        let authenticator = Authenticator::new(resolver.clone(), hostname, Settings::default());
        World { _responder: responder, resolver, authenticator }
    }

    /// DMARC for an unsigned message.
    async fn judge(&self, mail_from: &str, author: &str) -> Dmarc {
        let helo = Host::parse("[192.0.2.1]").expect("an address literal");
        let path = ReversePath::parse(&format!("<x@{mail_from}>")).expect("a path");
        let spf = self.authenticator.spf(CLIENT.into(), &helo, &path).await;
        let message = Message::new(format!("From: <x@{author}>\r\n\r\n").into_bytes());
        self.authenticator.verify(&message, spf, Iprev::none(CLIENT.into())).await.dmarc
    }

    async fn organization(&self, domain: &str) -> String {
        let domain = Domain::from_unicode(domain).expect("a domain");
        organizational_domain(&self.resolver, &domain).await.expect("an answer").to_string()
    }
}

/// `name ttl type data`, a line each.
fn read_zone(text: &str) -> Zone {
    let mut zone = Zone::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let word = |text: &'_ str| text.trim_start().find(char::is_whitespace).expect("a word");
        let (name, rest) = line.split_at(word(line));
        let (_, rest) = rest.trim_start().split_at(word(rest));
        let (record_type, data) = rest.trim_start().split_at(word(rest));
        let record = match record_type {
            "TXT" => ZoneRecord::txt(data.trim().trim_matches('"')),
            "MX" => {
                let (preference, exchange) = data.trim().split_once(char::is_whitespace).expect("an exchange");
                ZoneRecord::Mx(preference.parse().expect("a number"), exchange.trim().to_owned())
            }
            other => panic!("{other}"),
        };
        zone.add(name, record);
    }
    zone
}

#[test]
fn dmarcbis() {
    let folder = "dmarc-mail-dmarc-perl/data";
    let Some(cases) = shared::suite("dmarc_suites", &format!("{folder}/dmarcbis_cases.json")) else { return };
    let Some(zone) = shared::suite("dmarc_suites", &format!("{folder}/purePerl.zone")) else { return };
    let zone = read_zone(&std::fs::read_to_string(zone).expect("a zone"));
    let count = block_on(async {
        let (world, mut count) = (World::new(zone).await, 0);
        for kind in json::<Value>(&cases).as_array().expect("a list") {
            let empty = Vec::new();
            for (domain, expected) in kind["cases"].as_object().into_iter().flatten() {
                let expected = expected.as_str().and_then(|text| text.split(' ').next()).expect("a domain");
                assert_eq!(world.organization(domain).await, expected, "{domain}");
                count += 1;
            }
            for case in kind["cases"].as_array().unwrap_or(&empty) {
                let text = |name: &str| case[name].as_str().expect("text");
                let dmarc = world.judge("unaligned.example", text("from_domain")).await;
                assert_eq!(dmarc.result, MethodResult::Fail, "{case}: {dmarc:?}");
                let policy = dmarc.policy.map(|policy| policy.to_string());
                assert_eq!(policy.as_deref(), Some(text("unaligned_disposition")), "{case}: {dmarc:?}");
                count += 1;
            }
        }
        count
    });
    report("dmarcbis_cases.json", count, &[]);
    assert_eq!(count, 14);
}

/// Does the text ask for something, as the table has it?
fn asks(text: &str) -> bool {
    let record = Record::parse(text.as_bytes());
    record.is_some_and(|record| matches!(record.requests, Requests::Stated { .. } | Requests::Monitor))
}

#[test]
fn records() {
    let Some(path) = shared::suite("dmarc_suites", "dmarc-opendmarc/data/test_dmarc_parse.json") else { return };
    let (rows, mut excluded) = (rows(&path), Vec::new());
    block_on(async {
        let at = |place: usize| format!("r{place}.example");
        let records = rows.iter().enumerate();
        let record =
            |text: &str| if text.is_empty() { ZoneRecord::Txt(vec![String::new()]) } else { ZoneRecord::txt(text) };
        let zone = records.map(|(place, row)| (format!("_dmarc.{}", at(place)), record(&row[0])));
        let world = World::new(zone.collect()).await;
        for (place, row) in rows.iter().enumerate() {
            let [text, expected] = row.as_slice() else { panic!("{row:?}") };
            let listed = expected == "DMARC_PARSE_OKAY";
            let otherwise = PARSED_OTHERWISE.iter().find(|(other, ..)| other == text);
            let expected = otherwise.map_or(listed, |(.., expected)| *expected);
            assert!(otherwise.is_none() || expected != listed, "{text}: a row that no longer differs");
            excluded.extend(otherwise.map(|(text, reason, _)| (*text, *reason)));
            assert_eq!(asks(text), expected, "{text}");
            let result = world.judge("unaligned.example", &at(place)).await.result;
            assert_eq!(result == MethodResult::Fail, expected, "{text}: {result}");
        }
    });
    report("test_dmarc_parse.json", rows.len(), &excluded);
    assert_eq!((rows.len(), excluded.len()), (19, PARSED_OTHERWISE.len()));
}

/// The last labels of a domain.
fn end(domain: &str, labels: usize) -> String {
    let all: Vec<&str> = domain.split('.').collect();
    all[all.len().saturating_sub(labels)..].join(".")
}

#[test]
fn alignment() {
    let Some(path) = shared::suite("dmarc_suites", "dmarc-opendmarc/data/test_alignment.json") else { return };
    let (rows, mut excluded) = (rows(&path), Vec::new());
    for row in &rows {
        let [author, other, mode, expected] = row.as_slice() else { panic!("{row:?}") };
        if let Some(row) = NO_DOMAINS.iter().find(|(text, _)| text == author) {
            assert!(Domain::parse(author).is_err(), "{author}");
            excluded.push(*row);
            continue;
        }
        let (Ok(author), Ok(other)) = (Domain::parse(author), Domain::parse(other)) else {
            assert_eq!(expected, "-1", "{row:?}: what is no domain is aligned with nothing");
            continue;
        };
        let mode = if mode == "DMARC_RECORD_A_STRICT" { "s" } else { "r" };
        let zone = [
            (format!("_dmarc.{}", end(author.as_str(), 2)), format!("v=DMARC1; p=reject; aspf={mode}")),
            (other.to_string(), "v=spf1 ip4:192.0.2.1 -all".to_owned()),
        ];
        let dmarc = block_on(async {
            let world = World::new(zone.iter().map(|(name, text)| (name, ZoneRecord::txt(text))).collect()).await;
            world.judge(other.as_str(), author.as_str()).await
        });
        let expected = if expected == "0" { MethodResult::Pass } else { MethodResult::Fail };
        assert_eq!((dmarc.result, dmarc.spf_aligned), (expected, expected == MethodResult::Pass), "{row:?}: {dmarc:?}");
    }
    report("test_alignment.json", rows.len(), &excluded);
    assert_eq!((rows.len(), excluded.len()), (10, NO_DOMAINS.len()));
}

/// `\0xd8` and the like stand for an octet, and quotes around all of it for nothing.
fn unescape(text: &str) -> String {
    let mut pieces = text.trim_matches('"').split("\\0x");
    let mut octets = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (hexadecimal, rest) = piece.split_at(2);
        octets.push(u8::from_str_radix(hexadecimal, 16).expect("two digits"));
        octets.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(octets).expect("UTF-8")
}

#[test]
fn organizational_domains() {
    let Some(path) = shared::suite("dmarc_suites", "dmarc-opendmarc/data/test_tld.json") else { return };
    let rows = rows(&path);
    for row in &rows {
        let [domain, expected] = row.as_slice() else { panic!("{row:?}") };
        let (domain, expected) = (unescape(domain), Domain::from_unicode(&unescape(expected)).expect("a domain"));
        let (_, suffix) = expected.as_str().split_once('.').expect("a suffix");
        // Either its organization says so, or the public suffix above it.
        for (name, record) in [(expected.as_str(), "v=DMARC1; p=none"), (suffix, "v=DMARC1; psd=y")] {
            let found = block_on(async {
                let zone = [(format!("_dmarc.{name}"), ZoneRecord::txt(record))];
                World::new(zone.into_iter().collect()).await.organization(&domain).await
            });
            assert_eq!(found, expected.as_str(), "{record} at {name}");
        }
    }
    report("test_tld.json", rows.len(), &[]);
    assert_eq!(rows.len(), 4);
}

#[test]
fn author_domains() {
    let Some(path) = shared::suite("dmarc_suites", "dmarc-opendmarc/data/test_finddomain.json") else { return };
    let (rows, mut excluded) = (rows(&path), Vec::new());
    for row in &rows {
        let [from, expected] = row.as_slice() else { panic!("{row:?}") };
        let found = authors(&Message::new(format!("From: {from}\r\n\r\n").into_bytes()));
        match FROM_OTHERWISE.iter().find(|(text, ..)| text == from) {
            Some((text, reason, expected)) => {
                assert_eq!(found, *expected, "{from}");
                excluded.push((*text, *reason));
            }
            None => assert_eq!(found.domain().map(Domain::as_str), Some(expected.as_str()), "{from}"),
        }
    }
    report("test_finddomain.json", rows.len(), &excluded);
    assert_eq!((rows.len(), excluded.len()), (13, FROM_OTHERWISE.len()));
}

/// The table is empty: whoever fills it has to be told.
#[test]
fn spf() {
    let Some(path) = shared::suite("dmarc_suites", "dmarc-opendmarc/data/test_spf.json") else { return };
    let rows = rows(&path);
    report("test_spf.json", rows.len(), &[]);
    assert!(rows.is_empty(), "rows that nobody runs: {rows:?}");
}
