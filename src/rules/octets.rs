//! Sets of octets: what Perl's character classes come to when text is octets. For [`mod@crate::rules::pattern`].

use std::fmt::Write as _;

/// The members of a POSIX class (perlrecharclass).
pub fn posix_class(name: &str) -> Option<fn(&u8) -> bool> {
    Some(match name {
        "alnum" => u8::is_ascii_alphanumeric,
        "alpha" => u8::is_ascii_alphabetic,
        "ascii" => u8::is_ascii,
        "blank" => |b| matches!(b, b' ' | b'\t'),
        "cntrl" => u8::is_ascii_control,
        "digit" => u8::is_ascii_digit,
        "graph" => u8::is_ascii_graphic,
        "lower" => u8::is_ascii_lowercase,
        "print" => |b| (b' '..=b'~').contains(b),
        "punct" => u8::is_ascii_punctuation,
        "space" => |b| b" \t\n\x0b\x0c\r".contains(b),
        "upper" => u8::is_ascii_uppercase,
        "word" => |b| b.is_ascii_alphanumeric() || *b == b'_',
        "xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// The escapes that stand for a set of octets (perlrecharclass). `\v` is vertical space, not the vertical tab alone.
pub fn class_escape(letter: u8) -> Option<Octets> {
    let positive: fn(u8) -> bool = match letter.to_ascii_lowercase() {
        b'd' => |b| b.is_ascii_digit(),
        b'w' => |b| b.is_ascii_alphanumeric() || b == b'_',
        b's' => |b| b" \t\n\x0b\x0c\r".contains(&b),
        b'h' => |b| b == b' ' || b == b'\t',
        b'v' => |b| (b'\n'..=b'\r').contains(&b),
        _ => return None,
    };
    Some(Octets::of(|b| positive(b) != letter.is_ascii_uppercase()))
}

/// A set of octets.
#[derive(Debug, Clone, Copy)]
pub struct Octets([bool; 256]);

impl Default for Octets {
    fn default() -> Self {
        Octets([false; 256])
    }
}

impl Octets {
    /// Those that belong.
    pub fn of(belongs: impl Fn(u8) -> bool) -> Self {
        let mut set = Octets::default();
        for (octet, member) in (0u8..=255).zip(&mut set.0) {
            *member = belongs(octet);
        }
        set
    }

    /// Adds a range, both ends included.
    pub fn add(&mut self, low: u8, high: u8) {
        self.0.iter_mut().take(usize::from(high) + 1).skip(usize::from(low)).for_each(|member| *member = true);
    }

    /// Adds all of another set.
    pub fn union(&mut self, other: Octets) {
        self.0.iter_mut().zip(other.0).for_each(|(member, other)| *member |= other);
    }

    /// Writes it as a class.
    pub fn write(&self, out: &mut String) {
        out.push('[');
        self.write_ranges(out);
        out.push(']');
    }

    /// Writes it as the inside of a class.
    pub fn write_ranges(&self, out: &mut String) {
        let mut low = None;
        for (octet, member) in (0u8..=255).zip(self.0) {
            let next = usize::from(octet) + 1;
            let last = member && self.0.get(next).is_none_or(|next| !next);
            let from = if member { *low.get_or_insert(octet) } else { octet };
            if last {
                hex_escape(out, from);
                if from < octet {
                    out.push('-');
                    hex_escape(out, octet);
                }
                low = None;
            }
        }
    }
}

/// Writes one octet so that it can only mean itself.
pub fn hex_escape(out: &mut String, octet: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{octet:02x}");
}
