//! Content rules in SpamAssassin's language: `*.cf` files in, [`Hits`] out.
//!
//! *The path of a rule:* [`source`] splits files into statements; [`parser`] reads them into [`definition`]s and
//! [`preferences`], with [`expression`] for metas and conditions; [`mod@compile`] makes [`mod@pattern`]s of Perl's regular
//! expressions, binds [`evals`] to their arguments, and plans what runs.
//! *The path of a message:* [`mod@evaluate`] builds [`views`] of it and of the [`relays`] that it came through, lets a
//! [`prefilter`] say which patterns can match at all, asks [`evidence`] of its session, and counts.
//! *Guarantees:* a rule file can neither crash, hang nor exhaust the process: everything in it is bounded, and what is not
//! supported is a [`Diagnostic`] with its place, never a guess. No message can do so either: views are bounded, patterns
//! run in linear time or within a budget of steps, and one that takes more counts as not hit and is named.
//! *Never does:* I/O once loaded, or decide what becomes of a message.
//! *Follows* SpamAssassin 4.0.1, whose rules are to hit here what they hit there.

pub mod compile;
pub mod definition;
pub mod diagnostic;
pub mod environment;
pub mod evals;
pub mod evaluate;
pub mod evidence;
pub mod expression;
pub mod parser;
pub mod pattern;
pub mod preferences;
pub mod prefilter;
pub mod relays;
pub mod replace;
pub mod report;
pub mod source;
pub mod template;
#[cfg(test)]
mod tests;
pub mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use diagnostic::{Diagnostic, Kind, LISTED_MAX, LoadError, Span, listed};
pub use evidence::{Evidence, Signatures, Signed};
pub use report::spam_status_fields;

use crate::message::Message;
use compile::Compiled;
use parser::Parser;
use source::Source;

/// Our own rules, as they stand in `rules/`: name and text of each file.
pub const OWN: [(&str, &str); 3] = [
    ("rules/authentication.cf", include_str!("../../rules/authentication.cf")),
    ("rules/headers.cf", include_str!("../../rules/headers.cf")),
    ("rules/phrases.cf", include_str!("../../rules/phrases.cf")),
];

/// Rules, compiled once. Clones share them.
#[derive(Debug, Clone)]
pub struct Rules {
    compiled: Arc<Compiled>,
    traced: bool,
}

impl Rules {
    /// Loads files, and directories with all their `*.cf` in the order of their names. What is wrong *in* a file is a
    /// diagnostic; a file that cannot be read is an error.
    pub fn load(paths: &[PathBuf]) -> Result<(Rules, Vec<Diagnostic>), LoadError> {
        let mut parser = Parser::default();
        let mut octets_left = source::FILES_OCTETS_MAX;
        for path in source::files(paths)? {
            let source = Source::read(&path, octets_left.min(source::FILE_OCTETS_MAX))?;
            octets_left = octets_left.saturating_sub(source.octets());
            parser.read(&source);
        }
        Ok(Self::compile(parser))
    }

    /// Reads rules that stand in memory, as pairs of a name for diagnostics and text: [`OWN`], for example.
    pub fn from_texts(texts: &[(&str, &str)]) -> (Rules, Vec<Diagnostic>) {
        let mut parser = Parser::default();
        texts.iter().for_each(|(name, text)| parser.read(&Source::from_text(name, text)));
        Self::compile(parser)
    }

    fn compile(parser: Parser) -> (Rules, Vec<Diagnostic>) {
        let (compiled, diagnostics) = compile::compile(parser.finish());
        (Rules { compiled: Arc::new(compiled), traced: false }, diagnostics.into_list())
    }

    /// What hits this message. Without evidence (a message from a file) no rule runs that needs the session, and the
    /// scores for local use count.
    pub fn evaluate(&self, message: &Message, evidence: Option<&Evidence>) -> Hits {
        evaluate::evaluate(&self.compiled, message, evidence, self.traced)
    }

    /// The same rules, which from now on also tell what they match and what they take ([`Hits::trace`]). That costs time.
    pub fn traced(self) -> Self {
        Rules { traced: true, ..self }
    }

    /// The trace fields that tell what was found: [`spam_status_fields`], and those that rule files add (`add_header`), each
    /// with its CRLF. From `threshold` on it is spam.
    pub fn status_fields(&self, hits: &Hits, threshold: f64, hostname: &str) -> String {
        let preferences = &self.compiled.environment.preferences;
        let score = hits.score();
        let tests: Vec<(&str, f64)> = hits.hits.iter().map(|hit| (&*hit.name, hit.score)).collect();
        let added = preferences.fields.render(&template::Tags {
            spam: score >= threshold,
            score,
            required: threshold,
            tests: &tests,
            subtests: &[],
            hostname,
            contact: &preferences.report_contact,
            others: &[],
        });
        spam_status_fields(hits, threshold) + &added
    }

    /// The names of all rules that can add to a score, in the order of definition.
    pub fn scored(&self) -> impl Iterator<Item = &str> {
        let Compiled { rules, plans: [_, net], .. } = &*self.compiled;
        net.scored.iter().filter_map(|(at, _)| rules.get(*at)).map(|rule| &*rule.name)
    }
}

/// A rule that hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its name.
    pub name: Arc<str>,
    /// What it adds.
    pub score: f64,
    /// What it means, for people.
    pub describe: Option<Arc<str>>,
}

/// All scored rules that hit, in the order of definition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hits {
    /// One by one.
    pub hits: Vec<Hit>,
    /// The rules whose pattern took more steps than it may: they count as not hit on the texts where it did.
    /// Each once, in the order of definition.
    pub given_up: Vec<Arc<str>>,
    /// What was matched and what it took, if that was asked for.
    pub trace: Option<Box<Trace>>,
}

/// What rules matched in a message, and what they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// By rule: the text that its pattern matched first, or the rules that a meta is made of.
    pub matched: BTreeMap<Arc<str>, String>,
    /// Every rule that hit, sub-rules too, and how often; of metas their value.
    pub counts: Vec<(Arc<str>, f64)>,
    /// By rule: the time of its pattern or eval, where any was spent.
    pub costs: Vec<(Arc<str>, Duration)>,
}

impl Hits {
    /// The sum of the scores, to three decimals; 0 without hits, and never -0, which is what an empty sum of floats is.
    pub fn score(&self) -> f64 {
        let sum: f64 = self.hits.iter().map(|hit| hit.score).sum();
        (sum * 1000.0).round() / 1000.0 + 0.0
    }
}
