//! Signatures and keys that are wrong in one place each, and would verify if that place were overlooked.

use std::time::Instant;

use mail_auth::common::crypto::{Ed25519Key, HashAlgorithm, RsaKey, Sha256, SigningKey as _};
use rcgen::PublicKeyData as _;

use super::content::{FIELDS_MAX, HEADER_OCTETS_MAX};
use super::*;
use crate::address::Domain;
use crate::authentication::dkim::tags::to_base64;
use crate::authentication::signing::Signer;
use crate::authentication::{Authentication, Authenticator, DmarcPolicy, authors, tests};
use crate::dns::responder::{Behaviour, Record, Responder, Zone};

const HEADER: &str = "From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: lunch\r\n";
const BODY: &str = "Noon?\r\nOr  later.\r\n";
const TAGS: &str =
    "v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=s; h=From:To:Subject; bh={bh}; t=1700000000; x=4000000000";
const NOW: u64 = 1_800_000_000;

/// Signs as it is told, with c=simple/simple and nothing of ours: the canonical form is what stands there.
struct Forger {
    rsa: RsaKey<Sha256>,
    ed25519: Ed25519Key,
    rsa_public: String,
    ed25519_public: String,
}

impl Forger {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        let ed25519 = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().unwrap()).unwrap();
        Forger {
            rsa: RsaKey::from_key_der(der.into()).unwrap(),
            rsa_public: to_base64(&pair.subject_public_key_info()),
            ed25519_public: to_base64(&ed25519.public_key()),
            ed25519,
        }
    }

    /// A message whose signature says this, and signs the fields that `h=` lists, as far as they are there.
    fn sign(&self, tags: &str) -> String {
        self.sign_part(tags, BODY)
    }

    /// The same, with the hash of a part of the body.
    fn sign_part(&self, tags: &str, part: &str) -> String {
        let hash = to_base64(HashAlgorithm::Sha256.hash(part.as_bytes()).as_ref());
        let tags = tags.replace("{bh}", &hash);
        let listed = tags.split("h=").nth(1).unwrap_or("From:To:Subject").split(';').next().unwrap();
        let mut fields: Vec<&str> = HEADER.split_inclusive("\r\n").collect();
        let mut signed = String::new();
        for name in listed.split(':') {
            let is_named = |field: &&str| field.split(':').next().unwrap().eq_ignore_ascii_case(name.trim());
            if let Some(at) = fields.iter().rposition(is_named) {
                signed += fields.remove(at);
            }
        }
        let own = format!("DKIM-Signature: {tags}; b=");
        signed += &own;
        let signature = match tags.contains("a=ed25519") {
            true => self.ed25519.sign(signed.as_bytes()),
            false => self.rsa.sign(signed.as_bytes()),
        };
        format!("{own}{}\r\n{HEADER}\r\n{BODY}", to_base64(&signature.unwrap()))
    }

    fn record(&self, tags: &str) -> String {
        format!("{tags} p={}", self.rsa_public)
    }
}

struct World {
    forger: Forger,
    responder: Responder,
    resolver: Resolver,
}

impl World {
    async fn new() -> Self {
        let forger = Forger::new();
        let mut zone = Zone::default();
        zone.add("s._domainkey.example.org", Record::txt(&forger.record("v=DKIM1;")));
        let ed25519 = format!("v=DKIM1; k=ed25519; p={}", forger.ed25519_public);
        zone.add("e._domainkey.example.org", Record::txt(&ed25519));
        let responder =
            Responder::start(zone.behave("fails._domainkey.example.org", Behaviour::ServFail)).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        World { forger, responder, resolver }
    }

    async fn check_all(&self, message: &str, accepts: &Accepts) -> Vec<Dkim> {
        let message = Message::new(message.as_bytes().to_vec());
        check(&self.resolver, &message, &authors(&message), accepts).await
    }

    async fn check(&self, message: &str) -> (MethodResult, &'static str) {
        let accepts = Accepts { now: Some(NOW), ..Accepts::default() };
        let found = self.check_all(message, &accepts).await;
        let [dkim] = found.as_slice() else { panic!("{found:?}") };
        (dkim.result, dkim.reason.unwrap_or_default())
    }

    async fn authenticate(&self, message: &str) -> Authentication {
        let hostname = Domain::parse("mx.example.net").unwrap();
        let authenticator = Authenticator::new(self.resolver.clone(), hostname, Settings::default());
        tests::verify(&authenticator, message.as_bytes()).await
    }
}

/// The signature and what it stands on.
fn parts(signed: &str) -> (&str, &str) {
    signed.split_at(signed.find(HEADER).unwrap())
}

const PASS: (MethodResult, &str) = (MethodResult::Pass, "");

fn permerror(reason: &str) -> (MethodResult, &str) {
    (MethodResult::PermError, reason)
}

/// Each is signed as it says: only its own check stands between it and a pass, and without that it passes.
#[tokio::test]
async fn a_signature_says_what_it_has_to() {
    let world = World::new().await;
    let illegible = permerror("the signature cannot be understood");
    for (from, to, expected) in [
        ("", "", PASS),
        ("v=1; ", "", permerror("v= is not 1")),
        ("v=1; ", "v=01; ", permerror("v= is not 1")),
        ("v=1; ", "v=2; ", permerror("v= is not 1")),
        ("v=1; ", "v=; ", permerror("v= is not 1")),
        ("v=1; ", "V=1; ", permerror("v= is not 1")),
        ("v=1; ", "v=1; v=1; ", illegible),
        ("v=1; ", "v=1;; ", illegible),
        ("v=1; ", "v=1; foo; ", illegible),
        ("v=1; ", "v=1; 1foo=x; ", illegible),
        ("v=1; ", "v=1; foo=\u{1}; ", illegible),
        ("v=1; ", "", permerror("v= is not 1")),
        ("v=1; a=rsa-sha256", "a=rsa-sha256; v=1", PASS),
        ("v=1; ", "v=1; foo=bar; z=From:x@y.example|Date:1; r=y; B=x; ", PASS),
        ("; ", ";\r\n\t", PASS),
        ("v=1", "v = 1", PASS),
        ("a=rsa-sha256; ", "", permerror("a= is missing")),
        ("a=rsa-sha256", "a=RSA-SHA256", PASS),
        ("a=rsa-sha256", "a=rsa-sha512", permerror("a= is not known")),
        ("a=rsa-sha256", "a=rsa - sha256", permerror("a= is not known")),
        ("c=simple/simple; ", "", PASS),
        ("c=simple/simple", "c=SIMPLE", PASS),
        ("c=simple/simple", "c=simple/simple/simple", permerror("c= is not known")),
        ("c=simple/simple", "c=simple/", permerror("c= is not known")),
        ("c=simple/simple", "c=", permerror("c= is not known")),
        ("c=simple/simple", "c=nowsp", permerror("c= is not known")),
        ("d=example.org; ", "", permerror("d= is not a domain")),
        ("d=example.org", "d=Example.ORG", PASS),
        ("d=example.org", "d=example.org.", permerror("d= is not a domain")),
        ("d=example.org", "d=org", permerror("d= is not a domain")),
        ("s=s; ", "", permerror("s= is not a selector")),
        ("s=s; ", "s=s; s=s; ", illegible),
        ("s=s; ", "s=; ", permerror("s= is not a selector")),
        ("bh={bh}; ", "", permerror("bh= is missing or no base 64")),
        ("bh={bh}", "bh={bh}=", permerror("bh= is missing or no base 64")),
        ("; t=", "; q=dns/txt; t=", PASS),
        ("; t=", "; q=x/y:DNS/TXT; t=", PASS),
        ("; t=", "; q=dns; t=", permerror("q= is not known")),
        ("; t=", "; q=; t=", permerror("q= is not known")),
        ("; t=", "; i=alice@example.org; t=", PASS),
        ("; t=", "; i=@sub.Example.ORG; t=", PASS),
        ("; t=", "; i==61lice=40example=2Eorg; t=", PASS),
        ("; t=", "; i=\"a@b.example\"@example.org; t=", PASS),
        ("; t=", "; i=alice@example.net; t=", permerror("i= is not within d=")),
        ("; t=", "; i=@badexample.org; t=", permerror("i= is not within d=")),
        ("; t=", "; i=x@example.org@example.net; t=", permerror("i= is not within d=")),
        ("; t=", "; i=alice; t=", permerror("i= cannot be understood")),
        ("; t=", "; i=; t=", permerror("i= cannot be understood")),
        ("; t=", "; i=a=zz@example.org; t=", permerror("i= cannot be understood")),
        ("t=1700000000; x=4000000000", "t=1700000000; x=1700000000", permerror("x= is not after t=")),
        ("t=1700000000; x=4000000000", "t=4000000000; x=1700000000", permerror("x= is not after t=")),
        ("x=4000000000", "x=1799999999", (MethodResult::Fail, "the signature has expired")),
        ("x=4000000000", "x=1800000000", (MethodResult::Fail, "the signature has expired")),
        ("x=4000000000", "x=1800000001", PASS),
        ("x=4000000000", "x=never", permerror("x= is not a time")),
        ("x=4000000000", "x=-1", permerror("x= is not a time")),
        ("x=4000000000", "x=4000000000000", permerror("x= is not a time")),
        ("t=1700000000; x=4000000000", "t=3900000000", PASS),
        ("t=1700000000; x=4000000000", "t=soon", permerror("t= is not a time")),
    ] {
        assert!(TAGS.contains(from), "{from}");
        let tags = TAGS.replacen(from, to, if from == "; " { usize::MAX } else { 1 });
        assert_eq!(world.check(&world.forger.sign(&tags)).await, expected, "{from:?} -> {to:?}");
    }
}

#[tokio::test]
async fn from_is_signed_and_what_is_not_there_too() {
    let world = World::new().await;
    let names = permerror("h= is not a list of names");
    for (names, expected) in [
        ("h=From", PASS),
        ("h=to:fROM", PASS),
        ("h=From : To", PASS),
        ("h=From:From:Date:Date:Subject", PASS),
        ("h=To:Subject", permerror("From is not signed")),
        ("h=X-From", permerror("From is not signed")),
        ("h=", permerror("From is not signed")),
        // No RFC 6376 list, but some are written so: an empty name is no field.
        ("h=From:", PASS),
        ("h=From::To", PASS),
        ("h=From:T o", names),
        ("h=From:\u{fc}", names),
        ("x=4000000001", permerror("h= is missing")),
    ] {
        let tags = TAGS.replace("h=From:To:Subject", names).replacen("; x=4000000000", "", 1);
        assert_eq!(world.check(&world.forger.sign(&tags)).await, expected, "{names}");
    }
    // A name that is listed once more than it is there must not be added.
    let signed = world.forger.sign(&TAGS.replace("h=From:", "h=From:From:Reply-To:"));
    assert_eq!(world.check(&signed).await, PASS);
    for added in ["From: Mallory <m@evil.example>\r\n", "Reply-To: m@evil.example\r\n"] {
        for changed in [format!("{added}{signed}"), signed.replacen("\r\nTo:", &format!("\r\n{added}To:"), 1)] {
            assert_eq!(world.check(&changed).await, (MethodResult::Fail, "the signature does not verify"), "{added}");
        }
    }
    let many = TAGS.replace("h=From:", &format!("h=From:{}", "X:".repeat(256)));
    assert_eq!(world.check(&world.forger.sign(&many)).await, permerror("h= lists too many names"));
}

/// RFC 6376 section 5.4: `h=` may name signatures, but means others.
#[tokio::test]
async fn a_signature_does_not_sign_itself_twice() {
    let world = World::new().await;
    let signed = world.forger.sign(&TAGS.replace("h=From:", "h=From:DKIM-Signature:DKIM-Signature:"));
    assert_eq!(world.check(&signed).await, PASS);
}

/// Whoever added a From field to a signed message has not just one author (DMARC says nothing; policy refuses).
#[tokio::test]
async fn a_second_from_field_makes_several_authors() {
    let world = World::new().await;
    let signed = world.forger.sign(TAGS);
    assert_eq!(world.authenticate(&signed).await.authors.domain().map(Domain::as_str), Some("example.org"));
    let found = world.authenticate(&format!("From: ceo@bank.example\r\n{signed}")).await;
    assert_eq!((found.dkim[0].result, &found.authors), (MethodResult::Pass, &Authors::Several));
    assert_eq!(found.dmarc.result, MethodResult::None);
}

/// The message is well signed each time: only what its key says stands between it and a pass.
#[tokio::test]
async fn a_key_says_what_it_is_for() {
    let world = World::new().await;
    let forger = &world.forger;
    let own = |tags| vec![forger.record(tags)];
    let other_use = permerror("the key is not for this hash");
    for (at, (records, expected)) in [
        (own("v=DKIM1;"), PASS),
        (own(""), PASS),
        (own("v=DKIM1; k=rsa; h=sha1:sha256; s=*; t=x; n=a note; g=nobody; foo=bar;"), PASS),
        (own("v=DKIM1; h=SHA256; s=x:Email;"), PASS),
        (vec![forger.record("v=DKIM1;"), "v=spf1 -all".to_owned()], PASS),
        (own("v=DKIM2;"), permerror("no such key")),
        (own("k=rsa; v=DKIM1;"), permerror("no such key")),
        (own("v=DKIM1; k=dsa;"), permerror("the key is of an unknown type")),
        (own("v=DKIM1; k=ed25519;"), permerror("the key cannot be understood")),
        (own("v=DKIM1; h=sha1;"), other_use),
        (own("v=DKIM1; h=md5;"), other_use),
        (own("v=DKIM1; s=tlsrpt;"), permerror("the key is not for mail")),
        (own("v=DKIM1; k=rsa; k=rsa;"), permerror("the key cannot be understood")),
        (own("v=DKIM1; t;"), permerror("the key cannot be understood")),
        (vec![format!("v=DKIM1; p={}!", forger.rsa_public)], permerror("the key cannot be understood")),
        (vec!["v=DKIM1; p=".to_owned()], permerror("the key was revoked")),
        (vec![forger.record("v=DKIM1;"), forger.record("v=DKIM1; s=*;")], permerror("there are several keys")),
        (vec![format!("k=ed25519; p={}", forger.ed25519_public)], permerror("the key is not for this algorithm")),
        (own("v=DKIM1; t=y;"), (MethodResult::Policy, "the key is for testing: t=y")),
        (own("v=DKIM1; t=s:Y;"), (MethodResult::Policy, "the key is for testing: t=y")),
        (vec![], permerror("no such key")),
    ]
    .into_iter()
    .enumerate()
    {
        for record in &records {
            world.responder.add(&format!("k{at}._domainkey.example.org"), Record::txt(record));
        }
        let signed = forger.sign(&TAGS.replace("s=s;", &format!("s=k{at};")));
        assert_eq!(world.check(&signed).await, expected, "{records:?}");
    }
    let temporary = (MethodResult::TempError, "the key could not be looked up");
    assert_eq!(world.check(&forger.sign(&TAGS.replace("s=s;", "s=fails;"))).await, temporary);
    let ed25519 = TAGS.replace("s=s;", "s=e;").replace("rsa-sha256", "ed25519-sha256");
    assert_eq!(world.check(&forger.sign(&ed25519)).await, PASS);
    let mixed = TAGS.replace("rsa-sha256", "ed25519-sha256");
    assert_eq!(world.check(&forger.sign(&mixed)).await, permerror("the key is not for this algorithm"));
}

/// RFC 8301 section 3.2. The keys are nobody's: were they tried, the signature would fail.
#[tokio::test]
async fn rsa_keys_are_neither_too_short_nor_too_long() {
    let world = World::new().await;
    let signed = world.forger.sign(&TAGS.replace("s=s;", "s=k;"));
    for (bits, strict, loose) in [
        (512, "the key is too short", "the key is too short to verify with"),
        (1_016, "the key is too short", "the key is too short to verify with"),
        (1_024, "the signature does not verify", "the signature does not verify"),
        (8_192, "the signature does not verify", "the signature does not verify"),
        (8_200, "the key is too long", "the key is too long"),
    ] {
        let octets = bits / 8;
        let high = |length: usize| (length >> 8) as u8;
        let head =
            [0x30, 0x82, high(octets + 10), (octets + 10) as u8, 2, 0x82, high(octets + 1), (octets + 1) as u8, 0];
        // A length of one octet is written shorter.
        let head = match octets {
            0..=126 => vec![0x30, octets as u8 + 8, 2, octets as u8 + 1, 0],
            127..=245 => vec![0x30, 0x81, octets as u8 + 9, 2, 0x81, octets as u8 + 1, 0],
            _ => head.to_vec(),
        };
        let key = [&head, vec![0xFF; octets].as_slice(), &[2, 3, 1, 0, 1]].concat();
        let world = World::new().await;
        world.responder.add("k._domainkey.example.org", Record::txt(&format!("p={}", to_base64(&key))));
        for (least, expected) in [(1_024, strict), (0, loose)] {
            let accepts = Accepts { rsa_key_bits_min: least, now: Some(NOW), ..Accepts::default() };
            let found = world.check_all(&signed, &accepts).await;
            let result = if expected.contains("too") { MethodResult::Policy } else { MethodResult::Fail };
            let bits = Some(bits);
            assert_eq!((found[0].result, found[0].reason, found[0].key_bits), (result, Some(expected), bits));
        }
    }
}

#[tokio::test]
async fn a_strict_key_is_for_its_domain_alone() {
    let world = World::new().await;
    world.responder.add("k._domainkey.example.org", Record::txt(&world.forger.record("t=s;")));
    let strict = "the key is not for domains below d=, and i= is one";
    for (identity, expected) in [("", PASS), ("i=@example.org; ", PASS), ("i=@a.example.org; ", permerror(strict))] {
        let tags = TAGS.replace("s=s; ", &format!("s=k; {identity}"));
        assert_eq!(world.check(&world.forger.sign(&tags)).await, expected, "{identity}");
    }
}

/// RFC 6376 section 3.6.1: mail of who is testing is to be treated as unsigned.
#[tokio::test]
async fn a_testing_key_lets_nothing_pass() {
    let world = World::new().await;
    world.responder.add("k._domainkey.example.org", Record::txt(&world.forger.record("v=DKIM1; t=y;")));
    world.responder.add("_dmarc.example.org", Record::txt("v=DMARC1; p=reject"));
    let signed = world.forger.sign(&TAGS.replace("s=s;", "s=k;"));
    let found = world.authenticate(&signed).await;
    let dkim = &found.dkim[0];
    assert_eq!((dkim.result, dkim.testing, dkim.key_bits), (MethodResult::Policy, true, Some(2_048)));
    assert_eq!((found.dmarc.result, found.dmarc.policy), (MethodResult::Fail, Some(DmarcPolicy::Reject)));
    assert!(!found.passes_for(&Domain::parse("example.org").unwrap()) && !found.dmarc.dkim_aligned);
    let found = world.authenticate(&signed.replace("Noon", "Now")).await;
    assert_eq!((found.dkim[0].result, found.dkim[0].testing), (MethodResult::Fail, true));
    let accepts = Accepts { testing_keys: true, ..Accepts::default() };
    assert_eq!(world.check_all(&signed, &accepts).await[0].result, MethodResult::Pass);
}

#[tokio::test]
async fn a_part_of_the_body_counts_only_where_it_is_said() {
    let world = World::new().await;
    let whole = Accepts { body_length: true, now: Some(NOW), ..Accepts::default() };
    let length = |octets: usize| TAGS.replace("; t=", &format!("; l={octets}; t="));
    let (part, _) = BODY.split_at(7);
    for (tags, part, expected) in [
        (length(BODY.len()), BODY, PASS),
        (length(7), part, PASS),
        (length(0), "", PASS),
        (length(0), BODY, (MethodResult::Fail, "the body was changed")),
        (length(7), BODY, (MethodResult::Fail, "the body was changed")),
        (length(BODY.len() + 1), BODY, (MethodResult::Fail, "l= is beyond the end of the body")),
        (TAGS.replace("; t=", "; l=; t="), BODY, permerror("l= is not a length")),
        (TAGS.replace("; t=", "; l=7x; t="), part, permerror("l= is not a length")),
    ] {
        let signed = world.forger.sign_part(&tags, part);
        let found = world.check_all(&signed, &whole).await;
        assert_eq!((found[0].result, found[0].reason.unwrap_or_default()), expected, "{tags}");
        if expected == PASS {
            assert_eq!(world.check(&signed).await, (MethodResult::Policy, "l= is not accepted"));
            let longer = signed + "Buy now!\r\n";
            assert_eq!(world.check_all(&longer, &whole).await[0].result, MethodResult::Pass);
            assert_eq!(world.check(&longer).await, (MethodResult::Policy, "l= is not accepted"));
        }
    }
    assert_eq!(
        Accepts::from(Settings { count_body_length: true }),
        Accepts { body_length: true, ..Accepts::default() }
    );
    assert_eq!(Accepts::from(Settings::default()), Accepts::default());
}

/// The library would have asked for all of them: this is what its guard is for (and HOSTILE's signature floods).
#[tokio::test]
async fn a_flood_of_signatures_asks_for_few_keys() {
    let world = World::new().await;
    let signed = world.forger.sign(TAGS);
    let (own, message) = parts(&signed);
    let mut flood = String::new();
    for count in 0..300 {
        flood += &own.replace("s=s;", &format!("s=f{count};"));
    }
    let begin = Instant::now();
    let found = world.authenticate(&format!("{flood}{message}")).await;
    assert_eq!((found.dkim.len(), found.signatures_ignored), (SIGNATURES_MAX, 300 - SIGNATURES_MAX));
    let asked: usize = (0..300).map(|count| world.responder.queries(&format!("f{count}._domainkey.example.org"))).sum();
    assert_eq!(asked, SIGNATURES_MAX);
    println!("300 forged signatures: {:?}, {asked} keys asked for", begin.elapsed());
    // Those that cannot pass take no place from one that may, wherever it stands.
    let broken = own.replace("v=1", "v=2").repeat(50) + &own.replace("rsa-sha256", "rsa-sha1").repeat(50);
    let found = world.authenticate(&format!("{}{signed}", broken.replace("; t=", "; l=1; t="))).await;
    assert_eq!(found.dkim.len(), SIGNATURES_MAX);
    // Beyond the first hundred none is parsed.
    assert!(found.dkim.iter().all(|dkim| dkim.result != MethodResult::Pass));
    let found = world.authenticate(&format!("{}{signed}", own.replace("v=1", "v=2").repeat(99))).await;
    assert_eq!(found.dkim[0].result, MethodResult::Pass);
}

/// Ten signatures over a long header, each of whose names is listed as often as can be.
#[tokio::test]
async fn large_headers_cost_little() {
    let world = World::new().await;
    let names = TAGS.replace("h=From:To:Subject", &format!("h=From{}", ":X".repeat(255)));
    let signed = world.forger.sign(&names);
    let (own, message) = parts(&signed);
    let fields = format!("X: {}\r\n", "x y ".repeat(60)).repeat(950);
    let begin = Instant::now();
    let found = world.authenticate(&format!("{}{fields}{message}", own.repeat(300))).await;
    assert_eq!(found.dkim.len(), SIGNATURES_MAX);
    println!("ten signatures of 255 fields: {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let many = "Y: 1\r\n".repeat(FIELDS_MAX + 100);
    let large = format!("Y: {}\r\n", "x".repeat(HEADER_OCTETS_MAX));
    for header in [format!("{many}{own}"), format!("{own}{many}"), format!("{own}{large}")] {
        let found = world.authenticate(&format!("{header}{message}")).await;
        let [dkim] = found.dkim.as_slice() else { panic!("{:?}", found.dkim) };
        assert_eq!((dkim.result, dkim.reason), (MethodResult::PermError, Some("the header is too large")));
    }
}

/// Each body is hashed once for each form in which a signature wants it.
#[tokio::test]
async fn several_signatures_are_each_judged() {
    let world = World::new().await;
    let first = world.forger.sign(TAGS);
    let second = world.forger.sign(&TAGS.replace("s=s;", "s=e;").replace("rsa-", "ed25519-"));
    let (own, message) = parts(&first);
    let relaxed = Signer::ed25519(&Domain::parse("example.com").unwrap(), "x").unwrap();
    world.responder.add(relaxed.dns_name(), Record::txt(relaxed.dns_record()));
    let third = String::from_utf8(relaxed.sign(message.as_bytes()).unwrap()).unwrap();
    let (third, _) = parts(&third);
    let broken = own.replace("bh=", "bh=A");
    let message = format!("{third}{broken}{own}{second}");
    let found = world.authenticate(&message).await;
    let results: Vec<_> = found.dkim.iter().map(|d| (d.domain.as_ref().unwrap().as_str(), d.result)).collect();
    let pass = MethodResult::Pass;
    let expected =
        [("example.org", pass), ("example.org", pass), ("example.com", pass), ("example.org", MethodResult::PermError)];
    assert_eq!(results, expected);
}

/// What a message with one RSA signature costs once the key is known, against what cannot be saved: the verification and
/// the two hashes.
#[tokio::test]
async fn little_is_spent_beside_the_cryptography() {
    let signer = Signer::rsa(&Domain::parse("example.org").unwrap(), "r").unwrap();
    let text = format!("{HEADER}\r\n{}", "A line of text, as people write them.\r\n".repeat(300));
    let message = Message::new(signer.sign(text.as_bytes()).unwrap());
    let world = World::new().await;
    world.responder.add(signer.dns_name(), Record::txt(signer.dns_record()));
    let author = authors(&message);
    let (octets, signature) = signed_octets(&message, message.field("DKIM-Signature").unwrap()).unwrap();
    let records = Records::new();
    let key = records.key(&world.resolver, signer.dns_name()).await.unwrap().unwrap();
    let (mut bare, mut ours) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        let begin = Instant::now();
        for _ in 0..20 {
            let hash = HashAlgorithm::Sha256.hash(message.body());
            let verified = key.library.p.verify_bytes(&octets, &signature, Algorithm::RsaSha256);
            std::hint::black_box((hash, verified.is_ok()));
        }
        bare = bare.min(begin.elapsed() / 20);
        let begin = Instant::now();
        for _ in 0..20 {
            let found = verify(&records, &world.resolver, &Content::new(&message), &author, &Accepts::default()).await;
            assert_eq!(found.results[0].result, MethodResult::Pass);
        }
        ours = ours.min(begin.elapsed() / 20);
    }
    println!("{ours:?} for DKIM, of it {bare:?} in the library's cryptography");
    assert!(ours < bare * 3, "{ours:?} {bare:?}");
}

#[test]
fn related_domains_are_above_or_below_each_other() {
    for (one, other, expected) in [
        ("example.org", "example.org", true),
        ("Example.ORG", "mail.example.org", true),
        ("mail.example.org", "example.org", true),
        ("badexample.org", "example.org", false),
        ("a.example.org", "b.example.org", false),
        ("", "example.org", false),
        ("\u{fc}\u{fc}", "abc", false),
    ] {
        assert_eq!(are_related(one, other), expected, "{one} {other}");
    }
}
