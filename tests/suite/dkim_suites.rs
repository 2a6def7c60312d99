//! DKIM against the vectors of others (data beside the repository), with real DNS answers on loopback.
//!
//! Each message is verified twice: as the server does it, and with a loose [`Accepts`], since most vectors are older than
//! RFC 8301. What the strict run refuses for that is `policy`, and is counted. RSA keys that are too short for the server's
//! cryptography are verified by the book, over the octets that the library says are signed. What is left out stands here
//! with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mail_auth::common::crypto::{Algorithm, Ed25519Key, HashAlgorithm, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{HeaderWriter as _, Writable};
use mail_auth::dkim::{Canonicalization, DkimSigner};
use mxkeep::authentication::dkim::{Accepts, check, signed_octets};
use mxkeep::authentication::{Dkim, MethodResult, authors};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Behaviour, Record, Responder, Zone};
use mxkeep::message::Message;
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::support::conformance::{self, json};
use crate::support::rsa::{self, PrivateKey, to_base64};
use crate::support::shared;

/// When the vectors that expire had not expired yet, in seconds since 1970.
const THEN: u64 = 1_667_843_664;
/// The reason of [`Accepts`] where all that is left is the RSA of a short key.
const TOO_SHORT: &str = "the key is too short to verify with";

fn loose() -> Accepts {
    Accepts { rsa_sha1: true, rsa_key_bits_min: 0, body_length: true, testing_keys: true, now: Some(THEN) }
}

/// What came of a suite.
struct Report {
    suite: &'static str,
    run: usize,
    different: Vec<String>,
    excluded: BTreeMap<&'static str, usize>,
    /// Passes of the loose run that the strict run refuses, by its reasons.
    refused: BTreeMap<&'static str, usize>,
    /// Signatures that were verified by the book.
    by_the_book: usize,
}

impl Report {
    fn new(suite: &'static str) -> Self {
        let (excluded, refused) = (BTreeMap::new(), BTreeMap::new());
        Report { suite, run: 0, different: Vec::new(), excluded, refused, by_the_book: 0 }
    }

    fn exclude(&mut self, reason: &'static str, count: usize) {
        *self.excluded.entry(reason).or_default() += count;
    }

    fn expect(&mut self, what: &str, is_as_expected: bool, found: &dyn std::fmt::Debug) {
        self.run += 1;
        if !is_as_expected {
            self.different.push(format!("{what}: {found:?}"));
        }
    }

    /// Prints the line, and fails where anything differed.
    fn conclude(&self, run: usize, excluded: usize) {
        let left_out = self.excluded.values().sum();
        let reasons = self.excluded.iter().map(|(reason, count)| format!("{count} excluded: {reason}"));
        let refused = self.refused.iter().map(|(reason, count)| format!("{count} refused by the strict run: {reason}"));
        let by_the_book = Some(format!("{} verified by the book", self.by_the_book)).filter(|_| self.by_the_book > 0);
        let passed = self.run - self.different.len();
        conformance::report(self.suite, self.run, passed, left_out, reasons.chain(refused).chain(by_the_book));
        assert!(self.different.is_empty(), "{:#?}", self.different);
        assert_eq!((self.run, left_out), (run, excluded), "{}", self.suite);
    }
}

/// DNS, and who asks it.
struct World {
    runtime: Runtime,
    _responder: Responder,
    resolver: Resolver,
}

impl World {
    fn new(zone: Zone) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (responder, resolver) = runtime.block_on(async {
            let responder = Responder::start(zone).await.expect("a responder");
            let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
            (responder, resolver)
        });
        World { runtime, _responder: responder, resolver }
    }

    fn check(&self, message: &Message, accepts: &Accepts) -> Vec<Dkim> {
        self.runtime.block_on(check(&self.resolver, message, &authors(message), accepts))
    }

    /// Both runs. What passes in the loose one may not pass in the strict one but with a strong and settled key.
    fn run(&self, report: &mut Report, message: &Message, keys: &dyn Fn(&Dkim) -> Option<Vec<u8>>) -> Vec<Dkim> {
        let mut found = self.check(message, &loose());
        for dkim in found.iter_mut().filter(|dkim| dkim.reason == Some(TOO_SHORT)) {
            report.by_the_book += 1;
            let key = keys(dkim).expect("its key");
            (dkim.result, dkim.reason) = match verified_by_the_book(message, dkim, &key) {
                true => (MethodResult::Pass, None),
                false => (MethodResult::Fail, Some("the signature does not verify")),
            };
        }
        let is_weak = |dkim: &&Dkim| {
            let short = dkim.key_bits.is_some_and(|bits| bits < 1_024);
            dkim.algorithm == Some("rsa-sha1") || short || dkim.testing
        };
        let passed: Vec<&Dkim> = found.iter().filter(|dkim| dkim.result == MethodResult::Pass).collect();
        let weak = passed.iter().copied().filter(is_weak).count();
        let strict = self.check(message, &Accepts { now: Some(THEN), ..Accepts::default() });
        let count = |result| strict.iter().filter(|dkim| dkim.result == result).count();
        assert_eq!(
            (strict.len(), count(MethodResult::Pass)),
            (found.len(), passed.len() - weak),
            "{strict:?} {found:?}"
        );
        let refused = strict.iter().filter(|dkim| dkim.result == MethodResult::Policy).take(weak);
        let reasons: Vec<&str> = refused.filter_map(|dkim| dkim.reason).collect();
        assert_eq!(reasons.len(), weak, "{strict:?} {found:?}");
        reasons.into_iter().for_each(|reason| *report.refused.entry(reason).or_default() += 1);
        found
    }
}

fn verified_by_the_book(message: &Message, dkim: &Dkim, key: &[u8]) -> bool {
    let hash = if dkim.algorithm == Some("rsa-sha1") { HashAlgorithm::Sha1 } else { HashAlgorithm::Sha256 };
    let field = message.fields().find(|field| field.is("DKIM-Signature")).expect("a signature");
    let (octets, signature) = signed_octets(message, field).expect("a signature");
    rsa::verifies(key, &octets, &signature, hash)
}

fn no_keys(_: &Dkim) -> Option<Vec<u8>> {
    None
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file of the suite")
}

/// Fixtures are stored with LF, or with both.
fn message(octets: &[u8]) -> Message {
    Message::from_stored(octets)
}

fn texts(path: &Path) -> String {
    String::from_utf8(read(path)).expect("text")
}

/// The octets of `p=`.
fn public_key(record: &str) -> Vec<u8> {
    rsa::base64(record.split("p=").nth(1).and_then(|rest| rest.split(';').next()).expect("a key"))
}

/// What was expected of one message of the Perl suite.
#[derive(Debug, Deserialize)]
struct Expected {
    result: String,
}

const PRE_STANDARD: &str = "signed by a draft before RFC 4871: no v=, or v=0.5";
const GRANULARITY: &str = "g= of RFC 4871, which RFC 6376 says is to be ignored";
const DOMAIN_KEYS: &str = "DomainKeys (RFC 4870), another protocol";

/// Why keys are refused, with the signature's `v=0.5` made `v=1`: it would be refused for that first.
const BAD_KEYS: [(&str, &str); 7] = [
    ("badkey_1.txt", "no such key"),
    ("badkey_2.txt", "the key was revoked"),
    ("badkey_3.txt", "no such key"),
    ("badkey_4.txt", "the key cannot be understood"),
    ("badkey_5.txt", "the key is of an unknown type"),
    ("badkey_6.txt", "the key is not for mail"),
    ("badkey_7.txt", "the key is not for this hash"),
];

fn perl_zone(path: &Path) -> (Zone, BTreeMap<String, String>) {
    let (mut zone, mut keys) = (Zone::default(), BTreeMap::new());
    for line in texts(path).lines().filter(|line| !line.starts_with('#')) {
        let Some((name, text)) = line.split_once(' ') else { continue };
        match text.trim_start() {
            "NXDOMAIN" => {}
            // Silence costs the resolver's whole patience; to whoever asks it is the same.
            text if text.starts_with("~~") => zone = zone.behave(name, Behaviour::ServFail),
            text => {
                // A record of no strings cannot be sent: of one empty string it can.
                zone.add(name, if text == "\"\"" { Record::Txt(vec![String::new()]) } else { Record::txt(text) });
                keys.insert(name.to_owned(), text.to_owned());
            }
        }
    }
    (zone, keys)
}

/// Is this what the suite expects, in the words of RFC 8601?
fn is_expected(file: &str, expected: &str, found: &[Dkim]) -> bool {
    let best = |result| found.iter().any(|dkim| dkim.result == result);
    let only = |result, reason: &str| found.len() == 1 && found[0].result == result && found[0].reason == Some(reason);
    match (file, expected) {
        (_, "pass") => best(MethodResult::Pass),
        ("badkey_14.txt" | "badkey_15.txt", _) => only(MethodResult::TempError, "the key could not be looked up"),
        ("ignore_7.txt", _) => only(MethodResult::Fail, "the signature has expired"),
        // Drafts too: altered, but refused for the missing v= first.
        ("bad_1.txt" | "bad_ietf01_1.txt" | "bad_ietf01_2.txt" | "bad_ietf01_3.txt", _) => {
            only(MethodResult::PermError, "v= is not 1")
        }
        // From is not there but signed; the body is another.
        (_, "fail") => !best(MethodResult::Pass) && best(MethodResult::Fail),
        (_, "invalid") => found.len() == 1 && best(MethodResult::PermError),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mail_dkim_perl() {
    let Some(data) = shared::suite("dkim_suites", "dkim-mail-dkim-perl/data") else { return };
    let (zone, keys) = perl_zone(&data.join("FAKE_DNS.dat"));
    let (world, mut report) = (World::new(zone), Report::new("dkim-mail-dkim-perl"));
    let expected: BTreeMap<String, Expected> = json(&data.join("expected.json"));
    assert_eq!(expected.len(), 79);
    let key = |dkim: &Dkim| {
        let (selector, domain) = (dkim.selector.as_ref()?, dkim.domain.as_ref()?);
        keys.get(&format!("{selector}._domainkey.{domain}")).map(|record| public_key(record))
    };
    for (file, Expected { result }) in &expected {
        let octets = read(&data.join("corpus").join(file));
        let message = message(&octets);
        let found = world.run(&mut report, &message, &key);
        let is_draft = !found.is_empty() && found.iter().all(|dkim| dkim.reason == Some("v= is not 1"));
        let passed = found.iter().any(|dkim| dkim.result == MethodResult::Pass);
        match (file.as_str(), result.as_str()) {
            (_, "pass") if is_draft => report.exclude(PRE_STANDARD, 1),
            ("badkey_8.txt" | "badkey_9.txt" | "badkey_12.txt" | "badkey_13.txt", _) => {
                assert!(passed, "{file}: the rest of it verifies: {found:?}");
                report.exclude(GRANULARITY, 1);
            }
            _ if found.is_empty() => {
                assert!(message.field("DomainKey-Signature").is_some(), "{file}");
                report.exclude(DOMAIN_KEYS, 1);
            }
            (file, result) => report.expect(file, is_expected(file, result, &found), &found),
        }
    }
    for (file, reason) in BAD_KEYS {
        let octets = String::from_utf8(read(&data.join("corpus").join(file))).expect("ASCII");
        let found = world.check(&message(octets.replacen("v=0.5", "v=1", 1).as_bytes()), &loose());
        assert_eq!((found[0].result, found[0].reason), (MethodResult::PermError, Some(reason)), "{file}");
    }
    report.conclude(42, 37);
}

/// The vectors of the verifying library: `name record` lines, an empty line, the message.
#[test]
fn stalwart() {
    let Some(data) = shared::suite("dkim_suites", "dkim-arc-stalwart-mail-auth/data") else { return };
    let mut report = Report::new("dkim-arc-stalwart-mail-auth");
    for at in 1..=6 {
        let name = format!("{at:03}.txt");
        let text = texts(&data.join("dkim").join(&name));
        let (records, octets) = text.split_once("\n\n").expect("an empty line");
        let mut zone = Zone::default();
        for (name, record) in records.lines().filter_map(|line| line.split_once(' ')) {
            zone.add(name, Record::txt(record));
        }
        let world = World::new(zone);
        let found = world.run(&mut report, &message(octets.as_bytes()), &no_keys);
        let all = !found.is_empty() && found.iter().all(|dkim| dkim.result == MethodResult::Pass);
        report.expect(&name, all, &found);
        let changed = octets.trim_end().to_owned() + "!";
        let found = world.run(&mut report, &message(changed.as_bytes()), &no_keys);
        let none = found.iter().all(|dkim| dkim.reason == Some("the body was changed"));
        report.expect(&format!("{name}, changed"), none, &found);
    }
    let count = |folder: &str| walk(&data.join(folder));
    report.exclude("ARC, which has a suite of its own", count("arc"));
    report.exclude("DKIM2, another protocol, which is not finished", count("dkim2"));
    report.conclude(12, 82);
}

fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[derive(Debug, Deserialize)]
struct GoIndex {
    dns: BTreeMap<String, String>,
}

/// Its keys are those of RFC 6376 and RFC 8463, and one that is cut off in the suite and whole in another.
#[test]
fn go_msgauth() {
    let Some(data) = shared::suite("dkim_suites", "dkim-go-msgauth-converted/data") else { return };
    let Some(stalwart) = shared::suite("dkim_suites", "dkim-arc-stalwart-mail-auth/data/dkim") else { return };
    let index: GoIndex = json(&data.join("index.json"));
    let others = texts(&stalwart.join("001.txt")) + &texts(&stalwart.join("002.txt"));
    let mut zone = Zone::default();
    for (name, constant) in [
        ("brisbane._domainkey.football.example.com", "const:dnsEd25519PublicKey"),
        ("test._domainkey.football.example.com", "const:dnsPublicKey"),
        ("newengland._domainkey.example.com", "const:dnsRawRSAPublicKey"),
    ] {
        let record = others.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the key");
        let begin = index.dns[constant].split("p=").nth(1).expect("a key");
        assert!(record.contains(begin), "the same key: {record}");
        zone.add(name, Record::txt(record));
    }
    let private = PrivatePkcs1KeyDer::from_pem_file(data.join("testPrivateKeyPEM.txt")).expect("a key");
    let public = PrivateKey::from_der(private.secret_pkcs1_der()).public_key();
    zone.add("brisbane._domainkey.example.com", Record::txt(&format!("v=DKIM1; p={}", to_base64(&public))));
    let (world, mut report) = (World::new(zone), Report::new("dkim-go-msgauth-converted"));
    for (name, signatures) in [
        ("unsignedMailString.eml", 0),
        ("verifiedMailString.eml", 1),
        ("verifiedRawRSAMailString.eml", 1),
        ("verifiedEd25519MailString.eml", 2),
        ("tooManySignaturesMailString.eml", 3),
    ] {
        let octets = texts(&data.join(name));
        let found = world.run(&mut report, &message(octets.as_bytes()), &no_keys);
        let all = found.iter().all(|dkim| dkim.result == MethodResult::Pass);
        report.expect(name, found.len() == signatures && all, &found);
        for (from, to, reason) in
            [("hungry", "angry", "the body was changed"), ("Is dinner", "Is lunch", "the signature does not verify")]
        {
            let found = world.check(&message(octets.replace(from, to).as_bytes()), &loose());
            assert!(
                found.iter().all(|d| (d.result, d.reason) == (MethodResult::Fail, Some(reason))),
                "{name}: {found:?}"
            );
        }
    }
    report.conclude(5, 0);
}

/// Signs with the library, not with our own canonical forms, and without From where there is none.
fn sign(key: &impl SigningKey, octets: &Message, simple: bool) -> Message {
    let canonicalization = if simple { Canonicalization::Simple } else { Canonicalization::Relaxed };
    let names = ["From", "Subject", "To", "Message-ID", "Received", "Date"];
    let signer = DkimSigner::from_key(Borrowed(key))
        .domain("example.org")
        .selector("s")
        .headers(names.into_iter().filter(|name| octets.field(name).is_some()))
        .header_canonicalization(canonicalization)
        .body_canonicalization(canonicalization);
    let header = signer.sign(octets.octets()).expect("a signature").to_header();
    Message::new([header.as_bytes(), octets.octets()].concat())
}

/// The signer wants a key of its own.
struct Borrowed<'k, K>(&'k K);

impl<K: SigningKey> SigningKey for Borrowed<'_, K> {
    type Hasher = K::Hasher;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.sign(input)
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

#[test]
fn dkimpy_vectors() {
    let Some(data) = shared::suite("dkim_suites", "dkim-dkimpy/data") else { return };
    let mut report = Report::new("dkim-dkimpy, signed messages");
    let seed = rsa::base64(&texts(&data.join("rfc8032_7_1.key")));
    let mut zone = Zone::default();
    zone.add("test._domainkey.football.example.com", Record::txt(&texts(&data.join("test.txt"))));
    let ed25519 = format!("v=DKIM1; k=ed25519; p={}", to_base64(&ed25519_key(&seed).public_key()));
    zone.add("brisbane._domainkey.football.example.com", Record::txt(&ed25519));
    zone.add("sed._domainkey.test.ex", Record::txt(&texts(&data.join("eximtest.dns"))));
    let world = World::new(zone);
    for (name, signatures) in [("rfc6376.signed.msg", 2), ("ed25519test2.msg", 1)] {
        let found = world.run(&mut report, &message(&read(&data.join(name))), &no_keys);
        let all = found.iter().all(|dkim| dkim.result == MethodResult::Pass);
        report.expect(name, found.len() == signatures && all, &found);
    }
    for name in ["message.mbox", "test2.message"] {
        let found = world.run(&mut report, &message(&read(&data.join(name))), &no_keys);
        assert!(found.iter().all(|dkim| dkim.reason == Some("no such key")), "it is read: {found:?}");
        report.exclude("its key is not in the suite", 1);
    }
    report.conclude(2, 2);
}

/// Signs by the book: the suite's key is too short for the library's cryptography to sign with.
struct BookKey(PrivateKey);

impl SigningKey for BookKey {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        let mut octets = Vec::new();
        input.write(&mut octets);
        Ok(self.0.sign(&octets))
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaSha256
    }
}

fn ed25519_key(seed: &[u8]) -> Ed25519Key {
    // PKCS #8 of RFC 8410 section 7, without the public key.
    let head = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20];
    Ed25519Key::from_pkcs8_maybe_unchecked_der(&[&head, seed].concat()).expect("a key")
}

/// The messages and keys to sign with, against good and bad key records.
#[test]
fn dkimpy_keys() {
    let Some(data) = shared::suite("dkim_suites", "dkim-dkimpy/data") else { return };
    let mut report = Report::new("dkim-dkimpy, key records");
    let private = PrivatePkcs1KeyDer::from_pem_file(data.join("test.private")).expect("a key");
    let rsa_key = BookKey(PrivateKey::from_der(private.secret_pkcs1_der()));
    let ed25519_key = ed25519_key(&rsa::base64(&texts(&data.join("ed25519test.key"))));
    let mut signed = BTreeMap::new();
    let permerror = |reason| (MethodResult::PermError, Some(reason));
    let pass = (MethodResult::Pass, None);
    for (name, record, expected) in [
        ("test.message", "test.txt", pass),
        ("test.message", "test2.txt", pass),
        ("test.message", "badversion.txt", permerror("no such key")),
        ("test.message", "badk.txt", permerror("the key is of an unknown type")),
        ("test.message", "test_bad.txt", permerror("the key cannot be understood")),
        ("test.message", "test_tlsrpt.txt", permerror("the key is not for mail")),
        ("test_extra.message", "test.txt", pass),
        ("test_nofrom.message", "test.txt", permerror("From is not signed")),
        ("ed25519test.msg", "ed25519test.dns", pass),
    ] {
        let mut zone = Zone::default();
        zone.add("s._domainkey.example.org", Record::txt(&texts(&data.join(record))));
        let world = World::new(zone);
        for simple in [false, true] {
            let signed = signed.entry((name, simple)).or_insert_with(|| {
                let octets = message(&read(&data.join(name)));
                match record {
                    "ed25519test.dns" => sign(&ed25519_key, &octets, simple),
                    _ => sign(&rsa_key, &octets, simple),
                }
            });
            let found = world.run(&mut report, signed, &no_keys);
            report.expect(&format!("{name} {record}"), (found[0].result, found[0].reason) == expected, &found);
        }
    }
    report.conclude(18, 0);
}

/// A verifier by the book that says yes to everything would hide what it is for.
#[test]
fn the_book_says_no_too() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let info = rcgen::PublicKeyData::subject_public_key_info(&key);
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let signature = RsaKey::<Sha256>::from_key_der(der.into()).expect("a key").sign(&b"octets"[..]).expect("signed");
    assert!(rsa::verifies(&info, b"octets", &signature, HashAlgorithm::Sha256));
    assert!(!rsa::verifies(&info, b"octet", &signature, HashAlgorithm::Sha256));
    assert!(!rsa::verifies(&info, b"octets", &signature, HashAlgorithm::Sha1));
    let mut changed = signature;
    changed[100] ^= 1;
    assert!(!rsa::verifies(&info, b"octets", &changed, HashAlgorithm::Sha256));
}
