//! What DMARC asks for and what is done, over the real server: policies, overrides, and what is on record of each.

use mxkeep::address::Domain;
use mxkeep::authentication::sealing::Sealer;
use mxkeep::authentication::signing::Signer;
use mxkeep::dns::responder::{Behaviour, Record, Zone, reverse_name};
use mxkeep::rules::OWN as OWN_RULES;

use crate::support::maildir::Maildir;
use crate::support::names::Names;
use crate::support::server::{Options, Server, transaction};
use crate::support::smtp_client::Client;

/// Has DMARC enforced, and trusts nobody.
const ALICE: &str = "alice@example.test";
/// Trusts lists.example and 192.0.2.0/28, and the sealers sealer.example and older.example.
const TESS: &str = "tess@trust.test";
/// Has her own policies for author domains.
const OLGA: &str = "olga@own.test";
/// Only watches.
const OZ: &str = "oz@observe.test";

const CONFIGURATION: &str = r#"
listen.proxy_protocol_from = ["127.0.0.1"]
log.format = "json"
domains."trust.test".mailboxes = ["tess"]
domains."trust.test".policy.trusted_forwarders = ["lists.example", "192.0.2.0/28"]
domains."trust.test".policy.trusted_sealers = ["sealer.example", "older.example"]
domains."own.test".mailboxes = ["olga"]
domains."own.test".policy.dmarc_overrides."reject.example" = "none"
domains."own.test".policy.dmarc_overrides."quarantine.example" = "reject"
domains."own.test".policy.dmarc_overrides."none.example" = "quarantine"
domains."own.test".policy.dmarc_overrides."strict.none.example" = "reject"
domains."own.test".policy.dmarc_overrides."silent.example" = "reject"
domains."observe.test".mailboxes = ["oz"]
domains."observe.test".policy.dmarc = "observe"
"#;

/// A client that nobody knows.
const STRANGER: &str = "198.51.100.1";
/// May send for lists.example and mx.lists.example by SPF.
const LIST: &str = "198.51.100.9";
/// Is called mx.lists.example.
const NAMED: &str = "203.0.113.7";
/// Nobody can tell now what it is called.
const UNNAMED: &str = "203.0.113.8";

fn signer(selector: &str) -> Signer {
    Signer::ed25519(&Domain::parse("lists.example").expect("a domain"), selector).expect("a key")
}

fn zone() -> Zone {
    let mut zone = Zone::from_iter([
        ("_dmarc.reject.example", Record::txt("v=DMARC1; p=reject")),
        ("_dmarc.quarantine.example", Record::txt("v=DMARC1; p=quarantine")),
        ("_dmarc.none.example", Record::txt("v=DMARC1; p=none")),
        ("_dmarc.testing-reject.example", Record::txt("v=DMARC1; p=reject; t=y")),
        ("_dmarc.testing-quarantine.example", Record::txt("v=DMARC1; p=quarantine; t=y")),
        ("_dmarc.tree.example", Record::txt("v=DMARC1; p=none; sp=quarantine; np=reject")),
        ("sub.tree.example", Record::A([192, 0, 2, 99].into())),
        ("lists.example", Record::txt("v=spf1 ip4:198.51.100.9 -all")),
        ("mx.lists.example", Record::txt("v=spf1 ip4:198.51.100.9 -all")),
        ("mx.lists.example", Record::A([203, 0, 113, 7].into())),
        ("stranger.example", Record::A([198, 51, 100, 1].into())),
    ]);
    let reverse = |client: &str| reverse_name(client.parse().expect("an address"));
    zone.add(&reverse(NAMED), Record::Ptr("mx.lists.example".into()));
    zone.add(&reverse(STRANGER), Record::Ptr("stranger.example".into()));
    zone.behave(&reverse(UNNAMED), Behaviour::ServFail)
        .behave("broken.lists.example", Behaviour::ServFail)
        .behave("broken._domainkey.lists.example", Behaviour::ServFail)
}

/// With our own rules, which are not to put into Junk what is let through.
fn start(names: &Names, more: &str) -> Server {
    let rules = OWN_RULES.iter().map(|(_, text)| *text).collect();
    let configuration = format!("{CONFIGURATION}{more}\n");
    Server::start(Options { dns: Some(names.address()), rules, configuration, ..Options::default() })
}

/// One message, and what has to become of it.
struct Case {
    what: &'static str,
    client: &'static str,
    reverse_path: &'static str,
    to: &'static [&'static str],
    octets: String,
    /// How the reply begins.
    reply: &'static str,
    /// Folders of each recipient's copy; none where it was refused.
    landed: &'static [&'static str],
    /// `cause`, `dmarc`, `policy`, `applied` and `override` in the log.
    on_record: [&'static str; 5],
}

const DELIVERED: &str = "250 2.0.0 Message delivered (";
const REFUSED: &str = "550 5.7.1 Not authenticated as ";
const LATER: &str =
    "451 4.7.1 Not authenticated as reject.example, and DNS fails to tell who forwarded it: try again (";

impl Case {
    /// A message by this author from a stranger to this recipient.
    fn by(author: &str, to: &'static [&'static str]) -> Self {
        Case {
            what: "",
            client: STRANGER,
            reverse_path: "carol@client.example",
            to,
            octets: message(author, ""),
            reply: DELIVERED,
            landed: &[""],
            on_record: [""; 5],
        }
    }

    /// A message by someone at reject.example to Tess.
    fn forwarded(what: &'static str, client: &'static str, reverse_path: &'static str, header: &str) -> Self {
        Case { what, client, reverse_path, octets: message("reject.example", header), ..Case::by("", &[TESS]) }
    }

    fn ends(self, reply: &'static str, landed: &'static [&'static str], on_record: [&'static str; 5]) -> Self {
        Case { reply, landed, on_record, ..self }
    }

    /// It is refused for what the author domain asks for.
    fn ends_refused(self) -> Self {
        self.ends(REFUSED, &[], ["dmarc_reject", "fail", "reject", "reject", ""])
    }

    /// It is in the inbox although it fails, by this override.
    fn goes_through(self, by: &'static str) -> Self {
        self.ends(DELIVERED, &[""], ["", "fail", "reject", "none", by])
    }

    /// It has to wait until DNS can tell who sent it.
    fn waits(self) -> Self {
        self.ends(LATER, &[], ["forwarder_temporary", "fail", "reject", "defer", ""])
    }

    #[track_caller]
    fn check(&self, server: &Server) {
        let what = format!("{} to {:?}: {}", self.what, self.to, self.octets);
        let mut client = Client::connect(server.address());
        let header = format!("PROXY TCP4 {} 198.51.100.25 4711 25\r\n", self.client);
        client.send(header.as_bytes()).expect("the server reads");
        assert!(client.reply().expect("a banner").starts_with("220 "));
        client.expect("EHLO mx.lists.example", "250");
        let reply = client.message(self.reverse_path, self.to, self.octets.as_bytes());
        assert!(reply.starts_with(self.reply) && !reply.contains('\n'), "{what}: {reply}");
        // It has seen the reply: the same octets are another message from now on.
        client.expect("NOOP", "250");
        let event = transaction(server, &reply);
        let fields = ["cause", "dmarc", "policy", "applied", "override"];
        assert_eq!(fields.map(|field| event[field].as_str().unwrap_or("missing")), self.on_record, "{what}: {event}");
        let landed: Vec<String> = self.to.iter().flat_map(|to| take(server, to)).collect();
        assert_eq!(landed, self.landed, "{what}: {event}");
    }
}

fn message(author: &str, header: &str) -> String {
    format!(
        "{header}From: Someone <someone@{author}>\r\nTo: list@lists.example\r\nSubject: hello\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@{author}>\r\n\r\nHello!\r\n"
    )
}

/// The folder of each message in a mailbox, taken out.
fn take(server: &Server, address: &str) -> Vec<String> {
    let (local_part, domain) = address.split_once('@').expect("an address");
    let local_part = if local_part == "postmaster" { "alice" } else { local_part };
    let maildir = Maildir::new(server.directory().join("mail").join(domain).join(local_part).join("Maildir"));
    maildir.take_messages().into_iter().map(|stored| stored.folder).collect()
}

#[test]
fn what_an_author_domain_asks_for_is_done() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let quarantined = |policy| ["dmarc_quarantine", "fail", policy, "quarantine", ""];
    let cases = [
        Case::by("reject.example", &[ALICE]).ends_refused(),
        Case::by("quarantine.example", &[ALICE]).ends(DELIVERED, &["Junk"], quarantined("quarantine")),
        Case::by("none.example", &[ALICE]).ends(DELIVERED, &[""], ["", "fail", "none", "none", ""]),
        Case::by("silent.example", &[ALICE]).ends(DELIVERED, &[""], ["", "none", "", "", ""]),
        // One step milder while it is being tested.
        Case::by("testing-reject.example", &[ALICE]).ends(DELIVERED, &["Junk"], quarantined("quarantine")),
        Case::by("testing-quarantine.example", &[ALICE]).ends(DELIVERED, &[""], ["", "fail", "none", "none", ""]),
        // sp= for subdomains that exist, np= for others.
        Case::by("tree.example", &[ALICE]).ends(DELIVERED, &[""], ["", "fail", "none", "none", ""]),
        Case::by("sub.tree.example", &[ALICE]).ends(DELIVERED, &["Junk"], quarantined("quarantine")),
        Case::by("missing.tree.example", &[ALICE]).ends_refused(),
        // Who only watches has what would have been done on record.
        Case::by("reject.example", &[OZ]).ends(DELIVERED, &[""], ["", "fail", "reject", "none", "observe:reject"]),
        Case::by("quarantine.example", &[OZ]).ends(
            DELIVERED,
            &[""],
            ["", "fail", "quarantine", "none", "observe:quarantine"],
        ),
        Case::by("none.example", &[OZ]).ends(DELIVERED, &[""], ["", "fail", "none", "none", ""]),
        Case::by("reject.example", &["postmaster@example.test"]).ends(
            DELIVERED,
            &[""],
            ["", "fail", "reject", "none", "postmaster:reject"],
        ),
    ];
    cases.iter().for_each(|case| case.check(&server));
}

#[test]
fn a_domain_of_ours_has_its_own_policy_for_author_domains() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let refused = "550 5.7.1 Not authenticated as quarantine.example, which is required of it here";
    let cases = [
        Case::by("reject.example", &[OLGA]).goes_through("policy:reject.example"),
        Case::by("quarantine.example", &[OLGA]).ends(
            refused,
            &[],
            ["dmarc_override", "fail", "quarantine", "reject", "policy:quarantine.example"],
        ),
        Case::by("none.example", &[OLGA]).ends(
            DELIVERED,
            &["Junk"],
            ["dmarc_quarantine", "fail", "none", "quarantine", "policy:none.example"],
        ),
        // Subdomains are covered, but for those that are named.
        Case::by("sub.reject.example", &[OLGA]).goes_through("policy:reject.example"),
        Case::by("a.strict.none.example", &[OLGA]).ends(
            REFUSED,
            &[],
            ["dmarc_override", "fail", "none", "reject", "policy:strict.none.example"],
        ),
        // There is no record: nothing fails.
        Case::by("silent.example", &[OLGA]).ends(DELIVERED, &[""], ["", "none", "", "", ""]),
        // It is her own policy, and nobody else's.
        Case::by("reject.example", &[ALICE]).ends_refused(),
    ];
    cases.iter().for_each(|case| case.check(&server));
}

/// What the author domain asks for is the same for all; what one of our domains asks for is not.
#[test]
fn recipients_with_different_policies() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let cases = [
        Case::by("reject.example", &[OZ, ALICE]).ends_refused(),
        Case::by("reject.example", &[OLGA, ALICE]).ends_refused(),
        Case { client: "192.0.2.7", ..Case::by("reject.example", &[TESS, ALICE]) }.ends_refused(),
        Case { client: "192.0.2.7", ..Case::by("reject.example", &[TESS, OLGA]) }.ends(
            DELIVERED,
            &["", ""],
            ["", "fail", "reject", "none", "forwarder:network=192.0.2.0/28,policy:reject.example"],
        ),
        // Who alone would refuse it gets it in Junk.
        Case::by("quarantine.example", &[OZ, OLGA]).ends(
            DELIVERED,
            &["", "Junk"],
            ["", "fail", "quarantine", "none,quarantine", "observe:quarantine,policy:quarantine.example"],
        ),
        // One of two has to wait: nobody has got it yet.
        Case { client: UNNAMED, ..Case::by("reject.example", &[OZ, TESS]) }.waits(),
    ];
    cases.iter().for_each(|case| case.check(&server));
}

#[test]
fn a_trusted_forwarder_is_let_through() {
    let signer = signer("s");
    let mut zone = zone();
    zone.add(signer.dns_name(), Record::txt(signer.dns_record()));
    let names = Names::start(zone);
    let server = start(&names, "");
    let sign = |case: Case| {
        let signed = signer.sign(case.octets.as_bytes()).expect("a signature");
        Case { octets: String::from_utf8(signed).expect("ASCII"), ..case }
    };
    let claims = "List-Id: <list.lists.example>\r\nSender: list@lists.example\r\nX-Forwarded-For: a@lists.example\r\n";
    let cases = [
        Case::forwarded("by network", "192.0.2.7", "a@client.example", "")
            .goes_through("forwarder:network=192.0.2.0/28"),
        Case::forwarded("by SPF", LIST, "a@lists.example", "").goes_through("forwarder:spf=lists.example"),
        Case::forwarded("by SPF of HELO", LIST, "", "").goes_through("forwarder:spf=lists.example"),
        sign(Case::forwarded("by DKIM", STRANGER, "a@client.example", "")).goes_through("forwarder:dkim=lists.example"),
        Case::forwarded("by name", NAMED, "a@client.example", "").goes_through("forwarder:iprev=lists.example"),
        Case::forwarded("outside", "192.0.2.77", "a@client.example", "").ends_refused(),
        Case::forwarded("SPF fails", STRANGER, "a@lists.example", "").ends_refused(),
        Case::forwarded("only said", STRANGER, "a@client.example", claims).ends_refused(),
        // Who does not trust it is not concerned.
        Case { to: &[ALICE], ..Case::forwarded("for Alice", "192.0.2.7", "a@client.example", "") }.ends_refused(),
    ];
    cases.iter().for_each(|case| case.check(&server));
    // A signature of something else.
    let signed = sign(Case::forwarded("a changed body", STRANGER, "a@client.example", ""));
    Case { octets: signed.octets.replace("Hello!", "Hello?"), ..signed }.ends_refused().check(&server);
}

/// Whether a trusted forwarder sent it cannot be told now: nothing is refused for good.
#[test]
fn a_forwarder_who_cannot_be_told_now_is_waited_for() {
    let names = Names::start(zone());
    let server = start(&names, "");
    let signed = Case::forwarded("DKIM", STRANGER, "a@client.example", "");
    let octets = signer("broken").sign(signed.octets.as_bytes()).expect("a signature");
    let signed = Case { octets: String::from_utf8(octets).expect("ASCII"), ..signed };
    let cases = [
        Case::forwarded("SPF", STRANGER, "a@broken.lists.example", "").waits(),
        signed.waits(),
        Case::forwarded("the client's name", UNNAMED, "a@client.example", "").waits(),
        Case::forwarded("a second try", UNNAMED, "a@client.example", "").waits(),
        // An address is known without DNS, and one who passes is enough.
        Case::forwarded("a network", "192.0.2.7", "a@broken.lists.example", "")
            .goes_through("forwarder:network=192.0.2.0/28"),
        // Who trusts nobody waits for nobody, nor who does not enforce DMARC.
        Case { to: &[ALICE], ..Case::forwarded("for Alice", UNNAMED, "a@client.example", "") }.ends_refused(),
        Case { to: &[OZ], ..Case::forwarded("for Oz", UNNAMED, "a@client.example", "") }.goes_through("observe:reject"),
        Case { to: &["postmaster@trust.test"], landed: &[], ..Case::by("reject.example", &[]) }.ends(
            DELIVERED,
            &[],
            ["", "fail", "reject", "none", "postmaster:reject"],
        ),
    ];
    cases.iter().for_each(|case| case.check(&server));
    // postmaster's mail at trust.test is Tess's.
    assert_eq!(take(&server, TESS), [""]);
}

/// A relay of ours would bounce what is refused: it goes to Junk. Who is trusted behind it is the relay's client.
#[test]
fn behind_a_relay_of_ours() {
    let names = Names::start(zone());
    let server = start(&names, "listen.trusted_relays = [\"198.51.100.1\"]");
    let by = |client: &str| {
        format!("Received: from mx.client.example (unknown [{client}])\r\n\tby relay.example with ESMTP id 1; x\r\n")
    };
    let cases = [
        Case::forwarded("a stranger", STRANGER, "a@client.example", &by("203.0.113.99")).ends(
            DELIVERED,
            &["Junk"],
            ["dmarc_reject", "fail", "reject", "quarantine", "relay"],
        ),
        Case::forwarded("a forwarder", STRANGER, "a@client.example", &by("192.0.2.7"))
            .goes_through("forwarder:network=192.0.2.0/28"),
        // Nobody knows who: that is no trust.
        Case::forwarded("nobody", STRANGER, "a@client.example", "").ends(
            DELIVERED,
            &["Junk"],
            ["dmarc_reject", "fail", "reject", "quarantine", "relay"],
        ),
    ];
    cases.iter().for_each(|case| case.check(&server));
}

/// Sealers of the tests, two of whom Tess trusts.
struct Sealers {
    trusted: Sealer,
    older: Sealer,
    stranger: Sealer,
}

impl Sealers {
    fn new() -> Self {
        let sealer = |name: &str| Sealer::ed25519(&Domain::parse(name).expect("a domain"), "s").expect("a key");
        Sealers {
            trusted: sealer("mx.sealer.example"),
            older: sealer("older.example"),
            stranger: sealer("evil.example"),
        }
    }

    fn zone(&self) -> Zone {
        let mut zone = zone();
        for sealer in [&self.trusted, &self.older, &self.stranger] {
            zone.add(sealer.dns_name(), Record::txt(sealer.dns_record()));
        }
        zone
    }
}

const PASS: &str = "mx.example; dmarc=pass header.from=reject.example";
const FAIL: &str = "mx.example; dmarc=fail header.from=reject.example";

/// A message by someone at reject.example, sealed by these, the oldest first.
fn sealed(what: &'static str, sets: &[(&Sealer, &str)]) -> Case {
    let case = Case::forwarded(what, STRANGER, "a@client.example", "");
    let seal = |octets: Vec<u8>, (sealer, results): &(&Sealer, &str)| sealer.seal(&octets, results).expect("a set");
    let octets = sets.iter().fold(case.octets.into_bytes(), seal);
    Case { octets: String::from_utf8(octets).expect("ASCII"), ..case }
}

/// A chain that holds is worth what its sealers are.
#[test]
fn a_chain_that_nobody_trusted_vouches_for_changes_nothing() {
    let sealers = Sealers::new();
    let names = Names::start(sealers.zone());
    let server = start(&names, "");
    let Sealers { trusted, older, stranger } = &sealers;
    let elsewhere = "mx.example; dmarc=pass header.from=other.example";
    let above = "mx.example; dmarc=pass header.from=example";
    let cases = [
        sealed("a stranger vouches", &[(stranger, PASS)]),
        sealed("a trusted sealer had it from a stranger who vouches", &[(stranger, PASS), (trusted, FAIL)]),
        sealed("a stranger had it last", &[(trusted, PASS), (stranger, PASS)]),
        sealed("a stranger between", &[(older, PASS), (stranger, PASS), (trusted, FAIL)]),
        sealed("another author", &[(trusted, elsewhere)]),
        sealed("an author above", &[(trusted, above)]),
        sealed("nobody says so", &[(older, FAIL), (trusted, "mx.example; none")]),
    ];
    for case in cases {
        case.ends_refused().check(&server);
    }
    let changed = sealed("changed behind the seal", &[(trusted, PASS)]);
    Case { octets: changed.octets.replace("Hello!", "Hello?"), ..changed }.ends_refused().check(&server);
    let forged = sealed("a forged seal", &[(stranger, PASS)]);
    Case { octets: forged.octets.replace("evil.example", "older.example"), ..forged }.ends_refused().check(&server);
}

#[test]
fn a_trusted_sealer_vouches_for_its_author() {
    let sealers = Sealers::new();
    let names = Names::start(sealers.zone());
    let server = start(&names, "");
    let Sealers { trusted, older, stranger } = &sealers;
    let cases = [
        sealed("alone", &[(trusted, PASS)]).goes_through("arc:mx.sealer.example"),
        sealed("through another", &[(older, PASS), (trusted, FAIL)]).goes_through("arc:older.example"),
        sealed("behind a stranger", &[(stranger, FAIL), (trusted, PASS)]).goes_through("arc:mx.sealer.example"),
        Case { to: &[ALICE], ..sealed("for Alice", &[(trusted, PASS)]) }.ends_refused(),
    ];
    cases.iter().for_each(|case| case.check(&server));
}

#[test]
fn a_chain_that_cannot_be_told_now_is_waited_for() {
    let sealers = Sealers::new();
    let broken = |sealer: &Sealer, zone: Zone| zone.behave(sealer.dns_name(), Behaviour::ServFail);
    let names = Names::start(broken(&sealers.stranger, broken(&sealers.trusted, sealers.zone())));
    let server = start(&names, "");
    let Sealers { trusted, older, stranger } = &sealers;
    let cases = [
        sealed("a trusted sealer", &[(trusted, PASS)]).waits(),
        sealed("a stranger before it", &[(stranger, FAIL), (older, PASS)]).waits(),
        // Whatever DNS would say, nobody who is trusted would have vouched.
        sealed("a stranger", &[(stranger, PASS)]).ends_refused(),
        sealed("a stranger behind it", &[(older, PASS), (stranger, PASS)]).ends_refused(),
        Case { to: &[ALICE], ..sealed("for Alice", &[(trusted, PASS)]) }.ends_refused(),
    ];
    cases.iter().for_each(|case| case.check(&server));
}
