//! SPF records (RFC 7208 sections 4.5, 4.6 and 12): parsed strictly, once.
//!
//! *Guarantees:* "a syntax error anywhere in the record" is an error (section 4.6). Work is linear in the record.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// Terms that a record may have. Ten of them may cause lookups (section 4.6.4); the rest is addresses.
pub const TERMS_MAX: usize = 1_024;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// In order.
    pub directives: Vec<Directive>,
    /// `redirect=` (section 6.1).
    pub redirect: Option<MacroString>,
    /// `exp=` (section 6.2).
    pub explanation: Option<MacroString>,
}

/// A mechanism and what its match means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// What a match means.
    pub qualifier: Qualifier,
    /// What matches.
    pub mechanism: Mechanism,
    /// As it was written.
    pub written: Box<str>,
}

/// Section 4.6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or none.
    Pass,
    /// `-`.
    Fail,
    /// `~`.
    SoftFail,
    /// `?`.
    Neutral,
}

/// Section 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// `all`.
    All,
    /// `include:`.
    Include(MacroString),
    /// `a`.
    A(Hosts),
    /// `mx`.
    Mx(Hosts),
    /// `ptr`.
    Ptr(Option<MacroString>),
    /// `ip4:`, with its prefix in bits.
    Ip4(Ipv4Addr, u8),
    /// `ip6:`, with its prefix in bits.
    Ip6(Ipv6Addr, u8),
    /// `exists:`.
    Exists(MacroString),
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The name; none: the domain whose record it is.
    pub name: Option<MacroString>,
    /// Prefix for IPv4 in bits.
    pub ip4_bits: u8,
    /// Prefix for IPv6 in bits.
    pub ip6_bits: u8,
}

/// The first term that breaks the grammar, cut to what an operator wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError(pub Box<str>);

/// Is this an SPF record (section 4.5)? `v=spf10` is not.
pub fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(6) {
        Some((version, rest)) => version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' ')),
        None => false,
    }
}

impl Record {
    /// Reads a text for which [`is_record`] holds.
    pub fn parse(text: &[u8]) -> Result<Self, SyntaxError> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)));
        let text = text.ok_or_else(|| SyntaxError("characters that are not ASCII".into()))?;
        let mut record = Record { directives: Vec::new(), redirect: None, explanation: None };
        let terms = text.split(' ').skip(1).filter(|term| !term.is_empty());
        for (at, term) in terms.enumerate() {
            if at >= TERMS_MAX {
                return Err(SyntaxError("more terms than are read".into()));
            }
            record.add(term).ok_or_else(|| SyntaxError(shown(term)))?;
        }
        Ok(record)
    }

    /// None: the term is not valid.
    fn add(&mut self, term: &str) -> Option<()> {
        match term.split_once('=').filter(|(name, _)| is_modifier_name(name)) {
            Some((name, value)) => self.add_modifier(name, value),
            None => {
                self.directives.push(Directive::parse(term)?);
                Some(())
            }
        }
    }

    fn add_modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let place = match () {
            () if name.eq_ignore_ascii_case("redirect") => &mut self.redirect,
            () if name.eq_ignore_ascii_case("exp") => &mut self.explanation,
            // An unknown modifier is ignored, but it has to be well-formed (section 6).
            () => return MacroString::any(value).map(drop),
        };
        // Section 6: each may appear once.
        match place.replace(MacroString::domain_spec(value)?) {
            None => Some(()),
            Some(_) => None,
        }
    }
}

fn shown(term: &str) -> Box<str> {
    /// What is shown of a term, in characters.
    const SHOWN_MAX: usize = 60;
    term.chars().take(SHOWN_MAX).collect::<String>().into()
}

/// `name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )`
fn is_modifier_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Directive {
    fn parse(term: &str) -> Option<Self> {
        let (qualifier, rest) = match term.as_bytes().first()? {
            b'+' => (Qualifier::Pass, &term[1..]),
            b'-' => (Qualifier::Fail, &term[1..]),
            b'~' => (Qualifier::SoftFail, &term[1..]),
            b'?' => (Qualifier::Neutral, &term[1..]),
            _ => (Qualifier::Pass, term),
        };
        Some(Directive { qualifier, mechanism: Mechanism::parse(rest)?, written: shown(term) })
    }
}

impl Mechanism {
    fn parse(text: &str) -> Option<Self> {
        let end = text.find([':', '/']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let argument = rest.strip_prefix(':');
        match name.to_ascii_lowercase().as_str() {
            "all" => rest.is_empty().then_some(Mechanism::All),
            "include" => MacroString::domain_spec(argument?).map(Mechanism::Include),
            "exists" => MacroString::domain_spec(argument?).map(Mechanism::Exists),
            "ptr" => match argument {
                None => rest.is_empty().then_some(Mechanism::Ptr(None)),
                Some(name) => MacroString::domain_spec(name).map(|name| Mechanism::Ptr(Some(name))),
            },
            "a" => Hosts::parse(rest).map(Mechanism::A),
            "mx" => Hosts::parse(rest).map(Mechanism::Mx),
            "ip4" => network(argument?, 32).map(|(address, bits)| Mechanism::Ip4(address, bits)),
            "ip6" => network(argument?, 128).map(|(address, bits)| Mechanism::Ip6(address, bits)),
            _ => None,
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        // A slash may stand in a macro's delimiters: prefixes begin behind the last brace.
        let from = text.rfind('}').map_or(0, |brace| brace + 1);
        let (name, prefixes) = prefixes(text, from)?;
        let name = match name.strip_prefix(':') {
            Some(name) => Some(MacroString::domain_spec(name)?),
            None if name.is_empty() => None,
            None => return None,
        };
        let (four, six) = match prefixes.split_once("//") {
            Some((four, six)) => (four, Some(six)),
            None => (prefixes, None),
        };
        let ip4_bits = match four.strip_prefix('/') {
            Some(bits) => prefix(bits, 32)?,
            None if four.is_empty() => 32,
            None => return None,
        };
        let ip6_bits = six.map_or(Some(128), |bits| prefix(bits, 128))?;
        Some(Hosts { name, ip4_bits, ip6_bits })
    }
}

/// What stands before the prefixes `/24//64` at the end, and they. A slash before them belongs to the name.
fn prefixes(text: &str, from: usize) -> Option<(&str, &str)> {
    let tail = text.get(from..)?;
    let name = tail.trim_end_matches(|c: char| c.is_ascii_digit() || c == '/').len();
    let slash = tail.get(name..)?.find('/');
    text.split_at_checked(slash.map_or(text.len(), |slash| from + name + slash))
}

fn network<A: std::str::FromStr>(text: &str, bits_max: u8) -> Option<(A, u8)> {
    match text.split_once('/') {
        Some((address, bits)) => Some((address.parse().ok()?, prefix(bits, bits_max)?)),
        None => Some((text.parse().ok()?, bits_max)),
    }
}

/// A decimal without leading zeros.
fn prefix(text: &str, bits_max: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let bits = Some(text).filter(|text| digits && (*text == "0" || !text.starts_with('0')))?.parse().ok()?;
    (bits <= bits_max).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_text() {
        for (text, expected) in
            [("v=spf1", true), ("V=SPF1 -all", true), ("v=spf10 -all", false), ("v=spf", false), ("v=DMARC1", false)]
        {
            assert_eq!(is_record(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn valid_records_are_read() {
        for text in [
            "v=spf1",
            "v=spf1 include:a.example ?include:%{d}.example redirect=b.example",
            "v=spf1 a a:x.example a/24 a//64 a:x.y/24//64 mx mx:y.z/0 ptr ptr:z.a ~all",
            "v=spf1  ip4:192.0.2.0/24 IP6:2001:db8::/32 +ip4:192.0.2.1 -ALL",
            "v=spf1 exists:%{ir}.%{v}._spf.%{d2} exp=e.%{o} x-unknown=%{s}%_%% -all",
            "v=spf1 a:%{d1r/}.x.y/24 moo.cow=1 -all",
            "v=spf1 a:a/b.example/24",
        ] {
            assert!(Record::parse(text.as_bytes()).is_ok(), "{text}");
        }
        let record = Record::parse(b"v=spf1 ?a:x.example/24//64 exp=e.example -all").unwrap();
        assert_eq!(record.directives.len(), 2);
        let Directive { qualifier, mechanism: Mechanism::A(hosts), written } = &record.directives[0] else { panic!() };
        assert_eq!((*qualifier, hosts.ip4_bits, hosts.ip6_bits), (Qualifier::Neutral, 24, 64));
        assert_eq!((hosts.name.as_ref().unwrap().written(), &**written), ("x.example", "?a:x.example/24//64"));
        assert_eq!(record.explanation.unwrap().written(), "e.example");
    }

    #[test]
    fn a_syntax_error_anywhere_spoils_the_record() {
        for term in [
            "ip4:300.1.1.1",
            "ip4:192.0.2.1/33",
            "ip4:192.0.2.1/024",
            "ip4:192.0.2.1/",
            "ip4",
            "ip6:192.0.2.1",
            "ip6:::1/129",
            "all:x",
            "all/8",
            "moo",
            "include",
            "include:",
            "include:a.b/24",
            "exists",
            "a:",
            "a/",
            "a/33",
            "a:x/24/24",
            "mx//129",
            "mx/24/",
            "redirect=a.b redirect=c.d",
            "exp=a.b exp=c.d",
            "redirect=",
            "exp=",
            "include:%x",
            "include:%{z}",
            "include:%{d",
            "include:museum",
            "ptr/0",
            "ptr:",
            "\u{fc}",
            "=x",
            "1=x",
            "x=%",
            "--all",
            "a:x.y:8080",
        ] {
            let text = format!("v=spf1 {term} -all");
            assert!(Record::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Record::parse(b"v=spf1\t-all").is_err());
        assert_eq!(Record::parse(b"v=spf1 a moo -all"), Err(SyntaxError("moo".into())));
        let long = format!("v=spf1{}", " ip4:192.0.2.1".repeat(TERMS_MAX + 1));
        assert!(Record::parse(long.as_bytes()).is_err());
    }

    /// Looking for the prefixes took time with the square of the slashes: seconds for the ten records of an evaluation.
    #[test]
    fn long_records_are_read_in_linear_time() {
        let begin = std::time::Instant::now();
        for piece in ["/", "/1", "a", ".", "%_", "%{d}", "%{d/}", "}/", " a/", "1"] {
            for front in ["v=spf1 a:", "v=spf1 a", "v=spf1 include:", "v=spf1 ip4:", "v=spf1 x="] {
                let text = format!("{front}{}.example", piece.repeat(32_768 / piece.len()));
                // Valid or not is not the question.
                let _ = Record::parse(text.as_bytes());
            }
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
    }
}
