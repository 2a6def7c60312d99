//! Lookups overlap: a message waits as long as its longest chain of lookups takes, not as long as all of them together.
//!
//! Every DNS answer takes [`ROUND`]. A busy machine can only make a measurement longer: each is the best of several, with
//! other names each time, so that no memory helps.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::signing::Signer;
use mxkeep::authentication::{Authenticator, Iprev, MethodResult, Settings as Checks, Spf, SpfIdentity};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Behaviour, Record, Responder, Zone, reverse_name};
use mxkeep::message::Message;

use crate::support::dialogue::Settings;
use crate::support::names::Names;
use crate::support::server::{Options, Server};

/// What one answer takes.
const ROUND: Duration = Duration::from_millis(50);
/// Messages of which the best counts.
const MESSAGES: usize = 6;
/// Their longest chain: the SPF record, and the four that it includes one within the other.
const CHAIN: usize = 5;
/// What the verifying library asks one after the other once all results are there: the policy records of the signers.
const AFTERWARDS: usize = 0;

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a domain")
}

fn rounds(took: Duration) -> f64 {
    took.as_secs_f64() / ROUND.as_secs_f64()
}

/// Everything that a message can have looked up, below `d0.example` and so on.
fn publish(zone: &mut Zone, at: usize) -> Vec<Signer> {
    let (base, client) = (format!("d{at}.example"), client(at));
    for depth in 0..CHAIN {
        let name = if depth == 0 { base.clone() } else { format!("spf{depth}.{base}") };
        let term =
            if depth == CHAIN - 1 { format!("ip4:{client}") } else { format!("include:spf{}.{base}", depth + 1) };
        zone.add(&name, Record::txt(&format!("v=spf1 {term} -all")));
    }
    zone.add(&format!("_dmarc.{base}"), Record::txt("v=DMARC1; p=reject; psd=n"));
    zone.add(&format!("helo.{base}"), Record::txt(&format!("v=spf1 ip4:{client} -all")));
    zone.add(&format!("helo.{base}"), Record::A(client));
    zone.add(&reverse_name(client.into()), Record::Ptr(format!("helo.{base}")));
    let signers = [base.clone(), format!("mail.{base}"), format!("a.list.{base}"), format!("b.list.{base}")];
    let signers: Vec<Signer> = signers.iter().map(|name| Signer::ed25519(&domain(name), "s").expect("a key")).collect();
    for signer in &signers {
        zone.add(signer.dns_name(), Record::txt(signer.dns_record()));
    }
    signers
}

fn client(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, u8::try_from(at + 1).expect("few messages"))
}

fn signed(author: &str, signers: &[Signer]) -> Vec<u8> {
    let message = format!("From: someone@{author}\r\nSubject: overlap\r\n\r\nHello!\r\n").into_bytes();
    signers.iter().fold(message, |message, signer| signer.sign(&message).expect("a signature"))
}

/// From the end of the data to the reply.
fn send(server: &Server, at: usize, octets: &[u8]) -> Duration {
    let mut client = server.client();
    client.expect(&format!("XCLIENT ADDR={}", self::client(at)), "220");
    client.expect(&format!("EHLO helo.d{at}.example"), "250");
    let group = format!("MAIL FROM:<someone@d{at}.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
    client.send(group.as_bytes()).expect("the server reads");
    for code in ["250", "250", "354"] {
        assert!(client.reply().expect("a reply").starts_with(code));
    }
    client.send(&[octets, b".\r\n"].concat()).expect("the server reads");
    let begin = Instant::now();
    let reply = client.reply().expect("a final reply");
    let took = begin.elapsed();
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let stored = server.maildir("alice").take_messages().remove(0);
    let results = stored.trace_field("Authentication-Results").expect("our field");
    for (method, count) in [("spf=pass", 1), ("dkim=pass", 4), ("dmarc=pass", 1), ("iprev=pass", 1)] {
        assert!(results.matches(method).count() >= count, "{method}: {results}");
    }
    took
}

#[test]
fn a_message_waits_for_its_longest_chain() {
    let mut zone = Zone::default();
    let signers: Vec<_> = (0..MESSAGES).map(|at| publish(&mut zone, at)).collect();
    let names = Names::start(zone.behave_below("", Behaviour::Delay(ROUND)));
    let server = Server::start(Options {
        dns: Some(names.address()),
        settings: Settings { xclient: true, ..Settings::default() },
        ..Options::default()
    });
    let times: Vec<Duration> =
        (0..MESSAGES).map(|at| send(&server, at, &signed(&format!("d{at}.example"), &signers[at]))).collect();
    let best = *times.iter().min().expect("times");
    // The PTR record is not below the domain.
    let lookups = 1 + (0..MESSAGES).map(|at| names.queries_below(&format!("d{at}.example"))).min().expect("queries");
    println!(
        "from the end of the data to the reply: {best:?}, {:.1} rounds of {ROUND:?}; the longest chain has {CHAIN}, \
         all {lookups} lookups one after the other would take {:?} (each message: {times:?})",
        rounds(best),
        ROUND * u32::try_from(lookups).expect("few lookups"),
    );
    assert!(lookups >= 13, "{lookups} lookups");
    assert!(rounds(best) > CHAIN as f64 - 1.0, "{best:?}: that was not waited for");
    assert!(rounds(best) < (CHAIN + AFTERWARDS) as f64 + 1.5, "{best:?}: {:.1} rounds", rounds(best));
    assert!(rounds(best) < lookups as f64 * 0.7, "{best:?}");
}

/// A new world for each measurement; the best of some.
fn measure<T>(zone: impl Fn() -> Zone, check: impl AsyncFn(&Authenticator) -> T) -> (f64, usize, T) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut best: Option<(f64, usize, T)> = None;
    for _ in 0..4 {
        let measured = runtime.block_on(async {
            let zone = zone().behave_below("", Behaviour::Delay(ROUND));
            let responder = Responder::start(zone).await.expect("a responder");
            let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
            let authenticator = Authenticator::new(resolver, domain("mx.example.net"), Checks::default());
            let begin = Instant::now();
            let found = check(&authenticator).await;
            (rounds(begin.elapsed()), responder.seen().len(), found)
        });
        if best.as_ref().is_none_or(|best| measured.0 < best.0) {
            best = Some(measured);
        }
    }
    best.expect("a measurement")
}

fn show(what: &str, took: f64, expected: usize, lookups: usize) {
    println!("{what}: {took:.1} rounds; the longest chain has {expected}, and there were {lookups} lookups");
    assert!(took > expected as f64 - 0.5 && took < expected as f64 + 1.2, "{what}: {took:.1} rounds");
}

async fn spf(authenticator: &Authenticator, name: &str) -> MethodResult {
    let path = ReversePath::parse(&format!("<someone@{name}>")).expect("a path");
    authenticator.spf(client(0).into(), &Host::Domain(domain("helo.example")), &path).await.result
}

#[test]
fn spf_looks_ahead() {
    let mut chain = Zone::default();
    publish(&mut chain, 0);
    let (took, lookups, result) = measure(|| chain.clone(), async |checks| spf(checks, "d0.example").await);
    assert_eq!(result, MethodResult::Pass);
    show("SPF, four includes one within the other", took, CHAIN, lookups);
    let wide = || {
        let others = (1..=6).map(|at| (format!("s{at}.example"), Record::txt("v=spf1 ip4:198.51.100.1 -all")));
        let mut zone = Zone::from_iter(others);
        let includes: String = (1..=6).map(|at| format!("include:s{at}.example ")).collect();
        zone.add("wide.example", Record::txt(&format!("v=spf1 {includes} a:host.example mx -all")));
        zone.add("wide.example", Record::Mx(10, "mx.example".into()));
        zone.add("host.example", Record::A([198, 51, 100, 2].into()));
        zone.add("mx.example", Record::A(client(0)));
        zone
    };
    let (took, lookups, result) = measure(wide, async |checks| spf(checks, "wide.example").await);
    assert_eq!(result, MethodResult::Pass);
    show("SPF, six includes, a and mx beside each other", took, 3, lookups);
}

/// The client is nobody, so that only the message counts.
async fn verify(authenticator: &Authenticator, octets: &[u8]) -> mxkeep::authentication::Authentication {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let spf = Spf::none(SpfIdentity::MailFrom, None);
    authenticator.verify(&Message::new(octets.to_vec()), spf, Iprev::none(unknown)).await
}

#[test]
fn dkim_keys_are_looked_up_together() {
    let mut zone = Zone::default();
    let signers = publish(&mut zone, 0);
    // Two authors: DMARC asks nothing.
    let octets = signed("d0.example, other@d1.example", &signers);
    let (took, lookups, found) = measure(|| zone.clone(), async |checks| verify(checks, &octets).await);
    assert_eq!(found.dkim.iter().map(|dkim| dkim.result).collect::<Vec<_>>(), [MethodResult::Pass; 4]);
    assert_eq!(lookups, 4);
    show("DKIM, four keys", took, 1, lookups);
}

#[test]
fn dmarc_walks_in_few_rounds() {
    let zone = || Zone::from_iter([("_dmarc.example", Record::txt("v=DMARC1; p=reject"))]);
    let octets = b"From: someone@a.b.c.example\r\n\r\nHello!\r\n";
    let (took, lookups, found) = measure(zone, async |checks| verify(checks, octets).await.dmarc.result);
    assert_eq!(found, MethodResult::Fail);
    println!("DMARC, a walk of four names: {took:.1} rounds, {lookups} lookups");
    assert!(took < lookups as f64 + 1.2, "{took:.1} rounds");
}
