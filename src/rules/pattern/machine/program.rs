//! The program that a tree becomes.
//!
//! *Guarantees:* nothing is copied out: a program grows with the pattern as written, whatever its counts say.

use std::collections::HashMap;

use crate::rules::pattern::measure::{self, Anchor};
use crate::rules::pattern::octets::Octets;
use crate::rules::pattern::prefix;
use crate::rules::pattern::syntax::{Assertion, Condition, Conditional, Look, Node, Repeat, Tree};

/// How many alternatives are looked up by the next octet instead of being tried.
const DISPATCH_FROM: usize = 3;
/// How many octets are looked for all at once.
const NEEDLES_MAX: u32 = 3;
/// The slots of a group: where it opened, and where what it took begins and ends.
const GROUP_SLOTS: usize = 3;

/// One instruction. Places in the program are indices.
#[derive(Debug, Clone, Copy)]
pub enum Inst {
    /// This octet.
    Octet(u8),
    /// One of a set.
    Set(u32),
    /// So many of a set.
    Octets(u32),
    /// Go on there.
    Jump(u32),
    /// Try the first, then the second.
    Split(u32, u32),
    /// Try those that the next octet allows.
    Dispatch(u32),
    /// A group opens.
    Open(u32),
    /// A group closes.
    Close(u32),
    /// A place.
    Assert(Assertion),
    /// A loop begins: its slots are reset.
    LoopStart(u32),
    /// A loop decides: the next instruction goes round once more, the one behind it goes on.
    Loop(u32),
    /// A loop goes round.
    LoopRound(u32),
    /// What groups took.
    BackReference(u32),
    /// A look-around, whose part follows.
    Look(u32),
    /// An atomic group, whose part follows; it goes on there.
    Atomic(u32),
    /// A condition: if not met, go on there.
    IfGroups(u32, u32),
    /// The part of a look-around or an atomic group ends.
    End,
    /// All is found.
    Match,
    /// Nothing is found.
    Fail,
}

/// So many octets of a set.
#[derive(Debug)]
pub struct Run {
    pub(super) set: Octets,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) lazy: bool,
    /// The one octet that has to follow, if it is known.
    pub(super) follows: Option<u8>,
}

/// A loop over more than an octet.
#[derive(Debug)]
pub struct Loop {
    pub(super) slot: usize,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) lazy: bool,
    pub(super) body: usize,
}

/// A look-around.
#[derive(Debug)]
pub struct LookAround {
    /// For a look-behind, how many octets back it may begin: least and most.
    pub(super) behind: Option<(usize, usize)>,
    pub(super) negated: bool,
    pub(super) found: usize,
    /// Where to go on if it is not met; none: nowhere.
    pub(super) otherwise: Option<usize>,
}

/// Which alternatives an octet allows: by octet, with one more for the end of the text, the number of a list.
#[derive(Debug)]
pub struct Table {
    pub(super) list: Box<[u16]>,
    pub(super) lists: Vec<Box<[u32]>>,
}

/// What groups a reference is to, by their slots.
#[derive(Debug)]
pub struct Reference {
    pub(super) slots: Box<[usize]>,
    pub(super) fold: bool,
}

/// A program.
#[derive(Debug)]
pub struct Program {
    pub(super) code: Vec<Inst>,
    pub(super) sets: Vec<Octets>,
    pub(super) runs: Vec<Run>,
    pub(super) loops: Vec<Loop>,
    pub(super) looks: Vec<LookAround>,
    pub(super) tables: Vec<Table>,
    pub(super) references: Vec<Reference>,
    /// How many slots it needs. The first is for `\K`.
    pub(super) slots: usize,
    /// What the first octets of a match can be; nothing if it may be empty.
    pub(super) prefix: Vec<Octets>,
    /// The members of the first of these sets, if they are few enough to be looked for all at once.
    pub(super) needles: Vec<u8>,
    pub(super) anchor: Anchor,
    /// Where the slots of named groups are.
    pub(super) names: Vec<(Box<str>, usize)>,
}

impl Program {
    /// Compiles a tree.
    pub fn new(tree: &Tree) -> Program {
        let mut known = vec![false; usize::from(tree.groups).saturating_add(1)];
        measure::referenced(&tree.node, &mut known);
        for (_, group) in &tree.names {
            known.get_mut(usize::from(*group)).into_iter().for_each(|known| *known = true);
        }
        let mut compiler = Compiler { program: Program::empty(), set_numbers: HashMap::new(), groups: Vec::new() };
        for known in known {
            let slot = known.then(|| compiler.slots(GROUP_SLOTS));
            compiler.groups.push(slot);
        }
        compiler.node(&tree.node);
        compiler.push(Inst::Match);
        let mut program = compiler.program;
        program.prefix = prefix::of(&tree.node);
        if let Some(first) = program.prefix.first().filter(|first| first.count() <= NEEDLES_MAX) {
            program.needles = first.iter().collect();
        }
        program.anchor = measure::anchor(&tree.node);
        let slot = |group: &u16| compiler.groups.get(usize::from(*group)).copied().flatten();
        program.names = tree.names.iter().filter_map(|(name, group)| Some((name.clone(), slot(group)?))).collect();
        program.expect_followers();
        program.shrink();
        program
    }

    fn empty() -> Program {
        let (code, sets, runs, loops, looks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (tables, references, names) = (Vec::new(), Vec::new(), Vec::new());
        let (slots, prefix, needles, anchor) = (1, Vec::new(), Vec::new(), Anchor::None);
        Program { code, sets, runs, loops, looks, tables, references, slots, prefix, needles, anchor, names }
    }

    /// Where one octet follows a run, backtracking looks only there.
    fn expect_followers(&mut self) {
        for pair in self.code.windows(2) {
            if let [Inst::Octets(run), Inst::Octet(octet)] = pair
                && let Some(run) = self.runs.get_mut(index(*run))
            {
                run.follows = Some(*octet);
            }
        }
    }

    fn shrink(&mut self) {
        self.code.shrink_to_fit();
        self.sets.shrink_to_fit();
        self.runs.shrink_to_fit();
        self.loops.shrink_to_fit();
        self.looks.shrink_to_fit();
        self.tables.shrink_to_fit();
    }

    /// Whether groups have names.
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// About how much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        let tables: usize = self.tables.iter().map(|table| table.octets()).sum();
        let sum = size_of_val(&*self.code) + size_of_val(&*self.sets) + size_of_val(&*self.runs);
        sum + size_of_val(&*self.loops) + size_of_val(&*self.looks) + tables + size_of::<Program>()
    }
}

impl Table {
    fn octets(&self) -> usize {
        size_of_val(&*self.list) + self.lists.iter().map(|list| size_of_val(&**list) + 16).sum::<usize>()
    }
}

/// A place of the program as an index.
pub(super) fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// An index as a place. Programs are far smaller than this.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Compiler {
    program: Program,
    set_numbers: HashMap<Octets, u32>,
    /// The first slot of each group that has to be known.
    groups: Vec<Option<usize>>,
}

impl Compiler {
    fn push(&mut self, inst: Inst) -> usize {
        let at = self.program.code.len();
        self.program.code.push(inst);
        at
    }

    fn here(&self) -> u32 {
        place(self.program.code.len())
    }

    fn put(&mut self, at: usize, inst: Inst) {
        self.program.code.get_mut(at).into_iter().for_each(|old| *old = inst);
    }

    fn slots(&mut self, count: usize) -> usize {
        let slot = self.program.slots;
        self.program.slots = slot.saturating_add(count);
        slot
    }

    fn slot_of(&self, group: u16) -> Option<usize> {
        self.groups.get(usize::from(group)).copied().flatten()
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Empty => {}
            Node::Fail => _ = self.push(Inst::Fail),
            Node::Set(set) => self.set(*set),
            Node::Concat(nodes) => nodes.iter().for_each(|node| self.node(node)),
            Node::Alternate(nodes) => self.alternate(nodes),
            Node::Repeat(repeat) => self.repeat(repeat),
            Node::Capture(group, node) => self.capture(*group, node),
            Node::Assertion(assertion) => _ = self.push(Inst::Assert(*assertion)),
            Node::Look(look) => self.look(look, false),
            Node::Atomic(node) => self.atomic(node),
            Node::BackReference { groups, fold } => {
                let reference = self.reference(groups, *fold);
                self.push(Inst::BackReference(reference));
            }
            Node::Conditional(group) => self.conditional(group),
        }
    }

    fn set(&mut self, set: Octets) {
        let mut members = set.iter();
        let inst = match (members.next(), members.next()) {
            (None, _) => Inst::Fail,
            (Some(octet), None) => Inst::Octet(octet),
            _ => {
                let sets = &mut self.program.sets;
                Inst::Set(*self.set_numbers.entry(set).or_insert_with(|| {
                    sets.push(set);
                    place(sets.len().saturating_sub(1))
                }))
            }
        };
        self.push(inst);
    }

    /// Alternatives: each but the last ends with a jump behind them all.
    fn alternate(&mut self, nodes: &[Node]) {
        if nodes.len() < DISPATCH_FROM {
            return self.either(nodes);
        }
        let dispatch = self.push(Inst::Fail);
        let mut starts = Vec::new();
        let mut jumps = Vec::new();
        for node in nodes {
            starts.push((self.here(), measure::first(node)));
            self.node(node);
            jumps.push(self.push(Inst::Fail));
        }
        let end = self.here();
        jumps.into_iter().for_each(|at| self.put(at, Inst::Jump(end)));
        self.put(dispatch, Inst::Dispatch(place(self.program.tables.len())));
        self.program.tables.push(table(&starts));
    }

    fn either(&mut self, nodes: &[Node]) {
        let [first, second] = nodes else {
            return nodes.iter().for_each(|node| self.node(node));
        };
        let split = self.push(Inst::Fail);
        self.node(first);
        let jump = self.push(Inst::Fail);
        self.put(split, Inst::Split(place(split.saturating_add(1)), self.here()));
        self.node(second);
        self.put(jump, Inst::Jump(self.here()));
    }

    fn repeat(&mut self, repeat: &Repeat) {
        let Repeat { node, min, max, lazy } = repeat;
        if let (Node::Set(set), true) = (self.bare(node), (*min, *max) != (1, Some(1))) {
            let (min, max) = (index(*min), max.map_or(usize::MAX, index));
            let run = place(self.program.runs.len());
            self.program.runs.push(Run { set: *set, min, max, lazy: *lazy, follows: None });
            self.push(Inst::Octets(run));
            return;
        }
        let (_, empty) = measure::first(node);
        match (min, max) {
            (_, Some(0)) => {}
            (1, Some(1)) => self.node(node),
            (0, Some(1)) => {
                let split = self.push(Inst::Fail);
                self.node(node);
                self.put(split, fork(*lazy, place(split.saturating_add(1)), self.here()));
            }
            (0, None) if !empty => {
                let split = self.push(Inst::Fail);
                self.node(node);
                self.push(Inst::Jump(place(split)));
                self.put(split, fork(*lazy, place(split.saturating_add(1)), self.here()));
            }
            (1, None) if !empty => {
                let start = self.here();
                self.node(node);
                let next = self.here().saturating_add(1);
                self.push(fork(*lazy, start, next));
            }
            _ => self.counted(repeat),
        }
    }

    /// A node without the groups around it that nobody asks for.
    fn bare<'n>(&self, node: &'n Node) -> &'n Node {
        match node {
            Node::Capture(group, inner) if self.slot_of(*group).is_none() => self.bare(inner),
            other => other,
        }
    }

    fn counted(&mut self, repeat: &Repeat) {
        let slot = self.slots(2);
        self.push(Inst::LoopStart(place(slot)));
        let jump = self.push(Inst::Fail);
        let body = index(self.here());
        self.node(&repeat.node);
        let number = place(self.program.loops.len());
        let (min, max) = (index(repeat.min), repeat.max.map_or(usize::MAX, index));
        self.program.loops.push(Loop { slot, min, max, lazy: repeat.lazy, body });
        self.put(jump, Inst::Jump(self.here()));
        self.push(Inst::Loop(number));
        self.push(Inst::LoopRound(number));
    }

    fn capture(&mut self, group: u16, node: &Node) {
        match self.slot_of(group) {
            None => self.node(node),
            Some(slot) => {
                self.push(Inst::Open(place(slot)));
                self.node(node);
                self.push(Inst::Close(place(slot)));
            }
        }
    }

    /// A look-around, and as the condition of a group what it decides is left to the caller to set.
    fn look(&mut self, look: &Look, condition: bool) {
        let behind = look.behind.then(|| {
            let (min, max) = measure::length(&look.node);
            (min, max.unwrap_or(min))
        });
        let number = self.program.looks.len();
        let otherwise = condition.then_some(0);
        self.program.looks.push(LookAround { behind, negated: look.negated, found: 0, otherwise });
        self.push(Inst::Look(place(number)));
        self.node(&look.node);
        self.push(Inst::End);
        let found = self.program.code.len();
        self.program.looks.get_mut(number).into_iter().for_each(|look| look.found = found);
    }

    fn atomic(&mut self, node: &Node) {
        let start = self.push(Inst::Fail);
        self.node(node);
        self.push(Inst::End);
        self.put(start, Inst::Atomic(self.here()));
    }

    fn reference(&mut self, groups: &[u16], fold: bool) -> u32 {
        let slots = groups.iter().filter_map(|group| self.slot_of(*group)).collect();
        self.program.references.push(Reference { slots, fold });
        place(self.program.references.len().saturating_sub(1))
    }

    fn conditional(&mut self, group: &Conditional) {
        let look_number = self.program.looks.len();
        let start = self.program.code.len();
        let reference = match &group.condition {
            Condition::Groups(groups) => {
                self.push(Inst::Fail);
                Some(self.reference(groups, false))
            }
            Condition::Look(look) => {
                if let Node::Look(look) = &**look {
                    self.look(look, true);
                }
                None
            }
        };
        self.node(&group.yes);
        let jump = self.push(Inst::Fail);
        let no = self.here();
        match (reference, self.program.looks.get_mut(look_number)) {
            (Some(reference), _) => self.put(start, Inst::IfGroups(reference, no)),
            (None, Some(look)) => look.otherwise = Some(index(no)),
            (None, None) => {}
        }
        self.node(&group.no);
        self.put(jump, Inst::Jump(self.here()));
    }
}

/// To go round or to go on, in this order unless lazy.
fn fork(lazy: bool, round: u32, on: u32) -> Inst {
    if lazy { Inst::Split(on, round) } else { Inst::Split(round, on) }
}

/// For each octet, and for the end of the text, the alternatives that can begin so.
fn table(starts: &[(u32, (Octets, bool))]) -> Table {
    let mut lists: Vec<Box<[u32]>> = Vec::new();
    let mut numbers: HashMap<Box<[u32]>, u16> = HashMap::new();
    let (mut fit, mut before, mut number) = (Vec::new(), Vec::new(), None);
    let octets = (0u8..=255).map(Some).chain([None]);
    let list = octets.map(|octet| {
        let begins = |set: &Octets| octet.is_some_and(|octet| set.contains(octet));
        fit.clear();
        fit.extend(starts.iter().filter(|(_, (set, empty))| *empty || begins(set)).map(|(at, _)| *at));
        match number {
            Some(number) if fit == before => return number,
            _ => before.clone_from(&fit),
        }
        let known = numbers.get(&*fit).copied().unwrap_or_else(|| {
            lists.push(fit.clone().into());
            let new = u16::try_from(lists.len().saturating_sub(1)).unwrap_or(u16::MAX);
            numbers.insert(fit.clone().into(), new);
            new
        });
        number = Some(known);
        known
    });
    let list = list.collect();
    Table { list, lists }
}
