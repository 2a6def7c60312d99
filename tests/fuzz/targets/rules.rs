//! Rule files: whatever they say, they load with diagnostics, and evaluate to finite scores in a bounded time.
//!
//! The octets are a rule file; what stands behind a NUL is the message that it is asked about.

use mxkeep::message::Message;
use mxkeep::rules::expression::Program;
use mxkeep::rules::pattern::{Budget, Pattern, STEPS_PER_MATCH_MAX};
use mxkeep::rules::{Evidence, Rules, Signatures};

use super::support::is_printable;

const MESSAGE: &[u8] =
    b"From: \"A. Name\" <a@client.example>\r\nTo: b@example.test\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\
    Message-ID: <1@client.example>\r\n\r\nBuy now, pay 100 later.\r\n\r\nSecond paragraph\r\n";

/// The most findings: so many of each kind, and unsupported directives.
const DIAGNOSTICS_MAX: usize = 7_000;

pub fn run(octets: &[u8]) {
    let (file, message) = match octets.iter().position(|&octet| octet == 0) {
        Some(end) => (&octets[..end], &octets[end + 1..]),
        None => (octets, MESSAGE),
    };
    let text = String::from_utf8_lossy(file);
    let (rules, diagnostics) = Rules::from_texts(&[("fuzz.cf", &text)]);
    assert!(diagnostics.len() <= DIAGNOSTICS_MAX);
    for diagnostic in &diagnostics {
        assert!(!diagnostic.to_string().contains('\n'), "one line each");
    }
    check_evaluation(&rules, &Message::new(message.to_vec()));
    check_pattern(file);
    check_expression(&text);
}

fn check_evaluation(rules: &Rules, message: &Message) {
    let evidence = Evidence { dkim: Some(Signatures::Invalid), ..Evidence::default() };
    let scored: Vec<&str> = rules.scored().collect();
    for evidence in [None, Some(&evidence)] {
        let hits = rules.evaluate(message, evidence);
        assert!(!hits.score().is_nan());
        for hit in &hits.hits {
            assert!(hit.score.is_finite() && is_printable(&hit.name), "{hit:?}");
            assert!(evidence.is_none() || scored.contains(&&*hit.name), "{hit:?} is not among {scored:?}");
        }
    }
}

/// A pattern that is read is run within its budget; what it finds lies within the text.
fn check_pattern(written: &[u8]) {
    let Ok(pattern) = Pattern::parse(written) else { return };
    let mut budget = Budget::new(STEPS_PER_MATCH_MAX);
    if let Some(found) = pattern.find(MESSAGE, &mut budget) {
        assert!(MESSAGE.get(found.clone()).is_some(), "{found:?}");
    }
    assert!(pattern.count(MESSAGE, 100, &mut budget) <= 100);
    for (_, range) in pattern.captures(MESSAGE, &mut budget).unwrap_or_default() {
        assert!(MESSAGE.get(range).is_some());
    }
}

/// An expression is evaluated with any values.
fn check_expression(text: &str) {
    if let Ok(program) = Program::parse(text) {
        for value in [0.0, 1.0, -1.0, 1e300] {
            program.evaluate(&mut Vec::new(), |_| value);
        }
    }
}
