//! The linear engine: trees without backtracking as `regex-automata` sees them.
//!
//! *Does:* makes `regex-syntax`'s representation of a tree, directly and over octets; runs it as a lazy DFA.
//! *Guarantees:* a search looks at each octet once; a DFA's cache is bounded, and a search that fills it again and again
//! gives up, which is reported.
//! *Never does:* tell where a match began. It answers what needs only its end.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::machine::OutOfSteps;
use super::syntax::{Assertion, Node};

/// The largest automaton of one pattern, in octets.
pub const AUTOMATON_OCTETS_MAX: usize = 1 << 20;
/// The cache of one pattern's DFA, in octets.
const CACHE_OCTETS: usize = 1 << 18;
/// After this many times that a cache was full, a search may give up.
const CACHE_FULL_MAX: usize = 3;
/// A search gives up when a cache did not even serve so many octets for each state.
const OCTETS_PER_STATE_MIN: usize = 8;
/// Counts above this become "any number" where more than the pattern's matches may be found.
const LOOSE_COUNT_MAX: u32 = 8;

/// How true to its tree an automaton has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// It matches where the tree does.
    Exact,
    /// It matches at least there: look-around, references and large counts are not asked.
    Loose,
}

/// A tree in `regex-syntax`'s terms.
pub fn hir(node: &Node, fidelity: Fidelity) -> Hir {
    let many = |nodes: &[Node]| nodes.iter().map(|node| hir(node, fidelity)).collect::<Vec<Hir>>();
    match node {
        Node::Empty | Node::Look(_) => Hir::empty(),
        Node::Fail => Hir::fail(),
        Node::Set(set) => {
            let ranges = set.ranges().map(|(low, high)| ClassBytesRange::new(low, high));
            Hir::class(Class::Bytes(ClassBytes::new(ranges)))
        }
        Node::Concat(nodes) => Hir::concat(many(nodes)),
        Node::Alternate(nodes) => Hir::alternation(many(nodes)),
        Node::Repeat(repeat) => {
            let (mut min, mut max) = (repeat.min, repeat.max);
            if fidelity == Fidelity::Loose {
                min = min.min(LOOSE_COUNT_MAX);
                max = max.filter(|max| *max <= LOOSE_COUNT_MAX);
            }
            let sub = Box::new(hir(&repeat.node, fidelity));
            Hir::repetition(Repetition { min, max, greedy: !repeat.lazy, sub })
        }
        Node::Capture(_, node) | Node::Atomic(node) => hir(node, fidelity),
        Node::Assertion(assertion) => place(*assertion, fidelity),
        Node::BackReference { .. } => {
            let any = Class::Bytes(ClassBytes::new([ClassBytesRange::new(0, 255)]));
            Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(Hir::class(any)) })
        }
        Node::Conditional(group) => Hir::alternation(vec![hir(&group.yes, fidelity), hir(&group.no, fidelity)]),
    }
}

fn place(assertion: Assertion, fidelity: Fidelity) -> Hir {
    let look = match assertion {
        Assertion::Start => Look::Start,
        Assertion::StartLine => Look::StartLF,
        Assertion::End => Look::End,
        Assertion::EndLine => Look::EndLF,
        Assertion::WordBoundary => Look::WordAscii,
        Assertion::NotWordBoundary => Look::WordAsciiNegate,
        Assertion::EndOrNewline if fidelity == Fidelity::Exact => {
            let newline = Box::new(Hir::literal(*b"\n"));
            let newline = Hir::repetition(Repetition { min: 0, max: Some(1), greedy: true, sub: newline });
            return Hir::concat(vec![newline, Hir::look(Look::End)]);
        }
        Assertion::EndOrNewline | Assertion::SearchStart | Assertion::Keep => return Hir::empty(),
    };
    Hir::look(look)
}

/// An automaton for several patterns.
pub fn automaton(patterns: &[Hir], octets_max: usize) -> Option<NFA> {
    let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(octets_max));
    let mut compiler = thompson::Compiler::new();
    compiler.configure(config.which_captures(WhichCaptures::None)).build_many_from_hir(patterns).ok()
}

/// A lazy DFA whose cache has at most so many octets.
pub fn lazy_dfa(nfa: NFA, kind: MatchKind, cache_octets: usize) -> Option<DFA> {
    let config = DFA::config()
        .match_kind(kind)
        .cache_capacity(cache_octets)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(CACHE_FULL_MAX))
        .minimum_bytes_per_state(Some(OCTETS_PER_STATE_MIN));
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// One pattern as a lazy DFA.
#[derive(Debug)]
pub struct Linear(DFA);

impl Linear {
    /// Of a tree that needs no backtracking; none if it would be too large.
    pub fn new(node: &Node) -> Option<Linear> {
        let nfa = automaton(&[hir(node, Fidelity::Exact)], AUTOMATON_OCTETS_MAX)?;
        lazy_dfa(nfa, MatchKind::LeftmostFirst, CACHE_OCTETS).map(Linear)
    }

    /// Where the first match at or behind `from` ends. The cache is that of the last search, whichever pattern it was for.
    pub fn end_of_first(
        &self,
        text: &[u8],
        from: usize,
        cache: &mut Option<Cache>,
    ) -> Result<Option<usize>, OutOfSteps> {
        let cache = match cache {
            Some(cache) => {
                cache.reset(&self.0);
                cache
            }
            None => cache.insert(self.0.create_cache()),
        };
        if from > text.len() {
            return Ok(None);
        }
        match self.0.try_search_fwd(cache, &Input::new(text).range(from..)) {
            Ok(found) => Ok(found.map(|found| found.offset())),
            Err(_) => Err(OutOfSteps),
        }
    }

    /// About how much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        self.0.memory_usage() + self.0.get_nfa().memory_usage()
    }
}
