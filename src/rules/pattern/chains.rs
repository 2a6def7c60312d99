//! Chains: for patterns without good literals, octets that follow each other in every match, with gaps.
//!
//! *Does:* finds links, each a set of octets one of which has to come and a set of those that may come before the next;
//! and chooses the piece of the chain that is the rarest in mail.
//! *Guarantees:* every match has all links of one of a pattern's chains in it, in order, with nothing between two of them
//! but what the first lets pass. A chain has at most [`LINKS_MAX`] links, a pattern at most [`CHAINS_MAX`] chains.
//! *Never does:* demand what a match could do without. Look-around and places demand nothing.

use super::frequency;
use super::octets::Octets;
use super::syntax::{Node, Repeat};

/// How many links a chain may have.
pub const LINKS_MAX: usize = 32;
/// How many chains a pattern may have.
pub const CHAINS_MAX: usize = 8;
/// How many links a pattern is searched for.
const CANDIDATES_MAX: usize = 64;
/// A chain that is expected more often than this for each octet of text helps nobody.
const EXPECTED_MAX: f64 = 0.02;
/// One that is expected less often than this is long enough.
const RARE: f64 = 0.000_005;
/// How often a repeated part is spelled out.
const COPIES_MAX: u32 = 12;
/// How many parts are looked at, copies included, before the rest of a pattern is left out.
const PARTS_MAX: u32 = 20_000;

/// One link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// One of these comes.
    pub comes: Octets,
    /// Any of these may pass before the next link.
    pub passes: Octets,
}

/// The links of one chain.
pub type Chain = Box<[Link]>;

/// The best chains of a tree: each match contains one of them. None if there are no good ones.
pub fn of(node: &Node) -> Option<Box<[Chain]>> {
    let whole = best_of(&links(node));
    if whole.is_some() {
        return whole.map(|chain| [chain].into());
    }
    match node {
        Node::Capture(_, inner) | Node::Atomic(inner) => of(inner),
        Node::Alternate(branches) if branches.len() <= CHAINS_MAX => {
            branches.iter().map(|branch| best_of(&links(branch))).collect()
        }
        Node::Concat(nodes) => nodes.iter().find_map(|node| match node {
            Node::Alternate(_) | Node::Capture(..) => of(node),
            _ => None,
        }),
        _ => None,
    }
}

/// The links of a part, without what may pass before the first.
fn links(node: &Node) -> Vec<Link> {
    let mut walk = Walk { parts_left: PARTS_MAX };
    let mut links = walk.alone(node);
    links.remove(0);
    links
}

/// Goes through a tree.
struct Walk {
    parts_left: u32,
}

impl Walk {
    /// The links of a part, behind one that stands for what may pass before them.
    fn alone(&mut self, node: &Node) -> Vec<Link> {
        let mut links = vec![Link::default()];
        self.part(node, &mut links);
        links
    }

    /// Adds the links of a part. There is one already.
    fn part(&mut self, node: &Node, links: &mut Vec<Link>) {
        self.parts_left = self.parts_left.saturating_sub(1);
        if links.len() > CANDIDATES_MAX || self.parts_left == 0 {
            return pass(Octets::ALL, links);
        }
        match node {
            Node::Empty | Node::Fail | Node::Assertion(_) | Node::Look(_) => {}
            Node::Set(set) => links.push(Link { comes: *set, passes: Octets::default() }),
            Node::Concat(nodes) => nodes.iter().for_each(|node| self.part(node, links)),
            Node::Capture(_, node) | Node::Atomic(node) => self.part(node, links),
            Node::Repeat(repeat) => self.again(repeat, links),
            Node::BackReference { .. } => pass(Octets::ALL, links),
            Node::Alternate(branches) => self.beside(branches, links),
            Node::Conditional(_) => pass(octets(node), links),
        }
    }

    fn again(&mut self, repeat: &Repeat, links: &mut Vec<Link>) {
        let copies = repeat.min.min(COPIES_MAX);
        (0..copies).for_each(|_| self.part(&repeat.node, links));
        if repeat.max != Some(copies) {
            pass(octets(&repeat.node), links);
        }
    }

    /// Alternatives side by side: each link takes what that of any branch takes.
    fn beside(&mut self, branches: &[Node], links: &mut Vec<Link>) {
        let all: Vec<Vec<Link>> = branches.iter().map(|branch| self.alone(branch)).collect();
        let shortest = all.iter().map(Vec::len).min().unwrap_or(1);
        for at in 0..shortest {
            let same = all.iter().filter_map(|own| own.get(at));
            let sum = same.fold(Link::default(), |sum, link| Link {
                comes: sum.comes.union(link.comes),
                passes: sum.passes.union(link.passes),
            });
            if at > 0 {
                links.push(sum);
            } else {
                pass(sum.passes, links);
            }
        }
        for own in &all {
            own.iter().skip(shortest).for_each(|link| pass(link.comes.union(link.passes), links));
        }
    }
}

/// These may pass behind the last link.
fn pass(octets: Octets, links: &mut [Link]) {
    links.last_mut().into_iter().for_each(|last| last.passes = last.passes.union(octets));
}

/// All octets that a part may take.
fn octets(node: &Node) -> Octets {
    let all = |nodes: &[Node]| nodes.iter().map(octets).fold(Octets::default(), Octets::union);
    match node {
        Node::Empty | Node::Fail | Node::Assertion(_) | Node::Look(_) => Octets::default(),
        Node::Set(set) => *set,
        Node::Concat(nodes) | Node::Alternate(nodes) => all(nodes),
        Node::Repeat(repeat) => octets(&repeat.node),
        Node::Capture(_, node) | Node::Atomic(node) => octets(node),
        Node::BackReference { .. } => Octets::ALL,
        Node::Conditional(group) => octets(&group.yes).union(octets(&group.no)),
    }
}

/// The piece that is expected the least.
fn best_of(links: &[Link]) -> Option<Chain> {
    let pieces = (0..links.len()).filter_map(|from| links.get(from..)).filter_map(piece);
    let (expected, best) = pieces.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (expected <= EXPECTED_MAX).then(|| best.into())
}

/// How often the chain's beginning is expected, as far as it is needed, and that beginning.
fn piece(links: &[Link]) -> Option<(f64, &[Link])> {
    let mut expected = 1.0f64;
    let mut gap = 1.0f64;
    let mut best = (1.0, 0);
    for (at, link) in links.iter().enumerate().take(LINKS_MAX) {
        expected *= (frequency::of_set(&link.comes) * gap).min(1.0);
        gap = 1.0 / (1.0 - frequency::of_set(&link.passes)).max(0.02);
        if expected < best.0 * 0.9 {
            best = (expected, at.saturating_add(1));
        }
        if expected < RARE {
            break;
        }
    }
    let (expected, length) = best;
    links.get(..length).filter(|links| !links.is_empty()).map(|links| (expected.max(RARE), links))
}
