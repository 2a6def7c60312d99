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
/// The most steps that matching globs may take, counted as octets of all names times octets of a glob.
const GLOB_STEPS_MAX: usize = 500_000_000;

impl Parser {
    /// Ends the reading.
    pub fn finish(self) -> Loaded {
        let Parser { mut definitions, preferences, mut diagnostics, mut replace, replace_rules, accepted, .. } = self;
        replace_tags(&mut definitions, &mut replace, replace_rules, &mut diagnostics);
        expand_globs(&mut definitions, &mut diagnostics);
        Loaded { definitions, preferences, diagnostics, accepted }
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
    let mut names: Vec<String> = definitions.rules.iter().map(|rule| rule.name.to_string()).collect();
    names.sort_unstable();
    let octets = names.iter().map(String::len).sum();
    let mut globs = Globs { names, octets, found: HashMap::new(), steps: 0, expanded: 0 };
    for rule in &mut definitions.rules {
        let Test::Meta(program) = &mut rule.test else { continue };
        if !program.names().any(|name| glob_of(name).is_some()) {
            continue;
        }
        let own = &rule.name;
        let fits = program.expand(|name| Some(globs.expand(glob_of(name)?, own)));
        if !fits || globs.exhausted() {
            let what = format!("{own}: rules_matching stands for too many rules");
            diagnostics.add(Kind::Limit, &rule.span, what, NEVER_HITS);
            rule.test = Test::Never;
        }
    }
}

/// What globs stand for.
struct Globs {
    /// All rules, sorted.
    names: Vec<String>,
    /// The length of all names.
    octets: usize,
    found: HashMap<String, Vec<String>>,
    steps: usize,
    expanded: usize,
}

impl Globs {
    fn exhausted(&self) -> bool {
        self.steps > GLOB_STEPS_MAX || self.expanded > EXPANDED_NAMES_MAX
    }

    /// What a glob stands for in the rule of this name.
    fn expand(&mut self, pattern: &str, own: &str) -> Vec<String> {
        if !self.found.contains_key(pattern) {
            self.steps = self.steps.saturating_add(self.octets.saturating_mul(pattern.len()));
            if self.exhausted() {
                return Vec::new();
            }
            let matching = self.names.iter().filter(|name| glob(pattern.as_bytes(), name.as_bytes()));
            let matching = matching.cloned().collect();
            self.found.insert(pattern.to_owned(), matching);
        }
        let found = self.found.get(pattern).map(Vec::as_slice).unwrap_or_default();
        self.expanded = self.expanded.saturating_add(found.len());
        if self.exhausted() {
            return Vec::new();
        }
        found.iter().filter(|name| *name != own).cloned().collect()
    }
}
