//! What is said of many messages together: verdicts with their rates, the most frequent rules, and the costliest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::Report;

/// So many rules of each kind are listed.
const RULES_MAX: usize = 10;

/// Counts.
#[derive(Debug)]
pub struct Summary {
    /// Messages that were examined.
    pub messages: u64,
    /// Files and messages that could not be read.
    pub unreadable: u64,
    started: Instant,
    octets: u64,
    verdicts: BTreeMap<&'static str, u64>,
    hits: BTreeMap<String, u64>,
    given_up: BTreeMap<String, u64>,
    costs: BTreeMap<Arc<str>, Duration>,
}

impl Default for Summary {
    fn default() -> Self {
        Summary {
            messages: 0,
            unreadable: 0,
            started: Instant::now(),
            octets: 0,
            verdicts: BTreeMap::new(),
            hits: BTreeMap::new(),
            given_up: BTreeMap::new(),
            costs: BTreeMap::new(),
        }
    }
}

impl Summary {
    /// Counts one message of so many octets.
    pub fn add(&mut self, report: &Report, octets: u64) {
        self.messages += 1;
        self.octets = self.octets.saturating_add(octets);
        *self.verdicts.entry(report.verdict).or_default() += 1;
        report.rules.keys().for_each(|name| *self.hits.entry(name.clone()).or_default() += 1);
        report.given_up.iter().for_each(|name| *self.given_up.entry(name.clone()).or_default() += 1);
        for (name, cost) in &report.trace.costs {
            let sum = self.costs.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*cost);
        }
    }

    /// The table at the end.
    pub fn text(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-9);
        let rate = self.messages as f64 / elapsed;
        let mut out = format!(
            "\n{} messages, {:.1} MB, in {elapsed:.1} s: {rate:.0} a second; unreadable: {}\n",
            self.messages,
            self.octets as f64 / 1e6,
            self.unreadable
        );
        // Writing to a String cannot fail.
        for (verdict, count) in &self.verdicts {
            let _ = writeln!(out, "  {verdict:<16} {count:>8}  {:>6.2} %", self.percent(*count));
        }
        self.write_rules("most frequent rules", &self.hits, &mut out);
        self.write_costs(&mut out);
        self.write_rules("given up for their steps", &self.given_up, &mut out);
        out
    }

    fn percent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.messages.max(1) as f64
    }

    fn write_rules(&self, title: &str, counts: &BTreeMap<String, u64>, out: &mut String) {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        if !counts.is_empty() {
            let _ = writeln!(out, "{title}");
        }
        for (name, count) in counts.iter().take(RULES_MAX) {
            let _ = writeln!(out, "  {:>6.2} %  {count:>8}  {name}", self.percent(**count));
        }
    }

    fn write_costs(&self, out: &mut String) {
        let whole: f64 = self.costs.values().map(Duration::as_secs_f64).sum();
        let mut costs: Vec<_> = self.costs.iter().collect();
        costs.sort_by_key(|(name, cost)| (std::cmp::Reverse(**cost), *name));
        if !costs.is_empty() {
            let a_message = 1e6 * whole / self.messages.max(1) as f64;
            let _ = writeln!(
                out,
                "costliest rules (all patterns and evals together: {a_message:.0} microseconds a message)"
            );
        }
        for (name, cost) in costs.iter().take(RULES_MAX) {
            let (cost, part) = (cost.as_secs_f64(), 100.0 * cost.as_secs_f64() / whole.max(1e-9));
            let a_message = 1e6 * cost / self.messages.max(1) as f64;
            let _ = writeln!(out, "  {part:>6.2} %  {a_message:>8.2} microseconds a message  {name}");
        }
    }
}
