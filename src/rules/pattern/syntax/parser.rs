//! Alternatives, sequences, quantifiers: the frame of a pattern.

use super::cursor::Cursor;
use super::written::Flags;
use super::{Assertion, COUNT_MAX, NESTING_MAX, NODES_MAX, Node, PatternError, Repeat, Tree};
use crate::rules::pattern::octets::Octets;

/// How often something may be there: at least, and at most if there is a limit.
type Counts = (u32, Option<u32>);

/// Reads one pattern.
pub struct Parser<'a> {
    pub(super) rest: Cursor<'a>,
    pub(super) flags: Flags,
    /// Groups opened so far.
    pub(super) groups: u16,
    /// Groups of the whole pattern: it tells `\10` the reference from `\10` the octet.
    pub(super) groups_in_all: u16,
    pub(super) names: Vec<(Box<str>, u16)>,
    pub(super) highest_reference: u16,
    depth: u32,
    nodes: u32,
}

impl<'a> Parser<'a> {
    /// At the start of a text.
    pub fn new(text: &'a [u8], flags: Flags) -> Result<Self, PatternError> {
        let rest = Cursor::new(text);
        let groups_in_all = count_groups(text);
        let (names, groups, highest_reference) = (Vec::new(), 0, 0);
        Ok(Parser { rest, flags, groups, groups_in_all, names, highest_reference, depth: 0, nodes: 0 })
    }

    /// Reads it all.
    pub fn run(mut self) -> Result<Tree, PatternError> {
        let node = self.alternatives(false)?;
        if self.rest.peek().is_some() {
            return self.rest.wrong("a \")\" too many");
        }
        if self.highest_reference > self.groups {
            return self.rest.wrong(format!("there is no group {}", self.highest_reference));
        }
        Ok(Tree { node, groups: self.groups, names: self.names })
    }

    /// All alternatives up to a `)` or the end. With `reset` each counts its groups from the same number.
    pub(super) fn alternatives(&mut self, reset: bool) -> Result<Node, PatternError> {
        self.branches(reset).map(alternate)
    }

    /// The same, one by one.
    pub(super) fn branches(&mut self, reset: bool) -> Result<Vec<Node>, PatternError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > NESTING_MAX {
            return self.rest.wrong(format!("groups nest deeper than {NESTING_MAX}"));
        }
        let (first, mut most) = (self.groups, self.groups);
        let mut branches = vec![self.sequence()?];
        while self.rest.eat(b"|") {
            most = most.max(self.groups);
            if reset {
                self.groups = first;
            }
            branches.push(self.sequence()?);
        }
        self.groups = self.groups.max(most);
        self.depth = self.depth.saturating_sub(1);
        Ok(branches)
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.rest.peek() {
                None | Some(b'|' | b')') => break,
                Some(_) => {}
            }
            self.nodes = self.nodes.saturating_add(1);
            if self.nodes > NODES_MAX {
                return Err(PatternError::TooLarge);
            }
            match self.atom()? {
                None => {}
                Some(atom) => nodes.push(self.quantified(atom)?),
            }
        }
        Ok(concat(nodes))
    }

    /// What means nothing: `(?#comments)`, and with `x` blanks and lines that `#` begins.
    fn skip_blanks(&mut self) -> Result<(), PatternError> {
        loop {
            match self.rest.peek() {
                Some(b' ' | b'\t'..=b'\r') if self.flags.extended => _ = self.rest.next(),
                Some(b'#') if self.flags.extended => {
                    self.rest.take_while(|octet| octet != b'\n');
                }
                Some(b'(') if self.rest.eat(b"(?#") => {
                    if self.rest.take_until(b')').is_none() {
                        return self.rest.wrong("a comment does not end");
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// One thing that can be repeated; none for flags, which stand for nothing.
    fn atom(&mut self) -> Result<Option<Node>, PatternError> {
        let flags = self.flags;
        Ok(Some(match self.rest.next() {
            Some(b'\\') => self.escape()?,
            Some(b'[') => self.class()?,
            Some(b'(') => return self.group(),
            Some(b'^') if flags.multi_line => Node::Assertion(Assertion::StartLine),
            Some(b'^') => Node::Assertion(Assertion::Start),
            Some(b'$') if flags.multi_line => Node::Assertion(Assertion::EndLine),
            Some(b'$') => Node::Assertion(Assertion::EndOrNewline),
            Some(b'.') if flags.dot_all => Node::Set(Octets::ALL),
            Some(b'.') => Node::Set(Octets::of(|octet| octet != b'\n')),
            Some(b'*' | b'+' | b'?') => return self.rest.wrong("a quantifier follows nothing"),
            Some(octet) => self.octet(octet),
            None => Node::Empty,
        }))
    }

    /// An octet that stands for itself.
    pub(super) fn octet(&self, octet: u8) -> Node {
        Node::Set(Octets::one(octet, self.flags.fold))
    }

    fn quantified(&mut self, atom: Node) -> Result<Node, PatternError> {
        self.skip_blanks()?;
        let Some((min, max)) = self.quantifier()? else { return Ok(atom) };
        self.skip_blanks()?;
        let lazy = self.rest.eat(b"?");
        let possessive = !lazy && self.rest.eat(b"+");
        self.skip_blanks()?;
        if self.quantifier()?.is_some() {
            return self.rest.wrong("a quantifier follows a quantifier");
        }
        if max.is_some_and(|max| max < min) {
            return Ok(Node::Fail);
        }
        let repeat = Node::Repeat(Box::new(Repeat { node: atom, min, max, lazy }));
        Ok(if possessive { Node::Atomic(Box::new(repeat)) } else { repeat })
    }

    fn quantifier(&mut self) -> Result<Option<Counts>, PatternError> {
        let counts = match self.rest.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => match self.counts() {
                None => return Ok(None),
                Some((rest, counts)) => {
                    self.rest = rest;
                    let most = counts.1.unwrap_or(counts.0).max(counts.0);
                    return if most > COUNT_MAX {
                        self.rest.wrong(format!("a count over {COUNT_MAX}"))
                    } else {
                        Ok(Some(counts))
                    };
                }
            },
            _ => return Ok(None),
        };
        self.rest.next();
        Ok(Some(counts))
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}`, with blanks: what they say, and the place behind them. Anything else that begins
    /// with `{` is no quantifier.
    fn counts(&self) -> Option<(Cursor<'a>, Counts)> {
        let mut rest = self.rest;
        let blank = |octet: u8| octet == b' ' || octet == b'\t';
        let number = |rest: &mut Cursor| {
            rest.take_while(blank);
            let digits = rest.take_while(|octet| octet.is_ascii_digit());
            rest.take_while(blank);
            let value = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit & 15));
            (!digits.is_empty()).then(|| digits.iter().fold(0, value))
        };
        rest.next();
        let min = number(&mut rest);
        let comma = rest.eat(b",");
        let max = if comma { number(&mut rest) } else { min };
        let legal = rest.eat(b"}") && (min.is_some() || max.is_some());
        legal.then(|| (rest, (min.unwrap_or(0), max)))
    }
}

/// One after another, without needless levels.
pub(super) fn concat(mut nodes: Vec<Node>) -> Node {
    match nodes.len() {
        0 => Node::Empty,
        1 => nodes.pop().unwrap_or(Node::Empty),
        _ => Node::Concat(nodes),
    }
}

/// Alternatives. Neighbours of one octet each are a set.
fn alternate(branches: Vec<Node>) -> Node {
    let mut kept: Vec<Node> = Vec::new();
    for branch in branches {
        match (kept.last_mut(), branch) {
            (Some(Node::Set(before)), Node::Set(set)) => *before = before.union(set),
            (_, branch) => kept.push(branch),
        }
    }
    if kept.len() == 1 { kept.pop().unwrap_or(Node::Empty) } else { Node::Alternate(kept) }
}

/// How many groups will capture, seen from the brackets alone.
fn count_groups(text: &[u8]) -> u16 {
    let mut rest = Cursor::new(text);
    let (mut groups, mut in_class) = (0u16, false);
    while let Some(octet) = rest.next() {
        match octet {
            b'\\' => _ = rest.next(),
            b'[' if !in_class => {
                in_class = true;
                rest.eat(b"^");
                rest.eat(b"]");
            }
            b']' => in_class = false,
            b'(' if !in_class => {
                let special = rest.rest().starts_with(b"?") || rest.rest().starts_with(b"*");
                let named = [&b"?<"[..], b"?'", b"?P<"].iter().any(|opening| rest.eat(opening))
                    && !matches!(rest.peek(), Some(b'=' | b'!'));
                groups = groups.saturating_add(u16::from(named || !special));
            }
            _ => {}
        }
    }
    groups
}
