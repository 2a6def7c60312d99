//! Patterns: Perl's regular expressions over octets.
//!
//! *Does:* reads what rules write as `/text/flags` or `m{text}flags` ([`syntax`]) and runs it. A machine that backtracks as
//! Perl does ([`machine`]) comes first: it needs no warming up and is exact to the octet. Where it takes too many steps a
//! lazy DFA ([`linear`]) is asked, which is linear in the text. What the DFA does not find is no match; what it finds is
//! one if the pattern needs no backtracking, and otherwise the machine has the last word, with more steps.
//! *Guarantees:* a search ends. One takes at most [`STEPS_PER_MATCH_MAX`] steps and all of a message's what its [`Budget`]
//! holds, to which what a DFA has to learn counts too. When nothing is left, small DFAs are asked still.
//! *Never does:* hit what Perl does not hit. A search that had to be given up is no match, and is counted in
//! [`Budget::aborts`].
//! *What is not done:* recursion, code, Unicode properties, backtracking verbs but `(*FAIL)`.

pub mod chains;
mod frequency;
pub mod linear;
pub mod literals;
pub mod machine;
pub mod measure;
pub mod octets;
#[cfg(test)]
mod perl_tests;
mod prefix;
pub mod syntax;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use chains::Chain;
use linear::Linear;
use machine::{Machine, OutOfSteps, Program, Room};
pub use syntax::PatternError;

/// The steps one search may take. A step is a few nanoseconds.
pub const STEPS_PER_MATCH_MAX: u64 = 500_000;
/// The steps after which the DFA is asked.
const STEPS_BEFORE_LINEAR: u64 = 200;
/// And so many for each octet of text.
const STEPS_BEFORE_LINEAR_PER_OCTET: u64 = 2;
/// A search that took too many steps makes so many next ones begin with the DFA.
const SLOW_SEARCHES: u8 = 200;
/// The largest compiled pattern, in octets.
pub const COMPILED_OCTETS_MAX: usize = 2 << 20;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    program: Program,
    /// As it was written, to be read again for the linear engine.
    written: Box<[u8]>,
    literals: Option<Box<[Box<[u8]>]>>,
    chains: Option<Box<[Chain]>>,
    backtracks: bool,
    length_min: usize,
    /// Made when it is first needed; none if it would be too large.
    linear: OnceLock<Option<Box<Linear>>>,
    /// How many of the next searches begin with the DFA.
    slow: AtomicU8,
}

/// What the searches of one message may cost together, and room for them.
#[derive(Debug, Default)]
pub struct Budget {
    steps: u64,
    aborts: u32,
    room: Room,
}

impl Budget {
    /// So many steps.
    pub fn new(steps: u64) -> Budget {
        Budget { steps, ..Budget::default() }
    }

    /// Begins anew for the next message, and keeps the room.
    pub fn refill(&mut self, steps: u64) {
        self.steps = steps;
        self.aborts = 0;
    }

    /// How many steps are left.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many searches were given up: each may be a match that was not found.
    pub fn aborts(&self) -> u32 {
        self.aborts
    }

    fn abort(&mut self) {
        self.aborts = self.aborts.saturating_add(1);
    }
}

/// What an interrupted search has to say.
type Found = Result<Option<Range<usize>>, OutOfSteps>;

impl Pattern {
    /// Reads and compiles a pattern as rules write it.
    pub fn parse(written: &[u8]) -> Result<Pattern, PatternError> {
        let tree = syntax::parse(written)?;
        let program = Program::new(&tree);
        if program.octets() > COMPILED_OCTETS_MAX {
            return Err(PatternError::TooLarge);
        }
        let literals = literals::of(&tree.node);
        let chains = if literals.is_none() { chains::of(&tree.node) } else { None };
        Ok(Pattern {
            program,
            written: written.into(),
            literals,
            chains,
            backtracks: measure::backtracks(&tree.node),
            length_min: measure::length(&tree.node).0,
            linear: OnceLock::new(),
            slow: AtomicU8::new(0),
        })
    }

    /// Whether a text matches.
    pub fn is_match(&self, text: &[u8], budget: &mut Budget) -> bool {
        if text.len() < self.length_min {
            return false;
        }
        if !self.is_slow() {
            let steps = steps_before_linear(text);
            if let Ok(found) = self.search(text, 0, false, steps, budget) {
                return found.is_some();
            }
            self.slow.store(SLOW_SEARCHES, Ordering::Relaxed);
        }
        match self.ask_linear(text, budget) {
            Some((_, Ok(None))) => false,
            Some((true, Ok(Some(_)))) => true,
            _ => self.find_at(text, 0, false, budget).is_some(),
        }
    }

    /// How many matches a text has that do not overlap, at most `max`.
    pub fn count(&self, text: &[u8], max: u32, budget: &mut Budget) -> u32 {
        if text.len() < self.length_min || max == 0 || !self.is_match(text, budget) {
            return 0;
        }
        let (mut count, mut from, mut empty) = (0u32, 0, false);
        while count < max {
            let Some(found) = self.find_at(text, from, empty, budget) else { break };
            count = count.saturating_add(1);
            empty = found.is_empty();
            from = found.end;
        }
        count.max(1)
    }

    /// The first match.
    pub fn find(&self, text: &[u8], budget: &mut Budget) -> Option<Range<usize>> {
        self.find_at(text, 0, false, budget)
    }

    /// The first match at or behind `from`; with `not_empty` it ends behind `from`, as Perl asks for behind an empty match.
    pub fn find_at(&self, text: &[u8], from: usize, not_empty: bool, budget: &mut Budget) -> Option<Range<usize>> {
        match self.search(text, from, not_empty, STEPS_PER_MATCH_MAX, budget) {
            Ok(found) => found,
            Err(OutOfSteps) => {
                budget.abort();
                None
            }
        }
    }

    /// The named groups that took part in the first match, and what they took. None without a match.
    pub fn captures(&self, text: &[u8], budget: &mut Budget) -> Option<Vec<(Box<str>, Range<usize>)>> {
        let steps = budget.steps.min(STEPS_PER_MATCH_MAX);
        let mut machine = Machine::new(&self.program, text, &mut budget.room, steps);
        let found = machine.find(0, false).map(|found| found.map(|_| machine.named()));
        budget.steps = budget.steps.saturating_sub(steps.saturating_sub(machine.steps()));
        found.unwrap_or_else(|OutOfSteps| {
            budget.abort();
            None
        })
    }

    /// What the first group took of the first match.
    pub fn first_group<'t>(&self, text: &'t [u8], budget: &mut Budget) -> Option<&'t [u8]> {
        let steps = budget.steps.min(STEPS_PER_MATCH_MAX);
        let mut machine = Machine::new(&self.program, text, &mut budget.room, steps);
        let found = machine.find(0, false).map(|found| found.and_then(|_| machine.group(1)));
        budget.steps = budget.steps.saturating_sub(steps.saturating_sub(machine.steps()));
        match found {
            Ok(found) => text.get(found?),
            Err(OutOfSteps) => {
                budget.abort();
                None
            }
        }
    }

    /// Whether it has named groups.
    pub fn has_named_groups(&self) -> bool {
        self.program.has_names()
    }

    /// Whether it can only be run by backtracking, and so may be given up.
    pub fn backtracks(&self) -> bool {
        self.backtracks
    }

    /// Strings, in lower case, of which one stands in every text that matches, whatever its ASCII case there.
    pub fn literals(&self) -> Option<&[Box<[u8]>]> {
        self.literals.as_deref()
    }

    /// About how much memory it takes now, in octets. What the linear engine may add later is not in it: at most
    /// [`linear::LOOSE_OCTETS_MAX`], for most patterns a few thousand.
    pub fn octets(&self) -> usize {
        let literals: usize = self.literals().into_iter().flatten().map(|literal| literal.len() + 16).sum();
        let chains: usize = self.chains().into_iter().flatten().map(|chain| size_of_val(&**chain) + 16).sum();
        let linear = self.linear.get().and_then(Option::as_ref).map_or(0, |linear| linear.octets());
        size_of::<Pattern>() + self.program.octets() + self.written.len() + literals + linear + chains
    }

    /// Chains of octets of which one stands in every text that matches, if there are no good literals.
    pub fn chains(&self) -> Option<&[Chain]> {
        self.chains.as_deref()
    }

    /// Whether this search is to begin with the DFA.
    fn is_slow(&self) -> bool {
        let left = self.slow.load(Ordering::Relaxed);
        if left > 0 {
            self.slow.store(left.saturating_sub(1), Ordering::Relaxed);
        }
        left > 0
    }

    fn linear(&self) -> Option<&Linear> {
        let make = || Linear::new(&syntax::parse(&self.written).ok()?.node, !self.backtracks).map(Box::new);
        self.linear.get_or_init(make).as_deref()
    }

    /// What the DFA says, and whether it is exact. None if there is no DFA, or it is too dear for what is left.
    fn ask_linear(&self, text: &[u8], budget: &mut Budget) -> Option<(bool, Result<Option<usize>, OutOfSteps>)> {
        let linear = self.linear()?;
        if budget.steps == 0 && !linear.is_small() {
            return None;
        }
        let (end, cost) = linear.end_of_first(text);
        budget.steps = budget.steps.saturating_sub(u64::try_from(cost).unwrap_or(u64::MAX));
        Some((linear.is_exact(), end))
    }

    fn search(&self, text: &[u8], from: usize, not_empty: bool, steps: u64, budget: &mut Budget) -> Found {
        let steps = budget.steps.min(steps);
        let mut machine = Machine::new(&self.program, text, &mut budget.room, steps);
        let found = machine.find(from, not_empty);
        budget.steps = budget.steps.saturating_sub(steps.saturating_sub(machine.steps()));
        found
    }
}

fn steps_before_linear(text: &[u8]) -> u64 {
    let octets = u64::try_from(text.len()).unwrap_or(u64::MAX);
    octets.saturating_mul(STEPS_BEFORE_LINEAR_PER_OCTET).saturating_add(STEPS_BEFORE_LINEAR)
}
