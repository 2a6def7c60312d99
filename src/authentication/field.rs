//! Our Authentication-Results field (RFC 8601).
//!
//! *Guarantees:* whatever a sender chose is a token, a mailbox or a quoted-string in it (section 2.2), so that it says what
//! was found and nothing else; no line is longer than a line may be, and none can be added. Methods, results and properties
//! are those of the IANA registry.
//! *Never does:* say what becomes of the message: each recipient's domain decides that for itself.

use super::claims::is_token;
use super::{Authentication, Dkim, MethodResult, Spf, SpfIdentity};
use crate::address::Domain;

/// Lines are folded before they grow beyond this, in octets, where they can be (RFC 5322 section 2.1.1).
const LINE_OCTETS_MAX: usize = 78;
/// A property that would take more is left out, in octets: no line may have more than 998 (RFC 5322 section 2.1.1).
const WORD_OCTETS_MAX: usize = 990;
/// What is said of a reason, in octets.
const REASON_OCTETS_MAX: usize = 400;

impl Authentication {
    /// The whole Authentication-Results field, with its line end.
    pub fn field(&self, authserv_id: &str) -> String {
        let mut field = Writer { text: format!("Authentication-Results: {}", value(authserv_id)), column: 0 };
        write_spf(&mut field, &self.spf);
        if let Some(helo) = &self.spf_helo {
            write_spf(&mut field, helo);
        }
        if self.dkim.is_empty() {
            field.method("dkim", MethodResult::None, None);
        }
        for dkim in &self.dkim {
            write_dkim(&mut field, dkim);
        }
        if self.signatures_ignored > 0 {
            field.word(&format!("({} more signatures were not looked at)", self.signatures_ignored));
        }
        self.write_arc(&mut field);
        self.write_dmarc(&mut field);
        self.write_iprev(&mut field);
        field.text.push_str("\r\n");
        field.text
    }

    /// Only if there is a chain. A key that cannot be looked up is a fail: ARC has no temperror (RFC 8617 section 10.1).
    fn write_arc(&self, field: &mut Writer) {
        let result = match self.arc.result {
            MethodResult::None => return,
            MethodResult::Pass => MethodResult::Pass,
            _ => MethodResult::Fail,
        };
        field.method("arc", result, self.arc.reason);
        if let Some(oldest) = self.arc.oldest_pass {
            field.property("header.oldest-pass", &oldest.to_string());
        }
        if !self.iprev.address.is_unspecified() {
            field.property("smtp.remote-ip", &self.iprev.address.to_string());
        }
    }

    fn write_dmarc(&self, field: &mut Writer) {
        let dmarc = &self.dmarc;
        field.method("dmarc", dmarc.result, dmarc.reason);
        if let Some(domain) = &dmarc.author_domain {
            field.property("header.from", domain.as_str());
        }
        if let Some(policy) = dmarc.policy {
            field.property("policy.dmarc", &policy.to_string());
        }
    }

    /// Only if there was something to check: iprev has no none (RFC 8601 section 2.7.3).
    fn write_iprev(&self, field: &mut Writer) {
        let iprev = &self.iprev;
        if iprev.result == MethodResult::None {
            return;
        }
        field.method("iprev", iprev.result, iprev.reason);
        field.property("policy.iprev", &iprev.address.to_string());
        if let Some(name) = &iprev.name {
            // A domain has no character that would matter in a comment.
            field.word(&format!("({name})"));
        }
    }
}

/// The domain alone: nobody has authenticated a local-part (RFC 8601 section 2.3).
fn write_spf(field: &mut Writer, spf: &Spf) {
    let problem = spf.problem.as_ref().map(ToString::to_string);
    field.method("spf", spf.result, problem.as_deref().or(spf.reason));
    if let Some(domain) = &spf.domain {
        let property = match spf.identity {
            SpfIdentity::MailFrom => "smtp.mailfrom",
            SpfIdentity::Helo => "smtp.helo",
        };
        field.property(property, domain.as_str());
    }
}

fn write_dkim(field: &mut Writer, dkim: &Dkim) {
    field.method("dkim", dkim.result, dkim.reason);
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
    fn method(&mut self, name: &str, result: MethodResult, reason: Option<&str>) {
        let spec = format!("{name}={result}");
        self.text.push_str(";\r\n\t");
        self.text.push_str(&spec);
        self.column = 1 + spec.len();
        if let Some(reason) = reason {
            let reason: String = reason.chars().take(REASON_OCTETS_MAX).collect();
            self.word(&format!("reason={}", value(&reason)));
        }
    }

    fn property(&mut self, name: &str, text: &str) {
        let word = format!("{name}={}", property_value(text));
        if word.len() <= WORD_OCTETS_MAX {
            self.word(&word);
        }
    }

    fn word(&mut self, word: &str) {
        match self.column + 1 + word.len() > LINE_OCTETS_MAX {
            true => {
                self.text.push_str("\r\n\t ");
                self.column = 2;
            }
            false => {
                self.text.push(' ');
                self.column += 1;
            }
        }
        self.text.push_str(word);
        self.column += word.len();
    }
}

/// `pvalue` (RFC 8601 section 2.2): a mailbox of plain words stands as it is.
fn property_value(text: &str) -> String {
    match text.split_once('@') {
        Some((local_part, domain)) if local_part.bytes().all(is_token) && Domain::parse(domain).is_ok() => {
            text.to_owned()
        }
        _ => value(text),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::claims::{self, Claim};
    use super::super::results::printable;
    use super::super::spf::Problem;
    use super::super::{ArcChain, Authors, Dmarc, DmarcPolicy, Iprev, is_forged};
    use super::*;
    use crate::message::Message;

    fn domain(text: &str) -> Option<Domain> {
        Some(Domain::parse(text).unwrap())
    }

    fn sample() -> Authentication {
        let helo = Spf { domain: domain("h.example.com"), ..Spf::none(SpfIdentity::Helo, Some("no record")) };
        let mail_from = Spf::none(SpfIdentity::MailFrom, None);
        Authentication {
            spf: Spf { result: MethodResult::Pass, domain: domain("example.com"), ..mail_from },
            spf_helo: Some(helo),
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
            signatures_ignored: 3,
            arc: ArcChain { result: MethodResult::Pass, oldest_pass: Some(0), ..ArcChain::none() },
            dmarc: Dmarc {
                result: MethodResult::Pass,
                author_domain: domain("example.com"),
                policy: Some(DmarcPolicy::Reject),
                ..Dmarc::none(None, None)
            },
            iprev: Iprev {
                result: MethodResult::Pass,
                name: domain("mail.example.com"),
                ..Iprev::none("2001:db8::1".parse().unwrap())
            },
            authors: Authors::One(domain("example.com").unwrap()),
            from_fields: 1,
        }
    }

    #[test]
    fn the_field_is_folded_and_quoted() {
        let expected = concat!(
            "Authentication-Results: mx.example.org;\r\n",
            "\tspf=pass smtp.mailfrom=example.com;\r\n",
            "\tspf=none reason=\"no record\" smtp.helo=h.example.com;\r\n",
            "\tdkim=fail reason=\"the body was changed\" header.d=example.com\r\n",
            "\t header.i=\"\\\"a b\\\\\\\"@example.com\" header.s=s1 header.a=rsa-sha256\r\n",
            "\t header.b=\"ab+/cd==\" (3 more signatures were not looked at);\r\n",
            "\tarc=pass header.oldest-pass=0 smtp.remote-ip=\"2001:db8::1\";\r\n",
            "\tdmarc=pass header.from=example.com policy.dmarc=reject;\r\n",
            "\tiprev=pass policy.iprev=\"2001:db8::1\" (mail.example.com)\r\n",
        );
        let field = sample().field("mx.example.org");
        assert_eq!(field, expected);
        let message = Message::new(field.into_bytes());
        assert!(message.fields().all(|field| is_forged(&field, "mx.example.org")), "we know our own");
    }

    /// RFC 8617 section 10.1 and RFC 8601 section 2.7.3: ARC has no temperror, iprev no none.
    #[test]
    fn only_registered_results_are_used() {
        let mut found = Authentication::none(std::net::Ipv4Addr::UNSPECIFIED.into());
        assert_eq!(found.field("mx"), "Authentication-Results: mx;\r\n\tspf=none;\r\n\tdkim=none;\r\n\tdmarc=none\r\n");
        found.arc = ArcChain { result: MethodResult::TempError, reason: Some("no key"), ..ArcChain::none() };
        assert!(found.field("mx").contains("\tarc=fail reason=\"no key\";\r\n"), "{}", found.field("mx"));
    }

    #[test]
    fn mailboxes_of_plain_words_stand_as_they_are() {
        for (text, expected) in [
            ("@example.com", "@example.com"),
            ("a.b+c@sub.example.com", "a.b+c@sub.example.com"),
            ("a@b@example.com", "\"a@b@example.com\""),
            ("a=b@example.com", "\"a=b@example.com\""),
            ("a@-.example", "\"a@-.example\""),
            ("a@b;c", "\"a@b;c\""),
            ("", "\"\""),
        ] {
            assert_eq!(property_value(text), expected);
        }
    }

    /// Text as a sender may choose it, with what means something to readers of the field.
    fn hostile() -> impl Strategy<Value = String> {
        let snag = prop_oneof![
            Just(";"),
            Just("\""),
            Just("\\"),
            Just("("),
            Just(")"),
            Just("\r\n"),
            Just("\r\n\t"),
            Just("\0"),
            Just("="),
            Just("@"),
            Just(" "),
            Just("; dmarc=pass header.from=bank.example ("),
            Just("\u{fc}"),
            Just("."),
            Just("/")
        ];
        let piece = prop_oneof![snag.prop_map(str::to_owned), "[ -~]{0,12}", any::<String>()];
        proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    fn properties(pairs: &[(&str, Option<String>)]) -> Vec<(String, String)> {
        let given = pairs.iter().filter_map(|(name, text)| Some((name.to_string(), text.clone()?)));
        given.map(|(name, text)| (name, printable(&text, usize::MAX))).collect()
    }

    proptest! {
        /// Whatever a sender chose, a reader finds what was meant, and not one claim more.
        #[test]
        fn what_was_found_is_what_is_read(
            selector in hostile(), identity in hostile(), signature in hostile(), name in hostile(), ours in hostile(),
        ) {
            let mut found = sample();
            let dkim = &mut found.dkim[0];
            dkim.selector = Some(selector.clone());
            dkim.identity = Some(identity.clone());
            dkim.signature = Some(signature.clone());
            found.spf.result = MethodResult::PermError;
            found.spf.problem = Some(Problem::NoRecordAt { domain: name.into() });
            let ours = format!("x{ours}");
            let field = found.field(&ours);
            let body = field.strip_prefix("Authentication-Results:").unwrap().strip_suffix("\r\n").unwrap();
            prop_assert!(field.is_ascii());
            prop_assert!(body.split("\r\n").skip(1).all(|line| line.starts_with('\t') && line.len() <= 998));
            prop_assert!(!body.replace("\r\n\t", "").contains(['\r', '\n']));

            let claims = claims::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(&claims.authserv_id, &printable(&ours, usize::MAX));
            let methods: Vec<_> = claims.claims.iter().map(|claim| format!("{}={}", claim.method, claim.result)).collect();
            prop_assert_eq!(methods, ["spf=permerror", "spf=none", "dkim=fail", "arc=pass", "dmarc=pass", "iprev=pass"]);
            let reason = printable(&found.spf.problem.as_ref().unwrap().to_string(), REASON_OCTETS_MAX);
            prop_assert_eq!(claims.claims[0].reason.as_ref(), Some(&reason));
            let meant = properties(&[
                ("header.d", Some("example.com".into())), ("header.i", Some(identity)), ("header.s", Some(selector)),
                ("header.a", Some("rsa-sha256".into())), ("header.b", Some(signature)),
            ]);
            let Claim { reason, properties, .. } = &claims.claims[2];
            prop_assert_eq!((reason.as_deref(), properties), (Some("the body was changed"), &meant));
        }
    }

    #[test]
    fn what_would_not_fit_on_a_line_is_left_out() {
        let mut sample = sample();
        sample.dkim[0].identity = Some(format!("{}@example.com", "\"".repeat(600)));
        sample.dkim[0].selector = Some("z".repeat(900));
        let field = sample.field("mx.example.org");
        assert!(!field.contains("header.i") && field.contains("header.s=zzz"), "{field}");
        assert!(field.split("\r\n").all(|line| line.len() <= 998), "{field}");
    }

    #[test]
    fn results_serialize_for_the_log() {
        let json = serde_json::to_value(sample()).unwrap();
        assert_eq!(json["spf"]["result"], "pass");
        assert_eq!(json["spf"]["identity"], "mailfrom");
        assert_eq!(json["spf_helo"]["identity"], "helo");
        assert_eq!(json["dmarc"]["policy"], "reject");
        assert_eq!(json["authors"]["one"], "example.com");
        assert_eq!(json["iprev"]["name"], "mail.example.com");
    }
}
