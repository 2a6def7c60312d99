//! The backtracking machine: Perl's meaning to the octet, within a number of steps.
//!
//! *Does:* runs a [`Program`] over octets with a stack of its own.
//! *Guarantees:* it ends after the steps it was given, with a stack of at most [`FRAMES_MAX`] frames; the program's
//! look-around and atomic groups recurse no deeper than the pattern's groups nest.
//! *Never does:* answer when it could not finish. That is [`OutOfSteps`], never a hit or a miss.

mod program;

use std::ops::Range;

use super::measure::Anchor;
use super::octets::{is_word, lower};
use super::syntax::Assertion;
pub use program::Program;
use program::{Inst, LookAround, Run, index};

/// How many frames the stack may have. One takes 32 octets.
pub const FRAMES_MAX: usize = 1 << 17;
/// A slot that holds no place.
const NOWHERE: usize = usize::MAX;

/// A search took more steps, or more stack, than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfSteps;

/// What to return to.
#[derive(Debug, Clone, Copy)]
enum Frame {
    /// Try this.
    Branch { at: usize, place: usize },
    /// Give a slot its value back.
    Restore { slot: usize, value: usize },
    /// Give octets of a run back: `place` is next, `least` the last.
    Give { run: u32, at: usize, least: usize, place: usize },
    /// Take one more octet for a run.
    Take { run: u32, at: usize, taken: usize, place: usize },
}

/// Room for searches, used again and again.
#[derive(Debug, Default)]
pub struct Room {
    stack: Vec<Frame>,
    slots: Vec<usize>,
}

/// One search.
pub struct Machine<'a> {
    program: &'a Program,
    text: &'a [u8],
    room: &'a mut Room,
    steps: u64,
    out: bool,
    from: usize,
    /// A match has to end here at least.
    end_min: usize,
}

/// Where a search goes on: a place in the program, a place in the text.
type On = Option<(usize, usize)>;

impl<'a> Machine<'a> {
    /// A search of a text, with at most so many steps.
    pub fn new(program: &'a Program, text: &'a [u8], room: &'a mut Room, steps: u64) -> Self {
        Machine { program, text, room, steps, out: false, from: 0, end_min: 0 }
    }

    /// The steps that are left.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The first match at or behind `from`. With `not_empty` it has to end behind `from`.
    pub fn find(&mut self, from: usize, not_empty: bool) -> Result<Option<Range<usize>>, OutOfSteps> {
        self.room.stack.clear();
        self.room.slots.clear();
        self.room.slots.resize(self.program.slots, NOWHERE);
        self.from = from;
        self.end_min = from.saturating_add(usize::from(not_empty));
        let mut next = self.start_from(from);
        while let Some(start) = next {
            let end = self.run(0, start, None);
            if self.out {
                return Err(OutOfSteps);
            }
            if let Some(end) = end {
                let kept = self.slot(0);
                return Ok(Some(if kept == NOWHERE { start..end } else { kept.min(end)..end }));
            }
            next = self.start_from(start.saturating_add(1));
        }
        Ok(None)
    }

    /// The named groups of the last match that took part. Of several with one name the first.
    pub fn named(&self) -> Vec<(Box<str>, Range<usize>)> {
        let mut found: Vec<(Box<str>, Range<usize>)> = Vec::new();
        for (name, slot) in &self.program.names {
            match self.group(*slot) {
                Some(range) if !found.iter().any(|(known, _)| known == name) => found.push((name.clone(), range)),
                _ => {}
            }
        }
        found
    }

    /// The first place at or behind `from` where a match can begin.
    fn start_from(&self, from: usize) -> Option<usize> {
        let rest = self.text.get(from..)?;
        match self.program.anchor {
            Anchor::Text => return (from == 0).then_some(0),
            Anchor::Line if from > self.from && self.text.get(from.saturating_sub(1)) != Some(&b'\n') => {
                return memchr::memchr(b'\n', rest).map(|at| from.saturating_add(at).saturating_add(1));
            }
            Anchor::Line => return Some(from),
            Anchor::None => {}
        }
        let Some((first, others)) = self.program.prefix.split_first() else { return Some(from) };
        let fits = |at: usize| {
            let next = self.text.get(at.saturating_add(1)..).unwrap_or_default();
            next.len() >= others.len() && others.iter().zip(next).all(|(set, octet)| set.contains(*octet))
        };
        let mut at = from;
        loop {
            let rest = self.text.get(at..)?;
            let skipped = match *self.program.needles {
                [a] => memchr::memchr(a, rest),
                [a, b] => memchr::memchr2(a, b, rest),
                [a, b, c] => memchr::memchr3(a, b, c, rest),
                _ => rest.iter().position(|octet| first.contains(*octet)),
            };
            at = at.saturating_add(skipped?);
            if fits(at) {
                return Some(at);
            }
            at = at.saturating_add(1);
        }
    }

    fn slot(&self, slot: usize) -> usize {
        self.room.slots.get(slot).copied().unwrap_or(NOWHERE)
    }

    fn set_slot(&mut self, slot: usize, value: usize) {
        let old = self.slot(slot);
        if old != value {
            self.push(Frame::Restore { slot, value: old });
            self.put_slot(slot, value);
        }
    }

    fn put_slot(&mut self, slot: usize, value: usize) {
        self.room.slots.get_mut(slot).into_iter().for_each(|old| *old = value);
    }

    /// What a group took, by the first of its slots.
    pub fn group(&self, slot: usize) -> Option<Range<usize>> {
        let (start, end) = (self.slot(slot.saturating_add(1)), self.slot(slot.saturating_add(2)));
        (start != NOWHERE && end != NOWHERE).then_some(start..end)
    }

    fn push(&mut self, frame: Frame) {
        if self.room.stack.len() >= FRAMES_MAX {
            self.out = true;
        } else {
            self.room.stack.push(frame);
        }
    }

    fn spend(&mut self, steps: usize) {
        match self.steps.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX)) {
            Some(left) => self.steps = left,
            None => {
                self.steps = 0;
                self.out = true;
            }
        }
    }

    /// Runs from a place to a `Match` or an `End`; the latter at `end` if one is asked for. The stack's frames above where
    /// it began stay if it succeeds.
    fn run(&mut self, at: usize, place: usize, end: Option<usize>) -> Option<usize> {
        let base = self.room.stack.len();
        let (mut at, mut place) = (at, place);
        loop {
            self.spend(1);
            if self.out {
                return None;
            }
            let inst = *self.program.code.get(at)?;
            let on = match inst {
                Inst::Octet(octet) => (self.text.get(place) == Some(&octet)).then_some((at + 1, place + 1)),
                Inst::Set(set) => self.belongs(set, place).then_some((at + 1, place + 1)),
                Inst::Jump(there) => Some((index(there), place)),
                Inst::Split(first, second) => {
                    self.push(Frame::Branch { at: index(second), place });
                    Some((index(first), place))
                }
                Inst::Match if place >= self.end_min => return Some(place),
                Inst::End if end.is_none_or(|end| end == place) => return Some(place),
                Inst::Match | Inst::End | Inst::Fail => None,
                other => self.rare(other, at, place),
            };
            (at, place) = match on {
                Some(on) => on,
                None => self.back(base)?,
            };
        }
    }

    fn belongs(&self, set: u32, place: usize) -> bool {
        match (self.program.sets.get(index(set)), self.text.get(place)) {
            (Some(set), Some(octet)) => set.contains(*octet),
            _ => false,
        }
    }

    /// The instructions that are worth a call.
    fn rare(&mut self, inst: Inst, at: usize, place: usize) -> On {
        let next = at + 1;
        match inst {
            Inst::Octets(run) => self.octets(run, next, place),
            Inst::Dispatch(table) => self.dispatch(table, place),
            Inst::Assert(Assertion::Keep) => {
                self.set_slot(0, place);
                Some((next, place))
            }
            Inst::Assert(assertion) => self.holds(assertion, place).then_some((next, place)),
            Inst::Open(slot) => {
                self.set_slot(index(slot), place);
                Some((next, place))
            }
            Inst::Close(slot) => {
                let slot = index(slot);
                self.set_slot(slot + 1, self.slot(slot));
                self.set_slot(slot + 2, place);
                Some((next, place))
            }
            Inst::LoopStart(slot) => {
                let slot = index(slot);
                self.set_slot(slot, 0);
                self.set_slot(slot + 1, NOWHERE);
                Some((next, place))
            }
            Inst::Loop(number) => self.decide(number, at, place),
            Inst::LoopRound(number) => self.round(number, place),
            Inst::BackReference(number) => self.reference(number, place).map(|place| (next, place)),
            Inst::Look(number) => self.look(number, next, place),
            Inst::Atomic(behind) => {
                let base = self.room.stack.len();
                let place = self.run(next, place, None)?;
                self.keep_slots(base);
                Some((index(behind), place))
            }
            Inst::IfGroups(number, no) => Some((if self.took_part(number) { next } else { index(no) }, place)),
            _ => None,
        }
    }

    /// Goes back to the last choice above `base`.
    fn back(&mut self, base: usize) -> On {
        while self.room.stack.len() > base {
            match self.room.stack.pop()? {
                Frame::Branch { at, place } => return Some((at, place)),
                Frame::Restore { slot, value } => self.put_slot(slot, value),
                Frame::Give { run, at, least, place } => match self.give(run, at, least, place) {
                    None => {}
                    on => return on,
                },
                Frame::Take { run, at, taken, place } => match self.take(run, at, taken, place) {
                    None => {}
                    on => return on,
                },
            }
        }
        None
    }

    fn octets(&mut self, number: u32, next: usize, place: usize) -> On {
        let run: &Run = self.program.runs.get(index(number))?;
        let rest = self.text.get(place..)?;
        let most = if run.lazy { run.min } else { run.max };
        let room = rest.get(..most).unwrap_or(rest);
        let taken = room.iter().position(|octet| !run.set.contains(*octet)).unwrap_or(room.len());
        self.spend(taken / 8);
        if taken < run.min {
            return None;
        }
        let (least, end) = (place.saturating_add(run.min), place.saturating_add(taken));
        if run.lazy {
            self.push(Frame::Take { run: number, at: next, taken, place: end });
            return Some((next, end));
        }
        self.give(number, next, least, end)
    }

    /// Goes on behind a run at `place` or, where what follows is known not to be there, at the next place back.
    fn give(&mut self, number: u32, at: usize, least: usize, place: usize) -> On {
        let run: &Run = self.program.runs.get(index(number))?;
        let place = match run.follows {
            None => place,
            Some(octet) => {
                let end = place.saturating_add(1).min(self.text.len());
                let window = self.text.get(least..end)?;
                let found = memchr::memrchr(octet, window);
                self.spend(window.len() / 16);
                least.saturating_add(found?)
            }
        };
        if place > least {
            self.push(Frame::Give { run: number, at, least, place: place - 1 });
        }
        Some((at, place))
    }

    fn take(&mut self, number: u32, at: usize, taken: usize, place: usize) -> On {
        let run: &Run = self.program.runs.get(index(number))?;
        if taken >= run.max || !run.set.contains(*self.text.get(place)?) {
            return None;
        }
        self.push(Frame::Take { run: number, at, taken: taken + 1, place: place + 1 });
        self.spend(1);
        Some((at, place + 1))
    }

    fn dispatch(&mut self, number: u32, place: usize) -> On {
        let table = self.program.tables.get(index(number))?;
        let octet = self.text.get(place).map_or(256, |octet| usize::from(*octet));
        let list = table.lists.get(usize::from(*table.list.get(octet)?))?;
        let (first, others) = list.split_first()?;
        for other in others.iter().rev() {
            self.push(Frame::Branch { at: index(*other), place });
        }
        Some((index(*first), place))
    }

    fn holds(&self, assertion: Assertion, place: usize) -> bool {
        let at = |place: Option<usize>| place.and_then(|place| self.text.get(place));
        let before = at(place.checked_sub(1));
        let here = at(Some(place));
        let at_end = place >= self.text.len();
        let boundary = || before.is_some_and(is_word) != here.is_some_and(is_word);
        match assertion {
            Assertion::Start => place == 0,
            Assertion::StartLine => place == 0 || !at_end && before == Some(&b'\n'),
            Assertion::End => at_end,
            Assertion::EndLine => at_end || here == Some(&b'\n'),
            Assertion::EndOrNewline => at_end || here == Some(&b'\n') && place.saturating_add(1) == self.text.len(),
            Assertion::WordBoundary => boundary(),
            Assertion::NotWordBoundary => !boundary(),
            Assertion::SearchStart => place == self.from,
            Assertion::Keep => true,
        }
    }

    /// Whether a loop goes round again. What took nothing is not repeated.
    fn decide(&mut self, number: u32, at: usize, place: usize) -> On {
        let this = self.program.loops.get(index(number))?;
        let (count, last) = (self.slot(this.slot), self.slot(this.slot.saturating_add(1)));
        let (round, on) = (at + 1, at + 2);
        if count < this.min {
            return Some((round, place));
        }
        if count > 0 && last == place || count >= this.max {
            return Some((on, place));
        }
        let (first, second) = if this.lazy { (on, round) } else { (round, on) };
        self.push(Frame::Branch { at: second, place });
        Some((first, place))
    }

    fn round(&mut self, number: u32, place: usize) -> On {
        let this = self.program.loops.get(index(number))?;
        let count = self.slot(this.slot);
        self.set_slot(this.slot, count.saturating_add(1));
        self.set_slot(this.slot.saturating_add(1), place);
        Some((this.body, place))
    }

    fn reference(&mut self, number: u32, place: usize) -> Option<usize> {
        let reference = self.program.references.get(index(number))?;
        let range = reference.slots.iter().find_map(|slot| self.group(*slot))?;
        let taken = self.text.get(range)?;
        let found = self.text.get(place..)?.get(..taken.len())?;
        self.spend(taken.len() / 8);
        let folded = || found.iter().zip(taken).all(|(a, b)| lower(*a) == lower(*b));
        let same = if reference.fold { folded() } else { found == taken };
        same.then(|| place.saturating_add(taken.len()))
    }

    fn took_part(&self, number: u32) -> bool {
        let reference = self.program.references.get(index(number));
        reference.is_some_and(|reference| reference.slots.iter().any(|slot| self.group(*slot).is_some()))
    }

    fn look(&mut self, number: u32, part: usize, place: usize) -> On {
        let look: &LookAround = self.program.looks.get(index(number))?;
        let base = self.room.stack.len();
        let found = match look.behind {
            None => self.run(part, place, None).is_some(),
            Some((min, max)) => (min..=max.min(place)).any(|back| self.run(part, place - back, Some(place)).is_some()),
        };
        if self.out {
            return None;
        }
        if look.negated {
            self.undo(base);
        } else {
            self.keep_slots(base);
        }
        let to = if found != look.negated { Some(look.found) } else { look.otherwise };
        to.map(|to| (to, place))
    }

    /// Forgets the choices above `base`, but not what to restore.
    fn keep_slots(&mut self, base: usize) {
        let mut kept = base;
        for at in base..self.room.stack.len() {
            if let Some(frame @ Frame::Restore { .. }) = self.room.stack.get(at).copied() {
                self.room.stack.get_mut(kept).into_iter().for_each(|old| *old = frame);
                kept = kept.saturating_add(1);
            }
        }
        self.room.stack.truncate(kept);
    }

    /// Restores all slots as they were at `base`.
    fn undo(&mut self, base: usize) {
        while self.room.stack.len() > base {
            if let Some(Frame::Restore { slot, value }) = self.room.stack.pop() {
                self.put_slot(slot, value);
            }
        }
    }
}
