//! Sets of octets: what Perl's character classes come to when text is octets (perlrecharclass).

/// The members of a POSIX class.
pub fn posix_class(name: &[u8]) -> Option<Octets> {
    let belongs: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"ascii" => u8::is_ascii,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |b| (b' '..=b'~').contains(b),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => is_space,
        b"upper" => u8::is_ascii_uppercase,
        b"word" => is_word,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    Some(Octets::of(|b| belongs(&b)))
}

/// The escapes that stand for a set of octets. `\v` is vertical space, not the vertical tab alone; `\h` and `\v` take in
/// what is blank in Latin-1, the others are ASCII.
pub fn class_escape(letter: u8) -> Option<Octets> {
    let set = match letter.to_ascii_lowercase() {
        b'd' => Octets::of(|b| b.is_ascii_digit()),
        b'w' => Octets::of(|b| is_word(&b)),
        b's' => Octets::of(|b| is_space(&b)),
        b'h' => Octets::of(|b| matches!(b, b' ' | b'\t' | 0xa0)),
        b'v' => Octets::of(|b| matches!(b, b'\n'..=b'\r' | 0x85)),
        b'n' if letter == b'N' => return Some(Octets::of(|b| b != b'\n')),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { set.negated() } else { set })
}

/// The octets of `\w`.
pub fn is_word(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || *octet == b'_'
}

/// The lower case of an octet. SpamAssassin compiles with `aa`, which asks for Unicode's rules: in a text of octets that
/// is the case of Latin-1's letters, accents and all.
pub fn lower(octet: u8) -> u8 {
    match octet {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => octet | 0x20,
        other => other,
    }
}

fn is_space(octet: &u8) -> bool {
    b" \t\n\x0b\x0c\r".contains(octet)
}

/// A set of octets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Octets([u64; 4]);

impl std::fmt::Debug for Octets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.ranges().map(|(low, high)| low..=high)).finish()
    }
}

impl Octets {
    /// All 256.
    pub const ALL: Octets = Octets([u64::MAX; 4]);

    /// Those that belong.
    pub fn of(belongs: impl Fn(u8) -> bool) -> Self {
        let mut set = Octets::default();
        (0u8..=255).filter(|octet| belongs(*octet)).for_each(|octet| set.add(octet));
        set
    }

    /// One octet, or with `fold` both cases of a letter.
    pub fn one(octet: u8, fold: bool) -> Self {
        let mut set = Octets::default();
        set.add(octet);
        if fold { set.folded() } else { set }
    }

    /// Adds one.
    pub fn add(&mut self, octet: u8) {
        self.0.get_mut(usize::from(octet >> 6)).into_iter().for_each(|word| *word |= 1 << (octet & 63));
    }

    /// Adds a range, both ends included.
    pub fn add_range(&mut self, low: u8, high: u8) {
        (low..=high).for_each(|octet| self.add(octet));
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Octets) -> Octets {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Octets([a | e, b | f, c | g, d | h])
    }

    /// All that do not belong.
    #[must_use]
    pub fn negated(self) -> Octets {
        Octets(self.0.map(|word| !word))
    }

    /// With the other case of each letter.
    #[must_use]
    pub fn folded(mut self) -> Octets {
        for octet in 0u8..=255 {
            let lower = lower(octet);
            if lower != octet && (self.contains(octet) || self.contains(lower)) {
                self.add(octet);
                self.add(lower);
            }
        }
        self
    }

    /// Whether an octet belongs.
    pub fn contains(&self, octet: u8) -> bool {
        self.0.get(usize::from(octet >> 6)).is_some_and(|word| word >> (octet & 63) & 1 == 1)
    }

    /// How many belong.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Its members.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        [0u8, 64, 128, 192].into_iter().zip(self.0).flat_map(|(from, word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = u8::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                left &= left.wrapping_sub(1);
                Some(from | bit)
            })
        })
    }

    /// Its members as ranges, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let mut from = 0u16;
        std::iter::from_fn(move || {
            let member = |at: u16| u8::try_from(at).is_ok_and(|octet| self.contains(octet));
            let low = (from..256).find(|at| member(*at))?;
            let high = (low..256).take_while(|at| member(*at)).last()?;
            from = high.saturating_add(1);
            Some((u8::try_from(low).ok()?, u8::try_from(high).ok()?))
        })
    }
}
