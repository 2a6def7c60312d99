//! Rules as they were written: what the parser hands to the compiler. Types, and how settings come to numbers.
//!
//! *Patterns* are octets as written, with delimiters and flags, after replace tags; what they mean is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rules::diagnostic::Span;
use crate::rules::expression::Program;

/// A pattern as written: `/text/flags`, or `m` and other delimiters.
pub type Written = Box<[u8]>;

/// A rule by its last definition, at the place of its first.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub span: Span,
    /// What it asks.
    pub test: Test,
    /// The tags that its pattern has in it as `%{TAG}`: it can match only once they are known.
    pub uses_tags: Vec<Box<str>>,
    /// Its pattern has groups that are named like tags: what they match becomes the tags' value, and it runs first.
    pub sets_tags: bool,
}

/// What a rule asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Of the header.
    Header(Selector, HeaderTest),
    /// Of the paragraphs of the text.
    Body(Written),
    /// Of the decoded parts.
    RawBody(Written),
    /// Of the message as it came.
    Full(Written),
    /// Of each URI.
    Uri(Written),
    /// Of what else is known about each URI: one must meet all of these.
    UriDetail(Vec<UriCriterion>),
    /// Of the headers of parts.
    MimeHeader(MimeHeaderTest),
    /// Of other rules.
    Meta(Program<String>),
    /// Of a function.
    Eval(EvalCall),
    /// Nothing: a diagnostic said why, or it needs lookups that are not made.
    Never,
}

/// What a header rule asks of the value that its selector selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTest {
    /// Is there such a field?
    Exists,
    /// Does it match?
    Matches {
        /// The pattern.
        pattern: Written,
        /// `!~`.
        negated: bool,
        /// The value where there is no such field.
        if_unset: Option<Box<[u8]>>,
    },
}

/// What a `mimeheader` rule asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeHeaderTest {
    /// The field, in lower case; `all` is every field.
    pub field: Box<str>,
    /// `:raw`.
    pub raw: bool,
    /// The pattern.
    pub pattern: Written,
    /// `!~`.
    pub negated: bool,
    /// The value where a part has no such field.
    pub if_unset: Box<[u8]>,
}

/// One of the things that a `uri_detail` rule asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriCriterion {
    /// Of what.
    pub key: UriKey,
    /// `!~`.
    pub negated: bool,
    /// The pattern.
    pub pattern: Written,
}

/// What a `uri_detail` rule can ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UriKey {
    /// The URI as found.
    Raw,
    /// Where it was found: `a`, `img`, `parsed`, ...
    Type,
    /// The URI, canonical.
    Cleaned,
    /// The text of its anchor.
    Text,
    /// The registered domain of its host.
    Domain,
    /// Its host.
    Host,
}

/// A call of a function, as in `eval:name('a', 2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalCall {
    /// In which kind of rule.
    pub kind: EvalKind,
    /// The function.
    pub name: Box<str>,
    /// Its arguments, without quotation marks.
    pub arguments: Vec<Box<[u8]>>,
}

/// The kinds of rules that call functions: each function belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvalKind {
    /// `header`.
    Head,
    /// `header`, and the function asks a DNS list.
    Rbl,
    /// `body`.
    Body,
    /// `rawbody`.
    RawBody,
    /// `full`.
    Full,
}

/// Which text of the header: which fields, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The fields.
    pub fields: Fields,
    /// `:raw`: not decoded, as in the message.
    pub raw: bool,
    /// `:first` or `:last`.
    pub which: Which,
    /// Addresses or names in them.
    pub part: Part,
    /// Hosts or IP addresses in that.
    pub host: Host,
}

/// Which of several fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Which {
    /// All.
    #[default]
    All,
    /// `:first`.
    First,
    /// `:last`.
    Last,
}

/// Fields of the header, or what stands for some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fields {
    /// All fields of this name, in lower case.
    Named(Box<str>),
    /// `ALL`: the header section.
    All,
    /// `ALL-TRUSTED`, `ALL-INTERNAL` and so on: the header fields that these relays added.
    AllOf(Relays),
    /// `ToCc`: To, then Cc.
    ToCc,
    /// `MESSAGEID`: the fields that have held it over the years.
    MessageId,
    /// `EnvelopeFrom`: the reverse-path.
    EnvelopeFrom,
    /// `X-Spam-Relays-Trusted` and so on: a description of these relays.
    RelaysOf(Relays),
}

/// Which hosts that the message came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relays {
    /// Those that are trusted not to forge.
    Trusted,
    /// The others.
    Untrusted,
    /// Those of our own network.
    Internal,
    /// The others.
    External,
}

/// What of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// `:addr`: its addresses. Stronger than `:name`.
    Address,
    /// `:name`: the names beside its addresses.
    Name,
}

/// What of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Host {
    /// Everything.
    #[default]
    None,
    /// `:host`: the first host name.
    Name,
    /// `:domain`: its registered domain.
    Domain,
    /// `:ip`: the first IP address.
    Ip,
    /// `:revip`: that address, reversed.
    ReversedIp,
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
    /// `priority`. Rules run in the order of what they need: it tells only which tags are set first.
    pub priority: i32,
    /// `subjprefix`: kept, mail is not altered.
    pub subject_prefix: Option<Arc<str>>,
    /// `shortcircuit`: kept, all rules run always.
    pub shortcircuit: Option<Box<str>>,
    /// Where the last of them stands.
    pub span: Option<Span>,
}

/// `tflags`, as far as they change anything here, and those that say what a rule is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Flags {
    /// The rule needs the network: an eval with it does not run without. Of other rules it says nothing.
    pub net: bool,
    /// It speaks for a message.
    pub nice: bool,
    /// It needs the classifier.
    pub learn: bool,
    /// It needs to be configured.
    pub user_config: bool,
    /// It counts its matches.
    pub multiple: bool,
    /// Up to so many.
    pub hits_max: Option<u32>,
    /// It doesn't see the Subject at the head of the text.
    pub no_subject: bool,
    /// It is not counted for learning.
    pub no_autolearn: bool,
    /// Its list of URIs takes only domains.
    pub domains_only: bool,
    /// Its list of URIs takes only IP addresses.
    pub ips_only: bool,
    /// Its list of URIs takes whole hosts.
    pub no_trim: bool,
    /// `range=x-y`: a `mimeheader` rule sees only these parts, counted from 1.
    pub parts: Option<(u32, u32)>,
    /// `concat`: a `mimeheader` rule sees all parts as one text.
    pub concatenated: bool,
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

impl Settings {
    /// The scores of the rule of this name: those that were set, or 1; 0.01 for names that begin with `T_`; the negative
    /// of these where it speaks for a message.
    pub fn scores(&self, name: &str) -> [f64; 4] {
        let default = if name.starts_with("T_") { 0.01 } else { 1.0 };
        let sign = if self.flags.nice { -1.0 } else { 1.0 };
        self.scores.unwrap_or([default * sign; 4])
    }
}

impl Definitions {
    /// The rule of this name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.rules.get(*self.index.get(name)?)
    }

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
