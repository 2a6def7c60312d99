//! Chains of our own against a real responder over UDP.

use std::time::{Duration, Instant};

use super::super::sealing::{Draft, Sealer};
use super::super::signing::Signer;
use super::super::tests::{self, domain};
use super::super::{Authentication, Authenticator};
use super::*;
use crate::authentication::dkim::content::{FIELDS_MAX, HEADER_OCTETS_MAX};
use crate::authentication::dkim::signature::FIELD_OCTETS_MAX;
use crate::dns::responder::{Behaviour, Record, Responder, Zone};
use crate::message::Message;

const MESSAGE: &str = concat!(
    "From: Alice <alice@example.org>\r\n",
    "To: list@example.net\r\n",
    "Subject: lunch\r\n",
    "\r\n",
    "Noon?\r\n",
);
/// What each sealer says.
const CLAIMS: &str = "mx.example; dmarc=pass header.from=example.org";

/// A DNS server and the authenticator that asks it.
struct World {
    responder: Responder,
    authenticator: Authenticator,
}

impl World {
    async fn new(zone: Zone) -> Self {
        let (responder, authenticator) = tests::start(zone).await;
        World { responder, authenticator }
    }

    async fn authenticate(&self, octets: &[u8]) -> Authentication {
        tests::verify(&self.authenticator, octets).await
    }

    async fn verify(&self, octets: &[u8]) -> ArcChain {
        self.authenticate(octets).await.arc
    }

    /// The result, and why it is no pass.
    async fn outcome(&self, octets: &[u8]) -> (MethodResult, Reason) {
        let chain = self.verify(octets).await;
        assert_eq!(chain.oldest_pass.is_some(), chain.result == MethodResult::Pass);
        assert_eq!(chain.reason.is_none(), matches!(chain.result, MethodResult::Pass | MethodResult::None));
        (chain.result, chain.reason.unwrap_or_default())
    }
}

/// Three sealers, of both kinds of keys.
fn sealers() -> Vec<Sealer> {
    vec![
        Sealer::rsa(&domain("list.example"), "r").unwrap(),
        Sealer::ed25519(&domain("school.example"), "e").unwrap(),
        Sealer::ed25519(&domain("relay.example"), "e").unwrap(),
    ]
}

fn zone(sealers: &[Sealer]) -> Zone {
    sealers.iter().map(|sealer| (sealer.dns_name(), Record::txt(sealer.dns_record()))).collect()
}

/// The message after it went through these hands.
fn sealed(sealers: &[Sealer]) -> String {
    sealers.iter().fold(MESSAGE.to_owned(), |message, sealer| seal(sealer, &message))
}

fn seal(sealer: &Sealer, message: &str) -> String {
    String::from_utf8(sealer.seal(message.as_bytes(), CLAIMS).unwrap()).unwrap()
}

/// A set that was made otherwise than it should be, and signed like that.
fn seal_changed(sealer: &Sealer, message: &str, change: impl FnOnce(&mut Draft)) -> String {
    String::from_utf8(sealer.seal_changed(message.as_bytes(), CLAIMS, change).unwrap()).unwrap()
}

/// The ARC fields of a message, and the rest of it.
fn split(message: &str) -> (Vec<String>, String) {
    let message = Message::new(message.into());
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let (arc, rest): (Vec<_>, Vec<_>) = message.fields().partition(set::is_arc);
    let rest: String = rest.iter().map(|field| text(field.raw)).collect();
    (arc.iter().map(|field| text(field.raw)).collect(), rest + &text(message.separator_and_body()))
}

#[tokio::test]
async fn unbroken_chains_pass() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    assert_eq!(world.verify(MESSAGE.as_bytes()).await, ArcChain::none());
    for hops in 1..=3 {
        let found = world.authenticate(sealed(&sealers[..hops]).as_bytes()).await;
        let chain = found.arc;
        assert_eq!((chain.result, chain.oldest_pass, chain.reason), (MethodResult::Pass, Some(0), None), "{hops}");
        let names: Vec<_> = chain.sets.iter().map(|set| set.sealer.as_ref().unwrap().as_str()).collect();
        assert_eq!(names, ["list.example", "school.example", "relay.example"][..hops]);
        let instances: Vec<_> = chain.sets.iter().map(|set| set.instance).collect();
        assert_eq!(instances, [1, 2, 3][..hops]);
        assert_eq!(chain.sets[0].selector.as_deref(), Some("r"));
        assert!(chain.sets.iter().all(|set| set.dmarc_passed_for == Some(domain("example.org"))));
        assert!(found.dkim.is_empty());
    }
}

/// The order of fields in the header says nothing: the instances do.
#[tokio::test]
async fn fields_may_stand_in_any_order() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let (mut fields, rest) = split(&sealed(&sealers));
    fields.reverse();
    assert_eq!(world.outcome((fields.concat() + &rest).as_bytes()).await, (MethodResult::Pass, ""));
    fields.rotate_left(4);
    assert_eq!(
        world.outcome((rest.replacen("To:", &(fields.concat() + "To:"), 1)).as_bytes()).await.0,
        MethodResult::Pass
    );
}

/// White space apart, which relaxed canonicalization lets pass.
#[tokio::test]
async fn no_octet_of_a_set_may_change() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let sealed = sealed(&sealers).into_bytes();
    let sets = sealed.len() - MESSAGE.len();
    let mut tried = 0;
    for at in (0..sets).filter(|at| !sealed[*at].is_ascii_whitespace()) {
        for flip in [1, 0x80] {
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            let (result, reason) = world.outcome(&changed).await;
            assert_eq!(result, MethodResult::Fail, "{reason}: {}", String::from_utf8_lossy(&changed));
            tried += 1;
        }
    }
    assert!(tried > 2_000, "{tried}");
}

#[tokio::test]
async fn no_field_may_go_or_come_twice() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let (fields, rest) = split(&sealed(&sealers));
    assert_eq!(fields.len(), 9);
    for at in 0..fields.len() {
        let mut without = fields.clone();
        let field = without.remove(at);
        let outcome = world.outcome((without.concat() + &rest).as_bytes()).await;
        assert_eq!(outcome, (MethodResult::Fail, "a set is missing or lacks a field"), "{field}");
        let outcome = world.outcome((fields.concat() + &field + &rest).as_bytes()).await;
        assert_eq!(outcome, (MethodResult::Fail, "a set has the same field twice"), "{field}");
        let again = field.replacen("i=", "i=0", 1);
        let outcome = world.outcome((again + &fields.concat() + &rest).as_bytes()).await;
        assert_eq!(outcome, (MethodResult::Fail, "a set has the same field twice"), "{field}");
    }
    for set in 1..3 {
        let mut without = fields.clone();
        without.drain(3 * set..3 * set + 3);
        let outcome = world.outcome((without.concat() + &rest).as_bytes()).await;
        assert_eq!(outcome, (MethodResult::Fail, "a set is missing or lacks a field"), "{set}");
    }
    // Who takes the newest set away leaves a chain that is a valid one: it says nothing of what came later.
    let (result, _) = world.outcome((fields[3..].concat() + &rest).as_bytes()).await;
    assert_eq!(result, MethodResult::Pass);
    for kind in ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] {
        let others: String = fields.iter().filter(|field| !field.starts_with(kind)).cloned().collect();
        assert_eq!(world.outcome((others + &rest).as_bytes()).await.0, MethodResult::Fail, "{kind}");
    }
}

#[tokio::test]
async fn instances_are_1_to_50() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    for instance in
        ["0", "51", "99", "001", "18446744073709551617", "4294967297", "", "-1", "+1", "1.0", "x", "\u{661}", "1 "]
    {
        for kind in 0..3 {
            let bad = seal_changed(&sealers[0], MESSAGE, |draft| {
                let text = [&mut draft.results, &mut draft.signature, &mut draft.seal].into_iter().nth(kind).unwrap();
                *text = text.replacen("i=1", &format!("i={instance}"), 1);
            });
            let (result, reason) = world.outcome(bad.as_bytes()).await;
            // White space behind a number is none of it.
            if instance == "1 " {
                assert_eq!(result, MethodResult::Pass);
                continue;
            }
            assert!(
                result == MethodResult::Fail && reason.ends_with("has no valid instance"),
                "{instance} {kind}: {reason}"
            );
        }
    }
    assert_eq!(world.responder.queries("r._domainkey.list.example"), 1, "only for the good ones");
}

#[tokio::test]
async fn what_sealers_say_of_the_chain_has_to_fit() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let before = "the first seal says that there was a chain before it";
    let none = "a later seal says that there was no chain before it";
    let broken = "a sealer says that the chain was broken (cv=fail)";
    let nothing = "a seal says nothing valid about the chain below it (cv=)";
    for (says, at_first, later) in [
        ("cv=none", "", none),
        ("cv=pass", before, ""),
        ("cv=fail", broken, broken),
        ("cv=Pass", nothing, nothing),
        ("cv=NONE", nothing, nothing),
        ("cv=", nothing, nothing),
        ("cv=none pass", nothing, nothing),
        ("cv=pass:none", nothing, nothing),
        ("x=y", nothing, nothing),
    ] {
        for (wrong, expected) in [(0, at_first), (1, later), (2, later)] {
            let mut message = MESSAGE.to_owned();
            for (at, sealer) in sealers.iter().enumerate() {
                let old = if at == 0 { "cv=none" } else { "cv=pass" };
                message = seal_changed(sealer, &message, |draft| {
                    if at == wrong {
                        draft.seal = draft.seal.replacen(old, says, 1);
                    }
                });
            }
            let result = if expected.is_empty() { MethodResult::Pass } else { MethodResult::Fail };
            assert_eq!(world.outcome(message.as_bytes()).await, (result, expected), "{says} at {wrong}");
        }
    }
}

#[tokio::test]
async fn the_newest_message_signature_has_to_hold() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let sealed = sealed(&sealers);
    let header = "the newest message signature does not verify: the header was changed";
    let body = "the body was changed since the newest set was added";
    for (from, to, reason) in [
        ("Noon?", "Never!", body),
        ("Noon?", "Noon?\r\nAnd money.", body),
        ("lunch", "dinner", header),
        ("Alice <alice@example.org>", "Bob <bob@example.org>", header),
        ("From: Alice", "From: Eve <eve@evil.example>\r\nFrom: Alice", header),
        ("To: ", "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nTo: ", header),
        ("Subject: lunch\r\n", "Subject: lunch\r\nSubject: below\r\n", header),
        ("To: list@example.net\r\n", "", header),
    ] {
        let changed = sealed.replacen(from, to, 1);
        assert_ne!(changed, sealed);
        // The lowest of a name is signed (RFC 6376 section 8.15): that there are two authors is for others to see.
        let expected = match to {
            to if to.starts_with("From: Eve") => (MethodResult::Pass, ""),
            _ => (MethodResult::Fail, reason),
        };
        assert_eq!(world.outcome(changed.as_bytes()).await, expected, "{to}");
    }
}

/// An older message signature may be broken: that is what the newer sets are for.
#[tokio::test]
async fn an_older_message_signature_may_break() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let [first, second, third] = sealers.as_slice() else { panic!() };
    let tagged = |message: String| message.replacen("Subject: ", "Subject: [list] ", 1);
    let footed = |message: String| message + "-- \r\nThe list\r\n";
    for (message, oldest) in [
        (seal(third, &seal(second, &tagged(seal(first, MESSAGE)))), 2),
        (seal(third, &seal(second, &footed(seal(first, MESSAGE)))), 2),
        (seal(third, &tagged(seal(second, &seal(first, MESSAGE)))), 3),
        (seal(third, &footed(seal(second, &tagged(seal(first, MESSAGE))))), 3),
        (seal(second, &footed(seal(first, MESSAGE))), 2),
    ] {
        let chain = world.verify(message.as_bytes()).await;
        assert_eq!((chain.result, chain.oldest_pass), (MethodResult::Pass, Some(oldest)), "{message}");
    }
}

/// What would make a message signature no good makes the chain fail where it is the newest, and is what it is where not.
#[tokio::test]
async fn message_signatures_that_do_not_count() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let tags = |tags: &'static str| move |draft: &mut Draft| draft.signature += tags;
    let signs = |name: &'static str| move |draft: &mut Draft| draft.names.push(name.to_owned());
    let replace = |from: &'static str, to: &'static str| {
        move |draft: &mut Draft| draft.signature = draft.signature.replacen(from, to, 1)
    };
    type Change = Box<dyn Fn(&mut Draft)>;
    let cases: Vec<(Change, Reason)> = vec![
        (Box::new(tags("; l=3")), "l= is not accepted"),
        (Box::new(tags("; l=0")), "l= is not accepted"),
        (Box::new(tags("; x=1000000000")), "x= is not after t="),
        (Box::new(replace("t=", "x=1000000000; ot=")), "the message signature has expired"),
        (Box::new(tags("; x=soon")), "x= is not a time"),
        (Box::new(tags("; q=carrier/pigeon")), "the key is not in DNS"),
        (Box::new(signs("arc-seal")), "the message signature signs a seal"),
        (Box::new(|draft| draft.names.retain(|name| name != "from")), "From is not signed"),
        (Box::new(|draft| draft.names.resize(300, "x".to_owned())), "h= lists too many names"),
        (Box::new(replace("relaxed/relaxed", "relaxed/other")), "the canonicalization is not known"),
        (Box::new(replace("rsa-sha256", "rsa-sha1")), "rsa-sha1 is not accepted"),
        (Box::new(replace("rsa-sha256", "rsa-sha512")), "the signing algorithm is not known"),
        (Box::new(replace("d=list.example", "d=..")), "d= is not a domain"),
        (Box::new(replace("s=r", "s=-")), "s= is not a selector"),
    ];
    for (change, reason) in cases {
        let one = seal_changed(&sealers[0], MESSAGE, &change);
        assert_eq!(world.outcome(one.as_bytes()).await, (MethodResult::Fail, reason));
        let chain = world.verify(seal(&sealers[1], &one).as_bytes()).await;
        assert_eq!((chain.result, chain.oldest_pass), (MethodResult::Pass, Some(2)), "{reason}");
    }
    // What means nothing does no harm.
    for good in ["; v=1", "; v=7", "; x=99999999999", "; q=dns/txt", "; z=from:x", "; unknown=1"] {
        let one = seal_changed(&sealers[0], MESSAGE, tags(good));
        assert_eq!(world.outcome(one.as_bytes()).await, (MethodResult::Pass, ""), "{good}");
    }
    // A signature is no field yet where it is made, even where it lists its own name.
    let own = seal_changed(&sealers[0], MESSAGE, signs("arc-message-signature"));
    assert_eq!(world.outcome(own.as_bytes()).await, (MethodResult::Pass, ""));
    let own = seal_changed(&sealers[1], &own, signs("arc-message-signature"));
    assert_eq!(world.outcome(own.as_bytes()).await, (MethodResult::Pass, ""));
}

#[tokio::test]
async fn seals_that_do_not_count() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    for (from, to, reason) in [
        ("i=2", "i=2; h=from", "a seal has h=, which must not be there"),
        ("i=2", "i=2; h=", "a seal has h=, which must not be there"),
        ("ed25519-sha256", "rsa-sha1", "rsa-sha1 is not accepted"),
        ("ed25519-sha256", "rsa-sha256", "the key is not for this algorithm"),
        ("ed25519-sha256", "ED25519-SHA256", "the signing algorithm is not known"),
        ("d=school.example", "d=list.example; x=y", "no such key"),
        ("d=school.example", "d=school.example; d=school.example", "ARC-Seal is no list of tags"),
        ("cv=pass", "cv=pass; cv=pass", "ARC-Seal is no list of tags"),
        ("cv=pass", "cv=pass; CV=fail", ""),
        ("i=2", "i=2; i=1", "ARC-Seal is no list of tags"),
        ("i=2", "i=2; b=AAAA", "ARC-Seal is no list of tags"),
        ("t=", "t=x", "t= is not a time"),
        ("t=", "T=", ""),
        ("s=e", "s=", "s= is not a selector"),
    ] {
        let first = seal(&sealers[0], MESSAGE);
        let change = |draft: &mut Draft| {
            assert!(draft.seal.contains(from));
            draft.seal = draft.seal.replacen(from, to, 1);
        };
        let second = seal_changed(&sealers[1], &first, change);
        let expected = if reason.is_empty() { MethodResult::Pass } else { MethodResult::Fail };
        assert_eq!(world.outcome(second.as_bytes()).await, (expected, reason), "{to}");
        // Nor does it count below another.
        let third = seal(&sealers[2], &second);
        assert_eq!(world.outcome(third.as_bytes()).await, (expected, reason), "{to}");
    }
}

#[tokio::test]
async fn a_key_that_nobody_can_look_up_is_temperror_unless_something_fails() {
    let sealers = sealers();
    let message = sealed(&sealers);
    for at in 0..3 {
        for behaviour in [Behaviour::ServFail, Behaviour::Silent] {
            // Silence is waited for: once is enough.
            if behaviour == Behaviour::Silent && at > 0 {
                continue;
            }
            let world = World::new(zone(&sealers).behave(sealers[at].dns_name(), behaviour)).await;
            let begin = Instant::now();
            let chain = world.verify(message.as_bytes()).await;
            assert_eq!((chain.result, chain.oldest_pass), (MethodResult::TempError, None), "{at} {behaviour:?}");
            assert!(begin.elapsed() < Duration::from_secs(crate::authentication::DKIM_SECONDS_MAX + 1));
            assert_eq!(chain.sets.len(), 3, "who sealed is known");
            if behaviour == Behaviour::ServFail {
                let changed = message.replacen("Noon", "Never", 1);
                assert_eq!(world.outcome(changed.as_bytes()).await.0, MethodResult::Fail);
                let changed = message.replacen("lunch", "dinner", 1);
                let result = if at == 2 { MethodResult::TempError } else { MethodResult::Fail };
                assert_eq!(world.outcome(changed.as_bytes()).await.0, result, "its key is that of the third");
                // A seal other than the one whose key is missing.
                let other = ["relay.example; s=e; t=", "list.example; s=r; t=", "list.example; s=r; t="][at];
                let changed = message.replacen(other, &other.replace("t=", "t=0"), 1);
                assert_ne!(changed, message);
                assert_eq!(world.outcome(changed.as_bytes()).await.0, MethodResult::Fail, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn keys_that_do_not_count() {
    let sealers = sealers();
    let message = sealed(&sealers);
    // A 512-bit RSA key.
    let short = "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKGwRA0rXmAXKLxF4YfopS4/B+O7zTBc7gNywTKFXUeoAZsfHhuuMPMgM0FPCU\
                 LasK8Imdcp8vKQQAfShqlxK/MCAwEAAQ==";
    let other = Sealer::ed25519(&domain("other.example"), "o").unwrap();
    for at in 0..3 {
        let own = sealers[at].dns_record();
        for (record, reason) in [
            (own.to_owned(), ""),
            (own.replacen("v=DKIM1;", "v=DKIM1; t=s;", 1), ""),
            (own.replacen("v=DKIM1;", "v=DKIM1; t=y;", 1), "a key is being tested by its domain"),
            (own.replacen("v=DKIM1;", "v=DKIM1; t=s:y;", 1), "a key is being tested by its domain"),
            ("v=DKIM1; p=".to_owned(), "the key was revoked"),
            (own.replacen("v=DKIM1;", "v=DKIM1; s=tlsrpt;", 1), "the key is not for mail"),
            (own.replacen("v=DKIM1;", "v=DKIM1; h=sha1;", 1), "the key is not for this hash"),
            (short.to_owned(), "a key is too short"),
            ("nothing".to_owned(), "the key cannot be understood"),
            (other.dns_record().to_owned(), if own.contains("k=rsa") { "not for this algorithm" } else { "verify" }),
        ] {
            let others = sealers.iter().enumerate().filter(|(other, _)| *other != at);
            let mut zone: Zone = others.map(|(_, s)| (s.dns_name(), Record::txt(s.dns_record()))).collect();
            zone.add(sealers[at].dns_name(), Record::txt(&record));
            let (result, found) = World::new(zone).await.outcome(message.as_bytes()).await;
            let expected = if reason.is_empty() { MethodResult::Pass } else { MethodResult::Fail };
            assert!(result == expected && found.contains(reason), "{at}: {record}: {found}");
        }
        let mut zone = zone(&sealers[..at]);
        sealers[at + 1..].iter().for_each(|s| zone.add(s.dns_name(), Record::txt(s.dns_record())));
        let outcome = World::new(zone).await.outcome(message.as_bytes()).await;
        assert_eq!(outcome, (MethodResult::Fail, "no such key"), "{at}");
    }
}

#[tokio::test]
async fn a_chain_may_have_50_sets_and_costs_a_bounded_number_of_questions() {
    let name = |at: usize| domain(&format!("s{at}.example"));
    let sealers: Vec<_> = (1..=51).map(|at| Sealer::ed25519(&name(at), "s").unwrap()).collect();
    let asked = |world: &World, selector: &str| {
        (1..=51).map(|at| world.responder.queries(&format!("{selector}._domainkey.s{at}.example"))).sum::<usize>()
    };
    let world = World::new(zone(&sealers)).await;
    let fifty = sealed(&sealers[..50]);
    let chain = world.verify(fifty.as_bytes()).await;
    assert_eq!((chain.result, chain.oldest_pass, chain.sets.len()), (MethodResult::Pass, Some(0), 50));
    assert_eq!(asked(&world, "s"), 50);

    let world = World::new(zone(&sealers)).await;
    let outcome = world.outcome(seal(&sealers[50], &fifty).as_bytes()).await;
    assert_eq!(outcome, (MethodResult::Fail, "there are more than 50 sets"));
    let mut sixty = fifty;
    for at in 51..=60 {
        sixty = format!(
            "ARC-Seal: i={at}\r\nARC-Message-Signature: i={at}\r\nARC-Authentication-Results: i={at}\r\n{sixty}"
        );
    }
    assert_eq!(world.outcome(sixty.as_bytes()).await.0, MethodResult::Fail);
    assert_eq!(asked(&world, "s"), 0);

    // Another key for each message signature: those of the oldest are not asked for any more.
    let mut message = MESSAGE.to_owned();
    for sealer in &sealers[..50] {
        let other = |draft: &mut Draft| draft.signature = draft.signature.replacen("s=s", "s=m", 1);
        message = seal_changed(sealer, &message, other);
    }
    let mut records = zone(&sealers);
    (1..)
        .zip(&sealers)
        .for_each(|(at, s)| records.add(&format!("m._domainkey.s{at}.example"), Record::txt(s.dns_record())));
    let world = World::new(records).await;
    let chain = world.verify(message.as_bytes()).await;
    assert_eq!((chain.result, chain.oldest_pass), (MethodResult::Pass, Some(37)));
    assert_eq!((asked(&world, "s"), asked(&world, "m")), (50, KEYS_MAX - 50));
}

#[tokio::test]
async fn what_is_too_large_is_not_looked_at() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let sealed = sealed(&sealers);
    let filled = |octets: usize| format!("X: {}\r\n{sealed}", "x".repeat(octets - 5));
    let header = sealed.find("\r\n\r\n").unwrap() + 2;
    let room = HEADER_OCTETS_MAX - header;
    assert_eq!(world.outcome(filled(room).as_bytes()).await.0, MethodResult::Pass);
    let large = (MethodResult::Fail, "the header is too large");
    assert_eq!(world.outcome(filled(room + 1).as_bytes()).await, large);
    assert_eq!(world.outcome(("X: x\r\n".repeat(FIELDS_MAX) + &sealed).as_bytes()).await, large);
    let long = sealers[0].seal(MESSAGE.as_bytes(), &format!("{CLAIMS} ({})", "x".repeat(FIELD_OCTETS_MAX))).unwrap();
    assert_eq!(world.outcome(&long).await, (MethodResult::Fail, "a field is too long"));
}

/// A chain costs one round trip, however long it is, and none beside the keys of DKIM.
#[tokio::test]
async fn all_keys_are_looked_up_at_once() {
    const DELAY: Duration = Duration::from_millis(300);
    let sealers = sealers();
    let signer = Signer::ed25519(&domain("example.org"), "d").unwrap();
    let signed = String::from_utf8(signer.sign(MESSAGE.as_bytes()).unwrap()).unwrap();
    let message = sealers.iter().fold(signed, |message, sealer| seal(sealer, &message));
    let names = sealers.iter().map(Sealer::dns_name).chain([signer.dns_name()]);
    let mut records = zone(&sealers);
    records.add(signer.dns_name(), Record::txt(signer.dns_record()));
    let world = World::new(names.fold(records, |zone, name| zone.behave(name, Behaviour::Delay(DELAY)))).await;
    let begin = Instant::now();
    let found = world.authenticate(message.as_bytes()).await;
    assert_eq!((found.dkim[0].result, found.arc.result), (MethodResult::Pass, MethodResult::Pass));
    assert!((DELAY..2 * DELAY).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    // The message signature of a set has the key of its seal: one question for both.
    assert_eq!(world.responder.queries(sealers[2].dns_name()), 1);
}

/// Fifty keys that nobody hands out: what the author domain asks for is looked up all the same, or a forger could have any
/// policy become one that could not be looked up.
#[tokio::test]
async fn a_chain_takes_no_lookups_from_the_policy() {
    let mut zone: Zone = [("_dmarc.example.org", Record::txt("v=DMARC1; p=none; np=reject"))].into_iter().collect();
    let mut message = MESSAGE.replace("alice@example.org", "alice@gone.example.org");
    for at in 0..50 {
        let sealer = Sealer::ed25519(&domain(&format!("d{at}.evil.example")), "e").unwrap();
        message = seal(&sealer, &message);
        zone = zone.behave(sealer.dns_name(), Behaviour::Silent);
    }
    let world = World::new(zone).await;
    // The chain goes on until its deadline.
    let _ = tokio::time::timeout(Duration::from_secs(3), world.authenticate(message.as_bytes())).await;
    assert_eq!(world.responder.queries("gone.example.org"), 1, "does the author domain exist?");
}

#[test]
fn dmarc_passed_for_one_domain_or_none() {
    for (claims, expected) in [
        (" mx.example; dmarc=pass header.from=example.org", Some("example.org")),
        (
            " mx.example; spf=fail smtp.mailfrom=a.example; DMARC=Pass (p=reject) header.from=Example.ORG",
            Some("example.org"),
        ),
        ("mx.example; dmarc=pass header.from=a.example; dmarc=pass header.from=a.example", Some("a.example")),
        ("mx.example; dmarc=pass header.from=a.example; dmarc=pass header.from=b.example", None),
        ("mx.example; dmarc=pass header.from=a.example; dmarc=fail header.from=a.example", None),
        ("mx.example; dmarc=fail header.from=b.example; dmarc=pass header.from=a.example", None),
        ("mx.example; dmarc=pass header.from=a.example header.from=b.example", None),
        ("mx.example; dmarc=pass header.from=x@a.example", None),
        ("mx.example; dmarc=pass header.from=\"a.example, b.example\"", None),
        ("mx.example; dmarc=pass header.d=a.example", None),
        ("mx.example; dmarc=pass", None),
        ("mx.example; dmarc=none header.from=a.example", None),
        ("mx.example; dmarc=bestguesspass header.from=a.example", None),
        ("mx.example; dkim=pass header.from=a.example", None),
        ("mx.example; none", None),
        ("mx.example (dmarc=pass header.from=a.example); none", None),
        ("mx.example; spf=fail reason=\"; dmarc=pass header.from=a.example\"", None),
        ("mx.example; dmarc=pass header.from=a.example; ???", None),
    ] {
        assert_eq!(dmarc_passed_for(claims.as_bytes()), expected.map(domain), "{claims}");
    }
}

/// Half of what others wrote is no reason to believe the other half.
#[tokio::test]
async fn claims_are_those_of_their_own_set() {
    let sealers = sealers();
    let world = World::new(zone(&sealers)).await;
    let first = sealers[0].seal(MESSAGE.as_bytes(), "mx.example; dmarc=fail header.from=example.org").unwrap();
    let second = seal(&sealers[1], &String::from_utf8(first).unwrap());
    let forged = format!("Authentication-Results: mx.example; dmarc=pass header.from=bank.example\r\n{second}");
    let chain = world.verify(forged.as_bytes()).await;
    assert_eq!(chain.result, MethodResult::Pass);
    let passed: Vec<_> = chain.sets.into_iter().map(|set| set.dmarc_passed_for).collect();
    assert_eq!(passed, [None, Some(domain("example.org"))]);
}

/// A spoofer who brings a long chain with keys that nobody answers for gains no doubt about the author domain's policy, nor
/// about its signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slow_keys_of_a_chain_hold_no_other_lookup_up() {
    let sealer = |at| Sealer::ed25519(&domain(&format!("s{at}.slow.example")), "s").unwrap();
    let signer = Signer::ed25519(&domain("example.org"), "s").unwrap();
    let records = [("_dmarc.example.org", "v=DMARC1; p=reject"), (signer.dns_name(), "v=DKIM1; p=")];
    let zone = Zone::from_iter(records.map(|(name, text)| (name, Record::txt(text))));
    let zone = zone.behave_below("slow.example", Behaviour::Silent);
    let chain: Vec<Sealer> = (0..SETS_MAX).map(sealer).collect();
    let octets = signer.sign(sealed(&chain).as_bytes()).unwrap();
    for attempt in 0..3 {
        // Nothing is in memory.
        let world = World::new(zone.clone()).await;
        let found = world.authenticate(&octets).await;
        assert_eq!(found.arc.result, MethodResult::TempError);
        assert_eq!(found.dkim[0].result, MethodResult::PermError, "{attempt}: {:?}", found.dkim);
        assert_eq!(found.dmarc.result, MethodResult::Fail, "{attempt}: {:?}", found.dmarc);
    }
}
