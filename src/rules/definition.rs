//! Rules as they were written: what the parser hands to the compiler. Types only.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rules::diagnostic::Span;
use crate::rules::evidence::Eval;
use crate::rules::expression::Program;

/// A rule by its last definition, at the place of its first.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub span: Span,
    /// What it asks.
    pub test: Test,
}

/// What a rule asks.
#[derive(Debug)]
pub enum Test {
    /// Of the header.
    Header(Selector, HeaderTest),
    /// Of the paragraphs of the text: a translated pattern.
    Body(String),
    /// Of other rules.
    Meta(Program<String>),
    /// Of the session's evidence.
    Eval(Eval),
    /// Nothing: a diagnostic said why.
    Never,
}

/// What a header rule asks of the value that its selector selects.
#[derive(Debug)]
pub enum HeaderTest {
    /// Is there such a field?
    Exists,
    /// Does it match?
    Matches {
        /// A translated pattern.
        pattern: String,
        /// `!~`.
        negated: bool,
        /// The value where there is no such field.
        if_unset: Vec<u8>,
    },
}

/// Which text of the header: which fields, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The fields.
    pub fields: Fields,
    /// What of them.
    pub part: Part,
}

/// Fields of the header, or what stands for some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fields {
    /// All fields of this name.
    Named(Box<str>),
    /// `ALL`: the header section.
    All,
    /// `ToCc`: To, then Cc.
    ToCc,
    /// `MESSAGEID`: the fields that have held it over the years.
    MessageId,
    /// `EnvelopeFrom`: the reverse-path.
    EnvelopeFrom,
}

/// What of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Unfolded, encoded words decoded.
    Decoded,
    /// `:raw`.
    Raw,
    /// `:addr`: its addresses.
    Address,
    /// `:name`: the names beside its addresses.
    Name,
}

/// What is said about a rule apart from its definition.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// `score`: for local, network, local with classifier, network with classifier.
    pub scores: Option<[f64; 4]>,
    /// `describe`.
    pub describe: Option<Arc<str>>,
    /// `tflags`.
    pub flags: Flags,
    /// Where the last of them stands.
    pub span: Option<Span>,
}

/// `tflags`, as far as they change anything here.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// The rule needs the network.
    pub net: bool,
    /// It speaks for a message.
    pub nice: bool,
    /// It counts its matches.
    pub multiple: bool,
    /// Up to so many.
    pub hits_max: Option<u32>,
    /// It doesn't see the Subject at the head of the text.
    pub no_subject: bool,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Rules in order.
    pub rules: Vec<Definition>,
    /// Where each stands in `rules`.
    pub index: HashMap<Arc<str>, usize>,
    /// By rule name; some may name no rule.
    pub settings: HashMap<String, Settings>,
}

impl Definitions {
    /// Adds a rule, or replaces the one of that name.
    pub fn define(&mut self, definition: Definition) {
        match self.index.get(&definition.name).and_then(|at| self.rules.get_mut(*at)) {
            Some(earlier) => *earlier = definition,
            None => {
                self.index.insert(definition.name.clone(), self.rules.len());
                self.rules.push(definition);
            }
        }
    }
}
