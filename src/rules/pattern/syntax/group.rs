//! Groups: what stands behind a `(`.

use super::parser::{Parser, concat};
use super::{Condition, Conditional, LOOK_BEHIND_OCTETS_MAX, Look, Node, PatternError};
use crate::rules::pattern::measure;

/// Which look-around.
#[derive(Clone, Copy)]
struct Kind {
    behind: bool,
    negated: bool,
}

const AHEAD: Kind = Kind { behind: false, negated: false };
const NOT_AHEAD: Kind = Kind { behind: false, negated: true };
const BEHIND: Kind = Kind { behind: true, negated: false };
const NOT_BEHIND: Kind = Kind { behind: true, negated: true };

impl Parser<'_> {
    /// A group behind its `(`. None if it only sets flags.
    pub(super) fn group(&mut self) -> Result<Option<Node>, PatternError> {
        if self.rest.eat(b"?") {
            return self.special_group();
        }
        if self.rest.eat(b"*") {
            return self.verb().map(Some);
        }
        let captures = !self.flags.no_captures;
        if captures { self.capture(None) } else { self.inside(false) }.map(Some)
    }

    /// What stands in a group, with its `)`. Flags hold up to there.
    fn inside(&mut self, reset: bool) -> Result<Node, PatternError> {
        let flags = self.flags;
        let node = self.alternatives(reset)?;
        self.flags = flags;
        if !self.rest.eat(b")") {
            return self.rest.wrong("a \")\" is missing");
        }
        Ok(node)
    }

    fn capture(&mut self, name: Option<Box<str>>) -> Result<Node, PatternError> {
        let Some(group) = self.groups.checked_add(1) else { return Err(PatternError::TooLarge) };
        self.groups = group;
        self.names.extend(name.map(|name| (name, group)));
        Ok(Node::Capture(group, Box::new(self.inside(false)?)))
    }

    fn special_group(&mut self) -> Result<Option<Node>, PatternError> {
        Ok(Some(match self.rest.next() {
            Some(b':') => self.inside(false)?,
            Some(b'|') => self.inside(true)?,
            Some(b'=') => self.look(AHEAD)?,
            Some(b'!') => self.look(NOT_AHEAD)?,
            Some(b'<') if self.rest.eat(b"=") => self.look(BEHIND)?,
            Some(b'<') if self.rest.eat(b"!") => self.look(NOT_BEHIND)?,
            Some(b'>') => Node::Atomic(Box::new(self.inside(false)?)),
            Some(b'<') => self.named(b'>')?,
            Some(b'\'') => self.named(b'\'')?,
            Some(b'P') if self.rest.eat(b"<") => self.named(b'>')?,
            Some(b'P') if self.rest.eat(b"=") => self.reference_by_name(b')')?,
            Some(b'(') => self.conditional()?,
            Some(b'P' | b'R' | b'&' | b'0'..=b'9' | b'+') => return self.rest.unsupported("recursion"),
            Some(b'-') if self.rest.peek().is_some_and(|octet| octet.is_ascii_digit()) => {
                return self.rest.unsupported("recursion");
            }
            Some(b'{' | b'?') => return self.rest.unsupported("code"),
            Some(flag) => return self.flag_group(flag),
            None => return self.rest.wrong("a \")\" is missing"),
        }))
    }

    /// `(?i)`, which holds to the end of the group around it, or `(?i:...)`.
    fn flag_group(&mut self, first: u8) -> Result<Option<Node>, PatternError> {
        let more = self.rest.take_while(|octet| octet.is_ascii_lowercase() || octet == b'-');
        let letters = [&[first], more].concat();
        let outside = self.flags;
        let inside = match outside.with(&letters) {
            Ok(flags) => flags,
            Err(flag) => return self.rest.wrong(format!("\"{}\" is no flag", flag.escape_ascii())),
        };
        self.flags = inside;
        match self.rest.next() {
            Some(b')') => Ok(None),
            Some(b':') => {
                let node = self.inside(false)?;
                self.flags = outside;
                Ok(Some(node))
            }
            _ => self.rest.wrong("a group begins with what is no group"),
        }
    }

    fn look(&mut self, kind: Kind) -> Result<Node, PatternError> {
        let node = self.inside(false)?;
        if kind.behind {
            let (min, max) = measure::length(&node);
            let variable = max.map(|max| max.saturating_sub(min));
            if variable.is_none_or(|octets| octets > LOOK_BEHIND_OCTETS_MAX) {
                return self.rest.wrong(format!("a look-behind varies by more than {LOOK_BEHIND_OCTETS_MAX} octets"));
            }
        }
        let Kind { behind, negated } = kind;
        Ok(Node::Look(Box::new(Look { node, behind, negated })))
    }

    fn named(&mut self, close: u8) -> Result<Node, PatternError> {
        let name = self.name(close)?;
        self.capture(Some(name))
    }

    /// A name and the octet that ends it.
    pub(super) fn name(&mut self, close: u8) -> Result<Box<str>, PatternError> {
        let name = self.rest.take_while(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        let legal = name.first().is_some_and(|octet| !octet.is_ascii_digit()) && self.rest.eat(&[close]);
        match std::str::from_utf8(name) {
            Ok(name) if legal => Ok(name.into()),
            _ => self.rest.wrong("a group has no proper name"),
        }
    }

    /// The groups of a name. Only those that stand before are known.
    pub(super) fn groups_of(&self, name: &str) -> Result<Vec<u16>, PatternError> {
        let groups: Vec<u16> =
            self.names.iter().filter(|(known, _)| **known == *name).map(|(_, group)| *group).collect();
        if groups.is_empty() {
            return self.rest.wrong(format!("there is no group \"{name}\" before"));
        }
        Ok(groups)
    }

    /// What a group of this name took.
    pub(super) fn reference_by_name(&mut self, close: u8) -> Result<Node, PatternError> {
        let name = self.name(close)?;
        Ok(Node::BackReference { groups: self.groups_of(&name)?, fold: self.flags.fold })
    }

    /// `(?(condition)yes|no)` behind its second bracket.
    fn conditional(&mut self) -> Result<Node, PatternError> {
        let condition = self.condition()?;
        let flags = self.flags;
        let mut branches = self.branches(false)?;
        self.flags = flags;
        if branches.len() > 2 || !self.rest.eat(b")") {
            return self.rest.wrong("a conditional group has two alternatives at most");
        }
        let no = if branches.len() == 2 { branches.pop() } else { None }.unwrap_or(Node::Empty);
        Ok(Node::Conditional(Box::new(Conditional { condition, yes: concat(branches), no })))
    }

    fn condition(&mut self) -> Result<Condition, PatternError> {
        match self.rest.peek() {
            Some(b'0'..=b'9') => {
                let digits = self.rest.take_while(|octet| octet.is_ascii_digit());
                let group = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
                match group {
                    Some(group @ 1..) if self.rest.eat(b")") => {
                        self.highest_reference = self.highest_reference.max(group);
                        Ok(Condition::Groups(vec![group]))
                    }
                    _ => self.rest.wrong("a condition is no group"),
                }
            }
            Some(quote @ (b'<' | b'\'')) => {
                self.rest.next();
                let name = self.name(if quote == b'<' { b'>' } else { quote })?;
                let groups = self.groups_of(&name)?;
                if self.rest.eat(b")") { Ok(Condition::Groups(groups)) } else { self.rest.wrong("a \")\" is missing") }
            }
            Some(b'?') => match self.group()? {
                Some(look @ Node::Look(_)) => Ok(Condition::Look(Box::new(look))),
                _ => self.rest.wrong("a condition is no look-around"),
            },
            _ => self.rest.unsupported("a condition of this kind"),
        }
    }

    /// What stands behind `(*`: the words for look-around, and `FAIL`.
    fn verb(&mut self) -> Result<Node, PatternError> {
        let word = self.rest.take_while(|octet| octet.is_ascii_alphabetic() || octet == b'_');
        if matches!(word, b"F" | b"FAIL") && self.rest.eat(b")") {
            return Ok(Node::Fail);
        }
        if !self.rest.eat(b":") {
            return self.rest.unsupported("a backtracking verb");
        }
        match word {
            b"pla" | b"positive_lookahead" => self.look(AHEAD),
            b"nla" | b"negative_lookahead" => self.look(NOT_AHEAD),
            b"plb" | b"positive_lookbehind" => self.look(BEHIND),
            b"nlb" | b"negative_lookbehind" => self.look(NOT_BEHIND),
            b"atomic" => Ok(Node::Atomic(Box::new(self.inside(false)?))),
            _ => self.rest.unsupported("a backtracking verb"),
        }
    }
}
