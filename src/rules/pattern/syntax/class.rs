//! Classes in brackets.

use super::escape::utf8;
use super::parser::Parser;
use super::{Node, PatternError};
use crate::rules::pattern::octets::{self, Octets};

/// What stands in a class: a character, which can begin a range, or a set, which cannot.
enum Item {
    Character(u32),
    Set(Octets),
}

impl Parser<'_> {
    /// A class behind its `[`.
    pub(super) fn class(&mut self) -> Result<Node, PatternError> {
        let negated = self.rest.eat(b"^");
        let mut set = Octets::default();
        let mut letters = Vec::new();
        let mut first = true;
        loop {
            self.skip_class_blanks();
            if !first && self.rest.eat(b"]") {
                break;
            }
            first = false;
            match self.item()? {
                Item::Set(more) => set = set.union(more),
                Item::Character(low) => self.range(low, &mut set, &mut letters)?,
            }
        }
        if self.flags.fold {
            set = set.folded();
        }
        if negated && !letters.is_empty() {
            return self.rest.unsupported("a character above 255 in a negated class");
        }
        let mut branches = vec![Node::Set(if negated { set.negated() } else { set })];
        branches.extend(letters.into_iter().map(utf8));
        Ok(if branches.len() == 1 { branches.pop().unwrap_or(Node::Fail) } else { Node::Alternate(branches) })
    }

    fn skip_class_blanks(&mut self) {
        if self.flags.extended_classes {
            self.rest.take_while(|octet| octet == b' ' || octet == b'\t');
        }
    }

    fn item(&mut self) -> Result<Item, PatternError> {
        match self.rest.next() {
            None => self.rest.wrong("a \"]\" is missing"),
            Some(b'[') if matches!(self.rest.peek(), Some(b':' | b'.' | b'=')) => self.posix(),
            Some(b'\\') => self.class_escape(),
            Some(octet) => Ok(Item::Character(u32::from(octet))),
        }
    }

    fn class_escape(&mut self) -> Result<Item, PatternError> {
        let Some(letter) = self.rest.peek() else { return self.rest.wrong("a \"]\" is missing") };
        let set = if letter == b'N' { None } else { octets::class_escape(letter) };
        match (set, letter) {
            (Some(set), _) => {
                self.rest.next();
                Ok(Item::Set(set))
            }
            (None, b'b') => {
                self.rest.next();
                Ok(Item::Character(8))
            }
            (None, b'p' | b'P' | b'N') => self.rest.unsupported("a Unicode property"),
            (None, _) => self.character().map(Item::Character),
        }
    }

    /// Adds a character, or the range that it begins. A `-` before a set or the closing bracket is itself.
    fn range(&mut self, low: u32, set: &mut Octets, letters: &mut Vec<char>) -> Result<(), PatternError> {
        self.skip_class_blanks();
        let before = self.rest;
        let mut high = low;
        if self.rest.eat(b"-") {
            self.skip_class_blanks();
            match if self.rest.peek() == Some(b']') { None } else { Some(self.item()?) } {
                None => self.rest = before,
                Some(Item::Character(character)) => high = character,
                Some(Item::Set(more)) => {
                    set.add(b'-');
                    *set = set.union(more);
                }
            }
        }
        match (u8::try_from(low), u8::try_from(high), char::from_u32(low)) {
            _ if low > high => return self.rest.wrong("a range ends before it begins"),
            (Ok(low), Ok(high), _) => set.add_range(low, high),
            (Err(_), _, Some(letter)) if low == high => letters.push(letter),
            _ => return self.rest.unsupported("a range of characters above 255"),
        }
        Ok(())
    }

    /// `[:name:]` behind its `[`; without a proper end the bracket is itself.
    fn posix(&mut self) -> Result<Item, PatternError> {
        let mut rest = self.rest;
        let kind = rest.next().unwrap_or(b':');
        let negated = rest.eat(b"^");
        let name = rest.take_while(|octet| octet.is_ascii_alphanumeric());
        if !rest.eat(&[kind, b']']) {
            return Ok(Item::Character(u32::from(b'[')));
        }
        self.rest = rest;
        match octets::posix_class(name) {
            Some(set) if kind == b':' => Ok(Item::Set(if negated { set.negated() } else { set })),
            _ => self.rest.wrong(format!("there is no class [:{}:]", name.escape_ascii())),
        }
    }
}
