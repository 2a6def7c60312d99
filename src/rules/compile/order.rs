//! The order of metas: each behind those that it needs. One that needs itself is made to never hit.

use crate::rules::compile::{Check, NEVER_HITS, Rule};
use crate::rules::diagnostic::{Diagnostics, Kind, Span};

/// The metas, each behind the metas that it names.
pub fn order_metas(rules: &mut [Rule], spans: &[Span], diagnostics: &mut Diagnostics) -> Vec<usize> {
    let mut order = Vec::new();
    let mut state = vec![Visit::New; rules.len()];
    let mut stack: Vec<(usize, Vec<usize>)> = Vec::new();
    for root in 0..rules.len() {
        visit(root, rules, &mut state, &mut stack);
        while let Some((at, needs)) = stack.last_mut() {
            let at = *at;
            match needs.pop() {
                None => {
                    set_state(&mut state, at, Visit::Done);
                    order.push(at);
                    stack.pop();
                }
                Some(need) if state.get(need) == Some(&Visit::Open) => {
                    if let (Some(rule), Some(span)) = (rules.get_mut(need), spans.get(need)) {
                        let what = format!("{}: it needs its own result", rule.name);
                        if !matches!(rule.check, Check::Never) {
                            diagnostics.add(Kind::Rule, span, what, NEVER_HITS);
                        }
                        rule.check = Check::Never;
                    }
                }
                Some(need) => visit(need, rules, &mut state, &mut stack),
            }
        }
    }
    order
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

fn set_state(state: &mut [Visit], at: usize, to: Visit) {
    if let Some(state) = state.get_mut(at) {
        *state = to;
    }
}

/// Opens a meta that is new.
fn visit(at: usize, rules: &[Rule], state: &mut [Visit], stack: &mut Vec<(usize, Vec<usize>)>) {
    if let (Some(Visit::New), Some(Check::Meta(program))) = (state.get(at), rules.get(at).map(|rule| &rule.check)) {
        set_state(state, at, Visit::Open);
        stack.push((at, program.names().filter_map(|name| *name).collect()));
    }
}
