//! The evaluation of one message: views, counts, hits.
//!
//! *Guarantees:* each view is built at most once; each rule runs at most once on each text; time is linear in the text and
//! in the number of rules that some score needs, but for patterns that must backtrack: those share [`STEPS_MAX`] steps a
//! message, and one that takes too many counts as not hit and is named.
//! *Order:* patterns that capture, then all others, evals, patterns that need what was captured, and metas last.

mod scene;
mod tags;
mod trace;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::message::Message;
use crate::rules::compile::{Check, Compiled, Group, Matcher, MimeHeaderCheck, Plan, Rule, UriCondition, View};
use crate::rules::evals::Context;
use crate::rules::evidence::Evidence;
use crate::rules::pattern::{Budget, Pattern};
use crate::rules::prefilter::Candidates;
use crate::rules::views::Views;
use crate::rules::views::parts::Parts;
use crate::rules::{Hit, Hits};

use scene::Way;
use tags::Tags;
use trace::Tracer;

/// The steps that all backtracking patterns together may take on one message.
pub const STEPS_MAX: u64 = 20_000_000;

/// Runs the plan for this message. Without evidence no rule that needs the network runs.
pub fn evaluate(compiled: &Compiled, message: &Message, evidence: Option<&Evidence>, traced: bool) -> Hits {
    let environment = &compiled.environment;
    let parts = Parts::new(message);
    let way = Way::of(&parts, evidence, environment);
    let views = Views::new(&parts, way.known(environment), environment);
    scene::with_context(&views, &way, evidence, environment, |context| {
        let mut run = Run::new(compiled, context, traced);
        run.all();
        run.hits()
    })
}

/// One message under evaluation.
struct Run<'a, 'c, 'p> {
    compiled: &'a Compiled,
    plan: &'a Plan,
    views: &'c Views<'p>,
    context: &'a Context<'c, 'p>,
    /// How often each rule hit, by its index; of metas their value.
    counts: Vec<f64>,
    budget: Budget,
    candidates: Candidates,
    tags: Tags,
    /// Rules whose pattern took too many steps.
    given_up: BTreeSet<usize>,
    tracer: Option<Tracer>,
}

impl<'a, 'c, 'p> Run<'a, 'c, 'p> {
    fn new(compiled: &'a Compiled, context: &'a Context<'c, 'p>, traced: bool) -> Self {
        let [local, net] = &compiled.plans;
        Run {
            compiled,
            plan: if context.mail.evidence.is_some() { net } else { local },
            views: context.views,
            context,
            counts: vec![0.0; compiled.rules.len()],
            budget: Budget::new(STEPS_MAX),
            candidates: Candidates::default(),
            tags: Tags::default(),
            given_up: BTreeSet::new(),
            tracer: traced.then(|| Tracer::new(compiled.rules.len())),
        }
    }

    fn all(&mut self) {
        let groups = &self.compiled.groups;
        groups.capturing.iter().for_each(|at| self.capture(*at));
        for (query, rules) in &groups.exists {
            let count = if self.views.get(query).is_some() { 1.0 } else { 0.0 };
            rules.iter().for_each(|at| self.set(*at, count));
        }
        for (query, group) in &groups.headers {
            let value = self.views.get(query);
            self.header_group(group, value.as_deref());
        }
        for (view, group) in View::ALL.into_iter().zip(&groups.views) {
            self.text_group(view, group);
        }
        groups.uri_details.iter().for_each(|at| self.timed(*at, Self::uri_detail));
        groups.mime_headers.iter().for_each(|at| self.timed(*at, Self::mime_header));
        groups.evals.iter().for_each(|at| self.timed(*at, Self::eval));
        groups.tagged.iter().for_each(|at| self.timed(*at, Self::tagged));
        self.metas();
    }

    fn rule(&self, at: usize) -> Option<&'a Rule> {
        self.compiled.rules.get(at).filter(|_| self.plan.runs(at))
    }

    fn set(&mut self, at: usize, count: f64) {
        let runs = self.plan.runs(at);
        self.counts.get_mut(at).into_iter().filter(|_| runs).for_each(|slot| *slot = count);
    }

    fn count(&self, at: usize) -> f64 {
        self.counts.get(at).copied().unwrap_or(0.0)
    }

    /// Runs something for a rule, and notes what it took.
    fn timed(&mut self, at: usize, run: impl FnOnce(&mut Self, usize, &'a Rule)) {
        let Some(rule) = self.rule(at) else { return };
        let started = self.tracer.as_ref().map(|_| std::time::Instant::now());
        run(self, at, rule);
        if let (Some(tracer), Some(started)) = (&mut self.tracer, started) {
            tracer.took(at, started.elapsed());
        }
    }

    /// How often a pattern matches, up to what the rule counts.
    fn matches(&mut self, at: usize, rule: &Rule, pattern: &Pattern, text: &[u8], hits_max: u32) -> u32 {
        let aborts = self.budget.aborts();
        let count = match hits_max.min(rule.hits_max) {
            1 => u32::from(pattern.is_match(text, &mut self.budget)),
            max => pattern.count(text, max, &mut self.budget),
        };
        if self.budget.aborts() > aborts {
            self.given_up.insert(at);
        }
        if let Some(tracer) = self.tracer.as_mut().filter(|_| count > 0) {
            tracer.matched(at, text, || pattern.find(text, &mut self.budget));
        }
        count
    }

    /// Rules over the same header text. One that must not match, or that has a text for a missing field, is asked
    /// whatever the prefilter says.
    fn header_group(&mut self, group: &Group, value: Option<&[u8]>) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        value.into_iter().for_each(|value| group.prefilter.mark(value, &mut candidates));
        for (number, at) in group.rules.iter().enumerate() {
            let Some(rule) = self.rule(*at) else { continue };
            let (Check::Header { negated, .. }, Some(pattern)) = (&rule.check, rule.check.pattern()) else { continue };
            match value {
                Some(_) if !candidates.contains(number) => self.set(*at, f64::from(u8::from(*negated))),
                _ => self.timed(*at, |run, at, rule| run.header(at, rule, pattern, value)),
            }
        }
        self.candidates = candidates;
    }

    fn header(&mut self, at: usize, rule: &Rule, pattern: &Pattern, value: Option<&[u8]>) {
        let Check::Header { negated, if_unset, .. } = &rule.check else { return };
        let text = value.unwrap_or(if_unset);
        let count = match negated {
            true => u32::from(self.matches(at, rule, pattern, text, 1) == 0),
            false => self.matches(at, rule, pattern, text, u32::MAX),
        };
        self.set(at, f64::from(count));
    }

    /// Most texts match nothing: the prefilter says so for all rules at once.
    fn text_group(&mut self, view: View, group: &Group) {
        if !group.rules.iter().any(|at| self.plan.runs(*at)) {
            return;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        let views = self.views;
        for (number, text) in views.texts(view).into_iter().enumerate() {
            candidates.clear();
            group.prefilter.mark(text, &mut candidates);
            for at in candidates.iter().filter_map(|candidate| group.rules.get(candidate)) {
                self.timed(*at, |run, at, rule| {
                    rule.check.pattern().into_iter().for_each(|pattern| run.text(at, rule, pattern, (number, text)));
                });
            }
        }
        self.candidates = candidates;
    }

    /// One rule on one text; the Subject is text 0 of the body.
    fn text(&mut self, at: usize, rule: &Rule, pattern: &Pattern, (number, text): (usize, &[u8])) {
        let Check::Text { view, .. } = &rule.check else { return };
        let left = f64::from(rule.hits_max) - self.count(at);
        if left < 1.0 || *view == View::Body && number == 0 && rule.no_subject {
            return;
        }
        let count = self.count(at) + f64::from(self.matches(at, rule, pattern, text, left as u32));
        self.set(at, count);
    }

    /// Runs a rule whose pattern captures, and keeps what its named groups matched.
    fn capture(&mut self, at: usize) {
        self.timed(at, |run, at, rule| run.anywhere(at, rule, true));
    }

    fn tagged(&mut self, at: usize, rule: &'a Rule) {
        self.anywhere(at, rule, false);
    }

    /// Runs a rule outside of its group; one whose tags have no value does not run.
    fn anywhere(&mut self, at: usize, rule: &'a Rule, capture: bool) {
        let views = self.views;
        let (Check::Header { matcher, .. } | Check::Text { matcher, .. }) = &rule.check else { return };
        if !self.may_match(&rule.check, matcher) {
            return;
        }
        let Some(pattern) = self.tags.pattern(matcher) else { return };
        match &rule.check {
            Check::Header { query, .. } => {
                let value = views.get(query);
                self.header(at, rule, &pattern, value.as_deref());
                self.keep(at, matcher, value.as_deref(), capture);
            }
            Check::Text { view, .. } => {
                for (number, text) in views.texts(*view).into_iter().enumerate() {
                    let before = self.count(at);
                    self.text(at, rule, &pattern, (number, text));
                    self.keep(at, matcher, Some(text), capture && before == 0.0);
                }
            }
            _ => {}
        }
    }

    /// Is there a text that a pattern with tags can match, whatever their values are? To make it takes longer than to ask.
    fn may_match(&mut self, check: &Check, matcher: &Matcher) -> bool {
        let (Check::Text { view, .. }, Matcher::Tagged { loose, .. }) = (check, matcher) else { return true };
        let budget = &mut self.budget;
        self.views.texts(*view).into_iter().any(|text| loose.is_match(text, budget))
    }

    fn keep(&mut self, at: usize, matcher: &Matcher, text: Option<&[u8]>, capture: bool) {
        if let (Matcher::Fixed(pattern), Some(text), true) = (matcher, text, capture && self.count(at) > 0.0) {
            self.tags.keep(pattern, text, &mut self.budget);
        }
    }

    /// A link of which all conditions hold, each by any of its values.
    fn uri_detail(&mut self, at: usize, rule: &'a Rule) {
        let Check::UriDetail(conditions) = &rule.check else { return };
        let budget = &mut self.budget;
        let found = self.views.uris().details().any(|uri| {
            conditions.iter().all(|UriCondition { key, pattern, negated }| {
                uri.values(*key).into_iter().any(|text| pattern.is_match(text, budget) != *negated)
            })
        });
        self.set(at, f64::from(u8::from(found)));
    }

    fn mime_header(&mut self, at: usize, rule: &'a Rule) {
        let Check::MimeHeader(check) = &rule.check else { return };
        let mut count = 0;
        for value in mime_values(self.views, check) {
            let found = self.matches(at, rule, &check.pattern, &value, rule.hits_max - count);
            count += if check.negated { u32::from(found == 0) } else { found };
            if count >= rule.hits_max {
                break;
            }
        }
        self.set(at, f64::from(count));
    }

    fn eval(&mut self, at: usize, rule: &'a Rule) {
        let Check::Eval(function) = &rule.check else { return };
        self.set(at, f64::from(function.call(self.context)));
    }

    fn metas(&mut self) {
        let mut stack = Vec::new();
        for at in &self.compiled.groups.metas {
            let Some(Check::Meta(program)) = self.rule(*at).map(|rule| &rule.check) else { continue };
            let value = program.evaluate(&mut stack, |name| name.map_or(0.0, |at| self.count(at)));
            self.set(*at, value);
        }
    }

    fn hits(self) -> Hits {
        let rules = &self.compiled.rules;
        let name = |at: usize| rules.get(at).map(|rule| rule.name.clone());
        let hit = |(at, score): &(usize, f64)| {
            let rule = rules.get(*at).filter(|_| self.count(*at) != 0.0)?;
            Some(Hit { name: rule.name.clone(), score: *score, describe: rule.describe.clone() })
        };
        let hits: Vec<Hit> = self.plan.scored.iter().filter_map(hit).collect();
        let given_up = self.given_up.iter().filter_map(|at| name(*at)).collect();
        let trace = self.tracer.as_ref().map(|tracer| Box::new(tracer.finish(self.compiled, &self.counts)));
        Hits { hits, given_up, trace }
    }
}

/// What a rule about header fields of parts looks at: a text for each part, or one for all.
fn mime_values<'v>(views: &'v Views<'_>, check: &'v MimeHeaderCheck) -> Vec<Cow<'v, [u8]>> {
    let fields = views.part_fields(&check.field, check.raw).into_iter();
    let (first, last) = check.parts.unwrap_or((1, u32::MAX));
    let chosen = (1..).zip(fields).filter(|(number, _)| (first..=last).contains(number)).map(|(_, field)| field);
    let values = chosen.map(|field| field.unwrap_or(Cow::Borrowed(&*check.if_unset)));
    match check.concatenated {
        true => vec![Cow::Owned(values.flat_map(Cow::into_owned).collect())],
        false => values.collect(),
    }
}
