//! Prefixes: what the first octets of a match can be, place by place. It tells where a match cannot begin.

use super::measure;
use super::octets::Octets;
use super::syntax::{Node, Repeat};

/// How many octets are looked at.
pub const PREFIX_OCTETS_MAX: usize = 4;
/// How many parts are looked at before the rest of a pattern may be anything.
const PARTS_MAX: u32 = 10_000;
/// All places.
const EVERYWHERE: u8 = (1 << PREFIX_OCTETS_MAX) - 1;

/// The sets of the first octets, as many as every match has.
pub fn of(node: &Node) -> Vec<Octets> {
    let mut walk = Walk { sets: [Octets::default(); PREFIX_OCTETS_MAX], parts_left: PARTS_MAX };
    walk.part(node, 1);
    let mut sets: Vec<Octets> = walk.sets.into_iter().take(measure::length(node).0).collect();
    while sets.last() == Some(&Octets::ALL) {
        sets.pop();
    }
    sets
}

/// Goes through a tree. Places, where a part may begin or end, are bits.
struct Walk {
    sets: [Octets; PREFIX_OCTETS_MAX],
    parts_left: u32,
}

impl Walk {
    /// Notes what a part that begins at any of these places takes where, and gives the places where it may end.
    fn part(&mut self, node: &Node, places: u8) -> u8 {
        self.parts_left = self.parts_left.saturating_sub(1);
        if places == 0 {
            return 0;
        }
        if self.parts_left == 0 {
            return self.anything(places);
        }
        match node {
            Node::Empty | Node::Assertion(_) | Node::Look(_) => places,
            Node::Fail => 0,
            Node::Set(set) => {
                self.take(*set, places);
                places << 1 & EVERYWHERE
            }
            Node::Concat(nodes) => nodes.iter().fold(places, |places, node| self.part(node, places)),
            Node::Alternate(nodes) => nodes.iter().fold(0, |ends, node| ends | self.part(node, places)),
            Node::Repeat(repeat) => self.again(repeat, places),
            Node::Capture(_, node) | Node::Atomic(node) => self.part(node, places),
            Node::BackReference { .. } => self.anything(places),
            Node::Conditional(group) => self.part(&group.yes, places) | self.part(&group.no, places),
        }
    }

    fn take(&mut self, set: Octets, places: u8) {
        for (at, known) in self.sets.iter_mut().enumerate() {
            if places >> at & 1 == 1 {
                *known = known.union(set);
            }
        }
    }

    /// Any octets from the first of these places on.
    fn anything(&mut self, places: u8) -> u8 {
        let from = EVERYWHERE & !(places & places.wrapping_neg()).wrapping_sub(1);
        self.take(Octets::ALL, from);
        from
    }

    fn again(&mut self, repeat: &Repeat, places: u8) -> u8 {
        // What takes octets has left the prefix after so many rounds; what may take none has shown all it can by then.
        let rounds = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).min(PREFIX_OCTETS_MAX);
        let least = rounds(repeat.min);
        let mut places = (0..least).fold(places, |places, _| self.part(&repeat.node, places));
        let mut ends = places;
        for _ in least..repeat.max.map_or(PREFIX_OCTETS_MAX, rounds) {
            places = self.part(&repeat.node, places);
            if ends | places == ends {
                break;
            }
            ends |= places;
        }
        ends
    }
}
