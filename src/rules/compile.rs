//! The compiler: definitions in, what runs for each message out.
//!
//! *Does:* compiles patterns, resolves the names in metas, orders metas after what they need, applies scores, and makes
//! two [`Plan`]s: one for messages whose session is known, one for those without.
//! *Guarantees:* a plan holds only what some scored rule needs; metas are free of cycles; compiled patterns together are
//! charged at most [`COMPILED_TOTAL_OCTETS_MAX`].

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::{Regex, RegexSet};

use crate::rules::definition::{Definition, Definitions, HeaderTest, Selector, Settings, Test};
use crate::rules::diagnostic::Span;
use crate::rules::evidence::Eval;
use crate::rules::expression::Program;
use crate::rules::parser::{HITS_MAX, Parser};
use crate::rules::pattern::{self, PatternError};

/// What all compiled patterns together may take, in octets, by the size that each was allowed.
pub const COMPILED_TOTAL_OCTETS_MAX: usize = 512 << 20;
/// The sizes that a pattern is allowed, tried in order: most fit the first.
const COMPILED_OCTETS: [usize; 3] = [16 << 10, 128 << 10, pattern::COMPILED_OCTETS_MAX];
/// The most patterns that are put into one prefilter: beyond, its automaton no longer fits its cache.
const SET_PATTERNS_MAX: usize = 256;

const NEVER_HITS: &str = "the rule never hits";

/// A rule that can run.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// Its description.
    pub describe: Option<Arc<str>>,
    /// What it asks.
    pub check: Check,
    /// How many matches count.
    pub hits_max: u32,
    /// It doesn't see the Subject at the head of the text.
    pub no_subject: bool,
}

/// What a rule asks, compiled.
#[derive(Debug)]
pub enum Check {
    /// Is there such a field?
    Exists,
    /// Does the selected text match?
    Header {
        /// The pattern.
        regex: Regex,
        /// It must not match.
        negated: bool,
        /// The text where there is no such field.
        if_unset: Vec<u8>,
    },
    /// Does a line of the text match?
    Body(Regex),
    /// Of other rules; a name that no rule has is 0.
    Meta(Program<Option<usize>>),
    /// Of the session.
    Eval(Eval),
    /// Never hits.
    Never,
}

/// What runs for a message, each step by index into the rules.
#[derive(Debug, Default)]
pub struct Plan {
    /// Header rules by the text that they need.
    pub headers: Vec<(Selector, Vec<usize>)>,
    /// Body rules.
    pub body: Vec<usize>,
    /// All body patterns in that order, where they make one prefilter.
    pub body_set: Option<RegexSet>,
    /// Rules about the session.
    pub evals: Vec<usize>,
    /// Metas, each behind those that it needs.
    pub metas: Vec<usize>,
    /// What scores, in the order of definition.
    pub scored: Vec<(usize, f64)>,
}

/// The rules, ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// In the order of definition.
    pub rules: Vec<Rule>,
    /// For messages without and with a session.
    pub plans: [Plan; 2],
}

/// Compiles everything that was read. Adds to the parser's diagnostics.
pub fn compile(parser: &mut Parser) -> Compiled {
    let Definitions { rules: definitions, index, settings } = std::mem::take(&mut parser.definitions);
    report_nameless(&index, &settings, parser);
    let mut compiler = Compiler {
        index: &index,
        octets_left: COMPILED_TOTAL_OCTETS_MAX,
        selectors: HashMap::new(),
        sources: Vec::new(),
    };
    let mut rules = Vec::with_capacity(definitions.len());
    let mut spans = Vec::with_capacity(definitions.len());
    for Definition { name, span, test } in definitions {
        let settings = settings.get(&*name).cloned().unwrap_or_default();
        let check = compiler.check(rules.len(), test).unwrap_or_else(|error| {
            parser.diagnose(span.clone(), format!("{name}: {error}"), NEVER_HITS);
            compiler.sources.push(None);
            Check::Never
        });
        rules.push(rule(name, check, &settings));
        spans.push(span);
    }
    let metas = order_metas(&mut rules, &spans, parser);
    let plans = [0, 1].map(|set| Planner { rules: &rules, settings: &settings, compiler: &compiler, set }.plan(&metas));
    Compiled { rules, plans }
}

fn rule(name: Arc<str>, check: Check, settings: &Settings) -> Rule {
    let flags = &settings.flags;
    let hits_max = if flags.multiple { flags.hits_max.unwrap_or(HITS_MAX) } else { 1 };
    Rule { name, describe: settings.describe.clone(), check, hits_max, no_subject: flags.no_subject }
}

/// A score or a description for a name that no rule has is most often a misspelling.
fn report_nameless(index: &HashMap<Arc<str>, usize>, settings: &HashMap<String, Settings>, parser: &mut Parser) {
    let nameless = settings.iter().filter(|(name, _)| !index.contains_key(name.as_str()));
    let mut nameless: Vec<(&String, &Span)> =
        nameless.filter_map(|(name, settings)| Some((name, settings.span.as_ref()?))).collect();
    nameless.sort_by(|a, b| (&a.1.file, a.1.line).cmp(&(&b.1.file, b.1.line)));
    for (name, span) in nameless {
        parser.diagnose(span.clone(), format!("there is no rule {name}"), "the setting has no effect");
    }
}

struct Compiler<'a> {
    index: &'a HashMap<Arc<str>, usize>,
    octets_left: usize,
    selectors: HashMap<usize, Selector>,
    /// Translated body patterns by rule.
    sources: Vec<Option<String>>,
}

impl Compiler<'_> {
    fn check(&mut self, at: usize, test: Test) -> Result<Check, PatternError> {
        let mut source = None;
        let check = match test {
            Test::Header(selector, test) => {
                self.selectors.insert(at, selector);
                match test {
                    HeaderTest::Exists => Check::Exists,
                    HeaderTest::Matches { pattern, negated, if_unset } => {
                        Check::Header { regex: self.regex(&pattern)?, negated, if_unset }
                    }
                }
            }
            Test::Body(pattern) => {
                let regex = self.regex(&pattern)?;
                source = Some(pattern);
                Check::Body(regex)
            }
            Test::Meta(program) => Check::Meta(program.map(|name| self.index.get(name.as_str()).copied())),
            Test::Eval(eval) => Check::Eval(eval),
            Test::Never => Check::Never,
        };
        self.sources.push(source);
        Ok(check)
    }

    fn regex(&mut self, translated: &str) -> Result<Regex, PatternError> {
        for octets_max in COMPILED_OCTETS {
            let left = self.octets_left.checked_sub(octets_max).ok_or(PatternError::TooLarge)?;
            match pattern::compile(translated, octets_max) {
                Err(PatternError::TooLarge) => {}
                Err(error) => return Err(error),
                Ok(regex) => {
                    self.octets_left = left;
                    return Ok(regex);
                }
            }
        }
        Err(PatternError::TooLarge)
    }
}

/// The metas, each behind the metas that it names. One that needs itself is made to never hit.
fn order_metas(rules: &mut [Rule], spans: &[Span], parser: &mut Parser) -> Vec<usize> {
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
                            parser.diagnose(span.clone(), what, NEVER_HITS);
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

/// Makes the plan for one of the two sets of scores.
struct Planner<'a> {
    rules: &'a [Rule],
    settings: &'a HashMap<String, Settings>,
    compiler: &'a Compiler<'a>,
    /// 0 without a session, 1 with one.
    set: usize,
}

impl Planner<'_> {
    fn plan(&self, metas: &[usize]) -> Plan {
        let mut plan = Plan::default();
        let scores = self.rules.iter().map(|rule| self.score(rule)).enumerate();
        plan.scored = scores.filter_map(|(at, score)| Some((at, score?))).collect();
        let needed = self.needed(&plan.scored);
        let mut groups: HashMap<&Selector, usize> = HashMap::new();
        for (at, rule) in self.rules.iter().enumerate().filter(|(at, _)| needed.get(*at) == Some(&true)) {
            match (&rule.check, self.compiler.selectors.get(&at)) {
                (Check::Exists | Check::Header { .. }, Some(selector)) => {
                    let group = *groups.entry(selector).or_insert_with(|| {
                        plan.headers.push((selector.clone(), Vec::new()));
                        plan.headers.len() - 1
                    });
                    plan.headers.get_mut(group).into_iter().for_each(|(_, rules)| rules.push(at));
                }
                (Check::Body(_), _) => plan.body.push(at),
                (Check::Eval(_), _) => plan.evals.push(at),
                _ => {}
            }
        }
        plan.metas = metas.iter().copied().filter(|at| needed.get(*at) == Some(&true)).collect();
        plan.body_set = self.body_set(&plan.body);
        plan
    }

    fn body_set(&self, body: &[usize]) -> Option<RegexSet> {
        let sources: Option<Vec<&str>> = body.iter().map(|at| self.compiler.sources.get(*at)?.as_deref()).collect();
        let sources = sources.filter(|sources| (2..=SET_PATTERNS_MAX).contains(&sources.len()))?;
        pattern::compile_set(sources.into_iter())
    }

    /// The score that a hit gives, if it gives one.
    fn score(&self, rule: &Rule) -> Option<f64> {
        if rule.name.starts_with("__") || matches!(rule.check, Check::Never) || !self.runs(rule) {
            return None;
        }
        let settings = self.settings.get(&*rule.name);
        let default = if rule.name.starts_with("T_") { 0.01 } else { 1.0 };
        let sign = if settings.is_some_and(|settings| settings.flags.nice) { -1.0 } else { 1.0 };
        let scores = settings.and_then(|settings| settings.scores).unwrap_or([default * sign; 4]);
        scores.get(self.set).copied()
    }

    /// A score of 0 switches a rule off, for metas too. Without a session nothing of the network is known.
    fn runs(&self, rule: &Rule) -> bool {
        let settings = self.settings.get(&*rule.name);
        let off =
            settings.and_then(|settings| settings.scores).is_some_and(|scores| scores.get(self.set) == Some(&0.0));
        let net = matches!(rule.check, Check::Eval(_)) || settings.is_some_and(|settings| settings.flags.net);
        !off && (self.set > 0 || !net)
    }

    /// The scored rules and all that they need.
    fn needed(&self, scored: &[(usize, f64)]) -> Vec<bool> {
        let mut needed = vec![false; self.rules.len()];
        let mut waiting: Vec<usize> = scored.iter().map(|(at, _)| *at).collect();
        while let Some(at) = waiting.pop() {
            let (Some(rule), Some(mark)) = (self.rules.get(at), needed.get_mut(at)) else { continue };
            if *mark || !self.runs(rule) {
                continue;
            }
            *mark = true;
            if let Check::Meta(program) = &rule.check {
                waiting.extend(program.names().filter_map(|name| *name));
            }
        }
        needed
    }
}
