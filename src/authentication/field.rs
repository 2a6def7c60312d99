//! The Authentication-Results field (RFC 8601): ours is written, and others that claim to be ours are found.

use super::claims::{Lexer, is_token};
use super::{Authentication, Dkim, SpfIdentity};
use crate::address::Domain;
use crate::message::Field;

/// Lines are folded before they grow beyond this, in octets, where they can be (RFC 5322 section 2.1.1).
const LINE_OCTETS_MAX: usize = 78;

impl Authentication {
    /// The whole Authentication-Results field, with its line end. Whatever a sender chose is a token or a quoted-string in
    /// it (RFC 8601 section 2.2).
    pub fn field(&self, authserv_id: &str) -> String {
        let mut field = Writer { text: format!("Authentication-Results: {}", value(authserv_id)), column: 0 };
        self.write_spf(&mut field);
        if self.dkim.is_empty() {
            field.method("dkim", "none", None);
        }
        for dkim in &self.dkim {
            write_dkim(&mut field, dkim);
        }
        self.write_dmarc(&mut field);
        field.method("iprev", &self.iprev.result.to_string(), None);
        // Unspecified: the client is not known.
        if !self.iprev.address.is_unspecified() {
            field.property("policy.iprev", &self.iprev.address.to_string());
        }
        if let Some(name) = &self.iprev.name {
            // A domain has no character that would matter in a comment.
            field.word(&format!("({name})"));
        }
        field.text.push_str("\r\n");
        field.text
    }

    fn write_spf(&self, field: &mut Writer) {
        let spf = &self.spf;
        field.method("spf", &spf.result.to_string(), spf.reason);
        if let Some(domain) = &spf.domain {
            let property = match spf.identity {
                SpfIdentity::MailFrom => "smtp.mailfrom",
                SpfIdentity::Helo => "smtp.helo",
            };
            field.property(property, domain.as_str());
        }
    }

    fn write_dmarc(&self, field: &mut Writer) {
        let dmarc = &self.dmarc;
        field.method("dmarc", &dmarc.result.to_string(), dmarc.reason);
        if let Some(domain) = &dmarc.author_domain {
            field.property("header.from", domain.as_str());
        }
        if let Some(policy) = dmarc.policy {
            field.property("policy.dmarc", &policy.to_string());
        }
    }
}

fn write_dkim(field: &mut Writer, dkim: &Dkim) {
    field.method("dkim", &dkim.result.to_string(), dkim.reason);
    let properties = [
        ("header.d", dkim.domain.as_ref().map(Domain::as_str)),
        ("header.i", dkim.identity.as_deref()),
        ("header.s", dkim.selector.as_deref()),
        ("header.a", dkim.algorithm),
        ("header.b", dkim.signature.as_deref()),
    ];
    for (name, text) in properties {
        if let Some(text) = text {
            field.property(name, text);
        }
    }
}

struct Writer {
    text: String,
    /// The length of the last line in octets.
    column: usize,
}

impl Writer {
    /// Begins a `resinfo` on a line of its own.
    fn method(&mut self, name: &str, result: &str, reason: Option<&str>) {
        self.text.push_str(";\r\n\t");
        self.text.push_str(name);
        self.text.push('=');
        self.text.push_str(result);
        self.column = 2 + name.len() + result.len();
        if let Some(reason) = reason {
            self.property("reason", reason);
        }
    }

    fn property(&mut self, name: &str, text: &str) {
        self.word(&format!("{name}={}", value(text)));
    }

    fn word(&mut self, word: &str) {
        match self.column + 1 + word.len() > LINE_OCTETS_MAX {
            true => {
                self.text.push_str("\r\n\t ");
                self.column = 2;
            }
            false => self.text.push(' '),
        }
        self.text.push_str(word);
        self.column += 1 + word.len();
    }
}

/// `value` (RFC 8601 section 2.2): a token, or else a quoted-string. What is not printable becomes `?`.
fn value(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_token) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// Does this field of an incoming message claim to be ours (RFC 8601 section 5)? It does if its authserv-id is
/// `authserv_id`, in whatever spelling. What cannot be understood claims so if our name is anywhere in it.
pub fn is_forged(field: &Field, authserv_id: &str) -> bool {
    if !field.is("Authentication-Results") {
        return false;
    }
    match read_authserv_id(field.body) {
        Some(id) => normal(&id) == normal(authserv_id),
        None => mentions(field.body, authserv_id),
    }
}

/// The authserv-id of a field that begins well: `[CFWS] authserv-id [ CFWS version ] [CFWS] ( ";" / end )`.
fn read_authserv_id(body: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(body);
    let (id, _) = lexer.issuer()?;
    (lexer.at_end() || lexer.is_at(b';')).then(|| String::from_utf8_lossy(&id).into_owned())
}

/// How an authserv-id compares: as a domain in any spelling, a fold or space in a quoted-string left out.
fn normal(id: &str) -> String {
    let id: String = id.split_whitespace().collect();
    let id = id.trim_end_matches('.');
    Domain::from_unicode(id).map_or_else(|_| id.to_lowercase(), |domain| domain.to_string())
}

/// Is our name in here, with or without what stands in parentheses, whatever white space, quotes and backslashes split it?
fn mentions(body: &[u8], authserv_id: &str) -> bool {
    let name = normal(authserv_id);
    let squeezed = |text: &str| -> String {
        let noise = |c: &char| !c.is_ascii_whitespace() && !"()\"\\".contains(*c);
        text.chars().filter(noise).flat_map(char::to_lowercase).collect()
    };
    let text = String::from_utf8_lossy(body);
    squeezed(&text).contains(&name) || squeezed(&without_comments(&text)).contains(&name)
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ArcChain, Authors, Dmarc, DmarcPolicy, Iprev, MethodResult, Spf};
    use super::*;
    use crate::message::Message;

    fn forged(header: &[u8]) -> bool {
        let message = Message::new(header.to_vec());
        message.fields().any(|field| is_forged(&field, "mx.example.org"))
    }

    #[test]
    fn what_reads_as_ours_is_forged() {
        for header in [
            &b"Authentication-Results: mx.example.org; spf=pass"[..],
            b"authentication-RESULTS:MX.Example.ORG;spf=pass",
            b"Authentication-Results : mx.example.org; none",
            b"Authentication-Results:\r\n mx.example.org;\r\n\tspf=pass",
            b"Authentication-Results: mx.example.org",
            b"Authentication-Results: mx.example.org 1; none",
            b"Authentication-Results: mx.example.org (v) 1 (c); none",
            b"Authentication-Results: (a (nested \\) b)) mx.example.org; none",
            b"Authentication-Results: \"mx.example.org\"; none",
            b"Authentication-Results: \"mx.\\example.org\" 1; none",
            b"Authentication-Results: \"mx.\r\n example.org\"; none",
            b"Authentication-Results: mx.example.org.; none",
            b"Authentication-Results: mx.example.org..; none",
            b"Authentication-Results: mx . example . org; none",
            b"Authentication-Results: mx.(x)example.org; none",
            b"Authentication-Results: mx.example.org spf=pass",
            b"Authentication-Results: mx.example.org/1; none",
            b"Authentication-Results: (unclosed mx.example.org; spf=pass",
            b"Authentication-Results: \"mx.example.org; spf=pass",
            b"Authentication-Results: ; mx.example.org; spf=pass",
            b"Authentication-Results: x\0, mx.example.org; spf=pass",
        ] {
            assert!(forged(header), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        for header in [
            &b"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example.org"[..],
            b"Authentication-Results: mx.example.org.evil.example; none",
            b"Authentication-Results: other.example (for mx.example.org); none",
            b"Authentication-Results: spf=pass smtp.mailfrom=example.com",
            b"Authentication-Results: other.example 1; none",
            b"ARC-Authentication-Results: i=1; mx.example.org; none",
            b"Subject: mx.example.org",
            b"Authentication-Results:",
        ] {
            assert!(!forged(header), "{}", String::from_utf8_lossy(header));
        }
        let message = Message::new("Authentication-Results: mx.b\u{fc}cher.example; none".as_bytes().to_vec());
        assert!(message.fields().any(|field| is_forged(&field, "mx.xn--bcher-kva.example")));
    }

    fn sample() -> Authentication {
        let domain = |text: &str| Some(Domain::parse(text).unwrap());
        Authentication {
            spf: Spf {
                result: MethodResult::Pass,
                identity: SpfIdentity::MailFrom,
                domain: domain("example.com"),
                ..Spf::none(SpfIdentity::MailFrom, None)
            },
            spf_helo: None,
            arc: ArcChain::none(),
            dkim: vec![Dkim {
                result: MethodResult::Fail,
                domain: domain("example.com"),
                selector: Some("s1".to_owned()),
                identity: Some("\"a b\\\"@example.com".to_owned()),
                algorithm: Some("rsa-sha256"),
                signature: Some("ab+/cd==".to_owned()),
                reason: Some("the body was changed"),
                testing: false,
                key_bits: Some(2_048),
            }],
            signatures_ignored: 0,
            dmarc: Dmarc {
                result: MethodResult::Pass,
                author_domain: domain("example.com"),
                policy: Some(DmarcPolicy::Reject),
                spf_aligned: true,
                dkim_aligned: false,
                ..Dmarc::none(None, None)
            },
            iprev: Iprev {
                result: MethodResult::Pass,
                address: "2001:db8::1".parse().unwrap(),
                name: domain("mail.example.com"),
                reason: None,
            },
            authors: Authors::One(domain("example.com").unwrap()),
        }
    }

    #[test]
    fn the_field_is_folded_and_quoted() {
        let expected = concat!(
            "Authentication-Results: mx.example.org;\r\n",
            "\tspf=pass smtp.mailfrom=example.com;\r\n",
            "\tdkim=fail reason=\"the body was changed\" header.d=example.com\r\n",
            "\t header.i=\"\\\"a b\\\\\\\"@example.com\" header.s=s1 header.a=rsa-sha256\r\n",
            "\t header.b=\"ab+/cd==\";\r\n",
            "\tdmarc=pass header.from=example.com policy.dmarc=reject;\r\n",
            "\tiprev=pass policy.iprev=\"2001:db8::1\" (mail.example.com)\r\n",
        );
        let field = sample().field("mx.example.org");
        assert_eq!(field, expected);
        assert!(forged(field.as_bytes()), "we know our own");
    }

    #[test]
    fn nothing_that_a_sender_chose_ends_a_line() {
        let mut sample = sample();
        sample.dkim[0].identity = Some("x\r\nReply-To: y\u{fc}\0".to_owned());
        sample.dkim[0].selector = Some("z".repeat(256));
        let field = sample.field("mx.example.org");
        assert!(field.contains("header.i=\"x??Reply-To: y??\""));
        let mut lines = field.trim_end().split("\r\n");
        assert!(lines.next().is_some() && lines.all(|line| line.starts_with('\t') && line.len() < 300));
    }

    #[test]
    fn results_serialize_for_the_log() {
        let json = serde_json::to_value(sample()).unwrap();
        assert_eq!(json["spf"]["result"], "pass");
        assert_eq!(json["spf"]["identity"], "mailfrom");
        assert_eq!(json["dmarc"]["policy"], "reject");
        assert_eq!(json["authors"]["one"], "example.com");
        assert_eq!(json["iprev"]["name"], "mail.example.com");
    }
}
