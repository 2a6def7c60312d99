//! What can be known of a pattern without running it: how long its matches are, how they begin, what it needs.

use super::octets::Octets;
use super::syntax::{Assertion, Condition, Node};

/// The least and the greatest number of octets that a match takes. None is no limit.
pub fn length(node: &Node) -> (usize, Option<usize>) {
    let add = |a: Option<usize>, b: Option<usize>| a?.checked_add(b?);
    match node {
        Node::Empty | Node::Fail | Node::Assertion(_) | Node::Look(_) => (0, Some(0)),
        Node::Set(_) => (1, Some(1)),
        Node::Concat(nodes) => {
            nodes.iter().map(length).fold((0, Some(0)), |sum, one| (sum.0.saturating_add(one.0), add(sum.1, one.1)))
        }
        Node::Alternate(nodes) => nodes.iter().map(length).reduce(either).unwrap_or((0, Some(0))),
        Node::Repeat(repeat) => {
            let (min, max) = length(&repeat.node);
            let times = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
            let most = match (max, repeat.max) {
                (Some(0), _) => Some(0),
                (Some(octets), Some(count)) => octets.checked_mul(times(count)),
                _ => None,
            };
            (min.saturating_mul(times(repeat.min)), most)
        }
        Node::Capture(_, node) | Node::Atomic(node) => length(node),
        Node::BackReference { .. } => (0, None),
        Node::Conditional(group) => either(length(&group.yes), length(&group.no)),
    }
}

fn either(a: (usize, Option<usize>), b: (usize, Option<usize>)) -> (usize, Option<usize>) {
    (a.0.min(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b)))
}

/// The octets a match may begin with, and whether it may be empty.
pub fn first(node: &Node) -> (Octets, bool) {
    match node {
        Node::Empty | Node::Assertion(_) | Node::Look(_) => (Octets::default(), true),
        Node::Fail => (Octets::default(), false),
        Node::Set(set) => (*set, false),
        Node::Concat(nodes) => {
            let mut sum = Octets::default();
            for node in nodes {
                let (set, empty) = first(node);
                sum = sum.union(set);
                if !empty {
                    return (sum, false);
                }
            }
            (sum, true)
        }
        Node::Alternate(nodes) => nodes.iter().map(first).fold((Octets::default(), false), both),
        Node::Repeat(repeat) => {
            let (set, empty) = first(&repeat.node);
            (set, empty || repeat.min == 0)
        }
        Node::Capture(_, node) | Node::Atomic(node) => first(node),
        Node::BackReference { .. } => (Octets::ALL, true),
        Node::Conditional(group) => both(first(&group.yes), first(&group.no)),
    }
}

fn both(a: (Octets, bool), b: (Octets, bool)) -> (Octets, bool) {
    (a.0.union(b.0), a.1 || b.1)
}

/// Where alone a match can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Anywhere.
    None,
    /// At the start of the text.
    Text,
    /// At the start of a line, or where the search begins.
    Line,
}

/// Where alone a match can begin. A pattern that begins with `.*` finds nothing in a line that it did not find from the
/// line's start.
pub fn anchor(node: &Node) -> Anchor {
    let no_newline = || Octets::of(|octet| octet != b'\n');
    match node {
        Node::Assertion(Assertion::Start) => Anchor::Text,
        Node::Assertion(Assertion::StartLine) => Anchor::Line,
        Node::Repeat(repeat) if repeat.min == 0 && repeat.max.is_none() => match &repeat.node {
            Node::Set(set) if *set == no_newline() => Anchor::Line,
            _ => Anchor::None,
        },
        Node::Repeat(repeat) if repeat.min > 0 => match anchor(&repeat.node) {
            Anchor::Text => Anchor::Text,
            _ => Anchor::None,
        },
        Node::Concat(nodes) => match nodes.iter().position(|node| !is_transparent(node)) {
            Some(0) => nodes.first().map_or(Anchor::None, anchor),
            Some(at) => match nodes.get(at) {
                Some(node @ Node::Assertion(_)) => anchor(node),
                _ => Anchor::None,
            },
            None => Anchor::None,
        },
        Node::Alternate(nodes) => {
            let mut anchors = nodes.iter().map(anchor);
            let head = anchors.next().unwrap_or(Anchor::None);
            if anchors.all(|other| other == head) { head } else { Anchor::None }
        }
        // What a reference may need of `(.*)` is another matter.
        Node::Capture(_, node) => match anchor(node) {
            Anchor::Text => Anchor::Text,
            _ => Anchor::None,
        },
        _ => Anchor::None,
    }
}

fn is_transparent(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Look(_) => true,
        Node::Assertion(assertion) => !matches!(assertion, Assertion::Start | Assertion::StartLine),
        _ => false,
    }
}

/// Whether a pattern needs backtracking: look-around, references, atomic groups, and places that depend on what follows.
pub fn backtracks(node: &Node) -> bool {
    !is_regular(node, Rest { min: 0, nothing: true })
}

/// What follows a part: at least so many octets, or certainly nothing.
#[derive(Clone, Copy)]
struct Rest {
    min: usize,
    nothing: bool,
}

fn is_regular(node: &Node, rest: Rest) -> bool {
    match node {
        Node::Empty | Node::Fail | Node::Set(_) => true,
        Node::Assertion(Assertion::Keep | Assertion::SearchStart) => false,
        // Without look-ahead the newline is taken, which only makes no difference at the end.
        Node::Assertion(Assertion::EndOrNewline) => rest.nothing,
        // The end of a text is no start of a line. An octet that follows sees to that.
        Node::Assertion(Assertion::StartLine) => rest.min > 0,
        Node::Assertion(_) => true,
        Node::Concat(nodes) => {
            let mut rest = rest;
            nodes.iter().rev().all(|node| {
                let regular = is_regular(node, rest);
                let (min, max) = length(node);
                rest.min = rest.min.saturating_add(min);
                rest.nothing = rest.nothing && max == Some(0) && *node == Node::Empty;
                regular
            })
        }
        Node::Alternate(nodes) => nodes.iter().all(|node| is_regular(node, rest)),
        Node::Repeat(repeat) => {
            let once = repeat.max.is_some_and(|max| max <= 1);
            is_regular(&repeat.node, Rest { min: rest.min, nothing: rest.nothing && once })
        }
        Node::Capture(_, node) => is_regular(node, rest),
        Node::Look(_) | Node::Atomic(_) | Node::BackReference { .. } | Node::Conditional(_) => false,
    }
}

/// Marks the groups whose place a match has to know, because something refers to them.
pub fn referenced(node: &Node, groups: &mut [bool]) {
    let mut mark = |references: &[u16]| {
        for group in references {
            groups.get_mut(usize::from(*group)).into_iter().for_each(|known| *known = true);
        }
    };
    match node {
        Node::BackReference { groups: references, .. } => mark(references),
        Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().for_each(|node| referenced(node, groups)),
        Node::Repeat(repeat) => referenced(&repeat.node, groups),
        Node::Capture(_, node) | Node::Atomic(node) => referenced(node, groups),
        Node::Look(look) => referenced(&look.node, groups),
        Node::Conditional(group) => {
            match &group.condition {
                Condition::Groups(references) => mark(references),
                Condition::Look(look) => referenced(look, groups),
            }
            referenced(&group.yes, groups);
            referenced(&group.no, groups);
        }
        Node::Empty | Node::Fail | Node::Set(_) | Node::Assertion(_) => {}
    }
}
