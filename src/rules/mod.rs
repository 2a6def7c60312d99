//! Content rules in SpamAssassin's language: `*.cf` files in, [`Hits`] out.
//!
//! *The path of a rule:* [`source`] splits files into statements; [`parser`] reads them into [`definition`]s, with
//! [`expression`] for metas and conditions and [`mod@pattern`] for Perl's regular expressions; [`mod@compile`] makes plans.
//! *The path of a message:* [`mod@evaluate`] builds [`views`] of it, asks [`evidence`] of its session, and counts.
//! *Guarantees:* a rule file can neither crash, hang nor exhaust the process: everything in it is bounded, patterns run
//! within a budget, and what is not supported is a [`Diagnostic`] with its place, never a guess. No message can do so either.
//! *Never does:* I/O once loaded, or decide what becomes of a message.
//! *Understood so far:* `header`, `body`, `meta`, `score`, `describe`, `tflags`, `lang`, `if`, `ifplugin`, `else`, `endif`,
//! and the evals of [`evidence`].

pub mod compile;
pub mod definition;
pub mod diagnostic;
pub mod evaluate;
pub mod evidence;
pub mod expression;
pub mod parser;
pub mod pattern;
pub mod prefilter;
pub mod report;
pub mod source;
#[cfg(test)]
mod tests;
pub mod views;

use std::path::PathBuf;
use std::sync::Arc;

pub use diagnostic::{Diagnostic, LoadError, Span};
pub use evidence::{Evidence, Signatures};
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
pub struct Rules(Arc<Compiled>);

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

    fn compile(mut parser: Parser) -> (Rules, Vec<Diagnostic>) {
        let compiled = compile::compile(&mut parser);
        (Rules(Arc::new(compiled)), parser.diagnostics)
    }

    /// What hits this message. Without evidence (a message from a file) no rule runs that needs the session, and the
    /// scores for local use count.
    pub fn evaluate(&self, message: &Message, evidence: Option<&Evidence>) -> Hits {
        evaluate::evaluate(&self.0, message, evidence)
    }

    /// The names of all rules that can add to a score, in the order of definition.
    pub fn scored(&self) -> impl Iterator<Item = &str> {
        let [_, net] = &self.0.plans;
        net.scored.iter().filter_map(|(at, _)| self.0.rules.get(*at)).map(|rule| &*rule.name)
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
}

impl Hits {
    /// The sum of the scores, to three decimals; 0 without hits, and never -0, which is what an empty sum of floats is.
    pub fn score(&self) -> f64 {
        let sum: f64 = self.hits.iter().map(|hit| hit.score).sum();
        (sum * 1000.0).round() / 1000.0 + 0.0
    }
}
