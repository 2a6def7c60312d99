//! The checks against a real responder over UDP.

use std::time::{Duration, Instant};

use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::dkim::tags::to_base64;
use super::signing::Signer;
use super::*;
use crate::dns::responder::{Behaviour, Record, Responder, Zone, reverse_name};

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const STRANGER: [u8; 4] = [198, 51, 100, 9];
const MESSAGE: &str = concat!(
    "From: Alice <alice@example.org>\r\n",
    "To: bob@example.net\r\n",
    "Subject: lunch\r\n",
    "\r\n",
    "Noon?\r\n",
);

struct World {
    responder: Responder,
    authenticator: Authenticator,
}

impl World {
    async fn new(zone: Zone) -> Self {
        let (responder, authenticator) = start(zone).await;
        World { responder, authenticator }
    }

    async fn spf(&self, client: [u8; 4], reverse_path: &str) -> Spf {
        let helo = Host::parse("mail.example.org").unwrap();
        self.authenticator.spf(client.into(), &helo, &path(reverse_path)).await
    }

    /// All checks for a message from `client`, with the reverse-path `alice@<mail_from>`.
    async fn verify(&self, client: [u8; 4], mail_from: &str, octets: &[u8]) -> Authentication {
        let spf = self.spf(client, &format!("<alice@{mail_from}>")).await;
        let iprev = self.authenticator.iprev(client.into()).await;
        self.authenticator.verify(&Message::new(octets.to_vec()), spf, iprev).await
    }

    async fn dkim(&self, octets: &[u8]) -> (MethodResult, &'static str) {
        let found = self.verify(CLIENT, "nothing.example", octets).await;
        let [dkim] = found.dkim.as_slice() else { panic!("{:?}", found.dkim) };
        (dkim.result, dkim.reason.unwrap_or_default())
    }
}

/// A DNS server and an authenticator that asks it.
pub(super) async fn start(zone: Zone) -> (Responder, Authenticator) {
    let responder = Responder::start(zone).await.unwrap();
    let resolver = Resolver::new(&[responder.address()]).unwrap();
    (responder, Authenticator::new(resolver, domain("mx.example.net"), Settings::default()))
}

/// DKIM, DMARC and ARC of a message, without SPF and iprev.
pub(super) async fn verify(authenticator: &Authenticator, octets: &[u8]) -> Authentication {
    let spf = Spf::none(SpfIdentity::MailFrom, None);
    authenticator.verify(&Message::new(octets.to_vec()), spf, Iprev::none(CLIENT.into())).await
}

pub(super) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn path(text: &str) -> ReversePath {
    ReversePath::parse(text).unwrap()
}

fn spf_zone(records: &[(&str, &str)]) -> Zone {
    records.iter().map(|(name, text)| (name, Record::txt(text))).collect()
}

#[tokio::test]
async fn spf_answers_as_the_record_says() {
    let world = World::new(spf_zone(&[
        ("example.org", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("soft.example", "v=spf1 include:example.org ~all"),
        ("redirect.example", "v=spf1 redirect=example.org"),
        ("two.example", "v=spf1 -all"),
        ("two.example", "v=spf1 +all"),
        ("far.example", "v=spf1 include:two.example ?all"),
        ("early.example", "v=spf1 ip4:192.0.2.1 include:two.example"),
        ("wrong.example", "v=spf1 ip4:192.0.2.1 ip4:300.1.1.1 -all"),
        ("other.example", "google-site-verification=x"),
        ("loop.example", "v=spf1 include:loop.example -all"),
        ("nested.example", "v=spf1 include:example.org ?all"),
        ("maybe.example", "v=spf1 ?include:nested.example -all"),
        ("maybe2.example", "v=spf1 ip4:198.51.100.9 ?include:nested.example -all"),
        ("maybe3.example", "v=spf1 ?include:example.org -all"),
        ("explains.example", "v=spf1 -all exp=why.explains.example"),
        ("why.explains.example", "%{i} may not\u{7} send for %{d}, says %{r}"),
    ]))
    .await;
    use MethodResult::*;
    for (client, sender, expected) in [
        (CLIENT, "example.org", Pass),
        (STRANGER, "example.org", Fail),
        (CLIENT, "soft.example", Pass),
        (STRANGER, "soft.example", SoftFail),
        (STRANGER, "redirect.example", Fail),
        (CLIENT, "two.example", PermError),
        (CLIENT, "far.example", PermError),
        (CLIENT, "early.example", Pass),
        (STRANGER, "early.example", PermError),
        (CLIENT, "wrong.example", PermError),
        (CLIENT, "other.example", None),
        (CLIENT, "absent.example", None),
        (CLIENT, "loop.example", PermError),
        (CLIENT, "maybe.example", Neutral),
        (STRANGER, "maybe.example", Fail),
        (STRANGER, "maybe2.example", Pass),
        (CLIENT, "maybe3.example", Neutral),
        (CLIENT, "explains.example", Fail),
        (CLIENT, "[192.0.2.1]", None),
    ] {
        let spf = world.spf(client, &format!("<alice@{sender}>")).await;
        assert_eq!((spf.result, spf.identity), (expected, SpfIdentity::MailFrom), "{sender}");
    }
    let spf = world.spf(CLIENT, "<alice@explains.example>").await;
    assert_eq!(spf.result, Fail);
    assert_eq!(world.responder.queries("why.explains.example"), 0, "nobody is shown it");
}

#[tokio::test]
async fn the_null_reverse_path_is_checked_as_helo() {
    let world = World::new(spf_zone(&[("mail.example.org", "v=spf1 ip4:192.0.2.1 -all")])).await;
    let spf = world.spf(CLIENT, "<>").await;
    assert_eq!((spf.result, spf.identity), (MethodResult::Pass, SpfIdentity::Helo));
    assert_eq!(spf.domain, Some(domain("mail.example.org")));
    assert_eq!(world.spf(STRANGER, "<>").await.result, MethodResult::Fail);
    let literal = Host::parse("[192.0.2.1]").unwrap();
    let spf = world.authenticator.spf(CLIENT.into(), &literal, &ReversePath::Null).await;
    assert_eq!((spf.result, spf.domain), (MethodResult::None, None));
}

#[tokio::test]
async fn spf_without_an_answer_is_temperror() {
    let zone = spf_zone(&[("include.example", "v=spf1 include:fails.example -all")])
        .behave("fails.example", Behaviour::ServFail)
        .behave("silent.example", Behaviour::Silent);
    let world = World::new(zone).await;
    for sender in ["fails.example", "include.example", "silent.example"] {
        let begin = Instant::now();
        let spf = world.spf(CLIENT, &format!("<alice@{sender}>")).await;
        assert_eq!(spf.result, MethodResult::TempError, "{sender}");
        assert!(begin.elapsed() < Duration::from_secs(SPF_SECONDS_MAX + 1), "{sender}: {:?}", begin.elapsed());
    }
    assert_eq!(world.spf(CLIENT, "<alice@[192.0.2.1]>").await.result, MethodResult::None);
}

#[tokio::test]
async fn iprev_goes_there_and_back() {
    let six = "2001:db8::1".parse::<IpAddr>().unwrap();
    let zone = Zone::from_iter([
        (reverse_name(CLIENT.into()), Record::Ptr("wrong.example.org".into())),
        (reverse_name(CLIENT.into()), Record::Ptr("mail.example.org".into())),
        (reverse_name(STRANGER.into()), Record::Ptr("mail.example.org".into())),
        (reverse_name(six), Record::Ptr("six.example.org".into())),
        ("mail.example.org".into(), Record::A(CLIENT.into())),
        ("six.example.org".into(), Record::Aaaa("2001:db8::1".parse().unwrap())),
    ])
    .behave(&reverse_name([203, 0, 113, 1].into()), Behaviour::ServFail);
    let world = World::new(zone).await;
    for (client, result, name) in [
        (CLIENT.into(), MethodResult::Pass, Some("mail.example.org")),
        (six, MethodResult::Pass, Some("six.example.org")),
        (STRANGER.into(), MethodResult::Fail, None),
        ([203, 0, 113, 1].into(), MethodResult::TempError, None),
        ([203, 0, 113, 2].into(), MethodResult::PermError, None),
    ] {
        let iprev = world.authenticator.iprev(client).await;
        assert_eq!((iprev.result, iprev.name), (result, name.map(domain)), "{client}");
    }
}

/// RFC 8601 sections 2.7.3 and 3. The library looks at the first two names only.
#[tokio::test]
async fn iprev_tries_all_names_at_once() {
    let address = |last: u8| IpAddr::from([203, 0, 113, last]);
    let mut zone = Zone::default();
    for (last, names) in [(5, 5), (10, 10), (11, 11)] {
        for at in 1..=names {
            zone.add(&reverse_name(address(last)), Record::Ptr(format!("n{at}.of{last}.example")));
            let own = if at == names { [203, 0, 113, last] } else { STRANGER };
            zone.add(&format!("n{at}.of{last}.example"), Record::A(own.into()));
        }
    }
    for (last, name) in [(20, "slow.example"), (20, "fast.example"), (30, "broken.example"), (40, "no.example")] {
        zone.add(&reverse_name(address(last)), Record::Ptr(name.into()));
    }
    zone.add("fast.example", Record::A([203, 0, 113, 20].into()));
    let zone = zone
        .behave("slow.example", Behaviour::Silent)
        .behave("broken.example", Behaviour::ServFail)
        .behave_below("of5.example", Behaviour::Delay(Duration::from_millis(200)));
    let world = World::new(zone).await;
    let begin = Instant::now();
    for (last, result, name, reason) in [
        (5, MethodResult::Pass, Some("n5.of5.example"), None),
        (10, MethodResult::Pass, Some("n10.of10.example"), None),
        (11, MethodResult::Fail, None, Some("no name of the address leads back to it")),
        (20, MethodResult::Pass, Some("fast.example"), None),
        (30, MethodResult::TempError, None, Some("a lookup failed")),
        (40, MethodResult::Fail, None, Some("no name of the address leads back to it")),
        (50, MethodResult::PermError, None, Some("the address has no name")),
    ] {
        let iprev = world.authenticator.iprev(address(last)).await;
        assert_eq!((iprev.result, iprev.name, iprev.reason), (result, name.map(domain), reason), "{last}");
    }
    assert!(begin.elapsed() < Duration::from_millis(800), "one after the other: {:?}", begin.elapsed());
    assert_eq!(world.responder.queries("n11.of11.example"), 0, "the eleventh name is not looked at");
}

async fn signed_world(signers: &[&Signer], rest: &[(&str, &str)]) -> World {
    let mut zone = spf_zone(rest);
    for signer in signers {
        zone.add(signer.dns_name(), Record::txt(signer.dns_record()));
    }
    World::new(zone).await
}

#[tokio::test]
async fn signed_mail_passes_and_changed_mail_does_not() {
    let author = domain("example.org");
    for signer in [Signer::rsa(&author, "r").unwrap(), Signer::ed25519(&author, "e").unwrap()] {
        let world = signed_world(&[&signer], &[("_dmarc.example.org", "v=DMARC1; p=reject")]).await;
        let signed = signer.sign(MESSAGE.as_bytes()).unwrap();
        let found = world.verify(CLIENT, "nothing.example", &signed).await;
        assert_eq!(found.dkim[0].result, MethodResult::Pass, "{found:?}");
        assert_eq!(found.dkim[0].domain, Some(author.clone()));
        assert_eq!(found.dkim[0].signature.as_ref().map(String::len), Some(8));
        let dmarc = &found.dmarc;
        assert_eq!((dmarc.result, dmarc.policy), (MethodResult::Pass, Some(DmarcPolicy::Reject)));
        assert!(dmarc.dkim_aligned && !dmarc.spf_aligned);

        let text = String::from_utf8(signed).unwrap();
        let changed = text.replace("Noon", "Never");
        assert_eq!(world.dkim(changed.as_bytes()).await, (MethodResult::Fail, "the body was changed"));
        let changed = text.replace("lunch", "dinner");
        assert_eq!(world.dkim(changed.as_bytes()).await, (MethodResult::Fail, "the signature does not verify"));
        let spaced = text + " \r\n\t\r\n";
        assert_eq!(world.dkim(spaced.as_bytes()).await.0, MethodResult::Pass);
    }
}

/// Signs with the library, as no good signer would.
fn sign_with(
    key: &rcgen::KeyPair,
    change: impl Fn(DkimSigner<RsaKey<Sha256>, mail_auth::dkim::Done>) -> DkimSigner<RsaKey<Sha256>, mail_auth::dkim::Done>,
    fields: &[&str],
) -> Vec<u8> {
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = RsaKey::<Sha256>::from_key_der(der.into()).unwrap();
    let signer = DkimSigner::from_key(key).domain("example.org").selector("s").headers(fields.iter().copied());
    let mut signed = change(signer).sign(MESSAGE.as_bytes()).unwrap().to_header().into_bytes();
    signed.extend_from_slice(MESSAGE.as_bytes());
    signed
}

#[tokio::test]
async fn bad_signatures_do_not_pass() {
    use rcgen::PublicKeyData as _;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let public = to_base64(&key.subject_public_key_info());
    let zone = spf_zone(&[
        ("s._domainkey.example.org", &format!("v=DKIM1; p={public}")),
        ("revoked._domainkey.example.org", "v=DKIM1; p="),
        ("other._domainkey.example.org", &format!("v=DKIM1; s=tlsrpt; p={public}")),
        ("junk._domainkey.example.org", "nothing"),
    ])
    .behave("fails._domainkey.example.org", Behaviour::ServFail);
    let world = World::new(zone).await;
    let plain = sign_with(&key, |signer| signer, &["From", "Subject"]);
    assert_eq!(world.dkim(&plain).await.0, MethodResult::Pass);
    let simple = |signer: DkimSigner<_, _>| {
        signer.header_canonicalization(Canonicalization::Simple).body_canonicalization(Canonicalization::Simple)
    };
    assert_eq!(world.dkim(&sign_with(&key, simple, &["From", "To"])).await.0, MethodResult::Pass);

    let length = sign_with(&key, |signer| signer.body_length(true), &["From"]);
    assert_eq!(world.dkim(&length).await, (MethodResult::Policy, "l= is not accepted"));
    let without_from = sign_with(&key, |signer| signer, &["Subject"]);
    assert_eq!(world.dkim(&without_from).await, (MethodResult::PermError, "From is not signed"));
    let text = String::from_utf8(plain).unwrap();
    for (from, to, expected) in [
        ("rsa-sha256", "rsa-sha1", (MethodResult::Policy, "rsa-sha1 is not accepted")),
        ("v=1", "v=2", (MethodResult::PermError, "v= is not 1")),
        ("v=1; ", "", (MethodResult::PermError, "v= is not 1")),
        ("s=s;", "s=revoked;", (MethodResult::PermError, "the key was revoked")),
        ("s=s;", "s=other;", (MethodResult::PermError, "the key is not for mail")),
        ("s=s;", "s=junk;", (MethodResult::PermError, "the key cannot be understood")),
        ("s=s;", "s=absent;", (MethodResult::PermError, "no such key")),
        ("s=s;", "s=fails;", (MethodResult::TempError, "the key could not be looked up")),
        ("d=example.org", "d=..", (MethodResult::PermError, "d= is not a domain")),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        assert_eq!(world.dkim(text.replacen(from, to, 1).as_bytes()).await, expected, "{to}");
    }
}

#[tokio::test]
async fn a_flood_of_signatures_is_bounded_and_the_authors_goes_first() {
    let signer = Signer::ed25519(&domain("example.org"), "s").unwrap();
    let world = signed_world(&[&signer], &[]).await;
    let signed = String::from_utf8(signer.sign(MESSAGE.as_bytes()).unwrap()).unwrap();
    let (own, message) = signed.split_at(signed.len() - MESSAGE.len());
    let mut flood = String::new();
    for count in 0..50 {
        flood += &own.replace("d=example.org", &format!("d=f{count}.example"));
    }
    let found = world.verify(CLIENT, "nothing.example", (flood + own + message).as_bytes()).await;
    assert_eq!((found.dkim.len(), found.signatures_ignored), (SIGNATURES_MAX, 41));
    assert_eq!((found.dkim[0].result, &found.dkim[0].domain), (MethodResult::Pass, &Some(domain("example.org"))));
    let asked = (0..50).filter(|count| world.responder.queries(&format!("s._domainkey.f{count}.example")) > 0).count();
    assert_eq!(asked, SIGNATURES_MAX - 1);
}

#[tokio::test]
async fn dmarc_protects_the_author_domain() {
    let world = World::new(spf_zone(&[
        ("_dmarc.example.org", "v=DMARC1; p=reject; sp=quarantine; np=reject"),
        ("www.example.org", "exists"),
        ("_dmarc.test.example", "v=DMARC1; p=reject; t=y"),
        ("_dmarc.two.example", "v=DMARC1; p=reject"),
        ("_dmarc.two.example", "v=DMARC1; p=none"),
        ("example.org", "v=spf1 ip4:192.0.2.1 -all"),
        ("bounce.example.org", "v=spf1 ip4:192.0.2.1 -all"),
        ("_dmarc.strict.example", "v=DMARC1; p=reject; aspf=s"),
        ("b.strict.example", "v=spf1 ip4:192.0.2.1 -all"),
    ]))
    .await;
    use DmarcPolicy::*;
    for (client, mail_from, author, result, policy) in [
        (CLIENT, "example.org", "example.org", MethodResult::Pass, Some(Reject)),
        (CLIENT, "bounce.example.org", "example.org", MethodResult::Pass, Some(Reject)),
        (STRANGER, "example.org", "example.org", MethodResult::Fail, Some(Reject)),
        (STRANGER, "evil.example", "example.org", MethodResult::Fail, Some(Reject)),
        (STRANGER, "evil.example", "www.example.org", MethodResult::Fail, Some(Quarantine)),
        (STRANGER, "evil.example", "made-up.example.org", MethodResult::Fail, Some(Reject)),
        (STRANGER, "evil.example", "test.example", MethodResult::Fail, Some(Quarantine)),
        (CLIENT, "b.strict.example", "strict.example", MethodResult::Fail, Some(Reject)),
        (STRANGER, "evil.example", "two.example", MethodResult::None, Option::None),
        (STRANGER, "evil.example", "absent.example", MethodResult::None, Option::None),
    ] {
        let octets = format!("From: <x@{author}>\r\n\r\n");
        let dmarc = world.verify(client, mail_from, octets.as_bytes()).await.dmarc;
        assert_eq!((dmarc.result, dmarc.policy), (result, policy), "{mail_from} {author}");
        assert_eq!(dmarc.author_domain, Some(domain(author)));
    }
    let several = world.verify(CLIENT, "example.org", b"From: a@example.org, b@evil.example\r\n\r\n").await;
    assert_eq!((several.authors, several.dmarc.result), (Authors::Several, MethodResult::None));
}

/// `_dmarc.` makes the name too long for DNS: there is no record at it, and the walk goes on to the one that protects it.
#[tokio::test]
async fn an_author_domain_too_long_for_a_record_is_no_temporary_failure() {
    let world = World::new(spf_zone(&[("_dmarc.bank.example", "v=DMARC1; p=reject")])).await;
    let label = "a".repeat(63);
    for (parent, result) in [("bank.example", MethodResult::Fail), ("none.example", MethodResult::None)] {
        let author = format!("{label}.{label}.{label}.{}.{parent}", "a".repeat(45));
        assert_eq!(author.len(), 250);
        let found = world.verify(STRANGER, &author, format!("From: x@{author}\r\n\r\n").as_bytes()).await;
        assert_eq!((found.spf.result, found.dmarc.result), (MethodResult::None, result), "{parent}");
    }
}

#[tokio::test]
async fn a_from_field_that_cannot_be_read_has_no_author_domain() {
    let world = World::new(spf_zone(&[("_dmarc.bank.example", "v=DMARC1; p=reject")])).await;
    let found = world.verify(STRANGER, "evil.example", b"From: ceo@bank.example Bank\r\n\r\n").await;
    assert_eq!((found.authors, found.dmarc.result), (Authors::Malformed, MethodResult::None));
}

#[tokio::test]
async fn dmarc_without_an_answer_is_temperror() {
    let zone = Zone::default()
        .behave("_dmarc.fails.example", Behaviour::ServFail)
        .behave("_dmarc.silent.example", Behaviour::Silent);
    let world = World::new(zone).await;
    for author in ["fails.example", "silent.example"] {
        let begin = Instant::now();
        let found = world.verify(CLIENT, "nothing.example", format!("From: x@{author}\r\n\r\n").as_bytes()).await;
        assert_eq!(found.dmarc.result, MethodResult::TempError);
        assert_eq!(found.dmarc.author_domain, Some(domain(author)));
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn one_domains_spf_record_cannot_spoil_anothers_records() {
    let world = World::new(spf_zone(&[
        ("evil.example", "v=spf1 include:_dmarc.example.org include:example.org -all exp=example.org"),
        ("evil2.example", "v=spf1 exp=example.org -all"),
        ("evil3.example", "v=spf1 redirect=_dmarc.example.org"),
        ("example.org", "v=spf1 ip4:192.0.2.1 -all"),
        ("_dmarc.example.org", "v=DMARC1; p=reject"),
    ]))
    .await;
    for sender in ["evil.example", "evil2.example", "evil3.example"] {
        world.spf(STRANGER, &format!("<x@{sender}>")).await;
    }
    let found = world.verify(CLIENT, "example.org", MESSAGE.as_bytes()).await;
    assert_eq!(found.spf.result, MethodResult::Pass);
    assert_eq!((found.dmarc.result, found.dmarc.policy), (MethodResult::Pass, Some(DmarcPolicy::Reject)));
    let found = world.verify(STRANGER, "evil.example", MESSAGE.as_bytes()).await;
    assert_eq!((found.dmarc.result, found.dmarc.policy), (MethodResult::Fail, Some(DmarcPolicy::Reject)));
}

/// The checks run beside the session: their futures have to be `Send`.
#[tokio::test]
async fn checks_run_in_tasks_of_their_own() {
    let authenticator = World::new(spf_zone(&[])).await.authenticator;
    let task = tokio::spawn(async move {
        let helo = Host::parse("mail.example.org").unwrap();
        let spf = authenticator.spf(CLIENT.into(), &helo, &ReversePath::Null).await;
        let iprev = authenticator.iprev(CLIENT.into()).await;
        authenticator.verify(&Message::new(MESSAGE.into()), spf, iprev).await
    });
    assert!(task.await.unwrap().dkim.is_empty());
}

#[tokio::test]
async fn a_key_that_cannot_be_had_leaves_dmarc_open() {
    let signer = Signer::ed25519(&domain("example.org"), "s").unwrap();
    let zone = spf_zone(&[("_dmarc.example.org", "v=DMARC1; p=reject; psd=n")])
        .behave(signer.dns_name(), Behaviour::ServFail)
        .behave("_dmarc.org", Behaviour::ServFail);
    let world = World::new(zone).await;
    let signed = signer.sign(MESSAGE.as_bytes()).unwrap();
    let found = world.verify(CLIENT, "nothing.example", &signed).await;
    assert_eq!((found.dkim[0].result, found.dmarc.result), (MethodResult::TempError, MethodResult::TempError));
    let unsigned = world.verify(CLIENT, "nothing.example", MESSAGE.as_bytes()).await;
    assert_eq!((unsigned.dmarc.result, unsigned.dmarc.policy), (MethodResult::Fail, Some(DmarcPolicy::Reject)));
}

/// A small generator: the same octets on every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// The text with a few octets changed, taken out, doubled, or replaced by what parsers trip over.
    fn bend(&mut self, text: &[u8]) -> Vec<u8> {
        const SNAGS: [&[u8]; 12] =
            [b"=", b";", b"%{", b"}", b"\0", b"\xFF", b"\r\n ", b"99999999999999999999", b"/", b":", b"\"", b"<("];
        let mut bent = text.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bent.len());
            let to = (at + self.below(9)).min(bent.len());
            match self.below(3) {
                0 => bent[at] = self.below(256) as u8,
                1 => drop(bent.drain(at..to)),
                _ => drop(bent.splice(at..at, SNAGS[self.below(SNAGS.len())].iter().copied())),
            }
            bent.push(b' ');
        }
        bent
    }
}

#[tokio::test]
async fn hostile_messages_and_records_never_panic() {
    let signer = Signer::rsa(&domain("example.org"), "s").unwrap();
    let world = signed_world(&[&signer], &[]).await;
    let signed = signer.sign(MESSAGE.as_bytes()).unwrap();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for _ in 0..1_500 {
        let message = Message::new(noise.bend(&signed));
        let iprev = Iprev::none(CLIENT.into());
        let spf = world.spf(CLIENT, "<a@[192.0.2.1]>").await;
        let found = world.authenticator.verify(&message, spf, iprev).await;
        let field = found.field("mx.example.net");
        assert!(
            field.is_ascii() && field.trim_end().split("\r\n").skip(1).all(|line| line.starts_with('\t')),
            "{field}"
        );
    }
    for (at, record) in [
        "v=spf1 a:%{d1r}.x/24//64 mx include:%{i}._spf.example.org exists:%{ir}.%{v} ip4:192.0.2.0/24 redirect=%{o}",
        "v=spf1 ip6:2001:db8::/32 ptr:example.org exp=%{l-}.%{h} -all",
    ]
    .iter()
    .cycle()
    .take(600)
    .enumerate()
    {
        let bent = String::from_utf8_lossy(&noise.bend(record.as_bytes())).into_owned();
        world.responder.add(&format!("n{at}.example"), Record::txt(&bent));
        world.spf(CLIENT, &format!("<a.b-c@n{at}.example>")).await;
    }
}

/// Not a test of correctness: prints what a typical message costs when everything is known already.
#[tokio::test]
async fn known_senders_are_cheap() {
    let signer = Signer::rsa(&domain("example.org"), "s").unwrap();
    let world = signed_world(
        &[&signer],
        &[("_dmarc.example.org", "v=DMARC1; p=reject"), ("example.org", "v=spf1 ip4:192.0.2.1 -all")],
    )
    .await;
    let message = MESSAGE.to_owned() + &"A line of text, as people write them.\r\n".repeat(300);
    let signed = signer.sign(message.as_bytes()).unwrap();
    world.verify(CLIENT, "example.org", &signed).await;
    const ROUNDS: u32 = 500;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let found = world.verify(CLIENT, "example.org", &signed).await;
        assert_eq!(found.dkim[0].result, MethodResult::Pass);
    }
    println!("{:?} a message of {} octets", begin.elapsed() / ROUNDS, signed.len());
    assert!(begin.elapsed() / ROUNDS < Duration::from_millis(20), "{:?}", begin.elapsed() / ROUNDS);
}
