//! Perl's language of patterns (perlre, 5.36) over octets, read into a tree.
//!
//! *Does:* takes delimiters and flags off, reads the text, resolves case, `x`, groups and references.
//! *Guarantees:* a tree has at most [`NODES_MAX`] nodes and [`NESTING_MAX`] levels; a count is at most [`COUNT_MAX`].
//! *Never does:* guess. What is not understood is an error that says where.
//! *Octets:* text is octets and so is a pattern, as Perl reads a rule file with `aa`: `\w` and its like are ASCII, case is
//! that of Latin-1. A letter above 255 that is written by its number stands for its UTF-8. `\Q` to `\U` are the work of Perl's string literals, not of patterns: in a
//! pattern from a file they are unknown escapes, and these are the letters themselves.

mod class;
mod cursor;
mod escape;
mod group;
mod parser;
pub mod written;

use crate::rules::pattern::octets::Octets;

/// How deep groups may nest.
pub const NESTING_MAX: u32 = 100;
/// How many nodes a pattern may have.
pub const NODES_MAX: u32 = 50_000;
/// The largest count of a `{n,m}`.
pub const COUNT_MAX: u32 = 65_534;
/// How much longer one match of a look-behind may be than another, in octets.
pub const LOOK_BEHIND_OCTETS_MAX: usize = 255;

/// Why a pattern is not used. The text is fit for a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It means something that is not done.
    #[error("{what} is not supported in a pattern (at octet {at})")]
    Unsupported {
        /// What it is.
        what: String,
        /// How many octets of the pattern were read.
        at: usize,
    },
    /// It is no pattern.
    #[error("not a pattern: {what} (at octet {at})")]
    Syntax {
        /// What is wrong.
        what: String,
        /// How many octets of the pattern were read.
        at: usize,
    },
    /// It compiles to more than it may.
    #[error("the pattern is too large")]
    TooLarge,
}

/// A pattern as it was read.
#[derive(Debug)]
pub struct Tree {
    /// What it says.
    pub node: Node,
    /// How many groups capture.
    pub groups: u16,
    /// The names of groups. A name may stand for several.
    pub names: Vec<(Box<str>, u16)>,
}

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing, which is always there.
    Empty,
    /// What is never there.
    Fail,
    /// One octet of a set.
    Set(Octets),
    /// One after another.
    Concat(Vec<Node>),
    /// The first that fits.
    Alternate(Vec<Node>),
    /// Again and again.
    Repeat(Box<Repeat>),
    /// A group that captures.
    Capture(u16, Box<Node>),
    /// A place, not an octet.
    Assertion(Assertion),
    /// What has to stand here, or not, without being taken.
    Look(Box<Look>),
    /// Once fitted, never reconsidered.
    Atomic(Box<Node>),
    /// What a group took, with `fold` in either case. Of several the first that took part.
    BackReference {
        /// The groups.
        groups: Vec<u16>,
        /// Whether case makes no difference.
        fold: bool,
    },
    /// One of two, by a condition.
    Conditional(Box<Conditional>),
}

/// A repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// What is repeated.
    pub node: Node,
    /// How often at least.
    pub min: u32,
    /// How often at most; none is no limit.
    pub max: Option<u32>,
    /// Rather as few as possible.
    pub lazy: bool,
}

/// A look-ahead or look-behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What is looked for.
    pub node: Node,
    /// Backwards.
    pub behind: bool,
    /// It has to be missing.
    pub negated: bool,
}

/// A conditional group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditional {
    /// What decides: these groups, one of which took part, or a look.
    pub condition: Condition,
    /// If so.
    pub yes: Node,
    /// If not.
    pub no: Node,
}

/// What decides a conditional group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// One of these groups took part.
    Groups(Vec<u16>),
    /// A look-around.
    Look(Box<Node>),
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assertion {
    /// The start of the text.
    Start,
    /// The start of a line, which the end of the text is not.
    StartLine,
    /// The end of the text.
    End,
    /// The end of the text, or before its last newline.
    EndOrNewline,
    /// The end of a line.
    EndLine,
    /// Between `\w` and `\W`.
    WordBoundary,
    /// Not there.
    NotWordBoundary,
    /// Where the search began.
    SearchStart,
    /// Not a condition: what was taken up to here does not belong to the match.
    Keep,
}

/// Reads a pattern as rules write it, with delimiters and flags.
pub fn parse(written: &[u8]) -> Result<Tree, PatternError> {
    let (text, flags) = written::strip_delimiters(written)?;
    parser::Parser::new(text, flags)?.run()
}
