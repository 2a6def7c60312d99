//! Macro strings (RFC 7208 section 7): parsed once, expanded for one message.
//!
//! *Guarantees:* parsing is strict and total; an expansion has at most [`EXPANSION_OCTETS_MAX`] octets, whatever the sender
//! chose for its names.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Sender;

/// The longest expansion, in octets. What a DNS name can be is far below that.
pub const EXPANSION_OCTETS_MAX: usize = 4_096;

/// A `macro-string`, as it was written and as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroString {
    written: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Macro(Macro),
}

/// `%{ letter transformers delimiters }`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: char,
    /// The letter was in upper case: URL-escape the expansion.
    escape: bool,
    /// Right-hand parts to keep; 0: all.
    parts: usize,
    reverse: bool,
    delimiters: Box<str>,
}

/// What macros stand for, beside the sender: `%{d}` changes from record to record.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Who sends.
    pub sender: &'a Sender<'a>,
    /// `%{d}`: the domain whose record this is.
    pub domain: &'a str,
    /// `%{p}`: the client's validated name, if one was looked up.
    pub client_name: Option<&'a str>,
}

impl MacroString {
    /// A `domain-spec` (section 7.1): a macro-string that ends in `.toplabel`, with or without a final dot, or in a macro.
    pub fn domain_spec(text: &str) -> Option<Self> {
        let parsed = Self::parse(text, "slodiphv")?;
        let ends_well = match parsed.pieces.last()? {
            Piece::Macro(_) => true,
            Piece::Literal(_) if text.ends_with("%%") || text.ends_with("%_") || text.ends_with("%-") => false,
            Piece::Literal(_) => {
                let text = text.strip_suffix('.').unwrap_or(text);
                text.rsplit_once('.').is_some_and(|(_, label)| is_toplabel(label))
            }
        };
        ends_well.then_some(parsed)
    }

    /// A `macro-string`: the value of a modifier that nobody knows.
    pub fn any(text: &str) -> Option<Self> {
        Self::parse(text, "slodiphv")
    }

    /// An `explain-string` (section 6.2): spaces may stand in it, and the letters c, r and t.
    pub fn explanation(text: &str) -> Option<Self> {
        let words: Option<Vec<Self>> = text.split(' ').map(|word| Self::parse(word, "slodiphvcrt")).collect();
        let mut pieces = Vec::new();
        for (at, word) in words?.into_iter().enumerate() {
            if at > 0 {
                pieces.push(Piece::Literal(" ".into()));
            }
            pieces.extend(word.pieces.into_vec());
        }
        Some(MacroString { written: text.into(), pieces: pieces.into() })
    }

    fn parse(text: &str, letters: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..)?;
            if c != '%' {
                literal.push(Some(c).filter(char::is_ascii_graphic)?);
                continue;
            }
            let (kind, behind) = (rest.chars().next()?, rest.get(1..)?);
            rest = behind;
            match kind {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (inside, behind) = rest.split_once('}')?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                    }
                    pieces.push(Piece::Macro(Macro::parse(inside, letters)?));
                    rest = behind;
                }
                _ => return None,
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Some(MacroString { written: text.into(), pieces: pieces.into() })
    }

    /// Does it need the client's validated name, which costs lookups?
    pub fn needs_client_name(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: 'p', .. })))
    }

    /// Does the sender's local-part stand in it (`%{s}`, `%{l}`)?
    pub fn has_local_part(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: 's' | 'l', .. })))
    }

    /// As it was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The text that it stands for here, cut at [`EXPANSION_OCTETS_MAX`].
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Macro(found) => found.expand(values, &mut text),
            }
            if text.len() > EXPANSION_OCTETS_MAX {
                text.truncate(text.floor_char_boundary(EXPANSION_OCTETS_MAX));
                break;
            }
        }
        text
    }

    /// The DNS name that it stands for here. Of one that is too long labels are left out on its left side (section 7.3).
    pub fn expand_to_name(&self, values: &Values<'_>) -> String {
        /// The longest name in its text form (RFC 1035 section 2.3.4).
        const NAME_OCTETS_MAX: usize = 253;
        let text = self.expand(values);
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > NAME_OCTETS_MAX {
            match name.split_once('.') {
                Some((_, shorter)) => name = shorter,
                None => break,
            }
        }
        name.to_owned()
    }
}

/// `toplabel` (section 7.1): letters, digits and inner hyphens, not digits alone.
fn is_toplabel(label: &str) -> bool {
    let legal = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let edges = !label.starts_with('-') && !label.ends_with('-');
    legal && edges && !label.is_empty() && !label.bytes().all(|b| b.is_ascii_digit())
}

impl Macro {
    fn parse(text: &str, letters: &str) -> Option<Self> {
        let letter = text.chars().next().filter(char::is_ascii_alphabetic)?;
        if !letters.contains(letter.to_ascii_lowercase()) {
            return None;
        }
        let rest = text.get(1..)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = rest.split_at_checked(digits)?;
        // "If a DIGIT is specified, the value MUST be nonzero" (section 7.3). More parts than any name has are all of them.
        let parts = match number {
            "" => 0,
            number if number.bytes().all(|b| b == b'0') => return None,
            number => number.parse().unwrap_or(usize::MAX),
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        let legal = delimiters.bytes().all(|b| b".-+,/_=".contains(&b));
        legal.then(|| Macro {
            letter: letter.to_ascii_lowercase(),
            escape: letter.is_ascii_uppercase(),
            parts,
            reverse,
            delimiters: if delimiters.is_empty() { ".".into() } else { delimiters.into() },
        })
    }

    fn expand(&self, values: &Values<'_>, text: &mut String) {
        let value = self.value(values);
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let from = if self.parts == 0 { 0 } else { parts.len().saturating_sub(self.parts) };
        let joined = parts.get(from..).unwrap_or_default().join(".");
        match self.escape {
            false => text.push_str(&joined),
            true => escape(&joined, text),
        }
    }

    fn value(&self, values: &Values<'_>) -> String {
        let Sender { client, helo, local_part, domain, receiver, seconds } = *values.sender;
        match self.letter {
            's' => format!("{local_part}@{domain}"),
            'l' => local_part.to_owned(),
            'o' => domain.to_owned(),
            'd' => values.domain.to_owned(),
            'i' => dotted(client),
            'c' => client.to_string(),
            'p' => values.client_name.unwrap_or("unknown").to_owned(),
            'v' if client.is_ipv4() => "in-addr".to_owned(),
            'v' => "ip6".to_owned(),
            'h' => helo.to_owned(),
            'r' => receiver.to_owned(),
            't' => seconds.to_string(),
            // No other letter is parsed.
            _ => String::new(),
        }
    }
}

/// `%{i}`: IPv4 as ever, IPv6 as dot-separated hexadecimal digits (section 7.3).
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", address.to_bits());
            digits.split("").filter(|digit| !digit.is_empty()).collect::<Vec<_>>().join(".")
        }
    }
}

/// All but the unreserved characters of RFC 3986 section 2.3 are escaped.
fn escape(value: &str, text: &mut String) {
    for octet in value.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(octet)),
            // cannot fail: a String takes whatever is written to it.
            octet => drop(write!(text, "%{octet:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender<'static> {
        Sender {
            client: [192, 0, 2, 3].into(),
            helo: "mx.sender.example",
            local_part: "ann-box",
            domain: "mail.sender.example",
            receiver: "mx.example.org",
            seconds: 1_000,
        }
    }

    fn expand(text: &str, sender: &Sender<'_>) -> String {
        let values = Values { sender, domain: "mail.sender.example", client_name: None };
        MacroString::explanation(text).unwrap().expand(&values)
    }

    #[test]
    fn every_letter_and_transformer() {
        for (text, expected) in [
            ("%{s}", "ann-box@mail.sender.example"),
            (
                "%{o} %{d} %{d4} %{d2} %{d1}",
                "mail.sender.example mail.sender.example mail.sender.example sender.example example",
            ),
            ("%{dr} %{d2r}", "example.sender.mail sender.mail"),
            ("%{l-} %{lr-} %{l1r-}", "ann.box box.ann ann"),
            ("%{ir}.%{v}._spf", "3.2.0.192.in-addr._spf"),
            ("%{h} %{r} %{t} %{c} %{p}", "mx.sender.example mx.example.org 1000 192.0.2.3 unknown"),
            ("%{S}%%%_%-", "ann-box%40mail.sender.example% %20"),
        ] {
            assert_eq!(expand(text, &sender()), expected, "{text}");
        }
        let six = Sender { client: "2001:db8::cb01".parse().unwrap(), ..sender() };
        let nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6";
        assert_eq!(expand("%{ir}.%{v}", &six), nibbles);
        assert_eq!(expand("%{c}", &six), "2001:db8::cb01");
    }

    #[test]
    fn what_the_grammar_forbids_is_no_macro_string() {
        for text in
            ["%", "%x", "%{", "%{}", "%{z}", "%{d0}", "%{d2rr}", "%{d!}", "%{dr2}", "a b", "\u{fc}.example", "%{c}"]
        {
            assert_eq!(MacroString::any(text), None, "{text}");
        }
        for text in ["", "museum", "museum.", "a.123", "a.-b", "a.b-", "a..", "a.b%%", "%{r}.a"] {
            assert_eq!(MacroString::domain_spec(text), None, "{text}");
        }
        for text in ["a.b", "a.b.", "a.b-c", "%{d}", "x.%{d2}", "%{l}.a.1b", "%{d}/x.y"] {
            assert!(MacroString::domain_spec(text).is_some(), "{text}");
        }
    }

    #[test]
    fn expansions_are_bounded() {
        let long = "a.".repeat(200);
        let sender = Sender { local_part: &long, ..sender() };
        let values = Values { sender: &sender, domain: "d.example", client_name: None };
        let name = MacroString::domain_spec("%{l}.d.example").unwrap().expand_to_name(&values);
        assert!(name.len() <= 253 && name.ends_with("a..d.example"), "{name}");
        let many = MacroString::explanation(&"%{l}".repeat(100)).unwrap();
        assert_eq!(many.expand(&values).len(), EXPANSION_OCTETS_MAX);
    }
}
