//! `mxkeep scan` explains authentication: the real binary, asking a name server on the loopback, names the record, the term,
//! the key and the alignment that decided, and what the sender would have to change.

use std::fs;
use std::sync::OnceLock;

use mail_auth::common::crypto::{Ed25519Key, HashAlgorithm, SigningKey as _};
use mxkeep::address::Domain;
use mxkeep::authentication::signing::Signer;
use mxkeep::dns::responder::{Behaviour, Record, Zone, reverse_name};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::names::Names;
use crate::support::program;

const CLIENT: &str = "192.0.2.1";
/// It has no name, and may not send for most.
const STRANGER: &str = "198.51.100.9";
/// RSA, 768 bits.
const SHORT_KEY: &str = concat!(
    "v=DKIM1; k=rsa; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAKlOHHetonm4YzJ2HYajPAqQplhbXPAW7nWNrsoXS9j8i6r3toDB89krJanGQf+A",
    "vYJSN0pr0Ozhi5WMYSznwmaHlgpcsppQEvuXIuj1z6DvszXVEr1fYfAYqhi0oYbAuwIDAQAB",
);
const MESSAGE: &str = concat!(
    "From: Ann <ann@example.org>\r\n",
    "To: alice@example.test\r\n",
    "Subject: lunch\r\n",
    "\r\n",
    "Noon?\r\n",
);

/// A name server, a configuration that asks it, and the keys whose public parts it publishes.
struct World {
    directory: TempDir,
    rsa: Signer,
    ed25519: Ed25519Key,
    _names: Names,
}

/// One for all tests: nothing in it changes.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let rsa = Signer::rsa(&domain("example.org"), "s1").expect("a key");
        let der = Ed25519Key::generate_pkcs8().expect("a key");
        let ed25519 = Ed25519Key::from_pkcs8_der(&der).expect("a key");
        let names = Names::start(zone(&rsa, &base64(&ed25519.public_key())));
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().display();
        let configuration = format!(
            r#"
hostname = "mx.example.test"
storage.mail = "{at}/mail/{{domain}}/{{local_part}}/Maildir"
storage.state = "{at}/state"
dns.servers = ["{}"]
domains."example.test".mailboxes = ["alice"]
"#,
            names.address()
        );
        let own_rules = format!("rules.paths = [\"{}/rules\"]\n{configuration}", env!("CARGO_MANIFEST_DIR"));
        let no_rules = format!("rules.paths = [\"{at}/rules\"]\n{configuration}");
        fs::create_dir(directory.path().join("rules")).expect("a folder");
        fs::write(directory.path().join("mxkeep.toml"), no_rules).expect("a configuration");
        fs::write(directory.path().join("rules.toml"), own_rules).expect("a configuration");
        World { directory, rsa, ed25519, _names: names }
    }

    /// Scans a message in a file of this name.
    fn scan(&self, name: &str, message: &str, arguments: &[&str]) -> String {
        self.scan_by("mxkeep.toml", name, message, arguments)
    }

    fn scan_by(&self, configuration: &str, name: &str, message: &str, arguments: &[&str]) -> String {
        fs::write(self.directory.path().join(name), message).expect("a message");
        let arguments = [&["scan", "--config", configuration], arguments, &[name]].concat();
        let said = program::run(self.directory.path(), None, &arguments);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        said.out
    }

    /// The message with a signature whose tags these are beside `a=`, `c=`, `bh=` and `b=`: in simple canonicalization, and
    /// as no good signer would write it if they say so.
    fn sign(&self, tags: &str, message: &str) -> String {
        let (header, body) = message.split_once("\r\n\r\n").expect("a header");
        let from = header.lines().find(|line| line.starts_with("From:")).expect("an author");
        let hash = base64(HashAlgorithm::Sha256.hash(body.as_bytes()).as_ref());
        let field = format!("DKIM-Signature: v=1; a=ed25519-sha256; c=simple/simple; {tags}; h=From; bh={hash}; b=");
        let signature = self.ed25519.sign(format!("{from}\r\n{field}").as_bytes()).expect("a signature");
        format!("{field}{}\r\n{message}", base64(&signature))
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a domain")
}

fn zone(rsa: &Signer, ed25519: &str) -> Zone {
    let texts = [
        ("example.org", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("_dmarc.example.org", "v=DMARC1; p=reject; sp=quarantine"),
        ("bounce.example.org", "v=spf1 ip4:192.0.2.1 -all"),
        ("bounce.example.net", "v=spf1 redirect=spf.example.net"),
        ("spf.example.net", "v=spf1 ip4:192.0.2.1 ip4:198.51.100.9 -all"),
        ("soft.example", "v=spf1 mx ~all"),
        ("two.example", "v=spf1 -all"),
        ("two.example", "v=spf1 mx -all"),
        ("wrong.example", "v=spf1 ip4:192.0.2.300 -all"),
        ("strict.example", "v=spf1 -all"),
        ("_dmarc.strict.example", "v=DMARC1; p=reject; aspf=s; adkim=s"),
        ("bounce.strict.example", "v=spf1 ip4:192.0.2.1 -all"),
        ("short._domainkey.example.org", SHORT_KEY),
        ("revoked._domainkey.example.org", "v=DKIM1; p="),
        (rsa.dns_name(), rsa.dns_record()),
    ];
    let mut zone: Zone = texts.iter().map(|(name, text)| (name, Record::txt(text))).collect();
    for (name, tags) in [("e._domainkey.example.org", ""), ("t._domainkey.example.org", "t=y; ")] {
        zone.add(name, Record::txt(&format!("v=DKIM1; k=ed25519; {tags}p={ed25519}")));
    }
    for other in ["e._domainkey.example.net", "e._domainkey.mail.strict.example"] {
        zone.add(other, Record::txt(&format!("v=DKIM1; k=ed25519; p={ed25519}")));
    }
    zone.add(&reverse_name(CLIENT.parse().expect("an address")), Record::Ptr("mail.example.org".to_owned()));
    zone.add("mail.example.org", Record::A(CLIENT.parse().expect("an address")));
    zone.behave("fails.example", Behaviour::ServFail)
}

/// RFC 4648 section 4, with padding.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (24 - 8 * group.len());
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

/// The findings, each as one line: `method result: subject | sentence | ... | advice: sentence`.
fn findings(out: &str) -> Vec<String> {
    let mut findings: Vec<String> = Vec::new();
    for line in out.lines().skip_while(|line| !line.starts_with("  spf ")) {
        let (label, text) = (line[..18].trim(), line[18..].trim_end());
        match (findings.last_mut(), text.strip_prefix("  ")) {
            (Some(finding), Some(continued)) => *finding += &format!(" {continued}"),
            (Some(finding), None) if label.is_empty() => *finding += &format!(" | {text}"),
            _ => findings.push(format!("{label} {text}")),
        }
    }
    findings
}

/// Scans, and looks for a finding that begins so, and has these parts in it.
#[track_caller]
fn expect(name: &str, message: &str, arguments: &[&str], begin: &str, parts: &[&str]) {
    let out = world().scan(name, message, arguments);
    let found = findings(&out);
    let matching = |finding: &&String| finding.starts_with(begin) && parts.iter().all(|part| finding.contains(part));
    assert_eq!(found.iter().filter(matching).count(), 1, "{begin} {parts:?} in\n{out}");
    let calm = |finding: &String| [" pass: ", " none: "].iter().any(|result| finding.contains(result));
    let advised = |finding: &&String| !finding.contains("advice: ") && !calm(finding);
    assert_eq!(found.iter().filter(advised).collect::<Vec<_>>(), [""; 0], "what is wrong has an advice");
}

#[test]
fn spf_names_the_record_the_term_and_what_to_publish() {
    for (at, (client, sender, begin, parts)) in [
        (
            CLIENT,
            "example.org",
            "spf pass: MAIL FROM example.org",
            ["ip4:192.0.2.0/24 in the record of example.org", ""],
        ),
        (
            STRANGER,
            "example.org",
            "spf fail: MAIL FROM example.org",
            [
                "Only -all in the record of example.org",
                "advice: If 198.51.100.9 may send for example.org, add ip4:198.51.100.9 to",
            ],
        ),
        (
            CLIENT,
            "bounce.example.net",
            "spf pass",
            ["ip4:192.0.2.1 in the record of spf.example.net, to which that of bounce.example.net redirects", ""],
        ),
        (
            STRANGER,
            "soft.example",
            "spf softfail",
            ["Only ~all in the record of soft.example", "advice: If 198.51.100.9 may"],
        ),
        (
            STRANGER,
            "two.example",
            "spf permerror",
            ["two.example has more than one SPF record", "advice: Merge the SPF records of two.example into one."],
        ),
        (
            CLIENT,
            "wrong.example",
            "spf permerror",
            ["ip4:192.0.2.300 in the record of wrong.example is not valid", "advice: Correct ip4:192.0.2.300"],
        ),
        (
            CLIENT,
            "fails.example",
            "spf temperror",
            ["A lookup for the SPF record of fails.example failed", "name servers answer for fails.example"],
        ),
        (CLIENT, "absent.example", "spf none", ["absent.example has no SPF record", "\"v=spf1 ip4:192.0.2.1 -all\""]),
    ]
    .into_iter()
    .enumerate()
    {
        let from = format!("ann@{sender}");
        expect(&format!("spf-{at}.eml"), MESSAGE, &["--ip", client, "--from", &from], begin, &parts);
    }
    let arguments = ["--ip", CLIENT, "--helo", "mail.example.org", "--from", "<>"];
    expect(
        "spf-helo.eml",
        MESSAGE,
        &arguments,
        "spf none: HELO mail.example.org",
        &["mail.example.org has no SPF record"],
    );
}

#[test]
fn dkim_names_the_key_and_how_to_sign() {
    let world = world();
    let sign = |tags: &str| world.sign(tags, MESSAGE);
    let rsa = String::from_utf8(world.rsa.sign(MESSAGE.as_bytes()).expect("a signature")).expect("ASCII");
    for (name, message, begin, parts) in [
        (
            "pass",
            rsa.clone(),
            "dkim pass: d=example.org s=s1",
            ["The signature verifies.", "Key s1._domainkey.example.org, rsa-sha256"],
        ),
        (
            "ed25519",
            sign("d=example.org; s=e"),
            "dkim pass: d=example.org s=e",
            ["Key e._domainkey.example.org, ed25519-sha256", ""],
        ),
        (
            "body",
            rsa.replace("Noon", "Never"),
            "dkim fail: d=example.org s=s1",
            ["the body was changed", "advice: Sign after the last change to the body"],
        ),
        (
            "header",
            rsa.replace("lunch", "dinner"),
            "dkim fail",
            ["does not verify", "with the private key of what s1._domainkey.example.org publishes"],
        ),
        (
            "absent",
            sign("d=example.org; s=absent"),
            "dkim permerror",
            ["no such key", "advice: Publish the public key as a TXT record at absent._domainkey.example.org."],
        ),
        (
            "revoked",
            sign("d=example.org; s=revoked"),
            "dkim permerror",
            ["revoked", "the one at revoked._domainkey.example.org is empty"],
        ),
        ("length", sign("d=example.org; s=e; l=5"), "dkim policy", ["l= is not accepted", "advice: Sign without l="]),
        ("short", rsa.replace("s=s1;", "s=short;"), "dkim p", ["Key short._domainkey.example.org", "2048 bits"]),
        (
            "sha1",
            rsa.replace("rsa-sha256", "rsa-sha1"),
            "dkim policy",
            ["rsa-sha1 is not accepted", "advice: Sign with rsa-sha256"],
        ),
        ("expired", sign("d=example.org; s=e; t=1000000000; x=1000000100"), "dkim fail", ["expired", "x= allows"]),
        (
            "outside",
            sign("d=example.org; i=@example.net; s=e"),
            "dkim ",
            ["i=", "advice: Sign with an i= whose domain is example.org or below it"],
        ),
        (
            "unsigned",
            MESSAGE.to_owned(),
            "dkim none: no signature",
            ["no DKIM signature", "advice: Sign with DKIM as d=example.org."],
        ),
    ] {
        let name = format!("dkim-{name}.eml");
        expect(&name, &message, &["--ip", CLIENT, "--from", "ann@example.org"], begin, &parts);
    }
}

#[test]
fn dkim_says_that_a_domain_is_testing() {
    let message = world().sign("d=example.org; s=t", MESSAGE);
    let parts = ["t=y: the domain is testing DKIM", "advice: Remove t=y from the key at t._domainkey.example.org"];
    expect("dkim-testing.eml", &message, &["--ip", CLIENT, "--from", "ann@example.org"], "dkim policy", &parts);
}

#[test]
fn dmarc_says_who_was_aligned_with_whom() {
    let world = world();
    let mail = |author: &str| MESSAGE.replace("ann@example.org", author);
    let signed = |domain: &str, author: &str| world.sign(&format!("d={domain}; s=e"), &mail(author));
    let fail = "dmarc fail: example.org";
    for (name, message, client, sender, begin, parts) in [
        (
            "spf",
            mail("ann@example.org"),
            CLIENT,
            "bounce.example.org",
            "dmarc pass: example.org",
            ["SPF passed for bounce.example.org, which is aligned", "No DKIM signature."],
        ),
        (
            "dkim",
            signed("example.org", "ann@example.org"),
            STRANGER,
            "bounce.example.net",
            "dmarc pass",
            [
                "SPF passed for bounce.example.net, which is not within",
                "DKIM passed for example.org, which is the author domain: aligned.",
            ],
        ),
        (
            "none",
            signed("example.net", "ann@example.org"),
            CLIENT,
            "bounce.example.net",
            fail,
            [
                "DKIM passed for example.net, which is not within",
                "advice: Sign with DKIM as d=example.org, or send with a reverse-path at example.org or below it for which SPF passes.",
            ],
        ),
        (
            "broken",
            signed("example.org", "ann@example.org").replace("Noon", "Never"),
            STRANGER,
            "example.org",
            fail,
            ["DKIM did not pass for example.org: fail.", "advice: Mend the DKIM signature of example.org"],
        ),
        (
            "policy",
            mail("ann@example.org"),
            STRANGER,
            "example.org",
            fail,
            ["Policy: reject", "SPF did not pass for example.org: fail."],
        ),
        (
            "below",
            mail("ann@mail.example.org"),
            STRANGER,
            "example.org",
            "dmarc fail: mail.example.org",
            ["Policy: quarantine", "advice: Sign with DKIM as d=mail.example.org"],
        ),
        (
            "absent",
            mail("ann@absent.example"),
            CLIENT,
            "example.org",
            "dmarc none: absent.example",
            ["No policy record.", "advice: Publish one DMARC record at _dmarc.absent.example"],
        ),
    ] {
        let name = format!("dmarc-{name}.eml");
        expect(&name, &message, &["--ip", client, "--from", &format!("ann@{sender}")], begin, &parts);
    }
}

#[test]
fn dmarc_names_the_record_and_the_tag() {
    let mail = |author: &str| MESSAGE.replace("ann@example.org", author);
    let strict = world().sign("d=mail.strict.example; s=e", &mail("ann@strict.example"));
    for (name, message, sender, begin, parts) in [
        (
            "p",
            MESSAGE.to_owned(),
            "example.net",
            "dmarc fail",
            ["Record at _dmarc.example.org: v=DMARC1; p=reject; sp=quarantine", "Policy: reject, by p=."],
        ),
        (
            "sp",
            mail("ann@mail.example.org"),
            "example.net",
            "dmarc fail: mail.example.org",
            ["Policy: quarantine, by sp=", "Organizational domain: example.org."],
        ),
        (
            "aspf",
            strict.clone(),
            "bounce.strict.example",
            "dmarc fail: strict.example",
            [
                "SPF passed for bounce.strict.example, which is not strict.example itself, as strict alignment (aspf=s)",
                "at strict.example itself",
            ],
        ),
        (
            "adkim",
            strict,
            "bounce.strict.example",
            "dmarc fail: strict.example",
            [
                "DKIM passed for mail.strict.example, which is not strict.example itself, as strict alignment (adkim=s)",
                "advice: Sign with DKIM as d=strict.example",
            ],
        ),
    ] {
        let name = format!("record-{name}.eml");
        expect(&name, &message, &["--ip", CLIENT, "--from", &format!("ann@{sender}")], begin, &parts);
    }
}

#[test]
fn what_is_wrong_with_the_from_field_and_the_clients_name() {
    let two = format!("From: bob@example.net\r\n{MESSAGE}");
    expect(
        "two.eml",
        &two,
        &["--ip", CLIENT],
        "from permerror",
        &["more than one From field", "advice: Write one From field"],
    );
    expect(
        "good.eml",
        MESSAGE,
        &["--ip", CLIENT],
        "iprev pass: 192.0.2.1",
        &["the name mail.example.org, which leads back"],
    );
    let parts = ["advice: Publish a PTR record for 198.51.100.9"];
    expect("stranger.eml", MESSAGE, &["--ip", STRANGER], "iprev permerror: 198.51.100.9", &parts);
    let out = world().scan("unknown.eml", MESSAGE, &[]);
    assert!(
        findings(&out)[0].contains("Not checked") && !out.contains("iprev  "),
        "nothing of a client nobody knows\n{out}"
    );
}

/// Two complete examples. What DMARC says of its record comes in lines of its own.
const GOOD: &str = "  spf             pass: MAIL FROM bounce.example.org
                  ip4:192.0.2.1 in the record of bounce.example.org matches 192.0.2.1.
  dkim            pass: d=example.org s=s1
                  The signature verifies.
                  Key s1._domainkey.example.org, rsa-sha256, 2048 bits.
  dmarc           pass: example.org
                  Record at _dmarc.example.org: v=DMARC1; p=reject; sp=quarantine
                  Policy: reject, by p=.
                  Organizational domain: example.org.
                  SPF passed for bounce.example.org, which is aligned (relaxed): within example.org.
                  DKIM passed for example.org, which is the author domain: aligned.
  iprev           pass: 192.0.2.1
                  The address has the name mail.example.org, which leads back to it.
";

const BAD: &str = "  spf             pass: MAIL FROM bounce.example.net
                  ip4:198.51.100.9 in the record of spf.example.net, to which that of
                    bounce.example.net redirects, matches 198.51.100.9.
  dkim            fail: d=example.org s=s1
                  The signature does not count: the body was changed.
                  Key s1._domainkey.example.org, rsa-sha256, 2048 bits.
                  advice: Sign after the last change to the body; a mailing list that adds to it has
                    to sign itself.
  dmarc           fail: example.org
                  Record at _dmarc.example.org: v=DMARC1; p=reject; sp=quarantine
                  Policy: reject, by p=.
                  Organizational domain: example.org.
                  SPF passed for bounce.example.net, which is not within the organizational domain
                    example.org: not aligned.
                  DKIM did not pass for example.org: fail.
                  advice: Mend the DKIM signature of example.org (see there), or send with a
                    reverse-path at example.org or below it for which SPF passes.
  iprev           permerror: 198.51.100.9
                  The address has no name.
                  advice: Publish a PTR record for 198.51.100.9, with a name whose address is
                    198.51.100.9.
";

#[test]
fn two_messages_are_explained_in_full() {
    let world = world();
    let signed = String::from_utf8(world.rsa.sign(MESSAGE.as_bytes()).expect("a signature")).expect("ASCII");
    let changed = signed.replace("Noon", "Never");
    let good = ["--ip", CLIENT, "--from", "ann@bounce.example.org"];
    let bad = ["--ip", STRANGER, "--from", "ann@bounce.example.net"];
    for (name, message, arguments, verdict, cause, expected) in [
        ("golden-good.eml", signed, good, "golden-good.eml: inbox (250 2.0.0 ", "", GOOD),
        ("golden-bad.eml", changed, bad, "golden-bad.eml: reject (550 5.7.1 ", "  cause           dmarc_reject\n", BAD),
    ] {
        let out = world.scan(name, &message, &arguments);
        let (head, findings) = out.split_at(out.find("\n  spf ").expect("findings") + 1);
        assert_eq!(findings, expected, "{name}\n{findings}");
        assert!(head.starts_with(verdict) && head.contains(cause), "{head}");
        let score = "  score           0.000 (Junk from policy.junk_score 5, refused from policy.reject_score 15)\n";
        assert!(head.contains(score), "{head}");
    }
}

/// By our own rules. The id in the reply and the signature are others each time.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("there is a README.md");
    let (_, example) = readme.split_once("```console\n$ mxkeep scan ").expect("an example");
    let (command, rest) = example.split_once('\n').expect("a command");
    let shown = rest.split("```").next().unwrap_or_default();
    let arguments: Vec<&str> = command.split(' ').filter(|argument| *argument != "message.eml").collect();
    let signed = String::from_utf8(world().rsa.sign(MESSAGE.as_bytes()).expect("a signature")).expect("ASCII");
    let out = world().scan_by("rules.toml", "message.eml", &signed.replace("Noon", "Never"), &arguments);
    let steady = |text: &str| -> Vec<String> {
        let cut = |line: &str| match line.starts_with("message.eml: ") {
            true => line.rsplit_once(" (").map_or(line, |(front, _)| front).to_owned(),
            false => line.split("header.b=").next().unwrap_or_default().to_owned(),
        };
        text.lines().map(cut).collect()
    };
    assert_eq!(steady(shown), steady(&out), "README.md should have:\n{out}");
}

#[test]
fn json_has_the_findings() {
    let out = world().scan("json.eml", MESSAGE, &["--json", "--ip", STRANGER, "--from", "ann@example.org"]);
    let report: Value = serde_json::from_str(&out).expect("one JSON object");
    let findings = report["findings"].as_array().expect("a list");
    let spf = findings.iter().find(|finding| finding["method"] == "spf").expect("SPF was checked");
    assert_eq!((&spf["result"], &spf["subject"]), (&"fail".into(), &"MAIL FROM example.org".into()));
    assert_eq!(spf["says"][0], "Only -all in the record of example.org matches 198.51.100.9.");
    assert!(spf["advice"].as_str().is_some_and(|advice| advice.contains("ip4:198.51.100.9")));
    assert_eq!((&report["junk_score"], &report["cause"]), (&5.0.into(), &"dmarc_reject".into()));
    let local = world().scan("local.eml", MESSAGE, &["--json", "--local"]);
    assert_eq!(serde_json::from_str::<Value>(&local).expect("one JSON object")["findings"], Value::Array(Vec::new()));
}
