//! Addresses: the names that the envelope and the configuration are made of.
//!
//! *Does:* turns octets from the wire or the configuration into [`Domain`], [`Mailbox`], [`ReversePath`] and
//! [`ForwardPath`], by the grammar of RFC 5321 section 4.1.2 and 4.1.3, with the UTF-8 of RFC 6531 section 3.3 in it.
//! *Guarantees:* a value in hand is legal. No control character, no NUL, no line end and no unbounded length can exist in
//! one; a domain is lower-case ASCII (an IDN is in A-label form, whatever form it came in). Parsing is iterative and never
//! panics.
//! *Never does:* look anything up, decide whether an address exists, or whether UTF-8 was announced (SMTPUTF8 is the
//! session's business).
//! *Lenient where real senders are:* underscores in domain labels, and a local-part of more than the 64 octets of RFC 5321
//! section 4.5.3.1.1 (bounce addresses carry longer ones), up to [`LOCAL_PART_OCTETS_MAX`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// The longest local-part that is accepted, unquoted, in octets. RFC 5321 section 4.5.3.1.1 guarantees senders 64.
pub const LOCAL_PART_OCTETS_MAX: usize = 256;
/// The longest domain in octets (RFC 5321 section 4.5.3.1.2 says 255 with its dots; DNS leaves 253 for the text form).
pub const DOMAIN_OCTETS_MAX: usize = 253;
/// The longest path, with its angle brackets and source route, in octets. RFC 5321 section 4.5.3.1.3 guarantees 256.
pub const PATH_OCTETS_MAX: usize = 1024;

/// Why octets are not an address. The text is fit for an SMTP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A path must stand between `<` and `>` (RFC 5321 section 4.1.2).
    #[error("the path must stand in angle brackets")]
    NoBrackets,
    /// The local-part is empty, has an illegal character, or a misplaced dot.
    #[error("the local-part is not valid")]
    LocalPart,
    /// There is no `@` and no domain.
    #[error("the address has no domain")]
    NoDomain,
    /// The domain or address literal breaks RFC 5321 section 4.1.2 or 4.1.3.
    #[error("the domain is not valid")]
    Domain,
    /// One part is longer than its limit.
    #[error("the address is too long")]
    TooLong,
    /// A domain with octets over 127 where A-labels belong (RFC 6531 section 3.7.1: EHLO).
    #[error("the domain is not ASCII")]
    NotAscii,
}

/// A DNS domain: labels of letters, digits, hyphens and underscores, lower-case, without the final dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads an ASCII domain (RFC 5321 section 4.1.2 `Domain`, plus underscores). Upper case is folded.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if text.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if !text.split('.').all(is_label) {
            return Err(AddressError::Domain);
        }
        Ok(Domain(text.to_ascii_lowercase().into()))
    }

    /// Reads a domain as people write it, Unicode labels included, and keeps its A-label form (RFC 5891). What is longer
    /// than any can be is not even looked at: IDNA's work grows with the square of a label.
    pub fn from_unicode(text: &str) -> Result<Self, AddressError> {
        if text.len() > PATH_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        // What only looks like an A-label is found here, where somebody can mend it.
        Self::from_u_labels(text.trim_end_matches('.'))
    }

    /// Reads a domain of A-labels and U-labels (RFC 6531 section 3.3). ASCII is read as [`Domain::parse`] does.
    fn from_labels(text: &str) -> Result<Self, AddressError> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        if text.len() > PATH_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        Self::from_u_labels(text)
    }

    fn from_u_labels(text: &str) -> Result<Self, AddressError> {
        // RFC 5891 section 4.2.3.1: a U-label neither begins nor ends with a hyphen. The A-label no longer shows it.
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Ignore)
            .map_err(|_| AddressError::Domain)?;
        Self::parse(&ascii)
    }

    /// The domain, lower-case, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is this the other domain, or one below it?
    pub fn is_at_or_below(&self, other: &Domain) -> bool {
        let rest = self.0.strip_suffix(other.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn is_label(label: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}

/// What stands behind the `@`, or in HELO and EHLO: a domain or an address literal (RFC 5321 section 4.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name.
    Domain(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl Host {
    /// Reads a domain or an address literal. General address literals (`[TAG:text]`) are unknown to us: refused.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.starts_with('[') || text.is_ascii() {
            true => Self::from_labels(text),
            false => Err(AddressError::NotAscii),
        }
    }

    /// The same, but a domain may have U-labels (RFC 6531 section 3.3).
    fn from_labels(text: &str) -> Result<Self, AddressError> {
        let Some(literal) = text.strip_prefix('[') else { return Domain::from_labels(text).map(Host::Domain) };
        let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
        let tag = literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let address = match tag {
            Some(_) => literal[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        address.map(Host::Literal).ok_or(AddressError::Domain)
    }

    /// The domain, if it is one.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(domain) => domain.fmt(f),
            Host::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Host::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// A mailbox: a local-part at a domain or address literal (RFC 5321 section 2.3.11).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local_part: Box<str>,
    host: Host,
}

impl Mailbox {
    /// Reads `local-part@domain` (RFC 5321 section 4.1.2 `Mailbox`, RFC 6531 section 3.3).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local_part, rest) = parse_local_part(text)?;
        let host = rest.strip_prefix('@').ok_or(AddressError::NoDomain)?;
        Ok(Mailbox { local_part, host: Host::from_labels(host)? })
    }

    /// A mailbox made of a local-part that is already known to be legal text, and a domain.
    pub fn new(local_part: &str, domain: &Domain) -> Result<Self, AddressError> {
        let mailbox = Mailbox { local_part: local_part.into(), host: Host::Domain(domain.clone()) };
        let legal = !local_part.is_empty() && local_part.chars().all(is_text);
        match legal && local_part.len() <= LOCAL_PART_OCTETS_MAX {
            true => Ok(mailbox),
            false => Err(AddressError::LocalPart),
        }
    }

    /// The local-part as it is meant: quotes and backslashes of a quoted string are gone (RFC 5321 section 4.1.2 says
    /// that both forms are the same mailbox). Its case is kept (section 2.4).
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// What stands behind the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, unless it is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        self.host.domain()
    }
}

impl fmt::Display for Mailbox {
    /// As it may stand in a path: the local-part is quoted where it has to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local_part) {
            return write!(f, "{}@{}", self.local_part, self.host);
        }
        f.write_str("\"")?;
        for c in self.local_part.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c => write!(f, "{c}")?,
            }
        }
        write!(f, "\"@{}", self.host)
    }
}

/// Takes a local-part off the front: its meaning, and what follows.
fn parse_local_part(text: &str) -> Result<(Box<str>, &str), AddressError> {
    let (local_part, rest) = match text.strip_prefix('"') {
        Some(quoted) => parse_quoted(quoted)?,
        None => {
            let end = text.find('@').ok_or(AddressError::NoDomain)?;
            (text[..end].to_owned(), &text[end..])
        }
    };
    if local_part.len() > LOCAL_PART_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    if !text.starts_with('"') && !is_dot_string(&local_part) || local_part.is_empty() {
        return Err(AddressError::LocalPart);
    }
    Ok((local_part.into(), rest))
}

/// What may stand in a local-part at all: printable ASCII, space, and what is no control character or line end beyond
/// (RFC 6531 section 3.3 allows any UTF-8; RFC 5198 section 2 has such characters avoided).
fn is_text(c: char) -> bool {
    (' '..='~').contains(&c) || !c.is_ascii() && !c.is_control() && !['\u{2028}', '\u{2029}'].contains(&c)
}

/// `Quoted-string` behind its first quote: text, and a backslash takes the next character of ASCII literally.
fn parse_quoted(text: &str) -> Result<(String, &str), AddressError> {
    let mut local_part = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            '"' => return Ok((local_part, &text[at + 1..])),
            '\\' => chars.next().filter(|(_, c)| c.is_ascii()).ok_or(AddressError::LocalPart)?.1,
            c => c,
        };
        if !is_text(c) {
            return Err(AddressError::LocalPart);
        }
        local_part.push(c);
    }
    Err(AddressError::LocalPart)
}

/// `Dot-string`: atoms of RFC 5322 `atext` and UTF-8 (RFC 6531 section 3.3) with single dots between them.
fn is_dot_string(text: &str) -> bool {
    let ascii = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let atext = |c: char| if c.is_ascii() { ascii(c) } else { is_text(c) };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

/// The argument of MAIL FROM: who is told if delivery fails (RFC 5321 section 4.1.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: notifications, which must cause no further ones (RFC 5321 section 4.5.5).
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads the octets between `FROM:` and the parameters, angle brackets included. A source route is dropped
    /// (RFC 5321 appendix C).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match path(text)? {
            "" => Ok(ReversePath::Null),
            mailbox => Mailbox::parse(mailbox).map(ReversePath::Mailbox),
        }
    }

    /// The mailbox, unless it is the null reverse-path.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl fmt::Display for ReversePath {
    /// Without angle brackets; the null reverse-path is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |mailbox| mailbox.fmt(f))
    }
}

/// The argument of RCPT TO: one recipient (RFC 5321 section 4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, in any case (RFC 5321 section 4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads the octets between `TO:` and the parameters, angle brackets included. A source route is dropped
    /// (RFC 5321 appendix C).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match path(text)? {
            postmaster if postmaster.eq_ignore_ascii_case("postmaster") => Ok(ForwardPath::Postmaster),
            mailbox => Mailbox::parse(mailbox).map(ForwardPath::Mailbox),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// Without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("postmaster"),
            ForwardPath::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// What stands between the brackets, without a source route.
fn path(text: &str) -> Result<&str, AddressError> {
    if text.len() > PATH_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).ok_or(AddressError::NoBrackets)?;
    if !inner.starts_with('@') {
        return Ok(inner);
    }
    // A colon in an address literal is not the one behind the route.
    let mut in_literal = false;
    let is_end = |c: char| {
        in_literal = c == '[' || in_literal && c != ']';
        c == ':' && !in_literal
    };
    let end = inner.find(is_end).ok_or(AddressError::Domain)?;
    let (route, mailbox) = (&inner[..end], &inner[end + 1..]);
    let hop = |hop: &str| hop.strip_prefix('@').is_some_and(|domain| Host::from_labels(domain).is_ok());
    match route.split(',').all(hop) {
        // A route to nowhere is not the null reverse-path (RFC 5321 section 4.1.2: Path ends with a Mailbox).
        true if mailbox.is_empty() => Err(AddressError::NoDomain),
        true => Ok(mailbox),
        false => Err(AddressError::Domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Result<String, AddressError> {
        Mailbox::parse(text).map(|m| m.to_string())
    }

    #[test]
    fn a_mailbox_is_read_by_the_grammar() {
        assert_eq!(mailbox("Alice@Example.ORG").unwrap(), "Alice@example.org");
        assert_eq!(mailbox("a.b+c@x").unwrap(), "a.b+c@x");
        assert_eq!(mailbox("\"a b\"@x").unwrap(), "\"a b\"@x");
        assert_eq!(mailbox("\"a\\\"@b\"@x.y").unwrap(), "\"a\\\"@b\"@x.y");
        assert_eq!(mailbox("\"alice\"@x").unwrap(), "alice@x");
        assert_eq!(mailbox("a@[192.0.2.1]").unwrap(), "a@[192.0.2.1]");
        assert_eq!(mailbox("a@[ipv6:2001:DB8::1]").unwrap(), "a@[IPv6:2001:db8::1]");
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        use AddressError::*;
        for (text, error) in [
            ("", NoDomain),
            ("alice", NoDomain),
            ("@x", LocalPart),
            (".a@x", LocalPart),
            ("a..b@x", LocalPart),
            ("a.@x", LocalPart),
            ("a b@x", LocalPart),
            ("\"\"@x", LocalPart),
            ("\"a@x", LocalPart),
            ("\"a\\", LocalPart),
            ("\"a\nb\"@x", LocalPart),
            ("a@", Domain),
            ("a@x..y", Domain),
            ("a@-x", Domain),
            ("a@x.", Domain),
            ("a@b@c", Domain),
            ("a@[192.0.2.256]", Domain),
            ("a@[IPv6:zz]", Domain),
            ("a@[TAG:x]", Domain),
            ("a@[192.0.2.1", Domain),
            ("\u{85}@x", LocalPart),
            ("a\u{2028}b@x", LocalPart),
            ("\"\u{9f}\"@x", LocalPart),
            ("\"\\\u{fc}\"@x", LocalPart),
            ("\u{fc}..a@x", LocalPart),
            ("a@\u{fc} x", Domain),
            ("a@\u{fc}.", Domain),
            ("a@[\u{fc}]", Domain),
            ("a@\u{202e}x", Domain),
        ] {
            assert_eq!(mailbox(text), Err(error), "{text:?}");
        }
        assert_eq!(mailbox(&format!("{}@x", "a".repeat(257))), Err(TooLong));
        assert_eq!(mailbox(&format!("a@{}", "a.".repeat(127))), Err(TooLong));
    }

    #[test]
    fn paths_have_brackets_and_lose_their_source_route() {
        assert_eq!(ReversePath::parse("<>"), Ok(ReversePath::Null));
        assert_eq!(ReversePath::parse("a@x"), Err(AddressError::NoBrackets));
        assert_eq!(ReversePath::parse("<@a,@b.c:d@e>").unwrap().to_string(), "d@e");
        assert_eq!(ReversePath::parse("<@[192.0.2.1],@[IPv6:2001:db8::1]:d@e>").unwrap().to_string(), "d@e");
        for text in ["<@a,b:d@e>", "<@a,,@b:d@e>", "<@a>", "<@[a:d@e>", "<@[IPv6:::1]>"] {
            assert_eq!(ReversePath::parse(text), Err(AddressError::Domain), "{text}");
        }
        assert_eq!(ReversePath::parse("<@a:>"), Err(AddressError::NoDomain));
        assert_eq!(ForwardPath::parse("<PostMaster>"), Ok(ForwardPath::Postmaster));
        assert_eq!(ForwardPath::parse("<>"), Err(AddressError::NoDomain));
    }

    #[test]
    fn a_mailbox_may_be_utf8() {
        for (text, expected) in [
            ("J\u{fc}rgen.\u{3c0}@b\u{fc}cher.example", "J\u{fc}rgen.\u{3c0}@xn--bcher-kva.example"),
            ("\"\u{fc} x\"@X", "\"\u{fc} x\"@x"),
            ("\"\u{7528}\u{6237}\"@x", "\u{7528}\u{6237}@x"),
            ("a@B\u{dc}CHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher\u{3002}example", "a@xn--bcher-kva.example"),
            ("a@xn--BCHER-kva.example", "a@xn--bcher-kva.example"),
        ] {
            assert_eq!(mailbox(text).as_deref(), Ok(expected), "{text:?}");
            // What is shown can be read, and is the same mailbox.
            assert_eq!(Mailbox::parse(expected), Mailbox::parse(text));
        }
        assert_eq!(mailbox(&format!("{}@x", "\u{fc}".repeat(129))), Err(AddressError::TooLong));
        assert_eq!(mailbox(&format!("a@{}", "\u{fc}".repeat(600))), Err(AddressError::TooLong));
        assert_eq!(ReversePath::parse("<@b\u{fc}cher.example:a@x>").unwrap().to_string(), "a@x");
        assert_eq!(Host::parse("b\u{fc}cher.example"), Err(AddressError::NotAscii));
        assert_eq!(mailbox("a@-b\u{fc}cher.example"), Err(AddressError::Domain));
        assert_eq!(mailbox("a@b\u{fc}cher-.example"), Err(AddressError::Domain));
    }

    #[test]
    fn unicode_domains_become_a_labels() {
        assert_eq!(Domain::from_unicode("B\u{fc}cher.example.").unwrap().as_str(), "xn--bcher-kva.example");
        assert!(Domain::from_unicode("a b").is_err());
        // A `d=` of a megabyte: IDNA took a third of a second for it, and a header has room for many.
        let long = format!("{}.", ('\u{4e00}'..).take(999).collect::<String>()).repeat(350);
        let begin = std::time::Instant::now();
        assert_eq!(Domain::from_unicode(&long), Err(AddressError::TooLong));
        assert!(begin.elapsed() < std::time::Duration::from_millis(50), "{:?}", begin.elapsed());
    }
}
