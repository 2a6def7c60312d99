//! DNS in trouble, through the running server: what becomes of a message whose author domain says `p=reject`, by which results,
//! and how soon. Nothing passes from nothing, nothing is refused for want of an answer, and no trouble costs more than its
//! deadline.
//!
//! Clients come by XCLIENT: names of 127.0.0.1 are answered without asking (RFC 6761 section 6.1).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use mxkeep::address::Domain;
use mxkeep::authentication::signing::Signer;
use mxkeep::authentication::{DKIM_SECONDS_MAX, DMARC_SECONDS_MAX, SPF_SECONDS_MAX};
use mxkeep::dns::LOOKUP_SECONDS_MAX;
use mxkeep::dns::responder::{Behaviour, Record, Zone, reverse_name};

use crate::support::dialogue::Settings;
use crate::support::names::{Names, Silence};
use crate::support::server::{Options, Server};

/// What a busy machine may add, in milliseconds.
const SLACK_MILLIS: u128 = 2_500;

/// An author domain, `NAME.example`, with all that a good message needs, and what is wrong with its DNS.
struct Case {
    name: &'static str,
    behaviour: Option<Behaviour>,
    /// The reply's beginning, and SPF, DKIM, DMARC, iprev.
    expected: (&'static str, [&'static str; 4]),
    millis_max: u128,
}

const PASSED: (&str, [&str; 4]) = ("250 2.0.0", ["pass"; 4]);
/// Nobody could tell: p=reject may be in force, and a signature may be good.
const DEFERRED: (&str, [&str; 4]) = ("451 4.7.1", ["temperror"; 4]);
/// Nothing is published: that is an answer.
const UNPUBLISHED: (&str, [&str; 4]) = ("250 2.0.0", ["none", "permerror", "none", "permerror"]);

const fn case(name: &'static str, behaviour: Option<Behaviour>, expected: (&'static str, [&'static str; 4])) -> Case {
    Case { name, behaviour, expected, millis_max: 500 + SLACK_MILLIS }
}

const fn silent(mut case: Case) -> Case {
    // SPF, keys and policy records are waited for together; what has failed is not asked for again.
    case.millis_max = LOOKUP_SECONDS_MAX as u128 * 1_000 + SLACK_MILLIS;
    case
}

const CASES: [Case; 16] = [
    case("plain", None, PASSED),
    case("slow", Some(Behaviour::Delay(Duration::from_millis(250))), PASSED),
    case("lossy", Some(Behaviour::DropFirst(1)), PASSED),
    case("truncated", Some(Behaviour::Truncated), PASSED),
    case("forged", Some(Behaviour::Forged), PASSED),
    case("folded", Some(Behaviour::CaseFolded), PASSED),
    case("aliases", None, PASSED),
    case("huge", None, PASSED),
    case("nodata", Some(Behaviour::NoData), UNPUBLISHED),
    case("nxdomain", Some(Behaviour::NxDomain), UNPUBLISHED),
    case("servfail", Some(Behaviour::ServFail), DEFERRED),
    case("refused", Some(Behaviour::Refused), DEFERRED),
    case("referral", Some(Behaviour::Referral), DEFERRED),
    case("garbage", Some(Behaviour::Garbage), DEFERRED),
    silent(case("silent", Some(Behaviour::Silent), DEFERRED)),
    silent(case("keyless", None, ("451 4.7.1", ["fail", "temperror", "temperror", "pass"]))),
];

fn client(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, u8::try_from(at + 1).expect("few cases"))
}

fn signer(name: &str) -> Signer {
    Signer::ed25519(&Domain::parse(&format!("{name}.example")).expect("a domain"), "s").expect("a key")
}

/// What a domain publishes that does everything right.
fn records(name: &str, client: Ipv4Addr, signer: &Signer) -> Vec<(String, Record)> {
    vec![
        (format!("{name}.example"), Record::txt(&format!("v=spf1 ip4:{client} -all"))),
        (signer.dns_name().to_owned(), Record::txt(signer.dns_record())),
        (format!("_dmarc.{name}.example"), Record::txt("v=DMARC1; p=reject")),
        (reverse_name(client.into()), Record::Ptr(format!("host.{name}.example"))),
        (format!("host.{name}.example"), Record::A(client)),
    ]
}

/// Adds a case to the zone.
fn publish(mut zone: Zone, case: &Case, client: Ipv4Addr, signer: &Signer) -> Zone {
    let (name, reverse) = (case.name, reverse_name(client.into()));
    for (count, (owner, record)) in records(name, client, signer).into_iter().enumerate() {
        match name {
            // Not theirs by SPF: only the key could save it.
            "keyless" if owner == "keyless.example" => zone.add(&owner, Record::txt("v=spf1 -all")),
            "aliases" => add_behind_aliases(&mut zone, &owner, record, &format!("r{count}.elsewhere.example")),
            "huge" => add_huge(&mut zone, &owner, record),
            _ => zone.add(&owner, record),
        }
    }
    if name == "keyless" {
        zone = zone.behave(signer.dns_name(), Behaviour::Silent);
    }
    match case.behaviour {
        Some(behaviour) => zone.behave_below(&format!("{name}.example"), behaviour).behave(&reverse, behaviour),
        None => zone,
    }
}

/// Three CNAME records lead to it.
fn add_behind_aliases(zone: &mut Zone, owner: &str, record: Record, target: &str) {
    let mut from = owner.to_owned();
    for hop in 1..=3 {
        let to = format!("{hop}.{target}");
        zone.add(&from, Record::Cname(to.clone()));
        from = to;
    }
    zone.add(&from, record);
}

/// Far more than fits into a packet stands at the name, all of it legal.
fn add_huge(zone: &mut Zone, owner: &str, record: Record) {
    let record = match record {
        // One key stands at a name: it has a long note (RFC 6376 section 3.6.1).
        Record::Txt(text) if owner.contains("_domainkey") => {
            Record::txt(&format!("{}; n={}", text.concat(), "note ".repeat(4_000)))
        }
        record => record,
    };
    zone.add(owner, record.clone());
    for at in 0..400u16 {
        match record {
            Record::A(_) => zone.add(owner, Record::A([203, 0, (at >> 8) as u8, at as u8].into())),
            Record::Ptr(_) => zone.add(owner, Record::Ptr(format!("n{at}.elsewhere.example"))),
            Record::Txt(_) if !owner.contains("_domainkey") => {
                zone.add(owner, Record::txt(&format!("verification-{at}={}", "x".repeat(40))));
            }
            _ => {}
        }
    }
}

/// What became of a message.
#[derive(Debug)]
struct Told {
    reply: String,
    folder: String,
    /// SPF, DKIM, DMARC, iprev.
    results: Vec<String>,
    millis: u128,
}

/// Sends the domain's message, MAIL to DATA in one group, and waits for the final reply.
fn send(server: &Server, name: &str, from: Ipv4Addr, signer: &Signer) -> Told {
    let mut client = server.client();
    client.expect(&format!("XCLIENT ADDR={from}"), "220");
    client.expect(&format!("EHLO host.{name}.example"), "250");
    let author = format!("someone@{name}.example");
    let text = format!("From: {author}\r\nSubject: {name}\r\n\r\nHello!\r\n");
    let signed = signer.sign(text.as_bytes()).expect("a signature");
    let group = format!("MAIL FROM:<{author}>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
    client.send(group.as_bytes()).expect("the server reads");
    for code in ["250", "250", "354"] {
        let reply = client.reply().expect("a reply");
        assert!(reply.starts_with(code), "{name}: {reply}");
    }
    client.send(&[&signed[..], b".\r\n"].concat()).expect("the server reads");
    let begin = Instant::now();
    let reply = client.reply().expect("a final reply");
    let millis = begin.elapsed().as_millis();
    let stored =
        server.maildir("alice").messages().into_iter().find(|stored| {
            String::from_utf8_lossy(&stored.octets).lines().any(|line| line == format!("Subject: {name}"))
        });
    let folder = match &stored {
        None => "-".to_owned(),
        Some(stored) if stored.folder.is_empty() => "inbox".to_owned(),
        Some(stored) => stored.folder.clone(),
    };
    let results = results(server, &reply);
    if let Some(stored) = stored {
        let field = stored.trace_field("Authentication-Results").expect("our field");
        for (method, result) in METHODS.iter().zip(&results) {
            assert!(field.contains(&format!("{method}={result}")), "{name}: {method}={result}: {field}");
        }
    }
    Told { reply, folder, results, millis }
}

const METHODS: [&str; 4] = ["spf", "dkim", "dmarc", "iprev"];

/// The results in the event of the transaction that a reply ended.
fn results(server: &Server, reply: &str) -> Vec<String> {
    let id = reply.rsplit_once('(').map(|(_, id)| id.trim_end_matches(')')).expect("an id");
    server.await_log(&format!("\"id\":\"{id}\""));
    let log = server.log();
    let is_it = |line: &&str| line.contains("mxkeep::transaction") && line.contains(&format!("\"id\":\"{id}\""));
    let event: serde_json::Value = serde_json::from_str(log.lines().find(is_it).expect("an event")).expect("JSON");
    let fields = event.get("fields").unwrap_or(&event);
    let summary = fields["authentication"].as_str().expect("a summary").to_owned();
    let result = |method: &&str| {
        let found = summary.split(' ').find_map(|word| word.strip_prefix(&format!("{method}=")));
        found.map_or("?", |result| result.split('/').next().unwrap_or(result)).to_owned()
    };
    METHODS.iter().map(result).collect()
}

fn options(names: &Names) -> Options {
    Options {
        dns: Some(names.address()),
        settings: Settings { xclient: true, ..Settings::default() },
        configuration: "log.format = \"json\"".to_owned(),
        ..Options::default()
    }
}

#[test]
fn every_trouble_has_its_verdict_and_its_deadline() {
    let signers: Vec<Signer> = CASES.iter().map(|case| signer(case.name)).collect();
    let zone = CASES
        .iter()
        .zip(&signers)
        .enumerate()
        .fold(Zone::default(), |zone, (at, (case, signer))| publish(zone, case, client(at), signer));
    let names = Names::start(zone);
    let server = Server::start(options(&names));
    let told: Vec<Told> = thread::scope(|scope| {
        let (server, signers) = (&server, &signers);
        let send = |at: usize| move || send(server, CASES[at].name, client(at), &signers[at]);
        let threads: Vec<_> = (0..CASES.len()).map(|at| scope.spawn(send(at))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut table = format!(
        "{:10} {:9} {:6} {:9} {:9} {:9} {:9} {:>5}\n",
        "DNS", "reply", "folder", "spf", "dkim", "dmarc", "iprev", "ms"
    );
    for (case, Told { reply, folder, results, millis }) in CASES.iter().zip(&told) {
        let [spf, dkim, dmarc, iprev] = results.as_slice() else { panic!("{results:?}") };
        let reply = reply.get(..9).unwrap_or(reply);
        let _ =
            writeln!(table, "{:10} {reply:9} {folder:6} {spf:9} {dkim:9} {dmarc:9} {iprev:9} {millis:>5}", case.name);
    }
    print!("{table}");
    let deadlines = u128::from(SPF_SECONDS_MAX + DKIM_SECONDS_MAX + DMARC_SECONDS_MAX) * 1_000;
    for (case, told) in CASES.iter().zip(&told) {
        let (reply, expected) = case.expected;
        assert!(told.reply.starts_with(reply), "{}: {told:?}\n{table}", case.name);
        assert_eq!(told.results, expected, "{}\n{table}", case.name);
        assert_eq!(told.folder, if reply.starts_with('2') { "inbox" } else { "-" }, "{}\n{table}", case.name);
        assert!(told.millis < case.millis_max.min(deadlines), "{}: {told:?}\n{table}", case.name);
    }
}

/// A port at which nobody listens.
fn dead() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a TCP port");
    let address = tcp.local_addr().expect("its address");
    UdpSocket::bind(address).map(|_| address).unwrap_or_else(|_| dead())
}

/// The second server's answers come in time, and soon without delay: the first one is asked last.
#[test]
fn a_first_server_that_is_dead_or_silent_costs_little() {
    const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];
    let signers: Vec<Signer> = NAMES.iter().map(|name| signer(name)).collect();
    let mut zone = Zone::default();
    for (at, (name, signer)) in NAMES.iter().zip(&signers).enumerate() {
        records(name, client(at), signer).into_iter().for_each(|(owner, record)| zone.add(&owner, record));
    }
    let names = Names::start(zone);
    let silence = Silence::start();
    let firsts = [("none", None), ("dead", Some(dead())), ("silent", Some(silence.address()))];
    let times: Vec<Vec<u128>> = thread::scope(|scope| {
        let (names, signers) = (&names, &signers);
        let run = |(what, first): (&'static str, Option<SocketAddr>)| {
            move || {
                let server = Server::start(Options { dns_first: first, ..options(names) });
                let sent = NAMES.iter().zip(signers).enumerate().map(|(at, (name, signer))| {
                    let told = send(&server, name, client(at), signer);
                    assert_eq!(
                        (told.results.as_slice(), told.folder.as_str()),
                        (&["pass"; 4].map(String::from)[..], "inbox"),
                        "{what}: {told:?}"
                    );
                    told.millis
                });
                sent.collect()
            }
        };
        let threads: Vec<_> = firsts.into_iter().map(|first| scope.spawn(run(first))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for ((first, _), times) in firsts.iter().zip(&times) {
        println!("first of two servers {first}: the messages were answered after {times:?} ms");
    }
    for times in &times[1..] {
        assert!(times.iter().all(|millis| *millis < 2_000 + SLACK_MILLIS), "{times:?}");
        let least = times.iter().min().expect("times");
        assert!(*least < 400, "the first server is asked first for ever: {times:?}");
    }
}
