//! What was matched and what it took: for people who ask, not for the mail path.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::rules::Trace;
use crate::rules::compile::{Check, Compiled};

/// So much of a match is shown, in octets.
const SHOWN_OCTETS_MAX: usize = 80;
/// So many of the rules that a meta is made of are shown.
const SHOWN_NAMES_MAX: usize = 12;

/// What is noted while a message is evaluated, by rule.
#[derive(Debug)]
pub struct Tracer {
    matched: Vec<Option<String>>,
    took: Vec<Duration>,
}

impl Tracer {
    /// Nothing noted yet.
    pub fn new(rules: usize) -> Self {
        Tracer { matched: vec![None; rules], took: vec![Duration::ZERO; rules] }
    }

    /// Adds to what a rule took.
    pub fn took(&mut self, at: usize, time: Duration) {
        self.took.get_mut(at).into_iter().for_each(|sum| *sum = sum.saturating_add(time));
    }

    /// Keeps the first match of a rule.
    pub fn matched(&mut self, at: usize, text: &[u8], find: impl FnOnce() -> Option<Range<usize>>) {
        if let Some(slot @ None) = self.matched.get_mut(at) {
            *slot = find().and_then(|found| text.get(found)).map(shown);
        }
    }

    /// What can be said of the rules that hit.
    pub fn finish(&self, compiled: &Compiled, counts: &[f64]) -> Trace {
        let mut trace = Trace::default();
        for (at, rule) in compiled.rules.iter().enumerate() {
            let hit = |at: usize| counts.get(at).is_some_and(|count| *count != 0.0);
            let matched = match &rule.check {
                Check::Meta(program) => {
                    let names = program.names().filter_map(|at| at.filter(|at| hit(*at)));
                    let names: BTreeMap<&str, ()> =
                        names.filter_map(|at| Some((&*compiled.rules.get(at)?.name, ()))).collect();
                    let shown: Vec<&str> = names.keys().take(SHOWN_NAMES_MAX).copied().collect();
                    let more = if names.len() > shown.len() { ", ..." } else { "" };
                    (!shown.is_empty()).then(|| shown.join(", ") + more)
                }
                _ => self.matched.get(at).cloned().flatten(),
            };
            matched
                .filter(|_| hit(at))
                .into_iter()
                .for_each(|text| drop(trace.matched.insert(rule.name.clone(), text)));
            if let Some(count) = counts.get(at).filter(|count| **count != 0.0) {
                trace.counts.push((rule.name.clone(), *count));
            }
            let took = self.took.get(at).copied().unwrap_or_default();
            if !took.is_zero() {
                trace.costs.push((rule.name.clone(), took));
            }
        }
        trace
    }
}

/// In quotation marks, without control characters; the beginning of it, if it is long.
fn shown(found: &[u8]) -> String {
    let cut = found.get(..SHOWN_OCTETS_MAX).unwrap_or(found);
    let more = if cut.len() < found.len() { "..." } else { "" };
    format!("\"{}\"{more}", String::from_utf8_lossy(cut).escape_debug())
}
