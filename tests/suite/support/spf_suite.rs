//! The test suites of SPF (RFC 7208, RFC 4408): YAML documents, each a zone and its tests.

use std::path::Path;

use mxkeep::dns::responder::{Behaviour, Record, Zone};
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
pub struct Scenario {
    /// What it is about.
    pub description: String,
    tests: Mapping,
    zonedata: Mapping,
}

/// One test of a scenario.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, unique within the scenario.
    pub name: String,
    /// The client's address.
    pub host: String,
    /// What the client calls itself.
    pub helo: String,
    /// MAIL FROM; empty: the null reverse-path.
    pub mail_from: String,
    /// The results that are right.
    pub results: Vec<String>,
    /// The explanation of a fail.
    pub explanation: Option<String>,
}

/// Reads a suite.
pub fn scenarios(path: &Path) -> Vec<Scenario> {
    let text = std::fs::read_to_string(path).expect("the suite is there");
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Scenario::deserialize(document).expect("a scenario")).collect()
}

impl Scenario {
    /// The tests, in order.
    pub fn cases(&self) -> Vec<Case> {
        self.tests.iter().map(|(name, test)| case(string(name), test.as_mapping().expect("a test"))).collect()
    }

    /// The names of its world.
    pub fn zone(&self) -> Zone {
        self.zonedata.iter().fold(Zone::default(), |zone, (name, entries)| {
            add_name(zone, &string(name), entries.as_sequence().expect("records"))
        })
    }
}

fn case(name: String, test: &Mapping) -> Case {
    let field = |name: &str| test.get(name).map(string);
    let results = match test.get("result").expect("a result") {
        Value::Sequence(results) => results.iter().map(string).collect(),
        result => vec![string(result)],
    };
    Case {
        name,
        host: field("host").expect("an address"),
        helo: field("helo").unwrap_or_default(),
        mail_from: field("mailfrom").unwrap_or_default(),
        results,
        explanation: field("explanation"),
    }
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
