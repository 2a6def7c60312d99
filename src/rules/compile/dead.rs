//! Rules that can never hit: those that were given up at load, and metas that are made of nothing else.
//!
//! *Does:* works out for each meta between which values it can lie, where a rule that never hits is 0 and any other
//! anything from 0 up. What can only be 0 is dead.

use crate::rules::compile::{Check, Compiled, NEVER_HITS};
use crate::rules::diagnostic::{Diagnostics, Kind, Span};
use crate::rules::expression::Range;

/// Reports scored metas that are dead; what is dead by itself was reported before.
pub fn report(compiled: &Compiled, spans: &[Span], diagnostics: &mut Diagnostics) {
    let ranges = ranges(compiled);
    for at in &compiled.groups.metas {
        let (Some(rule), Some(span)) = (compiled.rules.get(*at), spans.get(*at)) else { continue };
        let is_meta = matches!(rule.check, Check::Meta(_)) && !rule.name.starts_with("__");
        if is_meta && ranges.get(*at).is_some_and(Range::is_zero) {
            let what = format!("{}: what it is made of never hits, or not together", rule.name);
            diagnostics.add(Kind::Rule, span, what, NEVER_HITS);
        }
    }
}

fn ranges(compiled: &Compiled) -> Vec<Range> {
    let hits = |check: &Check| if matches!(check, Check::Never | Check::Meta(_)) { Range::ZERO } else { Range::COUNT };
    let mut ranges: Vec<Range> = compiled.rules.iter().map(|rule| hits(&rule.check)).collect();
    for at in &compiled.groups.metas {
        let Some(Check::Meta(program)) = compiled.rules.get(*at).map(|rule| &rule.check) else { continue };
        let range = program.range(|name| name.and_then(|at| ranges.get(at).copied()).unwrap_or(Range::ZERO));
        ranges.get_mut(*at).into_iter().for_each(|slot| *slot = range);
    }
    ranges
}
