//! Patterns: Perl's regular expressions, translated for the `regex` crate over octets.
//!
//! *Does:* takes `/text/flags` or `m{text}flags` apart, translates the text, compiles it.
//! *Guarantees:* matching is linear in the text; a compiled pattern has at most [`COMPILED_OCTETS_MAX`]. What means
//! something else to the two languages is rewritten, not passed on: `$` (also before a final newline), `^` and `.` by the
//! flags in force, `\<`, octal and control escapes, POSIX classes, `{` that begins no quantifier, set operators in classes.
//! *Never does:* guess. Look-around, backreferences, atomic groups and possessive quantifiers need backtracking, which
//! this engine does not do: they are refused by that name.
//! *Octets:* text is UTF-8 and a pattern is its octets, as Perl reads a rule file; `\w` and `\b` are ASCII.

use std::iter::Peekable;
use std::slice::Iter;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::rules::octets::{self, Octets};

/// The largest compiled pattern, in octets.
pub const COMPILED_OCTETS_MAX: usize = 2 << 20;
/// The largest compiled set of patterns, in octets.
pub const SET_OCTETS_MAX: usize = 16 << 20;
/// How deep groups may nest.
pub const NESTING_MAX: u32 = 100;

/// Why a pattern is not used. The text is fit for a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It cannot run in linear time.
    #[error("{0} needs backtracking, which is not supported yet")]
    Backtracking(&'static str),
    /// It means something that is not translated.
    #[error("{0} is not supported in a pattern")]
    Unsupported(String),
    /// It is no pattern.
    #[error("not a pattern: {0}")]
    Syntax(String),
    /// It compiles to more than it may.
    #[error("the compiled pattern is too large")]
    TooLarge,
}

/// The flags of a pattern that change what its text means. `i` is passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    case_insensitive: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
}

/// Translates `/text/flags` or `m{text}flags` into the syntax of the `regex` crate.
pub fn translate(written: &[u8]) -> Result<String, PatternError> {
    let (text, flags) = strip_delimiters(written)?;
    if text.is_empty() {
        return Err(PatternError::Syntax("it is empty, and would match always".into()));
    }
    let flags = Flags::default().with(flags)?;
    let mut translator = Translator { rest: text.iter().peekable(), flags, groups: Vec::new(), out: String::new() };
    translator.out.push_str(if flags.case_insensitive { "(?i)" } else { "" });
    translator.run()?;
    Ok(translator.out)
}

/// Compiles what [`translate`] gave, into at most `octets_max` octets.
pub fn compile(translated: &str, octets_max: usize) -> Result<Regex, PatternError> {
    let mut builder = RegexBuilder::new(translated);
    let built = builder.unicode(false).octal(false).size_limit(octets_max).nest_limit(NESTING_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        error => PatternError::Syntax(last_line(&error.to_string())),
    })
}

/// Compiles many into one prefilter; none if the set would be too large.
pub fn compile_set<'a>(translated: impl Iterator<Item = &'a str>) -> Option<RegexSet> {
    let mut builder = RegexSetBuilder::new(translated);
    builder.unicode(false).octal(false).size_limit(SET_OCTETS_MAX).nest_limit(NESTING_MAX).build().ok()
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The pattern's text and its flags.
fn strip_delimiters(written: &[u8]) -> Result<(&[u8], &[u8]), PatternError> {
    let missing = || PatternError::Syntax("its delimiters are missing".into());
    let rest = written.strip_prefix(b"m").or_else(|| written.strip_prefix(b"qr")).unwrap_or(written);
    let (&open, rest) = rest.split_first().ok_or_else(missing)?;
    let bare = rest.len() + 1 == written.len();
    if open.is_ascii_alphanumeric() || open.is_ascii_whitespace() || open == b'_' || bare && open != b'/' {
        return Err(missing());
    }
    let close = match open {
        b'{' => b'}',
        b'(' => b')',
        b'[' => b']',
        b'<' => b'>',
        other => other,
    };
    let end = rest.iter().rposition(|b| *b == close).ok_or_else(missing)?;
    let (text, flags) = rest.split_at(end);
    Ok((text, flags.get(1..).unwrap_or_default()))
}

impl Flags {
    /// These flags with the letters of `imsx` switched on; letters behind a `-` switch off, `^` begins anew. Letters that
    /// choose character sets or captures make no difference over octets.
    fn with(mut self, letters: &[u8]) -> Result<Self, PatternError> {
        let mut on = true;
        for letter in letters {
            match letter {
                b'i' => self.case_insensitive = on,
                b'm' => self.multi_line = on,
                b's' => self.dot_all = on,
                b'x' => self.extended = on,
                b'-' => on = false,
                b'^' => self = Flags::default(),
                b'a' | b'u' | b'l' | b'd' | b'n' | b'p' | b'o' => {}
                other => return Err(PatternError::Unsupported(format!("the flag \"{}\"", other.escape_ascii()))),
            }
        }
        Ok(self)
    }
}

struct Translator<'a> {
    rest: Peekable<Iter<'a, u8>>,
    flags: Flags,
    /// The flags to return to where each open group closes.
    groups: Vec<Flags>,
    out: String,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), PatternError> {
        while let Some(&octet) = self.rest.next() {
            match octet {
                b'#' if self.flags.extended => while self.rest.next().is_some_and(|b| *b != b'\n') {},
                blank if self.flags.extended && blank.is_ascii_whitespace() => {}
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => self.group()?,
                b')' => {
                    self.flags = self.groups.pop().ok_or_else(|| PatternError::Syntax("a \")\" too many".into()))?;
                    self.out.push(')');
                }
                b'^' => self.out.push_str(if self.flags.multi_line { "(?m:^)" } else { "\\A" }),
                b'$' => self.out.push_str(if self.flags.multi_line { "(?m:$)" } else { "(?:\\n?\\z)" }),
                b'.' => self.out.push_str(if self.flags.dot_all { "(?s:.)" } else { "." }),
                b'|' => self.out.push('|'),
                b'*' | b'+' | b'?' => self.quantifier(&char::from(octet).to_string())?,
                b'{' => match self.counts() {
                    Some(counts) => self.quantifier(&counts)?,
                    None => self.literal(b'{'),
                },
                octet => self.literal(octet),
            }
        }
        match self.groups.is_empty() {
            true => Ok(()),
            false => Err(PatternError::Syntax("a \")\" is missing".into())),
        }
    }

    /// An octet that stands for itself.
    fn literal(&mut self, octet: u8) {
        match octet {
            b'_' | b' ' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => self.out.push(char::from(octet)),
            octet => octets::hex_escape(&mut self.out, octet),
        }
    }

    /// `*` and its like, lazy or not. To `regex` a second `+` would be a repetition of the repetition.
    fn quantifier(&mut self, quantifier: &str) -> Result<(), PatternError> {
        self.out.push_str(quantifier);
        match self.rest.peek() {
            Some(b'+') => Err(PatternError::Backtracking("a possessive quantifier")),
            Some(b'?') => {
                self.rest.next();
                self.out.push('?');
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}` behind its `{`; anything else leaves the input where it is.
    fn counts(&mut self) -> Option<String> {
        let mut ahead = self.rest.clone();
        let mut counts = Vec::new();
        loop {
            match ahead.next()? {
                b'}' => break,
                octet @ (b'0'..=b'9' | b',') if counts.len() < 16 => counts.push(*octet),
                _ => return None,
            }
        }
        let text = String::from_utf8(counts).ok()?;
        let (low, high) = text.split_once(',').map_or((text.as_str(), None), |(low, high)| (low, Some(high)));
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let legal = number(low) && high.is_none_or(number) && !(low.is_empty() && high.is_none_or(str::is_empty));
        let low = if low.is_empty() { "0" } else { low };
        legal.then(|| self.rest = ahead)?;
        Some(high.map_or_else(|| format!("{{{low}}}"), |high| format!("{{{low},{high}}}")))
    }

    /// A group behind its `(`. No capture is needed: all become `(?:`, with the flags that `regex` has to know.
    fn group(&mut self) -> Result<(), PatternError> {
        let before = self.flags;
        match self.rest.peek() {
            Some(b'?') => {
                self.rest.next();
                return self.special_group(before);
            }
            Some(b'*') => return Err(PatternError::Backtracking("a backtracking verb")),
            _ => self.open(before),
        }
        Ok(())
    }

    fn open(&mut self, before: Flags) {
        self.groups.push(before);
        self.out.push_str(match (before.case_insensitive, self.flags.case_insensitive) {
            (false, true) => "(?i:",
            (true, false) => "(?-i:",
            _ => "(?:",
        });
    }

    fn special_group(&mut self, before: Flags) -> Result<(), PatternError> {
        let next = self.rest.next().copied();
        match (next, self.rest.peek().copied().copied()) {
            (Some(b':' | b'|'), _) => self.open(before),
            (Some(b'#'), _) => while self.rest.next().is_some_and(|b| *b != b')') {},
            (Some(b'=' | b'!'), _) => return Err(PatternError::Backtracking("look-ahead")),
            (Some(b'<'), Some(b'=' | b'!')) => return Err(PatternError::Backtracking("look-behind")),
            (Some(b'>'), _) => return Err(PatternError::Backtracking("an atomic group")),
            (Some(b'('), _) => return Err(PatternError::Backtracking("a conditional group")),
            (Some(b'R' | b'&' | b'0'..=b'9' | b'+'), _) | (Some(b'P'), Some(b'>' | b'=')) => {
                return Err(PatternError::Backtracking("recursion"));
            }
            (Some(b'<' | b'\''), _) | (Some(b'P'), Some(b'<')) => {
                let opened = if next == Some(b'P') { self.rest.next().copied() } else { next };
                let close = if opened == Some(b'\'') { b'\'' } else { b'>' };
                while self.rest.next().is_some_and(|b| *b != close) {}
                self.open(before);
            }
            (Some(letter), _) => return self.flag_group(before, letter),
            (None, _) => return Err(PatternError::Syntax("it ends within a group".into())),
        }
        Ok(())
    }

    /// `(?i)` to the end of the group around it, or `(?i:...)`.
    fn flag_group(&mut self, before: Flags, first: u8) -> Result<(), PatternError> {
        let mut letters = vec![first];
        let end = loop {
            match self.rest.next() {
                Some(end @ (b':' | b')')) => break *end,
                Some(letter) => letters.push(*letter),
                None => return Err(PatternError::Syntax("it ends within a group".into())),
            }
        };
        self.flags = before.with(&letters)?;
        match (end, self.flags.case_insensitive) {
            (b':', _) => self.open(before),
            (_, now) if now == before.case_insensitive => {}
            (_, true) => self.out.push_str("(?i)"),
            (_, false) => self.out.push_str("(?-i)"),
        }
        Ok(())
    }

    /// What stands behind a backslash, outside classes.
    fn escape(&mut self) -> Result<(), PatternError> {
        let &octet = self.rest.next().ok_or_else(|| PatternError::Syntax("it ends with a backslash".into()))?;
        let set = octets::class_escape(octet);
        match octet {
            b'b' | b'B' if self.rest.peek() != Some(&&b'{') => self.out.extend(['\\', char::from(octet)]),
            b'A' => self.out.push_str("\\A"),
            b'z' => self.out.push_str("\\z"),
            b'Z' => self.out.push_str("(?:\\n?\\z)"),
            b'R' => self.out.push_str("(?:\\r\\n|[\\n-\\r])"),
            b'N' if self.rest.peek() != Some(&&b'{') => self.out.push_str("[^\\n]"),
            b'1'..=b'9' => match self.octal(octet) {
                Some(octet) => self.literal(octet),
                None => return Err(PatternError::Backtracking("a backreference")),
            },
            b'g' | b'k' => return Err(PatternError::Backtracking("a backreference")),
            _ if set.is_some() => set.into_iter().for_each(|set| set.write(&mut self.out)),
            octet => {
                let octet = self.octet_escape(octet)?;
                self.literal(octet);
            }
        }
        Ok(())
    }

    /// An escape that stands for one octet, within classes and outside.
    fn octet_escape(&mut self, octet: u8) -> Result<u8, PatternError> {
        Ok(match octet {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'f' => 0x0c,
            b'e' => 0x1b,
            b'a' => 0x07,
            b'0' => self.octal(octet).unwrap_or(0),
            b'x' => return self.hexadecimal(),
            b'c' => self.rest.next().map_or(b'c', |letter| letter.to_ascii_uppercase() ^ 0x40),
            b'p' | b'P' | b'X' | b'C' | b'K' | b'G' | b'N' | b'Q' | b'E' | b'L' | b'U' | b'l' | b'u' | b'o' | b'b'
            | b'B' => return Err(PatternError::Unsupported(format!("\\{}", char::from(octet)))),
            // Perl: any other escaped character is itself, letters too.
            literal => literal,
        })
    }

    /// Three octal digits, or up to three where the first is 0.
    fn octal(&mut self, first: u8) -> Option<u8> {
        let mut ahead = self.rest.clone();
        let mut value = u32::from(first.wrapping_sub(b'0'));
        let mut digits = 1;
        while let Some(digit) = ahead.next_if(|b| digits < 3 && (b'0'..=b'7').contains(*b)) {
            value = value * 8 + u32::from(digit - b'0');
            digits += 1;
        }
        let octet = u8::try_from(value).ok()?;
        (first == b'0' || digits == 3 && first < b'8').then(|| self.rest = ahead)?;
        Some(octet)
    }

    /// `\xHH` with up to two digits, or `\x{HH}`.
    fn hexadecimal(&mut self) -> Result<u8, PatternError> {
        let braced = self.rest.next_if(|b| **b == b'{').is_some();
        let digits_max = if braced { 6 } else { 2 };
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(|b| digits.len() < digits_max && b.is_ascii_hexdigit()) {
            digits.push(char::from(*digit));
        }
        if braced && self.rest.next() != Some(&b'}') {
            return Err(PatternError::Syntax("\\x{ is not closed".into()));
        }
        let value = if digits.is_empty() { Ok(0) } else { u32::from_str_radix(&digits, 16) };
        let octet = value.ok().and_then(|value| u8::try_from(value).ok());
        octet.ok_or_else(|| PatternError::Unsupported(format!("\\x{{{digits}}}, a character above an octet,")))
    }

    /// A class behind its `[`: read into a set of octets, so that no set operator can be seen in it.
    fn class(&mut self) -> Result<(), PatternError> {
        let negated = self.rest.next_if(|b| **b == b'^').is_some();
        let mut set = Octets::default();
        let mut first = true;
        loop {
            let Some(&octet) = self.rest.next() else {
                return Err(PatternError::Syntax("a class is not closed".into()));
            };
            if octet == b']' && !first {
                break;
            }
            first = false;
            let Some(low) = self.class_item(octet, &mut set)? else { continue };
            let high = self.range_end()?.unwrap_or(low);
            if high < low {
                return Err(PatternError::Syntax("a range is out of order".into()));
            }
            set.add(low, high);
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        set.write_ranges(&mut self.out);
        self.out.push(']');
        Ok(())
    }

    /// One octet of a class; none if it was a set, which is added.
    fn class_item(&mut self, octet: u8, set: &mut Octets) -> Result<Option<u8>, PatternError> {
        match octet {
            b'[' if matches!(self.rest.peek(), Some(b':')) => Ok(match self.posix() {
                Some(posix) => {
                    set.union(posix?);
                    None
                }
                None => Some(b'['),
            }),
            b'\\' => {
                let &escaped = self.rest.next().ok_or_else(|| PatternError::Syntax("a class is not closed".into()))?;
                if let Some(escaped) = octets::class_escape(escaped) {
                    set.union(escaped);
                    return Ok(None);
                }
                match escaped {
                    b'b' => Ok(Some(0x08)),
                    b'1'..=b'7' => Ok(Some(self.octal(escaped).unwrap_or(escaped - b'0'))),
                    escaped => self.octet_escape(escaped).map(Some),
                }
            }
            octet => Ok(Some(octet)),
        }
    }

    /// The end of a range, if one follows: `-` and something that is neither the end of the class nor a set.
    fn range_end(&mut self) -> Result<Option<u8>, PatternError> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some(&b'-') {
            return Ok(None);
        }
        match (ahead.next(), ahead.next()) {
            (None | Some(b']'), _) => Ok(None),
            (Some(b'\\'), Some(escaped)) if octets::class_escape(*escaped).is_some() => Ok(None),
            (Some(_), _) => {
                self.rest.next();
                let octet = self.rest.next().copied().unwrap_or(b'-');
                self.class_item(octet, &mut Octets::default())
            }
        }
    }

    /// `[:name:]` behind its `[`; none if it is no such thing.
    fn posix(&mut self) -> Option<Result<Octets, PatternError>> {
        let mut ahead = self.rest.clone();
        ahead.next();
        let negated = ahead.next_if(|b| **b == b'^').is_some();
        let mut name = String::new();
        while let Some(letter) = ahead.next_if(|b| b.is_ascii_lowercase() && name.len() < 8) {
            name.push(char::from(*letter));
        }
        if ahead.next() != Some(&b':') || ahead.next() != Some(&b']') {
            return None;
        }
        self.rest = ahead;
        let set = octets::posix_class(&name).map(|belongs| Octets::of(|b| belongs(&b) != negated));
        Some(set.ok_or_else(|| PatternError::Unsupported(format!("the class [:{name}:]"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(written: &str, text: &[u8]) -> bool {
        let translated = translate(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
        compile(&translated, COMPILED_OCTETS_MAX)
            .unwrap_or_else(|error| panic!("{written} -> {translated}: {error}"))
            .is_match(text)
    }

    #[test]
    fn patterns_mean_what_perl_means() {
        for (pattern, yes, no) in [
            ("/abc/", &b"xabcx"[..], &b"xABC"[..]),
            ("/abc/i", b"ABC", b"AB"),
            ("m{a/b}", b"a/b", b"a\\/b"),
            ("m,a,i", b"A", b"b"),
            ("m<a>", b"a", b"b"),
            (r"/a\/b/", b"a/b", b"ab"),
            ("/a$/", b"a\n", b"a\n\n"),
            ("/a$/", b"a", b"ab"),
            ("/^b/", b"b", b"a\nb"),
            ("/^b$/m", b"a\nb\nc", b"ab"),
            ("/(?m)^b/", b"a\nb", b"ab"),
            (r"/a\Z/", b"a\n", b"a\n\n"),
            (r"/a\z/", b"a", b"a\n"),
            ("/a.b/", b"a\rb", b"a\nb"),
            ("/a.b/s", b"a\nb", b"ab"),
            (r"/\<a\>/", b"<a>", b"a"),
            (r"/\223/", b"\x93", b"223"),
            (r"/\0/", b"\0", b"0"),
            (r"/\e\a\cA/", b"\x1b\x07\x01", b"ea"),
            (r"/\x41\x{42}/", b"AB", b"x"),
            (r"/\xe9/", b"\xe9", b"\xc3\xa9"),
            ("/é/", "é".as_bytes(), b"\xe9"),
            ("/[é]/", b"\xc3", b"e"),
            (r"/\import\qu/", b"importqu", b"mport"),
            ("/a{b}/", b"a{b}", b"ab"),
            ("/a{2}b/", b"aab", b"ab"),
            ("/^a{,2}$/", b"aa", b"aaa"),
            ("/a{,}/", b"a{,}", b"a"),
            ("/}]/", b"}]", b"]}"),
            ("/[[]a[]]/", b"[a]", b"a"),
            ("/[^]a]/", b"b", b"]"),
            ("/[a&&b]/", b"&", b"c"),
            ("/[a~~c]/", b"~", b"b"),
            ("/[a-c-e]/", b"-", b"d"),
            (r"/[\w-]/", b"-", b"."),
            (r"/[a-\d]/", b"-", b"b"),
            (r"/^[^\s\d]$/", b"x", b"1"),
            ("/^[[:alpha:]_]+$/", b"a_", b"1"),
            ("/[[:^digit:]]/", b"a", b"1"),
            (r"/[\b]/", b"\x08", b"b"),
            (r"/a\hb\vc/", b"a\tb\rc", b"a\nb c"),
            (r"/^\H\V$/", b"ab", b" b"),
            (r"/a\Rb/", b"a\r\nb", b"ab"),
            ("/ab c # d/x", b"abc", b"ab c"),
            (r"/[ ]a\ b/x", b" a b", b"ab"),
            ("/a(?i)b/", b"aB", b"AB"),
            ("/a(?i:b)c/", b"aBc", b"aBC"),
            ("/a(?-i:b)c/i", b"AbC", b"ABC"),
            ("/(a(?i)b)c/", b"aBc", b"aBC"),
            ("/(?^:a)B/i", b"ab", b"Ab"),
            ("/(?aa)a/", b"a", b"b"),
            ("/(?<n>a)(?P<m>b)(?'o'c)/", b"abc", b"n"),
            ("/a(?#comment)b/", b"ab", b"comment"),
            ("/(?|a|b)c/", b"bc", b"c"),
            ("/a+?b/", b"aab", b"b"),
            (r"/\bfoo\b/", b"a foo.", b"food"),
            ("/a|^$/", b"", b"b"),
            ("/#/", b"#", b"a"),
        ] {
            assert!(matches(pattern, yes), "{pattern} must match {}", yes.escape_ascii());
            assert!(!matches(pattern, no), "{pattern} must not match {}", no.escape_ascii());
        }
    }

    #[test]
    fn what_needs_backtracking_is_refused_by_name() {
        for pattern in [
            "/a(?=b)/",
            "/a(?!b)/",
            "/(?<=a)b/",
            "/(?<!a)b/",
            r"/(a)\1/",
            "/(?>a)b/",
            "/a++b/",
            r"/(a)\g1/",
            "/(?R)/",
            "/a{2}+/",
        ] {
            let error = translate(pattern.as_bytes()).expect_err(pattern);
            assert!(matches!(error, PatternError::Backtracking(_)), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            "",
            "/",
            "//",
            "abc",
            "/abc",
            "m",
            "ma b",
            "/a/q",
            "/(a/",
            "/a)/",
            "/[a/",
            "/a\\/",
            "/[z-a]/",
            "/(?",
            "/(?i/",
            "/*a/",
            r"/\p{L}/",
            r"/\x{2019}/",
            r"/\x{41/",
            "/[[:what:]]/",
            "/(?k)/",
            "/a{2,1}/",
        ] {
            let compiled =
                translate(pattern.as_bytes()).and_then(|translated| compile(&translated, COMPILED_OCTETS_MAX));
            assert!(compiled.is_err(), "{pattern}");
        }
    }

    #[test]
    fn large_patterns_are_refused() {
        let compiled = translate(br"/(?:(?:\w{1000}){1000}){1000}/")
            .and_then(|translated| compile(&translated, COMPILED_OCTETS_MAX));
        assert_eq!(compiled.map(|_| ()), Err(PatternError::TooLarge));
        let deep = format!("/{}a{}/", "(".repeat(20_000), ")".repeat(20_000));
        assert!(translate(deep.as_bytes()).and_then(|translated| compile(&translated, COMPILED_OCTETS_MAX)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let _ = translate(&[b"/", &octets[..], b"/x"].concat()).and_then(|translated| compile(&translated, COMPILED_OCTETS_MAX));
        }

        /// Pattern-like text: what is translated either compiles or is refused.
        #[test]
        fn no_pattern_panics(pattern in r"[\[\]\\(){}?*+^$.|:#<>=!a-c0-9,\-ixmsPdwNkg]{0,24}") {
            let _ = translate(format!("/{pattern}/").as_bytes()).and_then(|translated| compile(&translated, COMPILED_OCTETS_MAX));
        }
    }
}
