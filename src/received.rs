//! Received fields (RFC 5321 section 4.4): what an MTA on the way wrote of the client that it had.
//!
//! *Does:* reads one field into a [`Hop`], as Postfix, Exim, Sendmail, qmail, Exchange, OpenSMTPD and mxkeep spell it.
//! *Guarantees:* total and bounded: any octets are read, at most [`FIELD_OCTETS_MAX`] of a field, in one pass. The address is
//! the one that the writer saw: what its client chose (HELO, the name in its PTR record, the answer of its ident service)
//! stands in fields of its own, and where it could be taken for the address there is none. Texts have no white space and no
//! control characters, and at most [`TEXT_OCTETS_MAX`] octets.
//! *Never does:* say whether a field is true. Whoever hands a message over can write any; only fields that somebody wrote
//! whom one trusts say anything.

use std::iter::Peekable;
use std::net::IpAddr;

use crate::message::Field;

/// Octets of one field that are read.
pub const FIELD_OCTETS_MAX: usize = 8192;
/// The longest text in a [`Hop`], in octets: a domain has 253.
pub const TEXT_OCTETS_MAX: usize = 255;
/// Words and comments of one field that are read.
const PARTS_MAX: usize = 100;
/// Comments within comments.
const COMMENT_DEPTH_MAX: usize = 10;

/// One hop: who handed the message to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hop {
    /// What the client called itself in HELO or EHLO, as it was written: a name, an address literal, or junk.
    pub helo: Option<String>,
    /// The name that the writer found for the client's address; none if it says that it does not trust it.
    pub client_name: Option<String>,
    /// The client's address; an IPv4-mapped IPv6 address has been unmapped.
    pub address: Option<IpAddr>,
    /// Who wrote the field, as it calls itself.
    pub by: String,
    /// The protocol, such as `ESMTPS` (RFC 3848), in upper case.
    pub with: Option<String>,
    /// The writer's id of the message.
    pub id: Option<String>,
}

impl Hop {
    /// Had the client authenticated itself to the writer (RFC 3848)? Then it is a user of the writer's, not an MTA.
    pub fn is_authenticated(&self) -> bool {
        matches!(
            self.with.as_deref(),
            Some("ESMTPA" | "ESMTPSA" | "UTF8SMTPA" | "UTF8SMTPSA" | "LMTPA" | "LMTPSA" | "ASMTP")
        )
    }
}

/// Reads a field. `None`: it is no Received field, or not one in a form that we know.
pub fn parse(field: &Field<'_>) -> Option<Hop> {
    if !field.is("Received") {
        return None;
    }
    let body = field.body.get(..FIELD_OCTETS_MAX).unwrap_or(field.body);
    let text = String::from_utf8_lossy(body);
    let mut parts = Reader(Parts { rest: &text, left: PARTS_MAX }.peekable());
    parts.comments();
    let from = match parts.keyword("from") {
        true => Some((parts.word()?, parts.comments())),
        false => None,
    };
    if !parts.keyword("by") {
        return None;
    }
    let mut hop = Hop { by: clean(parts.word()?)?, ..Hop::default() };
    let exim = hop.read_rest(parts);
    if let Some((name, comments)) = from {
        hop.read_from(name, &comments, exim);
    }
    Some(hop)
}

/// Is it what qmail's queue puts on top of the field of its SMTP server: `(qmail 4711 invoked from network); ...`? What came
/// from a program on that host (`invoked by uid 1001`) has no such field, and none of qmail's below it.
pub fn is_queued_from_network(field: &Field<'_>) -> bool {
    let body = field.body.get(..FIELD_OCTETS_MAX).unwrap_or(field.body);
    let text = String::from_utf8_lossy(body);
    let mut parts = Reader(Parts { rest: &text, left: PARTS_MAX }.peekable());
    let number = match parts.comments().as_slice() {
        [comment] => comment.strip_prefix("qmail ").and_then(|rest| rest.strip_suffix(" invoked from network")),
        _ => None,
    };
    field.is("Received") && number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) && parts.0.next().is_none()
}

impl Hop {
    /// What stands behind the writer's name. Was it Exim? What is broken there ends the reading: it may be the client's
    /// doing, for Exim puts the reverse-path into a comment.
    fn read_rest(&mut self, mut parts: Reader<'_>) -> bool {
        let mut exim = false;
        while let Some(part) = parts.0.next() {
            let slot = match part {
                Part::Comment(comment) => {
                    exim |= comment.starts_with("Exim ");
                    continue;
                }
                Part::Word(word) if word.eq_ignore_ascii_case("with") => &mut self.with,
                Part::Word(word) if word.eq_ignore_ascii_case("id") => &mut self.id,
                Part::Word(_) => continue,
            };
            let value = parts.word().and_then(clean);
            if slot.is_none() {
                *slot = value;
            }
        }
        self.with.iter_mut().for_each(|with| with.make_ascii_uppercase());
        exim
    }

    /// `from name (...)`. The name is what the client said, but for Exim and qmail, which say there what they found.
    fn read_from(&mut self, name: &str, comments: &[&str], exim: bool) {
        let first = comments.first().copied().unwrap_or_default();
        if let Some(helo) = helo_comment(first) {
            // qmail: from NAME (HELO helo) (ident@192.0.2.1)
            self.client_name = known_name(name);
            self.helo = clean(helo);
            self.address = comments.get(1).and_then(|comment| plain_address(comment.trim()));
            return;
        }
        let info = TcpInfo::read(first);
        match (info.addresses.as_slice(), info.is_exim) {
            // Exim: from NAME ([192.0.2.1] helo=helo)
            ([address], true) if info.begins_with_address => {
                self.client_name = known_name(name);
                self.helo = info.helo.and_then(clean);
                self.address = *address;
            }
            // Exim, where the address has no name: from [192.0.2.1] (helo=helo)
            ([], true) => {
                self.helo = info.helo.and_then(clean);
                self.address = bracketed(name).flatten();
            }
            // Postfix and most others: from helo (NAME [192.0.2.1])
            ([address], false) => {
                self.helo = clean(name);
                self.client_name = info.name.and_then(known_name).filter(|_| !info.is_doubted);
                self.address = *address;
                if exim && info.begins_with_address {
                    self.client_name.clone_from(&self.helo);
                }
            }
            // Exchange: from helo (192.0.2.1). Or nothing is said.
            ([], false) => {
                self.helo = clean(name);
                self.address = info.only.and_then(plain_address);
                // Exim, where the client calls itself by its address: from [192.0.2.1]
                if exim && comments.is_empty() {
                    self.address = bracketed(name).flatten();
                }
            }
            // Two addresses, or one where none belongs: one of them is what the client chose.
            _ => self.helo = clean(name),
        }
    }
}

/// The comment behind the client's name (RFC 5321 section 4.4 `TCP-info`, and what MTAs make of it).
#[derive(Default)]
struct TcpInfo<'a> {
    /// What stands in brackets, in order; `None` within: no address.
    addresses: Vec<Option<IpAddr>>,
    begins_with_address: bool,
    /// The word before the address.
    name: Option<&'a str>,
    /// The word, if it is the only one.
    only: Option<&'a str>,
    /// It has `helo=`, `ident=` or `port=`, as Exim writes them.
    is_exim: bool,
    helo: Option<&'a str>,
    /// `may be forged`: Sendmail found no way back from the name to the address.
    is_doubted: bool,
}

impl<'a> TcpInfo<'a> {
    fn read(comment: &'a str) -> Self {
        let mut info = TcpInfo::default();
        let (mut count, mut last) = (0, None);
        for part in (Parts { rest: comment, left: PARTS_MAX }) {
            let word = match part {
                Part::Word(word) => word,
                Part::Comment(comment) => {
                    info.is_doubted |= comment.contains("may be forged");
                    continue;
                }
            };
            let key = |key: &str| word.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key));
            if let Some(address) = bracketed(word) {
                info.begins_with_address |= count == 0;
                info.addresses.push(address);
                info.name = last;
            } else if key("helo=") {
                info.is_exim = true;
                info.helo = info.helo.or(word.get("helo=".len()..));
            } else if key("ident=") || key("port=") {
                info.is_exim = true;
            }
            count += 1;
            last = Some(word);
        }
        info.only = last.filter(|_| count == 1);
        info
    }
}

/// A word or a comment of a field's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Word(&'a str),
    /// Without its parentheses.
    Comment(&'a str),
}

/// The parts of a text, up to a semicolon (the date follows), or to what is no part.
struct Parts<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        self.left = self.left.checked_sub(1)?;
        let text = self.rest.trim_ascii_start();
        // Nothing follows what cannot be read.
        self.rest = "";
        let (part, rest) = match text.as_bytes().first()? {
            b'(' => comment(text)?,
            b')' | b';' => return None,
            _ => {
                let ends = |b: u8| b.is_ascii_whitespace() || matches!(b, b'(' | b')' | b';');
                let end = text.bytes().position(ends).unwrap_or(text.len());
                let (word, rest) = text.split_at_checked(end)?;
                (Part::Word(word), rest)
            }
        };
        self.rest = rest;
        Some(part)
    }
}

/// A comment at the front, and what follows it (RFC 5322 section 3.2.2).
fn comment(text: &str) -> Option<(Part<'_>, &str)> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' if depth == COMMENT_DEPTH_MAX => return None,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some((Part::Comment(text.get(1..at)?), text.get(at + 1..)?)),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

struct Reader<'a>(Peekable<Parts<'a>>);

impl<'a> Reader<'a> {
    /// Takes this word off the front, in any case, if it is there.
    fn keyword(&mut self, keyword: &str) -> bool {
        let is_it = |part: &Part<'_>| matches!(part, Part::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.0.next_if(is_it).is_some()
    }

    /// Takes a word off the front, if there is one.
    fn word(&mut self) -> Option<&'a str> {
        match self.0.next_if(|part| matches!(part, Part::Word(_)))? {
            Part::Word(word) => Some(word),
            Part::Comment(_) => None,
        }
    }

    /// Takes all comments off the front.
    fn comments(&mut self) -> Vec<&'a str> {
        let mut comments = Vec::new();
        while let Some(Part::Comment(comment)) = self.0.next_if(|part| matches!(part, Part::Comment(_))) {
            comments.push(comment);
        }
        comments
    }
}

/// What follows `HELO` or `EHLO` in a comment.
fn helo_comment(comment: &str) -> Option<&str> {
    let (keyword, helo) = comment.trim_ascii().split_once(char::is_whitespace)?;
    let is_keyword = keyword.eq_ignore_ascii_case("HELO") || keyword.eq_ignore_ascii_case("EHLO");
    is_keyword.then(|| helo.trim_ascii())
}

/// `[192.0.2.1]`, `[2001:db8::1]`, `[IPv6:2001:db8::1]`, perhaps with `:port` behind it. The outer `None`: no brackets.
fn bracketed(word: &str) -> Option<Option<IpAddr>> {
    let (inside, behind) = word.strip_prefix('[')?.split_once(']')?;
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let whole = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
    Some(address(inside).filter(|_| whole))
}

/// `192.0.2.1`, `ident@192.0.2.1`, or in brackets.
fn plain_address(word: &str) -> Option<IpAddr> {
    let (_, word) = word.rsplit_once('@').unwrap_or(("", word));
    bracketed(word).unwrap_or_else(|| address(word))
}

fn address(text: &str) -> Option<IpAddr> {
    let tag = text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let text = text.get(tag.map_or(0, str::len)..)?;
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A name that the writer found; `unknown` is none.
fn known_name(name: &str) -> Option<String> {
    // Sendmail and qmail put the answer of the client's ident service before it.
    let (_, name) = name.rsplit_once('@').unwrap_or(("", name));
    let name = name.strip_suffix('.').unwrap_or(name);
    clean(name).filter(|name| !name.eq_ignore_ascii_case("unknown") && !name.starts_with('['))
}

/// A text without white space and control characters, which become `?`; cut where it is too long.
fn clean(text: &str) -> Option<String> {
    let end = text.floor_char_boundary(TEXT_OCTETS_MAX);
    let printable = |c: char| if c.is_whitespace() || c.is_control() { '?' } else { c };
    let clean: String = text.get(..end)?.chars().map(printable).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn read(body: &str) -> Option<Hop> {
        let message = Message::new(format!("Received: {body}\r\n\r\n").into_bytes());
        parse(&message.field("received").unwrap())
    }

    /// HELO, the client's name, its address; `-` for none.
    fn from(body: &str) -> [String; 3] {
        let hop = read(body).unwrap_or_else(|| panic!("{body} is not read"));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        [or_dash(hop.helo), or_dash(hop.client_name), or_dash(hop.address.map(|address| address.to_string()))]
    }

    #[test]
    fn each_spelling_is_read() {
        let table = [
            // Postfix
            (
                "from helo.example (name.example [192.0.2.1])\r\n\t(using TLSv1.3 with cipher X (256/256 bits)\r\n\t \
                  key-exchange Y (2048 bits))\r\n\t(No client certificate requested)\r\n\tby mx.example (Postfix) with \
                  ESMTPS id 4XYZ\r\n\tfor <a@mx.example>; Mon, 1 Jan 2029 00:00:00 +0000 (UTC)",
                ["helo.example", "name.example", "192.0.2.1"],
            ),
            ("from h (unknown [192.0.2.1]) by mx", ["h", "-", "192.0.2.1"]),
            ("from h (unknown [unknown]) by mx", ["h", "-", "-"]),
            ("from [10.0.0.1] (n.example [192.0.2.1]) by mx", ["[10.0.0.1]", "n.example", "192.0.2.1"]),
            ("from h (n.example [IPv6:2001:db8::1]) by mx", ["h", "n.example", "2001:db8::1"]),
            ("FROM h (n.example [ipv6:2001:DB8::1]) BY mx", ["h", "n.example", "2001:db8::1"]),
            // Gmail, OpenSMTPD, Courier
            ("from h (n.example. [2001:db8::1]) by mx", ["h", "n.example", "2001:db8::1"]),
            ("from h (n.example [::ffff:192.0.2.1]) by mx", ["h", "n.example", "192.0.2.1"]),
            // Exim
            (
                "from n.example ([192.0.2.1] helo=h)\r\n\tby mx with esmtps (TLS1.3) (Exim 4.96)",
                ["h", "n.example", "192.0.2.1"],
            ),
            ("from n.example ([192.0.2.1]:4711 helo=[10.0.0.1]) by mx", ["[10.0.0.1]", "n.example", "192.0.2.1"]),
            ("from n.example ([192.0.2.1] ident=root helo=h) by mx", ["h", "n.example", "192.0.2.1"]),
            ("from n.example ([192.0.2.1]) by mx with esmtp (Exim 4.96)", ["n.example", "n.example", "192.0.2.1"]),
            ("from [192.0.2.1] (helo=h) by mx with esmtp (Exim 4.96)", ["h", "-", "192.0.2.1"]),
            ("from [192.0.2.1]:25 (port=25 helo=[8.8.8.8]) by mx", ["[8.8.8.8]", "-", "192.0.2.1"]),
            ("from [192.0.2.1] by mx with smtp (Exim 4.96)", ["[192.0.2.1]", "-", "192.0.2.1"]),
            ("from root (helo=localhost) by mx with local-esmtp (Exim 4.96)", ["localhost", "-", "-"]),
            // Sendmail
            ("from h (n.example [192.0.2.1]) by mx (8.17/8.17) with ESMTP id x", ["h", "n.example", "192.0.2.1"]),
            ("from h (n.example [192.0.2.1] (may be forged)) by mx", ["h", "-", "192.0.2.1"]),
            ("from h ([192.0.2.1]) by mx", ["h", "-", "192.0.2.1"]),
            ("from h (IDENT:u@n.example [192.0.2.1]) by mx", ["h", "n.example", "192.0.2.1"]),
            // qmail
            ("from unknown (HELO h) (192.0.2.1) by mx with SMTP; 1 Jan", ["h", "-", "192.0.2.1"]),
            ("from n.example (HELO h) (ident@192.0.2.1)\n by mx with SMTP", ["h", "n.example", "192.0.2.1"]),
            ("from n.example (192.0.2.1) by mx with SMTP", ["n.example", "-", "192.0.2.1"]),
            // Exchange
            ("from h (192.0.2.1) by mx (192.0.2.9) with Microsoft SMTP Server id 15", ["h", "-", "192.0.2.1"]),
            ("from h (2001:db8::1) by mx (2001:db8::2) with Microsoft SMTP Server", ["h", "-", "2001:db8::1"]),
            ("from h ([fe80::1%12]) by mx ([fe80::1%12]) with mapi", ["h", "-", "-"]),
            // mxkeep
            (
                "from h (unknown [192.0.2.1])\r\n\tby mx (mxkeep) with ESMTP id 0\r\n\tfor <a@b>; 1",
                ["h", "-", "192.0.2.1"],
            ),
            // Nothing is said.
            ("from h by mx with LMTP id x", ["h", "-", "-"]),
            ("by mx (Postfix, from userid 0) id 4X", ["-", "-", "-"]),
            ("(qmail 1 invoked by uid 0); 1 Jan", ["-", "-", "-"]),
        ];
        for (body, expected) in table {
            match body.starts_with("(qmail") {
                true => assert_eq!(read(body), None),
                false => assert_eq!(from(body), expected, "{body}"),
            }
        }
    }

    /// What a client chooses is its HELO, the name in its PTR record, its ident answer and its reverse-path.
    #[test]
    fn nothing_that_the_client_chose_becomes_the_address() {
        let table = [
            ("from [8.8.8.8] by mx with ESMTP id x", "-"),
            ("from [8.8.8.8] (unknown) by mx", "-"),
            ("from [8.8.8.8] (helo=h [192.0.2.1]) by mx", "-"),
            ("from [8.8.8.8] (n.example [192.0.2.1]) by mx with esmtp (Exim 4.96)", "192.0.2.1"),
            ("from h (8.8.8.8 [192.0.2.1]) by mx", "192.0.2.1"),
            ("from h ([8.8.8.8] [192.0.2.1]) by mx", "-"),
            ("from h ([8.8.8.8]x [192.0.2.1]) by mx", "-"),
            ("from h (8.8.8.8 n.example) by mx", "-"),
            ("from n ([192.0.2.1] helo=[8.8.8.8]) by mx", "192.0.2.1"),
            ("from n ([192.0.2.1] helo=h ident=a [8.8.8.8]) by mx", "-"),
            ("from [192.0.2.1] (helo=h ident=a [8.8.8.8]) by mx", "-"),
            ("from n (HELO h) (8.8.8.8@192.0.2.1) by mx", "192.0.2.1"),
            ("from n (HELO [8.8.8.8]) by mx", "-"),
            ("from h (n [192.0.2.1]) by mx (Exim 4) (envelope-from <\"x) from y ([8.8.8.8]\"@z>)", "192.0.2.1"),
            ("from h (n [192.0.2.1]) by mx (Exim 4) (envelope-from <\"x(\"@z>) id 1", "192.0.2.1"),
        ];
        for (body, expected) in table {
            assert_eq!(from(body)[2], expected, "{body}");
        }
    }

    #[test]
    fn the_rest_is_read_too() {
        let hop =
            read("from h (n [192.0.2.1]) by mx.example (x) via t with esmtpsa id 4X\r\n\tfor <a@b>; 1 Jan").unwrap();
        assert_eq!(
            (hop.by.as_str(), hop.with.as_deref(), hop.id.as_deref()),
            ("mx.example", Some("ESMTPSA"), Some("4X"))
        );
        assert!(hop.is_authenticated());
        let hop = read("from h by mx with ESMTPS with ESMTPA; with ESMTPA").unwrap();
        assert!(hop.with.as_deref() == Some("ESMTPS") && !hop.is_authenticated());
    }

    #[test]
    fn what_is_not_understood_is_none() {
        let table = [
            "",
            ";",
            "from",
            "from h",
            "from h (n [192.0.2.1])",
            "from h (n [192.0.2.1]) x by mx",
            "from a b (n [192.0.2.1]) by mx",
            "from h (n [192.0.2.1] by mx",
            "from h (n [192.0.2.1])) by mx",
            "from h (n [192.0.2.1\\) by mx",
            "from h; (n [192.0.2.1]) by mx",
            "from h (n [192.0.2.1]) by",
            "from h (n [192.0.2.1]) by (mx)",
            "to h (n [192.0.2.1]) by mx",
        ];
        for body in table {
            assert_eq!(read(body), None, "{body}");
        }
        let message = Message::new(b"X-Received: from h (n [192.0.2.1]) by mx\r\n\r\n".to_vec());
        assert_eq!(parse(&message.field("X-Received").unwrap()), None);
    }

    #[test]
    fn hostile_fields_are_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("(".repeat(depth), ")".repeat(depth));
            read(&format!("from h (n [192.0.2.1] {open}{close}) by mx")).is_some()
        };
        assert!(nested(COMMENT_DEPTH_MAX - 1) && !nested(COMMENT_DEPTH_MAX) && !nested(500_000));
        assert_eq!(read(&format!("from h {} by mx", "(x) ".repeat(PARTS_MAX))), None);
        // A field of a megabyte: what stands in its first octets is read.
        let tail = "x ".repeat(500_000);
        assert_eq!(from(&format!("from h (n [192.0.2.1]) by mx {tail}"))[2], "192.0.2.1");
        assert_eq!(read(&format!("from {} (n [192.0.2.1]) by mx", "h".repeat(1_000_000))), None);
        let hop = read(&format!("from {} (n [192.0.2.1]) by mx", "h".repeat(5000))).unwrap();
        assert_eq!(hop.helo.map(|helo| helo.len()), Some(TEXT_OCTETS_MAX));
        let hop = read("from h\0\u{fc}\u{7f} (n [192.0.2.1]) by mx").unwrap();
        assert_eq!(hop.helo.as_deref(), Some("h?\u{fc}?"));
    }

    /// Every octet string made of what matters to the parser, and every cut of a good field.
    #[test]
    fn any_octets_are_read() {
        let alphabet = b"(); \\[]@=.:1afrombyhel\r\n\t\xff";
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut body = Vec::new();
            for _ in 0..40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                body.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            let raw = [b"Received: from h (".as_slice(), &body].concat();
            let field = Field { name: b"Received", body: &raw[9..], raw: &raw };
            let _ = parse(&field);
        }
        let good = b" from h\xc3\xbc (n [IPv6:2001:db8::1] (x)) (y) by mx (Exim 4) with esmtp id 1; 2";
        for end in 0..=good.len() {
            let _ = parse(&Field { name: b"Received", body: &good[..end], raw: good });
        }
    }
}
