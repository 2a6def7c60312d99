//! What an Authentication-Results field claims (RFC 8601 section 2.2): a parser.
//!
//! *Guarantees:* one pass, no recursion, bounded; what is no such field is None as a whole, never a part of it. Comments,
//! folding and quoting are undone. No string has a control character in it.
//! *Never does:* believe anything. Who wrote the field is for the caller to know.
//! *Read beyond the grammar,* as large receivers and sealers write it, and as it cannot change what is meant: a semicolon
//! at the end; a property without its ptype (`action=none`); `_` in names; `/`, `:`, `=` and `?` in a property's value
//! that is not quoted (IPv6 addresses, base64, `256/256`).

/// A field with more octets is not read.
const BODY_OCTETS_MAX: usize = 65_536;
/// Results that one field may have.
const CLAIMS_MAX: usize = 200;
/// Properties that all results of one field may have together.
const PROPERTIES_MAX: usize = 1_000;
/// Comments in comments.
const COMMENTS_DEPTH_MAX: usize = 100;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who says so.
    pub authserv_id: String,
    /// The version of the format, if it was given; without it, 1.
    pub version: Option<u32>,
    /// In order; empty for `none`.
    pub claims: Vec<Claim>,
}

/// One `resinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// In lower case: `spf`, `dkim`, ...
    pub method: String,
    /// The version of the method, if it was given; without it, 1.
    pub method_version: Option<u32>,
    /// In lower case: `pass`, `fail`, ...
    pub result: String,
    /// `reason=`.
    pub reason: Option<String>,
    /// In order: `ptype.property` in lower case, and the value, a quoted local-part without its quotes.
    pub properties: Vec<(String, String)>,
}

/// Reads the body of an Authentication-Results field; of an ARC-Authentication-Results field (RFC 8617 section 4.1.1)
/// what follows its `i=1;`. None: it is not valid, or larger than anything that is.
pub fn parse(body: &[u8]) -> Option<Claims> {
    if body.len() > BODY_OCTETS_MAX {
        return None;
    }
    let mut lexer = Lexer::new(body);
    let (authserv_id, version) = lexer.issuer()?;
    let mut claims = Claims { authserv_id: String::from_utf8(authserv_id).ok()?, version, claims: Vec::new() };
    if !lexer.take(b';') {
        return None;
    }
    lexer.skip()?;
    if lexer.is_none() {
        return Some(claims);
    }
    let mut room = PROPERTIES_MAX;
    loop {
        claims.claims.push(lexer.claim(&mut room)?);
        let more = lexer.take(b';');
        lexer.skip()?;
        match (lexer.at_end(), more) {
            (true, _) => return Some(claims),
            (false, true) if claims.claims.len() < CLAIMS_MAX => {}
            (false, _) => return None,
        }
    }
}

/// Reads the words of a structured field (RFC 5322 section 3.2). After a None it stands anywhere.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Lexer { rest: octets }
    }

    /// Nothing follows.
    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn is_at(&self, octet: u8) -> bool {
        self.rest.first() == Some(&octet)
    }

    /// `[CFWS] authserv-id [ CFWS version ] [CFWS]`. The authserv-id may be no UTF-8; it is not empty.
    pub(super) fn issuer(&mut self) -> Option<(Vec<u8>, Option<u32>)> {
        self.skip()?;
        let id = self.value()?;
        let apart = self.skip()?;
        let version = match apart && !self.at_end() && !self.is_at(b';') {
            true => Some(self.number()?),
            false => None,
        };
        self.skip()?;
        (!id.is_empty()).then_some((id, version))
    }

    /// `[CFWS]`: was there any? None: a comment does not end, or goes too deep.
    fn skip(&mut self) -> Option<bool> {
        let (mut depth, before) = (0_usize, self.rest.len());
        while let Some((octet, rest)) = self.rest.split_first() {
            self.rest = match octet {
                b'(' if depth < COMMENTS_DEPTH_MAX => {
                    depth += 1;
                    rest
                }
                b'(' => return None,
                b')' if depth > 0 => {
                    depth -= 1;
                    rest
                }
                b'\\' if depth > 0 => rest.get(1..)?,
                b' ' | b'\t' | b'\r' | b'\n' => rest,
                _ if depth > 0 => rest,
                _ => break,
            };
        }
        (depth == 0).then_some(self.rest.len() < before)
    }

    fn take(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The octets from here on that are of this kind.
    fn run(&mut self, kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|octet| !kind(*octet)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// `1*DIGIT`, as far as it is a number of any use.
    fn number(&mut self) -> Option<u32> {
        std::str::from_utf8(self.run(|octet| octet.is_ascii_digit())).ok()?.parse().ok()
    }

    /// `Keyword` (RFC 5321 section 4.1.2), in lower case.
    fn keyword(&mut self) -> Option<String> {
        let word = self.run(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
        let ends_well = word.last().is_some_and(|octet| *octet != b'-');
        let word = std::str::from_utf8(word).ok()?;
        ends_well.then(|| word.to_ascii_lowercase())
    }

    /// `value`: a token or a quoted-string. Octets beyond ASCII are part of a token: internationalized fields are UTF-8
    /// (RFC 8616 section 5).
    fn value(&mut self) -> Option<Vec<u8>> {
        if self.is_at(b'"') {
            return self.quoted();
        }
        let token = self.run(|octet| is_token(octet) || octet >= 128);
        (!token.is_empty()).then(|| token.to_vec())
    }

    /// The content of a quoted-string, line folding removed.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let (_, rest) = self.rest.split_first()?;
        let mut content = Vec::new();
        let mut octets = rest.iter();
        while let Some(octet) = octets.next() {
            let octet = match octet {
                b'"' => {
                    self.rest = octets.as_slice();
                    return Some(content);
                }
                b'\r' | b'\n' => continue,
                b'\\' => octets.next()?,
                octet => octet,
            };
            if octet.is_ascii_control() && *octet != b'\t' {
                return None;
            }
            content.push(*octet);
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.value()?).ok()
    }

    /// `none`, and nothing behind it but perhaps a semicolon? Otherwise nothing was read.
    fn is_none(&mut self) -> bool {
        let mut ahead = self.clone();
        let is_none = ahead.keyword().is_some_and(|word| word == "none");
        is_none && ahead.skip().is_some() && (!ahead.take(b';') || ahead.skip().is_some()) && ahead.at_end()
    }

    /// `methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ] [CFWS]`, from the method on.
    fn claim(&mut self, room: &mut usize) -> Option<Claim> {
        let method = self.keyword()?;
        self.skip()?;
        let method_version = match self.take(b'/') {
            true => {
                self.skip()?;
                Some(self.number()?)
            }
            false => None,
        };
        self.equals()?;
        let result = self.keyword()?;
        let mut claim = Claim { method, method_version, result, reason: None, properties: Vec::new() };
        let mut apart = self.skip()?;
        while !self.at_end() && !self.is_at(b';') {
            if !apart {
                return None;
            }
            *room = room.checked_sub(1)?;
            apart = self.add_property(&mut claim)?;
        }
        Some(claim)
    }

    /// `[CFWS] "=" [CFWS]`
    fn equals(&mut self) -> Option<()> {
        self.skip()?;
        if !self.take(b'=') {
            return None;
        }
        self.skip().map(drop)
    }

    /// `reasonspec`, at the beginning only, or `propspec`, and what white space follows. May another follow?
    fn add_property(&mut self, claim: &mut Claim) -> Option<bool> {
        let mut name = self.keyword()?;
        self.skip()?;
        if self.take(b'.') {
            self.skip()?;
            name = format!("{name}.{}", self.keyword()?);
        }
        self.equals()?;
        if name == "reason" && claim.reason.is_none() && claim.properties.is_empty() {
            claim.reason = Some(self.text()?);
            return self.skip();
        }
        let quoted = self.is_at(b'"');
        let value = self.property_value()?;
        claim.properties.push((name, value));
        // What is quoted has an end of its own.
        Some(self.skip()? || quoted)
    }

    /// `pvalue`: a value, or `[ [ local-part ] "@" ] domain-name`.
    fn property_value(&mut self) -> Option<String> {
        let (quoted, odd) = (self.is_at(b'"'), self.is_at(b'='));
        let mut value = match quoted {
            true => self.text()?,
            false => {
                let bare = self.run(|octet| is_token(octet) || b"/:=?".contains(&octet) || octet >= 128);
                std::str::from_utf8(bare).ok()?.to_owned()
            }
        };
        let mut ahead = self.clone();
        ahead.skip()?;
        if !ahead.take(b'@') {
            return (quoted || !value.is_empty() && !odd).then_some(value);
        }
        *self = ahead;
        let domain = self.run(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet) || octet >= 128);
        value.push('@');
        value.push_str(std::str::from_utf8(domain).ok().filter(|domain| !domain.is_empty())?);
        Some(value)
    }
}

/// RFC 2045 section 5.1: printable ASCII but for space and tspecials.
pub(super) fn is_token(octet: u8) -> bool {
    (33..127).contains(&octet) && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a field claims, on one line.
    fn read(body: &str) -> Option<String> {
        let claims = parse(body.as_bytes())?;
        let version = |version: Option<u32>| version.map_or(String::new(), |version| format!("/{version}"));
        let mut text = format!("{}{}", claims.authserv_id, version(claims.version));
        for claim in claims.claims {
            text += &format!("; {}{}={}", claim.method, version(claim.method_version), claim.result);
            text += &claim.reason.map_or(String::new(), |reason| format!(" <{reason}>"));
            claim.properties.iter().for_each(|(name, value)| text += &format!(" {name}=<{value}>"));
        }
        Some(text)
    }

    #[test]
    fn what_the_grammar_allows_is_read() {
        for (body, expected) in [
            // RFC 8601 appendix B.
            (" example.org 1; none\r\n", "example.org/1"),
            (
                " example.com;\r\n spf=pass smtp.mailfrom=example.net\r\n",
                "example.com; spf=pass smtp.mailfrom=<example.net>",
            ),
            (
                " example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=pass smtp.mailfrom=example.net",
                "example.com; auth=pass smtp.auth=<sender@example.net>; spf=pass smtp.mailfrom=<example.net>",
            ),
            (
                " example.com; dkim=pass reason=\"good signature\" header.i=@mail-router.example.net; \
                 dkim=fail reason=\"bad signature\" header.i=@newyork.example.com",
                "example.com; dkim=pass <good signature> header.i=<@mail-router.example.net>; \
                 dkim=fail <bad signature> header.i=<@newyork.example.com>",
            ),
            (
                " foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n \
                 policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) \
                 1362471462",
                "foo.example.net/1; dkim/1=fail policy.expired=<1362471462>",
            ),
            // White space, or none, and comments in comments.
            ("a;b=c", "a; b=c"),
            ("(x(y\\)(z))\\\\) a (;) ; (;) none (;)", "a"),
            ("a\t;\r\n\tB=C(c)Smtp . MailFrom\t=\tX(c)", "a; b=c smtp.mailfrom=<X>"),
            ("a; b=c d.e=\"x\"f.g=h", "a; b=c d.e=<x> f.g=<h>"),
            // Quoting.
            ("\"a b\" 12 ; none", "a b/12"),
            ("\"a \\\"\\\\;(\\(\"; none", "a \"\\;(("),
            ("a; b=c reason=\"; d=e (\" f.g=\"h;i\\\"=j\"", "a; b=c <; d=e (> f.g=<h;i\"=j>"),
            ("a; b=c d.e=\"x\r\n y\"", "a; b=c d.e=<x y>"),
            ("a; b=c d.e=\"\"", "a; b=c d.e=<>"),
            // Mailboxes.
            ("a; b=c d.e=\"x y\"@z.example", "a; b=c d.e=<x y@z.example>"),
            ("a; b=c d.e=x/=?y@z.example f.g=@z.example", "a; b=c d.e=<x/=?y@z.example> f.g=<@z.example>"),
            ("a; b=c d.e = (c) =x (c) @z.example", "a; b=c d.e=<=x@z.example>"),
            // UTF-8 (RFC 8616).
            (
                "mx.b\u{fc}cher.example; b=c d.e=\u{fc}@\u{fc}.example",
                "mx.b\u{fc}cher.example; b=c d.e=<\u{fc}@\u{fc}.example>",
            ),
            // A keyword is a keyword only where one is due.
            ("none; none=none none.none=none", "none; none=none none.none=<none>"),
            ("a; b=c d.e=f reason=g", "a; b=c d.e=<f> reason=<g>"),
        ] {
            assert_eq!(read(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_large_receivers_write_beside_the_grammar_is_read() {
        for (body, expected) in [
            (
                "mx.example 1; spf=pass smtp.mailfrom=example.com; dmarc=pass action=none header.from=example.com;",
                "mx.example/1; spf=pass smtp.mailfrom=<example.com>; dmarc=pass action=<none> header.from=<example.com>",
            ),
            ("a; arc=none smtp.remote-ip=2001:db8::1; ", "a; arc=none smtp.remote-ip=<2001:db8::1>"),
            ("a; none;", "a"),
            (
                "a; x-tls=pass smtp.bits=256/256 policy.is_org=yes",
                "a; x-tls=pass smtp.bits=<256/256> policy.is_org=<yes>",
            ),
            ("a; dmarc=pass(p=REJECT) header.from=x.example", "a; dmarc=pass header.from=<x.example>"),
            ("a; dkim=pass header.b=ab/cd==", "a; dkim=pass header.b=<ab/cd==>"),
        ] {
            assert_eq!(read(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_field_is_nothing() {
        for body in [
            "",
            " ",
            ";",
            "a",
            "a 1",
            "a;",
            "a; ;b=c",
            "a; b=c;;",
            "; b=c",
            "\"\"; b=c",
            "a b; c=d",
            "a 1 2; b=c",
            "a/1; b=c",
            "a 99999999999; b=c",
            "a, b; c=d",
            "spf=pass smtp.mailfrom=a",
            "a; b",
            "a; b=",
            "a; =c",
            "a; b=c=d",
            "a; b==c",
            "a; b=-",
            "a; b-=c",
            "a; b c=d",
            "a; b/=c",
            "a; b/x=c",
            "a; b=c/1",
            "a; b=\"c\"",
            "a; b=c none",
            "a; none none",
            "a; none; b=c",
            "a; b=c d",
            "a; b=c d=",
            "a; b=c d.=e",
            "a; b=c .d=e",
            "a; b=c d.e.f=g",
            "a; b=c d.e==f",
            "a; b=c d.e=",
            "a; b=c d.e=x@",
            "a; b=c d.e=@",
            "a; b=c d.e=x@y@z",
            "a; b=c d.e=x, f.g=h",
            "a; b=c d.e=<x>",
            "a; b=c reason=",
            "a; b=c reason=\"x",
            "a; b=c reason=\"x\\",
            "a; b=c reason=\"x\"d.e=f",
            "a; b=c reason=x/y",
            "a; b=c (",
            "a; b=c )",
            "a; b=c (\\)",
            "a (x; b=c",
            "a; b=c d.e=\"\0\"",
            "a; b=c d.e=\"\\\r\"",
            "a; b=\0c",
            "a; b=c d.e=f\0",
        ] {
            assert_eq!(read(body), None, "{body:?}");
        }
        assert_eq!(parse(b"a\xff; none"), None);
        assert_eq!(parse(b"a; b=c d.e=\"\xff\""), None);
    }

    #[test]
    fn everything_has_a_limit() {
        let nested = |depth: usize| read(&format!("{}{}a; none", "(".repeat(depth), ")".repeat(depth)));
        assert!(nested(COMMENTS_DEPTH_MAX).is_some() && nested(COMMENTS_DEPTH_MAX + 1).is_none());
        let many = |claims: usize| read(&format!("a{}", ";b=c".repeat(claims)));
        assert!(many(CLAIMS_MAX).is_some() && many(CLAIMS_MAX + 1).is_none());
        let properties = |count: usize| read(&format!("a; b=c{}", " d.e=f".repeat(count)));
        assert!(properties(PROPERTIES_MAX).is_some() && properties(PROPERTIES_MAX + 1).is_none());
        let long = |octets: usize| read(&format!("a; none{}", " ".repeat(octets - 7)));
        assert!(long(BODY_OCTETS_MAX).is_some() && long(BODY_OCTETS_MAX + 1).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_are_too_odd(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn what_is_read_has_no_line_break(
            content in "[a\\r\\n\\t\\x00-\\x1f\\x7f]{0,4}(\\\\[\\x00-\\x7f])?[ -!#-\\[]{0,3}",
        ) {
            let body = format!("a; b=c reason=\"{content}\" d.e=\"{content}\"");
            for claim in parse(body.as_bytes()).into_iter().flat_map(|claims| claims.claims) {
                let texts = claim.properties.into_iter().flat_map(|(name, value)| [name, value]).chain(claim.reason);
                proptest::prop_assert!(texts.into_iter().all(|text| !text.contains(['\r', '\n', '\0'])));
            }
        }
    }
}
