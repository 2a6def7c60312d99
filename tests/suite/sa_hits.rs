//! Debian's SpamAssassin rules over real mail: the same hits as SpamAssassin's own, message by message and rule by rule.
//!
//! *Shows:* of all scored hits that SpamAssassin had, at least [`SAME_PERCENT_MIN`] are ours too, and we have at most
//! [`EXTRA_PERCENT_MAX`] that it had not. Nothing is left out of either count: what is missing is named with how often.
//! *Needs:* the rules of Debian's package, loaded unmodified, and the corpus with what SpamAssassin 4.0.1 said of it.
//! *Never does:* put an address or a text of these mails into any output: rules are named, and mails counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use mxkeep::message::Message;
use mxkeep::rules::Rules;
use serde::Deserialize;

use crate::support::shared;

/// Of SpamAssassin's scored hits, so many of a hundred must be ours too.
const SAME_PERCENT_MIN: f64 = 97.0;
/// For a hundred of SpamAssassin's scored hits, so many others may be ours.
const EXTRA_PERCENT_MAX: f64 = 1.0;
/// How SpamAssassin was set up when it was asked: the top Received field is that of our own MX.
const NETWORKS: &str = "trusted_networks 192.0.2.0/24\ninternal_networks 192.0.2.0/24\n";

/// What SpamAssassin said of a mail.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "h")]
    stem: String,
    rules: BTreeMap<String, f64>,
}

/// Pairs of a mail and a rule.
#[derive(Debug, Default)]
struct Tally {
    theirs: usize,
    same: usize,
    missing: BTreeMap<String, usize>,
    extra: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, theirs: &BTreeSet<&str>, ours: &BTreeSet<&str>) {
        self.theirs += theirs.len();
        self.same += theirs.intersection(ours).count();
        theirs.difference(ours).for_each(|rule| *self.missing.entry((*rule).to_owned()).or_default() += 1);
        ours.difference(theirs).for_each(|rule| *self.extra.entry((*rule).to_owned()).or_default() += 1);
    }

    fn percent(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.theirs.max(1) as f64
    }
}

#[test]
fn debians_rules_hit_what_spamassassin_hits() {
    const TEST: &str = "debians_rules_hit_what_spamassassin_hits";
    let Some(stock) = stock_rules(TEST) else { return };
    let (Some(said), Some(archive)) =
        (shared::find(TEST, "corpus/dev_sa_hits.jsonl.xz"), shared::find(TEST, "corpus/dev.tar.xz"))
    else {
        return;
    };
    let mails = Mails::unpack(&archive);
    let networks = mails.directory.path().join("networks.cf");
    std::fs::write(&networks, NETWORKS).expect("written");
    let (rules, _) = Rules::load(&[stock, networks]).expect("loaded");
    let mut tally = Tally::default();
    for line in unpacked(&said).lines() {
        let said: Said = serde_json::from_str(line).expect("what SpamAssassin said");
        let octets = std::fs::read(mails.path(&said.stem)).expect("a mail");
        let hits = rules.evaluate(&Message::from_stored(&octets), None);
        let ours = hits.hits.iter().map(|hit| &*hit.name).collect();
        tally.add(&said.rules.keys().map(String::as_str).collect(), &ours);
    }
    report(&tally);
    let extra = tally.percent(tally.extra.values().sum());
    assert!(tally.theirs > 10_000, "only {} hits of SpamAssassin's were compared", tally.theirs);
    assert!(tally.percent(tally.same) >= SAME_PERCENT_MIN, "{:.2} % are the same", tally.percent(tally.same));
    assert!(extra <= EXTRA_PERCENT_MAX, "{extra:.2} % are extra");
}

/// Where Debian's package has its rules, if it is installed.
pub fn stock_rules(test: &str) -> Option<PathBuf> {
    let rules = Path::new("/usr/share/spamassassin");
    if !rules.join("72_active.cf").exists() {
        println!("{test}: skipped, as Debian's package spamassassin is not installed");
        return None;
    }
    Some(rules.to_owned())
}

fn report(tally: &Tally) {
    let (missing, extra) = (tally.missing.values().sum(), tally.extra.values().sum());
    println!(
        "SpamAssassin's scored hits: {}, the same: {} ({:.2} %), missing: {missing} ({:.2} %), extra: {extra} ({:.2} %)",
        tally.theirs,
        tally.same,
        tally.percent(tally.same),
        tally.percent(missing),
        tally.percent(extra)
    );
    for (what, rules) in [("missing", &tally.missing), ("extra", &tally.extra)] {
        let mut rules: Vec<_> = rules.iter().collect();
        rules.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        rules.iter().for_each(|(name, count)| println!("  {what} {count:>5}  {name}"));
    }
}

/// The corpus, unpacked for the time of a test.
struct Mails {
    directory: tempfile::TempDir,
    by_stem: BTreeMap<String, PathBuf>,
}

impl Mails {
    fn unpack(archive: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tar = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(directory.path()).status();
        assert!(tar.expect("tar runs").success(), "the corpus cannot be unpacked");
        let mut by_stem = BTreeMap::new();
        let mut waiting = vec![directory.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => waiting.push(path),
                    false => drop(by_stem.insert(stem(&path), path)),
                }
            }
        }
        Mails { directory, by_stem }
    }

    fn path(&self, stem: &str) -> &Path {
        self.by_stem.get(stem).unwrap_or_else(|| panic!("{stem} is not in the corpus"))
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unpacked(file: &Path) -> String {
    let output = Command::new("xz").arg("-dc").arg(file).output().expect("xz runs");
    assert!(output.status.success(), "{} cannot be unpacked", file.display());
    String::from_utf8(output.stdout).expect("UTF-8")
}
