//! Prefilters: which of many patterns could match a text, found in one pass or two.
//!
//! *Does:* looks for the literals of all patterns at once. Patterns without good literals are looked for together by a lazy
//! DFA that knows them loosely.
//! *Guarantees:* a pattern that matches is a candidate. The pass is linear; the DFA's cache is bounded, and if a text fills
//! it again and again its patterns are all candidates.
//! *Never does:* decide. A candidate is yet to be matched.

use std::collections::HashMap;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, PatternSet};

use super::pattern::{Pattern, linear};

/// The largest automaton for patterns without literals, in octets.
const LOOSE_OCTETS_MAX: usize = 16 << 20;
/// The cache of its lazy DFA, in octets, for each thread that uses it.
const LOOSE_CACHE_OCTETS: usize = 4 << 20;

/// A prefilter for some patterns, known by their number.
#[derive(Debug)]
pub struct Prefilter {
    patterns: usize,
    literals: Option<contiguous::NFA>,
    /// The patterns that each literal stands for.
    owners: Vec<Box<[u32]>>,
    loose: Option<Loose>,
    /// Patterns that could match any text.
    always: Vec<u32>,
}

/// Patterns without literals.
#[derive(Debug)]
struct Loose {
    dfa: DFA,
    numbers: Vec<u32>,
    rooms: Pool<LooseRoom, Box<dyn Fn() -> LooseRoom + Send + Sync>>,
}

#[derive(Debug)]
struct LooseRoom {
    cache: Cache,
    found: PatternSet,
}

/// Numbers of patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates(Vec<u64>);

impl Candidates {
    /// Forgets all, and keeps the room.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|word| *word = 0);
    }

    /// Whether this pattern is one.
    pub fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros()).unwrap_or(0);
                (left != 0).then(|| {
                    left &= left.wrapping_sub(1);
                    at.saturating_mul(64).saturating_add(bit)
                })
            })
        })
    }

    fn reserve(&mut self, patterns: usize) {
        let words = patterns.div_ceil(64);
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
    }

    fn add(&mut self, number: u32) {
        let at = usize::try_from(number / 64).unwrap_or(usize::MAX);
        self.0.get_mut(at).into_iter().for_each(|word| *word |= 1 << (number % 64));
    }
}

impl Prefilter {
    /// For these patterns. Each is known by its place.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut strings: HashMap<&'a [u8], Vec<u32>> = HashMap::new();
        let mut loose = Vec::new();
        let mut always = Vec::new();
        let mut count = 0usize;
        for (number, pattern) in (0u32..).zip(patterns) {
            count = count.saturating_add(1);
            match pattern.literals() {
                Some(literals) => literals.iter().for_each(|literal| strings.entry(literal).or_default().push(number)),
                None => match pattern.loose() {
                    Some(hir) => loose.push((number, hir)),
                    None => always.push(number),
                },
            }
        }
        let mut strings: Vec<(&[u8], Vec<u32>)> = strings.into_iter().collect();
        strings.sort_unstable();
        let (literals, owners) = Self::literals(strings, &mut always);
        let loose = Loose::new(loose, &mut always);
        Prefilter { patterns: count, literals, owners, loose, always }
    }

    /// The automaton of all literals. Should it be too large, their patterns could match any text.
    fn literals(strings: Vec<(&[u8], Vec<u32>)>, always: &mut Vec<u32>) -> (Option<contiguous::NFA>, Vec<Box<[u32]>>) {
        if strings.is_empty() {
            return (None, Vec::new());
        }
        let mut builder = contiguous::Builder::new();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        match builder.build(strings.iter().map(|(string, _)| string)) {
            Ok(literals) => {
                (Some(literals), strings.into_iter().map(|(_, owners)| owners.into_boxed_slice()).collect())
            }
            Err(_) => {
                always.extend(strings.into_iter().flat_map(|(_, owners)| owners));
                (None, Vec::new())
            }
        }
    }

    /// Adds the patterns that could match a text.
    pub fn mark(&self, text: &[u8], candidates: &mut Candidates) {
        candidates.reserve(self.patterns);
        self.always.iter().for_each(|number| candidates.add(*number));
        self.mark_literals(text, candidates);
        self.loose.iter().for_each(|loose| loose.mark(text, candidates));
    }

    fn mark_literals(&self, text: &[u8], candidates: &mut Candidates) {
        let Some(literals) = &self.literals else { return };
        let Ok(mut state) = literals.start_state(Anchored::No) else { return };
        for octet in text {
            state = literals.next_state(Anchored::No, state, *octet);
            if literals.is_special(state) && literals.is_match(state) {
                for at in 0..literals.match_len(state) {
                    let owners = self.owners.get(literals.match_pattern(state, at).as_usize());
                    owners.into_iter().flatten().for_each(|number| candidates.add(*number));
                }
            }
        }
    }

    /// About how much memory it takes, in octets, without the caches of threads.
    pub fn octets(&self) -> usize {
        let literals = self.literals.as_ref().map_or(0, Automaton::memory_usage);
        let owners: usize = self.owners.iter().map(|owners| size_of_val(&**owners) + 16).sum();
        let loose = self.loose.as_ref().map_or(0, |loose| loose.dfa.memory_usage() + loose.dfa.get_nfa().memory_usage());
        literals + owners + loose
    }

    /// How many patterns could match any text, and how many have no literals but are looked for all the same.
    pub fn without_literals(&self) -> (usize, usize) {
        (self.always.len(), self.loose.as_ref().map_or(0, |loose| loose.numbers.len()))
    }
}

impl Loose {
    fn new(patterns: Vec<(u32, regex_syntax::hir::Hir)>, always: &mut Vec<u32>) -> Option<Loose> {
        let (numbers, patterns): (Vec<u32>, Vec<_>) = patterns.into_iter().unzip();
        if numbers.is_empty() {
            return None;
        }
        let dfa = linear::automaton(&patterns, LOOSE_OCTETS_MAX)
            .and_then(|nfa| linear::lazy_dfa(nfa, regex_automata::MatchKind::All, LOOSE_CACHE_OCTETS));
        let Some(dfa) = dfa else {
            always.extend(numbers);
            return None;
        };
        let (own, count) = (dfa.clone(), numbers.len());
        let make = move || LooseRoom { cache: own.create_cache(), found: PatternSet::new(count) };
        Some(Loose { dfa, numbers, rooms: Pool::new(Box::new(make)) })
    }

    fn mark(&self, text: &[u8], candidates: &mut Candidates) {
        let mut room = self.rooms.get();
        let LooseRoom { cache, found } = &mut *room;
        found.clear();
        match self.dfa.try_which_overlapping_matches(cache, &Input::new(text), found) {
            Ok(()) => {
                let numbers = found.iter().filter_map(|at| self.numbers.get(at.as_usize()));
                numbers.for_each(|number| candidates.add(*number));
            }
            Err(_) => self.numbers.iter().for_each(|number| candidates.add(*number)),
        }
    }
}
