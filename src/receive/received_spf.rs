//! The Received-SPF field (RFC 7208 section 9.1), for those whose filters read it: one for each identity that was checked.
//!
//! *Guarantees:* it stands above our Received field, and so above all other Received-SPF fields; those that a message
//! brought stay where they are, for they claim what others saw. What a sender chose is a quoted-string or a domain.
//! *Never does:* say anything that Authentication-Results does not say.

use std::net::IpAddr;

use super::Sender;
use crate::authentication::{Authentication, MethodResult, Spf, SpfIdentity};

/// What is shown of a problem, in octets: lines end at 998 (RFC 5322 section 2.1.1).
const PROBLEM_OCTETS_MAX: usize = 400;

/// The fields, the reverse-path's first; nothing where the client is not known.
pub fn received_spf(found: &Authentication, sender: &Sender, hostname: &str) -> String {
    let Some(client) = sender.address else { return String::new() };
    let checked = std::iter::once(&found.spf).chain(&found.spf_helo);
    checked.map(|spf| field(spf, client, sender, hostname)).collect()
}

fn field(spf: &Spf, client: IpAddr, sender: &Sender, hostname: &str) -> String {
    let identity = match spf.identity {
        SpfIdentity::MailFrom => "mailfrom",
        SpfIdentity::Helo => "helo",
    };
    let mut text = format!("Received-SPF: {} ({hostname}: {})", spf.result, comment(spf, client));
    let mut pair = |key: &str, value: &str, end: &str| text.push_str(&format!("\r\n\t{key}={value}{end}"));
    pair("identity", identity, ";");
    pair("client-ip", &value(&client.to_string()), ";");
    pair("envelope-from", &quoted(&sender.reverse_path.to_string()), ";");
    if let Some(helo) = &sender.helo {
        pair("helo", &value(&helo.to_string()), ";");
    }
    if let Some(matched) = &spf.matched {
        pair("mechanism", &quoted(matched.directive.as_deref().unwrap_or("default")), ";");
    }
    let problem = spf.problem.as_ref().map(ToString::to_string).or(spf.reason.map(str::to_owned));
    if let Some(problem) = problem {
        let problem: String = problem.chars().take(PROBLEM_OCTETS_MAX).collect();
        pair("problem", &quoted(&problem), ";");
    }
    pair("receiver", &value(hostname), "\r\n");
    text
}

/// For people. No domain and no address has a character that would matter in a comment.
fn comment(spf: &Spf, client: IpAddr) -> String {
    let Some(domain) = &spf.domain else { return "no domain to check".to_owned() };
    match spf.result {
        MethodResult::Pass => format!("domain of {domain} designates {client} as permitted sender"),
        MethodResult::Fail => format!("domain of {domain} does not designate {client} as permitted sender"),
        MethodResult::SoftFail => {
            format!("domain of {domain} probably does not designate {client} as permitted sender")
        }
        MethodResult::Neutral => format!("domain of {domain} says nothing about {client}"),
        MethodResult::TempError => format!("the record of {domain} could not be looked up"),
        MethodResult::PermError => format!("the record of {domain} could not be evaluated"),
        MethodResult::None | MethodResult::Policy => format!("domain of {domain} designates no senders"),
    }
}

/// A dot-atom (RFC 5322 section 3.2.3), or else a quoted-string.
fn value(text: &str) -> String {
    let is_atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
    if text.split('.').all(is_atom) { text.to_owned() } else { quoted(text) }
}

/// Non-ASCII stays: a reverse-path with it came by SMTPUTF8 (RFC 6532 section 3.2).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Domain, Host, ReversePath};
    use crate::authentication::spf::{Matched, Problem};

    fn sender(client: &str, reverse_path: &str) -> Sender {
        Sender {
            address: client.parse().ok(),
            helo: Some(Host::parse("h.example.com").unwrap()),
            reverse_path: ReversePath::parse(reverse_path).unwrap(),
            is_direct: true,
        }
    }

    fn found(result: MethodResult) -> Authentication {
        let domain = Domain::parse("example.com").ok();
        let mut found = Authentication::none([192, 0, 2, 1].into());
        found.spf = Spf { result, domain, ..found.spf };
        found
    }

    #[test]
    fn both_identities_have_a_field() {
        let mut found = found(MethodResult::Pass);
        let matched = Matched { domain: "example.com".into(), directive: Some("ip4:192.0.2.0/24".into()) };
        found.spf.matched = Some(matched);
        let helo = Spf::none(SpfIdentity::Helo, Some("no record"));
        found.spf_helo = Some(Spf { domain: Domain::parse("h.example.com").ok(), ..helo });
        let fields = received_spf(&found, &sender("192.0.2.1", "<ann@example.com>"), "mx.example.org");
        let expected = concat!(
            "Received-SPF: pass (mx.example.org: domain of example.com designates 192.0.2.1 as permitted sender)\r\n",
            "\tidentity=mailfrom;\r\n\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"ann@example.com\";\r\n",
            "\thelo=h.example.com;\r\n\tmechanism=\"ip4:192.0.2.0/24\";\r\n\treceiver=mx.example.org\r\n",
            "Received-SPF: none (mx.example.org: domain of h.example.com designates no senders)\r\n",
            "\tidentity=helo;\r\n\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"ann@example.com\";\r\n",
            "\thelo=h.example.com;\r\n\tproblem=\"no record\";\r\n\treceiver=mx.example.org\r\n",
        );
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_a_sender_chose_is_quoted() {
        let mut found = found(MethodResult::PermError);
        let term = "a:\"x\\\r\n; y".into();
        found.spf.problem = Some(Problem::Syntax { domain: "example.com".into(), term });
        let sender = sender("2001:db8::1", "<\"a;\\\"(\\\\ b\"@example.com>");
        let fields = received_spf(&found, &sender, "mx.example.org");
        for line in [
            "\tclient-ip=\"2001:db8::1\";\r\n",
            "\tenvelope-from=\"\\\"a;\\\\\\\"(\\\\\\\\ b\\\"@example.com\";\r\n",
            "\tproblem=\"the record, or one that it refers to, is not valid (a:\\\"x\\\\??; y of example.com)\";\r\n",
        ] {
            assert!(fields.contains(line), "{line:?} {fields:?}");
        }
        assert!(fields.trim_end().split("\r\n").skip(1).all(|line| line.starts_with('\t')), "{fields:?}");
    }

    #[test]
    fn of_a_client_that_is_not_known_nothing_is_said() {
        let sender = Sender { address: None, ..sender("192.0.2.1", "<>") };
        assert_eq!(received_spf(&found(MethodResult::None), &sender, "mx.example.org"), "");
    }
}
