//! Authentication-Results and Received-SPF: the parser against another parser's test strings (data beside the repository),
//! and what stands in the Maildir when senders forge fields of ours or choose what they hope will be read as ours.

use mxkeep::authentication::claims::{self, Claims};
use mxkeep::dns::responder::{Record, Zone, reverse_name};
use serde_json::Value;

use crate::support::conformance::{json, report};
use crate::support::maildir::Stored;
use crate::support::names::Names;
use crate::support::server::{Options, Server};
use crate::support::shared;
use crate::support::smtp_client::Client;

const OURS: &str = "mx.example.test";

/// Strings of the other suite that RFC 8601 section 2.2 judges in another way, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("text.example.com foo;", "a version is digits, and a result or `none` has to follow"),
    (
        " test.example.com ; foo=bar;dkim=fail ;one=; two ;three;dmarc=pass",
        "a method has a result: `one=`, `two` and `three` have none",
    ),
];

/// What a reader makes of a field: its version, and each result with its properties.
fn read(text: &str) -> Option<String> {
    let body = text.strip_prefix("Authentication-Results:").unwrap_or(text);
    let Claims { authserv_id, version, claims } = claims::parse(body.replace('\n', "\r\n").as_bytes())?;
    let properties = |claim: &claims::Claim| -> String {
        claim.properties.iter().map(|(name, value)| format!(" {name}={value}")).collect()
    };
    let claims: String = claims.iter().map(|c| format!("; {}={}{}", c.method, c.result, properties(c))).collect();
    Some(format!("{authserv_id} {}{claims}", version.unwrap_or(1)))
}

#[test]
fn another_parsers_test_strings() {
    let path = "authres-mail-authresults-perl/data/parser_cases.json";
    let Some(path) = shared::suite("authentication_results", path) else { return };
    let suite: Value = json(&path);
    let strings = |name: &str| -> Vec<String> {
        let texts = suite[name].as_array().expect("a list").iter();
        texts.map(|text| text.as_str().or(text["in"].as_str()).expect("a string").to_owned()).collect()
    };
    let expected = [("must_parse", true), ("must_not_parse", false), ("parse_and_render", true)];
    let (mut run, mut passed, mut excluded) = (0, 0, Vec::new());
    for (text, parses) in
        expected.iter().flat_map(|(name, parses)| strings(name).into_iter().map(|text| (text, *parses)))
    {
        run += 1;
        let otherwise = OTHERWISE.iter().find(|(other, _)| *other == text);
        assert_eq!(read(&text).is_some(), parses && otherwise.is_none(), "{text}");
        match otherwise {
            Some((_, reason)) => excluded.push(format!("{text:?}: {reason}")),
            None => passed += 1,
        }
    }
    let otherwise = excluded.len();
    report("authres-mail-authresults-perl", run, passed, otherwise, excluded);
    assert_eq!((run, passed, otherwise), (14, 12, OTHERWISE.len()));
    // Appendix B.7 of the RFC, which stands there as well: everything in it is found.
    let commented = strings("parse_and_render").remove(0);
    assert_eq!(read(&commented).as_deref(), Some("foo.example.net 1; dkim=fail policy.expired=1362471462"));
}

fn zone() -> Zone {
    let mut zone = Zone::from_iter([
        ("good.example", Record::txt("v=spf1 ip4:127.0.0.1 ip4:192.0.2.9 -all")),
        ("bad.example", Record::txt("v=spf1 -all")),
        ("odd.example", Record::txt("v=spf1 include:%{l}.odd.example -all")),
        ("_dmarc.odd.example", Record::txt("v=DMARC1; p=none")),
    ]);
    // What a name server can put where a name is expected.
    zone.add(&reverse_name([192, 0, 2, 9].into()), Record::Ptr("x;dmarc=pass\\032(.odd.example".into()));
    zone
}

fn start(names: &Names, configuration: &str) -> Server {
    let rules = "header HELO_FAILS eval:check_for_spf_helo_fail()\nscore HELO_FAILS 0.1\n".to_owned();
    let configuration = configuration.to_owned();
    Server::start(Options { dns: Some(names.address()), configuration, rules, ..Options::default() })
}

/// Sends a message and hands back the delivered copy.
fn deliver(server: &Server, helo: &str, reverse_path: &str, message: &str) -> Stored {
    deliver_as(server, server.client(), helo, reverse_path, message)
}

fn deliver_as(server: &Server, mut client: Client, helo: &str, reverse_path: &str, message: &str) -> Stored {
    client.expect(&format!("EHLO {helo}"), "250");
    let octets = message.replace("\r\n", "\n").replace('\n', "\r\n");
    let reply = client.message(reverse_path, &["alice@example.test"], octets.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    server.maildir("alice").take_messages().remove(0)
}

/// The Authentication-Results fields of a stored copy, unfolded, top first.
fn fields(stored: &Stored, name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&stored.octets).into_owned();
    let header = text.split("\n\n").next().unwrap_or_default().replace("\n\t", "\t").replace("\n ", " ");
    let named = header.lines().filter_map(|line| line.split_once(':'));
    named.filter(|(field, _)| field.trim().eq_ignore_ascii_case(name)).map(|(_, body)| body.trim().to_owned()).collect()
}

fn ours(stored: &Stored) -> Claims {
    let fields = fields(stored, "Authentication-Results");
    claims::parse(fields[0].as_bytes()).unwrap_or_else(|| panic!("{fields:?}"))
}

fn summary(claims: &Claims) -> Vec<String> {
    claims.claims.iter().map(|claim| format!("{}={}", claim.method, claim.result)).collect()
}

const FORGED: &str = "Authentication-Results: mx.example.test; dmarc=pass header.from=bank.example
AUTHENTICATION-results:MX.Example.Test;spf=pass
Authentication-Results : mx.example.test; dkim=pass
Authentication-Results\t:\tmx.example.test; dkim=pass
Authentication-Results:
 mx.example.test;
\tspf=pass
Authentication-Results: (a (nested) comment) mx.example.test (of ours) 1 (one); spf=pass
Authentication-Results: \"mx.example.test\"; spf=pass
Authentication-Results: \"mx.\\example.test\" 1; spf=pass
Authentication-Results: mx.example.test.; spf=pass
Authentication-Results: mx.example.test 2; spf=pass
Authentication-Results: mx.example.test; none
Authentication-Results: mx.example.test
Authentication-Results: mx . example . test; spf=pass
Authentication-Results: mx.example.test spf=pass
Authentication-Results: (unclosed mx.example.test; spf=pass
Authentication-Results: \"mx.example.test; spf=pass
Authentication-Results: \u{ff4d}x.example.test; spf=pass
Authentication-Results: mx\u{3002}example\u{3002}test; spf=pass
no field, and behind it
Authentication-Results: mx.example.test; spf=pass
";

const OTHERS: &str = "Authentication-Results: other.example; dmarc=pass header.from=mx.example.test
Authentication-Results: mx.example.test.evil.example; spf=pass
ARC-Authentication-Results: i=1; mx.example.test; dmarc=pass
";

#[test]
fn one_field_is_ours_and_it_is_ours_alone() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let message = format!("{FORGED}{OTHERS}From: a@odd.example\nSubject: x\n\n{FORGED}");
    let stored = deliver(&server, "client.example", "a@good.example", &message);
    let found = fields(&stored, "Authentication-Results");
    assert_eq!(found.len(), 3, "{found:#?}");
    let claims = ours(&stored);
    assert_eq!(claims.authserv_id, OURS);
    assert_eq!(summary(&claims), ["spf=pass", "spf=none", "dkim=none", "arc=fail", "dmarc=fail", "iprev=pass"]);
    let text = String::from_utf8_lossy(&stored.octets).into_owned();
    // Nothing else is touched: not the body, not the line that is no field, not what others said.
    assert!(text.contains(OTHERS) && text.ends_with(FORGED) && text.contains("\nno field, and behind it\n"), "{text}");
}

/// OpenDMARC's CVE-2020-12272: text that a sender chose was taken for a result.
#[test]
fn nothing_that_a_sender_chooses_becomes_a_result() {
    const INJECTION: &str = "x; dmarc=pass header.from=bank.example (";
    let names = Names::start(zone());
    let server = start(&names, "authentication.received_spf = true\nlisten.proxy_protocol_from = [\"127.0.0.1\"]");
    let client = || {
        let mut client = Client::connect(server.address());
        client.send(b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 25\r\n").expect("the server reads");
        assert!(client.reply().expect("a banner").starts_with("220 "));
        client
    };
    let signature = |d: &str, i: &str, s: &str, b: &str| {
        format!("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={d}; i={i}; s={s}; h=from;\n bh=AAAA; b={b}\n")
    };
    let injections = [
        signature("odd.example", "\"x\\; dmarc=pass (\"@odd.example", "s", "AAAA"),
        signature("odd.example", "x(dmarc=pass@odd.example", "s", "AAAA"),
        signature("odd.example", "@odd.example", "s(dmarc=pass\" ", "AAAA"),
        signature("odd.example(dmarc=pass", "@odd.example", "s", "AAAA"),
        signature("odd.example", "@odd.example", "s", "(dmarc=pass\""),
        signature("bank.example(.odd.example", "@bank.example(.odd.example", "s\"", "\"; dmarc=pass"),
    ];
    let message = format!("{}From: a@odd.example\n\nHello!\n", injections.concat());
    for reverse_path in [format!("\"{INJECTION}\"@odd.example"), "\"a\\\"; dmarc=pass (\\\\\"@good.example".to_owned()]
    {
        let stored = deliver_as(&server, client(), "odd.example", &reverse_path, &message);
        let claims = ours(&stored);
        assert_eq!(fields(&stored, "Authentication-Results").len(), 1);
        let methods: Vec<&str> = claims.claims.iter().map(|claim| claim.method.as_str()).collect();
        let signatures = methods.iter().filter(|method| **method == "dkim").count();
        assert!((1..=injections.len()).contains(&signatures), "{methods:?}");
        let expected = [vec!["spf", "spf"], vec!["dkim"; signatures], vec!["dmarc", "iprev"]].concat();
        assert_eq!(methods, expected);
        let passed: Vec<_> = summary(&claims).into_iter().filter(|claim| claim.ends_with("=pass")).collect();
        let spf_passes = reverse_path.ends_with("good.example");
        assert_eq!(passed, if spf_passes { vec!["spf=pass"] } else { vec![] });
        // Our lines are whole: each field that begins is one of ours or of the message.
        let text = String::from_utf8_lossy(&stored.octets).into_owned();
        assert!(!text.contains("\ndmarc=") && !text.contains("\n dmarc="), "{text}");
        assert_eq!(fields(&stored, "Received-SPF").len(), 2, "{text}");
    }
    // A HELO that could do harm is no name.
    for helo in ["x;dmarc=pass", "x(y", "\"x\"", "x.example; dmarc=pass"] {
        client().expect(&format!("EHLO {helo}"), "501 5.5.4");
    }
}

#[test]
fn both_spf_identities_are_checked_and_shown() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let message = "From: a@odd.example\n\nHello!\n";
    let table = [
        ("bad.example", "a@good.example", "spf=pass smtp.mailfrom=good.example spf=fail smtp.helo=bad.example", true),
        ("good.example", "a@bad.example", "spf=fail smtp.mailfrom=bad.example spf=pass smtp.helo=good.example", false),
        (
            "nobody.example",
            "a@good.example",
            "spf=pass smtp.mailfrom=good.example spf=none smtp.helo=nobody.example",
            false,
        ),
        // The null reverse-path is checked as HELO, and that once (RFC 7208 section 2.4).
        ("bad.example", "", "spf=fail smtp.helo=bad.example", true),
        ("good.example", "", "spf=pass smtp.helo=good.example", false),
        // An address literal has no record.
        ("[192.0.2.1]", "a@good.example", "spf=pass smtp.mailfrom=good.example", false),
    ];
    for (helo, reverse_path, expected, helo_fails) in table {
        let stored = deliver(&server, helo, reverse_path, message);
        let claims = ours(&stored);
        let spf = claims.claims.iter().filter(|claim| claim.method == "spf");
        let shown: Vec<String> = spf
            .flat_map(|claim| {
                let properties = claim.properties.iter().map(|(name, value)| format!("{name}={value}"));
                std::iter::once(format!("spf={}", claim.result)).chain(properties)
            })
            .collect();
        assert_eq!(shown.join(" "), expected);
        let status = stored.trace_field("X-Spam-Status").unwrap_or_default();
        assert_eq!(status.contains("HELO_FAILS"), helo_fails, "{helo}: {status}");
    }
    server.await_log("authentication=\"spf=pass helo=fail dkim=none");
}

/// RFC 7208 section 9.1: above our Received field, and above what a message brought, which stays.
#[test]
fn received_spf_stands_above_received() {
    let names = Names::start(zone());
    let message = "Received-SPF: pass (mx.example.test: forged) client-ip=192.0.2.1\nFrom: a@odd.example\n\nHello!\n";
    let server = start(&names, "authentication.received_spf = true");
    let stored = deliver(&server, "bad.example", "a@good.example", message);
    let text = String::from_utf8_lossy(&stored.octets).into_owned();
    let expected =
        "Received-SPF: pass (mx.example.test: domain of good.example designates 127.0.0.1 as permitted sender)
\tidentity=mailfrom;
\tclient-ip=127.0.0.1;
\tenvelope-from=\"a@good.example\";
\thelo=bad.example;
\tmechanism=\"ip4:127.0.0.1\";
\treceiver=mx.example.test
Received-SPF: fail (mx.example.test: domain of bad.example does not designate 127.0.0.1 as permitted sender)
\tidentity=helo;
\tclient-ip=127.0.0.1;
\tenvelope-from=\"a@good.example\";
\thelo=bad.example;
\tmechanism=\"-all\";
\treceiver=mx.example.test
Received: from bad.example ";
    assert!(text.contains(expected), "{text}");
    assert_eq!(fields(&stored, "Received-SPF").len(), 3, "{text}");
    assert!(text.contains("\nReceived-SPF: pass (mx.example.test: forged) client-ip=192.0.2.1\nFrom:"), "{text}");

    // Without the key there is none of ours; a reload brings it.
    let server = start(&names, "");
    let stored = deliver(&server, "bad.example", "a@good.example", message);
    assert_eq!(fields(&stored, "Received-SPF").len(), 1);
    server.edit(|text| format!("authentication.received_spf = true\n{text}"));
    assert_eq!(server.run("reload").code, Some(0));
    let stored = deliver(&server, "bad.example", "b@good.example", message);
    assert_eq!(fields(&stored, "Received-SPF").len(), 3);
}
