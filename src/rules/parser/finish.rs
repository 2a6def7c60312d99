//! What can be done only when all is read.
//!
//! *Does:* replaces tags in patterns, expands globs in metas.
//! *Guarantees:* globs expand to at most [`EXPANDED_NAMES_MAX`] names, all together.

use std::collections::HashMap;

use super::rules::glob_of;
use super::{Loaded, NEVER_HITS, Parser};
use crate::rules::definition::{Definitions, HeaderTest, Test, Written};
use crate::rules::diagnostic::{Diagnostics, Kind, Span};
use crate::rules::preferences::addresses::glob;
use crate::rules::replace::ReplaceTags;

/// The most names that all globs in metas expand to.
pub const EXPANDED_NAMES_MAX: usize = 200_000;
/// The most globs that are told apart.
const GLOBS_MAX: usize = 200;

impl Parser {
    /// Ends the reading.
    pub fn finish(self) -> Loaded {
        let Parser { mut definitions, preferences, mut diagnostics, mut replace, replace_rules, .. } = self;
        replace_tags(&mut definitions, &mut replace, replace_rules, &mut diagnostics);
        expand_globs(&mut definitions, &mut diagnostics);
        Loaded { definitions, preferences, diagnostics }
    }
}

fn replace_tags(
    definitions: &mut Definitions,
    replace: &mut ReplaceTags,
    rules: HashMap<String, Span>,
    diagnostics: &mut Diagnostics,
) {
    let mut rules: Vec<(String, Span)> = rules.into_iter().collect();
    rules.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, span) in rules {
        let at = definitions.index.get(&*name).copied();
        let rule = at.and_then(|at| definitions.rules.get_mut(at));
        let Some(rule) = rule else {
            diagnostics.add(Kind::Nameless, &span, format!("there is no rule {name}"), "no tags are replaced");
            continue;
        };
        let Some(pattern) = pattern_of(&mut rule.test) else { continue };
        match replace.replace(pattern) {
            Ok(replaced) => *pattern = replaced,
            Err(error) => {
                rule.test = Test::Never;
                diagnostics.add(Kind::Pattern, &rule.span, format!("{name}: {error}"), NEVER_HITS);
            }
        }
    }
}

/// The pattern of a rule that may have tags in it.
fn pattern_of(test: &mut Test) -> Option<&mut Written> {
    match test {
        Test::Header(_, HeaderTest::Matches { pattern, .. }) => Some(pattern),
        Test::Body(pattern) | Test::RawBody(pattern) | Test::Full(pattern) | Test::Uri(pattern) => Some(pattern),
        _ => None,
    }
}

/// Globs stand for the rules there are, without the one in which they stand.
fn expand_globs(definitions: &mut Definitions, diagnostics: &mut Diagnostics) {
    let mut all: Vec<String> = definitions.rules.iter().map(|rule| rule.name.to_string()).collect();
    all.sort_unstable();
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    let mut left = EXPANDED_NAMES_MAX;
    for rule in &mut definitions.rules {
        let Test::Meta(program) = &mut rule.test else { continue };
        if !program.names().any(|name| glob_of(name).is_some()) {
            continue;
        }
        let expanded = program.expand(|name| {
            let pattern = glob_of(name)?;
            if known.len() >= GLOBS_MAX {
                left = 0;
            }
            let found = (left > 0).then(|| {
                known.entry(pattern.to_owned()).or_insert_with(|| {
                    all.iter().filter(|name| glob(pattern.as_bytes(), name.as_bytes())).cloned().collect()
                })
            });
            let found = found.map(|found| &**found).unwrap_or_default().iter();
            let names: Vec<String> = found.filter(|found| **found != *rule.name).take(left).cloned().collect();
            left = left.saturating_sub(names.len());
            Some(names)
        });
        if !expanded || left == 0 {
            let what = format!("{}: rules_matching stands for too many rules", rule.name);
            diagnostics.add(Kind::Limit, &rule.span, what, NEVER_HITS);
            rule.test = Test::Never;
        }
    }
}
