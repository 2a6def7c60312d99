//! Prefilters: which of many patterns could match a text, found in one pass or two.
//!
//! *Does:* looks for the literals of all patterns at once, and for the chains of those without good literals, many in each
//! machine word.
//! *Guarantees:* a pattern that matches is a candidate. The time is linear in the text, whatever stands in it, and nothing
//! is allocated.
//! *Never does:* decide. A candidate is yet to be matched.

use std::collections::HashMap;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind};

use super::pattern::Pattern;
use super::pattern::chains::Chain;

/// How many words of bits are looked at together.
const LANES: usize = 4;

/// A prefilter for some patterns, known by their number.
#[derive(Debug, Default)]
pub struct Prefilter {
    patterns: usize,
    literals: Option<contiguous::NFA>,
    /// The patterns that each literal stands for.
    owners: Vec<Box<[u32]>>,
    chains: Vec<Chains>,
    /// Patterns that could match any text.
    always: Vec<u32>,
}

/// Some patterns' chains, looked for together: each chain has a row of bits in a word, one bit for each link. A bit is set
/// while the chain is met up to there.
#[derive(Debug)]
struct Chains {
    /// By octet.
    steps: Box<[Step]>,
    first: [u64; LANES],
    /// The word and bit where each chain ends, and whose it is.
    ends: Vec<(usize, u32, u32)>,
    /// How many bits of each word are taken.
    taken: [u32; LANES],
}

/// What an octet does: the bits of links it can be, and of links behind which it may pass.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    comes: [u64; LANES],
    passes: [u64; LANES],
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
        let mut chains: Vec<Chains> = Vec::new();
        let mut always = Vec::new();
        let mut count = 0usize;
        for (number, pattern) in (0u32..).zip(patterns) {
            count = count.saturating_add(1);
            match pattern.literals() {
                Some(literals) => literals.iter().for_each(|literal| strings.entry(literal).or_default().push(number)),
                None => match pattern.chains() {
                    Some(own) => own.iter().for_each(|chain| Chains::put(&mut chains, chain, number)),
                    None => always.push(number),
                },
            }
        }
        let mut strings: Vec<(&[u8], Vec<u32>)> = strings.into_iter().collect();
        strings.sort_unstable();
        let (literals, owners) = Self::literals(strings, &mut always);
        Prefilter { patterns: count, literals, owners, chains, always }
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
        self.chains.iter().for_each(|chains| chains.mark(text, candidates));
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

    /// About how much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        let literals = self.literals.as_ref().map_or(0, Automaton::memory_usage);
        let owners: usize = self.owners.iter().map(|owners| size_of_val(&**owners) + 16).sum();
        let chains = self.chains.len() * (size_of::<Chains>() + 256 * size_of::<Step>());
        literals + owners + chains
    }

    /// How many patterns could match any text, and how many have no literals but are looked for all the same.
    pub fn without_literals(&self) -> (usize, usize) {
        (self.always.len(), self.chains.iter().map(|chains| chains.ends.len()).sum())
    }
}

impl Chains {
    fn new() -> Chains {
        let steps = vec![Step::default(); 256].into_boxed_slice();
        Chains { steps, first: [0; LANES], ends: Vec::new(), taken: [0; LANES] }
    }

    /// Puts a chain where there is room.
    fn put(all: &mut Vec<Chains>, chain: &Chain, number: u32) {
        if !all.iter_mut().any(|chains| chains.add(chain, number)) {
            let mut next = Chains::new();
            next.add(chain, number);
            all.push(next);
        }
    }

    /// Whether there was room.
    fn add(&mut self, chain: &Chain, number: u32) -> bool {
        let length = u32::try_from(chain.len()).unwrap_or(u32::MAX);
        let free = |taken: &u32| taken.saturating_add(length) <= u64::BITS;
        let Some(lane) = self.taken.iter().position(free) else { return false };
        let from = self.taken.get(lane).copied().unwrap_or(0);
        for (bit, link) in (from..).zip(chain) {
            for (octet, step) in (0u8..=255).zip(&mut self.steps) {
                let Step { comes, passes } = step;
                let set = |words: &mut [u64; LANES]| words.get_mut(lane).into_iter().for_each(|word| *word |= 1 << bit);
                if link.comes.contains(octet) {
                    set(comes);
                }
                if link.passes.contains(octet) {
                    set(passes);
                }
            }
        }
        let end = from.saturating_add(length).saturating_sub(1);
        self.first.get_mut(lane).into_iter().for_each(|word| *word |= 1 << from);
        self.taken.get_mut(lane).into_iter().for_each(|taken| *taken = end.saturating_add(1));
        self.ends.push((lane, end, number));
        true
    }

    fn mark(&self, text: &[u8], candidates: &mut Candidates) {
        let mut state = [0u64; LANES];
        let mut seen = [0u64; LANES];
        for octet in text {
            let Some(step) = self.steps.get(usize::from(*octet)) else { continue };
            let words = state.iter_mut().zip(&mut seen).zip(&self.first).zip(step.comes.iter().zip(&step.passes));
            for (((state, seen), first), (comes, passes)) in words {
                *state = (*state << 1 | first) & comes | *state & passes;
                *seen |= *state;
            }
        }
        for (lane, bit, number) in &self.ends {
            if seen.get(*lane).is_some_and(|word| word >> bit & 1 == 1) {
                candidates.add(*number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::pattern::Budget;

    const WRITTEN: [&str; 12] = [
        "/viagra/i",
        r"/\bV[\W_]{0,2}[i1l]\W{0,2}a\W{0,2}g\W{0,2}r\W{0,2}a\b/i",
        r"/(?:dollar|euro|pound)s?\b/",
        r"/^\s*$/",
        r"/(\d\d)-\1-\1/",
        r"/(?!free)f+\W?r+\W?[e3]+\W?[e3]+/i",
        r"/[[:upper:]]{12}/",
        r"/(?:a?x|yb?y|zz\d*)q\d{2}!/",
        r"/\xe9t\xe9/i",
        r"/(?(?=a)abc|xyz)[^ ]{3}k/",
        "/./",
        r"/(?:a|bc|def)+\+$/",
    ];

    fn marked(prefilter: &Prefilter, text: &[u8]) -> Candidates {
        let mut candidates = Candidates::default();
        prefilter.mark(text, &mut candidates);
        candidates
    }

    #[test]
    fn what_matches_is_a_candidate_and_little_else() {
        let patterns: Vec<Pattern> = WRITTEN
            .iter()
            .map(|written| Pattern::parse(written.as_bytes()).unwrap_or_else(|e| panic!("{e}")))
            .collect();
        let prefilter = Prefilter::new(patterns.iter());
        for (text, expected) in [
            (&b"no such thing here"[..], &[3, 10][..]),
            (b"buy VIAGRA now", &[0, 1, 3, 10]),
            (b"v-1.a g_r a", &[3, 10]),
            (b"two euros", &[2, 3, 10]),
            (b"call 12-12-12", &[3, 4, 10]),
            (b"F.r.3.E", &[3, 5, 10]),
            (b"SHOUTINGLOUDLY", &[3, 6, 10]),
            (b"yyq12!", &[3, 7, 10]),
            (b"\xc9T\xe9", &[3, 8, 10]),
        ] {
            let found: Vec<usize> = marked(&prefilter, text).iter().collect();
            let matching = |number: &usize| patterns[*number].is_match(text, &mut Budget::new(100_000));
            assert!(
                (0..patterns.len()).filter(matching).all(|number| found.contains(&number)),
                "{}",
                text.escape_ascii()
            );
            let needless = found.iter().filter(|number| !expected.contains(number)).count();
            assert!(needless <= 2, "{}: {found:?}", text.escape_ascii());
        }
    }

    #[test]
    fn candidates_are_a_set_that_can_be_used_again() {
        let patterns = [Pattern::parse(b"/needle/").unwrap_or_else(|e| panic!("{e}"))];
        let prefilter = Prefilter::new(patterns.iter().cycle().take(130));
        let mut candidates = marked(&prefilter, b"a NEEDLE");
        assert_eq!(candidates.iter().collect::<Vec<_>>(), (0..130).collect::<Vec<_>>());
        assert!(candidates.contains(129) && !candidates.contains(130) && !candidates.contains(5000));
        candidates.clear();
        prefilter.mark(b"hay", &mut candidates);
        assert_eq!(candidates.iter().count(), 0);
        assert_eq!(marked(&Prefilter::new([].into_iter()), b"x").iter().count(), 0);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        #[test]
        fn no_match_is_missed(
            written in r"(?:[a-c]|\[[ab1]{1,3}\]|\(\?:[a-c]{1,2}\|[a-c]{0,3}\)[+?]?|[a-c][+*?]|\W?|[ab]\{2,3\}|\(\?!a\)){1,8}",
            text in "[a-c1 ]{0,24}",
        ) {
            if let Ok(pattern) = Pattern::parse(format!("/{written}/").as_bytes()) {
                let prefilter = Prefilter::new([&pattern].into_iter());
                if pattern.is_match(text.as_bytes(), &mut Budget::new(100_000)) {
                    proptest::prop_assert!(marked(&prefilter, text.as_bytes()).contains(0));
                }
            }
        }
    }
}
