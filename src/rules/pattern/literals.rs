//! Literals: strings of which one stands in every text that matches.
//!
//! *Does:* finds such sets in a tree, and chooses the one that is the rarest in mail.
//! *Guarantees:* all strings are lower-cased: a text has to be searched without regard to ASCII case. A set has at most
//! [`STRINGS_MAX`] strings of at most [`STRING_OCTETS_MAX`] octets.
//! *Never does:* demand what a match could do without. Look-around and places demand nothing.

use super::frequency;
use super::octets::Octets;
use super::syntax::{Node, Repeat};

/// How many strings one set may have.
pub const STRINGS_MAX: usize = 600;
/// How long a string may become.
pub const STRING_OCTETS_MAX: usize = 24;
/// How many strings may come from putting parts together.
const PRODUCT_MAX: usize = 80;
/// How many members a class may have to be spelled out.
const CLASS_MAX: u32 = 12;
/// A set that is expected more often than this for each octet of text helps nobody.
const EXPECTED_MAX: f64 = 0.001;
/// How often a repeated part is spelled out.
const COPIES_MAX: u32 = 4;

type Strings = Vec<Vec<u8>>;

/// What is known of a part.
struct Known {
    /// All that it matches, if that is few.
    exact: Option<Strings>,
    /// Strings one of which it contains.
    best: Option<Strings>,
}

/// The best set for a tree; none if there is no good one.
pub fn of(node: &Node) -> Option<Box<[Box<[u8]>]>> {
    let Known { exact, best } = known(node);
    let strings = better(best, exact)?;
    (expected(&strings) <= EXPECTED_MAX).then(|| strings.into_iter().map(Vec::into_boxed_slice).collect())
}

fn known(node: &Node) -> Known {
    let exact = |strings: Strings| Known { exact: Some(strings), best: None };
    match node {
        Node::Empty | Node::Assertion(_) | Node::Look(_) => exact(vec![Vec::new()]),
        Node::Set(set) => match spelled_out(set) {
            Some(strings) => exact(strings),
            None => Known { exact: None, best: None },
        },
        Node::Concat(nodes) => concat(nodes.iter().map(known)),
        Node::Alternate(nodes) => alternate(nodes.iter().map(known)),
        Node::Repeat(repeat) => repeated(repeat),
        Node::Capture(_, node) | Node::Atomic(node) => known(node),
        Node::Fail | Node::BackReference { .. } => Known { exact: None, best: None },
        Node::Conditional(group) => alternate([known(&group.yes), known(&group.no)].into_iter()),
    }
}

fn spelled_out(set: &Octets) -> Option<Strings> {
    if set.count() > CLASS_MAX.saturating_mul(2) {
        return None;
    }
    let mut members: Vec<u8> = set.iter().map(|octet| octet.to_ascii_lowercase()).collect();
    members.sort_unstable();
    members.dedup();
    let few = !members.is_empty() && members.len() <= usize::try_from(CLASS_MAX).unwrap_or(0);
    few.then(|| members.into_iter().map(|octet| vec![octet]).collect())
}

fn concat(parts: impl Iterator<Item = Known>) -> Known {
    let mut joined: Strings = vec![Vec::new()];
    let mut best = None;
    let mut whole = true;
    for part in parts {
        let product = part.exact.as_ref().and_then(|exact| join(&joined, exact));
        match (product, part.exact) {
            (Some(product), _) => joined = product,
            (None, exact) => {
                whole = false;
                best = better(best, Some(std::mem::take(&mut joined)));
                best = better(best, part.best);
                joined = exact.unwrap_or_else(|| vec![Vec::new()]);
            }
        }
    }
    if whole {
        return Known { exact: Some(joined), best };
    }
    Known { exact: None, best: better(best, Some(joined)) }
}

/// Each of the one followed by each of the other; none if that is too much.
fn join(first: &Strings, second: &Strings) -> Option<Strings> {
    let longest = |strings: &Strings| strings.iter().map(Vec::len).max().unwrap_or(0);
    let few = first.len().saturating_mul(second.len()) <= PRODUCT_MAX || first.len() == 1 && longest(first) == 0;
    let short = longest(first).saturating_add(longest(second)) <= STRING_OCTETS_MAX;
    let all = || first.iter().flat_map(|head| second.iter().map(move |tail| [&head[..], &tail[..]].concat()));
    (few && short).then(|| all().collect())
}

fn alternate(parts: impl Iterator<Item = Known>) -> Known {
    let (mut exact, mut best) = (Some(Vec::new()), Some(Vec::new()));
    for part in parts {
        add(&mut best, better(part.best, part.exact.clone()));
        add(&mut exact, part.exact);
        if exact.is_none() && best.is_none() {
            break;
        }
    }
    Known { exact: exact.and_then(distinct), best: best.and_then(distinct).filter(|best| !best.is_empty()) }
}

/// Adds strings to those of other alternatives; if there are none, or too many, there are none of both.
fn add(all: &mut Option<Strings>, more: Option<Strings>) {
    match (all.as_mut(), more) {
        (Some(known), Some(more)) if known.len() <= STRINGS_MAX.saturating_mul(2) => known.extend(more),
        _ => *all = None,
    }
}

fn distinct(mut strings: Strings) -> Option<Strings> {
    strings.sort_unstable();
    strings.dedup();
    (strings.len() <= STRINGS_MAX).then_some(strings)
}

fn repeated(repeat: &Repeat) -> Known {
    let Known { exact, best } = known(&repeat.node);
    if repeat.min == 0 {
        let optional = exact.filter(|_| repeat.max == Some(1));
        let with_none = |mut strings: Strings| {
            strings.push(Vec::new());
            distinct(strings)
        };
        return Known { exact: optional.and_then(with_none), best: None };
    }
    let Some(exact) = exact else { return Known { exact, best } };
    let mut copies = exact.clone();
    let mut whole = repeat.max == Some(repeat.min) && repeat.min <= COPIES_MAX;
    for _ in 1..repeat.min.min(COPIES_MAX) {
        match join(&copies, &exact) {
            Some(more) => copies = more,
            None => {
                whole = false;
                break;
            }
        }
    }
    if whole {
        return Known { exact: Some(copies), best };
    }
    Known { exact: None, best: better(best, Some(copies)) }
}

/// The rarer of two sets. One with an empty string demands nothing.
fn better(first: Option<Strings>, second: Option<Strings>) -> Option<Strings> {
    let demands = |strings: &Strings| !strings.is_empty() && strings.iter().all(|string| !string.is_empty());
    match (first.filter(demands), second.filter(demands)) {
        (Some(first), Some(second)) => Some(if expected(&second) < expected(&first) { second } else { first }),
        (first, second) => first.or(second),
    }
}

/// How often one of these is expected at an octet of mail.
fn expected(strings: &Strings) -> f64 {
    strings.iter().map(|string| string.iter().map(|octet| frequency::of(*octet)).product::<f64>()).sum()
}
