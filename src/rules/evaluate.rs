//! The evaluation of one message: views, counts, hits.
//!
//! *Guarantees:* each view is built at most once; each rule runs at most once; time is linear in the text and in the
//! number of rules that some score needs.

use crate::address::ReversePath;
use crate::message::Message;
use crate::rules::compile::{Check, Compiled, Plan, Rule};
use crate::rules::evidence::Evidence;
use crate::rules::views::Views;
use crate::rules::views::header::{Known, Query};
use crate::rules::views::parts::Parts;
use crate::rules::{Hit, Hits};

/// How often each rule hit, by its index.
type Counts = Vec<f64>;

/// Runs the plan for this message. Without evidence no rule that needs the session runs.
pub fn evaluate(compiled: &Compiled, message: &Message, evidence: Option<&Evidence>) -> Hits {
    let [local, net] = &compiled.plans;
    let plan = if evidence.is_some() { net } else { local };
    let parts = Parts::new(message);
    let envelope_from = evidence.and_then(|evidence| evidence.reverse_path).map(envelope_from);
    let views = Views::new(&parts, Known { envelope_from: envelope_from.as_deref(), ..Known::default() });
    let rules = compiled.rules.as_slice();
    let mut counts = vec![0.0; rules.len()];
    run_headers(plan, rules, &views, &mut counts);
    run_body(plan, rules, &views, &mut counts);
    if let Some(evidence) = evidence {
        run_evals(plan, rules, evidence, &mut counts);
    }
    run_metas(plan, rules, &mut counts);
    let hit = |(at, score): &(usize, f64)| {
        let rule = rules.get(*at).filter(|_| counts.get(*at).is_some_and(|count| *count != 0.0))?;
        Some(Hit { name: rule.name.clone(), score: *score, describe: rule.describe.clone() })
    };
    Hits { hits: plan.scored.iter().filter_map(hit).collect() }
}

/// The reverse-path without brackets, empty for the null one.
fn envelope_from(reverse_path: &ReversePath) -> Vec<u8> {
    match reverse_path {
        ReversePath::Null => Vec::new(),
        ReversePath::Mailbox(mailbox) => mailbox.to_string().into_bytes(),
    }
}

fn set(counts: &mut Counts, at: usize, count: f64) {
    if let Some(slot) = counts.get_mut(at) {
        *slot = count;
    }
}

fn run_headers(plan: &Plan, rules: &[Rule], views: &Views, counts: &mut Counts) {
    for (selector, group) in &plan.headers {
        let value = views.get(&Query::from(selector));
        for &at in group {
            let Some(rule) = rules.get(at) else { continue };
            let count = match &rule.check {
                Check::Exists => u32::from(value.is_some()),
                Check::Header { regex, negated, if_unset } => {
                    let text = value.as_deref().unwrap_or(if_unset);
                    match negated {
                        true => u32::from(!regex.is_match(text)),
                        false => matches(regex, text, rule.hits_max),
                    }
                }
                _ => 0,
            };
            set(counts, at, f64::from(count));
        }
    }
}

/// Most lines match nothing: where there is a prefilter, it says so for all rules at once.
fn run_body(plan: &Plan, rules: &[Rule], views: &Views, counts: &mut Counts) {
    if plan.body.is_empty() {
        return;
    }
    for (number, line) in views.text().lines().enumerate() {
        match &plan.body_set {
            Some(set) if !set.is_match(line) => {}
            Some(set) => {
                let hit = set.matches(line);
                let candidates = hit.iter().filter_map(|at| plan.body.get(at));
                candidates.for_each(|&at| run_line(at, rules, number, line, counts));
            }
            None => plan.body.iter().for_each(|&at| run_line(at, rules, number, line, counts)),
        }
    }
}

/// One rule on one line; the Subject is line 0.
fn run_line(at: usize, rules: &[Rule], number: usize, line: &[u8], counts: &mut Counts) {
    let (Some(rule), Some(count)) = (rules.get(at), counts.get_mut(at)) else { return };
    let Check::Body(regex) = &rule.check else { return };
    let left = f64::from(rule.hits_max) - *count;
    if left >= 1.0 && !(number == 0 && rule.no_subject) {
        *count += f64::from(matches(regex, line, left as u32));
    }
}

fn run_evals(plan: &Plan, rules: &[Rule], evidence: &Evidence, counts: &mut Counts) {
    for &at in &plan.evals {
        if let Some(Check::Eval(eval)) = rules.get(at).map(|rule| &rule.check) {
            set(counts, at, if eval(evidence) { 1.0 } else { 0.0 });
        }
    }
}

fn run_metas(plan: &Plan, rules: &[Rule], counts: &mut Counts) {
    let mut stack = Vec::new();
    for &at in &plan.metas {
        if let Some(Check::Meta(program)) = rules.get(at).map(|rule| &rule.check) {
            let value = |name: &Option<usize>| name.and_then(|at| counts.get(at).copied()).unwrap_or(0.0);
            let count = program.evaluate(&mut stack, value);
            set(counts, at, count);
        }
    }
}

/// How often a pattern matches, up to a bound.
fn matches(regex: &regex::bytes::Regex, text: &[u8], hits_max: u32) -> u32 {
    match hits_max {
        1 => u32::from(regex.is_match(text)),
        max => regex.find_iter(text).take(max as usize).fold(0, |count, _| count + 1),
    }
}
