//! ARC against chains that others made (data beside the repository), with real DNS answers on loopback.

use std::collections::BTreeMap;
use std::path::Path;

use mxkeep::address::Domain;
use mxkeep::authentication::{ArcChain, Authenticator, Iprev, MethodResult, Settings, Spf, SpfIdentity};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Record, Responder, Zone};
use mxkeep::message::Message;
use serde::Deserialize;

use crate::support::conformance::{json, report};
use crate::support::shared;

/// Tests that expect what an RFC forbids: what is expected instead, and why.
const EXCLUDED: &[(&str, MethodResult, &str)] = &[(
    "ams_fields_h_empty",
    MethodResult::Fail,
    "From is not signed: RFC 6376 sections 5.4 and 6.1.1, which RFC 8617 section 4.1.2 takes over",
)];

/// One scenario: a zone and its tests.
#[derive(Debug, Deserialize)]
struct Scenario {
    tests: BTreeMap<String, Test>,
    #[serde(rename = "txt-records")]
    txt_records: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Test {
    message: String,
    cv: String,
}

/// The chain of a stored message, as the whole authentication finds it.
async fn chain(zone: &Zone, octets: &[u8]) -> ArcChain {
    let responder = Responder::start(zone.clone()).await.expect("a responder");
    let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
    let hostname = Domain::parse("mx.example.test").expect("a domain");
    let authenticator = Authenticator::new(resolver, hostname, Settings::default());
    let spf = Spf::none(SpfIdentity::MailFrom, None);
    let iprev = Iprev::none([192, 0, 2, 1].into());
    authenticator.verify(&Message::from_stored(octets), spf, iprev).await.arc
}

fn zone<'r>(records: impl Iterator<Item = (&'r str, &'r str)>) -> Zone {
    records.map(|(name, text)| (name, Record::txt(text))).collect()
}

/// Runs the suite: how many tests it has, and what is not as expected.
async fn run(path: &Path) -> (usize, Vec<String>) {
    let scenarios: Vec<Scenario> = json(path);
    let (mut count, mut different) = (0, Vec::new());
    for scenario in scenarios {
        let zone = zone(scenario.txt_records.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        for (name, test) in scenario.tests {
            count += 1;
            let excluded = EXCLUDED.iter().find(|(excluded, ..)| *excluded == name);
            let expected = match (excluded, test.cv.as_str()) {
                (Some((_, expected, _)), _) => *expected,
                (None, "None") => MethodResult::None,
                (None, "Pass") => MethodResult::Pass,
                // Nothing is said where a sealer says cv=fail: such a chain has failed (RFC 8617 section 5.2, step 2).
                (None, "Fail" | "") => MethodResult::Fail,
                (None, cv) => panic!("{name}: {cv}"),
            };
            let found = chain(&zone, test.message.as_bytes()).await;
            if found.result != expected {
                different.push(format!("{name}: {} instead of {expected}: {:?}", found.result, found.reason));
            } else if let Some(reason) = found.reason {
                println!("{name}: {reason}");
            }
        }
    }
    (count, different)
}

#[tokio::test]
async fn valimail() {
    let Some(path) = shared::suite("arc_suites", "arc-valimail/data/arc-validation-dev.json") else { return };
    let (count, different) = run(&path).await;
    let passed = count - different.len() - EXCLUDED.len();
    let reasons = EXCLUDED.iter().map(|(name, expected, reason)| format!("{name} ({expected}): {reason}"));
    report("arc-valimail", count, passed, EXCLUDED.len(), reasons);
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!((count, passed), (102, 101));
}

/// Two messages from the wild, their keys in front of them.
#[tokio::test]
async fn stalwart() {
    let (mut count, mut different) = (0, Vec::new());
    for file in ["001.txt", "002.txt"] {
        let path = format!("dkim-arc-stalwart-mail-auth/data/arc/{file}");
        let Some(path) = shared::suite("arc_suites", &path) else { return };
        let text = std::fs::read(path).expect("the suite is there");
        let end = text.windows(2).position(|two| two == b"\n\n").expect("records, then a message");
        let (records, message) = (String::from_utf8_lossy(&text[..end]).into_owned(), &text[end + 2..]);
        let zone = zone(records.lines().filter_map(|line| line.split_once(' ')));
        let found = chain(&zone, message).await;
        count += 1;
        if found.result != MethodResult::Pass {
            different.push(format!("{file}: {found:?}"));
        }
    }
    report("dkim-arc-stalwart-mail-auth (ARC)", count, count - different.len(), 0, []);
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(count, 2);
}
