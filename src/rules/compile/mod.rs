//! The compiler: definitions in, what runs for each message out.
//!
//! *Does:* compiles patterns, binds evals to their arguments, resolves the names in metas, orders metas after what they
//! need, applies scores, and makes two [`Plan`]s: one for messages whose session is known, one for those without.
//! *Guarantees:* a plan holds only what some scored rule needs; metas are free of cycles; compiled patterns together take
//! at most about [`COMPILED_TOTAL_OCTETS_MAX`].

mod dead;
mod order;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use crate::rules::definition::{
    Definition, Definitions, Flags, HeaderTest, MimeHeaderTest, Settings, Test, UriCriterion, UriKey,
};
use crate::rules::diagnostic::{Diagnostics, Kind, Span};
use crate::rules::environment::Environment;
use crate::rules::evals::{self, Function};
use crate::rules::expression::Program;
use crate::rules::parser::{HITS_MAX, Loaded};
use crate::rules::pattern::{Pattern, PatternError};
use crate::rules::views::header::Query;

pub use plan::{Group, Groups, Plan};

/// What all compiled patterns together may take, in octets.
pub const COMPILED_TOTAL_OCTETS_MAX: usize = 512 << 20;

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

/// The texts of a message that patterns look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The paragraphs of its text.
    Body,
    /// Its text parts, decoded.
    RawBody,
    /// All of it, as it came.
    Full,
    /// Its links.
    Uri,
}

impl View {
    /// All of them.
    pub const ALL: [View; 4] = [View::Body, View::RawBody, View::Full, View::Uri];
}

/// What a rule asks, compiled.
#[derive(Debug)]
pub enum Check {
    /// Is there such a field?
    Exists(Query),
    /// Does the selected text match?
    Header {
        /// Which text.
        query: Query,
        /// The pattern.
        matcher: Matcher,
        /// It must not match.
        negated: bool,
        /// The text where there is no such field.
        if_unset: Box<[u8]>,
    },
    /// Does a text of the view match?
    Text {
        /// Which texts.
        view: View,
        /// The pattern.
        matcher: Matcher,
    },
    /// Is there a link of which all of this holds?
    UriDetail(Vec<UriCondition>),
    /// Does a field of a part match?
    MimeHeader(Box<MimeHeaderCheck>),
    /// Of other rules; a name that no rule has is 0.
    Meta(Program<Option<usize>>),
    /// A function of the message and its session.
    Eval(Function),
    /// Never hits.
    Never,
}

/// A pattern, or what becomes one with each message.
#[derive(Debug)]
pub enum Matcher {
    /// Compiled.
    Fixed(Box<Pattern>),
    /// It holds `%{TAG}`s, for what other patterns captured in this message.
    Tagged {
        /// As written.
        written: Box<[u8]>,
        /// The same where each tag may be anything: what this does not match, that does not.
        loose: Box<Pattern>,
    },
}

/// What is asked of header fields of parts.
#[derive(Debug)]
pub struct MimeHeaderCheck {
    /// The field's name, in lower case; `all` is every field.
    pub field: Box<str>,
    /// As it stands in the message.
    pub raw: bool,
    /// The pattern.
    pub pattern: Pattern,
    /// It must not match.
    pub negated: bool,
    /// The text where a part has no such field.
    pub if_unset: Box<[u8]>,
    /// Only these parts, counted from 1.
    pub parts: Option<(u32, u32)>,
    /// All parts as one text.
    pub concatenated: bool,
}

/// Something that must hold of a link.
#[derive(Debug)]
pub struct UriCondition {
    /// What of it.
    pub key: UriKey,
    /// The pattern.
    pub pattern: Pattern,
    /// It must not match.
    pub negated: bool,
}

impl Check {
    /// Its pattern, if it has one that does not depend on the message.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Check::Header { matcher: Matcher::Fixed(pattern), .. }
            | Check::Text { matcher: Matcher::Fixed(pattern), .. } => Some(pattern),
            Check::MimeHeader(check) => Some(&check.pattern),
            _ => None,
        }
    }
}

/// The rules, ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// In the order of definition.
    pub rules: Vec<Rule>,
    /// Who looks at which text.
    pub groups: Groups,
    /// For messages without and with a session.
    pub plans: [Plan; 2],
    /// What the rule files say besides rules.
    pub environment: Environment,
}

/// Compiles everything that was read. Adds to the findings.
pub fn compile(loaded: Loaded) -> (Compiled, Diagnostics) {
    let Loaded { definitions, preferences, mut diagnostics, .. } = loaded;
    let Definitions { rules: definitions, index, settings } = definitions;
    report_nameless(&index, &settings, &mut diagnostics);
    let environment = Environment::new(preferences, &mut diagnostics);
    let mut compiler = Compiler { index: &index, environment: &environment, octets_left: COMPILED_TOTAL_OCTETS_MAX };
    let (mut rules, mut spans) = (Vec::with_capacity(definitions.len()), Vec::with_capacity(definitions.len()));
    let mut unknown = Vec::new();
    for definition in definitions {
        let settings = settings.get(&*definition.name).cloned().unwrap_or_default();
        let (name, span) = (definition.name.clone(), definition.span.clone());
        unknown.extend(unknown_name(&definition, &index).map(|unknown| (span.clone(), format!("{name}: {unknown}"))));
        let check = compiler.check(definition, &settings.flags).unwrap_or_else(|problem| {
            let (kind, what) = match problem {
                Problem::Pattern(error) => (Kind::Pattern, error.to_string()),
                Problem::Eval(what) => (Kind::Eval, what),
            };
            diagnostics.add(kind, &span, format!("{name}: {what}"), NEVER_HITS);
            Check::Never
        });
        rules.push(rule(name, check, &settings));
        spans.push(span);
    }
    report_unknown_names(&unknown, &mut diagnostics);
    let metas = order::order_metas(&mut rules, &spans, &mut diagnostics);
    let plans = [0, 1].map(|set| Plan::new(&rules, &settings, set));
    let groups = Groups::new(&rules, &plans, &metas);
    let compiled = Compiled { rules, groups, plans, environment };
    dead::report(&compiled, &spans, &mut diagnostics);
    (compiled, diagnostics)
}

fn rule(name: Arc<str>, check: Check, settings: &Settings) -> Rule {
    let flags = &settings.flags;
    let hits_max = if flags.multiple { flags.hits_max.unwrap_or(HITS_MAX) } else { 1 };
    Rule { name, describe: settings.describe.clone(), check, hits_max, no_subject: flags.no_subject }
}

/// A score or a description for a name that no rule has is most often a misspelling.
fn report_nameless(
    index: &HashMap<Arc<str>, usize>,
    settings: &HashMap<String, Settings>,
    diagnostics: &mut Diagnostics,
) {
    let nameless = settings.iter().filter(|(name, _)| !index.contains_key(name.as_str()));
    let mut nameless: Vec<(&String, &Span)> =
        nameless.filter_map(|(name, settings)| Some((name, settings.span.as_ref()?))).collect();
    nameless.sort_by(|a, b| (&a.1.file, a.1.line).cmp(&(&b.1.file, b.1.line)));
    for (name, span) in nameless {
        diagnostics.add(Kind::Nameless, span, format!("there is no rule {name}"), "the setting has no effect");
    }
}

/// The first name in a meta that no rule has, in words.
fn unknown_name(definition: &Definition, index: &HashMap<Arc<str>, usize>) -> Option<String> {
    let Test::Meta(program) = &definition.test else { return None };
    let name = program.names().find(|name| !index.contains_key(name.as_str()))?;
    Some(format!("there is no rule {name}"))
}

fn report_unknown_names(unknown: &[(Span, String)], diagnostics: &mut Diagnostics) {
    for (span, what) in unknown {
        diagnostics.add(Kind::Nameless, span, what.clone(), "it counts as not hit");
    }
}

/// Why a rule cannot run.
enum Problem {
    Pattern(PatternError),
    Eval(String),
}

impl From<PatternError> for Problem {
    fn from(error: PatternError) -> Self {
        Problem::Pattern(error)
    }
}

/// A pattern whose tags may be anything.
fn loose(written: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, tag)) = memchr::memmem::find(rest, b"%{").and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        out.extend_from_slice(b"(?s:.*)");
        rest = memchr::memchr(b'}', tag).and_then(|end| tag.get(end + 1..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

struct Compiler<'a> {
    index: &'a HashMap<Arc<str>, usize>,
    environment: &'a Environment,
    octets_left: usize,
}

impl Compiler<'_> {
    fn check(&mut self, definition: Definition, flags: &Flags) -> Result<Check, Problem> {
        let tagged = !definition.uses_tags.is_empty();
        Ok(match definition.test {
            Test::Header(selector, HeaderTest::Exists) => Check::Exists(Query::from(&selector)),
            Test::Header(selector, HeaderTest::Matches { pattern, negated, if_unset }) => {
                let if_unset = if_unset.unwrap_or_default();
                let query = Query::from(&selector);
                Check::Header { query, matcher: self.matcher(pattern, tagged)?, negated, if_unset }
            }
            Test::Body(pattern) => self.text(View::Body, pattern, tagged)?,
            Test::RawBody(pattern) => self.text(View::RawBody, pattern, tagged)?,
            Test::Full(pattern) => self.text(View::Full, pattern, tagged)?,
            Test::Uri(pattern) => self.text(View::Uri, pattern, tagged)?,
            Test::UriDetail(criteria) => {
                let conditions = criteria.into_iter().map(|criterion| self.uri_condition(criterion));
                Check::UriDetail(conditions.collect::<Result<_, _>>()?)
            }
            Test::MimeHeader(test) => Check::MimeHeader(Box::new(self.mime_header(test, flags)?)),
            Test::Meta(program) => Check::Meta(program.map(|name| self.index.get(name.as_str()).copied())),
            Test::Eval(call) => Check::Eval(evals::bind(&call, self.environment).map_err(Problem::Eval)?),
            Test::Never => Check::Never,
        })
    }

    fn text(&mut self, view: View, pattern: Box<[u8]>, tagged: bool) -> Result<Check, PatternError> {
        Ok(Check::Text { view, matcher: self.matcher(pattern, tagged)? })
    }

    fn matcher(&mut self, written: Box<[u8]>, tagged: bool) -> Result<Matcher, PatternError> {
        match tagged {
            true => Ok(Matcher::Tagged { loose: Box::new(self.pattern(&loose(&written))?), written }),
            false => Ok(Matcher::Fixed(Box::new(self.pattern(&written)?))),
        }
    }

    fn mime_header(&mut self, test: MimeHeaderTest, flags: &Flags) -> Result<MimeHeaderCheck, PatternError> {
        let MimeHeaderTest { field, raw, pattern, negated, if_unset } = test;
        let pattern = self.pattern(&pattern)?;
        let (parts, concatenated) = (flags.parts, flags.concatenated);
        Ok(MimeHeaderCheck { field, raw, pattern, negated, if_unset, parts, concatenated })
    }

    fn uri_condition(&mut self, criterion: UriCriterion) -> Result<UriCondition, PatternError> {
        let UriCriterion { key, negated, pattern } = criterion;
        Ok(UriCondition { key, pattern: self.pattern(&pattern)?, negated })
    }

    fn pattern(&mut self, written: &[u8]) -> Result<Pattern, PatternError> {
        let pattern = Pattern::parse(written)?;
        self.octets_left = self.octets_left.checked_sub(pattern.octets()).ok_or(PatternError::TooLarge)?;
        Ok(pattern)
    }
}
