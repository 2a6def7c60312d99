//! The test suite of RFC 7208 through the running server: client address, HELO and MAIL FROM as a client gives them, DNS
//! answers on loopback, and the result as it stands in the Authentication-Results field of the delivered copy.
//!
//! What SMTP cannot say (RFC 5321 section 4.1.2), and so no client can ask, is refused with 501: those tests are listed.
//! Explanations are compared in `spf_suites`: the server asks for none while a sender waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;

use mxkeep::address::{Host, ReversePath};
use mxkeep::authentication::claims;

use crate::support::names::Names;
use crate::support::server::{Options, Server};
use crate::support::shared;
use crate::support::smtp_client::Client;
use crate::support::spf_suite::{Case, Scenario, scenarios};

/// Scenarios that run at a time: each has a server and a name server of its own.
const SCENARIOS_AT_A_TIME: usize = 4;
/// Tests that no client can express: a label of 64 octets, an empty label and a null local-part in MAIL; a space and
/// percent signs in HELO.
const NOT_EXPRESSIBLE: [&str; 5] =
    ["toolonglabel", "emptylabel", "nolocalpart", "invalid-hello-macro", "invalid-domain-long-via-macro"];

/// How a test went.
enum Ran {
    AsExpected,
    Differs(String),
    /// The command that the server refused.
    NotExpressible(String),
}

/// The path as it stands in MAIL: a local-part that is no dot-string is quoted.
fn path(mail_from: &str) -> String {
    match mail_from.rsplit_once('@') {
        Some((local_part, domain)) if local_part.contains(' ') => format!("<\"{local_part}\"@{domain}>"),
        _ => format!("<{mail_from}>"),
    }
}

/// A client that the balancer announces with this address.
fn announced(server: &Server, address: &str) -> Client {
    let mut client = Client::connect(server.address());
    let header = match address.parse::<IpAddr>().expect("an address") {
        IpAddr::V4(address) => format!("PROXY TCP4 {address} 198.51.100.1 4711 25\r\n"),
        IpAddr::V6(address) => format!("PROXY TCP6 {address} 2001:db8::25 4711 25\r\n"),
    };
    client.send(header.as_bytes()).expect("the server reads");
    assert!(client.reply().expect("a banner").starts_with("220 "));
    client
}

/// Hands a message over as the test says. Some: this command was refused, and rightly so.
fn hand_over(server: &Server, number: usize, case: &Case) -> Option<String> {
    let mut client = announced(server, &case.host);
    let (hello, mail) = (format!("EHLO {}", case.helo), format!("MAIL FROM:{}", path(&case.mail_from)));
    for (command, legal) in
        [(&hello, Host::parse(&case.helo).is_ok()), (&mail, ReversePath::parse(&path(&case.mail_from)).is_ok())]
    {
        let reply = client.command(command);
        match legal {
            true => assert!(reply.starts_with("250"), "{}: {command}: {reply}", case.name),
            false => {
                assert!(reply.starts_with("501 5."), "{}: {command}: {reply}", case.name);
                return Some(command.clone());
            }
        }
    }
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    let message = format!("From: someone@author.test\r\nX-Number: {number}\r\n\r\nHello!\r\n.\r\n");
    client.send(message.as_bytes()).expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 2.0.0"), "{}: {reply}", case.name);
    None
}

/// The result of SPF for the identity that the test is about, in each delivered copy, by the number of its test.
fn results(server: &Server, cases: &[Case]) -> HashMap<usize, String> {
    let mut results = HashMap::new();
    for stored in server.maildir("alice").take_messages() {
        let text = String::from_utf8_lossy(&stored.octets).into_owned();
        let number = text.lines().find_map(|line| line.strip_prefix("X-Number: ")).expect("a number");
        let number: usize = number.parse().expect("a number");
        let field = stored.trace_field("Authentication-Results").expect("the field");
        let claims = claims::parse(field.as_bytes()).unwrap_or_else(|| panic!("{field}"));
        assert_eq!(claims.authserv_id, "mx.example.test");
        let property = if cases[number].mail_from.is_empty() { "smtp.helo" } else { "smtp.mailfrom" };
        let mut spf = claims.claims.iter().filter(|claim| claim.method == "spf");
        // The first is the one that DMARC goes by. One of an address literal has no property.
        let first = spf.next().expect("SPF");
        assert!(first.properties.iter().all(|(name, _)| name == property), "{field}");
        results.insert(number, first.result.clone());
    }
    results
}

fn run(scenario: &Scenario) -> Vec<(String, Ran)> {
    let names = Names::start(scenario.zone());
    let configuration = "listen.proxy_protocol_from = [\"127.0.0.1\"]".to_owned();
    let server = Server::start(Options { dns: Some(names.address()), configuration, ..Options::default() });
    let cases = scenario.cases();
    let refused: Vec<_> = cases.iter().enumerate().map(|(number, case)| hand_over(&server, number, case)).collect();
    let results = results(&server, &cases);
    let ran = cases.into_iter().zip(refused).enumerate().map(|(number, (case, refused))| {
        let ran = match (refused, results.get(&number)) {
            (Some(command), None) if NOT_EXPRESSIBLE.contains(&case.name.as_str()) => Ran::NotExpressible(command),
            (None, Some(result)) if case.results.contains(result) => Ran::AsExpected,
            (_, result) => Ran::Differs(format!("{result:?} instead of {:?}", case.results)),
        };
        (format!("{}: {}", scenario.description, case.name), ran)
    });
    ran.collect()
}

#[test]
fn rfc7208() {
    let Some(path) = shared::find("spf_server", "suites/spf-openspf/data/rfc7208-tests.yml") else { return };
    let scenarios = scenarios(&path);
    let lane = |lane: usize| scenarios.iter().skip(lane).step_by(SCENARIOS_AT_A_TIME).flat_map(run).collect::<Vec<_>>();
    let ran: Vec<(String, Ran)> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..SCENARIOS_AT_A_TIME).map(|at| scope.spawn(move || lane(at))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane ends")).collect()
    });
    let passed = ran.iter().filter(|(_, ran)| matches!(ran, Ran::AsExpected)).count();
    let refused: Vec<_> = ran
        .iter()
        .filter_map(|(name, ran)| match ran {
            Ran::NotExpressible(command) => Some(format!("  {name}: not expressible in SMTP: 501 to {command}")),
            _ => None,
        })
        .collect();
    let different: Vec<_> = ran
        .iter()
        .filter_map(|(name, ran)| match ran {
            Ran::Differs(how) => Some(format!("{name}: {how}")),
            _ => None,
        })
        .collect();
    println!(
        "rfc7208 through the server: {} run, {passed} passed, {} not expressible{}",
        ran.len(),
        refused.len(),
        refused.iter().map(|line| format!("\n{line}")).collect::<String>()
    );
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!((ran.len(), passed, refused.len()), (203, 198, NOT_EXPRESSIBLE.len()));
}
