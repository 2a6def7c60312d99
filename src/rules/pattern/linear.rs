//! The linear engine: trees as `regex-automata` sees them, run as lazy DFAs.
//!
//! *Does:* makes `regex-syntax`'s representation of a tree, directly and over octets, exact where that can be and is not too
//! large, otherwise loose: then it finds at least what the tree matches.
//! *Guarantees:* a search looks at each octet once. Each thread keeps the caches of the [`CACHES_MAX`] DFAs that it used
//! last, [`CACHES_OCTETS_MAX`] together; a search that fills its cache again and again gives up, which is reported.
//! *Never does:* tell where a match began. It answers what needs only its end.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::machine::OutOfSteps;
use super::syntax::{Assertion, Node};

/// The largest exact automaton of one pattern, in octets.
pub const EXACT_OCTETS_MAX: usize = 128 << 10;
/// The largest loose one.
pub const LOOSE_OCTETS_MAX: usize = 4 << 20;
/// An automaton up to this size is small.
const SMALL_OCTETS_MAX: usize = 16 << 10;
/// The largest least count that a loose one keeps.
const LOOSE_COUNT_MAX: u32 = 2;
/// The cache of one DFA, in octets.
pub const CACHE_OCTETS_MAX: usize = 4 << 20;
/// How many caches a thread keeps.
pub const CACHES_MAX: usize = 256;
/// And how large they may be together, in octets, before the oldest are given up.
pub const CACHES_OCTETS_MAX: usize = 32 << 20;
/// After this many times that a cache was full, a search may give up.
const CACHE_FULL_MAX: usize = 3;
/// A search gives up when a cache did not even serve so many octets for each state.
const OCTETS_PER_STATE_MIN: usize = 8;

/// Numbers for DFAs, so that a cache is known to be one's own.
static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The caches of this thread, the last used at the end.
    static CACHES: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// A cache with its DFA's number and its size when it was last used. Boxed: each search moves it to the end.
struct Kept {
    number: u64,
    octets: usize,
    cache: Box<Cache>,
}

/// How true to its tree an automaton has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fidelity {
    /// It matches where the tree does.
    Exact,
    /// It matches at least there: counts are not kept up, look-around and references not asked.
    Loose,
}

/// A tree in `regex-syntax`'s terms.
fn hir(node: &Node, fidelity: Fidelity) -> Hir {
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
            let (min, max) = match fidelity {
                Fidelity::Exact => (repeat.min, repeat.max),
                Fidelity::Loose => (repeat.min.min(LOOSE_COUNT_MAX), repeat.max.filter(|max| *max <= 1)),
            };
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
    Hir::look(match assertion {
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
        Assertion::EndOrNewline => Look::EndLF,
        Assertion::SearchStart | Assertion::Keep => return Hir::empty(),
    })
}

/// One pattern as a lazy DFA.
#[derive(Debug)]
pub struct Linear {
    dfa: DFA,
    number: u64,
    exact: bool,
}

impl Linear {
    /// Of a tree, exact if `regular` says that it needs no backtracking; none if it would be too large.
    pub fn new(node: &Node, regular: bool) -> Option<Linear> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let exact = if regular { dfa(&hir(node, Fidelity::Exact), EXACT_OCTETS_MAX) } else { None };
        if let Some(dfa) = exact {
            return Some(Linear { dfa, number, exact: true });
        }
        dfa(&hir(node, Fidelity::Loose), LOOSE_OCTETS_MAX).map(|dfa| Linear { dfa, number, exact: false })
    }

    /// Whether what it finds is a match. What it does not find never is.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether it is so small that even a search that knows nothing yet costs little.
    pub fn is_small(&self) -> bool {
        self.dfa.get_nfa().memory_usage() <= SMALL_OCTETS_MAX
    }

    /// Where the first match ends, and how many octets of cache were filled to learn it: what is not cached is what takes
    /// time.
    pub fn end_of_first(&self, text: &[u8]) -> (Result<Option<usize>, OutOfSteps>, usize) {
        let (mut cache, known) = CACHES.with_borrow_mut(|caches| {
            let own = caches.iter().position(|kept| kept.number == self.number);
            let full = caches.len() >= CACHES_MAX;
            match own.or(full.then_some(0)) {
                Some(at) => (Some(caches.remove(at).cache), own.is_some()),
                None => (None, false),
            }
        });
        if let (Some(cache), false) = (&mut cache, known) {
            cache.reset(&self.dfa);
        }
        let mut cache = cache.unwrap_or_else(|| Box::new(self.dfa.create_cache()));
        let (filled, cleared) = (cache.memory_usage(), cache.clear_count());
        let found = self.dfa.try_search_fwd(&mut cache, &Input::new(text));
        let clears = cache.clear_count().saturating_sub(cleared).saturating_mul(CACHE_OCTETS_MAX);
        let cost = cache.memory_usage().saturating_add(clears).saturating_sub(filled);
        if found.is_err() {
            cache.reset(&self.dfa);
        }
        CACHES.with_borrow_mut(|caches| {
            caches.push(Kept { number: self.number, octets: cache.memory_usage(), cache });
            let mut sum: usize = caches.iter().map(|kept| kept.octets).sum();
            while caches.len() > 1 && sum > CACHES_OCTETS_MAX {
                sum = sum.saturating_sub(caches.remove(0).octets);
            }
        });
        (found.map(|found| found.map(|found| found.offset())).map_err(|_| OutOfSteps), cost)
    }

    /// About how much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        self.dfa.memory_usage().saturating_add(self.dfa.get_nfa().memory_usage())
    }
}

fn dfa(hir: &Hir, octets_max: usize) -> Option<DFA> {
    let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(octets_max));
    let config = config.which_captures(WhichCaptures::None);
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
    let config = DFA::config()
        .match_kind(MatchKind::LeftmostFirst)
        .cache_capacity(CACHE_OCTETS_MAX)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(CACHE_FULL_MAX))
        .minimum_bytes_per_state(Some(OCTETS_PER_STATE_MIN));
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}
