//! SpamAssassin's own tests: its converted test cases, the self-tests of its rule files, and the mails of its test data.
//!
//! *Shows:* the cases that need no plugin of their own hit, and don't hit, what they name; each self-test's text is matched,
//! or not, by its rule; and over its mails we hit what the SpamAssassin that is installed here hits.
//! *Says:* which cases were left out, and why; where the data or the program is absent, that the test was skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mxkeep::message::Message;
use mxkeep::rules::{Hit, Rules};
use serde::Deserialize;

use crate::sa_hits::stock_rules;
use crate::support::shared;

const SCRIPT: &str = include_str!("support/spamassassin.pl");

/// A converted case: texts of configuration, a mail, and what the report must and must not hold.
#[derive(Debug, Deserialize)]
struct Case {
    source: String,
    args: String,
    message: Option<String>,
    config: BTreeMap<String, String>,
    expect: Vec<serde_json::Value>,
    expect_not: Vec<serde_json::Value>,
}

/// Plugins that a case may name: what they do is part of the language here, or is not what the case asks for.
const PLUGINS: [&str; 1] = ["Mail::SpamAssassin::Plugin::AWL"];

impl Case {
    /// Why it is not run, if it is not.
    fn excluded(&self) -> Option<&'static str> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let arguments = words(&self.args);
        let plugins = self.config.values().flat_map(|text| text.lines());
        let mut plugins = plugins.filter_map(|line| line.trim().strip_prefix("loadplugin ")).map(words);
        match () {
            () if self.message.is_none() => Some("its message is made by the test's program"),
            () if !arguments.iter().any(|word| word == "-L") => Some("it needs DNS"),
            () if !arguments.iter().any(|word| word == "-t") => Some("it is about another program's options"),
            () if arguments.iter().any(|word| word == "-D") => Some("it is about debug output"),
            () if plugins.any(|words| !words.first().is_some_and(|name| PLUGINS.contains(&name.as_str()))) => {
                Some("it loads a plugin")
            }
            () if self.source.contains("awl") || self.source.contains("whitelist") && self.config.is_empty() => {
                Some("it is about the auto-welcomelist plugin")
            }
            () if self.expect.is_empty() && self.expect_not.is_empty() => Some("it expects nothing"),
            () if self.expectations().is_none() => Some("it is about the wording of reports, or about learning"),
            () => None,
        }
    }

    /// The rules that must hit and those that must not; none if anything else is expected.
    fn expectations(&self) -> Option<(Vec<Expected>, Vec<Expected>)> {
        let all = |values: &[serde_json::Value]| values.iter().map(Expected::read).collect::<Option<Vec<_>>>();
        Some((all(&self.expect)?, all(&self.expect_not)?))
    }

    /// The texts of the case come from a program's source: there, a `@` outside of patterns is escaped.
    fn configuration(&self) -> String {
        let mut text = String::new();
        for part in ["tstpre", "tstlocalrules", "tstprefs"] {
            for line in self.config.get(part).map(String::as_str).unwrap_or_default().lines() {
                text.push_str(&if line.contains('/') { line.to_owned() } else { line.replace("\\@", "@") });
                text.push('\n');
            }
        }
        text
    }
}

/// A line of a report: a rule, perhaps with its score.
#[derive(Debug, PartialEq)]
struct Expected {
    name: String,
    score: Option<f64>,
}

impl Expected {
    fn read(value: &serde_json::Value) -> Option<Self> {
        let words: Vec<&str> = value.as_str()?.split_whitespace().collect();
        let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        match *words.as_slice() {
            [name] if is_name(name) => Some(Expected { name: name.to_owned(), score: None }),
            // What follows the name is its description.
            [score, name, ..] if is_name(name) => {
                Some(Expected { name: name.to_owned(), score: Some(score.parse().ok()?) })
            }
            _ => None,
        }
    }

    /// Reports show one decimal.
    fn is(&self, hit: &Hit) -> bool {
        *self.name == *hit.name && self.score.is_none_or(|score| (score - hit.score).abs() < 0.051)
    }
}

#[test]
fn converted_cases_hit_what_they_name() {
    const TEST: &str = "converted_cases_hit_what_they_name";
    let (Some(cases), Some(data)) =
        (shared::suite(TEST, "spamassassin-t-converted/data"), shared::suite(TEST, "spamassassin/data"))
    else {
        return;
    };
    let (mut run, mut failed, mut excluded) = (0, Vec::new(), BTreeMap::<&str, usize>::new());
    for name in ["cases.json", "cases-other.json"] {
        let text = std::fs::read_to_string(cases.join(name)).expect("cases");
        let all: Vec<Case> = serde_json::from_str(&text).expect("cases");
        for (number, case) in all.iter().enumerate() {
            if let Some(why) = case.excluded() {
                *excluded.entry(why).or_default() += 1;
                continue;
            }
            let failures = failures(case, &data);
            if !failures.is_empty() && spamassassin_fails(TEST, case, &data) {
                *excluded.entry("what was converted lacks what it needs: SpamAssassin fails it too").or_default() += 1;
                continue;
            }
            run += 1;
            failed.extend(failures.into_iter().map(|why| format!("{name} {number} {}: {why}", case.source)));
        }
    }
    println!("SpamAssassin's converted tests: {run} run, {} expectations failed", failed.len());
    excluded.iter().for_each(|(why, count)| println!("  not run: {count:>3}  {why}"));
    assert!(run > 20, "only {run} were run");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Does SpamAssassin itself, with the same rules, not hit what the case expects?
fn spamassassin_fails(test: &str, case: &Case, data: &Path) -> bool {
    let (must, must_not) = case.expectations().unwrap_or_default();
    let mail = data.join("t").join(case.message.as_deref().unwrap_or_default());
    let tests = std::fs::read_to_string(data.join("t/data/01_test_rules.cf")).expect("rules");
    let text = format!("{tests}\n{}", case.configuration());
    let Some(said) = ask_spamassassin(test, &data.join("rules"), &text, &[mail]) else { return false };
    let hits: BTreeSet<String> = said.into_values().flatten().collect();
    must.iter().any(|expected| !hits.contains(&expected.name)) || must_not.iter().any(|rule| hits.contains(&rule.name))
}

fn failures(case: &Case, data: &Path) -> Vec<String> {
    let rules = with_suite_rules(data, &case.configuration());
    let message = data.join("t").join(case.message.as_deref().unwrap_or_default());
    let octets = std::fs::read(&message).unwrap_or_else(|error| panic!("{}: {error}", message.display()));
    let hits = rules.evaluate(&Message::from_stored(&octets), None).hits;
    let (must, must_not) = case.expectations().unwrap_or_default();
    let missing = must.iter().filter(|expected| !hits.iter().any(|hit| expected.is(hit)));
    let wrong = must_not.iter().filter(|expected| hits.iter().any(|hit| expected.is(hit)));
    missing.map(|rule| format!("{rule:?} is missing")).chain(wrong.map(|rule| format!("{rule:?} hits"))).collect()
}

/// The rules of the suite, those that its tests may count on, and some more.
fn with_suite_rules(data: &Path, text: &str) -> Rules {
    let directory = tempfile::tempdir().expect("a directory");
    let local = directory.path().join("local.cf");
    std::fs::write(&local, text).expect("written");
    let paths = [data.join("rules"), data.join("t/data/01_test_rules.cf"), local];
    Rules::load(&paths).expect("loaded").0
}

/// `test NAME ok|fail text`, as rule files hold them for their own rules.
#[test]
fn self_tests_of_rule_files_pass() {
    const TEST: &str = "self_tests_of_rule_files_pass";
    let (Some(data), Some(stock)) = (shared::suite(TEST, "spamassassin/data"), stock_rules(TEST)) else { return };
    let text = std::fs::read(data.join("rules/regression_tests.cf")).expect("self-tests");
    let text = String::from_utf8_lossy(&text).into_owned();
    let tests: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("test "))
        .map(|line| line.trim().splitn(3, char::is_whitespace).map(str::trim).collect())
        .collect();
    let names: BTreeSet<&str> = tests.iter().filter_map(|test| test.first().copied()).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let local = directory.path().join("local.cf");
    let metas: String = names.iter().map(|name| format!("score {name} 1\nmeta HIT_{name} {name} > 0\n")).collect();
    std::fs::write(&local, metas).expect("written");
    let (rules, _) = Rules::load(&[stock, local]).expect("loaded");
    let known: BTreeSet<String> = rules.scored().map(str::to_owned).collect();
    let (mut passed, mut failed, mut unknown) = (0, Vec::new(), BTreeSet::new());
    for test in &tests {
        let [name, outcome, text] = *test.as_slice() else { panic!("{test:?}") };
        if !known.contains(name) && !name.starts_with("__") {
            unknown.insert(name);
            continue;
        }
        let mail = format!("From: {text}\nReceived: {text}\nSubject: x\n\n{text}\n");
        let hits = rules.evaluate(&Message::from_stored(mail.as_bytes()), None).hits;
        let hit = hits.iter().any(|hit| *hit.name == *format!("HIT_{name}"));
        match hit == (outcome == "ok") {
            true => passed += 1,
            false => failed.push(test),
        }
    }
    println!("self-tests of rule files: {passed} passed, of rules that Debian's package lacks: {unknown:?}");
    assert!(passed > 20 && failed.is_empty(), "{passed} passed, failed: {failed:#?}");
}

#[test]
fn mails_of_the_suite_hit_what_spamassassin_hits() {
    const TEST: &str = "mails_of_the_suite_hit_what_spamassassin_hits";
    let (Some(data), Some(stock)) = (shared::suite(TEST, "spamassassin/data/t/data"), stock_rules(TEST)) else {
        return;
    };
    let mut mails = Vec::new();
    for folder in ["nice", "spam", "welcomelists", "txrep", "dkim"] {
        collect(&data.join(folder), &mut mails);
    }
    mails.sort();
    let Some(said) = ask_spamassassin(TEST, &stock, "", &mails) else { return };
    let (rules, _) = Rules::load(&[stock]).expect("loaded");
    let (mut theirs, mut different) = (0, BTreeMap::<String, Vec<String>>::new());
    for (mail, expected) in &said {
        let octets = std::fs::read(mail).expect("a mail");
        let hits = rules.evaluate(&Message::from_stored(&octets), None).hits;
        let ours: BTreeSet<String> = hits.iter().map(|hit| hit.name.to_string()).collect();
        theirs += expected.len();
        let name = mail.strip_prefix(&data).unwrap_or(mail).display();
        expected
            .difference(&ours)
            .for_each(|rule| different.entry(format!("missing {rule}")).or_default().push(name.to_string()));
        ours.difference(expected)
            .for_each(|rule| different.entry(format!("extra {rule}")).or_default().push(name.to_string()));
    }
    let count: usize = different.values().map(Vec::len).sum();
    println!("mails of the suite: {}, SpamAssassin's hits: {theirs}, different: {count}", said.len());
    different.iter().for_each(|(what, mails)| println!("  {what}: {mails:?}"));
    assert!(said.len() > 100 && count * 100 <= theirs * 3, "{count} of {theirs} are different");
}

fn collect(folder: &Path, mails: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => collect(&path, mails),
            false => mails.push(path),
        }
    }
}

/// What the SpamAssassin that is installed says of each mail.
pub fn ask_spamassassin(
    test: &str,
    rules: &Path,
    text: &str,
    mails: &[PathBuf],
) -> Option<BTreeMap<PathBuf, BTreeSet<String>>> {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("spamassassin.pl");
    std::fs::write(&script, SCRIPT).expect("written");
    let mut perl = Command::new("perl")
        .args([&script, rules])
        .arg(text)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let list: String = mails.iter().map(|mail| format!("{}\n", mail.display())).collect();
    let mut input = perl.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || input.write_all(list.as_bytes()));
    let output = perl.wait_with_output().expect("it ends");
    // It ends early where it is not installed; then what it said tells why.
    let _ = feeder.join();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        println!("{test}: skipped, as SpamAssassin does not run: {}", why.lines().next().unwrap_or_default());
        return None;
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| {
        let (file, names) = line.split_once('\t')?;
        let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some((PathBuf::from(file), names))
    };
    Some(said.lines().filter_map(line).collect())
}
