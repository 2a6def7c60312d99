//! SPF against the test suites of RFC 7208 and RFC 4408 (data beside the repository), with real DNS answers on loopback.
//!
//! Where RFC 7208 changed what RFC 4408 said, a test of the older suite is in [`CHANGED`], with the section that changed it.

use std::net::IpAddr;

use mxkeep::authentication::spf::{Outcome, Sender, check_host};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Behaviour, Record, Responder, Zone};
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::support::shared;

/// Tests of the RFC 4408 suite that RFC 7208 made obsolete, and why.
const CHANGED: &[(&str, &str)] = &[];

/// One scenario: a zone and its tests.
#[derive(Debug, Deserialize)]
struct Scenario {
    description: String,
    tests: Mapping,
    zonedata: Mapping,
}

fn scenarios(path: &std::path::Path) -> Vec<Scenario> {
    let text = std::fs::read_to_string(path).expect("the suite is there");
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Scenario::deserialize(document).expect("a scenario")).collect()
}

/// A name's records. A TXT record is implied by an SPF record where no TXT record is given.
fn add_name(mut zone: Zone, name: &str, entries: &[Value]) -> Zone {
    let of = |wanted: &'static str| {
        entries.iter().filter_map(move |entry| entry.as_mapping()?.get(wanted)).collect::<Vec<&Value>>()
    };
    let texts = if of("TXT").is_empty() { of("SPF") } else { of("TXT") };
    let mut empty = true;
    let mut add = |record| {
        empty = false;
        zone.add(name, record);
    };
    for text in texts {
        match text {
            // A record of no strings cannot be sent (RFC 1035 section 3.3.14): of one empty string it can.
            Value::Sequence(strings) if strings.is_empty() => add(Record::Txt(vec![String::new()])),
            Value::Sequence(strings) => add(Record::Txt(strings.iter().map(string).collect())),
            text if string(text) == "NONE" => {}
            text => add(Record::txt(&string(text))),
        }
    }
    of("A").into_iter().for_each(|address| add(Record::A(string(address).parse().expect("an address"))));
    of("AAAA").into_iter().for_each(|address| add(Record::Aaaa(string(address).parse().expect("an address"))));
    of("PTR").into_iter().for_each(|name| add(Record::Ptr(string(name))));
    of("CNAME").into_iter().for_each(|name| add(Record::Cname(string(name))));
    for mx in of("MX") {
        let [preference, exchange] = mx.as_sequence().expect("a list").as_slice() else { panic!("{mx:?}") };
        add(Record::Mx(preference.as_u64().expect("a number") as u16, string(exchange)));
    }
    let silent = entries.iter().any(|entry| entry.as_str() == Some("TIMEOUT"));
    if silent && empty { zone.behave(name, Behaviour::ServFail) } else { zone }
}

fn string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

async fn check(resolver: &Resolver, test: &Mapping) -> Outcome {
    let field = |name: &str| test.get(name).map(string).unwrap_or_default();
    let (helo, mail_from) = (field("helo"), field("mailfrom"));
    let (local_part, domain) = match mail_from.rsplit_once('@') {
        Some(("", domain)) => ("postmaster", domain),
        Some((local_part, domain)) => (local_part, domain),
        None if mail_from.is_empty() => ("postmaster", helo.as_str()),
        None => ("postmaster", mail_from.as_str()),
    };
    let client: IpAddr = field("host").parse().expect("an address");
    let client = client.to_canonical();
    let sender =
        Sender { client, helo: &helo, local_part, domain, receiver: "mx.example.test", seconds: 1_795_000_000 };
    check_host(resolver, &sender, true).await
}

/// What differs from what the test expects.
fn difference(test: &Mapping, outcome: &Outcome) -> Option<String> {
    let allowed: Vec<String> = match test.get("result").expect("a result") {
        Value::Sequence(results) => results.iter().map(string).collect(),
        result => vec![string(result)],
    };
    if !allowed.contains(&outcome.result.to_string()) {
        return Some(format!("{} instead of {allowed:?}: {outcome:?}", outcome.result));
    }
    let explained = outcome.explanation.as_deref().unwrap_or("DEFAULT");
    match test.get("explanation").map(string) {
        // The case of hexadecimal digits in `%{i}` is nobody's business: names in DNS have none.
        Some(expected) if !expected.eq_ignore_ascii_case(explained) => {
            Some(format!("explained {explained:?} instead of {expected:?}"))
        }
        _ => None,
    }
}

/// Runs a suite; hands back how many tests it has and those that differ.
fn run(path: &std::path::Path) -> (usize, Vec<(String, String)>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (mut count, mut different) = (0, Vec::new());
    for scenario in scenarios(path) {
        runtime.block_on(async {
            let zone = scenario.zonedata.iter().fold(Zone::default(), |zone, (name, entries)| {
                add_name(zone, &string(name), entries.as_sequence().expect("records"))
            });
            let responder = Responder::start(zone).await.expect("a responder");
            let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
            for (name, test) in &scenario.tests {
                let test = test.as_mapping().expect("a test");
                let outcome = check(&resolver, test).await;
                count += 1;
                if let Some(difference) = difference(test, &outcome) {
                    different.push((string(name), format!("{}: {difference}", scenario.description)));
                }
            }
        });
    }
    (count, different)
}

#[test]
fn rfc7208() {
    let Some(path) = shared::find("spf_suites", "suites/spf-openspf/data/rfc7208-tests.yml") else { return };
    let (count, different) = run(&path);
    println!("rfc7208-tests.yml: {} of {count} as expected", count - different.len());
    assert_eq!(count, 203);
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn rfc4408() {
    let Some(path) = shared::find("spf_suites", "suites/spf-openspf/data/rfc4408-tests.yml") else { return };
    let (count, mut different) = run(&path);
    let before = different.len();
    different.retain(|(name, _)| !CHANGED.iter().any(|(changed, _)| changed == name));
    println!(
        "rfc4408-tests.yml: {} of {count} as expected, {} changed by RFC 7208",
        count - before,
        before - different.len()
    );
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(before, CHANGED.len(), "a row that no longer differs");
}
