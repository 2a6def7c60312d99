//! What a hostile sender's records can cost, and what their text can do.

use std::time::{Duration, Instant};

use super::super::{Authenticator, Settings};
use super::*;
use crate::address::Domain;
use crate::dns::Resolver;
use crate::dns::responder::{Behaviour, Record, Responder, Zone, reverse_name};

const CLIENT: [u8; 4] = [192, 0, 2, 1];

fn texts(records: &[(&str, &str)]) -> Zone {
    records.iter().map(|(name, text)| (name.to_string(), Record::txt(text))).collect()
}

async fn evaluate(zone: Zone, local_part: &str, domain: &str) -> (Outcome, Responder) {
    let responder = Responder::start(zone).await.unwrap();
    let resolver = Resolver::new(&[responder.address()]).unwrap();
    let sender = Sender {
        client: CLIENT.into(),
        helo: "helo.example",
        local_part,
        domain,
        receiver: "mx.example.org",
        seconds: 1_000,
    };
    let outcome = check_host(&resolver, &sender, false).await;
    // What was asked ahead, and is not waited for, arrives as well before it is counted.
    let _ = resolver.txt("last.example").await;
    (outcome, responder)
}

/// Ten records below each other may name 100 hosts, of which ten may be looked up: asking ahead must not ask for them all.
#[tokio::test]
async fn what_is_asked_ahead_is_bounded_for_the_whole_evaluation() {
    let host = |level: usize, at: usize| format!("a{level}-{at}.example");
    let mut zone = Zone::default();
    for level in 0..=9 {
        let hosts: String = (0..10).map(|at| format!(" a:{}", host(level, at))).collect();
        zone.add(&format!("l{level}.example"), Record::txt(&format!("v=spf1 include:l{}.example{hosts}", level + 1)));
    }
    zone.add("l10.example", Record::txt("v=spf1 -all"));
    let (outcome, responder) = evaluate(zone, "ann", "l0.example").await;
    assert_eq!((outcome.result, outcome.problem), (MethodResult::PermError, Some(Problem::TooManyLookups)));
    let asked: usize = (0..10)
        .flat_map(|level| (0..10).map(move |at| (level, at)))
        .map(|(level, at)| responder.queries(&host(level, at)))
        .sum();
    println!("{asked} hosts asked for ahead");
    assert!(asked <= evaluate::LOOKUP_TERMS_MAX, "{asked}");
}

#[tokio::test]
async fn names_on_record_are_short_and_printable() {
    let long = "x".repeat(200);
    let zone = texts(&[
        ("long.example", "v=spf1 include:%{l}%{l}%{l}%{l}%{l}%{l}%{l}%{l}"),
        ("odd.example", "v=spf1 include:%{l}.odd.example -all"),
        ("a\u{7f};\u{1b}[2J \"b.odd.example", "v=spf1 ip4:192.0.2.1"),
        ("match.example", "v=spf1 redirect=%{l}.odd.example"),
    ]);
    let (outcome, _responder) = evaluate(zone.clone(), &long, "long.example").await;
    let text = outcome.problem.unwrap().to_string();
    assert!(text.starts_with("a domain that the record refers to has none (xxx") && text.len() < 320, "{text}");
    for local_part in ["\u{1b}[31m\r\n", "a\u{7f};\u{1b}[2J \"b"] {
        let (outcome, _responder) = evaluate(zone.clone(), local_part, "match.example").await;
        let text = format!("{:?}", (&outcome.problem, outcome.matched)).replace("\\\"", "\"");
        assert!(!text.contains("\\u") && !text.contains("\\r"), "{text}");
    }
}

/// RFC 8616 section 4: a term with such a local-part in it matches nothing; it is no error.
#[tokio::test]
async fn a_local_part_that_is_not_ascii_matches_nothing() {
    let zone = texts(&[
        ("user.example", "v=spf1 include:%{l}._u.user.example ip4:192.0.2.1 -all"),
        ("exists.example", "v=spf1 exists:%{s}.user.example -all"),
    ]);
    let (outcome, _responder) = evaluate(zone.clone(), "j\u{fc}rgen", "user.example").await;
    assert_eq!(outcome.result, MethodResult::Pass, "{outcome:?}");
    let (outcome, _responder) = evaluate(zone.clone(), "j\u{fc}rgen", "exists.example").await;
    assert_eq!(outcome.result, MethodResult::Fail, "{outcome:?}");
    // Of ASCII a name without a record is an error (RFC 7208 section 5.2).
    let (outcome, _responder) = evaluate(zone, "jurgen", "user.example").await;
    assert_eq!(outcome.result, MethodResult::PermError, "{outcome:?}");
}

/// The client's names cost one round trip, not one each: whoever owns them could have the evaluation end late.
#[tokio::test]
async fn the_clients_names_are_looked_up_at_once() {
    const DELAY: Duration = Duration::from_millis(200);
    let mut zone = texts(&[("ptr.example", "v=spf1 ptr:trusted.example -all")]);
    for at in 0..10 {
        zone.add(&reverse_name(CLIENT.into()), Record::Ptr(format!("n{at}.example")));
        zone = zone.behave(&format!("n{at}.example"), Behaviour::Delay(DELAY));
    }
    let begin = Instant::now();
    let (outcome, _responder) = evaluate(zone, "ann", "ptr.example").await;
    assert_eq!(outcome.result, MethodResult::Fail, "{outcome:?}");
    assert!(begin.elapsed() < DELAY * 5, "{:?}", begin.elapsed());
}

/// RFC 7208 section 2.3: HELO beside the reverse-path, and that in the time of one.
#[tokio::test]
async fn both_identities_are_checked_at_once() {
    const DELAY: Duration = Duration::from_millis(300);
    let zone = texts(&[("from.example", "v=spf1 ip4:192.0.2.1 -all"), ("helo.example", "v=spf1 -all")]);
    let zone = zone.behave("from.example", Behaviour::Delay(DELAY)).behave("helo.example", Behaviour::Delay(DELAY));
    let responder = Responder::start(zone).await.unwrap();
    let resolver = Resolver::new(&[responder.address()]).unwrap();
    let ours = Domain::parse("mx.example.org").unwrap();
    let authenticator = Authenticator::new(resolver, ours, Settings::default());
    let path = |path: &str| ReversePath::parse(path).unwrap();
    let (helo, literal) = (Host::parse("helo.example").unwrap(), Host::parse("[192.0.2.1]").unwrap());
    let begin = Instant::now();
    let found = authenticator.spf_identities(CLIENT.into(), &helo, &path("<ann@from.example>")).await;
    assert!(begin.elapsed() < DELAY * 19 / 10, "{:?}", begin.elapsed());
    let shown = |spf: &Spf| format!("{:?} {} {}", spf.identity, spf.result, spf.domain.as_ref().unwrap());
    assert_eq!(shown(&found.spf), "MailFrom pass from.example");
    assert_eq!(found.helo.as_ref().map(shown).as_deref(), Some("Helo fail helo.example"));
    // The null reverse-path is checked as HELO already; a literal has no record.
    let found = authenticator.spf_identities(CLIENT.into(), &helo, &path("<>")).await;
    assert_eq!((shown(&found.spf).as_str(), &found.helo), ("Helo fail helo.example", &None));
    let found = authenticator.spf_identities(CLIENT.into(), &literal, &path("<ann@from.example>")).await;
    assert_eq!((shown(&found.spf).as_str(), found.helo), ("MailFrom pass from.example", None));
}

/// HELO is what the client says: its own domain, whose silent servers must not take the lookups that another's policy needs.
#[tokio::test]
async fn helo_takes_no_lookups_from_the_reverse_path() {
    let mut zone = texts(&[("bank4.example", "v=spf1 -all")]);
    for at in 0..4 {
        zone.add(
            &format!("bank{at}.example"),
            Record::txt(&format!("v=spf1 a:host{at}.example redirect=bank{}.example", at + 1)),
        );
        zone.add(&format!("host{at}.example"), Record::A([192, 0, 2, 9].into()));
        zone = zone.behave(&format!("host{at}.example"), Behaviour::Delay(Duration::from_millis(100)));
    }
    let hosts: String = (0..9).map(|at| format!(" a:a{at}.evil.example")).collect();
    zone.add("evil.example", Record::txt(&format!("v=spf1 mx:mx.example{hosts} -all")));
    for at in 0..10 {
        zone.add("mx.example", Record::Mx(at, format!("m{at}.evil.example")));
        let silent = [format!("a{at}.evil.example"), format!("m{at}.evil.example")];
        zone = silent.iter().fold(zone, |zone, name| zone.behave(name, Behaviour::Silent));
    }
    let responder = Responder::start(zone).await.unwrap();
    let resolver = Resolver::new(&[responder.address()]).unwrap();
    let authenticator = Authenticator::new(resolver, Domain::parse("mx.example.org").unwrap(), Settings::default());
    let (helo, path) = (Host::parse("evil.example").unwrap(), ReversePath::parse("<ceo@bank0.example>").unwrap());
    let found = authenticator.spf_identities(CLIENT.into(), &helo, &path);
    // HELO goes on until its deadline.
    let _ = tokio::time::timeout(Duration::from_secs(3), found).await;
    assert_eq!(responder.queries("bank4.example"), 1, "the last record of the bank");
}

/// Nor may the names that the client gives itself take the time of the evaluation.
#[tokio::test]
async fn the_clients_silent_names_leave_time_for_the_policy() {
    let mut zone = texts(&[("bank.example", "v=spf1 ptr:trusted.example include:more.example -all")]);
    zone.add("more.example", Record::txt("v=spf1 ip4:198.51.100.1 -all"));
    zone.add(&reverse_name(CLIENT.into()), Record::Ptr("n.evil.example".to_owned()));
    let late = Behaviour::Delay(Duration::from_millis(4_500));
    let zone = zone.behave(&reverse_name(CLIENT.into()), late).behave("n.evil.example", Behaviour::Silent);
    let begin = Instant::now();
    let (outcome, _responder) = evaluate(zone, "ceo", "bank.example").await;
    assert_eq!(outcome.result, MethodResult::Fail, "{outcome:?}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}
