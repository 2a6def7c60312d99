//! Our own rules: each scored rule has a mail that must hit it and one, different in one feature, that must not.

use std::fs;
use std::path::{Path, PathBuf};

use mxkeep::authentication::{DmarcPolicy, MethodResult};
use mxkeep::message::Message;
use mxkeep::mime;
use mxkeep::rules::{Evidence, OWN, Rules, Signatures, Signed};

fn mails() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules")
}

fn own() -> Rules {
    let (rules, diagnostics) = Rules::from_texts(&OWN);
    let shown: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [""; 0]);
    rules
}

/// What `hit.evidence` says: `key=value` lines.
fn evidence(text: &str) -> Evidence<'static> {
    let mut evidence = Evidence::default();
    for line in text.lines() {
        let (key, value) = line.split_once('=').expect("key=value");
        match key {
            "spf" => evidence.spf = Some(result(value)),
            "spf_helo" => evidence.spf_helo = Some(result(value)),
            "iprev" => evidence.iprev = Some(result(value)),
            "dkim" => {
                evidence.dkim = Some(signatures(value));
                evidence.signatures = signed(value);
            }
            "dmarc" => evidence.dmarc = Some(result(value)),
            "dmarc_policy" => evidence.dmarc_policy = Some(policy(value)),
            other => panic!("unknown evidence {other}"),
        }
    }
    evidence
}

/// A result as RFC 8601 spells it.
fn result(value: &str) -> MethodResult {
    use MethodResult::*;
    let all = [None, Neutral, Pass, Policy, Fail, SoftFail, TempError, PermError];
    all.into_iter().find(|result| result.to_string() == value).unwrap_or_else(|| panic!("unknown result {value}"))
}

fn signatures(value: &str) -> Signatures {
    match value {
        "unsigned" => Signatures::Absent,
        "invalid" => Signatures::Invalid,
        "valid" => Signatures::Valid,
        "valid_author" => Signatures::ValidAuthor,
        other => panic!("unknown DKIM result {other}"),
    }
}

/// What became of the one signature that there is, if there is one. The author of these mails is at sender.example.
fn signed(value: &str) -> Vec<Signed> {
    let (result, signer) = match value {
        "unsigned" => return Vec::new(),
        "invalid" => (MethodResult::Fail, "sender.example"),
        "valid_author" => (MethodResult::Pass, "sender.example"),
        _ => (MethodResult::Pass, "signer.example"),
    };
    vec![Signed { signer: signer.into(), result, key_bits: Some(2048), testing: false }]
}

fn policy(value: &str) -> DmarcPolicy {
    use DmarcPolicy::*;
    let all = [None, Quarantine, Reject];
    all.into_iter().find(|policy| policy.to_string() == value).unwrap_or_else(|| panic!("unknown policy {value}"))
}

/// The scored rules that hit `tests/rules/NAME/which.eml`, and their score.
fn hits(rules: &Rules, name: &str, which: &str) -> (Vec<String>, f64) {
    let directory = mails().join(name);
    let path = directory.join(format!("{which}.eml"));
    let octets = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let known = fs::read_to_string(directory.join(format!("{which}.evidence"))).ok();
    let message = Message::from_stored(&octets);
    let known = known.as_deref().map(|text| Evidence { malformed: Some(mime::malformed(&message)), ..evidence(text) });
    let hits = rules.evaluate(&message, known.as_ref());
    (hits.hits.iter().map(|hit| hit.name.to_string()).collect(), hits.score())
}

#[test]
fn each_rule_hits_its_mail_and_not_the_other() {
    let rules = own();
    for name in rules.scored() {
        let (hit, _) = hits(&rules, name, "hit");
        assert_eq!(hit, [name], "{name}/hit.eml");
        let (miss, _) = hits(&rules, name, "miss");
        assert!(!miss.iter().any(|found| found == name), "{name}/miss.eml");
    }
}

#[test]
fn each_directory_of_mails_belongs_to_a_rule() {
    let rules = own();
    let names: Vec<&str> = rules.scored().chain(["examples"]).collect();
    for entry in fs::read_dir(mails()).expect("tests/rules") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name.as_str()), "tests/rules/{name}: there is no such scored rule");
    }
}

#[test]
fn each_rule_is_described_and_none_is_spam_alone() {
    let rules = own();
    for name in rules.scored() {
        let directory = mails().join(name);
        let octets = fs::read(directory.join("hit.eml")).expect("hit.eml");
        let known = fs::read_to_string(directory.join("hit.evidence")).ok();
        let message = Message::from_stored(&octets);
        let known =
            known.as_deref().map(|text| Evidence { malformed: Some(mime::malformed(&message)), ..evidence(text) });
        let found = rules.evaluate(&message, known.as_ref());
        assert!(found.hits.iter().all(|hit| hit.describe.is_some()), "{name} has no describe");
        assert!(found.score() < 5.0, "{name} is spam alone: {}", found.score());
    }
}

/// What each whole mail must come to: ordinary mail nothing, a fraud spam, two frauds in one a refusal.
#[test]
fn whole_mails_score_what_they_should() {
    let rules = own();
    for (which, least, most) in [("ham", -1.0, 0.0), ("junk", 5.0, 14.9), ("reject", 15.0, 100.0)] {
        let (names, score) = hits(&rules, "examples", which);
        println!("{which}.eml: {score} {names:?}");
        assert!((least..=most).contains(&score), "{which}.eml: {score} {names:?}");
    }
}
