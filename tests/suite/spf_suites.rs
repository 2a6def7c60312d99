//! SPF against the test suites of RFC 7208 and RFC 4408 (data beside the repository), with real DNS answers on loopback.
//!
//! Where RFC 7208 changed what RFC 4408 said, a test of the older suite is in [`CHANGED`], with the section that changed it.

use std::net::IpAddr;

use mxkeep::authentication::spf::{Outcome, Sender, check_host};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::Responder;

use crate::support::conformance::report;
use crate::support::shared;
use crate::support::spf_suite::{Case, scenarios};

/// Tests of the RFC 4408 suite that RFC 7208 made obsolete, and why.
const CHANGED: &[(&str, &str)] = &[];

async fn check(resolver: &Resolver, case: &Case) -> Outcome {
    let Case { helo, mail_from, .. } = case;
    let (local_part, domain) = match mail_from.rsplit_once('@') {
        Some(("", domain)) => ("postmaster", domain),
        Some((local_part, domain)) => (local_part, domain),
        None if mail_from.is_empty() => ("postmaster", helo.as_str()),
        None => ("postmaster", mail_from.as_str()),
    };
    let client: IpAddr = case.host.parse().expect("an address");
    let client = client.to_canonical();
    let sender = Sender { client, helo, local_part, domain, receiver: "mx.example.test", seconds: 1_795_000_000 };
    check_host(resolver, &sender, true).await
}

/// What differs from what the test expects.
fn difference(case: &Case, outcome: &Outcome) -> Option<String> {
    if !case.results.contains(&outcome.result.to_string()) {
        return Some(format!("{} instead of {:?}: {outcome:?}", outcome.result, case.results));
    }
    let explained = outcome.explanation.as_deref().unwrap_or("DEFAULT");
    match &case.explanation {
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
            let responder = Responder::start(scenario.zone()).await.expect("a responder");
            let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
            for case in scenario.cases() {
                let outcome = check(&resolver, &case).await;
                count += 1;
                if let Some(difference) = difference(&case, &outcome) {
                    different.push((case.name, format!("{}: {difference}", scenario.description)));
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
    report("rfc7208-tests.yml", count, count - different.len(), 0, []);
    assert_eq!(count, 203);
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn rfc4408() {
    let Some(path) = shared::find("spf_suites", "suites/spf-openspf/data/rfc4408-tests.yml") else { return };
    let (count, mut different) = run(&path);
    let before = different.len();
    different.retain(|(name, _)| !CHANGED.iter().any(|(changed, _)| changed == name));
    let changed = CHANGED.iter().map(|(name, section)| format!("{name}: {section}"));
    report("rfc4408-tests.yml", count, count - before, before - different.len(), changed);
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(before, CHANGED.len(), "a row that no longer differs");
}
