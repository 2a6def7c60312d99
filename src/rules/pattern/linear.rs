//! The linear engine: trees without backtracking as `regex-automata` sees them.
//!
//! *Does:* makes `regex-syntax`'s representation of a tree, directly and over octets; runs it as a lazy DFA.
//! *Guarantees:* a search looks at each octet once; a DFA's cache is bounded, and a search that fills it again and again
//! gives up, which is reported.
//! *Never does:* tell where a match began. It answers what needs only its end.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
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
/// A tree in `regex-syntax`'s terms; none if it needs backtracking.
fn hir(node: &Node) -> Option<Hir> {
    let many = |nodes: &[Node]| nodes.iter().map(hir).collect::<Option<Vec<Hir>>>();
    Some(match node {
        Node::Empty => Hir::empty(),
        Node::Fail => Hir::fail(),
        Node::Set(set) => {
            let ranges = set.ranges().map(|(low, high)| ClassBytesRange::new(low, high));
            Hir::class(Class::Bytes(ClassBytes::new(ranges)))
        }
        Node::Concat(nodes) => Hir::concat(many(nodes)?),
        Node::Alternate(nodes) => Hir::alternation(many(nodes)?),
        Node::Repeat(repeat) => {
            let sub = Box::new(hir(&repeat.node)?);
            Hir::repetition(Repetition { min: repeat.min, max: repeat.max, greedy: !repeat.lazy, sub })
        }
        Node::Capture(_, node) => hir(node)?,
        Node::Assertion(assertion) => place(*assertion)?,
        Node::Look(_) | Node::Atomic(_) | Node::BackReference { .. } | Node::Conditional(_) => return None,
    })
}

fn place(assertion: Assertion) -> Option<Hir> {
    Some(Hir::look(match assertion {
        Assertion::Start => Look::Start,
        Assertion::StartLine => Look::StartLF,
        Assertion::End => Look::End,
        Assertion::EndLine => Look::EndLF,
        Assertion::WordBoundary => Look::WordAscii,
        Assertion::NotWordBoundary => Look::WordAsciiNegate,
        Assertion::EndOrNewline => {
            let newline = Box::new(Hir::literal(*b"\n"));
            let newline = Hir::repetition(Repetition { min: 0, max: Some(1), greedy: true, sub: newline });
            return Some(Hir::concat(vec![newline, Hir::look(Look::End)]));
        }
        Assertion::SearchStart | Assertion::Keep => return None,
    }))
}

/// One pattern as a lazy DFA.
#[derive(Debug)]
pub struct Linear(DFA);

impl Linear {
    /// Of a tree that needs no backtracking; none if it would be too large.
    pub fn new(node: &Node) -> Option<Linear> {
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(AUTOMATON_OCTETS_MAX));
        let config = config.which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(&hir(node)?).ok()?;
        let config = DFA::config()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE_OCTETS)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(CACHE_FULL_MAX))
            .minimum_bytes_per_state(Some(OCTETS_PER_STATE_MIN));
        DFA::builder().configure(config).build_from_nfa(nfa).ok().map(Linear)
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
