//! What runs for a message: which rules some score needs, and in which groups they look at its views.
//!
//! *Guarantees:* nothing is in a plan that no scored rule needs. The groups, with their prefilters, hold what any of the
//! plans needs, once.

use std::collections::HashMap;

use crate::rules::compile::{Check, Matcher, Rule, View};
use crate::rules::definition::Settings;
use crate::rules::pattern::Pattern;
use crate::rules::prefilter::Prefilter;
use crate::rules::views::header::Query;

/// Rules that look at the same texts, one pattern each.
#[derive(Debug, Default)]
pub struct Group {
    /// By index into the rules, in the order of the prefilter.
    pub rules: Vec<usize>,
    /// Which of them a text can match at all.
    pub prefilter: Prefilter,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Groups {
    /// Header rules with a pattern, by the text that they need.
    pub headers: Vec<(Query, Group)>,
    /// Rules that ask whether there is such a field.
    pub exists: Vec<(Query, Vec<usize>)>,
    /// Patterns by view, in the order of [`View::ALL`].
    pub views: [Group; View::ALL.len()],
    /// Rules about links, field by field.
    pub uri_details: Vec<usize>,
    /// Rules about header fields of parts.
    pub mime_headers: Vec<usize>,
    /// Rules whose pattern captures for others: they run first.
    pub capturing: Vec<usize>,
    /// Rules whose pattern needs what others captured: they run last.
    pub tagged: Vec<usize>,
    /// Evals.
    pub evals: Vec<usize>,
    /// Metas, each behind those that it needs.
    pub metas: Vec<usize>,
}

/// What runs with one set of scores.
#[derive(Debug, Default)]
pub struct Plan {
    /// By rule: does it run?
    pub runs: Vec<bool>,
    /// What scores, in the order of definition.
    pub scored: Vec<(usize, f64)>,
}

impl Plan {
    /// The plan for one set of scores: 0 for messages without a session, 1 for those with one.
    pub fn new(rules: &[Rule], settings: &HashMap<String, Settings>, set: usize) -> Self {
        let planner = Planner { rules, settings, set };
        let scores = rules.iter().map(|rule| planner.score(rule)).enumerate();
        let scored: Vec<(usize, f64)> = scores.filter_map(|(at, score)| Some((at, score?))).collect();
        Plan { runs: planner.needed(&scored), scored }
    }

    /// Does this rule run?
    pub fn runs(&self, at: usize) -> bool {
        self.runs.get(at) == Some(&true)
    }
}

struct Planner<'a> {
    rules: &'a [Rule],
    settings: &'a HashMap<String, Settings>,
    set: usize,
}

impl Planner<'_> {
    /// The score that a hit gives, if it gives one.
    fn score(&self, rule: &Rule) -> Option<f64> {
        if rule.name.starts_with("__") || matches!(rule.check, Check::Never) || !self.runs(rule) {
            return None;
        }
        let settings = self.settings.get(&*rule.name);
        let scores = settings.map_or_else(|| Settings::default().scores(&rule.name), |set| set.scores(&rule.name));
        scores.get(self.set).copied()
    }

    /// A score of 0 switches a rule off, for metas too. Without a session nothing of the network is known: that is for
    /// evals to say, whatever the flags of other rules are.
    fn runs(&self, rule: &Rule) -> bool {
        let settings = self.settings.get(&*rule.name);
        let off =
            settings.and_then(|settings| settings.scores).is_some_and(|scores| scores.get(self.set) == Some(&0.0));
        let net = matches!(rule.check, Check::Eval(_)) && settings.is_some_and(|settings| settings.flags.net);
        !off && (self.set % 2 == 1 || !net)
    }

    /// The scored rules and all that they need.
    fn needed(&self, scored: &[(usize, f64)]) -> Vec<bool> {
        let mut needed = vec![false; self.rules.len()];
        let mut waiting: Vec<usize> = scored.iter().map(|(at, _)| *at).collect();
        let captures = |rule: &Rule| rule.check.pattern().is_some_and(Pattern::has_named_groups);
        while let Some(at) = waiting.pop() {
            let (Some(rule), Some(mark)) = (self.rules.get(at), needed.get_mut(at)) else { continue };
            if *mark || !self.runs(rule) {
                continue;
            }
            *mark = true;
            match &rule.check {
                Check::Meta(program) => waiting.extend(program.names().filter_map(|name| *name)),
                // Whoever captures may capture what it needs.
                Check::Header { matcher: Matcher::Tagged { .. }, .. }
                | Check::Text { matcher: Matcher::Tagged { .. }, .. } => {
                    waiting.extend((0..).zip(self.rules).filter(|(_, rule)| captures(rule)).map(|(at, _)| at));
                }
                _ => {}
            }
        }
        needed
    }
}

impl Groups {
    /// Groups what any of the plans runs.
    pub fn new(rules: &[Rule], plans: &[Plan], metas: &[usize]) -> Self {
        let runs = |at: usize| plans.iter().any(|plan| plan.runs(at));
        let mut groups = Groups::default();
        for (at, rule) in rules.iter().enumerate().filter(|(at, _)| runs(*at)) {
            groups.add(at, &rule.check);
        }
        groups.metas = metas.iter().copied().filter(|at| runs(*at)).collect();
        for (_, group) in &mut groups.headers {
            group.build(rules);
        }
        groups.views.iter_mut().for_each(|group| group.build(rules));
        groups
    }

    fn add(&mut self, at: usize, check: &Check) {
        match check {
            Check::Exists(query) => group_of(&mut self.exists, query).push(at),
            Check::Header { matcher: Matcher::Fixed(pattern), .. } if pattern.has_named_groups() => {
                self.capturing.push(at);
            }
            Check::Text { matcher: Matcher::Fixed(pattern), .. } if pattern.has_named_groups() => {
                self.capturing.push(at);
            }
            Check::Header { matcher: Matcher::Tagged { .. }, .. }
            | Check::Text { matcher: Matcher::Tagged { .. }, .. } => {
                self.tagged.push(at);
            }
            Check::Header { query, .. } => group_of(&mut self.headers, query).rules.push(at),
            Check::Text { view, .. } => {
                let group = self.views.iter_mut().zip(View::ALL).find(|(_, found)| found == view);
                group.into_iter().for_each(|(group, _)| group.rules.push(at));
            }
            Check::UriDetail(_) => self.uri_details.push(at),
            Check::MimeHeader(_) => self.mime_headers.push(at),
            Check::Eval(_) => self.evals.push(at),
            Check::Meta(_) | Check::Never => {}
        }
    }
}

/// What is there for this query; something new if there is nothing.
fn group_of<'a, T: Default>(groups: &'a mut Vec<(Query, T)>, query: &Query) -> &'a mut T {
    let at = groups.iter().position(|(found, _)| found == query).unwrap_or(groups.len());
    if at == groups.len() {
        groups.push((query.clone(), T::default()));
    }
    &mut groups[at].1
}

impl Group {
    fn build(&mut self, rules: &[Rule]) {
        let patterns = self.rules.iter().filter_map(|at| rules.get(*at)?.check.pattern());
        self.prefilter = Prefilter::new(patterns);
    }
}
