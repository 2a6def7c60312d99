//! Escapes: what stands behind a `\`.

use super::parser::{Parser, concat};
use super::{Assertion, Node, PatternError};
use crate::rules::pattern::octets::{self, Octets};

impl Parser<'_> {
    /// An escape behind its `\`, outside a class.
    pub(super) fn escape(&mut self) -> Result<Node, PatternError> {
        let Some(letter) = self.rest.peek() else { return self.rest.wrong("it ends with a \"\\\"") };
        if let Some(set) = octets::class_escape(letter) {
            self.rest.next();
            let named = letter == b'N' && self.rest.rest().starts_with(b"{U+");
            return if named { self.rest.unsupported("\\N{}") } else { Ok(Node::Set(set)) };
        }
        if let Some(assertion) = assertion(letter) {
            self.rest.next();
            let named = self.rest.rest().starts_with(b"{") && letter.eq_ignore_ascii_case(&b'b');
            return if named { self.rest.unsupported("\\b{}") } else { Ok(Node::Assertion(assertion)) };
        }
        match letter {
            b'1'..=b'9' => self.reference_or_octal(),
            b'g' | b'k' => {
                self.rest.next();
                if letter == b'g' { self.reference() } else { self.named_reference() }
            }
            b'R' | b'X' => {
                self.rest.next();
                Ok(line_break(letter == b'X'))
            }
            b'p' | b'P' => self.rest.unsupported("a Unicode property"),
            b'C' => self.rest.unsupported("\\C"),
            _ => {
                let number = self.character()?;
                self.letter(number)
            }
        }
    }

    /// A character by its number: an octet, or above 255 its UTF-8.
    fn letter(&self, number: u32) -> Result<Node, PatternError> {
        match (u8::try_from(number), char::from_u32(number)) {
            (Ok(octet), _) => Ok(self.octet(octet)),
            (_, Some(letter)) => Ok(utf8(letter)),
            _ => self.rest.wrong("a character has an impossible number"),
        }
    }

    /// An escape behind its `\` that stands for one character, in a class or not: its number.
    pub(super) fn character(&mut self) -> Result<u32, PatternError> {
        let octet = match self.rest.next() {
            Some(b'0'..=b'7') => return Ok(self.octal()),
            Some(b'x') => return self.hexadecimal(),
            Some(b'o') => return self.braced(8),
            Some(b'c') => match self.rest.next() {
                Some(letter) if letter.is_ascii() => letter.to_ascii_uppercase() ^ 64,
                _ => return self.rest.wrong("\\c needs a letter"),
            },
            Some(b'a') => 7,
            Some(b'e') => 27,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(other) => other,
            None => return self.rest.wrong("it ends with a \"\\\""),
        };
        Ok(u32::from(octet))
    }

    /// Up to three octal digits, the first of which was passed over.
    fn octal(&mut self) -> u32 {
        // The digit that brought us here is read again from before the cursor: two more may follow.
        let mut value = self.digit_before();
        for _ in 0..2 {
            let Some(digit @ b'0'..=b'7') = self.rest.peek() else { break };
            self.rest.next();
            value = value.saturating_mul(8).saturating_add(u32::from(digit & 7));
        }
        value
    }

    fn digit_before(&self) -> u32 {
        u32::from(self.rest.before().unwrap_or(b'0') & 7)
    }

    /// `\xHH` or `\x{...}`.
    fn hexadecimal(&mut self) -> Result<u32, PatternError> {
        if self.rest.peek() == Some(b'{') {
            return self.braced(16);
        }
        let mut value = 0u32;
        for _ in 0..2 {
            let Some(digit) = self.rest.peek().and_then(|octet| char::from(octet).to_digit(16)) else { break };
            self.rest.next();
            value = value.saturating_mul(16).saturating_add(digit);
        }
        Ok(value)
    }

    /// `{digits}`, with blanks around them.
    fn braced(&mut self, radix: u32) -> Result<u32, PatternError> {
        let digits = if self.rest.eat(b"{") { self.rest.take_until(b'}') } else { None };
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok()).map(str::trim);
        match text.map(|text| (text, u32::from_str_radix(text, radix))) {
            Some((_, Ok(number))) => Ok(number),
            Some(("", _)) => Ok(0),
            _ => self.rest.wrong("a character's number does not end or is no number"),
        }
    }

    /// `\1` is always a reference, `\10` only if there are so many groups.
    fn reference_or_octal(&mut self) -> Result<Node, PatternError> {
        let digits = self.rest.take_while_peek(|octet| octet.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
        match number {
            Some(group) if group < 10 || group <= self.groups_in_all => {
                self.rest.eat(digits);
                self.back_reference(group)
            }
            _ if digits.first().is_some_and(|digit| *digit < b'8') => {
                let number = self.character()?;
                self.letter(number)
            }
            _ => self.rest.wrong("there is no such group"),
        }
    }

    fn back_reference(&mut self, group: u16) -> Result<Node, PatternError> {
        if group == 0 {
            return self.rest.wrong("there is no group 0");
        }
        self.highest_reference = self.highest_reference.max(group);
        Ok(Node::BackReference { groups: vec![group], fold: self.flags.fold })
    }

    /// `\g1`, `\g-1`, `\g{1}`, `\g{-1}`, `\g{name}` behind the letter.
    fn reference(&mut self) -> Result<Node, PatternError> {
        let braced = self.rest.eat(b"{");
        let first = self.rest.peek();
        if braced && first.is_some_and(|octet| octet.is_ascii_alphabetic() || octet == b'_') {
            return self.reference_by_name(b'}');
        }
        let relative = self.rest.eat(b"-");
        let digits = self.rest.take_while(|octet| octet.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
        let back = |number: u16| self.groups.checked_add(1).and_then(|next| next.checked_sub(number));
        let group = number.and_then(|number| if relative { back(number) } else { Some(number) });
        match group {
            Some(group) if !braced || self.rest.eat(b"}") => self.back_reference(group),
            _ => self.rest.wrong("\\g names no group"),
        }
    }

    /// `\k<name>`, `\k'name'`, `\k{name}` behind the letter.
    fn named_reference(&mut self) -> Result<Node, PatternError> {
        match self.rest.next() {
            Some(b'<') => self.reference_by_name(b'>'),
            Some(b'\'') => self.reference_by_name(b'\''),
            Some(b'{') => self.reference_by_name(b'}'),
            _ => self.rest.wrong("\\k names no group"),
        }
    }
}

/// The octets of a character, one after another.
pub(super) fn utf8(letter: char) -> Node {
    let mut room = [0; 4];
    concat(letter.encode_utf8(&mut room).bytes().map(|octet| Node::Set(Octets::one(octet, false))).collect())
}

fn assertion(letter: u8) -> Option<Assertion> {
    Some(match letter {
        b'A' => Assertion::Start,
        b'z' => Assertion::End,
        b'Z' => Assertion::EndOrNewline,
        b'b' => Assertion::WordBoundary,
        b'B' => Assertion::NotWordBoundary,
        b'G' => Assertion::SearchStart,
        b'K' => Assertion::Keep,
        _ => return None,
    })
}

/// `\R`, any line break, or with `other` `\X`: a line break of two octets or any octet. Neither gives one up again.
fn line_break(other: bool) -> Node {
    let pair = Node::Concat(vec![Node::Set(Octets::one(b'\r', false)), Node::Set(Octets::one(b'\n', false))]);
    let single = if other { Octets::ALL } else { octets::class_escape(b'v').unwrap_or_default() };
    Node::Atomic(Box::new(Node::Alternate(vec![pair, Node::Set(single)])))
}
